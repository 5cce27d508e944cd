"""From a strategy's change of mind to its slices and back: execution in the whole flow (EXE-01, EXE-04)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from appliance.domain.ids import InstrumentId, SourceId
from appliance.domain.money import Price
from appliance.domain.observation import Observation
from appliance.domain.signal import Direction, Signal
from appliance.orders.plan import Style
from appliance.pipeline import Pipeline, Stages
from appliance.runtime.no_memory import NoMemory
from appliance.validation.recent import RecentPrices
from appliance.validation.signals import SignalLimits
from tests.execution_kit import Slicing
from tests.kit import BOT, SECOND, SPX, instrument_limits

MIND = {3: Direction.LONG, 40: Direction.CLOSE}


class Scripted:
    """Changes its mind at the bars the test names."""

    def __init__(self, mind: dict[int, Direction]) -> None:
        self._mind = mind
        self._count = 0

    @property
    def name(self) -> SourceId:
        """The one source."""
        return BOT

    @property
    def instrument(self) -> InstrumentId:
        """The one instrument."""
        return SPX

    def on_observation(self, observation: Observation) -> Signal | None:
        """By number."""
        self._count += 1
        direction = self._mind.get(self._count)
        if direction is None:
            return None
        stop = Price(95_000) if direction is Direction.LONG else None
        return Signal(
            strategy=BOT, instrument=SPX, event_ns=observation.seen_ns, direction=direction,
            reference_price=Price(100_000), stop_price=stop, reason="the test says so",
        )  # fmt: skip


class Whole(Slicing):
    """The flow behind a scripted strategy."""

    def __init__(self, mind: dict[int, Direction], **recipe: Any) -> None:
        super().__init__(**recipe)
        core = self.core
        limits = SignalLimits(
            strategies={BOT: SPX}, instruments={SPX: core.instrument}, max_age_ns=SECOND, max_stop_ppm=10**6
        )
        self.pipeline = Pipeline(
            Stages(
                portfolio=core.portfolio,
                strategies=(Scripted(mind),),
                recent=RecentPrices(60 * SECOND),
                signal_limits=limits,
                limits=core.limits,
                deploy_ppm={BOT: 10_000},
                memory=NoMemory(),
                desk=core.desk,
                exits=core.exits,
                executor=self.executor,
                safety=core.safety,
                scribe=core.scribe,
                clock=core.clock,
            ),
            "run",
        )

    async def through(self, bars: int) -> None:
        """That many bars at 1,000.00, whole."""
        for _ in range(bars):
            observation = self.core.bar(100_000)
            self.core.steps += 1
            await self.core.venue.step(observation, self.core.steps)
            await self.pipeline.on_observation(observation)


@pytest.mark.parametrize(("style", "slices"), [(Style.PLAIN, 1), (Style.TWAP, 4), (Style.ICEBERG, 4)])
def test_an_entry_is_worked_as_configured_and_a_close_ends_it(style: Style, slices: int) -> None:
    """10,000 USD are 10.00: bought in so many orders, sold by the exit; both ends are in the log."""

    async def run() -> None:
        flow = Whole(MIND, style=style, slices=4, displayed_ppm=250_000, horizon_ns=32 * SECOND, jitter_ppm=0)
        await flow.through(39)
        bought = 0 if style is Style.ICEBERG else 1_000  # nobody sells at the arrival price itself
        assert flow.position == bought
        if style is not Style.ICEBERG:
            assert (len(flow.posted()), sum(flow.posted())) == (slices, 1_000)
        await flow.through(5)
        assert flow.position == 0
        endings = [(data["style"], data["ending"]) for data in flow.ended()]
        if style is Style.ICEBERG:
            assert endings == [("iceberg", "EXPIRED")]
        else:
            assert endings == [(style, "DONE"), ("exit", "DONE")]

    asyncio.run(run())


def test_a_close_larger_than_the_largest_order_is_pursued_by_the_flow() -> None:
    """Two rounds of slices; one slice left and the rest stayed, before."""

    async def run() -> None:
        flow = Whole(MIND)
        await flow.through(39)
        assert flow.position == 1_000
        flow.core.limits.instruments[SPX] = instrument_limits(max_order_qty=150)
        await flow.through(2)
        assert flow.position == 400
        await flow.through(3)
        assert flow.position == 0

    asyncio.run(run())


def test_a_close_in_the_middle_of_an_entry_leaves_nothing_behind() -> None:
    """What was bought so far goes, what was not bought yet is not bought."""

    async def run() -> None:
        flow = Whole({3: Direction.LONG, 15: Direction.CLOSE}, style=Style.TWAP, slices=4,
                     horizon_ns=32 * SECOND, jitter_ppm=0)  # fmt: skip
        await flow.through(14)
        assert flow.position == 500
        await flow.through(40)
        assert flow.position == 0
        assert flow.posted() == [250, 250]
        assert [data["ending"] for data in flow.ended()] == ["REPLACED", "DONE"]

    asyncio.run(run())


def test_a_close_with_nothing_held_asks_for_nothing() -> None:
    """Only the signal is in the log."""

    async def run() -> None:
        flow = Whole({2: Direction.CLOSE})
        await flow.through(5)
        assert flow.core.scribe.kinds() == ["signal"]

    asyncio.run(run())
