"""Mean reversion, long only (RSK-32). Pure, integers only; says nothing about profit.

z is how many standard deviations the close lies from the mean of the `window` closes before it; the close
itself is not part of its own yardstick. LONG when z falls to -entry_z_milli/1000 or below, having been above
it; CLOSE when the close is back at the mean, or after `max_bars` bars. After a CLOSE by time the
condition must first have gone before it can appear again.

With n = window, S = sum and Q = sum of squares: n·(close - mean) = n·close - S, and n·deviation = √(n·Q -
S²). The comparison is made on squares, exactly; the root is taken, rounded down, only for the text of the
reason.
"""

from __future__ import annotations

from collections import deque
from math import isqrt

from msgspec import Struct

from appliance.domain.ids import InstrumentId, SourceId
from appliance.domain.instrument import Instrument
from appliance.domain.money import PPM_ONE, Price, format_scaled
from appliance.domain.observation import Bar, Observation
from appliance.domain.signal import Direction, Signal
from appliance.signals.strategy import long_stop, show

LONGEST = 10_000
_MILLI = 1_000


class ReversionParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """window: bars of the mean, 2 to 10,000.  entry_z_milli: 2,000 is two deviations.

    max_bars: longest stay.  stop_ppm: distance of the protective stop from the close.
    """

    window: int
    entry_z_milli: int
    max_bars: int
    stop_ppm: int

    def __post_init__(self) -> None:
        """Raises ValueError naming the parameter that makes no sense."""
        if not 2 <= self.window <= LONGEST:
            raise ValueError(f"window must be between 2 and {LONGEST}, got {self.window}")
        if not 0 < self.entry_z_milli <= 100 * _MILLI:
            raise ValueError(f"entry_z_milli must be between 1 and {100 * _MILLI}, got {self.entry_z_milli}")
        if not 1 <= self.max_bars <= LONGEST:
            raise ValueError(f"max_bars must be between 1 and {LONGEST}, got {self.max_bars}")
        if not 0 < self.stop_ppm < PPM_ONE:
            raise ValueError(f"stop_ppm must be between 1 and {PPM_ONE - 1}, got {self.stop_ppm}")


class Reversion:
    """One reversion strategy. State: the window, its sums, whether z was low, and bars since the LONG."""

    def __init__(self, name: SourceId, instrument: Instrument, params: ReversionParams) -> None:
        self.name = name
        self.instrument: InstrumentId = instrument.symbol
        self._facts = instrument
        self._params = params
        self._closes: deque[int] = deque(maxlen=params.window)
        self._sum = self._squares = 0
        self._was_low: bool | None = None
        self._bars_long: int | None = None

    def on_observation(self, observation: Observation) -> Signal | None:
        """A signal on the bar that fell far below its mean, came back or stayed too long; None otherwise."""
        if not isinstance(observation, Bar) or observation.instrument != self.instrument:
            return None
        signal = self._judge(observation) if len(self._closes) == self._params.window else None
        self._add(observation.close)
        return signal

    def _judge(self, bar: Bar) -> Signal | None:
        params = self._params
        below = self._sum - params.window * bar.close
        spread = params.window * self._squares - self._sum * self._sum
        far = below * below * _MILLI * _MILLI >= params.entry_z_milli * params.entry_z_milli * spread
        is_low = below > 0 and spread > 0 and far
        was_low, self._was_low = self._was_low, is_low
        if self._bars_long is not None:
            self._bars_long += 1
            if below <= 0:
                return self._leave(bar, below, spread, "back at")
            if self._bars_long >= params.max_bars:
                return self._leave(bar, below, spread, f"{self._bars_long} bars below")
            return None
        if is_low and was_low is False:
            return self._enter(bar, below, spread)
        return None

    def _add(self, close: int) -> None:
        if len(self._closes) == self._params.window:
            oldest = self._closes[0]
            self._sum -= oldest
            self._squares -= oldest * oldest
        self._closes.append(close)
        self._sum += close
        self._squares += close * close

    def _enter(self, bar: Bar, below: int, spread: int) -> Signal | None:
        stop = long_stop(bar.close, self._params.stop_ppm, self._facts.tick)
        if stop is None:
            return None
        self._bars_long = 0
        return self._signal(bar, Direction.LONG, stop, self._text(below, spread, "fell below"))

    def _leave(self, bar: Bar, below: int, spread: int, what: str) -> Signal:
        self._bars_long = None
        return self._signal(bar, Direction.CLOSE, None, self._text(below, spread, what))

    def _text(self, below: int, spread: int, what: str) -> str:
        params, facts = self._params, self._facts
        root = isqrt(spread * _MILLI * _MILLI)
        z = format_scaled(-below * _MILLI * _MILLI // root, 3) if root else "undefined"
        return f"{what} the mean {show(facts, self._sum // params.window)} of {params.window} bars, z {z}"

    def _signal(self, bar: Bar, direction: Direction, stop: Price | None, text: str) -> Signal:
        reason = f"close {show(self._facts, bar.close)} {text}"
        return Signal(
            strategy=self.name,
            instrument=self.instrument,
            event_ns=bar.seen_ns,
            direction=direction,
            reference_price=bar.close,
            stop_price=stop,
            reason=reason if stop is None else f"{reason}, stop {show(self._facts, stop)}",
        )
