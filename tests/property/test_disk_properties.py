"""The disk's levels over any sequence of measurements (SAFETY 8)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.domain.disk import DiskReserve
from appliance.safety.disk import BEGINS, ENDS, DiskLevel, Room, judge, may_refill, next_level

LEVELS = (DiskLevel.OK, DiskLevel.ALERT, DiskLevel.HOLD)
_bytes = st.integers(0, 5_000)
_rooms = st.builds(Room, _bytes, st.integers(1, 4_000), _bytes)
_reserves = st.builds(DiskReserve, st.integers(0, 64), st.integers(0, 64), st.booleans(), st.just("why"))


def _gone(room: Room, percent: int) -> bool:
    return (room.quota - room.left) * 100 >= percent * room.quota


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.lists(_rooms, max_size=30))
def test_a_level_stands_from_its_figure_until_below_the_other(rooms: list[Room]) -> None:
    """At 95 % it is a hold whatever was before; a hold ends only below 90 %, an alert only below 75 %."""
    level = DiskLevel.OK
    for room in rooms:
        before, level = level, next_level(level, room)
        reached = [each for each in LEVELS if _gone(room, BEGINS[each])]
        assert LEVELS.index(level) >= LEVELS.index(reached[-1])
        if LEVELS.index(level) > LEVELS.index(reached[-1]):
            assert LEVELS.index(level) <= LEVELS.index(before), "only what stood may stand on"
        for each in LEVELS:
            if LEVELS.index(before) >= LEVELS.index(each) and _gone(room, ENDS[each]):
                assert LEVELS.index(level) >= LEVELS.index(each)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.sampled_from(LEVELS), _rooms, _rooms)
def test_less_room_is_never_a_lower_level(level: DiskLevel, one: Room, other: Room) -> None:
    """Monotone in what is gone, from the same level."""
    worse, better = sorted((one, other), key=lambda room: room.left * 10**9 // room.quota)
    assert LEVELS.index(next_level(level, worse)) >= LEVELS.index(next_level(level, better))


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.sampled_from(LEVELS), _rooms, st.integers(0, 10**12), _reserves)
def test_new_exposure_waits_whenever_a_promise_is_not_kept(
    level: DiskLevel, room: Room, age_ns: int, reserve: DiskReserve
) -> None:
    """A hold level, a reserve in use or short, an old measurement: each alone is enough."""
    found = judge(level, room, age_ns, reserve)
    broken = level is DiskLevel.HOLD or reserve.given or reserve.missing > 0 or age_ns > 60 * 10**9
    assert bool(found.hold) is broken
    assert not found.refill or reserve.missing > 0
    assert found.spare is reserve.given


@settings(deadline=None, derandomize=True, max_examples=300)
@given(_rooms, st.integers(1, 500))
def test_making_the_reserve_never_makes_a_hold(room: Room, missing: int) -> None:
    """What is allocated counts as taken at the next measurement."""
    if may_refill(room, missing):
        after = Room(room.taken + missing, room.quota, room.free - missing)
        assert next_level(DiskLevel.OK, after) is not DiskLevel.HOLD
