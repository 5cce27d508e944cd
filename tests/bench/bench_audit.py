"""The audit log: durable appends at 1,000/s with gate checks meanwhile, natively and on an injected SD card;
sustained group commit; append → co-signature over loopback; resume; verify, its memory, and proofs.

Each time stands beside a floor of the same run: SQLite with `synchronous=FULL` writing rows of the same size
into the same directory, hashing alone, or one HTTP request. The whole run makes a log of 1,000,000 entries
and takes some four minutes; `--quick` makes one of 20,000.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import aiohttp
import apsw
from msgspec.structs import replace

from appliance.audit.records import encode_entry
from appliance.domain.verdict import Approved
from appliance.ports import Entry
from appliance.storage.keys import read_signing_key
from appliance.storage.log_client import LogClient, LogSettings, LogTicket
from appliance.storage.log_reader import LogReader
from appliance.storage.log_store import LogStore
from appliance.storage.log_wire import Append, EntryRow
from appliance.upstream.witness import origin_hash
from tests.audit_support import LOG, new_log
from tests.bench import bench_retention
from tests.bench.bench_orders import Desktop, replace_rate
from tests.bench.measure import Case, case_of, repeat, with_peer
from tests.bench.test_storage_latency import SD_CARD
from tests.flow.test_upstream_end_to_end import Box, box, collector, prepare
from tests.processes import ROOT

BODY = 500
GROUP = 64
OFFERED = 1_000
IN_FLIGHT = 4_096
CHUNK = 16
ONE_ROW = "floor: one row, SQLite FULL"
PEAK = """
import json, sys, time
from pathlib import Path
from appliance.audit.verify import Trust, verify
from appliance.storage.keys import read_key_text
from appliance.storage.log_reader import LogReader
def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1000
before = peak()
reader = LogReader(Path(sys.argv[1]))
started = time.perf_counter()
report = verify(reader, Trust(read_key_text(Path(sys.argv[2]))))
took = time.perf_counter() - started
print(json.dumps([report.ok, report.entries, took, peak(), before]))
"""


def run(*, quick: bool) -> list[Case]:
    """All cases."""
    cases = [*_paced("native", (), 1 if quick else 10)]
    cases += _paced("injected SD card", (sys.executable, "-c", SD_CARD), 2 if quick else 30)
    cases += _sustained(6_400 if quick else 102_400)
    cases += asyncio.run(_witnessed(10 if quick else 100))
    cases += asyncio.run(_resumed(5_000 if quick else 100_000))
    cases += bench_retention.run(quick=quick)
    return cases + _whole_log(20_000 if quick else 1_000_000)


def sized(number: int) -> Entry:
    """An entry whose canonical bytes are about BODY long."""
    data = {"number": number, "text": "x" * (BODY - 130)}
    return Entry(kind="heartbeat", utc_ns=1_700_000_000_000_000_000 + number, mono_ns=number, data=data)


def _paced(disk: str, command: tuple[str, ...], seconds: int) -> list[Case]:
    with tempfile.TemporaryDirectory() as folder:
        settings = new_log(Path(folder))
        floor = case_of(f"{ONE_ROW}, before: {disk}", _commits(Path(folder) / "floor.db", 1, 1_000))
        name = f"durable append, {OFFERED:,}/s offered, {disk}"
        settings = replace(settings, command=command) if command else settings
        appends, checks, rate = asyncio.run(_offer(settings, OFFERED * seconds))
    assert floor.p50 is not None
    append = with_peer(replace_rate(case_of(name, appends), rate), ONE_ROW, floor.p50)
    return [floor, append, case_of(f"gate check meanwhile, {disk}", checks)]


async def _offer(settings: LogSettings, count: int) -> tuple[list[int], list[int], int]:
    """Nanoseconds from `append` to durable and of a gate check after each; entries a second got through."""
    log, desk = await LogClient.start(settings), Desktop(1)
    appends: list[int] = []
    checks: list[int] = []
    clock = time.perf_counter_ns

    async def one(number: int) -> None:
        started = clock()
        await log.append([sized(number)]).durable()
        appends.append(clock() - started)

    tasks: set[asyncio.Task[None]] = set()
    begun = time.perf_counter()
    for number in range(count):
        await asyncio.sleep(max(0.0, begun + number / OFFERED - time.perf_counter()))
        task = asyncio.create_task(one(number))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        wish = desk.wish()
        started = clock()
        verdict = desk.gate.check(wish)
        checks.append(clock() - started)
        assert isinstance(verdict, Approved), verdict
    await asyncio.gather(*tasks)
    rate = round(count / (time.perf_counter() - begun))
    await log.aclose()
    return appends, checks, rate


def _commits(path: Path, rows: int, count: int) -> list[int]:
    """Nanoseconds of SQLite FULL commits of so many rows of BODY bytes, natively."""
    connection = apsw.Connection(str(path))
    for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "CREATE TABLE t (n, b)"):
        connection.execute(statement).fetchall()
    batch = [(at, bytes(BODY)) for at in range(rows)]

    def commit() -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO t VALUES (?, ?)", batch)
        connection.execute("COMMIT")

    samples = repeat(commit, count)
    connection.close()
    return samples


def _sustained(count: int) -> list[Case]:
    """Groups of GROUP entries as fast as they are taken; a sample is one group, the rate is of entries."""
    with tempfile.TemporaryDirectory() as folder:
        words = f"floor: SQLite FULL, groups of {GROUP} rows of {BODY} B"
        samples = _commits(Path(folder) / "floor.db", GROUP, count // GROUP)
        floor = replace_rate(case_of(words, samples), round(count / (sum(samples) / 1e9)))
        store = _store_groups(new_log(Path(folder) / "store"), count)
        through = asyncio.run(_through_writer(new_log(Path(folder) / "client"), count))
    assert floor.p50 is not None
    return [floor, *(with_peer(case, words, floor.p50) for case in (store, through))]


def _store_groups(settings: LogSettings, count: int) -> Case:
    """The store alone: commit and tree, in one process."""
    store = LogStore(settings.directory, read_signing_key(settings.key_file))
    rows = [
        EntryRow("heartbeat", at, None, encode_entry(at, "core", at, sized(at))) for at in range(count)
    ]
    samples = []
    for first in range(0, count, GROUP):
        group = tuple(rows[first : first + GROUP])
        started = time.perf_counter_ns()
        store.commit([Append(first, "core", first + len(group), group, ())])
        store.grow()
        store.tidy()
        samples.append(time.perf_counter_ns() - started)
    store.close()
    rate = round(count / (sum(samples) / 1e9))
    return replace_rate(case_of(f"log store alone, groups of {GROUP}, {BODY} B entries", samples), rate)


async def _through_writer(settings: LogSettings, count: int) -> Case:
    """Core to writer process and back, publications included; never more than IN_FLIGHT undurable."""
    log = await LogClient.start(settings)
    samples: list[int] = []
    waiting: deque[tuple[int, LogTicket]] = deque()
    begun = time.perf_counter()

    async def oldest() -> None:
        started, ticket = waiting.popleft()
        await ticket.durable()
        samples.append(time.perf_counter_ns() - started)

    for first in range(0, count, CHUNK):
        entries = [sized(at) for at in range(first, first + CHUNK)]
        waiting.append((time.perf_counter_ns(), log.append(entries)))
        while len(waiting) * CHUNK >= IN_FLIGHT:
            await oldest()
    while waiting:
        await oldest()
    rate = round(count / (time.perf_counter() - begun))
    await log.aclose()
    name = f"sustained through the writer, {BODY} B entries, {IN_FLIGHT:,} in flight"
    return replace_rate(case_of(name, samples), rate)


async def _witnessed(count: int) -> list[Case]:
    """At moments of no pattern, one entry until a verified co-signature covers it; collector: a process."""
    with tempfile.TemporaryDirectory() as folder:
        cases = []
        for name, publish_ms, every_s in (("as the box runs", 900, 0.8), ("nothing waited for", 0, 0.0)):
            place = Path(folder) / str(publish_ms)
            place.mkdir()
            settings = replace(prepare(place), publish_ms=publish_ms)
            async with collector(place) as port, box(place, settings, port, every_s) as made:
                samples = await _until_covered(made, count, publish_ms)
                floor = await _requests(port)
            case = case_of(f"append → co-signature on loopback, {name}", samples)
            cases.append(with_peer(case, "floor: GET of the witness's checkpoint", floor))
    return cases


async def _until_covered(made: Box, count: int, pause_ms: int) -> list[int]:
    luck, samples = random.Random(5), []
    for number in range(count):
        await asyncio.sleep(luck.random() * pause_ms / 1000)
        started = time.perf_counter_ns()
        ticket = made.log.append([sized(number)])
        await made.until_witnessed(ticket.index + 1)
        samples.append(time.perf_counter_ns() - started)
    return samples


async def _requests(port: int) -> float:
    """Microseconds (p50) of one GET on loopback."""
    samples = []
    async with aiohttp.ClientSession() as session:
        for _ in range(100):
            started = time.perf_counter_ns()
            async with session.get(f"http://127.0.0.1:{port}/{origin_hash(LOG.name)}/checkpoint") as answer:
                assert answer.status == 200
                await answer.read()
            samples.append(time.perf_counter_ns() - started)
    return sorted(samples)[50] / 1000


async def _resumed(count: int) -> list[Case]:
    """The collector was away for `count` entries; from its return until a co-signature covers them all.

    The witness gets a checkpoint and a consistency proof, the mirror every entry: its rate is of entries.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        settings = replace(prepare(place), publish_ms=200)
        async with collector(place) as port, box(place, settings, port, 0.0) as made:
            made.log.append([sized(0)])
            await made.until_witnessed(1)
        log = await LogClient.start(settings)
        ticket = None
        for first in range(1, count, CHUNK):
            ticket = log.append([sized(at) for at in range(first, first + CHUNK)])
            await ticket.durable()
        size = (await log.publish()).signed
        await log.aclose()
        async with collector(place) as port, box(place, settings, port, 0.0) as made:
            started = time.perf_counter_ns()  # the client's first step is still to come
            await made.until_witnessed(size)
            took = time.perf_counter_ns() - started
            await made.until_mirrored(size)
            stored = time.perf_counter_ns() - started
    name = f"resume after an outage of {size:,} entries"
    rate = size * 1_000_000_000 // stored
    return [
        case_of(f"{name}: co-signed", [took], per_s=None),
        case_of(f"{name}: stored at the mirror", [stored], per_s=rate),
    ]


def _whole_log(count: int) -> list[Case]:
    with tempfile.TemporaryDirectory() as folder:
        settings = new_log(Path(folder))
        store = LogStore(settings.directory, read_signing_key(settings.key_file))
        for first in range(0, count, 10_000):
            end = min(first + 10_000, count)
            rows = [
                EntryRow("heartbeat", at, None, encode_entry(at, "core", at, sized(at)))
                for at in range(first, end)
            ]
            store.commit([Append(first, "core", end, tuple(rows), ())])
            store.grow()
            store.tidy()
        for _ in store.publish():
            pass
        store.close()
        return [*_verified(settings, count), *_proofs(settings, count)]


def _verified(settings: LogSettings, count: int) -> list[Case]:
    """A process of its own, so that its memory is its own."""
    floor = _hashing(count)
    place = [str(settings.directory), str(settings.key_file.with_suffix(".vkey"))]
    command = [sys.executable, "-c", PEAK, *place]
    ran = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    accepted, entries, took_s, peak_mb, before_mb = json.loads(ran.stdout)
    assert accepted
    assert entries == count
    case = case_of(f"verify {count:,} entries of {BODY} B", [int(took_s * 1e9)])
    words = "floor: hashing as many entries and nodes"
    memory = Case(f"memory of verifying {count:,} entries", "MB", 1, p50=round(peak_mb, 1))
    return [
        replace_rate(with_peer(case, words, floor), round(count / took_s)),
        with_peer(memory, "before it began", round(before_mb, 1)),
    ]


def _hashing(count: int) -> float:
    """Microseconds to hash `count` entries and as many nodes."""
    entry, node, sha256 = bytes(BODY + 1), bytes(65), hashlib.sha256
    started = time.perf_counter()
    for _ in range(count):
        sha256(entry).digest()
        sha256(node).digest()
    return (time.perf_counter() - started) * 1e6


def _proofs(settings: LogSettings, count: int) -> list[Case]:
    reader, luck = LogReader(settings.directory), random.Random(3)
    indexes = [luck.randrange(count) for _ in range(500)]

    def each(work: Callable[[int], object]) -> list[int]:
        pending = iter(indexes)
        return repeat(lambda: work(next(pending)), len(indexes))

    floor = case_of("one entry", each(lambda index: next(reader.bodies(index, index + 1))))
    inclusion = case_of(f"inclusion proof in {count:,}", each(lambda index: reader.inclusion(index, count)))
    consistency = case_of(
        f"consistency proof to {count:,}", each(lambda index: reader.consistency(index + 1, count))
    )
    reader.close()
    assert floor.p50 is not None
    return [with_peer(case, "floor: reading one entry", floor.p50) for case in (inclusion, consistency)]
