"""The paper venue's books of one account: orders, cash, positions and the numbered log of events. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from appliance.domain.fees import Volume
from appliance.domain.ids import InstrumentId, OrderId, TradeId
from appliance.domain.instrument import Instrument
from appliance.domain.intent import OrderType, Side
from appliance.domain.money import Amount, Price, Qty
from appliance.domain.order import (
    Accepted,
    Amended,
    AmendRefused,
    Canceled,
    CancelRefused,
    Expired,
    Fill,
    Filled,
    Rejected,
    Triggered,
    VenueAccount,
    VenueEvent,
    VenueOrder,
)
from appliance.venues.paper_checks import malformed
from appliance.venues.paper_latency import travel_ns
from appliance.venues.paper_terms import AmendOrder, NewOrder, PaperTerms, make_fees

LIVE = frozenset({"NEW", "HELD", "OPEN"})


class PaperOrder:
    """One order inside the venue.

    status: NEW (waiting for the market), HELD (for its lead), OPEN, FILLED, CANCELED, EXPIRED, REJECTED.
    wanted: quantity of the request; a leg that follows a lead works for less until that has filled.
    active_ns: market time from which it can trade.
    """

    __slots__ = ("active_ns", "filled", "parent", "request", "status", "wanted")

    def __init__(self, request: NewOrder, parent: OrderId | None = None) -> None:
        self.request = request
        self.parent = parent
        self.filled = 0
        self.wanted: int = request.qty
        self.active_ns = 0
        self.status = "NEW"

    @property
    def leaves(self) -> int:
        """Quantity that can still fill."""
        return self.request.qty - self.filled

    def describe(self) -> VenueOrder:
        """As the venue lists it."""
        request = self.request
        return VenueOrder(
            order_id=request.order_id,
            instrument=request.instrument,
            side=request.side,
            qty=request.qty,
            filled=Qty(self.filled),
            order_type=request.order_type,
            open=self.status in LIVE,
            status=self.status,
            price=request.price,
            stop_price=request.stop_price,
            reduce_only=request.reduce_only,
            parent=self.parent,
            held=self.status == "HELD",
        )


class PaperLedger:
    """One account. Every change appends to `log`; an event's number is its place there, from 1."""

    def __init__(self, account: str, instruments: Iterable[Instrument], terms: PaperTerms) -> None:
        self.name = account
        self.terms = terms
        self.fees = make_fees(terms)
        self._volume = Volume()
        self.instruments = {instrument.symbol: instrument for instrument in instruments}
        self.orders: dict[OrderId, PaperOrder] = {}
        self.live: dict[OrderId, PaperOrder] = {}
        self.positions = dict.fromkeys(self.instruments, 0)
        self.cash: int = terms.start_cash
        self.log: list[VenueEvent] = []
        self.now_ns = 0
        self.steps = 0
        self._trades = 0
        self._selling = dict.fromkeys(self.instruments, 0)  # leaves of live sells that may go short
        self._reducing: dict[InstrumentId, dict[OrderId, PaperOrder]] = {s: {} for s in self.instruments}

    def refusal(
        self, request: NewOrder, reference: int, freed: PaperOrder | None = None
    ) -> tuple[str, str] | None:
        """(code, detail) if the venue would not take the order. `reference`: last price, 0 if unknown.

        freed: an order that ends if this one is taken.
        """
        instrument = self.instruments.get(request.instrument)
        if instrument is None:
            return "SYMBOL", f"unknown symbol {request.instrument}"
        wrong = malformed(request, instrument, self.now_ns)
        if wrong is not None or request.reduce_only:
            return wrong
        value = instrument.notional(request.price or request.stop_price or reference, request.qty)
        if request.qty < instrument.min_qty or 0 < value < instrument.min_value:
            return "MIN_NOTIONAL", "below the smallest order"
        return self._uncovered(request, value, freed)

    def accept(self, order: PaperOrder) -> None:
        """Takes the order into the books, or tells the new size of one that grows with its lead."""
        request = order.request
        if request.order_id not in self.orders:
            self.orders[request.order_id] = self.live[request.order_id] = order
            order.active_ns = self.now_ns + travel_ns(self.terms.latency, request.order_id)
            if request.reduce_only:
                self._reducing[request.instrument][request.order_id] = order
            self._count(order, order.leaves)
        self.log.append(
            Accepted(
                seq=self._seq(),
                event_ns=self.now_ns,
                order_id=request.order_id,
                instrument=request.instrument,
                side=request.side,
                qty=request.qty,
                order_type=request.order_type,
                price=request.price,
                stop_price=request.stop_price,
                reduce_only=request.reduce_only,
                parent=order.parent,
                held=order.status == "HELD",
            )
        )

    def reject(self, request: NewOrder, code: str, detail: str) -> None:
        """Refuses; the id stays used, unless it already names another order."""
        if request.order_id not in self.orders:
            self.orders[request.order_id] = order = PaperOrder(request)
            order.status = "REJECTED"
        self.log.append(
            Rejected(
                seq=self._seq(), event_ns=self.now_ns, order_id=request.order_id, code=code, detail=detail
            )
        )

    def fill(self, order: PaperOrder, price: int, qty: int, *, maker: bool) -> None:
        """Books one execution with its fee (`domain.fees`); the next fills' tier counts its value."""
        request = order.request
        value = self.instruments[request.instrument].notional(price, qty)
        fee = self._fee(value, maker=maker, first=not order.filled)
        self._volume.add(self.now_ns, value)
        order.filled += qty
        self._count(order, -qty)
        self.positions[request.instrument] += request.side.sign * qty
        self.cash -= request.side.sign * value + fee
        self._trades += 1
        fill = Fill(
            trade_id=TradeId(f"t{self._trades}"),
            order_id=request.order_id,
            instrument=request.instrument,
            side=request.side,
            qty=Qty(qty),
            price=Price(price),
            fee=fee,
            maker=maker,
            event_ns=self.now_ns,
        )
        if not order.leaves:
            order.status = "FILLED"
            self._drop(order)
        self.log.append(
            Filled(
                seq=self._seq(),
                event_ns=self.now_ns,
                fill=fill,
                leaves=Qty(order.leaves),
                position_after=self.positions[request.instrument],
                cash_after=Amount(self.cash),
            )
        )

    def end(self, order: PaperOrder, reason: str) -> None:
        """The order ends with what is left of it unfilled. `expired` is told as what it is."""
        self._count(order, -order.leaves)
        order.status = "EXPIRED" if reason == "expired" else "CANCELED"
        self._drop(order)
        order_id, leaves = order.request.order_id, Qty(order.leaves)
        if reason == "expired":
            self.log.append(Expired(seq=self._seq(), event_ns=self.now_ns, order_id=order_id, leaves=leaves))
            return
        self.log.append(
            Canceled(seq=self._seq(), event_ns=self.now_ns, order_id=order_id, leaves=leaves, reason=reason)
        )

    def amend(self, order: PaperOrder, change: AmendOrder, reason: str, *, queue_kept: bool) -> None:
        """Gives the order its new quantity and prices."""
        self._count(order, change.qty - order.request.qty)
        order.request = replace(
            order.request, qty=change.qty, price=change.price, stop_price=change.stop_price
        )
        order.wanted = change.qty
        self.log.append(
            Amended(
                seq=self._seq(),
                event_ns=self.now_ns,
                order_id=order.request.order_id,
                qty=change.qty,
                price=change.price,
                stop_price=change.stop_price,
                queue_kept=queue_kept,
                reason=reason,
            )
        )

    def resize(self, order: PaperOrder, qty: int) -> None:
        """A leg works for another quantity than before; `accept` tells it."""
        self._count(order, qty - order.request.qty)
        order.request = replace(order.request, qty=Qty(qty))

    def trigger(self, order: PaperOrder, becomes: OrderType) -> None:
        """A stop was reached."""
        order.request = replace(order.request, order_type=becomes)
        self.log.append(Triggered(seq=self._seq(), event_ns=self.now_ns, order_id=order.request.order_id))

    def refuse_amend(self, order_id: OrderId, detail: str) -> None:
        """The order stays as it is."""
        self.log.append(AmendRefused(seq=self._seq(), event_ns=self.now_ns, order_id=order_id, detail=detail))

    def refuse_cancel(self, order_id: OrderId) -> None:
        """The order ended already, or never was."""
        order = self.orders.get(order_id)
        detail = "unknown order" if order is None else f"order is {order.status}"
        self.log.append(
            CancelRefused(seq=self._seq(), event_ns=self.now_ns, order_id=order_id, detail=detail)
        )

    def closable(self, order: PaperOrder) -> int:
        """How much of the order may fill: all of it, or what a reduce-only order can still close."""
        if not order.request.reduce_only:
            return order.leaves
        held = self.positions[order.request.instrument] * -order.request.side.sign
        return max(0, min(order.leaves, held))

    def reduce_only_of(self, symbol: InstrumentId) -> list[PaperOrder]:
        """Reduce-only orders of one instrument that work; those that wait for their lead do not yet."""
        return [order for order in self._reducing[symbol].values() if order.status != "HELD"]

    def account(self) -> VenueAccount:
        """Cash and positions now."""
        return VenueAccount(
            account=self.name,
            seq=len(self.log),
            event_ns=self.now_ns,
            cash=Amount(self.cash),
            positions={symbol: qty for symbol, qty in self.positions.items() if qty},
            steps=self.steps,
        )

    def _uncovered(self, request: NewOrder, value: int, freed: PaperOrder | None) -> tuple[str, str] | None:
        position = self.positions[request.instrument]
        if request.side is Side.SELL and not self.terms.allow_short:
            working = self._selling[request.instrument]
            if freed is not None and _may_sell(freed.request):
                working -= freed.leaves
            if request.qty > position - working:
                return "POSITION", "this account cannot sell short"
        cost = value + self._fee(value, maker=False, first=True)
        if request.side is Side.BUY and position >= 0 and cost > self.cash:
            return "CASH", "not enough cash"
        return None

    def _count(self, order: PaperOrder, change: int) -> None:
        if order.status in LIVE and _may_sell(order.request):
            self._selling[order.request.instrument] += change

    def _drop(self, order: PaperOrder) -> None:
        request = order.request
        self.live.pop(request.order_id, None)
        self._reducing[request.instrument].pop(request.order_id, None)

    def _fee(self, value: int, *, maker: bool, first: bool) -> Amount:
        volume = self._volume.before(self.now_ns, self.fees.window_days)
        tier = self.fees.tiers[self.fees.tier_number(volume)]
        return self.fees.charge_order(tier, value, maker=maker, first=first)

    def _seq(self) -> int:
        return len(self.log) + 1


def _may_sell(request: NewOrder) -> bool:
    return request.side is Side.SELL and not request.reduce_only
