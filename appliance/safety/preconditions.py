"""What must be true before a step towards NORMAL, as named booleans; `all()` decides (SAFETY 6).

The whole table is logged with every arm press and shown with the trip, so that a person reads what is
missing instead of guessing.
"""

from __future__ import annotations

from msgspec import Struct

from appliance.domain.mode import Mode


class Preconditions(Struct, frozen=True, kw_only=True):
    """One consistent picture of what arming depends on.

    guard_fresh: page present, heartbeat young.  trip_stored: the latch on disk matches the standing trip.
    reconciled: every order's fate is known.  cancels_confirmed: the venue lists no order that could
    increase exposure.  flat: nothing is held, dust aside; the arm press that leaves PAUSED accepts what is.
    losses_in_limits: arming again would not trip at once.  clock_ok: synchronised, or a replay clock.
    store_ok: the audit log takes entries.
    """

    guard_fresh: bool
    trip_stored: bool
    reconciled: bool
    cancels_confirmed: bool
    flat: bool
    losses_in_limits: bool
    clock_ok: bool
    store_ok: bool

    def named(self) -> dict[str, bool]:
        """For the log and the page."""
        return {name: bool(getattr(self, name)) for name in self.__struct_fields__}


NEEDED: dict[Mode, tuple[str, ...]] = {
    Mode.EMERGENCY: ("guard_fresh", "trip_stored", "reconciled", "cancels_confirmed", "store_ok"),
    Mode.REDUCED: ("guard_fresh", "trip_stored", "reconciled", "cancels_confirmed", "store_ok"),
    Mode.PAUSED: (
        "guard_fresh",
        "trip_stored",
        "reconciled",
        "cancels_confirmed",
        "losses_in_limits",
        "clock_ok",
        "store_ok",
    ),
}
"""What leaving a mode needs. `flat` only decides whether EMERGENCY leads to PAUSED or to REDUCED."""


def missing(mode: Mode, now: Preconditions) -> tuple[str, ...]:
    """Names of what still keeps the box in `mode`; empty means that a step may be taken."""
    return tuple(name for name in NEEDED.get(mode, ()) if not getattr(now, name))
