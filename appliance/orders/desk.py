"""The one way out and the one way back: intent → gate → log → venue, events → orders → books → log.

Order of writing is the safety argument (ARCHITECTURE, What is written when; SAFETY 8):
  1. intent, verdict and the order row are appended together; a crash here leaves an order that is durable
     or absent, and nothing sent.
  2. what may increase exposure waits until they are durable; a CANCEL or an exit waits 50 ms at most, and
     leaves behind a record outside the log of what it owes.
  3. the venue is called once. A crash here leaves an order in RECORDED: looked up by id at start.
  4. the venue's events are recorded with the rows they change; the next intent waits behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from appliance.domain.describe import describe_fill, describe_intent, describe_order, describe_verdict
from appliance.domain.errors import PeerError, StoreError, TransportError
from appliance.domain.ids import InstrumentId, IntentId, OrderId, SourceId
from appliance.domain.instrument import Instrument
from appliance.domain.intent import Action, Intent
from appliance.domain.mode import TripReason
from appliance.domain.order import Fill, Filled, Order, OrderEvent, OrderState, VenueEvent, VenueOrder
from appliance.domain.verdict import Approved, Denied, OrderClass, Verdict
from appliance.orders.book import Change, Orders
from appliance.orders.identity import IdLedger
from appliance.ports import Clock, InstrumentView, Patience, Scribe, StoppedAtWire, Ticket, Venue

EXIT_WAIT_NS = 50_000_000
KEEP_ENDED = 1_000


class Gatekeeper(Protocol):
    """`risk.gate.Gate`."""

    def check(self, intent: Intent) -> Verdict:
        """Approved or Denied."""
        ...


class Books(Protocol):
    """`portfolio.Portfolio`, as far as fills and working orders concern it."""

    cash: int

    def view(self, instrument: InstrumentId) -> InstrumentView | None:
        """None if not configured."""
        ...

    def apply_fill(self, fill: Fill, source: SourceId) -> None:
        """Books one fill."""
        ...

    def working(self, order: Order) -> None:
        """Counts an order's leaves."""
        ...


class Desk:
    """Owned by the event loop. `trip` is called for what must not happen; `count` for every verdict; `owe`
    (index, approval, new order) for an exit that leaves before its entry at that index is durable.

    on_fill: told of every fill once it is booked; set by whoever follows orders."""

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
    ) -> None:
        self.orders = orders
        self._gate = gate
        self._ids = ids
        self._books = books
        self._venue = venue
        self._scribe = scribe
        self._patience = patience
        self._clock = clock
        self._trip = trip
        self._count = count
        self._owe = owe
        self._cancels = 0
        self.on_fill: Callable[[Order, Fill], None] = _nobody_listens
        self.last_seq = 0  # number of the last venue event taken over

    async def place(self, intent: Intent, causes: Sequence[int] = ()) -> Verdict:
        """Takes an intent as far as it gets. What the venue answers comes back through `collect`."""
        verdict = self._gate.check(intent)
        self._count(verdict)
        instrument = self._instrument(intent.instrument)
        wish = self._scribe.note("intent", describe_intent(intent, instrument), causes=causes)
        if isinstance(verdict, Denied):
            self._scribe.note("verdict", describe_verdict(verdict, instrument), causes=(wish.index,))
            return verdict
        rows: list[Order] = []
        if verdict.action is Action.NEW:
            order = self.orders.record(verdict, wish.index)
            self._ids.add(order.id)
            self._books.working(order)
            rows.append(order)
        ticket = self._scribe.note(
            "verdict", describe_verdict(verdict, instrument), causes=(wish.index,), orders=rows
        )
        await self._await_record(ticket, verdict, rows[0] if rows else None)
        await self._send(verdict)
        return verdict

    async def cancel(self, order: Order) -> None:
        """Asks for the end of one order. Repeating it is harmless: a sweep does."""
        causes = (order.cause,) if order.cause >= 0 else ()
        await self._cancel(order.id, order.instrument, order.source, causes)

    async def cancel_all(self, orders: Sequence[Order], strays: Sequence[VenueOrder] = ()) -> None:
        """Cancels side by side: in an emergency the last of many must not wait for all before it.

        strays: what the venue lists and we do not know; it is exposure all the same.
        """
        await self._patience.together(
            [*(self.cancel(order) for order in orders), *(self._cancel_stray(stray) for stray in strays)]
        )

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
            action=Action.CANCEL,
            target=target,
        )
        await self.place(intent, causes)

    async def collect(self) -> list[Change]:
        """Books everything the venue has reported since the last call."""
        return [self._book(event) for event in await self._venue.events()]

    def settle(self, order: Order, event: OrderEvent, why: str) -> None:
        """Applies the outcome of a look-up to an order whose fate was unknown."""
        self._moved(self.orders.move(order.id, event), why)

    async def _await_record(self, ticket: Ticket, approved: Approved, order: Order | None) -> None:
        """Raises StoreError for new exposure; an exit leaves even if the log is lost (SAFETY 8)."""
        if approved.order_class is OrderClass.INCREASE:
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
            data = {"owed": ticket.index, "why": "an exit left before its entry was durable"}
            self._scribe.note("gap", data)

    async def _send(self, order: Approved) -> None:
        leaving = OrderEvent.CANCEL_SEND if order.action is Action.CANCEL else OrderEvent.SEND
        self._moved(self.orders.move(order.order_id, leaving, sent_ns=self._clock.mono_ns()), "", quiet=True)
        try:
            if order.action is Action.CANCEL:
                await self._venue.cancel(order)
            else:
                await self._venue.submit(order)
        except StoppedAtWire as stopped:
            self._moved(self.orders.move(order.order_id, OrderEvent.STOP_AT_WIRE), stopped.reason)
        except (TransportError, PeerError) as error:
            self._moved(self.orders.move(order.order_id, OrderEvent.LOSE), error.what)

    def _book(self, event: VenueEvent) -> Change:
        self.last_seq = event.seq
        change = self.orders.apply(event)
        if change.order is None or change.problem:
            self._scribe.note("venue", {"problem": change.problem, "seq": event.seq})
            if change.order is None and isinstance(event, Filled):
                self._trip(TripReason.POSITION_DISAGREEMENT, change.problem)
            return change
        if change.fill is not None and isinstance(event, Filled):
            self._fill(change, change.fill, event)
        else:
            self._moved(change, getattr(event, "detail", getattr(event, "reason", "")), seq=event.seq)
        if change.order.state is OrderState.FILLED or event.seq % KEEP_ENDED == 0:
            self.orders.forget_ended(KEEP_ENDED)
        return change

    def _fill(self, change: Change, fill: Fill, event: Filled) -> None:
        order = change.order
        if order is None:
            return
        self._books.apply_fill(fill, order.source)
        self._books.working(order)
        self.on_fill(order, fill)
        view = self._books.view(fill.instrument)
        instrument = self._instrument(fill.instrument)
        if view is None or instrument is None:
            return
        data = describe_fill(fill, order.source, instrument) | {"state": order.state, "seq": event.seq}
        data["raw"] = {"qty": str(fill.qty), "price": str(fill.price), "fee": str(fill.fee)}
        self._scribe.note("fill", data, causes=_cause(order), orders=(order,))
        if view.position != event.position_after or self._books.cash != event.cash_after:
            self._trip(
                TripReason.POSITION_DISAGREEMENT,
                f"after {fill.trade_id}: ours {view.position}, venue {event.position_after}",
            )

    def _moved(self, change: Change, why: str, *, seq: int = 0, quiet: bool = False) -> None:
        order = change.order
        if order is None or change.problem:
            if order is not None and not quiet:
                self._scribe.note("venue", {"order_id": order.id, "problem": change.problem, "seq": seq})
            return
        self._books.working(order)
        instrument = self._instrument(order.instrument)
        if quiet or instrument is None:
            return  # SEND is not an entry of its own: the verdict before it and the answer after it are
        data = describe_order(order, instrument) | {"why": why, "seq": seq}
        self._scribe.note("order", data, causes=_cause(order), orders=(order,))

    def _instrument(self, symbol: InstrumentId) -> Instrument | None:
        view = self._books.view(symbol)
        return view.instrument if view is not None else None


def _nobody_listens(_order: Order, _fill: Fill) -> None:
    """Until somebody follows orders."""


def _cause(order: Order) -> tuple[int, ...]:
    return (order.cause,) if order.cause >= 0 else ()

