"""Measures what the state directory takes and what the disk has left, on a thread of its own (SAFETY 8).

A disk that stalls stops this thread and nothing else: the core sees how old the last measurement is. The
walk rests every few files, so that it takes the interpreter from nobody for long, and comes less often the
more files there are: up to some 40,000 files it costs no more than a hundredth of one processor.

What it found lies in `<runtime>/disk.json` too, for `interlock status`, which asks no process.
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from appliance.runtime.guard_link import boot_text
from appliance.runtime.paths import Paths
from appliance.safety.disk import DiskLevel, Room, next_level
from appliance.storage.log_schema import DATABASE, RESERVE

EVERY_S = 5.0
REST_FILES, REST_S = 64, 0.001
SHARE = 100  # a measurement that took 0.1 s of processor time is not repeated within 10 s …
LONGEST_S = 30.0  # … but well before the last one is too old to be believed
_BLOCK = 512
_SQLITE = struct.Struct(">16sH10xI4xI")  # magic, page size, pages, pages that hold nothing


class Reading(Struct, frozen=True):
    """room: None before the first measurement.  mono_ns: when it ended, at first when the thread was made."""

    level: DiskLevel
    room: Room | None
    mono_ns: int


class DiskNote(Struct, frozen=True, kw_only=True):
    """The file. boot, mono_ns: whose CLOCK_MONOTONIC.  Sizes in bytes.  reserve, wanted: allocated for exits,
    and configured."""

    boot: str
    mono_ns: int
    level: DiskLevel
    percent: int
    taken: int
    left: int
    quota: int
    reserve: int
    wanted: int


class DiskGauge(threading.Thread):
    """One per core. `reading` is written by the thread and read by everybody."""

    def __init__(self, paths: Paths, quota: int, reserve: int) -> None:
        """quota, reserve: as configured, in bytes."""
        super().__init__(name="disk gauge", daemon=True)
        self.reading = Reading(DiskLevel.OK, None, time.monotonic_ns())
        self._paths = paths
        self._quota = quota
        self._reserve = reserve
        self._wake = threading.Event()
        self._closing = False

    def again(self) -> None:
        """Something changed: measures at once."""
        self._wake.set()

    def close(self) -> None:
        """Ends the thread after its measurement; nobody waits for it."""
        self._closing = True
        self._wake.set()

    def run(self) -> None:
        """Until `close`."""
        while not self._closing:
            self._wake.clear()
            began_ns = time.thread_time_ns()
            with contextlib.suppress(OSError):  # the reading grows old, and that is what counts
                self.measure()
            spent_s = (time.thread_time_ns() - began_ns) / 1e9
            self._wake.wait(min(max(EVERY_S, SHARE * spent_s), LONGEST_S))

    def measure(self) -> None:
        """One measurement. Raises OSError if the disk cannot be read."""
        taken = directory_bytes(self._paths.state) - reusable_bytes(self._paths.log / DATABASE)
        room = Room(max(0, taken), self._quota, free_bytes(self._paths.log))
        reading = Reading(next_level(self.reading.level, room), room, time.monotonic_ns())
        self.reading = reading
        note = DiskNote(
            boot=boot_text(),
            mono_ns=reading.mono_ns,
            level=reading.level,
            percent=room.percent,
            taken=room.taken,
            left=room.left,
            quota=room.quota,
            reserve=_file_bytes(self._paths.log / RESERVE),
            wanted=self._reserve,
        )
        write_note(self._paths.disk_note, note)


def directory_bytes(directory: Path, rest: Callable[[float], None] = time.sleep) -> int:
    """Blocks taken by everything below it, links not followed. What vanishes meanwhile, and what only another
    user may list, counts as nothing. Raises OSError."""
    taken = 0
    for number, entry in enumerate(_walk(directory), 1):
        with contextlib.suppress(FileNotFoundError, PermissionError):
            taken += entry.stat(follow_symlinks=False).st_blocks * _BLOCK
        if number % REST_FILES == 0:
            rest(REST_S)
    return taken


def reusable_bytes(database: Path) -> int:
    """What the log's database will fill before it grows: pages that pruning let go. They count as left of the
    quota, not of the disk. As of the last time the write-ahead log was copied; 0 for what is no database."""
    with contextlib.suppress(OSError), database.open("rb") as file:
        head = file.read(_SQLITE.size)
        if len(head) == _SQLITE.size and head.startswith(b"SQLite format 3\0"):
            _, page, pages, free = _SQLITE.unpack(head)
            return int(min(free, pages)) * (65_536 if page == 1 else int(page))
    return 0


def free_bytes(directory: Path) -> int:
    """What its file system would still give a process without privileges. Raises OSError."""
    room = os.statvfs(directory)
    return room.f_bavail * room.f_frsize


def write_note(path: Path, note: DiskNote) -> None:
    """Replaces the file as a whole; not durable. Raises OSError."""
    temp = path.with_name(f".{path.name}.tmp")
    temp.write_bytes(msgspec.json.encode(note))
    temp.replace(path)


def read_note(path: Path) -> DiskNote | None:
    """None if there is none of this boot."""
    try:
        note = msgspec.json.decode(path.read_bytes(), type=DiskNote)
    except (OSError, msgspec.MsgspecError):
        return None
    return note if note.boot == boot_text() else None


def _walk(directory: Path) -> Iterator[os.DirEntry[str]]:
    waiting = [str(directory)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    yield entry
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue


def _file_bytes(path: Path) -> int:
    try:
        status = path.stat()
    except FileNotFoundError:
        return 0
    return min(status.st_size, status.st_blocks * _BLOCK)
