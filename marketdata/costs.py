"""What a round trip costs, in basis points of the position: the one cost model of labels, decisions and backtests."""

from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import numpy as np

from marketdata.events import Market


@dataclass(frozen=True)
class FeeSchedule:
    """Published fees of one market and tier, with the day and place they were read."""

    market: Market
    tier: str
    maker_bps: float
    taker_bps: float
    valid_from: date
    source: str


FEES = (
    FeeSchedule(Market.SPOT, "VIP0", 10.0, 10.0, date(2023, 1, 1), "Binance spot fee schedule, regular user"),
    FeeSchedule(Market.SPOT, "VIP0-BNB", 7.5, 7.5, date(2023, 1, 1), "the same with the 25 % BNB discount"),
    FeeSchedule(Market.USDM, "VIP0", 2.0, 5.0, date(2023, 1, 1), "Binance USD-M fee schedule, regular user"),
    FeeSchedule(Market.USDM, "VIP0-BNB", 1.8, 4.5, date(2023, 1, 1), "the same with the 10 % BNB discount"),
)


def fee_schedule(market: Market, tier: str = "VIP0") -> FeeSchedule:
    """Return the newest schedule of a market and tier; `KeyError` names the tiers that exist."""
    known = [fees for fees in FEES if fees.market is market and fees.tier == tier]
    if not known:
        tiers = ", ".join(sorted({fees.tier for fees in FEES if fees.market is market}))
        raise KeyError(f"no fees for tier {tier} on {market}; known tiers: {tiers}")
    return max(known, key=lambda fees: fees.valid_from)


class CostParts(NamedTuple):
    """Round-trip costs in bps of the position, arrays of one shape; their sum is the cost."""

    fees_bps: np.ndarray
    spread_bps: np.ndarray
    slippage_bps: np.ndarray

    def total(self) -> np.ndarray:
        """Return the sum of the parts, NaN where a part is unknown."""
        total: np.ndarray = self.fees_bps + self.spread_bps + self.slippage_bps
        return total


@dataclass(frozen=True)
class CostModel:
    """Price a round trip: buy now at the asks, sell later at the bids, both as taker.

    Parameters
    ----------
    entry_fee_bps, exit_fee_bps : float
        Fees of the two legs in bps of the position.

    Notes
    -----
    The spread is paid half on each leg. The slippage of the exit is walked on today's bids: the book at the exit is
    not known yet. Barriers measured from entry ask to exit bid already contain the spread; `spread_in_barriers`
    leaves it out then, so that it is not paid twice.
    """

    entry_fee_bps: float
    exit_fee_bps: float
    spread_in_barriers: bool = True

    @classmethod
    def taker(cls, fees: FeeSchedule) -> "CostModel":
        return cls(fees.taker_bps, fees.taker_bps)

    def parts(self, spread_bps: np.ndarray, buy_slippage_bps: np.ndarray, sell_slippage_bps: np.ndarray) -> CostParts:
        """Return the parts for each row.

        Parameters
        ----------
        spread_bps, buy_slippage_bps, sell_slippage_bps : ndarray of float64, shape (n,)
            Bps of mid; NaN where unknown (no book, or a book too thin for the size), which makes the total NaN.
        """
        spread = np.zeros_like(spread_bps) if self.spread_in_barriers else np.asarray(spread_bps, np.float64)
        fees = np.full_like(spread, self.entry_fee_bps + self.exit_fee_bps)
        return CostParts(fees, spread, buy_slippage_bps + sell_slippage_bps)
