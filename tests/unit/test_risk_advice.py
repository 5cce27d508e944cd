"""Stop and take-profit proposals, suggested size, risk score, and advice made of them (RSK-17 to RSK-20)."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from appliance.domain.intent import OrderType, Side
from appliance.domain.margin import MarginTerms
from appliance.domain.money import AMOUNT_ONE, Amount, Price, Qty
from appliance.risk.advice import Advice, advise, describe_advice
from appliance.risk.levels import Levels, propose
from appliance.risk.limits import AccountLimits
from appliance.risk.score import WEIGHTS, score
from appliance.risk.suggest import Suggestion, suggest
from tests.kit import BOT, account_limits
from tests.risk_kit import A, B, Rig, correlation_terms, instrument, terms

BUY, SELL = Side.BUY, Side.SELL
OPEN = {"position_cap_ppm": 10**9, "leverage_ppm": 10**9, "risk_ppm": 10**9, "max_equity_age_ns": 10**30}


@pytest.mark.parametrize(
    ("side", "span", "max_stop_ppm", "levels"),
    [
        (BUY, 100, 10**6, (9_800, 10_400, 2_000)),
        (SELL, 100, 10**6, (10_200, 9_600, 2_000)),
        (BUY, 100, 20_000, (9_800, 10_400, 2_000)),
        (BUY, 100, 19_999, (9_801, 10_398, 2_000)),
        (SELL, 100, 19_999, (10_199, 9_602, 2_000)),
        (BUY, 4_999, 10**6, (2, 29_996, 2_000)),
        (BUY, 5_000, 999_900, (1, 29_998, 2_000)),
        (BUY, 5_000, 10**6, None),
        (SELL, 2_499, 10**6, (14_998, 4, 2_000)),
        (SELL, 2_500, 10**6, None),
        (BUY, 0, 10**6, None),
        (BUY, -1, 10**6, None),
        (BUY, 100, 0, None),
        (SELL, 100, 99, None),
    ],
)
def test_levels_are_two_ranges_and_twice_that(
    side: Side, span: int, max_stop_ppm: int, levels: tuple[int, int, int] | None
) -> None:
    """From 100.00; the distance is cut to the largest allowed, and without room there is no proposal."""
    found = propose(instrument("AAA"), side, 10_000, span, max_stop_ppm)
    wanted = levels and Levels(stop=Price(levels[0]), take_profit=Price(levels[1]), ratio_milli=levels[2])
    assert found == wanted


@pytest.mark.parametrize(("side", "levels"), [(BUY, (9_850, 10_350, 2_105)), (SELL, (10_175, 9_675, 2_048))])
def test_on_coarse_ticks_the_stop_comes_nearer_and_the_reward_further(
    side: Side, levels: tuple[int, int, int]
) -> None:
    """Ticks of 0.25: the ratio is at least what is said, never less."""
    found = propose(instrument("AAA", tick=25), side, 10_011, 88, 10**6)
    assert found is not None
    risk, reward = abs(10_011 - found.stop), abs(found.take_profit - 10_011)
    assert risk <= 176
    assert reward >= 2 * risk
    assert found.ratio_milli == reward * 1_000 // risk
    assert found.stop % 25 == found.take_profit % 25 == 0
    assert (found.stop, found.take_profit, found.ratio_milli) == levels


def test_no_price_no_proposal() -> None:
    """Zero is no price."""
    assert propose(instrument("AAA"), BUY, 0, 100, 10**6) is None
    assert propose(instrument("AAA"), SELL, -5, 100, 10**6) is None


def _suggest(
    rig: Rig, side: Side = BUY, entry: int = 10_000, stop: int | None = None, **changes: int
) -> Suggestion:
    whole: AccountLimits = account_limits(**(OPEN | changes))
    rig.limits = replace(rig.limits, account=whole)
    rig.gate._limits = rig.limits
    source = rig.limits.sources[BOT]
    level = stop if stop is not None else entry - side.sign * 100
    return suggest(
        side,
        entry,
        level,
        rig.portfolio.holdings[A],
        rig.portfolio,
        rig.limits.instruments[A],
        whole,
        source,
        rig.portfolio.source_exposure(BOT),
        min(entry, rig.portfolio.holdings[A].bid),
    )


def _rig(margin: MarginTerms | None = None, cash: int = 1_000_000, **limits: Any) -> Rig:
    facts = {name: limits.pop(name) for name in ("lot", "min_qty", "max_qty", "min_value") if name in limits}
    return Rig(instrument("AAA", margin, **facts), instrument("BBB"), cash=cash, **limits)


def test_fixed_fractional() -> None:
    """1 % of 1,000,000 USD at a stop 1.00 away: 10,000.00 units, a million USD, 10,000 at risk."""
    found = _suggest(_rig(), risk_ppm=10_000)
    assert found == Suggestion(
        qty=Qty(1_000_000),
        value=Amount(1_000_000 * AMOUNT_ONE),
        at_risk=Amount(10_000 * AMOUNT_ONE),
        bound_by="RISK",
    )
    assert _suggest(_rig(), SELL, risk_ppm=10_000).qty == 1_000_000
    assert _suggest(_rig(), stop=9_800, risk_ppm=10_000).qty == 500_000


@pytest.mark.parametrize(
    ("limits", "account", "qty", "bound_by"),
    [
        ({}, {"position_cap_ppm": 20_000}, 20_000, "POSITION_CAP"),
        ({}, {"leverage_ppm": 30_000}, 30_000, "LEVERAGE"),
        ({"max_order_qty": 777}, {}, 777, "QTY_TOO_LARGE"),
        ({"max_qty": 555}, {}, 555, "QTY_TOO_LARGE"),
        ({"max_order_value": 123_45 * AMOUNT_ONE // 100}, {}, 123, "VALUE_TOO_LARGE"),
        ({"lot": 50, "min_qty": 50, "max_qty": 10**9}, {"position_cap_ppm": 99}, 50, "POSITION_CAP"),
        ({"lot": 50, "min_qty": 100, "max_qty": 10**9}, {"position_cap_ppm": 99}, 0, "POSITION_CAP"),
        ({"min_value": 100 * AMOUNT_ONE}, {"position_cap_ppm": 100}, 100, "POSITION_CAP"),
        ({"min_value": 100 * AMOUNT_ONE}, {"position_cap_ppm": 99}, 0, "POSITION_CAP"),
    ],
)
def test_every_limit_caps_the_size(
    limits: dict[str, Any], account: dict[str, Any], qty: int, bound_by: str
) -> None:
    """Whole lots, rounded down, nothing below the smallest order; the binding limit is named."""
    found = _suggest(_rig(**limits), **account)
    assert (found.qty, found.bound_by) == (qty, bound_by)
    assert found.value == qty * 10_000 * 10**6
    assert found.at_risk == qty * 100 * 10**6


@pytest.mark.parametrize("side", [BUY, SELL])
def test_what_is_held_and_works_is_taken_off(side: Side) -> None:
    """2 % are 20,000: 8,000 held, 7,000 working; on the other side there is more room."""
    rig = _rig()
    rig.fill(A, side, 8_000)
    rig.work(A, side, 7_000)
    assert _suggest(rig, side, position_cap_ppm=20_000).qty == 5_000
    assert _suggest(rig, side.opposite, position_cap_ppm=20_000).qty == 28_000
    rig.fill(B, side, 10_000)
    assert _suggest(rig, side, leverage_ppm=30_000).qty == 5_000
    assert _suggest(rig, side.opposite, leverage_ppm=26_000).qty == 24_000
    assert _suggest(rig, side.opposite, leverage_ppm=10_000).qty == 23_000, "up to the dearer side"
    assert _suggest(rig, side, leverage_ppm=10_000).qty == 0


def test_the_allocation_caps_by_cost() -> None:
    """What the source holds and has working, at what it cost."""
    rig = _rig()
    own = replace(rig.limits.sources[BOT], allocation=1_000 * AMOUNT_ONE)
    rig.limits = replace(rig.limits, sources={BOT: own})
    rig.fill(A, BUY, 400)
    found = _suggest(rig)
    assert (found.qty, found.bound_by) == (600, "ALLOCATION")
    rig.fill(A, BUY, 601)
    assert _suggest(rig).qty == 0


@pytest.mark.parametrize(("entry", "stop"), [(10_000, 10_000), (10_000, 10_001), (0, -1)])
def test_a_stop_on_the_wrong_side_suggests_nothing(entry: int, stop: int) -> None:
    """Nothing is divided by it."""
    found = _suggest(_rig(), BUY, entry, stop)
    assert (found.qty, found.value, found.bound_by) == (0, 0, "STOP_SIDE")


def test_a_dearer_working_order_counts_at_its_price() -> None:
    """As in the gate's own check."""
    rig = _rig()
    rig.work(A, BUY, 10_000, order_type=OrderType.STOP, stop_price=Price(15_000))
    assert _suggest(rig, position_cap_ppm=20_000).qty == 3_333
    assert _suggest(rig, position_cap_ppm=20_000, stop=9_999).bound_by == "POSITION_CAP"


def test_without_money_there_is_no_size() -> None:
    """Negative equity is not a small one."""
    rig = _rig()
    rig.portfolio.cash = -5
    assert _suggest(rig).qty == 0
    # A price of 1 × a quantity of 1 is one unit of money here.
    finest = Rig(instrument("AAA", price_exp=5, qty_exp=5), instrument("BBB"), cash=1)
    for cash, qty in ((-5, 0), (0, 0), (1, 100)):
        finest.portfolio.cash = cash
        found = _suggest(finest, entry=2, stop=1, position_cap_ppm=10**12, leverage_ppm=10**12)
        assert found.qty == qty


def test_free_margin_tiers_and_liquidation_cap_the_size() -> None:
    """1,100 USD open 20,000 USD at 5 % with 110 %; the last tier ends at a million; a far stop needs less."""
    found = _suggest(_rig(terms(), cash=1_100), stop=9_990)
    assert (found.qty, found.bound_by) == (20_000, "MARGIN")
    found = _suggest(_rig(terms(), cash=10_000_000), stop=9_990)
    assert (found.qty, found.bound_by) == (1_000_000, "MARGIN_TIER")
    rig = _rig(terms(), cash=1_000)
    found = _suggest(rig, stop=9_091)
    assert found.bound_by == "LIQUIDATION"
    ask = {"stop_price": Price(9_091)}
    open_stop = replace(rig.limits.instruments[A], max_stop_ppm=10**6)
    rig.limits.instruments[A] = open_stop
    assert rig.ask(A, BUY, found.qty, **ask) == "ok"
    assert rig.ask(A, BUY, found.qty + 1, **ask) == "LIQUIDATION"


@pytest.mark.parametrize("stop", [10_001, 10_500, 10_890])
def test_a_suggested_short_on_margin_passes_the_gate_and_one_lot_more_does_not(stop: int) -> None:
    """The liquidation price of a short is judged from the bid, below the price it is sold at."""
    rig = _rig(terms(), cash=1_000)
    rig.limits.instruments[A] = replace(rig.limits.instruments[A], max_stop_ppm=10**6)
    rig.portfolio.holdings[A].bid = 9_900
    found = _suggest(rig, SELL, 10_000, stop)
    order = {"order_type": OrderType.LIMIT, "price": Price(10_000), "stop_price": Price(stop)}
    assert found.qty > 0
    assert rig.ask(A, SELL, found.qty, **order) == "ok"
    assert rig.ask(A, SELL, found.qty + 1, **order) == found.bound_by


def test_an_isolated_stop_beyond_liquidation_has_no_size_at_all() -> None:
    """A smaller position is liquidated at the same price."""
    found = _suggest(_rig(terms(isolated=True), cash=10_000), stop=9_000)
    assert (found.qty, found.bound_by) == (0, "LIQUIDATION")


def test_a_position_on_margin_leaves_what_its_tier_and_the_free_margin_leave() -> None:
    """10 % held and 20 % working of the last tier; and 1,000 of 1,660 USD asked for by the position."""
    rig = _rig(terms(), cash=10_000_000)
    rig.fill(A, BUY, 100_000)
    rig.work(A, BUY, 200_000)
    found = _suggest(rig, stop=9_990)
    assert (found.qty, found.bound_by) == (700_000, "MARGIN_TIER")
    found = _suggest(rig, SELL, stop=10_010)
    assert (found.qty, found.bound_by) == (1_100_000, "MARGIN_TIER")
    rig = _rig(terms(), cash=1_660)
    rig.fill(A, BUY, 20_000)
    found = _suggest(rig, stop=9_990)
    assert (found.qty, found.bound_by) == (12_000, "MARGIN")
    assert rig.ask(A, BUY, 12_000, stop_price=Price(9_990)) == "ok"
    assert rig.ask(A, BUY, 12_001, stop_price=Price(9_990)) == "MARGIN"
    found = _suggest(rig, SELL, stop=10_010)
    assert (found.qty, found.bound_by) == (52_000, "MARGIN")


def test_negative_free_margin_has_no_room_even_to_turn() -> None:
    """A short that lost: buying back is an exit, and more than that is an entry without margin."""
    rig = _rig(terms(), cash=1_000)
    rig.fill(A, SELL, 15_000)
    rig.price(A, 10_500)
    assert rig.portfolio.free_margin < 0
    found = _suggest(rig, BUY, 10_500, 10_400)
    assert (found.qty, found.bound_by) == (0, "MARGIN")


ZERO = dict.fromkeys(WEIGHTS, (0, 100))


@pytest.mark.parametrize(
    ("used", "points"),
    [
        ({}, 0),
        ({"position": (100, 100)}, 30),
        ({"position": (101, 100)}, 30),
        ({"position": (50, 100)}, 15),
        ({"position": (-7, 100)}, 0),
        ({"stop": (100, 100)}, 20),
        ({"drawdown": (100, 100)}, 20),
        ({"leverage": (100, 100)}, 15),
        ({"correlation": (100, 100)}, 15),
        ({"correlation": (0, 0)}, 0),
        ({"correlation": (1, 0)}, 15),
        ({"stop": (1, 10**12)}, 1),
        (dict.fromkeys(WEIGHTS, (5, 4)), 100),
        (dict.fromkeys(WEIGHTS, (1, 2)), 50),
    ],
)
def test_the_score_is_the_weighted_use_of_limits_rounded_up(
    used: dict[str, tuple[int, int]], points: int
) -> None:
    """0 to 100, literal weights."""
    assert score(ZERO | used) == points
    assert sum(WEIGHTS.values()) == 100


def test_a_part_that_is_missing_is_no_zero() -> None:
    """A gap is a bug, not a low score."""
    with pytest.raises(KeyError):
        score({})


def _advise(rig: Rig, qty: int = 100, **changes: Any) -> Advice | None:
    wish = rig.intent(A, BUY, qty, **({"stop_price": Price(9_900)} | changes))
    beside = rig.portfolio.correlations.beside_ppm(A, BUY)
    return advise(wish, 10_000, rig.portfolio.holdings[A], rig.portfolio, rig.limits, 50, beside)


def test_advice_holds_everything_and_says_it_in_decimals() -> None:
    """100 units of the 200 the cap allows: half of 30, 1 of 100 of the risk budget, 10 % of leverage."""
    rig = Rig(
        instrument("AAA"), instrument("BBB"), account=account_limits(leverage_ppm=100_000),
        correlation=correlation_terms(),
    )  # fmt: skip
    advice = _advise(rig, 10_000)
    assert advice is not None
    # 15 of position, 0.2 of stop, 0 of drawdown, 1.5 of leverage, 0 of correlation
    assert advice.score == 17
    assert describe_advice(advice, rig.portfolio.holdings[A].instrument) == {
        "score": 17,
        "qty": "200.00",
        "value": "20000.00",
        "at_risk": "200.00",
        "bound_by": "POSITION_CAP",
        "liquidation": "",
        "stop": "99.00",
        "take_profit": "102.00",
        "reward_risk": "2.000",
    }


def test_advice_sees_what_is_held_beside_and_how_far_the_account_fell() -> None:
    """Unknown correlation counts whole: 15; half of the drawdown: 10."""
    rig = Rig(instrument("AAA"), instrument("BBB"), correlation=correlation_terms())
    calm = _advise(rig)
    rig.fill(B, BUY, 1)
    beside = _advise(rig)
    rig.portfolio.decline.drawdown_ppm = 75_000
    fallen = _advise(rig)
    assert calm is not None
    assert beside is not None
    assert fallen is not None
    assert (beside.score - calm.score, fallen.score - beside.score) == (15, 10)


def test_advice_counts_the_loss_at_the_stop_and_what_the_others_have() -> None:
    """5,000 USD at risk of 10,000 are 10 points; positions count with the worst case once, not twice."""
    rig = _rig()
    rig.limits = replace(rig.limits, account=account_limits(position_cap_ppm=10**9, leverage_ppm=10**8))
    asked = _advise(rig, 500_000)
    assert asked is not None
    assert asked.score == 11, "10, and parts of the cap and of the leverage"
    rig = _rig()
    rig.limits = replace(rig.limits, account=account_limits(leverage_ppm=20_000))
    rig.fill(A, BUY, 1_000)
    rig.fill(B, BUY, 10_000)
    both = _advise(rig, 1_000)
    assert both is not None
    # 3 of position (2,000 of 20,000 USD), 9 of leverage (12,000 of 20,000), 15 beside one nobody knows
    assert both.score == 28


def test_advice_without_limits_or_stop_is_none_and_without_range_has_no_levels() -> None:
    """The gate denies the first; the second is told as far as it is known."""
    rig = _rig(terms())
    assert _advise(rig, stop_price=None) is None
    advice = _advise(rig)
    assert advice is not None
    assert advice.liquidation is None, "the cash of 1,000,000 stands behind it"
    told = describe_advice(replace(advice, levels=None, liquidation=Price(9_001)), instrument("AAA"))
    assert told["liquidation"] == "90.01"
    assert "stop" not in told
    assert _advise(rig, source="nobody") is None
    rig.limits.instruments.clear()
    assert _advise(rig) is None


def test_advice_of_an_empty_account_is_all_of_every_limit_it_uses() -> None:
    """No division by nothing."""
    rig = _rig()
    rig.portfolio.cash = -(10**20)
    advice = _advise(rig)
    assert advice is not None
    assert (advice.score, advice.suggestion.qty) == (65, 0)
