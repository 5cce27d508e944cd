"""Waiting with a limit, for the exits (SAFETY 8)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence

from appliance.ports import Ticket

AT_ONCE = 16  # the connector has 8 connections; the others wait for the log meanwhile


class LoopPatience:
    """Implements ports.Patience on the event loop."""

    async def durable_within(self, ticket: Ticket, limit_ns: int) -> bool:
        """False when the limit passes first; the entry may still become durable later."""
        try:
            await asyncio.wait_for(ticket.durable(), limit_ns / 1e9)
        except TimeoutError:
            return False
        return True

    async def together(self, works: Sequence[Awaitable[None]]) -> None:
        """At most `AT_ONCE` at a time; the first error is raised once all have ended."""
        free = asyncio.Semaphore(AT_ONCE)

        async def one(work: Awaitable[None]) -> None:
            async with free:
                await work

        ends = await asyncio.gather(*(one(work) for work in works), return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException):
                raise end
