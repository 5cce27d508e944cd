"""What the paper venue does with orders that are active: waiting, triggers, taking, resting, filling. Pure.

Reduce-only orders are cut to the position and end when it is flat; a stop attached to an entry grows with the
entry's fills. FOK fills whole or not at all; post-only ends instead of taking; before two orders of the
account would trade with each other, the arriving one's `self_trade` says which of them ends.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from appliance.domain.ids import InstrumentId, OrderId
from appliance.domain.intent import OrderType, SelfTrade, Side, TimeInForce
from appliance.domain.money import Qty
from appliance.venues.matching import Match, OrderBook
from appliance.venues.paper_checks import RESTS
from appliance.venues.paper_ledger import PaperLedger, PaperOrder
from appliance.venues.paper_lists import PaperLists
from appliance.venues.paper_stops import StopBook
from appliance.venues.paper_terms import AmendOrder

_BECOMES = {OrderType.STOP: OrderType.MARKET, OrderType.STOP_LIMIT: OrderType.LIMIT}


class Trading:
    """The floor: books, stops and orders on their way to them."""

    def __init__(self, ledger: PaperLedger) -> None:
        self.ledger = ledger
        self.books = {symbol: OrderBook() for symbol in ledger.instruments}
        self.stop_books = {symbol: StopBook() for symbol in ledger.instruments}
        self.lists = PaperLists(self)
        self.arrived_ns = 0  # orders active by then have arrived
        self._waiting: dict[InstrumentId, list[PaperOrder]] = {s: [] for s in ledger.instruments}

    def activate(self, symbol: InstrumentId, *, everything: bool = False) -> None:
        """Orders that arrived since the last market event meet the market, in order of arrival."""
        waiting, self._waiting[symbol] = self._waiting[symbol], []
        for order in sorted(waiting, key=lambda each: each.active_ns):
            if order.status == "NEW" and (everything or order.active_ns <= self.arrived_ns):
                order.status = "OPEN"
                self._trade(order)
            elif order.status == "NEW":
                self._waiting[symbol].append(order)
        self.trigger(symbol)

    def trigger(self, symbol: InstrumentId) -> None:
        """Stops the market has reached become market or limit orders, the oldest first."""
        book, stops = self.books[symbol], self.stop_books[symbol]
        for order_id in stops.due(book.best(Side.BUY), book.best(Side.SELL)):
            order = self.ledger.live.get(order_id)
            if order is None or not self._reached(order):
                continue
            stops.remove(order_id)
            self.ledger.trigger(order, _BECOMES[order.request.order_type])
            self.lists.triggered(order)
            self._trade(order)

    def market_traded(self, matches: Iterable[Match]) -> None:
        """The market's own orders traded with ours, which rested."""
        for match in matches:
            if match.maker:
                self._maker_fill(match)

    def enter(self, order: PaperOrder) -> None:
        """A stop waits for its price, anything else for the next market event."""
        request = order.request
        if request.order_type in _BECOMES:
            order.status = "OPEN"
            self.stop_books[request.instrument].add(
                request.order_id, request.side, request.stop_price or 0
            )
        else:
            order.status = "NEW"
            self._waiting[request.instrument].append(order)

    def end(self, order: PaperOrder, reason: str) -> None:
        """The order ends with what is left of it unfilled."""
        self._withdraw(order)
        self.ledger.end(order, reason)
        self.lists.ended(order, reason)

    def cut(self, order: PaperOrder, change: AmendOrder, reason: str) -> None:
        """Makes an order smaller where it stands; it keeps its place in the queue."""
        by = order.request.qty - change.qty
        self.books[order.request.instrument].shrink(order.request.order_id, by)
        self.ledger.amend(order, change, reason, queue_kept=True)

    def release(self, order: PaperOrder, qty: int) -> None:
        """A leg that waited for its lead works for `qty`; one that works grows, at the queue's end."""
        request = order.request
        if order.status == "HELD":
            self.ledger.resize(order, qty)
            order.status = "NEW"
            self.ledger.accept(order)
            self.enter(order)
        elif qty > request.qty:
            rested = self.books[request.instrument].remove(request.order_id)
            self.ledger.resize(order, qty)
            self.ledger.accept(order)
            if rested:
                self._rest(order)

    def _withdraw(self, order: PaperOrder) -> None:
        symbol, order_id = order.request.instrument, order.request.order_id
        self.books[symbol].remove(order_id)
        self.stop_books[symbol].remove(order_id)

    def _reached(self, order: PaperOrder) -> bool:
        """The other triggers of this moment may have moved the book away again."""
        side, stop = order.request.side, order.request.stop_price or 0
        price = self.books[order.request.instrument].best(side.opposite)
        return price is not None and (price - stop) * side.sign >= 0

    def _trade(self, order: PaperOrder) -> None:
        request = order.request
        if request.post_only and self._would_take(order):
            self.end(order, "post_only")
            return
        if request.time_in_force is TimeInForce.FOK and not self._fills_whole(order):
            self.end(order, "fok")
            return
        self._take(order)
        if order.status != "OPEN":
            return
        if not self.ledger.closable(order):
            self.end(order, "reduce_only")
        elif request.order_type is OrderType.LIMIT and request.time_in_force in RESTS:
            self._rest(order)
        else:
            self.end(order, "ioc")

    def _would_take(self, order: PaperOrder) -> bool:
        request = order.request
        price = self.books[request.instrument].best(request.side.opposite)
        return price is not None and ((request.price or 0) - price) * request.side.sign >= 0

    def _fills_whole(self, order: PaperOrder) -> bool:
        request = order.request
        room, _ = self.books[request.instrument].reach(request.side, order.leaves, request.price)
        return min(room, self.ledger.closable(order)) == order.leaves

    def _take(self, order: PaperOrder) -> None:
        request, mode = order.request, order.request.self_trade
        book = self.books[request.instrument]
        while order.status == "OPEN":
            qty = self.ledger.closable(order)
            room, own = book.reach(request.side, qty, request.price)
            matches, _ = book.take(request.order_id, request.side, room, request.price)
            for match in matches:
                self._fill(order, match.price, match.qty, maker=False)
            resting = self.ledger.live.get(OrderId(own))
            if resting is None and not (matches and own):
                return
            if resting is None or order.status != "OPEN":
                continue  # a fill on the way has ended the one that stood there
            if mode is not SelfTrade.CANCEL_NEWEST:
                self.end(resting, "self_trade")
            if mode is not SelfTrade.CANCEL_OLDEST:
                self.end(order, "self_trade")

    def _rest(self, order: PaperOrder) -> None:
        request = order.request
        self.books[request.instrument].rest(
            request.order_id, request.side, request.price or 0, order.leaves
        )

    def _maker_fill(self, match: Match) -> None:
        order = self.ledger.live.get(OrderId(match.maker))
        if order is None:
            return
        qty = min(match.qty, self.ledger.closable(order))
        if qty:
            self._fill(order, match.price, qty, maker=True)
        if qty < match.qty and order.status == "OPEN":
            self.end(order, "reduce_only")

    def _fill(self, order: PaperOrder, price: int, qty: int, *, maker: bool) -> None:
        self.ledger.fill(order, price, qty, maker=maker)
        symbol = order.request.instrument
        if order.request.attached_stop is not None:
            self._attach(order, qty)
        self.lists.filled(order, qty)
        if self.ledger.positions[symbol] == 0:
            for other in self.ledger.reduce_only_of(symbol):
                self.end(other, "reduce_only")

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
                time_in_force=TimeInForce.GTC,
                expire_ns=0,
                post_only=False,
                self_trade=SelfTrade.CANCEL_OLDEST,
                reduce_only=True,
            )
            stop = PaperOrder(child, parent=request.order_id)
            self.ledger.accept(stop)
            self.enter(stop)
        else:
            self.ledger.resize(stop, stop.request.qty + qty)
            self.ledger.accept(stop)
