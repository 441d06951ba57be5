"""The capture line that live, replay and training all feed: `<recv_ns> {"stream":...,"data":{...}}`."""

from collections.abc import Iterable, Iterator

BLOCK_BYTES = 1 << 20


def blocks_of(lines: Iterable[bytes], block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
    """Join lines (each with its newline) into blocks of about `block_bytes`."""
    block = bytearray()
    for line in lines:
        block += line
        if len(block) >= block_bytes:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)


def capture_line(recv_ns: int, frame: bytes) -> bytes:
    """Return one capture line; line breaks inside the frame become spaces, which JSON reads alike."""
    if b"\n" in frame or b"\r" in frame:
        frame = frame.replace(b"\n", b" ").replace(b"\r", b" ")
    return b"%d %b\n" % (recv_ns, frame)
