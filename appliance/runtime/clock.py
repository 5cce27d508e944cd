"""The two clocks (SAFETY 10): the market's, and the machine's monotonic one, which no replay touches."""

from __future__ import annotations

import time


class WallClock:
    """Live: UTC from the system clock."""

    def utc_ns(self) -> int:
        """Nanoseconds since 1970, UTC."""
        return time.time_ns()

    def mono_ns(self) -> int:
        """CLOCK_MONOTONIC."""
        return time.monotonic_ns()


class ReplayClock(WallClock):
    """Replay: market time is that of the last observation; it stands still while a trip stops the replay."""

    def __init__(self) -> None:
        self._market_ns = 0

    def utc_ns(self) -> int:
        """seen_ns of the last observation, 0 before the first."""
        return self._market_ns

    def advance(self, seen_ns: int) -> None:
        """Market time never runs backwards."""
        self._market_ns = max(self._market_ns, seen_ns)
