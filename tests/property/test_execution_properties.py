"""Slices sum, fit and repeat; whatever happens, no plan sends more than was wanted, and no exit stops."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.domain.errors import TransportError
from appliance.domain.mode import BOX, HoldCause, Mode, TripReason
from appliance.domain.verdict import Approved, OrderClass
from appliance.orders.plan import Style, plan_data, read_plan
from appliance.orders.slicing import MOST_SLICES, Bounds, Draws, due_times, sizes
from appliance.ports import StoppedAtWire
from appliance.safety.exits import SWEEP_NS
from tests.execution_kit import Slicing
from tests.kit import SECOND, SPX, Core, instrument_limits

LOTS = st.integers(1, 50)


@settings(deadline=None, derandomize=True, max_examples=500)
@given(
    lot=LOTS,
    total=st.integers(1, 5_000),
    count=st.integers(0, 200),
    smallest=st.integers(1, 300),
    largest=st.integers(0, 3_000),
    jitter_ppm=st.integers(0, 500_000),
    seed=st.integers(0, 2**64),
)
def test_slices_are_exact_valid_and_repeatable(
    lot: int, total: int, count: int, smallest: int, largest: int, jitter_ppm: int, seed: int
) -> None:
    """One slice means that nothing else was possible, or that it was asked for."""
    bounds, wanted = Bounds(lot, smallest * lot, largest * lot), total * lot
    found = sizes(wanted, count, bounds, jitter_ppm, Draws(seed))
    assert sum(found) == wanted
    assert found == sizes(wanted, count, bounds, jitter_ppm, Draws(seed))
    possible = any(n * bounds.smallest <= wanted <= n * bounds.largest for n in range(1, MOST_SLICES + 1))
    if possible:
        assert all(bounds.takes(each) for each in found)
        assert len(found) <= MOST_SLICES
        equal = wanted // len(found)
        assert all(abs(each - equal) <= equal * jitter_ppm // 1_000_000 + lot for each in found)
    else:
        assert found == (wanted,)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(
    horizon_ns=st.integers(SECOND, 10**15),
    count=st.integers(1, MOST_SLICES),
    jitter_ppm=st.integers(0, 500_000),
    seed=st.integers(0, 2**64),
)
def test_due_times_rise_within_the_horizon(horizon_ns: int, count: int, jitter_ppm: int, seed: int) -> None:
    """Each in its own share, so none can overtake another."""
    found = due_times(7, horizon_ns, count, jitter_ppm, Draws(seed))
    share_ns = horizon_ns // count
    assert found[0] == 7
    assert all(0 <= each - 7 - index * share_ns < share_ns for index, each in enumerate(found))
    assert found[-1] < 7 + horizon_ns


EVENTS = st.one_of(
    st.tuples(st.just("bar"), st.integers(98_500, 101_500)),
    st.tuples(st.just("bar"), st.just(100_000)),
    st.tuples(st.just("hold"), st.booleans()),
    st.tuples(st.just("lose"), st.booleans()),
    st.tuples(st.just("stop"), st.integers(1, 3)),
    st.tuples(st.just("crash"), st.just(0)),
    st.tuples(st.just("wait"), st.just(0)),
)


class Weather:
    """A venue line that loses or stops what the test says."""

    def __init__(self, flow: Slicing) -> None:
        self.flow = flow
        self.lost: bool | None = None
        self.stopped = 0
        self.attach()

    def attach(self) -> None:
        """To the core that is there now."""
        submit = self.flow.core.venue.submit

        async def send(order: Approved) -> None:
            if order.order_class is OrderClass.INCREASE and self.stopped:
                self.stopped -= 1
                raise StoppedAtWire("APPROVAL_EXPIRED")
            if order.order_class is OrderClass.INCREASE and self.lost is not None:
                arrives, self.lost = self.lost, None
                if arrives:
                    await submit(order)
                raise TransportError("no answer")
            await submit(order)

        self.flow.core.venue.submit = send  # type: ignore[method-assign]

    async def happen(self, name: str, value: Any) -> None:
        """One event."""
        core = self.flow.core
        if name == "bar":
            await self.flow.bar(value, low=value - 300, high=value + 300)
        elif name == "hold" and value:
            core.holds.begin(HoldCause.STALE_DATA, BOX, 1, "")
        elif name == "hold":
            core.holds.end(HoldCause.STALE_DATA, BOX)
        elif name == "lose":
            self.lost = value
        elif name == "stop":
            self.stopped = value
        elif name == "crash":
            self.flow = self.flow.crash()
            self.attach()
        else:
            core.clock.mono += SWEEP_NS
            await core.exits.reconcile()


@settings(deadline=None, derandomize=True, max_examples=150)
@given(
    style=st.sampled_from([Style.TWAP, Style.ICEBERG]),
    retries=st.integers(0, 2),
    events=st.lists(EVENTS, min_size=5, max_size=40),
)
def test_no_plan_ever_sends_more_than_was_wanted(
    style: Style, retries: int, events: list[tuple[str, Any]]
) -> None:
    """Holds, lost and stopped orders, crashes: filled and working together never pass the total, every order
    id is the venue's once, and each slice on its own is never exceeded."""

    async def run() -> None:
        flow = Slicing(style=style, slices=4, displayed_ppm=250_000, horizon_ns=20 * SECOND, retries=retries)
        await flow.core.market(100_000)
        await flow.enter(101)
        ((plan, _),) = flow.plans()
        assert read_plan(plan_data(plan)) == plan
        weather = Weather(flow)
        for name, value in events:
            await weather.happen(name, value)
            orders = weather.flow.core.engine.ledger.orders.values()
            entries = [order for order in orders if not order.request.reduce_only]
            live = sum(order.leaves for order in entries if order.status in ("NEW", "OPEN"))
            assert sum(order.filled for order in entries) + live <= 101
            assert weather.flow.core.scribe.of("trip") == []
        assert weather.flow.core.portfolio.disagreement(weather.flow.core.engine.ledger.account()) == ""

    asyncio.run(run())


@pytest.mark.safety("S2.5")
@settings(deadline=None, derandomize=True, max_examples=120)
@given(
    largest=st.integers(30, 1_200),
    at_once=st.integers(1, 6),
    modes=st.lists(st.sampled_from(list(Mode)), min_size=1, max_size=6),
    hold=st.booleans(),
    trip=st.sampled_from([None, TripReason.TAMPER, TripReason.KILL_BUTTON]),
)
def test_a_close_is_never_stopped(
    largest: int, at_once: int, modes: list[Mode], hold: bool, trip: TripReason | None
) -> None:
    """Any modes, holds and trips: as long as the venue buys, the position goes, in valid slices."""

    async def run() -> None:
        core = Core()
        core.exits._at_once = at_once
        await core.hold_position(1_000)
        core.limits.instruments[SPX] = instrument_limits(max_order_qty=largest)
        flow = Slicing(core)
        await flow.close()
        if trip is not None:
            core.guard.trip(trip)
        if hold:
            core.holds.begin(HoldCause.CLOCK, BOX, 1, "")
        for number in range(-(-1_000 // largest) + 2):
            core.safety.mode = modes[number % len(modes)]
            before = flow.position
            await flow.bar()
            assert flow.position < before or flow.position == 0
        assert flow.position == 0
        sold = [o for o in core.engine.ledger.orders.values() if o.request.reduce_only and o.parent is None]
        exits = [o.request.qty for o in sold if o.request.order_type.name != "STOP"]
        assert sum(exits) == 1_000
        assert max(exits) <= largest

    asyncio.run(run())
