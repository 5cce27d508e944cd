"""The kill button's table, row by row."""

from __future__ import annotations

import pytest

from hardware.board import Level
from hardware.kill_switch import LIQUIDATE_NS, RELEASE_NS, KillSwitch, SwitchState

MS = 1_000_000


def _closed() -> KillSwitch:
    switch = KillSwitch()
    switch.read(Level.CLOSED, False, 0)
    return switch


@pytest.mark.safety("S1.19")
def test_the_first_open_reading_trips_without_debounce() -> None:
    """SAFETY 1: the first edge shuts the gate."""
    outcome = _closed().read(Level.OPEN, True, 1)
    assert (outcome.trip, outcome.liquidate, outcome.proven) == (True, False, False)


def test_open_at_start_trips_by_level() -> None:
    """No driver reports an edge for the level at start (STYLE habit 11)."""
    assert KillSwitch().read(Level.OPEN, False, 0).trip


def test_an_edge_trips_although_the_level_is_closed_again() -> None:
    """A contact that opened shorter than one loop did open."""
    switch = _closed()
    assert switch.read(Level.CLOSED, True, 1).trip
    assert switch.state is SwitchState.RELEASING


@pytest.mark.safety("S1.21")
@pytest.mark.parametrize(("held_ns", "liquidates"), [(LIQUIDATE_NS - 1, False), (LIQUIDATE_NS, True)])
def test_liquidation_needs_20_ms_of_open_level(held_ns: int, liquidates: bool) -> None:
    """One spike must not sell the book (SAFETY 1)."""
    switch = _closed()
    switch.read(Level.OPEN, True, 1000)
    assert switch.read(Level.OPEN, False, 1000 + held_ns).liquidate is liquidates


def test_a_bounce_neither_trips_again_nor_counts_as_release() -> None:
    """Closed readings shorter than 50 ms are bounce; liquidation's 20 ms begin anew."""
    switch = _closed()
    assert switch.read(Level.OPEN, True, 0).trip
    assert not switch.read(Level.CLOSED, False, 15 * MS).proven
    again = switch.read(Level.OPEN, True, 16 * MS)
    assert (again.trip, again.liquidate) == (False, False)
    assert not switch.read(Level.OPEN, False, 16 * MS + LIQUIDATE_NS - 1).liquidate
    assert switch.read(Level.OPEN, False, 16 * MS + LIQUIDATE_NS).liquidate


@pytest.mark.parametrize(("closed_ns", "proven"), [(RELEASE_NS - 1, False), (RELEASE_NS, True)])
def test_release_is_debounced_and_proves_the_button(closed_ns: int, proven: bool) -> None:
    """Open and closed again for 50 ms: the contact works (SAFETY 6, proof test)."""
    switch = _closed()
    switch.read(Level.OPEN, True, 0)
    switch.read(Level.CLOSED, False, 10 * MS)
    assert switch.read(Level.CLOSED, False, 10 * MS + closed_ns).proven is proven


def test_a_second_press_trips_again() -> None:
    """After release every press counts."""
    switch = _closed()
    switch.read(Level.OPEN, True, 0)
    switch.read(Level.CLOSED, False, 1)
    switch.read(Level.CLOSED, False, 1 + RELEASE_NS)
    assert switch.read(Level.OPEN, True, RELEASE_NS + 2).trip


def test_an_unreadable_line_never_liquidates_and_never_counts_as_closed() -> None:
    """UNKNOWN is the guard's trip under its own reason, not the person's press."""
    switch = _closed()
    assert not switch.read(Level.UNKNOWN, False, 0).trip
    assert switch.state is SwitchState.UNSEEN
    assert switch.read(Level.OPEN, False, 1).trip
    assert not switch.read(Level.UNKNOWN, False, LIQUIDATE_NS * 2).liquidate
    assert not switch.read(Level.OPEN, False, LIQUIDATE_NS * 2 + 1).liquidate


def test_an_edge_on_an_unreadable_line_trips() -> None:
    """The edge was seen even if the level cannot be."""
    assert _closed().read(Level.UNKNOWN, True, 0).trip
