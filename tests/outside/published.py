"""Reads the published files of a log (C2SP tlog-tiles) for verifiers that are not ours; judges nothing.

Nothing of Interlock is imported here or in the programs that use this, so that a fault of ours cannot hide
itself. What is missing or has another length than the head says is refused, because nothing can be read.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

WIDTH = 256
HASH = 32


class RefusedError(Exception):
    """The log is not what its head says, or cannot be read."""


class Head(NamedTuple):
    """What a checkpoint says once its signature was found good."""

    origin: str
    size: int
    root: bytes


Check = Callable[[Path, str, str | None], Head]


class Published:
    """The files below a log's prefix, as a log of `size` entries has them."""

    def __init__(self, directory: Path, size: int) -> None:
        self._directory = directory
        self.size = size

    def items(self, level: int) -> int:
        """How many hashes (or, at level -1, entries) the log has at a level."""
        return self.size >> 8 * max(level, 0)

    def tile(self, level: int, index: int) -> list[bytes]:
        """The hashes of a tile. Raises RefusedError if it is missing or has another length."""
        name, data, width, grown = self._read(level, index)
        if grown:
            data = data[: width * HASH]
        if len(data) != width * HASH:
            raise RefusedError(f"{name}: {len(data)} bytes where {width * HASH} are due")
        return [data[at : at + HASH] for at in range(0, len(data), HASH)]

    def bundle(self, index: int) -> list[bytes]:
        """The entries of a bundle. Raises RefusedError if it is missing, cut or too long."""
        name, data, width, grown = self._read(-1, index)
        entries, at = [], 0
        for number in range(index * WIDTH, index * WIDTH + width):
            start = at + 2
            at = start + int.from_bytes(data[at:start], "big")
            if start > len(data) or at > len(data):
                raise RefusedError(f"{name} is cut at entry {number}")
            entries.append(data[start:at])
        if at != len(data) and not grown:
            raise RefusedError(f"{name} holds more than its entries")
        return entries

    def _read(self, level: int, index: int) -> tuple[str, bytes, int, bool]:
        """Path, content, width; True if the log has grown past a partial tile and the full one was read."""
        width = min(WIDTH, self.items(level) - index * WIDTH)
        full = _path(level, index)
        name = full if width == WIDTH else f"{full}.p/{width}"
        for candidate in dict.fromkeys((name, full)):
            try:
                return candidate, (self._directory / candidate).read_bytes(), width, candidate != name
            except FileNotFoundError:
                continue
            except OSError as error:
                raise RefusedError(f"{candidate} cannot be read: {error.strerror}") from error
        raise RefusedError(f"{name} is missing")


def read_note(path: Path) -> str:
    """A checkpoint, or a key, as text. Raises RefusedError."""
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RefusedError(f"{path.name} cannot be read: {error}") from error


def parse_head(text: str, origin: str) -> Head:
    """The head in a note's text whose signature is known to be good. Raises RefusedError."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[0] != origin or not (lines[1].isascii() and lines[1].isdigit()):
        raise RefusedError(f"the checkpoint is none of {origin}")
    return Head(origin, int(lines[1]), decode64(lines[2]))


def parse_vkey(text: str) -> tuple[str, bytes, bytes]:
    """`name+id+base64(1 ‖ key)` → name, key id, Ed25519 public key. Raises RefusedError."""
    name, _, rest = text.partition("+")
    key = decode64(rest.partition("+")[2])
    key_id = hashlib.sha256(name.encode() + b"\n" + key).digest()[:4]
    if len(key) != 33 or key[0] != 1 or rest.partition("+")[0] != key_id.hex():
        raise RefusedError("this is no verifier key of a log")
    return name, key_id, key[1:]


def decode64(text: str) -> bytes:
    """Raises RefusedError for what is no base64."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise RefusedError(f"no base64: {text[:20]!r}") from error


def check_size(head: Head, seen: Head) -> bool:
    """False if there is nothing more to prove about a head seen before. Raises RefusedError."""
    if seen.size > head.size:
        raise RefusedError(f"the head of {head.size} is older than one seen before, of {seen.size}")
    if seen.size == head.size and seen.root != head.root:
        raise RefusedError(f"two heads of one size, {head.size}")
    return 0 < seen.size < head.size


def _path(level: int, index: int) -> str:
    head, last = divmod(index, 1000)
    name = f"{last:03d}"
    while head:
        head, last = divmod(head, 1000)
        name = f"x{last:03d}/{name}"
    return f"tile/{'entries' if level < 0 else level}/{name}"


def main(check: Check, tool: str, arguments: list[str] | None = None) -> int:
    """`LOG VKEY [--seen OLDER-CHECKPOINT]`; prints VERIFIED or REFUSED and why. 0 or 1."""
    parser = argparse.ArgumentParser(description=f"Checks a published audit log with {tool}.")
    parser.add_argument("log", type=Path, help="directory with checkpoint and tile/")
    parser.add_argument("vkey", type=Path, help="the log's verifier key, from its owner")
    parser.add_argument("--seen", type=Path, help="a checkpoint kept from an earlier look")
    given = parser.parse_args(arguments)
    try:
        seen = read_note(given.seen) if given.seen else None
        head = check(given.log, read_note(given.vkey).strip(), seen)
    except RefusedError as error:
        sys.stdout.write(f"REFUSED: {error}\n")
        return 1
    root = head.root.hex()[:16]
    sys.stdout.write(f"VERIFIED: {head.size} entries of {head.origin}, root {root} ({tool})\n")
    return 0
