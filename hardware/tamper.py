"""Tamper contact, BCM 4: latched, and open at start counts (SAFETY 1, U04)."""

from __future__ import annotations

from hardware.board import Level


class Tamper:
    """Trips once when the contact opens; again only after it was seen closed."""

    def __init__(self) -> None:
        self._armed = True

    def read(self, level: Level, opened: bool) -> bool:
        """True when the case was opened. UNKNOWN is the guard's own trip, and does not re-arm this one."""
        open_now = level is Level.OPEN or opened
        trip = open_now and self._armed
        if level is not Level.UNKNOWN or trip:
            self._armed = level is Level.CLOSED and not trip
        return trip
