"""`python -m tests.faults.flood_operator RUNTIME`: floods the operator's socket until it is ended.

Four connections at a time: garbage, oversize packets, challenges, signatures that reach the verifier, clients
that connect and say nothing. Whoever can do this already owns the box; it must still not stop the heartbeat.
"""

from __future__ import annotations

import itertools
import os
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

SILENT = b""


def exchange(runtime: Path, request: bytes, patience_s: float = 3.0) -> bytes:
    """One packet and its answer; empty if the guard hung up or had no time for us."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as link:
        link.settimeout(patience_s)
        try:
            link.connect(str(runtime / "operator.sock"))
            if request:
                link.send(request)
            return link.recv(4096)
        except OSError:
            return b""


def _forged(runtime: Path, ask: bytes = b"challenge") -> bytes:
    line = exchange(runtime, ask).removeprefix(b"challenge ")
    return b"command " + line + b"\n" + os.urandom(63).hex().encode() + b"00"


def requests(runtime: Path) -> tuple[Callable[[], bytes], ...]:
    """Each makes one request; SILENT connects and says nothing."""
    return (
        lambda: os.urandom(900),
        lambda: os.urandom(60_000),
        lambda: b"challenge",
        lambda: _forged(runtime),
        lambda: _forged(runtime, b"challenge reset-peak"),
        lambda: b"challenge " + os.urandom(12).hex().encode(),
        lambda: b"command " + b"x" * 900 + b"\n" + b"0" * 128,
        lambda: b"command interlock-operator/1 \xff\n",
    )


def _flood(runtime: Path) -> None:
    for number in itertools.count():
        kinds = requests(runtime)
        exchange(runtime, kinds[number % len(kinds)]())
        if number % 200 == 199:
            exchange(runtime, SILENT, 0.5)


if __name__ == "__main__":
    for _ in range(4):
        threading.Thread(target=_flood, args=(Path(sys.argv[1]),), daemon=True).start()
    threading.Event().wait()
