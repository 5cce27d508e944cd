"""A position never stays without the stop it had: exits and their protective legs (SAFETY 7)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from appliance.domain.errors import PeerError, TransportError
from appliance.domain.ids import InstrumentId
from appliance.domain.intent import Intent, OrderType, Side
from appliance.domain.mode import Mode, TripReason
from appliance.domain.money import AMOUNT_ONE, Amount, Qty
from appliance.domain.order import Order, OrderState
from appliance.domain.reasons import Reason
from appliance.domain.verdict import Approved, Denied, OrderClass, Verdict
from appliance.orders.reconcile import fate
from appliance.ports import StoppedAtWire
from appliance.safety.exits import RETRY_NS, SWEEP_NS, ExitFlow
from tests.kit import BOT, SECOND, SPX, Core, instrument_limits, spx


async def _held(**changes: object) -> Core:
    """10.00 held behind its attached stop at 950.00."""
    core = Core(**changes)  # type: ignore[arg-type]
    await core.hold_position(1_000)
    assert _protected(core) == 1_000
    return core


def _protected(core: Core) -> int:
    """Quantity behind live stops, by the venue's own list."""
    listed = core.engine.ledger.live.values()
    return sum(order.leaves for order in listed if order.request.order_type is OrderType.STOP)


def _exits(core: Core) -> list[dict[str, object]]:
    return [data for data in core.scribe.of("verdict") if data.get("class") == "REDUCE"]


@pytest.mark.safety("S7.7", "HW-09")
def test_reduced_leaves_the_rest_behind_its_stop() -> None:
    """A quarter goes, three quarters keep their stop, at once and after the fill (CONTROLS 24)."""

    async def run() -> None:
        core = await _held()
        core.safety.mode = Mode.REDUCED
        await core.exits.leave_everything("reduce", 250_000)
        assert _protected(core) == 750
        await core.market(100_000)
        await core.exits.mend()
        assert core.portfolio.holdings[SPX].position == 750
        assert _protected(core) == 750
        (leg,) = core.orders.protective(SPX, BOT)
        assert (leg.side, leg.stop_price, leg.reduce_only) == (Side.SELL, 95_000, True)

    asyncio.run(run())


@pytest.mark.safety("S7.7")
def test_a_sliced_exit_leaves_the_rest_behind_its_stop() -> None:
    """The largest order is 4.00: of 10.00 held, 6.00 wait behind a stop for their slice, one at a time."""

    async def run() -> None:
        core = await _held()
        core.exits = ExitFlow(core.desk, core.portfolio, core.venue, core.clock, fate, at_once=1)
        core.limits.instruments[SPX] = instrument_limits(max_order_qty=400)
        core.guard.trip(TripReason.KILL_BUTTON)
        for exit_qty, left in ((400, 600), (400, 200), (200, 0)):
            await core.exits.leave_everything("liquidate")
            assert _protected(core) == left
            core.engine.stand_still(SPX)
            await core.desk.collect()
            assert core.portfolio.holdings[SPX].position == left
            assert _exits(core)[-1]["qty"] == f"{exit_qty // 100}.00"

    asyncio.run(run())


@pytest.mark.safety("S7.8")
def test_an_exit_that_never_arrived_gives_the_leg_back() -> None:
    """Lost on the way: looked up, not found after the window, and the position is protected again."""

    async def run() -> None:
        core = await _held()
        submit = core.venue.submit

        async def lose_exits(order: Approved) -> None:
            if order.order_class is OrderClass.REDUCE:
                raise TransportError("no connection")
            await submit(order)

        core.venue.submit = lose_exits  # type: ignore[method-assign]
        await core.exits.leave_everything("close")
        await core.exits.mend()
        assert _protected(core) == 0, "it may still arrive: a second sale would be too much"
        core.clock.mono += SWEEP_NS
        assert await core.exits.reconcile() == 0
        await core.exits.mend()
        assert _protected(core) == 1_000

    asyncio.run(run())


@pytest.mark.safety("S7.8")
def test_an_exit_the_venue_ended_unfilled_gives_the_leg_back() -> None:
    """Nobody on the other side: accepted, then ended by the venue."""

    async def run() -> None:
        core = await _held()
        await core.exits.leave_everything("close")
        (exit_order,) = [o for o in core.orders.live() if o.order_class is OrderClass.REDUCE]
        core.engine.cancel(exit_order.id)
        await core.desk.collect()
        await core.exits.mend()
        assert _protected(core) == 1_000
        await core.exits.mend()
        assert _protected(core) == 1_000, "once"

    asyncio.run(run())


@pytest.mark.safety("S7.8")
def test_an_exit_filled_in_part_gives_back_what_it_left() -> None:
    """6.00 of 10.00 sold, the order ended: 4.00 behind a stop."""

    async def run() -> None:
        core = await _held()
        core.engine.terms = core.terms
        await core.exits.leave_everything("close")
        (exit_order,) = [o for o in core.orders.live() if o.order_class is OrderClass.REDUCE]
        waiting = core.engine.ledger.live[exit_order.id]
        core.engine._fill(waiting, 100_000, 600, maker=False)
        core.engine.end(waiting, "ioc")
        await core.desk.collect()
        await core.exits.mend()
        assert core.portfolio.holdings[SPX].position == 400
        assert _protected(core) == 400

    asyncio.run(run())


@pytest.mark.safety("S7.7")
def test_a_leg_is_cancelled_immediately_before_its_exit() -> None:
    """Nothing else is asked for between the cancel of the leg and the exit that replaces it."""

    async def run() -> None:
        core = await _held()
        before = len(core.scribe.entries)
        await core.exits.leave_everything("liquidate")
        told = [data for kind, data, _ in core.scribe.entries[before:] if kind == "verdict"]
        assert [data["class"] for data in told] == ["CANCEL", "REDUCE"]

    asyncio.run(run())


@pytest.mark.safety("S7.5")
@pytest.mark.parametrize("how", ["denied", "rejected", "stopped"])
def test_a_refused_exit_is_no_request_storm(how: str) -> None:
    """Asked again after a second, not in every round of 10 ms; the position is protected in between."""

    async def run() -> None:
        core = await _held()
        submit = core.venue.submit

        async def stop(order: Approved) -> None:
            if order.order_class is OrderClass.REDUCE:
                raise StoppedAtWire(Reason.APPROVAL_EXPIRED)
            await submit(order)

        if how == "denied":
            check = core.gate.check
            core.gate.check = lambda intent: _no_market(check(intent))  # type: ignore[method-assign]
        elif how == "rejected":
            core.engine.ledger.refusal = _refuse_market  # type: ignore[method-assign, assignment]
        else:
            core.venue.submit = stop  # type: ignore[method-assign]
        core.guard.trip(TripReason.KILL_BUTTON)
        for round_number in range(300):
            await core.exits.mend()
            await core.exits.leave_everything("liquidate")
            core.clock.mono += 10_000_000
            assert _protected(core) == 1_000, round_number
        assert len(_exits(core)) == 3 * SECOND // RETRY_NS

    asyncio.run(run())


def _no_market(verdict: Approved | Denied) -> Approved | Denied:
    if isinstance(verdict, Approved) and verdict.order_class is OrderClass.REDUCE:
        symbol, source = verdict.instrument, verdict.source
        return Denied(verdict.intent_id, source, symbol, OrderClass.REDUCE, Reason.MALFORMED, "test")
    return verdict


def _refuse_market(request: object, _reference: int) -> tuple[str, str] | None:
    return None if getattr(request, "order_type", None) is OrderType.STOP else ("CLOSED", "no market now")


@pytest.mark.safety("S7.5")
def test_a_venue_that_keeps_the_leg_is_no_request_storm() -> None:
    """Cancels that get no answer: the leg stays counted, no exit beside it, one attempt a second."""

    async def run() -> None:
        core = await _held()

        async def lose(_order: Approved) -> None:
            raise TransportError("no answer")

        core.venue.cancel = lose  # type: ignore[method-assign, assignment]
        for _ in range(300):
            await core.exits.leave_everything("liquidate")
            core.clock.mono += 10_000_000
        cancels = [data for data in core.scribe.of("intent") if data["action"] == "CANCEL"]
        assert len(cancels) == 3 * SECOND // RETRY_NS
        assert not _exits(core)
        assert _protected(core) == 1_000

    asyncio.run(run())


@pytest.mark.safety("HW-10")
def test_a_refusal_before_a_trip_does_not_delay_its_liquidation() -> None:
    """A strategy's close was refused 10 ms before the button: the emergency does not wait out its second."""

    async def run() -> None:
        core = await _held()
        refusal = core.engine.ledger.refusal
        core.engine.ledger.refusal = _refuse_market  # type: ignore[method-assign, assignment]
        await core.exits.leave_everything("close")
        core.engine.ledger.refusal = refusal  # type: ignore[method-assign]
        core.clock.mono += 10_000_000
        core.guard.trip(TripReason.KILL_BUTTON)
        core.exits.begin_sweep()
        await core.exits.leave_everything("liquidate")
        assert [order.order_class for order in core.orders.live()] == [OrderClass.REDUCE]

    asyncio.run(run())


@pytest.mark.safety("S7.8")
def test_one_of_two_legs_let_go_is_put_back_while_the_other_stays() -> None:
    """Two entries, two legs; the venue answers one cancel only."""

    async def run() -> None:
        core = await _held()
        await core.desk.place(core.intent(qty=Qty(500)))
        await core.market(100_000)
        assert _protected(core) == 1_500
        cancel, calls = core.venue.cancel, 0

        async def one_answer(order: Approved) -> None:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise PeerError("no")
            await cancel(order)

        core.venue.cancel = one_answer  # type: ignore[method-assign]
        await core.exits.leave_everything("close")
        assert not _exits(core)
        assert _protected(core) == 1_500

    asyncio.run(run())


@pytest.mark.safety("S7.2")
def test_liquidation_never_sends_more_than_came_from_fills() -> None:
    """The venue's account holds 50.00 more from elsewhere: 10.00 are sold."""

    async def run() -> None:
        core = await _held()
        core.engine.ledger.positions[SPX] += 5_000
        core.guard.trip(TripReason.KILL_BUTTON)
        await core.exits.leave_everything("liquidate")
        asked = [o.qty for o in core.orders.live() if o.order_class is OrderClass.REDUCE]
        assert asked == [1_000]

    asyncio.run(run())


@pytest.mark.safety("S7.3")
def test_liquidation_at_the_venue_cannot_cross_zero() -> None:
    """The venue holds less than we think: the exit is reduce-only and sells what is there."""

    async def run() -> None:
        core = await _held()
        await core.exits.leave_everything("liquidate")
        core.engine.ledger.positions[SPX] = 300
        core.engine.stand_still(SPX)
        assert core.engine.ledger.positions[SPX] == 0

    asyncio.run(run())


@pytest.mark.safety("S7.1")
def test_only_what_is_configured_is_ever_liquidated() -> None:
    """A position of the account in another instrument is nobody's here."""

    async def run() -> None:
        core = await _held()
        core.engine.ledger.positions[InstrumentId("DAX")] = 7_000
        await core.exits.leave_everything("liquidate")
        assert {o.instrument for o in core.orders.live()} == {SPX}

    asyncio.run(run())


@pytest.mark.safety("S7.4")
def test_dust_is_listed() -> None:
    """0.40 where the venue takes 0.50: flat, and named."""

    async def run() -> None:
        core = Core(instrument=spx(min_qty=50))
        await core.hold_position(1_000)
        assert core.portfolio.dust() == {}
        await core.desk.place(core.intent(side=Side.SELL, qty=Qty(960)))
        await core.market(100_000)
        assert core.portfolio.is_flat()
        assert core.portfolio.dust() == {"SPX": "0.40"}

    asyncio.run(run())


def test_a_cancelled_order_that_fills_late_is_still_seen() -> None:
    """The cancel crossed the fill: what was bought is held, and the next round sells it."""

    async def run() -> None:
        core = Core(limits=instrument_limits(max_order_value=10**9 * AMOUNT_ONE))
        await core.market(100_000)
        verdict = await core.desk.place(core.intent(qty=Qty(300)))
        assert isinstance(verdict, Approved)
        await core.market(100_000)
        order = core.orders.get(verdict.order_id)
        assert order is not None
        await core.desk.cancel(order)
        await core.desk.collect()
        after = core.orders.get(verdict.order_id)
        assert after is not None
        assert after.state is OrderState.FILLED
        core.guard.trip(TripReason.KILL_BUTTON)
        await core.exits.leave_everything("liquidate")
        assert [data["qty"] for data in _exits(core)] == ["3.00"]

    asyncio.run(run())


async def _in_slices(largest: int, at_once: int = 4) -> Core:
    """10.00 held, tripped, and the largest order is `largest` hundredths."""
    core = await _held()
    core.exits = ExitFlow(core.desk, core.portfolio, core.venue, core.clock, fate, at_once)
    core.limits.instruments[SPX] = instrument_limits(max_order_qty=largest)
    core.guard.trip(TripReason.KILL_BUTTON)
    return core


async def _round(core: Core) -> list[object]:
    """One round of the liquidation against a market that stands still; what was sent in it."""
    before = len(_exits(core))
    await core.exits.leave_everything("liquidate")
    core.engine.stand_still(SPX)
    await core.desk.collect()
    await core.exits.mend()
    return [data["qty"] for data in _exits(core)[before:]]


@pytest.mark.safety("S7.7")
@pytest.mark.parametrize(
    ("largest", "at_once", "rounds"),
    [
        (400, 4, [["4.00", "4.00", "2.00"]]),
        (400, 2, [["4.00", "4.00"], ["2.00"]]),
        (100, 4, [["1.00"] * 4, ["1.00"] * 4, ["1.00"] * 2]),
        (1_000, 4, [["10.00"]]),
        (999, 4, [["9.99", "0.01"]]),
        (400, 1, [["4.00"], ["4.00"], ["2.00"]]),
    ],
)
def test_slices_of_a_liquidation_leave_side_by_side(largest: int, at_once: int, rounds: list[object]) -> None:
    """Each is the largest the gate lets through, together exactly what is held, no pause between rounds."""

    async def run() -> None:
        core = await _in_slices(largest, at_once)
        assert [await _round(core) for _ in rounds] == rounds
        assert core.portfolio.is_flat()
        assert await _round(core) == []

    asyncio.run(run())


@pytest.mark.safety("S7.5")
def test_a_thin_book_gets_one_slice_at_a_time_and_no_pause() -> None:
    """A book of 1.00 a round: the first slice sells, three do not; then one by one, as if never together."""

    async def run() -> None:
        core = await _in_slices(100)
        core.engine.terms = replace(core.terms, depth_value=Amount(200 * AMOUNT_ONE))  # 0.20 on five levels
        sent = [len(await _round(core)) for _ in range(8)]
        assert sent == [4, 1, 2, 1, 2, 1, 2, 1]
        assert core.portfolio.holdings[SPX].position == 200, "8 rounds, 8 slices: as one at a time"
        prices = {data["price"] for data in _exits(core)}
        assert prices == {"950.00"}, "inside the first collar: it sells there"

    asyncio.run(run())


@pytest.mark.safety("S7.10")
def test_a_round_that_sold_less_than_its_first_slice_waits_and_goes_wider() -> None:
    """Once for the whole round, however many of its slices were left."""

    async def run() -> None:
        core = await _in_slices(400)
        await core.exits.leave_everything("liquidate")
        core.steps += 1
        await core.venue.step(core.bar(70_000), core.steps)  # the venue fell; the core does not know yet
        await core.desk.collect()
        await core.exits.mend()
        assert len(_exits(core)) == 3
        await core.exits.leave_everything("liquidate")
        assert len(_exits(core)) == 3, "a second's pause"
        assert _protected(core) == core.portfolio.holdings[SPX].position
        core.clock.mono += RETRY_NS
        assert len(await _round(core)) == 1
        assert [data["price"] for data in _exits(core)] == ["950.00"] * 3 + ["900.00"]

    asyncio.run(run())


def test_width_comes_back_when_everything_sells_and_with_a_new_trip() -> None:
    """One, two, four; a new sweep begins at four."""

    async def run() -> None:
        core = await _in_slices(50)
        key = (BOT, SPX)
        core.exits._width[key] = 1
        assert [len(await _round(core)) for _ in range(3)] == [1, 2, 4]
        core.exits._width[key] = 1
        core.exits.begin_sweep()
        assert len(await _round(core)) == 4

    asyncio.run(run())


@pytest.mark.safety("S7.8")
def test_a_slice_that_gets_lost_is_the_last_of_its_round() -> None:
    """Nothing more is sent into a line that swallows; what was not sent stays behind its stop."""

    async def run() -> None:
        core = await _in_slices(300)
        submit, sent = core.venue.submit, 0

        async def lose_second(order: Approved) -> None:
            nonlocal sent
            sent += order.order_class is OrderClass.REDUCE
            if sent == 2 and order.order_class is OrderClass.REDUCE:
                raise TransportError("no connection")
            await submit(order)

        core.venue.submit = lose_second  # type: ignore[method-assign]
        assert await _round(core) == ["3.00", "3.00"]
        assert _protected(core) == 400
        core.clock.mono += SWEEP_NS
        await core.exits.reconcile()
        await core.exits.mend()
        assert _protected(core) == core.portfolio.holdings[SPX].position == 700
        assert await _round(core) == ["3.00"], "the first slice sold: no pause, one alone"

    asyncio.run(run())


def test_a_slice_that_is_refused_ends_its_round() -> None:
    """The first ones go on; what was refused stays behind its stop and is asked for alone next time."""

    async def run() -> None:
        core = await _in_slices(300)
        submit, sent = core.venue.submit, 0

        async def stop_second(order: Approved) -> None:
            nonlocal sent
            sent += order.order_class is OrderClass.REDUCE
            if sent == 2 and order.order_class is OrderClass.REDUCE:
                raise StoppedAtWire("APPROVAL_EXPIRED")
            await submit(order)

        core.venue.submit = stop_second  # type: ignore[method-assign]
        assert await _round(core) == ["3.00", "3.00"]
        assert _protected(core) == core.portfolio.holdings[SPX].position == 700
        assert len(await _round(core)) == 2, "one, doubled by a round that sold all"

    asyncio.run(run())


def test_two_tasks_do_not_leave_the_same_holding_at_once() -> None:
    """Pipeline and safety loop both look: the second finds the first at work."""

    async def run() -> None:
        core = await _in_slices(400)
        cancel, entered = core.desk.cancel, asyncio.Event()

        async def slowly(order: Order) -> None:
            entered.set()
            await asyncio.sleep(0)
            await cancel(order)

        core.desk.cancel = slowly  # type: ignore[method-assign]
        first = asyncio.create_task(core.exits.leave_everything("liquidate"))
        await entered.wait()
        await core.exits.leave_everything("close")
        await first
        assert [data["qty"] for data in _exits(core)] == ["4.00", "4.00", "2.00"]
        asked = [str(data["intent"]) for data in core.scribe.of("intent")]
        assert not [each for each in asked if each.startswith("close/")]

    asyncio.run(run())


def test_a_slice_leaves_no_rest_that_could_not_leave() -> None:
    """10.00 in orders of 0.50 to 9.80: not 9.80 and dust of 0.20, but 9.50 and 0.50."""

    async def run() -> None:
        core = await _held(instrument=spx(min_qty=50))
        core.limits.instruments[SPX] = instrument_limits(max_order_qty=980)
        core.guard.trip(TripReason.KILL_BUTTON)
        assert await _round(core) == ["9.50", "0.50"]
        assert core.portfolio.holdings[SPX].position == 0

    asyncio.run(run())


@pytest.mark.parametrize("left", [400, 0])
def test_a_round_stops_where_the_position_is_covered(left: int) -> None:
    """A stop fired behind our back while the first slice left: what is not held any more is not asked for."""

    async def run() -> None:
        core = await _in_slices(400)
        held = core.portfolio.held
        place = core.desk.place

        async def lose_the_rest(intent: Intent, causes: Sequence[int] = ()) -> Verdict:
            verdict = await place(intent, causes)
            if isinstance(verdict, Approved) and verdict.order_class is not OrderClass.REDUCE:
                return verdict
            core.portfolio.held = lambda: [(s, i, left) for s, i, _ in held()]  # type: ignore[method-assign]
            return verdict

        core.desk.place = lose_the_rest  # type: ignore[method-assign]
        await core.exits.leave_everything("liquidate")
        assert [data["qty"] for data in _exits(core)] == ["4.00"]

    asyncio.run(run())


def test_nothing_is_sent_for_what_its_stop_has_sold() -> None:
    """Between the look and the cancel of the leg it fired: nothing is held."""

    async def run() -> None:
        core = await _held()
        core.portfolio.held = list  # type: ignore[method-assign]
        await core.exits.leave(BOT, core.instrument, 1_000, "close")
        assert _exits(core) == []

    asyncio.run(run())


def test_an_exit_that_was_forgotten_ends_its_round() -> None:
    """Its row is in the log; in memory it made room for others."""

    async def run() -> None:
        core = await _in_slices(400)
        await core.exits.leave_everything("liquidate")
        core.engine.stand_still(SPX)
        await core.desk.collect()
        core.orders.forget_ended(0)
        await core.exits.mend()
        assert core.exits._replaced == {}
        assert (core.exits._rung, core.exits._width) == ({}, {(BOT, SPX): 4})

    asyncio.run(run())


@pytest.mark.parametrize("failing", [1, 2])
def test_a_slice_is_not_forgotten_when_the_venue_falls_silent_behind_it(failing: int) -> None:
    """The answer of the first or second slice is not heard: all that left is mended when it has ended."""

    async def run() -> None:
        core = await _in_slices(300)
        place, collect, armed = core.desk.place, core.desk.collect, 0

        async def count(intent: Intent, causes: Sequence[int] = ()) -> Verdict:
            nonlocal armed
            verdict = await place(intent, causes)
            armed += isinstance(verdict, Approved) and verdict.order_class is OrderClass.REDUCE
            return verdict

        async def silent() -> object:
            if armed == failing:
                raise TransportError("no answer")
            return await collect()

        core.desk.place = count  # type: ignore[method-assign]
        core.desk.collect = silent  # type: ignore[method-assign, assignment]
        with pytest.raises(TransportError):
            await core.exits.leave_everything("liquidate")
        core.desk.place, core.desk.collect = place, collect  # type: ignore[method-assign]
        assert len(core.exits._replaced) == failing
        await core.desk.collect()
        for order_id in core.exits._replaced:
            core.engine.cancel(order_id)
        await core.desk.collect()
        await core.exits.mend()
        assert _protected(core) == 300 * failing
        assert core.exits._rung == {(BOT, SPX): 1}

    asyncio.run(run())


@pytest.mark.parametrize(("depth", "waits"), [(59, True), (80, False)])
def test_a_round_is_measured_by_its_first_slice_not_by_its_last(depth: int, waits: bool) -> None:
    """4.00, 4.00 and 2.00 meet a book of 2.95 or 4.00: less than what would have gone alone waits."""

    async def run() -> None:
        core = await _in_slices(400)
        value = (depth + 1) * 1_000 * AMOUNT_ONE // 100
        core.engine.terms = replace(core.terms, depth_value=Amount(value))
        assert len(await _round(core)) == 3
        sold = 1_000 - core.portfolio.holdings[SPX].position
        assert (200 < sold < 400) is waits
        assert (await _round(core) == []) is waits

    asyncio.run(run())
