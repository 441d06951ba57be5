"""The figure of one coin."""

import json
import math
import re
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signals.charts import MAX_POINTS, ChartLabels, SignalMark, symbol_figure, thin_extremes

LABELS = ChartLabels("Price", "Probability", "Signals", "threshold")
CSS = Path(__file__).resolve().parents[2] / "static" / "css" / "variables.css"
MARK = SignalMark(1_700_000_001_000, 101.0, "A 71.0%", "tp")


def figure(n: int = 5, marks=(MARK,), p_min: float | None = 0.6, **changes):
    tick_ns = 1_700_000_000_000_000_000 + np.arange(n) * 1_000_000_000
    arrays = {"tick_ns": tick_ns, "mid": np.linspace(100.0, 101.0, n), "p": np.full(n, 0.25)} | changes
    return symbol_figure("BTCUSDT", arrays["tick_ns"], arrays["mid"], arrays["p"], marks, p_min, LABELS)


def themed(value):
    """Put a colour where the browser would, so that Plotly's own checks can judge the rest."""
    if isinstance(value, str):
        return re.sub(r"^var\(--.*\)$", "#123456", value)
    if isinstance(value, list):
        return [themed(item) for item in value]
    return {key: themed(item) for key, item in value.items()} if isinstance(value, dict) else value


@pytest.mark.parametrize("p_min", [0.6, None])
def test_plotly_accepts_the_figure(p_min: float | None) -> None:
    go.Figure(themed(figure(p_min=p_min)))


def test_price_is_above_and_probability_below_on_its_own_axis() -> None:
    drawn = figure()
    price, probability, _ = drawn["data"]
    assert price["x"] == [1_700_000_000_000 + 1000 * n for n in range(5)]
    assert price["y"] == [100.0, 100.25, 100.5, 100.75, 101.0]
    assert probability["yaxis"] == "y2"
    assert drawn["layout"]["yaxis2"]["domain"][1] < drawn["layout"]["yaxis"]["domain"][0]


def test_the_threshold_is_a_line_over_the_probability_and_absent_without_a_strategy() -> None:
    (line,) = figure()["layout"]["shapes"]
    assert (line["yref"], line["y0"], line["y1"]) == ("y2", 0.6, 0.6)
    assert figure(p_min=None)["layout"]["shapes"] == []


def test_each_signal_is_a_mark_coloured_by_its_outcome() -> None:
    marks = [MARK, MARK._replace(result="sl"), MARK._replace(result="timeout"), MARK._replace(result=None)]
    drawn = figure(marks=marks)["data"][2]
    assert drawn["marker"]["color"] == ["var(--up)", "var(--down)", "var(--warning)", "var(--accent-text)"]
    assert drawn["x"] == [MARK.decided_ms] * 4
    assert drawn["text"] == [MARK.text] * 4


def test_a_gap_in_the_data_is_null_in_the_json() -> None:
    drawn = figure(3, mid=np.array([1.0, math.nan, math.inf]))
    assert drawn["data"][0]["y"] == [1.0, None, None]
    json.dumps(drawn, allow_nan=False)


def test_an_empty_history_is_an_empty_figure() -> None:
    assert [trace["x"] for trace in figure(0, marks=())["data"]] == [[], [], []]


def test_every_colour_named_is_a_variable_of_both_themes() -> None:
    named = set(re.findall(r"var\((--[\w-]+)\)", json.dumps(figure())))
    defined = set(re.findall(r"^\s*(--[\w-]+):", CSS.read_text(encoding="utf-8"), re.MULTILINE))
    assert named
    assert named <= defined


def test_a_long_history_stays_small() -> None:
    n = 20_000
    rng = np.random.default_rng(5)
    drawn = figure(n, mid=100 + rng.normal(0, 1, n).cumsum() / 100, p=rng.random(n))
    assert len(drawn["data"][0]["x"]) <= MAX_POINTS
    assert len(json.dumps(drawn)) < 250_000


@given(
    st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), min_size=1, max_size=400),
    st.integers(2, 50),
)
def test_thinning_keeps_order_and_the_extremes(values: list[float], most: int) -> None:
    array = np.array(values)
    kept = thin_extremes(array, most)
    assert len(kept) <= max(most, 2)
    assert (np.diff(kept) > 0).all()
    if not np.isnan(array).all():
        assert np.nanmax(array[kept]) == np.nanmax(array)
        assert np.nanmin(array[kept]) == np.nanmin(array)
