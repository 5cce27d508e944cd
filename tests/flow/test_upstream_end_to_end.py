"""Core, log writer, upstream client and collector together, the last two over loopback, in real processes."""

from __future__ import annotations

import asyncio
import gzip
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from msgspec.structs import replace

from appliance.audit.checkpoint import open_checkpoint
from appliance.audit.notes import COSIGNATURE_KEY, NOTE_KEY
from appliance.audit.report import Report
from appliance.audit.tiles import new_tiles
from appliance.audit.verify import Trust, verify
from appliance.domain.errors import CannotCreateError
from appliance.storage.keys import create_key, read_key_text, read_verifier
from appliance.storage.log_client import LogClient, LogSettings
from appliance.storage.log_reader import LogReader
from appliance.upstream import mirror_client
from appliance.upstream.client import UpstreamClient, UpstreamSettings, UpstreamState
from appliance.upstream.collector import CollectorSettings
from appliance.upstream.collector import run as run_collector
from appliance.upstream.exchange import Answer, Exchange
from appliance.upstream.mirror_export import export_copies
from appliance.upstream.mirror_store import create_mirror_store
from appliance.upstream.policy import read_policy
from appliance.upstream.upload import read_head
from appliance.upstream.witness import origin_hash
from appliance.upstream.witness_store import create_witness_store
from tests.audit_support import LOG, MIRROR, WITNESS, entry, new_log, run

ROOT = Path(__file__).parents[2]
COLLECTOR = """
import asyncio, sys, time
from pathlib import Path
from appliance.upstream.collector import CollectorSettings, run
from appliance.upstream.policy import read_policy
place = Path(sys.argv[1])
asyncio.run(run(
    CollectorSettings(host="127.0.0.1", port=int(sys.argv[2]), directory=place / "witness",
                      key_file=place / "witness-keys" / "witness.key",
                      mirror_key_file=place / "witness-keys" / "mirror.key",
                      policy=read_policy(place / "policy")),
    lambda: int(time.time()),
    lambda host, port: print(port, flush=True),
))
"""


def prepare(place: Path) -> LogSettings:
    settings = new_log(place, publish_ms=5)
    create_key(place / "witness-keys", "witness", WITNESS.name, COSIGNATURE_KEY)
    create_key(place / "witness-keys", "mirror", MIRROR.name, COSIGNATURE_KEY)
    create_witness_store(place / "witness")
    create_mirror_store(place / "witness", LOG.name)
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


class Spied(Exchange):
    """Remembers where every upload began."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.starts: list[int] = []
        self.third = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def add_entries(self, packed: bytes) -> Answer:
        """As it is; the third one tells."""
        head, _ = read_head(gzip.decompress(packed))
        answer = await super().add_entries(packed)
        self.starts.append(head.start)
        if len(self.starts) == 3:
            self.third.set()
            await self.go_on.wait()
        return answer


class Box:
    """What the runtime will wire up: log, its own reader for the client, client, and their signals."""

    def __init__(
        self, place: Path, log: LogClient, settings: LogSettings, port: int, every_s: float = 0.0
    ) -> None:
        self.log = log
        self.reader = LogReader(settings.directory)
        self.exchange = Spied(f"http://127.0.0.1:{port}")
        self.client = UpstreamClient(
            UpstreamSettings(
                directory=settings.directory,
                log_key=read_verifier(settings.key_file.with_suffix(".vkey"), NOTE_KEY),
                witness_key=read_verifier(place / "witness-keys" / "witness.vkey", COSIGNATURE_KEY),
                every_s=every_s,
                mirror_key=read_verifier(place / "witness-keys" / "mirror.vkey", COSIGNATURE_KEY),
                bytes_per_s=10**9,
            ),
            self.reader,
            self.exchange,
            now_ns=lambda: 1,
            uniform=lambda low, _high: low,
        )
        self.changed = asyncio.Event()
        self.client.on_change = lambda _state: self.changed.set()
        self.log.on_signed = lambda _head: self.client.notify()

    async def until_witnessed(self, size: int) -> None:
        while self.client.state.witnessed < size:
            assert self.client.state.alarm == ""
            self.changed.clear()
            await self.changed.wait()

    async def until_mirrored(self, size: int) -> None:
        while self.client.state.mirrored < size:
            assert self.client.state.alarm == ""
            self.changed.clear()
            await self.changed.wait()


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


def test_thirty_days_offline_are_caught_up(tmp_path: Path) -> None:
    """43,200 entries, one a minute, while nobody answered; all of them arrive, and the tree is the log's."""
    settings = prepare(tmp_path)
    count = 43_200

    async def work() -> None:
        log = await LogClient.start(settings)
        for first in range(0, count, 1_200):
            await log.append([entry(number) for number in range(first, first + 1_200)]).durable()
        await log.aclose()
        async with collector(tmp_path) as port, box(tmp_path, settings, port) as back:
            await back.until_mirrored(count)
            assert (back.client.state.witnessed, back.client.state.mirrored) == (count, count)

    run(work())
    out = tmp_path / "export"
    assert export_copies(tmp_path / "witness", [LOG.name], out, lambda *_: None) == {LOG.name: count}
    assert (out / origin_hash(LOG.name) / "tile/1/000.p/168").read_bytes() == (
        settings.directory / "tile/1/000.p/168"
    ).read_bytes()


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


def test_the_mirror_holds_what_the_log_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """1,500 entries in pieces, the collector killed between two of them; it goes on where it was, and every
    file it then serves is the log's own, byte for byte, under the log's signature and the mirror's."""
    monkeypatch.setattr(mirror_client, "PIECE", 20_000)
    settings = prepare(tmp_path)

    async def work() -> None:
        async with collector(tmp_path) as port, box(tmp_path, settings, port) as first:
            first.log.append([entry(number) for number in range(700)])
            await first.exchange.third.wait()
        assert first.client.state.mirrored == 0, "killed before the last piece"
        async with collector(tmp_path, port), box(tmp_path, settings, port) as second:
            second.log.append([entry(number) for number in range(700, 1_500)])
            await second.until_mirrored(1_500)
            assert second.exchange.starts[:2] == [0, 512], "asked, then on from where it was"
            out = tmp_path / "export"
            told: list[tuple[str, int, int]] = []
            assert export_copies(tmp_path / "witness", [LOG.name], out, lambda *each: told.append(each)) == {
                LOG.name: 1_500
            }
            assert told[-1] == (LOG.name, 13, 13)
            _same_files(out / origin_hash(LOG.name), settings.directory)
            with pytest.raises(CannotCreateError, match="something in it"):
                export_copies(tmp_path / "witness", [LOG.name], out, lambda *_: None)
            await _compare(f"http://127.0.0.1:{port}/mirror/{origin_hash(LOG.name)}", settings.directory)
        async with collector(tmp_path, port), box(tmp_path, settings, port) as third:
            await third.until_mirrored(1_500)

    run(work())
    assert report_of(tmp_path, settings).ok


def test_a_long_upload_does_not_keep_the_witness_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the third of many pieces the log grows: that is co-signed first, then the rest is uploaded."""
    monkeypatch.setattr(mirror_client, "PIECE", 20_000)
    monkeypatch.setattr(mirror_client, "ROUND_S", -1.0)
    settings = prepare(tmp_path)

    async def work() -> None:
        async with collector(tmp_path) as port, box(tmp_path, settings, port) as one:
            states: list[UpstreamState] = []

            def changed(state: UpstreamState) -> None:
                states.append(state)
                one.changed.set()

            one.client.on_change = changed
            one.exchange.go_on.clear()
            one.log.append([entry(number) for number in range(3_000)])
            await one.exchange.third.wait()
            one.log.append([entry(number) for number in range(3_000, 3_100)])
            await one.log.publish()
            one.exchange.go_on.set()
            await one.until_mirrored(3_100)
            (between, *_) = [state for state in states if state.witnessed == 3_100]
            assert between.mirrored == 0
            assert 0 < between.uploaded < 3_000

    run(work())


def _same_files(out: Path, log: Path) -> None:
    """Every tile is the log's own; the checkpoint carries the mirror's signature beside the log's."""
    found = sorted(path.relative_to(out) for path in (out / "tile").rglob("*") if path.is_file())
    assert len(found) == 13
    for path in found:
        assert (out / path).read_bytes() == (log / path).read_bytes()
    note, own = (out / "checkpoint").read_bytes(), (log / "checkpoint").read_bytes()
    assert note.startswith(own)
    assert note[len(own) :].decode().startswith(f"\u2014 {MIRROR.name} ")


async def _compare(url: str, directory: Path) -> None:
    async with aiohttp.ClientSession() as session:

        async def served(path: str) -> tuple[int, bytes]:
            async with session.get(f"{url}/{path}") as reply:
                return reply.status, await reply.read()

        status, note = await served("checkpoint")
        assert status == 200
        log = read_verifier(directory.parent / "keys" / "log.vkey", NOTE_KEY)
        mirror = read_verifier(directory.parent / "witness-keys" / "mirror.vkey", COSIGNATURE_KEY)
        signed = open_checkpoint(note, [log], [mirror])
        assert (signed.checkpoint.size, len(signed.cosigned)) == (1_500, 1)
        tiles = list(new_tiles(0, 1_500))
        assert len(tiles) == 13
        for tile in tiles:
            assert await served(tile.path) == (200, (directory / tile.path).read_bytes())
        for wrong in ("tile/0/006", "tile/0/5", "tile/0/005.p/221", "tile/2/000", "tile/../log.db", "log.db"):
            assert (await served(wrong))[0] == 404


def test_a_box_is_enrolled_at_a_collector_of_another_machine(tmp_path: Path) -> None:
    """Its public key in, two public keys out; its log is then witnessed and stored there. Twice is once."""
    paths = ["--state", str(tmp_path / "there"), "--runtime", str(tmp_path / "run")]

    def interlock(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "appliance", *words, *paths]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)

    settings = new_log(tmp_path / "box", publish_ms=5)
    vkey = settings.key_file.with_suffix(".vkey").read_text()
    assert interlock("init").returncode == 0
    first = interlock("collector", "--enrol", vkey)
    assert first.returncode == 0, first.stderr
    assert f"enrolled {LOG.name}" in first.stderr
    policy = tmp_path / "there/trust/collector.policy"
    text = policy.read_text()
    assert text.endswith(f"log {vkey.strip()}\n")
    again = interlock("collector", "--enrol", vkey)
    assert (again.returncode, again.stdout, policy.read_text()) == (0, first.stdout, text)
    for wrong in ("", "nonsense", first.stdout.split()[1]):
        refused = interlock("collector", "--enrol", wrong)
        assert (refused.returncode, policy.read_text()) == (2, text)
        assert "trust/log.vkey" in refused.stderr
    keys = dict(line.split() for line in first.stdout.splitlines())
    store = CollectorSettings(
        host="127.0.0.1",
        port=0,
        directory=tmp_path / "there/collector",
        key_file=tmp_path / "there/keys/witness.key",
        mirror_key_file=tmp_path / "there/keys/mirror.key",
        policy=read_policy(policy),
    )

    async def work() -> None:
        listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(
            run_collector(store, lambda: 1_700_000_000, lambda _host, port: listening.set_result(port))
        )
        (tmp_path / "box/witness-keys").mkdir()
        for name in ("witness", "mirror"):
            (tmp_path / f"box/witness-keys/{name}.vkey").write_text(keys[f"trust/{name}.vkey"] + "\n")
        async with box(tmp_path / "box", settings, await listening) as enrolled:
            enrolled.log.append([entry(number) for number in range(20)])
            await enrolled.until_mirrored(20)
        serving.cancel()
        await asyncio.wait({serving})

    run(work())
