"""How recorded prices move a paper venue's book: bars as a path, quotes and trades as they were.

A bar is walked open → first extreme → second extreme → close. Which extreme comes first is not recorded;
the one that hurts what we hold or are about to hold comes first (CONVENTIONS), so that no stop is flattered.
On the way the market stops at every price where one of our orders would trade.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from appliance.domain.ids import InstrumentId
from appliance.domain.instrument import Instrument
from appliance.domain.intent import Side
from appliance.domain.observation import Bar, Observation, Quote, Trade
from appliance.venues.matching import MARKET, Match, OrderBook
from appliance.venues.paper_ledger import PaperLedger
from appliance.venues.paper_stops import StopBook
from appliance.venues.paper_terms import PaperTerms, half_spread, ladder


class Floor(Protocol):
    """What a moving market needs of the engine. mids, halves: of the synthetic market, per instrument."""

    terms: PaperTerms
    ledger: PaperLedger
    instruments: dict[InstrumentId, Instrument]
    books: dict[InstrumentId, OrderBook]
    stop_books: dict[InstrumentId, StopBook]
    mids: dict[InstrumentId, int]
    halves: dict[InstrumentId, int]

    def activate(self, symbol: InstrumentId) -> None:
        """Waiting orders meet the market."""
        ...

    def trigger(self, symbol: InstrumentId) -> None:
        """Stops that were reached trade."""
        ...

    def market_traded(self, matches: Iterable[Match]) -> None:
        """The market traded with resting orders."""
        ...


def move(engine: Floor, observation: Observation) -> None:
    """Applies one observation to the engine's book and orders."""
    symbol = observation.instrument
    if isinstance(observation, Bar):
        _walk_bar(engine, observation)
    elif isinstance(observation, Quote):
        engine.mids[symbol] = (observation.bid + observation.ask) // 2
        bids: dict[int, int] = {observation.bid: observation.bid_qty}
        asks: dict[int, int] = {observation.ask: observation.ask_qty}
        engine.market_traded(engine.books[symbol].display(bids, asks))
        engine.activate(symbol)
    else:
        _print(engine, observation)


def show(engine: Floor, symbol: InstrumentId, mid: int) -> None:
    """Displays the synthetic market around `mid` and lets it trade with what rests."""
    instrument, book = engine.instruments[symbol], engine.books[symbol]
    mid -= mid % instrument.tick
    half = engine.halves.setdefault(symbol, half_spread(instrument, mid, engine.terms))
    engine.mids[symbol] = mid
    bids = ladder(instrument, mid - half, -1, 2 * half, engine.terms)
    asks = ladder(instrument, mid + half, +1, 2 * half, engine.terms)
    engine.market_traded(book.display(bids, asks))


def _print(engine: Floor, trade: Trade) -> None:
    symbol, book = trade.instrument, engine.books[trade.instrument]
    if symbol not in engine.mids:
        show(engine, symbol, trade.price)
    side = Side.SELL if trade.seller_initiated else Side.BUY
    matches, _ = book.take(MARKET, side, trade.qty, trade.price)
    engine.market_traded(matches)
    engine.activate(symbol)


def _walk_bar(engine: Floor, bar: Bar) -> None:
    symbol = bar.instrument
    engine.halves[symbol] = half_spread(engine.instruments[symbol], bar.open, engine.terms)
    show(engine, symbol, bar.open)
    engine.activate(symbol)
    extremes = (bar.low, bar.high) if _fears_a_fall(engine, symbol) else (bar.high, bar.low)
    for waypoint in (*extremes, bar.close):
        _walk(engine, symbol, waypoint)


def _fears_a_fall(engine: Floor, symbol: InstrumentId) -> bool:
    """True if the low comes first: we are long, or flat and nothing but sells would open a position.

    Flat, the extreme that fills entries comes first, so that what follows a buy is the fall.
    """
    position = engine.ledger.positions[symbol]
    if position:
        return position > 0
    book, stops = engine.books[symbol], engine.stop_books[symbol]
    buys = len(book.own(Side.BUY)) + stops.count(Side.BUY)
    sells = len(book.own(Side.SELL)) + stops.count(Side.SELL)
    return sells > buys


def _walk(engine: Floor, symbol: InstrumentId, to: int) -> None:
    to -= to % engine.instruments[symbol].tick
    while (mid := engine.mids[symbol]) != to:
        station = _falling(engine, symbol, mid) if to < mid else _rising(engine, symbol, mid)
        if station is None or not min(mid, to) < station < max(mid, to):
            station = to
        show(engine, symbol, station)
        engine.trigger(symbol)


def _falling(engine: Floor, symbol: InstrumentId, mid: int) -> int | None:
    """The next mid price below at which a bid of ours or a stop that sells trades."""
    half = engine.halves[symbol]
    bid = engine.books[symbol].own(Side.BUY).below(mid + half)
    stop = engine.stop_books[symbol].below(Side.SELL, mid - half)
    found = [price for price in (bid and bid - half, stop and stop + half) if price is not None]
    return max(found, default=None)


def _rising(engine: Floor, symbol: InstrumentId, mid: int) -> int | None:
    """The next mid price above at which an offer of ours or a stop that buys trades."""
    half = engine.halves[symbol]
    ask = engine.books[symbol].own(Side.SELL).above(mid - half)
    stop = engine.stop_books[symbol].above(Side.BUY, mid + half)
    found = [price for price in (ask and ask + half, stop and stop - half) if price is not None]
    return min(found, default=None)
