"""Margin, sizes, correlations and profits under whatever numbers come (RISK_002, PORTFOLIO_001)."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from appliance.domain.intent import OrderType, Side
from appliance.domain.margin import MarginTerms, Tier, make_margin
from appliance.domain.money import AMOUNT_ONE, PPM_ONE, Amount, Ppm, Price, Qty
from appliance.domain.order import OrderState
from appliance.portfolio.analysis import analyse
from appliance.portfolio.correlation import CORRELATION_ONE, Correlations
from appliance.portfolio.series import RETURN_ONE, Return
from appliance.risk.levels import propose
from appliance.risk.margin import is_solvent, liquidation_price
from appliance.risk.suggest import suggest
from tests.kit import BOT, account_limits
from tests.risk_kit import A, B, C, Rig, correlation_terms, instrument

QUICK = settings(deadline=None, derandomize=True, max_examples=150)


@st.composite
def margins(draw: st.DrawFn) -> MarginTerms:
    """One to four tiers that a venue could mean."""
    floor, rate, initial, rows = 0, 0, 0, []
    fee = draw(st.integers(0, 2_000))
    for _ in range(draw(st.integers(1, 4))):
        floor += draw(st.integers(1, 10**6)) * AMOUNT_ONE
        rate += draw(st.integers(1, 100_000))
        initial = max(initial, rate + fee + draw(st.integers(1, 400_000)))
        rows.append((floor, initial, rate))
    return make_margin(isolated=draw(st.booleans()), initial_ppm=0, close_fee_ppm=fee, rows=rows)


@QUICK
@given(
    margins(),
    st.sampled_from([1, 5, 100]),
    st.integers(-(10**7), 10**7).filter(bool),
    st.integers(1, 10**6),
    st.integers(-(10**8), 10**9),
)
def test_a_liquidation_price_is_the_first_tick_that_is_not_solvent(
    made: MarginTerms, tick: int, qty: int, entry: int, margin_cents: int
) -> None:
    """Every tick on its good side is solvent, it and every tick beyond are not: found by halving."""
    contract = instrument("PERP", tick=tick)
    base = margin_cents * 10**8 - qty * entry * contract.amount_factor

    def solvent(ticks: int) -> bool:
        return is_solvent(contract, made, qty, base, ticks * tick)

    found = liquidation_price(contract, made, qty, base)
    step = 1 if qty > 0 else -1
    if found is None:
        assert qty > 0
        assert solvent(1)
        return
    assert found % tick == 0
    ticks = found // tick
    assert not solvent(ticks)
    assert ticks + step == 0 or solvent(ticks + step)
    low, high = 0, 1 << 80
    while high - low > 1:  # the last tick from below with the answer of the lower end
        middle = (low + high) // 2
        low, high = (middle, high) if solvent(middle) is (qty < 0) else (low, middle)
    assert ticks == max(1, low if qty > 0 else high)


@QUICK
@given(margins(), st.integers(0, 10**17), st.integers(0, 10**17))
def test_margins_never_fall_as_a_position_grows(made: MarginTerms, one: int, other: int) -> None:
    """And room is the inverse of initial, as far as the tiers reach."""
    small, large = sorted((one, other))
    assert made.initial(small) <= made.initial(large)
    assert made.maintenance(small) <= made.maintenance(large)
    room = made.room(one)
    assert made.initial(room) <= one
    assert room == made.largest or made.initial(room + 1) > one


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["fill", "work", "price"]),
        st.sampled_from([A, B]),
        st.sampled_from(list(Side)),
        st.integers(1, 30_000),
        st.integers(9_000, 11_000),
    ),
    max_size=12,
)


def _do(rig: Rig, acts: list[tuple[Any, ...]]) -> None:
    for name, symbol, side, qty, price in acts:
        if name == "fill":
            rig.fill(symbol, side, qty, price)
        elif name == "work":
            rig.work(symbol, side, qty, order_type=OrderType.LIMIT, price=Price(price))
        else:
            rig.price(symbol, price)


THIN_MARGIN = MarginTerms(
    isolated=True,
    close_fee_ppm=Ppm(0),
    tiers=(Tier(up_to=Amount(10**10), initial_ppm=Ppm(8_000), maintenance_ppm=Ppm(1), deduction_x=0),),
)
NARROW = {"position_cap_ppm": 1_000, "leverage_ppm": 10_000, "risk_ppm": 100, "margin_ppm": 1_000_000}
SIZE_REASONS = {
    "QTY_TOO_LARGE", "VALUE_TOO_LARGE", "ALLOCATION", "POSITION_CAP", "LEVERAGE", "MARGIN", "MARGIN_TIER",
    "LIQUIDATION", "QTY_TOO_SMALL", "VALUE_TOO_SMALL", "LOT_SIZE",
}  # fmt: skip


@settings(deadline=None, derandomize=True, max_examples=300)
@given(
    ACTS,
    st.none() | margins(),
    st.sampled_from(list(Side)),
    st.integers(1, 900),
    st.integers(-300, 300),
    st.sampled_from([1, 7, 100]),
    st.integers(1_000, 2_000_000),
    st.fixed_dictionaries(
        {
            "position_cap_ppm": st.integers(1_000, 900_000),
            "leverage_ppm": st.integers(10_000, 3_000_000),
            "risk_ppm": st.integers(100, 50_000),
            "margin_ppm": st.integers(1_000_000, 1_500_000),
        }
    ),
)
@example([], THIN_MARGIN, Side.SELL, 80, -8, 1, 1_000, NARROW)  # a limit below the bid: it may fill there
def test_the_gate_never_finds_a_suggested_size_too_large(
    acts: list[tuple[Any, ...]],
    made: MarginTerms | None,
    side: Side,
    distance: int,
    offset: int,
    lot: int,
    cash: int,
    limits: dict[str, int],
) -> None:
    """Whatever is held, works and costs: a suggested size passes, and loses no more than budgeted."""
    limits |= {"max_equity_age_ns": 10**30, "daily_loss_ppm": 10**6, "drawdown_ppm": 10**6}
    two = [instrument("AAA", made, lot=lot, min_qty=lot, max_qty=lot * 10**7), instrument("BBB")]
    rig = Rig(
        *two, cash=cash, account=account_limits(**limits),
        correlation=correlation_terms(limit_ppm=PPM_ONE), max_stop_ppm=10**6, collar_ppm=10**6,
        max_order_value=50_000 * AMOUNT_ONE,
    )  # fmt: skip
    _do(rig, acts)
    rig.limits.sources[BOT] = replace(rig.limits.sources[BOT], allocation=cash * AMOUNT_ONE)
    holding = rig.portfolio.holdings[A]
    price = holding.last + offset
    reference = holding.ask if side is Side.BUY else holding.bid
    entry, stop, lowest = max(reference, price), price - side.sign * distance, min(reference, price)
    own, source = rig.limits.instruments[A], rig.limits.sources[BOT]
    exposure = rig.portfolio.source_exposure(BOT)
    found = suggest(
        side, entry, stop, holding, rig.portfolio, own, rig.limits.account, source, exposure, lowest
    )
    assert found.qty % lot == 0
    assert found.at_risk * PPM_ONE <= max(0, rig.portfolio.equity) * rig.limits.account.risk_ppm
    assume(found.qty > 0)
    order = {"order_type": OrderType.LIMIT, "price": Price(price), "stop_price": Price(stop)}
    assert rig.ask(A, side, found.qty, **order) not in SIZE_REASONS


@QUICK
@given(ACTS)
def test_profit_and_sums_are_exact_under_any_fills(acts: list[tuple[Any, ...]]) -> None:
    """realised + unrealised − fees = value − start, over flips; running sums equal sums made anew."""
    rig = Rig(instrument("AAA"), instrument("BBB"))
    for act in acts:
        _do(rig, [act])
        rig.portfolio.check()
        state = analyse(rig.portfolio, 10**9, 10**9)
        assert state.total == 1_000_000 * AMOUNT_ONE + state.realised + state.unrealised - state.fees
        assert rig.portfolio.gross >= sum(abs(line.value) for line in state.positions)


@QUICK
@given(st.integers(1, 10_000), st.integers(0, 10_000), st.sampled_from(list(Side)))
def test_an_order_filled_in_two_parts_leaves_no_trace_of_having_worked(
    first: int, second: int, side: Side
) -> None:
    """gross is the position alone afterwards."""
    rig = Rig(instrument("AAA"), instrument("BBB"))
    order = rig.work(A, side, first + second)
    rig.fill(A, side, first, order_id=order.id)
    state = OrderState.PARTIALLY_FILLED if second else OrderState.FILLED
    rig.portfolio.working(replace(order, filled=Qty(first), state=state))
    if second:
        rig.fill(A, side, second, order_id=order.id)
        rig.portfolio.working(replace(order, filled=order.qty, state=OrderState.FILLED))
    assert rig.portfolio.gross == order.qty * 10_000 * 10**6
    rig.portfolio.check()


RETURNS = st.integers(-RETURN_ONE // 2, RETURN_ONE // 2)


@QUICK
@given(st.lists(st.tuples(RETURNS, RETURNS, RETURNS), min_size=3, max_size=70))
def test_correlations_are_symmetric_bounded_and_numpys(rows: list[tuple[int, int, int]]) -> None:
    """To 10^-9 over the window, where floats can tell; and the gate's bits agree with the value."""
    made = Correlations([A, B, C], correlation_terms(sample=3))
    for day, row in enumerate(rows):
        for symbol, value in zip((A, B, C), row, strict=True):
            made.push(symbol, Return((day, day + 1), value))
    table = np.array(rows[-60:], dtype=np.float64).T / RETURN_ONE
    spread = table.std(axis=1)
    for number, (one, other) in (((0, 1), (A, B)), ((0, 2), (A, C)), ((1, 2), (B, C))):
        found = made.of(one, other)
        assert found == made.of(other, one)
        if found is None:
            assert min(spread[list(number)]) < 1e-12
            continue
        assert -CORRELATION_ONE <= found <= CORRELATION_ONE
        if min(spread[list(number)]) > 1e-3:
            theirs = np.corrcoef(table[list(number)])
            assert abs(found / CORRELATION_ONE - float(np.asarray(theirs)[0, 1])) < 1e-9
        made.hold(other, long=True, short=False)
        for side in Side:
            clash = made.clash(one, side)
            margin = abs(found) - 7 * CORRELATION_ONE // 10
            wanted = margin > 0 and (found > 0) is (side is Side.BUY)
            assert margin in (0, -1) or clash is wanted
        made.hold(other, long=False, short=False)


@QUICK
@given(st.sampled_from([1, 5, 25]), st.sampled_from(list(Side)), st.integers(1, 10**6), st.integers(1, 10**5),
       st.integers(0, 10**6))  # fmt: skip
def test_proposed_levels_stand_on_ticks_on_their_sides_and_within_the_largest_distance(
    tick: int, side: Side, entry: int, span: int, max_stop_ppm: int
) -> None:
    """Reward is at least twice the risk, the risk at most two ranges."""
    found = propose(instrument("AAA", tick=tick), side, entry, span, max_stop_ppm)
    assume(found is not None)
    assert found is not None
    risk, reward = (entry - found.stop) * side.sign, (found.take_profit - entry) * side.sign
    assert 0 < risk <= 2 * span
    assert risk * PPM_ONE <= max_stop_ppm * entry
    assert reward >= 2 * risk
    assert found.stop % tick == found.take_profit % tick == 0
    assert min(found.stop, found.take_profit) > 0
    assert found.ratio_milli >= 2_000
