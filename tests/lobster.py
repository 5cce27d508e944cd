"""LOBSTER message files as the order flow of one bot: what everybody in a stock did on one day, asked of
one box.

A new order of the file is an intent; a part taken back, an amendment that shrinks; a deletion, a cancel; a
visible execution, a trade at the paper venue that fills our copy. Two things the files leave out. Orders
from before the opening have ids nobody here knows: their cancels are sent, their executions only move the
price. And a file of N levels is silent about an order beyond them: what stands better than the best price
has gone without a message, and is cancelled here. The venue shows no size but ours, so that our orders fill
in the order in which they came, as the real ones did.
"""

from __future__ import annotations

import asyncio
import gzip
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from itertools import islice
from typing import Any, NamedTuple

from msgspec.structs import replace

from appliance.domain.ids import IntentId, OrderId, derive_order_id
from appliance.domain.intent import Action, Intent, OrderType, Side
from appliance.domain.mode import HoldCause
from appliance.domain.money import PPM_ONE, Ppm, Price, Qty
from appliance.domain.observation import Observation, Quote, Trade
from appliance.domain.order import AMENDABLE, Order
from appliance.domain.reasons import Reason
from appliance.domain.verdict import Denied, OrderClass, Verdict
from appliance.orders.lifecycle import ENDED
from appliance.ports import Ticket
from appliance.safety.holds import instrument_scope
from appliance.venues.paper_terms import make_fees
from tests.kit import (
    BOT,
    SECOND,
    SPX,
    Core,
    FakeScribe,
    account_limits,
    instrument_limits,
    source_limits,
    spx,
)
from tests.market_builders import real_file

NEW, SHRINK, DELETE, EXECUTED, HIDDEN, HALT = 1, 2, 3, 4, 5, 7
FILES = {"AAPL": 1, "AMZN": 5}  # symbol → levels in its book file
HALTED = -1  # as the price of a HALT message; 1 ends it
CASH = 10**9
FSYNC_NS = 8_000_000
BUY, SELL = Side.BUY, Side.SELL


class Message(NamedTuple):
    """One line of both files. time_ns: since midnight.  price, bid, ask: in cents, after it happened."""

    time_ns: int
    kind: int
    ref: str
    size: int
    price: int
    side: Side
    bid: int
    ask: int


def read(symbol: str, most: int | None = None) -> list[Message]:
    """The day, or its first `most` messages; skips the test where there is no such file."""
    day = f"equity/lobster/{symbol}_2012-06-21_34200000_57600000"
    with (
        gzip.open(real_file(f"{day}_message_{FILES[symbol]}.csv.gz"), "rt") as messages,
        gzip.open(real_file(f"{day}_orderbook_{FILES[symbol]}.csv.gz"), "rt") as books,
    ):
        return [_message(*lines) for lines in islice(zip(messages, books, strict=True), most)]


def _message(line: str, book: str) -> Message:
    time, kind, ref, size, price, direction = line.strip().split(",")
    ask, _, bid, _ = book.strip().split(",")[:4]
    seconds, _, fraction = time.partition(".")
    time_ns = int(seconds) * SECOND + int(fraction.ljust(9, "0")[:9])  # one line has noise behind the 9th
    side = BUY if direction == "1" else SELL
    at, best_bid, best_ask = (int(each) // 100 for each in (price, bid, ask))
    return Message(time_ns, int(kind), ref, int(size), at, side, best_bid, best_ask)


def busiest(times: Iterable[int], window_ns: int = SECOND) -> int:
    """Most messages in any window of that length."""
    found, recent, first = 0, [], 0
    for time in times:
        recent.append(time)
        while recent[first] <= time - window_ns:
            first += 1
        found = max(found, len(recent) - first)
    return found


def twice_as_busy(messages: Sequence[Message]) -> Iterator[Message]:
    """The same messages closer together: by the smallest tenth at which the busiest second has twice the
    messages of the file's busiest second."""
    times = [each.time_ns for each in messages]
    peak, tenths = busiest(times), 20
    while busiest(times, tenths * SECOND // 10) < 2 * peak:
        tenths += 1
    start = times[0]
    for each in messages:
        yield each._replace(time_ns=start + (each.time_ns - start) * 10 // tenths)


class _Written:
    """An entry and the fsync that makes it durable."""

    def __init__(self, index: int, group: asyncio.Future[None], waiting: list[asyncio.Task[Any]]) -> None:
        self.index = index
        self._group = group
        self._waiting = waiting

    async def durable(self) -> None:
        """Returns after the fsync."""
        task = asyncio.current_task()
        assert task is not None
        self._waiting.append(task)
        await self._group


class Log(FakeScribe):
    """Counts entries instead of keeping them. `paced`: each is durable with the first fsync that begins after
    it, on a clock that only `written` moves."""

    def __init__(self, clock: Any, *, paced: bool) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()
        self.problems: list[str] = []
        self._clock = clock
        self._paced = paced
        self._groups: dict[int, tuple[asyncio.Future[None], list[asyncio.Task[Any]]]] = {}

    def note(
        self,
        kind: str,
        data: Mapping[str, object],
        *,
        causes: Sequence[int] = (),
        orders: Sequence[Order] = (),
    ) -> Ticket:
        """One entry."""
        index = self.count.total()
        self.count[kind] += 1
        if kind == "venue":
            self.problems.append(str(data["problem"]))
        if not self._paced:
            return _Durable(index)
        done_ns = (self._clock.mono // FSYNC_NS + 2) * FSYNC_NS
        if done_ns not in self._groups:
            self._groups[done_ns] = (asyncio.get_running_loop().create_future(), [])
        return _Written(index, *self._groups[done_ns])

    async def written(self, until_ns: int) -> None:
        """Every fsync that ends by then, and what waited for it."""
        while self._groups and (done_ns := next(iter(self._groups))) <= until_ns:
            future, waiting = self._groups.pop(done_ns)
            self._clock.mono = self._clock.utc = done_ns
            future.set_result(None)
            await asyncio.gather(*waiting)


class _Durable:
    def __init__(self, index: int) -> None:
        self.index = index

    async def durable(self) -> None:
        """At once."""


class _Copy:
    """Our copy of a real order. left: what the real one still has."""

    __slots__ = ("left", "order_id")

    def __init__(self, order_id: OrderId, left: int) -> None:
        self.order_id = order_id
        self.left = left


class Flow:
    """A bot with generous limits, and the box it asks. paced: the log takes its time, intents overlap.

    answers: (action, "approved" or the reason) → how often.  false: denials nothing explains.
    unknown: messages about orders from before.  silent: orders that went without a message.
    """

    def __init__(self, *, paced: bool = False) -> None:
        self.core = Core(
            instrument=spx(qty_exp=0, max_qty=10**6),
            account=account_limits(position_cap_ppm=PPM_ONE),
            limits=instrument_limits(
                max_order_qty=10**6, max_order_value=10**30, max_price_age_ns=60 * SECOND
            ),
            source=source_limits(allow_short=True, allocation=10**30),
            cash=CASH,
        )
        terms = replace(self.core.terms, maker_fee_ppm=Ppm(20))
        self.core.engine.ledger.fees = make_fees(terms)
        self.core.fees.take(make_fees(terms), self.core.clock.mono)
        self.core.fees.until_ns = 2**63
        self.log = Log(self.core.clock, paced=paced)
        for part in (self.core.desk, self.core.desk.booking):
            part._scribe = self.log  # the kit's keeps every entry: a day of them is a gigabyte
        self.answers: Counter[tuple[str, str]] = Counter()
        self.false: list[Denied] = []
        self.arrivals: list[int] = []
        self.overlapping = 0
        self.unknown = self.silent = 0
        self._paced = paced
        self._copies: dict[str, _Copy] = {}
        self._best: dict[Side, list[tuple[int, str]]] = {BUY: [], SELL: []}  # best price on top
        self._late: list[_Copy] = []
        self._steps = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, messages: Iterable[Message], check_every: int = 1_000) -> None:
        """Every message in turn; then the log catches up and what is left is cancelled."""
        for number, message in enumerate(messages, start=1):
            await self.take(message)
            if number % check_every == 0:
                self.check()
        await self._catch_up()
        self.check(at_rest=True)
        for order in list(self.core.orders.live()):
            await self._ask(self.core.cancel(order.id))
        await self._catch_up()
        self.check(at_rest=True)
        assert list(self.core.orders.live()) == []

    async def take(self, message: Message) -> None:
        """One message: the clock, what the log has finished, the message itself, the quote after it."""
        clock = self.core.clock
        if self._paced:
            await self.log.written(message.time_ns)
        clock.mono = clock.utc = message.time_ns
        self.arrivals.append(message.time_ns)
        if self._late:
            late, self._late = self._late, []
            for copy in late:
                await self._align(copy)
        if not self._steps:
            await self._market(self._quote(message))  # the box has seen a price before the first order
        await _DO[message.kind](self, message)
        if message.kind != HALT:
            await self._market(self._quote(message))
            await self._drop(BUY, message.bid)
            await self._drop(SELL, message.ask)

    def check(self, *, at_rest: bool = False) -> None:
        """The ledger identities; our books are the venue's. at_rest: nothing is on its way, either."""
        core = self.core
        core.portfolio.check()
        assert core.portfolio.disagreement(core.engine.ledger.account()) == ""
        holding, live = core.portfolio.holdings[SPX], list(core.orders.live())
        counted = [order for order in live if order.order_class is not OrderClass.PROTECTIVE]
        assert holding.working_buy == sum(order.leaves for order in counted if order.side is BUY)
        assert holding.working_sell == sum(order.leaves for order in counted if order.side is SELL)
        assert core.guard.requests == [], "something tripped the box"
        if at_rest or not self._paced:
            theirs = {o.request.order_id: (o.request.qty, o.filled) for o in core.engine.ledger.live.values()}
            assert {order.id: (order.qty, order.filled) for order in live} == theirs

    async def _new(self, message: Message) -> None:
        wish = IntentId(message.ref)
        copy = _Copy(derive_order_id("test", BOT, wish), message.size)
        self._copies[message.ref] = copy
        heappush(self._best[message.side], (-message.side.sign * message.price, message.ref))
        await self._ask(
            self.core.intent(
                id=wish, side=message.side, qty=Qty(message.size), order_type=OrderType.LIMIT,
                price=Price(message.price),
            )
        )  # fmt: skip

    async def _shrink(self, message: Message) -> None:
        copy = self._copies.get(message.ref)
        if copy is None:
            self.unknown += 1
            return
        copy.left -= message.size
        await self._align(copy)

    async def _delete(self, message: Message) -> None:
        """Sent whatever became of our copy, and for orders nobody here knows."""
        copy = self._copies.get(message.ref)
        self.unknown += copy is None
        if copy is not None:
            copy.left = 0
        target = OrderId(f"before-{message.ref}") if copy is None else copy.order_id
        await self._ask(self.core.cancel(target))
        await self.core.desk.collect()

    async def _executed(self, message: Message) -> None:
        copy = self._copies.get(message.ref)
        self.unknown += copy is None
        order = None if copy is None else self.core.orders.get(copy.order_id)
        if copy is not None:
            copy.left -= message.size
        if copy is None or order is None or order.state in ENDED:
            self.core.portfolio.mark(self._trade(message))  # somebody else's: the queue of ours stands
            return
        await self._market(self._trade(message))
        await self._align(copy)

    async def _hidden(self, message: Message) -> None:
        self.unknown += message.ref not in self._copies
        self.core.portfolio.mark(self._trade(message))

    async def _halt(self, message: Message) -> None:
        """A trading halt is a hold of the instrument."""
        scope = instrument_scope(SPX)
        if message.price == HALTED:
            self.core.holds.begin(HoldCause.STALE_DATA, scope, message.time_ns, "a trading halt")
        else:
            self.core.holds.end(HoldCause.STALE_DATA, scope)

    async def _drop(self, side: Side, best: int) -> None:
        """Cancels our copies that stand better than the best price there really is."""
        heap = self._best[side]
        while heap and heap[0][0] < -side.sign * best:
            copy = self._copies[heappop(heap)[1]]
            order = self.core.orders.get(copy.order_id)
            if copy.left > 0 and order is not None and order.state not in ENDED:
                self.silent += 1
                copy.left = 0
                await self._align(copy)

    async def _align(self, copy: _Copy) -> None:
        """Our copy is never larger than the real order; what is not at the venue yet waits for its answer."""
        order = self.core.orders.get(copy.order_id)
        if order is None or order.leaves <= copy.left or order.state in ENDED:
            return
        if copy.left <= 0:
            await self._ask(self.core.cancel(order.id))
        elif order.state in AMENDABLE and order.pending is None:
            change = {"qty": Qty(order.filled + copy.left), "target": order.id}
            await self._ask(self.core.intent(action=Action.AMEND, side=order.side, **change))
        else:
            self._late.append(copy)
        await self.core.desk.collect()

    async def _ask(self, intent: Intent) -> None:
        if not self._paced:
            self._answered(intent, await self.core.desk.place(intent))
            return
        task = asyncio.create_task(self._place(intent))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.sleep(0)  # as far as its entry in the log
        if task.done():
            task.result()
        self.overlapping = max(self.overlapping, self.core.desk.admission.under_way)

    async def _place(self, intent: Intent) -> None:
        self._answered(intent, await self.core.desk.place(intent))
        await self.core.desk.collect()

    def _answered(self, intent: Intent, verdict: Verdict) -> None:
        if not isinstance(verdict, Denied):
            self.answers[intent.action, "approved"] += 1
            return
        self.answers[intent.action, verdict.reason] += 1
        if not self._explains(intent, verdict):
            self.false.append(verdict)

    def _explains(self, intent: Intent, denied: Denied) -> bool:
        """A halt stands, or an order of ours that has not ended yet stands where this one would trade."""
        if denied.reason is Reason.HOLD:
            return self.core.holds.blocking(SPX) is not None
        if denied.reason is not Reason.SELF_TRADE or intent.price is None:
            return False
        others = [order for order in self.core.orders.live() if order.side is not intent.side]
        prices = [order.price for order in others if order.price is not None]
        return any((intent.price - price) * intent.side.sign >= 0 for price in prices)

    async def _market(self, observation: Observation) -> None:
        self._steps += 1
        await self.core.venue.step(observation, self._steps)
        await self.core.desk.collect()
        self.core.portfolio.mark(observation)

    def _quote(self, message: Message) -> Quote:
        """Both prices as they were; no size but ours."""
        return Quote(
            instrument=SPX, event_ns=message.time_ns, seen_ns=message.time_ns, bid=Price(message.bid),
            bid_qty=Qty(0), ask=Price(message.ask), ask_qty=Qty(0),
        )  # fmt: skip

    def _trade(self, message: Message) -> Trade:
        return Trade(
            instrument=SPX, event_ns=message.time_ns, seen_ns=message.time_ns, price=Price(message.price),
            qty=Qty(message.size), seller_initiated=message.side is BUY,
        )  # fmt: skip

    async def _catch_up(self) -> None:
        """The log finishes what it has, and what waited for it."""
        await self.log.written(self.core.clock.mono + 3 * FSYNC_NS)
        assert not self._tasks
        await self.core.desk.collect()


_DO = {
    NEW: Flow._new,
    SHRINK: Flow._shrink,
    DELETE: Flow._delete,
    EXECUTED: Flow._executed,
    HIDDEN: Flow._hidden,
    HALT: Flow._halt,
}
