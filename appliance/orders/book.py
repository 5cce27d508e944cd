"""All our orders and what venue events do to them. Owned by the event loop; the store follows it.

Fills are deduplicated by trade id for ever per account; an event for an order nobody here knows is the
venue's claim on us and is returned as a problem, not dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from appliance.domain.ids import InstrumentId, IntentId, OrderId, SourceId, TradeId
from appliance.domain.money import Qty
from appliance.domain.order import (
    Accepted,
    Canceled,
    Fill,
    Filled,
    Order,
    OrderEvent,
    OrderState,
    Rejected,
    VenueEvent,
)
from appliance.domain.verdict import Approved, OrderClass
from appliance.orders.lifecycle import ENDED, UNSETTLED, next_state


class Change(Struct, frozen=True):
    """What one event did. before is None for an order the venue made (an attached stop).

    fill: only for a fill that was not known yet.  problem: why nothing changed, empty if something did.
    """

    order: Order | None
    fill: Fill | None = None
    problem: str = ""


class Orders:
    """Live orders in full; ended ones are let go after `forget_ended`, their ids stay in the IdLedger."""

    def __init__(self, known: Iterable[Order] = (), trades: Iterable[TradeId] = ()) -> None:
        self._orders: dict[OrderId, Order] = {order.id: order for order in known}
        self._live: dict[OrderId, None] = {o.id: None for o in self._orders.values() if o.state not in ENDED}
        self._trades: set[TradeId] = set(trades)

    def get(self, order_id: OrderId) -> Order | None:
        """The order, live or recently ended."""
        return self._orders.get(order_id)

    def live(self) -> Iterator[Order]:
        """Orders that can still change, oldest first."""
        return (self._orders[order_id] for order_id in list(self._live))

    def unsettled(self) -> list[Order]:
        """Orders whose fate is not known yet; arming waits for them."""
        return [order for order in self.live() if order.state in UNSETTLED]

    def protective(self, instrument: InstrumentId, source: SourceId) -> list[Order]:
        """Live protective legs of one source in one instrument."""
        return [
            order
            for order in self.live()
            if order.order_class is OrderClass.PROTECTIVE
            and order.instrument == instrument
            and order.source == source
        ]

    def record(self, approved: Approved, cause: int) -> Order:
        """Makes the order of an approval, in state RECORDED. `cause`: log index of the verdict."""
        order = Order(
            id=approved.order_id,
            intent_id=approved.intent_id,
            source=approved.source,
            instrument=approved.instrument,
            order_class=approved.order_class,
            side=approved.side,
            qty=approved.qty,
            order_type=approved.order_type,
            price=approved.price,
            stop_price=approved.stop_price,
            attached_stop=approved.attached_stop,
            reduce_only=approved.reduce_only,
            protects=approved.protects,
            state=OrderState.RECORDED,
            cause=cause,
        )
        self._put(order)
        return order

    def move(self, order_id: OrderId, event: OrderEvent, *, sent_ns: int = 0) -> Change:
        """Applies an event of our own side, or of a look-up."""
        order = self._orders.get(order_id)
        if order is None:
            return Change(None, problem=f"{event} for unknown order {order_id}")
        state = next_state(order.state, event)
        if state is None:
            return Change(order, problem=f"{event} is illegal in {order.state}")
        changed = replace(order, state=state, sent_ns=sent_ns or order.sent_ns)
        self._put(changed)
        return Change(changed)

    def apply(self, event: VenueEvent) -> Change:
        """Applies what the venue reports."""
        if isinstance(event, Filled):
            return self._fill(event)
        if isinstance(event, Accepted):
            if event.parent is not None and event.order_id not in self._orders:
                return self._adopt(event)
            return self._resize(event)
        if isinstance(event, Rejected):
            return self.move(event.order_id, OrderEvent.REJECT)
        if isinstance(event, Canceled):
            return self.move(event.order_id, OrderEvent.CANCELED)
        return self.move(event.order_id, OrderEvent.CANCEL_REFUSED)

    def forget_ended(self, keep: int) -> None:
        """Lets the oldest ended orders go, keeping `keep` of them for late events."""
        ended = [order_id for order_id in self._orders if order_id not in self._live]
        for order_id in ended[: max(0, len(ended) - keep)]:
            del self._orders[order_id]

    def _fill(self, event: Filled) -> Change:
        fill = event.fill
        order = self._orders.get(fill.order_id)
        if order is None:
            return Change(None, problem=f"fill {fill.trade_id} for unknown order {fill.order_id}")
        if fill.trade_id in self._trades:
            return Change(order, problem=f"fill {fill.trade_id} was reported before")
        filled = order.filled + fill.qty
        if fill.qty <= 0 or filled > order.qty or fill.side is not order.side:
            return Change(order, problem=f"fill {fill.trade_id} does not fit: {filled} of {order.qty}")
        last = filled == order.qty
        state = next_state(order.state, OrderEvent.FILL_LAST if last else OrderEvent.FILL_PART)
        if state is None:
            return Change(order, problem=f"fill {fill.trade_id} is illegal in {order.state}")
        self._trades.add(fill.trade_id)
        changed = replace(order, state=state, filled=Qty(filled))
        self._put(changed)
        return Change(changed, fill)

    def _adopt(self, event: Accepted) -> Change:
        """A stop the venue attached to one of our entries becomes ours, with the entry's source."""
        parent = self._orders.get(OrderId(event.parent or ""))
        if parent is None:
            return Change(None, problem=f"stop {event.order_id} of unknown order {event.parent}")
        order = Order(
            id=event.order_id,
            intent_id=IntentId(f"{parent.intent_id}/stop"),
            source=parent.source,
            instrument=event.instrument,
            order_class=OrderClass.PROTECTIVE,
            side=event.side,
            qty=event.qty,
            order_type=event.order_type,
            price=event.price,
            stop_price=event.stop_price,
            attached_stop=None,
            reduce_only=event.reduce_only,
            protects=parent.id,
            state=OrderState.WORKING,
            cause=parent.cause,
        )
        self._put(order)
        return Change(order)

    def _resize(self, event: Accepted) -> Change:
        """An acceptance; for an attached stop that grows with its entry's fills it carries the new size."""
        change = self.move(event.order_id, OrderEvent.ACCEPT)
        order = change.order
        if event.parent is None or order is None or change.problem or order.qty == event.qty:
            return change
        grown = replace(order, qty=event.qty)
        self._put(grown)
        return Change(grown)

    def _put(self, order: Order) -> None:
        self._orders[order.id] = order
        if order.state in ENDED:
            self._live.pop(order.id, None)
        else:
            self._live[order.id] = None
