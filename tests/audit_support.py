"""A whole log in memory and the worked keys, for tests of `audit`, `storage` and `upstream`."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from msgspec.structs import replace

from appliance.audit.checkpoint import Checkpoint, sign_checkpoint
from appliance.audit.merkle import Subtree, consistency_proof, leaf_hash, root_from_hashes
from appliance.audit.notes import COSIGNATURE_KEY, SigningKey
from appliance.audit.records import encode_entry
from appliance.audit.tiles import Tile, completed_tiles, encode_bundle, new_tiles
from appliance.audit.verify import KeyText, Trust
from appliance.domain.ids import InstrumentId, IntentId, OrderId, RunId, SourceId
from appliance.domain.intent import OrderType, Side
from appliance.domain.money import Qty
from appliance.domain.order import Order, OrderState
from appliance.domain.verdict import OrderClass
from appliance.ports import Entry
from appliance.storage.create import create_log, create_log_key
from appliance.storage.keys import read_key_text, read_signing_key
from appliance.storage.log_client import LogSettings
from appliance.storage.log_store import LogStore
from appliance.storage.log_wire import Append, EntryRow

LOG = SigningKey("audit.example/pi-0001", bytes(range(32)))
WITNESS = SigningKey("witness.example/w1", bytes(range(32, 64)))
MIRROR = SigningKey("mirror.example/m1", bytes(range(64, 96)))
TRUST = Trust(
    KeyText("keys/log.vkey", LOG.verifier().vkey + "\n"),
    KeyText("keys/witness.vkey", WITNESS.verifier(COSIGNATURE_KEY).vkey + "\n"),
)

Result = TypeVar("Result")


def run(work: Coroutine[Any, Any, Result], timeout_s: float = 60.0) -> Result:
    """Runs a coroutine to its end; a hang becomes a failure."""

    async def bounded() -> Result:
        async with asyncio.timeout(timeout_s):
            return await work

    return asyncio.run(bounded())


def entry(number: int = 0, kind: str = "heartbeat", **data: object) -> Entry:
    """A small entry."""
    utc_ns = 1_700_000_000_000_000_000 + number
    return Entry(kind=kind, utc_ns=utc_ns, mono_ns=number, data={"number": number, **data})


def order(name: str, state: OrderState = OrderState.RECORDED) -> Order:
    """An order of that id."""
    return Order(
        id=OrderId(name),
        intent_id=IntentId(f"intent-{name}"),
        source=SourceId("bot"),
        instrument=InstrumentId("SPX"),
        order_class=OrderClass.INCREASE,
        side=Side.BUY,
        qty=Qty(3),
        order_type=OrderType.MARKET,
        price=None,
        stop_price=None,
        attached_stop=None,
        reduce_only=False,
        protects=None,
        state=state,
    )


@cache
def body(index: int) -> bytes:
    """Canonical bytes of a small entry at its place in a log with one source."""
    causes = (index - 1,) if index else ()
    plain = entry(index)
    with_cause = Entry(
        kind=plain.kind, utc_ns=plain.utc_ns, mono_ns=plain.mono_ns, data=plain.data, causes=causes
    )
    return encode_entry(index, "core", index, with_cause)


class MemoryLog:
    """Implements audit.verify_files.LogReader; everything in it can be damaged."""

    def __init__(
        self, size: int, published: Sequence[int] = (), stored: Sequence[bytes] | None = None
    ) -> None:
        """published: sizes for which files are made, in order.  stored: entries instead of small ones."""
        self.stored = [body(index) for index in range(size)] if stored is None else list(stored)
        self.files: dict[str, bytes] = {}
        self._published = 0
        for at in published:
            self.publish(at)

    def publish(self, size: int) -> None:
        """Files of this size, over those of the size before."""
        for tile in new_tiles(self._published, size):
            self.files[tile.path] = self.content(tile)
        for tile in completed_tiles(self._published, size):
            for path in [path for path in self.files if path.startswith(tile.partial_dir)]:
                del self.files[path]
        self.files["checkpoint"] = self.checkpoint(size)
        self._published = size

    def cosign(self, size: int, time_s: int = 1_700_000_000) -> None:
        """A co-signed checkpoint of this size."""
        note = self.checkpoint(size)
        text = note.decode().partition("\n\n")[0] + "\n"
        self.files["cosigned"] = note + WITNESS.cosign(text, time_s).line.encode()

    def checkpoint(self, size: int) -> bytes:
        """Signed by the log."""
        return sign_checkpoint(Checkpoint(LOG.name, size, self.root(size)), LOG)

    def content(self, tile: Tile) -> bytes:
        """A tile straight from its definition."""
        first, last = tile.start, tile.start + tile.width
        if tile.level < 0:
            return encode_bundle(list(self.bodies(first, last)))
        span = 256**tile.level
        return b"".join(self.subtree(at * span, (at + 1) * span) for at in range(first, last))

    def subtree(self, start: int, stop: int) -> bytes:
        """Root over entries [start, stop)."""
        return root_from_hashes(leaf_hash(item) for item in self.bodies(start, stop))

    def root(self, size: int) -> bytes:
        """Root of the first `size` entries."""
        return self.subtree(0, size)

    def subtrees(self, _size: int) -> Subtree:
        """Straight from the definition."""
        return self.subtree

    def consistency(self, old: int, size: int) -> list[bytes]:
        """Straight from the definition."""
        return consistency_proof(old, size, self.subtree) if old else []

    def size(self) -> int:
        """See LogReader."""
        return len(self.stored)

    def bodies(self, start: int, stop: int) -> Iterator[bytes]:
        """See LogReader."""
        yield from self.stored[start:stop]

    def pruned(self) -> int:
        """See LogReader: nothing ever is, in memory."""
        return 0

    def sealed(self, start: int) -> None:
        """See LogReader."""
        assert start % 256 == 0

    def file(self, path: str) -> bytes | None:
        """See LogReader."""
        return self.files.get(path)

    def partial_widths(self, tile: Tile) -> list[int]:
        """See LogReader."""
        prefix = tile.partial_dir + "/"
        return sorted(int(path.removeprefix(prefix)) for path in self.files if path.startswith(prefix))


def new_log(directory: Path, *, publish_ms: int = 1000, seed: bytes = bytes(range(32))) -> LogSettings:
    """A new empty log on disk, and how to use it."""
    key_file = create_log_key(directory / "keys", LOG.name, seed)
    create_log(directory / "log", key_file)
    return LogSettings(
        directory=directory / "log",
        key_file=key_file,
        source="core",
        run=RunId("run-1"),
        publish_ms=publish_ms,
        lock_wait_ms=0,
    )


def more(store: LogStore, count: int = 1) -> None:
    """Commits that many entries of the core's, numbered on."""
    first, number = store.size, store.sources.get("core", 0)
    bodies = [encode_entry(first + at, "core", number + at, entry(first + at)) for at in range(count)]
    rows = tuple(EntryRow("heartbeat", first + at, None, body) for at, body in enumerate(bodies))
    store.commit([Append(first, "core", number + count, rows, ())])


def write(settings: LogSettings, count: int, key: SigningKey | None = None) -> None:
    """That many entries more, published."""
    store = LogStore(settings.directory, key or read_signing_key(settings.key_file))
    more(store, count)
    for _ in store.publish():
        pass
    store.close()


@contextmanager
def many_copies(made: LogSettings, source: Path) -> Iterator[Callable[[], LogSettings]]:
    """Gives the same log again and again, in memory where there is any: thousands of real fsyncs.

    made: a log below `source`, closed.
    """
    memory = Path("/dev/shm")  # noqa: S108 - the directory below it is ours alone
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else source) as name:
        place = Path(name) / "run"

        def make() -> LogSettings:
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(source, place)
            return replace(made, directory=place / "log", key_file=place / "keys" / "log.key")

        yield make


def trust(settings: LogSettings) -> Trust:
    """The log's own key as the store has it."""
    return Trust(read_key_text(settings.key_file.with_suffix(".vkey")))


def flip(data: bytes, at: int, bit: int = 0) -> bytes:
    """`data` with one bit changed."""
    changed = bytearray(data)
    changed[at] ^= 1 << bit
    return bytes(changed)
