"""May the UTC clock be believed? A step back, or no synchronisation, is a hold, then a trip (SAFETY 1, 10).

One reading a second: CLOCK_BOOTTIME, UTC, and whether the kernel says that a time service keeps UTC right.
BOOTTIME runs through suspend and is slewed like UTC but never stepped, so UTC − BOOTTIME changes by steps
only, and all durations here are measured on it.

- UTC fell by more than 1 s against BOOTTIME, at once or in pieces within 10 minutes: hold. A step back makes
  old prices look fresh and lets the log's UTC run twice through the same seconds.
- Not synchronised at the start, or for more than 1 h: hold.
- UTC behind the newest entry of the log at the start: hold; nobody saw that step, but it is one.
- It ends after 10 minutes in which every reading was synchronised, none was more than 60 s after the one
  before it, and nothing stepped. A hold that has stood for 1 h without that is the trip CLOCK.

A step *forward* begins no hold. It is recorded and shown, and it starts the 10 minutes again if a hold
stands. The first synchronisation of a board without a clock battery is one; and it fails shut by itself:
prices and account values look older than they are, and what is too old is held or denied already.

A leap second is a step back of exactly 1 s, the last value that is allowed (C24).
"""

from __future__ import annotations

from collections import deque
from enum import Enum

from msgspec import Struct

SECOND_NS = 1_000_000_000
STEP_NS = SECOND_NS
UNSYNCHRONISED_NS = 3_600 * SECOND_NS
SETTLED_NS = 600 * SECOND_NS
UNRESOLVED_NS = 3_600 * SECOND_NS
GAP_NS = 60 * SECOND_NS
"""Between two readings further apart nobody knows what the clock did; as for cooldowns (SAFETY 10)."""

NOTED_NS = 100_000_000
"""A change of UTC − BOOTTIME above this is a step, below it the noise of reading two clocks one by one."""

SYNC_NEWS_NS = 60 * SECOND_NS
"""Gained and lost synchronisation are told once in this time at most: flapping must not fill the card."""


class ClockReading(Struct, frozen=True):
    """CLOCK_BOOTTIME, UTC and synchronisation at one moment. detail: in words, why or why not."""

    boot_ns: int
    utc_ns: int
    synchronised: bool
    detail: str


class ClockState(Enum):
    """What follows from the readings so far."""

    TRUSTED = "no hold"
    HELD = "the hold CLOCK stands"
    OVERDUE = "the hold stands unresolved: the trip CLOCK"


class ClockEvent(Enum):
    """What a reading can say."""

    DOUBT = "UTC stepped back, or is not synchronised"
    SETTLED = "10 minutes synchronised without a step"
    UNRESOLVED = "the hold has stood for 1 h"


TRANSITIONS: dict[tuple[ClockState, ClockEvent], ClockState] = {
    (ClockState.TRUSTED, ClockEvent.DOUBT): ClockState.HELD,
    (ClockState.HELD, ClockEvent.DOUBT): ClockState.HELD,
    (ClockState.HELD, ClockEvent.SETTLED): ClockState.TRUSTED,
    (ClockState.HELD, ClockEvent.UNRESOLVED): ClockState.OVERDUE,
    (ClockState.OVERDUE, ClockEvent.DOUBT): ClockState.OVERDUE,
    # The trip is latched elsewhere and ends by arming; that needs the hold gone, which this is.
    (ClockState.OVERDUE, ClockEvent.SETTLED): ClockState.TRUSTED,
    (ClockState.OVERDUE, ClockEvent.UNRESOLVED): ClockState.OVERDUE,
}
"""(state, event) → state. An absent pair leaves the state as it is."""

_SAID = {ClockEvent.DOUBT: "doubted", ClockEvent.SETTLED: "settled", ClockEvent.UNRESOLVED: "unresolved"}


class ClockPast(Struct, frozen=True, kw_only=True):
    """What the log remembers of the time before this process.

    newest_utc_ns: UTC of its newest entry, None for an empty log.  The rest is of this boot only: offset_ns:
    UTC − BOOTTIME when a core last noted the clock.  held: a hold stood then, or would have, had real time
    counted.  held_ns: BOOTTIME from which its hour is counted, None if none was.
    """

    newest_utc_ns: int | None = None
    offset_ns: int | None = None
    held: bool = False
    held_ns: int | None = None


class ClockNews(Struct, frozen=True):
    """One thing for the log. what: started, stepped, synchronised, unsynchronised, doubted, settled or
    unresolved.  moved_ns: of a step, positive forward, else 0.  detail: in words."""

    what: str
    moved_ns: int
    detail: str


class ClockWatch:
    """Owned by one caller, which shows it one reading a second. No clock is read here."""

    def __init__(self, past: ClockPast) -> None:
        self.state = ClockState.TRUSTED
        self.reading: ClockReading | None = None
        self.held_ns: int | None = None  # BOOTTIME since which the hold stands
        self.why = ""  # what began the hold
        self.last_step: tuple[int, int] | None = None  # (UTC after it, how far)
        self._past = past
        self._steady_ns: int | None = None  # BOOTTIME since which nothing spoke against the clock
        self._synchronised_ns = 0
        self._told: tuple[bool, int] = False, 0
        self._highest: deque[tuple[int, int]] = deque()  # (BOOTTIME, offset), offsets falling

    def hold_text(self) -> str:
        """What began the hold and what ends it, for people; changes only when that does."""
        if self.reading is None or self.reading.synchronised:
            return f"{self.why}; ends after 10 minutes synchronised without a step"
        return f"{self.why}; {self.reading.detail}"

    def read(self, reading: ClockReading) -> tuple[ClockNews, ...]:
        """Takes one reading; returns what the log must hear, in order."""
        last, self.reading = self.reading, reading
        news: list[ClockNews] = []
        doubt = self._begin(reading, news) if last is None else self._compare(last, reading, news)
        if reading.synchronised:
            self._synchronised_ns = reading.boot_ns
        elif not doubt and reading.boot_ns - self._synchronised_ns > UNSYNCHRONISED_NS:
            doubt = "not synchronised for more than 1 h"
        self._count_steady(last, reading, doubted=bool(doubt))
        if doubt:
            self.why = doubt
            self.held_ns = reading.boot_ns if self.held_ns is None else self.held_ns
            self._move(ClockEvent.DOUBT, doubt, news)
        if self._steady_ns is not None and reading.boot_ns - self._steady_ns >= SETTLED_NS:
            self.held_ns = None
            self._move(ClockEvent.SETTLED, "10 minutes synchronised without a step", news)
        if self.held_ns is not None and reading.boot_ns - self.held_ns >= UNRESOLVED_NS:
            self._move(ClockEvent.UNRESOLVED, f"held for 1 h: {self.why}", news)
        return tuple(news)

    def _begin(self, reading: ClockReading, news: list[ClockNews]) -> str:
        """The first reading, against what the log remembers. Why the clock is in doubt, or empty."""
        past, self._told = self._past, (reading.synchronised, reading.boot_ns)
        self._synchronised_ns = reading.boot_ns
        news.append(ClockNews("started", 0, reading.detail))
        if past.held:  # a restart of the core is no proof that the clock is right
            self.held_ns = reading.boot_ns if past.held_ns is None else min(past.held_ns, reading.boot_ns)
            self.state, self.why = ClockState.HELD, "the hold stood before the core was started again"
        doubt = "" if reading.synchronised else "not synchronised at the start"
        newest_ns = past.newest_utc_ns
        if past.offset_ns is not None:
            self._highest.append((reading.boot_ns, past.offset_ns))
            doubt = self._measure(past.offset_ns, reading, news) or doubt
        elif newest_ns is not None and newest_ns - reading.utc_ns > STEP_NS:
            fallen_ns = newest_ns - reading.utc_ns
            doubt = f"UTC is {seconds(fallen_ns)} behind the newest entry of the log"
            self.last_step = reading.utc_ns, -fallen_ns
            news.append(ClockNews("stepped", -fallen_ns, doubt))
        self._rebase(reading)
        return doubt

    def _compare(self, last: ClockReading, reading: ClockReading, news: list[ClockNews]) -> str:
        """The reading against those before it. Why the clock is in doubt, or empty."""
        self._tell_synchronisation(reading, news)
        if reading.boot_ns < last.boot_ns:  # no kernel does that: nothing measured before it means anything
            self.held_ns = None if self.held_ns is None else min(self.held_ns, reading.boot_ns)
            self._rebase(reading)
            return "CLOCK_BOOTTIME ran backwards"
        doubt = self._measure(last.utc_ns - last.boot_ns, reading, news)
        if doubt:
            self._rebase(reading)
        else:
            self._remember(reading)
        return doubt

    def _measure(self, before_ns: int, reading: ClockReading, news: list[ClockNews]) -> str:
        """Notes a step from the offset before; why the clock is in doubt if it fell too far."""
        offset_ns = reading.utc_ns - reading.boot_ns
        moved_ns = offset_ns - before_ns
        if abs(moved_ns) > NOTED_NS:
            self._steady_ns = None
            self.last_step = reading.utc_ns, moved_ns
            way = "forward" if moved_ns > 0 else "back"
            news.append(ClockNews("stepped", moved_ns, f"UTC stepped {way} by {seconds(moved_ns)}"))
        while len(self._highest) > 1 and reading.boot_ns - self._highest[0][0] > SETTLED_NS:
            self._highest.popleft()
        fallen_ns = self._highest[0][1] - offset_ns
        if fallen_ns <= STEP_NS:
            return ""
        pieces = " in pieces" if -moved_ns < fallen_ns else ""
        return f"UTC stepped back by {seconds(fallen_ns)}{pieces}"

    def _remember(self, reading: ClockReading) -> None:
        """Offsets in order of time without those below a later one: the first is the highest."""
        offset_ns = reading.utc_ns - reading.boot_ns
        while self._highest and self._highest[-1][1] <= offset_ns:
            self._highest.pop()
        self._highest.append((reading.boot_ns, offset_ns))

    def _rebase(self, reading: ClockReading) -> None:
        """What was higher has been told: from here on falls are measured from this reading."""
        self._highest.clear()
        self._highest.append((reading.boot_ns, reading.utc_ns - reading.boot_ns))

    def _count_steady(self, last: ClockReading | None, reading: ClockReading, *, doubted: bool) -> None:
        gap = last is None or reading.boot_ns - last.boot_ns > GAP_NS
        if not reading.synchronised:
            self._steady_ns = None
        elif self._steady_ns is None or doubted or gap:
            self._steady_ns = reading.boot_ns

    def _tell_synchronisation(self, reading: ClockReading, news: list[ClockNews]) -> None:
        told, told_ns = self._told
        if reading.synchronised != told and reading.boot_ns - told_ns >= SYNC_NEWS_NS:
            self._told = reading.synchronised, reading.boot_ns
            what = "synchronised" if reading.synchronised else "unsynchronised"
            news.append(ClockNews(what, 0, reading.detail))

    def _move(self, event: ClockEvent, why: str, news: list[ClockNews]) -> None:
        state = TRANSITIONS.get((self.state, event), self.state)
        if state is not self.state:
            self.state = state
            news.append(ClockNews(_SAID[event], 0, why))


def seconds(duration_ns: int) -> str:
    """`3600.250 s`, without its sign."""
    whole, rest = divmod(abs(duration_ns), SECOND_NS)
    return f"{whole}.{rest // 1_000_000:03d} s"
