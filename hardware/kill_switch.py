"""The kill button as a literal table: the first edge trips, only release is debounced (SAFETY 1, C02).

| state     | line reads open     | line reads closed                     |
|-----------|---------------------|---------------------------------------|
| UNSEEN    | OPEN, trip          | CLOSED                                |
| CLOSED    | OPEN, trip          | CLOSED; trip if an edge said it opened |
| OPEN      | OPEN, may liquidate | RELEASING                             |
| RELEASING | OPEN (a bounce)     | CLOSED after 50 ms; proven if it was read open |

An edge alone trips, because nothing may be slower; it proves nothing. A contact welded shut picks up noise
too, and only a level that was read open, and then closed, shows that the button can open its line.
A line that reads UNKNOWN is nobody's press: the guard trips for it under its own reason, no state here may
count it as closed, and it never lets liquidation start (one broken driver must not sell the book).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from hardware.board import Level

RELEASE_NS = 50_000_000
LIQUIDATE_NS = 20_000_000


class SwitchState(Enum):
    """Where the button is."""

    UNSEEN = "unseen"
    CLOSED = "closed"
    OPEN = "open"
    RELEASING = "releasing"


@dataclass(frozen=True)
class SwitchOutcome:
    """What one reading means. liquidate: the line has read open for 20 ms. proven: opened and closed."""

    trip: bool = False
    liquidate: bool = False
    proven: bool = False


_NOTHING = SwitchOutcome()
_TRIP = SwitchOutcome(trip=True)
_PROVEN = SwitchOutcome(proven=True)
_LIQUIDATE = SwitchOutcome(liquidate=True)


class KillSwitch:
    """One button. `read` is called on every loop and edge, with CLOCK_MONOTONIC nanoseconds."""

    def __init__(self) -> None:
        self.state = SwitchState.UNSEEN
        self._since_ns = 0  # of the present reading: open in OPEN, closed in RELEASING
        self._read_open = False  # since the last trip of this button

    def read(self, level: Level, opened: bool, now_ns: int) -> SwitchOutcome:
        """Takes the level and whether an edge reported the line open since the last call."""
        if level is Level.CLOSED:
            return self._closed(opened, now_ns)
        if level is Level.UNKNOWN:
            return self._unknown(opened, now_ns)
        if self.state is SwitchState.OPEN:
            return _LIQUIDATE if now_ns - self._since_ns >= LIQUIDATE_NS else _NOTHING
        bounced = self.state is SwitchState.RELEASING
        self._read_open = True
        self.state, self._since_ns = SwitchState.OPEN, now_ns
        return _NOTHING if bounced else _TRIP

    def _unknown(self, opened: bool, now_ns: int) -> SwitchOutcome:
        if self.state in (SwitchState.OPEN, SwitchState.RELEASING):
            self.state, self._since_ns = SwitchState.OPEN, now_ns
            return _NOTHING
        self._read_open = False
        self.state = SwitchState.OPEN if opened else SwitchState.UNSEEN
        self._since_ns = now_ns
        return _TRIP if opened else _NOTHING

    def _closed(self, opened: bool, now_ns: int) -> SwitchOutcome:
        if self.state is SwitchState.UNSEEN and not opened:
            self.state = SwitchState.CLOSED
        elif self.state in (SwitchState.UNSEEN, SwitchState.CLOSED):
            if opened:
                self._read_open = False
                self.state, self._since_ns = SwitchState.RELEASING, now_ns
                return _TRIP
        elif self.state is SwitchState.OPEN or opened:
            self.state, self._since_ns = SwitchState.RELEASING, now_ns
        elif now_ns - self._since_ns >= RELEASE_NS:
            self.state = SwitchState.CLOSED
            return _PROVEN if self._read_open else _NOTHING
        return _NOTHING
