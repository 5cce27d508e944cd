"""Drives the pipeline from a replay: data checks, the paper market, pacing, and standing still after a trip.

A trip stops the replay clock (SAFETY 6): the last prices then stand at the paper venue, so that what has to
be cancelled and sold can be. `unattended` goes on with the gate shut and counts what is denied.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence

from appliance.domain.errors import TransportError
from appliance.domain.ids import InstrumentId, SourceId
from appliance.domain.mode import HoldCause, Mode, TripReason
from appliance.domain.observation import Observation
from appliance.domain.order import Fill
from appliance.domain.status import Progress
from appliance.market.pace import Pacer
from appliance.market.quality import DataQuality, DataVerdict, Outcome
from appliance.market.replay import ProgressMeter, Replay
from appliance.market.schema import DataReason
from appliance.pipeline import Pipeline
from appliance.ports import Memory, PaperMarket, Scribe
from appliance.runtime.clock import ReplayClock
from appliance.runtime.tick import next_tick
from appliance.safety.controller import SafetyController
from appliance.safety.holds import instrument_scope
from appliance.safety.refusals import RefusedShare

YIELD_EVERY = 16
SETTLE_EVERY = 1_000
STILL_TICKS = 4  # a feed that waits looks five times a second whether it may go on
RETRY_S = 0.25
LONGEST_NAP_S = 0.25

SPOILED = frozenset(
    {
        *(DataReason.PRICE, DataReason.RANGE, DataReason.CROSSED, DataReason.SIZE),
        *(DataReason.SEEN_BACKWARDS, DataReason.EVENT_BACKWARDS),
    }
)
"""Refusals for what a record says: schema and order (a jump nothing confirmed counts too). Late, early and
repeated records are the line's or a clock's doing, and an unknown instrument the configuration's."""


class ReplayFeed:
    """One run. cursor: number of the last market step the venue has; what is older is warm-up.

    fills: of this run, from the log, in the order of their events.  unattended: a trip does not stop the
    clock.  wait_for_arm: not even an unattended run begins before somebody has armed once.
    """

    def __init__(
        self,
        replay: Replay,
        pacer: Pacer,
        label: str,
        quality: DataQuality,
        pipeline: Pipeline,
        market: PaperMarket,
        memory: Memory,
        safety: SafetyController,
        scribe: Scribe,
        clock: ReplayClock,
        instruments: Sequence[InstrumentId],
        refusals: RefusedShare,
        *,
        cursor: int,
        fills: Sequence[tuple[SourceId, Fill]],
        unattended: bool,
        wait_for_arm: bool,
    ) -> None:
        self._replay = replay
        self._pacer = pacer
        self._meter = ProgressMeter(label, replay, pacer)
        self.quality = quality
        self._pipeline = pipeline
        self._market = market
        self._memory = memory
        self._safety = safety
        self._scribe = scribe
        self._clock = clock
        self._instruments = tuple(instruments)
        self._refusals = refusals
        self._cursor = cursor
        self._fills = list(fills)
        self._unattended = unattended
        self._wait_for_arm = wait_for_arm
        self.on_caught_up: Callable[[], None] = lambda: None
        self._held: set[InstrumentId] = set()
        self.number = 0
        self.caught_up = False
        self.finished = False

    @property
    def sha256(self) -> tuple[str, ...]:
        """Digests of the files that are replayed, in the order of the configuration."""
        return tuple(each.sha256 for each in self._replay.surveys)

    def progress(self) -> Progress:
        """For the terminal and the page."""
        return self._meter.read(self._clock.mono_ns())

    async def run(self) -> None:
        """Returns when the last observation is through. Raises PeerError for a file that cannot be used."""
        for count, step in enumerate(self._replay, 1):
            if self.caught_up:
                await self._wait_until_due(step.observation)
            verdict = self.quality.check(step.observation)
            self._count_refusals(step.observation, verdict)
            self._sync_holds(step.observation.seen_ns)
            for observation in verdict.deliver:
                await self._deliver(observation)
            if count % YIELD_EVERY == 0:
                await asyncio.sleep(0)
            if count % SETTLE_EVERY == 0:
                # A loop that never rests starves memory's thread of the interpreter: 8 s without a write.
                await self._memory.settle()
        self._catch_up()
        self.finished = True

    async def linger(self) -> None:
        """After the last observation its prices stand for ever: a button pressed now still sells."""
        while True:
            await self._stand_still()

    async def _deliver(self, observation: Observation) -> None:
        self._clock.advance(observation.seen_ns)
        self.number += 1
        if self.number < self._cursor:
            self._pipeline.warm_up(observation, self._fills_until(observation.seen_ns))
            return
        if not self.caught_up:
            self._catch_up()
            await self._wait_until_due(observation)
        await self._show(observation)
        await self._pipeline.on_observation(observation)

    async def _show(self, observation: Observation) -> None:
        """A paper venue that does not answer is asked again: steps are numbered, and the safety loop, which
        must go on, says that it is down."""
        while True:
            try:
                await self._market.step(observation, self.number)
            except TransportError:
                await asyncio.sleep(RETRY_S)
            else:
                return

    def _catch_up(self) -> None:
        """The rest of the fills are from the step that was interrupted."""
        if not self.caught_up:
            self._pipeline.book(self._fills)
            self._fills = []
            self.caught_up = True
            self.on_caught_up()

    def _fills_until(self, seen_ns: int) -> list[tuple[SourceId, Fill]]:
        count = bisect_right(self._fills, seen_ns, key=lambda each: each[1].event_ns)
        due, self._fills = self._fills[:count], self._fills[count:]
        return due

    async def _wait_until_due(self, observation: Observation) -> None:
        while True:
            if self._safety.mode is Mode.NORMAL:
                self._wait_for_arm = False
            elif self._wait_for_arm or not self._unattended:
                self._pacer.stop(self._clock.mono_ns())
                await self._stand_still()
                continue
            self._pacer.resume(self._clock.mono_ns())
            wait_ns = self._pacer.wait_ns(observation.seen_ns, self._clock.mono_ns())
            if not wait_ns:
                return
            await asyncio.sleep(min(wait_ns / 1e9, LONGEST_NAP_S))

    async def _stand_still(self) -> None:
        exits = self._safety.mode in (Mode.EMERGENCY, Mode.REDUCED)
        if exits:
            with contextlib.suppress(TransportError):  # as in `_show`
                await self._market.stand_still(self._instruments)
        await next_tick(1 if exits else STILL_TICKS)

    def _count_refusals(self, observation: Observation, verdict: DataVerdict) -> None:
        """A record counts once, when it is settled. What was replayed before a restart tripped then, or not:
        it fills the window and trips no second time."""
        settled = [False] * len(verdict.deliver)
        spoiled = verdict.outcome is Outcome.REFUSED and verdict.reason in SPOILED
        settled += [True] * (spoiled + (verdict.discarded is not None))
        for refused in settled:
            wrong = self._refusals.note(observation.instrument, refused=refused)
            if wrong and self.number + 1 >= self._cursor:
                self._safety.trip(TripReason.DATA_INTEGRITY, wrong)

    def _sync_holds(self, now_ns: int) -> None:
        standing = {}
        for hold in self.quality.holds(now_ns):
            standing[InstrumentId(hold.scope.partition(":")[2])] = hold
        for symbol in self._held - standing.keys():
            self._safety.holds.end(HoldCause.STALE_DATA, instrument_scope(symbol))
            if self.caught_up:
                data = {"cause": HoldCause.STALE_DATA, "scope": instrument_scope(symbol)}
                self._scribe.note("hold_end", data)
        for hold in standing.values():
            began = self._safety.holds.begin(hold.cause, hold.scope, time.time_ns(), hold.detail)
            if began and self.caught_up:
                told = {"cause": hold.cause, "scope": hold.scope, "detail": hold.detail}
                self._scribe.note("hold", told)
        self._held = set(standing)
