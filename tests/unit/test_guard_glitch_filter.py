"""The optional filter on the first edge: row by row, and what may never be taken for closed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware.board import Edge, Level
from hardware.glitch_filter import GlitchFilter, Seen
from hardware.kill_switch import KillSwitch, SwitchState

FILTER_NS = 2_000_000
T0 = 1_000_000_000


def _edge(level: Level, after_ns: int) -> Edge:
    return Edge("button", level, T0 + after_ns)


OPENED, CLOSED = _edge(Level.OPEN, 0), Level.CLOSED


@pytest.mark.parametrize("filter_ns", [0, FILTER_NS])
def test_an_edge_without_a_time_still_opened(filter_ns: int) -> None:
    """No number a driver gives makes an opening disappear."""
    made = GlitchFilter(filter_ns)
    assert made.read(Level.OPEN, [Edge("button", Level.OPEN, 0)], T0, shut=True).opened_ns == 1


def test_switched_off_everything_passes() -> None:
    """With 0 the first edge trips, as if there were no filter."""
    off = GlitchFilter(0)
    closed = _edge(Level.CLOSED, 1)
    assert off.read(Level.CLOSED, [OPENED, closed], T0 + 1, shut=True) == Seen(Level.CLOSED, T0)
    assert off.read(Level.OPEN, [], T0, shut=True) == Seen(Level.OPEN, 0)
    assert off.due_ns() == off.glitches == 0


@pytest.mark.parametrize(("length_ns", "counts"), [(FILTER_NS - 1, False), (FILTER_NS, True)])
def test_an_opening_is_measured_between_its_edges(length_ns: int, counts: bool) -> None:
    """Both edges in one reading, however late that is: the kernel's times decide."""
    made = GlitchFilter(FILTER_NS)
    edges = [OPENED, _edge(Level.CLOSED, length_ns)]
    seen = made.read(Level.CLOSED, edges, T0 + 50 * FILTER_NS, shut=True)
    assert seen == Seen(Level.CLOSED, T0 if counts else 0)
    assert made.glitches == (not counts)
    assert made.due_ns() == 0


@pytest.mark.parametrize(("late_ns", "counts"), [(FILTER_NS - 1, False), (FILTER_NS, True)])
def test_without_its_closing_edge_an_opening_lasts_until_now(late_ns: int, counts: bool) -> None:
    """The level is closed again; nobody says since when."""
    made = GlitchFilter(FILTER_NS)
    assert made.read(Level.CLOSED, [OPENED], T0 + late_ns, shut=True).opened_ns == (T0 if counts else 0)


def test_an_open_line_counts_when_the_filter_has_passed() -> None:
    """The loop is told when to wake; until then the button's table sees a closed contact."""
    made = GlitchFilter(FILTER_NS)
    assert made.read(Level.OPEN, [OPENED], T0 + 10, shut=True) == Seen(Level.CLOSED, 0)
    assert made.due_ns() == T0 + FILTER_NS
    assert made.read(Level.OPEN, [], T0 + FILTER_NS - 1, shut=True) == Seen(Level.CLOSED, 0)
    assert made.read(Level.OPEN, [], T0 + FILTER_NS, shut=True) == Seen(Level.OPEN, T0)
    assert made.due_ns() == 0


def test_an_open_level_without_an_edge_starts_the_filter() -> None:
    """A driver that lost the edge; should the edge come late, its earlier time counts."""
    made = GlitchFilter(FILTER_NS)
    made.read(Level.OPEN, [], T0 + 500, shut=True)
    assert made.due_ns() == T0 + 500 + FILTER_NS
    made.read(Level.OPEN, [OPENED], T0 + 600, shut=True)
    assert made.due_ns() == T0 + FILTER_NS


def test_an_unreadable_line_never_ends_an_opening() -> None:
    """UNKNOWN while a press may be beginning is that press."""
    made = GlitchFilter(FILTER_NS)
    made.read(Level.OPEN, [OPENED], T0 + 10, shut=True)
    assert made.read(Level.UNKNOWN, [], T0 + 20, shut=True) == Seen(Level.UNKNOWN, T0)


def test_an_unreadable_line_without_an_opening_is_passed_on() -> None:
    """The guard trips for it under its own reason."""
    assert GlitchFilter(FILTER_NS).read(Level.UNKNOWN, [], T0, shut=True) == Seen(Level.UNKNOWN, 0)


def test_an_edge_of_unknown_direction_opens() -> None:
    """The driver missed one: what came between two closings was an opening."""
    made = GlitchFilter(FILTER_NS)
    made.read(Level.CLOSED, [_edge(Level.UNKNOWN, 0)], T0 + FILTER_NS - 1, shut=True)
    assert made.glitches == 1
    assert made.read(Level.CLOSED, [_edge(Level.UNKNOWN, 0)], T0 + FILTER_NS, shut=True).opened_ns == T0


def test_a_lost_closing_does_not_shorten_an_opening() -> None:
    """Two openings in a row: the first one's start stays."""
    made = GlitchFilter(FILTER_NS)
    made.read(Level.OPEN, [OPENED], T0 + 10, shut=True)
    made.read(Level.OPEN, [_edge(Level.UNKNOWN, 1_000_000)], T0 + 1_000_010, shut=True)
    assert made.due_ns() == T0 + FILTER_NS


def test_bounce_restarts_the_filter() -> None:
    """The cost counts from the last bounce."""
    made = GlitchFilter(FILTER_NS)
    bounce = [OPENED, _edge(Level.CLOSED, 1_000_000), _edge(Level.OPEN, 1_100_000)]
    assert made.read(Level.OPEN, bounce, T0 + 1_200_000, shut=True).opened_ns == 0
    assert made.due_ns() == T0 + 1_100_000 + FILTER_NS


@pytest.mark.parametrize("state", [state for state in SwitchState if state is not SwitchState.CLOSED])
def test_a_button_that_is_not_closed_is_not_filtered(state: SwitchState) -> None:
    """Open at start, open, releasing: the first edge has been dealt with, or never was one."""
    made = GlitchFilter(FILTER_NS)
    shut = state is SwitchState.CLOSED
    assert made.read(Level.OPEN, [OPENED], T0, shut=shut) == Seen(Level.OPEN, T0)


class Contact:
    """A contact that moves at given times, as the driver shows it: levels now, edges with the kernel's times
    when the driver's thread gets round to delivering them."""

    def __init__(self, gaps_ns: list[int], delay_ns: int) -> None:
        self.moves: list[Edge] = []
        at_ns = T0
        for number, gap_ns in enumerate(gaps_ns):
            at_ns += gap_ns
            self.moves.append(Edge("button", Level.CLOSED if number % 2 else Level.OPEN, at_ns))
        self._waiting = list(self.moves)
        self._delay_ns = delay_ns

    def openings(self) -> list[tuple[int, int]]:
        """(start, length) of each opening that ended, and of the last one for ever."""
        times = [edge.at_ns for edge in self.moves]
        ends = [*times[1::2], T0 + 10**12]
        return [(start, end - start) for start, end in zip(times[::2], ends, strict=False)]

    def level(self, now_ns: int) -> Level:
        """As it is."""
        return next((edge.level for edge in reversed(self.moves) if edge.at_ns <= now_ns), Level.CLOSED)

    def edges(self, now_ns: int) -> list[Edge]:
        """Delivered since the last call."""
        due = [edge for edge in self._waiting if edge.at_ns + self._delay_ns <= now_ns]
        self._waiting = self._waiting[len(due) :]
        return due


def _trip(contact: Contact, passes_ns: list[int]) -> int:
    """Runs button and filter over the contact; when the opening that tripped began, 0 for no trip."""
    switch, made = KillSwitch(), GlitchFilter(FILTER_NS)
    switch.read(Level.CLOSED, False, T0)
    now_ns, gaps = T0, iter([*passes_ns, *[10 * FILTER_NS] * 30])
    for gap_ns in gaps:
        due_ns = made.due_ns()
        now_ns = min(now_ns + gap_ns, due_ns) if due_ns > now_ns else now_ns + gap_ns
        shut = switch.state is SwitchState.CLOSED
        seen = made.read(contact.level(now_ns), contact.edges(now_ns), now_ns, shut=shut)
        if switch.read(seen.level, bool(seen.opened_ns), now_ns).trip:
            return seen.opened_ns
    return 0


gaps = st.lists(st.integers(1, 2 * FILTER_NS), min_size=1, max_size=24)


@settings(deadline=None, derandomize=True, max_examples=400)
@given(gaps, gaps, st.integers(0, 3 * FILTER_NS))
def test_no_opening_as_long_as_the_filter_is_lost(moves: list[int], passes: list[int], delay_ns: int) -> None:
    """Whenever the loop looks and however late edges come: it trips, and never for a shut line."""
    contact = Contact(moves, delay_ns)
    long = [start for start, length in contact.openings() if length >= FILTER_NS]
    tripped_ns = _trip(contact, passes)
    assert tripped_ns or not long
    open_then = any(start <= tripped_ns < start + length for start, length in contact.openings())
    assert open_then or not tripped_ns


@settings(deadline=None, derandomize=True, max_examples=400)
@given(gaps, gaps)
def test_with_edges_at_once_only_long_openings_trip(moves: list[int], passes: list[int]) -> None:
    """The first opening as long as the filter, and no shorter one before it."""
    contact = Contact(moves, 0)
    long = [start for start, length in contact.openings() if length >= FILTER_NS]
    assert _trip(contact, passes) == (long[0] if long else 0)
