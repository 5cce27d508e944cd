"""Modes, trips, holds and arming, driven through a guard's page (SAFETY 1, 3, 6)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from appliance.domain.errors import InvariantError
from appliance.domain.mode import BOX, MODE_AFTER_TRIP, HoldCause, Mode, TripReason
from appliance.domain.reasons import Reason
from appliance.ports import Ticket
from appliance.safety.controller import Remembered, SafetyController
from appliance.safety.holds import Holds, instrument_scope, venue_scope
from appliance.safety.latch import HEARTBEAT_HOLD_NS, HEARTBEAT_TRIP_NS, WORD_MASK, CoreLatch
from appliance.safety.modes import SYSTEM_MODE, TRANSITIONS, ModeEvent, next_mode, trip_event
from appliance.safety.preconditions import NEEDED, Preconditions, missing
from appliance.safety.recovery import RECOVERY
from tests.kit import SPX, FakeClock, FakeGuard, FakeScribe

READY = Preconditions(
    guard_fresh=True,
    trip_stored=True,
    reconciled=True,
    cancels_confirmed=True,
    flat=True,
    losses_in_limits=True,
    clock_ok=True,
    store_ok=True,
)


def _with(**changes: bool) -> Preconditions:
    return Preconditions(**{**READY.named(), **changes})


class Box:
    """A controller on a fake guard that was never armed, unless told otherwise."""

    def __init__(self, *, armed: bool = False, tamper_is_emergency: bool = False) -> None:
        self.clock = FakeClock()
        self.guard = FakeGuard(self.clock)
        self.scribe = FakeScribe()
        self.latch = CoreLatch(self.guard, self.clock)
        self.holds = Holds()
        self.safety = SafetyController(
            self.guard,
            self.latch,
            self.holds,
            self.clock,
            self.scribe,
            tamper_is_emergency=tamper_is_emergency,
        )
        if not armed:
            self.guard.armed = 0
            self.guard.reason = self.guard.last = TripReason.NEVER_ARMED
        self.safety.start(None)

    def poll(self, now: Preconditions = READY) -> Mode:
        """One look at the page."""
        self.safety.poll(now)
        return self.safety.mode

    def arm(self) -> None:
        """From wherever it stands in PAUSED to NORMAL."""
        self.poll()
        assert self.guard.permits[-1] == self.guard.state
        self.guard.press_key("ARMED")
        assert self.poll() is Mode.NORMAL
        assert self.latch.is_open()


@pytest.mark.safety("S1.1")
@pytest.mark.parametrize(("mode", "event"), list(itertools.product(Mode, ModeEvent)))
def test_every_pair_of_the_mode_table(mode: Mode, event: ModeEvent) -> None:
    """Safer modes at once, back one step at a time, NORMAL only by arming out of PAUSED."""
    after = next_mode(mode, event)
    if event is ModeEvent.TRIP_EMERGENCY:
        assert after is Mode.EMERGENCY
    if after is Mode.NORMAL and mode is not Mode.NORMAL:
        assert (mode, event) == (Mode.PAUSED, ModeEvent.ARMED)
    if event in (ModeEvent.STEP_FLAT, ModeEvent.STEP_HOLDING):
        assert after <= mode
    if (mode, event) not in TRANSITIONS:
        assert after is mode


@pytest.mark.safety("S1.5")
@pytest.mark.parametrize("reason", [reason for reason in TripReason if reason is not TripReason.NONE])
def test_each_trip_reason_leads_to_the_mode_of_the_table(reason: TripReason) -> None:
    """SAFETY 1; PAUSED never liquidates."""
    box = Box(armed=True)
    box.guard.trip(reason)
    box.latch.clear(6)
    assert box.poll() is MODE_AFTER_TRIP[reason]
    assert not box.latch.is_open()
    assert box.safety.liquidation_due() is (reason in (TripReason.DRAWDOWN, TripReason.DAILY_LOSS))


@pytest.mark.safety("S1.4")
def test_tamper_can_be_configured_to_be_an_emergency() -> None:
    """U04: reaction by configuration."""
    box = Box(armed=True, tamper_is_emergency=True)
    box.guard.trip(TripReason.TAMPER)
    assert box.poll() is Mode.EMERGENCY
    assert box.safety.liquidation_due()
    assert trip_event(TripReason.TAMPER, tamper_is_emergency=False) is ModeEvent.TRIP_PAUSED


@pytest.mark.parametrize(("operator", "source"), [("", "KEY"), ("00000000c0ffee00", "OPERATOR")])
def test_the_log_says_who_made_an_arm_press(operator: str, source: str) -> None:
    """The arm key, or the operator's key by its fingerprint (C04, HW-14); a step is a step either way."""
    box = Box()
    box.guard.trip(TripReason.KILL_BUTTON)
    box.poll()
    box.guard.press_key(operator=operator)
    assert box.poll() is Mode.PAUSED
    entry = box.scribe.of("arm_press")[-1]
    assert (entry["source"], entry["operator"], entry["press"]) == (source, operator, 1)


def test_refused_commands_are_logged_once_a_second() -> None:
    """With the running count: a flood is one line a second, and nothing of it is lost from the sum."""
    box = Box()
    box.poll()
    assert box.scribe.of("arm_refused") == []
    for count in range(1, 2001):
        box.guard.refused, box.guard.refusal = count, "BAD_SIGNATURE"
        box.clock.pass_ns(1_000_000)
        box.poll()
    entries = box.scribe.of("arm_refused")
    assert [entry["count"] for entry in entries] == [1, 1001]
    assert entries[0]["last"] == "BAD_SIGNATURE"
    box.clock.pass_ns(1_000_000_000)
    box.poll()
    assert box.scribe.of("arm_refused")[-1]["count"] == 2000


def test_refusals_are_counted_from_the_guards_start() -> None:
    """After a restart of the guard its count begins again, and so does ours."""
    box = Box()
    box.guard.refused = 3
    box.poll()
    box.clock.pass_ns(1_000_000_000)
    box.guard.generation, box.guard.refused = 2, 3
    box.poll()
    assert [entry["count"] for entry in box.scribe.of("arm_refused")] == [3, 3]


def test_every_boot_starts_shut_and_paused() -> None:
    """SAFETY 1."""
    box = Box()
    assert box.poll() is Mode.PAUSED
    trip = box.safety.standing_trip()
    assert trip is not None
    assert trip.reason is TripReason.NEVER_ARMED


def test_a_trip_is_shown_as_stored_only_when_this_one_is() -> None:
    """Not while the guard's disk is behind, not because an earlier one was, not without a page."""
    box = Box(armed=True)
    box.guard.trip(TripReason.TAMPER)
    box.poll()
    box.guard.trip(TripReason.KILL_BUTTON, stored=False)
    for stored, present in ((False, True), (True, True), (False, False)):
        box.guard.stored = box.guard.state if stored or not present else box.guard.stored
        box.guard.present = present
        box.poll()
        trip = box.safety.standing_trip()
        assert trip is not None
        assert trip.stored is stored


@pytest.mark.safety("S6.3")
def test_the_way_from_the_button_to_normal() -> None:
    """EMERGENCY → PAUSED (flat) → NORMAL, one arm press each (SAFETY 6)."""
    box = Box()
    box.guard.trip(TripReason.KILL_BUTTON)
    assert box.poll() is Mode.EMERGENCY
    assert box.guard.permits[-1:] in ([], [0])
    box.guard.press_key()
    assert box.poll() is Mode.PAUSED
    box.arm()
    assert box.safety.standing_trip() is None


@pytest.mark.safety("S6.3")
def test_with_positions_the_way_leads_through_reduced() -> None:
    """EMERGENCY → REDUCED → PAUSED."""
    box = Box()
    box.guard.trip(TripReason.KILL_BUTTON)
    box.poll()
    for expected in (Mode.REDUCED, Mode.PAUSED):
        box.guard.press_key()
        assert box.poll(_with(flat=False)) is expected


@pytest.mark.parametrize("mode", list(NEEDED))
def test_each_precondition_keeps_the_box_where_it_is(mode: Mode) -> None:
    """Named booleans; one missing is enough, and it is told by name."""
    for name in NEEDED[mode]:
        assert missing(mode, _with(**{name: False})) == (name,)
    assert missing(mode, READY) == ()


@pytest.mark.safety("S6.6", "HW-14")
@pytest.mark.parametrize("name", NEEDED[Mode.EMERGENCY])
def test_a_press_without_its_preconditions_takes_no_step(name: str) -> None:
    """It is logged with the whole table."""
    box = Box()
    box.guard.trip(TripReason.KILL_BUTTON)
    box.poll()
    box.guard.press_key()
    assert box.poll(_with(**{name: False})) is Mode.EMERGENCY
    assert box.safety.missing() == (name,)
    assert box.scribe.of("arm_press")[-1]["conditions"][name] is False


@pytest.mark.safety("S6.6")
@pytest.mark.parametrize("name", NEEDED[Mode.PAUSED])
def test_no_permit_without_every_precondition(name: str) -> None:
    """The permit is withdrawn as soon as one fails."""
    box = Box()
    box.poll()
    assert box.guard.permits[-1] == box.guard.state
    box.poll(_with(**{name: False}))
    assert box.guard.permits[-1] == 0


@pytest.mark.safety("S1.14")
def test_no_permit_while_a_hold_stands_on_the_box() -> None:
    """STARTING and RECONCILING end before anybody can arm."""
    box = Box()
    box.holds.begin(HoldCause.RECONCILING, BOX, 1, "test")
    box.poll()
    assert box.guard.permits in ([], [0])
    assert box.safety.missing() == ("hold RECONCILING",)


@pytest.mark.safety("S3.8")
def test_an_arming_nobody_permitted_is_not_followed() -> None:
    """The guard's word alone does not open the core's side."""
    box = Box()
    box.poll(_with(reconciled=False))
    box.guard.press_key("ARMED")
    assert box.poll() is Mode.PAUSED
    assert not box.latch.is_open()


def test_a_trip_between_permit_and_press_voids_the_permit() -> None:
    """The permit names the epoch."""
    box = Box()
    box.poll()
    box.guard.trip(TripReason.TAMPER)
    box.guard.press_key("ARMED")
    assert box.poll() is Mode.PAUSED
    assert not box.latch.is_open()


def test_the_button_pressed_again_after_a_step_is_an_emergency_again() -> None:
    """Also when its reason stood already: the latest trip decides the mode."""
    box = Box()
    box.guard.trip(TripReason.KILL_BUTTON)
    box.poll()
    box.guard.press_key()
    assert box.poll() is Mode.PAUSED
    box.guard.trip(TripReason.KILL_BUTTON)
    assert box.poll() is Mode.EMERGENCY


def test_a_later_milder_trip_does_not_end_an_emergency_nor_bring_one_back() -> None:
    """First reason wins; later ones are recorded."""
    box = Box()
    box.guard.trip(TripReason.KILL_BUTTON)
    box.poll()
    box.guard.press_key()
    box.poll()
    box.guard.trip(TripReason.TAMPER)
    assert box.poll() is Mode.PAUSED
    trip = box.safety.standing_trip()
    assert trip is not None
    assert (trip.reason, trip.later) == (TripReason.NEVER_ARMED, (TripReason.KILL_BUTTON, TripReason.TAMPER))


@pytest.mark.safety("S3.9")
def test_the_cores_own_trip_shuts_at_once_and_asks_the_guard() -> None:
    """Before the guard has adopted it, and without one (SAFETY 3)."""
    box = Box()
    box.arm()
    box.safety.trip(TripReason.DRAWDOWN, "test")
    assert not box.latch.is_open()
    assert box.safety.mode is Mode.EMERGENCY
    assert box.guard.requests == [TripReason.DRAWDOWN]
    box.safety.trip(TripReason.DRAWDOWN, "again")
    assert len(box.guard.requests) == 1
    box.guard.trip(TripReason.DRAWDOWN)
    box.poll()
    told = [entry["detail"] for entry in box.scribe.of("trip")]
    assert told == ["stood when the core started", "test", "adopted"]


@pytest.mark.safety("S1.17", "S1.28", "S3.14", "S3.15")
@pytest.mark.parametrize(
    ("silent_ns", "held", "tripped"),
    [
        (HEARTBEAT_HOLD_NS, False, False),
        (HEARTBEAT_HOLD_NS + 1, True, False),
        (HEARTBEAT_TRIP_NS, True, False),
        (HEARTBEAT_TRIP_NS + 1, True, True),
    ],
)
def test_a_silent_guard_is_a_hold_then_a_trip(silent_ns: int, held: bool, tripped: bool) -> None:
    """250 ms and 2 s are the last allowed ages; the trip holds positions."""
    box = Box()
    box.arm()
    box.guard.freeze()
    box.clock.mono += silent_ns
    box.poll()
    assert bool(box.holds.on_box()) is held
    assert box.safety.mode is (Mode.PAUSED if tripped else Mode.NORMAL)
    assert box.latch.is_open() is not held


@pytest.mark.safety("S1.9")
def test_a_guard_that_comes_back_in_time_ends_the_hold() -> None:
    """A hold ends by itself with its cause, and trading goes on in the same arm epoch."""
    box = Box()
    box.arm()
    box.guard.freeze()
    box.clock.mono += 300_000_000
    box.poll()
    box.guard.beating = True
    assert box.poll() is Mode.NORMAL
    assert box.latch.is_open()
    assert box.scribe.kinds()[-2:] == ["hold", "hold_end"]


@pytest.mark.safety("S3.15")
def test_a_missing_page_is_a_silent_guard() -> None:
    """Unknown is tripped: also when the page was never there."""
    box = Box()
    box.arm()
    box.guard.present = False
    box.poll()
    assert box.latch.look(box.clock.mono)[0] is Reason.GUARD_MISSING
    box.clock.mono += HEARTBEAT_TRIP_NS + 1
    assert box.poll() is Mode.PAUSED


def test_a_restarted_guard_leads_to_paused_without_a_trip() -> None:
    """SAFETY 1: shut, not tripped; nothing is liquidated."""
    box = Box()
    box.arm()
    box.guard.generation += 1
    box.guard.state += 1
    box.guard.reason = box.guard.last = TripReason.NOT_ARMED
    box.guard.presses = 0
    assert box.poll() is Mode.PAUSED
    assert box.safety.standing_trip() is None
    assert not box.latch.is_open()
    assert [entry["reason"] for entry in box.scribe.of("trip")] == ["NEVER_ARMED"], "of the start"
    box.arm()


@pytest.mark.safety("S3.7")
def test_a_mismatch_that_lasts_becomes_a_hold() -> None:
    """SAFETY 3: it denies the order at once and becomes a hold if it persists."""
    box = Box()
    box.arm()
    box.guard.complement ^= 1
    box.poll()
    assert not box.latch.is_open()
    assert box.holds.on_box() == ()
    box.clock.mono += 100_000_001
    box.poll()
    assert [hold.cause for hold in box.holds.on_box()] == [HoldCause.PAGE_MISMATCH]
    box.guard.complement = box.guard.state ^ WORD_MASK
    box.poll()
    assert box.holds.on_box() == ()


def test_an_arming_read_while_it_was_being_written_is_looked_at_again() -> None:
    """The press is counted and the words are not there yet: nothing is lost, nothing is said twice."""
    box = Box()
    box.poll()
    box.guard.press_key("ARMED")
    written, box.guard.complement = box.guard.complement, 0
    assert box.poll() is Mode.PAUSED
    assert box.scribe.of("arm_press") == []
    box.guard.complement = written
    assert box.poll() is Mode.NORMAL
    assert [entry["outcome"] for entry in box.scribe.of("arm_press")] == ["ARMED"]
    assert box.latch.is_open()


@pytest.mark.safety("S1.25")
@pytest.mark.parametrize(
    ("mode", "epoch", "generation", "kept"),
    [
        (Mode.NORMAL, 0, 0, True),
        (Mode.NORMAL, 1, 0, False),
        (Mode.NORMAL, 0, 1, False),
    ],
)
def test_a_restarted_core_keeps_its_mode_only_in_the_same_arm_epoch(
    mode: Mode, epoch: int, generation: int, kept: bool
) -> None:
    """SAFETY 1."""
    box = Box()
    box.arm()
    again = SafetyController(
        box.guard,
        latch := CoreLatch(box.guard, box.clock),
        Holds(),
        box.clock,
        FakeScribe(),
        tamper_is_emergency=False,
    )
    again.start(
        Remembered(mode, box.guard.state + epoch, box.guard.generation + generation, box.guard.boot)
    )
    assert (again.mode is Mode.NORMAL) is kept
    assert latch.is_open() is kept


def test_a_core_that_restarts_while_tripped_knows_the_reason_from_the_page() -> None:
    """And keeps a step that was taken within the same epoch."""
    box = Box()
    box.guard.trip(TripReason.KILL_BUTTON)
    for remembered, mode in (
        (None, Mode.EMERGENCY),
        (Remembered(Mode.REDUCED, box.guard.state, 1, "boot"), Mode.REDUCED),
        (Remembered(Mode.NORMAL, box.guard.state, 1, "boot"), Mode.EMERGENCY),
    ):
        again = SafetyController(
            box.guard,
            CoreLatch(box.guard, box.clock),
            Holds(),
            box.clock,
            FakeScribe(),
            tamper_is_emergency=False,
        )
        again.start(remembered)
        assert again.mode is mode


def test_liquidation_waits_for_20_ms_of_open_line() -> None:
    """One EMI spike must not sell the book; the guard says when."""
    box = Box()
    box.arm()
    box.guard.trip(TripReason.KILL_BUTTON)
    box.poll()
    assert not box.safety.liquidation_due()
    box.guard.liquidate = box.guard.state
    box.poll()
    assert box.safety.liquidation_due()


def test_an_unknown_reason_number_is_a_bug_of_the_other_side() -> None:
    """INVARIANT, PAUSED."""
    box = Box()
    box.arm()
    box.guard.state += 1
    box.guard.reason = box.guard.last = 99  # type: ignore[assignment]
    assert box.poll() is Mode.PAUSED
    trip = box.safety.standing_trip()
    assert trip is not None
    assert trip.reason is TripReason.INVARIANT


@pytest.mark.safety("S1.10")
def test_holds_have_scopes() -> None:
    """Box and venue block everything, an instrument only itself."""
    holds = Holds()
    assert holds.blocking(SPX) is None
    assert holds.begin(HoldCause.STALE_DATA, instrument_scope(SPX), 5, "old")
    assert not holds.begin(HoldCause.STALE_DATA, instrument_scope(SPX), 9, "older")
    hold = holds.blocking(SPX)
    assert hold is not None
    assert (hold.since_ns, hold.detail) == (5, "older")
    assert holds.blocking(type(SPX)("NDX")) is None
    holds.begin(HoldCause.VENUE_DOWN, venue_scope("paper"), 6, "")
    assert holds.blocking(type(SPX)("NDX")) is not None
    assert [hold.cause for hold in holds.standing()] == [HoldCause.STALE_DATA, HoldCause.VENUE_DOWN]
    assert holds.end(HoldCause.VENUE_DOWN, venue_scope("paper")) is not None
    assert holds.end(HoldCause.VENUE_DOWN, venue_scope("paper")) is None
    assert holds.blocking(type(SPX)("NDX")) is None


def test_every_reason_tells_the_person_what_to_do() -> None:
    """And every mode has its projection (C03)."""
    assert set(RECOVERY) | {TripReason.NONE} == set(TripReason)
    assert set(SYSTEM_MODE) == set(Mode)


def test_a_trip_counts_although_its_record_cannot_be_written() -> None:
    """Latch, mode and lights first: a log that refuses an entry does not keep an emergency away."""
    box = Box(armed=True)
    box.poll()

    def refuses(*_arguments: object, **_named: object) -> None:
        raise InvariantError("the log refuses")

    box.scribe.note = refuses  # type: ignore[assignment, method-assign]
    with pytest.raises(InvariantError):
        box.safety.trip(TripReason.DRAWDOWN, "x")
    assert not box.latch.is_open()
    assert box.safety.mode is Mode.EMERGENCY
    assert box.guard.modes[-1] is Mode.EMERGENCY


def test_a_mode_follows_from_its_trip() -> None:
    """The entry of the mode names the trip's; arm presses: tests/flow/test_what_is_logged.py."""
    box = Box(armed=True)
    box.poll()
    seen: dict[int, tuple[str, tuple[int, ...]]] = {}
    real = box.scribe.note

    def note(kind: str, data: Mapping[str, object], *, causes: Sequence[int] = (), **named: Any) -> Ticket:
        ticket = real(kind, data, causes=causes, **named)
        seen[ticket.index] = (kind, tuple(causes))
        return ticket

    box.scribe.note = note  # type: ignore[method-assign]
    box.safety.trip(TripReason.DRAWDOWN, "x")
    (mode,) = [causes for kind, causes in seen.values() if kind == "mode"]
    assert [seen[cause][0] for cause in mode] == ["trip"]
