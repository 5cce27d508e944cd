"""After a crash or an outage: what the venue's lists say about orders whose fate we do not know.

Never re-send; look up by id. "Not found" is an answer only after the validity window and a margin have
passed, because until then the order may still be on its way (SAFETY 4).
"""

from __future__ import annotations

from appliance.domain.order import Order, OrderEvent, OrderState, VenueOrder

WINDOW_NS = 1_000_000_000
MARGIN_NS = 1_000_000_000

_ENDED_AS: dict[str, OrderEvent] = {
    "FILLED": OrderEvent.FILL_LAST,
    "CANCELED": OrderEvent.CANCELED,
    "EXPIRED": OrderEvent.CANCELED,
    "REJECTED": OrderEvent.REJECT,
}


def fate(order: Order, found: VenueOrder | None, now_ns: int) -> OrderEvent | None:
    """The event a look-up stands for; None while the answer must be awaited.

    Fills are not made up from a look-up: they come as events with price and fee; an order found FILLED
    stays as it is until those have been collected.
    """
    if found is None:
        waited = now_ns - order.sent_ns >= WINDOW_NS + MARGIN_NS
        return OrderEvent.NOT_FOUND if waited else None
    if found.open:
        return OrderEvent.ACCEPT if order.state in (OrderState.RECORDED, OrderState.UNKNOWN) else None
    event = _ENDED_AS.get(found.status)
    if event is OrderEvent.FILL_LAST or found.filled > order.filled:
        return None
    return event
