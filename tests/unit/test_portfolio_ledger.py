"""Ledger identities after every event, running sums, and the age of the portfolio's value (SAFETY 9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from appliance.domain.errors import InvariantError
from appliance.domain.ids import OrderId, SourceId
from appliance.domain.intent import OrderType, Side
from appliance.domain.money import AMOUNT_ONE, Price, Qty
from appliance.domain.order import OrderState
from appliance.domain.verdict import OrderClass
from tests.kit import BOT
from tests.risk_kit import UNIT, A, B, Rig, instrument, terms

BUY, SELL = Side.BUY, Side.SELL


def _rig(**changes: Any) -> Rig:
    return Rig(instrument("AAA", **changes), instrument("BBB"))


def test_a_trade_id_is_booked_once() -> None:
    """Whatever else is in the fill."""
    rig = _rig()
    fill = rig.fill(A, BUY, 100)
    cash = rig.portfolio.cash
    with pytest.raises(InvariantError, match="t1 was booked before"):
        rig.portfolio.apply_fill(replace(fill, qty=Qty(1), order_id=OrderId("other")), BOT)
    assert rig.portfolio.cash == cash


def test_the_smallest_fill_books() -> None:
    """One unit at one tick, either side."""
    rig = _rig()
    rig.fill(A, BUY, 1, 1)
    rig.fill(A, SELL, 1, 1)
    rig.portfolio.check()
    assert rig.portfolio.cash == 1_000_000 * AMOUNT_ONE


def test_a_sources_exposure_is_what_it_holds_and_has_working() -> None:
    """At cost, either side."""
    rig = _rig()
    rig.fill(A, BUY, 100)
    rig.fill(B, SELL, 30, 9_000)
    rig.work(A, BUY, 50)
    assert rig.portfolio.source_exposure(BOT) == (100 * 10_000 + 30 * 9_000 + 50 * 10_000) * UNIT


def test_a_working_entry_costs_what_it_was_approved_at_and_less_with_every_part() -> None:
    """The dearer of ask and last; 30 of 100 filled leave 70 %; an end leaves nothing."""
    rig = _rig()
    rig.portfolio.holdings[A].last = 9_000
    order = rig.work(A, BUY, 100)
    assert rig.portfolio.source_exposure(BOT) == 100 * 10_000 * UNIT
    rig.price(A, 12_000)
    rig.fill(A, BUY, 30, 10_000, order_id=order.id)
    part = replace(order, filled=Qty(30), state=OrderState.PARTIALLY_FILLED)
    rig.portfolio.working(part)
    assert rig.portfolio.source_exposure(BOT) == (30 + 70) * 10_000 * UNIT
    rig.portfolio.working(replace(part, state=OrderState.CANCELED))
    assert rig.portfolio.source_exposure(BOT) == 30 * 10_000 * UNIT
    assert rig.portfolio.source_exposure(SourceId("nobody")) == 0


@pytest.mark.parametrize("changes", [{"qty": 0}, {"qty": -1}, {"price": 0}, {"price": -1}])
def test_a_fill_of_nothing_is_refused(changes: dict[str, int]) -> None:
    """Before anything is booked."""
    rig = _rig()
    with pytest.raises(InvariantError, match="quantity"):
        rig.fill(A, BUY, changes.get("qty", 1), changes.get("price", 1))
    assert rig.portfolio.holdings[A].position == 0


def _change(name: str) -> Callable[[Rig], None]:
    def act(rig: Rig) -> None:
        lots = rig.portfolio.holdings[A].lots
        setattr(lots, name, getattr(lots, name) + 1)

    return act


def _cash(rig: Rig) -> None:
    rig.portfolio.cash += 1


def _own(rig: Rig) -> None:
    rig.portfolio.sources[BOT].lots[A].quantity += 1


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_cash, "cash"),
        (_change("quantity"), "position 201, sum of fills 200"),
        (_change("cost"), "cost and realised"),
        (_change("realised"), "cost and realised"),
        (_own, "position of bot"),
    ],
)
def test_a_broken_identity_is_found_at_the_next_fill(damage: Callable[[Rig], None], says: str) -> None:
    """One unit is enough: the second set of books knows better."""
    rig = _rig()
    rig.fill(A, BUY, 100)
    damage(rig)
    with pytest.raises(InvariantError, match=says):
        rig.fill(A, BUY, 100)


def test_a_stranger_s_fills_are_counted_to_the_account_alone() -> None:
    """A source without an allocation: the account's position is the sum of both."""
    rig = _rig()
    rig.fill(A, BUY, 100)
    rig.fill(A, SELL, 30, source=SourceId("stranger"))
    rig.portfolio.check()
    assert rig.portfolio.holdings[A].position == 70
    rig.portfolio.ledger._of_source[BOT, A] += 1
    with pytest.raises(InvariantError, match="do not add up"):
        rig.portfolio.check()


def test_filled_is_the_sum_of_the_orders_fills() -> None:
    """While it lives; the order of events is fill, then order."""
    rig = _rig()
    order = rig.work(A, BUY, 100)
    rig.fill(A, BUY, 40, order_id=order.id)
    rig.portfolio.working(replace(order, filled=Qty(40), state=OrderState.PARTIALLY_FILLED))
    rig.fill(A, BUY, 60, order_id=order.id)
    with pytest.raises(InvariantError, match="filled 99, its fills are 100"):
        rig.portfolio.working(replace(order, filled=Qty(99)))
    rig.portfolio.working(replace(order, filled=Qty(100), state=OrderState.FILLED))
    assert rig.portfolio.ledger._filled == {}


@pytest.mark.parametrize("filled", [-1, 101])
def test_an_order_cannot_be_filled_by_less_than_nothing_or_more_than_all(filled: int) -> None:
    """filled + leaves = quantity, neither negative."""
    rig = _rig()
    with pytest.raises(InvariantError, match="of 100"):
        rig.work(A, BUY, 100, filled=Qty(filled))
    for good in (0, 100):
        rig.work(A, BUY, 100, filled=Qty(good))


def test_an_ended_order_is_forgotten_and_a_late_fill_of_it_still_books() -> None:
    """Cancelled at 40 of 100 as far as we knew; the venue executed 10 more."""
    rig = _rig()
    order = rig.work(A, BUY, 100, filled=Qty(40))
    ended = replace(order, state=OrderState.CANCELED)
    rig.portfolio.working(ended)
    rig.fill(A, BUY, 10, order_id=order.id)
    rig.portfolio.working(replace(ended, filled=Qty(50)))
    assert rig.portfolio.ledger._filled == {}
    rig.portfolio.check()


def test_an_order_known_from_before_a_restart_goes_on_from_there() -> None:
    """Its earlier fills were booked before it was seen."""
    rig = _rig()
    order = rig.work(A, BUY, 100, filled=Qty(40), state=OrderState.PARTIALLY_FILLED)
    rig.fill(A, BUY, 60, order_id=order.id)
    rig.portfolio.working(replace(order, filled=Qty(100), state=OrderState.FILLED))


@pytest.mark.parametrize("name", ["gross", "counted", "used", "maintenance"])
def test_running_sums_are_compared_with_sums_made_anew(name: str) -> None:
    """By the whole check."""
    rig = Rig(instrument("AAA", terms()), instrument("BBB"))
    rig.fill(A, BUY, 100)
    rig.work(B, SELL, 50)
    rig.portfolio.check()
    setattr(rig.portfolio.totals, name, getattr(rig.portfolio.totals, name) + 1)
    with pytest.raises(InvariantError, match="sums over all"):
        rig.portfolio.check()


@pytest.mark.parametrize(
    ("position", "orders", "worst"),
    [
        (0, [], 0),
        (100, [], 100),
        (-100, [], 100),
        (100, [(BUY, 50)], 150),
        (100, [(SELL, 50)], 100),
        (100, [(SELL, 250)], 150),
        (100, [(BUY, 50), (SELL, 300)], 200),
        (-100, [(BUY, 50)], 100),
        (-100, [(BUY, 250), (SELL, 10)], 150),
        (-100, [(SELL, 60)], 160),
    ],
)
def test_the_worst_case_of_each_side_is_not_netted(
    position: int, orders: list[tuple[Side, int]], worst: int
) -> None:
    """CONTROLS 8."""
    rig = _rig()
    if position:
        rig.fill(A, BUY if position > 0 else SELL, abs(position))
    for side, qty in orders:
        rig.work(A, side, qty)
    assert rig.portfolio.gross == rig.portfolio.holdings[A].worst == worst * 10_000 * UNIT
    rig.portfolio.check()


@pytest.mark.parametrize("side", [BUY, SELL])
def test_working_entries_are_valued_at_their_own_price_if_that_is_dearer(side: Side) -> None:
    """A stop at 120.00 that is reached costs 120.00; a limit at 80.00 is counted at the market's price."""
    rig = _rig()
    order = rig.work(A, side, 100, order_type=OrderType.STOP, stop_price=Price(12_000))
    assert rig.portfolio.gross == 100 * 12_000 * UNIT
    other = rig.work(A, side, 100, order_type=OrderType.LIMIT, price=Price(8_000))
    assert rig.portfolio.gross == 200 * 12_000 * UNIT, "the side's dearest price stands for all of it"
    rig.portfolio.working(replace(order, state=OrderState.CANCELED))
    assert rig.portfolio.gross == 100 * 12_000 * UNIT, "kept while anything works there"
    rig.portfolio.working(replace(other, state=OrderState.CANCELED))
    rig.work(A, side, 100, order_type=OrderType.LIMIT, price=Price(8_000))
    assert rig.portfolio.gross == 100 * 10_000 * UNIT
    rig.portfolio.check()


def test_a_limit_above_the_market_is_dearer_than_a_trigger_nobody_asked_for() -> None:
    """Only a STOP has its trigger counted: elsewhere the stop price is the protective leg's."""
    rig = _rig()
    rig.work(A, SELL, 100, order_type=OrderType.LIMIT, price=Price(11_000), stop_price=Price(15_000))
    assert rig.portfolio.gross == 100 * 11_000 * UNIT


def test_exits_and_protective_legs_raise_no_price() -> None:
    """A reduce at 150.00 says nothing about entries; a protective leg is not counted at all."""
    rig = _rig()
    rig.fill(A, BUY, 100)
    reduce_at = {"order_type": OrderType.LIMIT, "price": Price(15_000), "order_class": OrderClass.REDUCE}
    rig.work(A, SELL, 100, **reduce_at)
    rig.work(A, SELL, 100, order_class=OrderClass.PROTECTIVE, order_type=OrderType.STOP, stop_price=Price(1))
    holding = rig.portfolio.holdings[A]
    assert (holding.working_sell, holding.sell_top) == (100, 0)
    assert rig.portfolio.gross == 100 * 10_000 * UNIT


def test_portfolio_value_is_as_old_as_the_oldest_price_of_what_is_held() -> None:
    """SAFETY 9: one instrument that still ticks must not make the value of all others fresh."""
    rig = _rig()
    holdings = rig.portfolio.holdings
    assert rig.portfolio.equity_ns == holdings[B].price_ns, "flat: the newest"
    rig.fill(A, BUY, 100)
    first = holdings[A].price_ns
    assert rig.portfolio.equity_ns == first
    rig.price(B, 10_000)
    assert rig.portfolio.equity_ns == first < holdings[B].price_ns
    rig.fill(B, BUY, 100)
    assert rig.portfolio.equity_ns == first
    rig.price(A, 10_000)
    assert rig.portfolio.equity_ns == holdings[B].price_ns
    rig.fill(B, SELL, 100)
    rig.price(A, 10_000)
    assert rig.portfolio.equity_ns == holdings[A].price_ns
    rig.fill(A, SELL, 100)
    rig.price(B, 10_000)
    assert rig.portfolio.equity_ns == holdings[B].price_ns


def test_three_instruments_grow_old_in_the_order_of_their_prices() -> None:
    """Opened in another order than they were priced."""
    rig = Rig(instrument("AAA"), instrument("BBB"), instrument("CCC"))
    names = list(rig.portfolio.holdings)
    for symbol in (names[2], names[0], names[1]):
        rig.fill(symbol, BUY, 100)
    for symbol in names:
        assert rig.portfolio.equity_ns == rig.portfolio.holdings[symbol].price_ns
        rig.price(symbol, 10_000)


@pytest.mark.parametrize(("age_ns", "answer"), [(60_000_000_000, "ok"), (60_000_000_001, "EQUITY_STALE")])
def test_an_old_price_of_one_position_denies_every_entry(age_ns: int, answer: str) -> None:
    """60 s is the last allowed age, whatever ticks meanwhile."""
    rig = _rig()
    rig.limits = replace(rig.limits, account=replace(rig.limits.account, max_equity_age_ns=60_000_000_000))
    rig.gate._limits = rig.gate._conditions._limits = rig.limits
    rig.fill(A, BUY, 100)
    rig.clock.utc = rig.portfolio.holdings[A].price_ns + age_ns - 1
    rig.price(B, 10_000)
    assert rig.ask(A, BUY, 1) == answer
    assert rig.ask(A, SELL, 1) == "ok"


def test_dust_does_not_make_the_value_old_and_a_position_without_a_price_has_none() -> None:
    """Below the smallest order nothing could be done about it; never priced is EQUITY_MISSING."""
    rig = _rig(min_qty=10)
    rig.fill(A, BUY, 9)
    rig.price(B, 10_000)
    assert rig.portfolio.equity_ns == rig.portfolio.holdings[B].price_ns
    rig.portfolio.holdings[A].price_ns = 0
    rig.fill(A, BUY, 1)
    assert rig.portfolio.equity_ns == 0
    rig.price(B, 10_000)
    assert rig.portfolio.equity_ns == 0
    assert rig.ask(B, BUY, 1) == "EQUITY_MISSING"


def test_cash_and_profit_stay_exact_over_flips() -> None:
    """Long 1.00, short 1.00, flat: what was lost and paid is what is missing, to the last unit."""
    rig = _rig()
    rig.fill(A, BUY, 100, 10_000, fee=7)
    rig.fill(A, SELL, 200, 9_999, fee=5)
    rig.fill(A, BUY, 100, 10_001, fee=3)
    assert rig.portfolio.cash == 1_000_000 * AMOUNT_ONE - (100 * 1 + 100 * 2) * UNIT - 15
    assert rig.portfolio.holdings[A].lots.realised == -(100 * 1 + 100 * 2) * UNIT
    rig.portfolio.check()


def _negative(rig: Rig) -> None:
    rig.portfolio.holdings[A].working_sell = -1


def _exposure(rig: Rig) -> None:
    rig.portfolio.sources[BOT].held_cost += 1


def _fees(rig: Rig) -> None:
    rig.portfolio.fees += 1


@pytest.mark.parametrize(
    ("damage", "says"),
    [(_negative, "negative working"), (_exposure, "exposure of bot"), (_fees, "cash differs")],
)
def test_the_whole_check_looks_at_what_no_fill_touches(damage: Callable[[Rig], None], says: str) -> None:
    """As the safety loop does, beside the venue's own account."""
    rig = _rig()
    rig.fill(A, BUY, 100)
    rig.portfolio.check()
    damage(rig)
    with pytest.raises(InvariantError, match=says):
        rig.portfolio.check()


def test_a_strangers_order_counts_for_the_account_and_for_no_source() -> None:
    """An order of a source that is configured no more is exposure all the same."""
    rig = _rig()
    order = rig.work(A, BUY, 100, source=SourceId("stranger"))
    assert rig.portfolio.gross == 100 * 10_000 * UNIT
    assert rig.portfolio.source_exposure(BOT) == 0
    rig.portfolio.working(replace(order, state=OrderState.REJECTED))
    assert rig.portfolio.gross == 0
