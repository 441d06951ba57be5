"""The bridge as a process: its start, its end, its refusals, and bytes that make no sense."""

import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from clickhouse_driver import Client
from clickhouse_driver.errors import Error

from surge_site.engines.clickhouse_bridge.blocks import BLOCK_INFO
from surge_site.engines.clickhouse_bridge.compression import Method, write_frames
from surge_site.engines.clickhouse_bridge.protocol import ClientPacket, ServerPacket
from surge_site.engines.clickhouse_bridge.wire import string, varint
from tests.engines.bridge_process import MODULE, PASSWORD, PROJECT, BridgeProcess, bridge_refusal

NEWEST = 54468
HELLO = (
    varint(0) + string("test") + varint(1) + varint(0) + varint(NEWEST) + string("") + string("default")
    + string(PASSWORD)
)  # fmt: skip
ADDENDUM = string("")
HEAVY = "SELECT sum(sipHash64(number)) FROM numbers(20000000000)"


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BridgeProcess]:
    process = BridgeProcess(tmp_path_factory.mktemp("life")).start()
    yield process
    process.close()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[BridgeProcess]:
    """A bridge of the test's own, that it may stop."""
    process = BridgeProcess(tmp_path).start()
    yield process
    process.close()


def fill(process: BridgeProcess, rows: int = 1000) -> None:
    with process.client() as client:
        client.execute("CREATE TABLE IF NOT EXISTS kept (n UInt64) ENGINE = MergeTree ORDER BY n")
        client.execute("INSERT INTO kept VALUES", [(n,) for n in range(rows)])


def rows_of(process: BridgeProcess) -> int:
    with process.client() as client:
        return int(client.execute("SELECT count() FROM kept")[0][0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_bridge_exits_with_zero_and_keeps_the_data(own: BridgeProcess, number: signal.Signals) -> None:
    fill(own)
    with own.client() as idle:
        idle.execute("SELECT 1")
        assert own.stop(number) == 0
    assert rows_of(own.start()) == 1000


def test_a_killed_bridge_keeps_the_data(own: BridgeProcess) -> None:
    fill(own)
    assert own.stop(signal.SIGKILL) == -signal.SIGKILL
    assert rows_of(own.start()) == 1000
    fill(own)
    assert rows_of(own) == 2000


def test_a_crash_of_the_engine_ends_the_process_at_once(own: BridgeProcess) -> None:
    fill(own)
    assert own.stop(signal.SIGSEGV) == -signal.SIGSEGV
    assert rows_of(own.start()) == 1000


def test_a_bridge_killed_while_it_takes_in_rows_has_whole_blocks_or_none(own: BridgeProcess) -> None:
    fill(own)

    def rows() -> Iterator[tuple[int]]:
        for n in range(10_000):
            if n == 5_000:
                own.stop(signal.SIGKILL)
            yield (n,)

    with own.client() as client, pytest.raises((OSError, EOFError)):
        client.execute("INSERT INTO kept VALUES", rows(), settings={"insert_block_size": 1000})
    assert rows_of(own.start()) == 1000


def test_sigterm_lets_a_short_query_end(own: BridgeProcess) -> None:
    answer: list[object] = []
    with own.client() as client:
        client.execute("SELECT 1")
        waiting = threading.Thread(target=lambda: answer.append(client.execute("SELECT sleep(1), 7")))
        waiting.start()
        wait_until_busy(own, "sleep(1)")
        assert own.stop() == 0
        waiting.join()
    assert answer == [[(0, 7)]]


def test_sigterm_aborts_a_long_query_with_a_reason(own: BridgeProcess) -> None:
    failure: list[Error] = []

    def ask(client: Client) -> None:
        try:
            client.execute(HEAVY)
        except Error as error:
            failure.append(error)

    with own.client() as client:
        waiting = threading.Thread(target=ask, args=(client,))
        waiting.start()
        wait_until_busy(own, "sipHash64")
        started = time.monotonic()
        assert own.stop() == 0
        assert time.monotonic() - started < 25  # it would run for minutes
        waiting.join()
    assert [(error.code, "shutting down" in str(error)) for error in failure] == [(394, True)]


def wait_until_busy(process: BridgeProcess, part: str) -> None:
    deadline = time.monotonic() + 10
    sql = f"SELECT count() FROM system.processes WHERE query LIKE '%{part}%' AND query NOT LIKE '%processes%'"
    with process.client() as client:
        while client.execute(sql) == [(0,)]:
            assert time.monotonic() < deadline
            threading.Event().wait(0.02)


def test_a_second_process_on_the_folder_is_told_who_has_it(bridge: BridgeProcess) -> None:
    code, said = bridge_refusal(*bridge.arguments())
    assert code == 2
    assert bridge.process is not None
    assert f"pid {bridge.process.pid}" in said
    assert "Stop it first" in said


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.1", "::", "8.8.8.8", "example.org"])
def test_an_address_that_others_can_reach_is_refused(tmp_path: Path, host: str) -> None:
    code, said = bridge_refusal(*BridgeProcess(tmp_path).arguments(), "--host", host)
    assert code == 2
    assert "Use --host 127.0.0.1" in said
    assert not (tmp_path / "data").exists()


def test_a_port_in_use_is_refused(bridge: BridgeProcess, tmp_path: Path) -> None:
    code, said = bridge_refusal(*BridgeProcess(tmp_path).arguments(), "--port", str(bridge.port))
    assert code == 2
    assert f"Port {bridge.port}" in said


@pytest.mark.parametrize(
    ("text", "mode", "advice"),
    [("", 0o600, "is empty"), ("secret", 0o644, "chmod 600"), (None, 0o600, "cannot be read")],
)
def test_a_bad_password_file_is_refused(tmp_path: Path, text: str | None, mode: int, advice: str) -> None:
    file = tmp_path / "password"
    if text is not None:
        file.write_text(text)
        file.chmod(mode)
    code, said = bridge_refusal("--path", str(tmp_path / "data"), "--password-file", str(file))
    assert code == 2
    assert advice in said


def test_it_listens_on_loopback_only(bridge: BridgeProcess) -> None:
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    addresses = {words[1].split(":")[0] for words in listening if words[1].endswith(f":{bridge.port:04X}")}
    assert addresses == {"0100007F"}


def test_the_data_is_for_its_owner_only(bridge: BridgeProcess) -> None:
    assert (bridge.folder / "data").stat().st_mode & 0o077 == 0


def test_django_stays_out_and_chdb_waits_for_the_checks() -> None:
    code = f"import sys, {MODULE}.__main__; sys.exit(bool({{'django', 'chdb', 'celery'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False).returncode == 0


def test_sql_cannot_reach_files_by_a_bare_name(bridge: BridgeProcess) -> None:
    assert (PROJECT / "pyproject.toml").exists()
    with bridge.client() as client, pytest.raises(Error) as failure:
        client.execute("SELECT * FROM `pyproject.toml`")
    assert failure.value.code == 60


def test_the_other_loopback_works_too(tmp_path: Path) -> None:
    process = BridgeProcess(tmp_path)
    try:
        process.start("--host", "::1")
        with process.client(host="::1") as client:
            assert client.execute("SELECT 1") == [(1,)]
    finally:
        process.close()


@contextmanager
def raw_socket(bridge: BridgeProcess) -> Iterator[socket.socket]:
    with closing(socket.create_connection(("127.0.0.1", bridge.port), timeout=5)) as raw:
        yield raw


def is_closed(raw: socket.socket) -> bool:
    """Does the server end the connection? Whatever it says before is read and dropped."""
    try:
        while raw.recv(1 << 16):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


def query(sql: str, *, compression: int = 0) -> bytes:
    info = b"\x01" + string("") * 3 + bytes(8) + b"\x01" + string("") * 3 + varint(1) * 3 + string("")
    info += varint(0) + varint(0) + b"\x00" + varint(0) * 3
    return (
        varint(1)
        + string("")
        + info
        + string("")
        + string("")
        + varint(2)
        + varint(compression)
        + string(sql)
        + string("")
    )


def data(block: bytes) -> bytes:
    return varint(2) + string("") + block


EMPTY = BLOCK_INFO + varint(0) + varint(0)
INSERT = HELLO + ADDENDUM + query("INSERT INTO FUNCTION null('n UInt64, s String') VALUES") + data(EMPTY)
PACKED_INSERT = query("INSERT INTO FUNCTION null('n UInt64') VALUES", compression=1)
PACKED_EMPTY = data(b"".join(write_frames(Method.LZ4, EMPTY)))
PACKED = HELLO + ADDENDUM + PACKED_INSERT + PACKED_EMPTY
COLUMN = string("n") + string("UInt64") + b"\x00"
GARBAGE: dict[str, bytes] = {
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "zeros": bytes(1000),
    "an endless number": b"\xff" * 100,
    "a giant name": varint(0) + varint(1 << 40) + b"x" * 1000,
    "a packet that does not exist": HELLO + ADDENDUM + varint(77),
    "data without a query": HELLO + ADDENDUM + data(EMPTY),
    "a giant query": HELLO + ADDENDUM + varint(1) + string("") + b"\x01" + varint(1 << 60),
    "an unknown stage": HELLO + ADDENDUM + query("SELECT 1").replace(varint(2) + varint(0) + string("SELECT 1"),
                                                                     varint(1) + varint(0) + string("SELECT 1")),
    "a block with too many columns": INSERT + data(BLOCK_INFO + varint(1 << 30) + varint(1)),
    "a block with too many rows": INSERT + data(BLOCK_INFO + varint(1) + varint(1 << 60) + COLUMN),
    "an unknown type": INSERT + data(BLOCK_INFO + varint(1) + varint(1) + string("n") + string("Wonder(7)") + b"\0"),
    "a deep type": INSERT + data(BLOCK_INFO + varint(1) + varint(1) + string("n") + string("Array(" * 9999) + b"\0"),
    "custom serialization": INSERT + data(BLOCK_INFO + varint(1) + varint(1) + COLUMN[:-1] + b"\x01"),
    "a bad block info": INSERT + data(varint(9)),
    "a query while data is due": INSERT + query("SELECT 1"),
    "a wrong checksum": PACKED + data(bytes(16) + struct.pack("<BII", Method.LZ4, 13, 100) + b"abcd"),
    "a giant frame": PACKED + data(bytes(16) + struct.pack("<BII", Method.LZ4, 1 << 31, 1 << 31)),
    "an unknown method": PACKED + data(b"".join(write_frames(Method.LZ4, b"x" * 99)).replace(b"\x82", b"\x83", 1)),
    "a frame too long": PACKED + data(b"".join(write_frames(Method.ZSTD, EMPTY + b"rest"))),
}  # fmt: skip


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_ends_its_own_connection_only(bridge: BridgeProcess, name: str) -> None:
    with bridge.client() as witness, raw_socket(bridge) as raw:
        witness.execute("CREATE TEMPORARY TABLE mine (n Int8)")
        raw.sendall(GARBAGE[name])
        assert is_closed(raw)
        assert witness.execute("SELECT count() FROM mine") == [(0,)]


def test_random_changes_to_good_bytes_never_stop_the_server(bridge: BridgeProcess) -> None:
    draw = random.Random(11)
    good = INSERT + data(BLOCK_INFO + varint(1) + varint(2) + COLUMN + bytes(16)) + data(EMPTY)
    for _ in range(150):
        broken = bytearray(good)
        for _ in range(draw.randrange(1, 6)):
            broken[draw.randrange(len(broken))] = draw.randrange(256)
        with raw_socket(bridge) as raw:
            raw.sendall(broken[: draw.randrange(len(broken))] if draw.random() < 0.5 else broken)
            raw.shutdown(socket.SHUT_WR)
            assert is_closed(raw)
    with bridge.client() as client:
        assert client.execute("SELECT 1") == [(1,)]


@pytest.mark.parametrize("cut", [1, 30, len(HELLO), len(HELLO) + 5, len(INSERT) - 3, len(INSERT)])
def test_a_client_that_leaves_in_the_middle_is_forgotten(own: BridgeProcess, cut: int) -> None:
    before = handles_of(own)
    with raw_socket(own) as raw:
        raw.sendall(INSERT[:cut])
        wait_for(lambda: handles_of(own) > before)
    wait_for(lambda: handles_of(own) <= before)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def test_after_a_failed_insert_the_connection_is_still_in_step(bridge: BridgeProcess) -> None:
    wrong = data(BLOCK_INFO + varint(1) + varint(1) + string("n") + string("String") + b"\x00" + string("abc"))
    with raw_socket(bridge) as raw:
        raw.sendall(INSERT + wrong * 50 + data(EMPTY) + varint(ClientPacket.PING))
        raw.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: raw.recv(1 << 16), b""))
    assert answer.count(b"CANNOT_PARSE_TEXT") == 1
    assert answer.endswith(varint(ServerPacket.PONG))


def test_a_stranger_may_not_send_much_before_it_is_known(bridge: BridgeProcess) -> None:
    with raw_socket(bridge) as raw:
        raw.sendall(varint(0) + varint(8000) + b"x" * 8000 + varint(1) + varint(1) + varint(NEWEST) + varint(1 << 20))
        assert is_closed(raw)


def test_hundreds_of_connections_leave_nothing_behind(own: BridgeProcess) -> None:
    def cycle(times: int) -> None:
        for _ in range(times):
            fill(own, rows=3)

    cycle(5)
    before = handles_of(own)
    cycle(60)
    assert handles_of(own) < before + 10  # the last client or two may still be on their way out


def handles_of(process: BridgeProcess) -> int:
    """How many sockets and pipes the bridge has open."""
    assert process.process is not None
    folder = Path(f"/proc/{process.process.pid}/fd")
    return sum(target.startswith(("pipe", "socket")) for target in map(link_target, folder.iterdir()))


def link_target(link: Path) -> str:
    try:
        return os.readlink(link)
    except FileNotFoundError:  # closed since it was listed
        return ""
