"""How much an entry asks for: what is free of the allocation, on a lot, never more than fits (RSK-29)."""

from __future__ import annotations

import pytest

from appliance.domain.money import AMOUNT_ONE
from appliance.orders.sizing import entry_qty
from tests.kit import spx


@pytest.mark.parametrize(
    ("price", "free", "qty"),
    [
        (100_000, 1_000 * AMOUNT_ONE, 100),
        (100_000, 1_000 * AMOUNT_ONE - 1, 99),
        (100_000, 10 * AMOUNT_ONE, 1),
        (100_000, 10 * AMOUNT_ONE - 1, 0),
        (100_000, 1, 0),
        (1, AMOUNT_ONE // 10_000, 1),
        (100_000, 0, 0),
        (100_000, -1_000 * AMOUNT_ONE, 0),
        (0, 1_000 * AMOUNT_ONE, 0),
        (-1, 1_000 * AMOUNT_ONE, 0),
        (-1, -1_000 * AMOUNT_ONE, 0),
    ],
)
def test_the_largest_quantity_that_fits(price: int, free: int, qty: int) -> None:
    """To the last unit of money; nothing free, or no price, is no quantity and never a negative one."""
    assert entry_qty(spx(), price, free) == qty


@pytest.mark.parametrize(
    ("free", "qty"), [(499, 0), (500, 50), (749, 50), (750, 75), (1_000, 100), (5_000, 100)]
)
def test_it_is_on_a_lot_between_the_smallest_and_the_largest_order(free: int, qty: int) -> None:
    """Lots of 25, at least 50, at most 100, at a price of 10.00."""
    instrument = spx(lot=25, min_qty=50, max_qty=100)
    assert entry_qty(instrument, 1_000, free * AMOUNT_ONE // 100) == qty
