"""Our orders and what venues say about them. The life-cycle table is `orders.lifecycle`."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

from msgspec import Struct

from appliance.domain.ids import InstrumentId, IntentId, OrderId, SourceId, TradeId
from appliance.domain.intent import Link, OrderType, Side, TimeInForce
from appliance.domain.money import Amount, Price, Qty
from appliance.domain.verdict import OrderClass


class OrderState(StrEnum):
    """RECORDED is durable but not sent; UNKNOWN was sent and its fate is being looked up.

    HELD: the venue has it and it waits for its lead (OTO, OTOCO).  TRIGGERED: a stop that has become a
    market or limit order and has not filled yet.
    """

    RECORDED = "RECORDED"
    SENT = "SENT"
    UNKNOWN = "UNKNOWN"
    HELD = "HELD"
    WORKING = "WORKING"
    TRIGGERED = "TRIGGERED"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    CANCEL_SENT = "CANCEL_SENT"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"
    STOPPED_AT_WIRE = "STOPPED_AT_WIRE"
    NEVER_ARRIVED = "NEVER_ARRIVED"


AMENDABLE: frozenset[OrderState] = frozenset(
    {OrderState.WORKING, OrderState.TRIGGERED, OrderState.PARTIALLY_FILLED}
)
"""States in which the venue has told us that it holds the order, so that it can be changed or replaced."""


class OrderEvent(StrEnum):
    """What can happen to an order, from either end."""

    SEND = "SEND"
    HOLD = "HOLD"
    ACCEPT = "ACCEPT"
    REJECT = "REJECT"
    TRIGGER = "TRIGGER"
    FILL_PART = "FILL_PART"
    FILL_LAST = "FILL_LAST"
    AMEND_SEND = "AMEND_SEND"
    AMEND_LOSE = "AMEND_LOSE"
    AMENDED = "AMENDED"
    AMEND_REFUSED = "AMEND_REFUSED"
    CANCEL_SEND = "CANCEL_SEND"
    CANCEL_REFUSED = "CANCEL_REFUSED"
    CANCELED = "CANCELED"
    EXPIRE = "EXPIRE"
    LOSE = "LOSE"
    NOT_FOUND = "NOT_FOUND"
    STOP_AT_WIRE = "STOP_AT_WIRE"


class Amendment(Struct, frozen=True, gc=False):
    """What an order is to become. qty: the new total. sent_ns: CLOCK_MONOTONIC of its write to the wire."""

    qty: Qty
    price: Price | None
    stop_price: Price | None
    sent_ns: int = 0


class Order(Struct, frozen=True, gc=False):
    """One order as we know it; a change makes a new value (`msgspec.structs.replace`).

    Nothing in it can lead back to it, so the collector need not walk a hundred thousand of them.

    cause: the audit log index of the intent that led to it.  sent_ns: CLOCK_MONOTONIC of the last write to
    the wire in this process, 0 if none; after a restart, the time of the restart.
    pending: an amendment on its way; until its fate is known the worse of both counts.
    replaces: the order this one takes the place of.
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
    time_in_force: TimeInForce = TimeInForce.GTC
    expire_ns: int = 0
    post_only: bool = False
    link: Link | None = None
    pending: Amendment | None = None
    replaces: OrderId | None = None

    @property
    def leaves(self) -> int:
        """Quantity that can still fill."""
        return self.qty - self.filled

    @property
    def exposed(self) -> int:
        """Quantity that can still fill if an amendment on its way is taken, or is not: the larger."""
        pending = self.pending
        return self.qty - self.filled if pending is None else max(self.qty, pending.qty) - self.filled


class Fill(Struct, frozen=True, gc=False, kw_only=True):
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


class Accepted(Struct, frozen=True, gc=False, kw_only=True, tag="accepted"):
    """The venue holds the order. parent: set when the venue made it (an attached stop).

    Told again with another qty when an attached stop, or a leg that waited for its lead, grows with the
    fills of its lead.  held: it waits for its lead and cannot fill yet.
    """

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
    held: bool = False


class Rejected(Struct, frozen=True, gc=False, kw_only=True, tag="rejected"):
    """The venue's refusal (ours is `Denied`)."""

    seq: int
    event_ns: int
    order_id: OrderId
    code: str
    detail: str


class Filled(Struct, frozen=True, gc=False, kw_only=True, tag="filled"):
    """A fill, with the account as the venue sees it afterwards: the check against our own books."""

    seq: int
    event_ns: int
    fill: Fill
    leaves: Qty
    position_after: int
    cash_after: Amount


class Canceled(Struct, frozen=True, gc=False, kw_only=True, tag="canceled"):
    """The order ended without (further) fills. reason: `requested`, `ioc`, `fok`, `reduce_only`, `oco`,
    `lead`, `self_trade`, `post_only`, …"""

    seq: int
    event_ns: int
    order_id: OrderId
    leaves: Qty
    reason: str


class CancelRefused(Struct, frozen=True, gc=False, kw_only=True, tag="cancel_refused"):
    """The venue would not cancel: unknown to it, or already ended."""

    seq: int
    event_ns: int
    order_id: OrderId
    detail: str


class Expired(Struct, frozen=True, gc=False, kw_only=True, tag="expired"):
    """A GTD order reached its time with `leaves` unfilled."""

    seq: int
    event_ns: int
    order_id: OrderId
    leaves: Qty


class Triggered(Struct, frozen=True, gc=False, kw_only=True, tag="triggered"):
    """A stop was reached and is a market or limit order from now on."""

    seq: int
    event_ns: int
    order_id: OrderId


class Amended(Struct, frozen=True, gc=False, kw_only=True, tag="amended"):
    """The order as it stands now. reason: `requested`, or `oco` when the other leg's fill took from it.

    queue_kept: it stayed where it was in the queue at its price.
    """

    seq: int
    event_ns: int
    order_id: OrderId
    qty: Qty
    price: Price | None
    stop_price: Price | None
    queue_kept: bool
    reason: str


class AmendRefused(Struct, frozen=True, gc=False, kw_only=True, tag="amend_refused"):
    """The venue leaves the order as it is."""

    seq: int
    event_ns: int
    order_id: OrderId
    detail: str


VenueEvent: TypeAlias = (
    Accepted | Rejected | Filled | Canceled | CancelRefused | Expired | Triggered | Amended | AmendRefused
)
"""seq: the venue's own numbering per account, without gaps; a gap is a trip."""


class VenueOrder(Struct, frozen=True, kw_only=True):
    """An order as the venue lists it, open or ended. held: it waits for its lead."""

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
    held: bool = False


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
