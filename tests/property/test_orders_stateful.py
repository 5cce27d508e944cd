"""Any sequence of actions, market moves, lost replies and broken reports over the whole core and a venue.

After every step: our open orders are the venue's, books and account agree to the last unit, what counts as
working is what can fill, ids are used once; an OCO never fills twice, FOK is whole or nothing, post-only
never takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from appliance.domain.ids import OrderId
from appliance.domain.intent import Action, Intent, Link, ListKind, OrderType, Side, TimeInForce
from appliance.domain.mode import Mode
from appliance.domain.money import PPM_ONE, Price, Qty
from appliance.domain.order import Amended, Canceled, Filled, Order, OrderState
from appliance.domain.verdict import Approved, ApprovedList, OrderClass
from appliance.orders.reconcile import MARGIN_NS, WINDOW_NS
from appliance.venues.paper_faults import Fault, FaultKind, Faults
from tests.kit import SPX, Core, instrument_limits, source_limits

T = TypeVar("T")

SIDES = st.sampled_from(list(Side))
QTYS = st.integers(1, 400)
OFFSETS = st.integers(-3_000, 3_000)
FORCES = st.sampled_from(list(TimeInForce))
KINDS = st.sampled_from(list(OrderType))
INDEX = st.integers(0, 30)


class Orders(RuleBasedStateMachine):
    """One account that may go short."""

    def __init__(self) -> None:
        super().__init__()
        self.faults = Faults()
        self.core = Core(
            faults=self.faults,
            limits=instrument_limits(max_order_value=10**20),
            source=source_limits(allow_short=True, allocation=10**20),
        )
        self.loop = asyncio.new_event_loop()
        self.lists: list[tuple[ListKind, list[OrderId]]] = []
        self.sent: list[OrderId] = []
        self.price = 100_000
        self.run(self.core.market(self.price))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """To its end, then everything the venue has to tell."""
        found = self.loop.run_until_complete(work)
        self.loop.run_until_complete(self.core.desk.collect())
        return found

    def teardown(self) -> None:
        """Closes the loop."""
        self.loop.close()

    def wish(self, side: Side, qty: int, offset: int, kind: OrderType, force: TimeInForce) -> Intent:
        """Prices that fit the type, most of them near the market."""
        price = Price(max(1, self.price + offset))
        return self.core.intent(
            side=side,
            qty=Qty(qty),
            order_type=kind,
            price=price if kind in (OrderType.LIMIT, OrderType.STOP_LIMIT) else None,
            stop_price=Price(price + side.sign) if kind in (OrderType.STOP, OrderType.STOP_LIMIT) else None,
            time_in_force=force,
            expire_ns=self.core.clock.utc + 3 * 10**9 if force is TimeInForce.GTD else 0,
            post_only=kind is OrderType.LIMIT and force is TimeInForce.GTC and qty % 3 == 0,
        )

    def live(self, index: int) -> Order | None:
        """One of the open orders."""
        orders = list(self.core.orders.live())
        return orders[index % len(orders)] if orders else None

    @rule(side=SIDES, qty=QTYS, offset=OFFSETS, kind=KINDS, force=FORCES)
    def place(self, side: Side, qty: int, offset: int, kind: OrderType, force: TimeInForce) -> None:
        """A new order of any type; one that only reduces is never denied."""
        view = self.core.portfolio.holdings[SPX]
        working = view.working_sell if side is Side.SELL else view.working_buy
        room = -side.sign * view.position - working
        verdict = self.run(self.core.desk.place(self.wish(side, qty, offset, kind, force)))
        if qty <= room:
            assert isinstance(verdict, Approved), verdict
        if isinstance(verdict, Approved):
            self.sent.append(verdict.order_id)
            self.within_limits(verdict)

    @rule(
        side=SIDES,
        qty=QTYS,
        near=st.integers(-500, 500),
        far=st.integers(600, 3_000),
        number=st.integers(0, 2),
    )
    def place_list(self, side: Side, qty: int, near: int, far: int, number: int) -> None:
        """A list of each kind."""
        kind = list(ListKind)[number]
        other = side.opposite
        lead = self.wish(side, qty, near, OrderType.LIMIT, TimeInForce.GTC)
        profit = self.wish(other, qty, far * side.sign, OrderType.LIMIT, TimeInForce.GTC)
        stop = self.wish(other, qty, -far * side.sign, OrderType.STOP, TimeInForce.GTC)
        legs: Sequence[Intent] = {
            ListKind.OCO: (profit, stop),
            ListKind.OTO: (lead, stop),
            ListKind.OTOCO: (lead, profit, stop),
        }[kind]
        made = self.run(self.core.desk.place_list(kind, legs))
        if isinstance(made, ApprovedList):
            ids = [each.order_id for each in made.orders]
            self.sent += ids
            self.lists.append((kind, ids))

    @rule(index=INDEX, qty=QTYS, offset=st.one_of(st.none(), OFFSETS))
    def amend(self, index: int, qty: int, offset: int | None) -> None:
        """Any quantity, and perhaps another price; what only shrinks is never denied."""
        order = self.live(index)
        if order is None:
            return
        price = None if offset is None or order.price is None else Price(max(1, self.price + offset))
        wish = self.core.intent(action=Action.AMEND, target=order.id, qty=Qty(qty), price=price)
        shrinks = order.filled < qty <= order.qty and price in (None, order.price)
        states = (OrderState.WORKING, OrderState.PARTIALLY_FILLED, OrderState.TRIGGERED)
        amendable = order.state in states and order.pending is None
        amendable = amendable and order.order_type is not OrderType.MARKET
        verdict = self.run(self.core.desk.place(wish))
        if shrinks and amendable:
            assert isinstance(verdict, Approved), verdict
        if isinstance(verdict, Approved):
            self.within_limits(verdict)

    @rule(index=INDEX, side=SIDES, qty=QTYS, offset=OFFSETS)
    def replace(self, index: int, side: Side, qty: int, offset: int) -> None:
        """A cancel and a new order in one."""
        order = self.live(index)
        if order is None:
            return
        wish = self.wish(side, qty, offset, OrderType.LIMIT, TimeInForce.GTC)
        fields = {name: getattr(wish, name) for name in wish.__struct_fields__}
        asked = Intent(**(fields | {"action": Action.REPLACE, "target": order.id}))
        verdict = self.run(self.core.desk.place(asked))
        if isinstance(verdict, Approved):
            self.sent.append(verdict.order_id)
            self.within_limits(verdict)

    @rule(index=INDEX)
    def cancel(self, index: int) -> None:
        """Of whatever is open."""
        order = self.live(index)
        if order is not None:
            self.run(self.core.desk.cancel(order))

    @rule(move=st.integers(-2_500, 2_500), spread=st.integers(0, 1_500))
    def market(self, move: int, spread: int) -> None:
        """A bar; everything that had arrived meets it."""
        self.price = max(50_000, min(150_000, self.price + move))
        self.run(self.core.market(self.price, low=self.price - spread, high=self.price + spread))

    @rule(kind=st.sampled_from([k for k in FaultKind if k is not FaultKind.DELAY]), qty=st.integers(1, 50))
    def fault(self, kind: FaultKind, qty: int) -> None:
        """The next request or report goes wrong."""
        self.faults.arm(Fault(kind=kind, qty=qty))

    @rule(mode=st.sampled_from(list(Mode)))
    def mode(self, mode: Mode) -> None:
        """The box changes its mode."""
        self.core.safety.mode = mode

    @rule()
    def look_up(self) -> None:
        """After the window, every fate is known."""
        self.core.clock.mono += WINDOW_NS + MARGIN_NS
        self.core.guard.beating = True
        self.run(self.core.exits.reconcile())

    def within_limits(self, verdict: Approved) -> None:
        """Worst case of its side: everything that works fills, at the reference price."""
        if verdict.order_class is not OrderClass.INCREASE:
            return
        view = self.core.portfolio.holdings[SPX]
        worst = (
            view.position + view.working_buy
            if verdict.side is Side.BUY
            else view.working_sell - view.position
        )
        value = worst * view.last * view.instrument.amount_factor
        assert value * PPM_ONE <= self.core.limits.account.position_cap_ppm * self.core.portfolio.equity

    @invariant()
    def books_agree(self) -> None:
        """Cash, positions, and every identity of the books."""
        if not self.faults._armed:
            assert self.core.portfolio.disagreement(self.core.engine.ledger.account()) == ""
        self.core.portfolio.check()
        assert self.core.guard.requests == []

    @invariant()
    def orders_agree(self) -> None:
        """What the venue has open we have open; what counts is the sum of what can fill, lists once."""
        if not self.faults._armed:
            for theirs in self.core.engine.ledger.live.values():
                ours = self.core.orders.get(theirs.request.order_id)
                assert ours is not None
                assert ours.state is not OrderState.CANCELED
        view = self.core.portfolio.holdings[SPX]
        for side, counted in ((Side.BUY, view.working_buy), (Side.SELL, view.working_sell)):
            groups: dict[str, int] = {}
            for order in self.core.orders.live():
                link = order.link
                waits = link is not None and link.follows and order.order_class is OrderClass.REDUCE
                if order.side is not side or order.order_class is OrderClass.PROTECTIVE:
                    continue
                if waits and order.state in (OrderState.HELD, OrderState.SENT, OrderState.UNKNOWN):
                    continue
                key = order.id if link is None else f"{link.list_id}{_pair(link)}"
                groups[key] = max(groups.get(key, 0), order.exposed)
            assert counted == sum(groups.values())

    @invariant()
    def ids_are_used_once(self) -> None:
        """Nothing is sent twice, and nothing the venue has is unknown to the ledger."""
        assert len(self.sent) == len(set(self.sent))
        assert all(order_id in self.core.ids for order_id in self.sent)

    @invariant()
    def types_keep_their_word(self) -> None:
        """FOK, post-only, OCO, GTD: from the venue's own log."""
        log = self.core.engine.ledger.log
        filled: dict[str, int] = {}
        for event in log:
            if isinstance(event, Filled):
                filled[event.fill.order_id] = filled.get(event.fill.order_id, 0) + event.fill.qty
                order = self.core.engine.ledger.orders[event.fill.order_id]
                assert event.fill.maker or not order.request.post_only or order.status == "CANCELED"
        for order_id, order in self.core.engine.ledger.orders.items():
            if order.request.time_in_force is TimeInForce.FOK and order.status != "NEW":
                assert filled.get(order_id, 0) in (0, order.wanted, order.request.qty)
        late = {e.order_id for e in log if isinstance(e, Canceled) and e.reason == "requested"}
        for kind, ids in self.lists:
            legs = ids if kind is ListKind.OCO else ids[1:]
            amended = [e for e in log if isinstance(e, Amended) and e.order_id in legs]
            orders = self.core.engine.ledger.orders
            if len(legs) == 2 and not late & set(legs) and all(leg in orders for leg in legs):
                total = sum(filled.get(leg, 0) for leg in legs)
                most = max(orders[leg].filled + orders[leg].leaves for leg in legs)
                assert total <= most + sum(orders[leg].filled for leg in legs if amended)


def _pair(link: Link) -> str:
    return "pair" if link.kind is ListKind.OCO or (link.kind is ListKind.OTOCO and link.place) else "lead"


TestOrders = Orders.TestCase
TestOrders.settings = settings(
    deadline=None,
    derandomize=True,
    max_examples=60,
    stateful_step_count=30,
    suppress_health_check=list(HealthCheck),
)
