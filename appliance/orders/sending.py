"""The call to the venue, once, and what its failure means (SAFETY 4): known fates end, unknown ones are
looked up. Nothing here tries again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from appliance.domain.errors import PeerError, RefusedError, TransportError
from appliance.domain.intent import Action
from appliance.domain.order import OrderEvent
from appliance.domain.verdict import Approved, ApprovedList
from appliance.orders.book import Change, Orders
from appliance.orders.replies import Fate, fate_of_reply
from appliance.ports import Clock, StoppedAtWire, Venue

# Python 3.11 looks an enum member up in 90 ns, a global in 3; every order passes here.
_CANCEL, _AMEND, _REPLACE = Action.CANCEL, Action.AMEND, Action.REPLACE
_SEND, _CANCEL_SEND = OrderEvent.SEND, OrderEvent.CANCEL_SEND

Failure = StoppedAtWire | TransportError | PeerError

OUTCOME: dict[tuple[Action, str], OrderEvent] = {
    (Action.NEW, "stopped"): OrderEvent.STOP_AT_WIRE,
    (Action.NEW, "known"): OrderEvent.REJECT,
    (Action.NEW, "unknown"): OrderEvent.LOSE,
    (Action.REPLACE, "stopped"): OrderEvent.STOP_AT_WIRE,  # the order to replace was not touched
    (Action.REPLACE, "known"): OrderEvent.REJECT,
    (Action.REPLACE, "unknown"): OrderEvent.LOSE,
    (Action.AMEND, "stopped"): OrderEvent.AMEND_REFUSED,
    (Action.AMEND, "known"): OrderEvent.AMEND_REFUSED,
    (Action.AMEND, "unknown"): OrderEvent.AMEND_LOSE,
    (Action.CANCEL, "stopped"): OrderEvent.LOSE,  # a cancel is not stopped; were it, the order still stands
    (Action.CANCEL, "known"): OrderEvent.LOSE,  # not taken: the order stands, and the sweep asks again
    (Action.CANCEL, "unknown"): OrderEvent.LOSE,
}
"""(action, what is known of its fate) → event of the order it made or meant."""


class Moved(Protocol):
    """`orders.booking.Booking.moved`."""

    def __call__(self, change: Change, why: str, *, seq: int = 0, quiet: bool = False) -> None:
        """Counts and records a change."""
        ...


class Sender:
    """One venue account."""

    def __init__(self, venue: Venue, orders: Orders, moved: Moved, clock: Clock) -> None:
        self._venue = venue
        self._orders = orders
        self._moved = moved
        self._clock = clock

    async def send(self, order: Approved) -> None:
        """Writes once. What happens to the order is in its state afterwards, never raised."""
        if order.action is not _AMEND:
            leaving = _CANCEL_SEND if order.action is _CANCEL else _SEND
            now_ns = self._clock.mono_ns()
            self._moved(self._orders.move(order.order_id, leaving, sent_ns=now_ns), "", quiet=True)
        try:
            if order.action is _CANCEL:
                await self._venue.cancel(order)
            elif order.action is _AMEND:
                await self._venue.amend(order)
            elif order.action is _REPLACE:
                await self._venue.replace_order(order)
            else:
                await self._venue.submit(order)
        except (StoppedAtWire, TransportError, PeerError) as failure:
            self._failed((order,), failure)

    async def send_list(self, approved: ApprovedList) -> None:
        """As `send`, one message for all."""
        now_ns = self._clock.mono_ns()
        for each in approved.orders:
            self._moved(
                self._orders.move(each.order_id, _SEND, sent_ns=now_ns), "", quiet=True
            )
        try:
            await self._venue.submit_list(approved)
        except (StoppedAtWire, TransportError, PeerError) as failure:
            self._failed(approved.orders, failure)

    def _failed(self, orders: Sequence[Approved], failure: Failure) -> None:
        if isinstance(failure, StoppedAtWire):
            known, why = "stopped", failure.reason
        else:
            known, why = "unknown", failure.what
            if isinstance(failure, RefusedError):
                fate = fate_of_reply(failure.status, failure.code)
                known = "unknown" if fate is Fate.UNKNOWN else "known"
        for each in orders:
            self._moved(self._orders.move(each.order_id, OUTCOME[each.action, known]), why)
