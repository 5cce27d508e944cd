"""What the two interlock pages and the audit log say, as conditions and events (`alerts.Look`).

The pages are the truth about what stands; the log adds what only it knows: a stopped strategy, the witness's
alarm, holds by cause, and trips the guard has forgotten or never adopted. A trip ends by arming and by
nothing else: what was seen once stands until an open gate, or the log, says that somebody armed.

A page of another boot, or none, is no answer: what it told before neither begins nor ends, until START_NS
have passed without one.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from appliance.domain.alert import AlertKind
from appliance.domain.mode import HoldCause, TripReason
from appliance.safety.alerts import TRIP_KINDS, Look, Sign
from appliance.safety.latch import HEARTBEAT_TRIP_NS, WORD_MASK

CORE_LOST_NS = 1_000_000_000
GUARD_LOST_NS = HEARTBEAT_TRIP_NS
START_NS = 30_000_000_000
LOOP_NS, LOOP_STARTS = 300_000_000_000, 3
TAMPER_OPEN, LINES_UNKNOWN = 4, 8  # hardware.pages.LevelBit (tests/rules compares)

HOLD_KINDS: Mapping[str, AlertKind] = {
    HoldCause.VENUE_DOWN.value: AlertKind.VENUE_DOWN,
    HoldCause.CLOCK.value: AlertKind.CLOCK_HOLD,
    HoldCause.DISK_QUOTA.value: AlertKind.DISK_QUOTA,
}
"""Holds that are told by their cause, from the log; every hold counts for HOLD, from the core's page."""

LOG_KINDS = (
    "start", "stop", "arm", "trip", "hold", "hold_end", "loss_level", "strategy_stop", "upstream", "venue",
    "gap", "disk",
)  # fmt: skip
"""Entries that are read."""

_NUMBERS = {reason.value: reason for reason in TripReason if reason is not TripReason.NONE}
_FROM_GUARD = frozenset(TRIP_KINDS.values()) - {AlertKind.GUARD_LOST} | {
    AlertKind.TRIP_NOT_STORED,
    AlertKind.LINES_UNREADABLE,
    AlertKind.PAGE_MISMATCH,
}
_UNTIL_ARMED = frozenset(TRIP_KINDS.values()) - {AlertKind.GUARD_LOST, AlertKind.TAMPER}
_FROM_CORE = frozenset({AlertKind.HOLD, AlertKind.DEGRADED})


class GuardView(Struct, frozen=True, kw_only=True):
    """The guard's page, of this boot, with a heartbeat; words as in hardware.pages.GuardWord."""

    heartbeat_ns: int
    state: int
    armed: int
    complement: int
    reason: int
    later: int
    last: int
    stored: int
    trip_ns: int
    levels: int
    tampers: int


class CoreView(Struct, frozen=True, kw_only=True):
    """The core's page, of this boot, with a heartbeat."""

    heartbeat_ns: int
    generation: int
    holds: int
    degraded: int


class LogLine(Struct, frozen=True, kw_only=True):
    """One entry of LOG_KINDS."""

    index: int
    utc_ns: int
    kind: str
    data: Mapping[str, object]


class Seen(Struct, frozen=True, kw_only=True):
    """Everything one look found. lines: entries since the last look, in the log's order."""

    mono_ns: int
    utc_ns: int
    guard: GuardView | None
    core: CoreView | None
    lines: tuple[LogLine, ...] = ()
    log_unreadable: bool = False
    hook_failed: bool = False


class Mark(Struct, frozen=True):
    """When something began (UTC) and which entry says so."""

    utc_ns: int
    index: int


class Known(Struct, kw_only=True):
    """What earlier looks have told, for the next one and for the next life of the process.

    trips, holds ("CAUSE scope"), alarm, disk (kinds that stand): as the log tells them.  stop_ns, beat_ns:
    UTC of the core's last clean stop and last heartbeat.  The rest is of one boot only: epoch and reasons of
    the guard's page, its count of tamper openings, the core's generation, whether it was lost, and when it
    was started again (CLOCK_MONOTONIC).
    """

    trips: dict[str, Mark] = field(default_factory=dict)
    holds: dict[str, Mark] = field(default_factory=dict)
    alarm: Mark | None = None
    disk: dict[AlertKind, Mark] = field(default_factory=dict)
    stop_ns: int = 0
    beat_ns: int = 0
    epoch: int | None = None
    reasons: tuple[int, ...] = ()
    tampers: int | None = None
    generation: int | None = None
    core_lost: bool = False
    starts_ns: tuple[int, ...] = ()

    def another_boot(self) -> None:
        """Forgets what the pages of the last boot said."""
        self.epoch = self.tampers = self.generation = None
        self.core_lost = False
        self.reasons = self.starts_ns = ()


class Facts:
    """Turns each `Seen` into a `Look`. since_ns: CLOCK_MONOTONIC since which this process looks."""

    def __init__(self, since_ns: int, known: Known) -> None:
        self._since_ns = since_ns
        self.known = known

    def look(self, seen: Seen) -> Look:
        """Call once per look, in order."""
        found = _Found(seen)
        for line in seen.lines:
            self._read(line, found)
        self._guard(seen, found)
        self._core(seen, found)
        self._log(found)
        if seen.log_unreadable:
            found.stands(AlertKind.LOG_UNREADABLE)
        if seen.hook_failed:
            found.stands(AlertKind.HOOK_FAILED)
        return Look(
            standing=tuple(found.standing), events=tuple(found.events), unknown=frozenset(found.unknown)
        )

    def _read(self, line: LogLine, found: _Found) -> None:
        known, data, mark = self.known, line.data, Mark(line.utc_ns, line.index)
        cause, name = str(data.get("cause")), f"{data.get('cause')} {data.get('scope')}"
        reason = str(data.get("reason"))
        if line.kind == "start":  # holds and alarm were the last process's; this one says them again
            known.holds.clear()
            known.disk.clear()
            known.alarm = None
        elif line.kind == "stop":
            known.stop_ns = line.utc_ns
        elif line.kind == "arm":
            known.trips.clear()
        elif line.kind == "trip" and reason in AlertKind.__members__:
            known.trips.setdefault(reason, mark)
        elif line.kind == "hold" and cause in HOLD_KINDS:
            known.holds.setdefault(name, mark)
        elif line.kind == "hold_end":
            known.holds.pop(name, None)
        elif line.kind == "upstream" and data.get("alarm"):
            known.alarm = known.alarm or mark
        elif line.kind == "disk":
            known.disk = {kind: known.disk.get(kind, mark) for kind in _disk_kinds(data)}
        elif line.kind == "loss_level":
            found.happened(AlertKind.LOSS_LEVEL, "slow" if data.get("level") == "slow" else "alert", mark)
        elif line.kind == "strategy_stop":
            found.happened(AlertKind.STRATEGY_STOP, str(data.get("strategy")), mark)
        elif line.kind in ("venue", "gap"):
            kind = AlertKind.VENUE_PROBLEM if line.kind == "venue" else AlertKind.LOG_GAP
            found.happened(kind, "", mark)

    def _guard(self, seen: Seen, found: _Found) -> None:
        guard, known = seen.guard, self.known
        if guard is None:
            self._log_trips(found)
            found.unknown |= _FROM_GUARD
            if seen.mono_ns - self._since_ns >= START_NS:
                found.stands(AlertKind.GUARD_LOST)
            else:
                found.unknown.add(AlertKind.GUARD_LOST)
            return
        if seen.mono_ns - guard.heartbeat_ns > GUARD_LOST_NS:
            found.stands(AlertKind.GUARD_LOST, event_ns=found.utc_of(guard.heartbeat_ns))
        elif _is_open(guard):
            known.trips.clear()
        if not _is_open(guard):
            found.unknown |= _UNTIL_ARMED
        self._page_trips(guard, found)
        self._log_trips(found)
        tampered = known.tampers is not None and guard.tampers > known.tampers
        if guard.levels & TAMPER_OPEN and not guard.levels & LINES_UNKNOWN:
            found.stands(AlertKind.TAMPER)
        elif tampered and not found.has(AlertKind.TAMPER):
            found.happened(AlertKind.TAMPER)
        known.tampers = guard.tampers
        if guard.levels & LINES_UNKNOWN:
            found.stands(AlertKind.LINES_UNREADABLE)
        if guard.armed == guard.state and guard.armed ^ guard.complement != WORD_MASK:
            found.stands(AlertKind.PAGE_MISMATCH)

    def _page_trips(self, guard: GuardView, found: _Found) -> None:
        """The page's reasons; a trip of a reason that stood already moved the epoch and is an event."""
        known = self.known
        numbers = _reasons(guard)
        moved = guard.state != known.epoch
        for number in numbers:
            reason = _NUMBERS.get(number, TripReason.INVARIANT)
            first = number == guard.reason
            mark = known.trips.get(reason.name)
            told_ns = mark.utc_ns if mark else found.seen.utc_ns
            event_ns = found.utc_of(guard.trip_ns) if first and guard.trip_ns else told_ns
            found.stands(TRIP_KINDS[reason], event_ns=event_ns, log_index=mark.index if mark else None)
            if moved and number == guard.last and number in known.reasons:
                found.happened(TRIP_KINDS[reason])
        tripped = any(number != TripReason.NOT_ARMED for number in numbers)
        if tripped and guard.stored != guard.state:
            found.stands(AlertKind.TRIP_NOT_STORED, event_ns=found.utc_of(guard.trip_ns))
        known.epoch, known.reasons = guard.state, numbers

    def _log_trips(self, found: _Found) -> None:
        """What nobody armed after: a guard that was started again has forgotten it, or never heard of it."""
        for name, mark in self.known.trips.items():
            if not found.has(AlertKind[name]):
                found.stands(AlertKind[name], event_ns=mark.utc_ns, log_index=mark.index)

    def _core(self, seen: Seen, found: _Found) -> None:
        core, known = seen.core, self.known
        if core is None:
            found.unknown |= _FROM_CORE
            if seen.mono_ns - self._since_ns >= START_NS:
                found.stands(AlertKind.CORE_LOST)
            else:
                found.unknown.add(AlertKind.CORE_LOST)
        else:
            beat_ns = found.utc_of(core.heartbeat_ns)
            starts = self._starts(core, beat_ns)
            lost = seen.mono_ns - core.heartbeat_ns > CORE_LOST_NS
            if lost:
                found.stands(AlertKind.CORE_LOST, event_ns=beat_ns)
                found.unknown |= _FROM_CORE
            elif starts and not known.core_lost:  # back within CORE_LOST_NS: it was gone all the same
                found.happened(AlertKind.CORE_LOST)
            if not lost and core.holds:
                found.stands(AlertKind.HOLD)
            if not lost and core.degraded:
                found.stands(AlertKind.DEGRADED)
            known.core_lost = lost
            known.starts_ns += (seen.mono_ns,) * min(starts, LOOP_STARTS)
        recent = tuple(at for at in known.starts_ns if seen.mono_ns - at < LOOP_NS)
        known.starts_ns = recent[-LOOP_STARTS:]
        if len(known.starts_ns) >= LOOP_STARTS:
            found.stands(AlertKind.CORE_LOOP)

    def _starts(self, core: CoreView, beat_ns: int) -> int:
        """Starts since the last look but for one after a clean stop: that was somebody's wish."""
        known = self.known
        new = 0 if known.generation is None else max(0, core.generation - known.generation)
        wished = new > 0 and known.stop_ns >= known.beat_ns
        known.generation, known.beat_ns = core.generation, beat_ns
        return new - wished

    def _log(self, found: _Found) -> None:
        for name, mark in self.known.holds.items():
            cause, _, scope = name.partition(" ")
            if cause in HOLD_KINDS:
                found.stands(HOLD_KINDS[cause], scope, event_ns=mark.utc_ns, log_index=mark.index)
        for kind, mark in self.known.disk.items():
            found.stands(kind, event_ns=mark.utc_ns, log_index=mark.index)
        if self.known.alarm is not None:
            alarm = self.known.alarm
            found.stands(AlertKind.UPSTREAM_ALARM, event_ns=alarm.utc_ns, log_index=alarm.index)


class _Found:
    """Collects one look's signs."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.standing: list[Sign] = []
        self.events: list[Sign] = []
        self.unknown: set[AlertKind] = set()

    def stands(
        self, kind: AlertKind, subject: str = "", event_ns: int | None = None, log_index: int | None = None
    ) -> None:
        """A condition; event_ns defaults to now."""
        at_ns = self.seen.utc_ns if event_ns is None else event_ns
        self.standing.append(Sign(kind=kind, subject=subject, event_ns=at_ns, log_index=log_index))

    def happened(self, kind: AlertKind, subject: str = "", mark: Mark | None = None) -> None:
        """An event, of the log or of now."""
        at_ns, index = (self.seen.utc_ns, None) if mark is None else (mark.utc_ns, mark.index)
        self.events.append(Sign(kind=kind, subject=subject, event_ns=at_ns, log_index=index))

    def has(self, kind: AlertKind) -> bool:
        """Whether it stands in this look."""
        return any(sign.kind is kind for sign in self.standing)

    def utc_of(self, mono_ns: int) -> int:
        """A moment of this boot on the UTC clock."""
        return self.seen.utc_ns - max(0, self.seen.mono_ns - mono_ns)


def _disk_kinds(data: Mapping[str, object]) -> list[AlertKind]:
    """What stands after an entry about the disk."""
    filling, reserve = data.get("level") in ("alert", "hold"), data.get("reserve") in ("missing", "in use")
    return [AlertKind.DISK_FILLING] * filling + [AlertKind.DISK_RESERVE] * reserve


def _is_open(guard: GuardView) -> bool:
    return guard.state == guard.armed == guard.complement ^ WORD_MASK


def _reasons(guard: GuardView) -> tuple[int, ...]:
    """First reason, then later ones; unknown numbers stay, they are INVARIANT."""
    if guard.reason == TripReason.NONE:
        return ()
    later = (number for number in range(1, 64) if guard.later >> number & 1)
    return (guard.reason, *(number for number in later if number != guard.reason))
