"""Works parents child by child, by the table of `orders.plan`; every child goes through the gate (EXEC_001).

What a crash leaves: the plan is in the log before its first child is asked for, and every child that may have
been sent is a durable order. A child that is in neither was never sent and is asked for under the same id; a
child whose fate is unknown is looked up (`orders.reconcile`), and nothing is asked for until it is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from appliance.domain.ids import InstrumentId, IntentId, SourceId
from appliance.domain.instrument import Instrument
from appliance.domain.intent import Intent
from appliance.domain.order import Fill, Order, OrderState
from appliance.domain.reasons import Reason
from appliance.domain.verdict import Denied, OrderClass
from appliance.orders.desk import Desk
from appliance.orders.execution_stats import Ending, ExecutionStats
from appliance.orders.judge import Judge, Means, Positions
from appliance.orders.plan import (
    ACTS,
    Act,
    Moment,
    Plan,
    Recipe,
    Style,
    child_id,
    child_intent,
    make_plan,
    plan_data,
)
from appliance.orders.reconcile import AFTER, After
from appliance.orders.results import REMEMBERED
from appliance.orders.slicing import order_bounds
from appliance.orders.work import Work, describe_work
from appliance.ports import Clock, Scribe

PATIENT = frozenset({Reason.THROTTLED, Reason.DUPLICATE_ECONOMICS})
"""Denials that say "not so fast": a slice is asked for again at the next look, and no try is lost."""

LATER = frozenset(
    {
        *(Reason.HOLD, Reason.GUARD_LATE, Reason.PAGE_MISMATCH),
        *(Reason.PRICE_MISSING, Reason.PRICE_STALE, Reason.EQUITY_MISSING, Reason.EQUITY_STALE),
        *(Reason.FEES_MISSING, Reason.FEES_STALE, Reason.BREAKER_OPEN, Reason.BACKPRESSURE),
        *(Reason.PRICE_CROSSED, Reason.PRICE_SPREAD, Reason.PRICE_DEVIATION),
        *PATIENT,
    }
)
"""Denials that end with their cause: a slice is asked for again, as often as it may be tried."""

_ALIVE = frozenset({After.WAIT, After.LOOK_UP})
_CANCELLABLE = frozenset(
    {OrderState.SENT, OrderState.WORKING, OrderState.TRIGGERED, OrderState.PARTIALLY_FILLED}
)
_ENDINGS = {
    Moment.SPENT: (Ending.DONE, Moment.SPENT.value),
    Moment.HALTED: (Ending.STOPPED, Moment.HALTED.value),
    Moment.OVER: (Ending.EXPIRED, Moment.OVER.value),
}


class Leave(Protocol):
    """`safety.exits.ExitFlow`, as far as execution concerns it."""

    async def leave(self, source: SourceId, instrument: Instrument, quantity: int, purpose: str) -> None:
        """Sends an exit for this holding, if none works yet."""
        ...


class Executor:
    """Owned by the event loop; entered by the pipeline's task only. Between two observations nothing is sent:
    a slice that falls due waits for the next price, which the gate needs anyway."""

    def __init__(
        self, desk: Desk, books: Positions, leave: Leave, scribe: Scribe, clock: Clock, means: Means
    ) -> None:
        self._desk = desk
        self._books = books
        self._leave = leave
        self._scribe = scribe
        self._clock = clock
        self._means = means
        self._judge = Judge(desk.orders, books, clock, means)
        self._works: dict[tuple[SourceId, IntentId], Work] = {}
        self._over: dict[tuple[SourceId, IntentId], None] = {}  # the latest that ended
        self._children: dict[tuple[SourceId, IntentId], tuple[Work, int]] = {}
        self.stats = ExecutionStats()
        desk.booking.listeners.append(self._filled)

    def running(self) -> list[Plan]:
        """Plans that have not ended, oldest first."""
        return [work.plan for work in self._works.values()]

    async def enter(self, intent: Intent, causes: Sequence[int] = ()) -> None:
        """Works an entry as its source's recipe says; the first child is asked for at once, whatever stands:
        the gate says why not, and the log has it. The same id is the same wish and does nothing; after a
        restart, or much later, its children's ids are known and denied. Raises StoreError as `Desk.place`."""
        if (intent.source, intent.id) in self._works or (intent.source, intent.id) in self._over:
            data = {"execution": "repeated", "intent": intent.id, "source": intent.source}
            self._scribe.note("execution", data, causes=causes)
            return
        view = self._books.view(intent.instrument)
        if view is None:
            await self._desk.place(intent, causes)
            return
        for work in self._of(intent.source, intent.instrument):
            if work.plan.leaves:
                self._end(work, Ending.REPLACED, "the strategy wants in again")
        recipe = self._means.recipes.get(intent.source, Recipe())
        most_qty, most_value = self._means.most(intent.instrument)
        bounds = order_bounds(view.instrument, max(view.ask, view.last), most_qty, most_value)
        arming = self._means.standing(intent.source, intent.instrument).arming
        held = self._judge.held(intent.source, intent.instrument)
        plan = make_plan(intent, recipe, bounds, view, self._means.seed(intent.id), arming, held)
        work = self._begin(plan, causes)
        await self._emit(work)
        self._finish(work)

    async def close(self, intent: Intent, causes: Sequence[int] = ()) -> None:
        """Ends what a source holds or is buying in one instrument, and stays at it until nothing is left.

        intent: side and quantity of the exit.  Nothing stops it but a new entry of the same source.
        """
        view = self._books.view(intent.instrument)
        if view is None:
            return
        if any(work.plan.leaves for work in self._of(intent.source, intent.instrument)):
            return
        for work in self._of(intent.source, intent.instrument):
            self._settle(work)
            self._finish(work)
        for work in self._of(intent.source, intent.instrument):
            work.replaced = "the strategy wants out"
            await self._cancel(work)
            self._settle(work)
            self._finish(work)
        entering = self._judge.alive(intent.source, intent.instrument, OrderClass.INCREASE)
        if not entering and intent.qty < view.instrument.min_qty:
            return
        bounds = order_bounds(view.instrument, 0, 0, 0)
        held = self._judge.held(intent.source, intent.instrument)
        plan = make_plan(intent, Recipe(style=Style.EXIT), bounds, view, 0, "", held)
        work = self._begin(plan, causes)
        await self._step(work)

    async def advance(self) -> None:
        """One look at every parent: after the market's news are booked, once for each observation."""
        for work in list(self._works.values()):
            await self._step(work)

    def resume(
        self,
        plans: Sequence[tuple[Plan, int]],
        orders: Sequence[Order],
        fills: Sequence[tuple[SourceId, Fill]],
    ) -> None:
        """Takes up what an earlier process had begun, from the log: (plan, index of its entry), every order
        of the run and its fills. Sends nothing; `advance` does, if the arming is still the same."""
        by_id = {order.id: order for order in orders}
        for plan, cause in plans:
            work = self._add(Work(plan, cause))
            for order in orders:
                found = self._children.get((order.source, order.intent_id))
                if found is not None and found[0] is work:
                    work.remember(found[1], order.id, alive=AFTER[order.state] in _ALIVE)
        for _, fill in fills:
            known = by_id.get(fill.order_id)
            if known is not None:
                self._filled(known, fill)

    def _begin(self, plan: Plan, causes: Sequence[int]) -> Work:
        parent = plan.parent
        data = {"execution": "begun", "intent": parent.id, "source": parent.source, "plan": plan_data(plan)}
        return self._add(Work(plan, self._scribe.note("execution", data, causes=causes).index))

    def _add(self, work: Work) -> Work:
        source = work.plan.parent.source
        self._works[source, work.plan.parent.id] = work
        if not work.plan.leaves:
            for index in range(len(work.plan.qtys)):
                self._children[source, child_id(work.plan, index)] = (work, index)
        return work

    def _of(self, source: SourceId, instrument: InstrumentId) -> list[Work]:
        return [
            work
            for work in self._works.values()
            if (work.plan.parent.source, work.plan.parent.instrument) == (source, instrument)
        ]

    async def _step(self, work: Work) -> None:
        self._settle(work)
        act = self._judge.act(work)
        if act is Act.EMIT:
            await self._emit(work)
            self._finish(work)
        elif act is Act.CANCEL or work.replaced:
            await self._cancel(work)
            self._finish(work)
        elif act is Act.END:
            self._finish(work)

    def _settle(self, work: Work) -> None:
        """What became of the child: it works, or its slice goes on, is tried again or is given up."""
        if work.child is None:
            return
        order = self._desk.orders.get(work.child)
        after = AFTER[order.state] if order is not None else After.DONE
        if after not in _ALIVE:
            work.child = None
            work.next_slice(again=after is After.TRY_AGAIN)

    async def _emit(self, work: Work) -> None:
        plan, parent = work.plan, work.plan.parent
        if plan.leaves:
            closable = self._judge.closable(parent)
            if closable is not None:
                await self._leave.leave(parent.source, *closable, "close")
            return
        qty = min(work.rest(), plan.total - work.filled - self._revived(work))
        if qty <= 0 < work.sent:
            work.next_slice(again=False)
            return
        index, attempt = work.at, work.attempt()
        work.count_try()
        self.stats.children += 1
        self.stats.retries += work.tries > 1
        intent = child_intent(plan, index, attempt, qty, self._clock.utc_ns())
        verdict = await self._desk.place(intent, (work.cause,))
        if not isinstance(verdict, Denied):
            work.remember(index, verdict.order_id, alive=True)
        elif verdict.reason in LATER and plan.style is not Style.PLAIN:
            work.denials += 1
            work.tries -= verdict.reason in PATIENT
            work.next_slice(again=True)
        else:
            work.denied = verdict.reason

    def _revived(self, work: Work) -> int:
        """Leaves of children that were given up for lost and turned up after all: they count as sent."""
        found = (self._desk.orders.get(order_id) for order_id in work.orders)
        return sum(o.leaves for o in found if o is not None and AFTER[o.state] in _ALIVE)

    async def _cancel(self, work: Work) -> None:
        order = self._desk.orders.get(work.child) if work.child is not None else None
        if order is not None and order.state in _CANCELLABLE:
            await self._desk.cancel(order)
            await self._desk.collect()

    def _finish(self, work: Work) -> None:
        """Ends the parent if the table says so now."""
        working = self._judge.working(work)
        moment = self._judge.moment(work, working)
        if ACTS[work.plan.style][working][moment] is not Act.END:
            return
        if work.denied:
            self._end(work, Ending.DENIED, work.denied)
        elif work.replaced:
            self._end(work, Ending.REPLACED, work.replaced)
        elif moment in _ENDINGS:
            self._end(work, *_ENDINGS[moment])
        else:
            self._end(work, Ending.STOPPED, "the core ended before it was sent")

    def _end(self, work: Work, ending: Ending, why: str) -> None:
        parent = work.plan.parent
        del self._works[parent.source, parent.id]
        self._over[parent.source, parent.id] = None
        if len(self._over) > REMEMBERED:
            del self._over[next(iter(self._over))]
        for index in range(len(work.plan.qtys)):
            self._children.pop((parent.source, child_id(work.plan, index)), None)
        view = self._books.view(parent.instrument)
        data: dict[str, object] = {"execution": "ended", "intent": parent.id, "source": parent.source}
        data |= {"ending": ending, "why": why}
        if view is not None:
            data |= describe_work(work, view)
        self._scribe.note("execution", data, causes=(work.cause,))
        self.stats.ended(ending, work.filled_percent(), work.slippage_ppm(), work.fill_ns())

    def _filled(self, order: Order, fill: Fill) -> None:
        found = self._children.get((order.source, order.intent_id))
        if found is not None:
            found[0].take(found[1], fill)
        elif order.order_class is OrderClass.REDUCE:
            for work in self._of(order.source, order.instrument):
                if work.plan.leaves and fill.event_ns >= work.plan.begun_ns:
                    work.take(0, fill)
