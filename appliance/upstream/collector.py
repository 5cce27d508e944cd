"""The collector: a witness for many logs behind HTTP. One process, SQLite, no other state.

    POST /add-checkpoint               co-signs (C2SP tlog-witness)
    GET  /<hex sha256(origin)>/checkpoint   the last co-signed checkpoint, for monitors
    GET  /healthz

Checks and writes run one after the other in one thread, so the event loop never waits for a disk. Bodies
are bounded, every refusal says why in one line. A store error ends the process: what it co-signed since
cannot be known to be stored.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aiohttp import web
from msgspec import Struct

from appliance.audit.notes import MAX_NOTE
from appliance.domain.errors import BusyError, ConfigError, NoPermissionError, StoreError
from appliance.storage.keys import read_signing_key
from appliance.upstream.policy import Policy
from appliance.upstream.witness import SIZE, TEXT, Reply, Witness
from appliance.upstream.witness_store import SqliteWitnessStore

MAX_BODY = MAX_NOTE + 4096
MAX_WAITING = 64
BODY_TIMEOUT_S = 10.0
_STOP_S = 5.0

class CollectorSettings(Struct, frozen=True, kw_only=True):
    """directory: as `create_witness_store` made it.  key_file: the witness's private key."""

    host: str
    port: int
    directory: Path
    key_file: Path
    policy: Policy


class _Served:
    """The witness behind one worker thread, with a bound on who waits for it."""

    def __init__(self, witness: Witness, pool: ThreadPoolExecutor) -> None:
        self._witness = witness
        self._pool = pool
        self._waiting = 0
        self.failed: asyncio.Future[StoreError] = asyncio.get_running_loop().create_future()

    async def add_checkpoint(self, request: web.Request) -> web.Response:
        if self._waiting >= MAX_WAITING:
            return _response(Reply(503, b"too many requests at once\n"))
        self._waiting += 1
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                body = await request.read()
            return await self._call(lambda: self._witness.add_checkpoint(body))
        except TimeoutError:
            return _response(Reply(408, b"the body did not arrive\n"))
        except web.HTTPRequestEntityTooLarge:
            return _response(Reply(413, f"a request may have {MAX_BODY} bytes\n".encode()))
        finally:
            self._waiting -= 1

    async def latest(self, request: web.Request) -> web.Response:
        return await self._call(lambda: self._latest(request.match_info["origin"]))

    async def healthz(self, _request: web.Request) -> web.Response:
        return _response(Reply(200, b"ok\n"))

    def _latest(self, origin: str) -> Reply:
        note = self._witness.latest(origin)
        return Reply(404, b"nothing was co-signed for this origin\n") if note is None else Reply(200, note)

    async def _call(self, work: Callable[[], Reply]) -> web.Response:
        try:
            return _response(await asyncio.get_running_loop().run_in_executor(self._pool, work))
        except StoreError as error:
            if not self.failed.done():
                self.failed.set_result(error)
            return _response(Reply(500, b"the witness cannot store anything\n"))


def _response(reply: Reply) -> web.Response:
    headers = {"Content-Type": SIZE if reply.content_type == SIZE else TEXT, "Cache-Control": "no-store"}
    return web.Response(status=reply.status, body=reply.body, headers=headers)


async def run(
    settings: CollectorSettings,
    now_s: Callable[[], int],
    listening: Callable[[str, int], None] | None = None,
) -> None:
    """Serves until cancelled. `listening` is told host and port once connections are accepted.

    Raises BusyError (port in use), NoPermissionError, ConfigError (key, store, address), StoreError.
    """
    loop = asyncio.get_running_loop()
    key = read_signing_key(settings.key_file)
    with ThreadPoolExecutor(1, "witness") as pool:
        store = await loop.run_in_executor(pool, SqliteWitnessStore, settings.directory)
        served = _Served(Witness(key, settings.policy, store, now_s), pool)
        runner = web.AppRunner(_application(served), access_log=None, shutdown_timeout=_STOP_S)
        try:
            await runner.setup()
            host, port = await _listen(runner, settings.host, settings.port)
            if listening is not None:
                listening(host, port)
            raise await served.failed
        finally:
            await runner.cleanup()
            await loop.run_in_executor(pool, store.close)


def _application(served: _Served) -> web.Application:
    application = web.Application(client_max_size=MAX_BODY)
    application.router.add_post("/add-checkpoint", served.add_checkpoint)
    application.router.add_get("/{origin:[0-9a-f]{64}}/checkpoint", served.latest)
    application.router.add_get("/healthz", served.healthz)
    return application


async def _listen(runner: web.AppRunner, host: str, port: int) -> tuple[str, int]:
    site = web.TCPSite(runner, host, port)
    where = f"{host}:{port}"
    try:
        await site.start()
    except OSError as error:
        why = f"{error.strerror or error} ({where})"
        if error.errno == errno.EADDRINUSE:
            do = "stop the other collector, or choose another port"
            raise BusyError("the collector's port is in use", why, do) from error
        if error.errno == errno.EACCES:
            raise NoPermissionError("the collector may not listen there", why) from error
        raise ConfigError("the collector cannot listen there", why) from error
    address = runner.addresses[0]
    return str(address[0]), int(address[1])
