"""Orders: check, state and ledger without a disk; the same at 10 … 100,000 open orders and 1 … 1,000
instruments; intent → durable → venue call through the real log; memory per open order and remembered id; and
the fills (`bench_portfolio`).

One order of the first kind is: gate, order row, id ledger, working quantity. Taking the venue's acceptance
and a cancel over into the books, with their entries for the log, is a case of its own. All numbers of open
orders and instruments are measured in turns, and so is the floor they are compared with, a loop of additions:
what the machine does meanwhile happens to all of them. `tests.bench.curve` draws it.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from appliance.domain.ids import InstrumentId, IntentId, OrderId, derive_order_id
from appliance.domain.intent import Intent, OrderType
from appliance.domain.money import AMOUNT_ONE, PPM_ONE, Amount, Ppm, Price, Qty
from appliance.domain.observation import Bar
from appliance.domain.order import Accepted, Canceled, Order, OrderEvent
from appliance.domain.reasons import Reason
from appliance.domain.verdict import Approved, Denied
from appliance.orders.book import Orders
from appliance.orders.booking import Booking
from appliance.orders.costs import Costs
from appliance.orders.desk import Desk
from appliance.orders.identity import IdLedger
from appliance.portfolio.correlation import CorrelationTerms
from appliance.portfolio.portfolio import Portfolio
from appliance.risk.gate import Gate
from appliance.risk.limits import Limits
from appliance.storage.log_client import LogClient
from tests.audit_support import new_log
from tests.bench import bench_portfolio, orders_card
from tests.bench.measure import Case, case_of, repeat, with_peer
from tests.bench.orders_desk import PRICE, make_desk
from tests.kit import (
    BOT,
    DAY,
    SECOND,
    SPX,
    Core,
    FakeScribe,
    account_limits,
    instrument_limits,
    source_limits,
    spx,
)

AT_ONCE = 100


class NoScribe(FakeScribe):
    """A log that keeps nothing."""

    def note(self, kind, data, *, causes=(), orders=()):  # type: ignore[no-untyped-def]
        """One entry, forgotten."""
        return self.ticket

    ticket = FakeScribe().note("start", {})


class Wire:
    """A venue up to the call: what comes after it is the network's and the exchange's."""

    name = "wire"

    async def submit(self, _order: Approved) -> None:
        """Called once the order is durable."""


class Desktop:
    """Gate, orders, ids and books of a number of instruments; no venue, no log."""

    def __init__(self, instruments: int) -> None:
        core = Core()
        self.symbols = [SPX, *(InstrumentId(f"X{n}") for n in range(1, instruments))]
        made = [replace(spx(), symbol=symbol) for symbol in self.symbols]
        limits = Limits(
            account=account_limits(position_cap_ppm=1_000_000),
            instruments=dict.fromkeys(self.symbols, instrument_limits()),
            sources={BOT: source_limits(instruments=frozenset(self.symbols), allocation=10**24)},
        )
        cash = Amount(10**9 * AMOUNT_ONE)
        # Whatever moves with what is held may be bought: the control is asked and answers, and lets pass.
        terms = CorrelationTerms(limit_ppm=Ppm(PPM_ONE), interval_ns=DAY, window=30, sample=30)
        self.portfolio = Portfolio(made, cash, {BOT: cash}, terms)
        for symbol in self.symbols:
            core.clock.utc += 1
            self.portfolio.mark(_bar(symbol, core.clock.utc))
        self.orders, self.ids = Orders(), IdLedger()
        self.gate = Gate(
            limits,
            self.portfolio,
            core.latch,
            core.holds,
            core.safety,
            self.ids,
            core.clock,
            "bench",
            core.safety.recovery,
            core.breakers,
            core.fees,
            self.orders,
        )
        costs = Costs(core.fees, core.clock)
        self.booking = Booking(
            self.orders, self.ids, self.portfolio, NoScribe(), lambda reason, why: None, costs, core.clock
        )
        self.number = self.seq = 0

    def wish(self) -> Intent:
        """A limit order of the next instrument."""
        self.number += 1
        return Intent(
            id=IntentId(f"i{self.number}"),
            source=BOT,
            instrument=self.symbols[self.number % len(self.symbols)],
            created_ns=0,
            qty=Qty(1),
            order_type=OrderType.LIMIT,
            price=Price(PRICE - self.number % 2_000),
        )

    def check(self, wish: Intent) -> Order:
        """Through the gate and into the books: ready to be made durable and sent."""
        verdict = self.gate.check(wish)
        assert isinstance(verdict, Approved), verdict
        order = self.orders.record(verdict, 0)
        self.ids.add(order.id)
        self.booking.count(order)
        return order

    def begin(self, wish: Intent) -> OrderId:
        """The same, sent, and accepted by the venue."""
        return self.accept(self.check(wish))

    def accept(self, order: Order) -> OrderId:
        """Sent, and accepted by the venue."""
        self.booking.moved(self.orders.move(order.id, OrderEvent.SEND, sent_ns=1), "", quiet=True)
        self.seq += 1
        accepted = Accepted(
            seq=self.seq,
            event_ns=1,
            order_id=order.id,
            instrument=order.instrument,
            side=order.side,
            qty=order.qty,
            order_type=order.order_type,
            price=order.price,
        )
        self.booking.take((accepted,))
        return order.id

    def end(self, order_id: OrderId) -> None:
        """The venue reports its end."""
        self.seq += 1
        self.booking.take(
            (Canceled(seq=self.seq, event_ns=1, order_id=order_id, leaves=Qty(1), reason="requested"),)
        )


def _bar(symbol: InstrumentId, now_ns: int) -> Bar:
    price = Price(PRICE)
    return Bar(
        instrument=symbol,
        event_ns=now_ns - SECOND,
        seen_ns=now_ns,
        open=price,
        high=price,
        low=price,
        close=price,
        volume=0,
    )


SHAPES = ((10, 1), (100, 1), (1_000, 1), (10_000, 1), (100_000, 1), (1_000, 10), (1_000, 100), (1_000, 1_000))
"""(open orders, instruments)"""

QUICK = ((10, 1), (1_000, 1), (1_000, 10))
ROUNDS = 20
FLOOR = "floor: 100 additions"


def run(*, quick: bool) -> list[Case]:
    """All cases."""
    cases = _cost(QUICK if quick else SHAPES, 2_000 if quick else 20_000)
    cases += [_memory_of_an_order(1_000 if quick else 20_000)]
    cases += [_memory_of_an_id(n) for n in ((10_000,) if quick else (10_000, 90_000, 1_000_000))]
    cases += asyncio.run(_through_the_log(1_000 if quick else 10_000, 1 if quick else 10))
    cases += orders_card.run(2 if quick else 65)
    return cases + bench_portfolio.run(quick=quick)


class Point:
    """One point of the curve: a desk with so many open orders, and what an order more took there."""

    def __init__(self, open_orders: int, instruments: int) -> None:
        self.where = f"{open_orders} open orders, {instruments} instruments"
        self.desk = Desktop(instruments)
        self.checks: list[int] = []
        self.reports: list[int] = []
        for _ in range(open_orders):
            self.desk.begin(self.desk.wish())

    def measure(self, count: int) -> None:
        """Orders that come and go; as many are open afterwards as before."""
        desk, clock = self.desk, time.perf_counter_ns
        for _ in range(count):
            wish = desk.wish()
            started = clock()
            order = desk.check(wish)
            checked = clock()
            desk.end(desk.accept(order))
            self.reports.append(clock() - checked)
            self.checks.append(checked - started)


def _cost(shapes: Sequence[tuple[int, int]], count: int) -> list[Case]:
    points = [Point(*shape) for shape in shapes]
    floor: list[int] = []
    gc.collect()
    gc.freeze()
    for _ in range(ROUNDS):
        floor += repeat(_additions, count // ROUNDS)
        for point in points:
            point.measure(count // ROUNDS)
    gc.unfreeze()
    least = case_of(FLOOR, floor)
    assert least.p50 is not None
    found = [(f"check + state + ledger, {point.where}", point.checks) for point in points]
    found += [(f"sent, accepted, ended, {point.where}", point.reports) for point in points]
    return [least, *(with_peer(case_of(name, each), FLOOR, least.p50) for name, each in found)]


def _additions() -> int:
    total = 0
    for value in range(100):
        total += value
    return total


def _memory_of_an_order(count: int) -> Case:
    desk = Desktop(10)
    wishes = [desk.wish() for _ in range(count)]
    tracemalloc.start()
    for wish in wishes:
        desk.begin(wish)
    del wishes
    gc.collect()
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return Case("memory per open order", "bytes", count, p50=round(used / count, 1))


def _memory_of_an_id(count: int) -> Case:
    ids = [derive_order_id("bench", BOT, IntentId(str(n))) for n in range(count)]
    tracemalloc.start()
    ledger = IdLedger()
    for order_id in ids:
        ledger.add(order_id)
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(ledger) == count
    return Case("memory per remembered id", "bytes", count, p50=round(used / count, 1))


async def _through_the_log(burst: int, paced_s: int) -> list[Case]:
    with tempfile.TemporaryDirectory() as folder:
        log = await LogClient.start(new_log(Path(folder)))
        core, desk = await make_desk(log, Wire())
        cases = [await _burst(core, desk, burst), await _paced(core, desk, 1_000 * paced_s)]
        await log.aclose()
    return cases


async def _one(core: Core, desk: Desk, samples: list[int]) -> None:
    wish = core.intent(qty=Qty(1), order_type=OrderType.LIMIT, price=Price(96_000))
    started = time.perf_counter_ns()
    verdict = await desk.place(wish)
    if isinstance(verdict, Denied) and verdict.reason is Reason.BACKPRESSURE:
        return  # it shows as fewer samples than orders
    assert isinstance(verdict, Approved), verdict
    samples.append(time.perf_counter_ns() - started)


async def _burst(core: Core, desk: Desk, count: int) -> Case:
    samples: list[int] = []

    async def worker(share: int) -> None:
        for _ in range(share):
            await _one(core, desk, samples)

    started = time.perf_counter()
    await asyncio.gather(*(worker(count // AT_ONCE) for _ in range(AT_ONCE)))
    rate = round(len(samples) / (time.perf_counter() - started))
    name = f"intent → durable → venue call, {AT_ONCE} at once"
    return replace_rate(case_of(name, samples), rate)


async def _paced(core: Core, desk: Desk, count: int) -> Case:
    samples: list[int] = []
    tasks = []
    started = time.perf_counter()
    for number in range(count):
        wait = started + number / 1_000 - time.perf_counter()
        await asyncio.sleep(max(0.0, wait))
        tasks.append(asyncio.create_task(_one(core, desk, samples)))
    await asyncio.gather(*tasks)
    rate = round(len(samples) / (time.perf_counter() - started))
    return replace_rate(case_of("intent → durable → venue call, 1,000/s", samples), rate)


def replace_rate(case: Case, rate: int) -> Case:
    """With the rate of the whole, not of one at a time."""
    return Case(**{**case.as_dict(), "per_s": rate})
