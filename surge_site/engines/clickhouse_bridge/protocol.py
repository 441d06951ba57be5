"""The numbers of the native protocol: packet types, and the revisions at which it grew."""

from enum import IntEnum


class ClientPacket(IntEnum):
    HELLO = 0
    QUERY = 1
    DATA = 2
    CANCEL = 3
    PING = 4


class ServerPacket(IntEnum):
    HELLO = 0
    DATA = 1
    EXCEPTION = 2
    PROGRESS = 3
    PONG = 4
    END_OF_STREAM = 5
    PROFILE_INFO = 6
    PROFILE_EVENTS = 14
    TIMEZONE_UPDATE = 17


class Revision(IntEnum):
    """Source: clickhouse_driver/defines.py 0.2.11, the client that this server is for."""

    SETTINGS_AS_STRINGS = 54429
    INTERSERVER_SECRET = 54441
    OPENTELEMETRY = 54442
    DISTRIBUTED_DEPTH = 54448
    INITIAL_QUERY_START_TIME = 54449
    PARALLEL_REPLICAS = 54453
    CUSTOM_SERIALIZATION = 54454
    PROFILE_EVENTS_IN_INSERT = 54456
    ADDENDUM = 54458
    PARAMETERS = 54459
    QUERY_TIME_IN_PROGRESS = 54460
    PASSWORD_RULES = 54461
    INTERSERVER_SECRET_V2 = 54462
    TOTAL_BYTES_IN_PROGRESS = 54463
    TIMEZONE_UPDATES = 54464
    SYSTEM_KEYWORDS = 54468


OLDEST_REVISION = Revision.SETTINGS_AS_STRINGS
NEWEST_REVISION = Revision.SYSTEM_KEYWORDS
STAGE_COMPLETE = 2
