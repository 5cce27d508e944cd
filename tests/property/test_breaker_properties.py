"""A breaker against its whole history: state by brute force, never too many probes, never a refused exit.

The model keeps every call that ever ended and looks through all of them each time; it shares nothing with
the machine but the settings.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.domain.breaker import BreakerOpenError, BreakerState, Component
from appliance.domain.intent import OrderType, Side
from appliance.domain.money import Price, Qty
from appliance.domain.order import Order
from appliance.domain.verdict import Approved, OrderClass
from appliance.ports import StoppedAtWire
from appliance.risk.breaker import PROBE_NS, Breaker, BreakerSettings
from tests.kit import SECOND, Core, FakeClock, breaker_settings

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN

COOLDOWN, WINDOW = 3 * SECOND, 7 * SECOND
TIMES = st.sampled_from(
    [0, 1, SECOND]
    + [each + near for each in (COOLDOWN, WINDOW) for near in (-1, 0, 1)]
    + [PROBE_NS - 1, PROBE_NS]
)
SETTINGS = st.builds(
    lambda calls, least, allowed, probes, successes: breaker_settings(
        window_calls=calls,
        window_ns=WINDOW,
        min_calls=min(least, calls),
        open_above_ppm=allowed,
        cooldown_ns=COOLDOWN,
        probes=probes,
        successes=successes,
    ),
    st.integers(1, 6),
    st.integers(1, 4),
    st.sampled_from([0, 333_333, 500_000, 999_999]),
    st.integers(1, 3),
    st.integers(1, 3),
)
ACTS = st.one_of(
    st.tuples(st.just("call"), st.booleans(), st.sampled_from(["good", "bad", "bad"])),
    st.tuples(st.just("call"), st.booleans(), st.sampled_from(["good", "bad", "bad"])),
    st.tuples(st.just("begin"), st.booleans()),
    st.tuples(st.just("end"), st.integers(0, 9), st.sampled_from(["good", "bad", "unknown"])),
    st.tuples(st.just("time"), TIMES),
    st.tuples(st.just("look")),
)


@dataclass
class Call:
    """One call. phase, began_ns: in which it began and when.  order: as how many-th it ended, 0 while not."""

    phase: int
    began_ns: int
    exempt: bool
    order: int = 0
    end_phase: int = -1
    ended_ns: int = 0
    outcome: str = ""


class Model:
    """Everything that happened, as a list; each answer is read out of the whole of it."""

    def __init__(self, limits: BreakerSettings) -> None:
        self.limits = limits
        self.calls: list[Call] = []
        self.phases = [CLOSED]
        self.failures: list[int] = []

    @property
    def state(self) -> BreakerState:
        """The last phase."""
        return self.phases[-1]

    @property
    def here(self) -> int:
        """Number of the last phase."""
        return len(self.phases) - 1

    def out(self) -> list[Call]:
        """Probes of this phase that are on their way."""
        if self.state is not HALF_OPEN:
            return []
        return [call for call in self.calls if call.phase == self.here and not call.exempt and not call.order]

    def hangs(self, now_ns: int) -> bool:
        """One of them is too late."""
        return any(now_ns - call.began_ns >= PROBE_NS for call in self.out())

    def look(self, now_ns: int) -> None:
        """What time does."""
        if self.state is OPEN and now_ns >= max(self.failures) + COOLDOWN:
            self.phases.append(HALF_OPEN)
        elif self.hangs(now_ns):
            self.failures.append(now_ns)
            self.phases.append(OPEN)

    def begin(self, now_ns: int, *, exempt: bool) -> Call | None:
        """None: refused."""
        if self.state is not CLOSED:
            self.look(now_ns)
        if not exempt and (self.state is OPEN or len(self.out()) >= self.limits.probes):
            return None
        self.calls.append(Call(self.here, now_ns, exempt))
        return self.calls[-1]

    def end(self, call: Call, now_ns: int, outcome: str) -> None:
        """One call is over."""
        call.order = 1 + sum(1 for each in self.calls if each.order)
        call.end_phase, call.ended_ns, call.outcome = self.here, now_ns, outcome
        if outcome == "bad":
            self.failures.append(now_ns)
            if self.state is HALF_OPEN or (self.state is CLOSED and self._too_many(now_ns)):
                self.phases.append(OPEN)
        elif self.state is HALF_OPEN and self._proven() >= self.limits.successes:
            self.phases.append(CLOSED)

    def _proven(self) -> int:
        good = [call for call in self.calls if call.outcome == "good"]
        return sum(call.phase == call.end_phase == self.here for call in good)

    def _too_many(self, now_ns: int) -> bool:
        ended = [call for call in self.calls if call.end_phase == self.here and self._tells(call)]
        ended.sort(key=lambda call: call.order)
        young = [c for c in ended[-self.limits.window_calls :] if now_ns - c.ended_ns <= WINDOW]
        bad = sum(call.outcome == "bad" for call in young)
        allowed = self.limits.open_above_ppm * len(young)
        return len(young) >= self.limits.min_calls and bad * 1_000_000 > allowed

    def _tells(self, call: Call) -> bool:
        return call.outcome == "bad" or (call.outcome == "good" and call.phase == self.here)


class World:
    """Machine and model side by side."""

    def __init__(self, limits: BreakerSettings) -> None:
        self.clock = FakeClock()
        self.model = Model(limits)
        self.changes: list[tuple[BreakerState, BreakerState]] = []
        self.machine = Breaker(
            Component.MARKET,
            limits,
            self.clock.mono_ns,
            lambda change: self.changes.append((change.before, change.after)),
        )
        self.out: list[tuple[Call, int]] = []  # calls that have not ended, with their tickets

    def act(self, name: str, *values: Any) -> None:
        """One act on both, then the comparison."""
        getattr(self, f"_{name}")(*values)
        assert self.machine.state is self.model.state
        assert self.changes == list(pairwise(self.model.phases))
        assert len(self.model.out()) <= self.machine.settings.probes, "never more probes than tokens"

    def _time(self, duration_ns: int) -> None:
        self.clock.mono += duration_ns

    def _look(self) -> None:
        self.machine.settle(self.clock.mono)
        self.model.look(self.clock.mono)

    def _begin(self, exempt: bool) -> bool:
        hangs = self.model.hangs(self.clock.mono)
        told = self.machine.refusal(self.clock.mono)
        call = self.model.begin(self.clock.mono, exempt=exempt)
        try:
            ticket = self.machine.begin(exempt=exempt)
        except BreakerOpenError as error:
            refused = error.refusal
        else:
            assert call is not None
            assert exempt or told is None, "the gate was told something else"
            self.out.append((call, ticket))
            return True
        assert call is None
        assert not exempt, "an exit was refused"
        assert hangs or told is refused, "the gate was told something else"
        return False

    def _end(self, which: int, outcome: str) -> None:
        if self.out:
            call, ticket = self.out.pop(which % len(self.out))
            machine = self.machine
            ends = {"good": machine.succeeded, "bad": machine.failed, "unknown": machine.abandon}
            ends[outcome](ticket)
            self.model.end(call, self.clock.mono, outcome)

    def _call(self, exempt: bool, outcome: str) -> None:
        if self._begin(exempt):
            self._end(len(self.out) - 1, outcome)


@settings(deadline=None, derandomize=True, max_examples=400)
@given(SETTINGS, st.lists(ACTS, min_size=5, max_size=60))
def test_the_state_follows_from_the_history(limits: BreakerSettings, acts: list[tuple[Any, ...]]) -> None:
    """Any sequence of calls that overlap, end late, fail, hang, and of time between them."""
    world = World(limits)
    for name, *values in acts:
        world.act(name, *values)


FAULTS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(list(Component)), st.booleans()),
        st.tuples(st.just(None), TIMES),
    ),
    max_size=40,
)


@pytest.mark.safety("S2.8")
@settings(deadline=None, derandomize=True, max_examples=60)
@given(FAULTS)
def test_an_exit_is_never_refused_by_gate_or_door(faults: list[tuple[Component | None, Any]]) -> None:
    """Whatever the breakers have seen: REDUCE, PROTECTIVE and CANCEL pass both, and fill."""

    async def run() -> None:
        core = Core()
        await core.hold_position(900)
        for component, value in faults:
            if component is None:
                core.clock.mono += value
                core.breakers.settle(core.clock.mono)
            else:
                breaker = core.breakers[component]
                ticket = breaker.begin(exempt=True)
                (breaker.failed if value else breaker.succeeded)(ticket)
        await _leave(core)

    asyncio.run(run())


async def _leave(core: Core) -> None:
    leg: Order = next(order for order in core.orders.live() if order.order_class is OrderClass.PROTECTIVE)
    wishes = [
        core.intent(side=Side.SELL, qty=Qty(300)),
        core.intent(
            side=Side.SELL, qty=Qty(300), order_type=OrderType.STOP, stop_price=Price(90_000), protects=leg.id
        ),
        core.cancel(leg.id),
    ]
    classes = (OrderClass.REDUCE, OrderClass.PROTECTIVE, OrderClass.CANCEL)
    for wish, order_class in zip(wishes, classes, strict=True):
        verdict = core.gate.check(wish)
        assert isinstance(verdict, Approved)
        assert verdict.order_class is order_class
        try:
            await (core.door.cancel if order_class is OrderClass.CANCEL else core.door.submit)(verdict)
        except StoppedAtWire as stopped:
            pytest.fail(f"{order_class} was stopped at the door: {stopped.reason}")
    entry = await core.desk.place(core.intent())
    free = core.breakers.state() is not OPEN
    assert isinstance(entry, Approved) is (free and _passes(core)), "only new exposure waits"


def _passes(core: Core) -> bool:
    return all(core.breakers[each].state is CLOSED for each in (Component.LOOK_UPS, Component.MARKET))
