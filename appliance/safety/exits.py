"""How exposure leaves: cancel sweeps, exits behind their protective legs, look-ups (SAFETY 4, 7).

Exits are sent per source and instrument, so that every fill belongs to somebody. A protective leg is
cancelled only immediately before its replacement exit and is put back for whatever that exit does not sell:
all of it if the exit is refused, the rest if it is smaller, what is left if it ends unfilled. Nothing here
reports flat: the venue's fills do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from appliance.domain.errors import PeerError, TransportError
from appliance.domain.ids import InstrumentId, IntentId, OrderId, SourceId
from appliance.domain.instrument import Instrument
from appliance.domain.intent import Intent, OrderType, Side, TimeInForce
from appliance.domain.money import PPM_ONE, Qty, round_down
from appliance.domain.order import Order, OrderEvent, OrderState, VenueOrder
from appliance.domain.verdict import Approved, Denied, OrderClass, Verdict
from appliance.ports import Clock, Venue

SWEEP_NS = 2_000_000_000  # validity window and margin: what was in flight has arrived or never will
LADDER = (1, 2, 4, 0)  # collars an exit may go from the reference, try by try; 0: a market order
RETRY_NS = 1_000_000_000  # after an exit that did not work: never a request storm (SAFETY 7)
_REFUSED = frozenset({OrderState.REJECTED, OrderState.STOPPED_AT_WIRE, OrderState.NEVER_ARRIVED})


class OrderList(Protocol):
    """`orders.book.Orders`, as far as exits concern it."""

    def get(self, order_id: OrderId) -> Order | None:
        """The order, live or recently ended."""
        ...

    def live(self) -> Iterator[Order]:
        """Orders that can still change."""
        ...

    def unsettled(self) -> list[Order]:
        """Orders whose fate is not known."""
        ...

    def protective(self, instrument: InstrumentId, source: SourceId) -> list[Order]:
        """Live protective legs."""
        ...


class ExitDesk(Protocol):
    """`orders.desk.Desk`, as far as exits concern it."""

    @property
    def orders(self) -> OrderList:
        """Our orders."""
        ...

    async def place(self, intent: Intent, causes: Sequence[int] = ()) -> Verdict:
        """Through the gate, the log and the door."""
        ...

    async def cancel(self, order: Order) -> None:
        """Asks for the end of an order."""
        ...

    async def cancel_all(self, orders: Sequence[Order], strays: Sequence[VenueOrder] = ()) -> None:
        """Asks for the end of many, side by side; strays are orders we do not know."""
        ...

    async def collect(self) -> object:
        """Books what the venue reported."""
        ...

    def settle(self, order: Order, event: OrderEvent, why: str) -> None:
        """Applies a look-up."""
        ...


class Held(Protocol):
    """Who holds what."""

    def held(self) -> Sequence[tuple[SourceId, Instrument, int]]:
        """(source, instrument, signed quantity) of everything that is not zero."""
        ...


Fate = Callable[[Order, VenueOrder | None, int], OrderEvent | None]


class ExitFlow:
    """Owned by the event loop. `fate` is `orders.reconcile.fate`."""

    def __init__(self, desk: ExitDesk, held: Held, venue: Venue, clock: Clock, fate: Fate) -> None:
        self._desk = desk
        self._held = held
        self._venue = venue
        self._clock = clock
        self._fate = fate
        self._swept_since_ns = 0
        self._swept_last_ns = 0
        self._count = 0
        self._not_before: dict[tuple[SourceId, InstrumentId], int] = {}
        self._rung: dict[tuple[SourceId, InstrumentId], int] = {}  # tries that left something unsold
        self._replaced: dict[OrderId, list[Order]] = {}  # exit → the legs that were cancelled for it
        self.confirmed = False  # the last sweep's window has passed and the venue lists no entry

    def begin_sweep(self) -> None:
        """A trip: everything that can increase exposure is to be cancelled from now on, and what was refused
        before it is asked for again at once."""
        self._not_before.clear()
        self._rung.clear()
        self._swept_since_ns = self._clock.mono_ns()
        self._swept_last_ns = 0
        self.confirmed = False

    async def sweep(self, every_ns: int = 250_000_000) -> None:
        """One round of cancels: our live entries, and whatever else the venue lists as open.

        Repeats until the window plus margin has passed *and* the venue confirms that nothing is left.
        """
        now_ns = self._clock.mono_ns()
        if self.confirmed or now_ns - self._swept_last_ns < every_ns:
            return
        self._swept_last_ns = now_ns
        live = self._desk.orders.live()
        await self._desk.cancel_all([order for order in live if order.order_class is OrderClass.INCREASE])
        await self._desk.collect()
        left = [order for order in await self._venue.open_orders() if self._may_increase(order)]
        await self._desk.cancel_all((), [o for o in left if self._desk.orders.get(o.order_id) is None])
        await self._desk.collect()
        if not left and now_ns - self._swept_since_ns >= SWEEP_NS:
            self.confirmed = not any(o.order_class is OrderClass.INCREASE for o in self._desk.orders.live())

    async def leave_everything(self, purpose: str, share_ppm: int = PPM_ONE) -> None:
        """Sends an exit for everything held that has none working yet. Smaller than the venue takes: dust."""
        for source, instrument, quantity in self._held.held():
            if abs(quantity) >= instrument.min_qty:
                await self.leave(source, instrument, quantity, purpose, share_ppm)

    async def leave(
        self, source: SourceId, instrument: Instrument, quantity: int, purpose: str, share_ppm: int = PPM_ONE
    ) -> None:
        """Sells (or buys back) a share of one source's holding, if no exit of it works yet."""
        symbol = instrument.symbol
        if self._clock.mono_ns() < self._not_before.get((source, symbol), 0):
            return
        working = [order for order in self._desk.orders.live() if self._is_exit(order, source, symbol)]
        if any(order.time_in_force is TimeInForce.IOC for order in working):
            return
        legs = self._desk.orders.protective(symbol, source)
        for order in (*self._leads(legs), *legs, *working):  # an exit that rests must not keep this one away
            await self._desk.cancel(order)
        await self._desk.collect()
        quantity = self._still_held(source, symbol, quantity)
        kept = self._desk.orders.protective(symbol, source)
        rests = {order.id for order in working} & {order.id for order in self._desk.orders.live()}
        if kept or rests:  # the venue has not let go: what protects the position stays, and again later
            self._wait(source, symbol)
            gone = [leg for leg in legs if leg.id not in {each.id for each in kept}]
            await self._protect(gone, abs(quantity) - sum(leg.leaves for leg in kept))
            return
        qty = round_down(abs(quantity) * share_ppm // PPM_ONE, instrument.lot)
        qty = max(qty, min(abs(quantity), instrument.min_qty))
        if qty == 0:
            return
        verdict = await self._desk.place(self._exit(source, symbol, quantity, Qty(qty), purpose))
        await self._desk.collect()
        if isinstance(verdict, Denied) or self._was_refused(verdict):
            self._climb(source, symbol)
            self._wait(source, symbol)
            await self._protect(legs, abs(quantity))
        else:
            self._replaced[verdict.order_id] = legs
            await self._protect(legs, abs(quantity) - verdict.qty)

    async def mend(self) -> None:
        """Puts legs back for what an exit has left unsold: it ended without its fills, or never arrived."""
        live = {order.id for order in self._desk.orders.live()}
        for order_id, legs in list(self._replaced.items()):
            if order_id in live:
                continue
            del self._replaced[order_id]
            order = self._desk.orders.get(order_id)
            if order is None or not order.leaves:
                if order is not None:
                    self._rung.pop((order.source, order.instrument), None)
                continue
            self._climb(order.source, order.instrument)
            self._wait(order.source, order.instrument)
            held = abs(self._still_held(order.source, order.instrument, order.side.opposite.sign))
            there = self._desk.orders.protective(order.instrument, order.source)
            await self._protect(legs, min(order.leaves, held - sum(leg.leaves for leg in there)))

    def _wait(self, source: SourceId, symbol: InstrumentId) -> None:
        self._not_before[source, symbol] = self._clock.mono_ns() + RETRY_NS

    def _climb(self, source: SourceId, symbol: InstrumentId) -> None:
        self._rung[source, symbol] = min(self._rung.get((source, symbol), 0) + 1, len(LADDER) - 1)

    async def reconcile(self) -> int:
        """Looks up every order whose fate is unknown; returns how many remain unknown."""
        await self._desk.collect()
        for order in self._desk.orders.unsettled():
            try:
                found = await self._venue.order(order.id)
            except (TransportError, PeerError):
                break
            event = self._fate(order, found, self._clock.mono_ns())
            if event is not None:
                self._desk.settle(order, event, "looked up")
        return len(self._desk.orders.unsettled())

    def _may_increase(self, order: VenueOrder) -> bool:
        return not order.reduce_only and order.parent is None

    def _leads(self, legs: Sequence[Order]) -> list[Order]:
        """Entries that still fill and would grow the position behind the legs that are being cancelled."""
        ids = {OrderId(leg.link.list_id) for leg in legs if leg.link is not None and leg.link.follows}
        return [order for order in map(self._desk.orders.get, ids) if order is not None and order.leaves > 0]

    def _is_exit(self, order: Order, source: SourceId, symbol: InstrumentId) -> bool:
        return (order.order_class, order.source, order.instrument) == (OrderClass.REDUCE, source, symbol)

    def _still_held(self, source: SourceId, symbol: InstrumentId, before: int) -> int:
        for holder, instrument, quantity in self._held.held():
            if (holder, instrument.symbol) == (source, symbol) and (quantity > 0) is (before > 0):
                return quantity
        return 0

    def _exit(self, source: SourceId, symbol: InstrumentId, held: int, qty: Qty, purpose: str) -> Intent:
        self._count += 1
        return Intent(
            id=IntentId(f"{purpose}/{symbol}/{self._clock.utc_ns()}/{self._clock.mono_ns()}/{self._count}"),
            source=source,
            instrument=symbol,
            created_ns=self._clock.utc_ns(),
            side=Side.SELL if held > 0 else Side.BUY,
            qty=qty,
            order_type=OrderType.MARKET,
            time_in_force=TimeInForce.IOC,
            collars=LADDER[self._rung.get((source, symbol), 0)],
        )

    def _was_refused(self, verdict: Approved) -> bool:
        order = self._desk.orders.get(verdict.order_id)
        return order is None or order.state in _REFUSED

    async def _protect(self, legs: Sequence[Order], rest: int) -> None:
        """Places the legs again, as far as `rest` reaches."""
        for leg in legs:
            held = abs(self._still_held(leg.source, leg.instrument, leg.side.opposite.sign))
            qty = min(rest, held, leg.leaves)
            if qty <= 0:
                continue
            rest -= qty
            self._count += 1
            await self._desk.place(
                Intent(
                    id=IntentId(f"protect/{leg.id}/{self._clock.mono_ns()}/{self._count}"),
                    source=leg.source,
                    instrument=leg.instrument,
                    created_ns=self._clock.utc_ns(),
                    side=leg.side,
                    qty=Qty(qty),
                    order_type=OrderType.STOP,
                    stop_price=leg.stop_price,
                    protects=leg.protects,
                )
            )
