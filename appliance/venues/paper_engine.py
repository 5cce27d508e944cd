"""The paper venue: one account on an order book fed with recorded prices. Pure and deterministic.

The same inputs in the same order give the same events, which is how the server restores itself after a
crash (`paper_journal`). An order that arrives becomes active with the next market event of its instrument
(after its travel time, if the terms have one): a signal on today's bar trades at the next bar's open
(CONVENTIONS). What an order does once it is active is `paper_trading`'s.

What is asked and cannot be done is told as an event, never raised. Cancels take effect at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush

from msgspec.structs import replace

from appliance.domain.ids import InstrumentId, OrderId
from appliance.domain.instrument import Instrument
from appliance.domain.intent import ListKind, OrderType
from appliance.domain.observation import Bar, Observation
from appliance.venues import paper_market
from appliance.venues.paper_checks import misfit
from appliance.venues.paper_ledger import PaperLedger, PaperOrder
from appliance.venues.paper_lists import held, with_prices
from appliance.venues.paper_terms import AmendOrder, NewList, NewOrder, PaperTerms
from appliance.venues.paper_trading import Trading

LIMITS = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT})


class PaperEngine(Trading):
    """One account and its replica of the market. `ledger.log` is what happened, numbered from 1."""

    def __init__(self, account: str, instruments: Iterable[Instrument], terms: PaperTerms) -> None:
        super().__init__(PaperLedger(account, instruments, terms))
        self.terms = terms
        self.instruments = self.ledger.instruments
        self.mids: dict[InstrumentId, int] = {}
        self.halves: dict[InstrumentId, int] = {}
        self._expiries: list[tuple[int, OrderId]] = []

    def submit(self, request: NewOrder, fault: str = "") -> None:
        """Accepts or rejects; nothing fills before the next market event. fault: a code to reject it with."""
        if self._refused(request, fault):
            return
        self._accept(PaperOrder(request))

    def submit_list(self, orders: NewList) -> None:
        """Accepts every order of the list, or rejects every one."""
        wrong = misfit(orders)
        if wrong is not None:
            for request in orders.orders:
                self.ledger.reject(request, *wrong)
            return
        refusals = [self._refusal(request) for request in orders.orders]
        if any(refusals):
            for request, refusal in zip(orders.orders, refusals, strict=True):
                self.ledger.reject(request, *(refusal or ("LIST", "another order of the list was refused")))
            return
        members = [PaperOrder(request) for request in orders.orders]
        self.lists.add(orders.kind, members)
        waits = members[1:] if orders.kind is not ListKind.OCO else []
        for order in members:
            self._accept(held(order) if order in waits else order)

    def cancel(self, order_id: OrderId, late_fill: int = 0) -> None:
        """Ends an open order, or says why not. late_fill: quantity reported as filled after the end."""
        order = self.ledger.live.get(order_id)
        if order is None:
            self.ledger.refuse_cancel(order_id)
            return
        self.end(order, "requested")
        qty = min(late_fill, order.leaves)
        if qty:
            price = order.request.price or self.mids.get(order.request.instrument, 0)
            self.ledger.fill(order, price, qty, maker=False)

    def amend(self, order_id: OrderId, asked: AmendOrder) -> None:
        """Changes an open order in place, or says why not. Smaller at one price keeps its place."""
        order = self.ledger.live.get(order_id)
        if order is None:
            known = self.ledger.orders.get(order_id)
            detail = f"order is {known.status}" if known is not None else "unknown order"
            self.ledger.refuse_amend(order_id, detail)
            return
        change = with_prices(order, asked)
        refusal = self._amend_refusal(order, change)
        if refusal:
            self.ledger.refuse_amend(order_id, refusal)
            return
        request = order.request
        same_prices = (change.price, change.stop_price) == (request.price, request.stop_price)
        if same_prices and change.qty <= request.qty:
            self.cut(order, change, "requested")
            return
        self._withdraw(order)
        self.ledger.amend(order, change, "requested", queue_kept=False)
        if order.status == "OPEN":
            self.enter(order)

    def replace(self, target: OrderId, request: NewOrder) -> None:
        """The target ends and the new order takes its place; if either cannot be, neither is."""
        old = self.ledger.live.get(target)
        refusal = ("REPLACE", "the order to replace has ended") if old is None else None
        refusal = refusal or self._refusal(request, old)
        if old is None or refusal is not None:
            self.ledger.reject(request, *(refusal or ("REPLACE", "refused")))
            self.ledger.refuse_cancel(target)
            return
        self.end(old, "replaced")
        self._accept(PaperOrder(request))

    def step(self, observation: Observation, number: int) -> None:
        """Moves this instrument's market; our orders fill on the way. A repeated number does nothing.

        A GTD order ends with the first observation that begins at or after its time.
        """
        if number <= self.ledger.steps:
            return
        self.ledger.steps = number
        self.ledger.now_ns = max(self.ledger.now_ns, observation.event_ns)
        self._expire()
        arrived_ns = observation.seen_ns if isinstance(observation, Bar) else observation.event_ns
        self.arrived_ns = max(self.ledger.now_ns, arrived_ns)
        paper_market.move(self, observation)
        self.ledger.now_ns = max(self.ledger.now_ns, observation.seen_ns)

    def stand_still(self, symbol: InstrumentId) -> None:
        """Shows the last prices once more, so that what waits can trade while the replay is stopped."""
        if symbol in self.mids:
            paper_market.show(self, symbol, self.mids[symbol])
            self.activate(symbol, everything=True)

    def _accept(self, order: PaperOrder) -> None:
        self.ledger.accept(order)
        request = order.request
        if request.expire_ns:
            heappush(self._expiries, (request.expire_ns, request.order_id))
        if order.status != "HELD":
            self.enter(order)

    def _refused(self, request: NewOrder, fault: str) -> bool:
        refusal = (fault, "a fault switch") if fault else self._refusal(request)
        if refusal is not None:
            self.ledger.reject(request, *refusal)
        return refusal is not None

    def _refusal(self, request: NewOrder, freed: PaperOrder | None = None) -> tuple[str, str] | None:
        if request.order_id in self.ledger.orders:
            return "DUPLICATE", "this id was used before"
        reference = self.mids.get(request.instrument, 0)
        if freed is None:
            return self.ledger.refusal(request, reference)
        return self.ledger.refusal(request, reference, freed)

    def _amend_refusal(self, order: PaperOrder, change: AmendOrder) -> str:
        """Why the order stays as it is; empty if it can be changed."""
        request = order.request
        if order.status == "HELD":
            return "it waits for its lead"
        if change.qty <= order.filled:
            return f"{order.filled} of it has filled"
        fixed = order.parent is not None or request.order_id in self.lists
        if fixed and change.qty != request.qty:
            return "its size follows another order"
        if request.order_type is OrderType.MARKET:
            return "a market order has nothing to change"
        asked = replace(request, qty=change.qty, price=change.price, stop_price=change.stop_price)
        refusal = self.ledger.refusal(asked, self.mids.get(request.instrument, 0), order)
        return refusal[1] if refusal is not None else ""

    def _expire(self) -> None:
        while self._expiries and self._expiries[0][0] <= self.ledger.now_ns:
            order = self.ledger.live.get(heappop(self._expiries)[1])
            if order is not None:
                self.end(order, "expired")
