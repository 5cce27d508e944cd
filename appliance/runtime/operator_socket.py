"""The console's end of the guard's operator socket: asks for a challenge, delivers a signature.

The protocol is documented in `hardware/operator_socket.py`; guard and core share no code but the pages, so
this is its other end and not an import of it.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path

from appliance.domain.errors import InterlockError, PeerError, PeerMissingError
from appliance.domain.exit_codes import ExitCode

SOCKET = "operator.sock"
ARM_STEP, RESET_PEAK, START_SOURCE = "arm-step", "reset-peak", "start-source"
TIMEOUT_S = 15.0
_MAX_ANSWER = 4096
_AGAIN_S = 0.05


class CommandRefusedError(InterlockError):
    """The guard looked at the command and said no; its own words, with the reason's code."""

    exit_code = ExitCode.SAID_NO


def ask_challenge(runtime: Path, purpose: str = ARM_STEP, subject: str = "") -> str:
    """One line to sign for this purpose, good for 60 s and once. Raises PeerMissingError where no guard takes
    commands."""
    words = ("challenge", "" if purpose == ARM_STEP else purpose, subject)
    request = " ".join(word for word in words if word)
    verb, _, line = _exchange(runtime, request).partition(" ")
    if verb != "challenge":
        raise PeerError("the guard gave no challenge", verb)
    return line


def send_command(runtime: Path, line: str, signature: str) -> str:
    """Delivers a signed challenge; the name of its outcome. Raises CommandRefusedError."""
    answer = _exchange(runtime, f"command {line}\n{signature}")
    verb, _, rest = answer.partition(" ")
    if verb == "done":
        return rest
    if verb == "refused":
        reason, _, explained = rest.partition("\t")
        why, _, do = explained.partition("\t")
        raise CommandRefusedError("the guard refused the command", f"{why} ({reason})", do)
    why = f"the guard's loop did not answer ({verb})"
    raise PeerError("what became of the command is not known", why, "interlock status")


def _exchange(runtime: Path, request: str) -> str:
    path = runtime / SOCKET
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as link:
            _connect(link, path)
            link.sendall(request.encode("ascii"))
            answer = link.recv(_MAX_ANSWER).decode("ascii")
    except FileNotFoundError as error:
        raise PeerMissingError(
            "the guard takes no operator commands",
            f"it does not run, or [operator] key in guard.toml is empty (no {path})",
            "interlock status; without a key: interlock operator keygen --out FILE (off the box), put what it"
            " prints into guard.toml in the state directory that interlock init made, restart the guard",
        ) from error
    except (PermissionError, ConnectionResetError, BrokenPipeError) as error:
        raise _wrong_user(path) from error
    except OSError as error:
        raise PeerMissingError("the guard did not answer", f"{error} ({path})", "interlock status") from error
    if not answer:
        raise _wrong_user(path)
    return answer


def _connect(link: socket.socket, path: Path) -> None:
    """Waits while the guard has others to serve: with a full queue a connect with a timeout fails at once."""
    link.settimeout(TIMEOUT_S)
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            return link.connect(str(path))
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_AGAIN_S)


def _wrong_user(path: Path) -> PeerMissingError:
    why = f"it hung up or is not reachable: it answers root and the user it runs as ({path})"
    return PeerMissingError("the guard did not answer", why, "run it with sudo, on the box's console")
