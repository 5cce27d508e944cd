"""The modes as a literal transition table (SAFETY 1, 6; C03).

Safer modes are reached at once, by a trip. The way back is one step per arm press, and the last step, to
NORMAL, is taken by the guard: it arms, the core follows. What is not in the table does not happen.
"""

from __future__ import annotations

from enum import Enum

from appliance.domain.mode import MODE_AFTER_TRIP, Mode, TripReason


class ModeEvent(Enum):
    """What can move the mode."""

    TRIP_EMERGENCY = "a trip that liquidates"
    TRIP_PAUSED = "a trip that holds positions"
    STEP_FLAT = "arm press, nothing held"
    STEP_HOLDING = "arm press, positions held"
    ARMED = "the guard armed out of the standing epoch"
    SHUT = "the guard is not armed (any more), without a trip"


TRANSITIONS: dict[tuple[Mode, ModeEvent], Mode] = {
    (Mode.NORMAL, ModeEvent.TRIP_EMERGENCY): Mode.EMERGENCY,
    (Mode.NORMAL, ModeEvent.TRIP_PAUSED): Mode.PAUSED,
    (Mode.NORMAL, ModeEvent.SHUT): Mode.PAUSED,
    (Mode.PAUSED, ModeEvent.TRIP_EMERGENCY): Mode.EMERGENCY,
    (Mode.PAUSED, ModeEvent.TRIP_PAUSED): Mode.PAUSED,
    (Mode.PAUSED, ModeEvent.SHUT): Mode.PAUSED,
    (Mode.PAUSED, ModeEvent.ARMED): Mode.NORMAL,
    (Mode.REDUCED, ModeEvent.TRIP_EMERGENCY): Mode.EMERGENCY,
    # A trip that holds positions says that the ledger or the clock may be wrong: working down stops.
    (Mode.REDUCED, ModeEvent.TRIP_PAUSED): Mode.PAUSED,
    (Mode.REDUCED, ModeEvent.SHUT): Mode.REDUCED,
    (Mode.REDUCED, ModeEvent.STEP_FLAT): Mode.PAUSED,
    (Mode.REDUCED, ModeEvent.STEP_HOLDING): Mode.PAUSED,
    # A person pressed the button or money was lost: a later, milder reason does not end that.
    (Mode.EMERGENCY, ModeEvent.TRIP_EMERGENCY): Mode.EMERGENCY,
    (Mode.EMERGENCY, ModeEvent.TRIP_PAUSED): Mode.EMERGENCY,
    (Mode.EMERGENCY, ModeEvent.SHUT): Mode.EMERGENCY,
    (Mode.EMERGENCY, ModeEvent.STEP_FLAT): Mode.PAUSED,
    (Mode.EMERGENCY, ModeEvent.STEP_HOLDING): Mode.REDUCED,
}
"""(mode, event) → mode. An absent pair leaves the mode as it is: PAUSED takes no step without arming."""


def next_mode(mode: Mode, event: ModeEvent) -> Mode:
    """The mode after `event`; unchanged if the table has no row."""
    return TRANSITIONS.get((mode, event), mode)


def trip_event(reason: TripReason, tamper_is_emergency: bool) -> ModeEvent:
    """What a trip reason does to the mode (SAFETY 1). NONE is not a trip: KeyError."""
    if reason is TripReason.NOT_ARMED:
        return ModeEvent.SHUT
    if reason is TripReason.TAMPER and tamper_is_emergency:
        return ModeEvent.TRIP_EMERGENCY
    emergency = MODE_AFTER_TRIP[reason] is Mode.EMERGENCY
    return ModeEvent.TRIP_EMERGENCY if emergency else ModeEvent.TRIP_PAUSED


SYSTEM_MODE: dict[Mode, str] = {
    Mode.NORMAL: "FullPerformance",
    Mode.PAUSED: "SafeMode",
    Mode.REDUCED: "SafeMode",
    Mode.EMERGENCY: "EmergencyShutdown",
}
"""Read-only projection for tools that know the three-mode model (C03, U07)."""
