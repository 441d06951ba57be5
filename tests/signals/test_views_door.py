"""The door, and the reader's preferences."""

from urllib.parse import unquote

import pytest
import redis
from django.conf import settings
from django.test import Client

pytestmark = pytest.mark.django_db

PAGES = ["/", "/signals/feed/", "/signals/tally/", "/signals/00000000-0000-0000-0000-000000000000/card/"]


@pytest.mark.parametrize("address", PAGES)
def test_a_stranger_is_sent_to_the_door(client: Client, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 302
    assert answer.url.startswith("/login/?next=")


def test_a_stranger_has_no_preferences(client: Client) -> None:
    answer = client.post("/preferences/", {"theme": "light"})
    assert answer.status_code == 302
    assert "surge_theme" not in answer.cookies


def test_the_right_name_and_password_open_the_door(client: Client, reader, hot: redis.Redis) -> None:
    answer = client.post(
        "/login/", {"username": "reader", "password": "reads-all-day-long", "next": "/?symbol=ETHUSDT"}
    )
    assert answer.status_code == 302
    assert answer.url == "/?symbol=ETHUSDT"
    assert client.get("/").status_code == 200


def test_a_wrong_password_is_told_in_words_and_the_name_stays(client: Client, reader) -> None:
    answer = client.post("/login/", {"username": "reader", "password": "wrong"})
    html = answer.content.decode()
    assert "Name and password do not match" in html
    assert 'value="reader"' in html
    assert "wrong" not in html.replace("wrong tries", "")


def test_a_door_does_not_lead_to_another_house(client: Client, reader) -> None:
    login = {"username": "reader", "password": "reads-all-day-long", "next": "https://evil.example/"}
    assert client.post("/login/", login).url == "/"


def test_the_login_needs_its_token(reader) -> None:
    strict = Client(enforce_csrf_checks=True)
    answer = strict.post("/login/", {"username": "reader", "password": "reads-all-day-long"})
    assert answer.status_code == 403
    assert "The form was too old" in answer.content.decode()


def test_logging_out_takes_a_form_and_ends_the_session(page: Client) -> None:
    assert page.get("/logout/").status_code == 405
    assert page.post("/logout/").status_code == 302
    assert page.get("/").status_code == 302


def test_the_theme_is_kept_and_there_from_the_first_byte(page: Client, hot: redis.Redis) -> None:
    assert 'data-theme="dark"' in page.get("/").content.decode()
    answer = page.post("/preferences/", {"theme": "light", "next": "/?symbol=ETHUSDT"})
    assert (answer.status_code, answer.url) == (302, "/?symbol=ETHUSDT")
    cookie = answer.cookies["surge_theme"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert int(cookie["max-age"]) > 300 * 24 * 3600
    assert 'data-theme="light"' in page.get("/").content.decode()


def test_a_script_sets_the_theme_without_a_new_page(page: Client) -> None:
    answer = page.post("/preferences/", {"theme": "light"}, headers={"Accept": "application/json"})
    assert answer.status_code == 204
    assert answer.cookies["surge_theme"].value == "light"


@pytest.mark.parametrize("choice", [{}, {"theme": "pink"}, {"language": "klingon"}])
def test_a_choice_nobody_offers_is_refused(page: Client, choice: dict[str, str]) -> None:
    answer = page.post("/preferences/", choice)
    assert answer.status_code == 404
    assert not answer.cookies


def test_a_forged_theme_cookie_is_the_dark_theme(page: Client, hot: redis.Redis) -> None:
    page.cookies["surge_theme"] = '"><script>'
    assert 'data-theme="dark"' in page.get("/").content.decode()


def test_the_language_switch_keeps_the_address(page: Client, hot: redis.Redis, chinese: None) -> None:
    answer = page.post("/preferences/", {"language": "zh-hans", "next": "/?symbol=币安人生USDT&minutes=60"})
    assert unquote(answer.url) == "/?symbol=币安人生USDT&minutes=60"
    html = page.get("/").content.decode()
    assert '<html lang="zh-hans"' in html
    assert "暴涨看板" in html


@pytest.mark.parametrize("address", ["https://evil.example/", "//evil.example/", "javascript:alert(1)", ""])
def test_preferences_do_not_lead_to_another_house(page: Client, address: str) -> None:
    assert page.post("/preferences/", {"theme": "light", "next": address}).url == "/"


def test_before_the_login_the_door_itself_takes_language_and_theme(client: Client, chinese: None) -> None:
    answer = client.post("/login/?next=/x", {"language": "zh-hans", "next": "/login/?next=/x"})
    assert (answer.status_code, answer.url) == (302, "/login/?next=/x")
    assert client.cookies[settings.LANGUAGE_COOKIE_NAME].value == "zh-hans"
    assert "用户名" in client.get("/login/").content.decode()


def test_the_browsers_own_language_is_respected(client: Client, chinese: None) -> None:
    assert "用户名" in client.get("/login/", headers={"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.5"}).content.decode()


def test_a_wrong_address_is_told_in_plain_words(page: Client) -> None:
    answer = page.get("/no-such-page/")
    assert answer.status_code == 404
    assert "This page does not exist" in answer.content.decode()
