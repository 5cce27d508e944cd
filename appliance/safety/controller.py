"""Owns mode, latch and holds: reads the guard's page, trips, steps back, permits arming (SAFETY 1, 3, 6).

The core polls this every few milliseconds and after every order event; the gate does not wait for it, it
reads the page itself. Whatever happens here can only lag behind the page on the safe side: a trip shuts the
gate before this code sees it, and a permit is given only after everything was looked at.
"""

from __future__ import annotations

from msgspec import Struct

from appliance.domain.mode import BOX, HoldCause, Mode, TripReason
from appliance.ports import Clock, GuardLink, GuardStatus, Scribe
from appliance.safety.holds import Holds
from appliance.safety.latch import HEARTBEAT_TRIP_NS, WORD_MASK, CoreLatch, is_fresh
from appliance.safety.modes import ModeEvent, next_mode, trip_event
from appliance.safety.preconditions import Preconditions, missing
from appliance.safety.recovery_plan import RecoveryPlan

MISMATCH_HOLD_NS = 100_000_000
REFUSED_EVERY_NS = 1_000_000_000
_LIQUIDATING = frozenset({TripReason.DRAWDOWN, TripReason.DAILY_LOSS})
_NOTHING_TO_SELL_ON = frozenset(
    {TripReason.POSITION_DISAGREEMENT, TripReason.INVARIANT, TripReason.DATA_INTEGRITY, TripReason.CLOCK}
)
"""While one of these stands, ledger or clock is known to be wrong: nothing is liquidated, whoever asks."""
_BY_NUMBER = {reason.value: reason for reason in TripReason}


class Remembered(Struct, frozen=True):
    """The last mode entry of the log: a restarted core keeps its mode only within the same arm epoch.

    Epochs begin again with every boot and look alike: boot and guard start are part of the comparison.
    """

    mode: Mode
    epoch: int
    generation: int
    boot: str


class StandingTrip(Struct, frozen=True):
    """What is shown: the first reason since the last arming, when it came, and what came later."""

    reason: TripReason
    since_ns: int
    later: tuple[TripReason, ...]
    stored: bool


class _Refusals:
    """Commands the guard refused, told to the log: at most one entry a second, with the guard's running
    count, because a flood must not fill the card."""

    def __init__(self, clock: Clock, scribe: Scribe) -> None:
        self._clock = clock
        self._scribe = scribe
        self._told = 0
        self._told_ns = clock.mono_ns() - REFUSED_EVERY_NS

    def restart(self) -> None:
        """Another guard counts from its start, and what came before our first look is told too."""
        self._told = 0

    def follow(self, status: GuardStatus) -> None:
        """Once for each look at the page."""
        now_ns = self._clock.mono_ns()
        if status.refused == self._told or now_ns - self._told_ns < REFUSED_EVERY_NS:
            return
        self._told, self._told_ns = status.refused, now_ns
        self._scribe.note("arm_refused", {"count": status.refused, "last": status.refusal})


class SafetyController:
    """One per core, owned by the event loop. Implements risk.gate.ModeSource.

    recovery: how much of the limits an arming grants; without one, the default plan on `clock`.
    """

    def __init__(
        self,
        link: GuardLink,
        latch: CoreLatch,
        holds: Holds,
        clock: Clock,
        scribe: Scribe,
        *,
        tamper_is_emergency: bool,
        recovery: RecoveryPlan | None = None,
    ) -> None:
        self._link = link
        self._latch = latch
        self._clock = clock
        self._scribe = scribe
        self._tamper_is_emergency = tamper_is_emergency
        self.holds = holds
        self.recovery = recovery or RecoveryPlan(scribe, clock)
        self.mode = Mode.PAUSED
        self.mode_since_ns = clock.utc_ns()
        self.status = link.status()
        self._epoch = self._generation = self._presses = 0
        self._refusals = _Refusals(clock, scribe)
        self._reasons: dict[TripReason, int] = {}  # reason → UTC ns, in order of arrival
        self._own: list[TripReason] = []  # our requests the guard has not adopted yet
        self._emergency_from = 0  # a button held open in this epoch or later is what EMERGENCY liquidates for
        self._fresh_ns = clock.mono_ns()
        self._mismatch_ns = 0
        self._permitted = 0
        self._last_missing: tuple[str, ...] = ()

    def start(self, remembered: Remembered | None) -> None:
        """Takes the mode from page and log; call once, before the first poll."""
        status = self.status = self._link.status()
        page = status.page
        self._epoch, self._generation = page.state, status.generation
        self._presses = status.arm_presses
        here = (status.boot, status.generation)
        known = remembered is not None and page.present and (remembered.boot, remembered.generation) == here
        same = known and remembered is not None and remembered.epoch == page.state
        if known and remembered is not None:  # what the button did while no core ran came after that entry
            self._emergency_from = remembered.epoch + (remembered.mode is not Mode.EMERGENCY)
        if page.present and not _is_armed(status):
            for reason in _standing_reasons(status):
                self._enter(reason, None if same else _of_guard(status, "stood when the core started"))
        if same and remembered is not None:
            if remembered.mode is not Mode.NORMAL:
                self._set_mode(remembered.mode, "kept over a restart of the core")
            elif _is_armed(status):
                self._latch.clear(page.state)
                self._set_mode(Mode.NORMAL, "kept over a restart of the core: the arm epoch is unchanged")
        self._link.publish_mode(self.mode)

    def trip(self, reason: TripReason, detail: str) -> None:
        """Shuts our side at once, asks the guard to adopt, records. Repeating a reason does nothing."""
        if reason in self._reasons:
            return
        self._latch.trip(reason)
        self._permitted = 0
        self._link.permit(0)
        self._link.request_trip(reason)
        self._own.append(reason)
        self._enter(reason, {"from": "core", "detail": detail})

    def poll(self, now: Preconditions) -> None:
        """Follows the page: heartbeat, trips, arm presses, arming; renews or withdraws the permit."""
        status = self.status = self._link.status()
        self._follow_heartbeat(status)
        if status.page.present:
            self._follow_generation(status)
            tripped = self._follow_trips(status)
            self._watch_mismatch(status)
            self._follow_presses(status, now, void=tripped)
            self._refusals.follow(status)
            if tripped:
                return  # `now` was looked at before this trip: no permit out of its epoch yet
        self._renew_permit(status, now)

    def standing_trip(self) -> StandingTrip | None:
        """None while nothing but "not armed" keeps the gate shut."""
        reasons = [reason for reason in self._reasons if reason is not TripReason.NOT_ARMED]
        if not reasons:
            return None
        stored = self.status.page.present and self.status.stored == self.status.page.state
        return StandingTrip(reasons[0], self._reasons[reasons[0]], tuple(reasons[1:]), stored)

    def liquidation_due(self) -> bool:
        """EMERGENCY, and not by a mere spike: the line read open for 20 ms, or money was lost.

        A trip that comes later does not end it, but for one that says that ledger or clock is wrong.
        """
        if self.mode is not Mode.EMERGENCY or self.withheld():
            return False
        tamper = {TripReason.TAMPER} if self._tamper_is_emergency else set()
        if self._reasons.keys() & (_LIQUIDATING | tamper):
            return True
        return self.status.page.present and self.status.liquidate >= max(1, self._emergency_from)

    def withheld(self) -> tuple[TripReason, ...]:
        """Standing reasons for which nothing is sold: ledger or clock is known to be wrong (SAFETY 1)."""
        return tuple(reason for reason in self._reasons if reason in _NOTHING_TO_SELL_ON)

    def is_alone(self) -> bool:
        """A trip of our own, not adopted, and nobody reads the lines: ours to persist (SAFETY 3)."""
        return bool(self._own) and self._silent_ns() > HEARTBEAT_TRIP_NS

    def missing(self) -> tuple[str, ...]:
        """Names of the preconditions that kept the last poll from permitting a step."""
        return self._last_missing

    def _follow_heartbeat(self, status: GuardStatus) -> None:
        now_ns = self._clock.mono_ns()
        if is_fresh(status.page, now_ns):
            self._fresh_ns = now_ns
            self._end_hold(HoldCause.GUARD_LATE)
            return
        silent_ns = self._silent_ns()
        self._hold(HoldCause.GUARD_LATE, f"no heartbeat of the guard for {silent_ns // 1_000_000} ms")
        if silent_ns > HEARTBEAT_TRIP_NS:
            self.trip(TripReason.GUARD_LOST, f"no heartbeat for {silent_ns // 1_000_000} ms")

    def _silent_ns(self) -> int:
        now_ns, page = self._clock.mono_ns(), self.status.page
        beat_ns = page.heartbeat_ns if page.present and page.heartbeat_ns <= now_ns else 0
        return now_ns - max(self._fresh_ns, beat_ns)

    def _follow_generation(self, status: GuardStatus) -> None:
        if status.generation != self._generation:
            self._generation, self._presses = status.generation, status.arm_presses
            self._refusals.restart()

    def _follow_trips(self, status: GuardStatus) -> bool:
        """True if the epoch moved: whatever was permitted or pressed before is void."""
        page = status.page
        if page.state == self._epoch:
            return False
        if self.mode is not Mode.EMERGENCY:
            self._emergency_from = self._epoch + 1
        self._epoch = page.state
        if _is_armed(status):
            return True
        latest = _reason(status.last)
        self._latch.trip(latest)
        for reason in _standing_reasons(status):
            if reason is not latest and reason not in self._reasons:
                self._follow_trip(reason)
        self._follow_trip(latest)
        return True

    def _follow_trip(self, reason: TripReason) -> None:
        adopted = reason in self._own
        if adopted:
            self._own.remove(reason)
        self._enter(reason, _of_guard(self.status, "adopted" if adopted else ""))

    def _watch_mismatch(self, status: GuardStatus) -> None:
        page, now_ns = status.page, self._clock.mono_ns()
        if page.state == page.armed and not _is_armed(status):
            self._mismatch_ns = self._mismatch_ns or now_ns
            if now_ns - self._mismatch_ns > MISMATCH_HOLD_NS:
                self._hold(HoldCause.PAGE_MISMATCH, "the armed epoch and its complement disagree")
        else:
            self._mismatch_ns = 0
            self._end_hold(HoldCause.PAGE_MISMATCH)

    def _follow_presses(self, status: GuardStatus, now: Preconditions, *, void: bool) -> None:
        if status.arm_presses == self._presses:
            return
        armed, page = _is_armed(status), status.page
        if status.arm_outcome == "ARMED" and not armed and page.state == self._epoch and not void:
            return  # the words were read while the guard was writing them: look again
        self._presses = status.arm_presses
        lacking = missing(self.mode, now)
        press = self._scribe.note("arm_press", _describe_press(status, self.mode, now, void=void)).index
        if void:
            return  # an arm press takes 4 s, a look 20 ms: this one was made before the trip
        if status.arm_outcome == "ARMED" and armed and self._permitted == page.state:
            self._arm(page.state, press)
        elif status.arm_outcome == "STEP" and not lacking:
            event = ModeEvent.STEP_FLAT if now.flat else ModeEvent.STEP_HOLDING
            self._set_mode(next_mode(self.mode, event), "arm press", (press,))

    def _arm(self, epoch: int, press: int) -> None:
        """Our side of the arming the guard made durable, naming our permit's epoch. press: its log index."""
        self.recovery.armed()
        self._latch.clear(epoch)
        self._reasons.clear()
        self._own.clear()
        self._permitted = 0
        self._link.permit(0)
        self._set_mode(next_mode(self.mode, ModeEvent.ARMED), "armed", (press,))
        self._scribe.note("arm", {"epoch": epoch, "mode": self.mode.name}, causes=(press,))

    def _renew_permit(self, status: GuardStatus, now: Preconditions) -> None:
        self._last_missing = missing(self.mode, now) + tuple(
            f"hold {hold.cause}" for hold in self.holds.on_box()
        )
        ready = status.page.present and self.mode is Mode.PAUSED and not self._last_missing
        permit = status.page.state if ready else 0
        if permit != self._permitted:
            self._permitted = permit
            self._link.permit(permit)

    def _enter(self, reason: TripReason, told: dict[str, object] | None) -> None:
        """The mode first, whatever becomes of the records. told: for the log, None if it has the trip."""
        event = trip_event(reason, self._tamper_is_emergency)
        before, standing = self._take_mode(next_mode(self.mode, event)), tuple(self._reasons)
        self._reasons.setdefault(reason, self._clock.utc_ns())
        causes: tuple[int, ...] = ()
        if told is not None and reason is not TripReason.NOT_ARMED:  # a guard that started is no trip
            told = {"reason": reason.name, "mode": self.mode.name} | told
            causes = (self._scribe.note("trip", told).index,)
        self.recovery.tripped(reason, standing, emergency=event is ModeEvent.TRIP_EMERGENCY)
        self._note_mode(before, reason.name, causes)

    def _set_mode(self, mode: Mode, why: str, causes: tuple[int, ...] = ()) -> None:
        self._note_mode(self._take_mode(mode), why, causes)

    def _take_mode(self, mode: Mode) -> Mode:
        """Lights and arming see it at once. Returns the mode before."""
        before, self.mode = self.mode, mode
        if mode is not before:
            self.mode_since_ns = self._clock.utc_ns()
            self._link.publish_mode(mode)
        return before

    def _note_mode(self, before: Mode, why: str, causes: tuple[int, ...]) -> None:
        if self.mode is before:
            return
        data: dict[str, object] = {
            "from": before.name, "to": self.mode.name, "why": why, "epoch": self._link.read().state,
            "generation": self._generation, "boot": self.status.boot,
        }  # fmt: skip
        if self.mode is Mode.EMERGENCY and self.withheld():
            data["liquidation_withheld"] = [reason.name for reason in self.withheld()]
        self._scribe.note("mode", data, causes=causes)

    def _end_hold(self, cause: HoldCause) -> None:
        if self.holds.end(cause, BOX) is not None:
            self._scribe.note("hold_end", {"cause": cause, "scope": BOX})

    def _hold(self, cause: HoldCause, why: str) -> None:
        if self.holds.begin(cause, BOX, self._clock.utc_ns(), why):
            self._scribe.note("hold", {"cause": cause, "scope": BOX, "detail": why})


def _of_guard(status: GuardStatus, detail: str) -> dict[str, object]:
    """What the log says of a trip the guard's page shows: `_epoch` has followed that page by then."""
    epoch, mono_ns = status.page.state, str(status.trip_ns)
    return {"from": "guard", "detail": detail, "epoch": epoch, "mono_ns": mono_ns}


def _describe_press(status: GuardStatus, mode: Mode, now: Preconditions, *, void: bool) -> dict[str, object]:
    data = {
        "outcome": status.arm_outcome,
        "mode": mode.name,
        "conditions": now.named(),
        "source": status.arm_source,
        "operator": status.arm_operator,
        "press": status.arm_presses,
    }
    return data | ({"void": "a trip came after it"} if void else {})


def _is_armed(status: GuardStatus) -> bool:
    page = status.page
    return page.present and page.state == page.armed == page.complement ^ WORD_MASK


def _standing_reasons(status: GuardStatus) -> tuple[TripReason, ...]:
    first = _reason(status.page.reason)
    return (first, *sorted(status.later - {first})) if first is not TripReason.NONE else ()


def _reason(number: int) -> TripReason:
    """The reason of a page word; a number nobody knows is a bug on the other side."""
    return _BY_NUMBER.get(number, TripReason.INVARIANT)
