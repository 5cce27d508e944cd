"""`ports.Memory` for the event loop; a thread of its own owns the file. R2.

A thread beside a busy loop waits for the interpreter: 5 ms a turn, and with more than one processor for ever
if the loop never rests (it takes the lock back before a waiting thread has woken; measured: no row stored in
8 s). That is why durability has a process of its own (SAFETY 8): never make this thread write anything
somebody waits for. Nothing waits for a commit here. An observation is left in a queue, a question waits
`timeout_ns` at most.

    remember()                  never blocks, never raises; what does not fit the queue is dropped and counted
    find_similar_conditions()   gives () when there is no answer in time, and counts why; never raises
    damage, or a bug inside     ends the thread, keeps the file, and is what `stats().degraded` says

So a slow or broken memory costs a signal its precedents, `timeout_ns` late at most; it never denies an order
and never ends the process. Bars and questions share the queue: an answer knows everything remembered before
it was asked. Bars still in the queue when the power goes are lost; the audit log is what must not lose
anything.

A replay at full speed gives the thread its turns by awaiting `settle` now and then, such as when
`stats().queued` passes a thousand; every question does so by itself.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from appliance.domain.ids import InstrumentId
from appliance.domain.observation import Observation
from appliance.memory.longterm_store import LongTermMemory
from appliance.memory.sampling import Sampler, usable
from appliance.memory.schema_store import K_MAX, missing
from appliance.memory.session import SessionMemory
from appliance.memory.streams import whole_seconds
from appliance.memory.worker_store import CLOSED, SETTLED, Ask, Wish, Worker
from appliance.ports import Precedent


class MemorySettings(Struct, frozen=True, kw_only=True):
    """Injected by `runtime.build`.

    bar_ns: nominal length of a bar, whole seconds; ticks are sampled into bars of it.
    timeout_ns: longest a signal waits.  linger_ns: longest a bar waits for company before it is written (a
    transaction for each would wear an SD card).  queue_bars: bars that may wait.  max_rows: bars at which the
    file stops growing, 2 kB each at most.  session_capacity: observations per instrument in RAM.
    mmap_bytes: see `schema_store`.
    """

    bar_ns: int
    timeout_ns: int = 250_000_000
    linger_ns: int = 500_000_000
    queue_bars: int = 8192
    max_rows: int = 250_000
    session_capacity: int = 1024
    mmap_bytes: int = 0


class MemoryStats(Struct, frozen=True, kw_only=True):
    """For the status page; counts are since this start unless said otherwise.

    rows: bars in the file, ever.  queued: waiting.  dropped: bars not stored (queue full, write failed, row
    limit, no memory).  repeated: known already.  refused: unusable, or of an instrument not configured.
    answered, unanswered: questions, the latter by reason (`timeout`, `no_condition`, `unavailable`, `down`).
    degraded: why memory is impaired, empty if it is not.  last_query_us: asked to answered, waiting included.
    """

    rows: int
    queued: int
    dropped: int
    repeated: int
    refused: int
    answered: int
    unanswered: dict[str, int]
    degraded: str
    last_query_us: int


class MemoryService:
    """Implements `ports.Memory`. Belongs to the event loop; reads what the worker publishes."""

    def __init__(
        self,
        path: Path,
        instruments: Iterable[InstrumentId],
        settings: MemorySettings,
        mono_ns: Callable[[], int],
    ) -> None:
        """path: file made by `schema_store.create`.  mono_ns: CLOCK_MONOTONIC, real even in a replay.

        Raises ValueError for a bar length that is not whole seconds.
        """
        known = tuple(instruments)
        self.session = SessionMemory(known, settings.session_capacity)
        self._path = path
        self._settings = settings
        self._mono_ns = mono_ns
        bar_ns = whole_seconds(settings.bar_ns)
        self._samplers = {instrument: Sampler(instrument, bar_ns) for instrument in known}
        self._worker = Worker(self._open, settings.linger_ns, mono_ns)
        self._thread = threading.Thread(target=self._worker.run, name="memory", daemon=True)
        self._refused = self._dropped = self._answered = self._last_query_us = 0
        self.may_store = True  # False while the disk has no room to spare: what is not stored is dropped
        self._unanswered: Counter[str] = Counter()

    def start(self) -> None:
        """Starts the thread. Raises ConfigError (exit 78) if `interlock init` never made the file."""
        if not self._path.exists():
            raise missing(self._path)
        self._thread.start()

    def remember(self, observation: Observation) -> None:
        """Keeps it in L1 at once, and in L2 soon if it completes a bar. Constant time; never raises."""
        sampler = self._samplers.get(observation.instrument)
        if sampler is None or not usable(observation):
            self._refused += 1
            return
        self.session.push(observation)
        sample = sampler.update(observation)
        if sample is None:
            return
        full = self._worker.queue.qsize() >= self._settings.queue_bars
        if full or self._worker.ended or not self.may_store:
            self._dropped += 1
            return
        self._worker.queue.put(sample)

    async def find_similar_conditions(self, instrument: InstrumentId, k: int) -> Sequence[Precedent]:
        """The k (at most 4096) earlier conditions most like the latest one of this instrument; maybe none.

        Nearest first; `distance` as in `LongTermMemory.similar`. Of a feed of ticks, the latest condition is
        the one of the last finished bar.
        """
        if k <= 0:
            return ()
        started_ns = self._mono_ns()
        answer = await self._ask(Ask(Wish.SIMILAR, instrument, min(k, K_MAX)), self._settings.timeout_ns)
        self._last_query_us = (self._mono_ns() - started_ns) // 1000
        if isinstance(answer, str):
            self._unanswered[answer] += 1
            return ()
        self._answered += 1
        return answer

    def stats(self) -> MemoryStats:
        """Cheap enough for every refresh of the page."""
        worker = self._worker
        return MemoryStats(
            rows=worker.rows,
            queued=worker.queue.qsize(),
            dropped=self._dropped + worker.lost,
            repeated=worker.repeated,
            refused=self._refused,
            answered=self._answered,
            unanswered=dict(self._unanswered),
            degraded=worker.ended or worker.degraded,
            last_query_us=self._last_query_us,
        )

    async def settle(self, timeout_ns: int = 5_000_000_000) -> bool:
        """Waits until everything remembered so far is stored. False if it was not in time; never raises."""
        return await self._ask(Ask(Wish.SETTLE), timeout_ns) == SETTLED

    async def close(self, timeout_ns: int = 5_000_000_000) -> bool:
        """Stores what is queued and releases the file. False if that was not done in time; never raises.

        The thread is a daemon: a disk that hangs does not keep the process from ending.
        """
        if not self._thread.is_alive():
            return self._worker.ended in ("", CLOSED)
        if await self._ask(Ask(Wish.CLOSE), timeout_ns) != CLOSED:
            return False
        self._thread.join()
        return True

    async def _ask(self, ask: Ask, timeout_ns: int) -> tuple[Precedent, ...] | str:
        """The answer, or `down` or `timeout`."""
        if self._worker.ended or not self._thread.is_alive():
            return "down"
        self._worker.queue.put(ask)
        try:
            async with asyncio.timeout(timeout_ns / 1e9):
                return await ask.future
        except TimeoutError:
            return "timeout"
        finally:
            ask.given_up = True

    def _open(self) -> LongTermMemory:
        settings = self._settings
        return LongTermMemory(self._path, settings.bar_ns, settings.max_rows, settings.mmap_bytes)
