"""Prices on a grid, correlations of their returns, and which positions may not stand beside each other."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest

from appliance.domain.ids import InstrumentId
from appliance.domain.intent import Side
from appliance.domain.money import Ppm, Price, Qty
from appliance.domain.observation import Bar, Observation, Quote, Trade
from appliance.market.samples import open_sample
from appliance.portfolio.correlation import CORRELATION_ONE, Correlations, CorrelationTerms
from appliance.portfolio.series import RANGES, RETURN_ONE, Return, Series
from tests.risk_kit import DAY, A, B, C, bar, correlation_terms, instrument

BUY, SELL = Side.BUY, Side.SELL
BOTH = {A: "A", B: "B"}


def _trade(seen_ns: int, price: int) -> Trade:
    return Trade(
        instrument=A, event_ns=seen_ns, seen_ns=seen_ns, price=Price(price), qty=Qty(1), seller_initiated=True
    )


def _quote(seen_ns: int, bid: int, ask: int) -> Quote:
    return Quote(
        instrument=A,
        event_ns=1,
        seen_ns=seen_ns,
        bid=Price(bid),
        bid_qty=Qty(1),
        ask=Price(ask),
        ask_qty=Qty(1),
    )


def test_a_daily_bar_closes_its_own_day_at_once() -> None:
    """Known at midnight, it belongs to the day that ends there; weekends are spanned by the next return."""
    series = Series(DAY)
    assert series.observe(bar(A, 0, 10_000)) == ()
    assert series.observe(bar(A, 1, 10_100)) == (Return((0, 1), RETURN_ONE // 100),)
    assert series.observe(bar(A, 4, 9_999)) == (Return((1, 4), -101 * RETURN_ONE // 10_100),)


@pytest.mark.parametrize(
    ("observations", "keys"),
    [
        ([_trade(1, 100), _trade(DAY - 1, 110), _trade(DAY + 1, 120)], []),
        ([_trade(1, 1), _trade(DAY - 1, 110), _trade(DAY + 1, 121), _trade(2 * DAY + 1, 1)], [(0, 1)]),
        ([_trade(1, 100), _trade(DAY, 110), _trade(DAY, 115), _trade(2 * DAY, 121)], [(0, 1)]),
        ([_trade(1, 100), _trade(DAY + 1, 110), _trade(3 * DAY, 121)], [(0, 1), (1, 2)]),
        ([_trade(DAY + 1, 100), _trade(1, 7), _trade(2 * DAY + 1, 110), _trade(3 * DAY + 1, 1)], [(1, 2)]),
        ([_trade(1, 0), _trade(DAY + 1, 10), _trade(2 * DAY + 1, 11), _trade(3 * DAY + 1, 1)], [(1, 2)]),
    ],
)
def test_intervals_end_with_their_last_price(
    observations: list[Observation], keys: list[tuple[int, int]]
) -> None:
    """(k, k + 1] of seen_ns; a late price is left out, an edge closes, zero has no return. Always + 10 %."""
    series = Series(DAY)
    found = [each for observation in observations for each in series.observe(observation)]
    assert [each.key for each in found] == keys
    assert all(each.value == RETURN_ONE // 10 for each in found)


def test_a_quote_counts_with_its_middle() -> None:
    """Rounded down."""
    series = Series(DAY)
    series.observe(_quote(DAY, 99, 102))
    assert series.last == (0, 100)


def test_an_interval_has_the_highest_and_lowest_of_its_prices() -> None:
    """The true range of a day of trades is that of the bar they make."""
    one, other = Series(DAY), Series(DAY)
    for day in range(RANGES + 1):
        start = day * DAY
        for offset, price in ((1, 100), (2, 130), (3, 90), (DAY, 110)):
            one.observe(_trade(start + offset, price))
        other.observe(bar(A, day, 110, low=90, high=130))
    assert one.average_range() == other.average_range() == 40


@pytest.mark.parametrize(
    ("low", "high", "close", "span"),
    [(95, 105, 100, 10), (105, 110, 107, 10), (80, 95, 90, 20), (100, 100, 100, 0)],
)
def test_the_true_range_reaches_to_the_close_before(low: int, high: int, close: int, span: int) -> None:
    """Wilder: a gap belongs to the range."""
    series = Series(DAY)
    series.observe(bar(A, 0, 100))
    for day in range(RANGES):
        series.observe(bar(A, 1 + 2 * day, close, low=low, high=high))
        series.observe(bar(A, 2 + 2 * day, 100))
    calm = max(high, 100) - min(low, 100)
    assert calm == span
    back = abs(close - 100)
    assert series.average_range() == -(-(span + back) * (RANGES // 2) // RANGES)


def test_the_average_range_is_not_known_before_fourteen_and_is_rounded_up() -> None:
    """0 is: not known."""
    series = Series(DAY)
    series.observe(bar(A, 0, 100))
    for day in range(1, RANGES):
        series.observe(bar(A, day, 100, low=90))
        assert series.average_range() == 0
    series.observe(bar(A, RANGES, 100, low=89))
    assert series.average_range() == 11
    for day in range(RANGES + 1, 2 * RANGES + 1):
        series.observe(bar(A, day, 100, low=98))
    assert series.average_range() == 2, "the old ones are gone"


def test_a_grid_has_a_length() -> None:
    """One nanosecond is one."""
    Series(1)
    with pytest.raises(ValueError, match="positive"):
        Series(0)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"limit_ppm": -1}, "limit"),
        ({"limit_ppm": 1_000_001}, "limit"),
        ({"interval_ns": 0}, "interval"),
        ({"sample": 2}, "sample"),
        ({"sample": 61}, "sample"),
    ],
)
def test_terms_that_mean_nothing_are_refused(changes: dict[str, int], says: str) -> None:
    """Edges: 0 and 100 %, 1 ns, 3 of 3."""
    for good in ({"limit_ppm": 0}, {"limit_ppm": 1_000_000}, {"interval_ns": 1}, {"sample": 3, "window": 3}):
        correlation_terms(**good)
    with pytest.raises(ValueError, match=says):
        correlation_terms(**changes)


def _feed(made: Correlations, columns: dict[InstrumentId, list[int | None]], start: int = 0) -> None:
    """Row by row, a return per instrument and day; None: no common one."""
    for row, values in enumerate(zip(*columns.values(), strict=True), start):
        for symbol, value in zip(columns, values, strict=True):
            if value is not None:
                made.push(symbol, Return((row, row + 1), value))


def _known(values: list[int], others: list[int], **changes: int) -> Correlations:
    """Two instruments with these returns; three of three are enough."""
    size = {"sample": 3, "window": len(values)}
    made = Correlations(BOTH, correlation_terms(**(size | changes)))
    _feed(made, {A: list(values), B: list(others)})
    return made


def test_literal_correlations() -> None:
    """1, −1, one half, nothing at all."""
    assert _known([1, 2, 3], [2, 4, 6]).of(A, B) == CORRELATION_ONE
    assert _known([1, 2, 3], [6, 4, 2]).of(B, A) == -CORRELATION_ONE
    assert _known([1, 2, 3], [1, 3, 2]).of(A, B) == CORRELATION_ONE // 2
    assert _known([1, 2, 3], [5, 0, 5]).of(A, B) == 0
    assert _known([1, 2, 3], [5, 5, 5]).of(A, B) is None, "what does not move has no correlation"
    assert _known([1, 2, 3], [5, 5, 5]).of(A, A) == CORRELATION_ONE


# c of 1, 2, 3 and 1, 3, 2 is exactly 0.5: at the limit it passes, a millionth below it does not (C24)
HALF = ([1, 2, 3], [1, 3, 2])
MINUS_HALF = ([1, 2, 3], [-1, -3, -2])


@pytest.mark.parametrize(("limit_ppm", "clash"), [(500_000, False), (499_999, True), (500_001, False)])
@pytest.mark.parametrize("held", ["long", "short"])
@pytest.mark.parametrize("returns", [HALF, MINUS_HALF])
def test_the_limit_is_the_last_allowed_value_in_either_direction(
    limit_ppm: int, clash: bool, held: str, returns: tuple[list[int], list[int]]
) -> None:
    """Same direction and moving together, or opposite and moving apart; the other way it is a hedge."""
    made = _known(*returns, limit_ppm=limit_ppm)
    assert made.clash(A, BUY) is False, "nothing is held"
    made.hold(B, long=held == "long", short=held == "short")
    same = BUY if held == "long" else SELL
    adds = same if returns is HALF else same.opposite
    assert made.clash(A, adds) is clash
    assert made.clash(A, adds.opposite) is False
    assert made.clash(B, BUY) is False, "an instrument does not clash with itself"


def test_both_sides_may_be_held_at_once() -> None:
    """A long position and a working short that would turn it."""
    made = _known(*HALF, limit_ppm=400_000)
    made.hold(B, long=True, short=True)
    assert (made.clash(A, BUY), made.clash(A, SELL)) == (True, True)
    made.hold(B, long=False, short=True)
    assert (made.clash(A, BUY), made.clash(A, SELL)) == (False, True)
    made.hold(B, long=False, short=False)
    assert (made.clash(A, BUY), made.clash(A, SELL)) == (False, False)


@pytest.mark.parametrize(("rows", "answer"), [(2, None), (3, False)])
def test_too_few_common_returns_count_as_moving_together_in_every_direction(
    rows: int, answer: bool | None
) -> None:
    """Fail-shut: nobody knows which direction would be the worse one."""
    made = Correlations(BOTH, correlation_terms(sample=3, window=10))
    first: list[int | None] = [1, 2, 3]
    second: list[int | None] = [5, 0, 5]
    _feed(made, {A: first[:rows], B: second[:rows]})
    made.hold(B, long=True, short=False)
    assert (made.clash(A, BUY), made.clash(A, SELL)) == (answer, answer)
    assert made.clash(B, BUY) is False, "alone it may grow"
    assert (made.of(A, B) is None) is (answer is None)


def test_what_does_not_move_is_not_known() -> None:
    """A price that stands still for the whole window may be one that nobody prints any more."""
    made = _known([1, 2, 3], [5, 5, 5])
    made.hold(B, long=True, short=False)
    assert (made.clash(A, BUY), made.clash(A, SELL)) == (None, None)


def test_a_limit_of_all_switches_the_unknown_off_too() -> None:
    """An unknown correlation counts as 1, and 1 is the last allowed value."""
    made = Correlations(BOTH, correlation_terms(limit_ppm=1_000_000))
    made.hold(B, long=True, short=False)
    assert made.clash(A, BUY) is False
    _feed(made, {A: [1, 2], B: [1, 2]})
    assert made.clash(A, BUY) is False
    assert _known([1, 2, 3], [2, 4, 6], limit_ppm=1_000_000).clash(A, BUY) is False


def test_a_limit_of_nothing_denies_whatever_is_above_zero() -> None:
    """0 passes at 0."""
    made = _known([1, 2, 3], [5, 0, 5], limit_ppm=0)
    made.hold(B, long=True, short=False)
    assert made.clash(A, BUY) is False
    made = _known([100, 200, 300], [500, 0, 501], limit_ppm=0)
    made.hold(B, long=True, short=False)
    assert made.clash(A, BUY) is True


def test_without_terms_nothing_is_known() -> None:
    """And nothing is remembered."""
    made = Correlations(BOTH, None)
    _feed(made, {A: [1, 2, 3], B: [5, 0, 5]})
    made.hold(B, long=True, short=False)
    assert made.clash(A, BUY) is None
    assert made.of(A, B) is None
    assert made.of(A, A) is None
    assert made.beside_ppm(A, BUY) == (1_000_000, 1_000_000)
    assert list(made.above()) == []


def test_what_is_older_than_the_window_is_forgotten() -> None:
    """Three that moved together, then three that move apart."""
    made = Correlations(BOTH, correlation_terms(sample=3, window=3))
    _feed(made, {A: [1, 2, 3], B: [1, 2, 3]})
    assert made.of(A, B) == CORRELATION_ONE
    _feed(made, {A: [1, 2, 3], B: [3, 2, 1]}, start=3)
    assert made.of(A, B) == -CORRELATION_ONE


def test_an_instrument_whose_prices_stopped_becomes_unknown() -> None:
    """What is common gets less with every return of the other."""
    made = Correlations(BOTH, correlation_terms(sample=3, window=4))
    _feed(made, {A: [1, 2, 3, 4], B: [4, 3, 2, 1]})
    made.hold(B, long=True, short=False)
    assert made.clash(A, SELL) is True
    made.push(A, Return((4, 5), 1))
    assert made.clash(A, BUY) is False, "three are left"
    made.push(A, Return((5, 6), 1))
    assert made.clash(A, BUY) is None
    assert made.of(A, B) is None


def test_only_returns_over_the_same_time_are_compared() -> None:
    """A holiday of one: its next return spans two days and is left out of the pair."""
    made = Correlations(BOTH, correlation_terms(sample=3, window=10))
    _feed(made, {A: [1, 2, None], B: [1, 2, 7]})
    made.push(A, Return((2, 4), 9))
    _feed(made, {A: [None, 3], B: [8, 3]}, start=3)
    assert made.of(A, B) == CORRELATION_ONE


def test_pairs_beyond_the_limit_are_listed_with_their_sign() -> None:
    """Together 1, apart −1; the third goes its own way."""
    made = Correlations([A, B, C], correlation_terms(sample=3, window=4))
    _feed(made, {A: [1, 2, 3, 2], B: [2, 4, 6, 4], C: [0, 0, 0, 1]})
    assert list(made.above()) == [(A, B, 1)]
    made = Correlations([A, B, C], correlation_terms(sample=3, window=4))
    _feed(made, {A: [1, 2, 3, 2], B: [0, 0, 0, 1], C: [-1, -2, -3, -2]})
    assert list(made.above()) == [(A, C, -1)]


@pytest.mark.parametrize(
    ("side", "long", "short", "highest"),
    [
        (BUY, True, False, 500_000),
        (SELL, True, False, 0),
        (SELL, False, True, 500_000),
        (BUY, False, False, 0),
    ],
)
def test_the_highest_correlation_beside_what_is_held(
    side: Side, long: bool, short: bool, highest: int
) -> None:
    """Against it, none."""
    made = _known(*HALF)
    made.hold(B, long=long, short=short)
    made.hold(A, long=True, short=True)
    assert made.beside_ppm(A, side) == (highest, 700_000)


def test_the_highest_is_rounded_up_and_unknown_is_all() -> None:
    """0.98198… of 1, 2, 3 and 1, 2, 4 shows as more than it is."""
    made = _known([1, 2, 3], [1, 2, 4])
    made.hold(B, long=True, short=False)
    value = made.of(A, B)
    assert value is not None
    assert made.beside_ppm(A, BUY)[0] == value // 10**6 + 1
    made = Correlations(BOTH, correlation_terms())
    made.hold(B, long=True, short=False)
    assert made.beside_ppm(A, SELL) == (1_000_000, 700_000)


def test_one_step_per_other_instrument_and_none_for_those_without_history() -> None:
    """A thousand instruments cost no million pairs before they have returns in common."""
    names = [InstrumentId(f"I{number}") for number in range(1_000)]
    made = Correlations(names, correlation_terms())
    made.push(names[0], Return((0, 1), 5))
    made.push(names[999], Return((0, 1), 5))
    assert len(made._pairs) == 1
    made.hold(names[999], long=True, short=False)
    assert made.clash(names[0], BUY) is None


def _index(name: str) -> list[Bar]:
    source = open_sample(name, instrument(name.upper()))
    return list(source.read(Counter()))


def test_real_prices_against_the_textbook() -> None:
    """S&P 500 and NASDAQ of the shipped sample, in floats, at several days: equal to 10^-9, and above 0.7."""
    spx, ndx = _index("spx"), _index("ndx")
    names = [spx[0].instrument, ndx[0].instrument]
    window = correlation_terms()
    made = Correlations(names, window)
    grids = {name: Series(DAY) for name in names}
    closes: dict[InstrumentId, list[float]] = {name: [] for name in names}
    checked = 0
    for pair in zip(spx[:1_200], ndx[:1_200], strict=True):
        for each in pair:
            closes[each.instrument].append(float(each.close))
            for closed in grids[each.instrument].observe(each):
                made.push(each.instrument, closed)
        if len(closes[names[0]]) % 100 == 61:
            found = made.of(*names)
            assert found is not None
            wanted = _pearson(*(closes[name][-61:] for name in names))
            assert abs(found / CORRELATION_ONE - wanted) < 1e-9
            checked += found > 700_000 * 10**6
    assert checked >= 8, "these two move together most of the time"


def _pearson(one: list[float], other: list[float]) -> float:
    """Textbook, in floats, of the simple returns."""
    xs, ys = ([b / a - 1 for a, b in pairwise(each)] for each in (one, other))
    n = len(xs)
    mean_x, mean_y = sum(xs) / n, sum(ys) / n
    top = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    bottom = sum((x - mean_x) ** 2 for x in xs) * sum((y - mean_y) ** 2 for y in ys)
    return float(top / bottom**0.5)


def test_running_sums_equal_sums_made_anew() -> None:
    """Random gaps, three instruments, a window that slides: exact, because they are integers."""
    draw = random.Random(4)
    made = Correlations([A, B, C], correlation_terms(window=7, sample=3))
    history: dict[InstrumentId, dict[tuple[int, int], int]] = {A: {}, B: {}, C: {}}
    for day in range(300):
        for symbol, kept in history.items():
            if draw.random() < 0.7:
                value = draw.randint(-(10**11), 10**11)
                made.push(symbol, Return((day, day + 1), value))
                kept[day, day + 1] = value
                if len(kept) > 7:
                    del kept[next(iter(kept))]
        for number, (one, other) in (((0, 1), (A, B)), ((0, 2), (A, C)), ((1, 2), (B, C))):
            theirs = history[other]
            common = [(value, theirs[key]) for key, value in history[one].items() if key in theirs]
            pair = made._pairs.get(number)
            sums = (pair.n, pair.x, pair.y, pair.xy, pair.xx, pair.yy) if pair else (0,) * 6
            assert sums == (
                len(common),
                sum(x for x, _ in common),
                sum(y for _, y in common),
                sum(x * y for x, y in common),
                sum(x * x for x, _ in common),
                sum(y * y for _, y in common),
            )


def test_terms_are_values() -> None:
    """Frozen."""
    made = CorrelationTerms(limit_ppm=Ppm(1), interval_ns=1, window=3, sample=3)
    with pytest.raises(AttributeError):
        made.window = 4  # type: ignore[misc]
