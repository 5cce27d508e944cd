"""`interlock up`: starts guard, collector, paper venue and core in order, and keeps them running.

What systemd does on the appliance, for any Linux machine. A process that ends is started again, the core
included, except after the exit codes a restart cannot mend. The supervisor owns the terminal; what the
others say goes into files in the run-time directory.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from appliance.domain.errors import BusyError, PeerMissingError
from appliance.domain.exit_codes import NO_RESTART
from appliance.domain.status import Status
from appliance.runtime.paths import Paths

CORE_STOP_S = 60.0
OTHER_STOP_S = 10.0
RESTART_PAUSE_S = 0.2
RESTART_WINDOW_S, RESTART_LIMIT = 60.0, 5  # as StartLimitIntervalSec and StartLimitBurst in the units
_PR_SET_PDEATHSIG = 1
_decode = msgspec.json.Decoder(Status).decode


class Job(Struct, kw_only=True):
    """One process to keep running. name: also of its log file.  needed: without it nothing else may run."""

    name: str
    arguments: tuple[str, ...]
    stop_s: float = OTHER_STOP_S
    needed: bool = True
    process: subprocess.Popen[bytes] | None = None
    ends: list[float] = msgspec.field(default_factory=list)


class Supervisor:
    """Children in the order in which they were started; stopped in reverse, the guard last."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self.jobs: list[Job] = []

    def start(self, job: Job) -> None:
        """Starts a process in a session of its own: Ctrl-C is for the supervisor, which stops in order."""
        self.jobs.append(job)
        self._spawn(job)

    def look(self) -> list[str]:
        """Restarts what ended; returns sentences about it. Raises PeerMissingError for what stays down."""
        said = []
        for job in self.jobs:
            code = job.process.poll() if job.process is not None else None
            if code is None:
                continue
            now = time.monotonic()
            job.ends = [when for when in job.ends if now - when < RESTART_WINDOW_S] + [now]
            if not job.needed and (code in NO_RESTART or len(job.ends) > RESTART_LIMIT):
                said.append(f"the {job.name} ended for good ({self.tail(job)}); the rest goes on without")
                job.process = None
                continue
            if code in {int(each) for each in NO_RESTART}:
                raise PeerMissingError(
                    f"the {job.name} ended with exit code {code}", self.tail(job), f"see {self.log_of(job)}"
                )
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            if len(job.ends) > RESTART_LIMIT:
                raise PeerMissingError(
                    f"the {job.name} ended {len(job.ends)} times within a minute ({how})",
                    self.tail(job),
                    f"see {self.log_of(job)}",
                )
            said.append(f"the {job.name} ended ({how}); starting it again")
            time.sleep(RESTART_PAUSE_S * len(job.ends))
            self._spawn(job)
        return said

    def stop(self) -> None:
        """SIGTERM in reverse order: the core first, so that it can cancel while the venue answers."""
        for job in reversed(self.jobs):
            process = job.process
            if process is None or process.poll() is not None:
                continue
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(job.stop_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def log_of(self, job: Job) -> Path:
        """Where the process's words go."""
        return self._paths.runtime / f"{job.name.replace(' ', '-')}.log"

    def tail(self, job: Job) -> str:
        """The last line it said."""
        try:
            lines = self.log_of(job).read_text("utf-8", "replace").strip().splitlines()
        except OSError:
            return ""
        return lines[-1] if lines else "it said nothing"

    def _spawn(self, job: Job) -> None:
        with self.log_of(job).open("ab") as log:
            job.process = subprocess.Popen(  # noqa: S603 - our own interpreter and modules
                [sys.executable, "-m", *job.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )


def _end_with_parent() -> None:
    """A killed supervisor takes its children along: no core trades on with nobody watching it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@contextlib.contextmanager
def only_one(runtime: Path) -> Iterator[None]:
    """Raises BusyError if another supervisor runs on the same directories."""
    handle = os.open(runtime / "up.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BusyError("interlock up runs already", str(runtime), "interlock status") from error
        yield
    finally:
        os.close(handle)


def fetch_status(host: str, port: int, timeout_s: float = 1.0) -> Status | None:
    """The core's own picture; None while it does not answer."""
    link = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        link.request("GET", "/status.json", headers={"Host": host})
        reply = link.getresponse()
        return _decode(reply.read(4_000_000)) if reply.status == 200 else None
    except (OSError, http.client.HTTPException, msgspec.MsgspecError):
        return None
    finally:
        link.close()


def answers(port: int) -> bool:
    """Something speaks HTTP on this loopback port."""
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
    try:
        link.request("GET", "/healthz")
        return link.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        link.close()
