"""The operator's socket under people and programs that mean no good: the button and the heartbeat go on."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.domain.errors import PeerMissingError
from appliance.runtime.operator_socket import ask_challenge, send_command
from hardware import pages
from hardware.operator_command import RESET_PEAK, Box, Moment, OperatorDesk, OperatorInbox
from hardware.operator_socket import MAX_REQUEST, OperatorSocket
from hardware.pages import GuardWord, Reason, Refusal
from tests.faults.flood_operator import exchange, requests
from tests.flow.test_guard_operator import PUBLIC, SEED, Console
from tests.processes import ROOT, running, until

FLOOD_PRESSES = 8


class Desk:
    """The socket's thread in this process, with a loop that is the test."""

    def __init__(self, runtime: Path) -> None:
        self.runtime = runtime
        self.page = memoryview(bytearray(pages.PAGE_SIZE)).cast("Q")
        self.inbox = OperatorInbox()
        desk = OperatorDesk(PUBLIC, Box("cid-1", "b" * 32, 1), lambda: Moment(3, 0), os.urandom)
        self.socket = OperatorSocket(runtime, desk, self.inbox, self.page, lambda: None)
        self.socket.start()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Listening."""
    made = Desk(tmp_path)
    yield made
    made.socket.finish()
    assert list(tmp_path.iterdir()) == []


def test_a_flood_does_not_stop_the_heartbeat_nor_the_button(tmp_path: Path) -> None:
    """Every loop stays younger than the 250 ms at which the core would hold, and every press trips."""
    box = Console(tmp_path)
    oldest_ns = 0
    with running(box.arguments, tmp_path / "guard.log"):
        until(lambda: box.alive() and (box.runtime / "operator.sock").exists(), "the guard")
        with running(["tests.faults.flood_operator", str(box.runtime)], tmp_path / "flood.log"):
            until(lambda: box.word(GuardWord.REFUSED) > 0, "the flood")
            for _ in range(FLOOD_PRESSES):
                before = box.word(GuardWord.STATE)
                box.send("press")
                until(lambda before=before: box.word(GuardWord.STATE) > before, "the trip")  # type: ignore[misc]
                box.send("release")
                until(lambda: box.word(GuardWord.PROVEN) == box.word(GuardWord.STATE), "the release")
                seen_ns = box.word(GuardWord.HEARTBEAT_NS)
                while box.word(GuardWord.HEARTBEAT_NS) - seen_ns < 300_000_000:
                    oldest_ns = max(oldest_ns, pages.age_ns(box.word(GuardWord.HEARTBEAT_NS)))
                    assert oldest_ns < 250_000_000
                    time.sleep(0)
            assert box.word(GuardWord.REFUSED) > 20, "it was a flood"
        assert box.word(GuardWord.REASON) == Reason.NEVER_ARMED
        assert box.word(GuardWord.ARM_PRESSES) == 0
        box._looked_ns = box.word(GuardWord.HEARTBEAT_NS)
        box.pause()
        assert box.command(ask_challenge(box.runtime)) == "STEP", "and then the operator is heard"


def test_packets_are_capped(desk: Desk) -> None:
    """The largest is looked at, one byte more is not; a real command fits."""
    line = ask_challenge(desk.runtime)
    assert len(f"command {line}\n") + 128 < MAX_REQUEST
    for size in (MAX_REQUEST, MAX_REQUEST + 1, 60_000):
        assert exchange(desk.runtime, b"x" * size).startswith(b"refused MALFORMED\t")
    padded = f"command {line}\n{SEED.sign(line.encode()).signature.hex()}".ljust(MAX_REQUEST + 1, "0")
    assert exchange(desk.runtime, padded.encode()).startswith(b"refused MALFORMED\t")
    assert desk.page[GuardWord.REFUSED] == 4
    assert desk.inbox.take() is None


@pytest.mark.parametrize(
    "request_",
    [
        b"challenge ",
        b"challenge disarm",
        b"challenge arm-step",
        b"challenge reset-peak ",
        b"challenge reset-peak\n",
        b"CHALLENGE reset-peak",
        b"challenge reset-peakreset-peak",
        b"reset-peak",
        b"challenge start-source",
        b"challenge start-source ",
        b"challenge start-source A",
        b"challenge start-source a b",
        b"challenge start-source " + b"a" * 33,
        b"challenge start-source a\n",
        b"challenge reset-peak a",
        b"challenge \xff",
    ],
)
def test_a_challenge_has_three_spellings_and_no_fourth(desk: Desk, request_: bytes) -> None:
    """Whatever else is asked is refused, and whatever stood is still the newest."""
    line = ask_challenge(desk.runtime, RESET_PEAK)
    assert exchange(desk.runtime, request_).startswith(b"refused MALFORMED\t")
    signed = f"command {line}\n{SEED.sign(line.encode()).signature.hex()}".encode()
    asking = threading.Thread(target=lambda: exchange(desk.runtime, signed, 10))
    asking.start()
    until(lambda: desk.inbox._commands, "the command in the inbox")
    command = desk.inbox.take()
    assert command is not None
    assert command.purpose == RESET_PEAK
    desk.inbox.settle(command.nonce, "PEAK_RESET")
    asking.join(10)


def test_a_client_that_says_nothing_is_hung_up_on(desk: Desk) -> None:
    """It has a second, then the next one's turn has come."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as silent:
        silent.connect(str(desk.runtime / "operator.sock"))
        assert ask_challenge(desk.runtime).startswith("interlock-operator/1 ")
        silent.settimeout(5)
        assert silent.recv(10) == b""
    assert desk.page[GuardWord.REFUSED] == 0


def test_a_client_that_leaves_before_its_answer_hurts_nobody(desk: Desk) -> None:
    """Closed at once, or after the question; and whoever comes while many wait gets a turn."""
    for request in (b"", b"challenge"):
        for _ in range(20):
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as link:
                link.connect(str(desk.runtime / "operator.sock"))
                if request:
                    link.send(request)
    assert ask_challenge(desk.runtime)


def test_another_user_gets_no_answer(desk: Desk) -> None:
    """SO_PEERCRED, should the directory's and the socket's modes ever fail."""
    desk.socket._allowed = (-1, -1)
    with pytest.raises(PeerMissingError, match="it hung up") as caught:
        ask_challenge(desk.runtime)
    assert "run it with sudo" in caught.value.do


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_a_real_other_user_cannot_even_connect(desk: Desk) -> None:
    """Mode 0600 already keeps it out; opened up by mistake, the credentials do."""
    reach = (
        "import os, socket, sys; os.chdir(sys.argv[1]); os.setgid(65534); os.setuid(65534)\n"
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.settimeout(5)\n"
        "s.connect('operator.sock')\n"
        "try: s.send(b'challenge'); heard = s.recv(10)\n"
        "except (ConnectionResetError, BrokenPipeError): heard = b''\n"
        "sys.exit(bool(heard))\n"
    )
    command = [sys.executable, "-c", reach, str(desk.runtime)]
    desk.runtime.chmod(0o755)
    refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert "PermissionError" in refused.stderr
    (desk.runtime / "operator.sock").chmod(0o666)
    ignored = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert (ignored.returncode, ignored.stderr) == (0, "")


def test_a_loop_that_does_not_answer_is_unknown(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is told "refused" about a command that may yet be taken."""
    monkeypatch.setattr("hardware.operator_socket._STORED_WITHIN_S", -2.0)
    line = ask_challenge(desk.runtime)
    signature = SEED.sign(line.encode()).signature.hex()
    with pytest.raises(Exception, match="what became of the command is not known"):
        send_command(desk.runtime, line, signature)
    assert desk.inbox.take() is not None


def test_the_loops_refusal_reaches_the_console(desk: Desk) -> None:
    """A press between signature and loop."""
    line = ask_challenge(desk.runtime)
    answers: list[bytes] = []
    signed = f"command {line}\n{SEED.sign(line.encode()).signature.hex()}".encode()
    asking = threading.Thread(target=lambda: answers.append(exchange(desk.runtime, signed, 10)))
    asking.start()
    until(lambda: desk.inbox._commands, "the command in the inbox")
    command = desk.inbox.take()
    assert command is not None
    desk.inbox.settle(command.nonce, Refusal.PRESSED.name)
    asking.join(10)
    assert answers[0].startswith(b"refused PRESSED\t")


def test_requests_leave_no_garbage(desk: Desk) -> None:
    """The guard never collects cycles (`realtime.quiet_interpreter`): what leaks here leaks for ever."""
    everything = requests(desk.runtime)
    for make in everything:
        exchange(desk.runtime, make())
    gc.collect()
    gc.disable()
    try:
        for number in range(60):
            exchange(desk.runtime, everything[number % len(everything)]())
        assert gc.collect() < 60, "less than one object for each request"
    finally:
        gc.enable()


def test_a_socket_that_cannot_be_made_leaves_the_button(tmp_path: Path) -> None:
    """Something stands where it belongs: no commands, said in one line, and the guard runs."""
    box = Console(tmp_path)
    (box.runtime / "operator.sock").mkdir()
    with running(box.arguments, tmp_path / "guard.log") as child:
        until(box.alive, "the guard's first heartbeat")
        assert "no operator commands: " in child.output()
        before = box.word(GuardWord.STATE)
        box.send("press")
        until(lambda: box.word(GuardWord.STATE) > before, "the trip")


def test_a_hung_driver_voids_the_command_that_waits(tmp_path: Path) -> None:
    """The loop hangs in the driver while the signature is looked at; when it comes back, it is too late."""
    box = Console(tmp_path)
    with running(box.arguments, tmp_path / "guard.log"):
        until(lambda: box.alive() and (box.runtime / "operator.sock").exists(), "the guard")
        box.prove()
        line = ask_challenge(box.runtime)
        signed = f"command {line}\n{SEED.sign(line.encode()).signature.hex()}".encode()
        box.send("freeze")
        answers: list[bytes] = []
        asking = threading.Thread(target=lambda: answers.append(exchange(box.runtime, signed, 20)))
        asking.start()
        frozen_ns = box.word(GuardWord.HEARTBEAT_NS)
        until(lambda: time.monotonic_ns() - frozen_ns > 3_000_000_000, "3 s of a hung driver")
        box.send("thaw")
        asking.join(20)
        assert answers[0].startswith(b"refused EXPIRED\t")
        assert box.word(GuardWord.ARM_PRESSES) == 0
