"""DOOR: raw capture files, one frame a line, read and appended; the source of every replay.

A line is `<recv_ns> {"stream":"btcusdt@depth@100ms","data":{...}}`. Files may be plain text, gzip or zstd.
"""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import zstandard

from marketdata.frames import BLOCK_BYTES

MAX_LINE_BYTES = 16 << 20
GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class CaptureError(Exception):
    """A capture cannot be read; the message says which one and what to do."""


def read_blocks(path: Path | str, *, salvage: bool = False, block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
    """Yield blocks of whole lines of a capture.

    A file that ends inside a compressed frame was cut off: it is refused with `CaptureError` after its whole
    lines were counted, or read up to the cut when `salvage` is true.
    """
    path = Path(path)
    rest = b""
    n_lines = 0
    with _open(path) as stream:
        while True:
            try:
                chunk = stream.read(block_bytes)
            except (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError) as error:
                if salvage:
                    return
                raise CaptureError(
                    f"{path} is cut off or damaged after {n_lines} whole lines ({error}). "
                    "Fetch it again, or add --salvage to use the lines before the damage."
                ) from error
            if not chunk:
                break
            block, newline, rest = (rest + chunk).rpartition(b"\n")
            if len(rest) > MAX_LINE_BYTES:
                raise CaptureError(f"{path} has a line of over {MAX_LINE_BYTES >> 20} MiB: this is no capture file.")
            if newline:
                block += newline
                n_lines += block.count(b"\n")
                yield block
    if rest:
        yield rest + b"\n"


def read_lines(path: Path | str, *, salvage: bool = False) -> Iterator[bytes]:
    """Yield the lines of a capture, each with its newline."""
    for block in read_blocks(path, salvage=salvage):
        yield from block.splitlines(keepends=True)


class CaptureWriter:
    """Append capture lines to one file; the compression follows the name (.gz, .zst or plain)."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._stream: IO[bytes]
        if self.path.suffix == ".gz":
            self._stream = gzip.open(self.path, "ab", compresslevel=4)  # type: ignore[assignment]  # noqa: SIM115
        elif self.path.suffix == ".zst":
            self._stream = zstandard.open(self.path, "ab")  # noqa: SIM115
        else:
            self._stream = self.path.open("ab")

    def write(self, lines: bytes) -> None:
        self._stream.write(lines)

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _open(path: Path) -> IO[bytes]:
    try:
        with path.open("rb") as stream:
            magic = stream.read(4)
    except IsADirectoryError as error:
        raise CaptureError(f"{path} is a folder. Name a capture file inside it.") from error
    except FileNotFoundError as error:
        raise CaptureError(f"There is no capture at {path}. Check the path.") from error
    except OSError as error:
        raise CaptureError(f"{path} cannot be read: {error.strerror}. Check its permissions.") from error
    if not magic:
        raise CaptureError(f"{path} is empty. Record or fetch it again.")
    if magic.startswith(GZIP_MAGIC):
        return gzip.open(path, "rb")  # type: ignore[return-value]
    if magic == ZSTD_MAGIC:
        return _ZstdReader(path.open("rb"))  # type: ignore[return-value]
    return path.open("rb")


class _ZstdReader:
    """Read zstd frames one after the other; unlike the library's own reader it notices a frame that was cut off."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._packed = b""

    def read(self, size: int) -> bytes:
        """Return some bytes, none at the end; `EOFError` where a frame ends too early."""
        while True:
            if not self._packed:
                self._packed = self._stream.read(max(size // 4, 1 << 16))
                if not self._packed:
                    if self._frame is not None:
                        raise EOFError("the last zstd frame is not complete")
                    return b""
            if self._frame is None:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            data = self._frame.decompress(self._packed)
            self._packed = b""
            if self._frame.eof:
                self._packed, self._frame = self._frame.unused_data, None
            if data:
                return data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stream.close()
