"""What passes when: SAFETY 2 as literal data. The gate has no rule about classes outside this table.

Rows are conditions that may stand when an order is checked, in the order in which they are reported;
columns are the four classes. A row absent from a check simply does not stand.
"""

from __future__ import annotations

from enum import Enum

from appliance.domain.reasons import Reason
from appliance.domain.verdict import OrderClass


class Cell(Enum):
    """What a standing condition does to an order of one class."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    DENY = "deny"
    SLICE = "approve at most a slice; the rest follows"
    WIDEN = "limit order at the last good price, collar widened with its age"
    FALLBACK = "the venue's market order, flagged"


P, D = Cell.PASS, Cell.DENY
_COLUMNS = (OrderClass.INCREASE, OrderClass.REDUCE, OrderClass.PROTECTIVE, OrderClass.CANCEL)


def _row(increase: Cell, reduce: Cell, protective: Cell, cancel: Cell) -> dict[OrderClass, Cell]:
    return dict(zip(_COLUMNS, (increase, reduce, protective, cancel), strict=True))


MATRIX: dict[Reason, dict[OrderClass, Cell]] = {
    #                                INCREASE  REDUCE       PROTECTIVE  CANCEL
    # the latch and the guard
    Reason.TRIPPED: _row(D, P, P, P),
    Reason.NOT_ARMED: _row(D, P, P, P),
    Reason.GUARD_MISSING: _row(D, P, P, P),
    Reason.GUARD_LATE: _row(D, P, P, P),
    Reason.PAGE_MISMATCH: _row(D, P, P, P),
    # the modes
    Reason.MODE_PAUSED: _row(D, P, P, P),
    Reason.MODE_REDUCED: _row(D, P, P, P),
    Reason.MODE_EMERGENCY: _row(D, P, P, P),
    # what new exposure depends on does not answer
    Reason.BREAKER_OPEN: _row(D, P, P, P),
    # holds of any scope
    Reason.HOLD: _row(D, P, P, P),
    # money
    Reason.STRATEGY_STOPPED: _row(D, P, P, P),
    Reason.DAILY_LOSS: _row(D, P, P, P),
    Reason.DRAWDOWN: _row(D, P, P, P),
    Reason.EQUITY_MISSING: _row(D, P, P, P),
    Reason.EQUITY_STALE: _row(D, P, P, P),
    Reason.FEES_MISSING: _row(D, P, P, P),
    Reason.FEES_STALE: _row(D, P, P, P),
    # permissions and limits that are not there
    Reason.NOT_ALLOWED: _row(D, P, P, P),
    Reason.NO_LIMIT: _row(D, Cell.SLICE, P, P),
    # prices
    Reason.PRICE_MISSING: _row(D, Cell.FALLBACK, P, P),
    Reason.PRICE_STALE: _row(D, Cell.WIDEN, P, P),
    Reason.PRICE_CROSSED: _row(D, P, P, P),
    Reason.PRICE_SPREAD: _row(D, P, P, P),
    Reason.PRICE_DEVIATION: _row(D, P, P, P),
}
"""Reason → class → what it does. A CANCEL passes every row: its message budget is reserved elsewhere."""
