"""How exposure leaves: cancel sweeps, exits behind their protective legs, look-ups (SAFETY 4, 7).

Exits are sent per source and instrument, so that every fill belongs to somebody. A protective leg is
cancelled only immediately before its replacement exit and is put back for whatever that exit does not sell:
all of it if the exit is refused, the rest if it is smaller, what is left if it ends unfilled. Nothing here
reports flat: the venue's fills do.

What is larger than the largest order leaves in slices, which the gate cuts; `at_once` of them side by side.
Never slower than one after the other: the first of them is the slice that would have gone alone, and a round
in which it sold is followed at once by the next. After a round that left something it is one alone again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeAlias

from appliance.domain.errors import PeerError, TransportError
from appliance.domain.ids import InstrumentId, IntentId, OrderId, SourceId
from appliance.domain.instrument import Instrument
from appliance.domain.intent import Intent, OrderType, Side, TimeInForce
from appliance.domain.money import PPM_ONE, Qty, round_down
from appliance.domain.order import Order, OrderEvent, OrderState, VenueOrder
from appliance.domain.verdict import Approved, Denied, Flag, OrderClass, Verdict
from appliance.ports import Clock, InstrumentView, Venue
from appliance.safety.exit_room import closable, greedy, is_exit, room

SWEEP_NS = 2_000_000_000  # validity window and margin: what was in flight has arrived or never will
LADDER = (1, 2, 4, 0)  # collars an exit may go from the reference, try by try; 0: a market order
AT_ONCE = 4  # slices of one holding side by side
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
    """Who holds what, and what the account holds."""

    def view(self, instrument: InstrumentId) -> InstrumentView | None:
        """None if not configured."""
        ...

    def held(self) -> Sequence[tuple[SourceId, Instrument, int]]:
        """(source, instrument, signed quantity) of everything that is not zero."""
        ...


Fate = Callable[[Order, VenueOrder | None, int], OrderEvent | None]
Key: TypeAlias = tuple[SourceId, InstrumentId]


class _Round:
    """Exits of one holding that are sent side by side. legs: cancelled for them.  sent: quantity of each that
    left.  first: of the one that would have gone alone.  working: sent and not ended yet."""

    def __init__(self, key: Key, legs: Sequence[Order]) -> None:
        self.key = key
        self.legs = legs
        self.sent: list[Qty] = []
        self.first = 0
        self.working: set[OrderId] = set()
        self.sold = self.left = 0


class ExitFlow:
    """Owned by the event loop. `fate` is `orders.reconcile.fate`; `at_once`: slices of one holding that may
    leave side by side."""

    def __init__(
        self, desk: ExitDesk, held: Held, venue: Venue, clock: Clock, fate: Fate, at_once: int = AT_ONCE
    ) -> None:
        self._desk = desk
        self._held = held
        self._venue = venue
        self._clock = clock
        self._fate = fate
        self._at_once = at_once
        self._swept_since_ns = 0
        self._swept_last_ns = 0
        self._count = 0
        self._not_before: dict[Key, int] = {}
        self._rung: dict[Key, int] = {}  # tries that left something unsold
        self._width: dict[Key, int] = {}  # slices of the next round
        self._leaving: set[Key] = set()  # a second task finds the first at work
        self._replaced: dict[OrderId, _Round] = {}
        self.confirmed = False  # the last sweep's window has passed and the venue lists no entry

    def begin_sweep(self) -> None:
        """A trip: everything that can increase exposure is to be cancelled from now on, and what was refused
        before it is asked for again at once."""
        self._not_before.clear()
        self._rung.clear()
        self._width.clear()
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
        left = [order for order in await self._venue.open_orders() if _may_increase(order)]
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
        key = source, instrument.symbol
        if key in self._leaving or self._clock.mono_ns() < self._not_before.get(key, 0):
            return
        own = [order for order in self._desk.orders.live() if is_exit(order, *key)]
        if any(order.time_in_force is TimeInForce.IOC for order in own):
            return  # one that rests may do so for ever, and is cancelled for one that does not
        working = sum(order.exposed for order in own)
        if room(self._held.view(instrument.symbol), quantity, working) < instrument.min_qty:
            await self._make_room(instrument, quantity)
            return
        self._leaving.add(key)
        try:
            await self._leave(source, instrument, quantity, purpose, share_ppm)
        finally:
            self._leaving.discard(key)

    async def _make_room(self, instrument: Instrument, quantity: int) -> None:
        """Cancels exits of others that took what this one has to close."""
        held = [(source, q) for source, i, q in self._held.held() if i.symbol == instrument.symbol]
        await self._desk.cancel_all(greedy(self._desk.orders.live(), instrument.symbol, held, quantity))
        await self._desk.collect()

    async def _leave(
        self, source: SourceId, instrument: Instrument, quantity: int, purpose: str, share_ppm: int
    ) -> None:
        symbol = instrument.symbol
        working = [order for order in self._desk.orders.live() if is_exit(order, source, symbol)]
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
        most = min(abs(quantity), room(self._held.view(symbol), quantity))
        qty = round_down(min(abs(quantity) * share_ppm // PPM_ONE, most), instrument.lot)
        qty = max(qty, min(most, instrument.min_qty))
        if qty == 0:
            return
        together = _Round((source, symbol), legs)
        await self._send_slices(together, quantity, qty, purpose)
        if not together.sent:
            self._climb(source, symbol)
            self._wait(source, symbol)
        most = min(abs(quantity), closable(self._held.view(symbol), quantity))
        await self._protect(legs, most - sum(together.sent))

    async def _send_slices(self, together: _Round, held: int, qty: int, purpose: str) -> None:
        """Slice by slice as the gate cuts it; ends with the first that is refused or got lost.

        Each is on the list of `mend` before its venue is heard: what raises here leaves none forgotten.
        """
        source, symbol = together.key
        while qty > 0:
            verdict = await self._desk.place(self._exit(source, symbol, held, Qty(qty), purpose))
            if isinstance(verdict, Denied):
                self._width[together.key] = 1
                return
            together.first = together.first or verdict.qty
            together.working.add(verdict.order_id)
            self._replaced[verdict.order_id] = together
            await self._desk.collect()
            if self._was_refused(verdict):
                self._replaced.pop(verdict.order_id, None)
                together.working.discard(verdict.order_id)
                self._width[together.key] = 1
                return
            together.sent.append(verdict.qty)
            wide = len(together.sent) < self._width.get(together.key, self._at_once)
            if not wide or Flag.SLICED not in verdict.flags or self._is_lost(verdict.order_id):
                return
            working = sum(o.leaves for o in self._desk.orders.live() if is_exit(o, source, symbol))
            qty = min(qty - verdict.qty, abs(self._still_held(source, symbol, held)) - working)

    def _is_lost(self, order_id: OrderId) -> bool:
        order = self._desk.orders.get(order_id)
        return order is not None and order.state is OrderState.UNKNOWN

    async def mend(self) -> None:
        """Puts legs back for what an exit has left unsold: it ended without its fills, or never arrived."""
        live = {order.id for order in self._desk.orders.live()}
        for order_id, together in list(self._replaced.items()):
            if order_id in live:
                continue
            del self._replaced[order_id]
            order = self._desk.orders.get(order_id)
            self._round_goes_on(together, order_id, order)
            if order is None or not order.leaves:
                continue
            held = abs(self._still_held(order.source, order.instrument, order.side.opposite.sign))
            there = self._desk.orders.protective(order.instrument, order.source)
            await self._protect(together.legs, min(order.leaves, held - sum(leg.leaves for leg in there)))

    def _round_goes_on(self, together: _Round, order_id: OrderId, order: Order | None) -> None:
        """An exit has ended; the last of a round decides how the next one goes."""
        together.working.discard(order_id)
        if order is not None:
            together.sold += order.filled
            together.left += order.leaves
        if together.working:
            return
        width = self._width.get(together.key, self._at_once)
        self._width[together.key] = 1 if together.left else min(2 * width, self._at_once)
        if together.left and together.sold < together.first:
            self._climb(*together.key)
            self._wait(*together.key)
        else:
            self._rung.pop(together.key, None)

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

    def _leads(self, legs: Sequence[Order]) -> list[Order]:
        """Entries that still fill and would grow the position behind the legs that are being cancelled."""
        ids = {OrderId(leg.link.list_id) for leg in legs if leg.link is not None and leg.link.follows}
        return [order for order in map(self._desk.orders.get, ids) if order is not None and order.leaves > 0]

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
        """Places the legs again, as far as `rest`, the source's holding and the account's reach."""
        for leg in legs:
            sign = leg.side.opposite.sign
            held = abs(self._still_held(leg.source, leg.instrument, sign))
            qty = min(rest, held, leg.leaves, closable(self._held.view(leg.instrument), sign))
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


def _may_increase(order: VenueOrder) -> bool:
    return not order.reduce_only and order.parent is None
