"""What follows a press on the whole appliance: cancels confirmed, the first liquidation order, with the core
healthy and stopped. Part of the `kill` benchmark; every round arms a real box, which takes 15 s.
"""

from __future__ import annotations

import os
import select
import signal
import tempfile
import time
from pathlib import Path

from appliance.audit.records import decode_entry
from appliance.runtime.board_socket import command_board
from appliance.runtime.guard_link import Glance
from appliance.runtime.venue_note import read_note
from appliance.storage.log_reader import LogReader
from tests.bench.measure import Case, case_of
from tests.box import Box
from tests.processes import running, until
from tests.venue_hand import open_orders, place_entries

ENTRIES = 100


def _shut(glance: Glance, pressed_ns: int) -> int:
    while not glance.is_shut():
        pass
    return time.monotonic_ns() - pressed_ns


def _no_entry_left(box: Box, pressed_ns: int) -> int:
    note = read_note(box.runtime / "venue.json")
    assert note is not None
    while not all(open_orders(note).values()):
        select.select([], [], [], 0.001)
    return time.monotonic_ns() - pressed_ns


def _first_liquidation(box: Box, trip_ns: int) -> int | None:
    """From the edge, as the guard stamped it, to the approval of the first exit; None if nothing was held."""
    reader = LogReader(box.state / "log")
    try:
        times = [
            int(record.mono_ns)
            for record in (decode_entry(entry.body) for entry in reader.entries_of_kind("intent"))
            if str(record.data.get("intent", "")).startswith("liquidate/") and int(record.mono_ns) > trip_ns
        ]
    finally:
        reader.close()
    return min(times) - trip_ns if times else None


def _round(folder: Path, *, stopped: bool) -> tuple[int, int, int | None]:
    box = Box(folder, {'speed = "60 d/s"': 'speed = "200 d/s"'})
    with running(box.up(), folder / "up.log"):
        until(lambda: box.mode() == "NORMAL", "NORMAL", 60)
        note = read_note(box.runtime / "venue.json")
        assert note is not None
        place_entries(note, ENTRIES)
        until(box.held, "a position", 60)
        core = box.core_pid()
        if stopped:
            os.kill(core, signal.SIGSTOP)
        try:
            glance = Glance(box.runtime)
            pressed_ns = time.monotonic_ns()
            command_board(box.runtime, "press")
            shut = _shut(glance, pressed_ns)
            cancelled = _no_entry_left(box, pressed_ns)
        finally:
            os.kill(core, signal.SIGCONT)
        trip_ns = glance.guard_words()["TRIP_NS"]
        until(lambda: not box.held(), "flat", 20)
        return shut, cancelled, None if stopped else _first_liquidation(box, trip_ns)


def run(*, quick: bool) -> list[Case]:
    """Ten boxes each way."""
    rounds = 2 if quick else 10
    cases = []
    for stopped in (False, True):
        shut, cancelled, sold = [], [], []
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as name:
                gate, took, first = _round(Path(name), stopped=stopped)
            shut.append(gate)
            cancelled.append(took)
            sold += [first] if first is not None else []
        who = "core stopped" if stopped else "core healthy"
        cases.append(case_of(f"press sent and answered → gate shut, {who}", shut))
        cases.append(case_of(f"press → {ENTRIES} entries confirmed cancelled, {who}", cancelled))
        if sold:
            cases.append(case_of("edge → first liquidation order approved", sold))
    return cases
