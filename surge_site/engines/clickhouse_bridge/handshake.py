"""The first words: who the client is, whether it may come in, and who answers."""

import hmac
from dataclasses import dataclass

from surge_site.engines.clickhouse_bridge.errors import Code, MalformedStream, ServerError
from surge_site.engines.clickhouse_bridge.protocol import NEWEST_REVISION, OLDEST_REVISION, ClientPacket, Revision
from surge_site.engines.clickhouse_bridge.protocol import ServerPacket as Packet
from surge_site.engines.clickhouse_bridge.wire import ByteReader, string, uint64, varint

HELLO_BYTES = 64 << 10  # all that a stranger may send
_FIELD_BYTES = 8 << 10


@dataclass(frozen=True)
class Hello:
    client: str
    revision: int
    database: str
    user: str
    password: str


@dataclass(frozen=True)
class Identity:
    """What the server tells about itself."""

    version: tuple[int, int, int]
    timezone: str


@dataclass(frozen=True)
class Credentials:
    user: str
    password: str

    def check(self, hello: Hello) -> None:
        user_ok = hmac.compare_digest(hello.user.encode(), self.user.encode())
        password_ok = hmac.compare_digest(hello.password.encode(), self.password.encode())
        if not (user_ok and password_ok):
            raise ServerError.own(
                Code.AUTHENTICATION_FAILED,
                f"{hello.user}: Authentication failed: password is incorrect, or there is no user with such name.",
            )


def read_hello(reader: ByteReader) -> Hello:
    if reader.varint() != ClientPacket.HELLO:
        raise MalformedStream("the first packet is no hello: is this a client of ClickHouse's native protocol?")
    client = reader.text(_FIELD_BYTES)
    reader.varint(), reader.varint()  # the client's version
    revision = reader.varint()
    database, user, password = (reader.text(_FIELD_BYTES) for _ in range(3))
    return Hello(client, revision, database, user, password)


def used_revision(hello: Hello) -> int:
    if hello.revision < OLDEST_REVISION:
        raise ServerError.own(
            Code.NOT_IMPLEMENTED,
            f"This client speaks revision {hello.revision}; the server needs {int(OLDEST_REVISION)} or newer: "
            "update the client",
        )
    return min(hello.revision, NEWEST_REVISION)


def hello_packet(identity: Identity, revision: int) -> bytes:
    major, minor, patch = identity.version
    packet = [varint(Packet.HELLO), string("ClickHouse"), varint(major), varint(minor), varint(NEWEST_REVISION)]
    packet += [string(identity.timezone), string("surge embedded ClickHouse"), varint(patch)]
    if revision >= Revision.PASSWORD_RULES:
        packet.append(varint(0))
    if revision >= Revision.INTERSERVER_SECRET_V2:
        packet.append(uint64(0))  # a nonce for servers among themselves; no such server comes here
    return b"".join(packet)
