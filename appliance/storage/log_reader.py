"""Everybody's read-only view of the audit log: entries and orders from the database, the rest from files.

Works while the writer writes and after it died; never writes, never waits for the writer. Implements
`audit.verify_files.LogReader`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from appliance.audit.checkpoint import parse_checkpoint
from appliance.audit.merkle import EMPTY_ROOT, Subtree, consistency_proof, inclusion_proof, range_hash
from appliance.audit.notes import parse_note
from appliance.audit.tiles import Tile, tile_subtrees
from appliance.audit.verify import CHECKPOINT
from appliance.domain.errors import PeerError, StoreError
from appliance.domain.ids import OrderId
from appliance.domain.order import Order
from appliance.storage import log_schema as schema
from appliance.storage.durable import read_file
from appliance.storage.log_cold import ColdEntries
from appliance.storage.log_query import PAGE, EntryQuery, StoredEntry
from appliance.storage.log_tree import TreeRows
from appliance.storage.sqlite import open_store

_PUBLISHED = re.compile(
    r"checkpoint|cosigned|mirrored|tile/(entries|[0-9]{1,2})(/x[0-9]{3})*/[0-9]{3}(\.p/[0-9]{1,3})?"
)
_ORDERS = "SELECT body, run, idx FROM orders"
_decode_order = msgspec.json.Decoder(Order).decode


class StoredOrder(Struct, frozen=True):
    """An order's latest state. run: session it was made in.  index: the entry that tells of the change."""

    order: Order
    run: str
    index: int


class LogReader:
    """Read-only view of one log directory. query: its entries by kind, order, time and cause."""

    def __init__(self, directory: Path) -> None:
        """Raises ConfigError if there is no log, StoreError if it cannot be read."""
        self._directory = directory
        self._path = directory / schema.DATABASE
        self._connection = open_store(self._path, schema.VERSION, do=schema.INIT, readonly=True)
        self._cold = ColdEntries(self._connection, self._path)
        self._rows = TreeRows(self._connection, self._path, self._cold)
        self.query = EntryQuery(self._connection, self._path, self._cold)

    def close(self) -> None:
        """Lets go of the database."""
        self._connection.close()

    def size(self) -> int:
        """Number of entries, published or not."""
        return self._rows.size()

    def bodies(self, start: int, stop: int) -> Iterator[bytes]:
        """Bytes of entries [start, stop), up to the first that is missing."""
        return self._rows.bodies(start, stop)

    def pruned(self) -> int:
        """Number of entries, from the first on, that are in sealed segments and may be nowhere else here."""
        return self._cold.pruned()

    def sealed(self, start: int) -> list[bytes] | None:
        """Entries [start, start + 256) as a sealed segment holds them; None if none does, and need not.

        Raises StoreError naming a segment that is missing or damaged.
        """
        return self._cold.sealed(start)

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[StoredEntry]:
        """Entries [start, stop) in order, a page at a time."""
        yield from self._pages("idx < ?", (self.size() if stop is None else stop,), start)

    def entries_of_kind(self, kind: str, start: int = 0) -> Iterator[StoredEntry]:
        """Entries of one kind, oldest first."""
        yield from self._pages("kind = ?", (kind,), start)

    def entries_about(self, order_id: OrderId) -> Iterator[StoredEntry]:
        """Entries whose data names this order, oldest first."""
        yield from self._pages("ref = ?", (order_id,), 0)

    def entries_between(self, from_ns: int, to_ns: int) -> Iterator[StoredEntry]:
        """Entries with from_ns ≤ utc_ns < to_ns by time, then index; a replay's times are the market's."""
        after = (from_ns, -1)
        where = "(utc_ns, idx) > (?, ?) AND utc_ns < ?"
        while rows := self.query.rows(where, (*after, to_ns), "utc_ns, idx"):
            yield from rows
            after = (rows[-1].utc_ns, rows[-1].index)

    def last_of_kind(self, kind: str) -> StoredEntry | None:
        """The newest entry of a kind."""
        return self.query.last_before(kind, 2**63 - 1)

    def orders(self, run: str | None = None) -> list[StoredOrder]:
        """All orders, in the order of their last change; with `run`, that session's."""
        where, values = ("WHERE run = ?", (run,)) if run is not None else ("", ())
        return self._orders(where, values)

    def open_orders(self) -> list[StoredOrder]:
        """Orders of any session that may still fill, or whose fate is unknown."""
        ended = sorted(schema.ENDED)
        return self._orders(f"WHERE state NOT IN ({', '.join('?' * len(ended))})", tuple(ended))

    def order(self, order_id: OrderId) -> StoredOrder | None:
        """One order, None if it was never recorded."""
        found = self._orders("WHERE order_id = ?", (order_id,))
        return found[0] if found else None

    def file(self, path: str) -> bytes | None:
        """A published file by its path below the prefix; None if it is none or is not there."""
        if not _PUBLISHED.fullmatch(path):
            return None
        return read_file(self._directory / path)

    def partial_widths(self, tile: Tile) -> Sequence[int]:
        """Widths of the partial files there are of this tile, ascending."""
        directory = self._directory / tile.partial_dir
        try:
            return sorted(int(child.name) for child in directory.iterdir() if child.name.isdigit())
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            why = f"{error.strerror or error} ({directory})"
            raise StoreError("a directory of tiles cannot be read", why) from error

    def published_size(self) -> int:
        """Size of the checkpoint file, its signature not verified; StoreError if it is none."""
        data = self.file(CHECKPOINT)
        if data is None:
            raise StoreError("the log has no checkpoint", f"no such file ({self._directory / CHECKPOINT})")
        try:
            return parse_checkpoint(parse_note(data).text).size
        except PeerError as error:
            raise StoreError("the log's checkpoint cannot be read", error.why) from error

    def root(self, size: int) -> bytes:
        """Root of the log's first `size` entries, at most the published size."""
        return range_hash(0, size, tile_subtrees(size, self._tile)) if size else EMPTY_ROOT

    def consistency(self, old: int, size: int) -> list[bytes]:
        """Proof that the log at `old` is a prefix of the log at a published `size`; empty from 0."""
        return consistency_proof(old, size, tile_subtrees(size, self._tile)) if old else []

    def subtrees(self, size: int) -> Subtree:
        """Roots of complete subtrees of the first `size` entries, at most the published size.

        What the function has read it keeps: many proofs of one size cost little.
        """
        return tile_subtrees(size, self._tile)

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """Proof that entry `index` is in the log of a published `size`."""
        return inclusion_proof(index, size, tile_subtrees(size, self._tile))

    def content(self, tile: Tile) -> bytes:
        """A tile or bundle of any size up to the signed one. Raises StoreError if a part is missing."""
        return self._rows.content(tile)

    def _tile(self, tile: Tile) -> bytes:
        """Tiles come from the entries: they are durable before any file of them exists."""
        return self._rows.content(tile)

    def _pages(self, where: str, values: tuple[object, ...], start: int) -> Iterator[StoredEntry]:
        while True:
            rows = self.query.rows(f"{where} AND idx >= ?", (*values, start))
            yield from rows
            if len(rows) < PAGE:
                return
            start = rows[-1].index + 1

    def _orders(self, where: str, values: tuple[object, ...]) -> list[StoredOrder]:
        found = []
        statement = f"{_ORDERS} {where} ORDER BY idx, order_id"
        for body, run, index in self.query.fetch(statement, values):
            try:
                found.append(StoredOrder(_decode_order(body), run, index))
            except msgspec.MsgspecError as error:
                raise StoreError("a stored order cannot be read", f"{error} ({self._path})") from error
        return found
