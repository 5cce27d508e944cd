"""What is so for a parent at this look, and what the table of `orders.plan` asks for then. It only reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from appliance.domain.ids import InstrumentId, IntentId, SourceId
from appliance.domain.instrument import Instrument
from appliance.domain.intent import Intent, TimeInForce
from appliance.domain.verdict import OrderClass
from appliance.orders.book import Orders
from appliance.orders.plan import ACTS, Act, Moment, Recipe, Standing
from appliance.orders.work import Work
from appliance.ports import Clock, InstrumentView


class Positions(Protocol):
    """`portfolio.Portfolio`, as far as execution concerns it."""

    def view(self, instrument: InstrumentId) -> InstrumentView | None:
        """None if not configured."""
        ...

    def held(self) -> Sequence[tuple[SourceId, Instrument, int]]:
        """(source, instrument, signed quantity) of everything that is not zero."""
        ...


class Means(Protocol):
    """What configuration and the safety layer say."""

    recipes: Mapping[SourceId, Recipe]

    def standing(self, source: SourceId, instrument: InstrumentId) -> Standing:
        """Now."""
        ...

    def most(self, instrument: InstrumentId) -> tuple[int, int]:
        """Largest quantity and value of one order, 0 without limits."""
        ...

    def seed(self, parent: IntentId) -> int:
        """What the jitter of this parent is drawn from."""
        ...


class Judge:
    """Owned by the executor."""

    def __init__(self, orders: Orders, books: Positions, clock: Clock, means: Means) -> None:
        self._orders = orders
        self._books = books
        self._clock = clock
        self._means = means

    def act(self, work: Work) -> Act:
        """What the table says now."""
        working = self.working(work)
        return ACTS[work.plan.style][working][self.moment(work, working)]

    def working(self, work: Work) -> bool:
        """A child may still fill; of an exit, any exit of this holding, whoever sent it."""
        if not work.plan.leaves:
            return work.child is not None
        parent = work.plan.parent
        return self._is_leaving(parent.source, parent.instrument)

    def _is_leaving(self, source: SourceId, instrument: InstrumentId) -> bool:
        """As `safety.exits`: an exit that rests may do so for ever, and is no reason to wait."""
        wanted = (source, instrument, OrderClass.REDUCE, TimeInForce.IOC)
        live = self._orders.live()
        return any((o.source, o.instrument, o.order_class, o.time_in_force) == wanted for o in live)

    def alive(self, source: SourceId, instrument: InstrumentId, order_class: OrderClass) -> bool:
        """An order of this class may still fill."""
        wanted = (source, instrument, order_class)
        live = self._orders.live()
        return any((order.source, order.instrument, order.order_class) == wanted for order in live)

    def moment(self, work: Work, working: bool) -> Moment:
        """The first of the moments that applies."""
        plan, parent = work.plan, work.plan.parent
        if not working and self._is_spent(work):
            return Moment.SPENT
        standing = self._means.standing(parent.source, parent.instrument)
        if work.denied or work.replaced or not standing.normal or standing.arming != plan.arming:
            return Moment.HALTED
        if self._was_reduced(work):
            return Moment.HALTED
        now_ns = self._clock.utc_ns()
        if now_ns >= plan.end_ns:
            return Moment.OVER
        if standing.held:
            return Moment.HELD
        return Moment.DUE if working or now_ns >= plan.due_ns[work.at] else Moment.EARLY

    def _is_spent(self, work: Work) -> bool:
        plan, parent = work.plan, work.plan.parent
        if not plan.leaves:
            return work.at >= len(plan.qtys)
        entering = self.alive(parent.source, parent.instrument, OrderClass.INCREASE)
        return not entering and self.closable(parent) is None

    def closable(self, parent: Intent) -> tuple[Instrument, int] | None:
        """What the source still holds on the side this exit closes; None for less than the venue takes."""
        view = self._books.view(parent.instrument)
        held = self.held(parent.source, parent.instrument)
        if view is None or held * -parent.side.sign < view.instrument.min_qty:
            return None
        return view.instrument, held

    def _was_reduced(self, work: Work) -> bool:
        """Somebody sold of what was bought, a stop or an exit: buying on would undo it."""
        plan, parent = work.plan, work.plan.parent
        held = self.held(parent.source, parent.instrument)
        return held * parent.side.sign < plan.held * parent.side.sign + work.filled

    def held(self, source: SourceId, instrument: InstrumentId) -> int:
        """Signed quantity."""
        found = (q for s, i, q in self._books.held() if (s, i.symbol) == (source, instrument))
        return next(found, 0)
