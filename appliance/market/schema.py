"""Can these numbers be a bar, a quote or a trade at all? (DAT-02, DAT-04). Pure.

Each test is written so that a value that cannot be compared (NaN from a broken decoder) fails it.
"""

from __future__ import annotations

from enum import StrEnum

from appliance.domain.observation import Bar, Observation, Quote

MAX_VALUE = 2**63 - 1
"""Prices and quantities fit SQLite's INTEGER."""


class DataReason(StrEnum):
    """Why an observation was not accepted at once. Names appear on the status page and in the log."""

    OK = "OK"
    UNKNOWN_INSTRUMENT = "UNKNOWN_INSTRUMENT"
    PRICE = "PRICE"
    RANGE = "RANGE"
    CROSSED = "CROSSED"
    SIZE = "SIZE"
    AHEAD = "AHEAD"
    LATE = "LATE"
    SEEN_BACKWARDS = "SEEN_BACKWARDS"
    EVENT_BACKWARDS = "EVENT_BACKWARDS"
    DUPLICATE = "DUPLICATE"
    FIRST = "FIRST"
    JUMP = "JUMP"
    NOT_CONFIRMED = "NOT_CONFIRMED"


MEANING: dict[DataReason, str] = {
    DataReason.OK: "accepted",
    DataReason.UNKNOWN_INSTRUMENT: "no instrument of that name is configured",
    DataReason.PRICE: "a price is zero, negative or too large to be one",
    DataReason.RANGE: "the high is not the highest price of the bar, or the low not its lowest",
    DataReason.CROSSED: "the bid is above the ask",
    DataReason.SIZE: "a size is negative or too large, or a trade has none",
    DataReason.AHEAD: "its own time is further ahead of our clock than allowed",
    DataReason.LATE: "it took longer to arrive than allowed",
    DataReason.SEEN_BACKWARDS: "it was seen before the one that came before it",
    DataReason.EVENT_BACKWARDS: "it happened before the one that came before it",
    DataReason.DUPLICATE: "the same observation again, or a second bar for the same time",
    DataReason.FIRST: "there is no price yet to compare with; waits for the next observation",
    DataReason.JUMP: "the price moved further than believed at once; waits for the next observation",
    DataReason.NOT_CONFIRMED: "the next observation did not support it",
}


def find_fault(observation: Observation) -> DataReason:
    """OK, or the first structural reason why this is no market data."""
    if isinstance(observation, Bar):
        return _bar_fault(observation)
    if isinstance(observation, Quote):
        return _quote_fault(observation)
    if not 0 < observation.price <= MAX_VALUE:
        return DataReason.PRICE
    return DataReason.OK if 0 < observation.qty <= MAX_VALUE else DataReason.SIZE


def _bar_fault(bar: Bar) -> DataReason:
    prices = bar.open, bar.high, bar.low, bar.close
    if not all(0 < price <= MAX_VALUE for price in prices):
        return DataReason.PRICE
    if not (bar.low <= bar.open <= bar.high and bar.low <= bar.close <= bar.high):
        return DataReason.RANGE
    return DataReason.OK if 0 <= bar.volume <= MAX_VALUE else DataReason.SIZE


def _quote_fault(quote: Quote) -> DataReason:
    if not (0 < quote.bid <= MAX_VALUE and 0 < quote.ask <= MAX_VALUE):
        return DataReason.PRICE
    if not quote.bid <= quote.ask:
        return DataReason.CROSSED
    if not (0 <= quote.bid_qty <= MAX_VALUE and 0 <= quote.ask_qty <= MAX_VALUE):
        return DataReason.SIZE
    return DataReason.OK
