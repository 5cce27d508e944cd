"""A pre-allocated ring of records in memory (`/run`): what must be said although the log cannot wait.

One writer per file. Nothing is allocated and nothing waits when a record is written: an exit must leave with
a full disk and a dead card (SAFETY 8). The ring survives its writer, not a power cut; what it holds is owed
to the log and repaid as GAP entries by the next core (`runtime.owed`).

    header  magic 8 · ring id u64 · bytes of a slot u32 · slots u32
    slot    sequence u64 (0: empty) · length u32 · crc32 u32 of sequence, length and body · body

A crash in the middle of a write leaves one slot whose checksum is wrong; it is counted, never shown.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import secrets
import struct
import zlib
from pathlib import Path

from msgspec import Struct

from appliance.domain.errors import BusyError, CannotCreateError, InvariantError, StoreError

SLOT_BYTES, SLOTS = 2048, 256
_HEADER = struct.Struct("<8sQII")
_SLOT = struct.Struct("<QII")
_MAGIC = b"ILKRING1"
_START = 64


class Found(Struct, frozen=True):
    """Records after a sequence number, oldest first. lost: overwritten or torn ones among them."""

    ring: str
    records: tuple[tuple[int, bytes], ...]
    lost: int


class Ring:
    """The writer's end. Raises BusyError if another process writes this ring, StoreError if it is no ring."""

    def __init__(self, path: Path, slots: int = SLOTS, slot_bytes: int = SLOT_BYTES) -> None:
        """Creates the file in full where it is absent; an existing one goes on where it ended."""
        self.path = path
        _create(path, slots, slot_bytes)
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._map = mmap.mmap(self._file, os.fstat(self._file).st_size)
            _, self._slot_bytes, self._slots = _layout(self._map, path)
        except BlockingIOError as error:
            os.close(self._file)
            raise BusyError("the ring has a writer already", str(path)) from error
        except StoreError:
            os.close(self._file)
            raise
        except (OSError, ValueError) as error:
            os.close(self._file)
            raise StoreError("the ring cannot be mapped", f"{error} ({path})") from error
        self._next = max((number for number, _ in _records(self._map, path)[0]), default=0) + 1

    def append(self, body: bytes) -> int:
        """Writes one record; returns its sequence number. No system call, no allocation on disk."""
        if len(body) > self._slot_bytes - _SLOT.size:
            raise InvariantError("a record does not fit the ring", f"{len(body)} bytes ({self.path})")
        number = self._next
        self._next += 1
        at = _START + number % self._slots * self._slot_bytes
        checksum = zlib.crc32(body, zlib.crc32(struct.pack("<QI", number, len(body))))
        self._map[at + _SLOT.size : at + _SLOT.size + len(body)] = body
        _SLOT.pack_into(self._map, at, number, len(body), checksum)
        return number

    def close(self) -> None:
        """Lets go; the file stays."""
        self._map.close()
        os.close(self._file)


def read_ring(path: Path, ring: str = "", after: int = 0) -> Found:
    """Everybody's view. ring, after: what the reader has seen; another ring is read from its beginning.

    Raises StoreError for a file that is no ring; an absent one is empty.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Found("", (), 0)
    except OSError as error:
        raise StoreError("the ring cannot be read", f"{error.strerror} ({path})") from error
    identity, _, _ = _layout(data, path)
    start = after if identity == ring else 0
    found, torn = _records(data, path)
    fresh = tuple(sorted(record for record in found if record[0] > start))
    missing = fresh[-1][0] - start - len(fresh) if fresh else torn
    return Found(identity, fresh, missing)


def _create(path: Path, slots: int, slot_bytes: int) -> None:
    """Whole or not at all: written beside and linked, so that a crash leaves no half a ring."""
    if path.exists():
        return
    temp = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        handle = os.open(temp, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(handle, 0, _START + slots * slot_bytes)
            os.pwrite(handle, _HEADER.pack(_MAGIC, secrets.randbits(64), slot_bytes, slots), 0)
        finally:
            os.close(handle)
        temp.rename(path)
    except OSError as error:
        temp.unlink(missing_ok=True)
        raise CannotCreateError("the ring cannot be made", f"{error.strerror} ({path})") from error


def _layout(data: bytes | mmap.mmap, path: Path) -> tuple[str, int, int]:
    """Ring id, bytes of a slot, slots."""
    if len(data) >= _START:
        magic, identity, slot_bytes, slots = _HEADER.unpack_from(data)
        if magic == _MAGIC and slot_bytes > _SLOT.size and len(data) == _START + slots * slot_bytes:
            return f"{identity:016x}", slot_bytes, slots
    raise StoreError("this is no ring", str(path), f"rm {path}; what it owed the log is lost")


def _records(data: bytes | mmap.mmap, path: Path) -> tuple[list[tuple[int, bytes]], int]:
    """Whole records in no order, and the number of torn ones."""
    _, slot_bytes, slots = _layout(data, path)
    found, torn = [], 0
    for slot in range(slots):
        at = _START + slot * slot_bytes
        number, length, checksum = _SLOT.unpack_from(data, at)
        if not number:
            continue
        body = bytes(data[at + _SLOT.size : at + _SLOT.size + min(length, slot_bytes)])
        if zlib.crc32(body, zlib.crc32(struct.pack("<QI", number, length))) == checksum:
            found.append((number, body))
        else:
            torn += 1
    return found, torn
