"""What a person does after a trip, one sentence per reason; shown on the page, in the log and by `status`."""

from __future__ import annotations

from appliance.domain.mode import TripReason

_ARM = (
    "press and release the kill button (proof test), then hold the arm key for 3 s, once per step"
    " (where there is no key: interlock operator arm)"
)
_HELD = "; before that nothing is sold, by no press and by no limit"

RECOVERY: dict[TripReason, str] = {
    TripReason.KILL_BUTTON: f"release the button, wait until cancelled and flat, then {_ARM}",
    TripReason.DRAWDOWN: (
        f"the account is below its drawdown limit: wait until cancelled and flat, then {_ARM};"
        " in PAUSED, before the last step, reset its peak (interlock operator reset-peak: signed, in the log)"
    ),
    TripReason.DAILY_LOSS: f"wait for the next trading day (UTC), then {_ARM}",
    TripReason.TAMPER: f"inspect the case and close it, then {_ARM}",
    TripReason.GUARD_LOST: f"see that the guard runs and reads its lines (interlock doctor), then {_ARM}",
    TripReason.CLOCK: (
        "see what keeps the clock from being right (interlock doctor), wait for 10 minutes synchronised,"
        f" then {_ARM}{_HELD}"
    ),
    TripReason.AUDIT_STORE: (
        "free or replace the disk; if the log failed, restart the machine and run interlock verify; then arm"
    ),
    TripReason.DATA_INTEGRITY: (
        "find what failed its check (interlock audit show trip; interlock verify), mend it,"
        f" then {_ARM}{_HELD}"
    ),
    TripReason.POSITION_DISAGREEMENT: (
        f"compare the positions with the venue, correct the cause, then {_ARM}{_HELD}"
    ),
    TripReason.INVARIANT: f"read the log, report the bug, restart the core, then {_ARM}{_HELD}",
    TripReason.NEVER_ARMED: f"this box was never armed, or was tripped when it lost power: {_ARM}",
    TripReason.FOREIGN_CARD: f"this card belongs to another box: make sure it is the right one, then {_ARM}",
    TripReason.NOT_ARMED: _ARM,
}
