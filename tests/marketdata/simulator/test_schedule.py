import pytest

from marketdata.simulator.knobs import KNOBS
from marketdata.simulator.schedule import FAULTS, fault_schedule

SYMBOLS = ("BTCUSDT", "ETHUSDT")


def test_the_same_seed_gives_the_same_faults() -> None:
    assert fault_schedule(7, 600.0, SYMBOLS) == fault_schedule(7, 600.0, SYMBOLS)
    assert fault_schedule(7, 600.0, SYMBOLS) != fault_schedule(8, 600.0, SYMBOLS)


def test_faults_come_in_order_and_about_as_often_as_asked() -> None:
    planned = fault_schedule(1, 20_000.0, SYMBOLS, every_s=20.0)
    times = [one.at_s for one in planned]
    assert times == sorted(times)
    assert 800 < sum(one.fault != "heal" for one in planned) < 1200


def test_every_planned_fault_is_a_knob_with_parameters_it_knows() -> None:
    planned = fault_schedule(3, 50_000.0, SYMBOLS)
    for one in planned:
        assert one.parameters.keys() <= KNOBS[one.fault].parameters.keys(), one


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_can_be_drawn_alone_and_what_lasts_is_healed(name: str) -> None:
    planned = fault_schedule(2, 400.0, SYMBOLS, names=[name])
    assert planned
    lasting = {"freeze", "stall_all", "stall_one", "delay", "pause", "skew", "microseconds", "enums", "burst"}
    lasting |= {"trickle", "delist"}
    assert any(one.fault == "heal" for one in planned) == (name in lasting)


@pytest.mark.parametrize(
    ("names", "symbols", "every_s"), [(["no such"], SYMBOLS, 20.0), (["cut"], (), 20.0), (["cut"], SYMBOLS, 0.0)]
)
def test_a_schedule_of_nothing_is_refused(names: list[str], symbols: tuple[str, ...], every_s: float) -> None:
    with pytest.raises(ValueError, match="no schedule"):
        fault_schedule(1, 100.0, symbols, names=names, every_s=every_s)
