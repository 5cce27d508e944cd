"""The disk reserve: blocks the log may write on when nobody else can write any more (SAFETY 8).

A file beside the log's database, allocated and never written to. When a write of the log finds no space, the
log writer, its only owner, gives the blocks back and writes again; what passes then is exits, the trip and
what explains them, because the core has shut the gate before it hears that anything is durable. A crash
after that leaves an empty file: the next writer allocates it again, or says why it cannot.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from appliance.domain.disk import DiskReserve
from appliance.domain.errors import StoreError
from appliance.storage.durable import NO_SPACE

SLACK = 1024 * 1024
"""Bytes that stay free beside a new reserve: allocating it must not be what fills the disk."""

_BLOCK = 512  # the unit of st_blocks, whatever the file system's own


class ReserveFile:
    """The log writer's end. `on_change` is called with every change, before anything is written on it."""

    def __init__(self, path: Path, wanted: int) -> None:
        """wanted: bytes, 0 for no reserve. Touches nothing yet."""
        self.on_change: Callable[[], None] = lambda: None
        self._path = path
        self._wanted = wanted
        self._held = 0
        self._given = False
        self._why = "not allocated yet" if wanted else ""

    def state(self) -> DiskReserve:
        """What the core hears."""
        return DiskReserve(self._held, self._wanted, self._given, self._why)

    def find(self) -> None:
        """Takes over what an earlier writer allocated; allocates nothing. Never raises."""
        if self._wanted:
            try:
                with self._open() as handle:
                    self._held = _allocated(handle)
            except OSError as error:
                self._why = error.strerror or str(error)

    def fill(self) -> None:
        """Makes the reserve whole, or none at all, and says why: a box without one starts, and holds.

        Raises StoreError for a failed fsync alone: that is a bad disk, whatever the file was for.
        """
        if not self._wanted:
            return
        try:
            with self._open() as handle:
                try:
                    self._allocate(handle)
                except OSError:
                    self._held = 0
                    os.ftruncate(handle, 0)  # half a reserve takes room and keeps no promise
                    raise
            self._held, self._given, self._why = self._wanted, False, ""
        except OSError as error:
            self._why = error.strerror or str(error)
        self.on_change()

    def give_back(self) -> bool:
        """Frees the blocks, durably: until then a journalling file system may count them as taken.

        False if there are none. Raises StoreError.
        """
        if not self._held:
            return False
        try:
            with self._open() as handle:
                os.ftruncate(handle, 0)
                os.fsync(handle)
        except OSError as error:
            why = f"{error.strerror or error} ({self._path})"
            raise StoreError("the disk reserve cannot be given back", why) from error
        self._held, self._given, self._why = 0, True, "given back to the log: the disk was full"
        self.on_change()
        return True

    def _allocate(self, handle: int) -> None:
        missing = self._wanted - _allocated(handle)
        if missing > 0:
            room = os.fstatvfs(handle)
            free = room.f_bavail * room.f_frsize
            if free < missing + SLACK:
                raise OSError(errno.ENOSPC, f"{free} bytes are free, {missing + SLACK} are needed")
            os.posix_fallocate(handle, 0, self._wanted)
        elif os.fstat(handle).st_size == self._wanted:
            return
        os.ftruncate(handle, self._wanted)
        self._sync(handle)
        if _allocated(handle) < self._wanted:
            raise OSError(errno.EOPNOTSUPP, "the file system does not allocate in advance")

    def _sync(self, handle: int) -> None:
        try:
            os.fsync(handle)
        except OSError as error:
            if error.errno in NO_SPACE:
                raise  # nothing but the reserve itself is lost
            why = f"{error.strerror or error} ({self._path})"
            raise StoreError("the disk reserve cannot be made durable", why) from error

    @contextlib.contextmanager
    def _open(self) -> Iterator[int]:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(self._path, flags, 0o600)
        try:
            yield handle
        finally:
            os.close(handle)


def _allocated(handle: int) -> int:
    """Bytes with blocks of their own; a hole is none."""
    status = os.fstat(handle)
    return min(status.st_size, status.st_blocks * _BLOCK)
