"""A whole appliance whose core is killed while an entry is being worked in slices (EXEC_001, SAFETY 4)."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from tests.box import Box
from tests.flow.test_appliance import _books_equal_the_venues
from tests.processes import running, until

CHANGES = {
    'speed = "60 d/s"': 'speed = "20 d/s"',
    'params = { fast = 20, slow = 50, stop = "8 %" }': 'params = { fast = 2, slow = 5, stop = "8 %" }',
    'execution = "plain" ': 'execution = "twap" ',
    'horizon = "20 d" ': 'horizon = "30 d" ',
}


def _running(box: Box) -> dict[str, Any] | None:
    """A TWAP that was begun and has not ended, with some of its slices on record but not all."""
    told = box.entries("execution")
    ended = {data["intent"] for data in told if data["execution"] == "ended"}
    for data in told:
        sliced = data["execution"] == "begun" and data["plan"]["style"] == "twap"
        if sliced and data["intent"] not in ended and 1 < len(_children(box, data["intent"])) < 8:
            return data
    return None


def _children(box: Box, parent: str) -> list[dict[str, Any]]:
    return [data for data in box.entries("intent") if data["intent"].startswith(f"{parent}/")]


def _is_slice(data: dict[str, Any]) -> bool:
    return data["action"] == "NEW" and str(data["intent"]).rpartition("/")[2].isdigit()


def _ended(box: Box, parent: str) -> list[dict[str, Any]]:
    told = box.entries("execution")
    return [data for data in told if (data["execution"], data["intent"]) == ("ended", parent)]


def test_a_killed_core_goes_on_with_its_plan(tmp_path: Path) -> None:
    """SIGKILL between two slices: no slice twice, none skipped, and the parent ends with its figures."""
    box = Box(tmp_path, CHANGES)
    with running(box.up(), tmp_path / "up.log") as child:
        until(lambda: _running(box), f"a plan in the middle\n{child.output()}", 90)
        begun = _running(box)
        assert begun is not None
        parent, pid = begun["intent"], box.core_pid()
        os.kill(pid, signal.SIGKILL)
        until(lambda: box.core_pid() != pid and box.mode() == "NORMAL", "the core again", 30)
        until(lambda: _ended(box, parent), f"the parent's end\n{child.output()}", 60)
        assert child.stop() == 130
    (ended,) = _ended(box, parent)
    asked = {int(data["intent"].rpartition("/")[2]) for data in _children(box, parent) if _is_slice(data)}
    assert asked == set(range(len(asked))), "each slice in its turn, none skipped"
    if ended["ending"] == "DONE":
        assert (ended["filled"], len(asked)) == (ended["qty"], len(begun["plan"]["qtys"]))
    assert [data["reason"] for data in box.entries("trip")] == ["NEVER_ARMED", "KILL_BUTTON"]
    box.verified()
    _books_equal_the_venues(box)
