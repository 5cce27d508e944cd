"""The thread that owns the memory file: takes bars and questions from a queue, in order. R2.

Whatever ends it is what `ended` says from then on; the file stays as it is and nothing here ends the process.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from enum import Enum, auto
from queue import Empty, SimpleQueue

from appliance.domain.errors import InterlockError, PeerError, TransportError
from appliance.domain.ids import InstrumentId
from appliance.memory.longterm_store import LongTermMemory
from appliance.memory.sampling import Sample
from appliance.ports import Precedent

BATCH_ROWS = 128
"""Largest transaction; a question may have to wait for one: 11 ms on the development machine, 45 at worst."""

SETTLED = "settled"
CLOSED = "closed"
_NONE = InstrumentId("")
_BUG = "the memory thread was ended by an error of its own, see the log"


class Wish(Enum):
    """SETTLE is answered once everything before it is stored, CLOSE once the file is released too."""

    SIMILAR = auto()
    SETTLE = auto()
    CLOSE = auto()


class Ask:
    """One wish of the event loop, answered through the loop that asked. instrument, k: SIMILAR only."""

    __slots__ = ("_loop", "future", "given_up", "instrument", "k", "wish")

    def __init__(self, wish: Wish, instrument: InstrumentId = _NONE, k: int = 0) -> None:
        """Created on the loop; raises RuntimeError elsewhere."""
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[tuple[Precedent, ...] | str] = self._loop.create_future()
        self.wish = wish
        self.instrument = instrument
        self.k = k
        self.given_up = False  # written by the loop, read by the thread: no longer worth the work

    def answer(self, value: tuple[Precedent, ...] | str) -> None:
        """Called by the thread: precedents, or in one word why there are none or what was done."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, so nobody waits
            self._loop.call_soon_threadsafe(self._settle, value)

    def _settle(self, value: tuple[Precedent, ...] | str) -> None:
        if not self.future.done():
            self.future.set_result(value)


class Worker:
    """Public attributes are written by the thread and read by the loop; `queue` is the way in."""

    def __init__(
        self, open_memory: Callable[[], LongTermMemory], linger_ns: int, mono_ns: Callable[[], int]
    ) -> None:
        """open_memory: called in the thread.  linger_ns: longest wait of a bar for more of them."""
        self.queue: SimpleQueue[Sample | Ask] = SimpleQueue()
        self.rows = self.repeated = self.lost = 0
        self.degraded = ""  # impaired but working
        self.ended = ""  # why it no longer works
        self._asked: Ask | None = None  # taken from the queue and not answered yet
        self._open_memory = open_memory
        self._linger_ns = linger_ns
        self._mono_ns = mono_ns

    def run(self) -> None:
        """Body of the thread."""
        reason, last_word = _BUG, "down"
        try:
            self._serve(self._open_memory())
            reason = last_word = CLOSED
        except InterlockError as error:
            reason = error.sentence()
        finally:
            self.ended = reason
            if self._asked is not None:
                self._asked.answer(last_word)
            self._turn_away()

    def _serve(self, memory: LongTermMemory) -> None:
        """Works until asked to close, and leaves that wish to be answered."""
        self.rows = memory.row_count
        try:
            while True:
                batch = self._gather()
                if batch:
                    self._store(memory, batch)
                ask = self._asked
                if ask is not None and ask.wish is Wish.CLOSE:
                    memory.close()
                    return
                if ask is not None and not ask.given_up:
                    ask.answer(SETTLED if ask.wish is Wish.SETTLE else self._similar(memory, ask))
                self._asked = None
        except PeerError:
            memory.abandon()
            raise

    def _gather(self) -> list[Sample]:
        """Bars until a batch is full, the first has lingered enough, or a wish ends the wait (`_asked`)."""
        batch: list[Sample] = []
        item = self.queue.get()
        until_ns = self._mono_ns() + self._linger_ns
        while isinstance(item, Sample):
            batch.append(item)
            if len(batch) == BATCH_ROWS:
                return batch
            try:
                item = self.queue.get(timeout=max(until_ns - self._mono_ns(), 0) / 1e9)
            except Empty:
                return batch
        self._asked = item
        return batch

    def _store(self, memory: LongTermMemory, batch: list[Sample]) -> None:
        try:
            stored = memory.store(batch)
        except TransportError as error:
            self.lost += len(batch)
            self.degraded = error.sentence()
            return
        except PeerError:
            self.lost += len(batch)
            raise
        self.rows += stored.added
        self.repeated += stored.repeated
        self.lost += stored.full
        self.degraded = f"full: {self.rows} rows, new bars are not stored" if stored.full else ""

    def _similar(self, memory: LongTermMemory, ask: Ask) -> tuple[Precedent, ...] | str:
        try:
            found = memory.similar(ask.instrument, ask.k)
        except TransportError:
            return "unavailable"
        return "no_condition" if found is None else found

    def _turn_away(self) -> None:
        with contextlib.suppress(Empty):
            while True:
                item = self.queue.get_nowait()
                if isinstance(item, Ask):
                    item.answer("down")
                else:
                    self.lost += 1
