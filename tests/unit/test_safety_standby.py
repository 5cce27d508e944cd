"""When the cancel-only process has to act (SAFETY 3), at every boundary."""

from __future__ import annotations

import pytest

from appliance.safety.standby import (
    AGAIN_NS,
    CONFIRMED_AGAIN_NS,
    CORE_LOST_NS,
    UNMINDED_NS,
    WINDOW_NS,
    Gate,
    Sighting,
    Watch,
)

NOW = 1_000_000_000_000


@pytest.mark.parametrize(
    ("gate", "age_ns", "acts"),
    [
        (Gate.SHUT, CORE_LOST_NS, False),
        (Gate.SHUT, CORE_LOST_NS + 1, True),
        (Gate.SHUT, None, True),
        (Gate.GUARD_GONE, CORE_LOST_NS, False),
        (Gate.GUARD_GONE, CORE_LOST_NS + 1, True),
        (Gate.GUARD_GONE, None, True),
        (Gate.OPEN, CORE_LOST_NS + 1, False),
        (Gate.OPEN, UNMINDED_NS, False),
        (Gate.OPEN, UNMINDED_NS + 1, True),
        (Gate.OPEN, None, True),
        (Gate.OPEN, 0, False),
        (Gate.SHUT, 0, False),
    ],
)
def test_it_acts_only_for_a_core_that_does_not_answer(gate: Gate, age_ns: int | None, acts: bool) -> None:
    """While the core beats, cancelling is the core's."""
    watch = Watch()
    assert watch.look(Sighting(gate, 7, age_ns), NOW) is acts
    assert bool(watch.why) is acts


def _lost(epoch: int = 7) -> Sighting:
    return Sighting(Gate.SHUT, epoch, None)


def _confirmed(watch: Watch) -> bool:
    return watch.confirmed


def test_it_sweeps_until_the_window_has_passed_and_nothing_is_left() -> None:
    """Both: an order in flight may still arrive, and the venue has the last word (SAFETY 4)."""
    watch = Watch()
    assert watch.look(_lost(), NOW)
    watch.swept(0, NOW)
    assert not _confirmed(watch)
    assert not watch.look(_lost(), NOW + AGAIN_NS - 1)
    assert watch.look(_lost(), NOW + AGAIN_NS)
    watch.swept(1, NOW + WINDOW_NS)
    assert not _confirmed(watch)
    watch.swept(0, NOW + WINDOW_NS)
    assert _confirmed(watch)
    assert not watch.look(_lost(), NOW + WINDOW_NS + CONFIRMED_AGAIN_NS - 1)
    assert watch.look(_lost(), NOW + WINDOW_NS + CONFIRMED_AGAIN_NS)


def test_a_trip_begins_it_anew() -> None:
    """The epoch moved: what was confirmed before says nothing about orders sent since."""
    watch = Watch()
    watch.look(_lost(), NOW)
    watch.swept(0, NOW + WINDOW_NS)
    assert _confirmed(watch)
    later = NOW + WINDOW_NS + 1
    assert watch.look(_lost(8), later)
    assert not _confirmed(watch)
    watch.swept(0, later + WINDOW_NS - 1)
    assert not _confirmed(watch)


def test_a_core_that_answers_takes_over() -> None:
    """And a second loss begins anew."""
    watch = Watch()
    watch.look(_lost(), NOW)
    watch.swept(0, NOW + WINDOW_NS)
    assert not watch.look(Sighting(Gate.SHUT, 7, 0), NOW + WINDOW_NS + 1)
    assert (watch.why, _confirmed(watch)) == ("", False)
    assert watch.look(_lost(), NOW + WINDOW_NS + 2)
