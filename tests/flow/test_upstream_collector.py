"""The collector over HTTP on loopback: what arrives, what is refused, how it ends."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from appliance.audit.checkpoint import open_checkpoint
from appliance.audit.notes import COSIGNATURE_KEY
from appliance.domain.errors import BusyError, ConfigError, StoreError
from appliance.storage.keys import create_key
from appliance.upstream import collector
from appliance.upstream.collector import CollectorSettings
from appliance.upstream.enrolment_store import create_enrolment_store
from appliance.upstream.mirror_store import create_mirror_store
from appliance.upstream.witness import Request, origin_hash
from appliance.upstream.witness_store import SqliteWitnessStore, create_witness_store
from tests.audit_support import LOG, MIRROR, WITNESS, MemoryLog, run

NOW_S = 1_700_000_000
MODEL = MemoryLog(40)


def prepared(directory: Path, port: int = 0) -> CollectorSettings:
    if not (directory / "keys").exists():
        create_key(directory / "keys", "witness", WITNESS.name, COSIGNATURE_KEY, bytes(range(32, 64)))
        create_key(directory / "keys", "mirror", MIRROR.name, COSIGNATURE_KEY, bytes(range(64, 96)))
        create_witness_store(directory / "witness")
        create_mirror_store(directory / "witness", LOG.name)
    return CollectorSettings(
        host="127.0.0.1",
        port=port,
        directory=directory / "witness",
        key_file=directory / "keys" / "witness.key",
        mirror_key_file=directory / "keys" / "mirror.key",
        policy={LOG.name: (LOG.verifier(),)},
    )


@asynccontextmanager
async def collecting(settings: CollectorSettings) -> AsyncIterator[tuple[str, asyncio.Task[None]]]:
    """A running collector: its address, and its task."""
    listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def heard(host: str, port: int) -> None:
        listening.set_result(f"http://{host}:{port}")

    task = asyncio.create_task(collector.run(settings, lambda: NOW_S, heard))
    try:
        yield await listening, task
    finally:
        task.cancel()
        await asyncio.wait({task})


def body(old: int, size: int) -> bytes:
    return Request(old, tuple(MODEL.consistency(old, size)), MODEL.checkpoint(size)).encode()


def test_checkpoints_are_cosigned_served_and_remembered(tmp_path: Path) -> None:
    """200 with lines, 409 with its content type, the head for monitors; the same after a restart."""

    async def work() -> None:
        settings = prepared(tmp_path)
        async with collecting(settings) as (url, _), aiohttp.ClientSession() as http:
            async with http.post(f"{url}/add-checkpoint", data=body(0, 9)) as reply:
                assert reply.status == 200
                cosigned = MODEL.checkpoint(9) + await reply.read()
            open_checkpoint(cosigned, [LOG.verifier()], [WITNESS.verifier(COSIGNATURE_KEY)])
        async with collecting(settings) as (url, _), aiohttp.ClientSession() as http:
            async with http.post(f"{url}/add-checkpoint", data=body(3, 20)) as reply:
                assert (reply.status, await reply.read()) == (409, b"9\n")
                assert reply.headers["Content-Type"] == "text/x.tlog.size"
            async with http.get(f"{url}/{origin_hash(LOG.name)}/checkpoint") as reply:
                assert (reply.status, await reply.read()) == (200, cosigned)
                assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"
            async with http.get(f"{url}/healthz") as reply:
                assert (reply.status, await reply.read()) == (200, b"ok\n")

    run(work())


def test_everything_else_is_refused_in_one_line(tmp_path: Path) -> None:
    """Unknown paths and methods, malformed bodies, bodies beyond the bound."""

    async def work() -> None:
        async with collecting(prepared(tmp_path)) as (url, _), aiohttp.ClientSession() as http:
            for method, path, data, status in (
                ("GET", "/", None, 404),
                ("GET", "/add-checkpoint", None, 405),
                ("POST", "/add-checkpoint", b"", 400),
                ("POST", "/add-checkpoint", b"x" * 80_000, 413),
                ("GET", f"/{'0' * 64}/checkpoint", None, 404),
                ("GET", f"/{'0' * 63}/checkpoint", None, 404),
                ("GET", "/..%2f..%2fwitness.db/checkpoint", None, 404),
                ("DELETE", f"/{origin_hash(LOG.name)}/checkpoint", None, 405),
            ):
                async with http.request(method, url + path, data=data) as reply:
                    text = await reply.text()
                    assert reply.status == status, (method, path)
                    assert text.strip("\n").count("\n") == 0
                    assert text

    run(work())


PACKED = gzip.compress(b"old 0\n" + bytes(range(256)) * 40)


@pytest.mark.parametrize("path", ["add-checkpoint", "add-entries", "enrol", "rotate-key"])
@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("gzip", b"no gzip at all"),
        ("gzip", PACKED[:-9]),
        ("gzip", PACKED[:30] + b"\0\0\0\0" + PACKED[34:]),
        ("gzip", PACKED[:-8] + bytes(8)),
        ("gzip", PACKED + b"junk behind it"),
        ("gzip", gzip.compress(bytes(50_000_000))),
        ("gzip", b""),
        ("deflate", PACKED),
        ("deflate", zlib.compress(b"nothing")),
        ("br", b"\x0b\x02\x80nothing\x03"),
        ("zstd", b"\x28\xb5\x2f\xfd junk"),
        ("gzip, gzip", gzip.compress(PACKED)),
        ("snappy", b"nothing"),
    ],
)
def test_a_body_that_cannot_be_unpacked_is_the_sender_s_fault(
    tmp_path: Path, path: str, encoding: str, data: bytes
) -> None:
    """A 4xx with its reason, never a 5xx; and the collector goes on."""

    async def work() -> None:
        settings = prepared(tmp_path)
        create_enrolment_store(settings.directory)
        async with collecting(settings) as (url, task), aiohttp.ClientSession() as http:
            headers = {"Content-Encoding": encoding}
            async with http.post(f"{url}/{path}", data=data, headers=headers) as reply:
                assert reply.status in (400, 415), await reply.text()
                assert await reply.text()
            async with http.post(f"{url}/add-checkpoint", data=body(0, 9)) as reply:
                assert reply.status == 200
            assert not task.done()

    run(work())


def test_a_body_that_does_not_arrive_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """408 after the bound, whoever holds the connection open."""
    monkeypatch.setattr(collector, "BODY_TIMEOUT_S", 0.05)

    async def work() -> None:
        async with collecting(prepared(tmp_path)) as (url, _):
            host, port = url.removeprefix("http://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nold 0")
            assert (await reader.readline()).startswith(b"HTTP/1.1 408")
            writer.close()
            await writer.wait_closed()

    run(work())


def test_too_many_at_once_are_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 instead of a queue without end."""
    monkeypatch.setattr(collector, "MAX_WAITING", 0)

    async def work() -> None:
        async with (
            collecting(prepared(tmp_path)) as (url, _),
            aiohttp.ClientSession() as http,
            http.post(f"{url}/add-checkpoint", data=body(0, 9)) as reply,
        ):
            assert reply.status == 503

    run(work())


def test_requests_at_once_end_in_one_history(tmp_path: Path) -> None:
    """Thirty different sizes from nothing: one wins, all others are told its size."""

    async def work() -> None:
        async with collecting(prepared(tmp_path)) as (url, _), aiohttp.ClientSession() as http:

            async def offer(size: int) -> tuple[int, int, bytes]:
                async with http.post(f"{url}/add-checkpoint", data=body(0, size)) as reply:
                    return size, reply.status, await reply.read()

            answers = await asyncio.gather(*(offer(size) for size in range(1, 31)))
            winners = [size for size, status, _ in answers if status == 200]
            assert len(winners) == 1
            others = {text for _, status, text in answers if status == 409}
            assert others == {f"{winners[0]}\n".encode()}

    run(work())


def test_a_port_in_use_is_busy(tmp_path: Path) -> None:
    """Exit 75; an address that is none is a configuration error."""

    async def work() -> None:
        async with collecting(prepared(tmp_path)) as (url, _):
            port = int(url.rsplit(":", 1)[1])
            with pytest.raises(BusyError, match="in use"):
                await collector.run(prepared(tmp_path, port), lambda: NOW_S)
        elsewhere = CollectorSettings(
            host="192.0.2.1",
            port=0,
            directory=tmp_path / "witness",
            key_file=tmp_path / "keys" / "witness.key",
            mirror_key_file=tmp_path / "keys" / "mirror.key",
            policy={},
        )
        with pytest.raises(ConfigError, match="cannot listen"):
            await collector.run(elsewhere, lambda: NOW_S)

    run(work())


def test_a_collector_never_makes_its_own_store_or_key(tmp_path: Path) -> None:
    """Absence is a configuration error that names the command."""
    settings = prepared(tmp_path)
    (tmp_path / "witness" / "witness.db").unlink()
    with pytest.raises(ConfigError, match=r"witness\.db"):
        run(collector.run(settings, lambda: NOW_S))
    create_witness_store(tmp_path / "again")
    (tmp_path / "again" / "witness.db").rename(tmp_path / "witness" / "witness.db")
    (copy,) = (tmp_path / "witness" / "mirror").iterdir()
    copy.unlink()
    with pytest.raises(ConfigError, match=copy.name):
        run(collector.run(settings, lambda: NOW_S))
    (tmp_path / "witness" / "witness.db").unlink()
    settings.key_file.unlink()
    with pytest.raises(ConfigError, match="signing key"):
        run(collector.run(settings, lambda: NOW_S))
    assert [path.name for path in (tmp_path / "witness").iterdir()] == ["mirror"]


def test_a_store_that_fails_ends_the_collector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request gets no co-signature, the process ends with StoreError."""

    def broken(*_: object) -> bool:
        raise StoreError("witness.db cannot be used", "disk full")

    monkeypatch.setattr(SqliteWitnessStore, "advance", broken)

    async def work() -> None:
        async with collecting(prepared(tmp_path)) as (url, task), aiohttp.ClientSession() as http:
            async with http.post(f"{url}/add-checkpoint", data=body(0, 9)) as reply:
                assert reply.status == 500
                assert "—" not in await reply.text()
            with pytest.raises(StoreError, match="disk full"):
                await task

    run(work())
