"""What AMEND and REPLACE ask of a working order, before the controls see it (CONTROLS 2, 8; danger 9).

An amendment that only shrinks passes like a cancel. Any other of an entry passes every control again, as the
order it would become, beside everything else that works. An exit or a stop stays one: it is reduce-only on
the wire, so it may move freely and grow as far as there is something to close.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from appliance.domain.ids import InstrumentId, OrderId
from appliance.domain.instrument import Instrument
from appliance.domain.intent import Intent, OrderType, Side
from appliance.domain.money import Price, Qty
from appliance.domain.order import AMENDABLE, Order
from appliance.domain.reasons import Reason
from appliance.domain.verdict import OrderClass
from appliance.ports import InstrumentView
from appliance.risk.classify import CLASSES, Room, reducible

Refusal: TypeAlias = tuple[Reason, str]


class Working(Protocol):
    """`orders.book.Orders`, as far as the gate reads it."""

    def get(self, order_id: OrderId, /) -> Order | None:
        """The order, live or recently ended."""
        ...

    def nearest(self, instrument: InstrumentId, side: Side, /) -> int | None:
        """The price of our limit order on `side` that the other side would meet first."""
        ...


class NothingWorks:
    """A gate that was given no orders: nothing can be amended or replaced."""

    def get(self, _order_id: OrderId) -> Order | None:
        """None."""
        return None

    def nearest(self, _instrument: InstrumentId, _side: Side) -> int | None:
        """None."""
        return None


class Beside(Struct):
    """An instrument as it would be with other working orders than now. Implements ports.InstrumentView."""

    instrument: Instrument
    bid: int
    ask: int
    last: int
    price_ns: int
    position: int
    working_buy: int
    working_sell: int
    buy_top: int
    sell_top: int
    worst: int
    cost: int


def beside(view: InstrumentView, side: Side, more: int) -> Beside:
    """With `more` (negative: less) working on a side. `worst` stays what the account's sums have of it, and
    the dearest prices stay: too high at most, never too low."""
    buying = side is Side.BUY
    return Beside(
        view.instrument,
        view.bid,
        view.ask,
        view.last,
        view.price_ns,
        view.position,
        max(0, view.working_buy + more) if buying else view.working_buy,
        view.working_sell if buying else max(0, view.working_sell + more),
        view.buy_top,
        view.sell_top,
        view.worst,
        view.cost,
    )


class Becomes(Struct, frozen=True):
    """What a working order would be. extra: quantity beyond what it has working now, negative if less."""

    order: Order
    order_class: OrderClass
    qty: Qty
    price: Price | None
    stop_price: Price | None
    extra: int


def target_of(intent: Intent, get: Callable[[OrderId], Order | None]) -> Order | Refusal:
    """The order an AMEND or REPLACE means: this source's own, known to be at the venue, and not in change."""
    if intent.target is None:
        return Reason.MALFORMED, f"{intent.action} without a target"
    order = get(intent.target)
    if order is None or (order.source, order.instrument) != (intent.source, intent.instrument):
        return Reason.UNKNOWN_ORDER, intent.target
    if order.state not in AMENDABLE:
        return Reason.UNKNOWN_ORDER, f"{intent.target} is {order.state}"
    if order.pending is not None:
        return Reason.CANNOT_AMEND, "an amendment of it is on its way"
    return order


def becomes(intent: Intent, order: Order, view: InstrumentView) -> Becomes | Refusal:
    """What an AMEND makes of `order`, with its class; or why it cannot be."""
    price = order.price if intent.price is None else intent.price
    stop = order.stop_price if intent.stop_price is None else intent.stop_price
    priced = (price is None) is (order.price is None) and (stop is None) is (order.stop_price is None)
    if not priced or order.order_type is OrderType.MARKET:
        return Reason.CANNOT_AMEND, f"{order.order_type} with price {price} and trigger {stop}"
    if intent.qty <= order.filled:
        return Reason.CANNOT_AMEND, f"{order.filled} of it has filled; cancel it instead"
    extra = intent.qty - order.qty
    same = (price, stop) == (order.price, order.stop_price)
    room = Room.SHRINKS if same and extra <= 0 else _room(order, intent.qty - order.filled, view)
    made = CLASSES[intent.action][order.order_type][room]
    exits = (OrderClass.REDUCE, OrderClass.PROTECTIVE)
    if order.order_class in exits and made is OrderClass.INCREASE:
        return Reason.CANNOT_AMEND, "an exit is not larger than what there is to close"
    if order.order_class is OrderClass.INCREASE and room is not Room.SHRINKS:
        made = OrderClass.INCREASE  # it has no reduce-only on the wire, so it stays an entry
    elif room is not Room.SHRINKS:
        made = order.order_class
    return Becomes(order, made, intent.qty, price, stop, extra)


def as_new(intent: Intent, change: Becomes, qty: int) -> Intent:
    """The amended order as a wish of its own, of `qty`. Its attached stop stands in for a stop given."""
    order = change.order
    triggered = order.order_type in (OrderType.STOP, OrderType.STOP_LIMIT)
    return replace(
        intent,
        side=order.side,
        qty=Qty(qty),
        order_type=order.order_type,
        price=change.price,
        stop_price=change.stop_price if triggered else order.attached_stop,
        time_in_force=order.time_in_force,
        expire_ns=order.expire_ns,
        post_only=order.post_only,
        protects=order.protects,
        reduce_only=False,
    )


def _room(order: Order, leaves: int, view: InstrumentView) -> Room:
    held = view.position if order.side is Side.SELL else -view.position
    if leaves > held:
        return Room.MORE
    own = order.leaves if order.order_class is OrderClass.REDUCE else 0
    free = reducible(beside(view, order.side, -own), order.side)
    return Room.FREE if leaves <= free else Room.HELD
