"""What a strategy is (SCH-04, RSK-30, RSK-32). Pure.

Rules every strategy of this package keeps, each with a test:

- its answer depends on the observations it was given, in their order, and on nothing else: after a restart
  the same observations lead to the same state;
- a signal about an observation uses that one and earlier ones, never a later one;
- it speaks only when it changes its mind, and LONG only on an event it has *seen happen*: what was already so
  when it first could tell does not count. So after a protective stop, which it does not see, it enters again
  only on a new event;
- every LONG carries a stop on a tick below its reference price.

A strategy decides nothing about size and holds no position. Whether its signal becomes an intent is decided
by `validation` and the gate.
"""

from __future__ import annotations

from typing import Protocol

from appliance.domain.ids import InstrumentId, SourceId
from appliance.domain.instrument import Instrument
from appliance.domain.money import PPM_ONE, Price, format_scaled, round_down, round_up
from appliance.domain.observation import Observation
from appliance.domain.signal import Signal


class Strategy(Protocol):
    """One strategy on one instrument."""

    @property
    def name(self) -> SourceId:
        """Who asks; the source of its intents."""
        ...

    @property
    def instrument(self) -> InstrumentId:
        """The only instrument it looks at and signals for."""
        ...

    def on_observation(self, observation: Observation) -> Signal | None:
        """Takes the next accepted observation; observations of other instruments or kinds change nothing."""
        ...


def long_stop(price: int, stop_ppm: int, tick: int) -> Price | None:
    """The stop of a long entry: `stop_ppm` below `price`, on a tick, never further away than that.

    Rounded towards the price, but at least one tick below it. None where no positive tick is left.
    """
    furthest = -(-price * (PPM_ONE - stop_ppm) // PPM_ONE)
    stop = min(round_up(furthest, tick), round_down(price - 1, tick))
    return Price(stop) if stop > 0 else None


def show(instrument: Instrument, price: int) -> str:
    """A price as people write it, for reasons."""
    return format_scaled(price, instrument.price_exp)
