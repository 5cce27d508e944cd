"""The moving-average crossover, bar by bar."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.domain.ids import SourceId
from appliance.domain.signal import Direction, Signal
from appliance.signals.strategy import long_stop
from appliance.signals.trend import LONGEST, Trend, TrendParams
from tests.market_builders import instrument, one_print


def _run(closes: Sequence[int], fast: int = 2, slow: int = 4, stop_ppm: int = 100_000) -> list[Signal | None]:
    trend = Trend(SourceId("t"), instrument(), TrendParams(fast=fast, slow=slow, stop_ppm=stop_ppm))
    return [trend.on_observation(one_print(day, close)) for day, close in enumerate(closes)]


def _said(signals: Sequence[Signal | None]) -> str:
    return "".join("." if each is None else each.direction[0] for each in signals)


@pytest.mark.parametrize(
    ("closes", "said"),
    [
        ((10, 10, 10, 10, 12, 12, 8, 8), "....L.C."),
        ((10, 10, 10, 10, 10, 10), "......"),
        ((10, 11, 12, 13, 14, 15), "......"),
        ((10, 11, 12, 13, 9, 8, 14, 15), ".......L"),
        ((10, 10, 10, 10, 12, 10, 10, 10, 12), "....L.C.L"),
    ],
)
def test_longs_and_closes(closes: tuple[int, ...], said: str) -> None:
    """LONG on the bar that crosses, CLOSE on the one that is no longer above; equal is not above."""
    assert _said(_run(closes)) == said


def test_what_was_above_from_the_beginning_is_no_cross() -> None:
    """A strategy started in the middle of a rise waits for the next one, like one that was stopped out."""
    assert _said(_run(list(range(100, 140)))) == "." * 40


def test_after_a_stop_it_enters_again_only_on_a_new_cross() -> None:
    """It sees no fills: while the averages stay crossed it is silent, even with closes under the stop."""
    closes = [100] * 8 + [120, 140, 160, 180, 90, 180, 190, 200]
    signals = _run(closes, fast=4, slow=8)
    entry = next(each for each in signals if each is not None)
    assert entry.stop_price is not None
    assert min(closes[9:]) < entry.stop_price
    assert _said(signals) == "........L......."


def test_the_reason_is_made_of_the_numbers() -> None:
    """Averages, close and stop in the instrument's decimals, enough to check the decision by hand."""
    signal = _run((1_000, 1_000, 1_000, 1_000, 1_201))[-1]
    assert signal is not None
    assert signal.reason == (
        "average of 2 bars 11.00 crossed above that of 4 bars 10.50, close 12.01, stop 10.81"
    )
    closing = _run((1_000, 1_000, 1_000, 1_000, 1_201, 900, 900))[-1]
    assert closing is not None
    assert (closing.direction, closing.stop_price) == (Direction.CLOSE, None)
    assert closing.reason == "average of 2 bars 9.00 no longer above that of 4 bars 10.00, close 9.00"


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(1, 4), st.integers(1, 4))
def test_agrees_with_the_definition(closes: list[int], fast: int, more: int) -> None:
    """The running sums against sums made afresh on every bar."""
    slow = fast + more
    expected, was_above, is_long = "", None, False
    for day in range(len(closes)):
        window = closes[: day + 1]
        above = sum(window[-fast:]) * slow > sum(window[-slow:]) * fast if len(window) >= slow else None
        letter = "."
        if above is True and was_above is False and closes[day] > 1:
            letter, is_long = "L", True
        elif above is False and is_long:
            letter, is_long = "C", False
        was_above = above
        expected += letter
    assert _said(_run(closes, fast, slow)) == expected


def test_the_largest_and_smallest_parameters_are_allowed() -> None:
    """Each limit is the last allowed value."""
    assert TrendParams(fast=1, slow=2, stop_ppm=1).slow == 2
    assert TrendParams(fast=LONGEST - 1, slow=LONGEST, stop_ppm=999_999).slow == LONGEST


@pytest.mark.parametrize(
    "wrong",
    [
        {"fast": 0}, {"fast": 4}, {"fast": 5}, {"fast": -1}, {"slow": LONGEST + 1},
        {"stop_ppm": 0}, {"stop_ppm": 1_000_000}, {"stop_ppm": -1},
    ],
)  # fmt: skip
def test_parameters_without_meaning_are_refused(wrong: dict[str, int]) -> None:
    """Fast must be shorter than slow, and a stop lies between the price and nothing."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TrendParams(**({"fast": 2, "slow": 4, "stop_ppm": 1} | wrong))


@pytest.mark.parametrize(
    ("price", "stop_ppm", "tick", "stop"),
    [
        (10_000, 80_000, 1, 9_200),
        (10_001, 80_000, 1, 9_201),
        (10_000, 80_000, 25, 9_200),
        (10_001, 80_000, 25, 9_225),
        (10_000, 1, 1, 9_999),
        (10_000, 1, 25, 9_975),
        (10_010, 1, 25, 10_000),
        (2, 999_999, 1, 1),
        (1, 500_000, 1, None),
        (25, 500_000, 25, None),
        (26, 500_000, 25, 25),
        (10_000, 999_999, 1, 1),
    ],
)
def test_the_stop_of_a_long_entry(price: int, stop_ppm: int, tick: int, stop: int | None) -> None:
    """On a tick, below the price, not further than asked unless the next tick is; none where none is left."""
    assert long_stop(price, stop_ppm, tick) == stop
