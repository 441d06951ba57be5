"""ClickHouse's native protocol in front of an embedded chdb, so that clickhouse-driver needs no server.

A process of its own: chdb allows one process per folder and must never be forked. Nothing here knows Django.

    wire, compression, columns, blocks     bytes <-> blocks            protocol   the numbers of the protocol
    handshake, request                     what a client asks          statements what its SQL is about
    engine, session, inserts, settings     chdb behind a small face    errors     failures as the client sees them
    channel, connection, cancel_watch      one client's conversation   server     all of them, and the end
"""
