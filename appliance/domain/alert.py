"""Alerts: what a person is told within 5 s of its event (RTS 6 Art. 16(5); CONTROLS 19). R0.

An alert is made of these literal sentences, of names and of numbers. No free text of a log entry, of a
venue's answer or of an exception ever enters one: it leaves the box through whatever command the owner
configured, so it can carry no secret, no position and no P&L (SAFETY 12). `log_index` names the entry that
has the details.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class AlertKind(StrEnum):
    """What happened or stands. The first block is domain.mode.TripReason, name by name (tests compare)."""

    KILL_BUTTON = "KILL_BUTTON"
    DRAWDOWN = "DRAWDOWN"
    DAILY_LOSS = "DAILY_LOSS"
    TAMPER = "TAMPER"
    GUARD_LOST = "GUARD_LOST"
    CLOCK = "CLOCK"
    AUDIT_STORE = "AUDIT_STORE"
    DATA_INTEGRITY = "DATA_INTEGRITY"
    POSITION_DISAGREEMENT = "POSITION_DISAGREEMENT"
    INVARIANT = "INVARIANT"
    NEVER_ARMED = "NEVER_ARMED"
    FOREIGN_CARD = "FOREIGN_CARD"
    NOT_ARMED = "NOT_ARMED"
    CORE_LOST = "CORE_LOST"
    CORE_LOOP = "CORE_LOOP"
    TRIP_NOT_STORED = "TRIP_NOT_STORED"
    LINES_UNREADABLE = "LINES_UNREADABLE"
    PAGE_MISMATCH = "PAGE_MISMATCH"
    HOLD = "HOLD"
    VENUE_DOWN = "VENUE_DOWN"
    CLOCK_HOLD = "CLOCK_HOLD"
    DISK_FILLING = "DISK_FILLING"
    DISK_QUOTA = "DISK_QUOTA"
    DISK_RESERVE = "DISK_RESERVE"
    DEGRADED = "DEGRADED"
    LOSS_LEVEL = "LOSS_LEVEL"
    STRATEGY_STOP = "STRATEGY_STOP"
    UPSTREAM_ALARM = "UPSTREAM_ALARM"
    VENUE_PROBLEM = "VENUE_PROBLEM"
    LOG_GAP = "LOG_GAP"
    LOG_UNREADABLE = "LOG_UNREADABLE"
    HOOK_FAILED = "HOOK_FAILED"
    TEST = "TEST"


class Severity(StrEnum):
    """critical: somebody should come now.  warning: somebody should look today.  info: nothing to do."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


class Phase(StrEnum):
    """began: first word of it.  again: it stood already, or `more` came since.  ended: it stands no more."""

    BEGAN = "began"
    AGAIN = "again"
    ENDED = "ended"


_C, _W, _I = Severity.CRITICAL, Severity.WARNING, Severity.INFO

MEANING: dict[AlertKind, tuple[Severity, str]] = {
    AlertKind.KILL_BUTTON: (_C, "The red button was pressed."),
    AlertKind.DRAWDOWN: (_C, "The account fell below its peak by more than the drawdown limit."),
    AlertKind.DAILY_LOSS: (_C, "The loss of the day passed its limit."),
    AlertKind.TAMPER: (_C, "The tamper contact opened."),
    AlertKind.GUARD_LOST: (_C, "The guard, which watches the button, stopped answering."),
    AlertKind.CLOCK: (_C, "The clock could not be trusted for an hour."),
    AlertKind.AUDIT_STORE: (_C, "The audit log could not be written."),
    AlertKind.DATA_INTEGRITY: (_C, "Stored data or price data failed its check."),
    AlertKind.POSITION_DISAGREEMENT: (_C, "A venue and the ledger disagree about a position."),
    AlertKind.INVARIANT: (_C, "The core found itself in a state that must not exist."),
    AlertKind.NEVER_ARMED: (_W, "There is no record that this box was ever armed."),
    AlertKind.FOREIGN_CARD: (_C, "The record of arming belongs to another board or card."),
    AlertKind.NOT_ARMED: (_W, "Nobody has armed the box since it started."),
    AlertKind.CORE_LOST: (_C, "The core stopped: it hangs, is gone, or had to be started again."),
    AlertKind.CORE_LOOP: (_C, "The core was started again three times within five minutes."),
    AlertKind.TRIP_NOT_STORED: (_C, "A trip stands that is not stored on disk."),
    AlertKind.LINES_UNREADABLE: (_C, "The guard cannot read its lines."),
    AlertKind.PAGE_MISMATCH: (_C, "Two words of the guard's page disagree."),
    AlertKind.HOLD: (_W, "Holds have kept new exposure waiting for longer than allowed."),
    AlertKind.VENUE_DOWN: (_W, "The venue does not answer."),
    AlertKind.CLOCK_HOLD: (_W, "The clock stepped back or is not synchronised."),
    AlertKind.DISK_FILLING: (_W, "Four fifths of the disk quota are gone."),
    AlertKind.DISK_QUOTA: (_W, "The disk has no room to spare, or nobody knows: new exposure waits."),
    AlertKind.DISK_RESERVE: (_C, "The disk reserve for exits is in use, or cannot be allocated."),
    AlertKind.DEGRADED: (_W, "A part of the core has not been ok for longer than allowed."),
    AlertKind.LOSS_LEVEL: (_W, "The loss of the day passed a mark before its limit."),
    AlertKind.STRATEGY_STOP: (_W, "A strategy was stopped by its own limit."),
    AlertKind.UPSTREAM_ALARM: (_C, "The witness refuses the log or shows another history of it."),
    AlertKind.VENUE_PROBLEM: (_W, "The venue reported something that does not fit our books."),
    AlertKind.LOG_GAP: (_W, "An exit left before its entry in the audit log was durable."),
    AlertKind.LOG_UNREADABLE: (_W, "The audit log cannot be read: alerts that come from it are missing."),
    AlertKind.HOOK_FAILED: (_W, "The alert hook failed: nobody outside the box was told."),
    AlertKind.TEST: (_I, "This is a test of the alert hook."),
}
"""Severity and sentence of every kind."""


def severity(kind: AlertKind) -> Severity:
    """How urgent a kind is; the same for ever, so that it can be a label of a metric."""
    return MEANING[kind][0]


def text(kind: AlertKind) -> str:
    """What a kind says."""
    return MEANING[kind][1]


class Alert(Struct, frozen=True, kw_only=True):
    """One thing to tell. As JSON it is what the hook reads; nanoseconds are strings there.

    number: counts the alerts of this box's state directory from 1.  subject: a strategy, a scope, or "".
    standing: whether it stood when this was made.  more: occurrences since the last alert of this kind and
    subject, this one not counted.  event_ns, alert_ns: UTC of the first occurrence not told yet (of the
    end, in `ended`) and of this alert.  delay_ns: between both.  recovery: empty in `ended`.  log_index:
    entry of the audit log with the details, if there was one by then.
    """

    v: int = 1
    box: str
    number: int
    kind: AlertKind
    severity: Severity
    phase: Phase
    standing: bool
    subject: str
    text: str
    recovery: str
    more: int
    event_ns: int
    alert_ns: int
    delay_ns: int
    log_index: int | None
