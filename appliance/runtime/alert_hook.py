"""The alert hook: the owner's command, outside the core, started with one alert on its standard input.

    [alerts] hook = ["/usr/local/bin/page-me", "--urgent"]

What it gets: one JSON object and a newline, then the end of the file; the keys are those of
`domain.alert.Alert`, always all of them, `v` is 1, nanoseconds are decimal strings, `log_index` is a number
or null. An environment of PATH, HOME, USER, LANG and TZ. The root directory as its own. No terminal, no pipe:
what it prints is thrown away, so that no amount of it can block anybody. Its arguments are seen by every
user of the machine: a secret belongs into a file.

What it owes: exit 0 once somebody was told. Anything else is a failed delivery, tried three times in all, ten
seconds apart. At the timeout its process group is killed, and so is what is left of the group when it exits.
One hook runs at a time, on a thread of its own: a hook that hangs delays the next hook by its timeout, and
nothing else. The same alert may come twice after a power cut (same `number`), never not at all.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec import Struct

from appliance.domain.alert import Alert
from appliance.runtime.alert_files import HookCounts, dump
from appliance.safety.alert_queue import AlertQueue, Waiting

KILL_WAIT_S = 2.0
SLICE_S = 0.2
_ENVIRONMENT = ("PATH", "HOME", "USER", "LANG", "TZ")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class HookConfig(Struct, frozen=True):
    """command: argv, empty for none.  folder: where its input is put, in memory if possible."""

    command: tuple[str, ...]
    timeout_s: float
    folder: Path


class Outcome(Struct, frozen=True):
    """How one delivery went. word: `delivered`, `failed` or `timeout`.  detail: for people."""

    word: str
    detail: str
    took_s: float

    @property
    def good(self) -> bool:
        """Somebody was told."""
        return self.word == "delivered"


def run_hook(
    config: HookConfig, alert: Alert, give_up: Callable[[], bool] = lambda: False, *, shown: bool = False
) -> Outcome:
    """One delivery, from start to the end of the process group. Blocks up to the timeout and KILL_WAIT_S.

    give_up: asked every 200 ms; True ends the hook early.  shown: the hook may print where we do.
    """
    began = time.monotonic()
    output = None if shown else subprocess.DEVNULL
    try:
        with tempfile.TemporaryFile(dir=config.folder) as given:  # a file, not a pipe: writing never blocks
            given.write(dump(alert) + b"\n")
            given.seek(0)
            process = subprocess.Popen(  # noqa: S603 - the owner's own command, without a shell
                config.command,
                stdin=given,
                stdout=output,
                stderr=output,
                cwd="/",
                env=_environment(),
                start_new_session=True,
            )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        why = getattr(error, "strerror", None) or str(error)
        return Outcome("failed", f"it cannot be started: {why}", time.monotonic() - began)
    ended = _wait(process.pid, began + config.timeout_s, give_up)
    # The leader is not reaped yet: its id, and so the group's, cannot belong to anybody else.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    try:
        code = process.wait(KILL_WAIT_S)
    except subprocess.TimeoutExpired:
        return Outcome("timeout", "it hangs in the kernel and cannot be killed", time.monotonic() - began)
    took_s = time.monotonic() - began
    if not ended:
        return Outcome("timeout", f"it did not end within {config.timeout_s:g} s and was killed", took_s)
    if code:
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return Outcome("failed", how, took_s)
    return Outcome("delivered", "exit code 0", took_s)


def _wait(pid: int, deadline: float, give_up: Callable[[], bool]) -> bool:
    """True once the process has ended, without reaping it; False at the deadline."""
    handle = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        while (left := deadline - time.monotonic()) > 0:
            if poll.poll(min(left, SLICE_S) * 1000):
                return True
            if give_up():
                break
        return bool(poll.poll(0))
    finally:
        os.close(handle)


def _environment() -> dict[str, str]:
    """Nothing of ours but what a command needs to find itself and its user."""
    found = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    return {"PATH": _PATH} | found


class Hook(threading.Thread):
    """Delivers what is offered, one alert at a time. on_done: called on this thread after each delivery."""

    def __init__(
        self, config: HookConfig, waiting: Iterable[Waiting], on_done: Callable[[Alert, Outcome, bool], None]
    ) -> None:
        super().__init__(name="alert hook", daemon=True)
        self._config = config
        self._on_done = on_done
        self._changed = threading.Condition()
        self._queue = AlertQueue(waiting)
        self._current: Waiting | None = None
        self._counts = HookCounts()
        self._stop_at: float | None = None
        self.failing = False  # the last delivery failed

    def offer(self, alert: Alert) -> None:
        """Returns at once, whatever the hook does."""
        with self._changed:
            self._queue.add(alert)
            self._changed.notify()

    def waiting(self) -> tuple[Waiting, ...]:
        """Everything not delivered yet, what is being delivered included."""
        with self._changed:
            return (*((self._current,) if self._current else ()), *self._queue.waiting())

    def counts(self) -> HookCounts:
        """As of now."""
        with self._changed:
            done = self._counts
            waiting = len(self._queue) + (self._current is not None)
            return HookCounts(
                delivered=done.delivered, failed=done.failed, given_up=done.given_up, waiting=waiting
            )

    def close(self, grace_s: float) -> None:
        """Delivers what is due for so long, then ends the running hook; the rest stays in the memory."""
        with self._changed:
            self._stop_at = time.monotonic() + grace_s
            self._changed.notify()
        self.join(grace_s + SLICE_S + 2 * KILL_WAIT_S)

    def run(self) -> None:
        """Until `close`."""
        while (each := self._next()) is not None:
            outcome = run_hook(self._config, each.alert, self._hurried)
            with self._changed:
                self._current = None
                self.failing = not outcome.good
                given_up = False
                if outcome.good:
                    self._counts.delivered += 1
                else:
                    self._counts.failed += 1
                    given_up = not self._queue.failed(each, time.monotonic_ns())
                    self._counts.given_up += given_up
            self._on_done(each.alert, outcome, given_up)

    def _hurried(self) -> bool:
        return self._stop_at is not None and time.monotonic() >= self._stop_at

    def _next(self) -> Waiting | None:
        """Waits for an alert that is due; None once there is nothing more to do before the stop."""
        with self._changed:
            while not self._hurried():
                now_ns = time.monotonic_ns()
                if (each := self._queue.take(now_ns)) is not None:
                    self._current = each
                    return each
                if self._stop_at is not None:
                    return None
                due_ns = self._queue.next_due_ns()
                self._changed.wait(None if due_ns is None else max(0.0, (due_ns - now_ns) / 1e9))
            return None
