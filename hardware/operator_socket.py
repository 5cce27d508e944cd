"""The console socket for signed operator commands: `operator.sock` in the run-time directory, mode 0600.

    challenge                        → `challenge LINE`, good for 60 s, to arm one step
    challenge reset-peak             → the same, to reset the account's peak
    challenge start-source NAME      → the same, to start a source again that its own limits had stopped
    command LINE\\nSIGNATURE           → `done OUTCOME`, `refused REASON\\tWHY\\tDO`, or `unknown`

One packet each way, one connection a time, 50 connections a second, and each has a second to speak. Only root
and the user the guard runs as are answered. A thread of normal priority does all of it: the loop that reads
the lines only takes a verified command out of the inbox. Whatever happens here, the kill button works.
"""

from __future__ import annotations

import os
import re
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

from hardware.operator_command import (
    ARM_STEP,
    RESET_PEAK,
    SENTENCES,
    START_SOURCE,
    SUBJECT,
    TAKEN_WITHIN_NS,
    OperatorDesk,
    OperatorInbox,
)
from hardware.pages import GuardWord, Refusal

SOCKET = "operator.sock"
MAX_REQUEST = 1024
PATIENCE_S = 1.0
PAUSE_S = 0.020
_LOOK_S = 0.010
_STORED_WITHIN_S = 5.0
_CREDENTIALS = struct.Struct("3i")
_CHALLENGE = re.compile(f"challenge(?: ({RESET_PEAK})| ({START_SOURCE}) ({SUBJECT}))?".encode())


class OperatorSocket(threading.Thread):
    """Listens until `finish`. Raises OSError if it cannot; the guard then runs without.

    page: REFUSED and REFUSAL are written by this thread and by nobody else.
    """

    def __init__(
        self,
        runtime: Path,
        desk: OperatorDesk,
        inbox: OperatorInbox,
        page: memoryview[int],
        before: Callable[[], None],
    ) -> None:
        super().__init__(name="operator", daemon=True)
        self._desk, self._inbox, self._page, self._before = desk, inbox, page, before
        self._path = runtime / SOCKET
        self._allowed = (0, os.getuid())
        self._done = threading.Event()
        remove_socket(runtime)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        try:
            os.fchmod(self._socket.fileno(), 0o600)  # before bind: the file never has another mode
            self._socket.bind(str(self._path))
            self._socket.listen(4)
        except OSError:
            self._socket.close()
            raise

    def run(self) -> None:
        """One connection after the other. A client's own troubles end its connection, nothing else."""
        self._before()
        while not self._done.wait(PAUSE_S):
            ready, _, _ = select.select([self._socket], [], [], 0.25)
            if not ready:
                continue
            try:
                link, _ = self._socket.accept()
            except OSError:
                continue
            with link:
                self._serve(link)

    def finish(self) -> None:
        """Stops listening and removes the socket."""
        self._done.set()
        self.join(timeout=2)
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _serve(self, link: socket.socket) -> None:
        try:
            _, user, _ = _CREDENTIALS.unpack(
                link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            )
            if user not in self._allowed:
                return
            link.settimeout(PATIENCE_S)
            request, _, flags, _ = link.recvmsg(MAX_REQUEST)
            if request:
                link.send(self._answer(request, whole=not flags & socket.MSG_TRUNC).encode("ascii"))
        except OSError:
            return

    def _answer(self, request: bytes, *, whole: bool) -> str:
        if whole and (asked := _CHALLENGE.fullmatch(request)) is not None:
            reset, start, subject = ((part or b"").decode("ascii") for part in asked.groups())
            purpose = reset or start or ARM_STEP
            return f"challenge {self._desk.challenge(time.monotonic_ns(), purpose, subject)}"
        text = request.decode("ascii", "replace") if whole else ""
        verb, _, rest = text.partition(" ")
        line, _, signature = rest.partition("\n")
        if verb != "command":
            return self._refused(Refusal.MALFORMED)
        verdict = self._desk.judge(line, signature, time.monotonic_ns())
        if isinstance(verdict, Refusal):
            return self._refused(verdict)
        self._inbox.put(verdict)
        return self._fate(verdict.nonce)

    def _fate(self, nonce: str) -> str:
        """Waits for the loop, and for the disk behind it where this was the arming itself."""
        deadline = time.monotonic() + TAKEN_WITHIN_NS / 1e9 + _STORED_WITHIN_S
        while time.monotonic() < deadline:
            fate = self._inbox.fate(nonce)
            if fate in Refusal.__members__:
                return self._refused(Refusal[fate])
            if fate:
                return f"done {fate}"
            if self._done.wait(_LOOK_S):
                break
        return "unknown"

    def _refused(self, refusal: Refusal) -> str:
        page = self._page
        page[GuardWord.REFUSAL] = refusal
        page[GuardWord.REFUSED] = page[GuardWord.REFUSED] + 1
        why, do = SENTENCES[refusal]
        return f"refused {refusal.name}\t{why}\t{do}"


def remove_socket(runtime: Path) -> None:
    """Sweeps away what an earlier guard left; a guard without an operator key leaves none."""
    (runtime / SOCKET).unlink(missing_ok=True)
