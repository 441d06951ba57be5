"""From the command line to a Django command: --set values, the engines a command needs, plain sentences on failure."""

import argparse
import contextlib
import json
import logging
import os
import sys

from surge_site.config import COMMAND_LINE_VARIABLE, OWN_ENGINES_VARIABLE, ConfigError, config_load
from surge_site.engines.engine import EngineError
from surge_site.engines.lease import EngineLease

WITHOUT_ENGINES = {
    "", "check", "collectstatic", "compile_kernels", "compile_translations", "compilemessages", "config_explain",
    "diffsettings", "exchange", "findstatic", "help", "lint", "lookahead", "makemessages", "makemigrations",
    "spectacular", "startapp", "test", "version",
}  # fmt: skip
USAGE_ERROR, STOPPED_BY_HAND = 2, 130


def main(argv: list[str]) -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "surge_site.settings")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        argv = _take_settings(argv)
        with _engines_for(argv):
            _run(argv)
    except (ConfigError, EngineError) as error:
        print(error, file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return STOPPED_BY_HAND
    return 0


def _run(argv: list[str]) -> None:
    from django.core.management import execute_from_command_line  # noqa: PLC0415  the engines must answer first

    execute_from_command_line(argv)


def _take_settings(argv: list[str]) -> list[str]:
    """Cut `--set name=value` out of the words and pass it on, to child processes too."""
    rest, values = [], json.loads(os.environ.get(COMMAND_LINE_VARIABLE, "{}"))
    words = iter(argv)
    for word in words:
        if word != "--set":
            rest.append(word)
            continue
        name, equals, value = next(words, "").partition("=")
        if not equals:
            raise ConfigError(["--set wants name=value, for example --set market=usdm."])
        values[name.lower()] = value
    if rest[1:2] == ["up"]:
        values.update(_settings_of_up(rest[2:]))
    os.environ[COMMAND_LINE_VARIABLE] = json.dumps(values)
    return rest


def _settings_of_up(words: list[str]) -> dict[str, str]:
    """`up` has words of its own for some settings; they count before Django and the engines start."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--demo", dest="mode", action="store_const", const="demo")
    parser.add_argument("--production", dest="mode", action="store_const", const="production")
    parser.add_argument("--market")
    parser.add_argument("--port")
    found, _ = parser.parse_known_args(words)
    return {name: value for name, value in vars(found).items() if value is not None}


def _engines_for(argv: list[str]) -> contextlib.AbstractContextManager[object]:
    config = config_load()  # before everything else: a wrong value starts nothing
    command = argv[1] if len(argv) > 1 else ""
    asks_for_help = command.startswith("-") or "--help" in argv or "-h" in argv
    if asks_for_help or command in WITHOUT_ENGINES or OWN_ENGINES_VARIABLE in os.environ:
        return contextlib.nullcontext()
    return EngineLease(config, as_warden=command == "up")
