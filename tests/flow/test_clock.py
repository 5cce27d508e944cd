"""A whole core whose machine's clock steps, is lost and comes back (SAFETY 1, 6, 10)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from appliance.domain.status import Status
from appliance.runtime import clock_loop
from appliance.runtime.board_socket import command_board
from appliance.runtime.build import Options
from appliance.runtime.config_load import load_config
from appliance.runtime.core import Hooks, run_core
from appliance.runtime.guard_link import prepare_pages
from appliance.runtime.logs import Log
from appliance.runtime.paths import ensure_runtime, find_paths
from appliance.safety.clock_watch import ClockReading
from tests.box import Box
from tests.processes import running

S = 1_000_000_000
LOOK_S = 0.02


class Machine:
    """The clock of the machine the core believes to run on: every look it takes, `each_ns` have passed."""

    def __init__(self) -> None:
        self.boot_ns, self.offset_ns = 100 * S, 1_800_000_000 * S
        self.synchronised = False
        self.each_ns = S

    def read(self) -> ClockReading:
        """What the core is given instead of the kernel's answer."""
        self.boot_ns += self.each_ns
        words = "synchronised" if self.synchronised else "nobody keeps it"
        return ClockReading(self.boot_ns, self.boot_ns + self.offset_ns, self.synchronised, words)


class Running:
    """One core in this process, and the newest picture of it."""

    def __init__(self, box: Box, machine: Machine) -> None:
        self.machine = machine
        self.pictures: list[Status] = []
        self._box = box

    @contextlib.asynccontextmanager
    async def up(self) -> AsyncIterator[None]:
        """From start to clean stop."""
        stop, paths = asyncio.Event(), find_paths(self._box.state, self._box.runtime)
        config = load_config(self._box.config)
        hooks = Hooks(lambda _port: None, self.pictures.append, stop_when_finished=False)
        log, base, clock = Log("text", quiet=True, debug=False), self._box.state, self.machine.read
        core = asyncio.create_task(
            run_core(config, paths, base, Options(), log, stop, hooks, read_clock=clock)
        )
        try:
            yield
        finally:
            stop.set()
            await core

    @property
    def seen(self) -> Status:
        """The newest picture."""
        return self.pictures[-1]

    def clock_hold(self) -> str:
        """What the page says of the hold CLOCK; empty if it does not stand."""
        return "".join(hold.detail for hold in self.seen.holds if hold.cause == "CLOCK")

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Waits for a picture made from now on."""
        self.pictures.clear()
        for _ in range(3_000):
            if self.pictures and condition():
                return
            await asyncio.sleep(LOOK_S)
        raise AssertionError(f"never: {what}; {self.pictures[-1:]}")

    async def arm(self, mode: str, *, despite: str = "") -> None:
        """One arm press in real time, once nothing else is missing."""
        await self.until(lambda: set(self.seen.missing) <= {despite}, "the consent to a step")
        found = await asyncio.to_thread(self._box.interlock, "board arm")
        assert found.returncode == 0, found.stderr
        await self.until(lambda: self.seen.mode == mode, mode)


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """Real time counts although prices are replayed; the venue lives inside the core."""
    return Box(
        tmp_path,
        {'watch = "auto"': 'watch = "system"', 'transport = "process"': 'transport = "in-process"'},
    )


@pytest.mark.safety("S1.18", "S1.32", "S10.1", "S10.3")
def test_a_clock_that_is_lost_steps_and_comes_back(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started unsynchronised: held, and nobody arms. Synchronised and armed: a step back is a hold that ends
    in NORMAL. Lost for two hours: a hold, then the trip CLOCK. A restart ends none of it."""
    monkeypatch.setattr(clock_loop, "EVERY_S", LOOK_S)
    machine = Machine()
    core = Running(box, machine)
    paths = find_paths(box.state, box.runtime)
    ensure_runtime(paths)
    prepare_pages(paths.runtime)

    async def live() -> None:
        async with core.up():
            await core.until(core.clock_hold, "the hold from the start")
            assert core.clock_hold() == "not synchronised at the start; nobody keeps it"
            await asyncio.to_thread(command_board, box.runtime, "press")
            await core.until(lambda: core.seen.mode == "EMERGENCY", "EMERGENCY")
            await asyncio.to_thread(command_board, box.runtime, "release")
            await core.arm("PAUSED", despite="hold CLOCK")  # a step out of EMERGENCY needs no clock
            await core.until(lambda: "hold CLOCK" in core.seen.missing, "no permit to NORMAL")
            assert "clock_ok" in core.seen.missing
            machine.synchronised, machine.each_ns = True, 30 * S
            await core.until(lambda: not core.clock_hold(), "10 minutes synchronised")
            await core.arm("NORMAL")

            machine.each_ns = S
            machine.offset_ns -= 2 * S
            await core.until(core.clock_hold, "the hold after the step")
            assert core.seen.mode == "NORMAL"
            machine.each_ns = 30 * S
            await core.until(lambda: not core.clock_hold(), "its end")
            assert core.seen.mode == "NORMAL", "the arm epoch is unchanged"

            machine.synchronised, machine.each_ns = False, 60 * S
            await core.until(lambda: core.seen.trip, "the trip")
            assert core.seen.trip is not None
            assert (core.seen.trip.reason, core.seen.mode) == ("CLOCK", "PAUSED")
            assert "interlock doctor" in core.seen.trip.recovery
        machine.synchronised, machine.each_ns = True, S
        async with core.up():
            await core.until(core.clock_hold, "the hold of the core before")
            assert "before the core was started again" in core.clock_hold()
            machine.each_ns = 30 * S
            await core.until(lambda: not core.clock_hold(), "its end")
            assert core.seen.trip is not None
            assert core.seen.trip.reason == "CLOCK", "only arming ends a trip"

    guard = ["hardware.main", "--state", str(box.state), "--runtime", str(box.runtime)]
    with running(guard, tmp_path / "guard.log"):
        asyncio.run(live())
    told = [each["event"] for each in box.entries("clock")]
    assert told == [
        *("started", "doubted", "synchronised", "settled"),
        *("stepped", "doubted", "settled"),
        *("unsynchronised", "doubted", "unresolved"),
        *("started", "unresolved", "settled"),
    ]
    assert [each["moved_ns"] for each in box.entries("clock") if each["event"] == "stepped"] == [str(-2 * S)]
    clock = [each for each in box.entries("hold") if each["cause"] == "CLOCK"]
    assert len(clock) == len([each for each in box.entries("hold_end") if each["cause"] == "CLOCK"]) + 1 == 4
    assert [each["reason"] for each in box.entries("trip")][-1] == "CLOCK"
    assert not box.held()
    box.verified()
