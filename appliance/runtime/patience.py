"""Waiting with a limit, for the exits (SAFETY 8)."""

from __future__ import annotations

import asyncio

from appliance.ports import Ticket


class LoopPatience:
    """Implements ports.Patience on the event loop."""

    async def durable_within(self, ticket: Ticket, limit_ns: int) -> bool:
        """False when the limit passes first; the entry may still become durable later."""
        try:
            await asyncio.wait_for(ticket.durable(), limit_ns / 1e9)
        except TimeoutError:
            return False
        return True
