"""What an order will pay beyond the price it sees, and how wrong such predictions were (FEE-02, EXE-06).

Against the middle of bid and ask when the order is decided; positive is a cost. The prediction is
    half the spread + impact + the median of what the model missed by lately,
with the impact from the size shown, taken as the size of every further level one spread apart; without sizes
from the last bar: range × √(quantity / volume), the usual square-root law. Neither known: no impact.
The error is that of the predictions as they were made, before their order: nine of ten of the last 32 were
no further off. Below eight there is none to state, and none is stated.
"""

from __future__ import annotations

from collections import deque
from math import isqrt

from msgspec import Struct

from appliance.domain.intent import Side
from appliance.domain.money import PPM_ONE
from appliance.domain.observation import Bar, Observation, Quote

LAST = 32
ENOUGH = 8
MOST_PPM = PPM_ONE


class Prediction(Struct, frozen=True, kw_only=True):
    """expected_ppm: of the value at the middle, never negative: a gain is not counted on.

    raw_ppm: what spread and impact alone say.  error_ppm: nine of ten of the `samples` last predictions were
    no further off; None while they are too few.
    """

    expected_ppm: int
    raw_ppm: int
    error_ppm: int | None
    samples: int


class SlippageModel:
    """One instrument. Owned by the event loop; memory is bounded."""

    __slots__ = ("_ask_qty", "_bid_qty", "_errors", "_misses", "_range_ppm", "_volume")

    def __init__(self) -> None:
        self._bid_qty = self._ask_qty = 0  # shown at the best prices, 0: not known
        self._range_ppm = self._volume = 0  # of the last bar
        self._misses: deque[int] = deque(maxlen=LAST)  # realised less raw
        self._errors: deque[int] = deque(maxlen=LAST)  # |realised less expected|

    def see(self, observation: Observation) -> None:
        """Takes sizes of a quote, or range and volume of a bar."""
        if isinstance(observation, Quote):
            self._bid_qty, self._ask_qty = observation.bid_qty, observation.ask_qty
        elif isinstance(observation, Bar):
            self._range_ppm = (observation.high - observation.low) * PPM_ONE // observation.close
            self._volume = observation.volume

    def predict(self, side: Side, qty: int, bid: int, ask: int, most_ppm: int = MOST_PPM) -> Prediction:
        """For an order that takes. bid, ask: positive prices.  most_ppm: how far its limit lets it go."""
        spread_ppm = -(-max(0, ask - bid) * 2 * PPM_ONE // (bid + ask))
        shown = self._ask_qty if side is Side.BUY else self._bid_qty
        if shown > 0:
            impact_ppm = ladder_ppm(spread_ppm, shown, qty)
        elif self._volume > 0:
            impact_ppm = self._range_ppm * isqrt(qty * PPM_ONE * PPM_ONE // self._volume) // PPM_ONE
        else:
            impact_ppm = 0
        raw_ppm = min(most_ppm, -(-spread_ppm // 2) + impact_ppm)
        missed_ppm = _at(self._misses, 50) if len(self._misses) >= ENOUGH else 0
        return Prediction(
            expected_ppm=min(most_ppm, max(0, raw_ppm + missed_ppm)),
            raw_ppm=raw_ppm,
            error_ppm=_at(self._errors, 90) if len(self._errors) >= ENOUGH else None,
            samples=len(self._errors),
        )

    def learn(self, prediction: Prediction, realised_ppm: int) -> None:
        """What an order paid that was predicted so."""
        self._misses.append(realised_ppm - prediction.raw_ppm)
        self._errors.append(abs(realised_ppm - prediction.expected_ppm))


def ladder_ppm(spread_ppm: int, shown: int, qty: int) -> int:
    """Mean distance beyond the best price of `qty` taken from levels of `shown` each, one spread apart."""
    full, rest = divmod(qty, shown)
    steps = shown * full * (full - 1) // 2 + rest * full
    return -(-spread_ppm * steps // qty) if qty > 0 else 0


def realised_ppm(side: Side, arrival: int, qty: int, value: int) -> int:
    """Cost of `qty` filled for `value` (price × quantity), in ppm of the price at arrival, rounded up."""
    return -(-side.sign * (value - arrival * qty) * PPM_ONE // (arrival * qty))


def _at(samples: deque[int], percent: int) -> int:
    """The smallest sample that `percent` of the samples do not exceed."""
    ordered = sorted(samples)
    return ordered[-(-len(ordered) * percent // 100) - 1]
