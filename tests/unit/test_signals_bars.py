"""Time bars from trades."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from appliance.domain.ids import InstrumentId, SourceId
from appliance.domain.observation import Bar, Observation, Trade
from appliance.market.binance import BinanceRecording
from appliance.signals.bars import BarBuilder
from appliance.signals.registry import make_strategy, read_params
from tests.market_builders import SPX, S, bar, instrument, quote, read_all, real_file, trade


def _bars(observations: list[Observation], interval_ns: int = S) -> list[Bar]:
    builder = BarBuilder(SPX, interval_ns)
    found = [builder.on_observation(each) for each in observations]
    return [each for each in found if each is not None]


def test_a_bar_holds_the_trades_of_its_interval() -> None:
    """First, highest, lowest and last price, summed quantity; start and end on the interval."""
    trades = [trade(5 * S + n, price, qty=10) for n, price in enumerate((100, 105, 95, 101))]
    assert _bars([*trades, trade(6 * S, 99)]) == [
        Bar(
            instrument=SPX, event_ns=5 * S, seen_ns=6 * S, open=trades[0].price, high=trades[1].price,
            low=trades[2].price, close=trades[3].price, volume=40,
        )
    ]  # fmt: skip


@pytest.mark.parametrize(("seen_ns", "finished"), [(6 * S - 1, 0), (6 * S, 1), (60 * S, 1)])
def test_a_bar_is_given_out_when_its_end_was_seen(seen_ns: int, finished: int) -> None:
    """At the end, not a nanosecond before; a quote shows that time has passed as well as a trade."""
    for later in (trade(seen_ns, 1), quote(seen_ns, 1, 2)):
        assert len(_bars([trade(5 * S, 100), later])) == finished


def test_an_interval_without_trades_gives_no_bar() -> None:
    """Nothing is filled in: quotes alone make no bar, and a gap stays one."""
    found = _bars(
        [trade(5 * S, 100), quote(7 * S, 1, 2), quote(9 * S, 1, 2), trade(20 * S, 101), trade(21 * S, 1)]
    )
    assert [each.event_ns for each in found] == [5 * S, 20 * S]


def test_bars_of_the_feed_and_other_instruments_are_not_mixed_in() -> None:
    """Only trades of its own instrument count, and only its own observations end a bar."""
    assert _bars([trade(5 * S, 100), bar(9, (1, 1, 1, 1)), trade(9 * S, 1, symbol="NDX")]) == []


def test_a_stepped_clock_ends_the_bar_and_loses_nothing() -> None:
    """After a step back (a hold of its own) bars go on at the earlier time; every trade is in one of them."""
    stream: list[Observation] = [trade(5 * S, 100, qty=1), trade(2 * S, 90, qty=2), trade(3 * S, 91, qty=4)]
    found = _bars([*stream, trade(4 * S, 1)])
    assert [(each.event_ns, each.volume) for each in found] == [(5 * S, 1), (2 * S, 2), (3 * S, 4)]


@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, 3 * S), st.integers(1, 1_000), st.integers(1, 50)), max_size=60),
    st.integers(1, 5 * S),
)
def test_volume_high_and_low_are_conserved(steps: list[tuple[int, int, int]], interval_ns: int) -> None:
    """All bars together hold all trades, with their extremes, in rising and disjoint intervals."""
    trades: list[Trade] = []
    seen_ns = 0
    for step, price, qty in steps:
        seen_ns += step
        trades.append(trade(seen_ns, price, qty=qty))
    end = quote(seen_ns + 6 * S, 1, 2)
    found = _bars([*trades, end], interval_ns)
    assert sum(each.volume for each in found) == sum(each.qty for each in trades)
    for one, after in pairwise(found):
        assert one.seen_ns <= after.event_ns
    for each in found:
        inside = [one.price for one in trades if each.event_ns <= one.seen_ns < each.seen_ns]
        assert (each.open, each.high, each.low, each.close) == (
            inside[0],
            max(inside),
            min(inside),
            inside[-1],
        )
        assert each.event_ns % interval_ns == 0
        assert each.seen_ns - each.event_ns == interval_ns


def test_a_strategy_runs_on_a_real_tick_feed() -> None:
    """The same rule on 1 s bars of the recording as on bars made first: equal signals, some of them."""
    facts = instrument("BTC", 2, 5)
    name = "crypto/binance_spot_btcusdt_20240808.raw.gz"
    stream = read_all(BinanceRecording(real_file(name), {"BTCUSDT": facts}))
    params = read_params("trend", {"fast": 5, "slow": 20, "stop_ppm": 2_000})
    on_ticks = make_strategy(SourceId("t"), facts, params, bar_ns=S)
    on_bars = make_strategy(SourceId("t"), facts, params)
    assert (on_ticks.name, on_ticks.instrument) == ("t", "BTC")
    builder = BarBuilder(InstrumentId("BTC"), S)
    made = [each for each in map(builder.on_observation, stream) if each is not None]
    assert sum(each.volume for each in made) > 0.99 * sum(
        each.qty for each in stream if isinstance(each, Trade)
    )
    by_ticks = [each for each in map(on_ticks.on_observation, stream) if each is not None]
    by_bars = [each for each in map(on_bars.on_observation, made) if each is not None]
    assert by_ticks == by_bars
    assert len(by_bars) >= 4


def test_the_interval_must_be_positive() -> None:
    """A bar without length never ends."""
    with pytest.raises(ValueError, match="interval_ns"):
        BarBuilder(SPX, 0)


def test_an_adapter_ignores_other_instruments() -> None:
    """Its strategy hears nothing of them."""
    strategy = make_strategy(
        SourceId("t"), instrument(), read_params("trend", {"fast": 1, "slow": 2, "stop_ppm": 1}), bar_ns=S
    )
    other = replace(trade(S, 1), instrument=InstrumentId("NDX"))
    assert strategy.on_observation(other) is None
