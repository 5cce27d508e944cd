"""A seeded stream of orders, asked of both risk engines in the same world: one instrument, one account, one
venue, whose answers both are told."""

from __future__ import annotations

import random
from math import exp2
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from appliance.domain.ids import OrderId, SourceId
from appliance.domain.instrument import Instrument
from appliance.domain.intent import Action, Intent, OrderType, Side
from appliance.domain.mode import Mode
from appliance.domain.money import AMOUNT_ONE, Price, Qty
from appliance.domain.order import Order
from appliance.domain.verdict import Approved, Denied, Verdict
from tests.kit import SECOND, SPX, Core, account_limits, instrument_limits, source_limits, spx
from tests.peer.nautilus import Peer
from tests.risk_kit import terms

LIMIT, STOP, STOP_LIMIT = OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT
BUY, SELL = Side.BUY, Side.SELL
LARGEST_VALUE = 8_000 * AMOUNT_ONE
STRANGER = SourceId("stranger")

COARSE: dict[str, Any] = {
    "price_exp": 1, "qty_exp": 3, "tick": 5, "lot": 10, "min_qty": 20, "min_value": 500 * AMOUNT_ONE,
}  # fmt: skip
"""Half a unit of price and a hundredth of quantity: steps that decimals alone do not say."""


class World(Struct, frozen=True, kw_only=True):
    """cap_ppm: of a position, 20,000 USD in each.  start: first price, in the instrument's own units."""

    name: str
    instrument: Instrument
    cash: int
    cap_ppm: int
    start: int = 100_000


WORLDS: tuple[World, ...] = (
    World(name="cash", instrument=spx(), cash=1_000_000, cap_ppm=20_000),
    World(name="cash, coarse steps", instrument=spx(**COARSE), cash=1_000_000, cap_ppm=20_000),
    World(name="cash, all of it in one", instrument=spx(), cash=20_000, cap_ppm=1_000_000),
    World(name="margin", instrument=spx(margin=terms()), cash=1_000_000, cap_ppm=20_000),
    World(
        name="margin, coarse steps", instrument=spx(margin=terms(), **COARSE), cash=1_000_000, cap_ppm=20_000
    ),
)


class Answer(Struct, frozen=True, kw_only=True):
    """What both said. theirs: their reason, empty if they let it through."""

    world: str
    margin: bool
    mode: Mode
    intent: Intent
    ours: Verdict
    theirs: str


class Stream:
    """One world, walked with one seed."""

    def __init__(self, world: World, seed: int) -> None:
        self._random = random.Random(f"{world.name}/{seed}")
        self._world = world
        self.core = Core(
            instrument=world.instrument,
            cash=world.cash,
            account=account_limits(
                position_cap_ppm=world.cap_ppm, duplicate_window_ns=SECOND, daily_loss_ppm=3_000,
                loss_slow_ppm=3_000,
            ),
            limits=instrument_limits(max_order_value=LARGEST_VALUE, max_order_qty=1_500),
            source=source_limits(allow_short=world.instrument.margin is not None),
        )
        self.peer = Peer(world.instrument, self.core.limits.instruments[SPX])
        self.answers: list[Answer] = []
        self._price = world.start
        self._lean = self._random.choice((BUY, SELL))  # entries are mostly of one side: limits are reached
        self._asked: list[tuple[Intent, OrderId]] = []

    async def run(self, acts: int) -> None:
        """So many acts. The first orders are asked before there is an account or a price."""
        for _ in range(3):
            await self._ask(self._new())
        self.peer.account(self.core.portfolio.cash, 0)
        await self._move()
        doings = (self._move, self._change_mode, self._wait, self._order)
        for _ in range(acts):
            (doing,) = self._random.choices(doings, (30, 4, 4, 62))
            await doing()
            self._show()

    def _show(self) -> None:
        """The peer learns what the venue did; then both stand in the same world."""
        core, holding = self.core, self.core.portfolio.holdings[SPX]
        self.peer.follow(core.engine.ledger.log)
        self.peer.account(core.portfolio.cash, holding.position)
        self.peer.clock.set_time(core.clock.utc)
        assert self.peer.agrees_on(holding.position, len(core.engine.ledger.live))

    async def _move(self) -> None:
        step = self._random.uniform(-0.006, 0.006)
        if self._random.random() < 0.04:
            step *= 10  # far enough for a protective stop
        tick = self._world.instrument.tick
        self._price = max(self._world.start // 2, round(self._price * (1 + step)) // tick * tick)
        await self.core.market(self._price)
        holding = self.core.portfolio.holdings[SPX]
        self.peer.quote(holding.bid, holding.ask, holding.price_ns)

    async def _change_mode(self) -> None:
        (mode,) = self._random.choices(list(Mode), [12 if mode is Mode.NORMAL else 2 for mode in Mode])
        self.core.safety.mode = mode
        self.peer.set_mode(mode)

    async def _wait(self) -> None:
        self.core.clock.pass_ns(self._random.randint(1, 9) * SECOND)

    async def _order(self) -> None:
        ways = (self._new, self._exit, self._amend, self._cancel, self._again, self._reuse)
        (way,) = self._random.choices(ways, (45, 20, 18, 7, 5, 5))
        await self._ask(way())

    async def _ask(self, intent: Intent) -> None:
        """Them first: they see the world exactly as our gate will."""
        used = {each.id: order_id for each, order_id in self._asked}
        theirs = self.peer.ask(intent, used.get(intent.id, f"ask-{intent.id}"))
        mode = self.core.safety.mode
        ours = await self.core.desk.place(intent)
        await self.core.desk.collect()
        if isinstance(ours, Approved) and intent.action is Action.NEW:
            self._asked.append((intent, ours.order_id))
        world, margin = self._world, self._world.instrument.margin is not None
        answer = Answer(
            world=world.name, margin=margin, mode=mode, intent=intent, ours=ours, theirs=theirs
        )
        self.answers.append(answer)

    def _new(self) -> Intent:
        rng, core = self._random, self.core
        side = self._lean if rng.random() < 0.75 else self._lean.opposite
        wish = core.intent(side=side, qty=Qty(self._qty()), reduce_only=rng.random() < 0.08)
        if rng.random() < 0.03:
            wish = replace(wish, source=STRANGER)
        return self._priced(wish)

    def _exit(self) -> Intent:
        """Of what is held: all, a part, or more; while something else may already work to close it."""
        held = self.core.portfolio.holdings[SPX].position
        qty = max(1, round(abs(held) * self._random.choice((0.3, 0.5, 1, 1, 1, 1.5))))
        wish = self.core.intent(side=SELL if held > 0 else BUY, qty=Qty(qty))
        return self._priced(wish)

    def _priced(self, wish: Intent) -> Intent:
        rng, sign = self._random, wish.side.sign
        (kind,) = rng.choices(list(OrderType), (40, 40, 12, 8))
        reach = 0.01 if rng.random() < 0.8 else 0.09
        price = self._on_tick(self._price * (1 + rng.uniform(-reach, reach)))
        trigger = self._on_tick(self._price * (1 + sign * rng.uniform(-0.002, 0.03)))
        if kind is LIMIT:
            return replace(wish, order_type=kind, price=price)
        if kind is STOP:
            return replace(wish, order_type=kind, stop_price=trigger)
        if kind is STOP_LIMIT:
            near = self._on_tick(trigger * (1 + sign * rng.uniform(0, 0.004)))
            return replace(wish, order_type=kind, stop_price=trigger, price=near)
        return wish

    def _amend(self) -> Intent:
        rng, order = self._random, self._some_order()
        if order is None:
            return self._new()
        factor = rng.choice((0.3, 0.7, 1, 1, 1.5, 3, 100))
        changes: dict[str, Any] = {"qty": Qty(max(1, round(order.qty * factor)))}
        if order.price is not None and rng.random() < 0.4:
            changes["price"] = self._on_tick(order.price * (1 + rng.uniform(-0.02, 0.02)))
        if order.stop_price is not None and rng.random() < 0.4:
            changes["stop_price"] = self._on_tick(order.stop_price * (1 + rng.uniform(-0.02, 0.02)))
        if rng.random() < 0.05:
            changes["source"] = STRANGER
        return self.core.intent(action=Action.AMEND, target=order.id, side=order.side, **changes)

    def _cancel(self) -> Intent:
        order = self._some_order()
        return self._new() if order is None else self.core.cancel(order.id)

    def _again(self) -> Intent:
        """The last order that passed, once more under a new id."""
        if not self._asked:
            return self._new()
        last = self._asked[-1][0]
        return replace(last, id=self.core.intent().id)

    def _reuse(self) -> Intent:
        """Another wish under an id that was used."""
        if not self._asked:
            return self._new()
        first = self._random.choice(self._asked[-20:])[0]
        return replace(first, qty=Qty(first.qty + self._world.instrument.lot))

    def _some_order(self) -> Order | None:
        live = list(self.core.orders.live())
        if self._asked and (not live or self._random.random() < 0.1):
            return self.core.orders.get(self._asked[-1][1])
        return self._random.choice(live) if live else None

    def _qty(self) -> int:
        """From below the smallest to above the largest order, small ones as often as large ones, and dense at
        the largest value."""
        lot: int = self._world.instrument.lot
        if self._random.random() < 0.1:
            most: int = LARGEST_VALUE // (self._price * self._world.instrument.amount_factor)
            return max(lot, most // lot * lot + self._random.randint(-1, 1) * lot)
        qty = round(exp2(self._random.uniform(0, 12)))
        return qty if self._random.random() < 0.1 else max(lot, qty // lot * lot)

    def _on_tick(self, price: float) -> Price:
        tick, whole = self._world.instrument.tick, round(price)
        return Price(whole if self._random.random() < 0.05 else whole // tick * tick)


def disagreements(answers: list[Answer]) -> list[Answer]:
    """Where one lets through what the other denies."""
    return [each for each in answers if isinstance(each.ours, Denied) is not bool(each.theirs)]
