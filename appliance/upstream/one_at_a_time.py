"""Looks at the log in threads, one at a time: a cancelled caller leaves its thread behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class OneAtATime:
    """Awaited with what to run. Owned by whoever owns the log's reader."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    async def __call__(self, look: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """What it returns or raises."""

        def locked() -> T:
            with self._lock:
                return look(*arguments, **named)

        return await asyncio.to_thread(locked)

    def release(self, close: Callable[[], None]) -> None:
        """Runs `close` of the log at the end, once no thread of a cancelled call looks at it. Blocks."""
        with self._lock:
            close()
