"""One tidy line per log record; control characters are escaped, so that nobody can forge a line."""

import logging
import time

ESCAPED = {code: repr(chr(code))[1:-1] for code in (*range(32), 127, 0x85, 0x2028, 0x2029)}
TRACE_ESCAPED = {code: text for code, text in ESCAPED.items() if chr(code) not in "\n\t"}


class LineFormatter(logging.Formatter):
    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__("{asctime} {levelname:<7} {name}: {message}", "%Y-%m-%dT%H:%M:%SZ", style="{")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's own name
        return super().formatMessage(record).translate(ESCAPED)

    def formatException(self, ei: object) -> str:  # noqa: N802
        return super().formatException(ei).translate(TRACE_ESCAPED)  # type: ignore[arg-type]
