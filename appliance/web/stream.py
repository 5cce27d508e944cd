"""/events: one frame is made for all readers, when something changes and otherwise four times a second.

Nobody waits for a reader. A frame goes only to readers whose socket took the one before; who does not read
for SLOW_S is cut off. Frames are not queued: a late reader gets the newest state, never an old one.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import msgspec
from aiohttp import ClientConnectionResetError, hdrs, web

from appliance.web.access import refusal
from appliance.web.source import StatusSource
from appliance.web.view import view

MAX_STREAMS = 16
TICK_S = 0.25
MIN_GAP_S = 0.02  # a source that rings without end costs at most 50 frames a second
SLOW_S = 5.0
SEND_BUFFER_BYTES = 32_768  # a few frames: what the kernel holds for a reader is already old

_HEADERS = {hdrs.CONTENT_TYPE: "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}
_FULL = f"all {MAX_STREAMS} streams are in use; close another status page"


class Broadcast:
    """Makes the frames while anybody reads. One per application; belongs to its event loop."""

    def __init__(self, source: StatusSource, build: str) -> None:
        self._source, self._build = source, build
        self._frame: bytes | None = None
        self._serial = 0
        self._turn = asyncio.Event()
        self._wanted = asyncio.Event()
        self._closed = False
        self._task: asyncio.Task[None] | None = None
        self.streams = 0
        self.cut_off = 0

    def start(self) -> None:
        """Begins to make frames whenever there is a reader."""
        self._task = asyncio.create_task(self._run(), name="web-broadcast")

    async def ended(self) -> None:
        """Returns after `stop`; raises what the source raised."""
        if self._task is not None:
            await self._task

    async def stop(self) -> None:
        """Ends the task and every stream. Never raises: what the source raised is told by `ended`."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._close()

    async def _run(self) -> None:
        # An error of the source ends the task, and with it every stream: pages say UNKNOWN.
        seen = 0
        try:
            while True:
                await self._wanted.wait()
                self._publish()
                await asyncio.sleep(MIN_GAP_S)
                seen = await self._change_or_tick(seen)
        finally:
            self._close()

    async def _change_or_tick(self, seen: int) -> int:
        tick = asyncio.timeout(TICK_S)
        try:
            async with tick:
                return await self._source.wait_change(seen)
        except TimeoutError:
            if not tick.expired():  # the source's own, and so its failure
                raise
            return seen

    def _close(self) -> None:
        self._closed = True
        self._turn.set()

    @contextlib.contextmanager
    def reader(self) -> Iterator[None]:
        """Counts one stream; the first one starts the frames, the last one stops them."""
        self.streams += 1
        self._wanted.set()
        try:
            yield
        finally:
            self.streams -= 1
            if not self.streams:
                self._wanted.clear()
                self._frame = None  # the next first reader must not be shown this moment as its own

    async def feed(self, response: web.StreamResponse, transport: asyncio.Transport) -> None:
        """Sends frames until the reader leaves, stops reading, or the broadcast closes."""
        clock = asyncio.get_running_loop().time
        serial, waiting_since = 0, clock()
        while (frame := await self._after(serial)) is not None:
            serial = self._serial
            if transport.is_closing():
                return
            if not transport.get_write_buffer_size():
                waiting_since = clock()
                await response.write(frame)
            elif clock() - waiting_since > SLOW_S:
                self.cut_off += 1
                transport.abort()
                return

    async def _after(self, serial: int) -> bytes | None:
        while not self._closed and (self._frame is None or self._serial == serial):
            await self._turn.wait()
        return None if self._closed else self._frame

    def _publish(self) -> None:
        shown = view(self._source.current(), self._build)
        self._serial += 1
        self._frame = b"id: %d\nevent: view\ndata: %b\n\n" % (self._serial, msgspec.json.encode(shown))
        waiting, self._turn = self._turn, asyncio.Event()
        waiting.set()


async def serve_events(request: web.Request, broadcast: Broadcast) -> web.StreamResponse:
    """GET /events: a stream, or 503 with the reason if there are too many. HEAD: the headers only."""
    if request.method == "HEAD":
        return web.Response(headers=_HEADERS)
    if broadcast.streams >= MAX_STREAMS:
        return refusal(503, _FULL, **{hdrs.RETRY_AFTER: "5"})
    response = web.StreamResponse(headers=_HEADERS)
    with broadcast.reader(), contextlib.suppress(ClientConnectionResetError):
        await response.prepare(request)
        transport = request.transport
        if transport is not None:
            _keep_little(transport)
            await broadcast.feed(response, transport)
    return response


def _keep_little(transport: asyncio.Transport) -> None:
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
