"""Mean reversion, bar by bar."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.domain.ids import SourceId
from appliance.domain.signal import Signal
from appliance.signals.reversion import Reversion, ReversionParams
from tests.market_builders import instrument, one_print

QUIET = [1_000, 1_002, 998, 1_000]  # mean 1,000, variance 2, deviation 1.414


def _run(closes: Sequence[int], z: int = 2_000, max_bars: int = 3, window: int = 4) -> list[Signal | None]:
    params = ReversionParams(window=window, entry_z_milli=z, max_bars=max_bars, stop_ppm=100_000)
    reversion = Reversion(SourceId("r"), instrument(), params)
    return [reversion.on_observation(one_print(day, close)) for day, close in enumerate(closes)]


def _said(signals: Sequence[Signal | None]) -> str:
    return "".join("." if each is None else each.direction[0] for each in signals)


@pytest.mark.parametrize(
    ("closes", "said"),
    [
        ([*QUIET, 1_000, 990, 1_010], ".....LC"),
        ([*QUIET, 990, 1_010], "......"),
        ([*QUIET, 1_000, 1_010, 1_020], "......."),
        ([5, 5, 5, 5, 5, 4, 5], "......."),
        ([*QUIET, 1_000, 990, 985, 980, 975, 970], ".....L..CL"),
    ],
)
def test_longs_and_closes(closes: list[int], said: str) -> None:
    """LONG on the fall, CLOSE at the mean or after max_bars; not on a rise, nor if the window never moved."""
    assert _said(_run(closes)) == said


def test_after_a_close_by_time_the_condition_must_go_first() -> None:
    """A steady fall stays at z = -2.236: after the CLOSE no new LONG, until z was above the limit once."""
    steady = [960, 920, 880, 840, 800, 760, 720]
    quiet_again = [720, 722, 718, 720, 720]
    said = _said(_run([*QUIET, 1_000, *steady, *quiet_again, 600]))
    assert said == ".....L..C" + "........" + "L"


def test_exactly_at_the_limit() -> None:
    """Window 999, 1001, 999, 1001 with deviation 1: z = -3 enters at 3,000 and not at 3,001."""
    closes = [1_001, 999, 1_001, 999, 1_001, 997]
    assert _said(_run(closes, z=3_000)) == ".....L"
    assert _said(_run(closes, z=3_001)) == "......"


def test_the_reason_is_made_of_the_numbers() -> None:
    """Close, mean, window, z and stop, enough to check the decision by hand."""
    signals = _run([1_001, 999, 1_001, 999, 1_001, 997, 1_003])
    entry, leave = signals[5], signals[6]
    assert entry is not None
    assert leave is not None
    assert entry.reason == "close 9.97 fell below the mean 10.00 of 4 bars, z -3.000, stop 8.98"
    assert leave.reason == "close 10.03 back at the mean 9.99 of 4 bars, z 2.110"


@settings(deadline=None, derandomize=True, max_examples=150)
@given(
    st.lists(st.integers(90, 110), min_size=6, max_size=40),
    st.integers(2, 6),
    st.sampled_from([500, 1_000, 1_500]),
)
def test_entries_agree_with_the_definition(closes: list[int], window: int, z_milli: int) -> None:
    """Every LONG has z ≤ -limit by exact fractions, and came after a bar that had not."""

    def is_low(day: int) -> bool:
        before = [Fraction(close) for close in closes[day - window : day]]
        below = statistics.mean(before) - closes[day]
        return below > 0 and below**2 >= Fraction(z_milli, 1_000) ** 2 * statistics.pvariance(before) > 0

    said = _said(_run(closes, z=z_milli, window=window))
    in_position = False
    for day in range(window, len(closes)):
        wanted = day > window and is_low(day) and not is_low(day - 1) and not in_position
        assert (said[day] == "L") == wanted
        in_position = (in_position or wanted) and said[day] != "C"


def test_the_largest_and_smallest_parameters_are_allowed() -> None:
    """Each limit is the last allowed value."""
    assert ReversionParams(window=2, entry_z_milli=1, max_bars=1, stop_ppm=1).window == 2
    largest = ReversionParams(window=10_000, entry_z_milli=100_000, max_bars=10_000, stop_ppm=999_999)
    assert largest.window == 10_000


def test_back_at_the_mean_is_back() -> None:
    """Exactly at the mean closes; one hundredth below does not."""
    closes = [1_001, 999, 1_001, 999, 1_001, 997]
    mean = 999.5
    assert sum(closes[2:6]) == 4 * mean
    scaled = [2 * close for close in closes]
    assert _said(_run([*scaled, 1_999])) == ".....LC"
    assert _said(_run([*scaled, 1_998])) == ".....L."


@pytest.mark.parametrize(
    "wrong",
    [
        {"window": 1}, {"window": 10_001}, {"entry_z_milli": 0}, {"entry_z_milli": 100_001}, {"max_bars": 0},
        {"max_bars": 10_001}, {"stop_ppm": 0}, {"stop_ppm": 1_000_000},
    ],
)  # fmt: skip
def test_parameters_without_meaning_are_refused(wrong: dict[str, int]) -> None:
    """Named by their key."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ReversionParams(**({"window": 2, "entry_z_milli": 1, "max_bars": 1, "stop_ppm": 1} | wrong))
