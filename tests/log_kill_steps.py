"""Where a process of the log may be killed, and the fuse that kills it there (tests.log_kill_runs)."""

from __future__ import annotations

import mmap
import os
import signal
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw

from appliance.storage.durable import REAL_IO, Io

DISK = (
    "database write", "database sync", "file write", "file fsync", "file rename",
)  # fmt: skip

STEPS: dict[str, tuple[str, ...]] = {
    "writer": (
        "started", "store open", "ready said", "group received", "entries durable", "durable said",
        "write-ahead log long", "write-ahead log emptied", "head durable", "checkpoint signed",
        "checkpoint persisted", "file published", "files durable", "checkpoint published", "published said",
        "file unlink", "file rmdir", *DISK,
    ),
    "collector": (
        "started", "stores open", "checkpoint offered", "head compared", "head stored", "co-signed",
        "entries uploaded", "entries proven", "entries stored", "copy whole", "copy vouched for",
        "upload answered", "place told", "database write", "database sync",
    ),
    "box": (
        "started", "log open", "appended", "acknowledged", "published heard", "offering", "answered",
        "keeping co-signature", "co-signature kept", "uploading", "upload answered", "keeping mirrored",
        "mirrored kept", "file write", "file fsync", "file rename",
    ),
}  # fmt: skip
"""Steps by who dies at them: box is the core's process, with the upstream client in it."""

_FORM = struct.Struct("=ii")


class Fuse:
    """Ends its process with SIGKILL at the n-th time of one step. In a file, so that another process sets it
    and sees afterwards whether it burned down."""

    def __init__(self, path: Path, who: str) -> None:
        self.steps = STEPS[who]
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _FORM.size)

    @classmethod
    def create(cls, path: Path, who: str) -> Fuse:
        """A new one, not set."""
        path.write_bytes(_FORM.pack(-1, 0))
        return cls(path, who)

    def set(self, step: str = "", times: int = 0) -> None:
        """times: 1 is the first. Without a step: never."""
        self._memory[:] = _FORM.pack(self.steps.index(step) if step else -1, times)

    @property
    def burned(self) -> bool:
        """It killed."""
        step, left = _FORM.unpack(self._memory[:])
        return bool(step >= 0 and left <= 0)

    def burn(self, name: str) -> None:
        """This step is reached."""
        step, left = _FORM.unpack(self._memory[:])
        if step == self.steps.index(name):
            self._memory[:] = _FORM.pack(step, left - 1)
            if left == 1:
                os.kill(os.getpid(), signal.SIGKILL)

    def io(self) -> Io:
        """The real system calls, a step behind each that this process has one for."""
        return Io(
            **{
                name: self._behind(f"file {name}", getattr(REAL_IO, name))
                for name in ("write", "fsync", "rename", "unlink", "rmdir")
                if f"file {name}" in self.steps
            }
        )

    def _behind(self, step: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            result = real(*arguments)
            self.burn(step)
            return result

        return call


class FusedFile(apsw.VFSFile):
    """A database file with a step behind each write and sync."""

    def __init__(self, name: str | apsw.URIFilename | None, flags: list[int], fuse: Fuse) -> None:
        self._fuse = fuse
        super().__init__("unix", name, flags)

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802 - SQLite's name
        super().xWrite(data, offset)
        self._fuse.burn("database write")

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        super().xSync(flags)
        self._fuse.burn("database sync")


class FusedVfs(apsw.VFS):
    """The real file layer with `FusedFile` in between, for everything this process opens."""

    def __init__(self, fuse: Fuse) -> None:
        self._fuse = fuse
        super().__init__("fused", "unix", makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return FusedFile(name, flags, self._fuse)


class Herald:
    """Tells the driver, in lines; what was told is told even if the teller dies the moment after."""

    def __init__(self, path: Path) -> None:
        self._fifo = os.open(path, os.O_WRONLY | os.O_CLOEXEC)

    def say(self, line: str) -> None:
        """One line, whole or not at all: shorter than PIPE_BUF."""
        os.write(self._fifo, line.encode() + b"\n")

    def head(self, who: str, size: int, root: bytes) -> None:
        """A head that somebody has seen, or could have."""
        self.say(f"head {size} {root.hex()} {who}")
