"""L1: the newest observations, bounded (L1-05, L1-09; P18)."""

from __future__ import annotations

import pytest

from appliance.memory.session import SessionMemory
from tests.test_memory_kit import SPX, WTI, walk

BARS = walk(10)


@pytest.mark.parametrize("count", [0, 1, 2, 9, 10, 11])
def test_recent_gives_the_newest_oldest_first(count: int) -> None:
    """P18: taking n from the oldest end gives the wrong ones."""
    session = SessionMemory([SPX], 100)
    for one in BARS:
        assert session.push(one)
    assert list(session.recent(SPX, count)) == (BARS[-count:] if count else [])


def test_a_full_ring_forgets_the_oldest() -> None:
    """Memory is bounded whatever a feed sends."""
    session = SessionMemory([SPX], 3)
    for one in BARS:
        session.push(one)
    assert list(session.recent(SPX, 10)) == BARS[-3:]


def test_instruments_do_not_push_each_other_out() -> None:
    """A busy instrument must not empty a quiet one's history."""
    session = SessionMemory([SPX, WTI], 3)
    quiet = walk(2, symbol="WTI")
    for one in (*quiet, *BARS):
        session.push(one)
    assert list(session.recent(WTI, 3)) == quiet


def test_an_instrument_that_is_not_configured_is_not_kept() -> None:
    """Otherwise the number of rings would depend on what a feed sends."""
    session = SessionMemory([WTI], 3)
    assert not session.push(BARS[0])
    assert session.recent(SPX, 3) == ()


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_ring_of_nothing_is_refused(capacity: int) -> None:
    """L1-09: capacity 0 is a mistake in configuration, not a way to switch memory off."""
    with pytest.raises(ValueError, match="capacity"):
        SessionMemory([SPX], capacity)
