"""What happens beside the core goes into its log: what the alerter told people, how memory does.

Neither writes entries itself: the log has one writer. Both are looked at once a second, and a state that
flaps must not fill the log: what changed meanwhile is one entry. Owned by the event loop.
"""

from __future__ import annotations

from collections.abc import Callable

from appliance.memory.service_store import MemoryService
from appliance.ports import Scribe
from appliance.runtime.alert_files import BoardView

ALERTS_EVERY_NS = 5_000_000_000
MEMORY_EVERY_NS = 60_000_000_000


class AlertNotes:
    """Compares the alerter's board with what was noted last.

    counts are since the alerter's start, so that nothing it told while no core ran is missing: whoever reads
    takes the difference of two entries, and all of them where a count went down (it was started again).
    """

    def __init__(self, board: BoardView, scribe: Scribe, mono_ns: Callable[[], int]) -> None:
        self._board = board
        self._scribe = scribe
        self._mono_ns = mono_ns
        self._noted: dict[str, object] = {"counts": {}, "standing": []}
        self._noted_ns = mono_ns() - ALERTS_EVERY_NS

    def look(self) -> None:
        """Once a second. An alerter that does not live says nothing: what stood may stand still."""
        told = self._board.told()
        now_ns = self._mono_ns()
        if told is None or told == self._noted or now_ns - self._noted_ns < ALERTS_EVERY_NS:
            return
        self._noted, self._noted_ns = told, now_ns
        self._scribe.note("alert", told)


class MemoryNotes:
    """Notes that long-term memory was opened, is impaired and why, or is well again."""

    def __init__(self, memory: object, scribe: Scribe, mono_ns: Callable[[], int]) -> None:
        """memory: anything but a MemoryService is none, and never noted."""
        self._memory = memory
        self._scribe = scribe
        self._mono_ns = mono_ns
        self._noted: str | None = None
        self._noted_ns = mono_ns() - MEMORY_EVERY_NS

    def look(self) -> None:
        """Once a second."""
        if not isinstance(self._memory, MemoryService):
            return
        stats, now_ns = self._memory.stats(), self._mono_ns()
        if stats.degraded == self._noted or now_ns - self._noted_ns < MEMORY_EVERY_NS:
            return
        state = "degraded" if stats.degraded else "ok" if self._noted else "opened"
        self._noted, self._noted_ns = stats.degraded, now_ns
        self._scribe.note("memory", {"state": state, "why": stats.degraded, "rows": stats.rows})
