"""A venue that fails again and again, on the whole decision core: new exposure waits, exits go on.

The core is the real one of `tests.kit` with its safety loop; the venue is the in-process one, or the paper
venue's own server over loopback HTTP, and fails when the test says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from appliance.domain.breaker import BreakerState, Component
from appliance.domain.errors import TransportError
from appliance.domain.ids import OrderId
from appliance.domain.intent import OrderType, Side
from appliance.domain.mode import HoldCause, TripReason
from appliance.domain.money import Price, Qty
from appliance.domain.order import OrderState
from appliance.domain.reasons import Reason
from appliance.domain.verdict import Approved, Denied, OrderClass, Verdict
from appliance.ports import StoppedAtWire
from appliance.runtime.breaker_watch import BreakerWatch
from appliance.runtime.clock import WallClock
from appliance.runtime.guarded import GuardedVenue
from appliance.venues.paper_client import PaperClient
from appliance.venues.paper_server import PaperServer
from appliance.venues.wire import make_recheck
from tests.flow.test_safety_loop import Loop
from tests.flow.test_wire_door import serving
from tests.kit import SECOND, SPX, Core

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
COOLDOWN = 10 * SECOND


class Flaky:
    """Every named call of the core's venue raises while `down`; calls that were asked for are counted."""

    def __init__(self, core: Core, *names: str, lose_the_reply: bool = False) -> None:
        self.down = False
        self.asked: dict[str, int] = dict.fromkeys(names, 0)
        self._after = lose_the_reply
        for name in names:
            setattr(core.venue, name, self._wrapped(name, getattr(core.venue, name)))

    def _wrapped(self, name: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def flaky(*arguments: Any) -> Any:
            self.asked[name] += 1
            if self.down and not self._after:
                raise TransportError(f"{name}: no answer")
            answer = await call(*arguments)
            if self.down:
                raise TransportError(f"{name}: the answer was lost")
            return answer

        return flaky


class Box:
    """A core holding 10.00, its loop and its breaker watch."""

    def __init__(self, core: Core, latch_directory: Path) -> None:
        self.core = core
        latch_directory.mkdir()
        self.loop = Loop(core, latch_directory)
        self.loop.watch._venue = core.door
        self.watch = BreakerWatch(core.breakers, core.holds, core.scribe, core.clock, core.door.name)
        self.loop.watch.before_beat = self.watch.round
        self.loop.watch.catch_up()

    def round(self) -> None:
        """The safety loop's."""
        self.loop.watch.round()

    def state(self, component: Component) -> BreakerState:
        """Of one breaker."""
        return self.core.breakers[component].state

    async def buy(self) -> Verdict:
        """New exposure, smallest size."""
        return await self.core.desk.place(self.core.intent(qty=Qty(1)))

    async def buy_until_denied(self) -> Denied:
        """At most eight: the breaker's window."""
        for _ in range(9):
            verdict = await self.buy()
            if isinstance(verdict, Denied):
                return verdict
        raise AssertionError("the breaker never opened")

    def changes(self, component: Component) -> list[str]:
        """States it went to, from the log."""
        return [entry["to"] for entry in self.core.scribe.of("breaker") if entry["component"] == component]

    def causes(self) -> list[str]:
        """Standing holds."""
        return [hold.cause for hold in self.core.holds.standing()]


async def _box(tmp_path: Path) -> Box:
    core = Core()
    await core.hold_position(1_000)
    return Box(core, tmp_path / "latch")


@pytest.mark.safety("S2.5", "S2.8")
@pytest.mark.parametrize("lose_the_reply", [False, True])
def test_a_venue_that_loses_orders_gets_no_new_exposure_and_every_exit(
    tmp_path: Path, lose_the_reply: bool
) -> None:
    """From the first lost order to the closed breaker; what was lost on the way is looked up afterwards."""

    async def run() -> None:
        box = await _box(tmp_path)
        core = box.core
        flaky = Flaky(core, "submit", "cancel", lose_the_reply=lose_the_reply)
        leg = next(core.orders.live())
        flaky.down = True
        denied = await box.buy_until_denied()
        assert denied.reason is Reason.BREAKER_OPEN
        assert denied.detail.startswith("order_entry is OPEN, ")
        assert box.changes(Component.ORDER_ENTRY) == ["OPEN"]
        sent = flaky.asked["submit"]
        assert isinstance(await box.buy(), Denied)
        assert flaky.asked["submit"] == sent, "nothing of it reached the venue"
        box.round()
        assert box.causes() == [HoldCause.BREAKER]
        assert isinstance(await core.desk.place(core.intent(side=Side.SELL, qty=Qty(100))), Approved)
        await core.desk.cancel(leg)
        assert (flaky.asked["submit"], flaky.asked["cancel"]) == (sent + 1, 1), "an exit and a cancel leave"
        flaky.down = False
        exit_intent = core.intent(side=Side.SELL, qty=Qty(100))
        assert isinstance(await core.desk.place(exit_intent), Approved)
        await core.market(100_000)
        assert core.portfolio.holdings[SPX].position < 1_000, "and fill while it is open"
        assert box.state(Component.ORDER_ENTRY) is OPEN, "an exit that works does not shorten the cooldown"
        await _back_to_normal(box)

    asyncio.run(run())


async def _back_to_normal(box: Box) -> None:
    core = box.core
    core.clock.mono += 2 * SECOND
    await box.loop.watch.work_once()  # looks up what was lost
    assert not core.orders.unsettled()
    core.clock.mono += COOLDOWN - 2 * SECOND - 1
    assert isinstance(await box.buy(), Denied)
    core.clock.mono += 1
    box.round()
    assert box.causes() == []
    for _ in range(2):
        assert isinstance(await box.buy(), Approved)
    assert box.changes(Component.ORDER_ENTRY) == ["OPEN", "HALF_OPEN", "CLOSED"]
    assert [entry["cause"] for entry in core.scribe.of("hold_end")] == [HoldCause.BREAKER]
    assert core.breakers[Component.ORDER_ENTRY].free
    await core.market(100_000)
    assert core.portfolio.disagreement(core.engine.ledger.account()) == ""


def test_a_probe_that_fails_begins_the_cooldown_again(tmp_path: Path) -> None:
    """One order tries; it is lost like the others, and the next waits ten seconds more."""

    async def run() -> None:
        box = await _box(tmp_path)
        flaky = Flaky(box.core, "submit")
        flaky.down = True
        await box.buy_until_denied()
        sent = flaky.asked["submit"]
        for number in range(1, 4):
            box.core.clock.mono += COOLDOWN
            assert isinstance(await box.buy(), Approved)
            assert flaky.asked["submit"] == sent + number
            assert isinstance(await box.buy(), Denied)
        assert box.changes(Component.ORDER_ENTRY) == ["OPEN"] + ["HALF_OPEN", "OPEN"] * 3

    asyncio.run(run())


def test_the_door_refuses_what_the_gate_let_through_before_it_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read twice, like the latch: the order ends STOPPED_AT_WIRE, never sent, with the reason in the log."""

    async def run() -> None:
        box = await _box(tmp_path)
        core = box.core
        flaky = Flaky(core, "submit")
        await_record = core.desk._await_record

        async def opens_meanwhile(*arguments: Any) -> None:
            await await_record(*arguments)
            look_ups = core.breakers[Component.LOOK_UPS]
            for _ in range(4):
                look_ups.failed(look_ups.begin(exempt=True))

        monkeypatch.setattr(core.desk, "_await_record", opens_meanwhile)
        verdict = await box.buy()
        assert isinstance(verdict, Approved)
        assert flaky.asked["submit"] == 0
        order = core.orders.get(verdict.order_id)
        assert order is not None
        assert order.state is OrderState.STOPPED_AT_WIRE
        assert core.scribe.of("order")[-1]["why"] == Reason.BREAKER_OPEN
        assert core.portfolio.holdings[SPX].working_buy == 0
        assert core.breakers[Component.ORDER_ENTRY].failures == 0, "not sent is no failure of the venue"

    asyncio.run(run())


def test_a_trip_at_the_wire_is_no_failure_of_the_venue() -> None:
    """StoppedAtWire by the latch says nothing about it: the probe's token is back, nothing is proven."""

    async def run() -> None:
        core = Core()
        await core.market(100_000)
        order = core.gate.check(core.intent())
        assert isinstance(order, Approved)
        core.guard.trip(TripReason.KILL_BUTTON)
        with pytest.raises(StoppedAtWire, match="LATCH_MOVED"):
            await core.door.submit(order)
        entry = core.breakers[Component.ORDER_ENTRY]
        assert (entry.successes, entry.failures, entry.abandoned) == (0, 0, 1)

    asyncio.run(run())


def test_look_ups_that_fail_keep_new_exposure_away_and_are_asked_on(tmp_path: Path) -> None:
    """The account cannot be read: VENUE_DOWN stands without a gap, the breaker opens; both end with it."""

    async def run() -> None:
        box = await _box(tmp_path)
        core, watch = box.core, box.loop.watch
        flaky = Flaky(core, "account", "open_orders", "order")
        flaky.down = True
        for count in range(1, 7):
            await watch.work_once()
            box.round()
            assert HoldCause.VENUE_DOWN in box.causes()
            assert flaky.asked["account"] == count, "a round that asks nothing would say that it is up"
            core.clock.mono += SECOND // 4
        assert box.state(Component.LOOK_UPS) is OPEN
        assert set(box.causes()) == {HoldCause.VENUE_DOWN, HoldCause.BREAKER}
        denied = await box.buy()
        assert isinstance(denied, Denied)
        assert denied.reason is Reason.BREAKER_OPEN
        assert isinstance(await core.desk.place(core.intent(side=Side.SELL, qty=Qty(100))), Approved)
        assert box.state(Component.ORDER_ENTRY) is CLOSED
        flaky.down = False
        await watch.work_once()
        box.round()
        assert box.causes() == [HoldCause.BREAKER], "it answers; the cooldown is served all the same"
        core.clock.mono += COOLDOWN
        for _ in range(2):
            await watch.work_once()
            box.round()
            core.clock.mono += 5 * SECOND
        assert box.state(Component.LOOK_UPS) is CLOSED
        assert box.causes() == []
        assert isinstance(await box.buy(), Approved)

    asyncio.run(run())


@pytest.mark.safety("S2.3")
def test_an_emergency_cancels_and_sells_through_open_breakers(tmp_path: Path) -> None:
    """Everything open when the button is pressed: the sweep is confirmed, the position is gone."""

    async def run() -> None:
        box = await _box(tmp_path)
        core, watch = box.core, box.loop.watch
        await core.desk.place(core.intent(order_type=OrderType.LIMIT, price=Price(97_000)))
        for component in Component:
            for _ in range(8):
                core.breakers[component].failed(core.breakers[component].begin(exempt=True))
            assert box.state(component) is OPEN
        core.guard.trip(TripReason.DRAWDOWN)
        for _ in range(6):
            box.round()
            await watch.work_once()
            await core.door.stand_still([SPX])
            core.clock.mono += SECOND
        assert core.portfolio.is_flat()
        assert core.exits.confirmed
        assert {data["class"] for data in core.scribe.of("verdict") if "order_id" in data} >= {
            OrderClass.CANCEL,
            OrderClass.REDUCE,
        }
        assert sum(each.refused for each in core.breakers) == 0

    asyncio.run(run())


def test_the_market_is_left_alone_while_it_fails_and_exits_can_still_fill(tmp_path: Path) -> None:
    """Steps are refused without a call; standing still, which an exit needs, is not."""

    async def run() -> None:
        box = await _box(tmp_path)
        core = box.core
        flaky = Flaky(core, "step", "stand_still")
        flaky.down = True
        bar = core.bar(100_100)
        for _ in range(8):
            with pytest.raises(TransportError):
                await core.door.step(bar, core.steps + 1)
        assert flaky.asked["step"] < 8
        assert box.state(Component.MARKET) is OPEN
        denied = await box.buy()
        assert isinstance(denied, Denied)
        assert denied.detail.startswith("market is OPEN, ")
        flaky.down = False
        assert isinstance(await core.desk.place(core.intent(side=Side.SELL, qty=Qty(100))), Approved)
        await core.door.stand_still([SPX])
        await core.desk.collect()
        assert core.portfolio.holdings[SPX].position == 900
        core.clock.mono += COOLDOWN
        for number in (1, 2):
            await core.door.step(core.bar(100_100), core.steps + number)
        assert box.state(Component.MARKET) is CLOSED

    asyncio.run(run())


def test_what_is_counted_as_a_look_up() -> None:
    """Account, orders and fates; reading what replies have brought is no call and proves nothing."""

    async def run() -> None:
        core = Core()
        await core.door.events()
        assert all(each.successes == 0 for each in core.breakers)
        assert (await core.door.account()).cash == core.portfolio.cash
        assert await core.door.order(OrderId("il-nobody-knows-this-order")) is None
        assert await core.door.open_orders() == []
        assert core.breakers[Component.LOOK_UPS].successes == 3

    asyncio.run(run())


@pytest.mark.safety("S2.8")
def test_what_exits_need_to_know_passes_open_breakers(tmp_path: Path) -> None:
    """Account, open orders, an order's fate, a market that stands still: asked, answered and counted."""

    async def run() -> None:
        box = await _box(tmp_path)
        core = box.core
        for breaker in core.breakers:
            for _ in range(9):
                breaker.failed(breaker.begin(exempt=True))
        passed = {each.component: each.passed for each in core.breakers}
        leg = next(core.orders.live())
        assert await core.door.account() == core.engine.ledger.account()
        assert [each.order_id for each in await core.door.open_orders()] == [leg.id]
        found = await core.door.order(leg.id)
        assert found is not None
        assert found.order_id == leg.id
        told = len(core.engine.ledger.log)
        await core.desk.place(core.intent(side=Side.SELL, qty=Qty(100)))
        await core.door.stand_still([SPX])
        assert len(core.engine.ledger.log) > told
        assert len(await core.door.events()) == len(core.engine.ledger.log) - told
        more = {each.component: each.passed - passed[each.component] for each in core.breakers}
        assert {component: number for component, number in more.items() if number} == {
            Component.ORDER_ENTRY: 1,
            Component.LOOK_UPS: 3,
            Component.MARKET: 1,
        }
        assert sum(each.refused for each in core.breakers) == 0

    asyncio.run(run())


def test_a_paper_venue_that_answers_503_over_http(tmp_path: Path) -> None:
    """The real connector and server: an error answer is a failure, a business refusal is not."""
    down = False

    @web.middleware
    async def unsteady(request: web.Request, handler: Any) -> web.StreamResponse:
        if down:
            return web.Response(status=503, text="maintenance")
        answer: web.StreamResponse = await handler(request)
        return answer

    async def run() -> None:
        nonlocal down
        core = Core()
        await core.market(100_000)
        server = PaperServer([core.instrument], core.terms, tmp_path / "orders.jsonl", WallClock())
        app = server.app()
        app.middlewares.append(unsteady)
        recheck = make_recheck(core.latch, core.clock)
        async with serving(app) as url, PaperClient(url, "t", recheck, WallClock()) as client:
            core.desk._venue = core.desk._sender._venue = GuardedVenue(client, core.breakers)
            await client.open()
            entry = core.breakers[Component.ORDER_ENTRY]
            unknown = core.cancel("il-nobody-knows-this-order")
            assert isinstance(await core.desk.place(unknown), Approved)
            assert (entry.successes, entry.failures) == (1, 0), "CancelRefused is an answer"
            down = True
            verdicts = [await core.desk.place(core.intent(qty=Qty(1))) for _ in range(6)]
            assert [type(each) for each in verdicts] == [Approved] * 3 + [Denied] * 3
            assert (entry.successes, entry.failures, entry.state) == (1, 3, OPEN)
            assert isinstance(await core.desk.place(core.cancel("il-x")), Approved)
            assert entry.failures == 4
            down = False
            core.clock.mono += COOLDOWN
            for _ in range(2):
                assert isinstance(await core.desk.place(core.intent(qty=Qty(1))), Approved)
            assert entry.state is CLOSED

    asyncio.run(run())
