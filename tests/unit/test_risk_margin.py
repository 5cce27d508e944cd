"""Margin terms, liquidation prices and what the gate makes of them (RSK-15, RSK-19, RSK-21, U20).

The worked examples are those of Binance's help page "How to Calculate Liquidation Price of USDⓈ-M Futures
Contracts" (FAQ b3c689c1f50a44cabb3a84e663b81d93): one account, cross margin, long ETHUSDT and BTCUSDT. Its
formula, written for one position in one-way mode, is

    (wallet − others' maintenance + others' P&L + amount − side × size × entry) ÷ (size × (rate − side))
"""

from __future__ import annotations

from fractions import Fraction

import pytest
from msgspec.structs import replace

from appliance.domain.instrument import Instrument
from appliance.domain.intent import OrderType, Side
from appliance.domain.margin import MarginTerms, make_margin
from appliance.domain.money import AMOUNT_ONE, Price, parse_scaled
from appliance.domain.order import OrderState
from appliance.risk.margin import is_solvent, liquidation_after, liquidation_price, outlives
from tests.kit import account_limits
from tests.risk_kit import A, B, Rig, instrument, terms

BUY, SELL = Side.BUY, Side.SELL


def _binance(rate_ppm: int, amount: str) -> MarginTerms:
    """Terms whose last tier has this rate and this maintenance amount: one tier below it makes it so."""
    exact = parse_scaled(amount, 10)
    floor = exact * 10**6 // (rate_ppm - 1)
    made = make_margin(
        isolated=False,
        initial_ppm=200_000,
        close_fee_ppm=0,
        rows=[(floor, 0, 1), (10**30, 0, rate_ppm)],
    )
    assert abs(made.tiers[1].deduction_x - exact * 10**6) <= rate_ppm
    return made


def _contract(qty_exp: int = 3) -> Instrument:
    return instrument("PERP", qty_exp=qty_exp)


def _amount(text: str) -> int:
    return parse_scaled(text, 10)


def _formula(wallet: str, size: str, entry: str, rate: str, side: int) -> Fraction:
    """The venue's, for the only position of an account."""
    balance, qty, price, mmr = (Fraction(each) for each in (wallet, size, entry, rate))
    return (balance - side * qty * price) / (qty * (mmr - side))


EXAMPLES = [
    # wallet, others' maintenance, others' P&L, amount, size, entry, rate ppm, published price
    ("1535443.01", "71200.81144", "-56354.57", "135365.00", "3683.979", "1456.84", 100_000, "1153.26"),
    ("1535443.01", "356512.508", "-448192.89", "16300.00", "109.488", "32481.98", 25_000, "26316.89"),
    # the same positions as the only ones of an isolated margin: nothing of the others enters
    ("1535443.01", "0", "0", "135365.00", "3683.979", "1456.84", 100_000, "1114.78"),
    ("1535443.01", "0", "0", "16300.00", "109.488", "32481.98", 25_000, "18778.73"),
]


@pytest.mark.parametrize(
    ("wallet", "maintenance", "pnl", "amount", "size", "entry", "rate_ppm", "published"), EXAMPLES
)
def test_published_examples_to_a_hundredth_of_a_percent(
    wallet: str, maintenance: str, pnl: str, amount: str, size: str, entry: str, rate_ppm: int, published: str
) -> None:
    """RSK-19: 0.01 %; what we say is the tick below the published, rounded price at most."""
    contract, qty = _contract(), parse_scaled(size, 3)
    cost = qty * parse_scaled(entry, 2) * contract.amount_factor
    base = _amount(wallet) - _amount(maintenance) + _amount(pnl) - cost
    found = liquidation_price(contract, _binance(rate_ppm, amount), qty, base)
    assert found is not None
    wanted = parse_scaled(published, 2)
    assert abs(found - wanted) * 10_000 <= wanted
    assert found in (wanted, wanted - 1)


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize(("wallet", "size", "entry", "rate"), [
    ("800.00", "1", "40000", "0.005"), ("50000", "12.5", "10000", "0.025"), ("3", "0.7", "91.23", "0.01"),
])  # fmt: skip
def test_long_and_short_against_the_venues_formula(
    wallet: str, size: str, entry: str, rate: str, side: int
) -> None:
    """The formula with exact fractions: our tick is the first at or beyond it."""
    contract, qty = _contract(), side * parse_scaled(size, 3)
    cost = qty * parse_scaled(entry, 2) * contract.amount_factor
    margin_terms = make_margin(
        isolated=True, initial_ppm=500_000, close_fee_ppm=0, rows=[(10**30, 0, int(Fraction(rate) * 10**6))]
    )
    found = liquidation_price(contract, margin_terms, qty, _amount(wallet) - cost)
    exact = _formula(wallet, size, entry, rate, side) * 100
    assert found is not None
    assert 0 <= (exact - found) * side < 1


def test_the_closing_fee_counts_as_maintenance() -> None:
    """OKX: (maintenance rate + taker fee rate − 1) below the line; 0.5 % and 0.05 % behave as 0.55 %."""
    contract = _contract()
    one = make_margin(isolated=True, initial_ppm=20_000, close_fee_ppm=500, rows=[(10**30, 0, 5_000)])
    same = make_margin(isolated=True, initial_ppm=20_000, close_fee_ppm=0, rows=[(10**30, 0, 5_500)])
    for qty in (1_000, -1_000):
        base = 800 * AMOUNT_ONE - qty * 4_000_000 * contract.amount_factor
        assert liquidation_price(contract, one, qty, base) == liquidation_price(contract, same, qty, base)
        assert one.maintenance(10**15) == same.maintenance(10**15)


def test_nobody_liquidates_what_is_paid_in_full() -> None:
    """A long with as much margin as cost survives at any price; a short never does."""
    contract, margin_terms = _contract(), terms()
    assert liquidation_price(contract, margin_terms, 1_000, 0) is None
    assert liquidation_price(contract, margin_terms, 1_000, 5) is None
    assert liquidation_price(contract, margin_terms, -1_000, 10**20) is not None


def test_a_price_below_the_first_tick_is_no_price_and_one_under_water_is_the_first() -> None:
    """A long liquidated below 0.05 on ticks of 0.05 has none; a short that is insolvent anywhere has 0.05."""
    contract = instrument("PERP", tick=5)
    size = 1_000 * contract.amount_factor
    margin_terms = make_margin(isolated=True, initial_ppm=20_000, close_fee_ppm=0, rows=[(10**30, 0, 10_000)])
    assert liquidation_price(contract, margin_terms, 1_000, -4 * size) is None
    assert liquidation_price(contract, margin_terms, 1_000, -5 * size) == 5
    assert liquidation_price(contract, margin_terms, -1_000, -size) == 5


def test_tiers_as_published_are_continuous() -> None:
    """Deduction(k) = floor × step of the rate + deduction(k − 1): no jump where a tier begins."""
    made = terms()
    assert [tier.deduction_x for tier in made.tiers] == [
        0,
        50_000 * AMOUNT_ONE * 15_000,
        (50_000 * 15_000 + 250_000 * 25_000) * AMOUNT_ONE,
    ]
    for tier in made.tiers[:-1]:
        assert made.maintenance(tier.up_to + 100) - made.maintenance(tier.up_to) <= 100
    assert made.maintenance(50_000 * AMOUNT_ONE) == 500 * AMOUNT_ONE
    assert made.maintenance(2_000_000 * AMOUNT_ONE) == (100_000 - 750 - 6_250) * AMOUNT_ONE
    assert made.largest == 1_000_000 * AMOUNT_ONE


@pytest.mark.parametrize(
    ("notional", "initial"),
    [(0, 0), (1, 1), (20, 1), (21, 2), (50_000 * AMOUNT_ONE, 2_500 * AMOUNT_ONE),
     (50_000 * AMOUNT_ONE + 10, 5_000 * AMOUNT_ONE + 1), (2_000_000 * AMOUNT_ONE, 400_000 * AMOUNT_ONE)],
)  # fmt: skip
def test_initial_margin_takes_the_tiers_rate_for_the_whole_and_is_rounded_up(
    notional: int, initial: int
) -> None:
    """5 % up to and including 50,000, 10 % of everything above."""
    assert terms().initial(notional) == initial


def test_the_chosen_leverage_raises_what_a_tier_asks_for_and_never_lowers_it() -> None:
    """5x: 20 % everywhere."""
    assert [tier.initial_ppm for tier in terms(initial_ppm=150_000).tiers] == [150_000, 150_000, 200_000]


@pytest.mark.parametrize(
    ("budget", "room"),
    [(-1, 0), (0, 0), (2_499, 49_980), (2_500, 50_000), (4_999, 50_000), (5_001, 50_010), (25_000, 250_000),
     (50_020, 250_100), (200_000, 1_000_000), (900_000, 1_000_000)],
)  # fmt: skip
def test_room_is_the_largest_position_a_budget_opens(budget: int, room: int) -> None:
    """Above a tier's edge the whole costs more, so a budget in between ends at the edge."""
    made = terms()
    assert made.room(budget * AMOUNT_ONE) == room * AMOUNT_ONE
    if room:
        assert made.initial(room * AMOUNT_ONE) <= budget * AMOUNT_ONE


@pytest.mark.parametrize(
    ("rows", "initial_ppm", "fee_ppm", "says"),
    [
        ([], 100_000, 0, "at least one"),
        ([(0, 1, 1)], 100_000, 0, "further"),
        ([(5, 1, 1), (5, 1, 2)], 100_000, 0, "further"),
        ([(5, 1, 0)], 100_000, 0, "maintenance"),
        ([(5, 1, 9), (6, 1, 9)], 100_000, 0, "maintenance"),
        ([(5, 9, 1), (6, 8, 2)], 0, 0, "fall"),
        ([(5, 10, 10)], 0, 0, "above"),
        ([(5, 11, 10)], 0, 1, "above"),
        ([(5, 1_000_001, 10)], 0, 0, "above"),
    ],
)
def test_terms_no_venue_can_mean_are_refused(
    rows: list[tuple[int, int, int]], initial_ppm: int, fee_ppm: int, says: str
) -> None:
    """Each with its reason."""
    with pytest.raises(ValueError, match=says):
        make_margin(isolated=True, initial_ppm=initial_ppm, close_fee_ppm=fee_ppm, rows=rows)


def test_the_smallest_terms_that_can_be_meant() -> None:
    """Initial one above maintenance and fee; initial of all of it."""
    make_margin(isolated=True, initial_ppm=0, close_fee_ppm=1, rows=[(5, 12, 10)])
    make_margin(isolated=True, initial_ppm=0, close_fee_ppm=0, rows=[(1, 1_000_000, 1)])


def _rig(*, isolated: bool = False, cash: int = 10_000, initial_ppm: int = 0) -> Rig:
    """AAA on margin, BBB paid in full, and limits that leave the decision to the margin."""
    margin_terms = terms(isolated=isolated, initial_ppm=initial_ppm)
    account = account_limits(
        position_cap_ppm=10**9, leverage_ppm=10**9, max_equity_age_ns=10**30, daily_loss_ppm=10**6,
        drawdown_ppm=10**6,
    )  # fmt: skip
    return Rig(
        instrument("AAA", margin_terms), instrument("BBB"), cash=cash, account=account, max_stop_ppm=10**6
    )


def _stop(price: int) -> dict[str, Price]:
    return {"stop_price": Price(price)}


@pytest.mark.parametrize(("cash", "answer"), [(1_100, "ok"), (1_099, "MARGIN")])
@pytest.mark.parametrize("side", [BUY, SELL])
def test_free_margin_of_110_percent_passes_and_less_does_not(cash: int, answer: str, side: Side) -> None:
    """RSK-21: 200 at 100.00 are 20,000 USD, 5 % of it 1,000 USD, and 110 % of that 1,100 USD."""
    rig = _rig(cash=cash)
    stop = _stop(9_990 if side is BUY else 10_010)
    assert rig.ask(A, side, 20_000, **stop) == answer


def test_working_orders_and_positions_hold_their_margin_back() -> None:
    """1,650 USD: the first 1,000 are kept by an order that works; 590 of the other 650 cover 110 % of 500."""
    rig = _rig(cash=1_650)
    order = rig.work(A, BUY, 20_000)
    assert rig.portfolio.free_margin == 650 * AMOUNT_ONE
    assert rig.ask(A, BUY, 10_000, **_stop(9_990)) == "ok"
    assert rig.ask(A, BUY, 12_000, **_stop(9_990)) == "MARGIN"
    rig.portfolio.working(replace(order, state=OrderState.CANCELED))
    assert rig.ask(A, BUY, 30_000, **_stop(9_990)) == "ok"


def test_unrealised_losses_are_gone_and_profits_do_not_count() -> None:
    """Long 100 from 100.00: at 99.00 100 USD are missing, at 101.00 none are more; its margin moves too."""
    rig = _rig(cash=5_000)
    rig.fill(A, BUY, 10_000)
    assert rig.portfolio.free_margin == (5_000 - 500) * AMOUNT_ONE
    rig.price(A, 9_900)
    assert rig.portfolio.free_margin == (5_000 - 100 - 495) * AMOUNT_ONE
    rig.price(A, 10_100)
    assert rig.portfolio.free_margin == (5_000 - 505) * AMOUNT_ONE


def test_what_is_paid_in_full_is_no_collateral() -> None:
    """Its value is not margin, what its entries will cost is kept back, and a short of it is owed."""
    rig = _rig(cash=5_000)
    rig.fill(B, BUY, 1_000)
    assert rig.portfolio.free_margin == 4_000 * AMOUNT_ONE
    rig.work(B, BUY, 500)
    assert rig.portfolio.free_margin == 3_500 * AMOUNT_ONE
    rig.fill(B, SELL, 3_000)
    assert rig.portfolio.free_margin == (7_000 - 500 - 2_000) * AMOUNT_ONE


def test_a_negative_free_margin_takes_nothing_more() -> None:
    """Not even what would need none, such as the lighter side."""
    rig = _rig(cash=1_000)
    rig.fill(A, BUY, 15_000)
    rig.price(A, 9_500)
    assert rig.portfolio.free_margin < 0
    assert rig.ask(A, BUY, 1, **_stop(9_490)) == "MARGIN"
    assert rig.ask(A, SELL, 15_000) == "ok", "an exit is not asked for margin"


@pytest.mark.parametrize(("qty", "answer"), [(1_000_000, "ok"), (1_000_001, "MARGIN_TIER")])
def test_above_the_last_tier_there_is_nothing(qty: int, answer: str) -> None:
    """1,000,000 USD is the last tier's end."""
    assert _rig(cash=10_000_000).ask(A, BUY, qty, **_stop(9_990)) == answer


@pytest.mark.parametrize(
    ("isolated", "side", "last_good"),
    [(True, BUY, 9_596), (True, SELL, 10_396), (False, BUY, 9_091), (False, SELL, 10_891)],
)
def test_a_stop_beyond_the_liquidation_price_is_denied(isolated: bool, side: Side, last_good: int) -> None:
    """100 at 100.00 with 500 USD isolated, or 1,000 USD in all: the venue would be there first."""
    rig = _rig(isolated=isolated, cash=1_000)
    price = liquidation_after(side, 10_000, rig.portfolio.holdings[A], rig.portfolio, 10_000)
    assert price == last_good - side.sign
    assert rig.ask(A, side, 10_000, **_stop(last_good)) == "ok"
    assert rig.ask(A, side, 10_000, **_stop(price)) == "LIQUIDATION"
    assert rig.ask(A, side, 10_000, **_stop(last_good - 2 * side.sign)) == "LIQUIDATION"


def test_a_limit_sell_is_judged_by_the_lowest_price_it_may_fill_at() -> None:
    """Short at 98.00 instead of 100.00: its liquidation comes 2 % earlier."""
    rig = _rig(isolated=True)
    assert rig.ask(A, SELL, 10_000, **_stop(10_395)) == "ok"
    low = {"order_type": OrderType.LIMIT, "price": Price(9_800)}
    assert rig.ask(A, SELL, 10_000, **_stop(10_395), **low) == "LIQUIDATION"
    assert rig.ask(A, SELL, 10_000, **_stop(10_187), **low) == "ok"


def test_a_limit_buy_is_judged_by_the_highest() -> None:
    """Long at up to 102.00 although the ask is 100.00."""
    rig = _rig(isolated=True)
    high = {"order_type": OrderType.LIMIT, "price": Price(10_200)}
    assert rig.ask(A, BUY, 10_000, **_stop(9_596)) == "ok"
    assert rig.ask(A, BUY, 10_000, **_stop(9_596), **high) == "LIQUIDATION"


@pytest.mark.parametrize("isolated", [True, False])
@pytest.mark.parametrize("side", [BUY, SELL])
def test_position_and_working_orders_stand_in_the_liquidation_price(isolated: bool, side: Side) -> None:
    """Brute force: book all of it at those prices and walk down the ticks until maintenance is reached."""
    rig = _rig(isolated=isolated, cash=4_000)
    rig.fill(A, side, 5_000, 10_000)
    rig.work(A, side, 3_000)
    holding = rig.portfolio.holdings[A]
    found = liquidation_after(side, 2_000, holding, rig.portfolio, 10_100)
    margin_terms = holding.instrument.margin
    assert margin_terms is not None
    cost = (5_000 * 10_000 + 5_000 * 10_100) * 10**6
    margin_amount = margin_terms.initial(cost) if isolated else 4_000 * AMOUNT_ONE
    price = 10_000
    while margin_amount + side.sign * (10_000 * price * 10**6 - cost) > margin_terms.maintenance(
        10_000 * price * 10**6
    ):
        price -= side.sign
    assert found == price


def test_an_order_that_turns_a_position_is_judged_by_what_remains() -> None:
    """Long 50, sell 150: 100 short from its own price; what only closes has no liquidation price."""
    rig = _rig(isolated=True, cash=50_000)
    rig.fill(A, BUY, 5_000, 9_000)
    holding, account = rig.portfolio.holdings[A], rig.portfolio
    assert liquidation_after(SELL, 5_000, holding, account, 10_000) is None
    flat = _rig(isolated=True, cash=50_000)
    alone = liquidation_after(SELL, 10_000, flat.portfolio.holdings[A], flat.portfolio, 10_000)
    assert liquidation_after(SELL, 15_000, holding, account, 10_000) == alone
    dear = _rig(isolated=True, cash=500_000)
    dear.fill(A, BUY, 1, 9_000_000)
    one_of_each = liquidation_after(BUY, 1, dear.portfolio.holdings[A], dear.portfolio, 10_000)
    assert one_of_each is not None
    assert one_of_each > 4_000_000, "what is held keeps its cost, be it one unit"
    assert liquidation_after(BUY, 1, rig.portfolio.holdings[B], account, 10_000) is None


def test_other_positions_move_a_cross_liquidation_price_by_their_losses_and_their_maintenance() -> None:
    """Two margin instruments: the other's loss of 100 USD and maintenance of 99 USD stand on one side."""
    account = account_limits(position_cap_ppm=10**9, leverage_ppm=10**9, max_equity_age_ns=10**30)
    pair = [instrument("AAA", terms()), instrument("BBB", terms())]
    rig = Rig(*pair, cash=1_500, account=account)
    rig.fill(B, BUY, 10_000)
    rig.price(B, 9_900)
    found = liquidation_after(BUY, 10_000, rig.portfolio.holdings[A], rig.portfolio, 10_000)
    alone = Rig(*pair, cash=1_500 - 100 - 99, account=account)
    assert found == liquidation_after(BUY, 10_000, alone.portfolio.holdings[A], alone.portfolio, 10_000)


def test_a_stop_has_to_come_before_the_price_not_at_it() -> None:
    """Both sides, and where there is no price."""
    assert [outlives(BUY, stop, Price(100)) for stop in (99, 100, 101)] == [False, False, True]
    assert [outlives(SELL, stop, Price(100)) for stop in (99, 100, 101)] == [True, False, False]
    assert outlives(BUY, 1, None)


def test_solvent_means_more_than_maintenance() -> None:
    """Equal is liquidated, as venues do it: margin ratio 100 %."""
    contract = instrument("PERP")
    margin_terms = make_margin(isolated=True, initial_ppm=20_000, close_fee_ppm=0, rows=[(10**30, 0, 10_000)])
    value = 100 * 10_000 * contract.amount_factor
    assert not is_solvent(contract, margin_terms, 100, value // 100 - value, 10_000)
    assert is_solvent(contract, margin_terms, 100, value // 100 - value + 1, 10_000)
