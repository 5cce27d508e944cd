"""What the lights may say (SAFETY 11); whatever is slow never delays the loop that reads the lines."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardware import board_gpiozero, pages
from hardware.board import BoardError, Edge, Levels, Pins
from hardware.config import EXAMPLE, GuardConfigError, load
from hardware.guard import Guard
from hardware.latch import ArmedRecord, LatchKeeper
from hardware.lights import LIGHTS, TIMES_MS, Pattern, Stands, is_lit, until_change_ms
from hardware.main import LIGHTS_S, LOOP_S, Lights, show_fault
from hardware.notify import Notifier
from hardware.pages import CoreWord, GuardWord, Mode, Reason
from tests.processes import ROOT, until
from tests.rules.source import modules
from tests.unit.test_guard_machine import HEALTHY, Box

COLOURS = ("green", "yellow", "red")
HEALTHY_STANDS = {Stands.NORMAL, Stands.HOLD}


def _seen(stands: Stands) -> list[tuple[bool, ...]]:
    """What an eye sees in two seconds, every 20 ms, by position."""
    return [tuple(is_lit(pattern, at_ms) for pattern in LIGHTS[stands]) for at_ms in range(0, 2_000, 20)]


@pytest.mark.safety("S11.1", "HW-03")
@pytest.mark.parametrize("stands", list(Stands))
def test_no_steady_light_ever_means_healthy(stands: Stands) -> None:
    """Steady is the fault alone; green is dark most of the time wherever it is lit at all."""
    for colour, pattern in zip(COLOURS, LIGHTS[stands], strict=True):
        assert (pattern is Pattern.STEADY) is (stands is Stands.FAULT and colour != "green")
    assert (LIGHTS[stands][0] is Pattern.PULSE) is (stands in HEALTHY_STANDS)
    assert LIGHTS[stands][0] in (Pattern.PULSE, Pattern.OFF)
    on_ms, off_ms = TIMES_MS[Pattern.PULSE]
    assert on_ms * 4 < off_ms


@pytest.mark.safety("S11.5")
@pytest.mark.parametrize("one, other", list(itertools.combinations(Stands, 2)))  # noqa: PT006
def test_every_two_states_differ_by_position_or_rhythm(one: Stands, other: Stands) -> None:
    """In black and white: for at least a tenth of the time, or by how often a lamp changes."""
    first, second = _seen(one), _seen(other)
    apart = sum(a != b for a, b in zip(first, second, strict=True))
    changes = [
        tuple(sum(a[lamp] != b[lamp] for a, b in itertools.pairwise(seen)) for lamp in range(3))
        for seen in (first, second)
    ]
    assert apart >= len(first) // 10 or changes[0] != changes[1]
    assert first != second


@pytest.mark.safety("S11.5", "HW-05")
def test_a_trip_is_red_and_nothing_else_is() -> None:
    """Position alone: the lamp of BCM 24 says that somebody must come, and whether it is stored by rhythm."""
    red = {stands for stands in Stands if LIGHTS[stands][2] is not Pattern.OFF}
    tripped = {"FAULT", "TRIPPING", "TRIPPING_CORE_LOST", "EMERGENCY", "EMERGENCY_CORE_LOST"}
    assert {stands.name for stands in red} == tripped | {"TRIPPED", "TRIPPED_CORE_LOST"}
    assert LIGHTS[Stands.TRIPPING][2] is Pattern.FAST
    stored = {LIGHTS[s][2] for s in (Stands.EMERGENCY, Stands.TRIPPED, Stands.EMERGENCY_CORE_LOST)}
    assert Pattern.FAST not in stored


@pytest.mark.safety("S11.6", "HW-04")
def test_a_lost_core_is_yellow_fast_in_every_state() -> None:
    """And never green."""
    for stands in Stands:
        if stands.name.endswith("CORE_LOST"):
            assert LIGHTS[stands][:2] == (Pattern.OFF, Pattern.FAST)


@pytest.mark.safety("S5.7", "S11.2")
@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("reason", [Reason.NONE, Reason.NOT_ARMED, Reason.KILL_BUTTON, Reason.TAMPER])
@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("core", ["fresh", "lost", "absent"])
def test_green_needs_an_open_gate_a_live_core_and_no_trip(
    mode: Mode, reason: Reason, stored: bool, core: str
) -> None:
    """Mode × trip × health, all of it: green only for NORMAL, armed, fresh."""
    box = Box()
    box.arm()
    if reason is not Reason.NONE:
        box.guard.trip(reason, box.now_ns)
        box.page[GuardWord.REASON] = reason
    if stored:
        box.keeper.finish()
    box.core[CoreWord.MODE] = mode
    box.guard.core = None if core == "absent" else box.core
    box.now_ns += 10**10
    box.core[CoreWord.HEARTBEAT_NS] = box.now_ns - (10**10 if core == "lost" else 0)
    box.guard._note_stored()
    stands = box.guard.stands(HEALTHY, box.now_ns)
    green = reason is Reason.NONE and core == "fresh" and mode is Mode.NORMAL
    assert (LIGHTS[stands][0] is Pattern.PULSE) is green
    if reason in (Reason.KILL_BUTTON, Reason.TAMPER):
        assert stands.name.startswith("TRIPPING") is not stored
    assert stands.name.endswith("CORE_LOST") is (core != "fresh")


class SlowBoard:
    """A board whose LEDs hang, or fail, when the test says so."""

    def __init__(self) -> None:
        self.shown: list[tuple[bool, bool, bool]] = []
        self.hang = threading.Event()
        self.hanging = threading.Event()
        self.release = threading.Event()
        self.fail = False

    def light(self, green: bool, yellow: bool, red: bool) -> None:
        """As the driver."""
        if self.fail:
            raise BoardError("no light")
        if self.hang.is_set():
            self.hanging.set()
            self.release.wait(30)
        self.shown.append((green, yellow, red))


@contextlib.contextmanager
def _lights(box: Box, board: SlowBoard) -> Iterator[Lights]:
    notifier = Notifier()
    try:
        yield Lights(board, box.guard, notifier)  # type: ignore[arg-type]
    finally:
        notifier.close()


def _beat(box: Box) -> None:
    box.page[GuardWord.HEARTBEAT_NS] = time.monotonic_ns()


@pytest.mark.safety("S11.3")
def test_lamps_are_tested_at_the_start_then_follow_the_loop() -> None:
    """All three at once; then the fault pattern while nobody reads the lines; then what the loop says."""
    box, board = Box(), SlowBoard()
    box.page[GuardWord.HEARTBEAT_NS] = 1

    def pulse() -> bool:
        _beat(box)
        return board.shown[-1] == (True, False, False)

    with _lights(box, board) as lights:
        lights.start()
        until(lambda: (True, True, True) in board.shown, "the lamp test")
        until(lambda: (False, True, True) in board.shown, "steady yellow and red without a heartbeat")
        box.guard.lights = LIGHTS[Stands.NORMAL]
        until(pulse, "green, by a heartbeat")
        lights.finish()
    assert board.shown[-1] == (False, True, True), "left behind: nobody watches the button any more"


@pytest.mark.safety("S11.2")
def test_green_goes_out_when_the_loop_stops() -> None:
    """Within 250 ms and one step of the lights, by the heartbeat alone."""
    box, board = Box(), SlowBoard()
    box.guard.lights = LIGHTS[Stands.NORMAL]

    def pulse() -> bool:
        _beat(box)
        return board.shown[-1:] == [(True, False, False)]

    with _lights(box, board) as lights:
        lights._lamp_test_until_ms = 0
        lights.start()
        until(pulse, "green while it turns")
        stopped_ns = box.word(GuardWord.HEARTBEAT_NS)
        until(lambda: board.shown[-1] == (False, True, True), "the fault pattern")
        assert box.word(GuardWord.HEARTBEAT_NS) == stopped_ns
        seen = len(board.shown)
        until(lambda: len(board.shown) > seen + 12, "a whole period of green, were there one")
        assert set(board.shown[seen:]) == {(False, True, True)}
        lights.finish()
    assert LIGHTS_S <= 0.1, "1 s holds many looks"


@pytest.mark.parametrize("pattern", list(Pattern))
def test_the_time_to_the_next_change_is_exact(pattern: Pattern) -> None:
    """What is lit stays so until then, and where a pattern blinks it is the other one at that moment."""
    for at_ms in range(2_100):
        ahead_ms = until_change_ms(pattern, at_ms)
        assert ahead_ms >= 1
        assert {is_lit(pattern, at_ms + step) for step in range(ahead_ms)} == {is_lit(pattern, at_ms)}
        if 0 not in TIMES_MS[pattern]:
            assert is_lit(pattern, at_ms + ahead_ms) is not is_lit(pattern, at_ms)


def test_a_change_of_what_stands_wakes_the_lights(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the loop's call alone: no look of its own is due for a minute."""
    monkeypatch.setattr("hardware.main.LIGHTS_S", 60.0)
    monkeypatch.setattr("hardware.main.until_change_ms", lambda _pattern, _at_ms: 60_000)
    box, board = Box(), SlowBoard()
    with _lights(box, board) as lights:
        lights._lamp_test_until_ms = 0
        _beat(box)
        lights.start()
        until(lambda: board.shown, "the first look")
        seen = len(board.shown)
        lights.follow()
        box.guard.lights = LIGHTS[Stands.FAULT]
        _beat(box)
        lights.follow()
        until(lambda: board.shown[seen:] == [(False, True, True)], "one look, and it shows the new pattern")
        lights.finish()


@pytest.mark.safety("S3.13")
def test_an_led_driver_that_hangs_does_not_delay_a_trip() -> None:
    """Its thread hangs; the loop reads, trips and beats on."""
    box, board = Box(), SlowBoard()
    board.hang.set()
    with _lights(box, board) as lights:
        lights.start()
        assert board.hanging.wait(30)
        box.arm()
        box.press()
        assert box.word(GuardWord.REASON) == Reason.KILL_BUTTON
        assert box.word(GuardWord.HEARTBEAT_NS) == box.now_ns
        board.release.set()
        lights.finish()


@pytest.mark.safety("S3.13", "S5.6")
def test_a_disk_that_hangs_does_not_delay_a_trip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page word is there, "stored" is not, and the loop goes on."""
    hanging, release = threading.Event(), threading.Event()

    def hang(_directory: Path) -> None:
        hanging.set()
        release.wait(30)

    monkeypatch.setattr("hardware.latch.store_tripped", hang)
    keeper = LatchKeeper(tmp_path)
    box = Box()
    box.guard._keeper = keeper
    box.press()
    assert hanging.wait(30)
    assert not box.guard.is_open()
    assert box.word(GuardWord.STORED) != box.word(GuardWord.STATE)
    assert box.guard.lights == LIGHTS[Stands.TRIPPING]
    before = box.word(GuardWord.HEARTBEAT_NS)
    box.read()
    assert box.word(GuardWord.HEARTBEAT_NS) > before
    release.set()
    until(lambda: keeper.stored_trip == box.word(GuardWord.STATE), "stored")
    keeper.close()


@pytest.mark.safety("S3.13")
def test_the_loop_touches_no_disk_no_journal_and_no_lamp() -> None:
    """By inspection: what the loop runs imports no IO, and its body calls what may not block only."""
    pure = {"guard", "kill_switch", "arm_key", "tamper", "lights"}
    allowed = {"__future__", "collections", "dataclasses", "enum", "typing", "time", "hardware"}
    (main,) = [module for module in modules("hardware") if module.path.stem == "main"]
    for module in modules("hardware"):
        if module.path.stem not in pure:
            continue
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Import):
                assert {alias.name for alias in node.names} <= allowed, module.path
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] in allowed, module.path
            elif isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                assert name not in {"open", "print", "write", "light", "send"}, f"{module.path}:{node.lineno}"
    (run,) = [n for n in main.tree.body if isinstance(n, ast.FunctionDef) and n.name == "run"]
    (loop,) = [node for node in ast.walk(run) if isinstance(node, ast.While)]
    calls = {ast.unparse(node.func) for node in ast.walk(loop) if isinstance(node, ast.Call)}
    assert calls == {
        "stop.is_set", "lights.is_alive", "GuardExitError", "board.wait", "time.monotonic_ns", "guard.loop",
        "board.levels", "core.words", "guard.wait_s", "lights.follow",
    }  # fmt: skip
    (follow,) = [n for n in ast.walk(main.tree) if isinstance(n, ast.FunctionDef) and n.name == "follow"]
    assert [ast.unparse(n.func) for n in ast.walk(follow) if isinstance(n, ast.Call)] == ["os.eventfd_write"]
    assert LOOP_S == 0.020


class OrderedGuard(Guard):
    """Notes what was done when the heartbeat was written."""

    done: list[str]

    def _read_button(self, edges: list[Edge], levels: Levels, now_ns: int) -> None:  # type: ignore[override]
        self.done.append(f"button before {self.page[GuardWord.HEARTBEAT_NS]}")
        super()._read_button(edges, levels, now_ns)


@pytest.mark.safety("S3.12")
def test_the_heartbeat_is_written_after_the_lines_were_read() -> None:
    """A loop that could not read does not look alive."""
    box = Box()
    guard = OrderedGuard(box.page, box.core, box.keeper, ("boot", "board", "card"), (1, 2))
    guard.done = []
    box.page[GuardWord.HEARTBEAT_NS] = 0
    guard.loop((), HEALTHY, 77)
    assert guard.done == ["button before 0"]
    assert box.word(GuardWord.HEARTBEAT_NS) == 77


DARK = """
import sys
from hardware import board_simulated, main
from hardware.board import BoardError
def dark(self, green, yellow, red):
    raise BoardError("no light")
board_simulated.SimulatedBoard.light = dark
sys.exit(main.main(sys.argv[1:]))
"""


@pytest.mark.safety("S11.3")
def test_a_guard_that_cannot_light_ends(tmp_path: Path) -> None:
    """SAFETY 11: a lamp left lit by a thread that died would go on saying what it said last."""
    state, runtime = tmp_path / "state", tmp_path / "run"
    (state / "latch").mkdir(parents=True)
    runtime.mkdir(mode=0o700)
    (state / "guard.toml").write_text(EXAMPLE.read_text())
    pages.create_pages(runtime)
    command = [sys.executable, "-c", DARK, "--state", str(state), "--runtime", str(runtime)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 69
    assert "light" in found.stderr


@pytest.fixture
def lit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[bool, bool, bool]]:
    """What a board is asked to light."""
    shown: list[tuple[bool, bool, bool]] = []
    monkeypatch.setattr(board_gpiozero.GpiozeroBoard, "light", lambda _board, *lamps: shown.append(lamps))
    monkeypatch.chdir(tmp_path)
    return shown


def _wired(state: Path, *changes: tuple[str, str]) -> Path:
    text = EXAMPLE.read_text()
    for old, new in (('"simulated"', '"gpiozero"'), ('"lgpio"', '"mock"'), *changes):
        assert old in text
        text = text.replace(old, new, 1)
    (state / "guard.toml").write_text(text)
    return state


@pytest.mark.safety("S11.3")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[operator]", "[operator]"),
        ("[operator]", "[nonsense]"),
        ('tamper = "paused"', 'tamper = "nothing"'),
        ("realtime_priority = 50", ""),
        ('glitch_filter = "0 ms"', 'glitch_filter = "6 ms"'),
        ('key = ""', 'key = "00"'),
    ],
)
def test_the_fault_pattern_is_left_behind_by_a_program_of_its_own(
    lit: list[tuple[bool, bool, bool]], tmp_path: Path, old: str, new: str
) -> None:
    """`ExecStopPost=` runs it: green off, yellow and red on, also behind a guard that refused its file."""
    show_fault(_wired(tmp_path, (old, new)), tmp_path)
    assert lit == [(False, True, True)]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[pins]", "[pin]"),
        ("green = 22", "green = 23"),
        ("green = 22", "green = 28"),
        ("green = 22", ""),
        ('driver = "gpiozero"', 'driver = "gpiozeroo"'),
        ('pin_factory = "mock"', ""),
        ("[board]", "[board"),
    ],
)
def test_no_pin_is_driven_on_a_guess(
    lit: list[tuple[bool, bool, bool]], tmp_path: Path, old: str, new: str
) -> None:
    """A wiring that is not certain lights nothing: the pin may be somebody else's."""
    with pytest.raises(GuardConfigError):
        show_fault(_wired(tmp_path, (old, new)), tmp_path)
    assert lit == []


@pytest.mark.safety("S6.1", "HW-02", "HW-03", "HW-04", "HW-05")
def test_lines_and_lamps_are_where_the_wiring_says() -> None:
    """BCM 17 button, 27 key, 4 tamper, 22 green, 23 yellow, 24 red: by default and in the example."""
    expected = {"button": 17, "key": 27, "tamper": 4, "green": 22, "yellow": 23, "red": 24}
    assert dataclasses.asdict(Pins()) == expected
    assert dataclasses.asdict(load(EXAMPLE).pins) == expected


@pytest.mark.safety("S5.8")
def test_an_armed_record_behind_a_trip_is_removed_again(tmp_path: Path) -> None:
    """The queue of the disk thread keeps their order: arm, then trip, ends tripped."""
    keeper = LatchKeeper(tmp_path)
    keeper.arm(ArmedRecord(4, "boot", "board", "card"))
    keeper.trip(5)
    keeper.close()
    assert (keeper.stored_armed, keeper.stored_trip) == (4, 5)
    assert list(tmp_path.iterdir()) == []
