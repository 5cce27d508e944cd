"""The order of a venue's events: by the venue's own number per account, without gaps (PROD_005).

Transports repeat, reorder and lose reports; the number does not. What arrives is released in the order in
which it happened, once; what is too early waits for what is missing. Times order nothing: two events of one
nanosecond have two numbers, and clocks differ.
"""

from __future__ import annotations

from collections.abc import Iterable

from appliance.domain.order import VenueEvent

EARLY_MAX = 10_000


class EventSequence:
    """after: number of the last event released. Bounded: at most `EARLY_MAX` wait, later ones are asked
    for again once the gap is closed."""

    def __init__(self, after: int = 0) -> None:
        self.after = after
        self._early: dict[int, VenueEvent] = {}

    @property
    def gap(self) -> bool:
        """Something later has arrived and something before it has not."""
        return bool(self._early)

    def take(self, events: Iterable[VenueEvent]) -> list[VenueEvent]:
        """What can be released now, in order."""
        for event in events:
            if event.seq > self.after and (len(self._early) < EARLY_MAX or event.seq == self.after + 1):
                self._early.setdefault(event.seq, event)
        released = []
        while (found := self._early.pop(self.after + 1, None)) is not None:
            released.append(found)
            self.after += 1
        return released
