"""The world of the two-sided property: one account, two instruments, two sources, and every act that matters.

    python -m tests.two_sided_kit SEED SEQUENCES

generates that many sequences in chunks, prints the seed of each chunk and what it met, and exits with 1 and
the shortest sequence it can find if the property does not hold.

S: after an approval, if everything that works on a side fills, position, all positions together, and what
   the source ties up are within limits, and an exit was really one.
L: what only reduces |position|, given what works, is never denied: new, amended, replaced or as a list, in
   any mode, trip or hold, with no cash, an open breaker, an exhausted throttle, stale prices and stale fees.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from appliance.domain.breaker import Component
from appliance.domain.errors import TransportError
from appliance.domain.ids import InstrumentId, SourceId
from appliance.domain.intent import Action, Intent, Link, ListKind, OrderType, Side, TimeInForce
from appliance.domain.mode import BOX, HoldCause, Mode, TripReason
from appliance.domain.money import AMOUNT_ONE, PPM_ONE, Amount, Ppm, Price, Qty
from appliance.domain.observation import Bar
from appliance.domain.order import AMENDABLE, Order, OrderState
from appliance.domain.verdict import Approved, ApprovedList, Denied, OrderClass
from appliance.portfolio.correlation import CorrelationTerms
from appliance.portfolio.holdings import Holding
from appliance.venues.paper_terms import make_fees
from tests.kit import BOT, SECOND, SPX, Core, account_limits, instrument_limits, source_limits
from tests.risk_kit import instrument, terms

FUT, OTHER = InstrumentId("FUT"), SourceId("other")
FORCES = (TimeInForce.GTC, TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK)
SYMBOLS, SOURCES = (SPX, FUT), (BOT, OTHER)
LARGEST = 700
ALLOCATION = 12_000 * AMOUNT_ONE
BURST = 12  # more requests at one moment than any throttle of the tests allows

ACTS: dict[str, int] = {
    "wish": 8, "exit": 4, "rest": 3, "more": 2, "stop": 2, "market": 8, "cancel": 3, "amend": 4, "replace": 4,
    "listed": 4, "mode": 3, "hold": 2, "trip": 1, "arm": 4, "late": 2, "breaker": 1, "fees": 1, "bill": 1,
    "exhaust_the_throttle": 1, "leave": 2,
}  # fmt: skip
"""Act → how often, relative to the others. Each is a method of `World`."""

NAMES = [name for name, weight in ACTS.items() for _ in range(weight)]
_ACT = st.tuples(st.integers(0, len(NAMES) - 1), st.integers(0, 2**48 - 1))
SEQUENCES = st.integers(5, 40).flatmap(lambda size: st.lists(_ACT, min_size=size, max_size=size))
"""(number in NAMES, what is drawn from it): two draws an act, which keeps 100,000 sequences affordable."""


class Draw:
    """One number, taken apart."""

    def __init__(self, number: int) -> None:
        self._left = number

    def below(self, most: int) -> int:
        """0 to most − 1."""
        self._left, drawn = divmod(self._left, most)
        return drawn

    def between(self, low: int, high: int) -> int:
        """Both included."""
        return low + self.below(high - low + 1)


def reducible(holding: Holding, side: Side, freed: int = 0) -> int:
    """SAFETY 2 once more, in the test's own words: what is held less what works to reduce it."""
    if holding.position * side.sign >= 0:
        return 0
    working = holding.working_sell if side is Side.SELL else holding.working_buy
    return max(0, abs(holding.position) - working + freed)


class World:
    """Driven act by act; every act is followed by the identities."""

    def __init__(self) -> None:
        either = source_limits(
            allow_short=True, instruments=frozenset(SYMBOLS), allocation=10**20, messages=BURST - 3
        )
        self.core = Core(
            also=[instrument(FUT, terms())],
            source=replace(either, allocation=Amount(ALLOCATION)),
            beside={OTHER: either},
            limits=instrument_limits(max_order_value=10**20, max_order_qty=LARGEST),
            account=account_limits(
                leverage_ppm=25_000,
                drawdown_ppm=10**6,
                daily_loss_ppm=10**6,
                loss_slow_ppm=10**6,
                messages=BURST - 1,
                messages_kept_ppm=100_000,
                duplicate_window_ns=1_000,
            ),
            correlation=CorrelationTerms(limit_ppm=Ppm(PPM_ONE), interval_ns=SECOND, window=3, sample=3),
        )
        self.met: Counter[str] = Counter()
        self.prices = dict.fromkeys(SYMBOLS, 100_000)
        self.gross = 0  # all positions at their worst, before the act
        self.read = 0  # entries of the log that were looked at

    async def begin(self) -> None:
        """A position in each, held by different sources."""
        for symbol, source, side in ((SPX, BOT, Side.BUY), (FUT, OTHER, Side.SELL)):
            await self._bar(symbol, 100_000, 0)
            await self._place(self._intent(source, symbol, side=side, qty=Qty(600)))
            await self._bar(symbol, 100_000, 0)

    async def act(self, name: str, number: int) -> None:
        """One act, then the identities."""
        await getattr(self, name)(Draw(number))
        await self.core.desk.collect()
        self._identities()

    # what sources ask for

    async def wish(self, draw: Draw) -> None:
        """An order of any type."""
        symbol = SYMBOLS[draw.below(2)]
        await self._place(self._any(draw, symbol, SOURCES[draw.below(2)]))

    async def exit(self, draw: Draw) -> None:
        """A part of exactly what SAFETY 2 calls REDUCE."""
        holding, side = self._held(draw)
        qty = reducible(holding, side) * draw.between(1, 100) // 100
        if qty:
            await self._place(self._intent(SOURCES[draw.below(2)], _of(holding), side=side, qty=Qty(qty)))

    async def rest(self, draw: Draw) -> None:
        """An exit that rests, so that a later one has less to reduce."""
        holding, side = self._held(draw)
        qty = abs(holding.position) * draw.between(1, 100) // 100
        if qty and holding.last:
            price = Price(max(1, holding.last + side.opposite.sign * draw.between(-500, 4_000)))
            wish = self._intent(SOURCES[draw.below(2)], _of(holding), side=side, qty=Qty(qty))
            await self._place(replace(wish, order_type=OrderType.LIMIT, price=price))

    async def more(self, draw: Draw) -> None:
        """A market order of the closing side, of any size: REDUCE or INCREASE, the gate must tell."""
        holding, side = self._held(draw)
        qty = Qty(draw.between(1, 1_200))
        await self._place(self._intent(SOURCES[draw.below(2)], _of(holding), side=side, qty=qty))

    async def stop(self, draw: Draw) -> None:
        """A protective leg for what is held, however many there are."""
        holding, side = self._held(draw)
        qty = abs(holding.position) * draw.between(1, 100) // 100
        if not qty or not holding.last:
            return
        trigger = Price(max(1, holding.last + side.sign * draw.between(10, 6_000)))
        wish = self._intent(SOURCES[draw.below(2)], _of(holding), side=side, qty=Qty(qty))
        verdict = await self.core.desk.place(replace(wish, order_type=OrderType.STOP, stop_price=trigger))
        assert isinstance(verdict, Approved), verdict
        assert verdict.order_class is OrderClass.PROTECTIVE
        assert verdict.reduce_only
        await self._arrives(verdict)

    async def amend(self, draw: Draw) -> None:
        """Any quantity, perhaps another price. What shrinks, and an exit with room, is never denied."""
        order = self._live(draw)
        if order is None:
            return
        qty, moved = draw.between(1, 900), draw.below(3)
        shift = draw.between(-3_000, 3_000)
        price = Price(max(1, order.price + shift)) if moved == 1 and order.price else None
        trigger = Price(max(1, order.stop_price + shift)) if moved == 2 and order.stop_price else None
        changes = {"qty": Qty(qty), "price": price, "stop_price": trigger}
        wish = self._intent(order.source, order.instrument, action=Action.AMEND, target=order.id, **changes)
        holding = self.core.portfolio.holdings[order.instrument]
        shrinks = order.filled < qty <= order.qty and price is None and trigger is None
        leaves, held = qty - order.filled, max(0, -order.side.sign * holding.position)
        exits = 0 < leaves <= min(held, reducible(holding, order.side, self._counted(order)))
        protects = order.order_class is OrderClass.PROTECTIVE and 0 < leaves <= held
        exits = exits and order.order_class is OrderClass.REDUCE
        can = order.state in AMENDABLE and order.pending is None and order.order_type is not OrderType.MARKET
        verdict = await self._judged(wish)
        if can and (shrinks or exits or protects):
            assert isinstance(verdict, Approved), f"{order} {wish} {verdict}"
        if isinstance(verdict, Approved):
            self._within(verdict, order.order_class is not OrderClass.INCREASE or shrinks)

    async def replace(self, draw: Draw) -> None:
        """Another order in its place: what the exit it ends had working is free again."""
        order = self._live(draw)
        if order is None:
            return
        wish = self._any(draw, order.instrument, order.source)
        same = draw.below(2) and order.order_class is OrderClass.REDUCE
        if same:
            held = abs(self.core.portfolio.holdings[order.instrument].position)
            qty = Qty(draw.between(1, max(1, held)))
            wish = self._intent(order.source, order.instrument, side=order.side, qty=qty)
        await self._place(replace(wish, action=Action.REPLACE, target=order.id), order)

    async def listed(self, draw: Draw) -> None:
        """OCO, OTO, OTOCO; an OCO that leaves what is held is never denied while there is a price."""
        kind, source = list(ListKind)[draw.below(3)], SOURCES[draw.below(2)]
        holding, side = self._held(draw)
        if not holding.last:
            return
        most = reducible(holding, side)
        exits = kind is ListKind.OCO and most > 0 and draw.below(3) > 0
        qty = Qty(draw.between(1, most) if exits else draw.between(1, 900))
        near, far = draw.between(1, 400), draw.between(401, 4_000)
        symbol = _of(holding)
        limit = self._intent(source, symbol, qty=qty, order_type=OrderType.LIMIT)
        profit = replace(limit, side=side, price=self._price(holding, -side.sign * far))
        lead = self._intent(source, symbol, qty=qty, order_type=OrderType.LIMIT)
        lead = replace(lead, side=side.opposite, price=self._price(holding, side.sign * near))
        stop = self._intent(source, symbol, qty=qty, order_type=OrderType.STOP, side=side)
        stop = replace(stop, stop_price=self._price(holding, side.sign * far))
        members: dict[ListKind, tuple[Intent, ...]] = {
            ListKind.OCO: (profit, stop), ListKind.OTO: (lead, stop), ListKind.OTOCO: (lead, profit, stop)
        }  # fmt: skip
        verdict = await self.core.desk.place_list(kind, members[kind])
        self._meet(verdict)
        if isinstance(verdict, Denied):
            priced = self.core.clock.utc - holding.price_ns <= 5 * SECOND
            assert not (exits and priced), verdict
            return
        for each in verdict.orders:
            self._within(each, each.order_class is not OrderClass.INCREASE)
            await self._arrives(each)

    async def cancel(self, draw: Draw) -> None:
        """Of whatever is open: it always leaves."""
        order = self._live(draw)
        if order is None:
            return
        wish = self._intent(order.source, order.instrument, action=Action.CANCEL, target=order.id)
        verdict = await self.core.desk.place(wish)
        assert isinstance(verdict, Approved), verdict
        await self.core.desk.collect()
        assert order.id not in {each.id for each in self.core.orders.live()}

    async def exhaust_the_throttle(self, draw: Draw) -> None:
        """A burst at one moment, of orders and of their cancels: whatever is counted, there is none left."""
        symbol, source = SYMBOLS[draw.below(2)], SOURCES[draw.below(2)]
        price = self._price(self.core.portfolio.holdings[symbol], -4_000)
        for _ in range(BURST):
            wish = self._intent(source, symbol, qty=Qty(1), order_type=OrderType.LIMIT, price=price)
            await self._place(wish)
        for order in list(self.core.orders.live())[-BURST:]:
            await self.core.desk.cancel(order)

    async def leave(self, draw: Draw) -> None:
        """The appliance's own way out, as REDUCED and EMERGENCY take it: the gate has nothing against it."""
        before = len(self.core.scribe.entries)
        self.core.clock.mono += SECOND
        await self.core.exits.leave_everything("leaving", (PPM_ONE, PPM_ONE // 4)[draw.below(2)])
        for kind, data, _ in self.core.scribe.entries[before:]:
            assert (kind, data.get("verdict")) != ("verdict", "denied"), data
        await self.core.desk.collect()
        await self.core.exits.mend()

    # what happens to them

    async def market(self, draw: Draw) -> None:
        """A bar of one instrument."""
        symbol = SYMBOLS[draw.below(2)]
        move = draw.between(-1_500, 1_500) if draw.below(6) else draw.between(-30_000, 30_000)
        price = max(60_000, min(140_000, self.prices[symbol] + move))
        await self._bar(symbol, price, draw.below(700))

    async def mode(self, draw: Draw) -> None:
        """The box changes its mode."""
        self.core.safety.mode = list(Mode)[draw.below(4)]

    async def hold(self, draw: Draw) -> None:
        """One begins or ends."""
        if draw.below(2):
            self.core.holds.begin(HoldCause.STALE_DATA, BOX, 1, "")
        else:
            self.core.holds.end(HoldCause.STALE_DATA, BOX)

    async def trip(self, draw: Draw) -> None:
        """Of the guard's."""
        self.core.guard.trip((TripReason.KILL_BUTTON, TripReason.TAMPER)[draw.below(2)])

    async def arm(self, draw: Draw) -> None:
        """Everything is well again, at least for a while."""
        core = self.core
        core.guard.press_key("ARMED")
        core.latch.clear(core.guard.state)
        core.safety.mode = Mode.NORMAL
        core.holds.end(HoldCause.STALE_DATA, BOX)
        core.fees.until_ns = 2**63
        if draw.below(2):
            core.clock.mono += 10 * SECOND  # a breaker has cooled down
            for symbol in SYMBOLS:
                await self._bar(symbol, self.prices[symbol], 0)

    async def late(self, draw: Draw) -> None:
        """Prices grow old."""
        self.core.clock.utc += draw.below(40_000_000_000)

    async def breaker(self, draw: Draw) -> None:
        """The venue has stopped answering."""
        component = (Component.ORDER_ENTRY, Component.LOOK_UPS, Component.MARKET)[draw.below(3)]
        for _ in range(8):
            with suppress(TransportError), self.core.breakers[component].guard(exempt=True):
                raise TransportError("no answer", "a test")

    async def fees(self, draw: Draw) -> None:
        """The schedule is stale, or there is none."""
        self.core.fees.until_ns = (0, self.core.clock.mono - 1)[draw.below(2)]

    async def bill(self, draw: Draw) -> None:
        """The next fill costs all the cash there is, and a little more: nothing is free after it."""
        ledger, symbol = self.core.engine.ledger, SYMBOLS[draw.below(2)]
        if ledger.cash <= 0:
            return
        ledger.fees = replace(ledger.fees, network_fee=Amount(ledger.cash + AMOUNT_ONE))
        holding = self.core.portfolio.holdings[symbol]
        side = Side.SELL if holding.position > 0 else Side.BUY
        if reducible(holding, side):
            await self._place(self._intent(BOT, symbol, side=side, qty=Qty(1)))
        await self._bar(symbol, self.prices[symbol], 0)
        ledger.fees = make_fees(self.core.terms)
        self.met["no cash"] += ledger.cash <= 0

    # the property

    async def _place(self, intent: Intent, target: Order | None = None) -> None:
        holding = self.core.portfolio.holdings[intent.instrument]
        freed = 0
        if target is not None and target.order_class is OrderClass.REDUCE and target.side is intent.side:
            freed = self._counted(target)
        held = max(0, -intent.side.sign * holding.position)
        waits = intent.order_type in (OrderType.STOP, OrderType.STOP_LIMIT)
        room = held if waits else min(held, reducible(holding, intent.side, freed))
        reduces = 0 < intent.qty <= room
        can = target is None or (target.state in AMENDABLE and target.pending is None)
        verdict = await self._judged(intent)
        if isinstance(verdict, Denied):
            assert not (reduces and can), f"an exit was denied: {verdict}"
            return
        self._within(verdict, reduces)
        await self._arrives(verdict)

    async def _judged(self, intent: Intent) -> Approved | Denied:
        verdict = await self.core.desk.place(intent)
        self._meet(verdict)
        return verdict

    def _meet(self, verdict: Approved | ApprovedList | Denied) -> None:
        name = verdict.reason.value if isinstance(verdict, Denied) else "approved"
        self.met[name] += 1

    def _within(self, verdict: Approved, reduces: bool) -> None:
        whole = verdict.action is Action.AMEND or verdict.order_class is OrderClass.PROTECTIVE
        assert verdict.qty <= LARGEST or whole  # an amended total, or a leg as large as what it protects
        if verdict.order_class is not OrderClass.INCREASE:
            assert reduces, f"{verdict.order_class} although it does not only reduce: {verdict}"
            assert verdict.reduce_only or verdict.action is not Action.NEW
            return
        self.met["increase"] += 1
        portfolio, limits = self.core.portfolio, self.core.limits.account
        cap = limits.position_cap_ppm * portfolio.equity
        holding = portfolio.holdings[verdict.instrument]
        units = holding.position * verdict.side.sign + (
            holding.working_buy if verdict.side is Side.BUY else holding.working_sell
        )
        dear = max(holding.ask, holding.last, verdict.price or 0)
        assert units * dear * holding.instrument.amount_factor * PPM_ONE <= cap, verdict
        gross = self._gross()
        within = gross * PPM_ONE <= limits.leverage_ppm * portfolio.equity
        assert within or gross <= self.gross, verdict  # a loss may have brought it there; it adds nothing
        spent = portfolio.sources[verdict.source].exposure
        assert spent <= self.core.limits.sources[verdict.source].allocation, verdict

    async def _arrives(self, verdict: Approved) -> None:
        """What was approved has reached the venue, and an exit is not refused there."""
        await self.core.desk.collect()
        order = self.core.orders.get(verdict.order_id)
        assert order is not None
        entry = verdict.order_class is OrderClass.INCREASE
        refused = (OrderState.REJECTED, OrderState.STOPPED_AT_WIRE)
        assert entry or order.state not in refused, f"{order} {self.core.engine.ledger.log[-3:]}"

    def _identities(self) -> None:
        portfolio, engine = self.core.portfolio, self.core.engine
        assert portfolio.disagreement(engine.ledger.account()) == ""
        portfolio.check()
        live = list(self.core.orders.live())
        for symbol, holding in portfolio.holdings.items():
            held = [qty for _, each, qty in portfolio.held() if each.symbol == symbol]
            assert sum(held) == holding.position
            for side, counted in ((Side.BUY, holding.working_buy), (Side.SELL, holding.working_sell)):
                mine = (order for order in live if order.instrument == symbol and order.side is side)
                assert counted == can_fill(mine)
        assert {order.id for order in live} == set(engine.ledger.live)
        for kind, data, _ in self.core.scribe.entries[self.read :]:
            fee = data.get("problem") == "the fee is not the schedule's"
            assert kind != "venue" or fee, data
        self.read = len(self.core.scribe.entries)
        self.gross = self._gross()
        assert self.core.guard.requests == []

    # parts

    def _intent(self, source: SourceId, symbol: InstrumentId, **changes: object) -> Intent:
        return self.core.intent(source=source, instrument=symbol, **changes)

    def _any(self, draw: Draw, symbol: InstrumentId, source: SourceId) -> Intent:
        """Prices that fit the type, most of them near the market."""
        holding = self.core.portfolio.holdings[symbol]
        side, kind = list(Side)[draw.below(2)], list(OrderType)[draw.below(4) if holding.last else 0]
        qty, price = Qty(draw.between(1, 900)), self._price(holding, draw.between(-6_000, 6_000))
        limit = kind in (OrderType.LIMIT, OrderType.STOP_LIMIT)
        waits = kind in (OrderType.STOP, OrderType.STOP_LIMIT)
        return self._intent(
            source,
            symbol,
            side=side,
            qty=qty,
            order_type=kind,
            price=price if limit else None,
            stop_price=Price(price + side.sign) if waits else None,
            time_in_force=FORCES[draw.below(4)],
        )

    def _gross(self) -> int:
        return sum(_worst(each) for each in self.core.portfolio.holdings.values())

    def _price(self, holding: Holding, offset: int) -> Price:
        return Price(max(1, holding.last + offset))

    def _held(self, draw: Draw) -> tuple[Holding, Side]:
        """One of the instruments, and the side that closes what is held in it."""
        holding = self.core.portfolio.holdings[SYMBOLS[draw.below(2)]]
        return holding, Side.SELL if holding.position > 0 else Side.BUY

    def _live(self, draw: Draw) -> Order | None:
        live = list(self.core.orders.live())
        return live[draw.below(30) % len(live)] if live else None

    def _counted(self, order: Order) -> int:
        """How much less would work on its side without it: nothing, if its rival in an OCO is as large."""
        live = [each for each in self.core.orders.live() if each.instrument == order.instrument]
        mine = [each for each in live if each.side is order.side]
        return can_fill(mine) - can_fill([each for each in mine if each.id != order.id])

    async def _bar(self, symbol: InstrumentId, price: int, spread: int) -> None:
        self.prices[symbol] = price
        core = self.core
        core.clock.utc += SECOND // 2
        core.steps += 1
        bar = Bar(
            instrument=symbol,
            event_ns=core.clock.utc - SECOND // 2,
            seen_ns=core.clock.utc,
            open=Price(price),
            high=Price(price + spread),
            low=Price(price - spread),
            close=Price(price),
            volume=0,
        )
        await core.venue.step(bar, core.steps)
        await core.desk.collect()
        core.portfolio.mark(bar)


def can_fill(orders: Iterable[Order]) -> int:
    """Of orders of one side: of an OCO the larger leg, of an exit that waits for its lead nothing yet."""
    groups: dict[str, int] = {}
    waiting = (OrderState.HELD, OrderState.SENT, OrderState.UNKNOWN, OrderState.RECORDED)
    for order in orders:
        link = order.link
        follows = link is not None and link.follows and order.order_class is OrderClass.REDUCE
        if order.order_class is OrderClass.PROTECTIVE or (follows and order.state in waiting):
            continue
        key = order.id if link is None else f"{link.list_id}{_pair(link)}"
        groups[key] = max(groups.get(key, 0), order.exposed)
    return sum(groups.values())


def _pair(link: Link) -> str:
    return "pair" if link.kind is ListKind.OCO or (link.kind is ListKind.OTOCO and link.place) else "lead"


def _of(holding: Holding) -> InstrumentId:
    return holding.instrument.symbol


def _worst(holding: Holding) -> int:
    long, short = holding.position + holding.working_buy, holding.working_sell - holding.position
    return max(long, short, 0) * max(holding.ask, holding.last) * holding.instrument.amount_factor


def play(acts: Sequence[tuple[int, int]]) -> Counter[str]:
    """One sequence; what its wishes were answered. Raises AssertionError where the property does not hold."""

    async def story() -> Counter[str]:
        world = World()
        await world.begin()
        for name, number in acts:
            await world.act(NAMES[name], number)
        return world.met

    return asyncio.run(story())


def told(acts: Sequence[tuple[int, int]]) -> str:
    """A sequence by the names of its acts."""
    return ", ".join(f"{NAMES[name]}({number})" for name, number in acts)


def search(first_seed: int, sequences: int, chunk: int = 1_000) -> int:
    """So many sequences; 0, or 1 and a short sequence that breaks the property."""
    met: Counter[str] = Counter()
    began = time.monotonic()
    for done in range(0, sequences, chunk):
        number = first_seed + done

        @seed(number)
        @settings(
            deadline=None, database=None, max_examples=min(chunk, sequences - done),
            phases=(Phase.generate, Phase.shrink), suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.quiet,
        )  # fmt: skip
        @given(SEQUENCES)
        def holds(acts: list[tuple[int, int]]) -> None:
            met["sequences"] += 1
            try:
                met.update(play(acts))
            except AssertionError as error:
                raise AssertionError(f"{told(acts)}\n{error}") from error

        try:
            holds()
        except AssertionError as error:
            print(f"FAILED seed {number}: {error}", flush=True)
            return 1
        rate = met["sequences"] / (time.monotonic() - began)
        print(f"seed {number}: {met['sequences']} sequences, {rate:.0f}/s", flush=True)
    print(" ".join(f"{name}={count}" for name, count in met.most_common()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(search(int(sys.argv[1]), int(sys.argv[2])))
