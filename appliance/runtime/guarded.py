"""The core's calls behind their breakers: venue, market, memory, upstream. What is refused here has not left.

At the venue only new exposure can be refused. Cancels, exits and protective legs pass an open breaker, and
so does every look-up, because a sweep is confirmed and a fate is found by looking; all of them are counted.
Of the market's calls only the next step can be refused, and the feed asks again until it may; standing
still, which exits need, cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from appliance.domain.breaker import BreakerOpenError, Component
from appliance.domain.fees import FeeSchedule
from appliance.domain.ids import InstrumentId, OrderId
from appliance.domain.observation import Observation
from appliance.domain.order import VenueAccount, VenueEvent, VenueOrder
from appliance.domain.reasons import Reason
from appliance.domain.verdict import Approved, ApprovedList, OrderClass
from appliance.memory.service_store import MemoryService, MemorySettings
from appliance.ports import FeeSource, PaperMarket, Precedent, StoppedAtWire, Venue
from appliance.risk.breaker import Breaker
from appliance.risk.breakers import Breakers
from appliance.upstream.exchange import Answer, Ask, Exchange

_INCREASE = OrderClass.INCREASE
_MEMORY_FAULTS = ("timeout", "unavailable", "down")
_ASKED_TOO_OFTEN, _SERVER_ERROR = 429, 500


class PaperVenue(Venue, FeeSource, PaperMarket, Protocol):
    """A paper venue: its account, its fees and its market."""


class GuardedVenue:
    """Implements ports.Venue, FeeSource and PaperMarket on a venue that does.

    A failure is an exception: no answer, or one that is none. What the venue rejects comes back as an event,
    and a venue that rejects works.
    """

    def __init__(self, venue: PaperVenue, breakers: Breakers) -> None:
        self.name = venue.name
        self._venue = venue
        self._entry = breakers[Component.ORDER_ENTRY]
        self._look_ups = breakers[Component.LOOK_UPS]
        self._market = breakers[Component.MARKET]

    async def submit(self, order: Approved) -> None:
        """Raises StoppedAtWire for new exposure the breaker refuses: it opened after the gate, or another
        order is the probe. The latch is looked at later still, by the venue's own connector."""
        with self._entering(order.order_class is not _INCREASE):
            await self._venue.submit(order)

    async def submit_list(self, orders: ApprovedList) -> None:
        """As `submit`; a list with one order of new exposure is new exposure."""
        with self._entering(all(order.order_class is not _INCREASE for order in orders.orders)):
            await self._venue.submit_list(orders)

    async def amend(self, order: Approved) -> None:
        """As `submit`: only what enlarges can be refused."""
        with self._entering(order.order_class is not _INCREASE):
            await self._venue.amend(order)

    async def replace_order(self, order: Approved) -> None:
        """As `submit`."""
        with self._entering(order.order_class is not _INCREASE):
            await self._venue.replace_order(order)

    async def cancel(self, order: Approved) -> None:
        """Never refused."""
        with self._entry.guard(exempt=True):
            await self._venue.cancel(order)

    @contextmanager
    def _entering(self, exempt: bool) -> Iterator[None]:
        try:
            with self._entry.guard(exempt=exempt):
                yield
        except BreakerOpenError as refused:
            raise StoppedAtWire(Reason.BREAKER_OPEN) from refused

    async def events(self) -> Sequence[VenueEvent]:
        """What replies have brought: no call, so nothing to count."""
        return await self._venue.events()

    async def open_orders(self) -> Sequence[VenueOrder]:
        """Never refused."""
        with self._look_ups.guard(exempt=True):
            return await self._venue.open_orders()

    async def order(self, order_id: OrderId) -> VenueOrder | None:
        """Never refused."""
        with self._look_ups.guard(exempt=True):
            return await self._venue.order(order_id)

    async def account(self) -> VenueAccount:
        """Never refused."""
        with self._look_ups.guard(exempt=True):
            return await self._venue.account()

    async def fees(self) -> FeeSchedule:
        """Never refused: without a schedule there is no new exposure."""
        with self._look_ups.guard(exempt=True):
            return await self._venue.fees()

    async def step(self, observation: Observation, number: int) -> None:
        """Raises BreakerOpenError, a TransportError, if the breaker refuses: the feed asks again."""
        with self._market.guard():
            await self._venue.step(observation, number)

    async def stand_still(self, instruments: Sequence[InstrumentId]) -> None:
        """Never refused."""
        with self._market.guard(exempt=True):
            await self._venue.stand_still(instruments)


class GuardedMemory(MemoryService):
    """Long-term memory that is not asked while it keeps failing: a signal then waits for nothing."""

    def __init__(
        self,
        path: Path,
        instruments: Iterable[InstrumentId],
        settings: MemorySettings,
        mono_ns: Callable[[], int],
        breaker: Breaker,
    ) -> None:
        super().__init__(path, instruments, settings, mono_ns)
        self._breaker = breaker

    async def find_similar_conditions(self, instrument: InstrumentId, k: int) -> Sequence[Precedent]:
        """As MemoryService, or () at once while the breaker refuses. Never raises."""
        try:
            with self._breaker.guard() as call:
                before = self._faults()
                found = await super().find_similar_conditions(instrument, k)
                if self._faults() != before:
                    call.fail()
                return found
        except BreakerOpenError:
            return ()

    def _faults(self) -> int:
        """Questions without an answer; that there is no condition yet is an answer."""
        return sum(self._unanswered[reason] for reason in _MEMORY_FAULTS)


class GuardedExchange(Exchange):
    """Conversations with the witness; a refused one is a TransportError, which the client waits out."""

    def __init__(self, url: str, breaker: Breaker, pin: str = "") -> None:
        super().__init__(url, pin=pin)
        self._breaker = breaker

    async def _talk(self, ask: Ask) -> Answer:
        with self._breaker.guard() as call:
            answer = await super()._talk(ask)
            if answer.status == _ASKED_TOO_OFTEN or answer.status >= _SERVER_ERROR:
                call.fail()
            return answer
