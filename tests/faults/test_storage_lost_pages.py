"""A failed fsync, then a power cut: what the kernel still shows is not on the disk (AUDIT, faults 2 and 5).

After a failed fsync Linux keeps the pages and calls them clean: whoever opens the file next reads what was
never stored, and no later fsync stores it. The next process must not build on that. The file layer here keeps
beside every database file what a power cut would leave of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from appliance.audit.verify import verify
from appliance.domain.errors import StoreError
from appliance.storage.keys import read_signing_key
from appliance.storage.log_client import LogSettings
from appliance.storage.log_reader import LogReader
from appliance.storage.log_store import LogStore
from appliance.storage.log_wire import Append, EntryRow
from appliance.upstream.witness import WitnessHead
from appliance.upstream.witness_store import SqliteWitnessStore, create_witness_store
from tests.audit_support import LOG, MemoryLog, body, new_log, trust

VFS = "lossy"


class Disk:
    """What of each file is durable, and how many syncs from now the one is that fails."""

    def __init__(self) -> None:
        self.durable: dict[str, bytearray] = {}
        self.dirty: dict[str, list[tuple[int, bytes]]] = {}
        self.fail_in = -1
        self.failed = ""

    def opened(self, name: str) -> None:
        """What was there before this machine was switched on is durable."""
        if name not in self.durable:
            path = Path(name)
            self.durable[name] = bytearray(path.read_bytes() if path.exists() else b"")
            self.dirty[name] = []

    def sync(self, name: str) -> None:
        """Everything written so far becomes durable, or, at the failure, never does."""
        written, self.dirty[name] = self.dirty[name], []
        self.fail_in -= 1
        if self.fail_in == 0:
            self.failed = name
            raise apsw.IOError("input/output error")
        image = self.durable[name]
        for offset, data in written:
            image.extend(bytes(max(0, offset + len(data) - len(image))))
            image[offset : offset + len(data)] = data

    def power_cut(self) -> None:
        """The files are what was durable. The index of the write-ahead log is memory."""
        for name, image in self.durable.items():
            if Path(name).exists():
                Path(name).write_bytes(image)
        for shared in {Path(name).parent for name in self.durable}:
            for index in shared.glob("*-shm"):
                index.unlink()


class LossyFile(apsw.VFSFile):
    """A database file on that disk."""

    def __init__(self, name: str | apsw.URIFilename | None, flags: list[int], disk: Disk) -> None:
        self._disk = disk
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        disk.opened(self._name)
        super().__init__("unix", name, flags)

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802 - SQLite's name
        super().xWrite(data, offset)
        self._disk.dirty[self._name].append((offset, bytes(data)))

    def xTruncate(self, size: int) -> None:  # noqa: N802 - SQLite's name
        super().xTruncate(size)
        del self._disk.durable[self._name][size:]
        self._disk.dirty[self._name] = [(at, data) for at, data in self._disk.dirty[self._name] if at < size]

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        super().xSync(flags)
        self._disk.sync(self._name)


class LossyVfs(apsw.VFS):
    """The real file layer with `LossyFile` in between."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        super().__init__(VFS, "unix")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return LossyFile(name, flags, self._disk)


@pytest.fixture
def disk() -> Iterator[Disk]:
    """For whoever opens something with VFS."""
    made = Disk()
    vfs = LossyVfs(made)
    try:
        yield made
    finally:
        vfs.unregister()


def grow(store: LogStore, count: int) -> int:
    """So many entries, one commit each; the size that was acknowledged."""
    for _ in range(count):
        row = EntryRow("heartbeat", store.size, None, body(store.size))
        store.commit([Append(store.size, "core", store.size + 1, (row,), ())])
        store.grow()
        store.tidy()
    return store.size


def opened(settings: LogSettings) -> LogStore:
    """As a writer opens it."""
    return LogStore(settings.directory, read_signing_key(settings.key_file), vfs=VFS)


def gone(store: LogStore | SqliteWitnessStore) -> None:
    """The process is killed: its successor opens what the kernel shows."""
    store._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    store._connection.close(True)


@pytest.mark.parametrize("fails", range(1, 30))
def test_what_is_acknowledged_after_a_failed_fsync_survives_a_power_cut(
    tmp_path: Path, disk: Disk, fails: int
) -> None:
    """Whichever sync fails, in the write-ahead log or in the database: the next process starts over on what
    is durable, and what it acknowledges is there after the power was cut."""
    settings = new_log(tmp_path)
    store = opened(settings)
    store.wal_pages = 12  # so that syncs of the database come up too
    disk.fail_in = fails
    acknowledged = 0
    try:
        for _ in range(60):
            acknowledged = grow(store, 1)
            for _ in store.publish():
                pass
    except StoreError:
        gone(store)
    assert disk.failed

    store = opened(settings)
    assert store.size >= acknowledged
    acknowledged = grow(store, 7)
    for _ in store.publish():
        pass
    acknowledged = grow(store, 2)
    gone(store)
    disk.power_cut()

    store = opened(settings)
    assert store.size == acknowledged
    for _ in store.publish():
        pass
    store.close()
    reader = LogReader(settings.directory)
    try:
        assert verify(reader, trust(settings)).ok
        assert list(reader.bodies(0, acknowledged)) == [body(at) for at in range(acknowledged)]
    finally:
        reader.close()


@pytest.mark.parametrize("fails", [1, 2, 3])
def test_a_witness_does_not_forget_after_a_failed_fsync(tmp_path: Path, disk: Disk, fails: int) -> None:
    """The head it co-signs after its restart is there after the power was cut: it never signs another."""
    create_witness_store(tmp_path)
    store = SqliteWitnessStore(tmp_path, VFS)
    disk.fail_in, size = fails, 0
    model = MemoryLog(40)
    try:
        for _ in range(20):
            assert store.advance(LOG.name, size, WitnessHead(size + 1, model.root(size + 1), b"note"))
            size += 1
    except StoreError:
        gone(store)
    assert disk.failed

    store = SqliteWitnessStore(tmp_path, VFS)
    last = store.load(LOG.name)
    found = last.size if last else 0
    assert found >= size
    assert store.advance(LOG.name, found, WitnessHead(found + 1, model.root(found + 1), b"note"))
    gone(store)
    disk.power_cut()

    store = SqliteWitnessStore(tmp_path, VFS)
    head = store.load(LOG.name)
    assert head is not None
    assert head.size == found + 1
    store.close()
