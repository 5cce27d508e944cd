"""A source its own limits stopped, started again on a whole appliance (CONTROLS 7)."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from tests.box import Box
from tests.processes import running, until


@pytest.mark.safety("S6.8")
def test_a_source_that_trades_too_often_starts_again_on_a_whole_appliance(tmp_path: Path) -> None:
    """Real processes: stopped by its second entry within a year; refused for another name; started; a core
    that is killed afterwards knows of it, and of what came after. (Its log is mirrored besides.)"""
    box, key = Box(tmp_path, {"mirror = false": "mirror = true"}), tmp_path / "operator.key"
    text = box.config.read_text()
    changed = re.sub(r"entries = 20 .*\n.*", 'entries = 1\nentries_window = "3650 d"', text, count=1)
    assert changed != text
    box.config.write_text(changed)
    line = box.interlock("operator keygen", "--out", str(key)).stdout.splitlines()[1]
    guard = box.state / "guard.toml"
    guard.write_text(guard.read_text().replace('key = ""', line))
    with running(box.up("--speed", "max"), tmp_path / "up.log") as child:
        until(lambda: _stopped(box), f"a source stopped by its own limit\n{child.output()}", 60)
        (name,) = _stopped(box)
        assert _reason(box, name) == (
            "2 entries in SPX began to fill within its window; 1 are allowed. "
            f"To end it: interlock operator start-source {name}"
        )
        assert "is no name" in box.interlock("operator start-source", "Trend!", "--key", str(key)).stderr
        refused = _signed(box, "trend-ndx", key, expected=1)
        assert "what is missing: a stopped source" in refused
        said = _signed(box, name, key)
        assert f"A START OF A SOURCE THAT ITS OWN LIMITS STOPPED, which loosens them ({name})" in said
        assert f"{name} may trade again; it had been stopped: 2 entries in SPX" in said
        before = box.core_pid()
        os.kill(before, signal.SIGKILL)
        until(lambda: box.core_pid() != before and box.mode() == "NORMAL", "NORMAL again", 30)
        stops = box.entries("strategy_stop")
        again = [stop for stop in stops if stop["strategy"] == name]
        assert len(again) == 1 or name in _stopped(box), "only what came after the start stops it"
        until(lambda: "stores 0 entries" not in _upstream(box), "entries at the mirror", 20)
        assert _upstream(box).startswith("co-signs checkpoints, stores ")
    told = box.interlock("collector", "--export", str(tmp_path / "copies"))
    assert told.returncode == 0, told.stderr
    assert " entries in " in told.stdout
    assert [entry["outcome"] for entry in box.entries("loosening")] == ["refused", "done"]
    box.verified()


def _upstream(box: Box) -> str:
    status = box.status()
    return "" if status is None else next(part.detail for part in status.parts if part.name == "upstream")


def _reason(box: Box, name: str) -> str:
    status = box.status()
    return "" if status is None else next(each.reason for each in status.strategies if each.name == name)


def _stopped(box: Box) -> list[str]:
    status = box.status()
    return [] if status is None else [each.name for each in status.strategies if each.state == "stopped"]


def _signed(box: Box, name: str, key: Path, expected: int = 0) -> str:
    """Asks until the guard takes it: one attempt in 5 s."""
    said = [""]

    def ask() -> bool:
        done = box.interlock("operator start-source", name, "--key", str(key))
        said[:] = [done.stderr]
        return done.returncode == expected and "TOO_SOON" not in done.stderr

    until(ask, f"operator start-source {name}: {said}", 20)
    return said[0]
