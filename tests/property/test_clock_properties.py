"""No sequence of clock readings ends the hold early, keeps it for ever or costs an exit (SAFETY 1, 2, 10)."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.domain.intent import Side
from appliance.domain.mode import HoldCause, Mode
from appliance.domain.money import Qty
from appliance.domain.reasons import Reason
from appliance.domain.verdict import Approved, Denied
from appliance.runtime.clock_loop import ClockLoop
from appliance.safety.clock_watch import ClockPast, ClockReading, ClockState, ClockWatch
from tests.kit import Core

S = 1_000_000_000
MIN, HOUR = 60 * S, 3_600 * S
UTC = 1_800_000_000 * S

GAPS = st.one_of(
    st.integers(0, 2 * S),
    st.sampled_from([S, MIN - 1, MIN, MIN + 1, 10 * MIN - 1, 10 * MIN, HOUR, HOUR + 1]),
    st.integers(0, 2 * HOUR),
)
STEPS = st.one_of(
    st.just(0),
    st.just(0),
    st.just(0),
    st.sampled_from([-S, -S - 1, -S // 2, -S // 5, 99_999_999, 100_000_001, S + 1, HOUR]),
    st.integers(-2 * HOUR, 2 * HOUR),
)
MOMENTS = st.lists(st.tuples(GAPS, STEPS, st.booleans(), st.integers(1, 12)), min_size=1, max_size=25)
"""(time since the reading before, step in between, synchronised, how often the same gap follows quietly)."""


def _readings(moments: list[tuple[int, int, bool, int]]) -> list[ClockReading]:
    boot_ns, offset_ns, found = S, UTC, []
    for gap_ns, step_ns, synchronised, repeats in moments:
        for number in range(repeats):
            boot_ns += gap_ns
            offset_ns += 0 if number else step_ns
            found.append(ClockReading(boot_ns, boot_ns + offset_ns, synchronised, "so"))
    return found


def _fell(readings: list[ClockReading], at: int, since: int) -> bool:
    """SAFETY 10 in the test's own words: UTC against BOOTTIME is more than 1 s below a reading of the last
    10 minutes, or below the one before, none of them older than reading `since`."""
    here = readings[at]
    earlier = [
        each
        for number, each in enumerate(readings[:at])
        if number >= since and (number == at - 1 or here.boot_ns - each.boot_ns <= 10 * MIN)
    ]
    return any(each.utc_ns - each.boot_ns - (here.utc_ns - here.boot_ns) > S for each in earlier)


def _doubts(readings: list[ClockReading]) -> list[int]:
    """Numbers of the readings that speak against the clock."""
    found, since, synchronised_ns = [], 0, readings[0].boot_ns
    for number, each in enumerate(readings):
        fell = _fell(readings, number, since)
        since = number if fell else since
        synchronised_ns = each.boot_ns if each.synchronised else synchronised_ns
        lost = not each.synchronised and (number == 0 or each.boot_ns - synchronised_ns > HOUR)
        if fell or lost:
            found.append(number)
    return found


def _good(readings: list[ClockReading], first: int, last: int) -> bool:
    """10 minutes from `first` to `last`: synchronised, no gap above a minute, no step above 100 ms."""
    part = readings[first : last + 1]
    pairs = list(pairwise(part))
    return (
        part[-1].boot_ns - part[0].boot_ns >= 10 * MIN
        and all(each.synchronised for each in part)
        and all(b.boot_ns - a.boot_ns <= MIN for a, b in pairs)
        and all(abs((b.utc_ns - b.boot_ns) - (a.utc_ns - a.boot_ns)) <= 100_000_000 for a, b in pairs)
    )


def _expected(readings: list[ClockReading]) -> list[ClockState]:
    """The rule by brute force: held since the first doubt until any good 10 minutes after the latest one."""
    doubts, states = set(_doubts(readings)), []
    held_from: int | None = None
    latest = 0
    overdue = False
    for number, each in enumerate(readings):
        if number in doubts:
            latest = number
            held_from = number if held_from is None else held_from
        if held_from is not None and any(_good(readings, first, number) for first in range(latest, number)):
            held_from, overdue = None, False
        if held_from is not None and each.boot_ns - readings[held_from].boot_ns >= HOUR:
            overdue = True
        held = ClockState.OVERDUE if overdue else ClockState.HELD
        states.append(ClockState.TRUSTED if held_from is None else held)
    return states


@pytest.mark.safety("S10.3", "S1.32")
@settings(max_examples=300, deadline=None, derandomize=True)
@given(MOMENTS)
def test_the_watch_is_the_rule(moments: list[tuple[int, int, bool, int]]) -> None:
    """After every reading the state is what the rule says by brute force: never left early, never kept."""
    readings = _readings(moments)
    watch = ClockWatch(ClockPast())
    states = []
    for reading in readings:
        watch.read(reading)
        states.append(watch.state)
        assert (watch.held_ns is None) is (watch.state is ClockState.TRUSTED)
    assert states == _expected(readings)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(MOMENTS, st.integers(1, 40))
def test_a_restart_ends_no_hold(moments: list[tuple[int, int, bool, int]], cut: int) -> None:
    """A core started again at any point, knowing what the log says, is held if it was, if UTC fell meanwhile,
    or if nobody keeps the clock; then until 10 good minutes of its own; and for no other reason."""
    readings = _readings(moments)
    cut = min(cut, len(readings))
    before = ClockWatch(ClockPast())
    for reading in readings[:cut]:
        before.read(reading)
    last = readings[cut - 1]
    past = ClockPast(
        newest_utc_ns=last.utc_ns,
        offset_ns=last.utc_ns - last.boot_ns,
        held=before.held_ns is not None,
        held_ns=before.held_ns,
    )
    again = ClockWatch(past)
    states, held = [], False
    for reading in readings[cut:]:
        again.read(reading)
        states.append(again.state)
    if states:
        fell = _fell([last, readings[cut]], 1, 0)
        held = before.held_ns is not None or fell or not readings[cut].synchronised
        assert (states[0] is not ClockState.TRUSTED) is held
    for number, state in enumerate(states):
        if held and state is ClockState.TRUSTED:
            assert any(_good(readings, first, cut + number) for first in range(cut, cut + number))
            break


@settings(max_examples=60, deadline=None, derandomize=True)
@given(MOMENTS)
def test_a_good_clock_ends_every_hold(moments: list[tuple[int, int, bool, int]]) -> None:
    """Whatever came before: 10 minutes of good readings are enough."""
    readings = _readings(moments)
    watch = ClockWatch(ClockPast())
    for reading in readings:
        watch.read(reading)
    last = readings[-1]
    for number in range(1, 602):
        watch.read(ClockReading(last.boot_ns + number * S, last.utc_ns + number * S, True, "so"))
    assert watch.state is ClockState.TRUSTED


@pytest.mark.safety("S10.3", "S2.3", "S2.5")
@settings(max_examples=40, deadline=None, derandomize=True)
@given(MOMENTS)
def test_no_clock_costs_an_exit_and_a_held_one_lets_no_entry_through(
    moments: list[tuple[int, int, bool, int]],
) -> None:
    """After every reading: a cancel and an exit are approved; an entry only without hold and trip."""

    async def run() -> None:
        core = Core()
        await core.hold_position(1_000)
        readings = iter(_readings(moments))
        loop = ClockLoop(lambda: next(readings), ClockPast(), core.safety, core.scribe, enforced=True)
        for _ in range(sum(repeats for *_, repeats in moments)):
            loop.look()
            held = any(hold.cause is HoldCause.CLOCK for hold in core.holds.standing())
            entry = core.gate.check(core.intent())
            leaving = core.gate.check(core.intent(side=Side.SELL, qty=Qty(500)))
            assert isinstance(leaving, Approved), leaving
            assert isinstance(core.gate.check(core.cancel()), Approved)
            if core.safety.mode is Mode.NORMAL and not held:
                assert isinstance(entry, Approved), entry
            else:
                assert isinstance(entry, Denied)
                assert core.safety.mode is not Mode.NORMAL or entry.reason is Reason.HOLD
        assert core.safety.mode in (Mode.NORMAL, Mode.PAUSED)
        assert not core.safety.liquidation_due()

    asyncio.run(run())


def test_the_strategies_reach_every_state() -> None:
    """Or the properties above would show nothing: this sequence is one they can draw."""
    moments = [(S, 0, True, 2), (S, -S - 1, True, 1), (MIN, 0, True, 11), (S, HOUR, False, 1)]
    states = _expected(_readings([*moments, (HOUR, 0, False, 4)]))
    assert set(states) == set(ClockState)
