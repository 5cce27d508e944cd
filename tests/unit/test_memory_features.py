"""Features of a condition: exact, incremental, honest about missing history."""

from __future__ import annotations

from itertools import pairwise
from math import isqrt

import msgspec
import pytest

from appliance.domain.observation import Bar
from appliance.memory.features import HISTORY_BARS, LONG, MAX_GAP_BARS, MISSING, NAMES, SHORT, FeatureWindow
from appliance.memory.sampling import PPB
from tests.test_memory_kit import DAY, bar, daily, walk


def push_all(bars: list[Bar], spread_ppb: int | None = None) -> list[tuple[int, ...] | None]:
    """What a fresh window answers to each bar."""
    window = FeatureWindow(DAY)
    return [window.push(one, spread_ppb) for one in bars]


def by_hand(bars: list[Bar]) -> tuple[int, ...]:
    """The condition at the last bar, from the definitions and nothing kept."""
    closes = [one.close for one in bars[-HISTORY_BARS:]]
    volumes = [one.volume for one in bars[-LONG:]]
    now, before = bars[-1], closes[-2]
    most = 1000 * PPB
    returns = [min(late * PPB // early - PPB, most) for early, late in pairwise(closes)]
    short = isqrt(sum(value**2 for value in returns[-SHORT:]) // SHORT)
    long = isqrt(sum(value**2 for value in returns) // LONG)
    half = PPB // 2
    height = now.high - now.low
    weight = now.volume * LONG + sum(volumes)
    return (
        returns[-1],
        min(now.close * PPB // closes[-6] - PPB, most),
        min(now.close * PPB // closes[-21] - PPB, most),
        min(now.open * PPB // before - PPB, most),
        min(height * PPB // before, most),
        (now.close - now.low) * PPB // height if height else half,
        short,
        long,
        short * PPB // (short + long) if short + long else half,
        now.close * 5 * PPB // sum(closes[-5:]) - PPB,
        now.close * 20 * PPB // sum(closes[-20:]) - PPB,
        now.volume * LONG * PPB // weight if weight else half,
        MISSING,
    )


def test_running_sums_equal_the_definitions_on_real_bars() -> None:
    """At every one of 800 days of SPY, so nothing is left behind in a sum."""
    bars = daily("spy")[:800]
    found = push_all(bars)
    for place in range(LONG, len(bars)):
        assert found[place] == by_hand(bars[: place + 1])


def test_a_condition_needs_21_bars() -> None:
    """None before, never zeros."""
    found = push_all(walk(HISTORY_BARS + 1))
    assert found[: HISTORY_BARS - 1] == [None] * (HISTORY_BARS - 1)
    assert None not in found[HISTORY_BARS - 1 :]


def test_there_is_one_number_for_each_name() -> None:
    """Names are part of the encoder."""
    condition = push_all(walk(HISTORY_BARS))[-1]
    assert condition is not None
    assert len(condition) == len(NAMES) == len(set(NAMES))


def test_a_flat_market_divides_by_nothing() -> None:
    """No range, no volatility, no volume: shares are one half, the rest zero."""
    condition = push_all([bar(day, (7, 7, 7, 7), volume=0) for day in range(HISTORY_BARS)])[-1]
    half = PPB // 2
    assert condition == (0, 0, 0, 0, 0, half, 0, 0, half, 0, 0, half, MISSING)


def test_a_known_move_has_known_features() -> None:
    """20 flat days at 100, then one that opens 1 % up, runs to 104 and closes at 102."""
    bars = [bar(day, (100, 100, 100, 100)) for day in range(LONG)]
    condition = push_all([*bars, bar(LONG, (101, 104, 100, 102), volume=3000)], spread_ppb=5)[-1]
    named = dict(zip(NAMES, condition or (), strict=True))
    assert named["return_1"] == named["return_5"] == named["return_20"] == 20_000_000
    assert named["gap"] == 10_000_000
    assert named["range"] == 40_000_000
    assert named["close_in_range"] == 500_000_000
    assert named["volatility_5"] == isqrt(20_000_000**2 // 5)
    assert named["volume_share"] == 3000 * 20 * PPB // (3000 * 20 + 22_000)
    assert named["spread"] == 5


@pytest.mark.parametrize(("gap", "whole"), [(MAX_GAP_BARS, True), (MAX_GAP_BARS + 1, False)])
def test_history_does_not_reach_across_a_long_silence(gap: int, whole: bool) -> None:
    """A return over a gap of weeks is no daily return; holidays are no gap."""
    early = walk(HISTORY_BARS)
    window = FeatureWindow(DAY)
    for one in early:
        window.push(one)
    after = msgspec.structs.replace(early[-1], event_ns=early[-1].event_ns + gap * DAY)
    assert (window.push(after) is not None) is whole
    assert window.latest is None or whole


@pytest.mark.parametrize("step_ns", [0, -1])
def test_a_bar_that_is_not_newer_is_refused(step_ns: int) -> None:
    """It was counted already, or comes too late to be counted in order."""
    first = walk(1)[0]
    window = FeatureWindow(DAY)
    window.push(first)
    with pytest.raises(ValueError, match="event_ns"):
        window.push(msgspec.structs.replace(first, event_ns=first.event_ns + step_ns))


def test_a_restart_forgets_the_history_and_keeps_the_time() -> None:
    """The first condition after it is that of a fresh window."""
    bars = walk(2 * HISTORY_BARS)
    window = FeatureWindow(DAY)
    for one in bars[:HISTORY_BARS]:
        window.push(one)
    window.restart()
    assert window.latest is None
    assert [window.push(one) for one in bars[HISTORY_BARS:]] == push_all(bars[HISTORY_BARS:])
    with pytest.raises(ValueError, match="event_ns"):
        window.push(bars[0])


def test_an_absurd_price_stays_within_bounds() -> None:
    """The scaling relies on |feature| ≤ 2^40."""
    bars = walk(HISTORY_BARS)
    absurd = bar(20_000 - 1, (1, 2**62, 1, 2**62), volume=2**62)
    bars[-1] = msgspec.structs.replace(absurd, event_ns=bars[-1].event_ns)
    condition = push_all(bars, spread_ppb=2 * PPB)[-1]
    assert condition is not None
    assert max(abs(value) for value in condition) <= 2**40
