"""The site as people meet it: a real web server process on the engines of the tests, and an ear for its events."""

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, Queue
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from django.db import connection

from surge_site.config import OWN_ENGINES_VARIABLE, PROJECT
from surge_site.engines.ports import port_choose

START_TIMEOUT_S, STOP_TIMEOUT_S = 60.0, 5.0


class SiteProcess:
    """One daphne. It can be stopped and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        self.port = port_choose(taken=set())
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "daphne.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", str(self.port), "surge_site.asgi:application"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(words, cwd=PROJECT, env=self._environment(), stdout=log, stderr=log)
        self._wait()

    def stop(self) -> None:
        """Stop it; a request under way at that moment can keep daphne's threads waiting for a loop that has ended."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _environment(self) -> dict[str, str]:
        """The test database instead of the one that the engines were announced with."""
        environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"}
        name = connection.settings_dict["NAME"]
        if engines := json.loads(os.environ.get(OWN_ENGINES_VARIABLE, "{}")):
            engines["database_url"] = urlsplit(engines["database_url"])._replace(path=f"/{name}").geturl()
            environment[OWN_ENGINES_VARIABLE] = json.dumps(engines)
        else:
            url = urlsplit(os.environ["SURGE_DATABASE_URL"])
            environment["SURGE_DATABASE_URL"] = url._replace(path=f"/{name}").geturl()
        return environment

    def _wait(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            if self._answers():
                return
            time.sleep(0.05)
        raise RuntimeError(f"the web server did not start:\n{self.log.read_text()[-3000:]}")

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/healthz/live")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()


class Heard(NamedTuple):
    """One server-sent event."""

    name: str
    data: str
    id: str

    @property
    def json(self) -> Any:
        return json.loads(self.data)


class Ear:
    """An open event stream; `next` waits for the next event of a kind. Status tells whether it was let in."""

    def __init__(self, site: SiteProcess, cookie: str = "", address: str = "/events/", last_id: str = "") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)
        headers = {"Cookie": cookie} | ({"Last-Event-ID": last_id} if last_id else {})
        self._connection.request("GET", address, headers=headers)
        self.response = self._connection.getresponse()
        self.status = self.response.status
        self.events: Queue[Heard | None] = Queue()
        if self.status == 200:
            threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> "Ear":
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def close(self) -> None:
        if self._connection.sock is not None:
            self._connection.sock.shutdown(2)
        self._connection.close()

    def next(self, *names: str, timeout: float = 10.0) -> Heard:
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            try:
                event = self.events.get(timeout=left)
            except Empty:
                break
            if event is None:
                raise AssertionError(f"the stream ended while waiting for {names}")
            if event.name in names:
                return event
        raise AssertionError(f"no {names} within {timeout} s")

    def ends(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            try:
                if self.events.get(timeout=left) is None:
                    return True
            except Empty:
                return False
        return False

    def _listen(self) -> None:
        try:
            for event in self._parse():
                self.events.put(event)
        except (OSError, http.client.HTTPException, ValueError, AttributeError):
            pass  # closed by this side or that: both are the end
        self.events.put(None)

    def _parse(self) -> Iterator[Heard]:
        fields: dict[str, str] = {}
        while line := self.response.readline():
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if line.strip():
                fields[name] = fields[name] + "\n" + value if name == "data" and "data" in fields else value
            elif fields:
                if "event" in fields:
                    yield Heard(fields["event"], fields.get("data", ""), fields.get("id", ""))
                fields = {}
