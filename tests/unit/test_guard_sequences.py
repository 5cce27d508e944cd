"""Arming and tripping at the guard, sequence by sequence: what must not open the gate (SAFETY 1, 5, 6)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware import latch
from hardware.arm_key import HELD_MAX_NS, HELD_MIN_NS, OPEN_FIRST_NS
from hardware.board import Edge, Level, Levels
from hardware.guard import CORE_LOST_NS, Guard
from hardware.kill_switch import RELEASE_NS, KillSwitch
from hardware.latch import RECORD, ArmedRecord, LatchKeeper, judge, read_record, store_armed, store_tripped
from hardware.pages import WORD_MASK, ArmOutcome, CoreWord, GuardWord, Mode, Reason
from tests.processes import until
from tests.unit.test_guard_machine import BOOT, HEALTHY, MS, Box

PRESSED = HEALTHY._replace(button=Level.OPEN)
TURNED = HEALTHY._replace(key=Level.CLOSED)
NOBODY = Levels(Level.UNKNOWN, Level.UNKNOWN, Level.UNKNOWN)


def _hold(box: Box, levels: Levels, duration_ms: int) -> None:
    for _ in range(duration_ms // 20):
        box.read(levels)


def _press_key(box: Box, open_ms: int, closed_ms: int) -> None:
    """Closed for 300 ms, so that the open time below is all there is, then as asked, then released."""
    _hold(box, TURNED, 300)
    _hold(box, HEALTHY, open_ms)
    _hold(box, TURNED, closed_ms)
    _hold(box, HEALTHY, 100)
    box.keeper.finish()
    box.read()


def _proven(reason: Reason = Reason.NEVER_ARMED) -> Box:
    """Everything but the arm press is there."""
    box = Box(reason)
    box.press()
    box.keeper.finish()
    box.permit()
    return box


@pytest.mark.safety("S6.2")
@pytest.mark.parametrize(
    ("open_ms", "closed_ms", "arms"),
    [
        (1_200, 3_200, True),
        (1_200, 2_900, False),
        (1_200, 9_900, True),
        (1_200, 10_200, False),
        (900, 3_200, False),
        (0, 3_200, False),
        (1_200, 0, False),
    ],
)
def test_only_an_arm_press_of_the_right_length_arms(open_ms: int, closed_ms: int, arms: bool) -> None:
    """Open for 1 s, closed for 3 to 10 s, released: through the whole guard."""
    assert (OPEN_FIRST_NS, HELD_MIN_NS, HELD_MAX_NS) == (1_000 * MS, 3_000 * MS, 10_000 * MS)
    box = _proven()
    _press_key(box, open_ms, closed_ms)
    assert box.guard.is_open() is arms


@pytest.mark.safety("S6.2")
def test_a_key_that_is_turned_at_the_start_never_arms() -> None:
    """However long it stays; only a new close after 1 s open does."""
    box = _proven()
    box.guard = Guard(box.page, box.core, box.keeper, ("boot", "board", "card"), BOOT)
    box.guard.start(Reason.NOT_ARMED, box.now_ns)
    _hold(box, TURNED, 5_000)
    _hold(box, HEALTHY, 500)
    assert box.word(GuardWord.ARM_PRESSES) == 0, "not even a press that lacks its proof"
    _hold(box, HEALTHY, 700)
    _hold(box, TURNED, 3_200)
    _hold(box, HEALTHY, 100)
    assert box.word(GuardWord.ARM_PRESSES) == 1


@pytest.mark.safety("S6.7")
@pytest.mark.parametrize("at_ms", [0, 400, 1_000, 1_200, 2_000, 4_200, 4_380, 4_400, 4_420, 4_480])
def test_the_button_in_the_middle_of_an_arm_press_starts_it_again(at_ms: int) -> None:
    """Whatever part it falls into, and although proof and permit are good again after it."""
    box = _proven()
    passed = 0
    for levels, duration_ms in ((HEALTHY, 1_200), (TURNED, 3_200), (HEALTHY, 100)):
        for _ in range(duration_ms // 20):
            if passed == at_ms:
                box.read(levels._replace(button=Level.OPEN), (Edge("button", Level.OPEN, box.now_ns),))
                for _ in range(4):
                    box.read(levels)
                box.permit()
            passed += 20
            box.read(levels)
    box.keeper.finish()
    box.read()
    assert box.guard.is_open() is (at_ms == 0), "a press before the sequence leaves 1 s of open key after it"
    assert box.word(GuardWord.LAST) == Reason.KILL_BUTTON


@pytest.mark.safety("S6.4")
@pytest.mark.parametrize("trip", ["tamper", "core", "unreadable"])
def test_a_proof_test_before_a_trip_does_not_count_after_it(trip: str) -> None:
    """Any trip moves the epoch: the button must be seen to open and close again."""
    box = _proven()
    if trip == "tamper":
        box.read(HEALTHY._replace(tamper=Level.OPEN))
        box.read()
    elif trip == "core":
        box.core[CoreWord.REQUEST_REASON] = Reason.DRAWDOWN
        box.core[CoreWord.REQUEST] = box.core[CoreWord.REQUEST] + 1
        box.read()
    else:
        box.read(NOBODY)
    box.permit()
    _press_key(box, 1_200, 3_200)
    assert not box.guard.is_open()
    assert box.word(GuardWord.ARM_OUTCOME) == ArmOutcome.NO_PROOF
    box.press()
    box.keeper.finish()
    box.permit()
    _press_key(box, 1_200, 3_200)
    assert box.guard.is_open()


@pytest.mark.safety("S6.4")
def test_noise_on_a_welded_contact_is_no_proof() -> None:
    """Edges without a level: the line was never read open, so nobody knows that the button can open it."""
    box = _proven()
    box.read(HEALTHY, (Edge("button", Level.OPEN, box.now_ns), Edge("button", Level.CLOSED, box.now_ns)))
    _hold(box, HEALTHY, 200)
    box.keeper.finish()
    box.permit()
    _press_key(box, 1_200, 3_200)
    assert not box.guard.is_open()
    assert box.word(GuardWord.ARM_OUTCOME) == ArmOutcome.NO_PROOF


@pytest.mark.parametrize("before", [Level.CLOSED, Level.UNKNOWN])
def test_an_edge_alone_never_proves_the_button(before: Level) -> None:
    """Also where the level could not be read while the edge came."""
    switch = KillSwitch()
    switch.read(Level.CLOSED, False, 0)
    assert switch.read(before, True, 1).trip
    switch.read(Level.CLOSED, False, 2)
    assert not switch.read(Level.CLOSED, False, 2 + RELEASE_NS).proven


@pytest.mark.safety("S6.5")
@pytest.mark.parametrize("behind", [1, 2, 5])
def test_a_permit_of_any_other_epoch_does_not_arm(behind: int) -> None:
    """Older, or one that has not been yet."""
    for epoch in (-behind, behind):
        box = _proven()
        box.core[CoreWord.PERMIT] = max(0, box.word(GuardWord.STATE) + epoch)
        _press_key(box, 1_200, 3_200)
        assert not box.guard.is_open()
        assert box.word(GuardWord.ARM_OUTCOME) == ArmOutcome.STEP


@pytest.mark.safety("S6.5")
@pytest.mark.parametrize(("silent_ns", "arms"), [(CORE_LOST_NS, True), (CORE_LOST_NS + 1, False)])
def test_the_permit_of_a_core_that_is_gone_does_not_arm(silent_ns: int, arms: bool) -> None:
    """It was true when it was written; nobody says so now."""
    box = _proven()
    _hold(box, HEALTHY, 1_200)
    _hold(box, TURNED, 3_200)
    for _ in range(5):
        box.now_ns += 20 * MS
        box.core[CoreWord.HEARTBEAT_NS] = box.now_ns - silent_ns
        box.guard.loop((), HEALTHY, box.now_ns)
    box.keeper.finish()
    box.guard.loop((), HEALTHY, box.now_ns)
    assert box.guard.is_open() is arms


def test_a_core_heartbeat_from_the_future_is_none() -> None:
    """A word nobody can have written yet keeps neither the lights green nor a permit good."""
    box = _proven()
    box.core[CoreWord.HEARTBEAT_NS] = WORD_MASK
    assert box.guard.stands(HEALTHY, box.now_ns).name.endswith("CORE_LOST")


@pytest.mark.parametrize("line", ["button", "key", "tamper"])
@pytest.mark.parametrize("when", ["before the press", "while it is stored"])
def test_nothing_is_armed_over_a_line_nobody_can_read(line: str, when: str) -> None:
    """Also if GUARD_LOST stands already, so that the unreadable line is no new trip."""
    box = Box(Reason.NEVER_ARMED)
    box.read(NOBODY)
    assert box.word(GuardWord.LATER) >> Reason.GUARD_LOST & 1
    box.press()
    box.keeper.finish()
    box.permit()
    blind = HEALTHY._replace(**{line: Level.UNKNOWN})
    _hold(box, HEALTHY, 1_200)
    _hold(box, TURNED, 3_200)
    if when == "before the press":
        box.read(blind)
    _hold(box, HEALTHY, 100)
    if when == "while it is stored":
        assert any(isinstance(job, ArmedRecord) for job in box.keeper.jobs)
        box.read(blind)
    box.keeper.finish()
    box.read(blind)
    assert not box.guard.is_open()
    assert not isinstance((box.keeper.jobs or [0])[-1], ArmedRecord)
    if when == "while it is stored":
        assert box.keeper.stored_trip == box.word(GuardWord.STATE), "and the record is removed again"


@pytest.mark.safety("S8.5")
def test_a_failed_disk_is_remembered_over_a_restart_of_the_guard() -> None:
    """SAFETY 8: no arming until the machine restarts, and a new process is no new machine."""
    box = _proven()
    box.keeper.broken = "fsync: EIO"
    box.read()
    box.keeper.broken = ""  # the keeper of the next process knows nothing
    box.guard = Guard(box.page, box.core, box.keeper, ("boot", "board", "card"), BOOT)
    box.guard.start(Reason.NOT_ARMED, box.now_ns)
    box.press()
    box.keeper.finish()
    box.permit()
    _press_key(box, 1_200, 3_200)
    assert not box.guard.is_open()
    assert box.word(GuardWord.ARM_OUTCOME) == ArmOutcome.NOT_STORED


@pytest.mark.safety("S1.24", "S6.4")
@pytest.mark.parametrize("verdict", [Reason.NOT_ARMED, Reason.NEVER_ARMED, Reason.FOREIGN_CARD])
def test_a_restarted_guard_needs_everything_again(verdict: Reason) -> None:
    """Proof, permit and press of the time before are void; a record that is not this box's is removed."""
    box = _proven()
    state = box.word(GuardWord.STATE)
    box.guard = Guard(box.page, box.core, box.keeper, ("boot", "board", "card"), BOOT)
    box.guard.start(verdict, box.now_ns)
    assert box.word(GuardWord.STATE) == state + 1
    assert (state + 1 in box.keeper.jobs) is (verdict is not Reason.NOT_ARMED)
    _press_key(box, 1_200, 3_200)
    assert not box.guard.is_open()


@pytest.mark.safety("HW-02")
@pytest.mark.parametrize("levels", [PRESSED, HEALTHY._replace(button=Level.UNKNOWN)])
def test_a_button_open_or_unreadable_at_the_start_is_a_trip(levels: Levels) -> None:
    """U01: pressed at boot, cut wire, unplugged: the level is read, no edge is waited for."""
    box = Box(Reason.NOT_ARMED)
    box.guard = Guard(box.page, box.core, box.keeper, ("boot", "board", "card"), BOOT)
    box.guard.start(Reason.NOT_ARMED, box.now_ns)
    box.read(levels)
    expected = Reason.KILL_BUTTON if levels is PRESSED else Reason.GUARD_LOST
    assert box.word(GuardWord.REASON) == expected


STEPS = st.sampled_from(
    ["press", "glitch", "tamper", "unknown", "core", "key", "short key", "permit", "old permit", "disk"]
)


class Watched(Box):
    """A guard whose every write of the armed word is looked at."""

    opened = 0

    def read(
        self, levels: Levels = HEALTHY, edges: Sequence[Edge] = (), after_ms: int = 20
    ) -> None:
        """The pass that opens must find every condition of SAFETY 6 true."""
        was_open = self.guard.is_open() if hasattr(self, "guard") else False
        super().read(levels, tuple(edges), after_ms)
        if self.guard.is_open() and not was_open:
            self.opened += 1
            state = self.word(GuardWord.STATE)
            assert self.word(GuardWord.PROVEN) == state
            assert self.core[CoreWord.PERMIT] == state or self.permitted == state
            assert self.keeper.stored_armed == state
            assert Level.UNKNOWN not in levels
            assert levels.button is Level.CLOSED
        if was_open and not self.guard.is_open():
            assert self.word(GuardWord.REASON) != Reason.NONE

    permitted = 0


@pytest.mark.safety("S6.5")
@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.lists(STEPS, min_size=4, max_size=12))
def test_no_sequence_opens_the_gate_without_all_of_it(steps: list[str]) -> None:
    """Presses, noise, faults, permits, keys in any order: open means proven, permitted, stored, readable."""
    box = Watched(Reason.NOT_ARMED)
    for step in steps:
        if step == "press":
            box.press()
        elif step == "glitch":
            box.read(HEALTHY, (Edge("button", Level.OPEN, box.now_ns),))
        elif step == "tamper":
            box.read(HEALTHY._replace(tamper=Level.OPEN))
        elif step == "unknown":
            box.read(NOBODY)
        elif step == "core":
            box.core[CoreWord.REQUEST] = box.core[CoreWord.REQUEST] + 1
            box.read()
        elif step in ("key", "short key"):
            box.turn_key(4 if step == "key" else 2)
        elif step == "permit":
            box.permit()
            box.permitted = box.word(GuardWord.STATE)
        elif step == "old permit":
            box.core[CoreWord.PERMIT] = max(0, box.word(GuardWord.STATE) - 1)
        elif step == "disk":
            box.keeper.finish()
        _hold(box, HEALTHY, 100)


def test_the_whole_way_opens_in_the_same_machine() -> None:
    """The control experiment of the property above: it can open."""
    box = Watched(Reason.NOT_ARMED)
    box.press()
    box.permit()
    box.turn_key()
    box.keeper.finish()
    box.read()
    assert box.opened == 1


class PowerCutError(OSError):
    """A power cut at one call."""


@pytest.mark.safety("S5.8")
@pytest.mark.parametrize("job", ["arm", "trip"])
@pytest.mark.parametrize("cut", range(8))
def test_every_crash_point_of_the_latch_is_shut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: str, cut: int
) -> None:
    """A cut after any system call: what the next boot reads never arms, and "stored" was not said before."""
    if job == "trip":
        store_armed(tmp_path, ArmedRecord(5, "boot", "board", "card"))
    done: list[str] = []

    def counted(module: object, name: str) -> None:
        real = getattr(module, name)

        def call(*arguments: object, **keywords: object) -> object:
            if len(done) == cut:
                raise PowerCutError(f"power cut before {name}")
            done.append(name)
            return real(*arguments, **keywords)

        monkeypatch.setattr(module, name, call)

    for name in ("open", "write", "fsync"):
        counted(os, name)
    for name in ("rename", "unlink"):
        counted(Path, name)
    said = ""
    try:
        if job == "arm":
            store_armed(tmp_path, ArmedRecord(6, "boot", "board", "card"))
        else:
            store_tripped(tmp_path)
        said = "stored"
    except PowerCutError:
        pass
    monkeypatch.undo()
    verdict = judge(read_record(tmp_path), "board", "card")
    assert verdict in (Reason.NEVER_ARMED, Reason.NOT_ARMED), "shut either way: a start never arms"
    if job == "trip" and said:
        assert verdict is Reason.NEVER_ARMED
        assert done[-1] == "fsync", "the directory, last"
    if job == "arm" and said:
        assert done[-1] == "fsync"
        assert done.index("rename") > done.index("fsync"), "the record's bytes before its name"


@pytest.mark.safety("S5.6")
def test_stored_is_said_only_after_the_directory_was_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The helper thread: unlink, fsync of the directory, and only then the word the lights follow."""
    seen: list[tuple[str, int]] = []
    real_sync, real_unlink = os.fsync, Path.unlink

    def sync(handle: int) -> None:
        seen.append(("fsync", keeper.stored_trip))
        real_sync(handle)

    def unlink(path: Path, missing_ok: bool = False) -> None:
        seen.append(("unlink", keeper.stored_trip))
        real_unlink(path, missing_ok=missing_ok)

    (tmp_path / RECORD).write_bytes(b"x")
    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "unlink", unlink)
    keeper = LatchKeeper(tmp_path)
    keeper.trip(9)
    until(lambda: keeper.stored_trip == 9, "the trip stored")
    keeper.close()
    assert seen == [("unlink", 0), ("unlink", 0), ("fsync", 0)]


@pytest.mark.safety("S5.6")
def test_a_removal_that_fails_is_tried_until_it_works_and_nothing_arms_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never "stored" before it is; and after the error an armed record is refused for this process."""
    fails = [True, True]

    def refuse(directory: Path) -> None:
        if fails:
            fails.pop()
            raise OSError("EIO")
        store_tripped(directory)

    monkeypatch.setattr(latch, "store_tripped", refuse)
    monkeypatch.setattr(latch, "RETRY_S", 0.01)
    keeper = LatchKeeper(tmp_path)
    keeper.trip(3)
    until(lambda: keeper.stored_trip == 3, "the third try")
    keeper.arm(ArmedRecord(3, "boot", "board", "card"))
    keeper.close()
    assert keeper.broken
    assert keeper.stored_armed == 0
    assert not (tmp_path / RECORD).exists()


@pytest.mark.safety("S5.5")
def test_the_page_word_comes_before_the_disk_job() -> None:
    """One aligned word shuts the gate; whatever the disk does comes after it."""
    box = _proven()
    box.turn_key()
    box.keeper.finish()
    box.read()
    assert box.guard.is_open()
    order: list[bool] = []
    box.keeper.trip = lambda epoch: order.append(box.guard.is_open())  # type: ignore[method-assign]
    box.press()
    assert order == [False]


@pytest.mark.safety("HW-20", "HW-22")
def test_a_guard_without_a_core_still_trips_and_stores() -> None:
    """Nobody else is needed for the button."""
    box = _proven()
    box.guard.core = None
    box.guard.loop((Edge("button", Level.OPEN, box.now_ns),), PRESSED, box.now_ns)
    assert box.word(GuardWord.LAST) == Reason.KILL_BUTTON
    assert box.keeper.jobs == [box.word(GuardWord.STATE)]
    assert box.core[CoreWord.MODE] == Mode.PAUSED
