"""Button edge → gate shut: a real guard process, a busy core, one more busy process, two CPUs (SAFETY 13).

What it means here: from writing the press to the simulated board's socket to the moment at which a busy
reader sees the trip epoch in shared memory. On a Pi, with a wire, this is not yet measured. The guard, this
process (which spins like a busy core) and another busy process share two CPUs; once with SCHED_FIFO, once
with the guard put back to normal priority. The floor is a real-time process of the guard's priority that
does nothing but wait on a socket and count up a word in shared memory: what this machine has no guard beats.
"""

from __future__ import annotations

import mmap
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hardware import pages
from hardware.config import EXAMPLE
from hardware.pages import GuardFlag, GuardWord
from tests.bench import bench_emergency, bench_idle
from tests.bench.measure import Case, case_of, with_peer
from tests.processes import ROOT

CPUS = sorted(os.sched_getaffinity(0))[:2]
FLOOR = """
import mmap, os, socket, sys
words = memoryview(mmap.mmap(os.open(sys.argv[1], os.O_RDWR), 4096)).cast("Q")
board = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
board.bind(sys.argv[2])
try:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(int(sys.argv[3])))
except PermissionError:
    pass
words[1] = 1
while True:
    board.recv(16)
    words[0] += 1
"""
PRIORITY = 50  # the guard's
SETTLE_S = 0.06  # as long as the guard needs between two presses


@contextmanager
def _guard(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], pages.PageFile]]:
    state, runtime = folder / "state", folder / "run"
    (state / "latch").mkdir(parents=True)
    runtime.mkdir(mode=0o700)
    (state / "guard.toml").write_text(EXAMPLE.read_text())
    pages.create_pages(runtime)
    command = [sys.executable, "-m", "hardware.main", "--state", str(state), "--runtime", str(runtime)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        page = pages.PageFile(runtime / pages.GUARD_PAGE, writable=False)
        while not page.words[GuardWord.HEARTBEAT_NS]:
            select.select([], [], [], 0.01)
        yield process, page
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


@contextmanager
def _busy(count: int) -> Iterator[None]:
    """Other processes that compute for ever, on the same two CPUs."""
    spin = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(spin) for _ in range(count)]
    for other in others:
        os.sched_setaffinity(other.pid, CPUS)
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def _to_normal_priority(pid: int) -> None:
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setscheduler(int(task.name), os.SCHED_OTHER, os.sched_param(0))


def _pin(pid: int) -> None:
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), CPUS)


def _presses(page: pages.PageFile, runtime: Path, count: int) -> list[int]:
    """Nanoseconds from the write of each press to the new epoch, as a busy reader sees it."""
    words, state, proven = page.words, int(GuardWord.STATE), int(GuardWord.PROVEN)
    samples = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as board:
        board.connect(str(runtime / "board.sock"))
        for _ in range(count):
            before = words[state]
            started = time.monotonic_ns()
            board.send(b"press")
            while words[state] == before:
                pass
            samples.append(time.monotonic_ns() - started)
            board.send(b"release")
            while words[proven] != words[state]:  # released for 50 ms: the next press is a press
                pass
    return samples


def _floor(folder: Path, count: int) -> list[int]:
    """As `_presses`, against a process that does nothing else."""
    page, address = folder / "floor.page", folder / "floor.sock"
    page.write_bytes(bytes(4096))
    command = [sys.executable, "-c", FLOOR, str(page), str(address), str(PRIORITY)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    samples = []
    try:
        with (
            page.open("r+b") as file,
            mmap.mmap(file.fileno(), 4096) as shared,
            memoryview(shared).cast("Q") as words,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as board,
        ):
            while not words[1]:
                select.select([], [], [], 0.01)
            _pin(process.pid)
            board.connect(str(address))
            for _ in range(count):
                before, settled = words[0], time.monotonic() + SETTLE_S
                while time.monotonic() < settled:  # this process is the busy core
                    pass
                started = time.monotonic_ns()
                board.send(b"press")
                while words[0] == before:
                    pass
                samples.append(time.monotonic_ns() - started)
    finally:
        process.kill()
        process.wait()
    return samples


def run(*, quick: bool) -> list[Case]:
    """1,000 presses each way, then what follows a press."""
    count = 50 if quick else 1_000
    cases: list[Case] = []
    with tempfile.TemporaryDirectory() as name, _guard(Path(name)) as (process, page):
        granted = bool(page.words[GuardWord.FLAGS] & GuardFlag.REALTIME)
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, CPUS)
        _pin(process.pid)
        try:
            with _busy(1):
                fifo = _presses(page, Path(name) / "run", count)
                floor = case_of("floor: a bare process in its place", _floor(Path(name), count))
            with _busy(4):
                crowd = _presses(page, Path(name) / "run", count)
            with _busy(1):
                _to_normal_priority(process.pid)
                normal = _presses(page, Path(name) / "run", count)
        finally:
            os.sched_setaffinity(0, before)
    label = "SCHED_FIFO" if granted else "SCHED_FIFO refused on this machine"
    plain = case_of("edge → gate shut, busy core and 1 busy process, normal priority", normal)
    assert floor.p50 is not None
    cases.append(
        with_peer(
            case_of(f"edge → gate shut, busy core and 1 busy process, {label}", fifo),
            "a bare process in its place",
            floor.p50,
        )
    )
    crowded = case_of(f"edge → gate shut, busy core and 4 busy processes, {label}", crowd)
    emergency = bench_emergency.run(quick=quick)
    return [*cases, floor, crowded, plain, *emergency, *bench_idle.run(quick=quick)]
