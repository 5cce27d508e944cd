"""What a bot or a strategy asks for: not an order yet, the gate has not seen it."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from appliance.domain.ids import InstrumentId, IntentId, ListId, OrderId, SourceId
from appliance.domain.money import Price, Qty


class Side(StrEnum):
    """Direction of an order."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        """+1 for BUY, -1 for SELL."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> Side:
        """The side that closes what this side opens."""
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(StrEnum):
    """STOP becomes a market order, STOP_LIMIT a limit order, once the market trades through `stop_price`."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    STOP = "STOP"
    STOP_LIMIT = "STOP_LIMIT"


class TimeInForce(StrEnum):
    """GTC rests until cancelled; IOC cancels what does not fill at once; FOK fills whole at once or not at
    all; GTD rests until `expire_ns` on the trading clock."""

    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    GTD = "GTD"


class Action(StrEnum):
    """NEW asks for an order, CANCEL for the end of one.

    AMEND changes quantity or price of a working order in place.  REPLACE asks for the end of one order and,
    only if it ended, for another under an id of its own.
    """

    NEW = "NEW"
    CANCEL = "CANCEL"
    AMEND = "AMEND"
    REPLACE = "REPLACE"


class SelfTrade(StrEnum):
    """What the venue does before an order would trade with another of the same account (CONTROLS 10)."""

    CANCEL_NEWEST = "CANCEL_NEWEST"
    CANCEL_OLDEST = "CANCEL_OLDEST"
    CANCEL_BOTH = "CANCEL_BOTH"


class ListKind(StrEnum):
    """Orders that belong together; the venue takes all of a list or none (CONTROLS 24).

    OCO: two legs; what one fills the other loses, and a trigger ends it.  OTO: a lead and one leg that works
    for as much as the lead has filled.  OTOCO: a lead and two such legs, which are an OCO.
    """

    OCO = "OCO"
    OTO = "OTO"
    OTOCO = "OTOCO"


LIST_SIZE: dict[ListKind, int] = {ListKind.OCO: 2, ListKind.OTO: 2, ListKind.OTOCO: 3}
"""Members of each kind. In OTO and OTOCO the first member is the lead."""


class Link(Struct, frozen=True, gc=False):
    """Membership of an order in a list. place: 0 is the first member."""

    list_id: ListId
    kind: ListKind
    place: int

    @property
    def follows(self) -> bool:
        """It waits for its lead."""
        return self.place > 0 and self.kind is not ListKind.OCO


class Intent(Struct, frozen=True, gc=False, kw_only=True):
    """A wish, in scaled integers.

    price: LIMIT and STOP_LIMIT.  stop_price: the protective stop to attach, or the trigger of a STOP order.
    expire_ns: GTD only, market time.  post_only: never takes; the venue refuses it instead.
    reduce_only: never opens or turns a position; the gate sets it on every exit whatever is asked.
    protects: set when this order is the protective leg of a position opened by that order.
    target: the order to end (CANCEL, REPLACE) or to change (AMEND, where qty is the new total and a price
    that is None stays).  created_ns: UTC of the observation that caused it.
    attempt: counts deliberate new tries of an exit; each has its own order id.
    collars: an exit without a price may go this many collars from the reference; 0: to any price.
    """

    id: IntentId
    source: SourceId
    instrument: InstrumentId
    created_ns: int
    action: Action = Action.NEW
    side: Side = Side.BUY
    qty: Qty = Qty(0)
    order_type: OrderType = OrderType.MARKET
    price: Price | None = None
    stop_price: Price | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    protects: OrderId | None = None
    target: OrderId | None = None
    attempt: int = 0
    collars: int = 0
    expire_ns: int = 0
    post_only: bool = False
    reduce_only: bool = False
