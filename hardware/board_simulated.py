"""A simulated board: the same three contacts and lights, moved by datagrams on a private socket.

It lets the whole appliance run on any Linux machine and reproduces what real contacts do: bounce, an edge
so short that the level is back when it is read, a driver that fails, a driver that hangs. It can trade on
paper only (SAFETY 6). Commands, one per datagram, ASCII:

    press | release            the kill button opens, closes
    glitch                     opens and closes before any level can be read
    bounce N                   opens with N extra bounces, ends open
    key close | key open       the arm key
    tamper open | tamper close the case
    fail | mend                lines become unreadable, readable
    freeze | thaw              the driver hangs, continues
    state                      answers `button=… key=… tamper=… lights=GYR`

Every command is answered with `ok`, `state` with its line, anything else with `what?`.
"""

from __future__ import annotations

import errno
import select
import socket
import time
from pathlib import Path

from hardware.board import BoardError, Edge, Level, Levels
from hardware.pages import BoardKind

SOCKET = "board.sock"
_MAX_DATAGRAM = 64
_CONTACTS = {
    "press": ("button", Level.OPEN),
    "release": ("button", Level.CLOSED),
    "key close": ("key", Level.CLOSED),
    "key open": ("key", Level.OPEN),
    "tamper open": ("tamper", Level.OPEN),
    "tamper close": ("tamper", Level.CLOSED),
}


class SimulatedBoard:
    """Contacts start healthy: button and tamper closed, key open."""

    kind = BoardKind.SIMULATED
    name = "simulated"
    kernel_times = True  # the time at which a command is read stands for it

    def __init__(self, runtime: Path, serial: str = "simulated") -> None:
        self._levels = {"button": Level.CLOSED, "key": Level.OPEN, "tamper": Level.CLOSED}
        self._failed = False
        self._serial = serial
        self._edges: list[Edge] = []
        self.lit = (False, False, False)
        self._path = runtime / SOCKET
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            self._path.unlink(missing_ok=True)
            self._socket.bind(str(self._path))
            self._path.chmod(0o600)
        except OSError as error:
            self._socket.close()
            raise BoardError(f"simulated board: cannot listen on {self._path}: {error}") from error
        self._socket.setblocking(False)

    def wait(self, timeout_s: float) -> list[Edge]:
        """Blocks for a command or the timeout; every command already waiting is taken."""
        ready, _, _ = select.select([self._socket], [], [], timeout_s)
        if ready:
            self._take_waiting()
        edges, self._edges = self._edges, []
        return edges

    def levels(self) -> Levels:
        """Present contacts; UNKNOWN after `fail`."""
        if self._failed:
            return Levels(Level.UNKNOWN, Level.UNKNOWN, Level.UNKNOWN)
        return Levels(self._levels["button"], self._levels["key"], self._levels["tamper"])

    def light(self, green: bool, yellow: bool, red: bool) -> None:
        """Remembers what would be lit."""
        self.lit = (green, yellow, red)

    def serial(self) -> str:
        """As given; a record armed on another board is foreign."""
        return self._serial

    def close(self) -> None:
        """Removes the socket."""
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _take_waiting(self) -> None:
        while True:
            try:
                data, sender = self._socket.recvfrom(_MAX_DATAGRAM)
            except BlockingIOError:
                return
            arrived_ns = time.monotonic_ns()
            self._answer(self._obey(data, arrived_ns), sender)
            if data.strip() == b"freeze":
                self._hang()

    def _obey(self, data: bytes, at_ns: int) -> bytes:
        command = data.decode("ascii", "replace").strip()
        if command in _CONTACTS:
            self._move(*_CONTACTS[command], at_ns)
        elif command == "glitch":
            self._move("button", Level.OPEN, at_ns)
            self._move("button", Level.CLOSED, at_ns)
        elif command.startswith("bounce ") and command[7:].isdigit():
            for _ in range(min(int(command[7:]), 1000)):
                self._move("button", Level.OPEN, at_ns)
                self._move("button", Level.CLOSED, at_ns)
            self._move("button", Level.OPEN, at_ns)
        elif command in ("fail", "mend"):
            self._failed = command == "fail"
        elif command == "state":
            return self._state().encode("ascii")
        elif command not in ("freeze", "thaw"):
            return b"what?"
        return b"ok"

    def _move(self, line: str, level: Level, at_ns: int) -> None:
        if self._levels[line] is not level:
            self._levels[line] = level
            self._edges.append(Edge(line, level, at_ns))

    def _hang(self) -> None:
        """As a driver stuck in the kernel: the guard's loop does not return until `thaw`."""
        while True:
            select.select([self._socket], [], [])
            data, sender = self._socket.recvfrom(_MAX_DATAGRAM)
            self._answer(b"ok", sender)
            if data.strip() == b"thaw":
                return

    def _state(self) -> str:
        lights = "".join(name if on else "-" for name, on in zip("GYR", self.lit, strict=True))
        contacts = " ".join(f"{line}={level.value}" for line, level in self._levels.items())
        return f"{contacts} lights={lights}"

    def _answer(self, text: bytes, sender: str | None) -> None:
        if not sender:
            return
        try:
            self._socket.sendto(text, sender)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ECONNREFUSED, errno.EAGAIN):
                raise BoardError(f"simulated board: cannot answer: {error}") from error

