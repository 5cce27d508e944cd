"""Trip, sweep, liquidate, work down: exits through the whole core and a paper venue (SAFETY 1, 4, 7)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from appliance.domain.errors import PeerError, StoreError, TransportError
from appliance.domain.ids import OrderId
from appliance.domain.intent import OrderType, Side
from appliance.domain.mode import Mode, TripReason
from appliance.domain.money import Price, Qty
from appliance.domain.order import OrderState, VenueEvent, VenueOrder
from appliance.domain.reasons import Reason
from appliance.domain.verdict import Approved, Denied, OrderClass
from appliance.ports import StoppedAtWire
from appliance.safety.exits import LADDER, SWEEP_NS
from appliance.venues.paper_terms import to_wire
from tests.kit import SECOND, SPX, Core, source_limits


async def _with_entry_and_position() -> Core:
    """10.00 held behind a stop, and a buy of 1.00 resting below the market."""
    core = Core()
    await core.hold_position(1_000)
    await core.desk.place(core.intent(order_type=OrderType.LIMIT, price=Price(97_000)))
    await core.market(100_000)
    assert [o.order_class for o in core.orders.live()] == [OrderClass.PROTECTIVE, OrderClass.INCREASE]
    return core


def _classes(core: Core) -> list[OrderClass]:
    return [order.order_class for order in core.orders.live()]


def _confirmed(core: Core) -> bool:
    return core.exits.confirmed


@pytest.mark.safety("S1.6", "HW-08")
def test_a_sweep_cancels_entries_and_keeps_the_protective_leg() -> None:
    """PAUSED: exposure-increasing orders end, protective ones stay, positions are held."""

    async def run() -> None:
        core = await _with_entry_and_position()
        core.guard.trip(TripReason.TAMPER)
        core.exits.begin_sweep()
        await core.exits.sweep()
        assert _classes(core) == [OrderClass.PROTECTIVE]
        assert core.portfolio.holdings[SPX].position == 1_000

    asyncio.run(run())


@pytest.mark.safety("S4.4")
def test_a_sweep_is_confirmed_only_after_the_window_and_by_the_venue() -> None:
    """What was in flight at the trip may still arrive (SAFETY 4)."""

    async def run() -> None:
        core = await _with_entry_and_position()
        core.exits.begin_sweep()
        await core.exits.sweep()
        assert not _confirmed(core)
        core.clock.mono += SWEEP_NS - 1
        await core.exits.sweep()
        assert not _confirmed(core)
        core.clock.mono += SECOND
        await core.exits.sweep()
        assert _confirmed(core)

    asyncio.run(run())


def test_a_sweep_goes_round_four_times_a_second_and_a_new_trip_does_not_wait() -> None:
    """Not oftener: a venue bans who ignores its limits. What began anew is swept at once."""

    async def run() -> None:
        core, asked = await _with_entry_and_position(), 0
        listed = core.venue.open_orders

        async def count() -> Sequence[VenueOrder]:
            nonlocal asked
            asked += 1
            return await listed()

        core.venue.open_orders = count  # type: ignore[method-assign]
        core.exits.begin_sweep()
        rounds = []
        for passed_ns in (0, SECOND // 4 - 1, 1, SECOND // 4 - 1, 1):
            core.clock.mono += passed_ns
            await core.exits.sweep()
            rounds.append(asked)
        assert rounds == [1, 1, 2, 2, 3]
        core.exits.begin_sweep()
        await core.exits.sweep()
        assert asked == 4

    asyncio.run(run())


@pytest.mark.safety("S4.4")
def test_an_order_that_arrives_late_is_found_and_cancelled() -> None:
    """It left before the trip and reached the venue after the first round of cancels."""

    async def run() -> None:
        core = await _with_entry_and_position()
        core.exits.begin_sweep()
        await core.exits.sweep()
        late = await core.desk.place(core.intent(order_type=OrderType.LIMIT, price=Price(96_000)))
        assert isinstance(late, Approved)
        core.clock.mono += SECOND
        await core.exits.sweep()
        assert _classes(core) == [OrderClass.PROTECTIVE]
        assert not _confirmed(core)

    asyncio.run(run())


@pytest.mark.safety("S4.4")
def test_an_order_nobody_here_knows_is_cancelled_too() -> None:
    """The venue lists it, so it is exposure; the sweep is not confirmed while it is there."""

    async def run() -> None:
        core = await _with_entry_and_position()
        template = core.gate.check(core.intent(order_type=OrderType.LIMIT, price=Price(96_000)))
        assert isinstance(template, Approved)
        core.engine.submit(replace(to_wire(template), order_id=OrderId("stray")))
        core.exits.begin_sweep()
        core.clock.mono += SWEEP_NS
        await core.exits.sweep()
        assert not _confirmed(core)
        assert {"order_id": "stray", "problem": "unknown order, cancelled"} in core.scribe.of("venue")
        core.clock.mono += SECOND
        await core.exits.sweep()
        assert _confirmed(core)
        assert OrderId("stray") not in core.engine.ledger.live

    asyncio.run(run())


@pytest.mark.safety("S7.4")
def test_liquidation_cancels_the_leg_and_sells_what_is_held() -> None:
    """SAFETY 7: the leg goes immediately before its replacement exit; flat when the venue says so."""

    async def run() -> None:
        core = await _with_entry_and_position()
        core.guard.trip(TripReason.KILL_BUTTON)
        await core.exits.leave_everything("liquidate")
        assert not core.portfolio.is_flat(), "sent is not filled"
        assert _classes(core) == [OrderClass.INCREASE, OrderClass.REDUCE]
        core.engine.stand_still(SPX)
        await core.desk.collect()
        assert core.portfolio.is_flat()

    asyncio.run(run())


async def _try_to_sell(core: Core, venue_price: int) -> OrderType:
    """One round of the liquidation, then a step of a venue whose price is not the one the core knows."""
    core.clock.mono += 2 * SECOND
    await core.exits.leave_everything("liquidate")
    sent = [order for order in core.orders.live() if order.order_class is OrderClass.REDUCE]
    core.steps += 1
    await core.venue.step(core.bar(venue_price), core.steps)
    await core.desk.collect()
    await core.exits.mend()
    return sent[0].order_type


@pytest.mark.safety("S7.10")
def test_what_does_not_sell_inside_the_collar_goes_wider_and_at_last_to_any_price() -> None:
    """Two, four collars, then a market order."""

    async def run() -> None:
        core = await _with_entry_and_position()
        core.guard.trip(TripReason.KILL_BUTTON)
        tries = [await _try_to_sell(core, 70_000)]
        assert core.orders.protective(SPX, core.intent().source), "behind its stop between two tries"
        tries += [await _try_to_sell(core, 70_000) for _ in range(3)]
        prices = [data.get("price") for data in core.scribe.of("verdict") if data.get("class") == "REDUCE"]
        assert prices == ["950.00", "900.00", "800.00", ""]
        assert tries == [OrderType.LIMIT] * 3 + [OrderType.MARKET]
        assert core.portfolio.is_flat()
        assert LADDER == (1, 2, 4, 0)

    asyncio.run(run())


@pytest.mark.safety("S7.10")
def test_a_new_trip_begins_inside_the_collar_again() -> None:
    """What did not sell before it says nothing about the price now."""

    async def run() -> None:
        core = await _with_entry_and_position()
        core.guard.trip(TripReason.KILL_BUTTON)
        for _ in range(2):
            await _try_to_sell(core, 70_000)
        core.exits.begin_sweep()
        await _try_to_sell(core, 70_000)
        prices = [data.get("price") for data in core.scribe.of("verdict") if data.get("class") == "REDUCE"]
        assert prices == ["950.00", "900.00", "950.00"]

    asyncio.run(run())


@pytest.mark.safety("S7.5")
def test_an_exit_is_not_sent_twice() -> None:
    """While one works, another round sends nothing: never a request storm."""

    async def run() -> None:
        core = await _with_entry_and_position()
        for _ in range(5):
            await core.exits.leave_everything("liquidate")
        sent = [data for data in core.scribe.of("verdict") if data.get("class") == "REDUCE"]
        assert len(sent) == 1
        asked = [data for data in core.scribe.of("intent") if data["intent"].startswith("liquidate/")]
        assert len(asked) == 1, "not even asked for while one works"

    asyncio.run(run())


@pytest.mark.safety("S7.8")
@pytest.mark.parametrize("held", [1, 2, 1_000])
@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
def test_the_leg_is_put_back_if_its_exit_is_refused(side: Side, held: int) -> None:
    """SAFETY 7: a position is not left without its stop because a venue said no; not the smallest either."""

    async def run() -> None:
        core = Core(source=source_limits(allow_short=True))
        await core.market(100_000)
        await core.desk.place(core.intent(side=side, qty=Qty(held)))
        await core.market(100_000)
        trigger = 100_000 - side.sign * 5_000
        assert core.portfolio.holdings[SPX].position == side.sign * held

        async def refuse(_order: Approved) -> None:
            raise StoppedAtWire(Reason.APPROVAL_EXPIRED)

        submit, core.venue.submit = core.venue.submit, refuse  # type: ignore[method-assign, assignment]
        calls = 0

        async def refuse_once(order: Approved) -> None:
            nonlocal calls
            calls += 1
            await (refuse(order) if calls == 1 else submit(order))

        core.venue.submit = refuse_once  # type: ignore[method-assign]
        await core.exits.leave_everything("liquidate")
        legs = core.orders.protective(SPX, core.intent().source)
        assert [(leg.side, leg.qty, leg.stop_price) for leg in legs] == [(side.opposite, held, trigger)]
        assert calls == 2

    asyncio.run(run())


@pytest.mark.safety("S7.4")
def test_dust_is_left_alone() -> None:
    """A remainder the venue takes no order for is listed, not stormed."""
    from tests.kit import spx

    async def run() -> None:
        core = Core(instrument=spx(min_qty=50, lot=1))
        await core.hold_position(1_000)
        await core.desk.place(core.intent(side=Side.SELL, qty=Qty(960)))
        await core.market(100_000)
        assert core.portfolio.holdings[SPX].position == 40
        before = len(core.scribe.entries)
        await core.exits.leave_everything("liquidate")
        assert len(core.scribe.entries) == before
        assert core.portfolio.is_flat()

    asyncio.run(run())


@pytest.mark.safety("HW-09")
def test_reduced_works_a_share_down_and_keeps_the_rest_protected_next_time() -> None:
    """A quarter of 10.00; the leg is gone with the exit and the next round finds none to cancel."""

    async def run() -> None:
        core = await _with_entry_and_position()
        core.safety.mode = Mode.REDUCED
        await core.exits.leave_everything("reduce", 250_000)
        await core.market(100_000)
        assert core.portfolio.holdings[SPX].position == 750

    asyncio.run(run())


@pytest.mark.safety("S8.3")
def test_an_exit_leaves_although_the_log_is_slow_and_owes_a_gap() -> None:
    """SAFETY 8: 50 ms at most, then it goes and the entry is owed."""

    async def run() -> None:
        core = await _with_entry_and_position()
        core.patience.patient = False
        await core.exits.leave_everything("liquidate")
        core.engine.stand_still(SPX)
        await core.desk.collect()
        assert core.portfolio.is_flat()
        assert core.scribe.of("gap")
        owed = [(approved.order_class, order is not None) for _, approved, order in core.owed]
        assert owed == [(OrderClass.CANCEL, False), (OrderClass.REDUCE, True)]

    asyncio.run(run())


@pytest.mark.safety("S1.29", "S8.2")
def test_an_exit_leaves_although_the_log_is_lost_and_new_exposure_does_not() -> None:
    """SAFETY 8: a store error trips, raises for INCREASE, and lets the exit go."""

    async def run() -> None:
        core = await _with_entry_and_position()
        core.scribe.error = StoreError("disk full")
        with pytest.raises(StoreError):
            await core.desk.place(core.intent())
        sent = len(core.engine.ledger.orders)
        await core.exits.leave_everything("liquidate")
        assert core.safety.mode is Mode.PAUSED
        assert core.guard.requests == [TripReason.AUDIT_STORE]
        assert len(core.engine.ledger.orders) == sent + 1
        core.engine.stand_still(SPX)
        await core.desk.collect()
        assert core.portfolio.is_flat()

    asyncio.run(run())


@pytest.mark.safety("S4.6")
def test_an_unknown_fate_is_looked_up_and_never_sent_again() -> None:
    """The reply was lost; the order is there. Then one that never arrived."""

    async def run() -> None:
        core = await _with_entry_and_position()
        submit = core.venue.submit

        async def lose_reply(order: Approved) -> None:
            await submit(order)
            raise TransportError("no reply")

        async def lose_all(_order: Approved) -> None:
            raise TransportError("no connection")

        for lose, state in ((lose_reply, OrderState.WORKING), (lose_all, OrderState.NEVER_ARRIVED)):
            core.venue.submit = lose  # type: ignore[method-assign, assignment]
            verdict = await core.desk.place(core.intent(order_type=OrderType.LIMIT, price=Price(96_500)))
            assert isinstance(verdict, Approved)
            held = core.orders.get(verdict.order_id)
            assert held is not None
            assert held.state is OrderState.UNKNOWN
            core.clock.mono += 2 * SECOND
            assert await core.exits.reconcile() == 0
            order = core.orders.get(verdict.order_id)
            assert order is not None
            assert order.state is state
        assert core.portfolio.disagreement(core.engine.ledger.account()) == ""

    asyncio.run(run())


@pytest.mark.safety("S4.6")
@pytest.mark.parametrize("error", [TransportError("down"), PeerError("nonsense")])
def test_a_venue_that_does_not_answer_is_asked_once_and_every_fate_stays_open(
    error: TransportError | PeerError,
) -> None:
    """Not once for each order: the rest of the round is needed for exits. Asked again, both are known."""

    async def run() -> None:
        core = Core()
        await core.market(100_000)
        submit, look = core.venue.submit, core.venue.order

        async def lose_reply(order: Approved) -> None:
            await submit(order)
            raise TransportError("no reply")

        core.venue.submit = lose_reply  # type: ignore[method-assign]
        for price in (96_000, 96_500):
            await core.desk.place(core.intent(order_type=OrderType.LIMIT, price=Price(price)))
        asked: list[OrderId] = []

        async def down(order_id: OrderId) -> VenueOrder | None:
            asked.append(order_id)
            raise error

        events = core.venue.events
        core.venue.order = down  # type: ignore[method-assign]
        core.venue.events = _nothing  # type: ignore[method-assign]
        assert await core.exits.reconcile() == 2
        assert len(asked) == 1
        assert {order.state for order in core.orders.live()} == {OrderState.UNKNOWN}
        core.venue.order, core.venue.events = look, events  # type: ignore[method-assign]
        assert await core.exits.reconcile() == 0
        assert {order.state for order in core.orders.live()} == {OrderState.WORKING}

    asyncio.run(run())


async def _nothing() -> Sequence[VenueEvent]:
    return []


@pytest.mark.safety("S4.6")
def test_not_found_is_not_believed_before_the_window_has_passed() -> None:
    """It may still be on its way."""

    async def run() -> None:
        core = Core()
        await core.market(100_000)

        async def lose_all(_order: Approved) -> None:
            raise TransportError("no connection")

        core.venue.submit = lose_all  # type: ignore[method-assign, assignment]
        await core.desk.place(core.intent())
        core.clock.mono += 2 * SECOND - 1
        assert await core.exits.reconcile() == 1
        core.clock.mono += 1
        assert await core.exits.reconcile() == 0

    asyncio.run(run())


@pytest.mark.safety("S1.30")
def test_a_venue_that_disagrees_trips() -> None:
    """After a fill both sides must have the same position and cash (SAFETY 1)."""

    async def run() -> None:
        core = Core()
        await core.market(100_000)
        await core.desk.place(core.intent())
        core.portfolio.cash -= 1
        core.portfolio.ledger.cash -= 1  # both sets of books, or it is an invariant
        await core.market(100_000)
        assert core.safety.mode is Mode.PAUSED
        assert core.guard.requests == [TripReason.POSITION_DISAGREEMENT]

    asyncio.run(run())


def test_a_denied_wish_is_logged_and_nothing_is_recorded_as_an_order() -> None:
    """Intent and verdict, the second caused by the first, and no order row."""

    async def run() -> None:
        core = Core()
        await core.market(100_000)
        core.safety.mode = Mode.PAUSED
        verdict = await core.desk.place(core.intent())
        assert isinstance(verdict, Denied)
        assert core.scribe.kinds() == ["intent", "verdict"]
        assert core.scribe.entries[-1][2] == ()
        assert list(core.orders.live()) == []

    asyncio.run(run())


@pytest.mark.safety("S8.9")
def test_the_order_row_is_in_the_same_transaction_as_its_verdict() -> None:
    """A crash leaves an order that is durable or absent, never half."""

    async def run() -> None:
        core = Core()
        await core.market(100_000)
        verdict = await core.desk.place(core.intent())
        assert isinstance(verdict, Approved)
        kind, data, rows = core.scribe.entries[1]
        assert (kind, data["order_id"]) == ("verdict", verdict.order_id)
        assert [(row.id, row.state, row.cause) for row in rows] == [
            (verdict.order_id, OrderState.RECORDED, 0)
        ]

    asyncio.run(run())
