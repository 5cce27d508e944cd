"""Core, log writer, upstream client and collector together, the last two over loopback, in real processes."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec.structs import replace

from appliance.audit.notes import COSIGNATURE_KEY, NOTE_KEY
from appliance.audit.report import Report
from appliance.audit.verify import Trust, verify
from appliance.storage.keys import create_key, read_key_text, read_verifier
from appliance.storage.log_client import LogClient, LogSettings
from appliance.storage.log_reader import LogReader
from appliance.upstream.client import UpstreamClient, UpstreamSettings
from appliance.upstream.exchange import Exchange
from appliance.upstream.witness_store import create_witness_store
from tests.audit_support import WITNESS, entry, new_log, run

ROOT = Path(__file__).parents[2]
COLLECTOR = """
import asyncio, sys, time
from pathlib import Path
from appliance.upstream.collector import CollectorSettings, run
from appliance.upstream.policy import read_policy
place = Path(sys.argv[1])
asyncio.run(run(
    CollectorSettings(host="127.0.0.1", port=int(sys.argv[2]), directory=place / "witness",
                      key_file=place / "witness-keys" / "witness.key", policy=read_policy(place / "policy")),
    lambda: int(time.time()),
    lambda host, port: print(port, flush=True),
))
"""


def prepare(place: Path) -> LogSettings:
    settings = new_log(place, publish_ms=5)
    create_key(place / "witness-keys", "witness", WITNESS.name, COSIGNATURE_KEY)
    create_witness_store(place / "witness")
    (place / "policy").write_text("log " + settings.key_file.with_suffix(".vkey").read_text())
    return settings


@asynccontextmanager
async def collector(place: Path, port: int = 0) -> AsyncIterator[int]:
    """A collector process; gives its port, kills it in the end."""
    command = (sys.executable, "-W", "error", "-c", COLLECTOR, str(place), str(port))
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield int(await process.stdout.readline())
    finally:
        process.kill()
        await process.communicate()


class Box:
    """What the runtime will wire up: log, its own reader for the client, client, and their signals."""

    def __init__(
        self, place: Path, log: LogClient, settings: LogSettings, port: int, every_s: float = 0.0
    ) -> None:
        self.log = log
        self.reader = LogReader(settings.directory)
        self.client = UpstreamClient(
            UpstreamSettings(
                directory=settings.directory,
                log_key=read_verifier(settings.key_file.with_suffix(".vkey"), NOTE_KEY),
                witness_key=read_verifier(place / "witness-keys" / "witness.vkey", COSIGNATURE_KEY),
                every_s=every_s,
            ),
            self.reader,
            Exchange(f"http://127.0.0.1:{port}"),
            now_ns=lambda: 1,
            uniform=lambda low, _high: low,
        )
        self._changed = asyncio.Event()
        self.client.on_change = lambda _state: self._changed.set()
        self.log.on_signed = lambda _head: self.client.notify()

    async def until_witnessed(self, size: int) -> None:
        while self.client.state.witnessed < size:
            assert self.client.state.alarm == ""
            self._changed.clear()
            await self._changed.wait()


@asynccontextmanager
async def box(
    place: Path, settings: LogSettings, port: int, every_s: float = 0.0
) -> AsyncIterator[Box]:
    log = await LogClient.start(settings)
    made = Box(place, log, settings, port, every_s)
    task = asyncio.create_task(made.client.run())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.wait({task})
        await log.aclose()
        made.reader.close()


def report_of(place: Path, settings: LogSettings) -> Report:
    reader = LogReader(settings.directory)
    keys = Trust(
        read_key_text(settings.key_file.with_suffix(".vkey")),
        read_key_text(place / "witness-keys" / "witness.vkey"),
    )
    report = verify(reader, keys)
    reader.close()
    return report


def test_a_cosignature_arrives_and_outages_are_survived(tmp_path: Path) -> None:
    """300 entries witnessed; the collector killed, 300 more appended without it, then witnessed as well."""
    settings = prepare(tmp_path)

    async def work() -> None:
        async with collector(tmp_path) as port, box(tmp_path, settings, port) as first:
            first.log.append([entry(number) for number in range(300)])
            await first.until_witnessed(300)
        async with box(tmp_path, settings, port) as second:
            ticket = second.log.append([entry(number) for number in range(300, 600)])
            await ticket.durable()
            head = await second.log.publish()
            assert head.signed == 600
            assert second.client.state.witnessed == 300
            async with collector(tmp_path, port):
                await second.until_witnessed(600)

    run(work())
    report = report_of(tmp_path, settings)
    assert report.ok, report
    assert (report.entries, report.witnessed, report.witness) == (600, 600, WITNESS.name)


def test_yesterday_s_card_is_found_out_by_the_witness(tmp_path: Path) -> None:
    """Log, files and co-signed head restored together look whole; only the witness remembers more."""
    settings = prepare(tmp_path)

    async def grow(port: int, count: int, size: int) -> None:
        async with box(tmp_path, settings, port) as running:
            running.log.append([entry(number) for number in range(count)])
            await running.until_witnessed(size)

    async def work() -> None:
        async with collector(tmp_path) as port:
            await grow(port, 10, 10)
            shutil.copytree(settings.directory, tmp_path / "yesterday")
            await grow(port, 10, 20)
            shutil.rmtree(settings.directory)
            shutil.copytree(tmp_path / "yesterday", settings.directory)
            assert report_of(tmp_path, settings).ok
            log = await LogClient.start(replace(settings, lock_wait_ms=30_000))
            made = Box(tmp_path, log, settings, port)
            await made.client.compare()
            assert "20 entries of our log were co-signed and it ends at 10" in made.client.state.alarm
            log.append([entry(number, note="another history") for number in range(15)])
            await log.publish()
            made = Box(tmp_path, log, settings, port)
            await made.client.run()
            assert "another history" in made.client.state.alarm
            await log.aclose()

    run(work())
