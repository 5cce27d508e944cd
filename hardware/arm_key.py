"""The arm key as a literal table: an arm press is open ≥ 1 s, a new close of 3–10 s, release (SAFETY 6).

| state   | key open                              | key closed                  |
|---------|---------------------------------------|-----------------------------|
| BLOCKED | WAITING                               | BLOCKED                     |
| WAITING | READY after 1 s                       | BLOCKED                     |
| READY   | READY                                 | HELD                        |
| HELD    | arm press if 3–10 s, then WAITING     | BLOCKED after 10 s          |

BLOCKED is also the start: a key found turned at power-on, or stuck, never arms. A level counts once it
has been stable for 30 ms; UNKNOWN blocks.
"""

from __future__ import annotations

from enum import Enum

from hardware.board import Level

STABLE_NS = 30_000_000
OPEN_FIRST_NS = 1_000_000_000
HELD_MIN_NS = 3_000_000_000
HELD_MAX_NS = 10_000_000_000


class KeyState(Enum):
    """Where the sequence is."""

    BLOCKED = "blocked"
    WAITING = "waiting"
    READY = "ready"
    HELD = "held"


class ArmKey:
    """One key switch. `read` is called on every loop, with CLOCK_MONOTONIC nanoseconds."""

    def __init__(self) -> None:
        self.state = KeyState.BLOCKED
        self._since_ns = 0
        self._level = Level.UNKNOWN
        self._candidate = Level.UNKNOWN
        self._candidate_ns = 0

    def restart(self) -> None:
        """Any press of the kill button starts the sequence again."""
        self.state = KeyState.BLOCKED

    def read(self, level: Level, now_ns: int) -> bool:
        """Takes a reading; True exactly once per completed arm press."""
        stable = self._debounced(level, now_ns)
        if stable is Level.UNKNOWN:
            self.state = KeyState.BLOCKED
            return False
        if stable is Level.OPEN:
            return self._open(now_ns)
        if self.state is KeyState.READY:
            self.state, self._since_ns = KeyState.HELD, self._candidate_ns
        elif self.state is KeyState.WAITING or self._held_too_long(now_ns):
            self.state = KeyState.BLOCKED
        return False

    def _open(self, now_ns: int) -> bool:
        if self.state is KeyState.BLOCKED:
            self.state, self._since_ns = KeyState.WAITING, now_ns
        elif self.state is KeyState.WAITING and now_ns - self._since_ns >= OPEN_FIRST_NS:
            self.state = KeyState.READY
        elif self.state is KeyState.HELD:
            held = self._candidate_ns - self._since_ns
            self.state, self._since_ns = KeyState.WAITING, now_ns
            return HELD_MIN_NS <= held <= HELD_MAX_NS
        return False

    def _held_too_long(self, now_ns: int) -> bool:
        opening = self._candidate is Level.OPEN  # released, but not yet for 30 ms: the release decides
        return not opening and now_ns - self._since_ns > HELD_MAX_NS

    def _debounced(self, level: Level, now_ns: int) -> Level:
        if level is not self._candidate:
            self._candidate, self._candidate_ns = level, now_ns
        if level is Level.UNKNOWN or now_ns - self._candidate_ns >= STABLE_NS:
            self._level = level
        return self._level
