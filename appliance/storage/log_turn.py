"""Two small helpers of the log's client, both for many orders at once: what one turn of the event loop writes
leaves in one piece, and an acknowledgement wakes those it is for. Owned by the event loop."""

from __future__ import annotations

import asyncio
from heapq import heappop, heappush
from itertools import count

TURN_BYTES = 16 * 1024


class Outbox:
    """Bytes on their way to a transport, in the order of `write`."""

    __slots__ = ("_loop", "_transport", "_unwritten")

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.WriteTransport) -> None:
        self._loop = loop
        self._transport = transport
        self._unwritten = bytearray()

    def write(self, data: bytes) -> None:
        """One system call for what one turn brings: a call for each would cost as much as the gate. A turn
        that brings much does not keep the other end waiting."""
        if not self._unwritten:
            self._loop.call_soon(self._flush)
        self._unwritten += data
        if len(self._unwritten) >= TURN_BYTES:
            self._flush()

    def close(self) -> None:
        """Closes the transport behind everything written."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._unwritten:
            data = bytes(self._unwritten)
            self._unwritten.clear()
            self._transport.write(data)


class Waits:
    """Who waits until a count has grown so far."""

    __slots__ = ("_heap", "_loop", "_number")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[tuple[int, int, asyncio.Future[None]]] = []  # count, number of the wait
        self._number = count()

    async def until(self, size: int) -> None:
        """Returns after a `reach` of `size` or more."""
        woken = self._loop.create_future()
        heappush(self._heap, (size, next(self._number), woken))
        await woken

    def reach(self, size: int) -> None:
        """Wakes whoever waits for no more than this, and nobody else: hundreds may wait."""
        while self._heap and self._heap[0][0] <= size:
            woken = heappop(self._heap)[2]
            if not woken.done():  # it is if its task was cancelled
                woken.set_result(None)
