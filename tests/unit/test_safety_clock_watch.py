"""The clock watch: every limit at its last allowed value and one nanosecond past it (SAFETY 1, 10)."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from appliance.safety.clock_watch import (
    TRANSITIONS,
    ClockEvent,
    ClockNews,
    ClockPast,
    ClockReading,
    ClockState,
    ClockWatch,
    seconds,
)

S = 1_000_000_000
MIN, HOUR = 60 * S, 3_600 * S
UTC = 1_800_000_000 * S
T, H, O = ClockState.TRUSTED, ClockState.HELD, ClockState.OVERDUE  # noqa: E741 - one letter a column
NOBODY = ClockPast()


class Clocks:
    """A machine's clocks in the test's hand, and the watch that reads them."""

    def __init__(self, past: ClockPast = NOBODY, *, boot_ns: int = 5 * S) -> None:
        self.watch = ClockWatch(past)
        self.boot_ns, self.offset_ns, self.synchronised = boot_ns, UTC, True
        self.heard: list[ClockNews] = []

    def read(self) -> ClockState:
        """One reading now."""
        words = "synchronised" if self.synchronised else "nobody keeps it"
        reading = ClockReading(self.boot_ns, self.boot_ns + self.offset_ns, self.synchronised, words)
        self.heard += self.watch.read(reading)
        return self.watch.state

    def after(self, duration_ns: int, *, step_ns: int = 0) -> ClockState:
        """One reading that much later, with a step in between."""
        self.boot_ns += duration_ns
        self.offset_ns += step_ns
        return self.read()

    def pass_ns(self, duration_ns: int, every_ns: int = S) -> ClockState:
        """Readings every second, and one at the very end."""
        end_ns = self.boot_ns + duration_ns
        while self.boot_ns + every_ns < end_ns:
            self.after(every_ns)
        return self.after(end_ns - self.boot_ns)

    def said(self) -> list[str]:
        """What the log heard, by name."""
        return [each.what for each in self.heard]


def started(*, synchronised: bool = True, past: ClockPast = NOBODY) -> Clocks:
    """Clocks after their first reading."""
    clocks = Clocks(past)
    clocks.synchronised = synchronised
    clocks.read()
    return clocks


@pytest.mark.safety("S10.3", "S1.32")
@pytest.mark.parametrize(
    ("event", "after"),
    [
        #                         from TRUSTED, HELD, OVERDUE
        (ClockEvent.DOUBT, (H, H, O)),
        (ClockEvent.SETTLED, (T, T, T)),
        (ClockEvent.UNRESOLVED, (T, O, O)),
    ],
)
def test_the_table_is_literally_this(event: ClockEvent, after: tuple[ClockState, ...]) -> None:
    """All nine pairs; only 10 good minutes lead back."""
    assert tuple(TRANSITIONS.get((state, event), state) for state in (T, H, O)) == after


@pytest.mark.safety("S10.3", "S1.18")
@pytest.mark.parametrize(
    ("step_ns", "state"),
    [
        (0, T), (-1, T), (-S // 2, T), (-S + 1, T), (-S, T), (-S - 1, H), (-2 * S, H), (-HOUR, H),
        (-UTC, H), (1, T), (S, T), (S + 1, T), (HOUR, T), (10 * 365 * 24 * HOUR, T),
    ],
)  # fmt: skip
def test_a_step_of_a_second(step_ns: int, state: ClockState) -> None:
    """Back by exactly 1 s passes (a leap second), a nanosecond more holds; no step forward ever holds."""
    assert started().after(S, step_ns=step_ns) is state


@pytest.mark.parametrize("gap_ns", [1, S, MIN, MIN + 1, HOUR, 24 * HOUR])
def test_a_step_is_seen_however_long_nobody_looked(gap_ns: int) -> None:
    """A suspended or hung machine: BOOTTIME went on, so what differs is the step alone."""
    assert started().after(gap_ns) is T
    assert started().after(gap_ns, step_ns=-S) is T
    assert started().after(gap_ns, step_ns=-S - 1) is H


@pytest.mark.parametrize(
    ("first_ns", "second_ns", "apart_ns", "state"),
    [
        (-S, -1, S, H),
        (-S // 2, -S // 2, S, T),
        (-S // 2, -S // 2 - 1, S, H),
        (-S // 2, -S // 2 - 1, 10 * MIN - S, H),  # the highest reading was 1 s before the first piece
        (-S // 2, -S // 2 - 1, 10 * MIN, T),
        (+HOUR, -S - 1, S, H),
        (-S, +S, S, T),
    ],
)
def test_a_step_in_pieces_is_a_step(
    first_ns: int, second_ns: int, apart_ns: int, state: ClockState
) -> None:
    """What UTC fell below its highest of the last 10 minutes counts, not the last piece alone."""
    clocks = started()
    clocks.after(S, step_ns=first_ns)
    clocks.pass_ns(apart_ns - S)
    assert clocks.after(S, step_ns=second_ns) is state


def test_a_clock_that_creeps_back_is_held_too() -> None:
    """50 ms a second, each below what counts as a step: after 1 s it is one, and again after the next."""
    clocks = started()
    states = [clocks.after(S, step_ns=-S // 20) for _ in range(20)]
    assert set(states) == {T}
    assert clocks.after(S, step_ns=-S // 20) is H
    assert "in pieces" in clocks.watch.why
    for _ in range(700):
        assert clocks.after(S, step_ns=-S // 20) is H


@pytest.mark.safety("S10.3", "S1.18")
@pytest.mark.parametrize(
    ("duration_ns", "state"),
    [(S, T), (HOUR - 1, T), (HOUR, T), (HOUR + 1, H), (2 * HOUR, H)],
)
def test_an_hour_without_synchronisation(duration_ns: int, state: ClockState) -> None:
    """Exactly 1 h since it was last synchronised passes, a nanosecond more holds."""
    clocks = started()
    clocks.synchronised = False
    assert clocks.after(duration_ns) is state
    clocks.synchronised = True
    clocks.after(S)
    assert clocks.watch.state is state, "one synchronised reading proves nothing"


def test_the_hour_begins_again_with_every_synchronised_reading() -> None:
    """Half an hour lost, found, half an hour lost: no hold."""
    clocks = started()
    for _ in range(5):
        clocks.synchronised = False
        assert clocks.pass_ns(HOUR, MIN) is T
        clocks.synchronised = True
        assert clocks.after(S) is T


@pytest.mark.safety("S10.1")
def test_a_start_without_synchronisation_is_held_from_the_start() -> None:
    """At the first reading; with synchronisation it is not."""
    assert started(synchronised=False).watch.state is H
    assert started().watch.state is T


@pytest.mark.safety("S10.3")
@pytest.mark.parametrize("every_ns", [S, 7 * S, MIN])
@pytest.mark.parametrize(
    ("duration_ns", "state"), [(10 * MIN - 1, H), (10 * MIN, T), (10 * MIN + 1, T)]
)
def test_it_ends_after_ten_minutes(duration_ns: int, every_ns: int, state: ClockState) -> None:
    """Counted from the reading that saw the step."""
    clocks = started()
    assert clocks.after(S, step_ns=-2 * S) is H
    assert clocks.pass_ns(duration_ns, every_ns) is state


@pytest.mark.safety("S10.3")
@pytest.mark.parametrize("spoil", ["unsynchronised", "back", "small back", "forward", "gap"])
def test_the_ten_minutes_begin_again(spoil: str) -> None:
    """One reading without synchronisation, a step of either direction, or a minute nobody saw."""
    clocks = started()
    clocks.after(S, step_ns=-2 * S)
    clocks.pass_ns(9 * MIN)
    if spoil == "unsynchronised":
        clocks.synchronised = False
        clocks.after(S)
        clocks.synchronised = True
        clocks.after(S)
    elif spoil == "gap":
        clocks.after(MIN + 1)
    else:
        clocks.after(S, step_ns={"back": -2 * S, "small back": -S // 5, "forward": HOUR}[spoil])
    assert clocks.pass_ns(10 * MIN - 1) is H
    assert clocks.after(1) is T


@pytest.mark.parametrize(("gap_ns", "state"), [(MIN - 1, T), (MIN, T), (MIN + 1, H)])
def test_readings_a_minute_apart_count(gap_ns: int, state: ClockState) -> None:
    """As heartbeats do for a cooldown; further apart nobody knows what the clock did."""
    clocks = started()
    clocks.after(S, step_ns=-2 * S)
    clocks.pass_ns(9 * MIN)
    clocks.after(gap_ns)
    assert clocks.pass_ns(2 * MIN) is state


@pytest.mark.safety("S1.32")
@pytest.mark.parametrize(("duration_ns", "state"), [(HOUR - 1, H), (HOUR, O), (HOUR + 1, O)])
@pytest.mark.parametrize("synchronised", [True, False])
def test_an_hour_held_is_the_trip(synchronised: bool, duration_ns: int, state: ClockState) -> None:
    """From the hold's beginning, however often the 10 minutes began again."""
    clocks = started(synchronised=synchronised)
    if synchronised:
        clocks.after(S, step_ns=-2 * S)
    begun_ns = clocks.boot_ns
    while clocks.boot_ns + 5 * MIN < begun_ns + duration_ns:
        clocks.after(5 * MIN, step_ns=-2 * S if synchronised else 0)
    assert clocks.after(begun_ns + duration_ns - clocks.boot_ns) is state


@pytest.mark.parametrize(("late_ns", "said"), [(0, []), (1, ["unresolved"]), (S, ["unresolved"])])
def test_ten_good_minutes_that_end_with_the_hour_are_in_time(late_ns: int, said: list[str]) -> None:
    """Resolved at 1 h is not unresolved for 1 h; a nanosecond later it is too late."""
    clocks = started(synchronised=False)
    clocks.pass_ns(50 * MIN + late_ns - 1)
    clocks.synchronised = True
    clocks.after(1)
    clocks.pass_ns(10 * MIN - late_ns)
    assert clocks.watch.state is (O if late_ns else T)
    clocks.after(late_ns)
    assert clocks.watch.state is T
    assert clocks.said() == ["started", "doubted", "synchronised", *said, "settled"]


def test_an_overdue_clock_comes_back_the_same_way() -> None:
    """10 minutes; the trip it led to is latched elsewhere and waits for an arm press."""
    clocks = started(synchronised=False)
    assert clocks.pass_ns(2 * HOUR, MIN) is O
    clocks.synchronised = True
    clocks.after(S)
    assert clocks.pass_ns(10 * MIN - 1) is O
    assert clocks.after(1) is T
    assert clocks.said() == ["started", "doubted", "unresolved", "synchronised", "settled"]


def _remembers(*, ago_ns: int, utc_ago_ns: int = 0, held_ago_ns: int | None = None) -> ClockPast:
    """What the log says `ago_ns` before BOOTTIME 5 s; `utc_ago_ns` is how far its UTC lay ahead of ours."""
    boot_ns = 5 * S
    return ClockPast(
        newest_utc_ns=UTC + boot_ns - ago_ns + utc_ago_ns,
        offset_ns=UTC + utc_ago_ns,
        held=held_ago_ns is not None,
        held_ns=None if held_ago_ns is None else boot_ns - held_ago_ns,
    )


@pytest.mark.safety("S10.3")
@pytest.mark.parametrize(("fell_ns", "state"), [(0, T), (S - 1, T), (S, T), (S + 1, H), (HOUR, H)])
def test_a_step_while_no_core_ran_is_seen(fell_ns: int, state: ClockState) -> None:
    """Within a boot against what was last noted; across boots against the newest entry of the log."""
    assert started(past=_remembers(ago_ns=3 * S, utc_ago_ns=fell_ns)).watch.state is state
    other_boot = ClockPast(newest_utc_ns=UTC + 5 * S + fell_ns)
    clocks = started(past=other_boot)
    assert clocks.watch.state is state
    assert ("stepped" in clocks.said()) is (fell_ns > S)


def test_a_log_far_behind_or_empty_says_nothing() -> None:
    """The box was off for a year; or it is new."""
    assert started(past=ClockPast(newest_utc_ns=UTC - 365 * 24 * HOUR)).watch.state is T
    assert started(past=ClockPast(newest_utc_ns=None)).watch.state is T


@pytest.mark.safety("S10.3", "S1.32")
def test_a_restarted_core_leaves_no_hold_behind() -> None:
    """Synchronised or not, the hold goes on; its hour is counted from its own beginning."""
    clocks = started(past=_remembers(ago_ns=S, held_ago_ns=4 * S))
    assert clocks.watch.state is H
    assert clocks.pass_ns(10 * MIN - 1) is H
    assert clocks.after(1) is T

    past = ClockPast(newest_utc_ns=UTC, offset_ns=UTC, held=True, held_ns=5 * S)
    assert Clocks(past, boot_ns=HOUR + 5 * S).read() is O
    assert Clocks(past, boot_ns=HOUR + 5 * S - 1).read() is H
    early = Clocks(past, boot_ns=4 * S)
    early.synchronised = False
    assert early.read() is H
    assert early.after(HOUR) is O, "a hold from the future is counted from now"

    replayed = Clocks(ClockPast(newest_utc_ns=UTC, offset_ns=UTC, held=True), boot_ns=2 * HOUR)
    assert replayed.read() is H, "a replay held nothing: the hour begins where real time counts"
    assert replayed.pass_ns(10 * MIN) is T


def test_a_boot_time_that_runs_backwards_is_held() -> None:
    """No kernel does that; if one did, no duration measured before it would mean anything."""
    clocks = started()
    clocks.pass_ns(MIN)
    assert clocks.after(-S) is H
    assert clocks.pass_ns(10 * MIN - 1) is H
    assert clocks.after(1) is T

    late = Clocks(boot_ns=2 * HOUR)
    late.synchronised = False
    assert late.read() is H
    assert late.after(-2 * HOUR) is H
    assert late.pass_ns(HOUR, MIN) is O, "the hold's own hour does not wait for what it began with"


def _moves(news: Iterable[ClockNews]) -> list[int]:
    return [each.moved_ns for each in news if each.what == "stepped"]


@pytest.mark.safety("S10.3")
def test_every_step_is_told_in_either_direction() -> None:
    """Above 100 ms; below that it is the noise of two readings. The hold's own words name what happened."""
    clocks = started()
    for step_ns in (100_000_000, -100_000_000, 100_000_001, -100_000_001, HOUR, -HOUR):
        clocks.after(S, step_ns=step_ns)
    assert _moves(clocks.heard) == [100_000_001, -100_000_001, HOUR, -HOUR]
    assert clocks.watch.last_step == (clocks.boot_ns + clocks.offset_ns, -HOUR)
    assert "UTC stepped back by 3600.000 s; ends after 10 minutes" in clocks.watch.hold_text()
    clocks.synchronised = False
    clocks.after(S)
    assert clocks.watch.hold_text().endswith("; nobody keeps it")


def test_a_flapping_flag_is_told_once_a_minute() -> None:
    """It must not fill the card; and what was not told is told when it still is so."""
    clocks = started()
    for number in range(600):
        clocks.synchronised = number % 2 == 0
        clocks.after(S)
    told = [what for what in clocks.said() if what != "started"]
    assert 5 <= len(told) <= 10
    clocks.synchronised = False
    clocks.pass_ns(2 * MIN)
    assert clocks.said()[-1] == "unsynchronised"


def test_seconds_for_people() -> None:
    """Without the sign, to the millisecond."""
    found = [seconds(each) for each in (-3_600_250_999_999, S, 0)]
    assert found == ["3600.250 s", "1.000 s", "0.000 s"]
