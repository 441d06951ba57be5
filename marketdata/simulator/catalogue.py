"""What the simulated exchange lists: names, price steps and how each instrument behaves. Numbers only, no state."""

from decimal import Decimal
from typing import NamedTuple

from marketdata.events import Market

QUOTE = "USDT"


class Listing(NamedTuple):
    """One instrument. Depth and speed are those of a quiet minute."""

    symbol: str
    price: str
    tick_size: str
    step_size: str
    pitch_ticks: int
    """Makers quote on multiples of this many ticks, so an expensive coin has gaps in its book as a real one has."""
    depth_per_bp: float
    """Quote units resting per basis point near the touch."""
    quotes_per_s: float
    takers_per_s: float
    volatility_bps: float
    """Standard deviation of one second's move."""
    half_spread_bps: float
    beta: float
    """Share of the common market move."""

    @property
    def base(self) -> str:
        return self.symbol.removesuffix(QUOTE)


_LISTINGS = (
    Listing("BTCUSDT", "97250.0", "0.1", "0.00001", 10, 60_000, 31, 5.4, 0.7, 0.1, 1.0),
    Listing("ETHUSDT", "3412.00", "0.01", "0.0001", 10, 40_000, 27, 4.5, 0.9, 0.24, 1.1),
    Listing("SOLUSDT", "187.50", "0.01", "0.001", 1, 16_000, 20, 3.1, 1.4, 0.36, 1.2),
    Listing("XRPUSDT", "2.3500", "0.0001", "0.1", 1, 15_000, 19, 2.9, 1.3, 0.3, 1.0),
    Listing("BNBUSDT", "655.00", "0.01", "0.001", 4, 12_000, 17, 2.3, 1.0, 0.36, 0.9),
    Listing("DOGEUSDT", "0.35450", "0.00001", "1", 2, 10_000, 19, 2.9, 1.6, 0.36, 1.3),
    Listing("ADAUSDT", "0.9620", "0.0001", "0.1", 1, 6_000, 14, 2.0, 1.6, 0.6, 1.1),
    Listing("AVAXUSDT", "38.200", "0.001", "0.01", 4, 4_500, 14, 1.8, 1.7, 0.72, 1.2),
    Listing("LINKUSDT", "23.900", "0.001", "0.01", 3, 5_000, 14, 1.8, 1.6, 0.66, 1.1),
    Listing("SUIUSDT", "3.4100", "0.0001", "0.1", 4, 5_000, 15, 2.2, 1.9, 0.72, 1.3),
    Listing("TRXUSDT", "0.24780", "0.00001", "0.1", 3, 5_000, 12, 1.6, 1.1, 0.6, 0.7),
    Listing("DOTUSDT", "7.120", "0.001", "0.01", 1, 4_000, 12, 1.6, 1.6, 0.78, 1.1),
    Listing("LTCUSDT", "104.30", "0.01", "0.001", 1, 4_500, 12, 1.6, 1.4, 0.6, 0.9),
    Listing("NEARUSDT", "5.210", "0.001", "0.1", 1, 3_500, 13, 1.7, 1.9, 1.08, 1.2),
    Listing("APTUSDT", "9.020", "0.001", "0.01", 1, 3_000, 12, 1.5, 1.8, 0.78, 1.2),
    Listing("PEPEUSDT", "0.00004842", "0.00000001", "1", 1, 6_000, 17, 2.3, 2.2, 1.2, 1.4),
    Listing("WIFUSDT", "1.8740", "0.0001", "0.01", 3, 2_500, 14, 1.8, 2.3, 1.08, 1.4),
    Listing("INJUSDT", "21.400", "0.001", "0.01", 3, 2_500, 12, 1.5, 2.0, 0.96, 1.2),
    Listing("FETUSDT", "1.3120", "0.0001", "0.1", 2, 2_500, 12, 1.5, 2.0, 0.96, 1.2),
    Listing("币安人生USDT", "0.18730", "0.00001", "1", 3, 2_000, 12, 1.6, 2.3, 1.14, 1.0),
)


def _numbered(number: int) -> Listing:
    """Listings beyond the named ones, for load tests."""
    price = Decimal(12 + 7 * (number % 11)) / 10
    return Listing(f"SIM{number:03d}USDT", f"{price:.4f}", "0.0001", "0.1", 1, 4_000, 14, 1.8, 1.7, 1.3, 1.0)


def listings(count: int) -> tuple[Listing, ...]:
    """The first `count` instruments."""
    if count < 1:
        raise ValueError(f"an exchange lists at least one symbol, not {count}")
    return _LISTINGS[:count] + tuple(_numbered(n) for n in range(len(_LISTINGS) + 1, count + 1))


def decimals(number: str) -> int:
    return len(number.partition(".")[2])


def exchange_info(market: Market, listed: tuple[Listing, ...], server_time_ms: int) -> dict[str, object]:
    """The body of REST exchangeInfo, in the shape of `market`."""
    describe = _spot_symbol if market is Market.SPOT else _usdm_symbol
    limit = 6000 if market is Market.SPOT else 2400
    weight = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": limit}
    return {
        "timezone": "UTC",
        "serverTime": server_time_ms,
        "rateLimits": [weight],
        "exchangeFilters": [],
        "symbols": [describe(listing) for listing in listed],
    }


def _spot_symbol(listing: Listing) -> dict[str, object]:
    return {
        "symbol": listing.symbol,
        "status": "TRADING",
        "baseAsset": listing.base,
        "baseAssetPrecision": 8,
        "quoteAsset": QUOTE,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": _steps(listing)
        + [{"filterType": "NOTIONAL", "minNotional": "5.00000000", "applyMinToMarket": True, "avgPriceMins": 5}],
        "permissions": [],
        "permissionSets": [["SPOT"]],
    }


def _usdm_symbol(listing: Listing) -> dict[str, object]:
    return {
        "symbol": listing.symbol,
        "pair": listing.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,
        "onboardDate": 1569398400000,
        "status": "TRADING",
        "baseAsset": listing.base,
        "quoteAsset": QUOTE,
        "marginAsset": QUOTE,
        "pricePrecision": decimals(listing.tick_size),
        "quantityPrecision": decimals(listing.step_size),
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "filters": _steps(listing) + [{"filterType": "MIN_NOTIONAL", "notional": "5"}],
        "orderTypes": ["LIMIT", "MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
    }


def _steps(listing: Listing) -> list[dict[str, object]]:
    price, step = Decimal(listing.price), listing.step_size
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": listing.tick_size,
            "maxPrice": f"{price * 100:f}",
            "tickSize": listing.tick_size,
        },
        {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "90000000", "stepSize": step},
    ]
