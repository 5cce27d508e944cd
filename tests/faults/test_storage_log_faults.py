"""Every write and fsync of the log fails once: what was acknowledged stays, nothing forks (SAFETY 8)."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import apsw
import pytest

from appliance.audit.checkpoint import parse_checkpoint
from appliance.audit.notes import parse_note
from appliance.audit.verify import verify
from appliance.domain.errors import NoSpaceError, StoreError
from appliance.storage.durable import REAL_IO, Io
from appliance.storage.keys import read_signing_key
from appliance.storage.log_client import LogSettings
from appliance.storage.log_reader import LogReader
from appliance.storage.log_store import LogStore
from appliance.storage.log_wire import Append, EntryRow
from tests.audit_support import MemoryLog, body, many_copies, new_log, trust

STEPS = (3, 255, 258)
"""Sizes committed one after the other, each published: crosses a full tile once."""


class Plan:
    """Counts system calls of files and database alike; the n-th fails before or after its effect."""

    def __init__(self, fail_at: int = -1, *, late: bool = False, full: bool = False) -> None:
        self.count = self.lived = 0
        self.hit = ""
        self._fail_at, self._late, self._full = fail_at, late, full

    def call(self, name: str, real: Callable[..., Any], *arguments: Any) -> Any:
        failing = self.count == self._fail_at
        self.count += 1
        if not failing:
            return real(*arguments)
        self.hit = name
        if self._late:
            real(*arguments)
        raise OSError(errno.ENOSPC if self._full else errno.EIO, name)

    def io(self) -> Io:
        names = ("write", "fsync", "rename", "link", "unlink", "rmdir", "mkdir")
        return Io(**{name: self._wrap(name, getattr(REAL_IO, name)) for name in names})

    def _wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any) -> Any:
            if name == "unlink" and not os.path.lexists(arguments[0]):
                return real(*arguments)  # looking for a leftover that is not there
            return self.call(name, real, *arguments)

        return wrapped

    def error(self) -> apsw.Error:
        """What SQLite's own file layer says in this case."""
        if self._full:
            return apsw.FullError("disk full")
        return apsw.IOError("input/output error")


class FaultyFile(apsw.VFSFile):
    """A database file whose writes and syncs follow the plan."""

    def __init__(self, name: str | apsw.URIFilename | None, flags: list[int], plan: Plan) -> None:
        self._plan = plan
        super().__init__("", name, flags)

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802 - SQLite's name
        self._do("db write", super().xWrite, data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        self._do("db sync", super().xSync, flags)

    def _do(self, name: str, real: Callable[..., Any], *arguments: Any) -> None:
        try:
            self._plan.call(name, real, *arguments)
        except OSError as error:
            raise self._plan.error() from error


class FaultyVfs(apsw.VFS):
    """The real file layer with `FaultyFile` in between."""

    def __init__(self, name: str, plan: Plan) -> None:
        self._plan = plan
        super().__init__(name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return FaultyFile(name, flags, self._plan)


def group(first: int, count: int) -> list[Append]:
    rows = tuple(EntryRow("heartbeat", index, None, body(index)) for index in range(first, first + count))
    return [Append(first, "core", first + count, rows, ())]


def live(settings: LogSettings, plan: Plan, heads: dict[int, set[bytes]]) -> tuple[int, bool]:
    """A log's life under the plan: (entries acknowledged, whether it ended in a StoreError)."""
    vfs = FaultyVfs("faulty", plan)
    acknowledged = 0
    try:
        store = LogStore(settings.directory, read_signing_key(settings.key_file), plan.io(), "faulty")
        try:
            for size in STEPS:
                acknowledged = store.commit(group(store.size, size - store.size))
                for _ in store.publish():
                    note_head(settings, heads)
                note_head(settings, heads)
        except StoreError as error:
            if isinstance(error, NoSpaceError) and acknowledged == store.size:  # of a publication
                acknowledged = store.commit(group(store.size, 1))
            else:
                with pytest.raises(StoreError):
                    store.commit(group(store.size, 1))
            raise
        finally:
            plan.lived = plan.count
            with contextlib.suppress(apsw.Error):
                store._connection.close(True)
    except StoreError:
        return acknowledged, True
    finally:
        vfs.unregister()
    return acknowledged, False


@cache
def root_of(size: int) -> bytes:
    """The one root a log of these entries may have."""
    return MemoryLog(size).root(size)


def note_head(settings: LogSettings, heads: dict[int, set[bytes]]) -> None:
    """Remembers what anybody could have seen as this log's head."""
    head = parse_checkpoint(parse_note((settings.directory / "checkpoint").read_bytes()).text)
    heads.setdefault(head.size, set()).add(head.root)


def recover(settings: LogSettings, heads: dict[int, set[bytes]]) -> int:
    """The next start on a good disk: publishes, adds an entry, publishes again; returns the size found."""
    store = LogStore(settings.directory, read_signing_key(settings.key_file))
    found = store.size
    for _ in range(2):
        for _ in store.publish():
            pass
        note_head(settings, heads)
        store.commit(group(store.size, 1))
    for _ in store.publish():
        pass
    note_head(settings, heads)
    store.close()
    return found


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Callable[[], LogSettings]]:
    """Makes the same new log again and again."""
    template = new_log(tmp_path)
    with many_copies(template, tmp_path) as make:
        yield make


def test_the_life_without_a_fault(fresh: Callable[[], LogSettings]) -> None:
    """What the faults below are measured against: the number of calls, and that they are the real ones."""
    settings, plan = fresh(), Plan()
    heads: dict[int, set[bytes]] = {}
    assert live(settings, plan, heads) == (STEPS[-1], False)
    assert plan.lived > 100
    assert {size: {root_of(size)} for size in (0, *STEPS)} == heads


@pytest.mark.parametrize(("late", "full"), [(False, False), (True, False), (False, True)])
def test_each_call_fails_once(fresh: Callable[[], LogSettings], late: bool, full: bool) -> None:
    """EIO before the effect, EIO although it had its effect, ENOSPC: at each of more than 100 places.

    The store says so and refuses to go on, but for a publication that found no space; the next start finds
    every acknowledged entry, never shows a second root of a size, and `verify` accepts the result.
    """
    counted = Plan()
    live(fresh(), counted, {})
    hits = set()
    for at in range(counted.lived):
        settings, plan = fresh(), Plan(at, late=late, full=full)
        heads: dict[int, set[bytes]] = {}
        acknowledged, failed = live(settings, plan, heads)
        hits.add(plan.hit)
        assert failed, (at, plan.hit)
        found = recover(settings, heads)
        assert acknowledged <= found <= STEPS[-1] + full, (at, plan.hit)
        assert {size: {root_of(size)} for size in heads} == heads, (at, plan.hit)
        reader = LogReader(settings.directory)
        report = verify(reader, trust(settings))
        reader.close()
        assert report.ok, (at, plan.hit, report)
        assert report.signed == report.entries == found + 2
    assert hits == {"db write", "db sync", "write", "fsync", "rename", "mkdir", "unlink", "rmdir"}


def test_a_full_wal_that_cannot_be_emptied_is_an_error(fresh: Callable[[], LogSettings]) -> None:
    """SQLite's automatic checkpoint would swallow a failed fsync of the database file; ours does not."""
    settings, plan = fresh(), Plan()
    vfs = FaultyVfs("faulty", plan)
    store = LogStore(settings.directory, read_signing_key(settings.key_file), vfs="faulty")
    try:
        rows = tuple(EntryRow("heartbeat", at, None, b"x" * 4000) for at in range(1500))
        store.commit([Append(0, "core", 1500, rows, ())])
        plan._fail_at = plan.count + 1
        with pytest.raises(StoreError):
            store.tidy()
        assert plan.hit
    finally:
        store._connection.close(True)
        vfs.unregister()
    reader = LogReader(settings.directory)
    assert reader.size() == 1500
    reader.close()
