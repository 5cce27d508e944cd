"""The core's side of the audit log: numbers entries, hands them to the writer process, hears what is durable.

Nothing here waits for a disk: `append` encodes, what one turn of the event loop appends is written to the
socket in one piece at the end of that turn, acknowledgements arrive on the loop. A core that is killed within
the turn takes along what it appended in it: no order has left on it, since whoever sends waits first, and a
trip is the guard's to keep. An entry's index is known at once and is final, because one client numbers them
all; its durability is known when `Ticket.durable` returns. Anything that makes durability unknown – the
writer says Failed, dies, falls behind the bound – fails every pending and later ticket, for good (SAFETY 8).
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from appliance.audit.records import encode_entry
from appliance.domain.disk import DiskReserve
from appliance.domain.errors import (
    BusyError,
    ConfigError,
    InterlockError,
    InvariantError,
    StoreError,
)
from appliance.domain.exit_codes import ExitCode
from appliance.domain.ids import ORDER_ID_MAX, RunId
from appliance.domain.order import Order
from appliance.ports import Entry
from appliance.storage.log_turn import Outbox, Waits
from appliance.storage.log_wire import (
    Append,
    Durable,
    EntryRow,
    Failed,
    Frames,
    OrderRow,
    Publish,
    Ready,
    Refill,
    ReserveChanged,
    Retain,
    Retained,
    Signed,
    ToCore,
    decode_to_core,
    frame,
)

REF_KEY = "order_id"
"""The key of `Entry.data` by which entries about one order are found again."""

BACKLOG_ENTRIES = 50_000
BACKLOG_BYTES = 64 * 1024 * 1024
WRITER = (sys.executable, "-m", "appliance.storage.log_writer")

_PACKAGE_ROOT = Path(__file__).parents[2]
_ERRORS: dict[int, type[InterlockError]] = {
    ExitCode.STORE: StoreError,
    ExitCode.CONFIG: ConfigError,
    ExitCode.BUSY: BusyError,
    ExitCode.INVARIANT: InvariantError,
}
_encode_order = msgspec.json.Encoder(order="sorted").encode


class LogSettings(Struct, frozen=True, kw_only=True):
    """How a core uses its log.

    directory, key_file: as `create_log` made them.  source: name of this writer of entries.
    run: session under which new orders are filed.  publish_ms: shortest pause between publications.
    lock_wait_ms: patience with the writer of a core that just died.
    reserve_bytes: disk space kept for exits, 0 for none.
    witness_key: file of the pinned witness's key; without one nothing is ever sealed or pruned.
    """

    directory: Path
    key_file: Path
    source: str
    run: RunId
    publish_ms: int = 900  # so that an entry is co-signed within a second
    lock_wait_ms: int = 10_000
    reserve_bytes: int = 0
    witness_key: Path | None = None
    backlog_entries: int = BACKLOG_ENTRIES
    backlog_bytes: int = BACKLOG_BYTES
    command: tuple[str, ...] = WRITER


class LogHead(Struct, frozen=True):
    """size: numbered.  durable: acknowledged.  signed, root, checkpoint: the last published head."""

    size: int
    durable: int
    signed: int
    root: bytes
    checkpoint: bytes


class LogTicket:
    """Implements ports.Ticket."""

    __slots__ = ("_client", "_end", "index")

    def __init__(self, client: LogClient, index: int, end: int) -> None:
        """index: first entry of the group.  end: one after its last."""
        self._client = client
        self.index = index
        self._end = end

    async def durable(self) -> None:
        """Returns once the whole group survives a power cut; raises StoreError if that cannot be known."""
        await self._client.wait_durable(self._end)


class LogClient(asyncio.Protocol):
    """Implements ports.AuditLog over a writer process; make one with `start`, end it with `aclose`."""

    def __init__(self, settings: LogSettings) -> None:
        """Not connected yet: see `start`."""
        self._settings = settings
        self._frames = Frames()
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[Ready] = self._loop.create_future()
        self._changed = asyncio.Event()
        self._waits = Waits(self._loop)
        self._sent: deque[tuple[int, int]] = deque()
        self._sent_bytes = 0
        self._sources: dict[str, int] = {}
        self._size = self._durable = self._signed = 0
        self.first = 0  # entry at which this process began
        self._root = self._checkpoint = b""
        self._closing = self._gone = False
        self._outbox: Outbox | None = None
        self._process: asyncio.subprocess.Process | None = None
        self.failure: InterlockError | None = None
        self.disk_failed = False  # the writer said so; its death, a backlog, a full disk say nothing of it
        self.on_signed: Callable[[LogHead], None] | None = None  # must neither block nor raise
        self.reserve = DiskReserve(0, settings.reserve_bytes, why="the log is not open yet")
        self.on_retained: Callable[[Retained], None] | None = None  # must neither block nor raise
        self.on_reserve: Callable[[], None] | None = None  # called before what was written on it is durable

    @classmethod
    async def start(cls, settings: LogSettings) -> LogClient:
        """Starts the writer and waits until the log is open.

        Raises ConfigError (no log, key, another key, restored from a backup), BusyError (another core),
        StoreError (damaged, or the writer could not start).
        """
        client = cls(settings)
        ours, theirs = socket.socketpair()
        try:
            client._process = await asyncio.create_subprocess_exec(
                *settings.command,
                *("--fd", str(theirs.fileno())),
                *("--directory", str(settings.directory)),
                *("--key", str(settings.key_file)),
                *("--publish-ms", str(settings.publish_ms)),
                *("--lock-wait-ms", str(settings.lock_wait_ms)),
                *("--reserve-bytes", str(settings.reserve_bytes)),
                *(("--witness", str(settings.witness_key)) if settings.witness_key is not None else ()),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=_environment(),
                process_group=0,  # a Ctrl-C at the terminal is for the core, which ends the writer in order
            )
        except OSError as error:
            raise StoreError("the log writer cannot be started", str(error)) from error
        finally:
            theirs.close()
            if client._process is None:
                ours.close()
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: client, sock=ours)
            await client._ready
        finally:
            if client.failure is not None or not client._ready.done() or client._ready.cancelled():
                await client._let_go()
        return client

    @property
    def head(self) -> LogHead:
        """Where the log stands."""
        return LogHead(self._size, self._durable, self._signed, self._root, self._checkpoint)

    def append(
        self, entries: Sequence[Entry], orders: Sequence[Order] = (), *, source: str | None = None
    ) -> LogTicket:
        """Numbers the entries and starts writing them with the new states of `orders`, as one unit.

        Never blocks. source: who wrote them, the settings' source unless given. Raises InvariantError for
        entries that have no canonical form or for none at all; nothing was numbered then. After a failure
        of the store it numbers nothing, and the ticket's `durable` raises StoreError.
        """
        if not entries:
            raise InvariantError("an append to the audit log without an entry")
        first = self._size
        outbox = self._outbox
        if self.failure is not None or outbox is None or self._closing:
            return LogTicket(self, first, first + len(entries))
        message = self._number(entries, orders, source or self._settings.source)
        data = frame(message)
        size = self._size = first + len(entries)
        self._sources[message.source] = message.next
        self._sent.append((size, len(data)))
        self._sent_bytes += len(data)
        outbox.write(data)
        self._bound_backlog()
        return LogTicket(self, first, size)

    async def wait_durable(self, size: int) -> None:
        """Returns once the first `size` entries are durable; raises StoreError if that cannot be known."""
        while self._durable < size:
            self._raise_failure()
            if self._gone:
                raise StoreError("the audit log was closed", "the entry was not acknowledged before")
            await self._waits.until(size)

    async def publish(self) -> LogHead:
        """Signs and publishes everything appended so far, whatever the cadence; returns the new head."""
        wanted = self._size
        self._raise_failure()
        if self._outbox is not None and self._signed < wanted:
            self._outbox.write(frame(Publish()))
        while self._signed < wanted:
            self._raise_failure()
            if self._gone:
                raise StoreError("the audit log was closed", "before everything was published")
            await self._changed.wait()
        return self.head

    def refill(self) -> None:
        """Asks the writer to allocate the disk reserve again; `on_reserve` tells how it went."""
        if self.failure is None and self._outbox is not None:
            self._outbox.write(frame(Refill()))

    def retain(self, before_ns: int, *, hurry: bool = False) -> None:
        """Gives the writer leave, for a while, to seal and prune what is older (UTC); 0 takes it back."""
        if self.failure is None and self._outbox is not None:
            self._outbox.write(frame(Retain(before_ns, hurry)))

    async def failed(self) -> InterlockError:
        """Returns the error once the log has failed; the runtime waits on it as a deadly loop."""
        while self.failure is None:
            await self._changed.wait()
        return self.failure

    async def aclose(self) -> None:
        """Clean stop: everything durable and published, the writer gone. Raises StoreError if not so.

        After a failure it only collects the writer.
        """
        try:
            if self.failure is None and not self._gone:
                await self.publish()
        finally:
            code = await self._let_go()
        if code and self.failure is None:
            raise StoreError("the log writer did not end well", f"exit code {code}")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The event loop's: the socket is ours."""
        if not isinstance(transport, asyncio.Transport):
            raise InvariantError("the log's socket is no stream")
        self._outbox = Outbox(self._loop, transport)

    def data_received(self, data: bytes) -> None:
        """The event loop's: the writer said something."""
        try:
            for body in self._frames.feed(data):
                self._handle(decode_to_core(body))
        except InvariantError as error:
            self._fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """The event loop's: the writer is gone, or we closed."""
        if not self._closing:
            why = f"its socket closed: {exc}" if exc else "its socket closed"
            self._fail(StoreError("the log writer died", why))

    def _handle(self, message: ToCore) -> None:
        match message:
            case Durable(size):
                self._durable = size
                self._waits.reach(size)
                while self._sent and self._sent[0][0] <= size:
                    self._sent_bytes -= self._sent.popleft()[1]
            case Signed(size, root, checkpoint):
                self._signed, self._root, self._checkpoint = size, root, checkpoint
                if self.on_signed is not None:
                    self.on_signed(self.head)
            case Retained():
                if self.on_retained is not None:
                    self.on_retained(message)
            case ReserveChanged(reserve):
                self.reserve = reserve
                if self.on_reserve is not None:
                    self.on_reserve()
            case Ready():
                self.reserve = message.reserve
                self.first = self._size = self._durable = message.size
                self._sources = dict(message.sources)
                self._signed, self._root = message.signed, message.root
                self._checkpoint = message.checkpoint
                self._ready.set_result(message)
            case Failed(code, what, why, do, full):
                self.disk_failed = code == ExitCode.STORE and not full
                self._fail(_ERRORS.get(code, StoreError)(what, why, do))
        self._wake()

    def _number(self, entries: Sequence[Entry], orders: Sequence[Order], source: str) -> Append:
        sequence = self._sources.get(source, 0)
        first, run = self._size, self._settings.run
        rows = [
            EntryRow(
                entry.kind,
                entry.utc_ns,
                _ref(entry),
                encode_entry(first + at, source, sequence + at, entry),
            )
            for at, entry in enumerate(entries)
        ]
        changes = [_order_row(order, run) for order in orders]
        return Append(first, source, sequence + len(entries), tuple(rows), tuple(changes))

    def _bound_backlog(self) -> None:
        waiting = self._size - self._durable
        if waiting > self._settings.backlog_entries or self._sent_bytes > self._settings.backlog_bytes:
            why = f"{waiting} entries, {self._sent_bytes} bytes wait for the disk"
            self._fail(StoreError("the audit log cannot keep up", why))

    async def _let_go(self) -> int:
        """Closes the socket, upon which the writer ends by itself; returns its exit code."""
        self._closing = True
        if self._outbox is not None:
            self._outbox.close()
        code = await self._process.wait() if self._process is not None else 0
        self._gone = True
        self._waits.reach(sys.maxsize)
        self._wake()
        return code

    def _fail(self, error: InterlockError) -> None:
        """First failure wins. What was handed over is still written, but nobody is told so."""
        if self.failure is None:
            self.failure = error
            if not self._ready.done():
                self._ready.set_exception(error)
            if self._outbox is not None:
                self._outbox.close()
        self._waits.reach(sys.maxsize)
        self._wake()

    def _raise_failure(self) -> None:
        """A fresh StoreError each time: several tickets raise it, each with its own traceback."""
        if self.failure is not None:
            raise StoreError(self.failure.what, self.failure.why, self.failure.do) from self.failure

    def _wake(self) -> None:
        """Everybody who waits for anything but durability looks again."""
        self._changed.set()
        self._changed = asyncio.Event()


def _ref(entry: Entry) -> str | None:
    """An order id as we make them; anything else cannot be searched for, and need not be."""
    value = entry.data.get(REF_KEY)
    return str(value) if isinstance(value, str) and value.isascii() and len(value) <= ORDER_ID_MAX else None


def _order_row(order: Order, run: RunId) -> OrderRow:
    try:
        body = _encode_order(order)
    except UnicodeEncodeError as error:
        raise InvariantError(f"order {order.id} cannot be stored", str(error)) from error
    return OrderRow(order.id, run, order.state.value, order.instrument, order.source, body)


def _environment() -> dict[str, str]:
    """The core's environment with this package importable, however the core itself found it."""
    paths = [str(_PACKAGE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
