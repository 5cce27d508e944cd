"""Ticks become bars; bars stay bars; weaker sources give way."""

from __future__ import annotations

import msgspec
import pytest

from appliance.domain.money import Price, Qty
from appliance.domain.observation import Bar, Observation, Quote, Trade
from appliance.memory.sampling import Sample, Sampler, usable
from tests.test_memory_kit import SPX, bar

S = 10**9
MAX = 2**63 - 1


def trade(at_s: int, price: int, qty: int = 1) -> Trade:
    """Seen a tenth of a second after it happened."""
    event_ns = at_s * S
    return Trade(
        instrument=SPX,
        event_ns=event_ns,
        seen_ns=event_ns + S // 10,
        price=Price(price),
        qty=Qty(qty),
        seller_initiated=False,
    )


def quote(at_s: int, bid: int, ask: int) -> Quote:
    """One on each side."""
    return Quote(
        instrument=SPX,
        event_ns=at_s * S,
        seen_ns=at_s * S,
        bid=Price(bid),
        bid_qty=Qty(1),
        ask=Price(ask),
        ask_qty=Qty(1),
    )


def at(event_ns: int, seen_ns: int) -> Trade:
    """With exactly these times."""
    return msgspec.structs.replace(trade(0, 1), event_ns=event_ns, seen_ns=seen_ns)


def feed(*observations: Observation, bar_s: int = 60) -> list[Sample]:
    """All samples a fresh sampler gives."""
    sampler = Sampler(SPX, bar_s * S)
    return [sample for sample in map(sampler.update, observations) if sample is not None]


def prices(one: Bar) -> tuple[int, int, int, int, int]:
    """open, high, low, close, volume"""
    return (one.open, one.high, one.low, one.close, one.volume)


def test_a_bar_passes_as_it_is() -> None:
    """Whatever its length: the feed knows."""
    one = bar(1, (10, 12, 9, 11))
    assert feed(one) == [Sample(one, None, False)]


def test_trades_become_a_bar_when_the_next_interval_begins() -> None:
    """The boundary belongs to the later bar; a bar is seen when the tick that ends it is."""
    first, second = feed(trade(60, 100), trade(70, 120, 5), trade(119, 90), trade(120, 95), trade(180, 1))
    assert (first.bar.event_ns, prices(first.bar)) == (60 * S, (100, 120, 90, 90, 7))
    assert first.bar.seen_ns == 120 * S + S // 10
    assert (second.bar.event_ns, prices(second.bar)) == (120 * S, (95, 95, 95, 95, 1))


def test_intervals_without_ticks_make_no_bars() -> None:
    """Silence is not a price."""
    assert [one.bar.event_ns for one in feed(trade(0, 1), trade(600, 1), trade(660, 1))] == [0, 600 * S]


def test_a_late_tick_changes_nothing() -> None:
    """Its bar is closed."""
    on_time = feed(trade(0, 1), trade(60, 5), trade(120, 1))
    assert feed(trade(0, 1), trade(60, 5), trade(59, 1000), trade(120, 1)) == on_time


def test_quotes_alone_make_bars_of_their_middle() -> None:
    """A foreign exchange feed has no trades. The mean spread counts the quotes of the bar only."""
    first, second = feed(quote(0, 99, 101), quote(1, 98, 102), quote(60, 100, 100), quote(120, 1, 1))
    assert prices(first.bar) == (100, 100, 100, 100, 0)
    assert first.spread_ppb == (20_000_000 + 40_000_000) // 2
    assert second.spread_ppb == 0


def test_trades_take_over_from_quotes_and_start_afresh() -> None:
    """A bar of middles does not continue into a bar of trades; quotes go on giving the spread."""
    quotes = [quote(at_s, 99, 101) for at_s in (0, 60, 62)]
    found = feed(quotes[0], quotes[1], trade(61, 50), quotes[2], trade(120, 51), trade(180, 1))
    assert [(one.bar.open, one.restart) for one in found] == [(100, False), (50, True), (51, False)]
    assert found[1].spread_ppb == 20_000_000
    assert found[2].spread_ppb is None


def test_bars_take_over_from_trades_and_trades_no_longer_count() -> None:
    """A feed that sends both has the better bars itself."""
    one, two = bar(1, (10, 12, 9, 11)), bar(2, (1, 1, 1, 1))
    found = feed(trade(0, 5), trade(60, 5), one, trade(86_400 + 61, 5), trade(86_400 * 3, 5), two)
    assert [sample.restart for sample in found] == [False, True, False]
    assert [sample.bar for sample in found[1:]] == [one, two]


def test_a_volume_beyond_64_bits_is_limited() -> None:
    """The store could not take it."""
    assert feed(trade(0, 1, MAX), trade(1, 1, MAX), trade(60, 1))[0].bar.volume == MAX


@pytest.mark.parametrize(
    ("observation", "expected"),
    [
        (bar(1, (10, 12, 9, 11)), True),
        (bar(1, (1, 1, 1, 1), volume=0), True),
        (bar(1, (1, 1, 1, 1), volume=MAX), True),
        (bar(1, (1, 1, 1, 1), volume=MAX + 1), False),
        (bar(1, (1, 1, 1, 1), volume=-1), False),
        (bar(1, (1, MAX, 1, 1)), True),
        (bar(1, (1, MAX + 1, 1, 1)), False),
        (bar(1, (0, 1, 0, 1)), False),
        (bar(1, (-3, 1, -4, 1)), False),
        (bar(1, (10, 9, 9, 9)), False),
        (bar(1, (9, 10, 9, 11)), False),
        (bar(1, (8, 10, 9, 9)), False),
        (bar(-1, (1, 1, 1, 1)), False),
        (bar(2**63 // (86_400 * S) + 1, (1, 1, 1, 1)), False),
        (at(0, 0), True),
        (at(MAX, MAX), True),
        (at(MAX + 1, 0), False),
        (at(0, MAX + 1), False),
        (at(-1, 0), False),
        (at(0, -1), False),
        (trade(1, 1, 0), True),
        (trade(1, MAX, MAX), True),
        (trade(1, 1, MAX + 1), False),
        (trade(1, 0), False),
        (trade(1, MAX + 1), False),
        (trade(1, 1, -1), False),
        (trade(-1, 1), False),
        (quote(1, 1, 1), True),
        (quote(1, 2, 1), False),
        (quote(1, 0, 1), False),
        (quote(1, 1, MAX), True),
        (quote(1, 1, MAX + 1), False),
    ],
)
def test_only_what_can_be_measured_and_stored_is_usable(observation: Observation, expected: bool) -> None:
    """Boundary values: zero and negative prices, disorder, 64 bits."""
    assert usable(observation) is expected
