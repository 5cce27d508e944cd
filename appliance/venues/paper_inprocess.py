"""The paper venue inside the core's process, for replay at maximum speed and for tests.

It is the same engine the paper venue's own process runs, behind the same port and the same second look at
the door; only the wire is missing, and with it the possibility that a fate is unknown.
"""

from __future__ import annotations

from collections.abc import Sequence

from appliance.domain.fees import FeeSchedule
from appliance.domain.ids import InstrumentId, OrderId
from appliance.domain.observation import Observation
from appliance.domain.order import VenueAccount, VenueEvent, VenueOrder
from appliance.domain.verdict import Approved
from appliance.venues.paper_engine import PaperEngine
from appliance.venues.paper_terms import to_wire
from appliance.venues.wire import Recheck


class InProcessPaper:
    """Implements ports.Venue, FeeSource and PaperMarket on one engine."""

    name = "paper"

    def __init__(self, engine: PaperEngine, recheck: Recheck) -> None:
        self.engine = engine
        self._recheck = recheck
        self._told = 0

    async def submit(self, order: Approved) -> None:
        """Raises StoppedAtWire if the latch moved since the gate."""
        self._recheck(order)
        self.engine.submit(to_wire(order))

    async def cancel(self, order: Approved) -> None:
        """Ends an open order."""
        self._recheck(order)
        self.engine.cancel(order.order_id)

    async def events(self) -> Sequence[VenueEvent]:
        """What happened since the last call."""
        log = self.engine.ledger.log
        fresh = log[self._told :]
        self._told = len(log)
        return fresh

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
        self.engine.step(observation, number)

    async def stand_still(self, instruments: Sequence[InstrumentId]) -> None:
        """Shows the last prices once more."""
        for symbol in instruments:
            self.engine.stand_still(symbol)
