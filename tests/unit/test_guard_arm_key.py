"""The arm key's table: only open ≥ 1 s, closed 3–10 s, release is an arm press (SAFETY 6)."""

from __future__ import annotations

import pytest

from hardware.arm_key import HELD_MAX_NS, HELD_MIN_NS, OPEN_FIRST_NS, ArmKey
from hardware.board import Level

STEP_NS = 10_000_000


class Bench:
    """Feeds a key with readings every 10 ms."""

    def __init__(self) -> None:
        self.key = ArmKey()
        self.now_ns = 0
        self.presses = 0

    def hold(self, level: Level, duration_ns: int) -> None:
        """Reads `level` from now until `duration_ns` have passed; the first reading is at now."""
        end_ns = self.now_ns + duration_ns
        while self.now_ns < end_ns:
            self.presses += self.key.read(level, self.now_ns)
            self.now_ns += STEP_NS


@pytest.mark.safety("S6.2")
@pytest.mark.parametrize(
    ("open_ns", "closed_ns", "presses"),
    [
        (OPEN_FIRST_NS + 5 * STEP_NS, HELD_MIN_NS, 1),
        (OPEN_FIRST_NS + 5 * STEP_NS, HELD_MIN_NS - STEP_NS, 0),
        (OPEN_FIRST_NS + 5 * STEP_NS, HELD_MAX_NS, 1),
        (OPEN_FIRST_NS + 5 * STEP_NS, HELD_MAX_NS + 5 * STEP_NS, 0),
        (OPEN_FIRST_NS - 5 * STEP_NS, HELD_MIN_NS + STEP_NS, 0),
    ],
)
def test_timing_of_an_arm_press(open_ns: int, closed_ns: int, presses: int) -> None:
    """Each limit is the last allowed value (C24)."""
    bench = Bench()
    bench.hold(Level.OPEN, open_ns)
    bench.hold(Level.CLOSED, closed_ns)
    bench.hold(Level.OPEN, OPEN_FIRST_NS)
    assert bench.presses == presses


@pytest.mark.safety("S6.2")
def test_a_key_found_turned_at_start_never_arms() -> None:
    """A new close is needed: a stuck key is not a wish."""
    bench = Bench()
    bench.hold(Level.CLOSED, HELD_MIN_NS + STEP_NS)
    bench.hold(Level.OPEN, OPEN_FIRST_NS // 2)
    assert bench.presses == 0


def test_bounce_does_not_break_a_press() -> None:
    """Readings shorter than 30 ms do not count as the key's level."""
    bench = Bench()
    bench.hold(Level.OPEN, OPEN_FIRST_NS + 5 * STEP_NS)
    bench.hold(Level.CLOSED, HELD_MIN_NS // 2)
    bench.hold(Level.OPEN, 2 * STEP_NS)
    bench.hold(Level.CLOSED, HELD_MIN_NS)
    bench.hold(Level.OPEN, OPEN_FIRST_NS)
    assert bench.presses == 1


@pytest.mark.safety("S6.7")
def test_a_button_press_restarts_the_sequence() -> None:
    """Any press of the kill button makes the key start again from open."""
    bench = Bench()
    bench.hold(Level.OPEN, OPEN_FIRST_NS + 5 * STEP_NS)
    bench.hold(Level.CLOSED, HELD_MIN_NS + STEP_NS)
    bench.key.restart()
    bench.hold(Level.OPEN, OPEN_FIRST_NS)
    assert bench.presses == 0


def test_an_unreadable_key_blocks() -> None:
    """UNKNOWN never arms, whatever came before."""
    bench = Bench()
    bench.hold(Level.OPEN, OPEN_FIRST_NS + 5 * STEP_NS)
    bench.hold(Level.CLOSED, HELD_MIN_NS)
    bench.hold(Level.UNKNOWN, STEP_NS)
    bench.hold(Level.OPEN, OPEN_FIRST_NS)
    assert bench.presses == 0


def test_two_presses_in_a_row_count_twice() -> None:
    """One step per arm press: EMERGENCY to NORMAL needs several."""
    bench = Bench()
    for _ in range(2):
        bench.hold(Level.OPEN, OPEN_FIRST_NS + 5 * STEP_NS)
        bench.hold(Level.CLOSED, HELD_MIN_NS + STEP_NS)
    bench.hold(Level.OPEN, OPEN_FIRST_NS)
    assert bench.presses == 2
