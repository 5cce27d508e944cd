"""The gate's answer: `Approved` or `Denied`. Only `risk.gate` constructs `Approved` (tests/rules)."""

from __future__ import annotations

from enum import IntFlag, StrEnum
from typing import TypeAlias

from msgspec import Struct

from appliance.domain.ids import InstrumentId, IntentId, ListId, OrderId, SourceId
from appliance.domain.intent import Action, Link, ListKind, OrderType, SelfTrade, Side, TimeInForce
from appliance.domain.money import Price, Qty
from appliance.domain.reasons import Reason


class OrderClass(StrEnum):
    """What an order does to exposure (SAFETY 2)."""

    INCREASE = "INCREASE"
    REDUCE = "REDUCE"
    PROTECTIVE = "PROTECTIVE"
    CANCEL = "CANCEL"


class Flag(IntFlag):
    """How an approved order differs from its intent; every flag is in the log entry."""

    NONE = 0
    STOP_ATTACHED = 1  # the source gave no stop; its configured one was attached
    SLICED = 2  # an exit above the largest order size; the rest follows
    COLLAR_WIDENED = 4  # an exit further than one collar from the last good price
    PRICE_CLAMPED = 8  # an exit priced outside the collar was moved to its edge
    MARKET_FALLBACK = 16  # no good price for too long: the venue's market order
    ROUNDED = 32  # an exit off tick or lot was rounded to it


class Approved(Struct, frozen=True, gc=False):
    """Permission to send exactly this, once, until `deadline_ns`.

    latch_epoch: trip epoch at the check; a later trip voids everything but a CANCEL.
    deadline_ns: CLOCK_MONOTONIC, at most 250 ms after the check (SAFETY 4).
    attached_stop: trigger of the protective stop the venue holds for this order.
    order_id: of the order that is made or, for CANCEL and AMEND, meant.  target: the order a REPLACE ends.
    qty: for AMEND the new total.  self_trade: what the venue does before it trades with one of ours.
    """

    order_id: OrderId
    intent_id: IntentId
    source: SourceId
    instrument: InstrumentId
    action: Action
    order_class: OrderClass
    side: Side
    qty: Qty
    order_type: OrderType
    price: Price | None
    stop_price: Price | None
    attached_stop: Price | None
    time_in_force: TimeInForce
    reduce_only: bool
    protects: OrderId | None
    latch_epoch: int
    deadline_ns: int
    flags: Flag
    expire_ns: int = 0
    post_only: bool = False
    target: OrderId | None = None
    link: Link | None = None
    self_trade: SelfTrade = SelfTrade.CANCEL_NEWEST


class ApprovedList(Struct, frozen=True, gc=False):
    """Permission to send exactly these together, once: the venue takes all of them or none."""

    list_id: ListId
    kind: ListKind
    orders: tuple[Approved, ...]


class Denied(Struct, frozen=True, gc=False):
    """A refusal by the appliance (a venue's refusal is `Rejected`, a different type).

    detail: the numbers that decided, for the log and the source; never a secret or another's position.
    """

    intent_id: IntentId
    source: SourceId
    instrument: InstrumentId
    order_class: OrderClass
    reason: Reason
    detail: str


Verdict: TypeAlias = Approved | Denied
