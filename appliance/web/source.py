"""Where the page's state comes from: one protocol, and the bell that says when to look again. R2."""

from __future__ import annotations

import asyncio
from typing import Protocol

from appliance.domain.status import Status


class StatusSource(Protocol):
    """What the core shows of itself. Both calls belong to the event loop the page is served from."""

    def current(self) -> Status:
        """One consistent picture of this moment. Cheap: it is called up to 50 times a second."""
        ...

    async def wait_change(self, seen: int) -> int:
        """Returns the version as soon as it differs from `seen`; at once if it already does.

        A version counts what a person must see at once: mode, trip, holds, lamps, health of a part. Counters
        do not ring; the page asks for them by itself. May be cancelled at any time.
        """
        ...


class Pictures(Protocol):
    """Draws a decision of the log."""

    async def picture(self, index: int) -> str | None:
        """SVG of the decision that is entry `index`, None if there is none; no position in it (SAFETY 12)."""
        ...


class Bell:
    """The version counter behind `wait_change`: whoever changes the state rings, every waiter wakes.

    Belongs to one event loop; from another thread ring by `loop.call_soon_threadsafe(bell.ring)`.
    """

    def __init__(self) -> None:
        self.version = 1
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Announces a change. Never blocks, never fails, costs the same for any number of waiters."""
        self.version += 1
        waiting, self._rung = self._rung, asyncio.Event()
        waiting.set()

    async def wait_change(self, seen: int) -> int:
        """See `StatusSource.wait_change`. Changes between two calls are one change, and none is missed."""
        while self.version == seen:
            await self._rung.wait()
        return self.version
