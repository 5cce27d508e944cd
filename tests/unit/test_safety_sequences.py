"""Sequences of trips, presses and restarts that must end where SAFETY 1, 3 and 6 say (independent table)."""

from __future__ import annotations

import itertools

import pytest

from appliance.domain.mode import BOX, HoldCause, Mode, TripReason
from appliance.domain.reasons import Reason
from appliance.safety.controller import Remembered, SafetyController
from appliance.safety.holds import Holds, instrument_scope, venue_scope
from appliance.safety.latch import HEARTBEAT_HOLD_NS, HEARTBEAT_TRIP_NS, WORD_MASK, CoreLatch, refusal
from appliance.safety.modes import SYSTEM_MODE
from tests.kit import SPX, FakeScribe
from tests.unit.test_safety_controller import READY, Box, _with

# SAFETY 1 once more, row by row, in the assessor's own hand; NEVER_ARMED and FOREIGN_CARD are SAFETY 5.
SELLS = {"KILL_BUTTON", "DRAWDOWN", "DAILY_LOSS"}
HOLDS_POSITIONS = {
    "GUARD_LOST", "CLOCK", "AUDIT_STORE", "DATA_INTEGRITY", "POSITION_DISAGREEMENT", "INVARIANT", "TAMPER",
    "NEVER_ARMED", "FOREIGN_CARD",
}  # fmt: skip
KNOWN_WRONG = {"POSITION_DISAGREEMENT", "INVARIANT", "DATA_INTEGRITY", "CLOCK"}
REASONS = [TripReason[name] for name in sorted(SELLS | HOLDS_POSITIONS)]
OF_THE_CORE = [reason for reason in REASONS if reason.name not in {"KILL_BUTTON", "TAMPER", "NEVER_ARMED"}]


def _restarted(box: Box, remembered: Remembered | None) -> SafetyController:
    again = SafetyController(
        box.guard,
        CoreLatch(box.guard, box.clock),
        Holds(),
        box.clock,
        FakeScribe(),
        tamper_is_emergency=False,
    )
    again.start(remembered)
    again.poll(READY)
    return again


def _last_mode(box: Box) -> Remembered:
    """What the log would give back."""
    entry = box.scribe.of("mode")[-1]
    return Remembered(Mode[entry["to"]], entry["epoch"], entry["generation"], entry["boot"])


def _in(mode: Mode) -> Box:
    """A box that got into `mode` the way a person gets there, with positions held."""
    box = Box(armed=mode is Mode.NORMAL)
    if mode is Mode.NORMAL:
        box.arm()
        return box
    if mode in (Mode.REDUCED, Mode.EMERGENCY):
        box.guard.trip(TripReason.KILL_BUTTON)
        box.poll()
    if mode is Mode.REDUCED:
        box.guard.press_key()
        box.poll(_with(flat=False))
    assert box.poll(_with(reconciled=False)) is mode
    return box


def test_every_reason_is_in_the_table_once() -> None:
    """No reason without a row, none in two rows."""
    assert SELLS | HOLDS_POSITIONS | {"NONE", "NOT_ARMED"} == {reason.name for reason in TripReason}
    assert not SELLS & HOLDS_POSITIONS


@pytest.mark.safety("S1.1", "S1.4", "S1.5")
@pytest.mark.parametrize("start", list(Mode))
@pytest.mark.parametrize("reason", REASONS)
def test_a_reason_leads_to_its_mode_from_every_mode(start: Mode, reason: TripReason) -> None:
    """EMERGENCY rows always; PAUSED rows from all but EMERGENCY, which a milder reason does not end."""
    box = _in(start)
    box.guard.trip(reason)
    after = box.poll()
    if reason.name in SELLS:
        assert after is Mode.EMERGENCY
    else:
        assert after is (Mode.EMERGENCY if start is Mode.EMERGENCY else Mode.PAUSED)
    assert not box.latch.is_open()


@pytest.mark.safety("S1.3", "HW-14")
@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(REASONS, 2)))
@pytest.mark.parametrize("in_one_look", [False, True])
def test_two_reasons_in_every_order(first: TripReason, second: TripReason, in_one_look: bool) -> None:
    """The first wins, the second is recorded, both are in the log; also when one look finds both."""
    box = _in(Mode.NORMAL)
    before = len(box.scribe.of("trip"))
    box.guard.trip(first)
    if not in_one_look:
        box.poll()
    box.guard.trip(second)
    sells = {first.name, second.name} & SELLS
    assert box.poll() is (Mode.EMERGENCY if sells else Mode.PAUSED)
    trip = box.safety.standing_trip()
    assert trip is not None
    assert (trip.reason, trip.later) == (first, (second,))
    assert [entry["reason"] for entry in box.scribe.of("trip")[before:]] == [first.name, second.name]
    wrong = {first.name, second.name} & KNOWN_WRONG
    loss = sells - {"KILL_BUTTON"}
    assert box.safety.liquidation_due() is bool(loss and not wrong)


@pytest.mark.safety("S1.3")
@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(OF_THE_CORE, 2)))
def test_two_trips_of_the_core_in_every_order(first: TripReason, second: TripReason) -> None:
    """Both are asked of the guard, in their order, before it has answered the first."""
    box = _in(Mode.NORMAL)
    box.safety.trip(first, "one")
    box.safety.trip(second, "two")
    assert box.guard.requests == [first, second]
    assert box.safety.mode is (Mode.EMERGENCY if {first.name, second.name} & SELLS else Mode.PAUSED)
    for reason in (first, second):
        box.guard.trip(reason)
        box.poll()
    adopted = [entry["reason"] for entry in box.scribe.of("trip") if entry["detail"] == "adopted"]
    assert adopted == [first.name, second.name]
    assert not box.safety.is_alone()


@pytest.mark.safety("S1.8")
@pytest.mark.parametrize("wrong", sorted(KNOWN_WRONG))
@pytest.mark.parametrize("seller", sorted(SELLS))
@pytest.mark.parametrize("wrong_first", [True, False])
def test_nothing_is_sold_on_a_ledger_or_clock_known_to_be_wrong(
    wrong: str, seller: str, wrong_first: bool
) -> None:
    """The box goes to EMERGENCY and cancels; selling waits until a person has armed."""
    box = _in(Mode.NORMAL)
    for name in (wrong, seller) if wrong_first else (seller, wrong):
        box.guard.trip(TripReason[name])
        box.guard.liquidate = box.guard.state if name == "KILL_BUTTON" else box.guard.liquidate
        box.poll()
    assert box.safety.mode is Mode.EMERGENCY
    assert not box.safety.liquidation_due()
    assert box.safety.withheld() == (TripReason[wrong],)
    if wrong_first:
        assert box.scribe.of("mode")[-1]["liquidation_withheld"] == [wrong]


@pytest.mark.safety("S1.22")
@pytest.mark.parametrize("later", [r for r in REASONS if r.name not in KNOWN_WRONG | {"KILL_BUTTON"}])
def test_a_later_trip_does_not_stop_a_liquidation(later: TripReason) -> None:
    """The line read open for 20 ms, the box sells; a trip that comes meanwhile moves the epoch, no more."""
    box = _in(Mode.NORMAL)
    box.guard.trip(TripReason.KILL_BUTTON)
    box.guard.liquidate = box.guard.state
    box.poll()
    assert box.safety.liquidation_due()
    box.guard.trip(later)
    box.poll()
    assert box.safety.liquidation_due()


@pytest.mark.safety("S1.21")
def test_the_liquidation_of_an_earlier_press_is_not_that_of_a_spike() -> None:
    """Stepped back after a real press, then 1 µs of noise: EMERGENCY again, and nothing is sold for it."""
    box = _in(Mode.NORMAL)
    box.guard.trip(TripReason.KILL_BUTTON)
    box.guard.liquidate = box.guard.state
    box.poll()
    box.guard.press_key()
    assert box.poll(_with(flat=False)) is Mode.REDUCED
    box.guard.trip(TripReason.KILL_BUTTON)
    assert box.poll() is Mode.EMERGENCY
    assert not box.safety.liquidation_due()
    box.guard.liquidate = box.guard.state
    box.poll()
    assert box.safety.liquidation_due()


@pytest.mark.parametrize("held_open", [True, False])
def test_a_press_while_no_core_runs_is_an_emergency_of_the_next_core(held_open: bool) -> None:
    """With the liquidation its 20 ms ask for, and none for a spike."""
    box = _in(Mode.NORMAL)
    remembered = _last_mode(box)
    box.guard.trip(TripReason.KILL_BUTTON)
    if held_open:
        box.guard.liquidate = box.guard.state
    box.guard.trip(TripReason.TAMPER)
    again = _restarted(box, remembered)
    assert again.mode is Mode.EMERGENCY
    assert again.liquidation_due() is held_open


@pytest.mark.safety("S1.22")
def test_a_core_restarted_in_mid_liquidation_goes_on() -> None:
    """Also if another trip moved the epoch meanwhile."""
    box = _in(Mode.NORMAL)
    box.guard.trip(TripReason.KILL_BUTTON)
    box.guard.liquidate = box.guard.state
    box.poll()
    remembered = _last_mode(box)
    box.guard.trip(TripReason.AUDIT_STORE)
    assert _restarted(box, remembered).liquidation_due()


@pytest.mark.safety("S1.21")
def test_a_spike_after_a_step_back_sells_nothing_over_a_restart() -> None:
    """The press before the step is not the press after it."""
    box = _in(Mode.NORMAL)
    box.guard.trip(TripReason.KILL_BUTTON)
    box.guard.liquidate = box.guard.state
    box.poll()
    box.guard.press_key()
    box.poll(_with(flat=False))
    remembered = _last_mode(box)
    assert remembered.mode is Mode.REDUCED
    box.guard.trip(TripReason.KILL_BUTTON)
    again = _restarted(box, remembered)
    assert again.mode is Mode.EMERGENCY
    assert not again.liquidation_due()


@pytest.mark.safety("S1.23")
@pytest.mark.parametrize("same_boot", [True, False])
def test_a_mode_of_another_boot_is_not_kept_though_its_numbers_agree(same_boot: bool) -> None:
    """Epochs and guard starts count from 1 in every boot: PAUSED of yesterday must not undo today's press."""
    box = Box()
    box.guard.trip(TripReason.KILL_BUTTON)
    yesterday = Remembered(
        Mode.PAUSED, box.guard.state, box.guard.generation, "boot" if same_boot else "another"
    )
    again = _restarted(box, yesterday)
    assert again.mode is (Mode.PAUSED if same_boot else Mode.EMERGENCY)


@pytest.mark.safety("S1.23")
@pytest.mark.parametrize("mode", list(Mode))
def test_a_box_without_a_page_starts_in_paused(mode: Mode) -> None:
    """Whatever the log remembers: unknown is tripped."""
    box = Box(armed=True)
    box.guard.present = False
    again = _restarted(box, Remembered(mode, 0, 0, ""))
    assert again.mode is Mode.PAUSED


@pytest.mark.safety("S1.23", "S5.2")
@pytest.mark.parametrize("mode", list(Mode))
def test_a_new_boot_starts_in_paused_or_tripped(mode: Mode) -> None:
    """The record says armed in another boot (NOT_ARMED), or there is none (NEVER_ARMED)."""
    for verdict, tripped in ((TripReason.NOT_ARMED, False), (TripReason.NEVER_ARMED, True)):
        box = Box()
        box.guard.reason = box.guard.last = verdict
        again = _restarted(box, Remembered(mode, box.guard.state, box.guard.generation, "another"))
        assert again.mode is Mode.PAUSED
        assert (again.standing_trip() is not None) is tripped


@pytest.mark.safety("S1.25")
def test_a_restart_while_armed_keeps_normal_only_if_the_log_says_normal() -> None:
    """The guard armed under the permit of a core that died before it followed: nobody is in NORMAL."""
    box = Box(armed=True)
    here = (box.guard.state, box.guard.generation, box.guard.boot)
    assert _restarted(box, Remembered(Mode.PAUSED, *here)).mode is Mode.PAUSED
    assert _restarted(box, Remembered(Mode.NORMAL, *here)).mode is Mode.NORMAL
    assert _restarted(box, None).mode is Mode.PAUSED


@pytest.mark.safety("S6.7")
@pytest.mark.parametrize("outcome", ["STEP", "ARMED"])
@pytest.mark.parametrize("flat", [True, False])
def test_an_arm_press_found_together_with_a_trip_is_void(outcome: str, flat: bool) -> None:
    """It takes 4 s and was made before: pressing the button 5 ms later must not be stepped back from."""
    box = Box()
    box.poll()
    box.guard.press_key(outcome)
    box.guard.trip(TripReason.KILL_BUTTON)
    assert box.poll(_with(flat=flat)) is Mode.EMERGENCY
    assert not box.latch.is_open()
    assert box.poll(_with(flat=flat)) is Mode.EMERGENCY
    assert "void" in box.scribe.of("arm_press")[-1]


@pytest.mark.safety("S6.6")
def test_no_permit_out_of_an_epoch_in_the_look_that_finds_it() -> None:
    """Its preconditions were looked at before the trip: cancels of this one cannot be confirmed."""
    box = _in(Mode.NORMAL)
    box.guard.trip(TripReason.TAMPER)
    box.poll(READY)
    assert box.guard.state not in box.guard.permits
    box.poll(READY)
    assert box.guard.permits[-1] == box.guard.state


@pytest.mark.safety("S6.3")
def test_one_step_per_press_however_many_are_found() -> None:
    """Two presses between two looks are one step: never two at once."""
    box = _in(Mode.EMERGENCY)
    box.guard.press_key()
    box.guard.press_key()
    assert box.poll(_with(flat=False)) is Mode.REDUCED


@pytest.mark.safety("S6.3")
@pytest.mark.parametrize("mode", [Mode.EMERGENCY, Mode.REDUCED])
def test_no_permit_outside_paused(mode: Mode) -> None:
    """NORMAL is reached from PAUSED only."""
    box = _in(mode)
    box.poll(READY)
    assert box.guard.permits[-1:] in ([], [0])


@pytest.mark.safety("S1.2")
def test_a_trip_ends_only_by_arming() -> None:
    """Steps, silence and time do not end it; arming does."""
    box = _in(Mode.NORMAL)
    box.guard.trip(TripReason.KILL_BUTTON)
    box.poll()
    for _ in range(3):
        box.clock.mono += 3_600 * 10**9
        box.poll()
        assert box.safety.standing_trip() is not None
    box.guard.press_key()
    assert box.poll() is Mode.PAUSED
    assert box.safety.standing_trip() is not None
    box.arm()
    assert box.safety.standing_trip() is None


@pytest.mark.safety("S1.13")
@pytest.mark.parametrize("moved", [False, True])
def test_a_hold_resumes_to_normal_only_in_the_same_arm_epoch(moved: bool) -> None:
    """The guard was silent for 1 s; if it restarted meanwhile, the end of the hold opens nothing."""
    box = _in(Mode.NORMAL)
    box.guard.freeze()
    box.clock.mono += 1_000_000_000
    box.poll()
    assert [hold.cause for hold in box.holds.on_box()] == [HoldCause.GUARD_LATE]
    assert box.safety.mode is Mode.NORMAL
    if moved:
        box.guard.state, box.guard.generation = box.guard.state + 1, box.guard.generation + 1
        box.guard.reason = box.guard.last = TripReason.NOT_ARMED
    box.guard.beating = True
    assert box.poll() is (Mode.PAUSED if moved else Mode.NORMAL)
    assert box.holds.on_box() == ()
    assert box.latch.is_open() is not moved


@pytest.mark.safety("S1.12")
@pytest.mark.parametrize("scope", [BOX, venue_scope("paper"), instrument_scope(SPX)])
def test_every_standing_hold_is_shown_and_ends_alone(scope: str) -> None:
    """One cause ends; the others keep standing."""
    holds = Holds()
    for cause in HoldCause:
        assert holds.begin(cause, scope, 1, "")
    assert {hold.cause for hold in holds.standing()} == set(HoldCause)
    for count, cause in enumerate(HoldCause, 1):
        assert holds.blocking(SPX) is not None
        assert holds.end(cause, scope) is not None
        assert len(holds.standing()) == len(HoldCause) - count
    assert holds.blocking(SPX) is None


@pytest.mark.safety("S1.10")
@pytest.mark.parametrize("scope", [BOX, "venue:a", "venue:b", instrument_scope(SPX)])
def test_a_hold_of_one_scope_does_not_end_another(scope: str) -> None:
    """Box, two venues and an instrument: each counted for itself."""
    holds = Holds()
    scopes = [BOX, "venue:a", "venue:b", instrument_scope(SPX)]
    for each in scopes:
        holds.begin(HoldCause.STALE_DATA, each, 1, "")
    holds.end(HoldCause.STALE_DATA, scope)
    assert {hold.scope for hold in holds.standing()} == set(scopes) - {scope}
    other = holds.blocking(type(SPX)("NDX"))
    assert other is not None
    assert not other.scope.startswith("instrument:")


@pytest.mark.safety("S3.14")
@pytest.mark.parametrize(
    ("age_ns", "reason"),
    [
        (0, None),
        (HEARTBEAT_HOLD_NS, None),
        (HEARTBEAT_HOLD_NS + 1, Reason.GUARD_LATE),
        (-HEARTBEAT_HOLD_NS, None),
        (-HEARTBEAT_HOLD_NS - 1, Reason.GUARD_LATE),
        (-(2**63), Reason.GUARD_LATE),
    ],
)
def test_a_heartbeat_is_fresh_for_250_ms_and_never_from_the_future(
    age_ns: int, reason: Reason | None
) -> None:
    """The last allowed age passes; a time nobody can have written is not a heartbeat."""
    box = _in(Mode.NORMAL)
    box.guard.freeze()
    box.guard.heartbeat_ns = box.clock.mono - age_ns
    assert refusal(box.guard.read(), box.clock.mono) is reason
    box.poll()
    assert bool(box.holds.on_box()) is (reason is not None)
    box.clock.mono += 2 * HEARTBEAT_TRIP_NS
    assert box.poll() is Mode.PAUSED, "and it ages from the last good one"


@pytest.mark.safety("S1.13", "S3.6")
@pytest.mark.parametrize(
    ("state", "armed", "complement", "opens"),
    [
        (7, 7, 7 ^ WORD_MASK, True),
        (8, 7, 7 ^ WORD_MASK, False),
        (7, 7, 7, False),
        (7, 7, 0, False),
        (7, 7, 8 ^ WORD_MASK, False),
        (7, 6, 7 ^ WORD_MASK, False),
        (8, 8, 8 ^ WORD_MASK, False),  # armed again, and this side was opened for 7
        (0, 0, 0, False),
        (0, 0, WORD_MASK, False),
    ],
)
def test_the_page_is_open_only_if_three_words_agree(
    state: int, armed: int, complement: int, opens: bool
) -> None:
    """Trip epoch, armed epoch and its complement; and the core's own side must be of that epoch."""
    box = Box(armed=True)
    box.latch.clear(7)
    box.guard.state, box.guard.armed, box.guard.complement = state, armed, complement
    assert box.latch.is_open() is opens


@pytest.mark.safety("HW-18")
def test_the_three_modes_of_other_tools_are_a_projection() -> None:
    """C03, U07: read-only, and literally this."""
    assert {mode.name: shown for mode, shown in SYSTEM_MODE.items()} == {
        "NORMAL": "FullPerformance",
        "PAUSED": "SafeMode",
        "REDUCED": "SafeMode",
        "EMERGENCY": "EmergencyShutdown",
    }


@pytest.mark.safety("S3.11")
def test_a_trip_of_our_own_that_nobody_adopts_is_ours_to_persist() -> None:
    """Once the guard is silent for more than 2 s, and not before; an adopted one is the guard's."""
    box = _in(Mode.NORMAL)
    box.guard.freeze()
    box.safety.trip(TripReason.DRAWDOWN, "test")
    box.clock.mono += HEARTBEAT_TRIP_NS
    box.poll()
    assert not box.safety.is_alone()
    box.clock.mono += 1
    box.poll()
    assert box.safety.is_alone()
    box.guard.beating = True
    for reason in box.guard.requests:
        box.guard.trip(reason)
        box.poll()
    assert not box.safety.is_alone()


def test_a_box_without_any_guard_is_alone_too() -> None:
    """The page is not there at all: more than 2 s after the core began to look."""
    box = Box()
    box.guard.present = False
    box.safety.trip(TripReason.INVARIANT, "test")
    box.clock.mono += HEARTBEAT_TRIP_NS
    box.poll()
    assert not box.safety.is_alone()
    box.clock.mono += 1
    box.poll()
    assert box.safety.is_alone()
