"""Where the alerter looks: both interlock pages and the audit log, all of it read-only.

The log is read on a thread of its own: a disk that stalls must not keep anybody from hearing of the button.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from appliance.audit.records import decode_entry
from appliance.domain.errors import InterlockError, PeerError
from appliance.runtime.guard_link import Glance
from appliance.safety.alert_facts import LOG_KINDS, CoreView, GuardView, LogLine
from appliance.storage.log_reader import LogReader
from appliance.storage.log_schema import DATABASE

LOOK_S = 0.25
STUCK_NS = 5_000_000_000
SETTLED_NS = 1_000_000_000
WINDOW = 100_000
"""Entries looked at in one round: after a long absence the thread goes on in pieces."""


class Pages:
    """Both pages, mapped again whenever the file behind a path is another one."""

    def __init__(self, runtime: Path) -> None:
        self._glance = Glance(runtime)

    def look(self) -> tuple[GuardView | None, CoreView | None]:
        """None for a page that is not there, of another boot or layout, or without a heartbeat yet."""
        self._glance.renew()
        guard = core = None
        if self._glance.guard_age_ns() is not None:
            w = self._glance.guard_words()
            guard = GuardView(
                heartbeat_ns=w["HEARTBEAT_NS"],
                state=w["STATE"],
                armed=w["ARMED"],
                complement=w["COMPLEMENT"],
                reason=w["REASON"],
                later=w["LATER"],
                last=w["LAST"],
                stored=w["STORED"],
                trip_ns=w["TRIP_NS"],
                levels=w["LEVELS"],
                tampers=w["TAMPERS"],
            )
        if self._glance.core_age_ns() is not None:
            w = self._glance.core_words()
            core = CoreView(
                heartbeat_ns=w["HEARTBEAT_NS"],
                generation=w["GENERATION"],
                holds=w["HOLDS"],
                degraded=w["DEGRADED"],
            )
        return guard, core


class Tail(Struct, frozen=True):
    """What the log brought since the last `take`. cursor: the next entry to read, None before the first
    round.  problem: why the log cannot be read, or ""."""

    lines: tuple[LogLine, ...]
    cursor: int | None
    problem: str


class LogTail(threading.Thread):
    """Follows the log from `cursor`; without one, from the start of the core that runs or ran last.

    Opens it anew for every round in which a file of it changed: so it never holds the writer's log open,
    follows a log that was replaced, and reads a store it may not write to.
    """

    def __init__(self, directory: Path, cursor: int | None) -> None:
        super().__init__(name="alert log tail", daemon=True)
        self._directory = directory
        self._cursor = cursor
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._lines: list[LogLine] = []
        self._problem = self._damage = ""
        self._signature: object = None
        self._round_ns = time.monotonic_ns()
        self.looked = threading.Event()  # set after the first round

    def take(self) -> Tail:
        """Never waits for the disk."""
        with self._lock:
            lines, self._lines = tuple(self._lines), []
            stuck = time.monotonic_ns() - self._round_ns > STUCK_NS
            return Tail(lines, self._cursor, "the disk does not answer" if stuck else self._problem)

    def close(self, timeout_s: float) -> None:
        """Ends the thread after its round, if it ends in time."""
        self._closing.set()
        self.join(timeout_s)

    def run(self) -> None:
        """Until `close`."""
        while True:
            try:
                (lines, cursor), problem = self._read(), self._damage
            except InterlockError as error:
                lines, cursor, problem = [], self._cursor, error.what
                self._signature = None
            with self._lock:
                self._lines += lines
                self._cursor, self._problem = cursor, problem
                self._round_ns = time.monotonic_ns()
            self.looked.set()
            if self._closing.wait(LOOK_S):
                return

    def _read(self) -> tuple[list[LogLine], int | None]:
        signature = tuple(self._stamps())
        if signature == self._signature:
            return [], self._cursor
        reader = LogReader(self._directory)
        try:
            size = reader.size()
            start = self._start(reader, size)
            stop = min(size, start + WINDOW)
            lines = sorted(self._lines_of(reader, start, stop), key=lambda line: line.index)
        finally:
            reader.close()
        # A commit in the same tick of the file system's clock leaves the same stamps: believe only old ones.
        settled = time.time_ns() - max((stamp[1] for stamp in signature if stamp), default=0) > SETTLED_NS
        self._signature = signature if stop == size and settled else None
        return lines, stop

    def _start(self, reader: LogReader, size: int) -> int:
        """A cursor beyond the end belongs to a log that was replaced."""
        if self._cursor is not None and self._cursor <= size:
            return self._cursor
        newest = reader.last_of_kind("start")
        return newest.index if newest is not None else size

    def _lines_of(self, reader: LogReader, start: int, stop: int) -> Iterator[LogLine]:
        for kind in LOG_KINDS:
            for entry in reader.entries_of_kind(kind, start):
                if entry.index >= stop:
                    break
                try:
                    data = decode_entry(entry.body).data
                except PeerError as error:
                    self._damage = f"entry {entry.index}: {error.what}"  # said, and read past
                else:
                    yield LogLine(index=entry.index, utc_ns=entry.utc_ns, kind=entry.kind, data=data)

    def _stamps(self) -> Iterator[tuple[int, int, int] | None]:
        """Every commit changes one of them: a write to the write-ahead log, or its copy to the database."""
        for name in (DATABASE, f"{DATABASE}-wal"):
            try:
                status = (self._directory / name).stat()
            except OSError:
                yield None
            else:
                yield status.st_ino, status.st_mtime_ns, status.st_size
