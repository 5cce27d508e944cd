"""Parents worked child by child through gate, log and paper venue; crashes in the middle (EXEC_001)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from appliance.domain.errors import TransportError
from appliance.domain.ids import InstrumentId, IntentId, OrderId, TradeId, derive_order_id
from appliance.domain.intent import OrderType, Side
from appliance.domain.mode import BOX, HoldCause, Mode, TripReason
from appliance.domain.money import AMOUNT_ONE, Amount, Price, Qty
from appliance.domain.order import Fill, OrderState
from appliance.domain.status import Buckets
from appliance.domain.verdict import Approved, OrderClass
from appliance.orders.plan import Style
from appliance.orders.work import ASKS_PER_ORDER
from appliance.ports import StoppedAtWire
from appliance.safety.exits import SWEEP_NS
from appliance.venues.paper_terms import to_wire
from tests.execution_kit import Slicing
from tests.kit import BOT, SECOND, SPX, Core, instrument_limits

TWAP: dict[str, Any] = {"style": Style.TWAP, "slices": 4, "horizon_ns": 40 * SECOND, "jitter_ppm": 0}
ICEBERG: dict[str, Any] = {
    "style": Style.ICEBERG,
    "displayed_ppm": 250_000,
    "horizon_ns": 40 * SECOND,
    "jitter_ppm": 0,
}


_FILL = Fill(
    trade_id=TradeId("t"),
    order_id=OrderId("o"),
    instrument=SPX,
    side=Side.BUY,
    qty=Qty(1),
    price=Price(1),
    fee=Amount(0),
    maker=False,
    event_ns=1,
)


async def _started(qty: int = 100, core: Core | None = None, **recipe: Any) -> Slicing:
    flow = Slicing(core, **recipe)
    await flow.core.market(100_000)
    await flow.enter(qty)
    return flow


def test_a_plain_entry_is_the_order_it_always_was() -> None:
    """Its id follows from the intent's; two entries more in the log, and its figures at the end."""

    async def run() -> None:
        flow = await _started()
        (order,) = [o for o in flow.core.orders.live() if o.order_class is OrderClass.INCREASE]
        assert order.id == derive_order_id("test", BOT, IntentId("i1"))
        await flow.bar()
        assert flow.position == 100
        (ended,) = flow.ended()
        assert (ended["style"], ended["ending"], ended["filled"], ended["children"]) == (
            "plain", "DONE", "1.00", 1,
        )  # fmt: skip
        assert flow.executor.running() == []

    asyncio.run(run())


def test_a_twap_sends_one_slice_in_its_time_and_sums_to_the_whole() -> None:
    """Four slices, ten seconds apart, each with its own stop; done when the last has filled."""

    async def run() -> None:
        flow = await _started(**TWAP)
        sent = []
        for second in range(1, 36):
            await flow.bar()
            sent.append((second, len(flow.posted())))
        assert flow.posted() == [25, 25, 25, 25]
        grown = [second for (second, n), (_, before) in zip(sent[1:], sent, strict=False) if n > before]
        assert grown == [10, 20, 30]
        assert flow.position == 100
        assert flow.asked() == [f"i1/{index}" for index in range(4)]
        assert sum(leg.leaves for leg in flow.core.orders.protective(SPX, BOT)) == 100
        assert [data["ending"] for data in flow.ended()] == ["DONE"]

    asyncio.run(run())


def test_an_iceberg_shows_its_next_slice_when_the_last_is_filled() -> None:
    """It rests at the arrival price: nothing while the market is above it, all of it when it comes down."""

    async def run() -> None:
        flow = await _started(**ICEBERG)
        await flow.bar(100_500)
        assert (flow.posted(), flow.position) == ([25], 0)
        for filled in (25, 50, 75, 100):
            await flow.bar(100_500, low=99_000)
            assert flow.position == filled
        assert flow.posted() == [25, 25, 25, 25]
        (ended,) = flow.ended()
        assert (ended["ending"], ended["slippage_ppm"]) == ("DONE", "0")

    asyncio.run(run())


def test_a_horizon_ends_what_rests_and_sends_nothing_more() -> None:
    """At its end exactly: the child is cancelled, the rest dropped and told."""

    async def run() -> None:
        flow = await _started(**ICEBERG)
        for _ in range(39):
            await flow.bar(100_500)
        assert flow.executor.running() != []
        assert len(list(flow.core.engine.ledger.live)) == 1
        await flow.bar(100_500)
        assert list(flow.core.engine.ledger.live) == []
        await flow.bar(99_000)
        (ended,) = flow.ended()
        assert (ended["ending"], ended["filled"], ended["slippage_ppm"]) == ("EXPIRED", "0.00", "")
        assert float(str(ended["missed"])) == pytest.approx(-10.0), "it would have been cheaper by now"
        assert flow.posted() == [25]

    asyncio.run(run())


@pytest.mark.safety("S1.6")
@pytest.mark.parametrize("mode", [Mode.PAUSED, Mode.REDUCED, Mode.EMERGENCY])
@pytest.mark.parametrize("recipe", [TWAP, ICEBERG])
def test_a_mode_ends_an_entry_for_good(mode: Mode, recipe: dict[str, Any]) -> None:
    """What works is cancelled; after the way back to NORMAL nothing of it is sent any more."""

    async def run() -> None:
        flow = await _started(**recipe)
        flow.core.safety.mode = mode
        for _ in range(15):
            await flow.bar(100_500)
        flow.core.safety.mode = Mode.NORMAL
        for _ in range(15):
            await flow.bar(100_500)
        assert flow.posted() == [25]
        assert [data["ending"] for data in flow.ended()] == ["STOPPED"]
        assert not [o for o in flow.core.orders.live() if o.order_class is OrderClass.INCREASE]

    asyncio.run(run())


def test_a_trip_between_two_looks_ends_an_entry_although_the_box_is_armed_again() -> None:
    """The mode is NORMAL at both looks; the epoch is another one."""

    async def run() -> None:
        flow = await _started(**TWAP)
        core = flow.core
        core.guard.trip(TripReason.TAMPER)
        core.guard.press_key("ARMED")
        core.latch.clear(core.guard.state)
        core.safety.status = core.guard.status()
        for _ in range(30):
            await flow.bar()
        assert flow.posted() == [25]
        assert [data["ending"] for data in flow.ended()] == ["STOPPED"]

    asyncio.run(run())


def test_a_hold_suspends_an_entry_and_the_same_arming_resumes_it() -> None:
    """Nothing while it stands, one slice at a time after it, nothing after the horizon."""

    async def run() -> None:
        flow = await _started(**TWAP)
        await flow.bar()
        flow.core.holds.begin(HoldCause.STALE_DATA, BOX, 1, "")
        for _ in range(25):
            await flow.bar()
        assert flow.posted() == [25]
        flow.core.holds.end(HoldCause.STALE_DATA, BOX)
        await flow.bar()
        await flow.bar()
        assert flow.posted() == [25, 25, 25]
        for _ in range(15):
            await flow.bar()
        assert flow.posted() == [25, 25, 25, 25]
        assert [data["ending"] for data in flow.ended()] == ["DONE"]

    asyncio.run(run())


def test_a_hold_takes_what_rests_off_the_book_and_tries_it_again() -> None:
    """A resting slice is new exposure too; the try counts."""

    async def run() -> None:
        flow = await _started(**ICEBERG)
        flow.core.holds.begin(HoldCause.STALE_DATA, BOX, 1, "")
        await flow.bar(100_500)
        assert list(flow.core.engine.ledger.live) == []
        flow.core.holds.end(HoldCause.STALE_DATA, BOX)
        await flow.bar(100_500)
        assert flow.posted() == [25, 25]
        assert flow.asked() == ["i1/0", "i1/0"]
        attempts = [data["attempt"] for data in flow.core.scribe.of("intent") if data["action"] == "NEW"]
        assert attempts == [0, ASKS_PER_ORDER]

    asyncio.run(run())


def test_a_stop_that_fires_ends_the_buying() -> None:
    """What was bought is sold: buying on would undo it."""

    async def run() -> None:
        flow = await _started(**TWAP)
        await flow.bar()
        assert flow.position == 25
        await flow.bar(96_000, low=94_000)
        assert flow.position == 0
        for _ in range(30):
            await flow.bar()
        assert flow.posted() == [25]
        assert [data["ending"] for data in flow.ended()] == ["STOPPED"]

    asyncio.run(run())


def test_a_stopped_strategy_sends_no_slice() -> None:
    """Its limit was passed in between."""

    async def run() -> None:
        flow = await _started(**TWAP)
        await flow.bar()
        flow.core.portfolio.stop_source(BOT, "test", 1)
        for _ in range(15):
            await flow.bar()
        assert flow.asked() == ["i1/0"]
        assert [data["ending"] for data in flow.ended()] == ["STOPPED"]

    asyncio.run(run())


@pytest.mark.parametrize("style", [Style.PLAIN, Style.TWAP, Style.ICEBERG])
def test_a_denial_ends_it_and_is_in_the_log(style: Style) -> None:
    """The first child is always asked for, so that the gate says why not."""

    async def run() -> None:
        flow = Slicing(style=style)
        await flow.core.market(100_000)
        flow.core.safety.mode = Mode.PAUSED
        await flow.enter(100)
        (ended,) = flow.ended()
        assert (ended["ending"], ended["why"], ended["filled"]) == ("DENIED", "MODE_PAUSED", "0.00")
        assert flow.core.scribe.of("verdict")[0]["reason"] == "MODE_PAUSED"
        assert flow.executor.stats.line().parents["DENIED"] == 1

    asyncio.run(run())


def test_a_plain_entry_is_not_asked_for_again_after_a_denial_that_would_pass() -> None:
    """As ever: the strategy asks once."""

    async def run() -> None:
        flow = Slicing()
        await flow.core.market(100_000)
        flow.core.holds.begin(HoldCause.STALE_DATA, BOX, 1, "")
        await flow.enter(100)
        assert [(data["ending"], data["why"]) for data in flow.ended()] == [("DENIED", "HOLD")]

    asyncio.run(run())


def test_a_denial_that_passes_is_asked_again_and_not_for_ever() -> None:
    """A stale price: three tries a slice, then the next one."""

    async def run() -> None:
        flow = await _started(**TWAP)
        core = flow.core
        await flow.bar()
        for _ in range(15):
            core.clock.utc += SECOND
            core.portfolio.holdings[SPX].price_ns = core.clock.utc - 6 * SECOND
            await flow.executor.advance()
        assert flow.asked() == ["i1/0", "i1/1", "i1/1", "i1/1"]
        reasons = [data.get("reason", "") for data in core.scribe.of("verdict")]
        assert reasons == ["", "PRICE_STALE", "PRICE_STALE", "PRICE_STALE"]
        for _ in range(20):
            await flow.bar()
        assert flow.posted() == [25, 25, 25]
        (ended,) = flow.ended()
        assert (ended["ending"], ended["filled"], ended["children"], ended["retries"]) == (
            "DONE", "0.75", 6, 2,
        )  # fmt: skip

    asyncio.run(run())


async def _refusing(flow: Slicing, times: int, error: Exception) -> None:
    """The next `times` entries never reach the venue, for this reason."""
    submit, left = flow.core.venue.submit, times

    async def refuse(order: Approved) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            raise error
        await submit(order)

    flow.core.venue.submit = refuse  # type: ignore[method-assign]


@pytest.mark.parametrize(("refusals", "filled"), [(1, 100), (2, 100), (3, 75)])
def test_what_was_stopped_at_the_wire_is_tried_again_under_another_id(refusals: int, filled: int) -> None:
    """It never left, and that is known: two further tries, then the slice is given up."""

    async def run() -> None:
        flow = Slicing(**TWAP)
        await flow.core.market(100_000)
        await _refusing(flow, refusals, StoppedAtWire("APPROVAL_EXPIRED"))
        await flow.enter(100)
        for _ in range(35):
            await flow.bar()
        assert flow.position == filled
        ids = [data["order_id"] for data in flow.core.scribe.of("verdict") if data["class"] == "INCREASE"]
        assert len(ids) == len(set(ids)) == 4 + min(refusals, 2)
        assert flow.executor.stats.line().retries == min(refusals, 2)

    asyncio.run(run())


def test_an_unknown_fate_is_looked_up_and_nothing_is_sent_meanwhile() -> None:
    """Until the window and the margin have passed; then it never arrived, and is tried again."""

    async def run() -> None:
        flow = Slicing(**TWAP)
        await flow.core.market(100_000)
        await _refusing(flow, 1, TransportError("no connection"))
        await flow.enter(100)
        for _ in range(15):
            await flow.bar()
            await flow.core.exits.reconcile()
        assert flow.asked() == ["i1/0"]
        flow.core.clock.mono += SWEEP_NS
        assert await flow.core.exits.reconcile() == 0
        await flow.bar()
        assert flow.asked() == ["i1/0", "i1/0"]
        assert flow.posted() == [25]

    asyncio.run(run())


def test_a_child_that_was_given_up_and_turns_up_counts_as_sent() -> None:
    """Late, not found, then there after all: never more than the whole is on its way."""

    async def run() -> None:
        flow = Slicing(**(TWAP | {"retries": 0}))
        core = flow.core
        await core.market(100_000)
        submit, kept = core.venue.submit, []

        async def keep(order: Approved) -> None:
            kept.append(order)
            raise TransportError("no answer")

        core.venue.submit = keep  # type: ignore[method-assign]
        await flow.enter(100)
        core.venue.submit = submit  # type: ignore[method-assign]
        core.clock.mono += SWEEP_NS
        await core.exits.reconcile()
        first = core.orders.get(kept[0].order_id)
        assert first is not None
        assert first.state is OrderState.NEVER_ARRIVED
        core.engine.submit(to_wire(kept[0]))
        for _ in range(39):
            await flow.bar()
        assert flow.position == 100
        assert flow.posted() == [25, 25, 25, 25]

    asyncio.run(run())


def test_a_lost_child_that_turns_up_after_its_retry_takes_the_place_of_a_slice() -> None:
    """Sent twice, and both there: the last slice is not sent, and the whole is not exceeded."""

    async def run() -> None:
        flow = Slicing(**(TWAP | {"retries": 1}))
        core = flow.core
        await core.market(100_000)
        submit, kept = core.venue.submit, []

        async def keep(order: Approved) -> None:
            kept.append(order)
            raise TransportError("no answer")

        core.venue.submit = keep  # type: ignore[method-assign]
        await flow.enter(100)
        core.venue.submit = submit  # type: ignore[method-assign]
        core.clock.mono += SWEEP_NS
        await core.exits.reconcile()
        await flow.bar()
        assert flow.asked() == ["i1/0", "i1/0"]
        core.engine.submit(to_wire(kept[0]))
        for _ in range(39):
            await flow.bar()
        assert flow.asked() == ["i1/0", "i1/0", "i1/1", "i1/2"]
        assert (flow.posted(), flow.position) == ([25, 25, 25, 25], 100)

    asyncio.run(run())


def test_a_lost_child_that_still_works_leaves_no_room_for_the_last_slice() -> None:
    """Three slices have filled and the lost one is at the venue, unfilled: together they are the whole."""

    async def run() -> None:
        flow = Slicing(**(TWAP | {"retries": 1}))
        core = flow.core
        await core.market(100_000)
        submit, kept = core.venue.submit, []

        async def keep(order: Approved) -> None:
            kept.append(order)
            raise TransportError("no answer")

        core.venue.submit = keep  # type: ignore[method-assign]
        await flow.enter(100)
        core.venue.submit = submit  # type: ignore[method-assign]
        core.clock.mono += SWEEP_NS
        await core.exits.reconcile()
        for _ in range(28):
            await flow.bar()
        assert flow.position == 75
        core.engine.submit(to_wire(kept[0]))
        await core.desk.collect()
        core.clock.utc += 3 * SECOND
        await flow.executor.advance()
        assert flow.asked() == ["i1/0", "i1/0", "i1/1", "i1/2"]
        assert sum(flow.posted()) == 100

    asyncio.run(run())


def test_the_same_wish_twice_is_one_wish() -> None:
    """While it is worked, and when it is over, nothing happens but an entry in the log."""

    async def run() -> None:
        flow = Slicing(**TWAP)
        await flow.core.market(100_000)
        intent = await flow.enter(100)
        await flow.executor.enter(intent)
        for _ in range(35):
            await flow.bar()
        await flow.executor.enter(intent)
        assert flow.posted() == [25, 25, 25, 25]
        assert [data["execution"] for data in flow.core.scribe.of("execution")] == [
            "begun", "repeated", "ended", "repeated",
        ]  # fmt: skip

    asyncio.run(run())


def test_two_entries_of_one_source_are_worked_side_by_side() -> None:
    """Each in its own time, each with its own end."""

    async def run() -> None:
        flow = await _started(**TWAP)
        await flow.enter(40)
        for _ in range(35):
            await flow.bar()
        assert sorted(flow.posted()) == [10] * 4 + [25] * 4
        assert [(data["ending"], data["filled"]) for data in flow.ended()] == [
            ("DONE", "1.00"),
            ("DONE", "0.40"),
        ]

    asyncio.run(run())


def test_a_plan_for_an_instrument_that_is_gone_ends() -> None:
    """The configuration changed over a restart: the gate denies it, an exit has nothing to sell; both end."""

    async def run() -> None:
        flow = await _started(**TWAP)
        ((plan, cause),) = flow.plans()
        gone = [
            (
                replace(plan, style=style, parent=replace(plan.parent, id=IntentId(style), instrument="XYZ")),
                cause,
            )
            for style in (Style.TWAP, Style.EXIT)
        ]
        flow.executor.resume(gone, [], [(BOT, replace(_FILL, order_id="il-unknown"))])
        await flow.executor.advance()
        ends = {data["intent"]: (data["ending"], data["why"]) for data in flow.ended()}
        assert ends == {
            "twap": ("DENIED", "UNKNOWN_INSTRUMENT"),
            "exit": ("DONE", "nothing is left to send"),
        }

    asyncio.run(run())


def test_a_thin_market_fills_a_slice_in_tries() -> None:
    """What the venue ended with a rest is asked for again, and never more than the slice."""

    async def run() -> None:
        core = Core()
        core.limits.instruments[SPX] = instrument_limits(max_order_value=10**18, max_order_qty=10**6)
        flow = await _started(1_500, core, **(TWAP | {"slices": 1}))
        core.engine.terms = replace(core.terms, depth_value=Amount(1_000 * AMOUNT_ONE))
        for _ in range(8):
            await flow.bar()
        (ended,) = flow.ended()
        assert flow.posted() == [1_500, 1_005, 510]
        assert (ended["children"], ended["retries"], ended["filled"]) == (3, 2, "14.85")

    asyncio.run(run())


def test_a_close_takes_back_what_is_being_bought_and_stays_until_all_is_sold() -> None:
    """The resting slice is cancelled; what was bought leaves; nothing more is bought."""

    async def run() -> None:
        flow = await _started(**ICEBERG)
        await flow.bar(100_500, low=99_000)
        assert flow.position == 25
        await flow.close()
        for _ in range(5):
            await flow.bar(99_500)
        assert flow.position == 0
        assert [data["ending"] for data in flow.ended()] == ["REPLACED", "DONE"]
        assert flow.posted() == [25, 25]
        assert flow.executor.running() == []

    asyncio.run(run())


def test_a_close_larger_than_the_largest_order_is_finished() -> None:
    """Five slices, of which four leave at once; before, the rest stayed for ever."""

    async def run() -> None:
        core = Core()
        await core.hold_position(1_000)
        core.limits.instruments[SPX] = instrument_limits(max_order_qty=200)
        flow = Slicing(core)
        await flow.close()
        await flow.close()
        for _ in range(3):
            await flow.bar()
        assert flow.position == 0
        (ended,) = flow.ended()
        assert (ended["style"], ended["ending"], ended["filled"], ended["qty"]) == (
            "exit", "DONE", "10.00", "10.00",
        )  # fmt: skip
        assert ended["slippage_ppm"] != ""

    asyncio.run(run())


@pytest.mark.parametrize("mode", list(Mode))
def test_a_close_goes_on_in_every_mode_under_every_hold(mode: Mode) -> None:
    """Slices of an exit are exits."""

    async def run() -> None:
        core = Core()
        await core.hold_position(1_000)
        core.limits.instruments[SPX] = instrument_limits(max_order_qty=100)
        flow = Slicing(core)
        await flow.close()
        core.guard.trip(TripReason.TAMPER)
        core.safety.mode = mode
        core.holds.begin(HoldCause.STALE_DATA, BOX, 1, "")
        for _ in range(5):
            await flow.bar()
        assert flow.position == 0

    asyncio.run(run())


def test_a_close_while_the_entry_is_in_flight_sells_what_it_brings() -> None:
    """Nothing is held yet, but an order works: the close waits for it."""

    async def run() -> None:
        flow = await _started()
        submitted = flow.core.venue.cancel

        async def lost(_order: Approved) -> None:
            raise TransportError("no connection")

        flow.core.venue.cancel = lost  # type: ignore[method-assign, assignment]
        await flow.close()
        flow.core.venue.cancel = submitted  # type: ignore[method-assign]
        await flow.bar()
        assert flow.position == 100
        for _ in range(4):
            await flow.bar()
            flow.core.clock.mono += 2 * SECOND
        assert flow.position == 0
        assert flow.executor.running() == []

    asyncio.run(run())


def test_a_close_cancels_an_entry_that_is_found_only_later() -> None:
    """Its fate was unknown when the strategy wanted out: found resting, it is taken off the book."""

    async def run() -> None:
        flow = Slicing()
        core = flow.core
        await core.market(100_000)
        submit = core.venue.submit

        async def unheard(order: Approved) -> None:
            await submit(order)
            raise TransportError("no answer")

        core.venue.submit = unheard  # type: ignore[method-assign]
        await flow.executor.enter(core.intent(order_type=OrderType.LIMIT, price=Price(97_000)))
        core.venue.submit = submit  # type: ignore[method-assign]
        await flow.close()
        assert len(core.engine.ledger.live) == 1
        await flow.bar()
        assert core.engine.ledger.live == {}
        await flow.bar()
        endings = {(data["style"], data["ending"]) for data in flow.ended()}
        assert endings == {("plain", "REPLACED"), ("exit", "DONE")}

    asyncio.run(run())


def test_a_close_of_nothing_is_nothing() -> None:
    """No plan, no order; nor for an instrument nobody configured."""

    async def run() -> None:
        flow = Slicing()
        await flow.core.market(100_000)
        await flow.close()
        await flow.executor.close(flow.core.intent(instrument=InstrumentId("XYZ"), qty=Qty(5)))
        assert flow.core.scribe.of("execution") == []
        await flow.executor.enter(flow.core.intent(instrument=InstrumentId("XYZ")))
        assert flow.core.scribe.of("verdict")[0]["reason"] == "UNKNOWN_INSTRUMENT"
        assert flow.core.scribe.of("execution") == []

    asyncio.run(run())


def test_a_new_entry_ends_a_close() -> None:
    """The strategy changed its mind again; what is not sold yet stays. Beside an exit that still works the
    entry would trade with ourselves, and is denied."""

    async def run() -> None:
        core = Core()
        await core.hold_position(1_000)
        core.limits.instruments[SPX] = instrument_limits(max_order_qty=100)
        flow = Slicing(core)
        await flow.close()
        await flow.bar()
        await flow.enter(50)
        for _ in range(5):
            await flow.bar()
        assert flow.position > 100
        assert [data["ending"] for data in flow.ended()] == ["REPLACED", "DENIED"]
        assert flow.ended()[1]["why"] == "SELF_TRADE"

    asyncio.run(run())


def _counted(buckets: Buckets) -> list[int]:
    """Bounds of the buckets in which something is."""
    return [bound for bound, n in zip(buckets.bounds, buckets.counts, strict=False) if n]


def test_figures_of_a_parent() -> None:
    """Bought at 1,000.10 against an arrival of 1,000.00: 100 ppm, 0.10 and the fee of 1 per mille on 1.00."""

    async def run() -> None:
        flow = await _started()
        await flow.bar()
        (ended,) = flow.ended()
        assert (ended["arrival"], ended["slippage_ppm"]) == ("1000.00", "100")
        assert ended["fees"] == "1.0001000000"
        assert ended["shortfall"] == "1.1001000000"
        assert ended["missed"] == "0.0000000000"
        assert ended["fill_ns"] == "0"
        line = flow.executor.stats.line()
        assert (line.children, line.retries, line.parents["DONE"]) == (1, 0, 1)
        assert _counted(line.slippage_ppm) == [200]
        assert _counted(line.filled_percent) == [100]
        assert _counted(line.fill_ms) == [100]

    asyncio.run(run())
