"""One suite for every board: what the guard relies on, whatever drives the lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.domain.errors import PeerMissingError
from appliance.runtime.board_socket import command_board
from hardware.board import Level, Levels
from hardware.board_simulated import SimulatedBoard
from hardware.guard import Guard
from hardware.main import LOOP_S
from hardware.pages import GUARD_LAYOUT, PAGE_SIZE, BoardKind, GuardWord, Reason, start_page
from tests.contract.board_benches import BENCHES, HEALTHY, Bench, MockBench, SimulatedBench
from tests.unit.test_guard_machine import BOOT, RecordingKeeper

ALL = pytest.mark.parametrize("make", BENCHES, ids=lambda make: make.__name__)


@pytest.fixture(params=BENCHES, ids=lambda make: make.__name__)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """A fresh board of each kind, its contacts healthy."""
    made: Bench = request.param(tmp_path, HEALTHY)
    yield made
    assert made.close()


def test_a_healthy_board_reads_closed_open_closed(bench: Bench) -> None:
    """Normally closed button and tamper, normally open key; and nothing has happened yet."""
    assert bench.board.levels() == HEALTHY
    assert bench.board.wait(0) == []


@ALL
@pytest.mark.parametrize("line", ["button", "key", "tamper"])
def test_a_level_at_start_is_read_without_an_edge(
    make: Callable[[Path, Levels], Bench], tmp_path: Path, line: str
) -> None:
    """Each contact the other way round when the board opens: a button open, a key found turned."""
    other = Level.OPEN if getattr(HEALTHY, line) is Level.CLOSED else Level.CLOSED
    bench = make(tmp_path, HEALTHY._replace(**{line: other}))
    try:
        assert bench.board.wait(0) == []
        assert bench.board.levels() == HEALTHY._replace(**{line: other})
    finally:
        assert bench.close()


@pytest.mark.safety("S6.1")
@pytest.mark.parametrize("line", ["button", "key", "tamper"])
def test_levels_follow_the_contact(bench: Bench, line: str) -> None:
    """Open reads OPEN and closed reads CLOSED, both ways, and no other line moves."""
    for closed in (False, True, False, True):
        bench.contact(line, closed)
        level = Level.CLOSED if closed else Level.OPEN
        assert bench.board.levels() == HEALTHY._replace(**{line: level})


@pytest.mark.safety("HW-02")
def test_every_edge_is_reported_once_in_order(bench: Bench) -> None:
    """Press and release: line, level, and a monotonic time between now and then; then nothing more."""
    before_ns = time.monotonic_ns()
    bench.contact("button", closed=False)
    bench.contact("button", closed=True)
    edges = bench.board.wait(1)
    after_ns = time.monotonic_ns()
    assert [(edge.line, edge.level) for edge in edges] == [("button", Level.OPEN), ("button", Level.CLOSED)]
    assert before_ns <= edges[0].at_ns <= edges[1].at_ns <= after_ns
    assert bench.board.wait(0) == []


def test_edges_of_all_lines_come_in_the_order_of_their_times(bench: Bench) -> None:
    """Who moved first is first, over three lines."""
    moves = [("tamper", False), ("button", False), ("key", True), ("tamper", True), ("key", False)]
    for line, closed in moves:
        bench.contact(line, closed)
    edges = bench.board.wait(1)
    assert [(edge.line, edge.level is Level.CLOSED) for edge in edges] == moves
    assert [edge.at_ns for edge in edges] == sorted(edge.at_ns for edge in edges)


def test_bounce_reaches_the_guard_as_it_is(bench: Bench) -> None:
    """No driver may debounce: the first edge trips (gpiozero's mock ignores bounce_time, TOOLCHAIN 4)."""
    for _ in range(20):
        bench.contact("button", closed=False)
        bench.contact("button", closed=True)
    bench.contact("button", closed=False)
    edges = bench.board.wait(1)
    assert [edge.level for edge in edges] == [Level.OPEN, Level.CLOSED] * 20 + [Level.OPEN]
    assert [edge.at_ns for edge in edges] == sorted(edge.at_ns for edge in edges)
    assert bench.board.levels().button is Level.OPEN


def test_wait_returns_without_an_edge(bench: Bench) -> None:
    """The heartbeat must go on while nothing happens."""
    assert bench.board.wait(0.01) == []


def test_a_line_that_cannot_be_read_is_unknown(bench: Bench) -> None:
    """Whatever the driver raises: UNKNOWN, for every line, and no exception."""
    bench.break_reading()
    assert set(bench.board.levels()) == {Level.UNKNOWN}


def test_lights_can_be_set_in_every_combination(bench: Bench) -> None:
    """Eight combinations, twice, because only changes are written; read back from the other side."""
    assert bench.lit() == (False, False, False)
    for _ in range(2):
        for number in range(8):
            wanted = (bool(number & 1), bool(number & 2), bool(number & 4))
            bench.board.light(*wanted)
            assert bench.lit() == wanted


def _guard() -> Guard:
    page = memoryview(bytearray(PAGE_SIZE)).cast("Q")
    start_page(page, GUARD_LAYOUT, BOOT)
    guard = Guard(page, None, RecordingKeeper(), ("boot", "board", "card"), BOOT)
    guard.start(Reason.NOT_ARMED, time.monotonic_ns())
    return guard


@pytest.mark.parametrize(("line", "reason"), [("button", Reason.KILL_BUTTON), ("tamper", Reason.TAMPER)])
def test_without_edges_a_level_trips_within_one_loop(bench: Bench, line: str, reason: Reason) -> None:
    """A driver that has stopped delivering edges: every one is thrown away, the next pass sees the level."""
    guard = _guard()
    guard.loop((), bench.board.levels(), time.monotonic_ns())
    assert guard.page[GuardWord.REASON] == Reason.NOT_ARMED
    bench.contact(line, closed=False)
    bench.board.wait(0)
    edges = bench.board.wait(LOOP_S)
    assert edges == []
    guard.loop(edges, bench.board.levels(), time.monotonic_ns())
    assert guard.page[GuardWord.REASON] == reason


def test_an_opening_too_short_for_any_level_trips_by_its_edge(bench: Bench) -> None:
    """The line is closed again when it is read."""
    guard = _guard()
    guard.loop((), bench.board.levels(), time.monotonic_ns())
    bench.contact("button", closed=False)
    bench.contact("button", closed=True)
    edges = bench.board.wait(LOOP_S)
    guard.loop(edges, bench.board.levels(), time.monotonic_ns())
    assert guard.page[GuardWord.REASON] == Reason.KILL_BUTTON
    assert guard.page[GuardWord.TRIP_NS] == edges[0].at_ns


@pytest.mark.parametrize("make", [SimulatedBench, MockBench])
def test_boards_without_a_wire_say_so(make: Callable[[Path], Bench], tmp_path: Path) -> None:
    """Neither of these may trade on a live venue (SAFETY 6)."""
    bench = make(tmp_path)
    assert bench.board.kind is BoardKind.SIMULATED
    assert bench.board.serial()
    assert bench.close()


def test_simulated_faults(tmp_path: Path) -> None:
    """`fail` makes lines unreadable, `mend` readable; nonsense is answered, not obeyed."""
    board = SimulatedBoard(tmp_path)
    for command, answer, level in (
        (b"fail", b"ok", Level.UNKNOWN),
        (b"mend", b"ok", Level.CLOSED),
        (b"bounce x", b"what?", Level.CLOSED),
        (b"\xff\xfe", b"what?", Level.CLOSED),
        (b"glitch", b"ok", Level.CLOSED),
        (b"bounce 3", b"ok", Level.OPEN),
    ):
        assert board._obey(command, 1) == answer
        assert board.levels().button is level
    assert len(board.wait(0)) == 2 + 7
    board.close()


def test_no_board_answers_where_none_listens(tmp_path: Path) -> None:
    """The sentence names the directory."""
    with pytest.raises(PeerMissingError, match="no simulated board answers"):
        command_board(tmp_path, "press")
    assert list(tmp_path.iterdir()) == []
