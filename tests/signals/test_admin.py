"""The admin: strategies are checked, the ledger is only read, and lists of any length stay fast."""

import re

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from signals import admin as signals_admin
from signals.models import Signal, Strategy
from tests.signals.factories import outcome_make, signal_make, strategy_make

pytestmark = pytest.mark.django_db

STRATEGY = {
    "name": "c-tier",
    "tier": "B",
    "is_active": "on",
    "p_min": "0.5",
    "utility_min_bps": "1",
    "max_spread_bps": "10",
    "min_depth_ratio": "1",
    "cooldown_s": "30",
    "release_ratio": "0.7",
    "notional_quote": "500",
}
LISTS = ["/admin/signals/strategy/", "/admin/signals/signal/", "/admin/signals/signaloutcome/"]


@pytest.fixture
def staff(client: Client, db: None) -> Client:
    client.force_login(get_user_model().objects.create_superuser("chief", password="runs-the-whole-house"))
    return client


@pytest.mark.parametrize("address", LISTS)
def test_only_staff_may_enter(page: Client, address: str) -> None:
    assert page.get(address).status_code == 302
    assert page.get(address).url.startswith("/admin/login/")


@pytest.mark.parametrize("address", LISTS)
def test_lists_open(staff: Client, address: str) -> None:
    outcome_make(signal_make("币安人生USDT"))
    assert staff.get(address).status_code == 200


def test_a_strategy_can_be_added_and_changed(staff: Client) -> None:
    assert staff.post("/admin/signals/strategy/add/", STRATEGY).status_code == 302
    strategy = Strategy.objects.get(name="c-tier")
    answer = staff.post(f"/admin/signals/strategy/{strategy.pk}/change/", STRATEGY | {"p_min": "0.8"})
    assert answer.status_code == 302
    strategy.refresh_from_db()
    assert strategy.p_min == 0.8


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("p_min", "1.2"),
        ("p_min", "-0.1"),
        ("p_min", "nan"),
        ("notional_quote", "0"),
        ("utility_min_bps", "inf"),
        ("cooldown_s", "-1"),
        ("tier", "Z"),
        ("name", "with space"),
        ("name", "a-tier"),
    ],
)
def test_a_strategy_that_makes_no_sense_is_refused(staff: Client, field: str, value: str) -> None:
    strategy_make("a-tier")
    answer = staff.post("/admin/signals/strategy/add/", STRATEGY | {field: value})
    assert answer.status_code == 200
    assert field in answer.context["adminform"].form.errors
    assert Strategy.objects.count() == 1


@pytest.mark.parametrize("action", ["add/", "{pk}/change/", "{pk}/delete/"])
@pytest.mark.parametrize("table", ["signal", "signaloutcome"])
def test_the_ledger_can_only_be_read(staff: Client, table: str, action: str) -> None:
    outcome = outcome_make(signal_make())
    pk = outcome.signal_id if table == "signal" else outcome.pk
    answer = staff.post(f"/admin/signals/{table}/{action.format(pk=pk)}", {"symbol": "HACKED", "post": "yes"})
    assert answer.status_code == 403
    assert Signal.objects.get().symbol == "BTCUSDT"


def test_a_signal_shows_its_numbers_and_its_outcome(staff: Client) -> None:
    outcome = outcome_make(signal_make())
    html = staff.get(f"/admin/signals/signal/{outcome.signal_id}/change/").content.decode()
    for text in ("67123.45", "fees_bps", "take_profit_bps", "target reached"):
        assert text in html
    assert 'name="_save"' not in html


@pytest.mark.parametrize("address", LISTS[1:])
def test_long_lists_are_never_counted_whole(staff: Client, address: str) -> None:
    outcome_make(signal_make())
    with CaptureQueriesContext(connection) as asked:
        staff.get(address)
    counts = [query["sql"] for query in asked if "COUNT(" in query["sql"]]
    assert counts
    assert all(re.search(r"LIMIT \d+\) subquery", sql) for sql in counts)


def test_past_its_limit_the_count_is_postgresqls_own_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    for ago in range(8):
        signal_make(seconds_ago=ago + 1)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE signals_signal")
    pages = signals_admin.EstimatedPaginator(Signal.objects.all(), 2)
    assert pages.count == 8
    monkeypatch.setattr(signals_admin, "COUNT_LIMIT", 5)
    assert signals_admin.EstimatedPaginator(Signal.objects.all(), 2).count == 8
    assert signals_admin.EstimatedPaginator(Signal.objects.filter(mode="demo"), 2).count == 5


def test_a_list_of_signals_takes_few_questions(staff: Client, django_assert_max_num_queries) -> None:
    for ago in range(30):
        outcome_make(signal_make(seconds_ago=ago + 1))
    with django_assert_max_num_queries(10):
        staff.get("/admin/signals/signal/")


def test_signals_of_the_other_mode_stay_out(staff: Client) -> None:
    signal_make("LEAKUSDT", mode="production")
    assert "LEAKUSDT" not in staff.get("/admin/signals/signal/").content.decode()


def test_the_search_wants_the_whole_symbol(staff: Client) -> None:
    signal_make("BTCUSDT")
    signal_make("ETHUSDT")
    html = staff.get("/admin/signals/signal/?q=ethusdt").content.decode()
    assert "ETHUSDT" in html
    assert "BTCUSDT</a>" not in html
    assert 'symbol=BTCUSDT"' not in html


def test_the_admin_wears_the_colours_of_the_house(staff: Client) -> None:
    html = staff.get("/admin/").content.decode()
    assert "css/admin.css" in html
    assert "theme-dark mode-demo" in html
    assert "admin/js/theme.js" not in html
    staff.cookies["surge_theme"] = "light"
    assert "theme-light mode-demo" in staff.get("/admin/").content.decode()


def test_the_admin_speaks_chinese(staff: Client, chinese: None) -> None:
    strategy_make()
    html = staff.get("/admin/signals/strategy/", headers={"Accept-Language": "zh-hans"}).content.decode()
    assert "最低概率" in html
    assert "Surge 管理后台" in html
