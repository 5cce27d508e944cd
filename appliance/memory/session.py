"""L1: the newest observations of each instrument, in RAM (L1-02, L1-05, L1-09; P18).

Bounded twice: instruments are those configured, observations per instrument are a ring. Nothing expires by
time: a quiet market's last observation stays the newest there is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice

from appliance.domain.ids import InstrumentId
from appliance.domain.observation import Observation


class SessionMemory:
    """One ring per instrument. Owned by the event loop; no lock."""

    def __init__(self, instruments: Iterable[InstrumentId], capacity: int) -> None:
        """capacity: observations kept per instrument; raises ValueError unless positive (L1-09)."""
        if capacity <= 0:
            raise ValueError(f"capacity: must be positive, got {capacity}")
        self._rings: dict[InstrumentId, deque[Observation]] = {
            instrument: deque(maxlen=capacity) for instrument in instruments
        }

    def push(self, observation: Observation) -> bool:
        """Keeps it, in place of the oldest one if the ring is full. False: instrument not configured."""
        ring = self._rings.get(observation.instrument)
        if ring is None:
            return False
        ring.append(observation)
        return True

    def recent(self, instrument: InstrumentId, count: int) -> tuple[Observation, ...]:
        """The newest `count` observations, oldest of them first; fewer if there are fewer.

        Takes time in proportion to `count`, not to the ring or to other instruments (P18).
        """
        ring = self._rings.get(instrument)
        if ring is None or count <= 0:
            return ()
        newest_first = tuple(islice(reversed(ring), count))
        return newest_first[::-1]
