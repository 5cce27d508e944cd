"""The paper venue: one account on an order book fed with recorded prices. Pure and deterministic.

The same inputs in the same order give the same events, which is how the server restores itself after a
crash (`paper_journal`). An order that arrives becomes active with the next market event of its
instrument: a signal on today's bar trades at the next bar's open (CONVENTIONS). Reduce-only orders are cut
to the position and end when it is flat; a stop attached to an entry grows with the entry's fills.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from appliance.domain.ids import InstrumentId, OrderId
from appliance.domain.instrument import Instrument
from appliance.domain.intent import OrderType, Side, TimeInForce
from appliance.domain.money import Qty
from appliance.domain.observation import Observation
from appliance.venues import paper_market
from appliance.venues.matching import Match, OrderBook
from appliance.venues.paper_ledger import PaperLedger, PaperOrder
from appliance.venues.paper_terms import NewOrder, PaperTerms


class PaperEngine:
    """One account and its replica of the market. `ledger.log` is what happened, numbered from 1."""

    def __init__(self, account: str, instruments: Iterable[Instrument], terms: PaperTerms) -> None:
        self.terms = terms
        self.ledger = PaperLedger(account, instruments, terms)
        self.instruments = self.ledger.instruments
        self.books = {symbol: OrderBook() for symbol in self.instruments}
        self.mids: dict[InstrumentId, int] = {}
        self.halves: dict[InstrumentId, int] = {}
        self._waiting: dict[InstrumentId, list[PaperOrder]] = {symbol: [] for symbol in self.instruments}
        self._stops: dict[InstrumentId, list[PaperOrder]] = {symbol: [] for symbol in self.instruments}

    def submit(self, request: NewOrder) -> None:
        """Accepts or rejects; nothing fills before the next market event."""
        if request.order_id in self.ledger.orders:
            self.ledger.reject(request, "DUPLICATE", "this id was used before")
            return
        refusal = self.ledger.refusal(request, self.mids.get(request.instrument, 0))
        if refusal is not None:
            self.ledger.reject(request, *refusal)
            return
        order = PaperOrder(request)
        self.ledger.accept(order)
        self._enqueue(order)

    def cancel(self, order_id: OrderId) -> None:
        """Ends an open order, or says why not."""
        order = self.ledger.live.get(order_id)
        if order is None:
            self.ledger.refuse_cancel(order_id)
        else:
            self._end(order, "requested")

    def step(self, observation: Observation, number: int) -> None:
        """Moves this instrument's market; our orders fill on the way. A repeated number does nothing."""
        if number <= self.ledger.steps:
            return
        self.ledger.steps = number
        self.ledger.now_ns = max(self.ledger.now_ns, observation.event_ns)
        paper_market.move(self, observation)
        self.ledger.now_ns = max(self.ledger.now_ns, observation.seen_ns)

    def stand_still(self, symbol: InstrumentId) -> None:
        """Shows the last prices once more, so that what waits can trade while the replay is stopped."""
        if symbol in self.mids:
            paper_market.show(self, symbol, self.mids[symbol])
            self.activate(symbol)

    def activate(self, symbol: InstrumentId) -> None:
        """Orders that arrived since the last market event meet the market, in order of arrival."""
        waiting, self._waiting[symbol] = self._waiting[symbol], []
        for order in waiting:
            if order.status == "NEW":
                order.status = "OPEN"
                self._trade(order)
        self.trigger(symbol)

    def trigger(self, symbol: InstrumentId) -> None:
        """Stops the market has reached become market orders."""
        book = self.books[symbol]
        for order in list(self._stops[symbol]):
            side, stop = order.request.side, order.request.stop_price or 0
            reached = book.best(side.opposite)
            if order.status != "OPEN" or reached is None:
                continue
            if (reached <= stop) if side is Side.SELL else (reached >= stop):
                self._stops[symbol].remove(order)
                order.request = replace(order.request, order_type=OrderType.MARKET)
                self._trade(order)

    def stops(self, symbol: InstrumentId) -> list[tuple[Side, int]]:
        """(side, trigger) of the stops that wait."""
        return [(order.request.side, order.request.stop_price or 0) for order in self._stops[symbol]]

    def market_traded(self, matches: Iterable[Match]) -> None:
        """The market's own orders traded with ours, which rested."""
        for match in matches:
            if match.maker:
                self._maker_fill(match)

    def _enqueue(self, order: PaperOrder) -> None:
        symbol = order.request.instrument
        if order.request.order_type is OrderType.STOP:
            order.status = "OPEN"
            self._stops[symbol].append(order)
        else:
            self._waiting[symbol].append(order)

    def _trade(self, order: PaperOrder) -> None:
        request = order.request
        book = self.books[request.instrument]
        qty = self.ledger.closable(order)
        matches, left = book.take(request.order_id, request.side, qty, request.price)
        for match in matches:
            if match.maker:
                self._maker_fill(match)
            self._fill(order, match.price, match.qty, maker=False)
        if order.status != "OPEN":
            return
        rests = request.order_type is OrderType.LIMIT and request.time_in_force is TimeInForce.GTC
        if rests and left == order.leaves:
            book.rest(request.order_id, request.side, request.price or 0, left)
        else:
            self._end(order, "reduce_only" if left == 0 else "ioc")

    def _maker_fill(self, match: Match) -> None:
        order = self.ledger.live.get(OrderId(match.maker))
        if order is None:
            return
        qty = min(match.qty, self.ledger.closable(order))
        if qty:
            self._fill(order, match.price, qty, maker=True)
        if qty < match.qty and order.status == "OPEN":
            self._end(order, "reduce_only")

    def _fill(self, order: PaperOrder, price: int, qty: int, *, maker: bool) -> None:
        self.ledger.fill(order, price, qty, maker=maker)
        symbol = order.request.instrument
        if order.request.attached_stop is not None:
            self._attach(order, qty)
        if self.ledger.positions[symbol] == 0:
            for other in self.ledger.reduce_only_of(symbol):
                self._end(other, "reduce_only")

    def _attach(self, entry: PaperOrder, qty: int) -> None:
        request = entry.request
        stop_id = OrderId(f"{request.order_id}-s")
        stop = self.ledger.live.get(stop_id)
        if stop is None and stop_id in self.ledger.orders:
            return  # the stop already fired; what fills now is unprotected and the core sees that
        if stop is None:
            child = replace(
                request,
                order_id=stop_id,
                side=request.side.opposite,
                qty=Qty(qty),
                order_type=OrderType.STOP,
                price=None,
                stop_price=request.attached_stop,
                attached_stop=None,
                reduce_only=True,
            )
            stop = PaperOrder(child, parent=request.order_id)
            self.ledger.accept(stop)
            self._enqueue(stop)
        else:
            stop.request = replace(stop.request, qty=Qty(stop.request.qty + qty))
            self.ledger.accept(stop)

    def _end(self, order: PaperOrder, reason: str) -> None:
        symbol = order.request.instrument
        self.books[symbol].remove(order.request.order_id)
        if order in self._stops[symbol]:
            self._stops[symbol].remove(order)
        self.ledger.end(order, reason)
