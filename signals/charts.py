"""Plotly figures from plain arrays. Colours are names of CSS variables; the browser puts the theme's values in."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_POINTS = 1_200
"""More points than pixels only make the page heavy."""

PRICE_TRACE, PROBABILITY_TRACE, SIGNAL_TRACE = 0, 1, 2
RESULT_COLOURS = {"tp": "var(--up)", "sl": "var(--down)", "timeout": "var(--warning)", None: "var(--accent-text)"}

TIME_FORMATS = [  # digits only, so that no language needs its own names of months
    {"dtickrange": [None, 60_000], "value": "%H:%M:%S"},
    {"dtickrange": [60_000, 86_400_000], "value": "%H:%M"},
    {"dtickrange": [86_400_000, None], "value": "%Y-%m-%d"},
]
STRONG = {"color": "var(--text-strong)"}
SMALL_UP = {"size": 10, "color": "var(--up-text)"}

Figure = dict[str, Any]


class SignalMark(NamedTuple):
    """One signal as a mark on the price line."""

    decided_ms: int
    price: float
    text: str
    result: str | None


class ChartLabels(NamedTuple):
    """The words of the chart in the reader's language."""

    price: str
    probability: str
    signals: str
    threshold: str


def thin_extremes(values: NDArray[np.float64], max_points: int) -> NDArray[np.intp]:
    """Return the indices, in order, that keep the lowest and highest value of each of equal stretches.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        NaN never wins against a number.
    max_points : int
        At most this many indices come back (at least 2).

    Examples
    --------
    >>> thin_extremes(np.array([1.0, 9.0, 2.0, 3.0, -5.0, 4.0]), 4).tolist()
    [0, 1, 4, 5]
    """
    n = len(values)
    if n <= max_points:
        return np.arange(n)
    edges = np.linspace(0, n, max_points // 2 + 1).astype(np.intp)
    low, high = np.where(np.isnan(values), np.inf, values), np.where(np.isnan(values), -np.inf, values)
    kept = [
        index
        for start, end in zip(edges[:-1], edges[1:], strict=True)
        for index in (start + int(np.argmin(low[start:end])), start + int(np.argmax(high[start:end])))
    ]
    return np.unique(np.array(kept, dtype=np.intp))


def finite_or_none(values: NDArray[np.float64], digits: int) -> list[float | None]:
    """Return numbers that JSON can carry: NaN and infinities become null, and so a gap in the line."""
    return [round(float(value), digits) if np.isfinite(value) else None for value in values]


def _line(ms: NDArray[np.int64], values: NDArray[np.float64], digits: int, **style: Any) -> Figure:
    kept = thin_extremes(values, MAX_POINTS)
    return {
        "type": "scatter",
        "mode": "lines",
        "x": ms[kept].tolist(),
        "y": finite_or_none(values[kept], digits),
        **style,
    }


def _marks(marks: Sequence[SignalMark], name: str) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [mark.decided_ms for mark in marks],
        "y": [mark.price for mark in marks],
        "text": [mark.text for mark in marks],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {
            "symbol": "triangle-up",
            "size": 13,
            "color": [RESULT_COLOURS.get(mark.result, "var(--accent-text)") for mark in marks],
            "line": {"width": 1.5, "color": "var(--panel)"},
        },
    }


def _axis(**more: Any) -> Figure:
    return {
        "gridcolor": "var(--border)",
        "griddash": "dot",
        "linecolor": "var(--border)",
        "zeroline": False,
        "fixedrange": False,
        "automargin": True,
        "tickfont": {"size": 11},
        **more,
    }


def _layout(symbol: str, p_min: float | None, labels: ChartLabels) -> Figure:
    layout: Figure = {
        "uirevision": symbol,
        "showlegend": False,
        "hovermode": "x unified",
        "dragmode": "zoom",
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "var(--text-muted)", "family": "var(--font)", "size": 12},
        "hoverlabel": {
            "bgcolor": "var(--card)",
            "bordercolor": "var(--border)",
            "font": {"color": "var(--text-strong)"},
        },
        "xaxis": _axis(type="date", anchor="y2", hoverformat="%H:%M:%S UTC", tickformatstops=TIME_FORMATS),
        "yaxis": _axis(side="right", domain=[0.3, 1.0], exponentformat="none", separatethousands=True, nticks=6),
        "yaxis2": _axis(side="right", domain=[0.0, 0.22], range=[0, 1], tickformat=".0%", nticks=3, fixedrange=True),
        "shapes": [],
        "meta": {"price": labels.price, "probability": labels.probability},
    }
    if p_min is not None:
        layout["shapes"] = [
            {
                "type": "line",
                "xref": "paper",
                "yref": "y2",
                "x0": 0,
                "x1": 1,
                "y0": p_min,
                "y1": p_min,
                "line": {"color": "var(--up)", "width": 1, "dash": "dash"},
                "label": {
                    "text": labels.threshold,
                    "textposition": "start",
                    "font": {"size": 10, "color": "var(--up-text)"},
                },
            }
        ]
    return layout


def symbol_figure(
    symbol: str,
    tick_ns: NDArray[np.int64],
    mid: NDArray[np.float64],
    p: NDArray[np.float64],
    marks: Sequence[SignalMark],
    p_min: float | None,
    labels: ChartLabels,
) -> Figure:
    """Return price above, probability below, and a mark for each signal.

    Parameters
    ----------
    tick_ns, mid, p : ndarray, shape (n,)
        Decision ticks in order, with the mid price and the calibrated probability at each.
    p_min : float or None
        The lowest threshold of the active strategies, drawn as a dashed line.
    """
    ms = tick_ns // 1_000_000
    price = _line(ms, mid, 10, name=labels.price, line={"color": "var(--accent-text)", "width": 1.6})
    probability = _line(
        ms,
        p,
        4,
        name=labels.probability,
        yaxis="y2",
        fill="tozeroy",
        fillcolor="var(--accent-wash)",
        hovertemplate="%{y:.1%}",
        line={"color": "var(--accent)", "width": 1.4, "shape": "hv"},
    )
    return {"data": [price, probability, _marks(marks, labels.signals)], "layout": _layout(symbol, p_min, labels)}
