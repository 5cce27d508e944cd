"""Fees (TST-46: below 1 ms): charging, checking a fill, and the estimate an entry has in the log.

The gate asks nobody: it reads a word that was written when the schedule came, so every check is served from
memory; `python -m tests.bench gate` has what that costs.
"""

from __future__ import annotations

import asyncio
from functools import partial

from appliance.domain.verdict import Approved
from appliance.orders.fees import FeeBook
from tests.bench.measure import Case, case_of, repeat
from tests.fee_kit import KRAKEN, fill
from tests.kit import SPX, Core, spx


def run(*, quick: bool) -> list[Case]:
    """Each on a schedule of nine tiers with a volume of 400 days behind it."""
    count = 2_000 if quick else 50_000
    core = Core()
    asyncio.run(core.market(100_000))
    core.fees.take(KRAKEN, core.clock.mono)
    day_ns = 86_400 * 10**9
    core.clock.utc = 400 * day_ns
    instrument, book = spx(), FeeBook()
    book.take(KRAKEN, 1)
    for each in (core.fees, book):
        for day in range(400):
            each.remember(fill(event_ns=day * day_ns), instrument)
    core.portfolio.holdings[SPX].price_ns = core.portfolio.equity_ns = core.clock.utc
    order = core.gate.check(core.intent())
    assert isinstance(order, Approved)
    view, traded = core.portfolio.holdings[SPX], fill(event_ns=400 * day_ns)
    charge = partial(KRAKEN.charge, KRAKEN.tiers[0], 123_456_789_012_345, maker=False)
    check = partial(book.check, traded, instrument, first=True, now_ns=1)
    estimate = partial(core.desk.costs.estimate, order, view)
    return [
        case_of("charge one fill", repeat(charge, count)),
        case_of("check one fill", repeat(check, count)),
        case_of("estimate an entry, break-even included", repeat(estimate, count)),
    ]
