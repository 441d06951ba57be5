"""Numbers as people read them."""

import math

import pytest

from signals.formats import age_text, bps_text, percent_text, price_text, signed_bps_text


@pytest.mark.parametrize(
    ("price", "text"),
    [
        (67123.456, "67,123.46"),
        (100.0, "100.00"),
        (99.99, "99.9900"),
        (1.0, "1.0000"),
        (0.5432, "0.54320"),
        (0.00001234, "0.00001234"),
        (0.0, "0.00000000"),
    ],
)
def test_a_price_has_the_digits_of_its_size(price: float, text: str) -> None:
    assert price_text(price) == text


@pytest.mark.parametrize("write", [price_text, percent_text, bps_text, signed_bps_text, age_text])
@pytest.mark.parametrize("nothing", [None, math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_is_a_dash(write, nothing) -> None:
    assert write(nothing) == "–"


@pytest.mark.parametrize(
    ("bps", "text"), [(12.34, "+12.3"), (-12.36, "-12.4"), (0.0, "0.0"), (0.04, "0.0"), (-0.04, "0.0")]
)
def test_a_gain_carries_its_sign_and_nothing_carries_none(bps: float, text: str) -> None:
    assert signed_bps_text(bps) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "0.0 s"), (-5, "0.0 s"), (9_940, "9.9 s"), (10_000, "10 s"), (60_000, "1 min"), (7_200_000, "2 h")],
)
def test_an_age_is_coarser_the_older_it_is(milliseconds: float, text: str) -> None:
    assert age_text(milliseconds) == text


def test_a_share_is_a_percentage_with_one_digit() -> None:
    assert percent_text(0.6234) == "62.3%"
