"""Pin factories: the named one is opened, or refused with what to set instead; there is no second choice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardware.board import BoardError, Edge, Level, Pins
from hardware.board_gpiozero import FACTORIES, GpiozeroBoard, open_factory, refusal
from hardware.pages import BoardKind
from tests.contract.board_benches import LINES, FakeChip, LgpioBench, RpiGpioBench

OFF_A_PI = pytest.mark.skipif(
    Path("/sys/firmware/devicetree/base/model").exists(), reason="a real board: its drivers open"
)
BUTTON = LINES["button"]


@OFF_A_PI
@pytest.mark.parametrize("name", ["lgpio", "rpigpio", "native", "pigpio", "", "mock "])
def test_a_factory_that_does_not_open_is_refused_by_name(name: str) -> None:
    """gpiozero itself would go on to the next driver with a warning (STYLE 5)."""
    with pytest.raises(BoardError, match=f"pin factory '?{name}'?"):
        open_factory(name)


@OFF_A_PI
def test_no_other_factory_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither one the environment names nor gpiozero's own list."""
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    with pytest.raises(BoardError, match="pin factory lgpio cannot be opened"):
        open_factory("lgpio")


@pytest.mark.parametrize(
    ("name", "kernel", "model", "words"),
    [
        ("rpigpio", "6.5.13", "Raspberry Pi 4 Model B Rev 1.5", ""),
        ("rpigpio", "6.6.0", "Raspberry Pi 4 Model B Rev 1.5", "RPi.GPIO gets no edges from Linux 6.6 on"),
        ("native", "6.12.25+rpt", "", "native driver gets no edges from Linux 6.6 on, and this is 6.12.25"),
        ("rpigpio", "10.0.1", "", "no edges"),
        ("native", "5.15.84-v8+", "Raspberry Pi 3 Model B Plus Rev 1.3", ""),
        ("rpigpio", "6.1.63", "Raspberry Pi 5 Model B Rev 1.0", "does not know the Raspberry Pi 5 Model B"),
        ("native", "6.1.63", "Raspberry Pi Compute Module 5 Rev 1.0", "does not know"),
        ("rpigpio", "6.1.63", "Raspberry Pi 500 Rev 1.0", "does not know"),
        ("rpigpio", "6.1.63", "Raspberry Pi Compute Module 4 Rev 1.1", ""),
        ("rpigpio", "nonsense", "", ""),
        ("lgpio", "6.12.25+rpt-rpi-v8", "Raspberry Pi 5 Model B Rev 1.0", ""),
        ("mock", "6.12.25", "Raspberry Pi 5 Model B Rev 1.0", ""),
    ],
)
def test_drivers_that_get_no_edges_are_refused(name: str, kernel: str, model: str, words: str) -> None:
    """OTA, board traps: on a Pi 5 or from Linux 6.6 on only lgpio works."""
    why = refusal(name, kernel, model)
    assert words in why
    assert bool(why) is bool(words)


def test_the_refusal_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """WHAT, WHY, DO."""
    monkeypatch.setattr("hardware.board_gpiozero.platform.release", lambda: "6.6.20+rpt-rpi-v8")
    with pytest.raises(BoardError, match=r"this is 6\.6\.20") as caught:
        open_factory("rpigpio")
    assert caught.value.do == 'set pin_factory = "lgpio" in guard.toml'


@pytest.mark.parametrize("name", sorted(FACTORIES))
def test_only_lgpio_claims_the_kernels_times(name: str) -> None:
    """The glitch filter may only be used where an edge says when the contact moved."""
    board = GpiozeroBoard(name, Pins(), open_factory("mock"))
    assert board.kernel_times is (name == "lgpio")
    assert board.kind is (BoardKind.SIMULATED if name == "mock" else BoardKind.GPIOZERO)
    board.close()


@pytest.fixture
def lgpio(tmp_path: Path) -> Iterator[tuple[GpiozeroBoard, FakeChip]]:
    """gpiozero's lgpio factory over the stand-in chip."""
    bench = LgpioBench(tmp_path)
    assert isinstance(bench.board, GpiozeroBoard)
    yield bench.board, bench.chip
    assert bench.close()


def test_an_edge_has_the_kernels_time(lgpio: tuple[GpiozeroBoard, FakeChip]) -> None:
    """To the microsecond, however late the driver's thread delivers it."""
    board, chip = lgpio
    at_ns = time.monotonic_ns() - 5_000_000
    chip.move(BUTTON, 1, at_ns)
    (edge,) = board.wait(0)
    assert edge.level is Level.OPEN
    assert abs(edge.at_ns - at_ns) < 1_000


def test_times_never_run_backwards_nor_into_the_future(lgpio: tuple[GpiozeroBoard, FakeChip]) -> None:
    """A time of another clock is worth nothing: the edge then carries the present."""
    board, chip = lgpio
    before_ns = time.monotonic_ns()
    chip.move(BUTTON, 1, time.time_ns())
    chip.move(BUTTON, 0, before_ns - 1_000_000_000)
    first, second = board.wait(0)
    assert before_ns <= first.at_ns <= second.at_ns <= time.monotonic_ns()


@pytest.mark.parametrize("level", [0, 1])
def test_two_edges_of_one_direction_hide_a_third(lgpio: tuple[GpiozeroBoard, FakeChip], level: int) -> None:
    """The kernel reads the level after the interrupt: a spike of microseconds is reported as two closings."""
    board, chip = lgpio
    at_ns = time.monotonic_ns()
    for _ in range(2):
        chip.report(BUTTON, level, at_ns)
    edges = board.wait(0)
    first = Level.UNKNOWN if level == 0 else Level.OPEN  # it stood closed when the board was opened
    assert [edge.level for edge in edges] == [first, Level.UNKNOWN]


def test_rpi_gpio_reads_the_level_after_the_fact(tmp_path: Path) -> None:
    """Its callback carries no level: what opened and closed before the callback ran still counts."""
    bench = RpiGpioBench(tmp_path)
    bench._gpio.callbacks[BUTTON](BUTTON)
    (edge,) = bench.board.wait(0)
    assert isinstance(edge, Edge)
    assert edge.level is Level.UNKNOWN
    assert bench.close()


def test_the_stand_in_of_rpi_gpio_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """fake-rpi's banners and prints stay out of a test run."""
    bench = RpiGpioBench(tmp_path)
    bench.contact("button", closed=False)
    bench.board.light(True, True, True)
    assert bench.close()
    assert capfd.readouterr() == ("", "")
