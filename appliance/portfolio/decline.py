"""How far below its peak, or below the day's first value, an equity is (RSK-05, RSK-09, U19, SAFETY 9)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from appliance.domain.money import PPM_ONE

DAY_NS = 86_400_000_000_000
CONFIRM_NS = 1_000_000_000


def fall_ppm(reference: int, value: int) -> int:
    """Fall from `reference` to `value` in ppm, rounded up so that a limit just passed counts; never negative.

    A reference that is not positive has nothing left to fall from: any fall counts as whole.
    """
    if value >= reference:
        return 0
    if reference <= 0:
        return PPM_ONE
    return -(-(reference - value) * PPM_ONE // reference)


class Decline:
    """Peak and day start of one equity series. The day is UTC and advances with the market's clock."""

    __slots__ = ("_day", "day_start", "drawdown_ppm", "loss_ppm", "peak", "value")

    def __init__(self, value: int) -> None:
        self._day = -1
        self.value = value
        self.peak = value
        self.day_start = value
        self.drawdown_ppm = 0
        self.loss_ppm = 0

    def observe(self, value: int, market_ns: int) -> None:
        """Takes one value at one time."""
        day = market_ns // DAY_NS
        if day > self._day:
            if self._day >= 0:
                self.day_start = self.value
            self._day = day
        self.value = value
        self.peak = max(self.peak, value)
        self.drawdown_ppm = fall_ppm(self.peak, value)
        self.loss_ppm = fall_ppm(self.day_start, value)

    def restart(self, peak: int) -> None:
        """Value and peak are `peak` from now on; the day's start stays."""
        self.value = self.peak = peak
        self.weigh(peak)

    def weigh(self, value: int) -> None:
        """Where `value` lies below peak and day start, without taking it: neither of them moves."""
        self.drawdown_ppm = fall_ppm(self.peak, value)
        self.loss_ppm = fall_ppm(self.day_start, value)


class Confirmed:
    """Turns "above the limit now" into "above it for good": a loss needs two observations ≥ 1 s apart.

    One bad print cannot sell the book (SAFETY 9; CONTROLS 9, phantom halt). An observation that is made of
    several prints already, such as a bar, confirms by itself.
    """

    __slots__ = ("_since_ns",)

    def __init__(self) -> None:
        self._since_ns = -1

    def update(self, over: bool, market_ns: int, several_prints: bool) -> bool:
        """True once the limit is passed and confirmed."""
        if not over:
            self._since_ns = -1
            return False
        if several_prints:
            return True
        if self._since_ns < 0:
            self._since_ns = market_ns
            return False
        return market_ns - self._since_ns >= CONFIRM_NS


class PeakResets:
    """Peaks that were reset, of the account (SAFETY 6) or of a source that was started again (CONTROLS 7).

    A restart finds them again by the number of prices taken.

    marks: prices taken.  declines: by the source's name; the account's is "".
    """

    def __init__(self, declines: Mapping[str, Decline]) -> None:
        self.marks = 0
        self._declines = declines
        self._to_come: dict[int, dict[str, int]] = {}  # marks → whose → peak

    def restore(self, resets: Iterable[tuple[str, int, int]]) -> None:
        """(whose, marks, peak) of every reset in the log, in its order, before the warm-up. A source that is
        configured no more has no peak."""
        for whose, marks, peak in resets:
            if whose in self._declines:
                self._to_come.setdefault(marks, {})[whose] = peak

    def marked(self) -> None:
        """A price was taken, and the decline knows it."""
        self.marks += 1
        if self.marks in self._to_come:
            self._restart(self._to_come.pop(self.marks))

    def catch_up(self) -> None:
        """The last price of the log is still to be taken again: a reset that came after it counts now."""
        for _, peaks in sorted(self._to_come.items()):
            self._restart(peaks)
        self._to_come.clear()

    def _restart(self, peaks: Mapping[str, int]) -> None:
        for whose, peak in peaks.items():
            self._declines[whose].restart(peak)
