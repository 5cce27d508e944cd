"""When old entries may be sealed and pruned: leave, pace, quota (SAFETY 8)."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from appliance.audit.segment import SEGMENT
from appliance.domain.errors import ConfigError
from appliance.domain.mode import Mode, TripReason
from appliance.runtime.config import AuditConfig
from appliance.runtime.disk_gauge import DiskGauge, reusable_bytes
from appliance.runtime.paths import Paths
from appliance.runtime.retention import LEAST_NS, RENEW_NS, RetentionLoop, keep_ns, note_retained
from appliance.runtime.units import Duration
from appliance.safety.disk import DiskLevel
from appliance.storage.log_upkeep import LEAVE_NS, PAUSE_NS, REST, REST_IN_HURRY, Upkeep
from appliance.storage.log_wire import Retain, Retained
from tests.audit_support import new_log
from tests.kit import Core
from tests.retention_kit import LATE_NS, opened, prune, retention

HOUR, NOW = 3_600_000_000_000, 1_800_000_000_000_000_000


def _config(keep: int | None) -> Any:
    audit = AuditConfig(origin="o", heartbeat=Duration(1), keep=None if keep is None else Duration(keep))
    return SimpleNamespace(audit=audit)


@pytest.mark.parametrize("keep", [None, HOUR, HOUR + 1])
def test_without_the_key_nothing_is_ever_pruned(keep: int | None) -> None:
    """An hour is the least."""
    assert keep_ns(_config(keep)) == keep
    assert LEAST_NS == HOUR


@pytest.mark.parametrize("keep", [0, 1, HOUR - 1])
def test_less_than_an_hour_is_refused(keep: int) -> None:
    """A slip of the unit does not empty the log."""
    with pytest.raises(ConfigError, match=r"audit\.keep"):
        keep_ns(_config(keep))


class Desk:
    """A loop on the safety controller of the kit, with what it told the log."""

    def __init__(self, keep: int | None = HOUR) -> None:
        self.core = Core()
        self.told: list[tuple[int, bool]] = []
        self.why, self.level = "", DiskLevel.OK
        self.loop = RetentionLoop(
            keep, self, self.core.safety, self, lambda: self.why, lambda: NOW  # type: ignore[arg-type]
        )

    def retain(self, before_ns: int, *, hurry: bool = False) -> None:
        """The log client's."""
        self.told.append((before_ns, hurry))

    def picture(self) -> Desk:
        """The disk watch's."""
        return self


def test_leave_is_given_and_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every ten seconds, well before it ends; with what is older than the configured age."""
    desk, now = Desk(), [10**15]
    monkeypatch.setattr("appliance.runtime.retention.time.monotonic_ns", lambda: now[0])
    for moved in (0, RENEW_NS - 1, 1, 1):
        now[0] += moved
        desk.loop.look()
    assert desk.told == [(NOW - HOUR, False)] * 2
    assert 2 * RENEW_NS < LEAVE_NS
    none = Desk(None)
    none.loop.look()
    assert none.told == []


@pytest.mark.parametrize("level", list(DiskLevel))
def test_a_disk_that_fills_makes_it_faster_and_nothing_younger_goes(level: DiskLevel) -> None:
    """80 % and above."""
    desk = Desk()
    desk.level = level
    desk.loop.look()
    assert desk.told == [(NOW - HOUR, level is not DiskLevel.OK)]


@pytest.mark.safety("S8.7")
def test_never_while_tripped_or_in_emergency_or_in_doubt() -> None:
    """The leave is taken back at the next look, once, and given again when all is well."""
    desk = Desk()
    desk.loop.look()
    desk.why = "the clock is not trusted"
    desk.loop.look()
    desk.loop.look()
    assert desk.told[1:] == [(0, False)]
    desk.why = ""
    desk.loop.look()
    assert desk.told[2:] == [(NOW - HOUR, False)]
    desk.core.safety.mode = Mode.EMERGENCY
    desk.loop.look()
    assert desk.told[3:] == [(0, False)]
    desk.core.safety.mode = Mode.PAUSED
    desk.core.safety.trip(TripReason.DATA_INTEGRITY, "it does not verify")
    desk.loop.look()
    assert desk.told[3:] == [(0, False)]
    assert desk.loop.forbidden() == "tripped"


class Work:
    """A retention of so many steps, each of which takes `cost_ns`."""

    def __init__(self, steps: int, cost_ns: int) -> None:
        self.sealed = self.pruned = self.done = self.passes = self.given_up = 0
        self.problem = ""
        self.now = 10**15
        self.before: list[int] = []
        self._steps, self._cost = steps, cost_ns

    def steps(self, before_ns: int) -> Generator[None, None, None]:
        """See Retention."""
        self.before.append(before_ns)
        try:
            for _ in range(self._steps):
                self.now += self._cost
                self.done += 1
                yield
        except GeneratorExit:
            self.given_up += 1
            raise
        self.passes += 1
        self.pruned = 256 * self.passes

    def clock(self) -> int:
        """Monotonic."""
        return self.now


def _upkeep(steps: int = 3, cost_ns: int = 1000) -> tuple[Upkeep, Work]:
    work = Work(steps, cost_ns)
    return Upkeep(work, work.clock), work  # type: ignore[arg-type]


@pytest.mark.parametrize(("hurry", "rest"), [(False, REST), (True, REST_IN_HURRY)])
def test_a_step_is_followed_by_a_rest_many_times_as_long(hurry: bool, rest: int) -> None:
    """A twentieth of the time, or a fifth."""
    upkeep, work = _upkeep()
    assert (upkeep.patience_ns(), upkeep.due()) == ([], False)
    upkeep.give_leave(Retain(7, hurry))
    assert upkeep.due()
    assert upkeep.step() is None
    assert upkeep.patience_ns() == [rest * 1000]
    work.now += rest * 1000 - 1
    assert not upkeep.due()
    work.now += 1
    assert upkeep.due()
    assert work.before == [7]


def test_a_pass_tells_what_is_new_and_pauses() -> None:
    """Nothing is said of a pass that changed nothing."""
    upkeep, work = _upkeep(steps=1)
    told = []
    for _ in range(2):
        upkeep.give_leave(Retain(7, hurry=False))
        upkeep.step()
        told.append(upkeep.step())
        assert upkeep.patience_ns() == [PAUSE_NS]
        work.now += PAUSE_NS
    assert told == [Retained(0, 256, ""), Retained(0, 512, "")]
    work.passes = 1
    upkeep.give_leave(Retain(7, hurry=False))
    upkeep.step()
    assert upkeep.step() is None


@pytest.mark.parametrize("taken_back", [False, True])
def test_leave_ends_by_itself_or_is_taken_back(taken_back: bool) -> None:
    """The pass is given up between two steps; with new leave another begins."""
    upkeep, work = _upkeep()
    upkeep.give_leave(Retain(7, hurry=False))
    upkeep.step()
    if taken_back:
        upkeep.give_leave(Retain(0, hurry=False))
    else:
        work.now += LEAVE_NS - 1001
        assert upkeep.due()
        work.now += 1
    assert not upkeep.due()
    assert upkeep.patience_ns() == []
    assert work.given_up == 1
    upkeep.give_leave(Retain(9, hurry=False))
    work.now += REST * 1000
    assert upkeep.due()
    upkeep.step()
    assert work.before == [7, 9]


def test_what_became_of_it_is_an_entry() -> None:
    """With the problem if there was one, which the person reads too."""
    core, lines = Core(), []

    class Lines:
        def error(self, part: str, event: str, **more: object) -> None:
            lines.append((part, event, more))

    note = note_retained(core.scribe, Lines())  # type: ignore[arg-type]
    note(Retained(2, 8192, ""))
    note(Retained(2, 8192, "a bad one"))
    found = [data for kind, data, _ in core.scribe.entries if kind == "retention"]
    assert found == [{"sealed": 2, "pruned": 8192}, {"sealed": 2, "pruned": 8192, "problem": "a bad one"}]
    assert lines == [("retention", "stopped", {"why": "a bad one"})]


@pytest.mark.safety("S8.7")
def test_pruning_ends_the_alert_and_without_a_co_signature_it_stays(tmp_path: Path) -> None:
    """Measured on a real directory: at 80 % an alert, which only pruning ends; at 95 % the hold."""
    paths = Paths(tmp_path / "state", tmp_path / "run")
    paths.runtime.mkdir()
    settings = new_log(paths.state)
    prune(settings, 4 * SEGMENT + 1, before_ns=0)
    probe = DiskGauge(paths, 10**12, 0)
    probe.measure()
    assert probe.reading.room is not None
    taken = probe.reading.room.taken
    alerting, holding = DiskGauge(paths, taken * 100 // 80, 0), DiskGauge(paths, taken * 100 // 95, 0)
    for gauge, level in ((alerting, DiskLevel.ALERT), (holding, DiskLevel.HOLD)):
        gauge.measure()
        assert gauge.reading.level is level
    cosigned = (paths.log / "cosigned").read_bytes()
    (paths.log / "cosigned").unlink()
    for present, levels in ((False, (DiskLevel.ALERT, DiskLevel.HOLD)), (True, (DiskLevel.OK, DiskLevel.OK))):
        if present:
            (paths.log / "cosigned").write_bytes(cosigned)
        store = opened(settings)
        for _ in retention(store).steps(LATE_NS):
            pass
        store.close()
        for gauge in (alerting, holding):
            gauge.measure()
        assert (alerting.reading.level, holding.reading.level) == levels


def test_pages_let_go_are_left_of_the_quota(tmp_path: Path) -> None:
    """As the database's header tells; what is none has none."""
    settings = new_log(tmp_path)
    database = settings.directory / "log.db"
    assert reusable_bytes(database) == 0
    prune(settings, 2 * SEGMENT + 1)
    assert reusable_bytes(database) > database.stat().st_size // 2
    shutil.copy(settings.key_file, database)
    assert reusable_bytes(database) == reusable_bytes(tmp_path / "none") == 0
