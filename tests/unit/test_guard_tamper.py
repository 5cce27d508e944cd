"""The tamper contact."""

from __future__ import annotations

import pytest

from hardware.board import Level
from hardware.tamper import Tamper


@pytest.mark.safety("HW-06")
def test_open_at_start_counts_once() -> None:
    """Latched: the same opening is one trip."""
    tamper = Tamper()
    assert tamper.read(Level.OPEN, False)
    assert not tamper.read(Level.OPEN, False)


def test_it_counts_again_after_it_was_closed() -> None:
    """A second opening is a second trip."""
    tamper = Tamper()
    tamper.read(Level.OPEN, False)
    assert not tamper.read(Level.CLOSED, False)
    assert tamper.read(Level.OPEN, False)


def test_an_edge_counts_although_the_level_is_closed_again() -> None:
    """The case was open between two readings."""
    tamper = Tamper()
    assert not tamper.read(Level.CLOSED, False)
    assert tamper.read(Level.CLOSED, True)


def test_an_unreadable_contact_neither_trips_nor_closes() -> None:
    """UNKNOWN trips under the guard's own reason."""
    tamper = Tamper()
    assert not tamper.read(Level.UNKNOWN, False)
    assert tamper.read(Level.OPEN, False)
    assert not tamper.read(Level.UNKNOWN, False)
    assert not tamper.read(Level.OPEN, False)
