"""Log lines: one record is one line, whatever a stranger put into it."""

import logging

import pytest

from surge_site.log_line import LineFormatter


def line(message: str, *arguments: object) -> str:
    return LineFormatter().format(logging.LogRecord("surge.test", logging.INFO, "", 1, message, arguments, None))


def test_a_line_has_time_level_name_and_message() -> None:
    assert line("%s books live", 20).split(maxsplit=1)[1] == "INFO    surge.test: 20 books live"


@pytest.mark.parametrize("trick", ["\n", "\r", "\x1b[31m", "\u2028", "\x85", "\0", "\x7f"])
def test_control_characters_cannot_forge_a_line(trick: str) -> None:
    written = line("user %s logged in", f"a{trick}2026-01-01T00:00:00Z ERROR root: forged")
    assert len(written.splitlines()) == 1
    assert trick[0] not in written


def test_a_traceback_keeps_its_lines_but_not_the_tricks() -> None:
    try:
        raise ValueError("a\x1b[31mb")
    except ValueError as error:
        record = logging.LogRecord("x", logging.ERROR, "", 1, "failed", (), (type(error), error, error.__traceback__))
    written = LineFormatter().format(record)
    assert "Traceback" in written and "\n" in written
    assert "\x1b" not in written
