"""What the disk allows, figure by figure: 80 and 95 %, each with the other way back (SAFETY 8)."""

from __future__ import annotations

from itertools import pairwise

import pytest

from appliance.domain.disk import DiskReserve
from appliance.safety.disk import (
    BEGINS,
    ENDS,
    UNMEASURED_NS,
    DiskLevel,
    Judgement,
    Room,
    judge,
    may_refill,
    next_level,
)

OK, ALERT, HOLD = DiskLevel.OK, DiskLevel.ALERT, DiskLevel.HOLD
QUOTA = 1_000_000
WHOLE = DiskReserve(16, 16)
MISSING = DiskReserve(0, 16, why="no room")
GIVEN = DiskReserve(0, 16, given=True, why="the disk was full")


def room(gone: int, *, by_others: bool = False) -> Room:
    """`gone` of QUOTA, taken by us, or by somebody else on the same disk."""
    left = QUOTA - gone
    return Room(10, QUOTA, left) if by_others else Room(gone, QUOTA, 10 * QUOTA)


@pytest.mark.safety("S8.7")
@pytest.mark.parametrize("by_others", [False, True])
@pytest.mark.parametrize(
    ("before", "gone", "after"),
    [
        (OK, 799_999, OK),
        (OK, 800_000, ALERT),
        (OK, 949_999, ALERT),
        (OK, 950_000, HOLD),
        (OK, 1_000_000, HOLD),
        (ALERT, 949_999, ALERT),
        (ALERT, 950_000, HOLD),
        (ALERT, 750_000, ALERT),
        (ALERT, 749_999, OK),
        (HOLD, 900_000, HOLD),
        (HOLD, 899_999, ALERT),
        (HOLD, 750_000, ALERT),
        (HOLD, 749_999, OK),
    ],
)
def test_each_level_begins_at_its_figure_and_ends_below_another(
    before: DiskLevel, gone: int, after: DiskLevel, by_others: bool
) -> None:
    """Exactly at 80 % and 95 %; and it does not matter who took the room."""
    assert next_level(before, room(gone, by_others=by_others)) is after


@pytest.mark.safety("S8.7")
def test_the_figures_are_those_of_the_design() -> None:
    """80 and 95; each level ends below where it begins and above where the one before it begins to end."""
    assert BEGINS == {OK: 0, ALERT: 80, HOLD: 95}
    assert all(ENDS[level] < BEGINS[level] for level in (ALERT, HOLD))
    assert all(BEGINS[lower] < ENDS[higher] for lower, higher in pairwise((OK, ALERT, HOLD)))


@pytest.mark.parametrize(
    ("found", "left", "percent"),
    [
        (Room(0, 100, 1_000), 100, 0),
        (Room(41, 100, 1_000), 59, 41),
        (Room(10, 100, 20), 20, 80),
        (Room(10, 100, 0), 0, 100),
        (Room(150, 100, 1_000), 0, 100),
        (Room(0, 3, 2), 2, 33),
    ],
)
def test_whichever_is_nearer_counts(found: Room, left: int, percent: int) -> None:
    """Quota or disk; more than the quota is no more than all of it."""
    assert (found.left, found.percent) == (left, percent)


@pytest.mark.parametrize(
    ("gone", "allowed"), [(0, True), (949_983, True), (949_984, False), (999_999, False)]
)
def test_the_reserve_is_not_made_where_it_would_be_a_hold(gone: int, allowed: bool) -> None:
    """16 bytes more must stay below 95 %."""
    assert may_refill(room(gone), 16) is allowed
    assert may_refill(room(gone, by_others=True), 16) is allowed


@pytest.mark.safety("S8.6", "S8.7")
@pytest.mark.parametrize(
    ("level", "reserve", "word", "spare", "refill"),
    [
        (OK, WHOLE, "", False, False),
        (ALERT, WHOLE, "", False, False),
        (HOLD, WHOLE, "% of the disk quota is gone", False, False),
        (OK, MISSING, "is not there: no room", False, True),
        (OK, GIVEN, "the disk was full", True, True),
        (HOLD, GIVEN, "the disk was full", True, True),
        (OK, DiskReserve(15, 16), "is not there", False, True),
        (OK, DiskReserve(0, 0), "", False, False),
    ],
)
def test_what_follows(level: DiskLevel, reserve: DiskReserve, word: str, spare: bool, refill: bool) -> None:
    """New exposure waits at 95 %, without a whole reserve, and while it is used."""
    found = judge(level, room(100_000), 0, reserve)
    assert (found.level, found.spare, found.refill) == (level, spare, refill)
    assert word in found.hold
    assert bool(found.hold) is bool(word)


@pytest.mark.safety("S8.7")
@pytest.mark.parametrize(
    ("known", "age_ns", "waits"),
    [(True, 0, False), (True, UNMEASURED_NS, False), (True, UNMEASURED_NS + 1, True), (False, 0, True)],
)
def test_a_disk_that_does_not_answer_is_as_good_as_full(known: bool, age_ns: int, waits: bool) -> None:
    """Nobody knows what room is left; nothing is asked of it either."""
    found = judge(OK, room(0) if known else None, age_ns, MISSING if waits else WHOLE)
    assert ("does not answer" in found.hold) is waits
    assert not found.refill


def test_what_was_known_of_a_silent_disk_stands() -> None:
    """Level and use of the reserve are not forgotten because nothing new is heard."""
    found = judge(HOLD, room(960_000), 2 * UNMEASURED_NS, GIVEN)
    assert found == Judgement(HOLD, found.hold, spare=True, refill=False)
