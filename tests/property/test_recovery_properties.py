"""Recovery plans and peak resets under random sequences: nothing opens by itself, no restart loosens."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.domain.ids import OrderId, TradeId
from appliance.domain.intent import Side
from appliance.domain.mode import Mode, TripReason
from appliance.domain.money import AMOUNT_ONE, PPM_ONE, Amount, Price, Qty
from appliance.domain.order import Fill
from appliance.domain.verdict import Approved, Denied
from appliance.portfolio.decline import Decline
from appliance.portfolio.portfolio import Portfolio
from appliance.risk.limits import share_of
from appliance.safety.modes import ModeEvent, trip_event
from appliance.safety.recovery_plan import PLANS, Earlier, RecoveryPlan, read_earlier
from tests.kit import BOT, DAY, SPX, Core, FakeClock, FakeScribe, spx
from tests.unit.test_safety_controller import READY
from tests.unit.test_safety_controller import Box as Controller

REASONS = [reason for reason in TripReason if reason is not TripReason.NONE]
plan_acts = st.lists(
    st.one_of(
        st.sampled_from(REASONS),
        st.sampled_from(["arm", "beat", "restart"]),
        st.tuples(st.integers(0, 2 * DAY), st.booleans()),
    ),
    max_size=40,
)


def _restarted(box: tuple[RecoveryPlan, FakeScribe], clock: FakeClock, armed: bool) -> RecoveryPlan:
    told: Mapping[str, object] = {}
    beat: Mapping[str, object] = {}
    for kind, data, _ in box[1].entries:
        told, beat = (data, {}) if kind == "recovery" else (told, beat)
        beat = data if kind == "heartbeat" else beat
    return RecoveryPlan(box[1], clock, every_ns=DAY, earlier=read_earlier(armed, told, beat))


@pytest.mark.safety("C04.4")
@settings(deadline=None, derandomize=True, max_examples=200)
@given(plan_acts, st.sampled_from(sorted(PLANS)))
def test_a_share_grows_by_a_persons_arming_or_by_time_and_by_no_restart(
    acts: list[object], plan: str
) -> None:
    """Between two armings it never grows but by one observation; an emergency out of NORMAL is always
    followed by the first share; a restart has the same share and no more time behind it."""
    scribe, clock = FakeScribe(), FakeClock()
    armed, box = False, RecoveryPlan(scribe, clock, plan=plan, every_ns=DAY, earlier=Earlier())
    standing: list[TripReason] = [TripReason.NEVER_ARMED]
    for act in acts:
        before, stage = box.share_ppm, box.stage
        if isinstance(act, TripReason):
            emergency = trip_event(act, True) is ModeEvent.TRIP_EMERGENCY
            box.tripped(act, standing, emergency=emergency)
            assert box.due or not (emergency and armed and not standing)
            standing.append(act)
            assert box.share_ppm <= before
        elif act == "arm":
            due = box.due
            box.armed()
            armed, standing = True, []
            first = (*PLANS[plan], PPM_ONE)[0]
            assert box.share_ppm == (first if due else before)
        elif act == "beat":
            scribe.note("heartbeat", box.beat())
        elif act == "restart":
            again = _restarted((box, scribe), clock, armed)
            assert (again.due, again.stage is None) == (box.due, box.stage is None)
            if again.stage is not None and box.stage is not None:
                assert again.stage.share_ppm == box.stage.share_ppm
                assert again.stage.passed_ns <= box.stage.passed_ns
            box = RecoveryPlan(
                scribe, clock, plan=plan, every_ns=DAY, earlier=Earlier(armed, again.due, again.stage)
            )
        elif isinstance(act, tuple):
            clock.utc += act[0]
            box.pass_time(counts=act[1] and not standing)
            assert box.share_ppm in (before, stage.next_ppm if stage is not None else before)
            assert box.share_ppm == before or not standing
        assert 0 < box.share_ppm <= PPM_ONE


@pytest.mark.safety("C04.4", "C04.5")
@settings(deadline=None, derandomize=True, max_examples=150)
@given(
    st.integers(0, 3_000),
    st.integers(1, 30_000),
    st.sampled_from(list(Side)),
    st.sampled_from([250_000, 500_000]),
)
def test_a_plan_never_lets_through_more_and_never_stops_an_exit(
    held: int, qty: int, side: Side, share_ppm: int
) -> None:
    """Whatever passes under a share passes without it, and an exit has the very same verdict."""
    core = Core()
    core.portfolio.mark(core.bar(100_000))
    core.portfolio.holdings[SPX].position = held
    wish = core.intent(side=side, qty=Qty(qty))
    whole = core.gate.check(wish)
    core.safety.recovery.share_ppm = share_ppm
    part = core.gate.check(wish)
    if side is Side.SELL and qty <= held:
        assert part == whole
        assert isinstance(part, Approved)
    if isinstance(part, Approved):
        assert isinstance(whole, Approved)
    elif isinstance(whole, Denied):
        assert part == whole, "what the limits deny keeps their reason"


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.integers(0, PPM_ONE))
def test_a_share_of_the_limits_is_never_above_them(share_ppm: int) -> None:
    """Each number, at any share."""
    core = Core()
    part, whole = share_of(core.limits, share_ppm), core.limits
    assert part.account.position_cap_ppm * PPM_ONE <= whole.account.position_cap_ppm * share_ppm
    for name in ("max_order_qty", "max_order_value"):
        mine, full = getattr(part.instruments[SPX], name), getattr(whole.instruments[SPX], name)
        assert mine * PPM_ONE <= full * share_ppm
    assert part.sources[BOT].allocation * PPM_ONE <= whole.sources[BOT].allocation * share_ppm


acts_on_a_box = st.lists(
    st.one_of(
        st.sampled_from(REASONS),
        st.sampled_from(["PEAK_RESET", "STEP", "NO_PROOF", "NOT_STORED", "ARMED?"]),
    ),
    max_size=30,
)


@pytest.mark.safety("S6.8", "C04.4")
@settings(deadline=None, derandomize=True, max_examples=200)
@given(acts_on_a_box, st.booleans())
def test_no_sequence_of_resets_presses_and_trips_opens_anything(acts: list[object], armed: bool) -> None:
    """The core's latch opens in the look that finds an arming in the epoch it permitted, and in no other; a
    reset moves no mode, no permit and no epoch. ("ARMED?": the guard arms only where it has a permit.)"""
    box = Controller(armed=armed)
    for act in acts:
        mode, open_before, permits = box.safety.mode, box.latch.is_open(), list(box.guard.permits)
        if isinstance(act, TripReason):
            box.guard.trip(act)
        elif act == "ARMED?":
            permitted = bool(permits) and permits[-1] == box.guard.state
            box.guard.press_key("ARMED" if permitted else "STEP")
        else:
            box.guard.press_key(str(act), "00000000c0ffee00")
        box.poll(READY)
        if box.latch.is_open() and not open_before:
            assert act == "ARMED?"
            assert permits[-1] == box.guard.state
        if act == "PEAK_RESET":
            assert (box.safety.mode, box.latch.is_open()) == (mode, open_before)
        if isinstance(act, TripReason):
            assert box.safety.mode is not Mode.NORMAL


class Books:
    """An account that holds 1.00 at every mark; a reset comes after all was sold, as in life."""

    def __init__(self, resets: list[tuple[int, int]]) -> None:
        self.portfolio = Portfolio([spx()], Amount(1_000_000 * AMOUNT_ONE), {BOT: Amount(AMOUNT_ONE)})
        self.portfolio.resets.restore(("", marks, peak) for marks, peak in resets)
        self.core = Core()
        self.trades = 0

    def trade(self, side: Side, price: int) -> None:
        """1.00, without a fee."""
        self.trades += 1
        fill = Fill(
            trade_id=TradeId(f"t{self.trades}"), order_id=OrderId("o"), instrument=SPX, side=side,
            qty=Qty(100), price=Price(price), fee=Amount(0), maker=False, event_ns=self.core.clock.utc,
        )  # fmt: skip
        self.portfolio.apply_fill(fill, BOT)

    def bar(self, price: int, sold: bool, before_mark: bool = False) -> None:
        """One observation with the fills around it. before_mark: as `_catch_up` books them."""
        if self.portfolio.is_flat():
            self.trade(Side.BUY, price)
        observation = self.core.bar(price)
        if before_mark:
            if sold:
                self.trade(Side.SELL, price)
            self.portfolio.caught_up()
        self.portfolio.mark(observation)
        if sold and not before_mark:
            self.trade(Side.SELL, price)


@pytest.mark.safety("S6.8")
@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    st.lists(st.tuples(st.integers(50_000, 150_000), st.booleans()), min_size=1, max_size=12),
    st.integers(1, 12),
)
def test_a_restart_comes_to_the_same_peak(bars: list[tuple[int, bool]], cursor: int) -> None:
    """Marks and resets in any order, cut anywhere: the interrupted run has the peak of the other one."""
    cursor = min(cursor, len(bars))
    log: list[tuple[int, int]] = []
    whole = Books([])
    for price, reset in bars:
        whole.bar(price, reset)
        if reset:
            log.append((whole.portfolio.resets.marks, whole.portfolio.equity))
            whole.portfolio.reset_peak(whole.portfolio.equity)
    again = Books([each for each in log if each[0] <= cursor])
    for number, (price, reset) in enumerate(bars, 1):
        again.bar(price, reset, before_mark=number == cursor)
        if reset and number > cursor:
            again.portfolio.reset_peak(again.portfolio.equity)
    assert again.portfolio.equity == whole.portfolio.equity
    assert again.portfolio.peak == whole.portfolio.peak
    if not bars[-1][1]:
        assert again.portfolio.drawdown_ppm == whole.portfolio.drawdown_ppm


@pytest.mark.safety("S6.8")
def test_a_restart_finds_the_peak_of_a_source_that_was_started_again() -> None:
    """By the prices taken then, as the account's; one that is configured no more is passed over."""
    whole = Books([])
    for price in (100_000, 80_000):
        whole.bar(price, sold=False)
    whole.trade(Side.SELL, 80_000)
    source, marks = whole.portfolio.sources[BOT], whole.portfolio.resets.marks
    source.stop("its allocation fell", 1)
    source.start(source.equity(whole.portfolio.holdings))
    peak = source.decline.peak
    assert (peak, source.decline.drawdown_ppm, source.stopped_reason) == (peak, 0, "")
    again = Books([])
    again.portfolio.resets.restore([(BOT, marks, peak), ("gone", marks, 1)])
    for price in (100_000, 80_000):
        again.bar(price, sold=False)
    assert again.portfolio.sources[BOT].decline.peak == peak < AMOUNT_ONE
    assert again.portfolio.peak == whole.portfolio.peak, "the account's own stays"
    late = Books([])
    late.portfolio.resets.restore([(BOT, marks, peak)])
    late.bar(100_000, sold=False)
    assert late.portfolio.sources[BOT].decline.peak > peak
    late.portfolio.caught_up()
    assert late.portfolio.sources[BOT].decline.peak == peak


def test_a_flat_account_below_its_limit_is_not_armable_after_a_restart() -> None:
    """The last price is taken again only once somebody has armed; the loss is known without it."""
    books = Books([])
    books.bar(100_000, sold=False)
    books.bar(50_000, sold=True, before_mark=True)
    assert books.portfolio.drawdown_ppm == 500
    books = Books([])
    books.bar(100_000, sold=False)
    books.trade(Side.SELL, 50_000)
    assert books.portfolio.drawdown_ppm == 0
    books.portfolio.caught_up()
    assert books.portfolio.drawdown_ppm == 500


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=10), st.integers(1, 10**9))
def test_weighing_moves_neither_peak_nor_day(values: list[int], weighed: int) -> None:
    """It answers a question; the next observation makes everything what it would have been."""
    one, other = Decline(10**6), Decline(10**6)
    for number, value in enumerate(values):
        one.observe(value, number * DAY)
        other.observe(value, number * DAY)
        other.weigh(weighed)
        assert (one.peak, one.day_start, one.value) == (other.peak, other.day_start, other.value)
