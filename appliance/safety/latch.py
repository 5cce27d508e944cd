"""Is the gate open? Both the guard's page and the core's own latch must say so (SAFETY 3).

Authority expires unless renewed: a page that is absent, torn, of another boot or without a fresh heartbeat
shuts the gate. Clearing needs both sides; tripping needs one.
"""

from __future__ import annotations

from appliance.domain.mode import TripReason
from appliance.domain.reasons import Reason
from appliance.ports import Clock, InterlockPage, PageReading

WORD_MASK = (1 << 64) - 1
HEARTBEAT_HOLD_NS = 250_000_000
HEARTBEAT_TRIP_NS = 2_000_000_000

_NO_REASON = TripReason.NONE  # Python 3.11 looks an enum member up in 90 ns, a global in 3


def refusal(page: PageReading, now_ns: int) -> Reason | None:
    """Why the guard's page shuts the gate, or None if it is open. `now_ns` is CLOCK_MONOTONIC.

    The heartbeat limit is the last allowed age (C24); a heartbeat further in the future than that was
    written by nobody. A page mismatch denies this order; whether it becomes a hold is decided by the
    caller, from how long it lasts.
    """
    if not page.present:
        return Reason.GUARD_MISSING
    if page.state != page.armed:
        return Reason.NOT_ARMED if page.reason == TripReason.NOT_ARMED else Reason.TRIPPED
    if page.armed ^ page.complement != WORD_MASK:
        return Reason.PAGE_MISMATCH
    if not -HEARTBEAT_HOLD_NS <= now_ns - page.heartbeat_ns <= HEARTBEAT_HOLD_NS:
        return Reason.GUARD_LATE
    return None


def is_fresh(page: PageReading, now_ns: int) -> bool:
    """The guard read its lines at most 250 ms ago."""
    return page.present and -HEARTBEAT_HOLD_NS <= now_ns - page.heartbeat_ns <= HEARTBEAT_HOLD_NS


class CoreLatch:
    """The core's own latch: shut at construction, shut at once by `trip`, open only in one armed epoch.

    Owned by the event loop; the gate and the connectors read it.
    """

    def __init__(self, page: InterlockPage, clock: Clock) -> None:
        self._page = page
        self._clock = clock
        self.reason = TripReason.NOT_ARMED
        self.armed_epoch = 0

    def trip(self, reason: TripReason) -> bool:
        """Shuts this side. True if it was the first reason since the last arming."""
        first = self.reason in (TripReason.NONE, TripReason.NOT_ARMED)
        if first:
            self.reason = reason
        self.armed_epoch = 0
        return first

    def clear(self, armed_epoch: int) -> None:
        """Opens this side for exactly the epoch the guard armed."""
        self.reason = TripReason.NONE
        self.armed_epoch = armed_epoch

    def epoch(self) -> int:
        """The guard's trip epoch; 0 without a page."""
        page = self._page.read()
        return page.state if page.present else 0

    def look(self, now_ns: int) -> tuple[Reason | None, int]:
        """(why new exposure is refused now or None, trip epoch), from one reading of the page."""
        page = self._page.read()
        if (  # open, said once: nearly every order passes here, and 0.2 µs is a fiftieth of the gate
            page.present
            and page.armed == page.state == self.armed_epoch
            and page.armed ^ page.complement == WORD_MASK
            and -HEARTBEAT_HOLD_NS <= now_ns - page.heartbeat_ns <= HEARTBEAT_HOLD_NS
            and self.reason is _NO_REASON
        ):
            return None, page.state
        outside = refusal(page, now_ns)
        if outside is not None:
            return outside, page.state if page.present else 0
        if self.reason is not _NO_REASON:
            return Reason.NOT_ARMED if self.reason is TripReason.NOT_ARMED else Reason.TRIPPED, page.state
        return Reason.TRIPPED, page.state  # this side was armed in another epoch

    def is_open(self) -> bool:
        """True only if both sides are open in the same epoch."""
        return self.look(self._clock.mono_ns())[0] is None
