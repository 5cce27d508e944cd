"""The guests of this lane: one per module for what leaves it whole, one per test for what breaks it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.vm.machine import TAMPER, Machine, machine_of_its_own


@pytest.fixture(scope="module")
def guest() -> Iterator[Machine]:
    """Booted, contacts closed, never armed before this module's tests."""
    for made in machine_of_its_own():
        print(f"\n  power on → all started: {made.boot():.0f} s")
        yield made


@pytest.fixture
def box(guest: Machine) -> Machine:
    """Contacts closed, everything up, nothing stopped; armed or not as the test before left it."""
    guest.release_button()
    guest.close_contact(TAMPER)
    guest.sh("systemctl reset-failed")  # these tests kill more often than the start limit allows
    guest.sh("systemctl start interlock.target interlock-guard interlock-core interlock-cancel-only", 180)
    guest.until(lambda: guest.mode() != "", "a page", 120)
    return guest


@pytest.fixture
def armed(box: Machine) -> Machine:
    """In NORMAL."""
    if box.mode() != "NORMAL":
        box.arm()
    return box


@pytest.fixture
def cold() -> Iterator[Machine]:
    """A machine of its own, switched off."""
    yield from machine_of_its_own()
