"""Instruments and observations in few words, for the tests of market, signals and validation."""

from __future__ import annotations

import gzip
import os
from collections import Counter
from pathlib import Path

import pytest

from appliance.domain.ids import InstrumentId
from appliance.domain.instrument import Instrument, make_instrument
from appliance.domain.money import Price, Qty
from appliance.domain.observation import Bar, Observation, Quote, Trade
from appliance.market.source import Source

S = 1_000_000_000
DAY = 86_400 * S
SPX = InstrumentId("SPX")
SHARED = Path(os.environ.get("INTERLOCK_SHARED", Path(__file__).parents[2] / "shared"))


def real_file(name: str) -> Path:
    """A file of real market data beside the project; skips the test where there is none."""
    path = SHARED / "data" / name
    if not path.exists():
        pytest.skip(f"no recorded data: {name} (set INTERLOCK_SHARED)")
    return path


def instrument(symbol: str = "SPX", price_exp: int = 2, qty_exp: int = 4, tick: int = 1) -> Instrument:
    """An instrument with generous limits."""
    return make_instrument(
        symbol,
        currency="USD",
        price_exp=price_exp,
        qty_exp=qty_exp,
        tick=tick,
        lot=1,
        min_qty=1,
        max_qty=10**9,
        min_value=0,
    )


def bar(day: int, prices: tuple[int, int, int, int], symbol: str = "SPX", volume: int = 0) -> Bar:
    """The daily bar of day number `day`: open, high, low, close."""
    return Bar(
        instrument=InstrumentId(symbol),
        event_ns=day * DAY,
        seen_ns=(day + 1) * DAY,
        open=Price(prices[0]),
        high=Price(prices[1]),
        low=Price(prices[2]),
        close=Price(prices[3]),
        volume=volume,
    )


def one_print(day: int, price: int, symbol: str = "SPX") -> Bar:
    """A daily bar of which one price is known."""
    return bar(day, (price, price, price, price), symbol)


def trade(seen_ns: int, price: int, qty: int = 1, event_ns: int | None = None, symbol: str = "SPX") -> Trade:
    """One trade, happened when it was seen unless said otherwise."""
    return Trade(
        instrument=InstrumentId(symbol),
        event_ns=seen_ns if event_ns is None else event_ns,
        seen_ns=seen_ns,
        price=Price(price),
        qty=Qty(qty),
        seller_initiated=False,
    )


def quote(seen_ns: int, bid: int, ask: int, size: int = 1, symbol: str = "SPX") -> Quote:
    """One quote with the same size on both sides."""
    return Quote(
        instrument=InstrumentId(symbol),
        event_ns=seen_ns,
        seen_ns=seen_ns,
        bid=Price(bid),
        bid_qty=Qty(size),
        ask=Price(ask),
        ask_qty=Qty(size),
    )


def write(path: Path, text: str, *, packed: bool = False) -> Path:
    """A file with this text, plain or gzip."""
    content = text.encode()
    path.write_bytes(gzip.compress(content, mtime=0) if packed else content)
    return path


def read_all(source: Source) -> list[Observation]:
    """Every observation of a source."""
    return list(source.read(Counter()))
