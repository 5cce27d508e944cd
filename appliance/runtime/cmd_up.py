"""`interlock up`: the whole appliance on this machine, with a person watching."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType

from appliance.domain.errors import InterlockError, PeerMissingError
from appliance.domain.status import Status
from appliance.runtime import board_socket
from appliance.runtime.config import Config
from appliance.runtime.config_load import load_config
from appliance.runtime.guard_link import Glance, prepare_pages
from appliance.runtime.hosting import need_free
from appliance.runtime.paths import Paths, ensure_runtime, need_state
from appliance.runtime.supervise import CORE_STOP_S, Job, Supervisor, answers, fetch_status, only_one
from appliance.runtime.terminal import Terminal

READY_S = 30.0
POLL_S = 0.02
SHOW_S = 0.5
ARM_STEPS = 6


def run_up(paths: Paths, options: argparse.Namespace, terminal: Terminal) -> int:
    """Runs until Ctrl-C, or until the replay is finished with --exit-when-finished."""
    path: Path = options.config or paths.config
    need_state(paths)
    config = load_config(path)
    ensure_runtime(paths)
    prepare_pages(paths.runtime)
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    interrupted = False
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    with only_one(paths.runtime):
        _need_ports(config)
        supervisor = Supervisor(paths)
        up = _Up(supervisor, paths, config, path, options, terminal, stop)
        try:
            up.start()
            up.watch()
            interrupted = stop.is_set()
        finally:
            terminal.say("stopping …")
            supervisor.stop()
            terminal.say("stopped: the log is closed, nothing runs any more")
    return 130 if interrupted else 0


def _need_ports(config: Config) -> None:
    """All of ours are free: another appliance's page must not be taken for this one's."""
    need_free("status page", config.web.host, config.web.port)
    need_free("collector", "127.0.0.1", config.upstream.collector_port)
    if config.venue.transport == "process":
        need_free("paper venue", "127.0.0.1", config.venue.port)


class _Up:
    def __init__(
        self,
        supervisor: Supervisor,
        paths: Paths,
        config: Config,
        config_path: Path,
        options: argparse.Namespace,
        terminal: Terminal,
        stop: threading.Event,
    ) -> None:
        self._supervisor = supervisor
        self._paths = paths
        self._config = config
        self._options = options
        self._terminal = terminal
        self._stop = stop
        self._where = ("--state", str(paths.state), "--runtime", str(paths.runtime))
        self._config_path = str(config_path)

    def start(self) -> None:
        """Guard first: the button works before anything trades."""
        began = time.monotonic()
        where = (*self._where, "--config", self._config_path)
        self._supervisor.start(Job(name="guard", arguments=("hardware.main", *self._where)))
        self._supervisor.start(Job(name="collector", arguments=("appliance", "collector", *where)))
        own_venue = self._config.venue.transport == "process"
        if own_venue:
            self._supervisor.start(Job(name="paper venue", arguments=("appliance", "paper-venue", *where)))
            watcher = ("appliance", "cancel-only", *self._where)
            self._supervisor.start(Job(name="cancel-only", arguments=watcher))
        self._until(self._guard_beats, "guard")
        core = ["appliance", "run", *where, "--quiet", "--wait-for-arm"]
        core += ["--unattended"] if self._options.unattended else []
        core += ["--speed", self._options.speed] if self._options.speed else []
        self._supervisor.start(Job(name="core", arguments=tuple(core), stop_s=CORE_STOP_S))
        self._until(lambda: answers(self._config.upstream.collector_port), "collector")
        if own_venue:
            self._until(lambda: answers(self._config.venue.port), "paper venue")
        self._until(lambda: self._status() is not None, "core")
        # Last, so that it is stopped first: a stop that somebody asked for is no alert.
        self._supervisor.start(Job(name="alerts", arguments=("appliance", "alerts", *where), needed=False))
        self._greet(time.monotonic() - began)
        if self._options.arm:
            self._arm()

    def watch(self) -> None:
        """Shows progress and keeps everything running."""
        finished = False
        while not self._stop.is_set():
            for sentence in self._supervisor.look():
                self._terminal.say(sentence)
            status = self._status()
            if status is not None:
                self._terminal.progress(status)
                if status.progress.state == "finished" and not finished:
                    finished = True
                    self._finished(status)
                    if self._options.exit_when_finished:
                        return
            self._stop.wait(SHOW_S)

    def _greet(self, took_s: float) -> None:
        say, web = self._terminal.say, self._config.web
        status = self._status()
        parts = [job.name for job in self._supervisor.jobs]
        say(f"running after {took_s:.1f} s: {', '.join(parts[:-1])} and {parts[-1]}")
        if status is not None and not status.realtime:
            say("note: no real-time priority for the guard (it needs root or CAP_SYS_NICE): under load the")
            say("      kill button may take tens of milliseconds to shut the gate instead of one")
        say(f"status page      http://{web.host}:{web.port}/")
        say(f"feed             {self._config.feed.label}")
        say("try in another terminal, from here:")
        for command, what in (
            ("board press", "press the red button"),
            ("board release", "release it (restarts nothing)"),
            ("board arm", "turn the arm key for one step"),
            ("status", "mode, trip, holds"),
            ("verify", "check the whole audit log"),
        ):
            say(f"  {self._command(command):<52} {what}")
        say("Ctrl-C stops everything in order.")

    def _arm(self) -> None:
        """The demo's own hands: a proof test of the button, then arm presses until NORMAL."""
        say = self._terminal.say
        status = self._status()
        if status is None or not status.simulated_board or status.mode == "NORMAL":
            return
        say("arming, as a person would on the box:")
        say("  press and release the red button (proof test: a shorted button would look healthy for ever)")
        board_socket.prove_button(self._paths.runtime, self._nap)
        for _ in range(ARM_STEPS):
            self._until(self._permitted, "core's permit to arm")
            if self._stop.is_set():
                return
            before = self._mode()
            say("  turn the arm key: open 1 s, closed 3 s, released")
            board_socket.arm_press(self._paths.runtime, self._nap)
            self._until(partial(self._left, before), "effect of the arm press", 3.0, must=False)
            if self._mode() == "NORMAL":
                say("armed: the gate is open")
                return
        say("could not arm by itself; the page says what is missing")

    def _mode(self) -> str:
        status = self._status()
        return status.mode if status is not None else ""

    def _left(self, mode: str) -> bool:
        return self._mode() not in (mode, "")

    def _permitted(self) -> bool:
        """Everything that keeps the box shut is gone, but for the arm press itself."""
        status = self._status()
        return status is not None and not status.missing

    def _finished(self, status: Status) -> None:
        stopped = [s.name for s in status.strategies if s.state == "stopped"]
        say = self._terminal.say
        done, size = status.progress.done, status.audit.size
        say(f"the replay is finished: {done} observations, {size} entries in the log")
        if stopped:
            say(f"stopped by their own drawdown limit on the way: {', '.join(stopped)} (the page says when)")

    def _status(self) -> Status | None:
        return fetch_status(self._config.web.host, self._config.web.port)

    def _guard_beats(self) -> bool:
        age_ns = Glance(self._paths.runtime).guard_age_ns()
        return age_ns is not None and age_ns < 250_000_000

    def _until(
        self, condition: Callable[[], bool], what: str, limit_s: float = READY_S, *, must: bool = True
    ) -> None:
        deadline = time.monotonic() + limit_s
        while not self._stop.is_set() and not condition():
            self._supervisor.look()
            if time.monotonic() > deadline:
                if not must:
                    return
                job = next((j for j in self._supervisor.jobs if j.name in what), self._supervisor.jobs[-1])
                raise PeerMissingError(
                    f"the {what} did not come within {limit_s:.0f} s",
                    self._supervisor.tail(job),
                    f"see {self._supervisor.log_of(job)}",
                )
            time.sleep(POLL_S)

    def _nap(self, seconds: float) -> None:
        """Sleeps unless Ctrl-C comes; keeps the others alive."""
        deadline = time.monotonic() + seconds
        while not self._stop.is_set() and (left := deadline - time.monotonic()) > 0:
            self._stop.wait(min(left, SHOW_S))
            try:
                self._supervisor.look()
            except InterlockError:
                self._stop.set()
                raise

    def _command(self, verb: str) -> str:
        """As it must be typed here: with the path of an inactive environment, and our directories."""
        program = Path(sys.argv[0])
        if shutil.which("interlock") is not None:
            name = "interlock"
        elif program.name == "interlock":
            name = os.path.relpath(program)
        else:
            name = f"{os.path.relpath(sys.executable)} -m appliance"
        more = "".join(
            f" --{key} {value}"
            for key in ("state", "runtime")
            if (value := getattr(self._options, key)) is not None
        )
        return f"{name} {verb}{more}"
