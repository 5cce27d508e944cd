"""One suite for every board: what the guard relies on, whatever drives the lines."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from appliance.domain.errors import PeerMissingError
from appliance.runtime.board_socket import command_board
from hardware.board import Board, BoardError, Level, Pins
from hardware.board_gpiozero import GpiozeroBoard, open_factory
from hardware.board_simulated import SimulatedBoard
from hardware.pages import BoardKind


class Bench(Protocol):
    """A board and a hand on its contacts."""

    board: Board

    def contact(self, line: str, closed: bool) -> None:
        """Closes or opens a contact to ground."""
        ...


class SimulatedBench:
    """The contacts are moved from another thread, as `interlock board` does from another process."""

    def __init__(self, runtime: Path) -> None:
        self.board: Board = SimulatedBoard(runtime)
        self._runtime = runtime

    def contact(self, line: str, closed: bool) -> None:
        """Sends the command while this thread lets the board listen."""
        words = {
            ("button", True): "release",
            ("button", False): "press",
            ("key", True): "key close",
            ("key", False): "key open",
            ("tamper", True): "tamper close",
            ("tamper", False): "tamper open",
        }
        answers: list[str] = []
        sender = threading.Thread(
            target=lambda: answers.append(command_board(self._runtime, words[line, closed]))
        )
        sender.start()
        board = self.board
        assert isinstance(board, SimulatedBoard)
        edges = board.wait(5)
        sender.join(5)
        assert answers == ["ok"]
        board._edges.extend(edges)


class MockBench:
    """gpiozero's mock pins: an undriven pulled-up pin reads open, so contacts are closed by hand first."""

    def __init__(self, _runtime: Path) -> None:
        factory = open_factory("mock")
        self.board: Board = GpiozeroBoard("mock", Pins(), factory)
        self._pins: dict[str, Any] = {
            line: factory.pin(number) for line, number in (("button", 17), ("key", 27), ("tamper", 4))
        }
        for line in ("button", "tamper"):
            self.contact(line, closed=True)
        self.board.wait(0)

    def contact(self, line: str, closed: bool) -> None:
        """A closed contact pulls the pin low."""
        self._pins[line].drive_low() if closed else self._pins[line].drive_high()


BENCHES: list[Callable[[Path], Bench]] = [SimulatedBench, MockBench]


@pytest.fixture(params=BENCHES, ids=lambda bench: bench.__name__)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """A fresh board of each kind."""
    made: Bench = request.param(tmp_path)
    yield made
    made.board.close()


def test_a_healthy_board_reads_closed_open_closed(bench: Bench) -> None:
    """Normally closed button and tamper, normally open key."""
    assert tuple(bench.board.levels()) == (Level.CLOSED, Level.OPEN, Level.CLOSED)


@pytest.mark.safety("S6.1")
@pytest.mark.parametrize("line", ["button", "key", "tamper"])
def test_levels_follow_the_contact(bench: Bench, line: str) -> None:
    """Open reads OPEN and closed reads CLOSED, both ways."""
    for closed in (False, True, False, True):
        bench.contact(line, closed)
        assert getattr(bench.board.levels(), line) is (Level.CLOSED if closed else Level.OPEN)


@pytest.mark.safety("HW-02")
def test_every_edge_is_reported_once_in_order(bench: Bench) -> None:
    """Edges carry line, level and a monotonic time; a second wait has nothing more to say."""
    bench.contact("button", closed=False)
    bench.contact("button", closed=True)
    edges = bench.board.wait(1)
    assert [(edge.line, edge.level) for edge in edges] == [("button", Level.OPEN), ("button", Level.CLOSED)]
    assert edges[0].at_ns <= edges[1].at_ns
    assert bench.board.wait(0) == []


def test_bounce_reaches_the_guard_as_it_is(bench: Bench) -> None:
    """No driver may debounce: the first edge trips (gpiozero's mock ignores bounce_time, TOOLCHAIN 4)."""
    for _ in range(5):
        bench.contact("button", closed=False)
        bench.contact("button", closed=True)
    assert [edge.level for edge in bench.board.wait(1)] == [Level.OPEN, Level.CLOSED] * 5


def test_wait_returns_without_an_edge(bench: Bench) -> None:
    """The heartbeat must go on while nothing happens."""
    assert bench.board.wait(0.01) == []


def test_lights_can_be_set_in_every_combination(bench: Bench) -> None:
    """Eight combinations, twice, because only changes are written."""
    for _ in range(2):
        for number in range(8):
            bench.board.light(bool(number & 1), bool(number & 2), bool(number & 4))


def test_the_board_says_that_it_is_simulated(bench: Bench) -> None:
    """Neither of these may trade on a live venue (SAFETY 6)."""
    assert bench.board.kind is BoardKind.SIMULATED
    assert bench.board.serial()


@pytest.mark.parametrize("name", ["lgpio", "rpigpio", "pigpio", ""])
def test_a_pin_factory_is_opened_or_refused(name: str) -> None:
    """gpiozero's silent fallback is not available here; on this machine each of these must fail."""
    if Path("/sys/firmware/devicetree/base/model").exists():
        pytest.skip("this machine is a real board: its drivers open")
    with pytest.raises(BoardError, match="pin factory"):
        open_factory(name)


def test_a_pin_that_cannot_be_read_is_unknown() -> None:
    """Whatever the driver raises, the level is not known."""
    factory = open_factory("mock")
    board = GpiozeroBoard("mock", Pins(), factory)
    pin = factory.pin(17)
    pin.close()
    pin.__class__ = type("Broken", (pin.__class__,), {"_get_state": _raise})
    assert board.levels().button is Level.UNKNOWN
    board.close()


def _raise(_pin: object) -> bool:
    raise RuntimeError("driver says no")


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
