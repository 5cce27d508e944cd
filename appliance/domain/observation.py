"""What the market told us. Each value carries two times: when it happened and when we could know it.

event_ns  UTC nanoseconds by the sender's clock (start of the bar, exchange time of a trade)
seen_ns   UTC nanoseconds at which it was known here; never later than the decision it leads to
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from appliance.domain.ids import InstrumentId
from appliance.domain.money import Price, Qty


class Bar(Struct, frozen=True, gc=False, kw_only=True, tag="bar"):
    """Prices over one interval. A daily bar of day D is known at D+1 00:00 Z (CONVENTIONS)."""

    instrument: InstrumentId
    event_ns: int
    seen_ns: int
    open: Price
    high: Price
    low: Price
    close: Price
    volume: int


class Quote(Struct, frozen=True, gc=False, kw_only=True, tag="quote"):
    """Best bid and ask with their sizes."""

    instrument: InstrumentId
    event_ns: int
    seen_ns: int
    bid: Price
    bid_qty: Qty
    ask: Price
    ask_qty: Qty


class Trade(Struct, frozen=True, gc=False, kw_only=True, tag="trade"):
    """One public trade. seller_initiated: the buyer's order was resting (Binance `m`)."""

    instrument: InstrumentId
    event_ns: int
    seen_ns: int
    price: Price
    qty: Qty
    seller_initiated: bool


Observation: TypeAlias = Bar | Quote | Trade
