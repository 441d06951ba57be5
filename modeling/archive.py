"""DOOR: the recorded datasets known by name, read from the folder of recorded market data."""

from pathlib import Path

import numpy as np
import pandas as pd

from marketdata.features.pump_chunks import page_repeats
from modeling.bar_tapes import BarTape
from modeling.dataset import DatasetError
from modeling.pump_tapes import DAY_MS, PumpTape

PUMPS, KLINES = "pumps", "klines"
RECORDED = (PUMPS, KLINES)
PUMP_FILE = Path("pumps") / "pump_trades_before_2021_06.parquet"
PUBLISHED_FILE = "pumps/published_positive_rows_{seconds}s.csv"
KLINE_FILE = Path("klines") / "usdt_1m_2021_04_02_to_05_14.parquet"

_PUMP_COLUMNS = ["event", "event_ts_ms", "symbol", "timestamp", "side", "price", "amount"]
_KLINE_COLUMNS = ["symbol", "date", "open", "high", "low", "close", "volume"]


def read_pump_tapes(data_root: Path) -> list[PumpTape]:
    """Return the trades around each announced pump in order of announcement, without rows recorded twice."""
    path = data_root / PUMP_FILE
    table = _table(path, _PUMP_COLUMNS)
    _refuse_bad(table, path, ["price", "amount"])
    wrong = np.flatnonzero(~table.side.isin(["buy", "sell"]).to_numpy())
    if len(wrong):
        raise DatasetError(f"{path}, row {wrong[0]}: side is neither buy nor sell. The file is damaged: get it again.")
    tapes = [_pump_tape(str(event), rows, path) for event, rows in table.groupby("event", sort=True)]
    return sorted(tapes, key=lambda tape: (tape.announced_ms, tape.event))


def _pump_tape(event: str, rows: pd.DataFrame, path: Path) -> PumpTape:
    announced_ms = int(rows.event_ts_ms.iloc[0])
    ts, is_buy = rows.timestamp.to_numpy(np.int64), (rows.side == "buy").to_numpy()
    price, amount = rows.price.to_numpy(np.float64), rows.amount.to_numpy(np.float64)
    back = np.flatnonzero(np.diff(ts) < 0)
    if len(back):
        raise DatasetError(f"{path}, row {rows.index[back[0] + 1]}: time runs backwards within {event}. Get it again.")
    once = ~page_repeats(ts, is_buy, price, amount, start_ms=announced_ms - 2 * DAY_MS)
    coin = str(rows.symbol.iloc[0]).replace("/", "")
    return PumpTape(event, coin, announced_ms, ts[once], is_buy[once], price[once], (price * amount)[once])


def read_published_onsets(data_root: Path, seconds: int) -> dict[str, np.ndarray]:
    """Return, per coin name, the starts of the published positive chunks in ms; empty where the file is not there."""
    path = data_root / PUBLISHED_FILE.format(seconds=seconds)
    if not path.is_file():
        return {}
    table = pd.read_csv(path, parse_dates=["date"])
    starts = table.date.to_numpy("datetime64[ms]").astype(np.int64)
    return {str(coin): starts[(table.symbol == coin).to_numpy()] for coin in table.symbol.unique()}


def read_bar_tapes(data_root: Path) -> list[BarTape]:
    """Return the one-minute bars of each pair, sorted by pair and time."""
    path = data_root / KLINE_FILE
    table = _table(path, _KLINE_COLUMNS)
    _refuse_bad(table, path, ["open", "high", "low", "close"])
    tapes = []
    for symbol, rows in table.groupby("symbol", sort=True):
        start_ms = rows.date.to_numpy("datetime64[ms]").astype(np.int64)
        back = np.flatnonzero(np.diff(start_ms) <= 0)
        if len(back):
            raise DatasetError(f"{path}, row {rows.index[back[0] + 1]}: bars of {symbol} are out of order or doubled.")
        values = (rows[name].to_numpy(np.float64) for name in ("open", "high", "low", "close", "volume"))
        tapes.append(BarTape(str(symbol).replace("_", ""), start_ms, *values))
    return tapes


def _table(path: Path, columns: list[str]) -> pd.DataFrame:
    if not path.is_file():
        raise DatasetError(
            f"There are no recorded data in {path}. Set SURGE_DATA_ROOT to the folder that holds them, "
            "or train on 'simulated' or on a recording of your own."
        )
    try:
        return pd.read_parquet(path, columns=columns)
    except (OSError, ValueError, KeyError) as error:
        raise DatasetError(f"{path} cannot be read: {error}. Get the file again.") from error


def _refuse_bad(table: pd.DataFrame, path: Path, columns: list[str]) -> None:
    for name in columns:
        values = table[name].to_numpy(np.float64)
        bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
        if len(bad):
            raise DatasetError(f"{path}, row {bad[0]}: {name} is {values[bad[0]]}, not a number above zero.")
