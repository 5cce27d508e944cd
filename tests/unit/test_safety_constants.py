"""Numbers and tables of SAFETY.md, written a second time: other tests take them from the code they judge."""

from __future__ import annotations

import pytest

from appliance.domain.mode import Mode
from appliance.orders import desk, reconcile
from appliance.risk import gate
from appliance.runtime import guard_link
from appliance.safety import controller, exits
from appliance.safety import latch as core_latch
from appliance.safety.modes import ModeEvent, next_mode
from appliance.safety.preconditions import NEEDED
from appliance.venues import paper_client
from hardware import arm_key, guard, kill_switch, main

MS = 1_000_000
N, P, R, E = Mode.NORMAL, Mode.PAUSED, Mode.REDUCED, Mode.EMERGENCY

MODES: dict[ModeEvent, tuple[Mode, Mode, Mode, Mode]] = {
    #                          from NORMAL, PAUSED, REDUCED, EMERGENCY
    ModeEvent.TRIP_EMERGENCY: (E, E, E, E),
    ModeEvent.TRIP_PAUSED: (P, P, P, E),
    ModeEvent.STEP_FLAT: (N, P, P, P),
    ModeEvent.STEP_HOLDING: (N, P, P, R),
    ModeEvent.ARMED: (N, N, R, E),
    ModeEvent.SHUT: (P, P, R, E),
}
ALWAYS = {"guard_fresh", "trip_stored", "reconciled", "cancels_confirmed", "store_ok"}


@pytest.mark.safety("S1.1")
@pytest.mark.parametrize("event", list(ModeEvent))
def test_the_mode_table_is_literally_this(event: ModeEvent) -> None:
    """All 24 pairs."""
    assert tuple(next_mode(mode, event) for mode in (N, P, R, E)) == MODES[event]


@pytest.mark.safety("S6.6")
def test_what_leaving_a_mode_needs_is_literally_this() -> None:
    """A name taken out of the table would take its test with it."""
    assert {mode: set(names) for mode, names in NEEDED.items()} == {
        E: ALWAYS,
        R: ALWAYS,
        P: ALWAYS | {"losses_in_limits", "clock_ok"},
    }


@pytest.mark.safety("S3.14", "S3.15")
def test_the_heartbeat_limits() -> None:
    """250 ms hold, 2 s trip, 100 ms remap, a loop of 20 ms."""
    assert core_latch.HEARTBEAT_HOLD_NS == 250 * MS
    assert core_latch.HEARTBEAT_TRIP_NS == 2_000 * MS
    assert controller.MISMATCH_HOLD_NS == guard_link.REMAP_NS == main.REMAP_NS == 100 * MS
    assert main.LOOP_S == 0.020


@pytest.mark.safety("S1.21", "S6.2")
def test_the_times_of_button_and_key() -> None:
    """20 ms of open level to sell, 1 s open, 3 to 10 s closed."""
    assert kill_switch.LIQUIDATE_NS == 20 * MS
    assert arm_key.OPEN_FIRST_NS == 1_000 * MS
    assert (arm_key.HELD_MIN_NS, arm_key.HELD_MAX_NS) == (3_000 * MS, 10_000 * MS)


@pytest.mark.safety("S11.6")
def test_a_lost_core_is_shown_inside_its_second() -> None:
    """0.8 s, one loop, which wakes the lights, and the dark part of a fast blink."""
    assert guard.CORE_LOST_NS == 800 * MS
    assert guard.CORE_LOST_NS / 1e9 + main.LOOP_S + 0.1 < 1.0
    assert 0.25 + main.LIGHTS_S + 0.1 < 1.0, "a loop that stopped is seen by the lights' own looks"


@pytest.mark.safety("S4.1")
def test_the_times_of_the_door() -> None:
    """Approvals live 250 ms, orders 1 s; sweeps and look-ups wait window and margin, exits 50 ms."""
    assert gate.APPROVAL_NS == 250 * MS
    assert paper_client.WINDOW_NS == reconcile.WINDOW_NS == 1_000 * MS
    assert exits.SWEEP_NS == reconcile.WINDOW_NS + reconcile.MARGIN_NS == 2_000 * MS
    assert desk.EXIT_WAIT_NS == 50 * MS
    assert exits.RETRY_NS >= 1_000 * MS
