"""Where an upstream may be, and how its certificate is pinned. Every command reads this: nothing heavy."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

_PIN = re.compile("[0-9a-f]{64}")


def address_problem(url: str, pin: str) -> str:
    """Why an address cannot be used, empty if it can. What leaves the machine is encrypted."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return f"not http or https: {url!r}"
    if pin and (parts.scheme == "http" or not _PIN.fullmatch(pin)):
        return "a pin is 64 hexadecimal digits, the SHA-256 of the certificate of an https address"
    if parts.scheme == "http" and not _is_this_machine(parts.hostname):
        return f"{url!r} leaves this machine unencrypted; https is wanted, with a pin or a known authority"
    return ""


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
