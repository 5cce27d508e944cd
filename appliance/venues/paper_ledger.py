"""The paper venue's books of one account: orders, cash, positions and the numbered log of events. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from appliance.domain.fees import Volume
from appliance.domain.ids import InstrumentId, OrderId, TradeId
from appliance.domain.instrument import Instrument
from appliance.domain.intent import OrderType, Side
from appliance.domain.money import Amount, Price, Qty
from appliance.domain.order import (
    Accepted,
    Canceled,
    CancelRefused,
    Fill,
    Filled,
    Rejected,
    VenueAccount,
    VenueEvent,
    VenueOrder,
)
from appliance.venues.paper_terms import NewOrder, PaperTerms, make_fees


class PaperOrder:
    """One order inside the venue. status: NEW (waiting for the market), OPEN, FILLED, CANCELED, REJECTED."""

    __slots__ = ("filled", "parent", "request", "status")

    def __init__(self, request: NewOrder, parent: OrderId | None = None) -> None:
        self.request = request
        self.parent = parent
        self.filled = 0
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
            open=self.status in ("NEW", "OPEN"),
            status=self.status,
            price=request.price,
            stop_price=request.stop_price,
            reduce_only=request.reduce_only,
            parent=self.parent,
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

    def refusal(self, request: NewOrder, reference: int) -> tuple[str, str] | None:
        """(code, detail) if the venue would not take the order. `reference`: last price, 0 if unknown."""
        instrument = self.instruments.get(request.instrument)
        if instrument is None:
            return "SYMBOL", f"unknown symbol {request.instrument}"
        prices = (request.price, request.stop_price, request.attached_stop)
        if any(price is not None and (price <= 0 or price % instrument.tick) for price in prices):
            return "PRICE_FILTER", "price not positive or not on a tick"
        wants_price = request.order_type is OrderType.LIMIT
        wants_stop = request.order_type is OrderType.STOP
        if wants_price is (request.price is None) or wants_stop is (request.stop_price is None):
            return "BAD_ORDER", f"{request.order_type} with the wrong prices"
        if request.qty <= 0 or request.qty % instrument.lot or request.qty > instrument.max_qty:
            return "LOT_SIZE", "quantity not positive, not on a lot, or too large"
        if request.reduce_only:
            return None
        value = instrument.notional(request.price or request.stop_price or reference, request.qty)
        if request.qty < instrument.min_qty or 0 < value < instrument.min_value:
            return "MIN_NOTIONAL", "below the smallest order"
        return self._uncovered(request, value)

    def accept(self, order: PaperOrder) -> None:
        """Takes the order into the books, or tells the new size of an attached stop."""
        request = order.request
        self.orders[request.order_id] = self.live[request.order_id] = order
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
            self.live.pop(request.order_id, None)
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
        """The order ends with what is left of it unfilled."""
        order.status = "CANCELED"
        self.live.pop(order.request.order_id, None)
        self.log.append(
            Canceled(
                seq=self._seq(),
                event_ns=self.now_ns,
                order_id=order.request.order_id,
                leaves=Qty(order.leaves),
                reason=reason,
            )
        )

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
        """Open reduce-only orders of one instrument."""
        return [o for o in self.live.values() if o.request.reduce_only and o.request.instrument == symbol]

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

    def _uncovered(self, request: NewOrder, value: int) -> tuple[str, str] | None:
        position = self.positions[request.instrument]
        if request.side is Side.SELL and not self.terms.allow_short:
            working = sum(
                order.leaves
                for order in self.live.values()
                if order.request.instrument == request.instrument
                and order.request.side is Side.SELL
                and not order.request.reduce_only
            )
            if request.qty > position - working:
                return "POSITION", "this account cannot sell short"
        cost = value + self._fee(value, maker=False, first=True)
        if request.side is Side.BUY and position >= 0 and cost > self.cash:
            return "CASH", "not enough cash"
        return None

    def _fee(self, value: int, *, maker: bool, first: bool) -> Amount:
        volume = self._volume.before(self.now_ns, self.fees.window_days)
        tier = self.fees.tiers[self.fees.tier_number(volume)]
        return self.fees.charge_order(tier, value, maker=maker, first=first)

    def _seq(self) -> int:
        return len(self.log) + 1
