"""After a drawdown trip the account's peak is reset by a separate, signed, audited act (SAFETY 6).

The guard has verified the command (key, nonce, boot, generation, trip epoch) and counts it on its page under
an outcome of its own; nothing here looks at a signature. Here is decided whether it may happen, from
conditions looked at now and the venue's own account, and it arms nothing: it only lets the precondition
`losses_in_limits` hold again, after which arming takes its normal steps.

The account's peak becomes its present equity, which is cash, because the account is flat. Strategies keep
their peaks: one that its own limit stopped stays stopped, and the others are measured as before.

The entry is durable before the peak moves: a crash in between leaves the box with a peak that a restart
moves to the value in the entry (`portfolio.PeakResets`), or, without the entry, with the old one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from appliance.domain.errors import StoreError
from appliance.domain.mode import Mode, TripReason
from appliance.domain.money import format_amount, format_share
from appliance.domain.order import VenueAccount
from appliance.ports import Clock, Scribe, Venue
from appliance.safety.controller import SafetyController
from appliance.safety.preconditions import Preconditions
from appliance.safety.signed_act import Request, SignedActs

CONFIRMED_SOON = frozenset({"trip_stored", "reconciled", "cancels_confirmed"})
"""Conditions that come true by themselves, within seconds of the step to PAUSED: a command waits for them."""

OUTCOME = "PEAK_RESET"
NEEDED = (
    "guard_fresh", "trip_stored", "reconciled", "cancels_confirmed", "flat", "clock_ok", "store_ok",
)  # fmt: skip
"""Of the preconditions of arming; `losses_in_limits` is what the reset is for."""


class Counted(Protocol):
    """`portfolio.decline.PeakResets`. marks: prices taken."""

    marks: int


class Peaks(Protocol):
    """`portfolio.Portfolio`, as far as a reset concerns it. Amounts are scaled integers."""

    @property
    def resets(self) -> Counted:
        """Where a reset is found again."""
        ...

    @property
    def equity(self) -> int:
        """Of the account, now."""
        ...

    @property
    def peak(self) -> int:
        """Of the account's equity."""
        ...

    @property
    def drawdown_ppm(self) -> int:
        """Below that peak."""
        ...

    def disagreement(self, account: VenueAccount) -> str:
        """Where our books and the venue's differ; empty if they agree."""
        ...

    def reset_peak(self, peak: int) -> None:
        """The account's peak becomes this, or the equity if it has risen above it meanwhile."""
        ...


class Desk(Protocol):
    """`orders.desk.Desk`, as far as a reset concerns it."""

    last_seq: int

    async def collect(self) -> object:
        """Takes over what the venue reports."""
        ...


class PeakResets:
    """Owned by the safety loop. preconditions: as of the moment they are asked for."""

    def __init__(
        self,
        safety: SafetyController,
        portfolio: Peaks,
        desk: Desk,
        venue: Venue,
        clock: Clock,
        scribe: Scribe,
        drawdown_limit_ppm: int,
        preconditions: Callable[[], Preconditions],
    ) -> None:
        self._safety = safety
        self._portfolio = portfolio
        self._desk = desk
        self._venue = venue
        self._clock = clock
        self._scribe = scribe
        self._limit_ppm = drawdown_limit_ppm
        self._preconditions = preconditions
        self._acts = SignedActs(OUTCOME, safety.status, "the venue's answer")

    def follow(self) -> None:
        """After every poll of the controller; never waits. Takes a command off the page, and gives it up
        when another trip came or the venue has not confirmed in time."""
        lapsed = self._acts.follow(self._safety.status, self._clock.mono_ns())
        if lapsed is not None:
            self._refuse(*lapsed)

    async def work(self) -> None:
        """Decides a waiting command. Raises TransportError and PeerError as the venue does."""
        request = self._acts.waiting
        if request is None:
            return
        account = await self._venue.account()
        await self._desk.collect()
        if self._acts.waiting is not request or account.seq != self._desk.last_seq:
            return  # given up meanwhile, or something happened at the venue: the next round will tell
        lacking = self._acts.waits_for = self._lacking(account)
        if lacking and CONFIRMED_SOON.issuperset(lacking):
            return
        if lacking:
            self._refuse(request, lacking)
            return
        self._acts.end()
        before, after = self._portfolio.peak, self._portfolio.equity
        ticket = self._scribe.note("loosening", self._describe(request, before, after))
        try:
            await ticket.durable()
        except StoreError:
            return  # whether it is on record is not known, so nothing moves; the log's own failure trips
        self._portfolio.reset_peak(after)

    def _lacking(self, account: VenueAccount) -> tuple[str, ...]:
        """Names of what keeps the peak from being reset; empty if nothing does."""
        now, portfolio = self._preconditions(), self._portfolio
        trip = self._safety.standing_trip()
        tripped = trip is not None and TripReason.DRAWDOWN in (trip.reason, *trip.later)
        own = {
            "mode PAUSED": self._safety.mode is Mode.PAUSED,
            # A new boot forgets the reason, and the loss is still there.
            "a drawdown trip": tripped or portfolio.drawdown_ppm > self._limit_ppm,
            "venue_agrees": not portfolio.disagreement(account),
            "equity above zero": portfolio.equity > 0,
        }
        holds = tuple(f"no hold {hold.cause}" for hold in self._safety.holds.on_box())
        lacking = tuple(name for name, holds_true in own.items() if not holds_true)
        return lacking + tuple(name for name in NEEDED if not getattr(now, name)) + holds

    def _refuse(self, request: Request, lacking: Sequence[str]) -> None:
        self._acts.end()
        data = {"act": "peak_reset", "outcome": "refused", "missing": list(lacking)}
        self._scribe.note("loosening", data | request.who())

    def _describe(self, request: Request, before: int, after: int) -> dict[str, object]:
        return {
            "act": "peak_reset",
            "outcome": "done",
            "before": format_amount(before),
            "after": format_amount(after),
            "drawdown": format_share(self._portfolio.drawdown_ppm),
            "raw": {"before": str(before), "after": str(after)},
            "marks": self._portfolio.resets.marks,
            **request.who(),
        }
