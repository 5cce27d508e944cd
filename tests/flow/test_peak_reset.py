"""The peak reset after a drawdown trip, from a synthetic gap to NORMAL under the recovery plan (SAFETY 6).

The gaps here are synthetic: the account is set up so that one bar passes a limit of 0.01 %. No figure in this
file says anything about a real market.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from appliance.domain.errors import StoreError, TransportError
from appliance.domain.mode import BOX, HoldCause, Mode, TripReason
from appliance.domain.money import PPM_ONE, Amount, Qty
from appliance.domain.order import VenueAccount
from appliance.domain.reasons import Reason
from appliance.domain.verdict import Approved, Denied
from appliance.risk.gate import Gate
from appliance.safety.exits import SWEEP_NS
from appliance.safety.recovery_plan import DEFAULT_EVERY_NS
from appliance.safety.signed_act import WITHIN_NS
from tests.flow.test_losses import OTHER, Flow
from tests.flow.test_safety_loop import Loop
from tests.kit import DAY, SECOND, SPX

OPERATOR = "00000000c0ffee00"
SYNTHETIC_GAP = 98_000  # from 100,000


class Desk:
    """A flow whose account limit is 0.01 %, its safety loop driven round by round."""

    def __init__(self, tmp_path: Path) -> None:
        self.flow = Flow(drawdown_ppm=100, position_cap_ppm=10**6, max_equity_age_ns=100 * DAY)
        self.core = self.flow.core
        (tmp_path / "latch").mkdir(parents=True)
        self.loop = Loop(self.core, tmp_path / "latch")
        self.loop.watch.catch_up()

    async def rounds(self, number: int = 3) -> None:
        """The safety loop goes round; the synthetic last price stands, so that exits fill."""
        for _ in range(number):
            self.core.clock.mono += SECOND // 5
            self.loop.watch.round()
            await self.core.venue.stand_still([SPX])
            await self.loop.watch.work_once()

    async def fall(self) -> None:
        """Position, gap, trip, liquidation, adopted and stored by the guard."""
        await self.core.hold_position(1_000)
        await self.flow.bar(SYNTHETIC_GAP)
        assert self.core.safety.mode is Mode.EMERGENCY
        self.core.guard.trip(TripReason.DRAWDOWN)
        await self.rounds(3 * SWEEP_NS // SECOND * 5)
        assert self.core.portfolio.is_flat()

    async def step(self) -> None:
        """One arm press that is a step, and until the sweep that follows it is confirmed."""
        self.core.guard.press_key("STEP")
        await self.rounds(3 * SWEEP_NS // SECOND * 5)

    async def paused(self) -> None:
        """Fallen, and stepped to PAUSED."""
        await self.fall()
        await self.step()
        assert self.core.safety.mode is Mode.PAUSED

    async def reset(self) -> dict[str, Any]:
        """One verified command; what the log says became of it."""
        before = len(self.core.scribe.of("loosening"))
        self.core.guard.press_key("PEAK_RESET", OPERATOR)
        await self.rounds(1)
        found = self.core.scribe.of("loosening")[before:]
        assert len(found) == 1
        return found[0]


def _run(act: Callable[[Desk], Any], tmp_path: Path) -> None:
    asyncio.run(act(Desk(tmp_path)))


@pytest.mark.safety("S6.8", "C04.4")
def test_from_a_synthetic_gap_over_the_reset_to_all_of_the_limits(tmp_path: Path) -> None:
    """Trip, flat, PAUSED; not armable; reset; armable; a quarter, half, everything. Each step a person's."""

    async def act(desk: Desk) -> None:
        core = desk.core
        await desk.paused()
        peak = core.portfolio.peak
        assert core.safety.missing() == ("losses_in_limits",)
        assert core.guard.permits[-1] == 0
        told = await desk.reset()
        assert (told["outcome"], told["operator"], told["act"]) == ("done", OPERATOR, "peak_reset")
        assert told["raw"] == {"before": str(peak), "after": str(core.portfolio.equity)}
        assert core.portfolio.peak == core.portfolio.equity < peak
        assert not core.latch.is_open(), "it arms nothing"
        await desk.rounds(1)
        assert core.safety.missing() == ()
        assert core.guard.permits[-1] == core.guard.state
        core.guard.press_key("ARMED")
        await desk.rounds(1)
        assert core.safety.mode is Mode.NORMAL
        large = core.intent(source=OTHER, qty=Qty(1_000))
        gate = Gate(
            core.limits, core.portfolio, core.latch, core.holds, core.safety, core.ids, core.clock, "test",
            core.safety.recovery, core.breakers, core.fees,
        )  # fmt: skip
        await desk.flow.bar(SYNTHETIC_GAP)
        denied = gate.check(large)
        assert isinstance(denied, Denied)
        assert denied.reason is Reason.RECOVERY_LIMIT
        shares = []
        for _ in range(2):
            shares.append(core.safety.recovery.share_ppm)
            core.clock.utc += DEFAULT_EVERY_NS
            await desk.flow.bar(SYNTHETIC_GAP)
        shares.append(core.safety.recovery.share_ppm)
        assert shares == [250_000, 500_000, PPM_ONE]
        assert isinstance(gate.check(large), Approved)
        events = [entry["event"] for entry in core.scribe.of("recovery")]
        assert events == ["due", "begin", "step", "end"]

    _run(act, tmp_path)


@pytest.mark.safety("S6.8")
def test_strategies_keep_their_peaks_and_the_stopped_stays_stopped(tmp_path: Path) -> None:
    """Only the account's peak moves."""

    async def act(desk: Desk) -> None:
        await desk.paused()
        sources = desk.core.portfolio.sources
        before = {name: (each.decline.peak, each.stopped_reason) for name, each in sources.items()}
        assert any(stopped for _, stopped in before.values())
        assert (await desk.reset())["outcome"] == "done"
        assert {n: (each.decline.peak, each.stopped_reason) for n, each in sources.items()} == before

    _run(act, tmp_path)


def _mode(mode: Mode) -> Callable[[Desk], None]:
    def change(desk: Desk) -> None:
        desk.core.safety.mode = mode

    return change


def _no_drawdown(desk: Desk) -> None:
    desk.core.safety._reasons.pop(TripReason.DRAWDOWN)
    desk.core.portfolio.decline.restart(desk.core.portfolio.equity)


def _at_the_limit(desk: Desk) -> None:
    """The last allowed value is no trip (C24)."""
    desk.core.safety._reasons.pop(TripReason.DRAWDOWN)
    desk.core.portfolio.decline.drawdown_ppm = desk.core.limits.account.drawdown_ppm


def _held(desk: Desk) -> None:
    desk.core.portfolio.holdings[SPX].position = 1


def _disagree(desk: Desk) -> None:
    async def account() -> VenueAccount:
        cash = Amount(desk.core.portfolio.cash + 1)
        seq = desk.core.desk.last_seq
        return VenueAccount(account="test", seq=seq, event_ns=0, cash=cash, positions={})

    desk.core.venue.account = account  # type: ignore[method-assign]


def _hold(desk: Desk) -> None:
    desk.core.holds.begin(HoldCause.CLOCK, BOX, 0, "test")


def _store(desk: Desk) -> None:
    desk.loop.store_ok = False


def _silent(desk: Desk) -> None:
    desk.core.guard.freeze()
    desk.core.clock.mono += SECOND


@pytest.mark.safety("S6.8")
@pytest.mark.parametrize(
    ("spoil", "missing"),
    [
        (_mode(Mode.EMERGENCY), "mode PAUSED"),
        (_mode(Mode.REDUCED), "mode PAUSED"),
        (_mode(Mode.NORMAL), "mode PAUSED"),
        (_no_drawdown, "a drawdown trip"),
        (_at_the_limit, "a drawdown trip"),
        (_held, "flat"),
        (_disagree, "venue_agrees"),
        (_hold, "no hold CLOCK"),
        (_store, "store_ok"),
        (_silent, "guard_fresh"),
    ],
)
def test_each_condition_refuses_by_its_name(
    tmp_path: Path, spoil: Callable[[Desk], None], missing: str
) -> None:
    """The peak stays, the log says what was missing and whose command it was; asked again, all is decided
    anew."""

    async def act(desk: Desk) -> None:
        await desk.paused()
        peak = desk.core.portfolio.peak
        spoil(desk)
        desk.core.guard.press_key("PEAK_RESET", OPERATOR)
        desk.core.safety.status = desk.core.guard.status()
        desk.loop.watch._peaks.follow()
        await desk.loop.watch._peaks.work()
        (told,) = desk.core.scribe.of("loosening")
        assert (told["outcome"], told["operator"]) == ("refused", OPERATOR)
        assert missing in told["missing"]
        if missing != "a drawdown trip":
            assert desk.core.portfolio.peak == peak
        await desk.loop.watch._peaks.work()
        assert len(desk.core.scribe.of("loosening")) == 1, "it is used up"

    _run(act, tmp_path)


@pytest.mark.parametrize(("equity", "lacking"), [(-1, True), (0, True), (1, False)])
def test_a_peak_of_nothing_is_none(tmp_path: Path, equity: int, lacking: bool) -> None:
    """From nothing no loss could be measured; the smallest unit of money is something."""

    async def act(desk: Desk) -> None:
        await desk.paused()
        desk.core.portfolio.cash = Amount(equity)
        told = await desk.reset()
        assert told["outcome"] == "refused", "and the venue does not agree with such books"
        assert ("equity above zero" in told["missing"]) is lacking

    _run(act, tmp_path)


@pytest.mark.safety("S6.8")
@pytest.mark.parametrize("in_time", [True, False])
def test_it_waits_for_what_the_venue_still_has_to_confirm(tmp_path: Path, in_time: bool) -> None:
    """Cancels confirmed, the trip stored: for 5 s, then it is refused and says what was missing."""

    async def act(desk: Desk) -> None:
        await desk.paused()
        desk.core.exits.begin_sweep()
        desk.core.guard.stored = 0
        desk.core.guard.press_key("PEAK_RESET", OPERATOR)
        await desk.rounds(5)
        assert not desk.core.scribe.of("loosening")
        if in_time:
            desk.core.guard.stored = desk.core.guard.state
        await desk.rounds(WITHIN_NS * 5 // SECOND + 1)
        (told,) = desk.core.scribe.of("loosening")
        assert told["outcome"] == ("done" if in_time else "refused")
        assert told.get("missing") == (None if in_time else ["confirmation in time", "trip_stored"])

    _run(act, tmp_path)


@pytest.mark.safety("S6.8")
def test_a_trip_found_with_the_command_or_behind_it_voids_it(tmp_path: Path) -> None:
    """It was signed for the epoch before."""

    async def act(desk: Desk) -> None:
        await desk.paused()
        peak = desk.core.portfolio.peak
        desk.core.guard.press_key("PEAK_RESET", OPERATOR)
        desk.core.guard.trip(TripReason.TAMPER)
        await desk.rounds(1)
        assert desk.core.scribe.of("loosening")[-1]["missing"] == ["no trip after it"]
        desk.core.guard.press_key("PEAK_RESET", OPERATOR)
        desk.loop.watch.round()
        desk.core.guard.trip(TripReason.CLOCK)
        await desk.rounds(1)
        assert [told["outcome"] for told in desk.core.scribe.of("loosening")] == ["refused", "refused"]
        assert desk.core.portfolio.peak == peak
        await desk.rounds(3 * SWEEP_NS // SECOND * 5)
        assert (await desk.reset())["outcome"] == "done", "signed again, out of the epoch that stands"

    _run(act, tmp_path)


@pytest.mark.safety("S6.8")
@pytest.mark.parametrize(("after_ns", "given_up"), [(WITHIN_NS, False), (WITHIN_NS + 1, True)])
def test_a_venue_that_does_not_confirm_in_time_lets_it_lapse(
    tmp_path: Path, after_ns: int, given_up: bool
) -> None:
    """Nothing signed now happens an hour later, when the venue comes back."""

    async def act(desk: Desk) -> None:
        await desk.paused()
        peak, account = desk.core.portfolio.peak, desk.core.venue.account

        async def down() -> VenueAccount:
            raise TransportError("the venue does not answer")

        desk.core.venue.account = down  # type: ignore[method-assign]
        desk.core.guard.press_key("PEAK_RESET", OPERATOR)
        desk.loop.watch.round()
        await desk.loop.watch.work_once()
        assert not desk.core.scribe.of("loosening")
        desk.core.venue.account = account  # type: ignore[method-assign]
        desk.core.clock.mono += after_ns
        desk.loop.watch.round()
        await desk.loop.watch.work_once()
        await desk.loop.watch.work_once()
        (told,) = desk.core.scribe.of("loosening")
        assert (told["outcome"] == "refused") is given_up
        assert (desk.core.portfolio.peak == peak) is given_up

    _run(act, tmp_path)


@pytest.mark.safety("S6.8")
def test_the_peak_moves_only_after_its_entry_is_durable(tmp_path: Path) -> None:
    """A log that fails keeps it where it was."""

    async def act(desk: Desk) -> None:
        await desk.paused()
        peak = desk.core.portfolio.peak
        desk.core.scribe.error = StoreError("disk full", "test")
        assert (await desk.reset())["outcome"] == "done", "asked for, and not known to be on record"
        assert desk.core.portfolio.peak == peak

    _run(act, tmp_path)


@pytest.mark.safety("S6.8")
def test_after_a_reboot_the_loss_itself_stands_for_the_forgotten_trip(tmp_path: Path) -> None:
    """The page of a new boot says NEVER_ARMED; without this nobody could ever arm such a box again."""

    async def act(desk: Desk) -> None:
        await desk.paused()
        desk.core.safety._reasons.clear()
        desk.core.guard.later = set()
        assert desk.core.portfolio.drawdown_ppm > desk.core.limits.account.drawdown_ppm
        assert (await desk.reset())["outcome"] == "done"

    _run(act, tmp_path)


@pytest.mark.safety("S6.8")
def test_an_account_that_is_not_of_this_moment_decides_nothing(tmp_path: Path) -> None:
    """Something happened at the venue between its answer and our books: the next look tells."""

    async def act(desk: Desk) -> None:
        await desk.paused()
        peak, account = desk.core.portfolio.peak, desk.core.venue.account

        async def before() -> VenueAccount:
            told = await account()
            return replace(told, seq=told.seq - 1)

        desk.core.venue.account = before  # type: ignore[method-assign]
        desk.core.guard.press_key("PEAK_RESET", OPERATOR)
        await desk.rounds(3)
        assert not desk.core.scribe.of("loosening")
        assert desk.core.portfolio.peak == peak
        desk.core.venue.account = account  # type: ignore[method-assign]
        await desk.rounds(1)
        assert [told["outcome"] for told in desk.core.scribe.of("loosening")] == ["done"]

    _run(act, tmp_path)


@pytest.mark.safety("S6.8")
def test_a_page_that_is_gone_carries_no_command_and_voids_the_one_that_waits(tmp_path: Path) -> None:
    """Nobody can say that no trip came meanwhile; when it is back, the command is not taken a second time."""

    async def act(desk: Desk) -> None:
        await desk.paused()
        peak = desk.core.portfolio.peak
        desk.core.guard.press_key("PEAK_RESET", OPERATOR)
        desk.loop.watch.round()
        desk.core.guard.present = False
        await desk.rounds(1)
        assert [told["outcome"] for told in desk.core.scribe.of("loosening")] == ["refused"]
        desk.core.guard.present = True
        await desk.rounds(2)
        assert len(desk.core.scribe.of("loosening")) == 1
        assert desk.core.portfolio.peak == peak

    _run(act, tmp_path)


def test_what_was_counted_before_the_core_looked_is_no_command(tmp_path: Path) -> None:
    """A restarted core does not repeat one, and an arm press is none."""

    async def act(desk: Desk) -> None:
        await desk.paused()
        desk.core.guard.press_key("PEAK_RESET", OPERATOR)
        desk.core.safety.status = desk.core.guard.status()
        again = Loop(desk.core, tmp_path / "latch")
        again.watch.catch_up()
        again.watch.round()
        await again.watch.work_once()
        desk.core.guard.press_key("STEP", OPERATOR)
        again.watch.round()
        await again.watch.work_once()
        assert not desk.core.scribe.of("loosening")

    _run(act, tmp_path)
