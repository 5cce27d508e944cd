"""Which scaling version is active, and when (MEMORY: scaling statistics versioned with the collection)."""

from __future__ import annotations

import pytest

from appliance.memory.features import NAMES
from appliance.memory.longterm_store import BATCH_MAX
from appliance.memory.scaling import RunningScale, Scaling
from appliance.memory.streams import BUCKET_BARS, Condition, Statistics, Stream, whole_seconds
from tests.test_memory_kit import DAY, SPX, WTI, bar

WIDTH = len(NAMES)


def admit(statistics: Statistics, row: int) -> tuple[int, ...]:
    """One more condition, whose features vary a little."""
    return statistics.admit(Condition(row, row * DAY, tuple(row * 1000 % 7919 for _ in NAMES)))


def run(count: int, batch: int) -> tuple[Statistics, dict[int, list[int]]]:
    """Statistics after `count` conditions in batches, and the rows each version was given."""
    statistics = Statistics(RunningScale(WIDTH))
    given: dict[int, list[int]] = {}
    for row in range(1, count + 1):
        for version in admit(statistics, row):
            given.setdefault(version, []).append(row)
        if row % batch == 0 or row == count:
            owed = statistics.owed()
            if owed:
                older = list(range(statistics.filled_row + 1, statistics.filled_row + owed + 1))
                assert older[-1] < statistics.cut_row
                given.setdefault(len(statistics.versions), []).extend(older)
                statistics.fill(older)
    return statistics, given


@pytest.mark.parametrize("batch", [1, 7, 128, BATCH_MAX])
@pytest.mark.parametrize(
    ("count", "versions", "active"),
    [(63, 0, 0), (64, 1, 1), (1023, 1, 1), (1024, 2, 1), (1279, 2, 1), (1280, 2, 2), (4000, 2, 2)],
)
def test_the_active_version_follows_the_count(batch: int, count: int, versions: int, active: int) -> None:
    """However the conditions came in batches, and it holds each of them exactly once."""
    statistics, given = run(count, batch)
    assert (len(statistics.versions), statistics.active) == (versions, active)
    if active:
        assert sorted(given[active]) == list(range(1, count + 1))


def test_a_move_is_spread_over_many_conditions() -> None:
    """Each brings four older ones along; none causes a long pause."""
    statistics, _ = run(1024, 1)
    owed = []
    for row in range(1025, 1290):
        admit(statistics, row)
        due = statistics.owed()
        owed.append(due)
        if due:
            statistics.fill(range(statistics.filled_row + 1, statistics.filled_row + due + 1))
    assert owed == [4] * 255 + [3] + [0] * 9


def test_the_same_conditions_cut_the_same_statistics() -> None:
    """Versions are part of what makes bytes repeatable."""
    assert run(2000, 1)[0].versions == run(2000, 128)[0].versions


@pytest.mark.parametrize(
    ("versions", "filled"),
    [([2], 0), ([1, 3], 0), ([1, 1], 0), ([], 1), ([1], 64), ([1], -1), ([1, 2], 1024)],
)
def test_impossible_progress_is_refused(versions: list[int], filled: int) -> None:
    """It would search vectors that are not there."""
    scalings = [Scaling(version=one, center=(0,), sigma=(1,)) for one in versions]
    with pytest.raises(ValueError, match=r"versions|filled"):
        Statistics(RunningScale(1), scalings, filled=filled)


def test_streams_of_other_instruments_or_lengths_are_other_streams() -> None:
    """Names and identities differ, so nothing is mixed."""
    streams = [Stream(SPX, DAY), Stream(WTI, DAY), Stream(SPX, 60 * 10**9)]
    assert [one.name for one in streams] == ["SPX/86400s", "WTI/86400s", "SPX/60s"]
    one = bar(1, (1, 1, 1, 1))
    assert streams[0].identity(one) != streams[2].identity(one)


@pytest.mark.parametrize(("day", "bucket"), [(0, 0), (BUCKET_BARS - 1, 0), (BUCKET_BARS, 1), (3072, 3)])
def test_buckets_follow_the_length_of_a_bar(day: int, bucket: int) -> None:
    """A bucket of one day would cost 0.6 MB for each daily bar."""
    assert Stream(SPX, DAY).bucket(day * DAY) == bucket


@pytest.mark.parametrize("bar_ns", [0, -DAY, 1, 10**9 - 1, 10**9 + 1])
def test_bars_last_whole_seconds(bar_ns: int) -> None:
    """Shorter ones would fill a card within days."""
    with pytest.raises(ValueError, match="bar_ns"):
        whole_seconds(bar_ns)
    assert whole_seconds(10**9) == 10**9
