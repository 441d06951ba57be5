from marketdata.events import NS_PER_S
from marketdata.simulator.penalties import CONNECTS_PER_5_MIN, LONGEST_BAN_NS, MINUTE_NS, TOLERATED, Penalties

LIMIT = 100


def refused(start_ns: int = 0) -> Penalties:
    """An address that has just been told to stop for this minute."""
    account = Penalties()
    assert account.charge(LIMIT, LIMIT, start_ns) is None
    verdict = account.charge(1, LIMIT, start_ns)
    assert verdict is not None and verdict.status == 429
    return account


def test_a_429_lasts_until_the_minute_is_over() -> None:
    account = refused(40 * NS_PER_S)
    verdict = account.charge(1, LIMIT, 50 * NS_PER_S)
    assert verdict == (429, 10 * NS_PER_S)
    assert account.charge(1, LIMIT, 60 * NS_PER_S) is None


def test_who_ignores_a_429_is_banned_and_each_ban_is_longer() -> None:
    account, now_ns, bans = Penalties(), 0, []
    for _ in range(3):
        account.charge(LIMIT + 1, LIMIT, now_ns)
        for _ in range(TOLERATED + 1):
            verdict = account.charge(1, LIMIT, now_ns)
        assert verdict is not None and verdict.status == 418
        bans.append(verdict.wait_ns)
        now_ns += verdict.wait_ns + MINUTE_NS
    assert bans == [2 * MINUTE_NS, 4 * MINUTE_NS, 8 * MINUTE_NS]


def test_no_ban_is_longer_than_three_days() -> None:
    account = refused()
    account.bans = 60
    for _ in range(TOLERATED + 1):
        verdict = account.charge(1, LIMIT, 0)
    assert verdict == (418, LONGEST_BAN_NS)


def test_a_patient_client_makes_no_early_call_and_an_impatient_one_is_counted() -> None:
    account = refused()
    assert account.early == 0
    account.charge(1, LIMIT, NS_PER_S)
    assert account.early == 1


def test_a_ban_survives_being_written_down() -> None:
    account = Penalties()
    account.ban(90 * NS_PER_S, NS_PER_S)
    account.may_connect(7)
    again = Penalties.from_dict(account.as_dict())
    assert again == account
    assert again.charge(1, LIMIT, 2 * NS_PER_S) == (418, 89 * NS_PER_S)


def test_the_301st_connect_in_five_minutes_is_refused() -> None:
    account = Penalties()
    assert all(account.may_connect(NS_PER_S) for _ in range(CONNECTS_PER_5_MIN))
    assert not account.may_connect(2 * NS_PER_S)
    assert account.may_connect(6 * MINUTE_NS)
