"""Moves the contacts of a simulated board: `interlock board`, and the arm presses of the demo.

The board's commands are documented in `hardware/board_simulated.py`; guard and core share no code but the
pages, so this is the protocol's other end and not an import of it.
"""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Callable
from pathlib import Path

from appliance.domain.errors import PeerError, PeerMissingError

SOCKET = "board.sock"
KEY_OPEN_S = 1.2
KEY_CLOSED_S = 3.2
_MAX_ANSWER = 512
_COUNT = itertools.count()


def command_board(runtime: Path, command: str, timeout_s: float = 2.0) -> str:
    """Sends one command and returns the answer. Raises PeerMissingError when no simulated board answers."""
    mine = runtime / f"b{os.getpid()}-{next(_COUNT)}.sock"  # short: a socket's path has 107 bytes
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.settimeout(timeout_s)
        try:
            link.bind(str(mine))
            link.sendto(command.encode("ascii"), str(runtime / SOCKET))
            answer = link.recv(_MAX_ANSWER).decode("ascii")
        except OSError as error:
            raise PeerMissingError(
                "no simulated board answers", f"{error} ({runtime / SOCKET})", "interlock up"
            ) from error
        finally:
            mine.unlink(missing_ok=True)
    if answer == "what?":
        raise PeerError(f"the simulated board does not know {command!r}")
    return answer


def prove_button(runtime: Path, sleep: Callable[[float], None]) -> None:
    """The proof test: press and release (SAFETY 6)."""
    command_board(runtime, "press")
    sleep(0.2)
    command_board(runtime, "release")
    sleep(0.2)


def arm_press(runtime: Path, sleep: Callable[[float], None]) -> None:
    """One arm press in real time: key open for more than 1 s, closed for more than 3 s, released."""
    command_board(runtime, "key open")
    sleep(KEY_OPEN_S)
    command_board(runtime, "key close")
    sleep(KEY_CLOSED_S)
    command_board(runtime, "key open")
