"""The safety loop: polls the controller, beats, and works exposure off while the mode asks for it.

Two deadly loops (SAFETY 3): one never waits for anything, so that mode, permit and heartbeat follow the page
whatever a venue does; the other awaits the venue, and what does not answer costs it one round.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from appliance.domain.errors import PeerError, TransportError
from appliance.domain.mode import BOX, HoldCause, Mode, TripReason
from appliance.orders.desk import Desk
from appliance.portfolio.portfolio import Portfolio
from appliance.ports import Clock, Scribe, Venue
from appliance.risk.limits import AccountLimits
from appliance.runtime.guard_link import PageLink, name_word
from appliance.runtime.own_latch import OwnLatch
from appliance.runtime.tick import TICK_S, next_tick
from appliance.safety.controller import SafetyController
from appliance.safety.exits import ExitFlow
from appliance.safety.holds import venue_scope
from appliance.safety.latch import is_fresh
from appliance.safety.peak_reset import PeakResets
from appliance.safety.preconditions import Preconditions
from appliance.safety.source_start import SourceStarts

ROUND_S = 0.190  # the longest time between two rounds of a box on which nothing moves
VENUE_RETRY_S = 0.25  # while a venue does not answer
LOOK_UP_EVERY_NS = 100_000_000
AGREE_EVERY_NS = 5_000_000_000


class SafetyLoop:
    """Owned by the event loop. store_ok: the audit log has not failed.  clock_ok: synchronised and not held,
    or a replay clock (SAFETY 6)."""

    def __init__(
        self,
        safety: SafetyController,
        link: PageLink,
        desk: Desk,
        portfolio: Portfolio,
        exits: ExitFlow,
        venue: Venue,
        clock: Clock,
        scribe: Scribe,
        limits: AccountLimits,
        *,
        reduce_ppm: int,
        reduce_every_ns: int,
        store_ok: Callable[[], bool],
        clock_ok: Callable[[], bool],
        own_latch: OwnLatch,
    ) -> None:
        self._safety = safety
        self._link = link
        self._desk = desk
        self._orders = desk.orders
        self._portfolio = portfolio
        self._exits = exits
        self._venue = venue
        self._clock = clock
        self._scribe = scribe
        self._limits = limits
        self._reduce_ppm = reduce_ppm
        self._reduce_every_ns = reduce_every_ns
        self._store_ok = store_ok
        self._clock_ok = clock_ok
        self._own_latch = own_latch
        self._peaks = PeakResets(
            safety, portfolio, desk, venue, clock, scribe, limits.drawdown_ppm, self.preconditions
        )
        self._starts = SourceStarts(
            safety,
            portfolio,
            lambda source: portfolio.sources[source].equity(portfolio.holdings),
            desk.orders.live,
            desk.pace.forget,
            clock,
            scribe,
            self.preconditions,
            {name_word(source): source for source in portfolio.sources},
        )
        self.degraded: Callable[[], int] = lambda: 0  # how many parts are not ok, for the lights
        self.before_beat: Callable[[], None] = lambda: None  # for whoever makes holds from what stands
        self.after_round: Callable[[], None] = lambda: None  # for whoever shows what stands
        self._seen: object = None
        self._round_s = 0.0
        self._turn = asyncio.Event()  # a round has passed: the venue's side may have work
        self._swept_for: tuple[int, Mode] | None = None
        self._flat_for: tuple[int, Mode] | None = None
        self._reduced_ns = self._agreed_ns = self._looked_up_ns = 0
        self._disagrees = False  # at the last look our books were not the venue's
        self._stopping = False
        self.caught_up = False  # set once the run's state is rebuilt: before, nothing is sent
        self.venue_problem = ""
        self.rounds = 0

    def preconditions(self) -> Preconditions:
        """What arming depends on, looked at now."""
        status, now_ns = self._safety.status, self._clock.mono_ns()
        page = status.page
        tripped = self._safety.standing_trip() is not None
        return Preconditions(
            guard_fresh=is_fresh(page, now_ns),
            trip_stored=page.present and (not tripped or status.stored == page.state),
            reconciled=self.caught_up
            and not (self._orders.unsettled() or self.venue_problem or self._disagrees),
            cancels_confirmed=self._exits.confirmed,
            flat=self._portfolio.is_flat(),
            losses_in_limits=self._portfolio.drawdown_ppm <= self._limits.drawdown_ppm
            and self._portfolio.loss_today_ppm <= self._limits.daily_loss_ppm,
            clock_ok=self._clock_ok(),
            store_ok=self._store_ok(),
        )

    def catch_up(self) -> None:
        """The run's state is rebuilt: from now on orders may be looked up, cancelled and sent."""
        self.caught_up = True
        for cause in (HoldCause.STARTING, HoldCause.RECONCILING):
            self._safety.holds.end(cause, BOX)

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._rounds())
            group.create_task(self._works())

    async def _rounds(self) -> None:
        while True:
            if self._is_due():
                self.round()
            await next_tick()

    def _is_due(self) -> bool:
        """There is work, or a word of the guard's page, the mode or the holds moved, or a round is due.

        An idle core looks at the page at every tick, which costs little, and goes round five times a second.
        """
        now_s = asyncio.get_running_loop().time()
        seen = (self._link.glance(), self._safety.mode, self._safety.holds.standing())
        if seen == self._seen and now_s - self._round_s < ROUND_S and not self._has_work():
            return False
        self._seen, self._round_s = seen, now_s
        return True

    def _has_work(self) -> bool:
        mode = self._safety.mode
        if mode is Mode.NORMAL or (mode is Mode.PAUSED and self._exits.confirmed):
            return bool(self._orders.unsettled())
        return True

    async def _works(self) -> None:
        while True:
            await self._turn.wait()
            self._turn.clear()
            if self.caught_up:
                await self.work_once()
            if self.venue_problem:
                await asyncio.sleep(VENUE_RETRY_S)

    async def see_cancels_through(self, limit_s: float) -> None:
        """Before the process ends: cancels (and in EMERGENCY sells) until the venue has confirmed that no
        entry is left, or the limit passes. Call it when `run` has ended (SAFETY 3, 4)."""
        self._stopping = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                self.round()
                while not self._exits.confirmed:
                    await self.work_once()
                    await asyncio.sleep(VENUE_RETRY_S if self.venue_problem else TICK_S)
                    self.round()

    def round(self) -> None:
        """What must never wait for anything: the page, the mode, the heartbeat."""
        self.rounds += 1
        self._safety.poll(self.preconditions())
        self._peaks.follow()
        self._starts.follow()
        mode, epoch = self._safety.mode, self._safety.status.page.state
        if mode is Mode.NORMAL:
            self._swept_for = None
        elif self._swept_for != (epoch, mode):  # before the next look: nothing is confirmed any more
            self._swept_for = (epoch, mode)
            self._exits.begin_sweep()
        self._own_latch.keep(alone=self._safety.is_alone())
        self.before_beat()
        live = sum(1 for _ in self._orders.live())
        self._link.beat(live, len(self._safety.holds.standing()), self.degraded())
        self.after_round()
        self._turn.set()

    async def work_once(self) -> None:
        """One round of look-ups, cancels and exits."""
        try:
            await self._send_out()
        except (TransportError, PeerError) as error:
            self._venue_down(error.sentence())
        else:
            self._venue_up()

    async def _send_out(self) -> None:
        now_ns = self._clock.mono_ns()
        if self._orders.unsettled() and now_ns - self._looked_up_ns >= LOOK_UP_EVERY_NS:
            self._looked_up_ns = now_ns
            await self._exits.reconcile()
        if self._safety.mode is not Mode.NORMAL:
            await self._exits.sweep()
        await self._exits.mend()
        if self._safety.liquidation_due():
            await self._exits.leave_everything("liquidate")
            self._note_flat()
        elif self._works_down() and self._clock.mono_ns() - self._reduced_ns >= self._reduce_every_ns:
            self._reduced_ns = self._clock.mono_ns()
            await self._exits.leave_everything("reduce", self._reduce_ppm)
        if not self._stopping:
            await self._peaks.work()
            await self._starts.work()
            await self._agree()

    def _note_flat(self) -> None:
        """Once per emergency: the venue's fills have left nothing but dust, which is listed (SAFETY 7)."""
        if self._flat_for != self._swept_for and self._portfolio.is_flat() and not self._orders.unsettled():
            self._flat_for = self._swept_for
            self._scribe.note("reconcile", {"flat": True, "dust": self._portfolio.dust()})

    def _works_down(self) -> bool:
        return self._safety.mode is Mode.REDUCED and not self._safety.withheld()

    async def _agree(self) -> None:
        """Compares our books with the venue's, with nothing in between that could differ by timing."""
        now_ns = self._clock.mono_ns()
        if now_ns - self._agreed_ns < AGREE_EVERY_NS:
            return
        self._agreed_ns = now_ns
        account = await self._venue.account()
        await self._desk.collect()
        if account.seq != self._desk.last_seq:
            return  # something happened meanwhile: the next look will tell
        difference = self._portfolio.disagreement(account)
        self._disagrees = bool(difference)
        if difference:
            self._safety.trip(TripReason.POSITION_DISAGREEMENT, difference)
        self._portfolio.check()

    def _venue_down(self, why: str) -> None:
        self.venue_problem = why
        self._agreed_ns = 0  # ask again at once: a round that asks nothing would end the hold
        scope = venue_scope(self._venue.name)
        if self._safety.holds.begin(HoldCause.VENUE_DOWN, scope, self._clock.utc_ns(), why):
            self._scribe.note("hold", {"cause": HoldCause.VENUE_DOWN, "scope": scope, "detail": why})

    def _venue_up(self) -> None:
        self.venue_problem = ""
        scope = venue_scope(self._venue.name)
        if self._safety.holds.end(HoldCause.VENUE_DOWN, scope) is not None:
            self._scribe.note("hold_end", {"cause": HoldCause.VENUE_DOWN, "scope": scope})


def begin_start_holds(safety: SafetyController, clock: Clock) -> None:
    """SAFETY 1: starting and reconciling are holds on the box until the run's state is rebuilt."""
    for cause in (HoldCause.STARTING, HoldCause.RECONCILING):
        safety.holds.begin(cause, BOX, clock.utc_ns(), "the core is starting")
