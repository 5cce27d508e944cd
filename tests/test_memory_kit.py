"""Bars for the tests of memory: real ones, and walks that are the same in every run."""

from __future__ import annotations

import gzip
import os
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.domain.ids import InstrumentId
from appliance.domain.money import Price
from appliance.domain.observation import Bar
from appliance.memory.longterm_store import LongTermMemory
from appliance.memory.sampling import Sample, usable
from appliance.memory.schema_store import create
from appliance.ports import Precedent

DAY = 86_400 * 10**9
SPX, WTI = InstrumentId("SPX"), InstrumentId("WTI")
SHARED = Path(os.environ.get("INTERLOCK_SHARED", Path(__file__).parents[2] / "shared"))
MANY = 10**6


def daily(name: str) -> list[Bar]:
    """Recorded daily bars (`yyyymmdd HH:MM,open,high,low,close,volume`); skips where there are none."""
    path = SHARED / "data" / "daily" / f"{name}_daily.csv.gz"
    if not path.exists():
        pytest.skip(f"no recorded data: {path.name} (set INTERLOCK_SHARED)")
    bars = []
    with gzip.open(path, "rt") as lines:
        for line in lines:
            stamp, *numbers = line.strip().split(",")
            day = datetime.strptime(stamp, "%Y%m%d %H:%M").replace(tzinfo=UTC)
            prices = [int(number) for number in numbers]
            bars.append(bar(int(day.timestamp()) // 86_400, prices[:4], name.upper(), prices[4]))
    return bars


def bar(day: int, prices: Sequence[int], symbol: str = "SPX", volume: int = 1000) -> Bar:
    """The daily bar of that day number: open, high, low, close."""
    opened, high, low, close = (Price(price) for price in prices)
    return Bar(
        instrument=InstrumentId(symbol),
        event_ns=day * DAY,
        seen_ns=(day + 1) * DAY,
        open=opened,
        high=high,
        low=low,
        close=close,
        volume=volume,
    )


def walk(count: int, seed: int = 1, symbol: str = "SPX", first_day: int = 10_000) -> list[Bar]:
    """A random walk of daily bars whose calm and wild weeks alternate."""
    rng = random.Random(seed)
    close, bars = 100_000, []
    for number in range(count):
        reach = 400 + 1600 * (number // 7 % 3)
        opened = max(1000, close + rng.randint(-reach // 4, reach // 4))
        close = max(1000, opened + rng.randint(-reach, reach))
        high = max(opened, close) + rng.randint(0, reach // 2)
        low = min(opened, close) - rng.randint(0, min(reach // 2, 500))
        bars.append(bar(first_day + number, (opened, high, low, close), symbol, rng.randint(0, 10**6)))
    return bars


def samples(bars: Sequence[Bar]) -> list[Sample]:
    """As a feed of bars gives them to the store."""
    return [Sample(one, None, False) for one in bars]


def batches(bars: Sequence[Bar], size: int) -> Iterator[list[Sample]]:
    """Consecutive batches."""
    for start in range(0, len(bars), size):
        yield samples(bars[start : start + size])


def memory(path: Path, max_rows: int = MANY) -> LongTermMemory:
    """The memory file at `path`, made if it is not there."""
    if not path.exists():
        create(path)
    return LongTermMemory(path, DAY, max_rows)


def similar(store: LongTermMemory, k: int = 10, instrument: InstrumentId = SPX) -> tuple[Precedent, ...]:
    """Precedents of the latest condition, which must be there."""
    found = store.similar(instrument, k)
    assert found is not None
    return found


def test_walks_repeat_and_are_usable() -> None:
    """Other tests rely on both."""
    assert walk(100) == walk(100)
    assert walk(100) != walk(100, seed=2)
    assert all(usable(one) for one in walk(2000))


def test_recorded_data_is_read_as_described() -> None:
    """First SPY bar of the manifest's file, prices × 10^4."""
    first = daily("spy")[0]
    assert first.event_ns == 883_699_200 * 10**9
    assert (first.open, first.close, first.volume) == (973_100, 973_600, 2_150_000)
