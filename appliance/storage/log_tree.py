"""The Merkle tree over the stored entries: what of it is kept, and how it is found again after a crash.

Kept are the roots of full tiles (table `nodes`), one row per 256 entries; all else follows from the entries.
Rows are written with the next head, so after a crash they may lag behind the entries, never lead: the
missing part is hashed again from the entries themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import apsw

from appliance.audit.merkle import HASH, Frontier, frontier_roots, leaf_hash
from appliance.audit.tiles import (
    ENTRIES,
    WIDTH,
    Tile,
    TileBuilder,
    encode_bundle,
    items,
    tile_subtrees,
)
from appliance.domain.errors import StoreError
from appliance.storage.log_cold import ColdEntries
from appliance.storage.sqlite import store_errors

Node = tuple[int, int, bytes]


class TreeRows:
    """Tiles and bundles computed from the database; reads only."""

    def __init__(self, connection: apsw.Connection, path: Path, cold: ColdEntries | None = None) -> None:
        """cold: where bodies are that were pruned; None for a store in which nothing ever is."""
        self._connection = connection
        self._path = path
        self._cold = cold

    def content(self, tile: Tile) -> bytes:
        """Content of a tile or bundle. Raises StoreError if the database does not have all of it."""
        first, last = tile.start, tile.start + tile.width
        above = tile.level > 0
        rows = self.nodes(tile.level, first, last) if above else list(self.bodies(first, last))
        if len(rows) != tile.width:
            raise StoreError("the log store is damaged", f"rows for {tile.path} are missing ({self._path})")
        if tile.level == ENTRIES:
            return encode_bundle(rows)
        return b"".join(leaf_hash(row) for row in rows) if tile.level == 0 else b"".join(rows)

    def bodies(self, start: int, stop: int) -> Iterator[bytes]:
        """Entries [start, stop) in order, up to the first that is missing; fetched 256 at a time.

        No statement stays open between chunks: a long read would keep the write-ahead log from shrinking.
        """
        statement = "SELECT idx, body FROM entries WHERE idx >= ? AND idx < ? ORDER BY idx"
        for low in range(start, stop, WIDTH):
            high = min(low + WIDTH, stop)
            with store_errors(self._path):
                rows = self._connection.execute(statement, (low, high)).fetchall()
            for expected, (index, body) in enumerate(rows, low):
                if index != expected:
                    return
                stored = self._bytes(body, f"entry {expected}")
                yield stored if stored or self._cold is None else self._cold.body(expected, stored)
            if len(rows) < high - low:
                return

    def nodes(self, level: int, first: int, last: int) -> list[bytes]:
        """Stored roots [first, last) of a level's full tiles; fewer if they are not there."""
        statement = "SELECT hash FROM nodes WHERE level = ? AND n >= ? AND n < ? ORDER BY n"
        with store_errors(self._path):
            rows = self._connection.execute(statement, (level, first, last)).fetchall()
        hashes = [self._bytes(row[0], f"a root of tree level {level}") for row in rows]
        if any(len(value) != HASH for value in hashes):
            raise StoreError("the log store is damaged", f"no hash in tree level {level} ({self._path})")
        return hashes

    def size(self) -> int:
        """Number of entries: one more than the largest index."""
        with store_errors(self._path):
            row = self._connection.execute("SELECT max(idx) FROM entries").fetchone()
        return 0 if row is None or row[0] is None else int(row[0]) + 1

    def hashed(self) -> int:
        """Number of entries under stored level-1 roots, a multiple of 256."""
        with store_errors(self._path):
            row = self._connection.execute("SELECT count(*) FROM nodes WHERE level = 1").fetchone()
        return int(row[0]) * WIDTH if row else 0

    def _bytes(self, value: object, what: str) -> bytes:
        if not isinstance(value, bytes):
            raise StoreError("the log store is damaged", f"{what} is not bytes ({self._path})")
        return value


class LogTree:
    """The growing tree in memory: its right edge, and the rows the next head will bring."""

    def __init__(self, frontier: Frontier, builder: TileBuilder) -> None:
        self._frontier = frontier
        self._builder = builder
        self.pending: list[Node] = []

    @classmethod
    def load(cls, rows: TreeRows) -> LogTree:
        """The tree over the entries that stored rows cover; the caller adds the rest."""
        size = rows.hashed()
        frontier = Frontier(size, frontier_roots(size, tile_subtrees(size, rows.content)))
        levels: list[Sequence[bytes]] = []
        counts = []
        while items(len(levels), size):
            level, now = len(levels), items(len(levels), size)
            start = now - now % WIDTH
            levels.append(rows.nodes(level, start, now) if level else [])
            counts.append(start // WIDTH)
            if len(levels[-1]) != now - start:
                raise StoreError("the log store is damaged", f"rows of tree level {level} are missing")
        return cls(frontier, TileBuilder(levels, counts))

    @property
    def size(self) -> int:
        """Number of entries in the tree."""
        return self._frontier.size

    def root(self) -> bytes:
        """Root as of now."""
        return self._frontier.root()

    def add(self, body: bytes) -> None:
        """Appends one entry's bytes."""
        leaf = leaf_hash(body)
        self._frontier.append(leaf)
        for tile, _, root in self._builder.add(leaf):
            self.pending.append((tile.level + 1, tile.index, root))
