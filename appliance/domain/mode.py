"""Mode, trip and hold: three different things (SAFETY 1). Numbers are written to the interlock pages."""

from __future__ import annotations

from enum import IntEnum, StrEnum

from msgspec import Struct


class Mode(IntEnum):
    """What the operator's box is doing; latched. A higher number is safer."""

    NORMAL = 1
    PAUSED = 2
    REDUCED = 3
    EMERGENCY = 4


class TripReason(IntEnum):
    """Why the gate was shut to new exposure. `NOT_ARMED` is no trip: nobody armed since this start."""

    NONE = 0
    KILL_BUTTON = 1
    DRAWDOWN = 2
    DAILY_LOSS = 3
    TAMPER = 4
    GUARD_LOST = 5
    CLOCK = 6
    AUDIT_STORE = 7
    DATA_INTEGRITY = 8
    POSITION_DISAGREEMENT = 9
    INVARIANT = 10
    NEVER_ARMED = 11
    FOREIGN_CARD = 12
    NOT_ARMED = 13


MODE_AFTER_TRIP: dict[TripReason, Mode] = {
    TripReason.KILL_BUTTON: Mode.EMERGENCY,
    TripReason.DRAWDOWN: Mode.EMERGENCY,
    TripReason.DAILY_LOSS: Mode.EMERGENCY,
    TripReason.TAMPER: Mode.PAUSED,
    TripReason.GUARD_LOST: Mode.PAUSED,
    TripReason.CLOCK: Mode.PAUSED,
    TripReason.AUDIT_STORE: Mode.PAUSED,
    TripReason.DATA_INTEGRITY: Mode.PAUSED,
    TripReason.POSITION_DISAGREEMENT: Mode.PAUSED,
    TripReason.INVARIANT: Mode.PAUSED,
    TripReason.NEVER_ARMED: Mode.PAUSED,
    TripReason.FOREIGN_CARD: Mode.PAUSED,
    TripReason.NOT_ARMED: Mode.PAUSED,
}
"""The literal table of SAFETY 1. PAUSED never liquidates: the ledger or the clock may be what is wrong.

Configuration may map TAMPER to EMERGENCY; nothing may map another reason to a less safe mode.
"""


class HoldCause(StrEnum):
    """Why new exposure waits; ends by itself with its cause."""

    STARTING = "STARTING"
    RECONCILING = "RECONCILING"
    OTA = "OTA"
    STALE_DATA = "STALE_DATA"
    CLOCK = "CLOCK"
    VENUE_DOWN = "VENUE_DOWN"
    BREAKER = "BREAKER"
    GUARD_LATE = "GUARD_LATE"
    PAGE_MISMATCH = "PAGE_MISMATCH"
    DISK_QUOTA = "DISK_QUOTA"


class Hold(Struct, frozen=True):
    """One standing hold. scope: `box`, `venue:NAME` or `instrument:SYMBOL`; since_ns: UTC."""

    cause: HoldCause
    scope: str
    since_ns: int
    detail: str


BOX = "box"
