"""What breaks in memory stays in memory: a signal loses its precedents, nothing else happens (P05)."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import threading
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import apsw
import msgspec
import pytest
import sqlite_vec  # type: ignore[import-untyped]

from appliance.domain.errors import CannotCreateError, ConfigError, PeerError, TransportError
from appliance.domain.exit_codes import ExitCode
from appliance.memory.features import NAMES
from appliance.memory.longterm_store import BATCH_MAX, LongTermMemory, Stored
from appliance.memory.rows_store import Rows
from appliance.memory.schema_store import create
from appliance.memory.service_store import MemoryService, MemorySettings
from appliance.ports import Precedent
from tests.test_memory_kit import DAY, SPX, batches, memory, samples, similar, walk

BARS = walk(300)
SETTINGS = MemorySettings(bar_ns=DAY, linger_ns=0, timeout_ns=30 * 10**9)
LONG_NS = 30 * 10**9


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A closed memory file with 200 bars."""
    one = memory(tmp_path / "memory.db")
    for batch in batches(BARS[:200], 128):
        one.store(batch)
    one.close()
    return tmp_path / "memory.db"


def tamper(path: Path, *statements: str) -> None:
    """Changes the file behind memory's back."""
    db = apsw.Connection(str(path))
    db.enable_load_extension(True)
    db.load_extension(sqlite_vec.loadable_path())
    for statement in statements:
        db.execute(statement)
    db.close()


# --- the file is wrong from the start ---


DAMAGE: dict[str, Callable[[Path], object]] = {
    "not a database": lambda path: path.write_bytes(b"no database at all" * 1000),
    "empty": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:8192]),
    "a page overwritten": lambda path: path.write_bytes(
        path.read_bytes()[:8192] + b"\xa5" * 4096 + path.read_bytes()[12288:]
    ),
    "another application": lambda path: tamper(path, "PRAGMA application_id=1"),
    "another layout": lambda path: tamper(path, "PRAGMA user_version=99"),
    "another encoder": lambda path: tamper(path, "UPDATE collections SET encoder = 'other'"),
    "no collection": lambda path: tamper(path, "DELETE FROM collections"),
    "no table": lambda path: tamper(path, "DROP TABLE observations"),
}


@pytest.mark.safety("HW-24")
@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_degrades_memory_and_is_kept(path: Path, kind: str) -> None:
    """It says why and what to do, writes nothing, and answers at once that there is nothing."""
    DAMAGE[kind](path)
    before = path.read_bytes()

    async def use() -> MemoryService:
        one = MemoryService(path, [SPX], SETTINGS, time.monotonic_ns)
        one.start()
        assert not await one.settle(LONG_NS)
        one.remember(BARS[0])
        assert await one.find_similar_conditions(SPX, 3) == ()
        assert not await one.close()
        return one

    stats = asyncio.run(asyncio.wait_for(use(), 30)).stats()
    assert "kept as it is" in stats.degraded
    assert stats.degraded.endswith("then: interlock init")
    assert (stats.dropped, stats.unanswered) == (1, {"down": 1})
    assert path.read_bytes() == before


def test_the_store_says_what_a_damaged_file_is(path: Path) -> None:
    """PeerError: something from outside is wrong. Not StoreError, which would end the process."""
    DAMAGE["not a database"](path)
    with pytest.raises(PeerError, match="kept as it is"):
        memory(path)


def test_a_missing_file_is_a_matter_of_provisioning(tmp_path: Path) -> None:
    """ConfigError names `interlock init`, and opening does not make a file."""
    with pytest.raises(ConfigError, match="interlock init") as caught:
        LongTermMemory(tmp_path / "memory.db", DAY, 10)
    assert caught.value.exit_code is ExitCode.CONFIG
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_use_is_not_shared(path: Path) -> None:
    """Two writers would each keep their own statistics."""
    one = memory(path)
    with pytest.raises(TransportError, match="did not answer"):
        memory(path)
    one.close()
    memory(path).close()


@pytest.mark.parametrize("existing", ["memory.db", "memory.db-wal", "memory.db-journal"])
def test_creating_never_replaces_anything(tmp_path: Path, existing: str) -> None:
    """A left-over log would be applied to the new file."""
    (tmp_path / existing).write_bytes(b"precious")
    with pytest.raises(CannotCreateError, match="exists already"):
        create(tmp_path / "memory.db")
    assert (tmp_path / existing).read_bytes() == b"precious"


def test_a_created_file_is_private_and_complete(tmp_path: Path) -> None:
    """Mode 0600; what a crash left of an earlier try is cleared away, nothing else remains."""
    path = tmp_path / "memory.db"
    for leftover in ("memory.db.new", "memory.db.new-wal", "memory.db.new-journal"):
        (tmp_path / leftover).write_bytes(b"half")
    create(path)
    assert [one.name for one in tmp_path.iterdir()] == ["memory.db"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_creating_makes_the_name_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is synced after the rename: a power cut leaves no file, or the whole one."""
    synced: list[bool] = []
    path = tmp_path / "memory.db"

    def fsync(handle: int) -> None:
        synced.append(path.exists() and stat.S_ISDIR(os.fstat(handle).st_mode))

    monkeypatch.setattr(os, "fsync", fsync)
    create(path)
    assert synced == [True]


def test_creating_in_a_missing_folder_says_so(tmp_path: Path) -> None:
    """CannotCreateError (exit 73), not a traceback."""
    with pytest.raises(CannotCreateError, match="not created"):
        create(tmp_path / "nowhere" / "memory.db")


def test_an_open_file_is_set_up_as_described(path: Path) -> None:
    """Locking, durability, cache; no mapping unless asked for; no further extension can be loaded."""
    names = ("locking_mode", "journal_mode", "synchronous", "cache_size", "mmap_size")
    for mapped in (0, 1 << 20):
        store = LongTermMemory(path, DAY, 10, mapped)
        found = [store._db.pragma(name) for name in names]
        assert found == ["exclusive", "wal", 1, -65_536, mapped]
        with pytest.raises(apsw.SQLError, match="not authorized"):
            store._db.execute("SELECT load_extension('x')")
        assert not path.with_name("memory.db-shm").exists()
        store.close()


def test_an_abandoned_file_is_not_written_to_again(path: Path) -> None:
    """What was still in the write-ahead log stays there, for whoever looks into the damage."""
    before = path.read_bytes()
    store = memory(path)
    store.store(samples(BARS[200:250]))
    store.abandon()
    assert path.read_bytes() == before
    assert path.with_name("memory.db-wal").stat().st_size > 0


# --- the content changes ---


def test_a_precedent_whose_bar_was_changed_is_not_given(path: Path) -> None:
    """The identity is checked on reading: a price changed on disk degrades memory, it does not advise."""
    tamper(path, "UPDATE observations SET close = close + 1 WHERE id BETWEEN 30 AND 170")
    store = memory(path)
    store.store(samples(BARS[200:201]))
    with pytest.raises(PeerError, match="not the one it was"):
        store.similar(SPX, 10)
    store.abandon()


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("DELETE FROM observations WHERE id BETWEEN 30 AND 150", "missing"),
        ("UPDATE observations_vec_rowids SET chunk_offset = chunk_offset + 100000", "SQLError|missing|Error"),
        ("UPDATE observations SET features = x'00' WHERE id > 30", "feature vector of 1 bytes"),
        ("UPDATE scalings SET sigma = '[1]'", "13 numbers"),
        ("UPDATE scalings SET version = 2", "versions"),
        ("UPDATE running SET sums = '[[1],[],[],[]]'", "running scale"),
        ("UPDATE running SET sums = 'x'", "scaling of SPX"),
        ("UPDATE running SET filled = 999", "filled"),
    ],
)
def test_content_that_cannot_be_is_damage(path: Path, statement: str, why: str) -> None:
    """Found when it is read, said in words, never a KeyError from the depths."""
    tamper(path, statement)
    store = memory(path)

    def use() -> None:
        store.store(samples(BARS[200:201]))
        store.similar(SPX, 10)

    with pytest.raises(PeerError, match=why):
        use()
    store.abandon()


def test_damage_found_while_running_ends_memory_only(path: Path) -> None:
    """The question that met it gets an empty answer at once, later ones too, and the file is kept."""
    tamper(path, "UPDATE observations SET close = close + 1 WHERE id BETWEEN 30 AND 170")
    before = path.read_bytes()

    async def use() -> MemoryService:
        one = MemoryService(path, [SPX], SETTINGS, time.monotonic_ns)
        one.start()
        one.remember(BARS[200])
        assert await one.find_similar_conditions(SPX, 3) == ()
        assert await one.find_similar_conditions(SPX, 3) == ()
        return one

    stats = asyncio.run(asyncio.wait_for(use(), 30)).stats()
    assert "not the one it was" in stats.degraded
    assert stats.unanswered == {"down": 2}
    assert stats.rows == 201
    assert path.read_bytes() == before


# --- the disk is full ---


def test_a_full_disk_loses_the_batch_and_nothing_else(path: Path) -> None:
    """All or nothing; statistics and windows are as if the batch was never stored, and later ones work."""
    store, done = memory(path), 200
    pages = store._db.pragma("page_count")
    store._db.execute(f"PRAGMA max_page_count={pages}")

    def fill() -> None:
        nonlocal done
        for batch in batches(BARS[200:], 20):
            done += len(batch)
            store.store(batch)

    with pytest.raises(TransportError, match="FullError"):
        fill()
    kept = store.row_count
    assert kept == done - 20
    store._db.execute("PRAGMA max_page_count=100000")
    assert store.store(samples(BARS[done : done + 1])).added == 1
    counts = store._db.execute("SELECT count(*), sum(features IS NOT NULL) FROM observations").fetchone()
    running = store._db.execute("SELECT sums FROM running").fetchone()
    assert counts == (kept + 1, kept + 1 - 20)
    assert running is not None
    assert json.loads(str(running[0]))[0] == [kept + 1 - 20]
    assert len(similar(store)) == 10
    store.close()


def test_a_batch_that_failed_at_the_end_leaves_no_trace(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sums must not go on counting conditions that were rolled back."""
    store, whole = memory(path), memory(path.with_name("whole.db"))
    original = Rows.save_statistics

    def fail(*_: object) -> None:
        raise apsw.FullError("at the last statement")

    monkeypatch.setattr(Rows, "save_statistics", fail)
    with pytest.raises(TransportError, match="at the last statement"):
        store.store(samples(BARS[200:210]))
    monkeypatch.setattr(Rows, "save_statistics", original)
    for batch in batches(BARS[:200], 128):
        whole.store(batch)
    whole._windows[SPX] = deepcopy(store._windows[SPX])  # it saw the lost bars, as the other one did
    for one in (store, whole):
        assert one.store(samples(BARS[210:220])) == Stored(10, 0, 0)
    dumps = [list(one._db.execute("SELECT sums, cut_row, filled FROM running")) for one in (store, whole)]
    assert dumps[0] == dumps[1]
    assert store.row_count == whole.row_count == 210
    store.close()
    whole.close()


def test_a_full_disk_shows_and_passes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is full memory says so and counts what is lost; afterwards it is well again by itself."""
    full = threading.Event()
    full.set()
    original = LongTermMemory.store

    def store(self: LongTermMemory, batch: list[object]) -> object:
        if full.is_set():
            raise TransportError("memory did not answer", "FullError: disk full")
        return original(self, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(LongTermMemory, "store", store)

    async def use() -> None:
        one = MemoryService(path, [SPX], SETTINGS, time.monotonic_ns)
        one.start()
        one.remember(BARS[200])
        assert await one.settle(LONG_NS)
        assert "disk full" in one.stats().degraded
        assert one.stats().dropped == 1
        full.clear()
        one.remember(BARS[201])
        assert await one.settle(LONG_NS)
        assert (one.stats().degraded, one.stats().dropped, one.stats().rows) == ("", 1, 201)
        assert await one.close(LONG_NS)

    asyncio.run(use())


def test_growth_ends_at_the_row_limit(tmp_path: Path) -> None:
    """An SD card is finite: new bars are counted as dropped, old ones go on answering."""
    create(tmp_path / "memory.db")

    async def use() -> None:
        settings = msgspec.structs.replace(SETTINGS, max_rows=150)
        one = MemoryService(tmp_path / "memory.db", [SPX], settings, time.monotonic_ns)
        one.start()
        for observation in BARS[:200]:
            one.remember(observation)
        assert len(await one.find_similar_conditions(SPX, 5)) == 5
        stats = one.stats()
        assert (stats.rows, stats.dropped) == (150, 50)
        assert stats.degraded.startswith("full: 150 rows")
        assert await one.close(LONG_NS)

    asyncio.run(use())


def test_a_batch_too_large_is_a_mistake_of_the_caller(path: Path) -> None:
    """Above it a statement would have too many parameters."""
    store = memory(path)
    many = samples(walk(BATCH_MAX + 1, first_day=20_000))
    with pytest.raises(ValueError, match="samples"):
        store.store(many)
    assert store.store(many[:-1]).added == BATCH_MAX
    store.close()


@pytest.mark.parametrize("k", [0, -1, 4097])
def test_the_store_refuses_a_k_sqlite_vec_cannot_do(path: Path, k: int) -> None:
    """P05: at most 4096; the service limits it before."""
    store = memory(path)
    with pytest.raises(ValueError, match="k: 1 to 4096"):
        store.similar(SPX, k)
    store.close()


# --- the thread is slow, wrong or unlucky ---


def test_a_slow_memory_costs_the_timeout_and_no_more(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is empty and counted; nobody works on a question that was given up; then all is well."""
    go, asked = threading.Event(), []
    original = LongTermMemory.similar

    def stuck(self: LongTermMemory, instrument: str, k: int) -> tuple[Precedent, ...] | None:
        asked.append(k)
        assert go.wait(30)
        return original(self, SPX, k)

    monkeypatch.setattr(LongTermMemory, "similar", stuck)

    async def use() -> MemoryService:
        impatient = msgspec.structs.replace(SETTINGS, timeout_ns=10**7)
        one = MemoryService(path, [SPX], impatient, time.monotonic_ns)
        one.start()
        one.remember(BARS[200])
        assert await one.settle(LONG_NS)
        assert await one.find_similar_conditions(SPX, 3) == ()
        assert await one.find_similar_conditions(SPX, 4) == ()
        go.set()
        assert await one.settle(LONG_NS)
        one._settings = SETTINGS
        assert len(await one.find_similar_conditions(SPX, 5)) == 5
        assert await one.close(LONG_NS)
        return one

    stats = asyncio.run(use()).stats()
    assert stats.unanswered == {"timeout": 2}
    assert asked == [3, 5]


def test_a_memory_that_hangs_does_not_keep_the_process(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing gives up after its time, and the thread is no reason to stay alive."""
    go = threading.Event()
    original = LongTermMemory.close
    monkeypatch.setattr(LongTermMemory, "close", lambda self: (go.wait(30), original(self))[1])

    async def use() -> MemoryService:
        one = MemoryService(path, [SPX], SETTINGS, time.monotonic_ns)
        one.start()
        assert not await one.close(10**7)
        return one

    one = asyncio.run(use())
    assert one._thread.daemon
    go.set()
    one._thread.join(30)
    assert one.stats().degraded == "closed"


def test_a_bug_in_the_thread_ends_memory_only(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The traceback goes to the hook, the question is answered, what waits is counted as lost."""
    seen: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", seen.append)
    go = threading.Event()

    def broken(*_: object) -> None:
        assert go.wait(30)
        raise KeyError("bug")

    monkeypatch.setattr(LongTermMemory, "similar", broken)

    async def use() -> MemoryService:
        one = MemoryService(path, [SPX], SETTINGS, time.monotonic_ns)
        one.start()
        one.remember(BARS[200])
        question = asyncio.create_task(one.find_similar_conditions(SPX, 3))
        await asyncio.sleep(0)
        one.remember(BARS[201])
        go.set()
        assert await question == ()
        one._thread.join(30)
        one.remember(BARS[202])
        assert await one.find_similar_conditions(SPX, 3) == ()
        assert not await one.close()
        return one

    stats = asyncio.run(asyncio.wait_for(use(), 30)).stats()
    assert [one.exc_type for one in seen] == [KeyError]
    assert stats.degraded.startswith("the memory thread was ended by an error of its own")
    assert (stats.unanswered, stats.dropped, stats.rows) == ({"down": 2}, 2, 201)


def test_an_answer_after_the_loop_has_gone_is_nobodys(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop was stopped while a question was under way: the thread neither dies nor complains."""
    go, asked = threading.Event(), threading.Event()

    def stuck(*_: object) -> None:
        asked.set()
        assert go.wait(30)

    monkeypatch.setattr(LongTermMemory, "similar", stuck)
    one = MemoryService(path, [SPX], SETTINGS, time.monotonic_ns)
    one.start()

    async def leave() -> None:
        question = asyncio.create_task(one.find_similar_conditions(SPX, 3))
        assert await asyncio.to_thread(asked.wait, 30)
        question.cancel()

    asyncio.run(leave())
    go.set()
    assert asyncio.run(one.close(LONG_NS))


def test_a_file_says_what_its_vectors_are_made_of(path: Path) -> None:
    """A later version must be able to tell what it reads before it compares anything."""
    db = apsw.Connection(str(path))
    row = db.execute("SELECT name, features, dims FROM collections").fetchone()
    db.close()
    assert row is not None
    assert (row[0], json.loads(str(row[1])), row[2]) == ("observations", list(NAMES), 512)
