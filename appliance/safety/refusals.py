"""Is a price source still a price source? The share of its records that were refused (SAFETY 1; CONTROLS 21).

One bad record is refused and forgotten; an instrument whose prices are old or in doubt is held (STALE_DATA).
But a source most of whose records are fine and too many are nonsense is damaged or is another source, and
what it says between the bad ones cannot be believed either: that is the trip DATA_INTEGRITY.
"""

from __future__ import annotations

from collections import deque

from appliance.domain.ids import InstrumentId
from appliance.domain.money import PPM_ONE


class RefusedShare:
    """Counts the last `window` records of each instrument; `limit_ppm` is the last allowed share of them.

    The share is always of `window` records, also before there were so many: one bad record among the first
    three says nothing. Raises ValueError where a single bad record would be too much.
    """

    def __init__(self, window: int, limit_ppm: int) -> None:
        if window < 1 or limit_ppm * window < PPM_ONE:
            raise ValueError(f"one bad record in {window} is more than {limit_ppm} ppm")
        self._window = window
        self._allowed = limit_ppm * window // PPM_ONE
        self._seen: dict[InstrumentId, int] = {}
        self._bad: dict[InstrumentId, deque[int]] = {}  # numbers of the bad ones inside the window

    def note(self, instrument: InstrumentId, *, refused: bool) -> str:
        """Takes one record. What is wrong if now too many were refused, else empty.

        The count then begins again: the trip is told, and after it was armed only new bad records count.
        """
        number = self._seen.get(instrument, 0) + 1
        self._seen[instrument] = number
        bad = self._bad.setdefault(instrument, deque())
        while bad and bad[0] <= number - self._window:
            bad.popleft()
        if not refused:
            return ""
        bad.append(number)
        if len(bad) <= self._allowed:
            return ""
        count = len(bad)
        bad.clear()
        return f"{count} of the last {self._window} records of {instrument} were refused"
