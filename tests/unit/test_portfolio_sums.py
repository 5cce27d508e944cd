"""What one instrument adds to the account's sums, by hand; lots that are closed are gone."""

from __future__ import annotations

import pytest

from appliance.portfolio.holdings import Holding
from appliance.portfolio.lots import Lots
from appliance.portfolio.totals import counted_of
from tests.kit import spx


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
