"""Settings that come with one query: laid over the session's own before it, taken off before the next."""

from collections.abc import Callable, Iterable, Mapping

from surge_site.engines.clickhouse_bridge.errors import Code, ServerError
from surge_site.engines.clickhouse_bridge.quoting import quoted
from surge_site.engines.clickhouse_bridge.request import Setting

READONLY = "readonly"
LOG_COMMENT = "log_comment"
COMPRESSION_METHOD = "network_compression_method"
SESSION_TIMEZONE = "session_timezone"
# The bridge reads what the engine writes in the format Native: these would change its bytes.
_FIXED = frozenset(
    {
        "extremes",
        "output_format_native_encode_types_in_binary_format",
        "output_format_native_write_json_as_string",
        "output_format_native_use_flattened_dynamic_and_json_serialization",
    }
)
_OFF = frozenset({"0", "false", ""})


class SettingsOverlay:
    """The settings of the current query on top of one session's settings.

    `execute` runs a SET statement, `look_up` returns the session's own changed values by name.
    A query mostly brings the settings of the one before it: then nothing is sent to the engine.
    """

    def __init__(
        self, execute: Callable[[str], object], look_up: Callable[[Iterable[str]], dict[str, str]], tag: str
    ) -> None:
        self._execute = execute
        self._look_up = look_up
        self._tag = tag
        self._current: dict[str, str] = {}
        self._below: dict[str, str] = {}
        self.session_was_set = False  # the client ran SET itself: defaults are no longer what lies below

    def __getitem__(self, name: str) -> str:
        return self._current.get(name, "")

    def lay(self, wanted: Mapping[str, str]) -> None:
        if wanted == self._current:
            return
        self.lift()
        self._below = self._look_up(wanted) if self.session_was_set and wanted else {}
        self._current = dict(wanted)  # first: a value that the engine refuses must be lifted too
        self._set({name: quoted(self._tagged(name, value)) for name, value in wanted.items()})

    def lift(self) -> None:
        names, self._current = list(self._current), {}
        below = {LOG_COMMENT: self._tag, **self._below}
        self._set({name: quoted(below[name]) if name in below else "DEFAULT" for name in names})

    def _tagged(self, name: str, value: str) -> str:
        """The tag marks the session's queries, so that they can be found and killed."""
        return f"{self._tag} {value}" if name == LOG_COMMENT else value

    def _set(self, assignments: Mapping[str, str]) -> None:
        if assignments:
            self._execute("SET " + ", ".join(f"{name} = {value}" for name, value in assignments.items()))


def settings_wanted(settings: Iterable[Setting], known: frozenset[str]) -> tuple[dict[str, str], list[str]]:
    """Split a query's settings into the ones to lay over and the names that nobody knows.

    Like ClickHouse: an unknown setting is an error when the client calls it important, else it is left out.
    """
    wanted: dict[str, str] = {}
    unknown: list[str] = []
    for setting in settings:
        if setting.name in known:
            wanted[setting.name] = _allowed(setting)
        elif setting.is_important:
            raise ServerError.own(Code.UNKNOWN_SETTING, f"Unknown setting '{setting.name}'.")
        else:
            unknown.append(setting.name)
    return wanted, unknown


def _allowed(setting: Setting) -> str:
    if setting.name in _FIXED and setting.value.lower() not in _OFF:
        raise ServerError.own(Code.NOT_IMPLEMENTED, f"The embedded ClickHouse keeps the setting {setting.name} off")
    return setting.value
