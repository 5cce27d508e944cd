"""What the venue reports, in its order: orders → books → log. Owned by the event loop, never waits.

Every event is applied completely before the next: the state of an instrument is a function of the intents and
of the venue's numbers, whatever the transport did to the reports (PROD_005, Phase-2 symbol actors).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from appliance.domain.describe import describe_fill, describe_order
from appliance.domain.errors import InvariantError
from appliance.domain.ids import InstrumentId, SourceId
from appliance.domain.instrument import Instrument
from appliance.domain.mode import TripReason
from appliance.domain.money import AMOUNT_EXP, format_scaled
from appliance.domain.order import (
    Amended,
    AmendRefused,
    Canceled,
    CancelRefused,
    Fill,
    Filled,
    Order,
    Rejected,
    VenueEvent,
)
from appliance.domain.sequence import EventSequence
from appliance.orders.book import Change, Orders
from appliance.orders.costs import Costs
from appliance.orders.identity import IdLedger
from appliance.orders.lifecycle import ENDED
from appliance.ports import Clock, InstrumentView, Scribe

KEEP_ENDED = 1_000

_TELLS: dict[type, str] = {
    Rejected: "detail",
    CancelRefused: "detail",
    AmendRefused: "detail",
    Canceled: "reason",
    Amended: "reason",
}
"""Where an event says why."""


class Books(Protocol):
    """`portfolio.Portfolio`, as far as fills and working orders concern it."""

    cash: int

    def view(self, instrument: InstrumentId) -> InstrumentView | None:
        """None if not configured."""
        ...

    def apply_fill(self, fill: Fill, source: SourceId, order: Order | None = None) -> None:
        """Books one fill, and counts what its order, if one is given, has left."""
        ...

    def working(self, order: Order, counted: int | None = None) -> None:
        """Counts an order's leaves, or as much of them as `counted` says."""
        ...


class Booking:
    """sequence: the venue's events by number. `trip` is called for a fill our books cannot hold.

    listeners: told of every fill once it is booked."""

    def __init__(
        self,
        orders: Orders,
        ids: IdLedger,
        books: Books,
        scribe: Scribe,
        trip: Callable[[TripReason, str], None],
        costs: Costs,
        clock: Clock,
    ) -> None:
        self.sequence = EventSequence()
        self._orders = orders
        self._ids = ids
        self._books = books
        self._scribe = scribe
        self._trip = trip
        self._costs = costs
        self.listeners: list[Callable[[Order, Fill], None]] = []
        self._clock = clock

    def take(self, events: Iterable[VenueEvent]) -> list[Change]:
        """Books what can be booked now: in order, each event once."""
        return [self._book(event) for event in self.sequence.take(events)]

    def count(self, order: Order) -> None:
        """Tells the books how much of an order counts, and of those it shares a quantity with."""
        if order.link is None:
            self._books.working(order)
            return
        for each, counted in self._orders.links.counted(order):
            self._books.working(each, counted)

    def moved(self, change: Change, why: str, *, seq: int = 0, quiet: bool = False) -> None:
        """Counts and records what an event of either side did."""
        order = change.order
        if order is None or change.problem:
            if order is not None and not quiet:
                self._scribe.note("venue", {"order_id": order.id, "problem": change.problem, "seq": seq})
            return
        self.count(order)
        self._ended(order)
        instrument = self.instrument(order.instrument)
        if quiet or instrument is None:
            return  # SEND is not an entry of its own: the verdict before it and the answer after it are
        data = describe_order(order, instrument)
        data["why"], data["seq"] = why, seq
        self._scribe.note("order", data, causes=cause_of(order), orders=(order,))

    def instrument(self, symbol: InstrumentId) -> Instrument | None:
        """None if not configured."""
        view = self._books.view(symbol)
        return view.instrument if view is not None else None

    def _book(self, event: VenueEvent) -> Change:
        change = self._orders.apply(event)
        if change.order is None or change.problem:
            self._scribe.note("venue", {"problem": change.problem, "seq": event.seq})
            if change.claim:
                self._trip(TripReason.POSITION_DISAGREEMENT, change.problem)
            return change
        if change.fill is not None and isinstance(event, Filled):
            self._filled(change.order, change.fill, event)
        else:
            told = _TELLS.get(type(event))
            self.moved(change, getattr(event, told) if told is not None else "", seq=event.seq)
        self._orders.forget_ended(KEEP_ENDED)
        return change

    def _filled(self, order: Order, fill: Fill, event: Filled) -> None:
        view = self._books.view(fill.instrument)
        if view is None:  # an order of an earlier configuration: nothing of its fill is booked
            raise InvariantError(
                f"a fill of {order.id} is in {fill.instrument}, which is not configured",
                f"the venue reported trade {fill.trade_id}",
                "configure the instrument again until nothing of it is open",
            )
        if order.link is None:
            self._books.apply_fill(fill, order.source, order)
        else:
            self._books.apply_fill(fill, order.source)
            self.count(order)
        for listener in self.listeners:
            listener(order, fill)
        data = describe_fill(fill, order.source, view.instrument) | {"state": order.state, "seq": event.seq}
        data["raw"] = {"qty": str(fill.qty), "price": str(fill.price), "fee": str(fill.fee)}
        first, now_ns = order.filled == fill.qty, self._clock.mono_ns()
        fee = self._costs.fees.check(fill, view.instrument, first=first, now_ns=now_ns)
        data["fee_expected"] = "" if fee.expected is None else format_scaled(fee.expected, AMOUNT_EXP)
        self._scribe.note("fill", data, causes=cause_of(order), orders=(order,))
        if fee.differs:  # booked as charged: the venue's cash is what the account has
            told = {"problem": "the fee is not the schedule's", "seq": event.seq, "trade": fill.trade_id}
            sums = {"charged": data["fee"], "expected": data["fee_expected"]}
            self._scribe.note("venue", told | sums, causes=cause_of(order))
        self._costs.filled(fill)
        self._ended(order)
        if view.position != event.position_after or self._books.cash != event.cash_after:
            self._trip(
                TripReason.POSITION_DISAGREEMENT,
                f"after {fill.trade_id}: ours {view.position}, venue {event.position_after}",
            )

    def _ended(self, order: Order) -> None:
        if order.state in ENDED:
            self._ids.add(order.id, order.state)
            self._costs.ended(order)


def cause_of(order: Order) -> tuple[int, ...]:
    """Log index of what led to the order, for its entries."""
    return (order.cause,) if order.cause >= 0 else ()
