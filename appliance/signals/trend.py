"""Moving-average crossover, long only (RSK-32). Pure, integers only; says nothing about profit.

LONG when the average of the last `fast` closes rises above that of the last `slow` closes, CLOSE when it is
no longer above. Averages are compared as sums times the other length, so nothing is rounded.
"""

from __future__ import annotations

from collections import deque

from msgspec import Struct

from appliance.domain.ids import InstrumentId, SourceId
from appliance.domain.instrument import Instrument
from appliance.domain.money import PPM_ONE, Price
from appliance.domain.observation import Bar, Observation
from appliance.domain.signal import Direction, Signal
from appliance.signals.strategy import long_stop, show

LONGEST = 10_000


class TrendParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """fast, slow: bars, 1 ≤ fast < slow ≤ 10,000.  stop_ppm: distance of the stop from the close."""

    fast: int
    slow: int
    stop_ppm: int

    def __post_init__(self) -> None:
        """Raises ValueError naming the parameter that makes no sense."""
        if not 1 <= self.fast < self.slow <= LONGEST:
            raise ValueError(f"fast and slow: 1 <= fast < slow <= {LONGEST}, got {self.fast} and {self.slow}")
        if not 0 < self.stop_ppm < PPM_ONE:
            raise ValueError(f"stop_ppm must be between 1 and {PPM_ONE - 1}, got {self.stop_ppm}")


class Trend:
    """One crossover strategy. State: the last `slow` closes, their sums, and whether fast was above."""

    def __init__(self, name: SourceId, instrument: Instrument, params: TrendParams) -> None:
        self.name = name
        self.instrument: InstrumentId = instrument.symbol
        self._facts = instrument
        self._params = params
        self._closes: deque[int] = deque(maxlen=params.slow)
        self._fast_sum = self._slow_sum = 0
        self._was_above: bool | None = None
        self._long = False

    def on_observation(self, observation: Observation) -> Signal | None:
        """A signal on the bar that made the averages cross; None otherwise."""
        if not isinstance(observation, Bar) or observation.instrument != self.instrument:
            return None
        self._add(observation.close)
        params = self._params
        if len(self._closes) < params.slow:
            return None
        is_above = self._fast_sum * params.slow > self._slow_sum * params.fast
        was_above, self._was_above = self._was_above, is_above
        if is_above and was_above is False:
            return self._enter(observation)
        if self._long and not is_above:
            self._long = False
            return self._signal(observation, Direction.CLOSE, None, "no longer above")
        return None

    def _add(self, close: int) -> None:
        closes, params = self._closes, self._params
        if len(closes) == params.slow:
            self._slow_sum -= closes[0]
        if len(closes) >= params.fast:
            self._fast_sum -= closes[-params.fast]
        closes.append(close)
        self._slow_sum += close
        self._fast_sum += close

    def _enter(self, bar: Bar) -> Signal | None:
        stop = long_stop(bar.close, self._params.stop_ppm, self._facts.tick)
        if stop is None:
            return None
        self._long = True
        return self._signal(bar, Direction.LONG, stop, "crossed above")

    def _signal(self, bar: Bar, direction: Direction, stop: Price | None, what: str) -> Signal:
        params, facts = self._params, self._facts
        fast = show(facts, self._fast_sum // params.fast)
        slow = show(facts, self._slow_sum // params.slow)
        reason = f"average of {params.fast} bars {fast} {what} that of {params.slow} bars {slow}"
        reason += f", close {show(facts, bar.close)}"
        return Signal(
            strategy=self.name,
            instrument=self.instrument,
            event_ns=bar.seen_ns,
            direction=direction,
            reference_price=bar.close,
            stop_price=stop,
            reason=reason if stop is None else f"{reason}, stop {show(facts, stop)}",
        )
