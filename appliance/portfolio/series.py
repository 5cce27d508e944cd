"""Prices of one instrument on a grid of time: returns for correlation, true ranges for stop proposals.

Every instrument is cut at the same moments, so that two returns with the same key cover the same time.
Interval k is (k × length, (k + 1) × length] of seen_ns: a daily bar, known at midnight, belongs to its day
and closes it at once. An interval without an observation does not exist; the next return spans it.
"""

from __future__ import annotations

from collections import deque

from msgspec import Struct

from appliance.domain.observation import Bar, Observation, Quote

RETURN_ONE = 10**12
"""Returns are integers in units of 10^-12, rounded down."""

RANGES = 14
"""Wilder's length of the average true range (New Concepts in Technical Trading Systems, 1978)."""


class Return(Struct, frozen=True, gc=False):
    """Simple return of the close over `key` = (interval it starts from, interval it ends in)."""

    key: tuple[int, int]
    value: int


class Series:
    """One instrument's grid. The average is the plain mean of the last 14 true ranges."""

    __slots__ = (
        "_close",
        "_high",
        "_interval",
        "_length_ns",
        "_low",
        "_open",
        "_range_sum",
        "_ranges",
        "last",
    )

    def __init__(self, length_ns: int) -> None:
        if length_ns <= 0:
            raise ValueError(f"length_ns must be positive, got {length_ns}")
        self._length_ns = length_ns
        self._interval = -1
        self._open = False  # the interval has prices and is not closed
        self._high = self._low = self._close = 0
        self._ranges: deque[int] = deque()
        self._range_sum = 0
        self.last: tuple[int, int] | None = None  # interval and close of what was closed last

    def observe(self, observation: Observation) -> tuple[Return, ...]:
        """Returns of the intervals this observation shows to be over: none, one or, at an edge, two.

        What was seen in an interval that is closed already is left out.
        """
        interval = (observation.seen_ns - 1) // self._length_ns
        if interval < self._interval or (interval == self._interval and not self._open):
            return ()
        found = self._finish() if self._open and interval > self._interval else ()
        self._take(observation, interval)
        if observation.seen_ns % self._length_ns == 0:
            found += self._finish()
        return found

    def average_range(self) -> int:
        """Mean of the last 14 true ranges, a price, rounded up; 0 while there are fewer."""
        if len(self._ranges) < RANGES:
            return 0
        return -(-self._range_sum // RANGES)

    def _take(self, observation: Observation, interval: int) -> None:
        high: int
        low: int
        close: int
        if isinstance(observation, Bar):
            high, low, close = observation.high, observation.low, observation.close
        elif isinstance(observation, Quote):
            high = low = close = (observation.bid + observation.ask) // 2
        else:
            high = low = close = observation.price
        if self._open and interval == self._interval:
            self._high, self._low = max(self._high, high), min(self._low, low)
        else:
            self._high, self._low = high, low
        self._interval, self._open, self._close = interval, True, close

    def _finish(self) -> tuple[Return, ...]:
        self._open = False
        before, self.last = self.last, (self._interval, self._close)
        if before is None:
            return ()
        start, close = before
        self._ranges.append(max(self._high, close) - min(self._low, close))
        self._range_sum += self._ranges[-1]
        if len(self._ranges) > RANGES:
            self._range_sum -= self._ranges.popleft()
        if close <= 0:  # no return is defined from here
            return ()
        return (Return((start, self._interval), (self._close - close) * RETURN_ONE // close),)
