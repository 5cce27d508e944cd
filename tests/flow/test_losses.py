"""Loss limits at account and at allocation level, through the pipeline (SAFETY 1)."""

from __future__ import annotations

import asyncio

import pytest

from appliance.domain.ids import SourceId
from appliance.domain.mode import Mode, TripReason
from appliance.domain.money import Qty
from appliance.domain.reasons import Reason
from appliance.domain.verdict import Approved, Denied, OrderClass
from appliance.pipeline import Pipeline, Stages
from appliance.portfolio.holdings import Allocation
from appliance.runtime.no_memory import NoMemory
from appliance.validation.recent import RecentPrices
from appliance.validation.signals import SignalLimits
from tests.kit import BOT, SECOND, SPX, Core, account_limits, source_limits

OTHER = SourceId("other")


class Flow:
    """A pipeline without strategies over a core with two sources, one of which holds 10.00."""

    def __init__(self, **limits: int) -> None:
        self.core = Core(account=account_limits(**limits), source=source_limits(drawdown_ppm=100))
        core = self.core
        core.limits.sources[OTHER] = source_limits(drawdown_ppm=100)
        core.portfolio.sources[OTHER] = Allocation(OTHER, core.portfolio.sources[BOT].capital)
        self.pipeline = Pipeline(
            Stages(
                portfolio=core.portfolio,
                strategies=(),
                recent=RecentPrices(60 * SECOND),
                signal_limits=SignalLimits(
                    strategies={}, instruments={SPX: core.instrument}, max_age_ns=SECOND, max_stop_ppm=10**6
                ),
                limits=core.limits,
                deploy_ppm={},
                memory=NoMemory(),
                desk=core.desk,
                exits=core.exits,
                executor=core.executor(),
                safety=core.safety,
                scribe=core.scribe,
                clock=core.clock,
            ),
            "test",
        )

    async def bar(self, price: int) -> None:
        """One bar with a range, which confirms by itself, through the pipeline."""
        core = self.core
        core.steps += 1
        observation = core.bar(price, low=price - 100, high=price + 100)
        await core.venue.step(observation, core.steps)
        await self.pipeline.on_observation(observation)

    def verdict(self, source: SourceId) -> Approved | Denied:
        """What the gate says to an entry of this source."""
        return self.core.gate.check(self.core.intent(source=source))


@pytest.mark.safety("S1.27")
def test_an_allocation_limit_stops_that_strategy_and_leaves_the_others() -> None:
    """Latched, said once, its exposure worked down; the box stays NORMAL and the other goes on."""

    async def run() -> None:
        flow = Flow()
        await flow.core.hold_position(1_000)
        await flow.bar(98_000)
        assert flow.core.safety.mode is Mode.NORMAL
        assert flow.core.portfolio.source_stopped(BOT)
        assert not flow.core.portfolio.source_stopped(OTHER)
        denied = flow.verdict(BOT)
        assert isinstance(denied, Denied)
        assert denied.reason is Reason.STRATEGY_STOPPED
        crossing = flow.verdict(OTHER)
        assert isinstance(crossing, Denied)
        assert crossing.reason is Reason.SELF_TRADE, "not against our own exit, while it works"
        assert [o.order_class for o in flow.core.orders.live()] == [OrderClass.REDUCE]
        await flow.bar(120_000)
        assert flow.core.portfolio.holdings[SPX].position == 0
        assert isinstance(flow.verdict(OTHER), Approved)
        assert flow.core.portfolio.source_stopped(BOT), "a recovery does not start it again"
        assert len(flow.core.scribe.of("strategy_stop")) == 1
        assert not flow.core.scribe.of("trip")

    asyncio.run(run())


@pytest.mark.safety("S1.26", "HW-21")
@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"drawdown_ppm": 100}, TripReason.DRAWDOWN),
        ({"daily_loss_ppm": 100}, TripReason.DAILY_LOSS),
    ],
)
def test_an_account_limit_trips_the_box(limits: dict[str, int], reason: TripReason) -> None:
    """EMERGENCY, and liquidation is due without a button."""

    async def run() -> None:
        flow = Flow(**limits)
        await flow.core.hold_position(1_000)
        await flow.bar(98_000)
        assert flow.core.guard.requests == [reason]
        assert flow.core.safety.mode is Mode.EMERGENCY
        assert flow.core.safety.liquidation_due()
        assert not flow.core.latch.is_open()

    asyncio.run(run())


def test_inside_every_limit_nothing_happens() -> None:
    """The control experiment."""

    async def run() -> None:
        flow = Flow()
        await flow.core.hold_position(1_000)
        await flow.bar(99_990)
        assert flow.core.safety.mode is Mode.NORMAL
        assert not flow.core.portfolio.source_stopped(BOT)
        assert not flow.core.guard.requests

    asyncio.run(run())


def test_the_marks_of_a_days_loss_are_told_once_a_day() -> None:
    """Alert, then slow, each once; the next day they may come again (CONTROLS 9)."""

    async def run() -> None:
        flow = Flow(loss_alert_ppm=50, loss_slow_ppm=150)
        flow.pipeline._drawdown_ppm = {}  # only the account's marks
        await flow.core.hold_position(1_000)
        for price in (99_950, 99_000, 99_000, 98_000, 99_900, 97_000):
            await flow.bar(price)
        told = flow.core.scribe.of("loss_level")
        assert [data["level"] for data in told] == ["alert", "slow"]
        flow.core.clock.utc += 86_400 * SECOND
        await flow.bar(97_000)
        assert flow.core.portfolio.loss_today_ppm == 0
        await flow.bar(94_000)
        told = flow.core.scribe.of("loss_level")
        assert [data["level"] for data in told] == ["alert", "slow", "slow"]

    asyncio.run(run())


def test_a_source_in_too_much_of_a_hurry_is_stopped_and_its_exposure_worked_down() -> None:
    """Level 2 of the throttle, through the pipeline: said once, nobody starts it again but a person."""

    async def run() -> None:
        flow = Flow(position_cap_ppm=10**6)
        flow.pipeline._drawdown_ppm = {}
        await flow.core.hold_position(1_000)
        flow.core.limits.sources[BOT] = source_limits(messages=3, drawdown_ppm=10**6)
        flow.core.gate.pace._sources.clear()
        for number in range(6):
            await flow.core.desk.place(flow.core.intent(qty=Qty(1 + number)))
        await flow.bar(100_000)
        (stop,) = flow.core.scribe.of("strategy_stop")
        assert (stop["strategy"], stop["why"]) == (BOT, "throttled 3 times within a second")
        denied = flow.verdict(BOT)
        assert isinstance(denied, Denied)
        assert denied.reason is Reason.STRATEGY_STOPPED
        for _ in range(4):
            await flow.bar(100_000)
        assert flow.core.portfolio.holdings[SPX].position == 0

    asyncio.run(run())
