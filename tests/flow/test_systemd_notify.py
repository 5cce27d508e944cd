"""Both daemons speak to a service manager: READY after everything is open, watchdog while the loops turn."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.runtime.notify import SystemdNotifier
from hardware import pages
from hardware.config import EXAMPLE
from hardware.notify import Notifier
from tests.box import Box
from tests.processes import running


class Manager:
    """The end of $NOTIFY_SOCKET a service manager holds."""

    def __init__(self, folder: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(folder / "notify"))
        self._socket.settimeout(30)
        self.env = {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "1000000"}

    def until(self, wanted: str) -> list[str]:
        """Everything told up to and including `wanted`."""
        told: list[str] = []
        while not any(wanted in message for message in told):
            told += self._socket.recv(4096).decode().splitlines()
        return told

    def pings_before_silence(self, silence_s: float) -> int:
        """How many watchdog pings came before nothing was told for so long."""
        self._socket.settimeout(silence_s)
        pings = 0
        while True:
            try:
                pings += b"WATCHDOG=1" in self._socket.recv(4096)
            except TimeoutError:
                return pings

    def close(self) -> None:
        """Ends listening."""
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """A service manager's socket."""
    made = Manager(tmp_path)
    yield made
    made.close()


def _guard(tmp_path: Path) -> tuple[list[str], Path]:
    state, runtime = tmp_path / "state", tmp_path / "run"
    (state / "latch").mkdir(parents=True)
    runtime.mkdir(mode=0o700)
    (state / "guard.toml").write_text(EXAMPLE.read_text())
    pages.create_pages(runtime)
    return ["hardware.main", "--state", str(state), "--runtime", str(runtime)], runtime


def test_the_core_tells_ready_watchdog_status_and_stopping(tmp_path: Path, manager: Manager) -> None:
    """Through systemd-python; READY comes before the first watchdog ping counts."""
    box = Box(tmp_path / "box")
    arguments = ["appliance", "run", *box.where, "--unattended", "--wait-for-arm"]
    config = box.config.read_text().replace('transport = "process" ', 'transport = "in-process" ')
    box.config.write_text(config)
    with running(arguments, tmp_path / "core.log", manager.env) as core:
        told = manager.until("READY=1")
        assert not any("Error" in line for line in core.output().splitlines())
        told += manager.until("WATCHDOG=1")
        assert any(message.startswith("STATUS=PAUSED") for message in [*told, *manager.until("STATUS=")])
        assert core.stop() == 0
        manager.until("STOPPING=1")


def test_the_guard_tells_ready_and_feeds_the_watchdog(tmp_path: Path, manager: Manager) -> None:
    """In a few lines of its own, without any library."""
    arguments, _ = _guard(tmp_path)
    with running(arguments, tmp_path / "guard.log", manager.env) as guard:
        manager.until("READY=1")
        manager.until("WATCHDOG=1")
        manager.until("WATCHDOG=1")
        assert guard.stop() == 0
        manager.until("STOPPING=1")


def test_a_frozen_guard_is_not_fed(tmp_path: Path, manager: Manager) -> None:
    """The lights thread feeds the watchdog only while the loop that reads the lines goes round."""
    from appliance.runtime.board_socket import command_board

    arguments, runtime = _guard(tmp_path)
    with running(arguments, tmp_path / "guard.log", manager.env):
        manager.until("WATCHDOG=1")
        command_board(runtime, "freeze")
        assert manager.pings_before_silence(1.5) <= 2
        command_board(runtime, "thaw")


def test_no_child_can_speak_for_the_daemon() -> None:
    """The address is taken out of the environment."""
    for kind in (SystemdNotifier, Notifier):
        os.environ["NOTIFY_SOCKET"] = "/nowhere"
        os.environ["WATCHDOG_USEC"] = "2000000"
        made = kind()
        assert {"NOTIFY_SOCKET", "WATCHDOG_USEC"} & set(os.environ) == set()
        assert made.watchdog_s == 1.0
        if isinstance(made, Notifier):
            made.close()


@pytest.mark.parametrize("kind", [SystemdNotifier, Notifier])
@pytest.mark.parametrize("gone", [False, True])
def test_a_service_manager_that_died_ends_nobody(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    manager: Manager,
    kind: type[SystemdNotifier | Notifier],
    *,
    gone: bool,
) -> None:
    """A frozen PID 1 closes its sockets: until the hardware watchdog resets the box, both daemons go on."""
    for name, value in manager.env.items():
        monkeypatch.setenv(name, value)
    notifier = kind()
    tell = notifier.tell if isinstance(notifier, SystemdNotifier) else notifier.send
    tell("STATUS=here")
    assert manager.until("STATUS") == ["STATUS=here"]
    manager.close()
    if gone:
        (tmp_path / "notify").unlink()
    tell("STATUS=nobody listens")
    assert "NOTIFY_SOCKET" not in os.environ
    if isinstance(notifier, Notifier):
        notifier.close()
