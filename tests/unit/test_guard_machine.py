"""The guard's decisions on its page, driven reading by reading."""

from __future__ import annotations

import pytest

from hardware.board import Edge, Level, Levels
from hardware.guard import CORE_LOST_NS, Guard
from hardware.latch import ArmedRecord
from hardware.lights import LIGHTS, Stands
from hardware.pages import (
    CORE_LAYOUT,
    GUARD_LAYOUT,
    PAGE_SIZE,
    WORD_MASK,
    ArmOutcome,
    CoreWord,
    GuardWord,
    Mode,
    Reason,
    start_page,
)

MS = 1_000_000
BOOT = (1, 2)
HEALTHY = Levels(Level.CLOSED, Level.OPEN, Level.CLOSED)


class RecordingKeeper:
    """The disk side of the latch, under the test's control."""

    def __init__(self) -> None:
        self.stored_trip = 0
        self.stored_armed = 0
        self.broken = ""
        self.jobs: list[ArmedRecord | int] = []

    def trip(self, epoch: int) -> None:
        """Remembers the job."""
        self.jobs.append(epoch)

    def arm(self, record: ArmedRecord) -> None:
        """Remembers the job."""
        self.jobs.append(record)

    def finish(self) -> None:
        """Makes everything queued durable."""
        for job in self.jobs:
            if isinstance(job, ArmedRecord):
                self.stored_armed = job.epoch
            else:
                self.stored_trip = job
        self.jobs.clear()


class Box:
    """A guard with both pages in plain memory and a clock that moves when told."""

    def __init__(self, verdict: Reason = Reason.NEVER_ARMED, tamper: str = "paused") -> None:
        self.page = memoryview(bytearray(PAGE_SIZE)).cast("Q")
        self.core = memoryview(bytearray(PAGE_SIZE)).cast("Q")
        start_page(self.page, GUARD_LAYOUT, BOOT)
        start_page(self.core, CORE_LAYOUT, BOOT)
        self.keeper = RecordingKeeper()
        self.guard = Guard(
            self.page, self.core, self.keeper, ("boot", "board", "card"), BOOT, tamper_reaction=tamper
        )
        self.now_ns = 1_000 * MS
        self.guard.start(verdict, self.now_ns)
        self.core[CoreWord.MODE] = Mode.PAUSED
        self.read()

    def word(self, word: GuardWord) -> int:
        """One word of the guard's page."""
        return self.page[word]

    def read(self, levels: Levels = HEALTHY, edges: tuple[Edge, ...] = (), after_ms: int = 20) -> None:
        """One pass of the loop, the core alive."""
        self.now_ns += after_ms * MS
        self.core[CoreWord.HEARTBEAT_NS] = self.now_ns
        self.guard.loop(edges, levels, self.now_ns)

    def press(self) -> None:
        """The kill button, held 100 ms and released."""
        self.read(HEALTHY._replace(button=Level.OPEN), (Edge("button", Level.OPEN, self.now_ns),))
        for _ in range(5):
            self.read(HEALTHY._replace(button=Level.OPEN))
        for _ in range(5):
            self.read()

    def turn_key(self, seconds: int = 4) -> None:
        """One arm press: open 1.2 s, closed, open again."""
        for _ in range(60):
            self.read()
        for _ in range(seconds * 50):
            self.read(HEALTHY._replace(key=Level.CLOSED))
        for _ in range(5):
            self.read()

    def permit(self) -> None:
        """The core consents to arming out of the standing epoch."""
        self.core[CoreWord.PERMIT] = self.word(GuardWord.STATE)

    def arm(self) -> None:
        """The whole way from a start to an open gate."""
        self.press()
        self.keeper.finish()
        self.permit()
        self.turn_key()
        self.keeper.finish()
        self.core[CoreWord.MODE] = Mode.NORMAL
        self.read()


@pytest.mark.safety("S1.24")
def test_every_start_is_shut() -> None:
    """SAFETY 1: a restarted guard of the same boot is shut too, one epoch further."""
    box = Box(Reason.NOT_ARMED)
    box.arm()
    assert box.guard.is_open()
    before = box.word(GuardWord.STATE)
    box.guard.start(Reason.NOT_ARMED, box.now_ns)
    assert not box.guard.is_open()
    assert box.word(GuardWord.STATE) == before + 1


@pytest.mark.safety("S5.8")
def test_arming_needs_proof_permit_and_a_durable_record() -> None:
    """SAFETY 6: and the words are written only after the disk has answered."""
    box = Box()
    box.press()
    box.permit()
    box.turn_key()
    assert not box.guard.is_open(), "record not durable yet"
    box.keeper.finish()
    box.read()
    assert box.guard.is_open()
    assert box.word(GuardWord.REASON) == Reason.NONE
    assert box.word(GuardWord.COMPLEMENT) == box.word(GuardWord.STATE) ^ WORD_MASK
    assert box.word(GuardWord.ARM_OUTCOME) == ArmOutcome.ARMED


@pytest.mark.safety("S6.4")
def test_without_the_proof_test_nothing_arms() -> None:
    """A shorted button looks healthy for ever otherwise."""
    box = Box()
    box.permit()
    box.turn_key()
    box.keeper.finish()
    box.read()
    assert not box.guard.is_open()
    assert box.word(GuardWord.ARM_OUTCOME) == ArmOutcome.NO_PROOF


@pytest.mark.safety("S6.5")
def test_without_the_cores_permit_a_press_is_only_a_step() -> None:
    """The core decides about modes; the guard only counts."""
    box = Box()
    box.press()
    box.turn_key()
    assert not box.guard.is_open()
    assert box.word(GuardWord.ARM_OUTCOME) == ArmOutcome.STEP
    assert box.word(GuardWord.ARM_PRESSES) == 1


def test_a_permit_of_an_earlier_trip_does_not_arm() -> None:
    """The permit names the epoch it was given for."""
    box = Box()
    box.press()
    box.permit()
    box.press()
    box.turn_key()
    box.keeper.finish()
    box.read()
    assert not box.guard.is_open()


@pytest.mark.safety("S5.8")
def test_a_press_while_the_record_is_being_stored_wins() -> None:
    """The record may become durable afterwards; the trip's removal is queued behind it."""
    box = Box()
    box.press()
    box.permit()
    box.turn_key()
    assert any(isinstance(job, ArmedRecord) for job in box.keeper.jobs)
    box.press()
    box.keeper.finish()
    box.read()
    assert not box.guard.is_open()
    assert box.keeper.stored_trip == box.word(GuardWord.STATE)


@pytest.mark.safety("S8.5")
def test_a_failed_disk_refuses_to_arm() -> None:
    """After a failed fsync nothing arms until the machine restarts (SAFETY 8)."""
    box = Box()
    box.press()
    box.permit()
    box.keeper.broken = "fsync: EIO"
    box.turn_key()
    box.read()
    assert not box.guard.is_open()
    assert box.word(GuardWord.ARM_OUTCOME) == ArmOutcome.NOT_STORED


@pytest.mark.safety("S1.19")
def test_a_press_shuts_the_gate_in_the_same_pass() -> None:
    """One aligned word, before disk, lights and log."""
    box = Box()
    box.arm()
    opened_ns = box.now_ns + 1
    box.read(HEALTHY._replace(button=Level.OPEN), (Edge("button", Level.OPEN, opened_ns),))
    assert not box.guard.is_open()
    assert box.word(GuardWord.REASON) == Reason.KILL_BUTTON
    assert box.word(GuardWord.TRIP_NS) == opened_ns
    assert box.word(GuardWord.LIQUIDATE) != box.word(GuardWord.STATE)
    box.read(HEALTHY._replace(button=Level.OPEN))
    assert box.word(GuardWord.LIQUIDATE) == box.word(GuardWord.STATE)


@pytest.mark.safety("S1.21")
def test_a_glitch_trips_and_does_not_liquidate() -> None:
    """The edge is enough for the gate, never for selling."""
    box = Box()
    box.arm()
    box.read(HEALTHY, (Edge("button", Level.OPEN, box.now_ns), Edge("button", Level.CLOSED, box.now_ns)))
    for _ in range(20):
        box.read()
    assert not box.guard.is_open()
    assert box.word(GuardWord.LIQUIDATE) != box.word(GuardWord.STATE)


@pytest.mark.safety("S1.3")
def test_the_first_reason_wins_and_later_ones_are_recorded() -> None:
    """SAFETY 1; each later trip voids permits by moving the epoch."""
    box = Box()
    box.arm()
    box.guard.trip(Reason.TAMPER, box.now_ns)
    before = box.word(GuardWord.STATE)
    box.press()
    assert box.word(GuardWord.REASON) == Reason.TAMPER
    assert box.word(GuardWord.LATER) == 1 << Reason.KILL_BUTTON
    assert box.word(GuardWord.STATE) == before + 1


@pytest.mark.safety("S3.10")
@pytest.mark.parametrize(
    ("reason", "adopted"), [(Reason.DRAWDOWN, Reason.DRAWDOWN), (0, Reason.INVARIANT), (99, Reason.INVARIANT)]
)
def test_a_trip_of_the_core_is_adopted_once(reason: int, adopted: Reason) -> None:
    """An unknown number is a bug of the core, and trips as one."""
    box = Box()
    box.arm()
    box.core[CoreWord.REQUEST_REASON] = reason
    box.core[CoreWord.REQUEST] = box.core[CoreWord.REQUEST] + 1
    box.read()
    state = box.word(GuardWord.STATE)
    box.read()
    assert box.word(GuardWord.REASON) == adopted
    assert box.word(GuardWord.STATE) == state
    assert box.word(GuardWord.ADOPTED) == box.core[CoreWord.REQUEST]


def test_unreadable_lines_trip_once_and_show_the_fault() -> None:
    """UNKNOWN is tripped; the lights say fault as long as it lasts."""
    box = Box()
    box.arm()
    unknown = Levels(Level.UNKNOWN, Level.UNKNOWN, Level.UNKNOWN)
    box.read(unknown)
    state = box.word(GuardWord.STATE)
    box.read(unknown)
    assert box.word(GuardWord.REASON) == Reason.GUARD_LOST
    assert box.word(GuardWord.STATE) == state
    assert box.guard.lights == LIGHTS[Stands.FAULT]


@pytest.mark.parametrize("reaction", ["alert", "paused", "emergency"])
def test_every_opening_of_the_case_is_counted(reaction: str) -> None:
    """Also one that is over before anybody looks, and also where it is only an alert."""
    box = Box(tamper=reaction)
    for openings in (1, 2, 3):
        box.read(HEALTHY._replace(tamper=Level.OPEN))
        box.read(HEALTHY._replace(tamper=Level.OPEN))
        assert box.word(GuardWord.TAMPERS) == openings
        box.read(HEALTHY)
    assert box.word(GuardWord.TAMPERS) == 3


@pytest.mark.safety("HW-06")
@pytest.mark.parametrize(("reaction", "trips"), [("alert", False), ("paused", True), ("emergency", True)])
def test_tamper_reaction(reaction: str, trips: bool) -> None:
    """By configuration: alert only, or a trip."""
    box = Box(tamper=reaction)
    box.arm()
    box.read(HEALTHY._replace(tamper=Level.OPEN))
    assert box.guard.is_open() is not trips


@pytest.mark.safety("HW-06")
def test_an_open_case_at_start_counts() -> None:
    """The level is read, no edge is needed."""
    box = Box(Reason.NOT_ARMED)
    box.guard = Guard(box.page, box.core, box.keeper, ("boot", "board", "card"), BOOT)
    box.guard.start(Reason.NOT_ARMED, box.now_ns)
    box.read(HEALTHY._replace(tamper=Level.OPEN))
    assert box.word(GuardWord.REASON) == Reason.TAMPER


@pytest.mark.safety("S5.7")
def test_lights_tell_stored_from_not_yet_stored() -> None:
    """SAFETY 5 and 11: a power cut before "stored" is shown may lose the reason, never the latch."""
    box = Box()
    box.arm()
    box.core[CoreWord.MODE] = Mode.EMERGENCY
    box.press()
    assert box.guard.lights == LIGHTS[Stands.TRIPPING]
    box.keeper.finish()
    box.read()
    assert box.guard.lights == LIGHTS[Stands.EMERGENCY]


@pytest.mark.safety("S11.6")
def test_a_core_that_stopped_is_shown_within_one_second() -> None:
    """A dead core never leaves a green light behind (ARCHITECTURE)."""
    box = Box()
    box.arm()
    assert box.guard.lights == LIGHTS[Stands.NORMAL]
    box.core[CoreWord.HEARTBEAT_NS] = box.now_ns
    assert box.guard.stands(HEALTHY, box.now_ns + CORE_LOST_NS) is Stands.NORMAL
    assert box.guard.stands(HEALTHY, box.now_ns + CORE_LOST_NS + 1) is Stands.CORE_LOST


@pytest.mark.safety("S3.3")
def test_a_page_of_another_boot_counts_as_no_core() -> None:
    """What another boot left behind says nothing."""
    box = Box()
    box.arm()
    box.core[CoreWord.BOOT_LOW] = 99
    box.guard.loop((), HEALTHY, box.now_ns)
    assert box.guard.lights == LIGHTS[Stands.CORE_LOST]


@pytest.mark.parametrize(
    ("mode", "holds", "stands"),
    [
        (Mode.NORMAL, 0, Stands.NORMAL),
        (Mode.NORMAL, 1, Stands.HOLD),
        (Mode.PAUSED, 0, Stands.PAUSED),
        (Mode.REDUCED, 0, Stands.REDUCED),
        (Mode.EMERGENCY, 0, Stands.EMERGENCY),
    ],
)
def test_lights_follow_mode_and_holds(mode: Mode, holds: int, stands: Stands) -> None:
    """The table of `lights`, without a trip."""
    box = Box()
    box.arm()
    box.core[CoreWord.MODE], box.core[CoreWord.HOLDS] = mode, holds
    assert box.guard.stands(HEALTHY, box.now_ns) is stands


@pytest.mark.safety("S11.5")
def test_lights_rows_differ_without_colour() -> None:
    """Position and rhythm alone tell every row apart."""
    assert len(set(LIGHTS.values())) == len(LIGHTS)
    assert set(LIGHTS) == set(Stands)
