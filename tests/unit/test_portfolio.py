"""Positions, P&L and declines, exact to the last unit."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.domain.errors import InvariantError
from appliance.domain.ids import InstrumentId, OrderId, SourceId, TradeId
from appliance.domain.intent import Side
from appliance.domain.money import AMOUNT_ONE, PPM_ONE, Amount, Price, Qty
from appliance.domain.observation import Bar, Observation, Quote, Trade
from appliance.domain.order import Fill, VenueAccount
from appliance.portfolio.decline import CONFIRM_NS, DAY_NS, Confirmed, Decline, fall_ppm
from appliance.portfolio.lots import Lots
from appliance.portfolio.portfolio import Portfolio
from tests.kit import BOT, DAY, SECOND, SPX, spx

UNIT = 10**6  # amount of one cent times one hundredth


def _fill(side: Side, qty: int, price: int, fee: int = 0, number: int = 1) -> Fill:
    return Fill(
        trade_id=TradeId(f"t{number}"),
        order_id=OrderId("o"),
        instrument=SPX,
        side=side,
        qty=Qty(qty),
        price=Price(price),
        fee=Amount(fee),
        maker=False,
        event_ns=1,
    )


def _bar(price: int, seen_ns: int, *, low: int | None = None) -> Bar:
    return Bar(
        instrument=SPX,
        event_ns=seen_ns - 1,
        seen_ns=seen_ns,
        open=Price(price),
        high=Price(price),
        low=Price(price if low is None else low),
        close=Price(price),
        volume=0,
    )


def _portfolio(cash: int = 10_000) -> Portfolio:
    return Portfolio([spx()], Amount(cash * AMOUNT_ONE), {BOT: Amount(1_000 * AMOUNT_ONE)})


def test_first_in_first_out() -> None:
    """5 at 10.00 and 5 at 12.00; selling 7 at 15.00 realises 5×5 + 2×3."""
    lots = Lots(spx())
    lots.apply(500, 1_000)
    lots.apply(500, 1_200)
    assert lots.apply(-700, 1_500) == (500 * 500 + 200 * 300) * UNIT
    assert (lots.quantity, lots.cost) == (300, 300 * 1_200 * UNIT)
    assert lots.unrealised(1_100) == -300 * 100 * UNIT


def test_a_fill_may_cross_zero() -> None:
    """Closes the long and opens a short at its own price."""
    lots = Lots(spx())
    lots.apply(500, 1_000)
    assert lots.apply(-800, 900) == -500 * 100 * UNIT
    assert (lots.quantity, lots.cost) == (-300, -300 * 900 * UNIT)
    assert lots.unrealised(800) == 300 * 100 * UNIT


@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    st.lists(st.tuples(st.integers(-500, 500).filter(bool), st.integers(1, 5_000)), max_size=60),
    st.integers(1, 5_000),
)
def test_lots_equal_cash_accounting(fills: list[tuple[int, int]], mark: int) -> None:
    """realised + unrealised = value at the mark − what was spent, whatever the order of fills."""
    lots = Lots(spx())
    for qty, price in fills:
        lots.apply(qty, price)
    spent = sum(qty * price for qty, price in fills) * UNIT
    assert lots.quantity == sum(qty for qty, _ in fills)
    assert lots.realised + lots.unrealised(mark) == lots.quantity * mark * UNIT - spent


def test_equity_uses_the_conservative_mark() -> None:
    """Long: min(bid, last); short: max(ask, last) (SAFETY 9)."""
    portfolio = _portfolio()
    holding = portfolio.holdings[SPX]
    quote = Quote(
        instrument=SPX,
        event_ns=1,
        seen_ns=1,
        bid=Price(990),
        bid_qty=Qty(1),
        ask=Price(1_010),
        ask_qty=Qty(1),
    )
    trade = Trade(
        instrument=SPX, event_ns=2, seen_ns=2, price=Price(1_000), qty=Qty(1), seller_initiated=True
    )
    portfolio.mark(quote)
    portfolio.mark(trade)
    portfolio.apply_fill(_fill(Side.BUY, 100, 1_000), BOT)
    assert holding.mark == 990
    portfolio.mark(
        Trade(instrument=SPX, event_ns=3, seen_ns=3, price=Price(985), qty=Qty(1), seller_initiated=True)
    )
    assert holding.mark == 985
    portfolio.apply_fill(_fill(Side.SELL, 200, 1_000, number=2), BOT)
    assert holding.mark == 1_010


def test_cash_fees_and_identity() -> None:
    """cash = start − Σ price × signed quantity − fees, and check() agrees."""
    portfolio = _portfolio()
    portfolio.apply_fill(_fill(Side.BUY, 100, 1_000, fee=5), BOT)
    portfolio.apply_fill(_fill(Side.SELL, 40, 1_100, fee=7, number=2), BOT)
    assert portfolio.cash == 10_000 * AMOUNT_ONE - (100 * 1_000 - 40 * 1_100) * UNIT - 12
    portfolio.check()
    portfolio.cash += 1
    with pytest.raises(InvariantError):
        portfolio.check()


def test_a_source_is_measured_by_its_own_fills() -> None:
    """Capital, realised, unrealised and fees of its orders only."""
    portfolio = _portfolio()
    portfolio.apply_fill(_fill(Side.BUY, 100, 1_000, fee=AMOUNT_ONE), BOT)
    portfolio.apply_fill(_fill(Side.BUY, 50, 1_000, number=2), SourceId("other"))
    portfolio.mark(_bar(900, DAY))
    allocation = portfolio.sources[BOT]
    assert allocation.equity(portfolio.holdings) == 1_000 * AMOUNT_ONE - 100 * 100 * UNIT - AMOUNT_ONE
    assert portfolio.holdings[SPX].position == 150
    assert portfolio.held() == [(BOT, spx(), 100)]


@pytest.mark.parametrize(
    ("reference", "value", "ppm"),
    [
        (100, 100, 0),
        (100, 101, 0),
        (100, 85, 150_000),
        (10**9, 85 * 10**7 - 1, 150_001),
        (0, -1, PPM_ONE),
        (-5, -5, 0),
    ],
)
def test_falls_are_rounded_up(reference: int, value: int, ppm: int) -> None:
    """A limit passed by one unit is passed."""
    assert fall_ppm(reference, value) == ppm


def test_the_day_begins_with_the_last_value_of_the_day_before() -> None:
    """A gap over night is a loss of the new day."""
    decline = Decline(1_000)
    decline.observe(1_100, DAY_NS // 2)
    decline.observe(1_000, DAY_NS - 1)
    assert (decline.loss_ppm, decline.peak) == (0, 1_100)
    decline.observe(900, DAY_NS)
    assert decline.day_start == 1_000
    assert decline.loss_ppm == 100_000
    assert decline.drawdown_ppm == fall_ppm(1_100, 900)


@pytest.mark.parametrize(("apart_ns", "confirmed"), [(CONFIRM_NS - 1, False), (CONFIRM_NS, True)])
def test_a_loss_needs_two_observations_one_second_apart(apart_ns: int, confirmed: bool) -> None:
    """One bad print cannot sell the book (SAFETY 9)."""
    check = Confirmed()
    assert not check.update(True, 5, several_prints=False)
    assert check.update(True, 5 + apart_ns, several_prints=False) is confirmed


def test_a_recovery_starts_the_confirmation_again_and_a_bar_confirms_itself() -> None:
    """Several prints at once are several observations."""
    check = Confirmed()
    check.update(True, 0, several_prints=False)
    check.update(False, SECOND, several_prints=False)
    assert not check.update(True, 2 * SECOND, several_prints=False)
    assert Confirmed().update(True, 0, several_prints=True)


def test_a_bar_of_one_print_does_not_confirm() -> None:
    """WTI has one price a day: two days are needed, a ranging bar needs one."""
    for low, confirmed in ((700, False), (699, True)):
        portfolio = _portfolio(cash=1_000)
        portfolio.apply_fill(_fill(Side.BUY, 10_000, 1_000), BOT)
        portfolio.mark(_bar(1_000, DAY))
        fall = _bar(700, 2 * DAY, low=low)
        portfolio.mark(fall)
        assert portfolio.over_limits(150_000, 30_000, fall) == (confirmed, confirmed)
        assert (portfolio.sources_over({BOT: 150_000}, fall) == [BOT]) is confirmed


@pytest.mark.parametrize(("price", "over"), [(850, False), (849, True)])
def test_a_limit_is_the_last_allowed_value(price: int, over: bool) -> None:
    """15.00 % below the peak passes, more does not (C24)."""
    portfolio = _portfolio(cash=1_000)
    portfolio.apply_fill(_fill(Side.BUY, 10_000, 1_000), BOT)
    portfolio.mark(_bar(1_000, DAY))
    fall = _bar(price, 2 * DAY, low=price - 1)
    portfolio.mark(fall)
    assert portfolio.over_limits(150_000, 1_000_000, fall)[0] is over


def test_a_stopped_source_stays_stopped_with_its_first_reason() -> None:
    """Latched."""
    portfolio = _portfolio()
    portfolio.stop_source(BOT, "first", 5)
    portfolio.stop_source(BOT, "second", 6)
    assert portfolio.source_stopped(BOT)
    assert (portfolio.sources[BOT].stopped_reason, portfolio.sources[BOT].stopped_ns) == ("first", 5)
    assert not portfolio.source_stopped(SourceId("unknown"))


@pytest.mark.parametrize(
    ("cash", "positions", "says"),
    [
        (0, {SPX: 100}, ""),
        (1, {SPX: 100}, "cash"),
        (0, {SPX: 99}, "SPX"),
        (0, {}, "SPX"),
        (0, {SPX: 100, InstrumentId("X"): 1}, "X"),
    ],
)
def test_disagreement_with_the_venue_names_where(
    cash: int, positions: dict[InstrumentId, int], says: str
) -> None:
    """To the last unit, in both directions."""
    portfolio = _portfolio()
    portfolio.apply_fill(_fill(Side.BUY, 100, 1_000), BOT)
    account = VenueAccount(
        account="a", seq=1, event_ns=1, cash=Amount(portfolio.cash + cash), positions=positions
    )
    difference = portfolio.disagreement(account)
    assert difference.startswith(says)
    assert bool(difference) is bool(says)


@pytest.mark.parametrize(("qty", "flat"), [(9, True), (10, False), (0, True)])
def test_flat_means_below_the_smallest_order(qty: int, flat: bool) -> None:
    """What the venue takes no order for is dust (SAFETY 7)."""
    portfolio = Portfolio([spx(min_qty=10, lot=1)], Amount(10**15), {BOT: Amount(1)})
    if qty:
        portfolio.apply_fill(_fill(Side.BUY, qty, 1_000), BOT)
    assert portfolio.is_flat() is flat


def test_equity_is_unknown_until_the_first_mark() -> None:
    """The gate denies EQUITY_MISSING before."""
    portfolio = _portfolio()
    assert portfolio.equity_ns == 0
    observation: Observation = _bar(1_000, 77)
    portfolio.mark(observation)
    assert portfolio.equity_ns == 77
