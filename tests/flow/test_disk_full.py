"""A whole appliance whose log's disk really fills: gate shut, exits recorded on the reserve, armed again.

Only the log lies on the small disk: the paper venue, which is no part of the box, goes on writing its own.
"""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.domain.status import Disk
from appliance.runtime.board_socket import command_board
from tests.box import Box
from tests.processes import Child, running, until
from tests.small_disk import MIB, SmallDisk, small_disk

RESERVE = 4_000_000


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """A new appliance with a small reserve and quota."""
    changes = {
        'reserve = "16 MB"': 'reserve = "4 MB"',
        'quota = "4 GB"': 'quota = "128 MB"',
    }
    return Box(tmp_path, changes)


@pytest.fixture
def disk(box: Box, tmp_path: Path) -> Iterator[SmallDisk]:
    """The log's own file system."""
    log, aside = box.state / "log", tmp_path / "log"
    log.rename(aside)
    with small_disk(log, 144 * MIB) as made:
        shutil.copytree(aside, log, dirs_exist_ok=True)
        yield made


@pytest.fixture
def up(box: Box, disk: SmallDisk, tmp_path: Path) -> Iterator[Child]:
    """Armed and replaying, with positions."""
    with running(box.up(), tmp_path / "up.log") as child:
        until(lambda: box.mode() == "NORMAL" or child.process.poll() is not None, "NORMAL", 60)
        assert child.process.poll() is None, child.output()
        until(box.held, "a position", 60)
        yield child


def _disk(box: Box) -> Disk:
    status = box.status()
    return status.disk if status is not None and status.disk is not None else Disk("", -1, -1, -1, -1, "", -1)


def _holds(box: Box) -> list[str]:
    status = box.status()
    return [hold.cause for hold in status.holds] if status is not None else []


def _trip(box: Box) -> str:
    status = box.status()
    return status.trip.reason if status is not None and status.trip is not None else ""


def _arm(box: Box, mode: str) -> None:
    until(box.ready_for_a_step, f"the permit towards {mode}", 20)
    assert box.interlock("board arm").returncode == 0
    until(lambda: box.mode() == mode, mode, 10)


def _reasons(box: Box) -> list[str]:
    """Each trip of the core's own is in the log twice: as it was made, and as the guard adopted it."""
    return [str(trip["reason"]) for trip in box.entries("trip")]


@pytest.mark.safety("S8.6")
def test_a_full_disk_trips_and_the_box_can_be_armed_again(box: Box, disk: SmallDisk, up: Child) -> None:
    """Full: trip, hold and alert while the core goes on; room again: reserve, end of the hold, NORMAL.

    Full and the button in one: the trip and every sale are in the log, on the reserve.
    """
    core = box.core_pid()
    assert (disk.path / "reserve").stat().st_blocks * 512 >= RESERVE
    assert _disk(box).reserve == "in place"
    disk.fill()
    until(lambda: _trip(box) == "AUDIT_STORE", "the trip", 30)
    until(lambda: _disk(box).reserve == "in use", "the reserve's use on the page", 15)
    assert "DISK_QUOTA" in _holds(box)
    assert (box.mode(), box.core_pid()) == ("PAUSED", core), "the core goes on"
    assert "AUDIT_STORE" in _reasons(box), "on the reserve"
    said = next(entry for entry in box.entries("disk") if entry["reserve"] == "in use")
    assert "given back" in str(said["why"])
    _is_shown(box)
    disk.drain()
    until(lambda: _disk(box).reserve == "in place", "the reserve allocated again", 20)
    until(lambda: "DISK_QUOTA" not in _holds(box), "the end of the hold", 10)
    command_board(box.runtime, "press")  # the proof test; it sells what is held
    until(lambda: box.mode() == "EMERGENCY" and not box.held(), "everything sold", 20)
    command_board(box.runtime, "release")
    _arm(box, "PAUSED")
    _arm(box, "NORMAL")

    disk.fill(leave=20_000_000)
    until(lambda: _disk(box).level == "alert", "the alert, and no hold: the rest is filled at once", 20)
    until(lambda: len(box.held()) > 1, "positions", 120)
    disk.fill()
    command_board(box.runtime, "press")
    until(lambda: box.mode() == "EMERGENCY" and not box.held(), "all sold, by the fills in the log", 20)
    until(lambda: _reasons(box).count("AUDIT_STORE") == 4, "the second use of the reserve", 20)
    assert _reasons(box).count("KILL_BUTTON") == 3, "the demo's proof test, ours, and this one"
    assert any(verdict.get("class") == "REDUCE" for verdict in box.entries("verdict")), "whoever sold first"
    assert _disk(box).reserve == "in use"
    assert box.entries("gap") == [], "nothing left without its record"
    assert box.core_pid() == core
    disk.drain()
    assert up.stop() == 130
    box.verified()


def _is_shown(box: Box) -> None:
    """By /metrics, `interlock status` and the alerter."""
    with urllib.request.urlopen(f"http://127.0.0.1:{box.port}/metrics", timeout=10) as answer:
        assert 'interlock_disk_reserve{state="in use"} 1.0' in answer.read().decode()
    until(lambda: "reserve of 0 B of 4.0 MB" in box.interlock("status").stdout, "interlock status", 10)
    assert json.loads(box.interlock("status", "--json").stdout)["disk"]["wanted"] == RESERVE
    until(lambda: {"DISK_RESERVE", "DISK_QUOTA", "AUDIT_STORE"} <= _alerts(box), "the alerts", 10)
    status = box.status()
    assert status is not None
    assert {"store_ok", "hold DISK_QUOTA"} <= set(status.missing)


def _alerts(box: Box) -> set[str]:
    status = box.status()
    return {line.kind for line in status.alerts} if status is not None else set()


@pytest.mark.safety("S8.7", "S1.18")
def test_a_nearly_full_disk_holds_and_lets_go(box: Box, disk: SmallDisk, up: Child) -> None:
    """95 % gone: alert and hold, no trip, the reserve untouched; below 90 % it ends by itself."""
    disk.fill(leave=6_000_000)  # the hold begins at 6.4 MB
    until(lambda: "DISK_QUOTA" in _holds(box), "the hold", 20)
    assert box.mode() == "NORMAL"
    until(lambda: _denied_for_hold(box), "an entry denied", 60)
    assert (_disk(box).reserve, _disk(box).level, _trip(box)) == ("in place", "hold", "")
    disk.drain()
    until(lambda: "DISK_QUOTA" not in _holds(box), "the end of the hold", 20)
    assert box.mode() == "NORMAL", "without anybody arming"
    until(lambda: _levels(box)[-1] == "ok", "its entry", 20)
    assert _levels(box)[0] == "hold"
    assert up.stop() == 130
    box.verified()


def _levels(box: Box) -> list[str]:
    return [str(entry["level"]) for entry in box.entries("disk")]


def _denied_for_hold(box: Box) -> bool:
    status = box.status()
    return status is not None and status.verdicts.denied.get("HOLD", 0) > 0
