"""Loopback ports for tests that start whole appliances: free ones, so that two runs never meet."""

from __future__ import annotations

import re
import socket
import tomllib
from pathlib import Path


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def with_ports(config: Path, ports: list[int]) -> int:
    """Puts page, collector and paper venue of a demo configuration on `ports`; returns the page's."""
    page, collector, venue = ports
    text = config.read_text()
    for old, new in (("8480", page), ("8482", collector), ("8483", venue)):
        text = re.sub(rf"\b{old}\b", str(new), text)
    config.write_text(text)
    return page


def ports_of(config: Path) -> dict[str, int]:
    """What page, collector and venue listen on, by the configuration in force."""
    document = tomllib.loads(config.read_text())
    return {
        "page": document["web"]["port"],
        "collector": document["upstream"]["collector_port"],
        "venue": document["venue"]["port"],
    }
