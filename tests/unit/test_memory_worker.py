"""How the memory thread gathers a batch: full, lingered enough, or asked something."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from queue import Empty

import pytest

from appliance.memory.longterm_store import LongTermMemory
from appliance.memory.sampling import Sample
from appliance.memory.worker_store import BATCH_ROWS, Ask, Wish, Worker
from tests.test_memory_kit import samples, walk

S = 10**9
BARS = samples(walk(2 * BATCH_ROWS))


class ScriptedQueue:
    """Gives what it has, notes how long it was asked to wait, and lets that time pass."""

    def __init__(self, items: Sequence[Sample | Ask], seconds_apart: int = 0) -> None:
        self.items = list(items)
        self.seconds_apart = seconds_apart
        self.now_ns = 1000 * S
        self.waits: list[float | None] = []

    def get(self, timeout: float | None = None) -> Sample | Ask:
        """The next item, unless it comes later than `timeout` seconds."""
        self.waits.append(timeout)
        if not self.items or (timeout is not None and self.seconds_apart > timeout):
            self.now_ns += int((timeout or 0) * S)
            raise Empty
        self.now_ns += self.seconds_apart * S
        return self.items.pop(0)


def gathered(script: ScriptedQueue, linger_s: int) -> tuple[list[Sample], Ask | None]:
    """One batch of a worker with that queue."""

    def never() -> LongTermMemory:
        raise AssertionError("gathering opens nothing")

    worker = Worker(never, linger_s * S, lambda: script.now_ns)
    worker.queue = script  # type: ignore[assignment]
    return worker._gather(), worker._asked


def test_a_batch_is_never_larger_than_allowed() -> None:
    """The rest is the next one's."""
    script = ScriptedQueue(BARS)
    assert gathered(script, 3600) == (BARS[:BATCH_ROWS], None)
    assert script.items == BARS[BATCH_ROWS:]


def test_a_question_ends_the_wait() -> None:
    """It must not wait for bars that may never come."""

    async def ask() -> Ask:
        return Ask(Wish.SETTLE)

    question = asyncio.run(ask())
    assert gathered(ScriptedQueue([*BARS[:3], question, *BARS[3:]]), 3600) == (BARS[:3], question)
    assert gathered(ScriptedQueue([question]), 3600) == ([], question)


@pytest.mark.parametrize(("linger_s", "count"), [(0, 1), (9, 1), (10, 2), (29, 3), (30, 4)])
def test_a_bar_lingers_from_when_it_came(linger_s: int, count: int) -> None:
    """Bars every ten seconds: the first one's wait decides, later ones do not prolong it."""
    assert gathered(ScriptedQueue(BARS, seconds_apart=10), linger_s) == (BARS[:count], None)


def test_the_thread_sleeps_until_something_comes() -> None:
    """The first wait has no end, the next is what is left of the lingering."""
    script = ScriptedQueue(BARS[:2], seconds_apart=10)
    gathered(script, 25)
    assert script.waits == [None, 25.0, 15.0]
