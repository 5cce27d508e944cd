"""The replay clock: how long to wait, what a stop does, and the figures of the progress bar."""

from __future__ import annotations

import pytest

from appliance.market.pace import Pacer, RateMeter
from tests.market_builders import DAY, S

MARKET = 900_000 * DAY // 100
MONO = 123_456_789


def test_at_max_nothing_waits() -> None:
    """Every observation is due at once, in whatever order the times are."""
    pacer = Pacer("max")
    assert [pacer.wait_ns(MARKET + step, MONO) for step in (0, DAY, -DAY)] == [0, 0, 0]


@pytest.mark.parametrize(
    ("speed", "market_passed", "real_passed", "expected"),
    [
        (1, S, 0, S),
        (1, S, S - 1, 1),
        (1, S, S, 0),
        (1, S, 5 * S, 0),
        (86_400, DAY, 0, S),
        (86_400, DAY + 86_399, 0, S),
        (86_400, DAY + 86_400, 0, S + 1),
        (10, 0, 0, 0),
        (10, -S, 0, 0),
    ],
)
def test_market_time_passes_at_the_declared_multiple(
    speed: int, market_passed: int, real_passed: int, expected: int
) -> None:
    """86,400 times real time is one day a second; the first observation is due at once."""
    pacer = Pacer(speed)
    assert pacer.wait_ns(MARKET, MONO) == 0
    assert pacer.wait_ns(MARKET + market_passed, MONO + real_passed) == expected


def test_no_market_time_passes_while_stopped() -> None:
    """A trip stops the replay clock; after arming the rest comes as much later as the stop was long."""
    pacer = Pacer(1)
    pacer.wait_ns(MARKET, MONO)
    pacer.stop(MONO + 3 * S)
    pacer.stop(MONO + 4 * S)
    assert (pacer.stopped, pacer.wait_ns(MARKET, MONO + 50 * S)) == (True, None)
    pacer.resume(MONO + 103 * S)
    assert (pacer.stopped, pacer.wait_ns(MARKET + 5 * S, MONO + 103 * S)) == (False, 2 * S)


@pytest.mark.parametrize("speed", [1, "max"])
def test_stopped_before_the_first_observation(speed: int) -> None:
    """The replay starts in PAUSED: nothing is due before the box is armed, and then the first at once."""
    pacer = Pacer(speed)
    pacer.stop(MONO)
    assert pacer.wait_ns(MARKET, MONO + S) is None
    pacer.resume(MONO + 9 * S)
    pacer.resume(MONO + 10 * S)
    assert pacer.wait_ns(MARKET, MONO + 10 * S) == 0


def test_who_is_too_slow_catches_up_without_skipping() -> None:
    """Behind by 10 s, the next ten observations of a 1 s feed are due at once, the eleventh is not."""
    pacer = Pacer(1)
    pacer.wait_ns(MARKET, MONO)
    late = MONO + 10 * S
    assert [pacer.wait_ns(MARKET + n * S, late) for n in (1, 9, 10, 11)] == [0, 0, 0, S]


@pytest.mark.parametrize("speed", [0, -1])
def test_a_speed_below_real_time_is_refused(speed: int) -> None:
    """Zero would wait for ever."""
    with pytest.raises(ValueError, match="speed"):
        Pacer(speed)


@pytest.mark.parametrize(("passed", "left"), [(0, 4), (DAY, 3), (DAY + 1, 3), (4 * DAY, 0), (5 * DAY, 0)])
def test_what_is_left_is_rounded_up(passed: int, left: int) -> None:
    """Four days at one day a second are four seconds; a begun second counts."""
    assert Pacer(86_400).left_s(MARKET + passed, MARKET + 4 * DAY) == left
    assert Pacer("max").left_s(MARKET, MARKET + DAY) == 0


def test_the_rate_is_that_of_the_last_ten_seconds() -> None:
    """100 a second, then 10 a second: after ten seconds the old rate is forgotten."""
    meter = RateMeter()
    done = 0
    for second in range(20):
        meter.note(done, MONO + second * S)
        done += 100
    assert meter.rate(done, MONO + 20 * S) == 100
    for second in range(20, 31):
        meter.note(done, MONO + second * S)
        done += 10
    assert meter.rate(done, MONO + 31 * S) == 10


def test_samples_are_a_quarter_second_apart_and_leave_after_ten() -> None:
    """A burst noted between two samples is not one; a sample counts until the next is ten seconds old."""
    meter = RateMeter()
    meter.note(0, 0)
    meter.note(1_000, S // 4 - 1)
    assert meter.rate(1_000, S) == 1_000, "the first sample is still the one from 0 s"
    for quarter in range(1, 41):
        meter.note(1_000, quarter * S // 4)
    assert meter.rate(1_000, 10 * S) == 100, "at 10 s the one from 0 s still counts"
    meter.note(1_000, 10 * S + S // 4)
    assert meter.rate(1_000, 10 * S + S // 4) == 0, "then it has left"


def test_the_rate_is_unknown_before_a_quarter_second() -> None:
    """A rate from 1 ms would be noise; 0 means not known yet."""
    meter = RateMeter()
    assert meter.rate(5, MONO) == 0
    meter.note(0, MONO)
    assert meter.rate(1_000, MONO + S // 4 - 1) == 0
    assert meter.rate(1_000, MONO + S // 4) == 4_000
    meter.restart()
    assert meter.rate(1_000, MONO + S) == 0
