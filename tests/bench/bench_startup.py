"""How long people wait, how fast a replay is, and how much memory it takes.

Everything is a whole process, started as a person would: command → first answer. Memory is what the kernel
counts as resident.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from appliance.runtime.supervise import fetch_status
from tests.bench.measure import Case, case_of
from tests.ports import free_ports, with_ports
from tests.processes import ROOT
from tests.spot import SPOT, SPOT_S, spot_config


def _interlock(*arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "appliance", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _timed(*arguments: str) -> int:
    started = time.perf_counter_ns()
    _interlock(*arguments).wait()
    return time.perf_counter_ns() - started


class Box:
    """A prepared state directory on ports of its own."""

    def __init__(self, folder: Path, changes: dict[str, str] | None = None) -> None:
        self.where = ("--state", str(folder / "state"), "--runtime", str(folder / "run"))
        assert _interlock("init", *self.where).wait() == 0
        self.config = folder / "state" / "interlock.toml"
        self.port = with_ports(self.config, free_ports(3))
        text = self.config.read_text()
        for old, new in (changes or {}).items():
            assert old in text, old
            text = text.replace(old, new)
        self.config.write_text(text)

    def up(self, *more: str) -> subprocess.Popen[bytes]:
        """The whole appliance."""
        return _interlock("up", *self.where, *more)

    def until_ready(self, started_ns: int) -> int:
        """Nanoseconds until the core answers."""
        while fetch_status("127.0.0.1", self.port) is None:
            select.select([], [], [], 0.005)
        return time.perf_counter_ns() - started_ns


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    process.wait(90)


def _resident_mb(words: str) -> float:
    """The largest process whose command line contains `words`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                pages_ = int((entry / "statm").read_text().split()[1])
            except OSError:
                continue
            if words in command:
                found.append(pages_ * os.sysconf("SC_PAGE_SIZE") / 1e6)
    return max(found, default=0.0)


def _replay(box: Box, *more: str) -> tuple[float, float, float, int]:
    """(seconds from arming to the end, core MB, guard MB, observations) of an unattended run."""
    process = box.up("--unattended", "--exit-when-finished", *more)
    core_mb = guard_mb = 0.0
    began = 0.0
    done = 0
    try:
        while process.poll() is None:
            status = fetch_status("127.0.0.1", box.port)
            if status is not None and status.mode == "NORMAL" and not began:
                began = time.monotonic()
            if status is not None and status.progress.state == "finished":
                done = status.progress.done
                break
            core_mb = max(core_mb, _resident_mb(f"appliance run {' '.join(box.where)}"))
            guard_mb = max(guard_mb, _resident_mb(f"hardware.main {' '.join(box.where)}"))
            select.select([], [], [], 0.05)
        took = time.monotonic() - began
        process.wait(90)
    finally:
        if process.poll() is None:
            _stop(process)
    return took, core_mb, guard_mb, done


def run(*, quick: bool) -> list[Case]:
    """Warm starts, commands, both replays."""
    rounds = 3 if quick else 10
    cases = []
    with tempfile.TemporaryDirectory() as name:
        box = Box(Path(name))
        starts = []
        for _ in range(rounds):
            started = time.perf_counter_ns()
            process = box.up("--no-arm")
            starts.append(box.until_ready(started))
            if len(starts) == rounds:
                status = [_timed("status", *box.where) for _ in range(rounds)]
                cases.append(case_of("interlock status", status))
            _stop(process)
        cases.insert(0, case_of("warm start: interlock up → gate ready", starts))
        cases.append(case_of("interlock --version", [_timed("--version") for _ in range(rounds)]))
    with tempfile.TemporaryDirectory() as name:
        took, core_mb, guard_mb, done = _replay(Box(Path(name)), "--speed", "max")
        cases += _replay_cases("shipped sample, venue in its own process", took, core_mb, guard_mb, done)
    cases += _inside(quick=quick)
    return cases


def _inside(*, quick: bool) -> list[Case]:
    inside = {'transport = "process" ': 'transport = "in-process" '}
    with tempfile.TemporaryDirectory() as name:
        took, core_mb, guard_mb, done = _replay(Box(Path(name), inside), "--speed", "max")
    cases = _replay_cases("shipped sample, venue inside the core", took, core_mb, guard_mb, done)
    if quick or not SPOT.exists():
        return cases
    with tempfile.TemporaryDirectory() as name:
        box = Box(Path(name))
        box.config.write_text(spot_config(box.config.read_text(), SPOT, inside=True))
        took, core_mb, guard_mb, done = _replay(box, "--speed", "max")
    cases.append(Case("BTCUSDT spot messages: times real time", "x", done, p50=round(SPOT_S / took, 1)))
    return cases + _replay_cases("BTCUSDT spot messages, venue inside", took, core_mb, guard_mb, done)


def _replay_cases(what: str, took: float, core_mb: float, guard_mb: float, done: int) -> list[Case]:
    return [
        Case(f"replay: {what}", "s", done, p50=round(took, 2), per_s=round(done / took)),
        Case(f"core resident: {what}", "MB", 1, max=round(core_mb, 1)),
        Case(f"guard resident: {what}", "MB", 1, max=round(guard_mb, 1)),
    ]
