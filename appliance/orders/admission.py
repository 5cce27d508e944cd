"""Back-pressure: how many entries may be on their way to the log and the venue at once (PROD_007).

The policy, whole: an entry beyond a bound is denied with BACKPRESSURE at once and never queued, so nothing
waits that could go stale. An exit is never refused: the position bounds how many there can be. A cancel, and
an amendment that only shrinks, is never refused, never dropped and never behind an entry: it does not wait
for the log longer than 50 ms, and connectors keep connections only cancels use.
"""

from __future__ import annotations

from appliance.domain.ids import SourceId

ENTRIES_MAX = 1_024  # an approval lives 250 ms: more than this would expire before it left
ENTRIES_MAX_OF_A_SOURCE = 512  # one source does not take the others' places


class Admission:
    """Entries between the gate's approval and the venue's reply. Owned by the event loop."""

    def __init__(self, total: int = ENTRIES_MAX, of_a_source: int = ENTRIES_MAX_OF_A_SOURCE) -> None:
        self._total = total
        self._of_a_source = of_a_source
        self._under_way = 0
        self._by_source: dict[SourceId, int] = {}

    @property
    def under_way(self) -> int:
        """Entries that were let in and have not come out."""
        return self._under_way

    def enter(self, source: SourceId, count: int = 1) -> str:
        """Lets `count` entries in and returns ""; or says which bound is reached, and lets none in."""
        mine = self._by_source.get(source, 0)
        if self._under_way + count > self._total:
            return f"{self._under_way} entries are under way, {self._total} may be"
        if mine + count > self._of_a_source:
            return f"{mine} entries of {source} are under way, {self._of_a_source} may be"
        self._under_way += count
        self._by_source[source] = mine + count
        return ""

    def leave(self, source: SourceId, count: int = 1) -> None:
        """They have come out, whatever became of them."""
        self._under_way -= count
        left = self._by_source[source] - count
        if left:
            self._by_source[source] = left
        else:
            del self._by_source[source]
