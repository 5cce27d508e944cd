"""Holds: the shut gate without a latch, each with scope and cause, each ending by itself (SAFETY 1)."""

from __future__ import annotations

from appliance.domain.ids import InstrumentId
from appliance.domain.mode import BOX, Hold, HoldCause


def instrument_scope(instrument: InstrumentId) -> str:
    """Scope name of one instrument."""
    return f"instrument:{instrument}"


def venue_scope(name: str) -> str:
    """Scope name of one venue; this appliance trades on one, so it blocks every instrument."""
    return f"venue:{name}"


class Holds:
    """All standing holds. Owned by the event loop; the gate asks `blocking` on every order."""

    def __init__(self) -> None:
        self._standing: dict[tuple[str, HoldCause], Hold] = {}
        self._wide = 0  # holds of the box or a venue

    def begin(self, cause: HoldCause, scope: str, now_ns: int, detail: str) -> bool:
        """True if this hold did not stand before; a repeated one only renews its detail."""
        key = (scope, cause)
        standing = self._standing.get(key)
        since_ns = standing.since_ns if standing else now_ns
        self._standing[key] = Hold(cause, scope, since_ns, detail)
        if standing is None and not scope.startswith("instrument:"):
            self._wide += 1
        return standing is None

    def end(self, cause: HoldCause, scope: str) -> Hold | None:
        """The hold that ended, or None if it did not stand."""
        ended = self._standing.pop((scope, cause), None)
        if ended is not None and not scope.startswith("instrument:"):
            self._wide -= 1
        return ended

    def standing(self) -> tuple[Hold, ...]:
        """Oldest first."""
        return tuple(sorted(self._standing.values(), key=lambda h: (h.since_ns, h.scope, h.cause)))

    def on_box(self) -> tuple[Hold, ...]:
        """Holds that keep the whole box from being armed."""
        return tuple(hold for hold in self.standing() if hold.scope == BOX)

    def blocking(self, instrument: InstrumentId) -> Hold | None:
        """A hold that stands on this instrument, its venue or the box."""
        if not self._standing:
            return None
        if self._wide:
            return next(hold for hold in self._standing.values() if not hold.scope.startswith("instrument:"))
        scope = instrument_scope(instrument)
        return next((hold for hold in self._standing.values() if hold.scope == scope), None)
