"""When the log writer seals and prunes: with the core's leave, and a small share of the time.

The leave ends by itself: a core that hangs, or trips and cannot say so, has nothing pruned for long. Between
two steps the writer rests many times as long as the step took, so that an append seldom finds it at work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator

from appliance.storage.log_retention import Retention
from appliance.storage.log_wire import Retain, Retained

LEAVE_NS = 30_000_000_000
REST, REST_IN_HURRY = 19, 4
"""Times a step's length: a twentieth of the time, or a fifth while the disk runs full."""

PAUSE_NS = 60_000_000_000
"""After a pass there is nothing to do for a while: a segment takes hours to fill."""


class Upkeep:
    """Paces one `Retention`. clock: CLOCK_MONOTONIC, ns."""

    def __init__(self, retention: Retention, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._retention = retention
        self._clock = clock
        self._pass: Generator[None, None, None] | None = None
        self._before_ns = 0
        self._until_ns = self._next_ns = clock()
        self._rest = REST
        self._told = (retention.sealed, retention.pruned, "")

    def give_leave(self, leave: Retain) -> None:
        """A new one replaces the last; one that is taken back gives up the pass between two steps."""
        now_ns = self._clock()
        self._rest = REST_IN_HURRY if leave.hurry else REST
        if leave.before_ns <= 0:
            self._until_ns = now_ns
            self.close()
            return
        self._before_ns = leave.before_ns
        self._until_ns = now_ns + LEAVE_NS

    def patience_ns(self) -> list[int]:
        """Until the next step may be made; empty without leave."""
        now_ns = self._clock()
        return [max(0, self._next_ns - now_ns)] if now_ns < self._until_ns else []

    def due(self) -> bool:
        """A step may be made now."""
        now_ns = self._clock()
        if now_ns >= self._until_ns:
            self.close()
            return False
        return now_ns >= self._next_ns

    def step(self) -> Retained | None:
        """One step; what to tell the core at the end of a pass, if it is news. Raises StoreError."""
        begun_ns = self._clock()
        if self._pass is None:
            self._pass = self._retention.steps(self._before_ns)
        try:
            next(self._pass)
        except StopIteration:
            self._pass = None
            self._next_ns = self._clock() + PAUSE_NS
            return self._news()
        now_ns = self._clock()
        self._next_ns = now_ns + self._rest * (now_ns - begun_ns)
        return None

    def close(self) -> None:
        """Gives up the pass, if there is one: what that leaves is what a crash would."""
        if self._pass is not None:
            self._pass.close()
            self._pass = None

    def _news(self) -> Retained | None:
        found = (self._retention.sealed, self._retention.pruned, self._retention.problem)
        if found == self._told:
            return None
        self._told = found
        return Retained(*found)
