"""The disk reserve as everybody sees it: the log writer owns it, the core judges by it (SAFETY 8). R0."""

from __future__ import annotations

from msgspec import Struct


class DiskReserve(Struct, frozen=True):
    """held, wanted: bytes.  given: the log writes on what was given back.  why: it is not whole, or ""."""

    held: int
    wanted: int
    given: bool = False
    why: str = ""

    @property
    def missing(self) -> int:
        """Bytes that are not allocated."""
        return max(0, self.wanted - self.held)
