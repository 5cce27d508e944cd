"""The operator's way back after a drawdown trip, on a whole appliance (SAFETY 6); the gap is synthetic.

What is decided in between is tested in test_peak_reset.py, without processes.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.box import Box
from tests.flow.test_appliance import gap_box
from tests.processes import running, until


def _signed(box: Box, verb: str, key: Path, expected: int = 0) -> str:
    """One signed command; the guard looks at one signature in 5 s, so TOO_SOON is asked again."""
    said: list[str] = []

    def ask() -> bool:
        done = box.interlock(f"operator {verb}", "--key", str(key))
        said[:] = [done.stderr]
        return done.returncode == expected and "TOO_SOON" not in done.stderr

    until(ask, f"operator {verb}: {said}", 20)
    return said[0]


@pytest.mark.safety("S6.8")
def test_the_operators_way_back_on_a_whole_appliance(tmp_path: Path) -> None:
    """Real processes, a synthetic gap: without a key it says how to get one; refused while it must be; done;
    a core that is killed afterwards knows peak and plan, is armed and does not trip again."""
    box, key = gap_box(tmp_path, days=600), tmp_path / "operator.key"
    text = box.config.read_text()
    box.config.write_text(text.replace('step_every = "20 d"', 'step_every = "365 d"'))
    absent = box.interlock("operator reset-peak")
    assert absent.returncode == 69
    assert "interlock operator keygen" in absent.stderr
    assert "guard.toml" in absent.stderr
    line = box.interlock("operator keygen", "--out", str(key)).stdout.splitlines()[1]
    guard = box.state / "guard.toml"
    guard.write_text(guard.read_text().replace('key = ""', line))
    with running(box.up(), tmp_path / "up.log") as child:
        until(lambda: box.mode() == "NORMAL", "NORMAL", 60)
        until(lambda: box.mode() == "EMERGENCY", f"the account's trip\n{child.output()}", 60)
        until(lambda: not box.held(), "flat", 10)
        assert "what is missing: mode PAUSED" in _signed(box, "reset-peak", key, expected=1)
        assert box.interlock("board press").returncode == 0
        assert box.interlock("board release").returncode == 0
        until(box.ready_for_a_step, "nothing but a step missing", 10)
        _signed(box, "arm", key)
        until(lambda: box.mode() == "PAUSED", "PAUSED", 5)
        until(lambda: _missing(box) == ("losses_in_limits",), "only the loss missing", 10)
        said = _signed(box, "reset-peak", key)
        assert "A RESET OF THE ACCOUNT'S PEAK" in said
        assert "the account's peak is reset from " in said
        before = box.core_pid()
        os.kill(before, signal.SIGKILL)
        until(lambda: box.core_pid() != before and box.mode() == "PAUSED", "the core again", 30)
        until(lambda: _missing(box) == (), "nothing missing: the reset is remembered", 20)
        assert "armed: the gate is open" in _signed(box, "arm", key)
        until(lambda: box.mode() == "NORMAL", "NORMAL", 5)
        done = box.done()
        until(lambda: box.done() > done + 5, "the replay goes on", 20)
        before = box.core_pid()
        os.kill(before, signal.SIGKILL)
        until(lambda: box.core_pid() != before and box.mode() == "NORMAL", "NORMAL again", 30)
        status = box.status()
        assert status is not None
        assert status.recovery is not None
        assert (status.recovery.plan, status.recovery.share) == ("standard", "25 %")
    refused, reset = box.entries("loosening")
    assert (refused["outcome"], reset["outcome"]) == ("refused", "done")
    assert [entry["reason"] for entry in box.entries("trip") if entry["from"] == "core"] == ["DRAWDOWN"]
    box.verified()


def _missing(box: Box) -> tuple[str, ...] | None:
    status = box.status()
    return None if status is None else status.missing
