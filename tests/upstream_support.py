"""A witness that does what a test tells it, and the client beside it with time in the test's hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

from aiohttp import web

from appliance.audit.checkpoint import open_checkpoint
from appliance.audit.notes import COSIGNATURE_KEY, SigningKey, parse_note
from appliance.upstream.client import UpstreamClient, UpstreamSettings, UpstreamState
from appliance.upstream.exchange import Exchange
from appliance.upstream.witness import Request, origin_hash, parse_request
from tests.audit_support import LOG, WITNESS, MemoryLog, run

NOW_NS = 1_800_000_000_000_000_000
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Served(Protocol):
    """What can stand in for an upstream. url: where it is, once it is served."""

    url: str

    async def post(self, request: web.Request) -> web.StreamResponse:
        """add-checkpoint."""
        ...

    async def get(self, request: web.Request) -> web.StreamResponse:
        """The last checkpoint."""
        ...


class FakeWitness:
    """Answers add-checkpoint with whatever the test sets; by default as a witness should."""

    def __init__(self) -> None:
        self.seen: list[Request] = []
        self.answer: Handler = self.good
        self.latest: Handler = self.unknown
        self.size = 0
        self.url = ""

    async def post(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(parse_request(await request.read()))
        return await self.answer(request)

    async def get(self, request: web.Request) -> web.StreamResponse:
        assert request.match_info["origin"] == origin_hash(LOG.name)
        return await self.latest(request)

    async def good(self, _request: web.Request) -> web.StreamResponse:
        asked = self.seen[-1]
        if asked.old != self.size:
            return conflict(self.size)
        self.size = int(asked.checkpoint.split(b"\n")[1])
        return web.Response(body=cosignature(asked.checkpoint))

    async def unknown(self, _request: web.Request) -> web.StreamResponse:
        return web.Response(status=404)


async def endless(request: web.Request) -> web.StreamResponse:
    """A body that does not end by itself."""
    response = web.StreamResponse()
    await response.prepare(request)
    try:
        for _ in range(1000):
            await response.write(b"x" * 65_536)
    except ConnectionError:
        return response
    return response


def cosignature(note: bytes, key: SigningKey = WITNESS) -> bytes:
    return key.cosign(parse_note(note).text, NOW_NS // 10**9).line.encode()


def conflict(size: int) -> web.Response:
    return web.Response(status=409, body=f"{size}\n".encode(), headers={"Content-Type": "text/x.tlog.size"})


def always(status: int, text: bytes = b"", **headers: str) -> Handler:
    async def answer(_request: web.Request) -> web.StreamResponse:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, body=text, headers=names)

    return answer


@asynccontextmanager
async def serving(witness: Served, upload: Handler | None = None) -> AsyncIterator[None]:
    """On loopback. upload: what answers add-entries, if anything does."""
    application = web.Application()
    if upload is not None:
        application.router.add_post("/add-entries", upload)
    application.router.add_post("/add-checkpoint", witness.post)
    application.router.add_get("/{origin}/checkpoint", witness.get)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        witness.url = "http://{}:{}".format(*runner.addresses[0][:2])
        yield
    finally:
        await runner.cleanup()


class Pauses:
    """The client's sleep, in the hand of the test: each pause is seen and ended by it."""

    def __init__(self) -> None:
        self._asked: asyncio.Queue[float] = asyncio.Queue()
        self._go: asyncio.Queue[None] = asyncio.Queue()

    async def sleep(self, seconds: float) -> None:
        self._asked.put_nowait(seconds)
        await self._go.get()

    async def next(self) -> float:
        """Waits until the client pauses; returns for how long it wants to."""
        return await self._asked.get()

    async def asks_no_more(self) -> bool:
        """True if the client, left alone, waits for news instead of going round."""
        for _ in range(50):
            await asyncio.sleep(0)
        await asyncio.to_thread(lambda: None)
        return self._asked.empty()

    def over(self) -> None:
        """Ends the pause."""
        self._go.put_nowait(None)


class Bench:
    """Client, log and witness of one test."""

    def __init__(self, directory: Path, witness: FakeWitness, log: MemoryLog, total_s: float = 20.0) -> None:
        self.directory, self.witness, self.log = directory, witness, log
        self.pauses = Pauses()
        self.states: list[UpstreamState] = []
        settings = UpstreamSettings(
            directory=directory,
            log_key=LOG.verifier(),
            witness_key=WITNESS.verifier(COSIGNATURE_KEY),
            every_s=7.0,
        )
        self.client = UpstreamClient(
            settings,
            log,
            Exchange(witness.url, total_s),
            now_ns=lambda: NOW_NS,
            sleep=self.pauses.sleep,
            uniform=lambda _low, high: high,
        )
        self.client.on_change = self.states.append

    @property
    def state(self) -> UpstreamState:
        return self.client.state

    def kept(self) -> int:
        """Size of the co-signed checkpoint on disk, its signatures verified; 0 if there is none."""
        path = self.directory / "cosigned"
        if not path.exists():
            return 0
        keys = [LOG.verifier()], [WITNESS.verifier(COSIGNATURE_KEY)]
        return open_checkpoint(path.read_bytes(), *keys).checkpoint.size

    def running(self) -> AbstractAsyncContextManager[asyncio.Task[None]]:
        return running(self.client)


@asynccontextmanager
async def running(client: UpstreamClient) -> AsyncIterator[asyncio.Task[None]]:
    """The client's task, for the length of the block."""
    task = asyncio.create_task(client.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


def with_bench(
    tmp_path: Path,
    work: Callable[[Bench], Awaitable[None]],
    log: MemoryLog | None = None,
    total_s: float = 20.0,
) -> None:
    async def whole() -> None:
        witness = FakeWitness()
        async with serving(witness):
            await work(Bench(tmp_path, witness, log or MemoryLog(9, [9]), total_s))

    run(whole())
