"""The collector: a witness and a mirror for many logs behind HTTP. One process, SQLite, no other state.

    POST /add-checkpoint               co-signs (C2SP tlog-witness)
    POST /add-entries                  stores and co-signs as a mirror (C2SP tlog-mirror)
    POST /enrol                        takes a log that brings a token, for good (`enrolment`)
    POST /rotate-key                   goes on with a log under its next key
    GET  /<hex sha256(origin)>/checkpoint          the last co-signed checkpoint, for monitors
    GET  /mirror/<hex sha256(origin)>/checkpoint   the last one whose entries are stored here
    GET  /mirror/<hex sha256(origin)>/tile/…       those entries and their tree (C2SP tlog-tiles)
    GET  /healthz

Entries tell what an account did: they are served to this machine alone. Checks and writes run one after the
other in one thread, so the event loop never waits for a disk. Bodies are bounded, every refusal says why in
one line. A store error ends the process: what it co-signed since cannot be known to be stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aiohttp import StreamReader, web
from msgspec import Struct

from appliance.audit.key_chain import KeyChain
from appliance.audit.key_notes import MAX_KEY_NOTE
from appliance.audit.notes import COSIGNATURE_KEY, MAX_NOTE
from appliance.audit.tiles import parse_path, tile_of
from appliance.domain.errors import BusyError, ConfigError, NoPermissionError, PeerError, StoreError
from appliance.storage.keys import read_signing_key
from appliance.upstream.enrolment import Enrolment, read_book
from appliance.upstream.enrolment_store import EnrolmentStore, has_enrolment_store
from appliance.upstream.mirror import Mirror
from appliance.upstream.mirror_store import MirrorStore, need_mirror_store
from appliance.upstream.policy import Policy
from appliance.upstream.upload import ENTRIES_TYPE, INFO
from appliance.upstream.witness import SIZE, TEXT, Reply, Witness, origin_hash
from appliance.upstream.witness_store import SqliteWitnessStore

MAX_BODY = MAX_NOTE + 4096
MAX_UPLOAD = 4_000_000
"""Bytes of an upload, unpacked, that are looked at; the client goes on behind the last whole package."""

MAX_WAITING = 64
BODY_TIMEOUT_S = 10.0
UPLOAD_TIMEOUT_S = 60.0
_STOP_S = 5.0
_CHUNK = 65_536
_GZIP = 31
"""A window of 32 kB with gzip's header and check sum, as zlib counts."""

_TYPES = {SIZE: SIZE, INFO: INFO, ENTRIES_TYPE: ENTRIES_TYPE}


class CollectorSettings(Struct, frozen=True, kw_only=True):
    """directory: as `interlock init` made it.  key_file, mirror_key_file: of witness and mirror."""

    host: str
    port: int
    directory: Path
    key_file: Path
    mirror_key_file: Path
    policy: Policy


class _Served:
    """Witness and mirror behind one worker thread, with a bound on who waits for it."""

    def __init__(
        self,
        witness: Witness,
        mirror: Mirror,
        enrolment: Enrolment | None,
        stores: Mapping[str, MirrorStore],
        pool: ThreadPoolExecutor,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """stores: by the hash of their origin.  enrolment: None where no store for it was made."""
        self._witness = witness
        self._mirror = mirror
        self._enrolment = enrolment
        self._stores = stores
        self._pool = pool
        self._waiting = 0
        self.failed: asyncio.Future[StoreError] = loop.create_future()

    async def add_checkpoint(self, request: web.Request) -> web.Response:
        if "Content-Encoding" in request.headers:
            return _response(Reply(415, b"a checkpoint is not packed\n"))
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

    async def add_entries(self, request: web.Request) -> web.Response:
        encoding = request.headers.get("Content-Encoding", "identity").lower()
        if encoding not in ("gzip", "identity"):
            return _response(Reply(415, b"an upload is packed with gzip or not at all\n"))
        if self._waiting >= MAX_WAITING:
            return _response(Reply(503, b"too many requests at once\n"))
        self._waiting += 1
        try:
            async with asyncio.timeout(UPLOAD_TIMEOUT_S):
                body = await _body_of(request.content, MAX_UPLOAD, packed=encoding == "gzip")
            return await self._call(lambda: self._mirror.add_entries(body))
        except TimeoutError:
            return _response(Reply(408, b"the body did not arrive\n"))
        except PeerError as error:
            return _response(Reply(400, f"{error.sentence()}\n".encode()))
        finally:
            self._waiting -= 1

    async def enrol(self, request: web.Request) -> web.Response:
        return await self._small(request, None if self._enrolment is None else self._enrolment.enrol)

    async def rotate_key(self, request: web.Request) -> web.Response:
        return await self._small(request, None if self._enrolment is None else self._enrolment.rotate)

    async def _small(self, request: web.Request, decide: Callable[[bytes], Reply] | None) -> web.Response:
        """A request of one short note."""
        if decide is None:
            return _response(Reply(404, b"this collector takes neither tokens nor rotations\n"))
        if "Content-Encoding" in request.headers:
            return _response(Reply(415, b"a note is not packed\n"))
        if self._waiting >= MAX_WAITING:
            return _response(Reply(503, b"too many requests at once\n"))
        self._waiting += 1
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                body = await _body_of(request.content, MAX_KEY_NOTE + 1)
            if len(body) > MAX_KEY_NOTE:
                return _response(Reply(413, f"a request may have {MAX_KEY_NOTE} bytes\n".encode()))
            return await self._call(lambda: decide(body))
        except TimeoutError:
            return _response(Reply(408, b"the body did not arrive\n"))
        finally:
            self._waiting -= 1

    async def latest(self, request: web.Request) -> web.Response:
        return await self._call(lambda: self._latest(request.match_info["origin"]))

    async def mirrored(self, request: web.Request) -> web.Response:
        """A file of a copy: its checkpoint, or a tile of what that covers."""
        if not _is_here(request.remote):
            return _response(Reply(403, b"entries are served to this machine alone\n"))
        origin, path = request.match_info["origin"], request.match_info["path"]
        return await self._call(lambda: self._file(origin, path))

    def _file(self, origin: str, path: str) -> Reply:
        store = self._stores.get(origin)
        head = store.cosigned() if store is not None else None
        if store is None or head is None:
            return Reply(404, b"nothing of this origin is stored\n")
        if path == "checkpoint":
            return Reply(200, head.note)
        tile = parse_path(path)
        known = tile_of(tile.level, tile.index, head.size) if tile is not None else None
        if tile is None or known is None or not 0 < tile.width <= known.width:
            return Reply(404, b"no such file\n")
        return Reply(200, store.content(tile), ENTRIES_TYPE)

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
    headers = {"Content-Type": _TYPES.get(reply.content_type, TEXT), "Cache-Control": "no-store"}
    return web.Response(status=reply.status, body=reply.body, headers=headers)


async def _body_of(stream: StreamReader, most: int, *, packed: bool = False) -> bytes:
    """The first so many bytes of a body, unpacked: what is behind them is neither read nor kept.

    Raises PeerError for what is not one whole member of gzip. Unpacked here and not by the HTTP server, which
    drops the connection without a word where it cannot.
    """
    body, unpack = bytearray(), zlib.decompressobj(wbits=_GZIP) if packed else None
    while len(body) < most and (chunk := await stream.read(_CHUNK)):
        room = most - len(body)
        try:
            body += chunk[:room] if unpack is None else unpack.decompress(chunk, room)
        except zlib.error as error:
            raise PeerError("the body cannot be unpacked", str(error)) from error
        if unpack is not None and unpack.unused_data:
            raise PeerError("the body cannot be unpacked", "something follows its end")
    if unpack is not None and not unpack.eof and len(body) < most:
        raise PeerError("the body cannot be unpacked", "it ends early")
    return bytes(body)


def _is_here(address: str | None) -> bool:
    try:
        return ipaddress.ip_address(address or "").is_loopback
    except ValueError:
        return False


async def run(
    settings: CollectorSettings,
    now_s: Callable[[], int],
    listening: Callable[[str, int], None] | None = None,
) -> None:
    """Serves until cancelled. `listening` is told host and port once connections are accepted.

    Raises BusyError (port in use), NoPermissionError, ConfigError (key, store, address), StoreError.
    """
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, "witness") as pool, contextlib.ExitStack() as stack:
        served = await loop.run_in_executor(pool, _open, settings, now_s, pool, stack, loop)
        runner = web.AppRunner(
            _application(served), access_log=None, shutdown_timeout=_STOP_S, auto_decompress=False
        )
        try:
            await runner.setup()
            host, port = await _listen(runner, settings.host, settings.port)
            if listening is not None:
                listening(host, port)
            raise await served.failed
        finally:
            await runner.cleanup()
            await loop.run_in_executor(pool, stack.close)


def _open(
    settings: CollectorSettings,
    now_s: Callable[[], int],
    pool: ThreadPoolExecutor,
    stack: contextlib.ExitStack,
    loop: asyncio.AbstractEventLoop,
) -> _Served:
    """In the thread that will use the stores; stack: closes them, in that thread too."""
    keys = read_signing_key(settings.key_file), read_signing_key(settings.mirror_key_file)
    store = SqliteWitnessStore(settings.directory)
    stack.callback(store.close)
    copies: dict[str, MirrorStore] = {}
    stores: dict[str, MirrorStore] = {}

    def take(origin: str) -> None:
        copies[origin] = stores[origin_hash(origin)] = MirrorStore(settings.directory, origin)
        stack.callback(copies[origin].close)

    def make(origin: str) -> None:
        need_mirror_store(settings.directory, origin)
        if origin not in copies:
            take(origin)

    kept = EnrolmentStore(settings.directory) if has_enrolment_store(settings.directory) else None
    book = {origin: KeyChain.rooted(*known) for origin, known in settings.policy.items()}
    enrolment = None
    if kept is not None:
        stack.callback(kept.close)
        book = read_book(settings.policy, kept)
        own = [key.verifier(COSIGNATURE_KEY) for key in keys]
        enrolment = Enrolment(kept, book, store, now_s, make, own)
    for origin in book:
        take(origin)
    witness = Witness(keys[0], book, store, now_s)
    mirror = Mirror(keys[1], book, store, copies, now_s)
    return _Served(witness, mirror, enrolment, stores, pool, loop)


def _application(served: _Served) -> web.Application:
    application = web.Application(client_max_size=MAX_BODY)
    application.router.add_post("/add-checkpoint", served.add_checkpoint)
    application.router.add_post("/add-entries", served.add_entries)
    application.router.add_post("/enrol", served.enrol)
    application.router.add_post("/rotate-key", served.rotate_key)
    application.router.add_get("/{origin:[0-9a-f]{64}}/checkpoint", served.latest)
    application.router.add_get("/mirror/{origin:[0-9a-f]{64}}/{path:.+}", served.mirrored)
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
