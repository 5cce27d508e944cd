"""The safety loop with a venue that hangs, dies or disagrees, and with no guard (SAFETY 3, 4, 5, 7, 8)."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from appliance.domain.errors import StoreError, TransportError
from appliance.domain.intent import OrderType
from appliance.domain.mode import BOX, HoldCause, Mode, TripReason
from appliance.domain.money import Price
from appliance.domain.verdict import Approved, OrderClass
from appliance.runtime import own_latch, watch
from appliance.runtime.clock import ReplayClock, WallClock
from appliance.runtime.own_latch import OwnLatch
from appliance.runtime.watch import SafetyLoop, begin_start_holds
from appliance.safety.exits import SWEEP_NS
from tests.kit import SECOND, SPX, Core, FakeGuard

STEP_S = 0.005


class Loop:
    """A core with its safety loop; beats are counted, the venue is the test's."""

    def __init__(self, core: Core, latch_directory: Path) -> None:
        self.core = core
        self.beats = 0
        self.store_ok = self.clock_ok = True
        core.guard.beat = self._beat  # type: ignore[attr-defined]
        self.own_latch = OwnLatch(latch_directory)
        self.watch = SafetyLoop(
            core.safety,
            core.guard,  # type: ignore[arg-type]
            core.desk,
            core.portfolio,
            core.exits,
            core.venue,
            core.clock,
            core.scribe,
            core.limits.account,
            reduce_ppm=250_000,
            reduce_every_ns=SECOND,
            store_ok=lambda: self.store_ok,
            clock_ok=lambda: self.clock_ok,
            own_latch=self.own_latch,
        )

    def _beat(self, open_orders: int, holds: int, degraded: int) -> None:
        self.beats += 1

    async def while_running(self, act: Callable[[], Awaitable[None]]) -> None:
        """Runs the loop beside `act`, and no longer."""
        running = asyncio.create_task(self.watch.run())
        try:
            await act()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def _until(condition: Callable[[], object], what: str) -> None:
    """Lets the loop go round until it is so; fails by name, not by time."""
    for _ in range(4_000):
        if condition():
            return
        await asyncio.sleep(STEP_S)
    raise AssertionError(f"never: {what}")


async def _entry_and_position(tmp_path: Path) -> Loop:
    core = Core()
    await core.hold_position(1_000)
    await core.desk.place(core.intent(order_type=OrderType.LIMIT, price=Price(97_000)))
    await core.market(100_000)
    (tmp_path / "latch").mkdir()
    loop = Loop(core, tmp_path / "latch")
    loop.watch.catch_up()
    return loop


def _entries(loop: Loop) -> int:
    live = loop.core.engine.ledger.live.values()
    return sum(not order.request.reduce_only for order in live)


@pytest.mark.safety("S3.22")
def test_a_venue_that_never_answers_stops_neither_mode_nor_heartbeat(tmp_path: Path) -> None:
    """The other loop waits for it; this one follows the page, so lights and watchdog stay true."""

    async def run() -> None:
        loop = await _entry_and_position(tmp_path)
        hanging = asyncio.Event()

        async def hang() -> list[object]:
            hanging.set()
            await asyncio.Event().wait()
            return []

        loop.core.venue.open_orders = hang  # type: ignore[method-assign, assignment]
        loop.core.guard.trip(TripReason.TAMPER)

        async def act() -> None:
            await _until(hanging.is_set, "the sweep asking the venue")
            beats = loop.beats
            loop.core.guard.trip(TripReason.KILL_BUTTON)
            await _until(lambda: loop.core.safety.mode is Mode.EMERGENCY, "EMERGENCY while the venue hangs")
            await _until(lambda: loop.beats > beats + 5, "heartbeats while the venue hangs")

        await loop.while_running(act)

    asyncio.run(run())


@pytest.mark.safety("S3.22")
def test_an_idle_core_follows_a_press_without_waiting_for_its_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With rounds an hour apart the page's words alone start one; the mode follows, and is shown."""
    monkeypatch.setattr(watch, "ROUND_S", 3_600.0)

    async def run() -> None:
        loop = await _entry_and_position(tmp_path)
        shown: list[Mode] = []
        loop.watch.after_round = lambda: shown.append(loop.core.safety.mode)

        async def act() -> None:
            await _until(lambda: loop.beats, "the first round")
            loop.core.guard.trip(TripReason.KILL_BUTTON)
            await _until(lambda: Mode.EMERGENCY in shown, "EMERGENCY by the page's words")

        await loop.while_running(act)

    asyncio.run(run())


@pytest.mark.safety("S1.20", "S4.4")
def test_a_trip_restarts_the_sweep_before_anything_else_is_looked_at(tmp_path: Path) -> None:
    """Confirmed cancels of an earlier trip are no confirmation of this one, not for one round."""

    async def run() -> None:
        loop = await _entry_and_position(tmp_path)
        loop.core.exits.confirmed = True
        loop.core.guard.trip(TripReason.TAMPER)
        loop.watch.round()
        assert not loop.watch.preconditions().cancels_confirmed
        assert loop.core.guard.state not in loop.core.guard.permits

    asyncio.run(run())


@pytest.mark.safety("S3.20")
@pytest.mark.parametrize("mode", [Mode.PAUSED, Mode.REDUCED, Mode.EMERGENCY])
def test_a_stop_sees_the_cancels_through(tmp_path: Path, mode: Mode) -> None:
    """SIGTERM right after a trip: cancelled, and asked again until the window has passed."""

    async def run() -> None:
        loop = await _entry_and_position(tmp_path)
        loop.core.guard.trip(TripReason.TAMPER)
        loop.watch.round()
        loop.core.safety.mode = mode
        open_orders, asked = loop.core.venue.open_orders, 0

        async def later() -> object:
            nonlocal asked
            asked += 1
            loop.core.clock.mono += SWEEP_NS // 4
            return await open_orders()

        loop.core.venue.open_orders = later  # type: ignore[method-assign, assignment]
        await loop.watch.see_cancels_through(30)
        assert loop.watch.preconditions().cancels_confirmed
        assert _entries(loop) == 0
        assert asked > 1, "once more after the window"

    asyncio.run(run())


@pytest.mark.safety("S3.20")
def test_a_stop_keeps_trying_through_an_outage_and_gives_up_at_its_limit(tmp_path: Path) -> None:
    """The venue is away for a while: cancelled when it is back. It never comes back: the limit."""

    async def run() -> None:
        loop = await _entry_and_position(tmp_path)
        loop.core.guard.trip(TripReason.KILL_BUTTON)
        open_orders, away = loop.core.venue.open_orders, 3

        async def outage() -> object:
            nonlocal away
            away -= 1
            loop.core.clock.mono += SWEEP_NS
            if away >= 0:
                raise TransportError("away")
            return await open_orders()

        loop.core.venue.open_orders = outage  # type: ignore[method-assign, assignment]
        await loop.watch.see_cancels_through(30)
        assert loop.watch.preconditions().cancels_confirmed
        loop.core.guard.trip(TripReason.KILL_BUTTON)
        away = 10**9
        began = time.monotonic()
        await loop.watch.see_cancels_through(0.3)
        assert not loop.watch.preconditions().cancels_confirmed
        assert time.monotonic() - began >= 0.3

    asyncio.run(run())


@pytest.mark.safety("S7.6", "HW-10")
def test_cancels_go_before_exits(tmp_path: Path) -> None:
    """Entries first, then the leg, then its exit (SAFETY 7), in the first round of an emergency."""

    async def run() -> None:
        loop = await _entry_and_position(tmp_path)
        loop.core.guard.trip(TripReason.DRAWDOWN)
        loop.watch.round()
        before = len(loop.core.scribe.entries)
        await loop.watch.work_once()
        told = [
            (data["class"], data.get("order_id"))
            for kind, data, _ in loop.core.scribe.entries[before:]
            if kind == "verdict"
        ]
        assert [each for each, _ in told] == ["CANCEL", "CANCEL", "REDUCE"]
        assert _entries(loop) == 0

    asyncio.run(run())


@pytest.mark.safety("S1.6", "S1.8")
@pytest.mark.parametrize("mode", [Mode.REDUCED, Mode.EMERGENCY])
def test_nothing_is_worked_off_on_a_ledger_known_to_be_wrong(tmp_path: Path, mode: Mode) -> None:
    """Neither at once nor step by step; entries are cancelled all the same."""

    async def run() -> None:
        loop = await _entry_and_position(tmp_path)
        loop.core.guard.trip(TripReason.POSITION_DISAGREEMENT)
        loop.watch.round()
        loop.core.guard.trip(TripReason.DRAWDOWN)
        loop.watch.round()
        loop.core.safety.mode = mode
        for _ in range(3):
            loop.core.clock.mono += 2 * SECOND
            await loop.watch.work_once()
        assert not [d for d in loop.core.scribe.of("verdict") if d.get("class") == "REDUCE"]
        assert _entries(loop) == 0

    asyncio.run(run())


@pytest.mark.safety("S7.4")
def test_an_emergency_ends_flat_and_says_so_once(tmp_path: Path) -> None:
    """After the venue's fills, not after the sending."""

    async def run() -> None:
        loop = await _entry_and_position(tmp_path)
        loop.core.guard.trip(TripReason.DAILY_LOSS)
        loop.watch.round()
        for _ in range(4):
            loop.core.clock.mono += 6 * SECOND
            await loop.watch.work_once()
            assert loop.core.portfolio.is_flat() or not loop.core.scribe.of("reconcile")
            loop.core.engine.stand_still(SPX)
        assert loop.core.scribe.of("reconcile") == [{"flat": True, "dust": {}}]

    asyncio.run(run())


@pytest.mark.safety("S1.30", "S6.6")
def test_an_account_that_disagrees_trips_and_is_not_reconciled(tmp_path: Path) -> None:
    """And arming waits until it agrees again."""

    async def run() -> None:
        loop = await _entry_and_position(tmp_path)
        loop.core.engine.ledger.cash += 1
        await loop.watch.work_once()
        assert loop.core.guard.requests == [TripReason.POSITION_DISAGREEMENT]
        loop.core.clock.mono += 6 * SECOND
        assert not loop.watch.preconditions().reconciled
        loop.core.engine.ledger.cash -= 1
        await loop.watch.work_once()
        assert loop.watch.preconditions().reconciled

    asyncio.run(run())


@pytest.mark.safety("S1.9", "S1.16")
def test_a_venue_that_is_down_is_a_hold_of_its_scope_and_ends_with_it(tmp_path: Path) -> None:
    """VENUE_DOWN on venue:paper; NORMAL goes on in the same arm epoch."""

    async def run() -> None:
        loop = await _entry_and_position(tmp_path)
        account = loop.core.venue.account

        async def away() -> object:
            raise TransportError("away")

        loop.core.venue.account = away  # type: ignore[method-assign, assignment]
        await loop.watch.work_once()
        assert [(h.cause, h.scope) for h in loop.core.holds.standing()] == [
            (HoldCause.VENUE_DOWN, "venue:paper")
        ]
        assert not loop.watch.preconditions().reconciled
        verdict = loop.core.gate.check(loop.core.intent())
        assert not isinstance(verdict, Approved)
        loop.core.venue.account = account  # type: ignore[method-assign]
        loop.core.clock.mono += 6 * SECOND
        await loop.watch.work_once()
        assert loop.core.holds.standing() == ()
        assert loop.core.safety.mode is Mode.NORMAL
        assert isinstance(loop.core.gate.check(loop.core.intent()), Approved)

    asyncio.run(run())


@pytest.mark.safety("S1.14")
def test_starting_and_reconciling_are_holds_until_the_state_is_rebuilt(tmp_path: Path) -> None:
    """On the box; arming waits for them; they end with their cause."""

    async def run() -> None:
        core = Core()
        begin_start_holds(core.safety, WallClock())
        assert {(h.cause, h.scope) for h in core.holds.standing()} == {
            (HoldCause.STARTING, BOX),
            (HoldCause.RECONCILING, BOX),
        }
        loop = Loop(core, tmp_path)
        assert not loop.watch.preconditions().reconciled
        loop.watch.catch_up()
        assert core.holds.standing() == ()
        assert loop.watch.preconditions().reconciled

    asyncio.run(run())


def _record(tmp_path: Path) -> Path:
    record = tmp_path / "latch" / "armed"
    record.write_text("a record")
    return record


@pytest.mark.safety("S3.11")
def test_with_no_guard_the_core_persists_its_own_trip(tmp_path: Path) -> None:
    """The armed record goes, durably, without the event loop waiting; with a guard it is the guard's."""

    async def run() -> None:
        loop = await _entry_and_position(tmp_path)
        record = _record(tmp_path)
        guard: FakeGuard = loop.core.guard
        loop.core.safety.trip(TripReason.DRAWDOWN, "test")
        for _ in range(10):
            loop.watch.round()
            await asyncio.sleep(0)
        assert record.exists(), "a live guard adopts within 20 ms and stores it itself"
        guard.freeze()
        loop.core.clock.mono += 2 * SECOND + 1
        for _ in range(4_000):
            loop.watch.round()
            if loop.own_latch.stored:
                break
            await asyncio.sleep(STEP_S)
        assert loop.own_latch.stored
        assert not record.exists()

    asyncio.run(run())


def test_a_disk_that_hangs_or_fails_does_not_stop_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The removal waits in its thread, rounds go on; a refusal is asked again."""
    release, calls = threading.Event(), 0

    def slow(_directory: Path) -> None:
        nonlocal calls
        calls += 1
        release.wait(30)
        if calls == 1:
            raise StoreError("no")

    monkeypatch.setattr(own_latch, "remove_records", slow)
    monkeypatch.setattr(own_latch, "RETRY_S", 0.0)

    async def run() -> None:
        kept = OwnLatch(tmp_path)

        def stored(*, alone: bool = True) -> bool:
            kept.keep(alone=alone)
            return kept.stored

        for _ in range(5):
            assert not stored()
            await asyncio.sleep(0)
        release.set()
        await _until(stored, "the second try")
        assert calls == 2
        assert not stored(alone=False)

    asyncio.run(run())


@pytest.mark.safety("S8.5")
def test_a_store_that_failed_keeps_the_box_from_being_armed(tmp_path: Path) -> None:
    """Named, and no permit."""

    async def run() -> None:
        loop = await _entry_and_position(tmp_path)
        loop.core.guard.trip(TripReason.AUDIT_STORE)
        loop.core.exits.confirmed = True
        loop.store_ok = False
        for _ in range(3):
            loop.watch.round()
        assert "store_ok" in loop.core.safety.missing()
        assert loop.core.guard.state not in loop.core.guard.permits

    asyncio.run(run())


@pytest.mark.safety("S3.16", "S6.10")
def test_the_clock_precondition_of_a_replay_is_the_replay_clock(tmp_path: Path) -> None:
    """True without a synchronised clock; and no replay moves the monotonic one (SAFETY 3, 6)."""
    clock = ReplayClock()
    clock.advance(123)
    clock.advance(100)
    before = time.monotonic_ns()
    assert clock.utc_ns() == 123
    assert before <= clock.mono_ns() <= time.monotonic_ns()
    loop = Loop(Core(), tmp_path)
    assert loop.watch.preconditions().clock_ok
    loop.clock_ok = False
    assert not loop.watch.preconditions().clock_ok, "where real time counts, the clock watch decides"


@pytest.mark.safety("S7.5")
def test_look_ups_are_bounded(tmp_path: Path) -> None:
    """One order of unknown fate: asked for ten times a second, not in every round."""

    async def run() -> None:
        loop = await _entry_and_position(tmp_path)

        async def lose(_order: Approved) -> None:
            raise TransportError("lost")

        loop.core.venue.submit = lose  # type: ignore[method-assign, assignment]
        await loop.core.desk.place(loop.core.intent())
        asked, order = 0, loop.core.venue.order

        async def count(order_id: object) -> object:
            nonlocal asked
            asked += 1
            return await order(order_id)  # type: ignore[arg-type]

        loop.core.venue.order = count  # type: ignore[method-assign, assignment]
        for _ in range(100):
            loop.core.clock.mono += 10_000_000
            await loop.watch.work_once()
        assert asked == 10
        assert any(o.order_class is OrderClass.INCREASE for o in loop.core.orders.unsettled())

    asyncio.run(run())
