"""Time bars from trades, so that one strategy runs on daily bars and on a tick feed (DAT-08). Pure.

A bar covers [start, start + interval) of seen_ns, the time at which we knew of a trade, because decisions
are made on that clock. Its seen_ns is its end. It is given out with the first observation, trade or quote,
seen at or after its end; an interval without a trade gives no bar.
"""

from __future__ import annotations

from appliance.domain.ids import InstrumentId, SourceId
from appliance.domain.money import Price
from appliance.domain.observation import Bar, Observation, Trade
from appliance.domain.signal import Signal
from appliance.signals.strategy import Strategy


class BarBuilder:
    """Builds the bars of one instrument. Volume is the sum of the trades' quantities, in their scale.

    `quality` refuses what was seen before the last one, unless our clock was stepped (`forget_order`). Then
    the open bar ends and bars go on at the earlier time. That bar was given out before the time it carries,
    so `validation` refuses a LONG made of it as FROM_FUTURE.
    """

    def __init__(self, instrument: InstrumentId, interval_ns: int) -> None:
        if interval_ns <= 0:
            raise ValueError(f"interval_ns must be positive, got {interval_ns}")
        self.instrument = instrument
        self.interval_ns = interval_ns
        self._start_ns: int | None = None
        self._open = self._high = self._low = self._close = Price(0)
        self._volume = 0

    def on_observation(self, observation: Observation) -> Bar | None:
        """The bar that this observation shows to be over, if any; a trade begins or continues the next."""
        if observation.instrument != self.instrument or isinstance(observation, Bar):
            return None
        start_ns = observation.seen_ns - observation.seen_ns % self.interval_ns
        finished = self._finish() if start_ns != self._start_ns else None
        if isinstance(observation, Trade):
            self._add(observation, start_ns)
        return finished

    def _add(self, trade: Trade, start_ns: int) -> None:
        price = trade.price
        if self._start_ns is None:
            self._start_ns = start_ns
            self._open = self._high = self._low = price
            self._volume = 0
        self._high = max(self._high, price)
        self._low = min(self._low, price)
        self._close = price
        self._volume += trade.qty

    def _finish(self) -> Bar | None:
        start_ns, self._start_ns = self._start_ns, None
        if start_ns is None:
            return None
        return Bar(
            instrument=self.instrument,
            event_ns=start_ns,
            seen_ns=start_ns + self.interval_ns,
            open=self._open,
            high=self._high,
            low=self._low,
            close=self._close,
            volume=self._volume,
        )


class OnBars:
    """A strategy on a tick feed: builds the bars it wants and passes them on."""

    def __init__(self, strategy: Strategy, interval_ns: int) -> None:
        self._strategy = strategy
        self._bars = BarBuilder(strategy.instrument, interval_ns)
        self.name: SourceId = strategy.name
        self.instrument: InstrumentId = strategy.instrument

    def on_observation(self, observation: Observation) -> Signal | None:
        """The strategy's answer to the bar this observation finished, if it finished one."""
        bar = self._bars.on_observation(observation)
        return None if bar is None else self._strategy.on_observation(bar)
