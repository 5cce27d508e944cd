"""What people were told goes into the log: the alerter runs beside the core and writes no entry itself."""

from __future__ import annotations

from collections.abc import Callable

from appliance.ports import Scribe
from appliance.runtime.alert_files import BoardView

EVERY_NS = 5_000_000_000
"""An alert that comes and goes must not fill the log: what changed meanwhile is one entry."""


class AlertNotes:
    """Compares the alerter's board with what was noted last. Owned by the event loop.

    counts are since the alerter's start, so that nothing it told while no core ran is missing: whoever reads
    takes the difference of two entries, and all of them where a count went down (it was started again).
    """

    def __init__(self, board: BoardView, scribe: Scribe, mono_ns: Callable[[], int]) -> None:
        self._board = board
        self._scribe = scribe
        self._mono_ns = mono_ns
        self._noted: dict[str, object] = {"counts": {}, "standing": []}
        self._noted_ns = mono_ns() - EVERY_NS

    def look(self) -> None:
        """Once a second. An alerter that does not live says nothing: what stood may stand still."""
        told = self._board.told()
        now_ns = self._mono_ns()
        if told is None or told == self._noted or now_ns - self._noted_ns < EVERY_NS:
            return
        self._noted, self._noted_ns = told, now_ns
        self._scribe.note("alert", told)
