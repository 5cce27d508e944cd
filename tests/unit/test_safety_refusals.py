"""Too much nonsense from one source of prices trips, one bad record never does (SAFETY 1; CONTROLS 21)."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.domain.ids import InstrumentId
from appliance.safety.refusals import RefusedShare

A, B = InstrumentId("A"), InstrumentId("B")


def _feed(share: RefusedShare, records: Iterable[bool], instrument: InstrumentId = A) -> list[int]:
    """Positions at which it spoke."""
    return [at for at, refused in enumerate(records) if share.note(instrument, refused=refused)]


@pytest.mark.safety("S1.32")
@pytest.mark.parametrize(
    ("bad", "spoke"), [(0, []), (1, []), (9, []), (10, []), (11, [10]), (21, [10]), (22, [10, 21])]
)
def test_ten_of_a_hundred_is_the_last_allowed_share(bad: int, spoke: list[int]) -> None:
    """Also when they are the first records: the share is of the whole window. Told, it begins again."""
    assert _feed(RefusedShare(100, 100_000), [True] * bad) == spoke


@pytest.mark.parametrize(("between", "spoke"), [(88, True), (89, True), (90, False)])
def test_the_window_slides(between: int, spoke: bool) -> None:
    """Ten bad ones, good ones, and the eleventh: it counts while the first is one of the last hundred."""
    share = RefusedShare(100, 100_000)
    assert bool(_feed(share, [*[True] * 10, *[False] * between, True])) is spoke


def test_instruments_are_counted_apart() -> None:
    """Ten of each are ten of each; the words name the one that is bad."""
    share = RefusedShare(100, 100_000)
    assert _feed(share, [True] * 10, A) == _feed(share, [True] * 10, B) == []
    assert share.note(B, refused=True) == "11 of the last 100 records of B were refused"
    assert share.note(A, refused=False) == ""


@pytest.mark.parametrize(("window", "limit_ppm"), [(0, 500_000), (100, 9_999), (10, 99_999), (1, 999_999)])
def test_a_limit_below_one_record_is_refused(window: int, limit_ppm: int) -> None:
    """A single bad line must not stop a box."""
    with pytest.raises(ValueError, match="one bad record"):
        RefusedShare(window, limit_ppm)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.booleans(), max_size=120), st.integers(2, 30), st.integers(1, 9))
def test_the_share_is_counted_exactly(records: list[bool], window: int, tenths: int) -> None:
    """Against the whole list: it speaks at a bad record that makes too many since it last spoke."""
    limit_ppm = max(tenths * 100_000, -(-1_000_000 // window))
    expected, told = [], 0
    for at in range(len(records)):
        recent = records[max(told, at + 1 - window) : at + 1]
        if records[at] and sum(recent) * 1_000_000 > limit_ppm * window:
            expected.append(at)
            told = at + 1
    assert _feed(RefusedShare(window, limit_ppm), records) == expected
