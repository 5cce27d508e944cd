"""How wishes were worked, counted for /metrics (EXE-03, EXE-05): shares and times, no size and no money."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from enum import StrEnum

from appliance.domain.status import Buckets, Execution

FILLED_PERCENT = (0, 25, 50, 75, 90, 99, 100)
SLIPPAGE_PPM = (-5_000, -1_000, -200, 0, 200, 500, 1_000, 2_000, 5_000, 20_000)
FILL_MS = (100, 1_000, 10_000, 60_000, 600_000, 3_600_000, 86_400_000, 604_800_000)


class Ending(StrEnum):
    """DONE: nothing was left to send.  DENIED: by the gate, finally.  STOPPED: see `plan.Moment.HALTED`.
    EXPIRED: its horizon passed.  REPLACED: the strategy changed its mind."""

    DONE = "DONE"
    DENIED = "DENIED"
    STOPPED = "STOPPED"
    EXPIRED = "EXPIRED"
    REPLACED = "REPLACED"


class _Counts:
    """One histogram. A value on a bound counts below it."""

    def __init__(self, bounds: tuple[int, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)

    def add(self, value: int) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1

    def buckets(self) -> Buckets:
        return Buckets(self._bounds, tuple(self._counts))


class ExecutionStats:
    """Since this start. Owned by the event loop."""

    def __init__(self) -> None:
        self._parents: Counter[str] = Counter(dict.fromkeys(Ending, 0))
        self._filled = _Counts(FILLED_PERCENT)
        self._slippage = _Counts(SLIPPAGE_PPM)
        self._time = _Counts(FILL_MS)
        self.children = self.retries = 0

    def ended(self, ending: Ending, filled_percent: int, slippage_ppm: int, fill_ns: int) -> None:
        """One parent is over. Price and time are counted only of those that filled at all."""
        self._parents[ending] += 1
        self._filled.add(filled_percent)
        if filled_percent:
            self._slippage.add(slippage_ppm)
            self._time.add(fill_ns // 1_000_000)

    def line(self) -> Execution:
        """For the page."""
        return Execution(
            parents=dict(self._parents),
            children=self.children,
            retries=self.retries,
            filled_percent=self._filled.buckets(),
            slippage_ppm=self._slippage.buckets(),
            fill_ms=self._time.buckets(),
        )
