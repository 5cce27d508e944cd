"""The core's side of the latch on disk, for a trip that no guard is there to persist (SAFETY 3, 5).

What is stored is *armed*, so a trip is persisted by removing the record: whoever starts next, in this boot or
in another, finds a box that is tripped. The guard does that itself; here it is done only while its heartbeat
is gone.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from appliance.storage.durable import sync_directory

RECORDS = ("armed", "armed.new")
"""Names in the guard's latch directory (tests/rules compares)."""

RETRY_S = 1.0


def remove_records(directory: Path) -> None:
    """Removes the armed record and makes that durable. Raises OSError or StoreError."""
    for name in RECORDS:
        (directory / name).unlink(missing_ok=True)
    sync_directory(directory)


class OwnLatch:
    """Owned by the event loop, which never waits for it: the disk has a thread of its own.

    stored: the removal is durable since the trip. A disk that refuses is asked again after a second.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._thread = ThreadPoolExecutor(1, "own-latch")
        self._removing: asyncio.Future[None] | None = None
        self._not_before = 0.0
        self.stored = False

    def keep(self, *, alone: bool) -> None:
        """Call it every round. alone: a trip of ours stands that no guard has adopted, and none is there."""
        loop = asyncio.get_running_loop()
        if not alone:
            self.stored = False
        elif self._removing is not None:
            if self._removing.done():
                self.stored = self._removing.exception() is None
                self._removing, self._not_before = None, loop.time() + RETRY_S
        elif not self.stored and loop.time() >= self._not_before:
            self._removing = loop.run_in_executor(self._thread, remove_records, self._directory)
