"""Which of our orders belong to one list, and how much of each counts as working (CONTROLS 8, 24).

Of two legs of an OCO on one side only one can fill: the larger counts, the other does not. A leg that waits
for its lead and only reduces counts when it works: until then there is nothing it could reduce.
"""

from __future__ import annotations

from collections.abc import Callable

from appliance.domain.ids import ListId, OrderId
from appliance.domain.intent import Link, ListKind
from appliance.domain.order import Order, OrderState
from appliance.domain.verdict import OrderClass

_WAITS = frozenset({OrderState.RECORDED, OrderState.SENT, OrderState.UNKNOWN, OrderState.HELD})


class Links:
    """Members by list, as long as one of them is live. get: the order as it is now."""

    def __init__(self, get: Callable[[OrderId], Order | None], ended: frozenset[OrderState]) -> None:
        self._get = get
        self._ended = ended
        self._members: dict[ListId, dict[OrderId, None]] = {}

    def add(self, order: Order) -> None:
        """An order that was recorded or restored; one without a list is nobody's sibling."""
        if order.link is not None and order.state not in self._ended:
            self._members.setdefault(order.link.list_id, {})[order.id] = None

    def __len__(self) -> int:
        return len(self._members)

    def counted(self, order: Order) -> list[tuple[Order, int]]:
        """How much of this order, and of those it shares a quantity with, counts now."""
        link = order.link
        if link is None:  # `booking.Booking.count` does not even ask for such an order
            return [(order, order.exposed)]
        pair = [order, *self._siblings(order, link)]
        rivals = [each for each in pair if self._counts(each) and each.side is order.side]
        largest = max(rivals, key=_weight, default=None)
        counted = [(each, each.exposed if each is largest else 0) for each in pair if each.side is order.side]
        self._tidy(link.list_id)
        return counted

    def _siblings(self, order: Order, link: Link) -> list[Order]:
        """The other leg of its OCO, if there is one that is live."""
        if link.kind is ListKind.OTO or (link.kind is ListKind.OTOCO and not link.place):
            return []
        found = (self._get(each) for each in self._members.get(link.list_id, ()) if each != order.id)
        return [
            each
            for each in found
            if each is not None
            and each.state not in self._ended
            and (link.kind is ListKind.OCO or (each.link is not None and each.link.place))
        ]

    def _counts(self, order: Order) -> bool:
        if order.state in self._ended or order.order_class is OrderClass.PROTECTIVE:
            return False
        return not (order.order_class is OrderClass.REDUCE and waits_for_lead(order))

    def _tidy(self, list_id: ListId) -> None:
        found = (self._get(each) for each in self._members.get(list_id, ()))
        if all(each is None or each.state in self._ended for each in found):
            self._members.pop(list_id, None)


def waits_for_lead(order: Order) -> bool:
    """It follows a lead and the venue has not said that it works."""
    return order.link is not None and order.link.follows and order.state in _WAITS


def _weight(order: Order) -> tuple[int, int]:
    """The larger quantity, then the dearer price."""
    return order.exposed, max(order.price or 0, order.stop_price or 0)
