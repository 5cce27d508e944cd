"""When somebody else has to cancel: the core is stopped, hung or gone while the gate is shut (SAFETY 3).

| core's heartbeat | gate                       | cancel-only                                                |
|------------------|----------------------------|------------------------------------------------------------|
| ≤ 1 s old        | any                        | stands by                                                  |
| older            | shut, or the guard is gone | cancels until the venue lists no entry, and looks again    |
| older            | open                       | stands by; cancels after 30 s: nobody minds these orders   |

A trip moves the epoch; each epoch is swept from the beginning.
"""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

CORE_LOST_NS = 1_000_000_000
UNMINDED_NS = 30_000_000_000  # longer than a restart by the service manager takes, with its pauses
WINDOW_NS = 2_000_000_000  # validity window and margin: what was in flight has arrived or never will
AGAIN_NS = 250_000_000
CONFIRMED_AGAIN_NS = 5_000_000_000


class Gate(Enum):
    """What the guard's page says, as the last one to read it sees it."""

    OPEN = "open"
    SHUT = "shut"
    GUARD_GONE = "guard gone"


class Sighting(Struct, frozen=True):
    """Both pages at one moment. core_age_ns: None if no core has beaten in this boot."""

    gate: Gate
    epoch: int
    core_age_ns: int | None


class Watch:
    """One venue account. `why` is empty while it stands by; `due` says when to sweep."""

    def __init__(self) -> None:
        """Stands by."""
        self.why = ""
        self.confirmed = False
        self._epoch = -1
        self._since_ns = 0
        self._swept_ns = 0

    def look(self, seen: Sighting, now_ns: int) -> bool:
        """Takes a sighting (CLOCK_MONOTONIC); True if a sweep is due now."""
        why = _reason(seen)
        if not why:
            self.why, self.confirmed, self._epoch = "", False, -1
            return False
        if not self.why or seen.epoch != self._epoch:
            self.confirmed = False
            self._since_ns, self._swept_ns = now_ns, now_ns - CONFIRMED_AGAIN_NS
        self.why, self._epoch = why, seen.epoch
        pause_ns = CONFIRMED_AGAIN_NS if self.confirmed else AGAIN_NS
        return now_ns - self._swept_ns >= pause_ns

    def swept(self, left: int, now_ns: int) -> None:
        """A sweep ended with `left` entries still listed by the venue.

        Confirmed means that the window plus margin has passed since the beginning and nothing is left.
        """
        self._swept_ns = now_ns
        self.confirmed = left == 0 and now_ns - self._since_ns >= WINDOW_NS


def _reason(seen: Sighting) -> str:
    age_ns = seen.core_age_ns
    if age_ns is not None and age_ns <= CORE_LOST_NS:
        return ""
    if seen.gate is Gate.SHUT:
        return "the gate is shut and the core does not answer"
    if seen.gate is Gate.GUARD_GONE:
        return "neither guard nor core answers"
    if age_ns is None or age_ns > UNMINDED_NS:
        return "nobody has minded these orders for 30 s"
    return ""
