"""A running site on real engines, a reader's session, and a Chromium that reports every complaint."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from signals.selectors import board_key, redis_client
from tests.browser.site_process import SiteProcess

CHROMIUM = os.environ.get("SURGE_CHROMIUM", "/usr/bin/chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PASSWORD = "reads-all-day-long"
REPORT_VIOLATIONS = """document.addEventListener('securitypolicyviolation', (event) => console.error(
  `CSP: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`))"""


@pytest.fixture(scope="session")
def site(
    django_db_setup: None, redis_url: str, clickhouse_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SiteProcess]:
    call_command("compile_translations", verbosity=0)
    process = SiteProcess(tmp_path_factory.mktemp("site"))
    process.start()
    yield process
    process.stop()


@pytest.fixture
def hot(redis_url: str) -> Iterator[redis.Redis]:
    """Redis with an empty board."""
    with redis_client() as found:
        found.delete(board_key("demo"))
        yield found


@pytest.fixture
def reader(transactional_db: None) -> User:
    return get_user_model().objects.create_superuser("reader", password=PASSWORD)


@pytest.fixture
def cookie_of(transactional_db: None) -> Callable[[str], str]:
    """Return the session cookie of a reader who is logged in."""

    def log_in(name: str) -> str:
        client = Client()
        client.force_login(get_user_model().objects.create_user(name))
        return "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())

    return log_in


@pytest.fixture
def cookie(cookie_of: Callable[[str], str]) -> str:
    return cookie_of("listener")


@pytest.fixture(scope="module")  # no wider: while Playwright is open its event loop runs in this thread
def chromium() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: ./surge test installs it")
    if not shutil.which(CHROMIUM):
        pytest.skip(f"no Chromium at {CHROMIUM}: apt-get install chromium, or set SURGE_CHROMIUM to its path")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"  # Playwright's own event loop is not Django's
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


class Window:
    """A browser window of one reader. Console errors and policy violations of its pages are kept."""

    def __init__(self, browser: Any, site: SiteProcess, **options: Any) -> None:
        self.site = site
        self.context = browser.new_context(base_url=site.url, locale="en-US", **options)
        self.context.set_default_timeout(15_000)
        self.context.add_init_script(REPORT_VIOLATIONS)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def log_in(self, address: str = "/") -> Any:
        """Walk through the door as a person would, and wait until the page is live."""
        self.page.goto(address)
        self.page.fill("#id_username", "reader")
        self.page.fill("#id_password", PASSWORD)
        self.page.click("main .button-primary")
        self.live()
        return self.page

    def live(self) -> None:
        self.page.wait_for_selector('#live-badge:is([data-state="live"], [data-state="stale"])')

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@pytest.fixture
def windows(chromium: Any, site: SiteProcess, reader: User) -> Iterator[Any]:
    """Open windows; at the end none of them may have complained."""
    opened: list[Window] = []

    def open_window(**options: Any) -> Window:
        opened.append(Window(chromium, site, **options))
        return opened[-1]

    yield open_window
    for window in opened:
        window.context.close()
    assert [complaint for window in opened for complaint in window.complaints] == []


@pytest.fixture
def window(windows: Any) -> Window:
    return windows(viewport={"width": 1440, "height": 900})


@pytest.fixture(scope="session")
def pictures() -> Path | None:
    """Where to keep screenshots, if anywhere: SURGE_PICTURES=folder."""
    folder = os.environ.get("SURGE_PICTURES")
    if folder is None:
        return None
    Path(folder).mkdir(parents=True, exist_ok=True)
    return Path(folder)
