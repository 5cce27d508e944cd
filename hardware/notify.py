"""The systemd notify protocol in a few lines, so that the guard depends on nothing but its pin driver."""

from __future__ import annotations

import os
import socket


class Notifier:
    """Sends READY, WATCHDOG and STATUS to $NOTIFY_SOCKET; without one, to nobody.

    Takes the address out of the environment, so that no child of the guard can speak for it.
    """

    def __init__(self) -> None:
        address = os.environ.pop("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        watchdog_us = os.environ.pop("WATCHDOG_USEC", "")
        self.watchdog_s = int(watchdog_us) / 1e6 / 2 if watchdog_us.isdigit() else 0

    def send(self, message: str) -> None:
        """Never blocks; a lost datagram is the service manager's business."""
        if not self._address:
            return
        try:
            self._socket.sendto(message.encode(), self._address)
        except OSError:
            return

    def close(self) -> None:
        """Gives the socket back."""
        self._socket.close()
