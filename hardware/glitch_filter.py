"""Optional filter on the first edge of the kill button: an opening shorter than the filter does not trip.

Off (0) by default, and then the first edge trips. Whatever it is set to, every press shuts the gate later by
that much, counted from the last bounce. It stands between the line and the button's own table
(`kill_switch`), and only while that table is in CLOSED: a button that has tripped is seen as it is.

| what is seen            | state SHUT | state OPENING                                          |
|-------------------------|------------|--------------------------------------------------------|
| edge: opened, or of unknown direction | OPENING | OPENING, the earlier start stays           |
| edge: closed            | SHUT       | SHUT and a glitch if shorter by its edges, else trip   |
| level: open             | OPENING    | OPENING                                                |
| level: closed           | SHUT       | SHUT and a glitch if shorter until now, else trip      |
| level: unknown          | passed on  | trip                                                   |
| the filter has passed   |            | trip                                                   |

Only what is known to be closed ends an opening: its length is taken from the kernel's times of its edges, or
to the present where the closing edge is missing. A line that cannot be read is never taken for closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hardware.board import Edge, Level

MAX_NS = 5_000_000


class Seen(NamedTuple):
    """What the button's table gets. opened_ns: CLOCK_MONOTONIC of an opening that counts; 0 for none."""

    level: Level
    opened_ns: int


class GlitchFilter:
    """One button. `read` is called on every loop, before its `KillSwitch`."""

    def __init__(self, filter_ns: int) -> None:
        self.filter_ns = filter_ns
        self.glitches = 0
        self.opening_ns = 0  # start of an opening that may still be a glitch; 0 in state SHUT

    def due_ns(self) -> int:
        """When the present opening counts; 0 while there is none. The loop wakes then."""
        return self.opening_ns + self.filter_ns if self.opening_ns else 0

    def read(self, level: Level, edges: Sequence[Edge], now_ns: int, *, shut: bool) -> Seen:
        """Takes the button's level, its edges since the last call, and whether its table is in CLOSED.

        `now_ns` must not be older than the reading of `level`.
        """
        if not self.filter_ns or not shut:
            self.opening_ns = 0
            opened = (max(1, edge.at_ns) for edge in edges if edge.level is not Level.CLOSED)
            return Seen(level, next(opened, 0))
        counted_ns = self._edges(edges) or self._level(level, now_ns)
        if counted_ns:
            self.opening_ns = 0
            return Seen(level, counted_ns)
        return Seen(level if level is Level.UNKNOWN else Level.CLOSED, 0)

    def _edges(self, edges: Sequence[Edge]) -> int:
        for edge in edges:
            if edge.level is not Level.CLOSED:
                at_ns = max(1, edge.at_ns)  # whatever a driver says of the time, it opened
                self.opening_ns = min(self.opening_ns or at_ns, at_ns)
            elif self.opening_ns:
                if edge.at_ns - self.opening_ns >= self.filter_ns:
                    return self.opening_ns
                self._glitch()
        return 0

    def _level(self, level: Level, now_ns: int) -> int:
        if level is Level.OPEN:
            self.opening_ns = self.opening_ns or now_ns
        if not self.opening_ns:
            return 0
        if level is Level.UNKNOWN or now_ns - self.opening_ns >= self.filter_ns:
            return self.opening_ns
        if level is Level.CLOSED:
            self._glitch()
        return 0

    def _glitch(self) -> None:
        self.glitches += 1
        self.opening_ns = 0
