"""What the page says: one sentence for each mode, trip reason, hold cause, lamp pattern and state.

The words are those of PRODUCT.md. Every table covers its enum (tests/unit/test_web_words.py); a name that is
in no table is shown as it is, never left out.
"""

from __future__ import annotations

from appliance.domain.alert import Severity
from appliance.domain.mode import HoldCause, Mode, TripReason
from appliance.domain.reasons import MEANING, Reason

MODE: dict[str, str] = {
    Mode.NORMAL.name: "Orders that pass every check are sent to the venue.",
    Mode.PAUSED.name: "No new exposure. Positions and their protective orders stay; exits and cancels pass.",
    Mode.REDUCED.name: "Exposure is worked down step by step. Only orders that reduce it, and cancels, pass.",
    Mode.EMERGENCY.name: "Open orders are cancelled and positions are liquidated. No new exposure is sent.",
}
HELD = "Armed, but a hold stands: no new exposure in its scope until its cause ends. Exits and cancels pass."
MODE_UNKNOWN = "This page does not know the mode. Look at the lamps on the box."

TRIP: dict[str, str] = {
    TripReason.KILL_BUTTON.name: "The red button was pressed.",
    TripReason.DRAWDOWN.name: "The account fell below its peak by more than the drawdown limit.",
    TripReason.DAILY_LOSS.name: "The loss of the day passed its limit.",
    TripReason.TAMPER.name: "The tamper contact opened.",
    TripReason.GUARD_LOST.name: "The guard, which watches the button, stopped answering.",
    TripReason.CLOCK.name: "The clock could not be trusted for an hour.",
    TripReason.AUDIT_STORE.name: "The audit log could not be written.",
    TripReason.DATA_INTEGRITY.name: "Stored data or price data failed its check.",
    TripReason.POSITION_DISAGREEMENT.name: "A venue and the ledger disagree about a position.",
    TripReason.INVARIANT.name: "The core found itself in a state that must not exist.",
    TripReason.NEVER_ARMED.name: "There is no record that this box was ever armed.",
    TripReason.FOREIGN_CARD.name: "The record of arming belongs to another board or card.",
    TripReason.NOT_ARMED.name: "Nobody has armed the box since it started.",
}

HOLD: dict[str, str] = {
    HoldCause.STARTING.value: "The box is starting.",
    HoldCause.RECONCILING.value: "Orders and positions are being compared with the venue.",
    HoldCause.OTA.value: "An update is being installed.",
    HoldCause.STALE_DATA.value: "Market data is too old.",
    HoldCause.CLOCK.value: "The clock stepped back or is not synchronised.",
    HoldCause.VENUE_DOWN.value: "The venue does not answer.",
    HoldCause.BREAKER.value: "Calls to the venue failed too often. They are tried again.",
    HoldCause.GUARD_LATE.value: "The guard's heartbeat is late.",
    HoldCause.PAGE_MISMATCH.value: "Two words of the guard's page disagree.",
    HoldCause.DISK_QUOTA.value: "The disk has no room to spare, or nobody knows.",
}

MISSING: dict[str, str] = {
    "guard_fresh": "the guard answers",
    "trip_stored": "the trip is stored on disk",
    "reconciled": "the fate of every order is known",
    "cancels_confirmed": "the venue confirms the cancels",
    "flat": "nothing is held",
    "losses_in_limits": "losses are inside their limits",
    "clock_ok": "the clock is synchronised",
    "store_ok": "the audit log takes entries and its disk reserve is in place",
}
"""What an arm press waits for, by the names of `Status.missing`."""

MAY_ARM = "the core permits the next step"

PATTERN: dict[str, str] = {
    "off": "",
    "pulse": "a short blink every second",
    "slow": "half a second on, half a second off",
    "fast": "five blinks a second",
    "double": "two short blinks every second",
    "steady": "on without a break",
}

FEED: dict[str, str] = {
    "running": "running",
    "stopped": "stopped by a trip",
    "finished": "finished",
    "live": "live",
    "starting": "starting",
}

SEVERITIES = tuple(severity.value for severity in Severity)
DISK_LEVELS = ("ok", "alert", "hold")
VERDICTS = ("approved", "denied")
RESERVE_STATES = ("in place", "missing", "in use")
PART_STATES = ("ok", "degraded", "down")
STRATEGY_STATES = ("running", "stopped")

SIMULATED = ("Simulated board", "button, key and lamps are simulated; paper venues only")
NO_REALTIME = (
    "No real-time priority",
    "under load the button may act later than designed",
)
UNSEALED = ("Unsealed", "changed limits take effect without the 24 h delay")
RECOVERY = "Recovery plan"
RECOVERY_DUE = "after an emergency, the next arming gives new exposure a share of its limits only"


def reason(code: str) -> str:
    """Sentence for a denial's reason code; empty for a code this version does not know."""
    return MEANING[Reason(code)] if code in Reason.__members__ else ""
