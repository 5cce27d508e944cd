"""Prices accepted from the market lately: a signal cannot refer to one nobody printed (DAT-05). Pure."""

from __future__ import annotations

from appliance.domain.ids import InstrumentId
from appliance.domain.observation import Bar, Observation, Trade

_PRUNE_AT = 4_096


class RecentPrices:
    """When each close and trade price was last accepted; what is older than the window is forgotten.

    Memory is bounded by the different prices inside one window, at least 4,096, per instrument.
    """

    def __init__(self, window_ns: int) -> None:
        """window_ns: how far back from a signal its price may lie; at least the length of a built bar."""
        if window_ns < 0:
            raise ValueError(f"window_ns must not be negative, got {window_ns}")
        self._window_ns = window_ns
        self._seen: dict[InstrumentId, dict[int, int]] = {}
        self._prune_at: dict[InstrumentId, int] = {}

    def note(self, observation: Observation) -> None:
        """Takes an accepted observation. Quotes are offers, not prices at which anybody traded: not noted."""
        if isinstance(observation, Bar):
            price = observation.close
        elif isinstance(observation, Trade):
            price = observation.price
        else:
            return
        prices = self._seen.setdefault(observation.instrument, {})
        prices[price] = observation.seen_ns
        if len(prices) >= self._prune_at.get(observation.instrument, _PRUNE_AT):
            self._prune(observation.instrument, observation.seen_ns - self._window_ns)

    def contains(self, instrument: InstrumentId, price: int, event_ns: int) -> bool:
        """True if `price` was accepted at `event_ns` or at most the window before; later is as good."""
        seen_ns = self._seen.get(instrument, {}).get(price)
        return seen_ns is not None and seen_ns >= event_ns - self._window_ns

    def _prune(self, instrument: InstrumentId, before_ns: int) -> None:
        """Halves the work: the next pruning waits until twice as many prices as remained are there."""
        kept = {price: seen_ns for price, seen_ns in self._seen[instrument].items() if seen_ns >= before_ns}
        self._seen[instrument] = kept
        self._prune_at[instrument] = max(_PRUNE_AT, 2 * len(kept))
