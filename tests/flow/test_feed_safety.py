"""The replay clock and a trip; a paper venue that goes away under the feed (SAFETY 1, 6)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from appliance.domain.errors import TransportError
from appliance.domain.ids import InstrumentId
from appliance.domain.mode import Mode, TripReason
from appliance.domain.money import Price
from appliance.domain.observation import Bar, Observation
from appliance.market.pace import Pacer
from appliance.market.quality import DataQuality, QualityLimits
from appliance.runtime import feed as feed_module
from appliance.runtime.clock import ReplayClock
from appliance.runtime.feed import ReplayFeed
from appliance.safety.refusals import RefusedShare
from tests.kit import SECOND, SPX, Core

BARS = 12


class Market:
    """A paper venue's other half that can go away."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.stills = 0
        self.away = 0

    async def step(self, observation: Observation, number: int) -> None:
        """Counts, or is away."""
        self._answer()
        self.steps.append(number)

    async def stand_still(self, instruments: Sequence[InstrumentId]) -> None:
        """Counts, or is away."""
        self._answer()
        self.stills += 1

    def _answer(self) -> None:
        if self.away:
            self.away -= 1
            raise TransportError("away")


class Flow:
    """What reached the strategies, and with which verdicts."""

    def __init__(self) -> None:
        self.observed = 0

    async def on_observation(self, _observation: Bar) -> None:
        """One more."""
        self.observed += 1

    def book(self, _fills: object) -> None:
        """None here."""

    def warm_up(self, _observation: Bar, _fills: object) -> None:
        """Seen before the restart."""


class Replayed:
    """Twelve calm bars of one instrument."""

    def __init__(self, core: Core) -> None:
        self.bars = [core.bar(100_000 + number) for number in range(BARS)]
        self.done, self.total, self.market_ns, self.last_ns = 0, BARS, 0, 0

    def __iter__(self) -> Iterator[Any]:
        for bar in self.bars:
            self.done += 1
            yield SimpleNamespace(observation=bar)


def _feed(
    core: Core,
    market: Market,
    flow: Flow,
    *,
    unattended: bool,
    wait_for_arm: bool = False,
    cursor: int = 0,
    spoil: Callable[[list[Bar]], list[Bar]] = list,
) -> ReplayFeed:
    async def settle() -> bool:
        return True

    limits = QualityLimits(jump_ppm=100_000, stale_ns=60 * SECOND, max_delay_ns=SECOND, max_ahead_ns=SECOND)
    replay: Any = Replayed(core)
    replay.bars = spoil(replay.bars)
    memory: Any = SimpleNamespace(settle=settle)
    return ReplayFeed(
        replay,
        Pacer("max"),
        "test",
        DataQuality({SPX: limits}, core.clock.utc),
        flow,  # type: ignore[arg-type]
        market,
        memory,
        core.safety,
        core.scribe,
        ReplayClock(),
        [SPX],
        RefusedShare(10, 200_000),
        cursor=cursor,
        fills=(),
        unattended=unattended,
        wait_for_arm=wait_for_arm,
    )


async def _until(condition: Callable[[], object]) -> None:
    for _ in range(4_000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("never")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "RETRY_S", 0.001)
    monkeypatch.setattr(feed_module, "next_tick", lambda _every: asyncio.sleep(0.001))


@pytest.mark.safety("HW-10")
def test_a_venue_that_goes_away_does_not_end_the_core() -> None:
    """Its step is asked for again, with the same number, until it answers; nothing is skipped or doubled."""

    async def run() -> None:
        core, market, flow = Core(), Market(), Flow()
        market.away = 7
        await _feed(core, market, flow, unattended=True).run()
        assert market.steps == list(range(1, flow.observed + 1))
        assert flow.observed > 5

    asyncio.run(run())


@pytest.mark.safety("HW-10")
@pytest.mark.parametrize("mode", [Mode.EMERGENCY, Mode.REDUCED])
def test_an_emergency_outlives_an_outage_of_the_venue(mode: Mode) -> None:
    """The last prices are shown again as soon as it answers: exits go on."""

    async def run() -> None:
        core, market, flow = Core(), Market(), Flow()
        core.safety.mode = mode
        market.away = 20
        running = asyncio.create_task(_feed(core, market, flow, unattended=False).run())
        await _until(lambda: market.stills > 3)
        assert not running.done()
        assert market.steps == []
        running.cancel()

    asyncio.run(run())


@pytest.mark.safety("S6.12")
@pytest.mark.parametrize("mode", [Mode.PAUSED, Mode.REDUCED, Mode.EMERGENCY])
def test_a_trip_stops_the_replay_clock(mode: Mode) -> None:
    """No observation is delivered before somebody has armed; then it goes on where it stood."""

    async def run() -> None:
        core, market, flow = Core(), Market(), Flow()
        core.safety.mode = mode
        feed = _feed(core, market, flow, unattended=False)
        running = asyncio.create_task(feed.run())
        await _until(lambda: feed._pacer.stopped)
        for _ in range(20):
            await asyncio.sleep(0.002)
        assert flow.observed == 0
        core.safety.mode = Mode.NORMAL
        await running
        assert flow.observed == len(market.steps) > 5

    asyncio.run(run())


@pytest.mark.safety("S6.13")
@pytest.mark.parametrize("mode", [Mode.PAUSED, Mode.EMERGENCY])
def test_unattended_goes_on_with_the_gate_shut(mode: Mode) -> None:
    """Every observation is delivered; the mode is what denies."""

    async def run() -> None:
        core, market, flow = Core(), Market(), Flow()
        core.safety.mode = mode
        await _feed(core, market, flow, unattended=True).run()
        assert flow.observed == len(market.steps) > 5
        assert core.safety.mode is mode

    asyncio.run(run())


def test_even_unattended_waits_for_the_first_arming_if_asked() -> None:
    """`interlock up` begins when somebody has armed."""

    async def run() -> None:
        core, market, flow = Core(), Market(), Flow()
        core.safety.mode = Mode.PAUSED
        feed = _feed(core, market, flow, unattended=True, wait_for_arm=True)
        running = asyncio.create_task(feed.run())
        await _until(lambda: feed._pacer.stopped)
        assert flow.observed == 0
        core.safety.mode = Mode.NORMAL
        await _until(lambda: flow.observed)
        await running

    asyncio.run(run())


def _nonsense(bar: Bar) -> Bar:
    return replace(bar, low=Price(0))


def _with(change: Callable[[Bar], Bar], *numbers: int) -> Callable[[list[Bar]], list[Bar]]:
    """Changes the bars of these numbers."""
    return lambda bars: [change(bar) if number in numbers else bar for number, bar in enumerate(bars)]


def _inserted(make: Callable[[Bar], Bar], *numbers: int) -> Callable[[list[Bar]], list[Bar]]:
    """Follows the bars of these numbers with another made from them."""
    def spoil(bars: list[Bar]) -> list[Bar]:
        pairs = [(bar, make(bar)) if number in numbers else (bar,) for number, bar in enumerate(bars)]
        return [bar for pair in pairs for bar in pair]

    return spoil


def _backwards(bar: Bar) -> Bar:
    return replace(bar, event_ns=bar.event_ns - 5 * SECOND)


def _wild(bar: Bar) -> Bar:
    return replace(bar, open=Price(1), high=Price(1), low=Price(1), close=Price(1))


@pytest.mark.safety("S1.32")
@pytest.mark.parametrize(
    ("spoil", "trips"),
    [
        (_with(_nonsense, 4), False),
        (_with(_nonsense, 4, 6), False),
        (_with(_nonsense, 4, 6, 8), True),
        (_with(_nonsense, 1, 2, 3, 4, 5, 6, 7), True),
        (_inserted(_backwards, 3, 5, 7), True),
        (_with(_wild, 3, 5, 7), True),
        (_with(_wild, 3, 5), False),
        (_inserted(lambda bar: bar, 2, 3, 4, 5, 6, 7, 8), False),
        (_with(lambda bar: replace(bar, event_ns=bar.seen_ns + 2 * SECOND), 2, 3, 4, 5, 6), False),
        (_with(lambda bar: replace(bar, instrument=InstrumentId("NONE")), 2, 3, 4, 5, 6), False),
    ],
)
def test_a_source_full_of_nonsense_trips(spoil: Callable[[list[Bar]], list[Bar]], trips: bool) -> None:
    """2 of 10 is the last allowed share. Schema, order and unconfirmed jumps count; repeated, early and
    foreign records do not: they say something about the line, a clock or the configuration."""

    async def run() -> None:
        core = Core()
        await _feed(core, Market(), Flow(), unattended=True, spoil=spoil).run()
        assert (TripReason.DATA_INTEGRITY in core.guard.requests) is trips
        assert (core.safety.mode is Mode.PAUSED) is trips
        assert not core.safety.liquidation_due()

    asyncio.run(run())


def test_what_was_replayed_before_a_restart_trips_no_second_time() -> None:
    """Warm-up fills the window and says nothing; the next bad record after it does."""

    async def run(*numbers: int) -> list[TripReason]:
        core = Core()
        spoil = _with(_nonsense, *numbers)
        await _feed(core, Market(), Flow(), unattended=True, cursor=7, spoil=spoil).run()
        return core.guard.requests

    assert asyncio.run(run(2, 3, 4)) == []
    assert asyncio.run(run(2, 3, 10)) == [TripReason.DATA_INTEGRITY]
