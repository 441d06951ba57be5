"""Failures: the ones a client is told as ClickHouse exceptions, and the ones that end its connection."""

import re
from enum import IntEnum

_ENGINE_MESSAGE = re.compile(r"Code: (\d+)\. (?:DB::Exception: )?(.*)", re.DOTALL)
_REPEATED_CODE = re.compile(r"\A(?:Code: \d+\. )?DB::Exception: ")


class Code(IntEnum):
    """The codes that the bridge itself raises, as ClickHouse numbers them (src/Common/ErrorCodes.cpp)."""

    NO_SUCH_COLUMN_IN_TABLE = 16
    NOT_IMPLEMENTED = 48
    UNKNOWN_TYPE = 50
    SYNTAX_ERROR = 62
    UNKNOWN_PACKET_FROM_CLIENT = 99
    UNEXPECTED_PACKET_FROM_CLIENT = 101
    UNKNOWN_SETTING = 115
    READONLY = 164
    TOO_MANY_SIMULTANEOUS_QUERIES = 202
    QUERY_WAS_CANCELLED = 394
    ACCESS_DENIED = 497
    AUTHENTICATION_FAILED = 516
    UNKNOWN_EXCEPTION = 1002


class ServerError(Exception):
    """What the client gets as an exception packet; the connection lives on."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = int(code)
        self.text = text

    @classmethod
    def own(cls, code: Code, text: str) -> "ServerError":
        return cls(code, f"DB::Exception: {text} ({code.name})")

    @classmethod
    def from_engine(cls, failure: Exception) -> "ServerError":
        """chdb says everything in one string: `Code: 60. DB::Exception: Unknown table ... (UNKNOWN_TABLE)`."""
        found = _ENGINE_MESSAGE.search(str(failure))
        if not found:
            return cls.own(Code.UNKNOWN_EXCEPTION, str(failure))
        return cls(int(found[1]), "DB::Exception: " + _REPEATED_CODE.sub("", found[2]))


class MalformedStream(Exception):
    """The client's bytes make no sense: nothing after them can be trusted, so the connection ends."""


class ClientGone(Exception):
    """The client closed its end."""


class BridgeRefused(Exception):
    """The bridge cannot start; the text says what to do."""
