"""What a bot or a strategy asks for: not an order yet, the gate has not seen it."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from appliance.domain.ids import InstrumentId, IntentId, OrderId, SourceId
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
    """STOP becomes a market order once the market trades through `stop_price`."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    STOP = "STOP"


class TimeInForce(StrEnum):
    """GTC rests until cancelled; IOC cancels what does not fill at once."""

    GTC = "GTC"
    IOC = "IOC"


class Action(StrEnum):
    """NEW asks for an order, CANCEL for the end of one."""

    NEW = "NEW"
    CANCEL = "CANCEL"


class Intent(Struct, frozen=True, kw_only=True):
    """A wish, in scaled integers.

    price: LIMIT only.  stop_price: the protective stop to attach, or the trigger of a STOP order.
    protects: set when this order is the protective leg of a position opened by that order.
    target: the order to end, CANCEL only.  created_ns: UTC of the observation that caused it.
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
