"""Amendments, replacements, lists and faults through the whole core: gate, log, venue, books."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from appliance.domain.errors import InvariantError, StoreError
from appliance.domain.ids import InstrumentId, OrderId, TradeId
from appliance.domain.intent import Action, ListKind, OrderType, Side, TimeInForce
from appliance.domain.mode import TripReason
from appliance.domain.money import Amount, Price, Qty
from appliance.domain.order import Accepted, AmendRefused, Fill, Filled, Order, OrderEvent, OrderState
from appliance.domain.reasons import Reason
from appliance.domain.verdict import Approved, ApprovedList, Denied, OrderClass
from appliance.orders.admission import Admission
from appliance.orders.book import Orders
from appliance.orders.reconcile import MARGIN_NS, WINDOW_NS, as_restored
from appliance.venues.paper_faults import Fault, FaultKind, Faults
from tests.kit import SPX, Core, FakeScribe

PRICE = 100_000
LIMIT, STOP = OrderType.LIMIT, OrderType.STOP


class Flow(Core):
    """A core whose venue has switches."""

    def __init__(self, **more: Any) -> None:
        self.faults = Faults()
        super().__init__(faults=self.faults, **more)

    async def resting(self, **changes: Any) -> Order:
        """A limit order that works."""
        wish = self.intent(**({"order_type": LIMIT, "price": Price(99_000)} | changes))
        verdict = await self.desk.place(wish)
        assert isinstance(verdict, Approved), verdict
        await self.desk.collect()
        return self.order(verdict)

    def order(self, verdict: Approved | Order) -> Order:
        """As it is now."""
        found = self.orders.get(verdict.order_id if isinstance(verdict, Approved) else verdict.id)
        assert found is not None
        return found

    async def amend(self, order: Order, qty: int, **prices: int) -> Approved | Denied:
        """An amendment, and what the venue said."""
        wish = self.intent(action=Action.AMEND, target=order.id, qty=Qty(qty), **prices)
        verdict = await self.desk.place(wish)
        await self.desk.collect()
        return verdict

    def working(self) -> tuple[int, int]:
        """What the gate counts on either side."""
        view = self.portfolio.holdings[SPX]
        return view.working_buy, view.working_sell

    def same_as_venue(self) -> None:
        """Our open orders are the venue's, to the quantity."""
        theirs = {o.request.order_id: (o.request.qty, o.filled) for o in self.engine.ledger.live.values()}
        assert {o.id: (o.qty, o.filled) for o in self.orders.live()} == theirs
        assert self.portfolio.disagreement(self.engine.ledger.account()) == ""
        self.portfolio.check()


def _run(work: Callable[[Flow], Awaitable[None]], **more: Any) -> Flow:
    core = Flow(**more)

    async def run() -> None:
        await core.market(PRICE)
        await work(core)

    asyncio.run(run())
    return core


def test_an_amendment_counts_the_worse_until_the_venue_answers() -> None:
    """1.00 → 3.00 counts 3.00 before the reply and after it; 3.00 → 0.50 counts 3.00 until the reply."""

    async def work(core: Flow) -> None:
        order = await core.resting()
        wish = core.intent(action=Action.AMEND, target=order.id, qty=Qty(300))
        await core.desk.place(wish)
        assert core.working() == (300, 0)
        await core.desk.collect()
        assert core.order(order).qty == 300
        await core.desk.place(replace(wish, id=type(wish.id)("shrink"), qty=Qty(50)))
        assert core.working() == (300, 0)
        await core.desk.collect()
        assert core.working() == (50, 0)
        core.same_as_venue()

    core = _run(work)
    told = core.scribe.of("order")[-1]
    assert told["why"] == "requested"
    rows = [rows for kind, _, rows in core.scribe.entries if kind == "verdict" and rows]
    assert [row.pending.qty for (row,) in rows if row.pending is not None] == [300, 50]


def test_a_higher_price_is_counted_at_once() -> None:
    """Cost of working entries: at the dearer of both prices while it is on its way."""

    async def work(core: Flow) -> None:
        order = await core.resting(price=Price(99_000))
        before = core.portfolio.source_exposure(order.source)
        await core.amend(order, 100, price=104_000)
        assert core.portfolio.source_exposure(order.source) == before * 104_000 // PRICE
        await core.desk.cancel(core.order(order))
        await core.desk.collect()
        assert core.portfolio.source_exposure(order.source) == 0

    _run(work)


def test_an_amendment_stopped_at_the_wire_never_was() -> None:
    """The latch moved between gate and wire."""

    async def work(core: Flow) -> None:
        order = await core.resting()
        durable = core.scribe.note

        def trip_then_note(*args: Any, **more: Any) -> Any:
            core.guard.trip(TripReason.KILL_BUTTON)
            return durable(*args, **more)

        core.scribe.note = trip_then_note  # type: ignore[method-assign]
        await core.amend(order, 300)
        assert core.order(order) == replace(order, sent_ns=core.order(order).sent_ns)

    _run(work)


@pytest.mark.parametrize(
    ("kind", "arrives"),
    [(FaultKind.DROP_REPLY, True), (FaultKind.HANG, False), (FaultKind.ERROR_BEFORE, False)],
)
def test_an_amendment_whose_reply_is_lost_is_looked_up(kind: FaultKind, arrives: bool) -> None:
    """Arrived: taken over. Not to be seen: refused, but only after the window and the margin."""

    async def work(core: Flow) -> None:
        order = await core.resting()
        core.faults.arm(Fault(kind=kind, on="amend"))
        wish = core.intent(action=Action.AMEND, target=order.id, qty=Qty(300))
        await core.desk.place(wish)
        assert core.order(order).state is OrderState.UNKNOWN
        assert core.working() == (300, 0)
        await core.exits.reconcile()
        if not arrives:
            assert core.order(order).state is OrderState.UNKNOWN
            core.clock.mono += WINDOW_NS + MARGIN_NS
            await core.exits.reconcile()
        assert core.order(order).state is OrderState.WORKING
        assert core.working() == (300 if arrives else 100, 0)
        core.same_as_venue()

    _run(work)


def test_a_refused_amendment_leaves_the_order_as_it_was() -> None:
    """The venue's word, in the log."""

    async def work(core: Flow) -> None:
        await core.hold_position(200)
        stop = core.orders.protective(SPX, core.intent().source)[0]
        verdict = await core.amend(stop, 150)
        assert isinstance(verdict, Approved)
        assert core.order(stop).pending is None
        assert core.order(stop).qty == 200
        core.same_as_venue()

    core = _run(work)
    assert "its size follows another order" in [data["why"] for data in core.scribe.of("order")]


def test_replace_never_leaves_both_uncounted() -> None:
    """Before the reply both count; after it, the new one."""

    async def work(core: Flow) -> None:
        old = await core.resting()
        wish = core.intent(
            action=Action.REPLACE, target=old.id, order_type=LIMIT, price=Price(98_000), qty=Qty(70)
        )
        verdict = await core.desk.place(wish)
        assert isinstance(verdict, Approved)
        assert core.working() == (170, 0)
        await core.desk.collect()
        assert core.working() == (70, 0)
        assert core.order(old).state is OrderState.CANCELED
        assert core.order(verdict).replaces == old.id
        core.same_as_venue()

    _run(work)


def test_a_replacement_the_venue_refuses_leaves_the_old_order() -> None:
    """The old one filled meanwhile: nothing new begins."""

    async def work(core: Flow) -> None:
        old = await core.resting()
        core.engine.cancel(old.id)
        wish = core.intent(action=Action.REPLACE, target=old.id, order_type=LIMIT, price=Price(98_000))
        verdict = await core.desk.place(wish)
        await core.desk.collect()
        assert isinstance(verdict, Approved)
        assert core.order(verdict).state is OrderState.REJECTED
        assert core.working() == (0, 0)
        core.same_as_venue()

    _run(work)


def _bracket(core: Flow, qty: int = 100) -> list[Any]:
    exits: dict[str, Any] = {"side": Side.SELL, "qty": Qty(qty)}
    return [
        core.intent(qty=Qty(qty)),
        core.intent(order_type=LIMIT, price=Price(104_000), **exits),
        core.intent(order_type=STOP, stop_price=Price(96_000), **exits),
    ]


def test_a_bracket_through_the_core() -> None:
    """One transaction, one message; the legs work with the entry's fill, the stop ends the take-profit."""

    async def work(core: Flow) -> None:
        made = await core.desk.place_list(ListKind.OTOCO, _bracket(core))
        assert isinstance(made, ApprovedList)
        await core.desk.collect()
        states = [core.order(each).state for each in made.orders]
        assert states == [OrderState.WORKING, OrderState.HELD, OrderState.HELD]
        assert core.working() == (100, 0)
        await core.market(PRICE)
        assert core.working() == (0, 100)
        assert [o.order_class for o in core.orders.live()] == [OrderClass.REDUCE, OrderClass.PROTECTIVE]
        core.same_as_venue()
        await core.market(95_000)
        assert core.portfolio.holdings[SPX].position == 0
        assert core.working() == (0, 0)
        assert len(core.orders.links) == 0
        core.same_as_venue()

    core = _run(work)
    (rows,) = [rows for kind, data, rows in core.scribe.entries if kind == "verdict" and "list" in data]
    assert len(rows) == 3


def test_an_oco_of_exits_leaves_room_for_nothing_and_traps_nothing() -> None:
    """Take-profit and stop of everything held: counted once; liquidation cancels both and sells."""

    async def work(core: Flow) -> None:
        await core.hold_position(100)
        for leg in core.orders.protective(SPX, core.intent().source):
            await core.desk.cancel(leg)
        await core.desk.place_list(ListKind.OCO, _bracket(core)[1:])
        await core.desk.collect()
        assert core.working() == (0, 100)
        await core.exits.leave_everything("liquidate")
        await core.market(PRICE)
        assert core.portfolio.holdings[SPX].position == 0
        core.same_as_venue()

    _run(work)


def test_a_resting_exit_does_not_keep_a_liquidation_away() -> None:
    """A bot's take-profit far above the market is cancelled, and the position is sold now."""

    async def work(core: Flow) -> None:
        await core.hold_position(100)
        far = await core.resting(side=Side.SELL, price=Price(150_000))
        await core.exits.leave_everything("liquidate")
        assert core.order(far).state is OrderState.CANCELED
        await core.market(PRICE)
        assert core.portfolio.holdings[SPX].position == 0

    _run(work)


def test_an_entry_whose_leg_is_cancelled_for_an_exit_is_cancelled_first() -> None:
    """Else it would go on filling behind an exit that has taken its stop away."""

    async def work(core: Flow) -> None:
        core.terms = replace(core.terms, depth_value=core.terms.depth_value // 10_000)
        core.engine.terms = core.terms
        lead, _, stop = _bracket(core)
        lead = replace(lead, order_type=LIMIT, price=Price(100_011))
        made = await core.desk.place_list(ListKind.OTO, [lead, stop])
        assert isinstance(made, ApprovedList)
        await core.market(PRICE)
        first = core.order(made.orders[0])
        assert 0 < first.filled < first.qty
        await core.exits.leave_everything("close")
        assert core.order(first).state is OrderState.CANCELED
        assert not core.orders.protective(SPX, first.source)

    _run(work)


def test_a_list_the_gate_or_the_wire_refuses_is_refused_whole() -> None:
    """Denied: nothing recorded. Stopped at the wire: every order of it."""

    async def work(core: Flow) -> None:
        wrong = _bracket(core)
        wrong[2] = replace(wrong[2], stop_price=Price(1))
        denied = await core.desk.place_list(ListKind.OTOCO, wrong)
        assert isinstance(denied, Denied)
        assert list(core.orders.live()) == []
        core.faults.arm(Fault(kind=FaultKind.HANG, on="list"))
        lost = await core.desk.place_list(ListKind.OTOCO, _bracket(core))
        assert isinstance(lost, ApprovedList)
        assert {core.order(each).state for each in lost.orders} == {OrderState.UNKNOWN}
        core.clock.mono += WINDOW_NS + MARGIN_NS
        await core.exits.reconcile()
        assert {core.order(each).state for each in lost.orders} == {OrderState.NEVER_ARRIVED}
        assert core.working() == (0, 0)

    core = _run(work)
    assert [data["reason"] for data in core.scribe.of("verdict") if data["verdict"] == "denied"] == [
        Reason.STOP_DISTANCE
    ]


def test_a_repeated_id_gets_the_first_answer_and_sends_nothing() -> None:
    """Word for word while it is remembered; then the ledger says what became of it."""

    async def work(core: Flow) -> None:
        wish = core.intent(order_type=LIMIT, price=Price(99_000))
        first = await core.desk.place(wish)
        sent = len(core.engine.ledger.orders)
        assert await core.desk.place(replace(wish, created_ns=5)) is first
        assert core.scribe.of("verdict")[-1]["repeated"] is True
        other = await core.desk.place(replace(wish, qty=Qty(1)))
        assert isinstance(other, Denied)
        assert other.reason is Reason.DUPLICATE_ID
        core.desk._results._first.clear()
        gone = await core.desk.place(wish)
        assert isinstance(gone, Denied)
        assert isinstance(first, Approved)
        assert gone.detail == f"{first.order_id} is {OrderState.RECORDED}"
        assert len(core.engine.ledger.orders) == sent

    _run(work)


def test_too_many_entries_are_refused_and_an_exit_and_a_cancel_are_not() -> None:
    """The bound is reached by an entry that waits for the log: everything else goes on."""

    async def work(core: Flow) -> None:
        await core.hold_position(200)
        resting = await core.resting()
        core.desk.admission = Admission(total=1, of_a_source=1)
        waiting = asyncio.Event()
        ticket = type("Slow", (), {"index": 0, "durable": staticmethod(waiting.wait)})()
        note = core.scribe.note
        core.scribe.note = lambda *a, **k: ticket  # type: ignore[method-assign]
        slow = asyncio.create_task(core.desk.place(core.intent(qty=Qty(1))))
        await asyncio.sleep(0)
        core.scribe.note = note  # type: ignore[method-assign]
        assert core.desk.admission.under_way == 1
        refused = await core.desk.place(core.intent(qty=Qty(1)))
        assert isinstance(refused, Denied)
        assert refused.reason is Reason.BACKPRESSURE
        listed = await core.desk.place_list(ListKind.OTO, _bracket(core)[::2])
        assert isinstance(listed, Denied)
        assert listed.reason is Reason.BACKPRESSURE
        assert isinstance(await core.desk.place(core.intent(side=Side.SELL)), Approved)
        assert isinstance(await core.amend(resting, 50), Approved)
        await core.desk.cancel(resting)
        waiting.set()
        await slow
        assert core.desk.admission.under_way == 0
        assert isinstance(await core.desk.place(core.intent(qty=Qty(1))), Approved)

    _run(work)


def test_a_log_that_fails_gives_the_place_back() -> None:
    """An entry that raises has come out too; a list likewise."""

    async def work(core: Flow) -> None:
        core.scribe.error = StoreError("gone")
        for _ in range(3):
            with pytest.raises(StoreError):
                await core.desk.place(core.intent(qty=Qty(1)))
            with pytest.raises(StoreError):
                await core.desk.place_list(ListKind.OTOCO, _bracket(core, 10))
        assert core.desk.admission.under_way == 0
        assert len(core.engine.ledger.orders) == 0

    _run(work)


def test_a_list_of_exits_leaves_without_the_log() -> None:
    """SAFETY 8: it owes an entry and goes."""

    async def work(core: Flow) -> None:
        await core.hold_position(100)
        core.patience.patient = False
        made = await core.desk.place_list(ListKind.OCO, _bracket(core)[1:])
        assert isinstance(made, ApprovedList)
        await core.desk.collect()
        assert len(core.owed) == 1
        core.same_as_venue()

    _run(work)


def test_a_fill_after_the_cancel_is_booked() -> None:
    """Position, cash and the venue's own figures agree."""

    async def work(core: Flow) -> None:
        order = await core.resting()
        core.faults.arm(Fault(kind=FaultKind.FILL_AFTER_CANCEL, qty=30))
        await core.desk.cancel(order)
        await core.desk.collect()
        assert core.portfolio.holdings[SPX].position == 30
        assert core.order(order).state is OrderState.CANCELED
        assert core.guard.requests == []
        core.same_as_venue()

    _run(work)


def test_a_fill_that_cannot_be_booked_trips() -> None:
    """Of an order we know, for more than was asked: money has moved and our books do not hold it."""

    async def work(core: Flow) -> None:
        order = await core.resting()
        core.engine.ledger.fill(core.engine.ledger.live[order.id], PRICE, 101, maker=False)
        await core.desk.collect()
        assert core.guard.requests == [TripReason.POSITION_DISAGREEMENT]

    _run(work)


def test_a_fill_in_an_instrument_that_is_no_longer_configured_stops_the_core() -> None:
    """The configuration changed while its order was open: it has no value here, and nothing is booked."""

    async def work(core: Flow) -> None:
        order = replace(await core.resting(), id=OrderId("il-earlier"), instrument=InstrumentId("XYZ"))
        core.orders._put(order)
        cash, seq, before = core.portfolio.cash, core.desk.last_seq, len(core.scribe.entries)
        fill = Fill(
            trade_id=TradeId("t-1"), order_id=order.id, instrument=order.instrument, side=order.side,
            qty=order.qty, price=Price(PRICE), fee=Amount(0), maker=False, event_ns=0,
        )  # fmt: skip
        told = Filled(
            seq=seq + 1, event_ns=0, fill=fill, leaves=Qty(0), position_after=100, cash_after=Amount(0)
        )
        with pytest.raises(InvariantError, match=r"XYZ, which is not configured.*trade t-1.*DO: configure"):
            core.desk.booking.take([told])
        assert core.portfolio.cash == cash
        assert len(core.scribe.entries) == before

    _run(work)


def test_gtd_expires_in_our_books_too() -> None:
    """By the venue's report, on the trading clock."""

    async def work(core: Flow) -> None:
        order = await core.resting(time_in_force=TimeInForce.GTD, expire_ns=core.clock.utc + 1)
        await core.market(PRICE)
        await core.market(PRICE)
        assert core.order(order).state is OrderState.EXPIRED
        assert core.working() == (0, 0)
        assert core.ids.state(order.id) is OrderState.EXPIRED

    _run(work)


def test_links_expiry_and_amendments_survive_a_restart() -> None:
    """The log's rows, decoded, give the same counting and the same orders."""

    async def work(core: Flow) -> None:
        made = await core.desk.place_list(ListKind.OTOCO, _bracket(core))
        assert isinstance(made, ApprovedList)
        await core.market(PRICE)
        await core.resting(time_in_force=TimeInForce.GTD, expire_ns=core.clock.utc + 10**12, post_only=True)
        asked = await core.resting(price=Price(98_000))
        core.faults.arm(Fault(kind=FaultKind.HANG, on="amend"))
        await core.amend(asked, 300)
        rows: dict[str, bytes] = {}
        for _, _, orders in core.scribe.entries:
            rows |= {order.id: msgspec.json.encode(order) for order in orders}
        back = [as_restored(msgspec.json.decode(row, type=Order), 9) for row in rows.values()]
        again = Orders(back)
        for order in core.orders.live():
            found = again.get(order.id)
            assert found is not None
            assert replace(found, sent_ns=0, pending=None) == replace(order, sent_ns=0, pending=None)
            counted = {each.id: count for each, count in core.orders.links.counted(order)}
            assert {each.id: count for each, count in again.links.counted(found)} == counted
        assert [order.id for order in again.unsettled()] == [asked.id]

    _run(work)


def test_reports_in_any_order_book_the_same() -> None:
    """Reversed and repeated reports: one fill, one position."""

    async def work(core: Flow) -> None:
        core.faults.arm(Fault(kind=FaultKind.OUT_OF_ORDER, times=3))
        core.faults.arm(Fault(kind=FaultKind.DUPLICATE, times=3))
        await core.hold_position(100)
        await core.resting()
        core.same_as_venue()
        fills = [e for e in core.engine.ledger.log if isinstance(e, Filled)]
        assert len(core.scribe.of("fill")) == len(fills)
        assert core.scribe.of("venue") == []
        assert isinstance(core.scribe, FakeScribe)

    _run(work)


def test_what_the_venue_says_that_cannot_be_is_told_and_changes_nothing() -> None:
    """A report that is illegal in the order's state, and one of an order nobody here knows."""

    async def work(core: Flow) -> None:
        order = await core.resting()
        seq = core.desk.last_seq
        wrong = AmendRefused(seq=seq + 1, event_ns=0, order_id=OrderId("il-nobody"), detail="")
        late = Accepted(
            seq=seq + 2,
            event_ns=0,
            order_id=order.id,
            instrument=SPX,
            side=order.side,
            qty=order.qty,
            order_type=order.order_type,
        )
        core.orders._put(replace(order, state=OrderState.REJECTED))
        core.desk.booking.take([wrong, late])
        assert [data["seq"] for data in core.scribe.of("venue")] == [seq + 1, seq + 2]
        core.desk.settle(core.order(order), OrderEvent.ACCEPT, "looked up")
        assert "illegal" in core.scribe.of("venue")[-1]["problem"]
        assert core.order(order).state is OrderState.REJECTED
        core.desk.last_seq = 40
        assert core.desk.last_seq == 40

    _run(work)


def test_an_entry_anywhere_in_a_list_makes_it_wait_for_the_log() -> None:
    """An exit leads, an entry follows: durable before any of it leaves."""

    async def work(core: Flow) -> None:
        await core.hold_position(100)
        leave = core.intent(side=Side.SELL, order_type=LIMIT, price=Price(102_000))
        again = core.intent(order_type=LIMIT, price=Price(98_000), qty=Qty(50))
        core.scribe.error = StoreError("gone")
        before = len(core.engine.ledger.orders)
        with pytest.raises(StoreError):
            await core.desk.place_list(ListKind.OTO, [leave, again])
        assert len(core.engine.ledger.orders) == before

    _run(work)
