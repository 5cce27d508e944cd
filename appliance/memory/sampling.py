"""Turns whatever a feed sends into bars, so that conditions mean the same on every feed (SCH-01, SCH-02).

Bars pass as they are. A feed of trades or quotes is sampled into bars of `bar_ns`; a bar ends when the first
tick of a later interval arrives, because only then is it known that nothing more belongs to it. Constant time
per observation, one open bar per instrument.

Where an instrument sends several kinds, the best one makes the bars: bars before trades before quotes. Quotes
always contribute the spread.
"""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct

from appliance.domain.ids import InstrumentId
from appliance.domain.money import Price
from appliance.domain.observation import Bar, Observation, Quote, Trade

PPB = 10**9
"""Shares are counted in billionths here: a one-second return is often below one millionth."""

_INT64_MAX = 2**63 - 1


class Sample(Struct, frozen=True, gc=False):
    """One finished bar. spread_ppb: mean (ask - bid) / mid while it was open, None if no quote was seen.

    restart: a better source has taken over, so no history may reach across. Not stored: a process that starts
    anew within 21 bars of it does reach across.
    """

    bar: Bar
    spread_ppb: int | None
    restart: bool


class _Source(IntEnum):
    NONE = 0
    QUOTE = 1
    TRADE = 2
    BAR = 3


def usable(observation: Observation) -> bool:
    """True if it can be measured and stored: positive ordered prices, every number within 64 bits."""
    if not 0 <= observation.event_ns <= _INT64_MAX or not 0 <= observation.seen_ns <= _INT64_MAX:
        return False
    if isinstance(observation, Bar):
        lowest, highest = min(observation.open, observation.close), max(observation.open, observation.close)
        ordered = 0 < observation.low <= lowest and highest <= observation.high <= _INT64_MAX
        return ordered and 0 <= observation.volume <= _INT64_MAX
    if isinstance(observation, Quote):
        return 0 < observation.bid <= observation.ask <= _INT64_MAX
    return 0 < observation.price <= _INT64_MAX and 0 <= observation.qty <= _INT64_MAX


class Sampler:
    """The open bar of one instrument. Feed it only what is `usable`."""

    __slots__ = (
        "_bar_ns", "_close", "_high", "_instrument", "_low", "_open", "_restart", "_source", "_spread_count",
        "_spread_sum", "_start_ns", "_volume",
    )  # fmt: skip

    def __init__(self, instrument: InstrumentId, bar_ns: int) -> None:
        """bar_ns: length of a sampled bar in nanoseconds, positive."""
        self._instrument = instrument
        self._bar_ns = bar_ns
        self._source = _Source.NONE
        self._restart = False
        self._spread_sum = 0
        self._spread_count = 0
        self._start_ns = -1  # start of the open bar, -1 if none is open
        self._open = self._high = self._low = self._close = self._volume = 0

    def update(self, observation: Observation) -> Sample | None:
        """The bar this observation finished, if any. A tick older than the open bar is ignored."""
        if isinstance(observation, Bar):
            self._prefer(_Source.BAR)
            return self._sample(observation)
        if isinstance(observation, Trade):
            self._prefer(_Source.TRADE)
            if self._source is not _Source.TRADE:
                return None
            return self._tick(observation, observation.price, observation.qty)
        self._prefer(_Source.QUOTE)
        finished = None
        if self._source is _Source.QUOTE:
            finished = self._tick(observation, (observation.bid + observation.ask) // 2, 0)
        bid, ask = observation.bid, observation.ask
        self._spread_sum += 2 * (ask - bid) * PPB // (ask + bid)
        self._spread_count += 1
        return finished

    def _prefer(self, source: _Source) -> None:
        """A better kind of observation takes over; its bars do not continue those of the weaker one."""
        if source <= self._source:
            return
        self._restart = self._source is not _Source.NONE
        self._source = source
        self._start_ns = -1

    def _tick(self, tick: Quote | Trade, price: int, qty: int) -> Sample | None:
        start_ns = tick.event_ns - tick.event_ns % self._bar_ns
        if start_ns < self._start_ns:
            return None
        finished = None
        if start_ns > self._start_ns:
            finished = self._finish(tick.seen_ns)
            self._start_ns = start_ns
            self._open = self._high = self._low = price
            self._volume = 0
        self._high = max(self._high, price)
        self._low = min(self._low, price)
        self._close = price
        self._volume = min(self._volume + qty, _INT64_MAX)
        return finished

    def _finish(self, seen_ns: int) -> Sample | None:
        if self._start_ns < 0:
            return None
        bar = Bar(
            instrument=self._instrument,
            event_ns=self._start_ns,
            seen_ns=seen_ns,
            open=Price(self._open),
            high=Price(self._high),
            low=Price(self._low),
            close=Price(self._close),
            volume=self._volume,
        )
        return self._sample(bar)

    def _sample(self, bar: Bar) -> Sample:
        spread = self._spread_sum // self._spread_count if self._spread_count else None
        sample = Sample(bar, spread, self._restart)
        self._restart = False
        self._spread_sum = self._spread_count = 0
        return sample
