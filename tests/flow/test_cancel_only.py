"""The cancel-only process beside a real venue, real pages and a core that does not answer (SAFETY 3, 8)."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.runtime.board_socket import command_board
from appliance.runtime.guard_link import Glance
from appliance.runtime.venue_note import VenueNote, read_note, write_note
from appliance.storage.ring import read_ring
from tests.box import Box
from tests.processes import Child, running, until
from tests.venue_hand import entry_id, open_orders, place_entries

ENTRIES = 100


@pytest.fixture
def up(box: Box, tmp_path: Path) -> Iterator[Child]:
    """Everything, armed."""
    with running(box.up(), tmp_path / "up.log") as child:
        until(lambda: box.mode() == "NORMAL" or child.process.poll() is not None, "NORMAL", 60)
        assert child.process.poll() is None, child.output()
        yield child


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """A box at a speed at which positions are held soon."""
    return Box(tmp_path, {'speed = "60 d/s"': 'speed = "200 d/s"'})


@pytest.mark.safety("S3.23", "HW-22")
def test_a_stopped_core_cannot_keep_orders_open(box: Box, up: Child) -> None:
    """SIGSTOP, press: 100 entries end within 10 s, the protective leg stays, the core's return logs it."""
    until(box.held, "a position", 60)
    note = read_note(box.runtime / "venue.json")
    assert note is not None
    core = box.core_pid()
    os.kill(core, signal.SIGSTOP)
    try:
        place_entries(note, ENTRIES)
        protective = {name for name, reduces in open_orders(note).items() if reduces}
        command_board(box.runtime, "press")
        pressed = time.monotonic()
        until(lambda: all(open_orders(note).values()), "no entry", 10)
        print(f"\n  press → {ENTRIES} entries cancelled, core stopped: {time.monotonic() - pressed:.2f} s")
        assert protective <= set(open_orders(note))
        said = box.runtime / "cancel-only.log"
        until(lambda: "no entry any more" in said.read_text(), "confirmation", 10)
    finally:
        os.kill(core, signal.SIGCONT)
    until(lambda: box.mode() == "EMERGENCY", "the core's own EMERGENCY", 10)
    until(lambda: len(_gaps(box)) >= ENTRIES, "what it did in the log", 20)
    gaps = _gaps(box)
    assert {gap["order_id"] for gap in gaps} >= {entry_id(number) for number in range(ENTRIES)}
    assert {gap["who"] for gap in gaps} == {"cancel-only"}
    assert up.stop() == 130, up.output()+(box.runtime / "core.log").read_text()
    box.verified()
    numbers = [gap["number"] for gap in gaps]
    assert numbers == sorted(set(numbers)), "nothing repaid twice"


def _gaps(box: Box) -> list[dict[str, Any]]:
    return [gap for gap in box.entries("gap") if gap.get("from") == "cancels"]


@pytest.mark.safety("S3.23")
def test_guard_and_core_both_dead(box: Box, up: Child) -> None:
    """Nobody answers at all: unknown counts as tripped, and entries go."""
    note = read_note(box.runtime / "venue.json")
    assert note is not None
    os.kill(up.pid, signal.SIGSTOP)  # the supervisor may not help
    try:
        for pid in (box.core_pid(), Glance(box.runtime).guard_words()["PID"]):
            os.kill(pid, signal.SIGKILL)
        place_entries(note, ENTRIES)
        until(lambda: not open_orders(note), "no entry", 15)
    finally:
        os.kill(up.pid, signal.SIGCONT)
    until(lambda: len(_gaps(box)) >= ENTRIES, "what it did, in the log of the next core", 40)


def test_it_stands_by_while_the_gate_is_open(box: Box, up: Child) -> None:
    """A core that restarts finds its orders: a second of silence is not yet nobody."""
    note = read_note(box.runtime / "venue.json")
    assert note is not None
    core = box.core_pid()
    os.kill(core, signal.SIGSTOP)
    try:
        place_entries(note, ENTRIES)
        until(lambda: (Glance(box.runtime).core_age_ns() or 0) > 2_500_000_000, "a silent core", 10)
        assert len(open_orders(note)) >= ENTRIES
        assert read_ring(box.runtime / "cancels.ring").records == ()
    finally:
        os.kill(core, signal.SIGCONT)


def test_the_note_is_whole_or_absent(tmp_path: Path) -> None:
    """Written and removed as one."""
    path = tmp_path / "venue.json"
    assert read_note(path) is None
    write_note(path, VenueNote("paper", 8483, "run-x"))
    assert read_note(path) == VenueNote("paper", 8483, "run-x")
    write_note(path, None)
    assert read_note(path) is None
