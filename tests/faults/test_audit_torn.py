"""Ends that are torn, cut off or zeroed; two writers; clocks that are far off (AUDIT, faults 6, 8 and 13)."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import apsw
import pytest

from appliance.audit.checkpoint import open_checkpoint
from appliance.audit.notes import COSIGNATURE_KEY
from appliance.audit.verify import verify
from appliance.domain.errors import InterlockError, StoreError
from appliance.ports import Entry
from appliance.storage.keys import read_signing_key
from appliance.storage.log_client import LogClient, LogSettings
from appliance.storage.log_reader import LogReader
from appliance.storage.log_store import LogStore
from appliance.storage.log_wire import Append, EntryRow
from appliance.upstream.witness import Request, Witness
from appliance.upstream.witness_store import SqliteWitnessStore, create_witness_store
from tests.audit_support import LOG, WITNESS, MemoryLog, body, new_log, run, trust

HEADER, FRAME = 32, 24 + 4096
"""Bytes of the write-ahead log's own header, and of one frame with its page."""

PUBLISHED, COMMITTED = 30, 35
HOUR_NS, YEAR_NS = 3_600 * 10**9, 365 * 86_400 * 10**9
NOW_NS = 1_800_000_000 * 10**9


def opened(settings: LogSettings) -> LogStore:
    """As a writer opens it."""
    return LogStore(settings.directory, read_signing_key(settings.key_file))


def grow(store: LogStore, size: int) -> None:
    """One commit an entry."""
    for at in range(store.size, size):
        row = EntryRow("heartbeat", at, None, body(at))
        store.commit([Append(at, "core", at + 1, (row,), ())])
    store.grow()


def killed(store: LogStore) -> None:
    """What a kill leaves: the write-ahead log as it is."""
    store._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    store._connection.close(True)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is any: these tests sync thousands of times."""
    shared = Path("/dev/shm")  # noqa: S108 - the directory below it is ours alone
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else tmp_path) as name:
        yield Path(name)


@pytest.fixture
def log(memory: Path) -> tuple[LogSettings, list[int]]:
    """A killed writer's log, PUBLISHED of COMMITTED entries published; and how long the write-ahead log was
    when each entry after those was acknowledged."""
    settings = new_log(memory / "made")
    store = opened(settings)
    grow(store, PUBLISHED)
    for _ in store.publish():
        pass
    lengths = []
    for size in range(PUBLISHED + 1, COMMITTED + 1):
        grow(store, size)
        lengths.append(settings.directory.joinpath("log.db-wal").stat().st_size)
    killed(store)
    return settings, lengths


def _cut(whole: bytes, at: int) -> bytes:
    return whole[:at]


def _zeroed(whole: bytes, at: int) -> bytes:
    return whole[:at] + bytes(len(whole) - at)


def _torn(whole: bytes, at: int) -> bytes:
    """A part of the frame came, what was there before stands behind it."""
    return whole[:at] + bytes(byte ^ 0x5A for byte in whole[at:])


@pytest.mark.parametrize("damage", [_cut, _zeroed, _torn])
def test_a_torn_end_of_the_write_ahead_log_is_where_the_log_ends(
    log: tuple[LogSettings, list[int]], memory: Path, damage: Callable[[bytes, int], bytes]
) -> None:
    """At frame boundaries, within a frame's header and within its page: every entry whose commit is whole is
    there, none comes out changed, and the log goes on. Before what was published, it refuses."""
    settings, lengths = log
    wal = settings.directory / "log.db-wal"
    whole = wal.read_bytes()
    first = (lengths[0] - HEADER) // FRAME
    for frame in range(first, (len(whole) - HEADER) // FRAME):
        for inside in (0, 23, 700, FRAME - 1):
            at = HEADER + frame * FRAME + inside
            place = memory / "torn"
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(settings.directory.parent, place)
            (place / "log/log.db-shm").unlink(missing_ok=True)
            (place / "log/log.db-wal").write_bytes(damage(whole, at))
            whole_commits = sum(length <= at for length in lengths)
            made = LogSettings(
                directory=place / "log", key_file=place / "keys/log.key", source="core", run=settings.run
            )
            store = opened(made)
            assert store.size == PUBLISHED + whole_commits, (frame, inside)
            grow(store, COMMITTED + 1)
            for _ in store.publish():
                pass
            store.close()
            _whole(made, COMMITTED + 1)


def _whole(settings: LogSettings, size: int) -> None:
    reader = LogReader(settings.directory)
    try:
        report = verify(reader, trust(settings))
        assert report.ok, report
        assert list(reader.bodies(0, size + 1)) == [body(at) for at in range(size)]
        assert reader.root(size) == MemoryLog(size).root(size)
    finally:
        reader.close()


@pytest.mark.parametrize("damage", [_cut, _zeroed])
def test_what_was_published_is_never_published_again_otherwise(
    log: tuple[LogSettings, list[int]], damage: Callable[[bytes, int], bytes]
) -> None:
    """A write-ahead log that lost what a checkpoint vouches for: the writer refuses, whatever is cut."""
    settings, _ = log
    wal = settings.directory / "log.db-wal"
    whole, found = wal.read_bytes(), wal.with_name("kept")
    database = (settings.directory / "log.db").read_bytes()
    checkpoint = (settings.directory / "checkpoint").read_bytes()
    found.write_bytes(whole)
    for at in (0, HEADER, HEADER + FRAME, HEADER + 20 * FRAME):
        (settings.directory / "log.db").write_bytes(database)
        wal.write_bytes(damage(whole, at))
        wal.with_name("log.db-shm").unlink(missing_ok=True)
        with pytest.raises(InterlockError):
            opened(settings)
        assert (settings.directory / "checkpoint").read_bytes() == checkpoint


@pytest.mark.parametrize("damage", [_cut, _zeroed])
def test_every_published_file_that_lost_its_end_is_named(
    log: tuple[LogSettings, list[int]], damage: Callable[[bytes, int], bytes]
) -> None:
    """Bundle, tile and checkpoint, cut or zeroed from the middle, from the last byte, and whole."""
    settings, _ = log
    paths = [path for path in settings.directory.rglob("*") if path.is_file()]
    published = [path for path in paths if "tile" in path.parts or path.name == "checkpoint"]
    assert len(published) == 3
    for path in published:
        whole, name = path.read_bytes(), str(path.relative_to(settings.directory))
        for at in (0, len(whole) // 2, len(whole) - 1):
            if damage(whole, at) == whole:
                continue
            path.write_bytes(damage(whole, at))
            reader = LogReader(settings.directory)
            report = verify(reader, trust(settings))
            reader.close()
            assert not report.ok, (name, at)
            assert any(name in finding.place for finding in report.findings), (name, report)
        path.write_bytes(whole)


def test_a_second_writer_on_the_same_files_takes_nothing(tmp_path: Path) -> None:
    """Without the lock that keeps it out: whoever comes second finds its number taken, stores nothing and is
    done for; the first goes on, and there is one head of every size (AUDIT, fault 13)."""
    settings = new_log(tmp_path)
    first = opened(settings)
    grow(first, 5)
    second = opened(settings)
    grow(first, 6)
    other = EntryRow("heartbeat", 0, None, b'{"another":"history"}')
    with pytest.raises(StoreError):
        second.commit([Append(5, "core", 6, (other,), ())])
    with pytest.raises(StoreError, match="failed before"):
        second.commit([Append(5, "core", 6, (other,), ())])
    third = opened(settings)
    for _ in first.publish():
        pass
    grow(third, 7)
    with pytest.raises(StoreError):
        first.commit([Append(6, "core", 7, (other,), ())])
    for store in (second, third, first):
        store.close()
    last = opened(settings)
    for _ in last.publish():
        pass
    last.close()
    _whole(settings, 7)


def test_two_that_seal_at_once_sign_one_head(tmp_path: Path) -> None:
    """Both have the same entries; the row of the head is moved once, and the other one is done for."""
    settings = new_log(tmp_path)
    first = opened(settings)
    grow(first, 5)
    second = opened(settings)
    signed = first.seal()
    with pytest.raises(InterlockError):
        second.seal()
    assert first.seal() == signed
    assert signed.root == MemoryLog(5).root(5)
    for store in (second, first):
        store.close()


@pytest.mark.parametrize("off_ns", [-HOUR_NS, -10 * YEAR_NS, 10 * YEAR_NS, -NOW_NS])
def test_a_clock_that_is_far_off_orders_nothing(tmp_path: Path, off_ns: int) -> None:
    """Before, during and after it is: entries keep their numbers, are found by the time they say, and verify.
    The last case is a box that thinks it is 1970."""
    settings = new_log(tmp_path)
    times = [NOW_NS, NOW_NS + 1, NOW_NS + off_ns, NOW_NS + off_ns + 1, NOW_NS + 2]

    async def work() -> None:
        client = await LogClient.start(settings)
        for number, at in enumerate(times):
            ticket = client.append([Entry(kind="heartbeat", utc_ns=at, mono_ns=number, data={})])
            assert ticket.index == number
        await client.aclose()

    run(work())
    reader = LogReader(settings.directory)
    try:
        report = verify(reader, trust(settings))
        assert report.ok, report
        during = [stored.index for stored in reader.entries_between(times[2], times[3] + 1)]
        assert during == [2, 3]
        assert [stored.index for stored in reader.entries()] == [0, 1, 2, 3, 4]
    finally:
        reader.close()


def test_a_witness_whose_clock_is_far_off_co_signs_all_the_same(tmp_path: Path) -> None:
    """1970, then ten years ahead, then ten years back: its word counts for the history, not for the time."""
    create_witness_store(tmp_path)
    store = SqliteWitnessStore(tmp_path)
    model, old = MemoryLog(12), 0
    clocks = {3: 0, 5: NOW_NS + 10 * YEAR_NS, 9: NOW_NS - 10 * YEAR_NS, 12: NOW_NS}
    for size, now_ns in clocks.items():
        clock = partial(int, now_ns // 10**9)
        witness = Witness(WITNESS, {LOG.name: (LOG.verifier(),)}, store, clock)
        note = model.checkpoint(size)
        reply = witness.add_checkpoint(Request(old, tuple(model.consistency(old, size)), note).encode())
        assert reply.status == 200, reply
        keys = [LOG.verifier()], [WITNESS.verifier(COSIGNATURE_KEY)]
        assert len(open_checkpoint(note + reply.body, *keys).cosigned) == 1
        old = size
    store.close()
