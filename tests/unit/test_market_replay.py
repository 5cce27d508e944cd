"""Several sources as one stream: order, completeness, warm-up, progress."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from appliance.domain.errors import PeerError
from appliance.domain.observation import Observation
from appliance.market.binance import BinanceRecording
from appliance.market.ohlcv import OhlcvFile
from appliance.market.pace import Pacer, Speed
from appliance.market.replay import ProgressMeter, Replay
from tests.market_builders import DAY, S, instrument, trade, write


class Listed:
    """A source whose observations are a list; its file only has to exist."""

    def __init__(self, folder: Path, observations: Sequence[Observation]) -> None:
        self.path = write(folder / "listed", "")
        self._observations = observations

    def read(self, tally: Counter[str]) -> Iterator[Observation]:
        """The list, in order."""
        yield from self._observations


def _replay(folder: Path, *lists: Sequence[Observation], resume_ns: int = 0) -> Replay:
    return Replay([Listed(folder, each) for each in lists], resume_ns=resume_ns)


def test_equal_times_come_in_declared_order(tmp_path: Path) -> None:
    """Instruments that close at the same midnight come in the order of the configuration, every time."""
    first = [trade(n * S, 100 + n, symbol="A") for n in range(3)]
    second = [trade(n * S, 200 + n, symbol="B") for n in range(3)]
    for sources in ((first, second), (second, first)):
        replay = _replay(tmp_path, *sources)
        got = [step.observation for step in replay]
        assert got == [each for pair in zip(*sources, strict=True) for each in pair]
        assert got == [step.observation for step in replay], "a second reading is the same"


def test_a_source_keeps_its_own_order_when_its_clock_steps_back(tmp_path: Path) -> None:
    """Nothing is sorted away: it comes where the file has it, and the quality checks refuse it."""
    stepped = [trade(5 * S, 1), trade(2 * S, 2), trade(6 * S, 3)]
    other = [trade(3 * S, 10), trade(5 * S, 11), trade(7 * S, 12)]
    replay = _replay(tmp_path, stepped, other)
    assert [getattr(step.observation, "price", None) for step in replay] == [10, 1, 2, 11, 3, 12]


def test_what_was_seen_before_the_point_of_resuming_is_warm_up(tmp_path: Path) -> None:
    """It is delivered all the same, flagged; the instant itself is no warm-up."""
    replay = _replay(tmp_path, [trade(n, n + 1) for n in (1, 2, 2, 3, 4)], resume_ns=3)
    assert [step.warm_up for step in replay] == [True, True, True, False, False]
    assert replay.done == replay.total == 5


def test_warm_up_is_a_prefix_even_if_a_clock_stepped_back(tmp_path: Path) -> None:
    """After the first live observation nothing is warm-up again: its signals would be lost."""
    replay = _replay(tmp_path, [trade(n, 1) for n in (1, 5, 2, 6)], resume_ns=4)
    assert [step.warm_up for step in replay] == [True, False, False, False]


def test_a_source_without_observations_is_refused(tmp_path: Path) -> None:
    """A recording of another symbol would end at once and look like success; the message says what it has."""
    header = write(tmp_path / "empty.csv", "time,price\n")
    with pytest.raises(PeerError, match="no rows"):
        Replay([OhlcvFile(header, instrument(), DAY)])
    message = '1723161254087896568 {"lastUpdateId":1}\n'
    recording = write(tmp_path / "other.raw", message)
    with pytest.raises(PeerError, match="1 snapshot"):
        Replay([BinanceRecording(recording, {})])


def test_no_sources_are_an_empty_replay() -> None:
    """Nothing to do is not an error of the replay."""
    replay = Replay([])
    assert (list(replay), replay.total) == ([], 0)


def _meter(folder: Path, speed: Speed) -> tuple[Replay, Pacer, ProgressMeter]:
    replay = _replay(folder, [trade((n + 1) * S, 1) for n in range(100)])
    pacer = Pacer(speed)
    return replay, pacer, ProgressMeter("SPX", replay, pacer)


def test_progress_at_full_speed_is_counted_in_observations(tmp_path: Path) -> None:
    """20 of 100 in two seconds: 10 a second, 8 s left; all numbers are integers."""
    replay, _, meter = _meter(tmp_path, "max")
    started = meter.read(0)
    assert (started.done, started.total, started.rate, started.eta_s) == (0, 100, 0, -1)
    steps = iter(replay)
    for _ in range(20):
        next(steps)
    running = meter.read(2 * S)
    assert (running.done, running.rate, running.eta_s, running.state) == (20, 10, 8, "running")
    assert running.market_ns == str(20 * S)
    list(steps)
    finished = meter.read(3 * S)
    assert (finished.done, finished.eta_s, finished.state) == (100, 0, "finished")


def test_progress_at_a_pace_is_counted_in_market_time(tmp_path: Path) -> None:
    """90 s of market at ten times real time are 9 s, whatever the rate of observations is."""
    replay, pacer, meter = _meter(tmp_path, 10)
    assert meter.read(0).eta_s == -1
    steps = iter(replay)
    for _ in range(10):
        pacer.wait_ns(next(steps).observation.seen_ns, 0)
    assert meter.read(S).eta_s == 9


def test_a_stopped_replay_says_so(tmp_path: Path) -> None:
    """No rate, no promise; and the time of the stop does not spoil the rate afterwards."""
    replay, pacer, meter = _meter(tmp_path, "max")
    steps = iter(replay)
    next(steps)
    meter.read(0)
    pacer.stop(S)
    stopped = meter.read(1_000 * S)
    assert (stopped.state, stopped.rate, stopped.eta_s) == ("stopped", 0, -1)
    pacer.resume(1_000 * S)
    meter.read(1_000 * S)
    for _ in range(50):
        next(steps)
    assert meter.read(1_001 * S).rate == 50
