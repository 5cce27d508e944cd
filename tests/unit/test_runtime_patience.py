"""Side by side, bounded, and no error lost (SAFETY 7: an emergency's cancels)."""

from __future__ import annotations

import asyncio

import pytest

from appliance.domain.errors import TransportError
from appliance.runtime.patience import AT_ONCE, LoopPatience


def test_all_are_done_although_one_fails_and_never_too_many_at_once() -> None:
    """The first error comes when the others have ended."""
    done: list[int] = []
    busy = most = 0

    async def work(number: int) -> None:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0)
        busy -= 1
        if number == 3:
            raise TransportError("no answer")
        done.append(number)

    async def run() -> None:
        with pytest.raises(TransportError):
            await LoopPatience().together([work(number) for number in range(100)])

    asyncio.run(run())
    assert sorted(done) == [number for number in range(100) if number != 3]
    assert most == AT_ONCE


def test_nothing_to_do() -> None:
    """Is nothing."""
    asyncio.run(LoopPatience().together([]))
