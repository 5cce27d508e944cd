"""Slippage as predicted and as it was, break-even prices by hand, the estimate of an entry (FEE-06, 07)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from appliance.domain.intent import OrderType, Side
from appliance.domain.money import AMOUNT_ONE, PPM_ONE, Price, Qty
from appliance.domain.observation import Bar, Quote, Trade
from appliance.domain.order import OrderState
from appliance.domain.verdict import Approved
from appliance.orders import costs as costs_module
from appliance.orders.breakeven import Leaving, break_even, round_trip
from appliance.orders.costs import Costs
from appliance.orders.slippage import ENOUGH, LAST, SlippageModel, ladder_ppm, realised_ppm
from tests.fee_kit import BINANCE, CENT, KRAKEN, REBATE, fill, schedule, tier, usd
from tests.kit import SPX, Core, source_limits, spx

BTC = spx(price_exp=2, qty_exp=5)


def _leaving(table: Any, number: int = 0, *, maker: bool = False) -> Leaving:
    return Leaving(schedule=table, tier=table.tiers[number], maker=maker)


@pytest.mark.parametrize(
    ("side", "table", "entry", "paid", "maker", "price"),
    [
        # 1 BTC for 50,000 and 50 of fees, 0.1 % to leave: 50,050 / 0.999 = 50,100.1001…
        (Side.BUY, BINANCE, "50000", "50", False, 50_100_11),
        # sold short: 49,950 / 1.001 = 49,900.0999…
        (Side.SELL, BINANCE, "50000", "50", False, 49_900_09),
        # Kraken, 0.26 % in, 0.16 % out as maker: 50,130 / 0.9984 = 50,210.3365…; fees to 0.0001
        (Side.BUY, KRAKEN, "50000", "130", True, 50_210_34),
        # no fees at all: the entry price itself
        (Side.BUY, schedule(tier(0, 0, 0)), "50000", "0", False, 50_000_00),
        (Side.SELL, schedule(tier(0, 0, 0)), "50000", "0", False, 50_000_00),
        # a rebate on both ways earns: 49,987.5 / 1.00025 = 49,975.0062…
        (Side.BUY, REBATE, "50000", "-12.5", True, 49_975_01),
        (Side.SELL, REBATE, "50000", "-12.5", True, 50_025_00),
        # 5 dollars of network fee in and out
        (Side.BUY, schedule(tier(0, 0, 0), network_fee=usd("5")), "50000", "5", False, 50_010_00),
        (Side.SELL, schedule(tier(0, 0, 0), network_fee=usd("5")), "50000", "5", False, 49_990_00),
    ],
)
def test_break_even_by_hand(side: Side, table: Any, entry: str, paid: str, maker: bool, price: int) -> None:
    """One bitcoin, ticks of a cent; one tick worse loses."""
    leaving = _leaving(table, maker=maker)
    found = break_even(side, 100_000, usd(entry), usd(paid), BTC, leaving)
    assert found == price

    def profit(at: int) -> int:
        return round_trip(side, usd(entry), usd(paid), BTC.notional(at, 100_000), leaving)

    assert profit(price) >= 0
    assert profit(price - side.sign) < 0


def test_a_round_trip_by_hand() -> None:
    """Bought for 100, sold for 110, 0.1 in, 0.1 % out; the same as a short."""
    leaving = _leaving(BINANCE)
    assert round_trip(Side.BUY, usd("100"), usd("0.1"), usd("110"), leaving) == usd("9.79")
    assert round_trip(Side.SELL, usd("110"), usd("0.11"), usd("100"), leaving) == usd("9.79")


def test_just_above_a_coarse_break_even_nothing_loses_again() -> None:
    """A fee in whole dollars steps up while the price rises by a cent: the answer lies behind the step."""
    table = schedule(tier(0, 0, 10_000), unit=100 * CENT)
    leaving = _leaving(table)
    long = break_even(Side.BUY, 100, usd("99"), 0, spx(), leaving)
    # at 100.00 the fee is 1 and nothing is lost; at 100.01 it is 2; from 101.00 on never again
    assert long == 101_00
    assert round_trip(Side.BUY, usd("99"), 0, usd("100"), leaving) == 0
    assert round_trip(Side.BUY, usd("99"), 0, usd("100.01"), leaving) < 0
    back = schedule(tier(0, 0, -10_000), unit=100 * CENT)
    short = break_even(Side.SELL, 100, usd("99.5"), 0, spx(), _leaving(back))
    # from 100.00 on a dollar comes back, but at 99.51 there is none yet
    assert short == 99_50
    assert round_trip(Side.SELL, usd("99.5"), 0, usd("100"), _leaving(back)) == usd("0.5")
    assert round_trip(Side.SELL, usd("99.5"), 0, usd("99.51"), _leaving(back)) < 0


def test_a_short_of_which_a_coarse_fee_takes_more_a_tick_higher() -> None:
    """10 % in whole fives: bought back for 100.00 it is 10, and nothing is lost; for 100.01 it is 15."""
    leaving = _leaving(schedule(tier(0, 100_000, 100_000), unit=usd("5")))
    assert break_even(Side.SELL, 1, usd("110.2"), usd("0.2"), spx(), leaving) == 10_000_00
    assert round_trip(Side.SELL, usd("110.2"), usd("0.2"), usd("100"), leaving) == 0
    assert round_trip(Side.SELL, usd("110.2"), usd("0.2"), usd("100.01"), leaving) == usd("-5.01")


def test_a_short_whose_costs_no_price_brings_back() -> None:
    """Sold for ten cents with a network fee of a dollar each way; a long only needs a higher price."""
    leaving = _leaving(schedule(tier(0, 0, 0), network_fee=usd("1")))
    assert break_even(Side.SELL, 100, usd("0.1"), usd("1"), spx(), leaving) is None
    assert break_even(Side.BUY, 100, usd("0.1"), usd("1"), spx(), leaving) == 2_10
    assert break_even(Side.SELL, 100, usd("2.01"), usd("1"), spx(), leaving) == 1
    assert break_even(Side.SELL, 100, usd("2"), usd("1"), spx(), leaving) is None


def test_a_long_that_was_paid_for_breaks_even_at_the_lowest_price() -> None:
    """There is none below one tick."""
    assert break_even(Side.BUY, 100, usd("1"), usd("-2"), spx(), _leaving(BINANCE)) == 1


@pytest.mark.parametrize(
    ("qty", "ppm"), [(0, 0), (1, 0), (100, 0), (101, 5), (150, 167), (200, 250), (300, 500), (500, 1_000)]
)
def test_a_ladder_of_even_steps(qty: int, ppm: int) -> None:
    """Levels of 100, one spread of 500 ppm apart: 200 pay half a spread more on average, rounded up."""
    assert ladder_ppm(500, 100, qty) == ppm


@pytest.mark.parametrize(
    ("side", "value", "ppm"),
    [
        (Side.BUY, 100_100 * 50, 1_000),
        (Side.BUY, 99_900 * 50, -1_000),
        (Side.SELL, 99_900 * 50, 1_000),
        (Side.SELL, 100_100 * 50, -1_000),
        (Side.BUY, 100_000 * 50 + 1, 1),
    ],
)
def test_realised_slippage_is_a_cost_on_either_side(side: Side, value: int, ppm: int) -> None:
    """Against the price at arrival, rounded up."""
    assert realised_ppm(side, 100_000, 50, value) == ppm


def _quote(bid_qty: int, ask_qty: int) -> Quote:
    return Quote(
        instrument=SPX,
        event_ns=0,
        seen_ns=0,
        bid=Price(99_990),
        bid_qty=Qty(bid_qty),
        ask=Price(100_010),
        ask_qty=Qty(ask_qty),
    )


def _bar(low: int, high: int, close: int, volume: int) -> Bar:
    prices = {"open": Price(close), "high": Price(high), "low": Price(low), "close": Price(close)}
    return Bar(instrument=SPX, event_ns=0, seen_ns=0, volume=volume, **prices)


def test_a_prediction_from_the_size_that_is_shown() -> None:
    """Spread 200 ppm: half of it, and the ladder of the side that is taken from."""
    model = SlippageModel()
    model.see(_quote(bid_qty=100, ask_qty=50))
    assert model.predict(Side.SELL, 100, 99_990, 100_010).expected_ppm == 100
    assert model.predict(Side.BUY, 100, 99_990, 100_010).expected_ppm == 200
    assert model.predict(Side.BUY, 100, 99_990, 100_010, most_ppm=150).expected_ppm == 150


def test_a_prediction_from_a_bar() -> None:
    """Range 1 %, a hundredth of the volume: 1 % × √0.01 = 1,000 ppm, and no spread."""
    model = SlippageModel()
    model.see(_bar(99_500, 100_500, 100_000, 10_000))
    assert model.predict(Side.BUY, 100, 100_000, 100_000).raw_ppm == 1_000
    assert model.predict(Side.SELL, 400, 100_000, 100_000).raw_ppm == 2_000
    model.see(_bar(99_500, 100_500, 100_000, 0))
    assert model.predict(Side.BUY, 100, 100_000, 100_000).raw_ppm == 0


def test_a_print_tells_nothing_about_sizes() -> None:
    """A trade changes no model; without anything half the spread is all that is said."""
    model = SlippageModel()
    model.see(Trade(instrument=SPX, event_ns=0, seen_ns=0, price=Price(1), qty=Qty(5), seller_initiated=True))
    found = model.predict(Side.BUY, 10**9, 99_990, 100_010)
    assert (found.expected_ppm, found.error_ppm, found.samples) == (100, None, 0)


def test_a_crossed_or_absurd_market_is_bounded() -> None:
    """A bid above the ask is no negative spread; a prediction is never above the whole value."""
    model = SlippageModel()
    assert model.predict(Side.BUY, 1, 100_010, 99_990).expected_ppm == 0
    model.see(_quote(1, 1))
    assert model.predict(Side.BUY, 10**12, 99_990, 100_010).expected_ppm == PPM_ONE


def test_fills_teach_and_the_error_is_that_of_the_predictions_made() -> None:
    """Eight orders cost 500 ppm where 100 was said: then 500 is said, and the error stays what it was."""
    model = SlippageModel()
    for number in range(ENOUGH):
        found = model.predict(Side.BUY, 1, 99_990, 100_010)
        assert (found.expected_ppm, found.error_ppm, found.samples) == (100, None, number)
        model.learn(found, 500)
    learned = model.predict(Side.BUY, 1, 99_990, 100_010)
    assert (learned.expected_ppm, learned.raw_ppm, learned.error_ppm) == (500, 100, 400)
    for _ in range(LAST):
        model.learn(model.predict(Side.BUY, 1, 99_990, 100_010), 500)
    settled = model.predict(Side.BUY, 1, 99_990, 100_010)
    assert (settled.expected_ppm, settled.error_ppm, settled.samples) == (500, 0, LAST)


def test_the_error_covers_nine_of_ten() -> None:
    """Ten predictions off by 1 to 10: the ninth is told, not the worst and not the middle."""
    model = SlippageModel()
    nothing = model.predict(Side.BUY, 1, 100_000, 100_000)
    for off in range(1, 11):
        model.learn(nothing, off)
    found = model.predict(Side.BUY, 1, 100_000, 100_000)
    assert (found.error_ppm, found.expected_ppm) == (9, 5)


def test_a_gain_is_not_counted_on() -> None:
    """Orders that were lucky do not make the next one cheaper than nothing."""
    model = SlippageModel()
    nothing = model.predict(Side.BUY, 1, 100_000, 100_000)
    for _ in range(ENOUGH):
        model.learn(nothing, -700)
    found = model.predict(Side.BUY, 1, 100_000, 100_000)
    assert (found.expected_ppm, found.error_ppm) == (0, 700)


def _approved(core: Core, **changes: Any) -> Approved:
    verdict = core.gate.check(core.intent(**changes))
    assert isinstance(verdict, Approved)
    return verdict


def _ready(**changes: Any) -> tuple[Core, Costs]:
    core = Core(**changes)
    asyncio.run(core.market(100_000))
    view = core.portfolio.holdings[SPX]
    view.bid, view.ask = 99_990, 100_010
    return core, core.desk.costs


def test_the_estimate_of_a_market_order() -> None:
    """1.00 at 1,000.00 with 100 ppm of half spread: 0.10, and 0.1 % of 1,000.10; out again at 0.1 %."""
    core, costs = _ready()
    core.fees.take(schedule(network_fee=usd("0.5")), core.clock.mono)
    found = costs.estimate(_approved(core), core.portfolio.holdings[SPX])
    assert found is not None
    assert (found.arrival, found.taker) == (100_000, True)
    assert (found.slippage, found.exchange_fee) == (usd("0.1"), usd("1.0001"))
    assert found.network_fee == usd("0.5")
    assert found.total == usd("1.6001"), "P22: the network fee is part of the total"
    assert found.break_even == 1003_11  # (1,000.10 + 1.5001 + 0.5) / 0.999 = 1,003.1032…


def test_the_estimate_of_a_short() -> None:
    """Slippage lowers what is received."""
    core, costs = _ready(source=source_limits(allow_short=True))
    found = costs.estimate(_approved(core, side=Side.SELL), core.portfolio.holdings[SPX])
    assert found is not None
    assert (found.slippage, found.exchange_fee) == (usd("0.1"), usd("0.9999"))
    assert found.break_even == 997_90  # (999.90 − 0.9999) / 1.001 = 997.9021…


@pytest.mark.parametrize(
    ("price", "taker", "slippage", "fee"),
    [
        (100_009, False, "0", "0"),
        (100_010, True, "0.1", "1.0001"),
        (101_000, True, "0.1", "1.0001"),
    ],
)
def test_a_limit_order_rests_or_takes(price: int, taker: bool, slippage: str, fee: str) -> None:
    """As maker at its own price: no slippage, and no fee at this venue (P22)."""
    core, costs = _ready()
    order = _approved(core, order_type=OrderType.LIMIT, price=Price(price))
    found = costs.estimate(order, core.portfolio.holdings[SPX])
    assert found is not None
    assert (found.taker, found.slippage, found.exchange_fee) == (taker, usd(slippage), usd(fee))
    assert found.arrival == (100_000 if taker else price)


def test_a_limit_bounds_what_is_predicted() -> None:
    """It cannot pay more than its limit allows: 100 ppm, whatever the ladder says."""
    core, costs = _ready()
    costs.see(_quote(1, 1))
    order = _approved(core, order_type=OrderType.LIMIT, price=Price(100_010))
    found = costs.estimate(order, core.portfolio.holdings[SPX])
    assert found is not None
    assert found.prediction is not None
    assert found.prediction.expected_ppm == 100
    market = costs.estimate(_approved(core), core.portfolio.holdings[SPX])
    assert market is not None
    assert market.prediction is not None
    assert market.prediction.expected_ppm > 9_000


def test_a_stop_order_is_measured_from_its_trigger() -> None:
    """It takes when it fires."""
    core, costs = _ready()
    order = _approved(core, order_type=OrderType.STOP, stop_price=Price(101_000))
    found = costs.estimate(order, core.portfolio.holdings[SPX])
    assert found is not None
    assert (found.arrival, found.taker) == (101_000, True)


def test_without_prices_or_schedule_nothing_is_said() -> None:
    """No figure is better than a made-up one."""
    core, costs = _ready()
    order, view = _approved(core), core.portfolio.holdings[SPX]
    for name in ("bid", "ask"):
        kept = getattr(view, name)
        setattr(view, name, 0)
        assert costs.estimate(order, view) is None
        setattr(view, name, kept)
    core.fees.until_ns = core.clock.mono - 1
    assert costs.estimate(order, view) is None
    assert costs.entry(order, view) == {}


def test_the_log_says_the_error_or_that_it_is_unknown() -> None:
    """A prediction without its error is a guess that looks like a figure."""
    core, costs = _ready()
    view = core.portfolio.holdings[SPX]
    told: Any = costs.entry(_approved(core), view)["cost"]
    assert told == {
        "arrival": "1000.00",
        "taker": True,
        "fee": "1.0001000000",
        "network_fee": "0.0000000000",
        "slippage": "0.1000000000",
        "total": "1.1001000000",
        "break_even": "1002.11",
        "slippage_ppm": "100",
        "slippage_error_ppm": "unknown",
        "slippage_samples": 0,
    }
    model = costs._model(SPX)
    for _ in range(ENOUGH):
        model.learn(model.predict(Side.BUY, 100, view.bid, view.ask), 130)
    told = costs.entry(_approved(core), view)["cost"]
    assert (told["slippage_ppm"], told["slippage_error_ppm"], told["slippage_samples"]) == ("130", "30", 8)
    rests: Any = costs.entry(_approved(core, order_type=OrderType.LIMIT, price=Price(99_000)), view)["cost"]
    assert rests["taker"] is False
    assert "slippage_ppm" not in rests


def test_an_order_is_scored_when_it_has_ended() -> None:
    """Once, by its taker fills: what it got as maker was not predicted; a stranger's fill is nobody's."""
    core, costs = _ready()
    view, order = core.portfolio.holdings[SPX], _approved(core)
    costs.entry(order, view)
    ended = replace(core.orders.record(order, -1), state=OrderState.FILLED)
    costs.filled(fill(100_020, order_id=order.order_id, qty=Qty(50)))
    costs.filled(fill(100_040, order_id=order.order_id, qty=Qty(50)))
    costs.filled(fill(1, order_id=order.order_id, qty=Qty(50), maker=True))
    costs.filled(fill(1))
    costs.ended(ended)
    costs.ended(ended)
    model = costs._model(SPX)
    assert (list(model._misses), list(model._errors)) == ([200], [200])


def test_an_order_without_a_fill_teaches_nothing() -> None:
    """Rejected, cancelled, stopped at the wire."""
    core, costs = _ready()
    order = _approved(core)
    costs.entry(order, core.portfolio.holdings[SPX])
    assert len(costs._followed) == 1
    costs.ended(core.orders.record(order, -1))
    assert not costs._followed
    assert not costs._model(SPX)._misses


def test_what_is_followed_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders that never end must not fill the memory; what is told stays the same."""
    monkeypatch.setattr(costs_module, "MOST_FOLLOWED", 2)
    core, costs = _ready()
    for _ in range(4):
        assert costs.entry(_approved(core), core.portfolio.holdings[SPX])
    assert len(costs._followed) == 2


def test_the_fee_of_the_estimate_is_that_of_its_tier() -> None:
    """Sixty thousand traded yesterday: 0.24 % instead of 0.26 %."""
    core, costs = _ready()
    core.fees.take(KRAKEN, core.clock.mono)
    before = costs.estimate(_approved(core), core.portfolio.holdings[SPX])
    day_ns = core.clock.utc - 86_400 * 10**9
    core.fees.remember(fill(6_000_000, event_ns=day_ns), spx())
    after = costs.estimate(_approved(core), core.portfolio.holdings[SPX])
    assert before is not None
    assert after is not None
    assert (before.exchange_fee, after.exchange_fee) == (usd("2.6003"), usd("2.4003"))
    assert after.break_even is not None
    assert before.break_even is not None
    assert after.break_even < before.break_even
    assert after.total == after.exchange_fee + after.slippage == usd("2.4003") + AMOUNT_ONE // 10
