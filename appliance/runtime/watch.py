"""The safety loop: polls the controller, beats, and works exposure off while the mode asks for it.

A deadly loop (SAFETY 3). Everything it awaits is bounded: a venue that does not answer costs one round.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from appliance.domain.errors import PeerError, TransportError
from appliance.domain.mode import BOX, HoldCause, Mode, TripReason
from appliance.orders.desk import Desk
from appliance.portfolio.portfolio import Portfolio
from appliance.ports import Clock, Scribe, Venue
from appliance.risk.limits import AccountLimits
from appliance.runtime.guard_link import PageLink
from appliance.safety.controller import SafetyController
from appliance.safety.exits import ExitFlow
from appliance.safety.holds import venue_scope
from appliance.safety.latch import HEARTBEAT_HOLD_NS
from appliance.safety.preconditions import Preconditions

TICK_S = 0.020
AGREE_EVERY_NS = 5_000_000_000


class SafetyLoop:
    """Owned by the event loop. store_ok: the audit log has not failed."""

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
        self.degraded: Callable[[], int] = lambda: 0  # how many parts are not ok, for the lights
        self._swept_for: tuple[int, Mode] | None = None
        self._reduced_ns = 0
        self._agreed_ns = 0
        self.caught_up = False  # set once the run's state is rebuilt: before, nothing is sent
        self.venue_problem = ""
        self.rounds = 0

    def preconditions(self) -> Preconditions:
        """What arming depends on, looked at now."""
        status, now_ns = self._safety.status, self._clock.mono_ns()
        page = status.page
        tripped = self._safety.standing_trip() is not None
        return Preconditions(
            guard_fresh=page.present and now_ns - page.heartbeat_ns <= HEARTBEAT_HOLD_NS,
            trip_stored=page.present and (not tripped or status.stored == page.state),
            reconciled=self.caught_up and not self._orders.unsettled() and not self.venue_problem,
            cancels_confirmed=self._exits.confirmed,
            flat=self._portfolio.is_flat(),
            losses_in_limits=self._portfolio.drawdown_ppm <= self._limits.drawdown_ppm
            and self._portfolio.loss_today_ppm <= self._limits.daily_loss_ppm,
            clock_ok=True,  # replay clock (SAFETY 6)
            store_ok=self._store_ok(),
        )

    def catch_up(self) -> None:
        """The run's state is rebuilt: from now on orders may be looked up, cancelled and sent."""
        self.caught_up = True
        for cause in (HoldCause.STARTING, HoldCause.RECONCILING):
            self._safety.holds.end(cause, BOX)

    async def run(self) -> None:
        """For ever."""
        while True:
            self.round()
            if self.caught_up:
                await self.work_once()
            await next_tick()

    def round(self) -> None:
        """What must never wait for anything: the page, the mode, the heartbeat."""
        self.rounds += 1
        self._safety.poll(self.preconditions())
        live = sum(1 for _ in self._orders.live())
        self._link.beat(live, len(self._safety.holds.standing()), self.degraded())

    async def work_once(self) -> None:
        """One round of look-ups, cancels and exits."""
        try:
            await self._send_out()
        except (TransportError, PeerError) as error:
            self._venue_down(error.sentence())
        else:
            self._venue_up()

    async def _send_out(self) -> None:
        mode, epoch = self._safety.mode, self._safety.status.page.state
        if self._orders.unsettled():
            await self._exits.reconcile()
        if mode is Mode.NORMAL:
            self._swept_for = None
        elif self._swept_for != (epoch, mode):
            self._swept_for = (epoch, mode)
            self._exits.begin_sweep()
        if mode is not Mode.NORMAL:
            await self._exits.sweep()
        if self._safety.liquidation_due():
            await self._exits.leave_everything("liquidate")
        elif mode is Mode.REDUCED and self._clock.mono_ns() - self._reduced_ns >= self._reduce_every_ns:
            self._reduced_ns = self._clock.mono_ns()
            await self._exits.leave_everything("reduce", self._reduce_ppm)
        await self._agree()

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
        if difference:
            self._safety.trip(TripReason.POSITION_DISAGREEMENT, difference)
        self._portfolio.check()

    def _venue_down(self, why: str) -> None:
        self.venue_problem = why
        scope = venue_scope(self._venue.name)
        if self._safety.holds.begin(HoldCause.VENUE_DOWN, scope, self._clock.utc_ns(), why):
            self._scribe.note("hold", {"cause": HoldCause.VENUE_DOWN, "scope": scope, "detail": why})

    def _venue_up(self) -> None:
        self.venue_problem = ""
        scope = venue_scope(self._venue.name)
        if self._safety.holds.end(HoldCause.VENUE_DOWN, scope) is not None:
            self._scribe.note("hold_end", {"cause": HoldCause.VENUE_DOWN, "scope": scope})


async def next_tick() -> None:
    """Sleeps to the next multiple of TICK_S: loops that share it wake the processor once."""
    now_s = asyncio.get_running_loop().time()
    await asyncio.sleep(TICK_S - now_s % TICK_S)


def begin_start_holds(safety: SafetyController, clock: Clock) -> None:
    """SAFETY 1: starting and reconciling are holds on the box until the run's state is rebuilt."""
    for cause in (HoldCause.STARTING, HoldCause.RECONCILING):
        safety.holds.begin(cause, BOX, clock.utc_ns(), "the core is starting")
