import gzip

import pytest
import zstandard

from marketdata.capture import CaptureError, CaptureWriter, read_blocks, read_lines
from marketdata.frames import blocks_of, capture_line

LINES = [capture_line(1_700_000_000_000_000_000 + k, b'{"stream":"a@trade","data":%d}' % k) for k in range(500)]


@pytest.mark.parametrize("name", ["c.txt", "c.txt.gz", "c.txt.zst"])
def test_what_was_written_is_read_back(tmp_path, name):
    with CaptureWriter(tmp_path / name) as writer:
        for line in LINES:
            writer.write(line)
    assert list(read_lines(tmp_path / name)) == LINES


@pytest.mark.parametrize("name", ["c.txt", "c.txt.gz", "c.txt.zst"])
def test_a_second_writer_appends(tmp_path, name):
    for part in (LINES[:100], LINES[100:]):
        with CaptureWriter(tmp_path / name) as writer:
            writer.write(b"".join(part))
    assert list(read_lines(tmp_path / name)) == LINES


@pytest.mark.parametrize("block_bytes", [1, 7, 64, 1 << 20])
def test_blocks_hold_whole_lines_whatever_their_size(tmp_path, block_bytes):
    path = tmp_path / "c.txt"
    path.write_bytes(b"".join(LINES))
    blocks = list(read_blocks(path, block_bytes=block_bytes))
    assert b"".join(blocks) == b"".join(LINES) and all(block.endswith(b"\n") for block in blocks)


def test_a_last_line_without_its_break_is_still_a_line(tmp_path):
    path = tmp_path / "c.txt"
    path.write_bytes(b"".join(LINES)[:-1])
    assert list(read_lines(path)) == LINES


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_file_cut_off_is_refused_with_its_whole_lines(tmp_path, pack):
    path = tmp_path / "c"
    path.write_bytes(pack(b"".join(LINES))[:-20])
    with pytest.raises(CaptureError, match=r"cut off or damaged after \d+ whole lines .*--salvage"):
        list(read_blocks(path))


def test_salvage_keeps_the_lines_before_the_damage(tmp_path):
    path = tmp_path / "c.gz"
    path.write_bytes(gzip.compress(b"".join(LINES))[:-20])
    kept = list(read_lines(path, salvage=True))
    assert kept == LINES[: len(kept)]


def test_damage_inside_the_file_is_refused(tmp_path):
    packed = bytearray(gzip.compress(b"".join(LINES)))
    packed[len(packed) // 2] ^= 0xFF
    path = tmp_path / "c.gz"
    path.write_bytes(packed)
    with pytest.raises(CaptureError, match="damaged"):
        list(read_blocks(path))


@pytest.mark.parametrize(
    ("make", "says"), [("missing", "There is no capture"), ("empty", "is empty"), ("folder", "is a folder")]
)
def test_what_is_no_file_is_refused_in_one_sentence(tmp_path, make, says):
    path = tmp_path / "c"
    if make == "empty":
        path.touch()
    elif make == "folder":
        path.mkdir()
    with pytest.raises(CaptureError, match=says):
        list(read_blocks(path))


def test_a_line_break_inside_a_frame_cannot_break_the_capture():
    assert capture_line(5, b'{"a":\r\n1}') == b'5 {"a":  1}\n'


def test_blocks_of_lines_keep_every_line():
    assert b"".join(blocks_of(LINES, 1000)) == b"".join(LINES)
