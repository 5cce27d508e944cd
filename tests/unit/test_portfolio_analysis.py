"""The portfolio as a whole: totals, leverage, concentration, and what would bring it inside its limits."""

from __future__ import annotations

import pytest

from appliance.domain.ids import InstrumentId
from appliance.domain.intent import Side
from appliance.domain.money import AMOUNT_ONE, Qty
from appliance.portfolio.analysis import PortfolioState, Rebalance, analyse
from appliance.portfolio.series import Return
from tests.risk_kit import A, B, C, Rig, correlation_terms, instrument

BUY, SELL = Side.BUY, Side.SELL
NONE = 10**9


def _rig(lot: int = 1, cash: int = 1_000) -> Rig:
    three = [instrument(name, lot=lot, min_qty=lot, max_qty=10**9) for name in ("AAA", "BBB", "CCC")]
    return Rig(*three, cash=cash, correlation=correlation_terms(sample=3, window=3))


def _look(rig: Rig, cap_ppm: int = NONE, leverage_ppm: int = NONE) -> PortfolioState:
    return analyse(rig.portfolio, cap_ppm, leverage_ppm)


def _told(state: PortfolioState) -> list[tuple[InstrumentId, Side, int, str]]:
    return [(each.instrument, each.side, each.qty, each.why) for each in state.proposals]


def test_an_empty_portfolio_is_nothing_of_anything() -> None:
    """No division by nothing."""
    state = _look(_rig(), 0, 0)
    assert (state.total, state.cash, state.realised, state.unrealised) == (1_000 * AMOUNT_ONE,) * 2 + (0, 0)
    assert (state.leverage_ppm, state.largest_ppm, state.concentration_ppm) == (0, 0, 0)
    assert (state.positions, state.correlation, state.proposals) == ((), None, ())


def test_totals_include_cash_and_every_unit_of_profit() -> None:
    """Long 3 from 100.00 now 110.00, short 1 from 100.00 now 90.00, 1 closed with 5.00 gained, fees 7."""
    rig = _rig()
    rig.fill(A, BUY, 300, fee=7)
    rig.fill(B, SELL, 100)
    rig.fill(C, BUY, 100)
    rig.fill(C, SELL, 100, 10_500)
    rig.price(A, 11_000)
    rig.price(B, 9_000)
    state = _look(rig)
    assert state.total == rig.portfolio.equity == (1_000 + 30 + 10 + 5) * AMOUNT_ONE - 7
    assert (state.realised, state.unrealised, state.fees) == (5 * AMOUNT_ONE, 40 * AMOUNT_ONE, 7)
    assert state.total == 1_000 * AMOUNT_ONE + state.realised + state.unrealised - state.fees
    assert [(p.instrument, p.quantity, p.value // AMOUNT_ONE, p.unrealised // AMOUNT_ONE)
            for p in state.positions] == [(A, 300, 330, 30), (B, -100, -90, 10)]  # fmt: skip
    assert state.leverage_ppm == -(-420 * 10**6 * AMOUNT_ONE // state.total)
    assert state.largest_ppm == state.positions[0].share_ppm == -(-330 * 10**6 * AMOUNT_ONE // state.total)


@pytest.mark.parametrize(
    ("held", "index"), [([100], 10**6), ([100, 100], 500_000), ([300, 100], 625_000), ([1, 1, 1], 333_334)]
)
def test_concentration_is_the_herfindahl_index_rounded_up(held: list[int], index: int) -> None:
    """1 ÷ n of n equal positions."""
    rig = _rig()
    for symbol, qty in zip((A, B, C), held, strict=False):
        rig.fill(symbol, BUY, qty)
    assert _look(rig).concentration_ppm == index


def test_a_lost_account_has_all_of_every_share() -> None:
    """Something of nothing."""
    rig = _rig()
    rig.fill(A, BUY, 100)
    rig.portfolio.cash = -(10**15)
    state = _look(rig)
    assert (state.leverage_ppm, state.largest_ppm) == (10**6, 10**6)


@pytest.mark.parametrize(
    ("side", "lot", "cap_ppm", "qty"),
    [
        (BUY, 1, 500_000, None),
        (BUY, 1, 499_999, 1),
        (BUY, 1, 100_000, 400),
        (SELL, 1, 100_000, 400),
        (BUY, 100, 310_000, 200),
        (BUY, 100, 290_000, 300),
        (BUY, 100, 0, 500),
    ],
)
def test_a_position_above_the_cap_is_proposed_down_to_it(
    side: Side, lot: int, cap_ppm: int, qty: int | None
) -> None:
    """5 at 100.00 in an account of 1,000 USD; the reduction is rounded up to lots, never beyond flat."""
    rig = _rig(lot)
    rig.fill(A, side, 500)
    wanted = [] if qty is None else [(A, side.opposite, qty, "POSITION_CAP")]
    assert _told(_look(rig, cap_ppm)) == wanted


def test_too_much_in_all_is_proposed_down_in_proportion() -> None:
    """6 and 3 to two thirds; after that the limit holds."""
    rig = _rig()
    rig.fill(A, BUY, 600)
    rig.fill(B, SELL, 300)
    assert _told(_look(rig, NONE, 900_000)) == []
    assert _told(_look(rig, NONE, 600_000)) == [(A, SELL, 200, "LEVERAGE"), (B, BUY, 100, "LEVERAGE")]


def _returns(rig: Rig, symbol: InstrumentId, values: list[int]) -> None:
    for day, value in enumerate(values):
        rig.portfolio.correlations.push(symbol, Return((day, day + 1), value))


@pytest.mark.parametrize(
    ("first", "second", "others", "told"),
    [
        ((BUY, 300), (BUY, 200), [1, 2, 3], [(B, SELL, 200)]),
        ((BUY, 200), (BUY, 300), [1, 2, 3], [(A, SELL, 200)]),
        ((BUY, 200), (BUY, 200), [1, 2, 3], [(B, SELL, 200)]),
        ((BUY, 300), (SELL, 200), [1, 2, 3], []),
        ((BUY, 300), (SELL, 200), [3, 2, 1], [(B, BUY, 200)]),
        ((BUY, 300), (BUY, 200), [3, 2, 1], []),
        ((BUY, 300), (BUY, 200), [5, 0, 5], []),
    ],
)
def test_of_two_that_move_together_the_smaller_is_proposed_to_go(
    first: tuple[Side, int], second: tuple[Side, int], others: list[int], told: list[tuple[object, ...]]
) -> None:
    """Hedges stay."""
    rig = _rig()
    _returns(rig, A, [1, 2, 3])
    _returns(rig, B, others)
    assert _told(_look(rig)) == [], "nothing is held"
    rig.fill(A, *first)
    assert _told(_look(rig)) == [], "alone"
    rig.fill(B, *second)
    state = _look(rig)
    assert _told(state) == [(*each, "CORRELATION") for each in told]
    assert state.correlation == (0 if others == [5, 0, 5] else 10**12)


def test_of_three_that_move_together_two_are_proposed_to_go() -> None:
    """Each once; the largest stays."""
    rig = _rig()
    for symbol, qty in ((A, 100), (B, 300), (C, 200)):
        _returns(rig, symbol, [1, 2, 3])
        rig.fill(symbol, BUY, qty)
    assert _told(_look(rig)) == [(A, SELL, 100, "CORRELATION"), (C, SELL, 200, "CORRELATION")]


def test_the_correlation_shown_is_the_highest_of_any_two_positions() -> None:
    """Whatever its sign; of two that are not held, nothing."""
    rig = _rig()
    for symbol, values in ((A, [1, 2, 3]), (B, [1, 3, 2]), (C, [-1, -2, -4])):
        _returns(rig, symbol, values)
    rig.fill(A, BUY, 100)
    rig.fill(B, BUY, 100)
    assert _look(rig).correlation == 10**12 // 2
    rig.fill(C, SELL, 100)
    highest = rig.portfolio.correlations.of(A, C)
    assert highest is not None
    assert highest < -(9 * 10**11)
    assert _look(rig).correlation == -highest


def test_a_position_without_a_price_is_proposed_to_go_whole() -> None:
    """Nothing can be divided by a mark of zero."""
    rig = _rig()
    _returns(rig, A, [1, 2, 3])
    _returns(rig, B, [1, 2, 3])
    rig.fill(A, BUY, 300)
    rig.fill(B, BUY, 200)
    holding = rig.portfolio.holdings[B]
    holding.bid = holding.ask = holding.last = 0
    assert Rebalance(instrument=B, side=SELL, qty=Qty(200), why="CORRELATION") in _look(rig).proposals


def test_proposals_of_different_limits_stand_side_by_side() -> None:
    """Each by itself: the cap's and the whole's."""
    rig = _rig()
    rig.fill(A, BUY, 600)
    told = _told(_look(rig, 400_000, 500_000))
    assert told == [(A, SELL, 200, "POSITION_CAP"), (A, SELL, 100, "LEVERAGE")]
    assert rig.portfolio.holdings[A].position == 600, "nothing was done"
