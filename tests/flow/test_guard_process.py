"""The guard as a process of its own, with real pages, a real socket and a real disk."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.runtime.board_socket import command_board
from hardware import pages
from hardware.config import EXAMPLE as EXAMPLE_FILE
from hardware.latch import RECORD
from hardware.pages import ArmOutcome, CoreWord, GuardFlag, GuardWord, Mode, Reason
from tests.processes import Child, running, until

EXAMPLE = EXAMPLE_FILE.read_text()


class Box:
    """State and run-time directories, a guard process, and the core's page in this process's hand."""

    def __init__(self, root: Path) -> None:
        self.state, self.runtime = root / "state", root / "run"
        (self.state / "latch").mkdir(parents=True)
        self.runtime.mkdir(mode=0o700)
        (self.state / "guard.toml").write_text(EXAMPLE)
        pages.create_pages(self.runtime)
        self.guard_page = pages.PageFile(self.runtime / pages.GUARD_PAGE, writable=False)
        self.core_page = pages.PageFile(self.runtime / pages.CORE_PAGE, writable=True)
        pages.start_page(self.core_page.words, pages.CORE_LAYOUT, pages.boot_id())
        self.core_page.words[CoreWord.MODE] = Mode.PAUSED

    @property
    def arguments(self) -> list[str]:
        """Command line of the guard."""
        return ["hardware.main", "--state", str(self.state), "--runtime", str(self.runtime)]

    def word(self, word: GuardWord) -> int:
        """One word of the guard's page. The core lives as long as somebody looks."""
        self.core_page.words[CoreWord.HEARTBEAT_NS] = time.monotonic_ns()
        return self.guard_page.words[word]

    def send(self, *commands: str) -> None:
        """Moves contacts of the simulated board."""
        for command in commands:
            assert command_board(self.runtime, command) == "ok"

    def alive(self) -> bool:
        """The guard's heartbeat is fresh."""
        return pages.age_ns(self.word(GuardWord.HEARTBEAT_NS)) < 250_000_000

    def tripped(self, reason: Reason) -> bool:
        """The trip stands and is durable."""
        durable = self.word(GuardWord.STORED) == self.word(GuardWord.STATE)
        return self.word(GuardWord.REASON) == reason and durable

    def armed(self) -> bool:
        """The gate is open as far as the guard says."""
        return self.word(GuardWord.ARMED) == self.word(GuardWord.STATE)


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """A new box; no guard runs yet."""
    return Box(tmp_path)


@pytest.fixture
def guard(box: Box, tmp_path: Path) -> Iterator[Child]:
    """A guard that has written its first heartbeat."""
    with running(box.arguments, tmp_path / "guard.log") as child:
        until(box.alive, "the guard's first heartbeat")
        yield child


def _arm(box: Box) -> None:
    """Proof test, permit, key: in real time, because the guard's clock is the real one."""
    box.send("press")
    until(lambda: box.word(GuardWord.LIQUIDATE) == box.word(GuardWord.STATE), "20 ms of open level")
    box.send("release")
    until(lambda: box.word(GuardWord.PROVEN) == box.word(GuardWord.STATE), "the proof test")
    box.core_page.words[CoreWord.PERMIT] = box.word(GuardWord.STATE)
    opened_ns = box.word(GuardWord.HEARTBEAT_NS)
    until(lambda: box.word(GuardWord.HEARTBEAT_NS) - opened_ns > 1_100_000_000, "1.1 s of open key")
    box.send("key close")
    closed_ns = box.word(GuardWord.HEARTBEAT_NS)
    until(lambda: box.word(GuardWord.HEARTBEAT_NS) - closed_ns > 3_100_000_000, "3.1 s of turned key")
    box.send("key open")
    until(lambda: box.word(GuardWord.ARM_PRESSES) > 0, "the end of the arm press")


@pytest.mark.safety("S1.19")
def test_button_arm_and_restart(box: Box, guard: Child, tmp_path: Path) -> None:
    """Never armed → armed → pressed → durable; a restarted guard is shut and remembers the latch."""
    until(lambda: box.tripped(Reason.NEVER_ARMED), "NEVER_ARMED stored")
    _arm(box)
    assert box.word(GuardWord.ARM_OUTCOME) == ArmOutcome.ARMED
    assert box.armed()
    assert (box.state / "latch" / RECORD).exists()
    assert guard.stop() == 0
    with running(box.arguments, tmp_path / "second.log"):
        until(lambda: box.word(GuardWord.REASON) == Reason.NOT_ARMED, "a start that is shut, not tripped")
        assert not box.armed()
        box.send("press")
        until(lambda: box.tripped(Reason.KILL_BUTTON), "the press stored")
        assert not (box.state / "latch" / RECORD).exists()


@pytest.mark.safety("S3.12")
def test_a_frozen_driver_stops_the_heartbeat(box: Box, guard: Child) -> None:
    """The loop that reads the lines writes the heartbeat: it cannot look alive without reading."""
    box.send("freeze")
    until(lambda: pages.age_ns(box.word(GuardWord.HEARTBEAT_NS)) > 300_000_000, "a stale heartbeat")
    box.send("thaw")
    until(box.alive, "the heartbeat again")


def test_unreadable_lines_trip(box: Box, guard: Child) -> None:
    """A driver that fails is the guard's own trip."""
    before = box.word(GuardWord.STATE)
    box.send("fail")
    until(lambda: box.word(GuardWord.LATER) >> Reason.GUARD_LOST & 1, "GUARD_LOST recorded")
    assert box.word(GuardWord.STATE) == before + 1


@pytest.mark.safety("S3.10", "HW-23")
def test_a_trip_of_the_core_is_persisted_by_the_guard(box: Box, guard: Child) -> None:
    """The core asks through its page; the guard adopts, orders and persists (SAFETY 3)."""
    _arm(box)
    box.core_page.words[CoreWord.REQUEST_REASON] = Reason.DRAWDOWN
    box.core_page.words[CoreWord.REQUEST] = box.core_page.words[CoreWord.REQUEST] + 1
    until(lambda: box.tripped(Reason.DRAWDOWN), "the core's trip stored")
    assert not (box.state / "latch" / RECORD).exists()


@pytest.mark.safety("S3.1")
def test_a_second_guard_refuses(box: Box, guard: Child, tmp_path: Path) -> None:
    """Two owners of one page would each undo the other's trip."""
    with running(box.arguments, tmp_path / "second.log") as second:
        assert second.wait() == 75
        assert "another guard runs" in second.output()


def test_sigkill_leaves_a_stale_heartbeat(box: Box, guard: Child) -> None:
    """The core needs no message from a dying guard: silence is enough."""
    guard.kill(signal.SIGKILL)
    guard.wait()
    until(lambda: not box.alive(), "a stale heartbeat")


@pytest.mark.parametrize(
    ("text", "code", "sentence"),
    [
        ("[board]\n", 78, "missing"),
        (EXAMPLE.replace("driver", "drivers"), 78, "board.driver is missing"),
        (EXAMPLE.replace("button = 17", "button = 27"), 78, "share a pin"),
        (EXAMPLE + "\n[extra]\n", 78, "unknown table [extra]"),
        (EXAMPLE.replace('driver = "simulated"', 'driver = "gpiozero"'), 69, "lgpio"),
    ],
)
def test_a_configuration_it_cannot_use_is_refused(
    box: Box, tmp_path: Path, text: str, code: int, sentence: str
) -> None:
    """Exit 78 with file and key, 69 for a driver that does not open; no page is written."""
    (box.state / "guard.toml").write_text(text)
    with running(box.arguments, tmp_path / "guard.log") as child:
        assert child.wait() == code
        assert sentence in child.output()
        assert "DO:" in child.output()
    assert box.word(GuardWord.HEARTBEAT_NS) == 0


@pytest.mark.safety("S3.17")
def test_priority_and_locked_memory_are_what_the_system_granted(box: Box, guard: Child) -> None:
    """The page's flags against the kernel's own answer; a refusal is said, never assumed away."""
    until(lambda: box.word(GuardWord.HEARTBEAT_NS), "a heartbeat")
    flags = box.word(GuardWord.FLAGS)
    realtime = os.sched_getscheduler(guard.pid) == os.SCHED_FIFO
    locked = re.search(r"VmLck:\s+([1-9]\d*) kB", Path(f"/proc/{guard.pid}/status").read_text())
    assert bool(flags & GuardFlag.REALTIME) is realtime
    assert bool(flags & GuardFlag.LOCKED) is bool(locked)
    assert ("no SCHED_FIFO" in guard.output()) is not realtime
    others = {int(task.name) for task in Path(f"/proc/{guard.pid}/task").iterdir()} - {guard.pid}
    assert others
    assert all(os.sched_getscheduler(task) == os.SCHED_OTHER for task in others), "helpers do not compete"


@pytest.mark.safety("S3.12")
def test_the_loop_beats_every_20_ms(box: Box, guard: Child) -> None:
    """A hundred beats: none closer to the hold's 250 ms than a machine under test may bring it."""
    beats: list[int] = []

    def gather() -> bool:
        beat_ns = box.word(GuardWord.HEARTBEAT_NS)
        if not beats or beat_ns != beats[-1]:
            beats.append(beat_ns)
        return len(beats) > 100

    until(gather, "a hundred heartbeats")
    gaps = sorted(b - a for a, b in itertools.pairwise(beats))
    assert 15_000_000 < gaps[len(gaps) // 2] < 100_000_000


def test_page_words_are_plain_numbers(box: Box, guard: Child) -> None:
    """Whatever reads the page needs nothing of this project: words are JSON numbers."""
    text = json.dumps({word.name: box.word(word) for word in GuardWord})
    assert json.loads(text)["BOARD"] == pages.BoardKind.SIMULATED
