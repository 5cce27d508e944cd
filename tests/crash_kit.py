"""One core's life on a real log, and the judge of what a crash left: the venue's own books and order log.

A life begins as the runtime begins one: rings are repaid, the run is read from the log, orders, ids, fills
and fees are restored, what was on its way is looked up. It ends with `crash`, after which nothing of it is
used again; only the log's directory, the ring and the venue go on.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from asyncio import Transport
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from appliance.domain.errors import StoreError
from appliance.domain.ids import InstrumentId, OrderId, RunId, TradeId
from appliance.domain.money import AMOUNT_ONE, Amount
from appliance.domain.order import Fill, Order, OrderState, VenueOrder
from appliance.orders.identity import IdLedger
from appliance.orders.reconcile import MARGIN_NS, WINDOW_NS
from appliance.ports import Ticket
from appliance.runtime.build_state import restore_fees, restore_orders
from appliance.runtime.guarded import PaperVenue
from appliance.runtime.owed import Repayment, exits_into
from appliance.runtime.patience import LoopPatience
from appliance.runtime.restore import RunRecord, known_orders, last_run, restore
from appliance.runtime.scribe import CoreScribe
from appliance.runtime.session import Session
from appliance.storage.log_client import LogClient, LogSettings
from appliance.storage.ring import Ring
from appliance.venues.paper_engine import PaperEngine
from appliance.venues.paper_terms import PaperTerms
from tests.kit import SPX, Core, FakeScribe, instrument_limits, source_limits

DEPTH = 3_000  # USD on each price level: what is larger than 3.00 fills in parts
STATUS = {
    OrderState.FILLED: "FILLED",
    OrderState.CANCELED: "CANCELED",
    OrderState.EXPIRED: "EXPIRED",
    OrderState.REJECTED: "REJECTED",
}
"""State of an order that has ended → how the venue calls it. Of the two others the venue knows nothing, nor
of a rejected one that its door turned away (outside the validity window)."""


class Died(BaseException):
    """The process is gone: no handler of the product's may hear of it."""


class RealScribe(FakeScribe):
    """Writes to a real log, and remembers as the fake does. Dies where a test says."""

    def __init__(self, client: LogClient) -> None:
        super().__init__()
        self._real = CoreScribe(client)

    def note(
        self,
        kind: str,
        data: Mapping[str, object],
        *,
        causes: Sequence[int] = (),
        orders: Sequence[Order] = (),
    ) -> Ticket:
        """One entry, in the log from here on."""
        self.before(kind, data)
        self.entries.append((kind, dict(data), tuple(orders)))
        return self._real.note(kind, data, causes=causes, orders=orders)

    def before(self, kind: str, data: Mapping[str, object]) -> None:
        """Called before the log hears of it; a test may raise Died."""


class Place(Struct, frozen=True):
    """What outlives a core. settings: of its log.  ring: of exits that could not wait for it."""

    settings: LogSettings
    ring: Path
    account: str = "test"


def terms() -> PaperTerms:
    """A venue with little on each price level, where one may go short."""
    core = Core()
    return replace(core.terms, depth_value=Amount(DEPTH * AMOUNT_ONE))


class Life:
    """One process's worth of a core."""

    def __init__(self, place: Place, client: LogClient, ring: Ring, session: Session) -> None:
        self.place = place
        self.client = client
        self.ring = ring
        self.session = session
        self.scribe = RealScribe(client)
        self.core = Core(
            orders=restore_orders(session),
            scribe=self.scribe,
            limits=instrument_limits(max_price_age_ns=10**18),
            source=source_limits(allow_short=True),
        )
        core, restored = self.core, session.restored
        core.clock.mono = core.guard.heartbeat_ns = time.monotonic_ns()
        core.ids._seen = IdLedger.restored(known_orders(place.settings.directory))._seen
        core.fees._volume = restore_fees(session, {SPX: core.instrument})._volume
        core.desk._patience = LoopPatience()
        core.desk._owe = exits_into(ring)
        for source, fill in restored.fills:
            core.portfolio.apply_fill(fill, source)
        for order in core.orders.live():
            core.desk.booking.count(order)
        core.portfolio.caught_up()
        core.desk.last_seq = restored.venue_seq

    @classmethod
    async def begin(cls, place: Place) -> Life:
        """As `runtime.build_state.open_log`: what is owed is durable before anything else."""
        ring = Ring(place.ring)
        try:
            client = await LogClient.start(place.settings)
        except StoreError:
            ring.close()
            raise
        paid = Repayment(place.ring, "exits", place.settings.directory).repay(CoreScribe(client))
        if paid is not None:
            await paid.durable()
        record = last_run(place.settings.directory)
        if record is None:
            run, account, at = place.settings.run, place.account, client.head.size
            record = RunRecord(run=run, account=account, feed="", index=at, finished=False)
            begun = {"run": run, "account": account, "feed": ""}
            await CoreScribe(client).note("run_start", begun).durable()
        restored = restore(place.settings.directory, record)
        session = Session(run=record.run, account=record.account, resumed=True, restored=restored)
        return cls(place, client, ring, session)

    def connect(self, venue: PaperVenue) -> None:
        """Puts a venue behind the door's breakers."""
        self.core.door._venue = venue

    async def settled(self) -> None:
        """Looks up until every fate is known; the window passes in between, as it does on a clock."""
        core = self.core
        if await core.exits.reconcile():
            core.clock.mono += WINDOW_NS + MARGIN_NS
            assert await core.exits.reconcile() == 0, core.orders.unsettled()
        await core.exits.mend()
        await core.desk.collect()

    async def crash(self, *, writer: bool) -> None:
        """Everything in memory is lost. writer: the log's is killed as well, with what it was handed."""
        process, outbox = self.client._process, self.client._outbox
        assert process is not None
        assert outbox is not None
        outbox._flush()  # what one turn appends leaves at its end; it is killed after it
        self.client._closing = True
        if writer:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        transport = outbox._transport
        assert isinstance(transport, Transport)
        transport.abort()
        await process.wait()
        self.ring.close()

    async def end(self) -> None:
        """An orderly stop."""
        await self.client.aclose()
        self.ring.close()


class Truth(Struct, frozen=True):
    """What the venue says. orders: all it ever knew, by id.  asked: how often each order was sent to it."""

    orders: dict[OrderId, VenueOrder]
    positions: dict[InstrumentId, int]
    cash: int
    seq: int
    fills: dict[TradeId, Fill] = {}
    asked: dict[OrderId, int] = {}


def truth_of(engine: PaperEngine, asked: Iterable[OrderId]) -> Truth:
    """From the engine itself, or from one rebuilt out of the venue's order log."""
    ledger = engine.ledger
    account = ledger.account()
    return Truth(
        orders={order_id: order.describe() for order_id, order in ledger.orders.items()},
        fills={event.fill.trade_id: event.fill for event in ledger.log if hasattr(event, "fill")},
        asked=Counter(asked),
        positions=account.positions,
        cash=account.cash,
        seq=account.seq,
    )


def differences(directory: Path, run: RunId, truth: Truth) -> list[str]:
    """What the log says and the venue does not, or the other way round; and orders sent more than once."""
    record = last_run(directory)
    assert record is not None
    assert record.run == run
    restored = restore(directory, record)
    ours = {order.id: order for order in restored.orders}
    found = [f"{order_id} was sent {times} times" for order_id, times in truth.asked.items() if times > 1]
    found += [f"the venue's {order_id} is not in the log" for order_id in truth.orders.keys() - ours.keys()]
    for order in ours.values():
        found += _difference(order, truth.orders.get(order.id))
    fills = [fill for _, fill in restored.fills]
    if len({fill.trade_id for fill in fills}) != len(fills):
        found.append("a fill is in the log twice")
    if {fill.trade_id: fill for fill in fills} != truth.fills:
        found.append(f"{len(fills)} fills in the log, {len(truth.fills)} at the venue")
    if restored.venue_seq > truth.seq:
        found.append(f"the log has event {restored.venue_seq} of {truth.seq}")
    return found


def _difference(order: Order, theirs: VenueOrder | None) -> list[str]:
    state, status = order.state, STATUS.get(order.state, "")
    if theirs is None:
        never = (OrderState.NEVER_ARRIVED, OrderState.STOPPED_AT_WIRE, OrderState.REJECTED)
        return [] if state in never else [f"{order.id} is {state}, and the venue never had it"]
    if theirs.open:
        now = (order.qty, order.filled, order.price, order.stop_price, state is OrderState.HELD)
        then = (theirs.qty, theirs.filled, theirs.price, theirs.stop_price, theirs.held)
        live = state not in STATUS and state not in (OrderState.NEVER_ARRIVED, OrderState.STOPPED_AT_WIRE)
        return [] if live and now == then else [f"{order.id}: ours {state} {now}, the venue's {then}"]
    if (status, order.filled) != (theirs.status, theirs.filled):
        return [f"{order.id}: ours {state} {order.filled}, the venue's {theirs.status} {theirs.filled}"]
    return []


def books_differ(core: Core, truth: Truth) -> list[str]:
    """The restarted core's books against the venue's, and against themselves."""
    portfolio, view = core.portfolio, core.portfolio.holdings[SPX]
    portfolio.check()
    found = []
    if (view.position, portfolio.cash) != (truth.positions.get(SPX, 0), truth.cash):
        found.append(f"ours {view.position} {portfolio.cash}, the venue's {truth.positions} {truth.cash}")
    if sum(quantity for _, _, quantity in portfolio.held()) != view.position:
        found.append("the source does not hold what the account holds")
    open_there = {order_id for order_id, order in truth.orders.items() if order.open}
    for order in core.orders.live():
        found += _difference(order, truth.orders.get(order.id))
    if {order.id for order in core.orders.live()} != open_there:
        found.append(f"live: ours {[order.id for order in core.orders.live()]}, the venue's {open_there}")
    if core.desk.last_seq != truth.seq:
        found.append(f"event {core.desk.last_seq} of {truth.seq}")
    if core.guard.requests:
        found.append(f"tripped: {core.guard.requests}")
    known = {data["problem"] for data in core.scribe.of("venue") if "problem" in data}
    found += [f"the venue's report does not fit: {each}" for each in known if "was reported" not in each]
    return found


def place_for(settings: LogSettings, directory: Path, account: str = "test") -> Place:
    """A log with its ring beside it."""
    return Place(settings, directory / "exits.ring", account)

