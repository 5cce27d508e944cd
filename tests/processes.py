"""Starts the project's own processes for tests and ends exactly those, by id, with the test."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
DEADLINE_S = 30.0


class Child:
    """A running process whose output is kept in a file for the failure message."""

    def __init__(self, arguments: Sequence[str], log: Path, env: dict[str, str] | None = None) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                preexec_fn=_die_with_parent,
            )
        self.pid = self.process.pid

    def output(self) -> str:
        """Everything printed so far."""
        return self.log.read_text("utf-8", "replace")

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Signals this process, if it still runs."""
        if self.process.poll() is None:
            self.process.send_signal(number)

    def stop(self) -> int:
        """SIGTERM, then SIGKILL after 15 s; the exit code."""
        self.kill(signal.SIGCONT)
        self.kill(signal.SIGTERM)
        try:
            return self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.process.wait(5)

    def wait(self, timeout_s: float = DEADLINE_S) -> int:
        """Waits for the process to end by itself."""
        return self.process.wait(timeout_s)


def _die_with_parent() -> None:
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no orphan survives a killed test run


@contextlib.contextmanager
def running(
    arguments: Sequence[str], log: Path, env: dict[str, str] | None = None
) -> Iterator[Child]:
    """The process for the length of a `with` block."""
    child = Child(arguments, log, env)
    try:
        yield child
    finally:
        child.stop()


def until(condition: Callable[[], object], what: str, timeout_s: float = DEADLINE_S) -> None:
    """Polls a condition of another process every 2 ms; fails naming what did not happen."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:.0f} s: {what}")
        select.select([], [], [], 0.002)
