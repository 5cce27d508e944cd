"""Orders and signals while the log writes on its reserve: new exposure stays, exits go (SAFETY 8)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from appliance.domain.disk import DiskReserve
from appliance.domain.errors import StoreError
from appliance.domain.ids import SourceId
from appliance.domain.mode import Mode, TripReason
from appliance.domain.money import Price, Qty
from appliance.domain.observation import Observation
from appliance.domain.order import Order, OrderState
from appliance.domain.signal import Direction, Signal
from appliance.pipeline import Pipeline, Stages
from appliance.runtime.disk_gauge import Reading
from appliance.runtime.disk_watch import DiskWatch
from appliance.runtime.guard_link import PageLink, prepare_pages
from appliance.runtime.no_memory import NoMemory
from appliance.runtime.paths import find_paths
from appliance.runtime.scribe import CoreScribe
from appliance.runtime.store_health import StoreHealth
from appliance.safety.disk import DiskLevel, Room
from appliance.storage.log_client import LogClient
from appliance.validation.recent import RecentPrices
from appliance.validation.signals import SignalLimits
from tests.audit_support import new_log, run
from tests.kit import BOT, SECOND, SPX, START_NS, Core
from tests.small_disk import MIB, SmallDisk, small_disk


def _plenty() -> Any:
    """A gauge that sees room enough: the log is faster than any measurement."""
    reading = Reading(DiskLevel.OK, Room(1, 1_000, 1_000), START_NS)
    return SimpleNamespace(reading=reading, again=lambda: None)


async def _core_on(log: LogClient) -> Core:
    """The kit's core with a position, its scribe a real log, its disk watched as in the real core."""
    core = Core()
    core.scribe = CoreScribe(log)  # type: ignore[assignment]
    core.desk._scribe = core.desk.booking._scribe = core.safety._scribe = core.scribe

    def spare(exits_only: bool, _may_store: bool) -> None:
        core.desk.sparing = exits_only

    log.on_reserve = DiskWatch(
        _plenty(), log, core.safety, core.scribe, core.clock, spare, core.desk.unrecorded
    ).look
    log.on_reserve()
    await core.market(100_000)
    await core.desk.place(core.intent())
    await core.market(100_000)
    return core


async def _grow_until_given(core: Core, log: LogClient) -> int:
    """Places entries until one of them was recorded on the reserve; how many were accepted by the venue."""
    for _ in range(400):
        accepted = len(core.engine.ledger.orders)
        await core.desk.place(core.intent(qty=Qty(1)))
        if log.reserve.given:
            return accepted
        await core.market(100_000)
    raise AssertionError("the disk was not full")


@pytest.mark.safety("S8.6", "S8.1")
def test_an_entry_recorded_on_the_reserve_never_leaves(tmp_path: Path) -> None:
    """Its record is durable, and the latch was shut before anybody heard so; exits go, with their trail."""

    async def work(disk: SmallDisk) -> None:
        settings = replace(new_log(disk.path), reserve_bytes=4 * MIB)
        log = await LogClient.start(settings)
        try:
            core = await _core_on(log)
            disk.fill()
            accepted = await _grow_until_given(core, log)
            assert len(core.engine.ledger.orders) == accepted, "the venue has not seen the last one"
            assert _newest(core).state is OrderState.STOPPED_AT_WIRE
            assert core.safety.mode is Mode.PAUSED
            assert core.guard.requests == [TripReason.AUDIT_STORE]
            await core.exits.leave_everything("liquidate")
            await core.market(100_000)
            assert core.portfolio.is_flat()
            assert core.owed == [], "every exit was durable before it left"
            await log.wait_durable(log.head.size)
            assert log.failure is None
        finally:
            await log._let_go()

    with small_disk(tmp_path / "disk", 24 * MIB) as disk:
        run(work(disk))


def _newest(core: Core) -> Order:
    every = [*core.orders._live.values(), *core.orders._ended.values()]
    return max(every, key=lambda order: order.cause)


class Says:
    """A strategy that says what the test puts there, once."""

    name, instrument = BOT, SPX

    def __init__(self, directions: Sequence[Direction]) -> None:
        self._left = list(directions)

    def on_observation(self, observation: Observation) -> Signal | None:
        """The next one."""
        if not self._left:
            return None
        direction = self._left.pop(0)
        stop = None if direction is Direction.CLOSE else Price(96_000)
        return Signal(
            strategy=BOT,
            instrument=SPX,
            event_ns=observation.seen_ns,
            direction=direction,
            reference_price=Price(100_000),
            stop_price=stop,
            reason="the test says so",
        )


def _pipeline(core: Core, says: Says) -> Pipeline:
    return Pipeline(
        Stages(
            portfolio=core.portfolio,
            strategies=(says,),
            recent=RecentPrices(60 * SECOND),
            signal_limits=SignalLimits(
                strategies={BOT: SPX},
                instruments={SPX: core.instrument},
                max_age_ns=SECOND,
                max_stop_ppm=10**6,
            ),
            limits=core.limits,
            deploy_ppm={SourceId("bot"): 10_000},
            memory=NoMemory(),
            desk=core.desk,
            exits=core.exits,
            executor=core.executor(),
            safety=core.safety,
            scribe=core.scribe,
            clock=core.clock,
        ),
        "test",
    )


@pytest.mark.safety("S8.6")
@pytest.mark.parametrize("sparing", [False, True])
def test_a_signal_to_enter_is_counted_and_a_signal_to_leave_is_followed(sparing: bool) -> None:
    """While only exits may write: no entry of what leads to none, and the whole trail of what does."""

    async def work() -> None:
        core = Core()
        await core.market(100_000)
        await core.desk.place(core.intent())
        await core.market(100_000)
        core.desk.sparing = sparing
        before = len(core.scribe.entries)
        pipeline = _pipeline(core, Says([Direction.LONG, Direction.CLOSE]))
        for _ in range(3):
            core.steps += 1
            bar = core.bar(100_000, low=99_900, high=100_100)
            await core.venue.step(bar, core.steps)
            await pipeline.on_observation(bar)
        said = [data["direction"] for kind, data, _ in core.scribe.entries[before:] if kind == "signal"]
        assert said == (["CLOSE"] if sparing else ["LONG", "CLOSE"])
        assert core.desk.unrecorded == ({"bot signal": 1} if sparing else {})
        assert core.portfolio.is_flat()

    asyncio.run(work())


@pytest.mark.safety("S8.6")
def test_nobody_arms_without_the_reserve(tmp_path: Path) -> None:
    """Named for people; whole again, it keeps nobody waiting, and a full disk needs no reboot."""
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    prepare_pages(runtime)

    async def work() -> list[str]:
        log = await LogClient.start(new_log(tmp_path / "log"))
        health = StoreHealth(log, PageLink(runtime), find_paths(tmp_path / "state", runtime), clean=True)
        found = []
        for reserve in (DiskReserve(16, 16), DiskReserve(15, 16, why="no room"), DiskReserve(16, 16)):
            log.reserve = reserve
            found.append(health.problem)
        log.failure = StoreError("the disk is full", "ENOSPC")
        health.note_failure()
        log.failure = None
        found.append(health.problem)
        await log._let_go()
        return found

    found = run(work())
    assert found == ["", "the disk reserve for exits is not there: no room", "", ""]
