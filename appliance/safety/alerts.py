"""When is somebody told? One rule per kind, and the machine that turns looks into alerts (CONTROLS 19).

A look says what stands now, what happened, and what could not be seen. Per kind and subject the machine
keeps one case, in the states of two questions: does it stand (`active`), and does the reader believe so
(`told`)?

- What happened is told in the look that shows it, unless the same case was told within the limit: then it
  waits for the end of the limit and is told once, with a count. So the first is never late and never lost.
- A condition counts once it has stood for the rule's `after_ns`, and is over once it was gone for QUIET_NS:
  a contact that chatters is one condition.
- An end is told at the earliest when the limit would allow the next beginning. Told sooner, a condition that
  comes back at once would be believed over until the limit ends.
- What could not be seen neither begins nor ends.

Nothing here knows a clock, a page or a file; times are CLOCK_MONOTONIC except where they say UTC.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from msgspec import Struct

from appliance.domain.alert import Alert, AlertKind, Phase, Severity, severity, text
from appliance.domain.mode import TripReason
from appliance.safety.recovery import RECOVERY

QUIET_NS = 2_000_000_000
SUBJECTS_MAX = 32
"""Cases of one kind with a subject of their own; what comes beyond shares the subject ""."""

_NAME = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_RANK = {Severity.CRITICAL: 0, Severity.WARNING: 1, Severity.INFO: 2}
_NS = 1_000_000_000


class Rule(Struct, frozen=True):
    """recovery: what a person does.  after_ns: how long it stands before it counts, LONG for hold_after."""

    recovery: str
    after_ns: int = 0


LONG = -1

_SHOW = "interlock audit show with the alert's log_index has the details"
_ROOM = "free room on the disk, or give [storage] quota more"
_TRIPS = {AlertKind[reason.name]: Rule(RECOVERY[reason]) for reason in RECOVERY}

RULES: dict[AlertKind, Rule] = _TRIPS | {
    AlertKind.CORE_LOST: Rule("interlock status; the core's log lines say why; while tripped see the venue"),
    AlertKind.CORE_LOOP: Rule("read the core's log lines; interlock doctor"),
    AlertKind.TRIP_NOT_STORED: Rule("keep the power on; free or replace the disk", 3 * _NS // 2),
    AlertKind.LINES_UNREADABLE: Rule("see that the board and its wires are in place; interlock doctor"),
    AlertKind.PAGE_MISMATCH: Rule("restart the machine; if it comes back, replace the memory", _NS // 2),
    AlertKind.HOLD: Rule("the status page names the holds; each ends with its cause", LONG),
    AlertKind.VENUE_DOWN: Rule("see whether the venue answers; nothing has to be armed afterwards", _NS),
    AlertKind.CLOCK_HOLD: Rule("see that the machine reaches its time servers"),
    AlertKind.DISK_FILLING: Rule(f"{_ROOM}; at 95 % new exposure waits"),
    AlertKind.DISK_QUOTA: Rule(f"{_ROOM}; the hold ends by itself below 90 %"),
    AlertKind.DISK_RESERVE: Rule(f"{_ROOM}; nobody arms before the reserve is allocated again, by itself"),
    AlertKind.DEGRADED: Rule("the status page names the part", LONG),
    AlertKind.LOSS_LEVEL: Rule(f"at the limit the box trips to EMERGENCY and sells; {_SHOW}"),
    AlertKind.STRATEGY_STOP: Rule(f"its exposure is worked down, the others go on; {_SHOW}"),
    AlertKind.UPSTREAM_ALARM: Rule(f"stop and compare both logs before anything else; {_SHOW}"),
    AlertKind.VENUE_PROBLEM: Rule(_SHOW),
    AlertKind.LOG_GAP: Rule(f"the disk was too slow for an exit; {_SHOW}"),
    AlertKind.LOG_UNREADABLE: Rule("interlock verify; interlock doctor", 2 * _NS),
    AlertKind.HOOK_FAILED: Rule("interlock alerts --test"),
    AlertKind.TEST: Rule("nothing"),
}
"""Every kind's rule. Trips have the recovery of the page. After + one look + the hook stays below 5 s."""

TRIP_KINDS: Mapping[TripReason, AlertKind] = {reason: AlertKind[reason.name] for reason in RECOVERY}


class Sign(Struct, frozen=True, kw_only=True):
    """Something seen. event_ns: UTC of its beginning.  subject: a name, or ""."""

    kind: AlertKind
    subject: str = ""
    event_ns: int
    log_index: int | None = None


class Look(Struct, frozen=True, kw_only=True):
    """standing: conditions of this moment.  events: what happened since the last look.  unknown: kinds of
    which this look cannot say that they do not stand."""

    standing: tuple[Sign, ...]
    events: tuple[Sign, ...]
    unknown: frozenset[AlertKind]


class Case(Struct, kw_only=True):
    """One kind and subject. raw: seen in the last look, since or not since changed_ns.  unsaid: occurrences
    nobody was told.  told_ns: when somebody was last told that it began; None: not within the limit."""

    kind: AlertKind
    subject: str
    raw: bool = False
    changed_ns: int
    active: bool = False
    told: bool = False
    told_ns: int | None = None
    unsaid: int = 0
    event_ns: int
    log_index: int | None = None


class Alarms:
    """The machine. limit_ns: least time between two alerts that the same case began or came again.
    hold_after_ns: `after_ns` of the rules that say LONG.  cases, number: as an earlier life left them."""

    def __init__(
        self, box: str, limit_ns: int, hold_after_ns: int, cases: Iterable[Case] = (), number: int = 0
    ) -> None:
        self._box = box
        self._limit_ns = limit_ns
        self._hold_after_ns = hold_after_ns
        self._cases = {(case.kind, case.subject): case for case in cases}
        self.number = number

    def observe(self, look: Look, now_ns: int, utc_ns: int) -> list[Alert]:
        """The alerts this look calls for, most urgent first."""
        seen = set()
        for sign in look.standing:
            case = self._case(sign, now_ns)
            seen.add((case.kind, case.subject))
            if not (case.raw or case.active or case.unsaid):
                case.event_ns, case.log_index = sign.event_ns, sign.log_index
            case.log_index = sign.log_index if case.log_index is None else case.log_index
        for sign in look.events:
            case = self._case(sign, now_ns)
            if not case.unsaid:
                case.event_ns, case.log_index = sign.event_ns, sign.log_index
            case.unsaid += 1
        alerts = []
        for key, case in list(self._cases.items()):
            self._settle(case, key in seen or (case.raw and case.kind in look.unknown), now_ns)
            alerts += self._tell(case, now_ns, utc_ns)
            if not (case.raw or case.active or case.told or case.unsaid or self._limited(case, now_ns)):
                del self._cases[key]
        return sorted(alerts, key=urgency)

    def standing(self) -> list[Case]:
        """Cases that stand, most urgent first."""
        found = [case for case in self._cases.values() if case.active]
        return sorted(found, key=lambda case: (_RANK[severity(case.kind)], case.event_ns))

    def cases(self) -> tuple[Case, ...]:
        """What a later life needs to know."""
        return tuple(self._cases.values())

    def make(self, case: Case, phase: Phase, more: int, utc_ns: int) -> Alert:
        """The next alert."""
        self.number += 1
        return Alert(
            box=self._box,
            number=self.number,
            kind=case.kind,
            severity=severity(case.kind),
            phase=phase,
            standing=case.active,
            subject=case.subject,
            text=text(case.kind),
            recovery="" if phase is Phase.ENDED else RULES[case.kind].recovery,
            more=more,
            event_ns=case.event_ns,
            alert_ns=utc_ns,
            delay_ns=max(0, utc_ns - case.event_ns),
            log_index=case.log_index,
        )

    def _case(self, sign: Sign, now_ns: int) -> Case:
        subject = sign.subject if _NAME.fullmatch(sign.subject) else ""
        if subject and (sign.kind, subject) not in self._cases:
            same = sum(kind == sign.kind and bool(name) for kind, name in self._cases)
            subject = subject if same < SUBJECTS_MAX else ""
        key = (sign.kind, subject)
        if key not in self._cases:
            self._cases[key] = Case(
                kind=sign.kind, subject=subject, changed_ns=now_ns, event_ns=sign.event_ns
            )
        return self._cases[key]

    def _settle(self, case: Case, raw: bool, now_ns: int) -> None:
        """Follows the condition: stands once it lasted, is over once it was quiet."""
        if raw != case.raw:
            case.raw, case.changed_ns = raw, now_ns
        lasted_ns = now_ns - case.changed_ns
        if raw and not case.active and lasted_ns >= self._after_ns(case.kind):
            case.active = True
            case.unsaid += 1
        elif not raw and case.active and lasted_ns >= QUIET_NS:
            case.active = False

    def _tell(self, case: Case, now_ns: int, utc_ns: int) -> list[Alert]:
        if self._limited(case, now_ns):
            return []
        if case.unsaid:
            phase, more = (Phase.AGAIN if case.told else Phase.BEGAN), case.unsaid - 1
            case.told, case.told_ns, case.unsaid = case.active, now_ns, 0
            return [self.make(case, phase, more, utc_ns)]
        if case.told and not case.active:
            case.told = False
            case.event_ns = utc_ns - (now_ns - case.changed_ns)
            return [self.make(case, Phase.ENDED, 0, utc_ns)]
        return []

    def _limited(self, case: Case, now_ns: int) -> bool:
        return case.told_ns is not None and now_ns - case.told_ns < self._limit_ns

    def _after_ns(self, kind: AlertKind) -> int:
        after_ns = RULES[kind].after_ns
        return self._hold_after_ns if after_ns == LONG else after_ns


def urgency(alert: Alert) -> tuple[int, int]:
    """Sorting key: most urgent first, then oldest."""
    return _RANK[alert.severity], alert.number


def trial_alert(box: str, utc_ns: int) -> Alert:
    """What `interlock alerts --test` sends."""
    case = Case(kind=AlertKind.TEST, subject="", changed_ns=0, event_ns=utc_ns)
    return Alarms(box, 0, 0).make(case, Phase.BEGAN, 0, utc_ns)
