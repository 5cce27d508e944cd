"""A signal is judged before it may become an intent; boundaries on both sides."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from appliance.domain.ids import InstrumentId, SourceId
from appliance.domain.money import Price
from appliance.domain.signal import Direction, Signal
from appliance.validation.recent import RecentPrices
from appliance.validation.signals import MEANING, SignalFault, SignalLimits, check_signal
from tests.market_builders import SPX, S, instrument, one_print, quote, trade

NOW = 1_000 * S
NDX = InstrumentId("NDX")
TREND = SourceId("trend-spx")
LIMITS = SignalLimits(
    strategies={TREND: SPX, SourceId("lost"): InstrumentId("GONE")},
    instruments={SPX: instrument(tick=5), NDX: instrument("NDX")},
    max_age_ns=10 * S,
    max_stop_ppm=80_000,
)
GOOD = Signal(
    strategy=TREND,
    instrument=SPX,
    event_ns=NOW,
    direction=Direction.LONG,
    reference_price=Price(10_000),
    stop_price=Price(9_500),
    reason="",
)


def _recent(*prices: int, window_ns: int = S) -> RecentPrices:
    recent = RecentPrices(window_ns)
    for price in prices or (10_000,):
        recent.note(trade(NOW, price))
    return recent


def _fault(signal: Signal, recent: RecentPrices | None = None) -> SignalFault | None:
    refusal = check_signal(signal, LIMITS, recent or _recent(), NOW)
    assert refusal is None or refusal.detail.startswith(MEANING[refusal.fault])
    return None if refusal is None else refusal.fault


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({}, None),
        ({"strategy": "nobody"}, SignalFault.UNKNOWN_STRATEGY),
        ({"instrument": "DOGE"}, SignalFault.UNKNOWN_INSTRUMENT),
        ({"strategy": "lost", "instrument": "GONE"}, SignalFault.UNKNOWN_INSTRUMENT),
        ({"instrument": "NDX"}, SignalFault.WRONG_INSTRUMENT),
        ({"event_ns": NOW + 1}, SignalFault.FROM_FUTURE),
        ({"event_ns": NOW - 10 * S}, None),
        ({"event_ns": NOW - 10 * S - 1}, SignalFault.STALE),
        ({"reference_price": 0}, SignalFault.PRICE_NOT_POSITIVE),
        ({"reference_price": -10_000}, SignalFault.PRICE_NOT_POSITIVE),
        ({"reference_price": float("nan")}, SignalFault.PRICE_NOT_POSITIVE),
        ({"reference_price": 10_001}, SignalFault.PRICE_NOT_SEEN),
        ({"stop_price": None}, SignalFault.STOP_MISSING),
        ({"stop_price": 0}, SignalFault.STOP_NOT_POSITIVE),
        ({"stop_price": -5}, SignalFault.STOP_NOT_POSITIVE),
        ({"stop_price": float("nan")}, SignalFault.STOP_NOT_POSITIVE),
        ({"stop_price": 9_995}, None),
        ({"stop_price": 10_000}, SignalFault.STOP_SIDE),
        ({"stop_price": 10_005}, SignalFault.STOP_SIDE),
        ({"stop_price": 9_200}, None),
        ({"stop_price": 9_195}, SignalFault.STOP_DISTANCE),
        ({"stop_price": 5}, SignalFault.STOP_DISTANCE),
        ({"stop_price": 9_501}, SignalFault.TICK_SIZE),
    ],
)
def test_each_fault_at_its_boundary(changes: dict[str, Any], fault: SignalFault | None) -> None:
    """The limit is the last allowed value: 8 % passes, one tick more does not."""
    assert _fault(replace(GOOD, **changes)) is fault


@pytest.mark.safety("S2.8")
@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({}, None),
        ({"event_ns": 0}, None),
        ({"event_ns": NOW + 1}, None),
        ({"reference_price": 0}, None),
        ({"reference_price": 77}, None),
        ({"stop_price": 10_001}, None),
        ({"strategy": "nobody"}, SignalFault.UNKNOWN_STRATEGY),
        ({"instrument": "DOGE"}, SignalFault.UNKNOWN_INSTRUMENT),
        ({"instrument": "NDX"}, SignalFault.WRONG_INSTRUMENT),
    ],
)
def test_a_close_gets_out_unless_nobody_knows_whose_it_is(
    changes: dict[str, Any], fault: SignalFault | None
) -> None:
    """Exits pass with any input missing (SAFETY 2): stale, unseen or clumsy, a CLOSE still leaves."""
    close = replace(GOOD, direction=Direction.CLOSE, stop_price=None)
    assert _fault(replace(close, **changes)) is fault


def test_the_first_reason_is_the_most_basic_one() -> None:
    """Everything wrong at once: identity is named before age, age before price, price before stop."""
    wrong = replace(GOOD, strategy=SourceId("nobody"), event_ns=0, reference_price=Price(0), stop_price=None)
    assert _fault(wrong) is SignalFault.UNKNOWN_STRATEGY
    assert _fault(replace(wrong, strategy=TREND)) is SignalFault.STALE
    assert _fault(replace(wrong, strategy=TREND, event_ns=NOW)) is SignalFault.PRICE_NOT_POSITIVE
    assert _fault(replace(GOOD, stop_price=None)) is SignalFault.STOP_MISSING


def test_the_detail_holds_the_numbers_that_decided() -> None:
    """The log shows limit and value."""
    refusal = check_signal(replace(GOOD, stop_price=Price(9_195)), LIMITS, _recent(), NOW)
    assert refusal is not None
    assert "stop 9195, reference 10000, limit 80000 ppm" in refusal.detail


@pytest.mark.parametrize(("age_ns", "known"), [(0, True), (S, True), (S + 1, False), (-5 * S, True)])
def test_a_price_is_recent_within_the_window(age_ns: int, known: bool) -> None:
    """The window before the signal, its edge included; a price accepted since then is as good."""
    recent = RecentPrices(S)
    recent.note(trade(NOW - age_ns, 10_000))
    assert recent.contains(SPX, 10_000, NOW) is known


def test_only_accepted_closes_and_trades_are_prices() -> None:
    """A quote is an offer; another instrument's price is not this one's."""
    recent = RecentPrices(S)
    recent.note(quote(NOW, 9_999, 10_001))
    recent.note(one_print(0, 10_000, "NDX"))
    assert not any(recent.contains(SPX, price, 0) for price in (9_999, 10_000, 10_001))
    assert recent.contains(NDX, 10_000, 0)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, S // 50), st.integers(1, 40)), max_size=400))
def test_recent_prices_agree_with_a_full_history(steps: list[tuple[int, int]]) -> None:
    """Forgetting is never visible: the answer is that of a list of everything."""
    recent = RecentPrices(S)
    recent._prune_at[SPX] = 4
    history: list[tuple[int, int]] = []
    seen_ns = 0
    for step, price in steps:
        seen_ns += step
        recent.note(trade(seen_ns, price))
        history.append((seen_ns, price))
        for asked in (1, price, 41):
            expected = any(one == asked and when >= seen_ns - S for when, one in history)
            assert recent.contains(SPX, asked, seen_ns) == expected


def test_memory_is_bounded_by_the_window() -> None:
    """100,000 different prices, 10 ms apart: what is older than a second is forgotten, not kept for ever."""
    recent = RecentPrices(S)
    for number in range(1, 100_001):
        recent.note(trade(number * S // 100, number))
    assert len(recent._seen[SPX]) <= 2 * 4_096


def test_a_window_of_nothing_is_the_instant_itself() -> None:
    """Enough for daily bars: the price is that of the bar the signal is about."""
    recent = RecentPrices(0)
    recent.note(trade(NOW, 10_000))
    assert (recent.contains(SPX, 10_000, NOW), recent.contains(SPX, 10_000, NOW + 1)) == (True, False)


def test_forgetting_keeps_the_edge_of_the_window() -> None:
    """A price exactly one window old is still recent when others are forgotten."""
    recent = RecentPrices(S)
    recent._prune_at[SPX] = 2
    recent.note(trade(NOW - S, 10_000))
    recent.note(trade(NOW, 10_001))
    assert recent.contains(SPX, 10_000, NOW)


def test_a_window_cannot_be_negative() -> None:
    """It would forget the price of the very signal."""
    with pytest.raises(ValueError, match="window_ns"):
        RecentPrices(-1)


def test_every_fault_has_its_sentence() -> None:
    """Printed in the log and on the page."""
    assert set(MEANING) == set(SignalFault)
    assert len(set(MEANING.values())) == len(MEANING)
