"""How fast a replay runs and how far it is. Pure: both times are passed in.

market_ns is the market's time, seen_ns of an observation; mono_ns is CLOCK_MONOTONIC, real even in a replay.
"""

from __future__ import annotations

from collections import deque
from typing import Literal, TypeAlias

Speed: TypeAlias = int | Literal["max"]
"""Seconds of market time per real second, at least 1; or `max`: as fast as the consumer takes them."""

_SECOND_NS = 1_000_000_000
_RATE_WINDOW_NS = 10 * _SECOND_NS
_RATE_STEP_NS = _SECOND_NS // 4


class Pacer:
    """Says how long to wait before an observation is due.

    A trip stops the replay clock (SAFETY 6): no market time passes between `stop` and `resume`, and what
    follows is due as late as the stop was long. A consumer that is too slow falls behind and then catches up
    without waiting; nothing is skipped.
    """

    def __init__(self, speed: Speed) -> None:
        if speed != "max" and speed < 1:
            raise ValueError(f"speed must be at least 1 or 'max', got {speed}")
        self.speed = speed
        self._anchor: tuple[int, int] | None = None
        self._stopped_ns: int | None = None

    @property
    def stopped(self) -> bool:
        """True between `stop` and `resume`."""
        return self._stopped_ns is not None

    def stop(self, mono_ns: int) -> None:
        """Stops the replay clock. Stopping twice is stopping once."""
        if self._stopped_ns is None:
            self._stopped_ns = mono_ns

    def resume(self, mono_ns: int) -> None:
        """Lets the clock run on from where it stopped."""
        if self._stopped_ns is not None and self._anchor is not None:
            market_ns, started_ns = self._anchor
            self._anchor = market_ns, started_ns + max(0, mono_ns - self._stopped_ns)
        self._stopped_ns = None

    def wait_ns(self, market_ns: int, mono_ns: int) -> int | None:
        """Real nanoseconds until an observation of `market_ns` is due; 0: now; None: not before `resume`.

        The first call after the start sets the scale: that observation is due at once.
        """
        if self._stopped_ns is not None:
            return None
        if self.speed == "max":
            return 0
        if self._anchor is None:
            self._anchor = market_ns, mono_ns
        first_ns, started_ns = self._anchor
        due_ns = started_ns + (market_ns - first_ns) // self.speed
        return max(0, due_ns - mono_ns)

    def left_s(self, market_ns: int, last_ns: int) -> int:
        """Real seconds the market time up to `last_ns` takes at this speed, rounded up; 0 at `max`."""
        if self.speed == "max":
            return 0
        return max(0, -(-(last_ns - market_ns) // (self.speed * _SECOND_NS)))


class RateMeter:
    """Observations per real second over the last 10 s, from samples at least 250 ms apart."""

    def __init__(self) -> None:
        self._samples: deque[tuple[int, int]] = deque()

    def note(self, done: int, mono_ns: int) -> None:
        """Takes a sample if the last one is old enough; cheap enough to be called often."""
        samples = self._samples
        if samples and mono_ns - samples[-1][0] < _RATE_STEP_NS:
            return
        samples.append((mono_ns, done))
        while len(samples) > 2 and mono_ns - samples[1][0] >= _RATE_WINDOW_NS:
            samples.popleft()

    def restart(self) -> None:
        """Forgets the samples: the time of a stop must not count."""
        self._samples.clear()

    def rate(self, done: int, mono_ns: int) -> int:
        """Per second, rounded down; 0 while too little time has passed to tell."""
        if not self._samples:
            return 0
        then_ns, before = self._samples[0]
        passed_ns = mono_ns - then_ns
        return (done - before) * _SECOND_NS // passed_ns if passed_ns >= _RATE_STEP_NS else 0
