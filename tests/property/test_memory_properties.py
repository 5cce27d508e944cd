"""Properties of memory's embeddings, over inputs nobody chose."""

from __future__ import annotations

from fractions import Fraction
from math import floor, isqrt
from typing import TypeAlias

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.domain.money import Price
from appliance.domain.observation import Bar
from appliance.memory.features import HISTORY_BARS, MISSING, NAMES, FeatureWindow
from appliance.memory.identity import Value, frame
from appliance.memory.sampling import usable
from appliance.memory.scaling import LIMIT_SIGMA, UNITS_PER_SIGMA, RunningScale
from appliance.memory.session import SessionMemory
from appliance.memory.similarity import Encoder, squared_distances
from tests.test_memory_kit import DAY, SPX, bar
from tests.unit.test_memory_features import by_hand

Record: TypeAlias = list[tuple[str, Value]]
QUICK = settings(deadline=None, derandomize=True, max_examples=100)
ENCODER = Encoder(NAMES)
EDGE = LIMIT_SIGMA * UNITS_PER_SIGMA

values = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.binary(max_size=5))
records = st.lists(st.tuples(st.text(max_size=4), values), max_size=4)
units = st.lists(st.integers(-EDGE, EDGE), min_size=len(NAMES), max_size=len(NAMES))


@st.composite
def histories(draw: st.DrawFn, count: int = HISTORY_BARS + 4) -> list[Bar]:
    """Usable bars in a row, from a tick to a thousandfold move."""
    bars = []
    for day in range(count):
        low = draw(st.integers(1, 10**6))
        opened, close, high = (low + draw(st.integers(0, 10**6)) for _ in range(3))
        volume = draw(st.integers(0, 10**12))
        bars.append(bar(day, (opened, max(opened, close, high), low, close), volume=volume))
    return bars


@QUICK
@given(records, records)
def test_frames_are_equal_only_for_equal_records(one: Record, other: Record) -> None:
    """P02. True and 1 compare equal in Python and must not here, hence the types."""
    typed = [[(name, type(value), value) for name, value in record] for record in (one, other)]
    assert (frame("k", one) == frame("k", other)) is (typed[0] == typed[1])


@QUICK
@given(histories())
def test_running_sums_equal_the_definitions(bars: list[Bar]) -> None:
    """Whatever the bars, nothing is left behind in a sum."""
    assert all(usable(one) for one in bars)
    window = FeatureWindow(DAY)
    for place, one in enumerate(bars):
        condition = window.push(one)
        assert condition == (by_hand(bars[: place + 1]) if place >= HISTORY_BARS - 1 else None)


@QUICK
@given(histories(HISTORY_BARS), st.integers(2, 1000))
def test_the_price_level_does_not_matter(bars: list[Bar], factor: int) -> None:
    """A share at 20 and one at 2,000 can be in the same condition; only ticks are rounded differently."""

    def dearer(one: Bar) -> Bar:
        prices = {name: Price(getattr(one, name) * factor) for name in ("open", "high", "low", "close")}
        return msgspec.structs.replace(one, **prices)

    window, other = FeatureWindow(DAY), FeatureWindow(DAY)
    for one in bars:
        window.push(one)
        other.push(dearer(one))
    assert window.latest == other.latest


@QUICK
@given(units, units)
def test_distances_survive_the_encoding(one: list[int], other: list[int]) -> None:
    """√512 · 4 int8 steps a sigma, up to rounding, as long as no dimension reaches its limit."""
    small = np.array([one, other], dtype=np.int64) // 4
    fine = ENCODER.encode(small)[0]
    found = float(np.sqrt(squared_distances(fine[0], fine[1:])[0]))
    expected = float(np.sqrt(512 * ((small[0] - small[1]) ** 2).sum())) / 64
    assert abs(found - expected) <= np.sqrt(512)  # half a step of rounding on each side and dimension


@QUICK
@given(units, st.integers(0, len(NAMES) - 1), st.integers(1, 40))
def test_the_further_the_more_bits_differ(one: list[int], place: int, step: int) -> None:
    """Moving one feature further away never brings a bit back: codes are ordered like distances."""
    path = np.array([one] * 4, dtype=np.int64)
    path[:, place] += np.arange(4) * step
    bits = np.unpackbits(ENCODER.encode(path)[1], axis=1)
    differing = [int((bits[0] ^ row).sum()) for row in bits]
    assert differing == sorted(differing)


@QUICK
@given(st.lists(st.integers(-(10**12), 10**12) | st.just(MISSING), min_size=1, max_size=80))
def test_the_running_scale_equals_two_passes(features: list[int]) -> None:
    """Exact integers: no order of additions and no cancellation to worry about."""
    scale = RunningScale(1)
    for value in features:
        scale.add((value,), None)
    known = [value for value in features if value != MISSING]
    mean = Fraction(sum(known), max(len(known), 1))
    variance = sum((value - mean) ** 2 for value in known) / max(len(known), 1)
    sigma = isqrt(int(variance))
    cut = scale.cut(1)
    assert cut.center == (floor(mean),)
    assert cut.sigma == (sigma if sigma >= 16 else 0,)


@QUICK
@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 10), st.integers(-1, 12))
def test_recent_equals_the_end_of_everything(days: list[int], capacity: int, count: int) -> None:
    """P18, for any ring and any question."""
    session = SessionMemory([SPX], capacity)
    pushed = [bar(day, (1, 1, 1, 1)) for day in days]
    for one in pushed:
        session.push(one)
    kept = pushed[-capacity:]
    assert list(session.recent(SPX, count)) == (kept[-count:] if count > 0 else [])
