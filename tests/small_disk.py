"""A small file system of its own that a test may fill: real ENOSPC instead of a pretended one.

A tmpfs in memory, or an ext4 in a file. Both need the right to mount; without it these tests are skipped and
say so.
"""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

MIB = 1024 * 1024


class SmallDisk:
    """A mounted file system. `fill` and `drain` work on a file without a name.

    It takes the disk's room, and is nothing the box has written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = -1

    def free(self) -> int:
        """Bytes anybody could still take."""
        room = os.statvfs(self.path)
        return room.f_bavail * room.f_frsize

    def fill(self, leave: int = 0) -> None:
        """Takes what is free but for `leave` bytes."""
        if self._filler < 0:
            name = self.path / "filler"
            self._filler = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC)
            name.unlink()
        try:
            while (free := self.free() - leave) > 0:
                os.write(self._filler, bytes(min(free, MIB)))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise

    def drain(self) -> None:
        """Gives it all back."""
        if self._filler >= 0:
            os.close(self._filler)
            self._filler = -1


def _needed(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        refused = done.stderr.strip() if done.returncode else ""
    except FileNotFoundError as error:
        refused = str(error)
    if refused:
        pytest.skip(f"NOT SHOWN HERE: a really full disk needs the right to mount one ({refused})")


@contextlib.contextmanager
def small_disk(path: Path, size: int, kind: str = "tmpfs") -> Iterator[SmallDisk]:
    """A file system of `size` bytes at `path`, gone with the block. Skips where mounting is refused."""
    path.mkdir(exist_ok=True)
    if kind == "ext4":
        image = path.with_name(f"{path.name}.ext4")
        with image.open("wb") as file:
            file.truncate(size)
        _needed("mkfs.ext4", "-q", "-F", "-m", "0", str(image))  # -m 0: none kept back for root
        _needed("mount", "-o", "loop", str(image), str(path))
    else:
        _needed("mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "interlock-test", str(path))
    disk = SmallDisk(path)
    try:
        yield disk
    finally:
        disk.drain()
        subprocess.run(["umount", "--lazy", str(path)], check=True)
