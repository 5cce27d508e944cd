"""One fill applied, from 1 to 100,000 of them; a price; a correlation row; a sum of everything.

"fill" is what the desk does with a venue's execution apart from the log: book it on account and source,
both sets of books compared, limits' sums renewed, and the order's leaves taken off. The 100,000 fills turn
the position now and then. A case is compared with the same case of the first 1,000 fills.
"""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import time

from msgspec.structs import replace

from appliance.domain.ids import InstrumentId, OrderId, SourceId, TradeId
from appliance.domain.intent import OrderType, Side
from appliance.domain.money import AMOUNT_ONE, Amount, Price, Qty
from appliance.domain.order import Fill, Order, OrderState
from appliance.domain.verdict import OrderClass
from appliance.portfolio.analysis import analyse
from appliance.portfolio.correlation import Correlations
from appliance.portfolio.portfolio import Portfolio
from appliance.portfolio.series import RETURN_ONE, Return
from appliance.risk.suggest import suggest
from tests.bench.measure import Case, case_of, repeat, with_peer
from tests.kit import BOT, SPX, Core
from tests.risk_kit import A, bar, correlation_terms, instrument

FIRST = 1_000


def run(*, quick: bool) -> list[Case]:
    """Fills, prices and correlations."""
    fills = 20_000 if quick else 100_000
    gc.disable()
    try:
        return [*_fills(fills, 1), *_fills(fills, 1_000), *_correlations(), *_others(quick)]
    finally:
        gc.enable()


def _portfolio(instruments: int) -> Portfolio:
    names = [A, *(f"I{number}" for number in range(instruments - 1))]
    return Portfolio(
        [instrument(name) for name in names],
        Amount(10**9 * AMOUNT_ONE),
        {BOT: Amount(10**9 * AMOUNT_ONE), SourceId("other"): Amount(AMOUNT_ONE)},
        correlation_terms(),
    )


def _work(count: int) -> list[tuple[Order, Fill, Order]]:
    """An order as recorded, its fill and the order after it."""
    draw = random.Random(1)
    made = []
    for number in range(count):
        side = draw.choice((Side.BUY, Side.SELL))
        qty, price = Qty(draw.randint(1, 500)), Price(draw.randint(9_000, 11_000))
        order = Order(
            id=OrderId(f"il-{number:033d}"),
            intent_id=OrderId("i"),  # type: ignore[arg-type]
            source=BOT,
            instrument=A,
            order_class=OrderClass.INCREASE,
            side=side,
            qty=qty,
            order_type=OrderType.MARKET,
            price=None,
            stop_price=None,
            attached_stop=None,
            reduce_only=False,
            protects=None,
            state=OrderState.WORKING,
        )
        fill = Fill(
            trade_id=TradeId(f"t{number:09d}"),
            order_id=order.id,
            instrument=A,
            side=side,
            qty=qty,
            price=price,
            fee=Amount(1_000),
            maker=False,
            event_ns=1,
        )
        made.append((order, fill, replace(order, filled=qty, state=OrderState.FILLED)))
    return made


def _fills(count: int, instruments: int) -> list[Case]:
    portfolio, work = _portfolio(instruments), _work(count)
    portfolio.mark(bar(A, 0, 10_000))
    samples, clock = [0] * count, time.perf_counter_ns
    for number, (order, fill, ended) in enumerate(work):
        portfolio.working(order)
        started = clock()
        portfolio.apply_fill(fill, BOT, ended)
        samples[number] = clock() - started
    portfolio.check()
    name = f"{instruments} instrument" + ("s" if instruments > 1 else "")
    first = case_of(f"fill, first {FIRST:,}, {name}", samples[:FIRST])
    last = case_of(f"fill, last {FIRST:,} of {count:,}, {name}", samples[-FIRST:])
    whole = case_of(f"fill, all {count:,}, {name}", samples)
    assert first.p50 is not None
    peer = f"the first {FIRST:,} fills"
    size = sys.getsizeof(portfolio.ledger._trades) // count  # the ids are the order book's own strings
    memory = Case("memory per remembered trade id, the set's part", "bytes", count, p50=size)
    return [first, with_peer(last, peer, first.p50), with_peer(whole, peer, first.p50), memory]


def _correlations() -> list[Case]:
    cases = []
    for count in (3, 30, 100):
        names = [InstrumentId(f"I{number}") for number in range(count)]
        made, draw = Correlations(names, correlation_terms()), random.Random(2)
        samples = []
        for day in range(80):
            for name in names:
                value = draw.randint(-RETURN_ONE // 50, RETURN_ONE // 50)
                started = time.perf_counter_ns()
                made.push(name, Return((day, day + 1), value))
                samples.append(time.perf_counter_ns() - started)
        cases.append(case_of(f"a closed interval, {count} instruments", samples[-10 * count :]))
        for name in names[1:]:
            made.hold(name, long=True, short=False)
        asked = repeat(lambda made=made, name=names[0]: made.clash(name, Side.BUY), 20_000)  # type: ignore[misc]
        cases.append(case_of(f"the gate's question, {count} instruments held", asked))
    return cases


def _others(quick: bool) -> list[Case]:
    count = 2_000 if quick else 20_000
    core = Core()
    asyncio.run(core.hold_position(500))
    portfolio, price = core.portfolio, core.bar(100_000)
    holding, own = portfolio.holdings[SPX], core.limits.instruments[SPX]
    account, source = core.limits.account, core.limits.sources[BOT]

    def advise() -> object:
        return suggest(Side.BUY, 100_000, 99_000, holding, portfolio, own, account, source, 0, 100_000)

    priced = repeat(lambda: portfolio.mark(price), count)
    return [
        case_of("a price, with the account's and the sources' declines", priced),
        case_of("every identity from the beginning", repeat(portfolio.check, count)),
        case_of("a suggested size", repeat(advise, count)),
        case_of("the whole picture", repeat(lambda: analyse(portfolio, 20_000, 10**6), count)),
    ]
