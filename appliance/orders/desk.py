"""The one way out and the one way back: intent → gate → log → venue, events → orders → books → log.

Order of writing is the safety argument (ARCHITECTURE, What is written when; SAFETY 8):
  1. intent, verdict and the order rows are appended together; a crash here leaves orders that are durable or
     absent, all of a list or none, and nothing sent.
  2. what may increase exposure waits until they are durable; a CANCEL, an amendment that only shrinks and an
     exit wait 50 ms at most, and leave behind a record outside the log of what they owe.
  3. the venue is called once. A crash here leaves an order in RECORDED, or an amendment pending: looked up by
     id at start.
  4. the venue's events are recorded with the rows they change; the next intent waits behind them.

An id that was used before gets the answer it got then, and nothing is sent (CONTROLS 5a). Too many entries
under way: `orders.admission`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from appliance.domain.describe import describe_intent, describe_verdict
from appliance.domain.errors import StoreError
from appliance.domain.ids import InstrumentId, IntentId, OrderId, SourceId
from appliance.domain.intent import Action, Intent, ListKind
from appliance.domain.mode import TripReason
from appliance.domain.order import Fill, Order, OrderEvent, VenueOrder
from appliance.domain.reasons import Reason
from appliance.domain.verdict import Approved, ApprovedList, Denied, OrderClass, Verdict
from appliance.orders.admission import Admission
from appliance.orders.book import Change, Orders
from appliance.orders.booking import Booking, Books, cause_of
from appliance.orders.costs import Costs
from appliance.orders.identity import IdLedger
from appliance.orders.results import Results
from appliance.orders.sending import Sender
from appliance.ports import Clock, Patience, Scribe, Ticket, Venue

EXIT_WAIT_NS = 50_000_000

# Python 3.11 looks an enum member up in 90 ns, a global in 3; every order passes here.
_INCREASE, _CANCEL, _AMEND = OrderClass.INCREASE, Action.CANCEL, Action.AMEND


class PaceKeeper(Protocol):
    """`risk.pace.Pace`: the gate reads it, the desk tells it."""

    def sent(self, source: SourceId, now_ns: int, entry: Intent | None = None) -> None:
        """A message is about to leave."""
        ...

    def throttled(self, source: SourceId, now_ns: int) -> None:
        """An entry was denied THROTTLED."""
        ...

    def filled(self, order: Order, fill: Fill) -> None:
        """One fill is booked."""
        ...

    def take_over(self) -> list[tuple[SourceId, str]]:
        """Sources to be stopped now, and why."""
        ...

    def restore(
        self, orders: Iterable[Order], fills: Iterable[Fill], starts: Iterable[tuple[SourceId, int]] = ()
    ) -> None:
        """What the log knows of a run that goes on."""
        ...

    def forget(self, source: SourceId) -> None:
        """It was started again."""
        ...


class Gatekeeper(Protocol):
    """`risk.gate.Gate`."""

    def check(self, intent: Intent) -> Verdict:
        """Approved or Denied."""
        ...

    def check_list(self, kind: ListKind, intents: Sequence[Intent]) -> ApprovedList | Denied:
        """All of them or none."""
        ...

    @property
    def pace(self) -> PaceKeeper:
        """What is told of every message that leaves."""
        ...


class Desk:
    """Owned by the event loop. `trip` is called for what must not happen; `count` for every verdict; `owe`
    (index, approval, new order) for an exit that leaves before its entry at that index is durable.

    sparing: the log writes on the disk reserve, which is for exits; set by the runtime."""

    def __init__(
        self,
        gate: Gatekeeper,
        orders: Orders,
        ids: IdLedger,
        books: Books,
        venue: Venue,
        scribe: Scribe,
        patience: Patience,
        clock: Clock,
        trip: Callable[[TripReason, str], None],
        count: Callable[[Verdict], None],
        owe: Callable[[int, Approved, Order | None], None],
        costs: Costs,
    ) -> None:
        self.orders = orders
        self.costs = costs
        self.booking = Booking(orders, ids, books, scribe, trip, costs, clock)
        self.admission = Admission()
        self.pace = gate.pace
        self.booking.listeners.append(self.pace.filled)
        self._gate = gate
        self._books = books
        self._ids = ids
        self._venue = venue
        self._scribe = scribe
        self._patience = patience
        self._clock = clock
        self._trip = trip
        self._count = count
        self._owe = owe
        self._results = Results()
        self._sender = Sender(venue, orders, self.booking.moved, clock)
        self._cancels = 0
        self.sparing = False
        self.unrecorded: Counter[str] = Counter()

    @property
    def last_seq(self) -> int:
        """Number of the last venue event taken over."""
        return self.booking.sequence.after

    @last_seq.setter
    def last_seq(self, number: int) -> None:
        self.booking.sequence.after = number

    async def place(self, intent: Intent, causes: Sequence[int] = ()) -> Verdict:
        """Takes an intent as far as it gets. What the venue answers comes back through `collect`."""
        first = self._results.first(intent)
        if first is not None:
            return self._repeated(intent, first)
        verdict = self._gate.check(intent)
        if isinstance(verdict, Approved) and verdict.order_class is _INCREASE:
            full = self.admission.enter(verdict.source)
            if full:
                verdict = _denied(intent, _INCREASE, Reason.BACKPRESSURE, full)
        elif isinstance(verdict, Denied) and verdict.reason is Reason.DUPLICATE_ID:
            state = self._ids.state(OrderId(verdict.detail))
            verdict = _denied(intent, verdict.order_class, verdict.reason, f"{verdict.detail} is {state}")
        self._paced(intent, verdict)
        self._count(verdict)
        if isinstance(verdict, Denied) and self._unrecorded_denial(verdict):
            return verdict
        instrument = self.booking.instrument(intent.instrument)
        wish = self._scribe.note("intent", describe_intent(intent, instrument), causes=causes)
        if intent.action is not Action.CANCEL:
            self._results.note(intent, verdict)
        if isinstance(verdict, Denied):
            self._scribe.note("verdict", describe_verdict(verdict, instrument), causes=(wish.index,))
            return verdict
        try:
            rows = self._record(verdict, wish.index)
            data = describe_verdict(verdict, instrument)
            data |= self._cost(verdict)
            ticket = self._scribe.note("verdict", data, causes=(wish.index,), orders=rows)
            await self._await_record(ticket, verdict, rows[0] if rows else None)
            await self._sender.send(verdict)
        finally:
            if verdict.order_class is _INCREASE:
                self.admission.leave(verdict.source)
        return verdict

    async def place_list(
        self, kind: ListKind, intents: Sequence[Intent], causes: Sequence[int] = ()
    ) -> ApprovedList | Denied:
        """As `place`, for orders that are approved, recorded, sent and accepted together or not at all."""
        verdict = self._gate.check_list(kind, intents)
        entries = 0
        if isinstance(verdict, ApprovedList):
            entries = sum(each.order_class is _INCREASE for each in verdict.orders)
            full = self.admission.enter(intents[0].source, entries) if entries else ""
            if full:
                verdict = _denied(intents[0], _INCREASE, Reason.BACKPRESSURE, full)
        if isinstance(verdict, Denied) and self._unrecorded_denial(verdict):
            self._count(verdict)
            return verdict
        judged: Sequence[Verdict] = verdict.orders if isinstance(verdict, ApprovedList) else (verdict,)
        for intent, each in zip(intents, judged, strict=False):
            self._paced(intent, each)
        wishes = [self._note_wish(intent, causes) for intent in intents]
        if isinstance(verdict, Denied):
            self._count(verdict)
            data = describe_verdict(verdict, self.booking.instrument(verdict.instrument))
            self._scribe.note("verdict", data | {"list": kind}, causes=wishes)
            return verdict
        try:
            await self._send_list(verdict, wishes)
        finally:
            if entries:
                self.admission.leave(intents[0].source, entries)
        return verdict

    def _paced(self, intent: Intent, verdict: Verdict) -> None:
        now_ns = self._clock.utc_ns()
        if isinstance(verdict, Approved):
            entry = intent if verdict.order_class is OrderClass.INCREASE else None
            self.pace.sent(verdict.source, now_ns, entry)
        elif verdict.reason is Reason.THROTTLED:
            self.pace.throttled(verdict.source, now_ns)

    def _unrecorded_denial(self, verdict: Denied) -> bool:
        return verdict.order_class is _INCREASE and self.spared(verdict.source, verdict.reason)

    def spared(self, source: SourceId, what: str) -> bool:
        """True while only exits may be recorded (SAFETY 8): what leads to none is counted instead."""
        if self.sparing:
            self.unrecorded[f"{source} {what}"] += 1
        return self.sparing

    async def cancel(self, order: Order) -> None:
        """Asks for the end of one order. Repeating it is harmless: a sweep does."""
        await self._cancel(order.id, order.instrument, order.source, cause_of(order))

    async def cancel_all(self, orders: Sequence[Order], strays: Sequence[VenueOrder] = ()) -> None:
        """Cancels side by side: in an emergency the last of many must not wait for all before it.

        strays: what the venue lists and we do not know; it is exposure all the same.
        """
        await self._patience.together(
            [*(self.cancel(order) for order in orders), *(self._cancel_stray(stray) for stray in strays)]
        )

    async def collect(self) -> list[Change]:
        """Books everything the venue has reported since the last call."""
        return self.booking.take(await self._venue.events())

    def settle(self, order: Order, event: OrderEvent, why: str) -> None:
        """Applies the outcome of a look-up to an order whose fate was unknown."""
        self.booking.moved(self.orders.move(order.id, event), why)

    async def _cancel_stray(self, stray: VenueOrder) -> None:
        self._scribe.note("venue", {"order_id": stray.order_id, "problem": "unknown order, cancelled"})
        await self._cancel(stray.order_id, stray.instrument, SourceId("sweep"), ())

    async def _cancel(
        self, target: OrderId, instrument: InstrumentId, source: SourceId, causes: Sequence[int]
    ) -> None:
        self._cancels += 1
        intent = Intent(
            id=IntentId(f"cancel/{target}/{self._clock.mono_ns()}/{self._cancels}"),
            source=source,
            instrument=instrument,
            created_ns=self._clock.utc_ns(),
            action=_CANCEL,
            target=target,
        )
        await self.place(intent, causes)

    def _repeated(self, intent: Intent, first: Verdict) -> Verdict:
        """The original result; the log tells that somebody asked again."""
        instrument = self.booking.instrument(intent.instrument)
        self._scribe.note("verdict", describe_verdict(first, instrument) | {"repeated": True})
        return first

    def _record(self, verdict: Approved, cause: int) -> list[Order]:
        """The rows that go into the verdict's transaction: a new order, or one with an amendment pending."""
        if verdict.action is _CANCEL:
            return []
        if verdict.action is _AMEND:
            change = self.orders.amend(verdict, self._clock.mono_ns())
            self.booking.moved(change, "", quiet=True)
            return [change.order] if change.order is not None and not change.problem else []
        order = self.orders.record(verdict, cause)
        self._ids.add(order.id)
        self.booking.count(order)
        return [order]

    def _note_wish(self, intent: Intent, causes: Sequence[int]) -> int:
        data = describe_intent(intent, self.booking.instrument(intent.instrument))
        return self._scribe.note("intent", data, causes=causes).index

    async def _send_list(self, approved: ApprovedList, wishes: Sequence[int]) -> None:
        rows: list[Order] = []
        entries = False
        for each, wish in zip(approved.orders, wishes, strict=True):
            self._count(each)
            rows += self._record(each, wish)
            entries = entries or each.order_class is _INCREASE
        lead = approved.orders[0]
        data: dict[str, object] = {"list": approved.kind, "list_id": approved.list_id}
        data["orders"] = [
            describe_verdict(each, self.booking.instrument(each.instrument)) for each in approved.orders
        ]
        ticket = self._scribe.note(
            "verdict", data | {"verdict": "approved", "order_id": lead.order_id}, causes=wishes, orders=rows
        )
        if entries:
            await ticket.durable()
        else:
            await self._await_record(ticket, lead, rows[0])
        await self._sender.send_list(approved)

    async def _await_record(self, ticket: Ticket, approved: Approved, order: Order | None) -> None:
        """Raises StoreError for new exposure; an exit leaves even if the log is lost (SAFETY 8)."""
        if approved.order_class is _INCREASE:
            await ticket.durable()
            return
        try:
            durable = await self._patience.durable_within(ticket, EXIT_WAIT_NS)
        except StoreError as error:
            self._owe(ticket.index, approved, order)
            self._trip(TripReason.AUDIT_STORE, error.what)
            return
        if not durable:
            self._owe(ticket.index, approved, order)
            why = "an exit left before its entry was durable"
            data = {"owed": ticket.index, "order_id": approved.order_id, "why": why}
            self._scribe.note("gap", data, causes=(ticket.index,))

    def _cost(self, approved: Approved) -> dict[str, object]:
        """What an entry is expected to cost; nothing of it decides, and an exit does not wait for it."""
        if approved.order_class is not _INCREASE or approved.action is _AMEND:
            return {}
        view = self._books.view(approved.instrument)
        return {} if view is None else self.costs.entry(approved, view)


def _denied(intent: Intent, order_class: OrderClass, reason: Reason, detail: str) -> Denied:
    return Denied(intent.id, intent.source, intent.instrument, order_class, reason, detail)
