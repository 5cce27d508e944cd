"""Our orders and what venues say about them. The life-cycle table is `orders.lifecycle`."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

from msgspec import Struct

from appliance.domain.ids import InstrumentId, IntentId, OrderId, SourceId, TradeId
from appliance.domain.intent import OrderType, Side
from appliance.domain.money import Amount, Price, Qty
from appliance.domain.verdict import OrderClass


class OrderState(StrEnum):
    """RECORDED is durable but not sent; UNKNOWN was sent and its fate is being looked up."""

    RECORDED = "RECORDED"
    SENT = "SENT"
    UNKNOWN = "UNKNOWN"
    WORKING = "WORKING"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    CANCEL_SENT = "CANCEL_SENT"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"
    STOPPED_AT_WIRE = "STOPPED_AT_WIRE"
    NEVER_ARRIVED = "NEVER_ARRIVED"


class OrderEvent(StrEnum):
    """What can happen to an order, from either end."""

    SEND = "SEND"
    ACCEPT = "ACCEPT"
    REJECT = "REJECT"
    FILL_PART = "FILL_PART"
    FILL_LAST = "FILL_LAST"
    CANCEL_SEND = "CANCEL_SEND"
    CANCEL_REFUSED = "CANCEL_REFUSED"
    CANCELED = "CANCELED"
    LOSE = "LOSE"
    NOT_FOUND = "NOT_FOUND"
    STOP_AT_WIRE = "STOP_AT_WIRE"


class Order(Struct, frozen=True, kw_only=True):
    """One order as we know it; a change makes a new value (`msgspec.structs.replace`).

    cause: the audit log index of the intent that led to it.  sent_ns: CLOCK_MONOTONIC of the last write to
    the wire in this process, 0 if none; after a restart, the time of the restart.
    """

    id: OrderId
    intent_id: IntentId
    source: SourceId
    instrument: InstrumentId
    order_class: OrderClass
    side: Side
    qty: Qty
    order_type: OrderType
    price: Price | None
    stop_price: Price | None
    attached_stop: Price | None
    reduce_only: bool
    protects: OrderId | None
    state: OrderState
    filled: Qty = Qty(0)
    cause: int = -1
    sent_ns: int = 0

    @property
    def leaves(self) -> int:
        """Quantity that can still fill."""
        return self.qty - self.filled


class Fill(Struct, frozen=True, kw_only=True):
    """One execution as the venue reports it. fee: what we paid (negative: a rebate)."""

    trade_id: TradeId
    order_id: OrderId
    instrument: InstrumentId
    side: Side
    qty: Qty
    price: Price
    fee: Amount
    maker: bool
    event_ns: int


class Accepted(Struct, frozen=True, kw_only=True, tag="accepted"):
    """The venue holds the order. parent: set when the venue made it (an attached stop)."""

    seq: int
    event_ns: int
    order_id: OrderId
    instrument: InstrumentId
    side: Side
    qty: Qty
    order_type: OrderType
    price: Price | None = None
    stop_price: Price | None = None
    reduce_only: bool = False
    parent: OrderId | None = None


class Rejected(Struct, frozen=True, kw_only=True, tag="rejected"):
    """The venue's refusal (ours is `Denied`)."""

    seq: int
    event_ns: int
    order_id: OrderId
    code: str
    detail: str


class Filled(Struct, frozen=True, kw_only=True, tag="filled"):
    """A fill, with the account as the venue sees it afterwards: the check against our own books."""

    seq: int
    event_ns: int
    fill: Fill
    leaves: Qty
    position_after: int
    cash_after: Amount


class Canceled(Struct, frozen=True, kw_only=True, tag="canceled"):
    """The order ended without (further) fills. reason: `requested`, `ioc`, `reduce_only`, …"""

    seq: int
    event_ns: int
    order_id: OrderId
    leaves: Qty
    reason: str


class CancelRefused(Struct, frozen=True, kw_only=True, tag="cancel_refused"):
    """The venue would not cancel: unknown to it, or already ended."""

    seq: int
    event_ns: int
    order_id: OrderId
    detail: str


VenueEvent: TypeAlias = Accepted | Rejected | Filled | Canceled | CancelRefused
"""seq: the venue's own numbering per account, without gaps; a gap is a trip."""


class VenueOrder(Struct, frozen=True, kw_only=True):
    """An order as the venue lists it, open or ended."""

    order_id: OrderId
    instrument: InstrumentId
    side: Side
    qty: Qty
    filled: Qty
    order_type: OrderType
    open: bool
    status: str
    price: Price | None = None
    stop_price: Price | None = None
    reduce_only: bool = False
    parent: OrderId | None = None


class VenueAccount(Struct, frozen=True, kw_only=True):
    """The account as the venue sees it at event number `seq`. positions: signed quantities.

    steps: number of the last market step of a paper venue.
    """

    account: str
    seq: int
    event_ns: int
    cash: Amount
    positions: dict[InstrumentId, int]
    steps: int = 0
