"""What the guard's loop makes of a verified command, and of the glitch filter: on its page, pass by pass."""

from __future__ import annotations

import pytest

from hardware.board import Edge, Level, Levels
from hardware.guard import PRESS_APART_NS, Guard
from hardware.operator_command import (
    ARM_STEP,
    RESET_PEAK,
    START_SOURCE,
    TAKEN_WITHIN_NS,
    ArmCommand,
    fingerprint,
)
from hardware.pages import ArmOutcome, ArmSource, GuardWord, Reason
from tests.unit.test_guard_machine import BOOT, HEALTHY, MS, Box

OPERATOR = 0xC0FFEE


class Console(Box):
    """A box whose operator's commands have all been verified already."""

    def __init__(self, glitch_filter_ns: int = 0) -> None:
        super().__init__()
        self.guard = Guard(
            self.page,
            self.core,
            self.keeper,
            ("boot", "board", "card"),
            BOOT,
            glitch_filter_ns=glitch_filter_ns,
        )
        self.guard.start(Reason.NEVER_ARMED, self.now_ns)
        self.now_ns += PRESS_APART_NS // MS * MS
        self.read()

    def command(self, nonce: str = "n", purpose: str = ARM_STEP) -> ArmCommand:
        """As the operator's thread makes it now."""
        return ArmCommand(self.guard.moment(), self.now_ns + TAKEN_WITHIN_NS, OPERATOR, nonce, purpose)

    def send(self, nonce: str = "n", purpose: str = ARM_STEP) -> str:
        """A command, one pass; its fate."""
        self.guard.inbox.put(self.command(nonce, purpose))
        self.read()
        return self.guard.inbox.fate(nonce)

    def who(self) -> tuple[int, int]:
        """Source and operator key of the last arm press."""
        return self.word(GuardWord.ARM_SOURCE), self.word(GuardWord.ARM_OPERATOR)


def test_a_command_counts_as_one_step() -> None:
    """Without the core's permit it is a step, and the page says who made it."""
    box = Console()
    box.press()
    assert box.send() == "STEP"
    assert box.word(GuardWord.ARM_PRESSES) == 1
    assert box.word(GuardWord.ARM_OUTCOME) == ArmOutcome.STEP
    assert box.who() == (ArmSource.OPERATOR, OPERATOR)
    for _ in range(200):
        box.read()
    assert box.word(GuardWord.ARM_PRESSES) == 1, "one step for one command"


def test_a_command_arms_as_the_key_does() -> None:
    """Proof test, permit naming this epoch, and the words only after the disk has answered (SAFETY 6)."""
    box = Console()
    box.press()
    box.keeper.finish()
    box.permit()
    assert box.send() == "", "the record is not durable yet"
    assert not box.guard.is_open()
    box.keeper.finish()
    box.read()
    assert box.guard.is_open()
    assert box.guard.inbox.fate("n") == "ARMED"
    assert box.who() == (ArmSource.OPERATOR, OPERATOR)


@pytest.mark.safety("S6.8")
@pytest.mark.parametrize("proven", [True, False])
def test_a_reset_of_the_peak_is_counted_and_arms_nothing(proven: bool) -> None:
    """Even proven and permitted: no record, no word of the latch, no proof used up or given."""
    box = Console()
    if proven:
        box.press()
    box.keeper.finish()
    box.permit()
    kept = [box.word(word) for word in (GuardWord.STATE, GuardWord.ARMED, GuardWord.PROVEN)]
    assert box.send(purpose=RESET_PEAK) == "PEAK_RESET"
    box.keeper.finish()
    box.read(after_ms=1_100)
    assert not box.guard.is_open()
    assert [box.word(word) for word in (GuardWord.STATE, GuardWord.ARMED, GuardWord.PROVEN)] == kept
    assert box.word(GuardWord.ARM_PRESSES) == 1
    assert box.word(GuardWord.ARM_OUTCOME) == ArmOutcome.PEAK_RESET
    assert box.who() == (ArmSource.OPERATOR, OPERATOR)


@pytest.mark.safety("S6.8")
def test_a_start_of_a_source_is_counted_with_whom_it_is_about_and_arms_nothing() -> None:
    """The core finds the name by its fingerprint; the next arm press is about nobody."""
    box = Console()
    box.press()
    box.keeper.finish()
    box.permit()
    box.guard.inbox.put(box.command(purpose=START_SOURCE)._replace(subject=fingerprint(b"trend")))
    box.read()
    assert box.guard.inbox.fate("n") == "SOURCE_START"
    box.keeper.finish()
    box.read(after_ms=1_100)
    assert not box.guard.is_open()
    assert box.word(GuardWord.ARM_OUTCOME) == ArmOutcome.SOURCE_START
    assert box.word(GuardWord.ARM_SUBJECT) == fingerprint(b"trend")
    assert box.who() == (ArmSource.OPERATOR, OPERATOR)
    box.turn_key()
    box.keeper.finish()
    box.read()
    assert (box.word(GuardWord.ARM_OUTCOME), box.word(GuardWord.ARM_SUBJECT)) == (ArmOutcome.ARMED, 0)


@pytest.mark.safety("S6.8")
def test_a_press_in_the_same_pass_voids_a_reset() -> None:
    """As it voids an arm press."""
    box = Console()
    box.press()
    box.guard.inbox.put(box.command(purpose=RESET_PEAK))
    box.read(HEALTHY._replace(button=Level.OPEN), (Edge("button", Level.OPEN, box.now_ns),))
    assert box.guard.inbox.fate("n") == "PRESSED"
    assert box.word(GuardWord.ARM_OUTCOME) == ArmOutcome.NONE


def test_the_key_leaves_no_operator_on_the_page() -> None:
    """After a command, a turn of the key is the key's."""
    box = Console()
    box.press()
    box.send()
    box.turn_key()
    assert box.word(GuardWord.ARM_PRESSES) == 2
    assert box.who() == (ArmSource.KEY, 0)


def test_without_the_proof_test_a_command_arms_nothing() -> None:
    """A shorted button looks healthy for ever otherwise."""
    box = Console()
    box.permit()
    assert box.send() == "NO_PROOF"
    box.keeper.finish()
    box.read()
    assert not box.guard.is_open()


def test_a_permit_of_another_epoch_is_none() -> None:
    """It was given for an earlier trip."""
    box = Console()
    box.press()
    box.permit()
    box.press()
    assert box.send() == "STEP"
    assert not box.guard.is_open()


def test_a_failed_disk_refuses_a_command_too() -> None:
    """SAFETY 8."""
    box = Console()
    box.press()
    box.permit()
    box.keeper.broken = "fsync: EIO"
    assert box.send() == "NOT_STORED"


def test_a_press_in_the_same_pass_wins() -> None:
    """Refusal beats enable: the button is read first, and the press voids the command."""
    box = Console()
    box.press()
    box.permit()
    box.guard.inbox.put(box.command())
    box.read(HEALTHY._replace(button=Level.OPEN), (Edge("button", Level.OPEN, box.now_ns),))
    assert box.guard.inbox.fate("n") == "PRESSED"
    assert box.word(GuardWord.ARM_PRESSES) == 0


def test_another_trip_voids_a_command() -> None:
    """It was signed for the epoch before."""
    box = Console()
    box.press()
    box.guard.inbox.put(box.command())
    box.guard.trip(Reason.DRAWDOWN, box.now_ns)
    box.read()
    assert box.guard.inbox.fate("n") == "OTHER_EPOCH"
    assert box.word(GuardWord.ARM_PRESSES) == 0


@pytest.mark.parametrize(("reason", "fate"), [(Reason.KILL_BUTTON, "PRESSED"), (Reason.CLOCK, "OTHER_EPOCH")])
def test_a_trip_while_the_record_is_stored_wins(reason: Reason, fate: str) -> None:
    """The person at the console hears that nothing was armed."""
    box = Console()
    box.press()
    box.permit()
    box.send()
    box.guard.trip(reason, box.now_ns)
    box.keeper.finish()
    box.read()
    assert not box.guard.is_open()
    assert box.guard.inbox.fate("n") == fate
    box.press()
    box.permit()
    box.send("later")
    box.keeper.finish()
    box.read()
    assert box.guard.inbox.fate("later") == "ARMED", "the way is free for the next one"


@pytest.mark.parametrize(("late_ns", "fate"), [(TAKEN_WITHIN_NS, "STEP"), (TAKEN_WITHIN_NS + MS, "EXPIRED")])
def test_a_command_does_not_outlive_a_hung_driver(late_ns: int, fate: str) -> None:
    """Nobody arms minutes later, when the driver comes back."""
    box = Console()
    box.press()
    box.guard.inbox.put(box.command())
    box.read(after_ms=late_ns // MS)
    assert box.guard.inbox.fate("n") == fate


def test_a_command_waits_until_the_core_has_seen_the_press_before() -> None:
    """The core takes one step for each count it sees: two within its poll would be one in the log."""
    box = Console()
    box.press()
    box.send("first")
    box.read(after_ms=900)
    assert box.send("second") == ""
    box.read(after_ms=60)
    assert box.guard.inbox.fate("second") == "", "20 ms short of a second"
    box.read()
    assert box.guard.inbox.fate("second") == "STEP"


def test_a_command_during_an_arming_is_refused() -> None:
    """The press before it is still on its way to the disk."""
    box = Console()
    box.press()
    box.permit()
    box.send("first")
    assert box.send("second") == "BUSY"
    box.keeper.finish()
    box.read()
    assert box.word(GuardWord.ARM_PRESSES) == 1
    assert box.guard.inbox.fate("first") == "ARMED"


def test_a_line_that_cannot_be_read_is_proven_no_more() -> None:
    """The trip for it stands already, so the epoch does not move; the proof test has to be made again."""
    box = Console()
    box.read(HEALTHY._replace(button=Level.UNKNOWN))
    box.press()
    box.permit()
    box.read(HEALTHY._replace(button=Level.UNKNOWN))
    assert box.send() == "NO_PROOF"


def test_a_restarted_guard_forgets_who_armed() -> None:
    """Counts and names are those of this guard's run."""
    box = Console()
    box.press()
    box.send()
    box.guard.start(Reason.NOT_ARMED, box.now_ns)
    assert box.who() == (ArmSource.NONE, 0)
    assert box.word(GuardWord.ARM_OUTCOME) == ArmOutcome.NONE


def _opened(box: Console, length_ms: int) -> None:
    start_ns = box.now_ns + MS
    edges = (Edge("button", Level.OPEN, start_ns), Edge("button", Level.CLOSED, start_ns + length_ms * MS))
    box.read(HEALTHY, edges)


@pytest.mark.parametrize(("filter_ms", "length_ms", "trips"), [(0, 0, True), (2, 1, False), (2, 2, True)])
def test_the_filter_decides_about_the_first_edge(filter_ms: int, length_ms: int, trips: bool) -> None:
    """Off: any edge. On: openings as long as the filter. What was ignored is counted on the page."""
    box = Console(filter_ms * MS)
    box.arm()
    _opened(box, length_ms)
    assert box.guard.is_open() is not trips
    assert box.word(GuardWord.GLITCHES) == (not trips)
    assert box.word(GuardWord.REASON) == (Reason.KILL_BUTTON if trips else Reason.NONE)


def test_the_loop_wakes_when_the_filter_has_passed() -> None:
    """Not 20 ms later; and the trip's time is that of the edge."""
    box = Console(2 * MS)
    box.arm()
    opened_ns = box.now_ns + MS
    held = HEALTHY._replace(button=Level.OPEN)
    box.read(held, (Edge("button", Level.OPEN, opened_ns),), after_ms=2)
    assert box.guard.is_open()
    assert box.guard.wait_s(0.02, box.now_ns) == pytest.approx(0.001)
    assert box.guard.wait_s(0.02, box.now_ns + 5 * MS) == 0
    box.read(held, after_ms=1)
    assert not box.guard.is_open()
    assert box.word(GuardWord.TRIP_NS) == opened_ns
    assert box.guard.wait_s(0.02, box.now_ns) == 0.02
    box.read(held, after_ms=20)
    assert box.word(GuardWord.LIQUIDATE) == box.word(GuardWord.STATE)


def test_nobody_arms_while_a_press_may_be_beginning() -> None:
    """The filter's milliseconds belong to the button: the command waits, and the press then voids it."""
    box = Console(2 * MS)
    box.press()
    box.permit()
    box.guard.inbox.put(box.command())
    held = HEALTHY._replace(button=Level.OPEN)
    box.keeper.jobs.clear()
    box.read(held, (Edge("button", Level.OPEN, box.now_ns + MS),), after_ms=2)
    assert box.guard.inbox.fate("n") == ""
    assert box.keeper.jobs == [], "nothing is being stored"
    assert box.word(GuardWord.LEVELS) & 1, "the page shows the line as it is"
    box.read(held, after_ms=1)
    assert box.guard.inbox.fate("n") == "PRESSED"


def test_the_filter_does_not_cover_an_unreadable_line() -> None:
    """UNKNOWN while open may begin: the press and the guard's own trip, both."""
    box = Console(2 * MS)
    box.arm()
    opened = Edge("button", Level.OPEN, box.now_ns + MS)
    box.read(HEALTHY._replace(button=Level.OPEN), (opened,), after_ms=2)
    box.read(Levels(Level.UNKNOWN, Level.UNKNOWN, Level.UNKNOWN), after_ms=1)
    assert box.word(GuardWord.REASON) == Reason.KILL_BUTTON
    assert box.word(GuardWord.LATER) == 1 << Reason.GUARD_LOST
