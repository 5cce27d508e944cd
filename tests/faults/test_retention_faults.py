"""Sealing and pruning meet every fault: no entry is lost, none is pruned before it was sealed and proven."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest
from msgspec.structs import replace

from appliance.audit.notes import COSIGNATURE_KEY
from appliance.audit.segment import SEGMENT, segment_path
from appliance.audit.verify import verify
from appliance.domain.errors import StoreError
from appliance.ports import Entry
from appliance.storage.keys import create_key
from appliance.storage.log_client import LogClient, LogSettings
from appliance.storage.log_reader import LogReader
from tests.audit_support import WITNESS, new_log, run, trust
from tests.faults.test_storage_log_faults import FaultyVfs, Plan
from tests.retention_kit import LATE_NS, append, cosign, fill, opened, prune, retention, row
from tests.small_disk import MIB, SmallDisk, small_disk

SIZE = SEGMENT + 300
KILLS = int(os.environ.get("INTERLOCK_KILLS", "10"))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> LogSettings:
    """One segment and a bit, published and co-signed."""
    settings = new_log(tmp_path_factory.mktemp("template"))
    prune(settings, SIZE, before_ns=0)
    return settings


@pytest.fixture
def fresh(template: LogSettings, tmp_path: Path) -> Iterator[Callable[[], LogSettings]]:
    """Copies of it, in memory where there is any."""
    memory = Path("/dev/shm")  # noqa: S108 - the directory below it is ours alone
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as name:

        def make() -> LogSettings:
            shutil.rmtree(Path(name) / "log", ignore_errors=True)
            shutil.copytree(template.directory, Path(name) / "log")
            return replace(template, directory=Path(name) / "log")

        yield make


def whole(settings: LogSettings, size: int = SIZE) -> LogReader:
    """A reader of a log that has every entry and verifies."""
    reader = LogReader(settings.directory)
    assert reader.size() >= size
    assert list(reader.bodies(0, size)) == [row(index).body for index in range(size)]
    report = verify(reader, trust(settings))
    assert report.ok, report
    return reader


def finish(settings: LogSettings) -> None:
    """The next start on a good disk: everything is there, and the pass comes to its end."""
    reader = LogReader(settings.directory)
    assert list(reader.bodies(0, SIZE)) == [row(index).body for index in range(SIZE)]
    reader.close()
    made = prune(settings, SIZE)
    assert (made.pruned, made.problem) == (SEGMENT, "")
    whole(settings).close()
    assert not list((settings.directory / "segments").glob(".*"))


def passed_under(settings: LogSettings, plan: Plan) -> tuple[str, str]:
    """One pass under the plan: (what it raised, its problem)."""
    vfs = FaultyVfs("faulty", plan)
    try:
        store = opened(settings, plan.io(), "faulty")
        plan.count = 0
        made = retention(store, plan.io())
        try:
            for _ in made.steps(LATE_NS):
                pass
        except StoreError as error:
            return type(error).__name__, ""
        finally:
            plan.lived = plan.count
            with contextlib.suppress(apsw.Error):
                store._connection.close(True)
        return "", made.problem
    finally:
        vfs.unregister()


@pytest.mark.parametrize(("late", "full"), [(False, False), (True, False), (False, True)])
def test_each_call_fails_once(fresh: Callable[[], LogSettings], late: bool, full: bool) -> None:
    """EIO before the effect, EIO although it had its effect, ENOSPC: calls of sealing, some of pruning.

    EIO ends the writer, as any failed write of the log does; a full disk only ends the pass.
    """
    counted = Plan()
    assert passed_under(fresh(), counted) == ("", "")
    sealing = (0, 1, 2, 9, 17, 18, 19, 20, 21)  # folder, frames, tail, what makes it durable
    assert counted.lived > 500
    hits = set()
    for at in [*sealing, *range(22, counted.lived, 211)]:
        settings, plan = fresh(), Plan(at, late=late, full=full)
        raised, problem = passed_under(settings, plan)
        hits.add(plan.hit)
        if full and plan.hit != "fsync":
            assert raised == "", (at, plan.hit)
            assert "disk" in problem or "space" in problem, (at, plan.hit, problem)
        else:
            assert raised == "StoreError", (at, plan.hit, raised)
        finish(settings)
    assert hits >= {"write", "fsync", "rename", "mkdir", "db write"}


def test_given_up_after_any_step(fresh: Callable[[], LogSettings]) -> None:
    """What a crash between two steps leaves: everything readable, and the next start goes on."""
    settings = fresh()
    store = opened(settings)
    steps = sum(1 for _ in retention(store).steps(LATE_NS))
    store.close()
    assert steps > 60
    for done in [*range(0, steps, 6), steps]:
        settings = fresh()
        store = opened(settings)
        made = retention(store)
        work = made.steps(LATE_NS)
        for _ in range(done):
            next(work)
        pruned = made.pruned
        shutil.copytree(settings.directory, settings.directory.with_name("crashed"), dirs_exist_ok=True)
        work.close()
        store.close()
        crashed = replace(settings, directory=settings.directory.with_name("crashed"))
        segment = settings.directory / segment_path(0)
        assert segment.exists() or pruned == 0
        finish(crashed)
        shutil.rmtree(crashed.directory)


def test_readers_and_verify_meanwhile(fresh: Callable[[], LogSettings]) -> None:
    """Between any two steps another connection finds every entry, and a verification is content."""
    settings = fresh()
    store = opened(settings)
    luck = random.Random(5)
    reader = LogReader(settings.directory)
    made = retention(store)
    for _ in made.steps(LATE_NS):
        for index in luck.sample(range(SIZE), 5):
            assert [entry.body for entry in reader.entries(index, index + 1)] == [row(index).body]
    assert made.pruned == SEGMENT
    store.close()
    for lead in (0, 20, 40, 60):
        settings = fresh()
        store = opened(settings)
        work = retention(store).steps(LATE_NS)
        for _ in range(lead):
            next(work)
        other = LogReader(settings.directory)

        def advance(_done: int, _total: int, work: Iterator[None] = work) -> None:
            for _ in range(3):
                next(work, None)

        assert verify(other, trust(settings), advance).ok
        other.close()
        store.close()
    reader.close()


def test_a_flipped_bit_stops_the_pruning_of_its_segment(fresh: Callable[[], LogSettings]) -> None:
    """Between two passes, after some of it was pruned: nothing more is, and `verify` names the file."""
    settings = fresh()
    store = opened(settings)
    made = retention(store)
    work = made.steps(LATE_NS)
    while made.pruned < 1024:
        next(work)
    work.close()
    store.close()
    path = settings.directory / segment_path(0)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    made = prune(settings, SIZE)
    assert made.pruned == 1024
    assert "00000000.zst is damaged" in made.problem
    reader = LogReader(settings.directory)
    report = verify(reader, trust(settings))
    assert any("00000000.zst is damaged" in str(finding) for finding in report.findings)
    reader.close()
    path.unlink()
    made = prune(settings, SIZE)
    assert made.pruned == 1024
    assert "missing" in made.problem


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A file system a test may fill."""
    with small_disk(tmp_path / "disk", 32 * MIB, "tmpfs") as made:
        yield made


@pytest.mark.parametrize("leave", [0, 8192, 40_960])
def test_a_disk_that_is_full_while_sealing(template: LogSettings, disk: SmallDisk, leave: int) -> None:
    """Nothing is pruned and nothing left behind; entries can be written on; with room it is made good."""
    shutil.copytree(template.directory, disk.path / "log")
    settings = replace(template, directory=disk.path / "log")
    store = opened(settings)
    made = retention(store)
    disk.fill(leave)
    for _ in made.steps(LATE_NS):
        pass
    assert made.pruned == 0
    assert "No space left" in made.problem
    assert not list((settings.directory / "segments").glob(".*"))
    disk.drain()
    store.commit([append(SIZE, SIZE + 10)])
    fill(store, SIZE + 10)
    cosign(settings.directory, store.shown.size, store.shown.root)
    for _ in made.steps(LATE_NS):
        pass
    store.close()
    assert (made.pruned, made.problem) == (SEGMENT, "")
    whole(settings, SIZE + 10).close()


async def prune_until_killed(settings: LogSettings, luck: random.Random) -> int:
    """Appends beside a pass that is in a hurry; kills the writer at a random moment. Entries acknowledged."""
    client = await LogClient.start(settings)
    assert client._process is not None
    client.retain(LATE_NS, hurry=True)
    moment = luck.randrange(50, 900)
    while client.failure is None:
        first = client.head.size
        entries = [_again(index) for index in range(first, first + 3)]
        ticket = client.append(entries)
        moment -= 1
        if moment == 0:
            os.kill(client._process.pid, signal.SIGKILL)
        try:
            await ticket.durable()
        except StoreError:
            break
    await client.aclose()
    return client.head.durable


def _again(index: int) -> Entry:
    return Entry(kind="signal", utc_ns=index, mono_ns=index, data={"number": index})


def test_killed_at_random_moments_while_it_prunes(tmp_path: Path) -> None:
    """kill -9 of the writer: every acknowledged entry is there, the log verifies, the next one goes on."""
    create_key(tmp_path / "keys", "witness", WITNESS.name, COSIGNATURE_KEY, bytes(range(32, 64)))
    luck = random.Random(20_261_121)
    settings = replace(new_log(tmp_path, publish_ms=50), witness_key=tmp_path / "keys" / "witness.vkey")
    store = opened(settings)
    fill(store, 4 * SEGMENT)
    cosign(settings.directory, store.shown.size, store.shown.root)
    store.close()
    marks = []
    for _ in range(KILLS):
        acknowledged = run(prune_until_killed(settings, luck))
        reader = whole(settings, 4 * SEGMENT)
        assert reader.size() >= acknowledged
        marks.append(reader.pruned())
        reader.close()
    assert marks == sorted(marks)
    assert marks[-1] > 0
