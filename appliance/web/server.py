"""The HTTP side of the status page: routes, limits, and the socket.

GET and HEAD only. `/` the page with its whole state, `/events` its changes, `/status.json` the same for
tools, `/healthz` for monitors, `/metrics` for Prometheus, `/decisions` the latest verdicts, `/chain/<n>.svg`
one as a picture. Everything a client can make large is bounded here.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection

import msgspec
from aiohttp import hdrs, web

from appliance.domain.errors import BusyError, ConfigError, InvariantError, NoPermissionError
from appliance.domain.status import Status
from appliance.web.access import HEADERS, add_headers, checks, refusal
from appliance.web.assets import assets, assets_digest
from appliance.web.chains import ROUTE, Chains
from appliance.web.decisions import render_decisions
from appliance.web.health import health
from appliance.web.metrics import exposition
from appliance.web.page import render
from appliance.web.source import Pictures, StatusSource
from appliance.web.stream import Broadcast, serve_events

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 8480
MAX_CONNECTIONS = 64
MAX_LINE_BYTES, MAX_HEADER_BYTES, MAX_HEADERS = 2048, 4096, 48
IDLE_S = 20.0  # also the time a client has for its first whole request
FRESH_S = 0.05  # answers made within this time are the same answer: asking often costs little

BROADCAST = web.AppKey("broadcast", Broadcast)

log = logging.getLogger(__name__)

Answer = tuple[int, bytes, str]
"""(HTTP status, body, content type)"""

_JSON = "application/json"
_OPENMETRICS = "application/openmetrics-text"


class _Answers:
    """Answers by route, made again when they are older than FRESH_S."""

    def __init__(self, source: StatusSource, clock: Callable[[], float]) -> None:
        self._source, self._clock = source, clock
        self._kept: dict[str, tuple[float, Answer]] = {}

    def get(self, name: str, make: Callable[[Status], Answer]) -> web.Response:
        """A response whose body is at most FRESH_S old. Names come from this module, never from a request."""
        now = self._clock()
        kept = self._kept.get(name)
        if kept is None or now - kept[0] >= FRESH_S:
            kept = self._kept[name] = (now, make(self._source.current()))
        status, body, content_type = kept[1]
        return web.Response(status=status, body=body, headers={hdrs.CONTENT_TYPE: content_type})


def make_app(
    source: StatusSource,
    *,
    allowed_hosts: Collection[str],
    clock: Callable[[], float] = time.monotonic,
    pictures: Pictures | None = None,
) -> web.Application:
    """The application. Make and run it in the event loop that owns `source`.

    allowed_hosts: names without port, usually `access.LOOPBACK_HOSTS`; an empty list refuses everybody.
    clock: monotonic seconds, for the age of kept answers.  pictures: who draws decisions.
    """
    now = source.current()
    build = f"{now.version} {now.commit} {assets_digest()}"
    answers = _Answers(source, clock)
    app = web.Application(middlewares=[checks(allowed_hosts)])
    app.on_response_prepare.append(add_headers)
    broadcast = app[BROADCAST] = Broadcast(source, build)
    app.on_startup.append(_start_broadcast)
    app.on_shutdown.append(_stop_broadcast)  # before aiohttp waits for the handlers

    async def page(_request: web.Request) -> web.Response:
        return answers.get("/", lambda status: _html(render(status, build)))

    async def status_json(_request: web.Request) -> web.Response:
        return answers.get("/status.json", lambda status: (200, encode_status(status), _JSON))

    async def healthz(_request: web.Request) -> web.Response:
        return answers.get("/healthz", _health)

    async def metrics(request: web.Request) -> web.Response:
        accept = _OPENMETRICS if _OPENMETRICS in request.headers.get(hdrs.ACCEPT, "") else ""
        return answers.get(f"/metrics {accept}", lambda status: (200, *exposition(status, accept)))

    async def decisions(_request: web.Request) -> web.Response:
        return answers.get("/decisions", lambda status: _html(render_decisions(status)))

    async def events(request: web.Request) -> web.StreamResponse:
        return await serve_events(request, broadcast)

    app.add_routes(
        [
            web.get("/", page),
            web.get("/events", events),
            web.get("/status.json", status_json),
            web.get("/healthz", healthz),
            web.get("/metrics", metrics),
            web.get("/decisions", decisions),
            web.get(ROUTE, Chains(pictures, clock).serve),
            web.get("/static/{name}", _static),
        ]
    )
    return app


async def run(
    source: StatusSource,
    *,
    allowed_hosts: Collection[str],
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    ready: Callable[[int], None] | None = None,
    pictures: Pictures | None = None,
) -> None:
    """Serves until cancelled. ready: called with the port once the page can be opened.

    Raises BusyError, NoPermissionError or ConfigError if the address cannot be had, and whatever the source
    raised if it failed: a page that shows nothing new must not stay up.
    """
    app = make_app(source, allowed_hosts=allowed_hosts, pictures=pictures)
    async with listening(app, host=host, port=port) as bound:
        if ready is not None:
            ready(bound)
        await app[BROADCAST].ended()


@contextlib.asynccontextmanager
async def listening(
    app: web.Application, *, host: str = DEFAULT_HOST, port: int = DEFAULT_PORT
) -> AsyncIterator[int]:
    """Serves inside the block; yields the port (0 asks for a free one). Raises as `run`."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        server = await _bind(runner, host, port)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
    finally:
        await runner.cleanup()


class _Connection(web.RequestHandler):
    """aiohttp's connection; what it cannot parse is neither repeated to the sender nor logged at length."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status != 400:
            return super().handle_error(request, status, exc, message)
        log.debug("unreadable request peer=%s", request.remote)
        response = refusal(400, "this is not a request the status page can read", **HEADERS)
        response.headers[hdrs.CACHE_CONTROL] = "no-store"
        response.force_close()
        return response


class _TurnedAway(asyncio.Protocol):
    """One connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            transport.abort()


async def _bind(runner: web.AppRunner, host: str, port: int) -> asyncio.Server:
    loop, manager = asyncio.get_running_loop(), runner.server
    if manager is None:
        raise InvariantError("the web runner has no server after its set-up")

    def connect() -> asyncio.Protocol:
        if len(manager.connections) >= MAX_CONNECTIONS:
            return _TurnedAway()
        return _Connection(
            manager,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # as web.AppRunner passes it: no access log
            keepalive_timeout=IDLE_S,
            lingering_time=1.0,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADERS,
        )

    try:
        return await loop.create_server(connect, host, port, backlog=MAX_CONNECTIONS)
    except OSError as error:
        raise _no_address(error, host, port) from error


def _no_address(error: OSError, host: str, port: int) -> BusyError | NoPermissionError | ConfigError:
    what = f"cannot serve the status page on {host} port {port}"
    if error.errno == errno.EADDRINUSE:
        do = "run `interlock status` to see what is up, or configure another port for the status page"
        return BusyError(what, f"port {port} is in use", do)
    if error.errno in (errno.EACCES, errno.EPERM):
        return NoPermissionError(what, f"{error.strerror}", "configure a port above 1023 for the status page")
    return ConfigError(what, f"{error.strerror or error}", "configure an address this machine has")


async def _start_broadcast(app: web.Application) -> None:
    app[BROADCAST].start()


async def _stop_broadcast(app: web.Application) -> None:
    await app[BROADCAST].stop()


async def _static(request: web.Request) -> web.Response:
    asset = assets().get(request.match_info["name"])
    if asset is None:
        raise web.HTTPNotFound
    headers = {hdrs.ETAG: asset.etag, hdrs.CACHE_CONTROL: "no-cache"}
    if request.headers.get(hdrs.IF_NONE_MATCH) == asset.etag:
        return web.Response(status=304, headers=headers)
    headers[hdrs.CONTENT_TYPE] = f"{asset.content_type}; charset=utf-8"
    return web.Response(body=asset.body, headers=headers)


def encode_status(status: Status) -> bytes:
    """`/status.json`: the contract as it is, field by field. Characters no encoding can carry are escaped."""
    try:
        return msgspec.json.encode(status)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(status)).encode("ascii")


def _html(text: str) -> Answer:
    return 200, text.encode(), "text/html; charset=utf-8"


def _health(status: Status) -> Answer:
    code, body = health(status)
    return code, msgspec.json.encode(body), _JSON
