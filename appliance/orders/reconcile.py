"""After a crash or an outage: what the venue's lists say about orders whose fate we do not know.

Never re-send; look up by id. "Not found" is an answer only after the validity window and a margin have
passed, because until then the order may still be on its way (SAFETY 4). So it is with an amendment that the
order found does not show yet.
"""

from __future__ import annotations

from enum import Enum

from msgspec.structs import replace

from appliance.domain.order import Order, OrderEvent, OrderState, VenueOrder
from appliance.orders.lifecycle import ENDED, UNSETTLED

WINDOW_NS = 1_000_000_000
MARGIN_NS = 1_000_000_000

_ENDED_AS: dict[str, OrderEvent] = {
    "FILLED": OrderEvent.FILL_LAST,
    "CANCELED": OrderEvent.CANCELED,
    "EXPIRED": OrderEvent.EXPIRE,
    "REJECTED": OrderEvent.REJECT,
}
_UNSURE = frozenset({OrderState.RECORDED, OrderState.UNKNOWN})


def as_restored(order: Order, now_ns: int) -> Order:
    """An order as a restarted core takes it up (ARCHITECTURE, What is written when).

    One whose sending, or whose amendment's sending, is not on record as answered may have left just before
    the crash: its window starts now. Numbers of CLOCK_MONOTONIC from before a boot mean nothing.
    """
    if order.pending is not None and order.state not in ENDED:
        pending = replace(order.pending, sent_ns=now_ns)
        return replace(order, state=OrderState.UNKNOWN, pending=pending, sent_ns=now_ns)
    if order.state is OrderState.CANCEL_SENT:  # the cancel may not have left; it is asked for again
        return replace(order, state=OrderState.UNKNOWN, sent_ns=now_ns)
    return replace(order, sent_ns=now_ns) if order.state in UNSETTLED else order


class After(Enum):
    """What may follow an order in a state (EXE-06). A new try is a new order under an id of its own."""

    DONE = "nothing is left of it"
    TRY_AGAIN = "its fate is known: what it left unfilled may be asked for again"
    WAIT = "it works; its venue will tell"
    LOOK_UP = "nobody knows: look it up by its id, and never send it, or its like, meanwhile"


AFTER: dict[OrderState, After] = {
    OrderState.FILLED: After.DONE,
    OrderState.CANCELED: After.TRY_AGAIN,  # asked for, or ended by the venue with a rest
    OrderState.EXPIRED: After.TRY_AGAIN,  # by the venue, at the end of its time or of a slice nobody took
    OrderState.REJECTED: After.TRY_AGAIN,  # the venue said no and holds nothing
    OrderState.STOPPED_AT_WIRE: After.TRY_AGAIN,  # it never left
    OrderState.NEVER_ARRIVED: After.TRY_AGAIN,  # looked up, not found, after the window and the margin
    OrderState.WORKING: After.WAIT,
    OrderState.HELD: After.WAIT,
    OrderState.TRIGGERED: After.WAIT,
    OrderState.PARTIALLY_FILLED: After.WAIT,
    OrderState.CANCEL_SENT: After.WAIT,  # it may still fill; a refused cancel makes it UNKNOWN
    OrderState.RECORDED: After.LOOK_UP,
    OrderState.SENT: After.LOOK_UP,
    OrderState.UNKNOWN: After.LOOK_UP,
}
"""Every state has a row. UNSETTLED is what is looked up, ENDED what is done or may be retried (a test)."""


def fate(order: Order, found: VenueOrder | None, now_ns: int) -> OrderEvent | None:
    """The event a look-up stands for; None while the answer must be awaited.

    Fills are not made up from a look-up: they come as events with price and fee; an order found FILLED
    stays as it is until those have been collected.
    """
    if found is None:
        waited = now_ns - order.sent_ns >= WINDOW_NS + MARGIN_NS
        return OrderEvent.NOT_FOUND if waited else None
    if found.open:
        return _open(order, found, now_ns) if order.state in _UNSURE else None
    event = _ENDED_AS.get(found.status)
    if event is OrderEvent.FILL_LAST or found.filled > order.filled:
        return None
    return event


def _open(order: Order, found: VenueOrder, now_ns: int) -> OrderEvent | None:
    pending = order.pending
    if pending is not None:
        if (found.qty, found.price, found.stop_price) == (pending.qty, pending.price, pending.stop_price):
            return OrderEvent.AMENDED
        waited = now_ns - pending.sent_ns >= WINDOW_NS + MARGIN_NS
        return OrderEvent.AMEND_REFUSED if waited else None
    return OrderEvent.HOLD if found.held else OrderEvent.ACCEPT
