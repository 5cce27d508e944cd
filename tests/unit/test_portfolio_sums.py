"""What an instrument adds to the account's sums, by hand; closed lots are gone; a fill in one step."""

from __future__ import annotations

from random import Random

import pytest
from msgspec.structs import replace

from appliance.domain.ids import OrderId, TradeId
from appliance.domain.intent import Side
from appliance.domain.money import AMOUNT_ONE, Amount, Price, Qty
from appliance.domain.order import Fill, OrderState
from appliance.domain.verdict import Approved, OrderClass
from appliance.portfolio.holdings import Holding
from appliance.portfolio.lots import Lots
from appliance.portfolio.portfolio import Portfolio
from appliance.portfolio.totals import counted_of
from tests.kit import BOT, SPX, Core, spx


@pytest.mark.parametrize(
    ("ask", "last", "top", "dear"),
    [(3, 2, 1, 3), (2, 3, 1, 3), (2, 1, 3, 3), (1, 2, 3, 3), (1, 3, 2, 3), (3, 1, 2, 3), (3, 3, 3, 3)],
)
def test_what_works_is_kept_back_at_the_dearest_price(ask: int, last: int, top: int, dear: int) -> None:
    """Ask, last price or an entry's own; without working buys only what is owed counts."""
    holding = Holding(spx())
    holding.ask, holding.last, holding.buy_top = ask, last, top
    holding.working_buy = 7
    factor = holding.instrument.amount_factor
    assert counted_of(holding, 50) == -7 * dear * factor
    assert counted_of(holding, -50) == -50 - 7 * dear * factor
    holding.working_buy = 0
    assert counted_of(holding, 50) == 0
    assert counted_of(holding, -1) == -1


@pytest.mark.parametrize("sign", [1, -1])
def test_a_closed_lot_is_gone(sign: int) -> None:
    """Exactly closed, closed in parts, and turned over: what is left is what is held, oldest first."""
    lots = Lots(spx())
    for qty, price, left in (
        (5, 10, [(5, 10)]),
        (-5, 11, []),
        (3, 10, [(3, 10)]),
        (4, 12, [(3, 10), (4, 12)]),
        (-2, 13, [(1, 10), (4, 12)]),
        (-1, 13, [(4, 12)]),
        (-6, 14, [(-2, 14)]),
    ):
        lots.apply(sign * qty, price)
        assert list(lots._lots) == [(sign * each, paid) for each, paid in left]
        assert lots.quantity == sum(each for each, _ in lots._lots)
        assert lots.cost == sum(each * paid for each, paid in lots._lots) * lots.instrument.amount_factor


def _all_of(portfolio: Portfolio) -> tuple[object, ...]:
    held, own, sums = portfolio.holdings[SPX], portfolio.sources[BOT], portfolio.totals
    return (
        *(getattr(held, name) for name in Holding.__slots__ if name not in ("lots", "instrument", "series")),
        *(held.lots.quantity, held.lots.cost, held.lots.realised, own.held_cost, own.working_cost, own.fees),
        *(portfolio.cash, portfolio.equity, portfolio.gross, portfolio.equity_ns, portfolio.fees),
        *(sums.gross, sums.counted, sums.used, sums.maintenance, portfolio._working, dict(portfolio._priced)),
    )


@pytest.mark.parametrize("seed", range(40))
def test_a_fill_with_its_order_is_the_fill_and_then_the_order(seed: int) -> None:
    """Partial fills of entries and exits, long and short, in one step and in two: the same books."""
    dice, cash = Random(seed), Amount(10**8 * AMOUNT_ONE)
    one, two = (Portfolio([spx(min_qty=3)], cash, {BOT: cash}) for _ in range(2))
    core = Core()
    price = core.bar(100_000)
    core.portfolio.mark(price)
    verdict = core.gate.check(core.intent())
    assert isinstance(verdict, Approved)
    for portfolio in (one, two):
        portfolio.mark(price)
    for number in range(20):
        side, qty = dice.choice([*Side]), dice.randint(2, 9)
        kind = dice.choice([OrderClass.INCREASE, OrderClass.REDUCE, OrderClass.PROTECTIVE])
        order = replace(core.orders.record(verdict, 0), id=OrderId(f"o{number}"), side=side, qty=qty)
        order = replace(order, order_class=kind, price=dice.choice([None, 99_000, 101_000]))
        one.working(order)
        two.working(order)
        for filled in sorted({dice.randint(1, qty), qty if dice.random() < 0.7 else 1}):
            fill = Fill(
                trade_id=TradeId(f"t{number}/{filled}"), order_id=order.id, instrument=SPX, side=side,
                qty=Qty(filled - order.filled), price=Price(dice.randint(99_000, 101_000)), fee=Amount(7),
                maker=False, event_ns=1,
            )  # fmt: skip
            state = OrderState.FILLED if filled == qty else OrderState.PARTIALLY_FILLED
            order = replace(order, filled=filled, state=state)
            one.apply_fill(fill, BOT, order)
            two.apply_fill(fill, BOT)
            two.working(order)
            assert _all_of(one) == _all_of(two)
    one.check()
    two.check()
