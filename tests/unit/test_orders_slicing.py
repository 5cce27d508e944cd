"""Cutting a total: exact, valid, deterministic, at every edge (EXE-06, EXE-10)."""

from __future__ import annotations

import pytest

from appliance.domain.money import AMOUNT_ONE
from appliance.orders.slicing import (
    MOST_SLICES,
    Bounds,
    Draws,
    displayed_count,
    due_times,
    order_bounds,
    sizes,
)
from tests.kit import spx

FREE = Bounds(1, 1, 10**9)


@pytest.mark.parametrize(
    ("total", "count", "bounds", "expected"),
    [
        (100, 4, FREE, (25, 25, 25, 25)),
        (102, 4, FREE, (26, 26, 25, 25)),  # lots that do not divide go to the first
        (100, 1, FREE, (100,)),
        (100, 0, FREE, (100,)),
        (3, 10, FREE, (1, 1, 1)),  # no more slices than smallest orders
        (30, 2, Bounds(10, 10, 100), (20, 10)),
        (100, 2, Bounds(1, 1, 40), (34, 33, 33)),  # no fewer than largest orders
        (80, 2, Bounds(1, 1, 40), (40, 40)),
        (81, 2, Bounds(1, 1, 40), (27, 27, 27)),
        (99, 4, Bounds(1, 50, 100), (99,)),
        (100, 4, Bounds(1, 50, 100), (50, 50)),
        (101, 4, Bounds(1, 60, 100), (101,)),  # two are too small and one too large: the gate judges it
        (120, 4, Bounds(1, 60, 100), (60, 60)),
        (105, 4, Bounds(10, 10, 100), (105,)),  # off the lot
        (100, 4, Bounds(1, 1, 0), (100,)),  # no largest order is known
        (0, 4, FREE, (0,)),
        (-5, 4, FREE, (-5,)),
        (MOST_SLICES, 10**6, FREE, (1,) * MOST_SLICES),
        (10 * MOST_SLICES, 1, Bounds(1, 1, 10), (10,) * MOST_SLICES),
        (10 * MOST_SLICES + 1, 1, Bounds(1, 1, 10), (10 * MOST_SLICES + 1,)),  # too many for one plan
    ],
)
def test_sizes_without_jitter(total: int, count: int, bounds: Bounds, expected: tuple[int, ...]) -> None:
    """Equal parts, as many as asked for where the bounds allow it."""
    assert sizes(total, count, bounds, 0, Draws(1)) == expected


def test_jitter_moves_between_neighbours_and_never_past_its_share() -> None:
    """10 % of 100 is at most 10 either way, in lots, and the pair keeps its sum; both ends are reached."""
    seen = set()
    for seed in range(400):
        one, other, last = sizes(300, 3, FREE, 100_000, Draws(seed))
        assert (one + other, last) == (200, 100)
        seen.add(one)
    assert seen == set(range(90, 111))


@pytest.mark.parametrize(
    ("bounds", "low", "high"),
    [
        (Bounds(1, 95, 1_000), 95, 105),
        (Bounds(1, 1, 104), 96, 104),
        (Bounds(4, 4, 1_000), 92, 108),
    ],
)
def test_jitter_stays_inside_the_bounds(bounds: Bounds, low: int, high: int) -> None:
    """Smallest, largest and lot bind both of a pair."""
    total = 200
    found = {sizes(total, 2, bounds, 100_000, Draws(seed)) for seed in range(400)}
    assert {min(pair) for pair in found} >= {low}
    assert {max(pair) for pair in found} >= {high}
    assert all(bounds.takes(qty) for pair in found for qty in pair)
    assert all(sum(pair) == total for pair in found)


def test_the_same_seed_gives_the_same_slices() -> None:
    """And another one others; the numbers are written down, so that no release moves them unnoticed."""
    assert [Draws(7).below(1_000) for _ in range(2)] == [Draws(7).below(1_000)] * 2
    draws = Draws(7)
    assert [draws.below(1_000) for _ in range(3)] == [350, 736, 799]
    assert sizes(1_000, 4, FREE, 200_000, Draws(1)) != sizes(1_000, 4, FREE, 200_000, Draws(2))
    assert [Draws(3).below(end) for end in (-1, 0, 1)] == [0, 0, 0]
    assert {Draws(seed).below(2) for seed in range(50)} == {0, 1}


def test_due_times_without_jitter_share_the_horizon() -> None:
    """The first at once, the last one share before the end."""
    assert due_times(1_000, 100, 4, 0, Draws(1)) == (1_000, 1_025, 1_050, 1_075)
    assert due_times(1_000, 100, 1, 500_000, Draws(1)) == (1_000,)


def test_due_times_with_jitter_stay_in_their_share() -> None:
    """Half of 25 is 12: from 0 to 11 late, and both are reached."""
    late = {due_times(0, 100, 4, 500_000, Draws(seed))[3] - 75 for seed in range(400)}
    assert late == set(range(12))


@pytest.mark.parametrize(
    ("total", "displayed", "jitter_ppm", "count"),
    [(100, 10, 0, 10), (101, 10, 0, 11), (100, 10, 200_000, 12), (100, 0, 0, 100), (5, 10, 0, 1)],
)
def test_an_iceberg_has_enough_slices(total: int, displayed: int, jitter_ppm: int, count: int) -> None:
    """So that jitter needs no slice larger than what may be shown."""
    assert displayed_count(total, displayed, jitter_ppm) == count


def test_bounds_of_an_order_keep_room_for_the_price_to_move() -> None:
    """10 % less than the largest value, 10 % more than the smallest; quantities as they are."""
    instrument = spx(min_qty=2, lot=2, min_value=10 * AMOUNT_ONE)
    # at 10.00 a hundredth is worth 0.10: 10 USD and 10 % are 110 of them, 90 % of 500 USD are 4,500
    assert order_bounds(instrument, 1_000, 10_000, 500 * AMOUNT_ONE) == Bounds(2, 110, 4_500)
    assert order_bounds(instrument, 1_000, 101, 500 * AMOUNT_ONE) == Bounds(2, 110, 100)
    assert order_bounds(instrument, 100_000, 10_000, 500 * AMOUNT_ONE) == Bounds(2, 2, 44)
    assert order_bounds(instrument, 0, 10_000, 500 * AMOUNT_ONE) == Bounds(2, 2, 10_000)
    assert order_bounds(instrument, 1_000, 0, 0) == Bounds(2, 110, 0)
    assert order_bounds(spx(max_qty=40), 1_000, 10_000, 500 * AMOUNT_ONE) == Bounds(1, 1, 40)


@pytest.mark.parametrize(("qty", "valid"), [(8, False), (10, True), (11, False), (20, True), (22, False)])
def test_what_bounds_take(qty: int, valid: bool) -> None:
    """A multiple of the lot between both, ends included."""
    assert Bounds(2, 10, 20).takes(qty) is valid
