"""What an instrument's latest bars look like, as named numbers: the condition memory compares (L2-09).

Integers in, integers out, nothing but exact integer arithmetic in between: no logarithm, no float, so the
same bars give the same features on every machine (MEMORY.md). Everything is a share in billionths (ppb), so
that neither the price level nor the tick size of an instrument matters. Running sums make each bar constant
time; an instrument costs 61 integers.

A condition exists only once 21 bars in a row are known: missing history is None, never zeros.
"""

from __future__ import annotations

from collections import deque
from math import isqrt

from appliance.domain.observation import Bar
from appliance.memory.sampling import PPB

SHORT, LONG = 5, 20
HISTORY_BARS = LONG + 1
"""Bars before the first condition: 20 returns need 21 closes."""

MAX_GAP_BARS = 14
"""A longer silence restarts the history. Daily bars pass over holidays (the longest in 23 years of SPY: 7
days), minute bars stop at the end of a session. A shorter hole goes unnoticed: a lost bar and a holiday look
the same."""

MISSING = -(2**63)
"""A feature this feed does not carry (a spread without quotes); it neither attracts nor repels."""

NAMES: tuple[str, ...] = (
    "return_1",
    "return_5",
    "return_20",
    "gap",
    "range",
    "close_in_range",
    "volatility_5",
    "volatility_20",
    "volatility_mix",
    "distance_mean_5",
    "distance_mean_20",
    "volume_share",
    "spread",
)
"""Order of a feature vector. Changing a meaning means changing its name: names are part of the encoder."""

_LIMIT = 1000 * PPB  # a thousandfold move is damage, and must not overflow what comes later


class FeatureWindow:
    """The last 21 bars of one instrument, as running sums."""

    __slots__ = (
        "_closes", "_gap_ns", "_long_close", "_long_square", "_long_volume", "_short_close", "_short_square",
        "_squares", "_volumes", "event_ns", "latest",
    )  # fmt: skip

    def __init__(self, bar_ns: int) -> None:
        """bar_ns: nominal length of a bar, in nanoseconds; what a gap is measured in."""
        self._gap_ns = MAX_GAP_BARS * bar_ns
        self.event_ns = -1  # of the newest bar, -1 before the first
        self.restart()

    def restart(self) -> None:
        """Forgets the history, not the time: older bars stay refused."""
        self.latest: tuple[int, ...] | None = None
        self._closes: deque[int] = deque(maxlen=HISTORY_BARS)
        self._squares: deque[int] = deque(maxlen=LONG)
        self._volumes: deque[int] = deque(maxlen=LONG)
        self._long_close = self._short_close = 0
        self._long_square = self._short_square = 0
        self._long_volume = 0

    def push(self, bar: Bar, spread_ppb: int | None = None) -> tuple[int, ...] | None:
        """Adds a bar and returns the condition it leads to, None until there is history enough.

        The bar must be `usable`; raises ValueError if it is not newer than the last one.
        """
        if bar.event_ns <= self.event_ns:
            raise ValueError(f"event_ns: {bar.event_ns} is not after {self.event_ns}")
        if bar.event_ns - self.event_ns > self._gap_ns:
            self.restart()
        self.event_ns = bar.event_ns
        previous = self._closes[-1] if self._closes else 0
        self._add_close(bar.close)
        self._add_volume(bar.volume)
        if previous:
            self._add_square(_ratio(bar.close, previous) ** 2)
        ready = len(self._closes) == HISTORY_BARS
        self.latest = self._measure(bar, previous, spread_ppb) if ready else None
        return self.latest

    def _measure(self, bar: Bar, previous: int, spread_ppb: int | None) -> tuple[int, ...]:
        close, closes = bar.close, self._closes
        height = bar.high - bar.low
        short, long = isqrt(self._short_square // SHORT), isqrt(self._long_square // LONG)
        return (
            _ratio(close, previous),
            _ratio(close, closes[-1 - SHORT]),
            _ratio(close, closes[0]),
            _ratio(bar.open, previous),
            _ratio(previous + height, previous),
            (close - bar.low) * PPB // height if height else PPB // 2,
            short,
            long,
            short * PPB // (short + long) if short + long else PPB // 2,
            _ratio(close * SHORT, self._short_close),
            _ratio(close * LONG, self._long_close),
            _share(bar.volume * LONG, self._long_volume),
            MISSING if spread_ppb is None else min(spread_ppb, _LIMIT),
        )

    def _add_close(self, close: int) -> None:
        closes = self._closes
        if len(closes) >= SHORT:
            self._short_close -= closes[-SHORT]
        if len(closes) >= LONG:
            self._long_close -= closes[-LONG]
        closes.append(close)
        self._short_close += close
        self._long_close += close

    def _add_square(self, square: int) -> None:
        squares = self._squares
        if len(squares) >= SHORT:
            self._short_square -= squares[-SHORT]
        if len(squares) == LONG:
            self._long_square -= squares[0]
        squares.append(square)
        self._short_square += square
        self._long_square += square

    def _add_volume(self, volume: int) -> None:
        if len(self._volumes) == LONG:
            self._long_volume -= self._volumes[0]
        self._volumes.append(volume)
        self._long_volume += volume


def _ratio(now: int, then: int) -> int:
    """now / then - 1 in ppb, limited to a thousandfold; `then` is positive."""
    return min(now * PPB // then - PPB, _LIMIT)


def _share(part: int, rest: int) -> int:
    """part / (part + rest) in ppb; one half when both are zero. Tames volume, which has no upper bound."""
    whole = part + rest
    return part * PPB // whole if whole else PPB // 2
