"""One grid for every loop that only looks: they share a wake-up of the processor."""

from __future__ import annotations

import asyncio

TICK_S = 0.050


async def next_tick(every: int = 1) -> None:
    """Sleeps to a multiple of `every` ticks, at least half a tick away: a timer may fire a little early."""
    step_s = TICK_S * every
    now_s = asyncio.get_running_loop().time()
    await asyncio.sleep(step_s - (now_s + TICK_S / 2) % step_s + TICK_S / 2)
