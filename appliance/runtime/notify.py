"""Readiness, watchdog and status for systemd, through systemd-python (ARCHITECTURE; STYLE habit 13).

The watchdog is fed only when the safety loop has made progress since the last time. The notify socket is
taken out of the environment, so that no child can speak for the core.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable
from typing import Any


class SystemdNotifier:
    """Silent where no service manager asked to be told."""

    def __init__(self) -> None:
        self._address = os.environ.pop("NOTIFY_SOCKET", "")
        microseconds = os.environ.pop("WATCHDOG_USEC", "")
        self.watchdog_s = int(microseconds) / 2e6 if microseconds.isdigit() else 0.0
        self._send: Callable[..., Any] | None = None
        if self._address:
            # `import systemd` alone also succeeds on the folder of that name: ask for what is needed.
            self._send = importlib.import_module("systemd.daemon").notify
        self._rounds = -1

    def tell(self, message: str) -> None:
        """Sends one notification. Whoever calls goes on if nobody listens: a PID 1 that froze has closed its
        sockets, and somebody has to mind the orders until the hardware watchdog resets the box."""
        if self._send is None:
            return
        os.environ["NOTIFY_SOCKET"] = self._address
        try:
            with contextlib.suppress(OSError):
                self._send(message)
        finally:
            os.environ.pop("NOTIFY_SOCKET", None)

    def feed(self, rounds: int) -> None:
        """Feeds the watchdog if the safety loop has gone round since."""
        if rounds != self._rounds:
            self._rounds = rounds
            self.tell("WATCHDOG=1")
