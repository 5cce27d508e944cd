"""Sealed segments, part of `bench audit`: cold reads, compression of what a real replay logged, appends
beside a writer that seals, and bytes written for each byte logged.

Bytes written are `wchar` of the writer process in /proc: what it handed to write, to database, write-ahead
log, bundles, tiles and segments alike. What the file system and the card make of it comes on top.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import time
from functools import partial
from pathlib import Path

import zstandard
from msgspec.structs import replace

from appliance.audit.notes import COSIGNATURE_KEY
from appliance.audit.segment import SEGMENT, segment_path
from appliance.audit.tiles import WIDTH, encode_bundle
from appliance.ports import Entry
from appliance.storage.keys import create_key
from appliance.storage.log_client import LogClient, LogSettings
from appliance.storage.log_reader import LogReader
from appliance.storage.segments import LEVEL
from tests.audit_support import WITNESS, new_log
from tests.bench.bench_orders import replace_rate
from tests.bench.measure import Case, case_of, repeat
from tests.box import Box
from tests.processes import running, until
from tests.retention_kit import LATE_NS, cosign, fill, opened, prune

OFFERED = 1_000


def run(*, quick: bool) -> list[Case]:
    """All cases."""
    cases = [*_cold(1 if quick else 8, 100 if quick else 2_000)]
    cases += _beside(2_000 if quick else 10_000, 2 if quick else 6)
    cases += _written(1 if quick else 4)
    return cases if quick else [*cases, *_compressed(_replayed())]


def _cold(segments: int, count: int) -> list[Case]:
    """One entry by its number out of a log that is all segments; the kernel forgets the file before."""
    luck = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        settings = new_log(Path(folder))
        prune(settings, segments * SEGMENT + 1)
        cases = []
        for name, forget in (("file cached by the kernel", False), ("file dropped from its cache", True)):

            def read(forget: bool = forget) -> int:
                index = luck.randrange(segments * SEGMENT)
                if forget:
                    _forget(settings.directory / segment_path(index // SEGMENT))
                started = time.perf_counter_ns()
                reader = LogReader(settings.directory)
                assert [entry.index for entry in reader.entries(index, index + 1)] == [index]
                reader.close()
                return time.perf_counter_ns() - started

            samples = [read() for _ in range(count)]
            cases.append(case_of(f"cold read of one entry out of a segment, {name}", samples, per_s=None))
    return cases


def _forget(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(handle)


def _prepared(folder: str, segments: int, *, publish_ms: int = 900) -> LogSettings:
    """A log with so many segments to seal, co-signed."""
    place = Path(folder)
    create_key(place / "keys", "witness", WITNESS.name, COSIGNATURE_KEY, bytes(range(32, 64)))
    settings = replace(
        new_log(place, publish_ms=publish_ms), witness_key=place / "keys" / "witness.vkey"
    )
    store = opened(settings)
    fill(store, segments * SEGMENT)
    cosign(settings.directory, store.shown.size, store.shown.root)
    store.close()
    return settings


def _small(number: int) -> Entry:
    return Entry(kind="signal", utc_ns=LATE_NS + number, mono_ns=number, data={"text": "as ever " * 45})


def _beside(count: int, segments: int) -> list[Case]:
    """Appends at OFFERED a second: nothing else to do, sealing, sealing in a hurry."""
    cases = []
    for name, leave, hurry in (
        ("nothing to seal", False, False), ("sealing and pruning", True, False), ("in a hurry", True, True),
    ):  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            settings = _prepared(folder, segments)
            samples, rate = asyncio.run(_offer(settings, count, leave=leave, hurry=hurry))
            reader = LogReader(settings.directory)
            pruned = reader.pruned()
            reader.close()
        text = f"durable append, {OFFERED:,}/s, {name}" + (f" ({pruned:,} pruned)" if leave else "")
        cases.append(replace_rate(case_of(text, samples), rate))
    return cases


async def _offer(settings: LogSettings, count: int, *, leave: bool, hurry: bool) -> tuple[list[int], int]:
    log = await LogClient.start(settings)
    if leave:
        log.retain(LATE_NS, hurry=hurry)
    samples: list[int] = []

    async def one(number: int) -> None:
        started = time.perf_counter_ns()
        await log.append([_small(number)]).durable()
        samples.append(time.perf_counter_ns() - started)

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            await asyncio.sleep(max(0.0, begun + number / OFFERED - time.perf_counter()))
            group.create_task(one(number))
    rate = round(count / (time.perf_counter() - begun))
    await log.aclose()
    return samples, rate


def _written(segments: int) -> list[Case]:
    """Bytes written for each byte logged: appending one by one, in groups of 64, and what sealing adds."""
    cases = []
    for name, group, publish_ms, count in (
        ("one by one, published twice", 1, 10**9, 1024),
        ("groups of 64, published twice", 64, 10**9, 16_384),
        ("50/s one by one, published every 900 ms", -50, 900, 500),
    ):
        with tempfile.TemporaryDirectory() as folder:
            settings = _prepared(folder, 0, publish_ms=publish_ms)
            ratio = asyncio.run(_append_and_count(settings, group, count))
        cases.append(Case(f"bytes written for each logged: {name}", "ratio", count, p50=round(ratio, 2)))
    with tempfile.TemporaryDirectory() as folder:
        settings = _prepared(folder, segments)
        logged = _logged(settings)
        before = _wchar(os.getpid())
        prune(settings, segments * SEGMENT + 1)
        ratio = (_wchar(os.getpid()) - before) / logged
        name = "bytes written for each logged: sealing and pruning it, once"
        cases.append(Case(name, "ratio", segments * SEGMENT, p50=round(ratio, 2)))
    return cases


async def _append_and_count(settings: LogSettings, group: int, count: int) -> float:
    log = await LogClient.start(settings)
    assert log._process is not None
    before = _wchar(log._process.pid)
    step = max(1, group)
    for first in range(0, count, step):
        await log.append([_small(number) for number in range(first, first + step)]).durable()
        if group < 0:
            await asyncio.sleep(1 / -group)
    await log.publish()
    after = _wchar(log._process.pid)
    await log.aclose()
    return (after - before) / _logged(settings)


def _logged(settings: LogSettings) -> int:
    reader = LogReader(settings.directory)
    total = sum(len(body) for body in reader.bodies(0, reader.size()))
    reader.close()
    return total


def _wchar(pid: int) -> int:
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("wchar")).partition(":")[2])


def _replayed() -> list[bytes]:
    """Every entry of the demo's whole replay, at full speed, by real processes."""
    with tempfile.TemporaryDirectory() as folder:
        box = Box(Path(folder), {'speed = "60 d/s"': 'speed = "max"'})
        with running(box.up("--unattended"), Path(folder) / "up.log"):
            until(lambda: box.entries("run_end"), "the end of the replay", 300)
        reader = LogReader(box.state / "log")
        found = list(reader.bodies(0, reader.size()))
        reader.close()
    return found


def _compressed(bodies: list[bytes]) -> list[Case]:
    """Ratio of entries as bundles to their frames, and the time of a frame."""
    plain = [encode_bundle(bodies[at : at + WIDTH]) for at in range(0, len(bodies) - WIDTH + 1, WIDTH)]
    compressor = zstandard.ZstdCompressor(level=LEVEL)
    frames = [compressor.compress(each) for each in plain]
    ratio = sum(map(len, plain)) / sum(map(len, frames))
    samples = [took for each in plain for took in repeat(partial(compressor.compress, each), 3)]
    name = f"compression of {len(bodies):,} real entries in bundles"
    return [
        Case(name, "ratio", len(plain), p50=round(ratio, 2)),
        case_of("compressing one bundle of them", samples),
    ]
