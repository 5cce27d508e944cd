"""Recovery plans: when one begins, what it leaves of each limit, how it steps and what it never touches."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from appliance.domain.intent import Action, Intent, OrderType, Side
from appliance.domain.mode import Mode, TripReason
from appliance.domain.money import AMOUNT_ONE, PPM_ONE, Price, Qty
from appliance.domain.reasons import Reason
from appliance.domain.verdict import Approved, Denied
from appliance.risk.limits import share_of
from appliance.safety.modes import ModeEvent, trip_event
from appliance.safety.recovery_plan import PLANS, STARTS, Earlier, RecoveryPlan, Stage, read_earlier
from tests.kit import DAY, SPX, Core, FakeClock, FakeScribe, account_limits, instrument_limits, source_limits
from tests.unit.test_safety_controller import READY

PRICE = 100_000  # 1,000.00
EMERGENCIES = (TripReason.KILL_BUTTON, TripReason.DRAWDOWN, TripReason.DAILY_LOSS)
OTHERS = tuple(set(TripReason) - set(EMERGENCIES) - STARTS - {TripReason.NONE})


class Plan:
    """A plan on a clock of the test's, of a box that was armed before."""

    def __init__(self, plan: str = "standard", earlier: Earlier | None = None) -> None:
        self.scribe, self.clock = FakeScribe(), FakeClock()
        known = earlier or Earlier(armed_before=True)
        self.plan = RecoveryPlan(self.scribe, self.clock, plan=plan, every_ns=DAY, earlier=known)

    def trip(self, reason: TripReason, *standing: TripReason, tamper: bool = False) -> None:
        """A reason enters while others stand."""
        emergency = trip_event(reason, tamper) is ModeEvent.TRIP_EMERGENCY
        self.plan.tripped(reason, standing, emergency=emergency)

    def pass_ns(self, duration_ns: int, *, counts: bool = True) -> int:
        """One observation later; the share then."""
        self.clock.utc += duration_ns
        self.plan.pass_time(counts=counts)
        return self.plan.share_ppm

    def events(self) -> list[str]:
        """As the log tells them."""
        return [entry["event"] for entry in self.scribe.of("recovery")]


@pytest.mark.safety("C04.4")
def test_the_plans_are_literally_these() -> None:
    """RSK-11: standard gives a quarter, then half, then everything; aggressive everything at once."""
    assert PLANS == {"standard": (250_000, 500_000), "aggressive": ()}
    for shares in PLANS.values():
        assert list(shares) == sorted(set(shares))
        assert all(0 < share < PPM_ONE for share in shares)


@pytest.mark.parametrize("reason", EMERGENCIES)
def test_an_emergency_begins_the_standard_plan_at_the_next_arming(reason: TripReason) -> None:
    """A quarter, half, everything; each for a whole period, the last nanosecond included."""
    box = Plan()
    box.trip(reason)
    assert (box.events(), box.plan.share_ppm) == (["due"], 250_000)
    box.plan.armed()
    assert box.plan.share_ppm == 250_000
    assert box.pass_ns(DAY - 1) == 250_000
    assert box.pass_ns(1) == 500_000
    assert box.pass_ns(DAY - 1) == 500_000
    assert box.pass_ns(1) == PPM_ONE
    assert box.events() == ["due", "begin", "step", "end"]
    assert box.plan.stage is None
    assert box.pass_ns(10 * DAY) == PPM_ONE


@pytest.mark.parametrize("reason", EMERGENCIES)
def test_the_aggressive_plan_gives_everything_at_once_and_says_so(reason: TripReason) -> None:
    """A person still arms; the log tells that no share was kept."""
    box = Plan("aggressive")
    box.trip(reason)
    box.plan.armed()
    assert (box.plan.share_ppm, box.events()) == (PPM_ONE, ["due", "end"])


def test_tamper_begins_a_plan_only_where_it_is_an_emergency() -> None:
    """U04: its reaction is by configuration."""
    for tamper in (True, False):
        box = Plan()
        box.trip(TripReason.TAMPER, tamper=tamper)
        assert box.plan.due is tamper


@pytest.mark.parametrize("reason", OTHERS)
def test_a_trip_that_holds_positions_begins_no_plan_and_restarts_a_share(reason: TripReason) -> None:
    """Once for each reason: its adoption by the guard is not another trip."""
    box = Plan()
    box.trip(reason)
    box.plan.armed()
    assert (box.plan.share_ppm, box.events()) == (PPM_ONE, [])
    box.trip(TripReason.DRAWDOWN)
    box.plan.armed()
    box.pass_ns(DAY - 1)
    box.trip(reason)
    box.trip(reason, reason)
    box.plan.armed()
    assert box.pass_ns(DAY - 1) == 250_000
    assert box.pass_ns(1) == 500_000
    assert box.events() == ["due", "begin", "again", "step"]


@pytest.mark.parametrize("start", sorted(STARTS))
def test_the_first_arming_ever_is_no_recovery(start: TripReason) -> None:
    """NEVER_ARMED and the proof test that every arming needs: the demo starts with all of its limits."""
    box = Plan(earlier=Earlier())
    box.trip(start)
    box.trip(TripReason.KILL_BUTTON, start)
    box.trip(TripReason.KILL_BUTTON, start, TripReason.KILL_BUTTON)
    box.plan.armed()
    assert (box.plan.share_ppm, box.events()) == (PPM_ONE, [])


@pytest.mark.parametrize(
    ("start", "due"),
    [(TripReason.NOT_ARMED, False), (TripReason.NEVER_ARMED, True), (TripReason.FOREIGN_CARD, True)],
)
def test_what_a_power_cut_hides_counts_as_an_emergency(start: TripReason, due: bool) -> None:
    """A box tripped when it lost power starts NEVER_ARMED: switching it off and on is no way round a plan."""
    box = Plan()
    box.trip(start)
    box.trip(TripReason.KILL_BUTTON, start)
    assert box.plan.due is due


@pytest.mark.parametrize("later", [TripReason.DRAWDOWN, TripReason.DAILY_LOSS])
def test_a_loss_behind_a_shut_gate_begins_a_plan(later: TripReason) -> None:
    """And so does the button once anything but a start has shut the gate: nobody can say it was a test."""
    box = Plan()
    box.trip(TripReason.NOT_ARMED)
    box.trip(later, TripReason.NOT_ARMED)
    assert box.plan.due
    box = Plan()
    box.trip(TripReason.GUARD_LOST)
    box.trip(TripReason.KILL_BUTTON, TripReason.GUARD_LOST)
    assert box.plan.due


def test_an_emergency_in_a_plan_begins_it_again_from_its_start() -> None:
    """However far it was."""
    box = Plan()
    box.trip(TripReason.DRAWDOWN)
    box.plan.armed()
    assert box.pass_ns(DAY) == 500_000
    box.trip(TripReason.KILL_BUTTON)
    box.plan.armed()
    assert box.plan.share_ppm == 250_000
    assert box.pass_ns(DAY - 1) == 250_000


def test_only_time_between_two_observations_in_normal_counts() -> None:
    """Shut, held, before the arming, or a clock that runs back: none of it."""
    box = Plan()
    box.trip(TripReason.DRAWDOWN)
    box.pass_ns(5 * DAY, counts=False)
    box.plan.armed()
    assert box.pass_ns(5 * DAY, counts=False) == 250_000
    assert box.pass_ns(5 * DAY) == 250_000, "the look before was in a hold"
    assert box.pass_ns(-3 * DAY) == 250_000
    assert box.pass_ns(DAY - 1) == 250_000
    assert box.pass_ns(1) == 500_000


def test_a_jump_of_the_clock_ends_one_share_at_most() -> None:
    """And what was left over is not carried into the next."""
    box = Plan()
    box.trip(TripReason.DRAWDOWN)
    box.plan.armed()
    assert box.pass_ns(1_000 * DAY) == 500_000
    assert box.pass_ns(DAY - 1) == 500_000


@pytest.mark.parametrize(("number", "share", "following"), [(0, 250_000, 500_000), (1, 500_000, PPM_ONE)])
def test_a_restart_goes_on_where_the_log_says(number: int, share: int, following: int) -> None:
    """Under the plan and the period it began with, whatever the configuration says by now."""
    stage = Stage("standard", number, DAY, DAY - 10)
    assert (stage.share_ppm, stage.next_ppm) == (share, following)
    box = Plan("aggressive", Earlier(armed_before=True, stage=stage))
    assert box.plan.share_ppm == share
    assert box.pass_ns(30 * DAY) == share, "the time it was off does not count"
    assert box.plan.beat() == {"recovery_passed_ns": str(DAY - 10)}
    assert box.pass_ns(9) == share
    assert box.pass_ns(1) == following


def test_a_restart_before_the_arming_still_owes_the_plan() -> None:
    """The emergency is in the log."""
    box = Plan(earlier=Earlier(armed_before=True, due=True))
    assert box.plan.share_ppm == 250_000
    box.plan.armed()
    assert box.events() == ["begin"]


def _core(share_ppm: int, **changes: Any) -> Core:
    core = Core(**changes)
    asyncio.run(core.market(PRICE))
    core.safety.recovery.share_ppm = share_ppm
    return core


def _denied(core: Core, intent: Intent) -> Denied | None:
    verdict = core.gate.check(intent)
    return verdict if isinstance(verdict, Denied) else None


WIDE = {
    "account": account_limits(position_cap_ppm=10**6),
    "limits": instrument_limits(max_order_qty=10**9, max_order_value=10**20),
    "source": source_limits(allocation=10**18),
}


@pytest.mark.safety("C04.4")
@pytest.mark.parametrize(
    ("limit", "full"),
    [
        ({"limits": instrument_limits(max_order_qty=1_000, max_order_value=10**20)}, 1_000),
        ({"limits": instrument_limits(max_order_value=10_000 * AMOUNT_ONE)}, 1_000),
        ({"account": account_limits(position_cap_ppm=10_000)}, 1_000),
        ({"source": source_limits(allocation=10_010 * AMOUNT_ONE)}, 1_000),  # and 0.1 % of fees
    ],
    ids=["quantity", "value", "position cap", "allocation"],
)
@pytest.mark.parametrize("share_ppm", [250_000, 500_000])
def test_each_limit_at_its_share(limit: dict[str, Any], full: int, share_ppm: int) -> None:
    """The last allowed value passes, one lot more has the plan's own code, above the limit the limit's."""
    core = _core(share_ppm, **(WIDE | limit))
    last = full * share_ppm // PPM_ONE
    assert _denied(core, core.intent(qty=Qty(last))) is None
    for qty in (last + 1, full - 1, full):
        denied = _denied(core, core.intent(qty=Qty(qty)))
        assert denied is not None
        assert denied.reason is Reason.RECOVERY_LIMIT
        assert f"at {share_ppm // 10_000} % of the limits" in denied.detail
    above = _denied(core, core.intent(qty=Qty(full + 1)))
    assert above is not None
    assert above.reason not in (None, Reason.RECOVERY_LIMIT)
    core.safety.recovery.share_ppm = PPM_ONE
    assert _denied(core, core.intent(qty=Qty(full))) is None


def test_what_is_wrong_in_itself_keeps_its_own_reason() -> None:
    """The plan's code means the plan and nothing else."""
    core = _core(250_000, **(WIDE | {"limits": instrument_limits(max_order_qty=1_000)}))
    far = core.intent(qty=Qty(900), order_type=OrderType.LIMIT, price=Price(150_000))
    denied = _denied(core, far)
    assert denied is not None
    assert denied.reason is Reason.PRICE_COLLAR


@pytest.mark.safety("C04.5")
@pytest.mark.parametrize("share_ppm", [250_000, 500_000])
def test_exits_are_never_asked(share_ppm: int) -> None:
    """A position far above every share is closed, protected and its orders cancelled as ever."""
    core = Core()
    asyncio.run(core.hold_position(1_500))
    core.safety.recovery.share_ppm = share_ppm
    leave = core.intent(side=Side.SELL, qty=Qty(1_500))
    verdict = core.gate.check(leave)
    core.safety.recovery.share_ppm = PPM_ONE
    assert verdict == core.gate.check(leave)
    assert isinstance(verdict, Approved)
    assert verdict.qty == 1_500
    core.safety.recovery.share_ppm = share_ppm
    protect = core.intent(
        side=Side.SELL, qty=Qty(1_500), order_type=OrderType.STOP, stop_price=Price(95_000),
        action=Action.NEW, protects=core.intent().id,
    )  # fmt: skip
    for wish in (protect, core.cancel()):
        assert isinstance(core.gate.check(wish), Approved)


def test_a_share_is_rounded_down_and_leaves_the_rest_alone() -> None:
    """One of three is nothing at a quarter; collar, stop, age, loss limits stay."""
    core = Core(limits=instrument_limits(max_order_qty=3), account=account_limits(position_cap_ppm=3))
    part = share_of(core.limits, 250_000)
    assert (part.instruments[SPX].max_order_qty, part.account.position_cap_ppm) == (0, 0)
    whole = core.limits.instruments[SPX]
    assert part.instruments[SPX].collar_ppm == whole.collar_ppm
    assert part.account.drawdown_ppm == core.limits.account.drawdown_ppm


@pytest.mark.safety("C04.4")
def test_the_gate_opens_with_the_share_already_set() -> None:
    """The controller arms the plan before its own latch clears, and only a person's press arms."""
    core = Core()
    shares: list[int] = []
    clear = core.latch.clear

    def watched(armed_epoch: int) -> None:
        shares.append(core.safety.recovery.share_ppm)
        clear(armed_epoch)

    core.latch.clear = watched  # type: ignore[method-assign]
    core.guard.trip(TripReason.KILL_BUTTON)
    for _ in range(5):
        core.clock.pass_ns(DAY)
        core.safety.poll(READY)
        core.safety.recovery.pass_time(counts=True)
    assert (core.safety.mode, shares) == (Mode.EMERGENCY, [])
    core.guard.press_key("STEP")
    core.safety.poll(READY)
    assert core.guard.permits[-1] == core.guard.state
    core.guard.press_key("ARMED")
    core.safety.poll(READY)
    assert (core.safety.mode, shares) == (Mode.NORMAL, [250_000])
    events = [kind for kind in core.scribe.kinds() if kind in ("recovery", "arm")]
    assert events == ["recovery", "recovery", "arm"], "due and begun are in the log before the arming is"


@pytest.mark.parametrize(
    "told",
    [
        {"stage": 0},
        {"stage": 2, "plan": "standard", "every_ns": "5"},
        {"stage": -1, "plan": "standard", "every_ns": "5"},
        {"stage": 0, "plan": "aggressive", "every_ns": "5"},
        {"stage": 0, "plan": "other", "every_ns": "5"},
        {"stage": "x", "plan": "standard", "every_ns": "5"},
        {"stage": 0, "plan": "standard", "every_ns": "0"},
        {"stage": 0, "plan": "standard", "every_ns": None},
    ],
)
def test_an_entry_of_no_plan_there_is_is_refused(told: dict[str, object]) -> None:
    """By the start, as a log that cannot be what it says; never read as "no plan"."""
    with pytest.raises((KeyError, ValueError, IndexError, TypeError)):
        read_earlier(True, told, {})


@pytest.mark.parametrize(("beat", "passed_ns"), [({}, 0), ({"recovery_passed_ns": "4"}, 4)])
def test_time_comes_from_the_last_heartbeat(beat: dict[str, object], passed_ns: int) -> None:
    """What came after it is not counted; more than there is, is refused."""
    told = {"stage": 1, "plan": "standard", "every_ns": "5", "due": False}
    assert read_earlier(True, told, beat) == Earlier(True, False, Stage("standard", 1, 5, passed_ns))
    with pytest.raises(ValueError, match="5 of 5 ns"):
        read_earlier(True, told, {"recovery_passed_ns": "5"})


@pytest.mark.parametrize("told", [{}, {"event": "end", "plan": "standard"}, {"due": True, "event": "due"}])
def test_without_a_stage_no_plan_runs(told: dict[str, object]) -> None:
    """Nothing in the log, an end, or an emergency nobody has armed out of."""
    assert read_earlier(True, told, {}) == Earlier(True, bool(told.get("due")))
