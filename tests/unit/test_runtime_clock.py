"""The clock's edge: what the kernel says, what the log remembers, what follows for hold, trip and arming."""

from __future__ import annotations

import asyncio
import ctypes
import time
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from appliance.domain.errors import ConfigError
from appliance.domain.mode import BOX, HoldCause, Mode, TripReason
from appliance.runtime import kernel_clock
from appliance.runtime.clock_loop import ClockLoop, counts_real_time, remembered_clock
from appliance.runtime.config_load import EXAMPLE, load_config
from appliance.runtime.guard_link import boot_text
from appliance.runtime.kernel_clock import MAX_ERROR_US, STA_CLOCKERR, STA_UNSYNC, TIME_ERROR, judge
from appliance.runtime.scribe import CoreScribe
from appliance.safety.clock_watch import ClockPast, ClockReading
from appliance.storage.log_client import LogClient
from tests.audit_support import entry, new_log
from tests.kit import Core

S = 1_000_000_000
HOUR = 3_600 * S
UTC = 1_800_000_000 * S


class Machine:
    """Clocks in the test's hand, a core, and the loop between them."""

    def __init__(
        self, *, enforced: bool = True, synchronised: bool = True, past: ClockPast | None = None
    ) -> None:
        self.core = Core()
        self.boot_ns, self.offset_ns, self.synchronised = 5 * S, UTC, synchronised
        self.loop = ClockLoop(
            self.read, past or ClockPast(), self.core.safety, self.core.scribe, enforced=enforced
        )

    def read(self) -> ClockReading:
        """What the core is told."""
        words = "synchronised" if self.synchronised else "nobody keeps it"
        return ClockReading(self.boot_ns, self.boot_ns + self.offset_ns, self.synchronised, words)

    def after(self, duration_ns: int, *, step_ns: int = 0) -> None:
        """One look that much later."""
        self.boot_ns += duration_ns
        self.offset_ns += step_ns
        self.loop.look()

    def pass_minutes(self, minutes: int) -> None:
        """A look each minute."""
        for _ in range(minutes):
            self.after(60 * S)

    def held(self) -> bool:
        """The hold CLOCK stands on the box."""
        return any(hold.cause is HoldCause.CLOCK and hold.scope == BOX for hold in self.core.holds.standing())

    def reasons(self) -> list[TripReason]:
        """Trips of the core that the guard was asked to adopt."""
        return self.core.guard.requests


@pytest.mark.safety("S10.3")
@pytest.mark.parametrize(
    ("state", "status", "max_error_us", "synchronised"),
    [
        (0, 0, 0, True),
        (0, 0x2001, MAX_ERROR_US, True),
        (0, 0x2001, MAX_ERROR_US + 1, False),
        (0, 0x2001, -1, False),
        (0, STA_UNSYNC, 0, False),
        (TIME_ERROR, STA_UNSYNC, 16_000_000, False),
        (0, STA_CLOCKERR, 0, False),
        (TIME_ERROR, 0, 0, False),
        (1, 0x0010, 100, True),
        (3, 0, 100, True),
    ],
)
def test_what_the_kernel_says(state: int, status: int, max_error_us: int, synchronised: bool) -> None:
    """Both must hold: the flag is clear and the error is small; a pending leap second is no doubt."""
    found, words = judge(state, status, max_error_us)
    assert found is synchronised
    assert words


@pytest.mark.safety("S10.3")
def test_a_refused_call_is_not_synchronised_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter that refuses adjtimex, and a C library that has none: each with its own words."""

    class Refusing:
        """Answers −1 and EPERM."""

        @staticmethod
        def adjtimex(_timex: object) -> int:
            """As seccomp does."""
            ctypes.set_errno(1)
            return -1

    for library, words in ((Refusing, "Operation not permitted"), (object, "cannot be asked")):
        monkeypatch.setattr(ctypes, "CDLL", lambda *_a, chosen=library, **_k: chosen())
        synchronised, said = kernel_clock.read_synchronisation()
        assert not synchronised
        assert words in said


def test_the_real_kernel_is_read() -> None:
    """BOOTTIME advances with the monotonic clock, UTC is the system's, and nothing raises."""
    before = time.time_ns()
    first, second = kernel_clock.read_kernel_clock(), kernel_clock.read_kernel_clock()
    assert before <= first.utc_ns <= second.utc_ns <= time.time_ns()
    assert 0 < first.boot_ns <= second.boot_ns
    assert abs((second.utc_ns - second.boot_ns) - (first.utc_ns - first.boot_ns)) < 100_000_000
    assert first.detail


@pytest.mark.safety("S10.3", "S1.18")
def test_a_step_back_is_a_hold_that_ends_by_itself() -> None:
    """On the box, in the log with the step, mode unchanged; the arming precondition is missing meanwhile."""
    machine = Machine()
    machine.loop.look()
    assert machine.loop.ok()
    machine.after(S, step_ns=-2 * S)
    assert machine.held()
    assert not machine.loop.ok()
    machine.pass_minutes(9)
    assert machine.held()
    machine.pass_minutes(1)
    assert not machine.held()
    assert machine.loop.ok()
    assert machine.core.safety.mode is Mode.NORMAL
    assert machine.reasons() == []
    scribe = machine.core.scribe
    assert [each["event"] for each in scribe.of("clock")] == ["started", "stepped", "doubted", "settled"]
    assert scribe.of("clock")[1]["moved_ns"] == -2 * S
    (hold,) = scribe.of("hold")
    assert "stepped back by 2.000 s" in hold["detail"]
    assert [each["cause"] for each in scribe.of("hold_end")] == [HoldCause.CLOCK]


@pytest.mark.safety("S10.1")
def test_the_core_starts_unsynchronised_in_hold() -> None:
    """It starts, and the first look already holds; ended 10 minutes after it became synchronised."""
    machine = Machine(synchronised=False)
    machine.loop.look()
    assert machine.held()
    assert machine.core.scribe.of("hold")[0]["detail"] == "not synchronised at the start; nobody keeps it"
    machine.synchronised = True
    machine.pass_minutes(11)
    assert not machine.held()


@pytest.mark.safety("S1.32", "S1.8")
def test_an_unresolved_hold_trips_once_and_liquidates_nothing() -> None:
    """CLOCK, PAUSED, withheld; the trip names what was wrong, and a thousand looks add nothing."""
    machine = Machine(synchronised=False)
    machine.loop.look()
    machine.after(HOUR - 1)
    assert machine.reasons() == []
    machine.after(1)
    assert machine.reasons() == [TripReason.CLOCK]
    safety = machine.core.safety
    assert safety.mode is Mode.PAUSED
    assert not safety.liquidation_due()
    assert safety.withheld() == (TripReason.CLOCK,)
    for _ in range(1000):
        machine.after(S)
    assert machine.reasons() == [TripReason.CLOCK]
    (trip,) = machine.core.scribe.of("trip")
    assert trip["detail"].startswith("held for 1 h: not synchronised")
    machine.synchronised = True
    machine.pass_minutes(11)
    assert not machine.held()
    assert safety.mode is Mode.PAUSED, "a trip ends by arming"


@pytest.mark.safety("S6.10", "S10.3")
def test_in_a_replay_the_log_hears_of_steps_and_nothing_is_held() -> None:
    """The precondition is the replay clock; the log's UTC depends on the machine's own all the same."""
    machine = Machine(enforced=False, synchronised=False)
    assert machine.loop.ok()
    machine.loop.look()
    machine.after(S, step_ns=-HOUR)
    machine.after(2 * HOUR)
    assert machine.loop.ok()
    assert not machine.held()
    assert machine.reasons() == []
    told = machine.core.scribe.of("clock")
    assert {"started", "stepped"} <= {each["event"] for each in told}
    assert not any(each["enforced"] for each in told)
    assert machine.loop.part().state == "ok"
    assert machine.loop.part().detail.startswith("replay clock; this machine's own: nobody keeps it")


def test_the_page_tells_a_step_forward_too() -> None:
    """No hold, but how far and when; unsynchronised the part is not ok although no hold stands yet."""
    machine = Machine()
    machine.loop.look()
    assert machine.loop.part().detail == "synchronised"
    machine.after(S, step_ns=HOUR)
    assert not machine.held()
    part = machine.loop.part()
    assert (part.name, part.state) == ("clock", "ok")
    assert part.detail == "synchronised; last step +3600.000 s to 2027-01-15T09:00:06Z"
    machine.synchronised = False
    machine.after(S)
    assert machine.loop.part().state == "degraded"
    assert not machine.loop.ok()
    assert not machine.held()


def test_before_the_first_look_nothing_is_ok() -> None:
    """A missing input is never a pass."""
    assert not Machine().loop.ok()
    assert Machine().loop.part().detail == "not read yet"


@pytest.mark.safety("S10.3")
@pytest.mark.parametrize("enforced", [True, False])
def test_the_log_remembers_over_a_restart(tmp_path: Path, enforced: bool) -> None:
    """Of this boot the offset and the hold, of any boot the newest UTC: written by one core, for the next.
    What a replay would have held for is remembered too, but not since when."""
    settings = new_log(tmp_path / "log")
    assert remembered_clock(settings.directory, boot_text()) == ClockPast()
    machine = Machine()

    async def work() -> None:
        client = await LogClient.start(settings)
        safety, scribe = machine.core.safety, CoreScribe(client)
        loop = ClockLoop(machine.read, ClockPast(), safety, scribe, enforced=enforced)
        loop.look()
        machine.boot_ns, machine.offset_ns = 9 * S, UTC - 2 * S
        loop.look()
        await client.append((entry(0, "heartbeat"),), ()).durable()
        await client.aclose()

    asyncio.run(work())
    here = remembered_clock(settings.directory, boot_text())
    assert (here.offset_ns, here.held, here.held_ns) == (UTC - 2 * S, True, 9 * S if enforced else None)
    other = remembered_clock(settings.directory, "another boot")
    assert (other.offset_ns, other.held, other.held_ns) == (None, False, None)
    assert other.newest_utc_ns == here.newest_utc_ns == entry(0).utc_ns

    again = Machine(past=here)
    again.boot_ns, again.offset_ns = 12 * S, UTC - 2 * S
    again.loop.look()
    assert again.held()
    assert again.reasons() == []


def _config(tmp_path: Path, *changes: tuple[str, str]) -> Any:
    text = EXAMPLE.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "interlock.toml"
    path.write_text(text)
    return load_config(path)


@pytest.mark.safety("S6.10")
def test_auto_is_live_only_and_system_is_always(tmp_path: Path) -> None:
    """The demo replays: its clock is the replay's, unless the file says that real time counts."""
    config = _config(tmp_path)
    assert not counts_real_time(config)
    assert counts_real_time(_config(tmp_path, ('watch = "auto"', 'watch = "system"')))
    assert counts_real_time(replace(config, feed=replace(config.feed, kind="live")))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('watch = "auto"', 'watch = "off"', "'system'"),
        ('watch = "auto"', "wacht = 1", "watch"),
        ('watch = "auto"', "", "lacks clock.watch"),
        ('refused = "10 %"', "refused = 10", "Needs a unit"),
        ('refused = "10 %"', 'refused = "0 %"', "refused"),
        ('refused = "10 %"', 'refused = "100 %"', "refused"),
        ('refused = "10 %"', 'refused = "0.9 %"', "One bad record in 100"),
        ("window = 100 ", "window = 9 ", "window"),
        ("window = 100 ", "window = 100001 ", "window"),
        ("window = 100 ", 'window = "100" ', "window"),
    ],
)
def test_a_wrong_key_names_its_line(tmp_path: Path, old: str, new: str, words: str) -> None:
    """Exit 78 with file and line; there is no value that switches the watch off."""
    with pytest.raises(ConfigError) as caught:
        _config(tmp_path, (old, new))
    assert words in caught.value.sentence()
    assert "interlock.toml" in caught.value.sentence()


def test_the_smallest_share_that_one_bad_record_does_not_reach(tmp_path: Path) -> None:
    """1 % of 100 is one record: the last allowed value (C24)."""
    assert _config(tmp_path, ('refused = "10 %"', 'refused = "1 %"')).integrity.refused == 10_000
