"""Crashes in the middle of a plan: what the log has goes on, and nothing is sent twice (SAFETY 4, 8)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from appliance.domain.errors import StoreError
from appliance.domain.intent import Side
from appliance.domain.money import Qty
from appliance.domain.verdict import Approved
from appliance.orders import executor as executor_module
from appliance.orders.plan import Style
from appliance.safety.exits import SWEEP_NS
from tests.execution_kit import Slicing
from tests.flow.test_execution import ICEBERG, TWAP, _started
from tests.kit import BOT, SPX, Core, instrument_limits, spx

CUTS = range(1, 36)


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("recipe", [TWAP, ICEBERG])
def test_a_crash_anywhere_in_a_plan_sends_nothing_twice_and_nothing_less(
    cut: int, recipe: dict[str, Any]
) -> None:
    """After each bar: the new core goes on where the log stops, and the end is the same as without it."""

    async def run() -> None:
        flow = await _started(**recipe)
        for second in CUTS:
            await flow.bar(100_000, low=99_000)
            if second == cut:
                flow = flow.crash()
        assert flow.posted() == [25, 25, 25, 25]
        assert flow.position == 100
        assert flow.core.portfolio.disagreement(flow.core.engine.ledger.account()) == ""
        assert [data["ending"] for data in flow.ended()] == ["DONE"]

    asyncio.run(run())


class Killed(Exception):  # noqa: N818 - the process is gone
    """At a point of the test's choosing."""


@pytest.mark.safety("S4.5")
@pytest.mark.parametrize("arrived", [False, True])
@pytest.mark.parametrize("child", [0, 1, 2, 3])
def test_a_crash_between_record_and_answer_is_looked_up_and_not_sent_again(child: int, arrived: bool) -> None:
    """Killed while the slice was being sent: it is on record; the venue has it, or never will."""

    async def run() -> None:
        flow = Slicing(**(TWAP | {"retries": 0}))
        core, submit, count = flow.core, flow.core.venue.submit, 0

        async def die(order: Approved) -> None:
            nonlocal count
            count += 1
            if count <= child or count > child + 1:
                return await submit(order)
            if arrived:
                await submit(order)
            raise Killed

        core.venue.submit = die  # type: ignore[method-assign]
        await core.market(100_000)
        try:
            await flow.enter(100)
            for _ in range(40):
                await flow.bar()
        except Killed:
            flow = flow.crash()
        flow.core.clock.mono += SWEEP_NS
        await flow.core.exits.reconcile()
        for _ in range(40):
            await flow.bar()
        expected = [25] * 4 if arrived else [25] * 3
        assert flow.posted() == expected
        assert flow.position == sum(expected)
        assert flow.executor.running() == []

    asyncio.run(run())


def test_a_crash_before_a_slice_is_on_record_asks_for_it_under_the_same_id() -> None:
    """The plan is in the log, its child is not: it was never sent, and is sent once."""

    async def run() -> None:
        flow = Slicing(**TWAP)
        await flow.core.market(100_000)
        flow.core.scribe.error = StoreError("killed")
        with pytest.raises(StoreError):
            await flow.enter(100)
        kept = [entry for entry in flow.core.scribe.entries if entry[0] == "execution"]
        flow.core.scribe.entries = flow.core.scribe.entries[:1] and kept
        flow = flow.crash()
        for _ in range(35):
            await flow.bar()
        assert flow.posted() == [25, 25, 25, 25]
        assert flow.asked()[0] == "i1/0"

    asyncio.run(run())


def test_a_plain_entry_that_was_never_asked_for_before_a_crash_is_not_sent_late() -> None:
    """Its decision is old by now."""

    async def run() -> None:
        flow = Slicing()
        await flow.core.market(100_000)
        flow.core.scribe.error = StoreError("killed")
        with pytest.raises(StoreError):
            await flow.enter(100)
        flow.core.scribe.entries = [entry for entry in flow.core.scribe.entries if entry[0] == "execution"]
        flow = flow.crash()
        await flow.bar()
        assert flow.posted() == []
        assert [(d["ending"], d["why"]) for d in flow.ended()] == [
            ("STOPPED", "the core ended before it was sent")
        ]

    asyncio.run(run())


def test_a_plan_does_not_outlive_the_arming_it_was_made_under() -> None:
    """The core crashed, and when it is back the guard has another epoch."""

    async def run() -> None:
        flow = await _started(**TWAP)
        await flow.bar()
        flow = flow.crash()
        core = flow.core
        core.guard.state = core.guard.armed = 9
        core.guard.complement = 9 ^ ((1 << 64) - 1)
        core.latch.clear(9)
        core.safety.status = core.guard.status()
        for _ in range(30):
            await flow.bar()
        assert flow.posted() == [25]
        assert [data["ending"] for data in flow.ended()] == ["STOPPED"]

    asyncio.run(run())


def test_slices_of_the_smallest_quantity_are_all_sent() -> None:
    """The last unit is a slice like the others."""

    async def run() -> None:
        flow = await _started(3, **TWAP | {"slices": 3})
        for _ in range(45):
            await flow.bar()
        assert flow.posted() == [1, 1, 1]
        assert [(data["ending"], data["filled"]) for data in flow.ended()] == [("DONE", "0.03")]

    asyncio.run(run())


def test_a_close_counts_only_what_was_sold_since_it_began() -> None:
    """After a crash it reads every fill of the run again, those of an earlier exit too."""

    async def run() -> None:
        core = Core()
        await core.hold_position(100)
        flow = Slicing(core)
        await core.desk.place(core.intent(side=Side.SELL, qty=Qty(40)))
        await flow.bar()
        assert flow.position == 60
        await flow.close()
        flow = flow.crash()
        for _ in range(3):
            await flow.bar()
        assert flow.position == 0
        assert [(data["ending"], data["filled"]) for data in flow.ended()] == [("DONE", "0.60")]

    asyncio.run(run())


def test_a_wish_that_is_no_longer_remembered_is_known_by_its_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    """The latest wishes that ended are remembered whole, the others by the ids of what they sent."""
    monkeypatch.setattr(executor_module, "REMEMBERED", 2)

    async def run() -> None:
        flow = Slicing(slices=1, style=Style.TWAP, jitter_ppm=0, retries=0)
        await flow.core.market(100_000)
        wishes = []
        for _ in range(3):
            wishes.append(await flow.enter(10))
            await flow.bar()
        assert len(flow.posted()) == len(flow.ended()) == 3
        flow.core.desk._results._first.clear()
        for wish in reversed(wishes):
            await flow.executor.enter(wish)
            await flow.bar()
        told = [data["execution"] for data in flow.core.scribe.of("execution")[6:]]
        assert told == ["repeated", "repeated", "begun", "ended"]
        assert flow.ended()[-1]["why"] == "DUPLICATE_ID"
        assert len(flow.posted()) == 3

    asyncio.run(run())


@pytest.mark.parametrize(("held", "left"), [(99, 99), (100, 0), (101, 0)])
def test_a_close_sells_what_the_venue_takes_an_order_of(held: int, left: int) -> None:
    """The smallest order is 1.00: exactly that is sold, less is dust."""

    async def run() -> None:
        core = Core(instrument=spx(min_qty=1))
        await core.hold_position(held)
        flow = Slicing(core)
        small = spx(min_qty=100)
        core.instrument = core.portfolio.holdings[SPX].instrument = small
        core.portfolio.sources[BOT].lots[SPX].instrument = small
        await flow.close()
        for _ in range(3):
            await flow.bar()
        assert flow.position == left

    asyncio.run(run())


def test_a_close_goes_on_after_a_crash() -> None:
    """Its plan is in the log: the rest is sold, and what was sold before the crash counts."""

    async def run() -> None:
        core = Core()
        await core.hold_position(1_000)
        core.limits.instruments[SPX] = instrument_limits(max_order_qty=100)
        flow = Slicing(core)
        await flow.close()
        await flow.bar()
        assert 0 < flow.position < 1_000
        flow = flow.crash()
        flow.core.limits.instruments[SPX] = instrument_limits(max_order_qty=100)
        for _ in range(10):
            await flow.bar()
        assert flow.position == 0
        assert [(d["style"], d["filled"]) for d in flow.ended()] == [("exit", "10.00")]

    asyncio.run(run())


def test_a_short_sale_is_sliced_like_a_purchase() -> None:
    """Everything signed the other way round: arrival, stops, what counts as reduced."""

    async def run() -> None:
        core = Core()
        core.limits.sources[BOT] = replace(core.limits.sources[BOT], allow_short=True)
        flow = Slicing(core, **TWAP)
        await core.market(100_000)
        await flow.executor.enter(core.intent(side=Side.SELL, qty=Qty(100)))
        for _ in range(35):
            await flow.bar()
        assert flow.position == -100
        assert flow.posted() == [25, 25, 25, 25]

    asyncio.run(run())
