"""One client's conversation from hello to goodbye: queries are answered one after the other."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass

from surge_site.engines.clickhouse_bridge.blocks import EMPTY_BLOCK, Block
from surge_site.engines.clickhouse_bridge.cancel_watch import CancelWatch
from surge_site.engines.clickhouse_bridge.channel import Channel
from surge_site.engines.clickhouse_bridge.compression import Method
from surge_site.engines.clickhouse_bridge.engine import Engine
from surge_site.engines.clickhouse_bridge.errors import ClientGone, Code, MalformedStream, ServerError
from surge_site.engines.clickhouse_bridge.handshake import Credentials, hello_packet, read_hello, used_revision
from surge_site.engines.clickhouse_bridge.progress import ProgressReport
from surge_site.engines.clickhouse_bridge.protocol import ClientPacket, Revision
from surge_site.engines.clickhouse_bridge.request import QueryRequest, read_query
from surge_site.engines.clickhouse_bridge.session import EngineSession
from surge_site.engines.clickhouse_bridge.settings import COMPRESSION_METHOD, READONLY, settings_wanted
from surge_site.engines.clickhouse_bridge.statements import InsertTarget, Kind, Statement, parse_statement

logger = logging.getLogger(__name__)
_QUOTA_KEY_BYTES = 8 << 10
_CLIENT_CANCELLED = "Query was cancelled by the client"


@dataclass(frozen=True)
class House:
    """What all conversations share."""

    engine: Engine
    credentials: Credentials
    watch: CancelWatch
    is_full: Callable[[], bool]
    is_closing: Callable[[], bool]


class Connection:
    def __init__(self, channel: Channel, house: House) -> None:
        self._channel = channel
        self._house = house
        self._session: EngineSession
        self._stop_reason = ""
        self.is_busy = False

    def serve(self) -> None:
        """Talk until one side ends it. Nothing that a client sends can hurt more than its own connection."""
        try:
            revision = self._greet()
            if revision is not None:
                self._converse(revision)
        except (ClientGone, OSError) as reason:
            logger.debug("A client left: %s", reason)
        except MalformedStream as reason:
            logger.warning("A client was disconnected, its bytes make no sense: %s", reason)
            self._say_goodbye(ServerError.own(Code.UNEXPECTED_PACKET_FROM_CLIENT, str(reason)))
        except Exception:
            logger.exception("A client was disconnected, the bridge failed to serve it")
        finally:
            self._channel.hang_up()
            self._channel.close()

    def _say_goodbye(self, failure: ServerError) -> None:
        with suppress(OSError):  # it may not listen any more
            self._channel.send_exception(failure)

    def interrupt(self, reason: str) -> None:
        """Stop the query that runs now; the reason is for the client. From another thread."""
        self._stop_reason = self._stop_reason or reason
        self._session.interrupt()

    def hang_up(self) -> None:
        self._channel.hang_up()

    def _greet(self) -> int | None:
        """Let a client in that may come, and return the revision to speak with it; None when it was refused."""
        try:
            hello = read_hello(self._channel.reader)
            revision = used_revision(hello)
            self._house.credentials.check(hello)
            self._refuse_crowd()
            self._session = self._house.engine.session(hello.database)
        except ServerError as refusal:
            logger.warning("A client was refused: %s", refusal.text)
            self._channel.send_exception(refusal)
            return None
        return revision

    def _refuse_crowd(self) -> None:
        if self._house.is_full():
            raise ServerError.own(
                Code.TOO_MANY_SIMULTANEOUS_QUERIES, "Too many clients are connected: disconnect the ones not in use"
            )

    def _converse(self, revision: int) -> None:
        try:
            self._channel.admit(revision)
            self._channel.send(hello_packet(self._house.engine.identity, revision))
            if revision >= Revision.ADDENDUM:
                with self._channel.without_haste():
                    self._channel.reader.string(_QUOTA_KEY_BYTES)
            while not self._house.is_closing():
                self._next()
        finally:
            self._session.close()

    def _next(self) -> None:
        with self._channel.without_haste():
            packet = self._channel.next_packet()
        if packet is ClientPacket.PING:
            self._channel.send_pong()
        elif packet is ClientPacket.QUERY:
            self.is_busy = True
            try:
                self._answer(read_query(self._channel.reader, self._channel.revision))
            finally:
                self.is_busy = False
        elif packet is not ClientPacket.CANCEL:  # a Cancel for a query that has just ended
            raise MalformedStream(f"an unexpected {packet.name} packet between two queries")

    def _answer(self, request: QueryRequest) -> None:
        self._stop_reason = ""
        try:
            self._refuse_external_tables(request)
            statement = parse_statement(request.text)
            self._prepare(request, statement)
            if statement.target is not None:
                self._insert(statement.target, request)
            elif statement.kind is Kind.ROWS:
                self._rows(statement, request)
            else:
                self._whole(statement, request)
        except _Cancelled:
            self._channel.send_end()
        except ServerError as failure:
            self._tell(failure)

    def _tell(self, failure: ServerError) -> None:
        if failure.code != Code.QUERY_WAS_CANCELLED or not self._stop_reason:
            logger.debug("A query failed: %s", failure.text)
            self._channel.send_exception(failure)
        elif self._stop_reason == _CLIENT_CANCELLED:
            self._channel.send_end()  # the client waits for the end, not for an error
        else:
            self._channel.send_exception(ServerError.own(Code.QUERY_WAS_CANCELLED, self._stop_reason))

    def _refuse_external_tables(self, request: QueryRequest) -> None:
        """The client's external tables end with an empty block; mostly that is all there is."""
        names = [name for name, block in self._incoming(request) if block.columns]
        if names:
            raise ServerError.own(
                Code.NOT_IMPLEMENTED,
                f"External tables ({', '.join(names)}) are not supported here: CREATE TEMPORARY TABLE, insert the "
                "rows, and join with it",
            )

    def _incoming(self, request: QueryRequest) -> Iterator[tuple[str, Block]]:
        """The client's Data packets up to the empty block that ends them."""
        while True:
            packet = self._channel.next_packet()
            if packet is ClientPacket.CANCEL:
                raise _Cancelled
            if packet is not ClientPacket.DATA:
                raise MalformedStream(f"a {packet.name} packet where data was due")
            name, block = self._channel.read_data(request.is_compressed)
            if not block.columns:
                return
            yield name, block

    def _prepare(self, request: QueryRequest, statement: Statement) -> None:
        wanted, unknown = settings_wanted(request.settings, self._house.engine.known_settings)
        for name in unknown:
            logger.debug("Unknown setting '%s', skipping", name)
        if wanted.pop(READONLY, "0") != "0" and not statement.only_reads:
            raise ServerError.own(Code.READONLY, "Cannot execute query in readonly mode.")
        if statement.keyword != "SET":
            self._session.overlay.lay(wanted)
        method = Method.ZSTD if wanted.get(COMPRESSION_METHOD, "").upper() == "ZSTD" else Method.LZ4
        self._channel.compression = method if request.is_compressed else None

    def _rows(self, statement: Statement, request: QueryRequest) -> None:
        self._channel.send_timezone(self._session.timezone())
        # Closed here, not by the garbage collector: a stream that outlives its session crashes the engine.
        rows = closing(self._session.rows(statement.text, request.parameters))
        with self._watched(), self._progress(), rows as blocks:
            self._send_rows(blocks)

    def _whole(self, statement: Statement, request: QueryRequest) -> None:
        with self._watched(), self._progress():
            blocks = self._session.whole(statement, request.parameters)
        if blocks:
            self._send_rows([blocks[0].header, *blocks])
        else:
            self._channel.send_end()

    def _send_rows(self, blocks: Iterable[Block]) -> None:
        rows = count = size = 0
        for block in blocks:
            if self._stop_reason:
                raise ServerError.own(Code.QUERY_WAS_CANCELLED, self._stop_reason)
            self._channel.send_block(block)
            rows, count, size = rows + block.rows, count + bool(block.rows), size + block.size
        self._channel.send_profile(rows, count, size)
        self._channel.send_block(EMPTY_BLOCK)
        self._channel.send_end()

    def _insert(self, target: InsertTarget, request: QueryRequest) -> None:
        columns = self._session.insert_columns(target)
        incoming = self._incoming(request)
        try:
            with self._session.insert(target, columns) as insert:
                self._channel.send_block(Block(0, columns))
                for _, block in incoming:
                    insert.append(block)
                    self._channel.send_profile_events()
                written = insert.finish()
        except ServerError as failure:
            self._tell(failure)
            for _ in incoming:  # what the client had sent before it could know
                pass
            return
        self._channel.send_profile_events()
        self._channel.send_progress((0, 0, 0, 0), (written.rows, written.size), 0)
        self._channel.send_end()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        def look() -> None:
            if self._channel.wants_to_stop():
                self.interrupt(_CLIENT_CANCELLED)

        with self._house.watch.over(look):
            yield

    @contextmanager
    def _progress(self) -> Iterator[None]:
        self._session.on_progress = ProgressReport(self._channel)
        try:
            yield
        finally:
            self._session.on_progress = None


class _Cancelled(Exception):
    """The client cancelled where its data was due."""
