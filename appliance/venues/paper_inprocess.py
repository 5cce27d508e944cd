"""The paper venue inside the core's process, for replay at maximum speed and for tests.

It is the same engine the paper venue's own process runs, behind the same port and the same second look at
the door; only the wire is missing. Without fault switches no fate is ever unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from appliance.domain.errors import RefusedError, TransportError
from appliance.domain.fees import FeeSchedule
from appliance.domain.ids import InstrumentId, OrderId
from appliance.domain.observation import Observation
from appliance.domain.order import VenueAccount, VenueEvent, VenueOrder
from appliance.domain.sequence import EventSequence
from appliance.domain.verdict import Approved, ApprovedList
from appliance.venues.paper_engine import PaperEngine
from appliance.venues.paper_faults import Fault, FaultKind, Faults
from appliance.venues.paper_terms import amend_to_wire, list_to_wire, to_wire
from appliance.venues.wire import Recheck


class InProcessPaper:
    """Implements ports.Venue, FeeSource and PaperMarket on one engine. faults: test switches, or None."""

    name = "paper"

    def __init__(self, engine: PaperEngine, recheck: Recheck, faults: Faults | None = None) -> None:
        self.engine = engine
        self._recheck = recheck
        self._faults = faults
        self._sequence = EventSequence()
        self._delayed: list[Callable[[], None]] = []

    async def submit(self, order: Approved) -> None:
        """Raises StoppedAtWire if the latch moved since the gate."""
        self._recheck(order)

        def work(fault: Fault | None) -> None:
            self.engine.submit(to_wire(order), "FAULT" if fault is not None else "")

        self._ask("submit", work)

    async def submit_list(self, orders: ApprovedList) -> None:
        """All or none; one order of the list that may not leave stops them all."""
        for order in orders.orders:
            self._recheck(order)
        self._ask("list", lambda _: self.engine.submit_list(list_to_wire(orders)))

    async def cancel(self, order: Approved) -> None:
        """Ends an open order."""
        self._recheck(order)

        def work(fault: Fault | None) -> None:
            self.engine.cancel(order.order_id, fault.qty if fault is not None else 0)

        self._ask("cancel", work)

    async def amend(self, order: Approved) -> None:
        """Changes an open order."""
        self._recheck(order)
        self._ask("amend", lambda _: self.engine.amend(order.order_id, amend_to_wire(order)))

    async def replace_order(self, order: Approved) -> None:
        """Ends one order and begins another, or neither."""
        self._recheck(order)
        target = order.target or OrderId("")
        self._ask("replace", lambda _: self.engine.replace(target, to_wire(order)))

    async def events(self) -> Sequence[VenueEvent]:
        """What happened since the last call."""
        fresh: Sequence[VenueEvent] = self.engine.ledger.log[self._sequence.after :]
        if self._faults is not None:
            fresh = self._faults.reported(fresh)
        return self._sequence.take(fresh)

    async def open_orders(self) -> Sequence[VenueOrder]:
        """Everything that can still fill."""
        return [order.describe() for order in self.engine.ledger.live.values()]

    async def order(self, order_id: OrderId) -> VenueOrder | None:
        """One order's fate."""
        order = self.engine.ledger.orders.get(order_id)
        return None if order is None else order.describe()

    async def account(self) -> VenueAccount:
        """Cash and positions."""
        return self.engine.ledger.account()

    async def fees(self) -> FeeSchedule:
        """The schedule fills are charged by."""
        return self.engine.ledger.fees

    async def step(self, observation: Observation, number: int) -> None:
        """Moves the market."""
        delayed, self._delayed = self._delayed, []
        for work in delayed:
            work()
        self.engine.step(observation, number)

    async def stand_still(self, instruments: Sequence[InstrumentId]) -> None:
        """Shows the last prices once more."""
        for symbol in instruments:
            self.engine.stand_still(symbol)

    def _ask(self, on: str, work: Callable[[Fault | None], None]) -> None:
        fault = self._faults.next(on) if self._faults is not None else None
        kind = fault.kind if fault is not None else None
        if kind is FaultKind.DELAY:
            self._delayed.append(lambda: work(None))
        elif kind is FaultKind.HANG:
            raise TransportError("the paper venue does not answer", "a fault switch")
        elif kind is FaultKind.ERROR_BEFORE:
            raise RefusedError("the paper venue answers 500", "a fault switch", status=500)
        elif kind in (FaultKind.REJECT, FaultKind.FILL_AFTER_CANCEL):
            work(fault)
        else:
            work(None)
        if kind is FaultKind.DROP_REPLY:
            raise TransportError("the paper venue's reply was lost", "a fault switch")
        if kind is FaultKind.ERROR_AFTER:
            raise RefusedError("the paper venue answers 500", "a fault switch", status=500)
