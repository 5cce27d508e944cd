"""A mirror's copy of one log in SQLite, one file an origin; tiles and bundles are computed from it.

entries  exactly what was hashed
nodes    roots of full tiles, as in the log's own store
head     one row: the last checkpoint this mirror vouches for

Entries and nodes of one request are one transaction, durable before the co-signature of what they complete.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from appliance.audit.merkle import EMPTY_ROOT, range_hash
from appliance.audit.tiles import Tile, tile_subtrees
from appliance.domain.errors import StoreError
from appliance.storage.durable import make_directory, sync_directory
from appliance.storage.log_tree import LogTree, TreeRows
from appliance.storage.sqlite import create_store, open_store, store_errors
from appliance.upstream.witness import WitnessHead, origin_hash

FOLDER = "mirror"
VERSION = 1
INIT = "interlock init"
_SCHEMA = """
CREATE TABLE entries (idx INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE nodes (
    level INTEGER NOT NULL, n INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (level, n)
) STRICT, WITHOUT ROWID;
CREATE TABLE head (
    id INTEGER PRIMARY KEY CHECK (id = 1), size INTEGER NOT NULL, root BLOB NOT NULL, note BLOB NOT NULL
) STRICT;
"""


def path_of(directory: Path, origin: str) -> Path:
    """Where the copy of an origin lies below the collector's directory."""
    return directory / FOLDER / f"{origin_hash(origin)}.db"


def create_mirror_store(directory: Path, origin: str) -> None:
    """Makes an empty copy. Raises CannotCreateError if there is one; no daemon calls this."""
    folder = directory / FOLDER
    make_directory(folder, 0o700)
    create_store(path_of(directory, origin), VERSION, _SCHEMA).close()
    try:
        sync_directory(folder)
    except OSError as error:
        raise StoreError("the mirror's store is not durable", f"{error} ({folder})") from error


def need_mirror_store(directory: Path, origin: str) -> None:
    """Makes an empty copy if there is none: built beside its place, so that a crash leaves none or a whole.

    Raises StoreError.
    """
    building, target = directory / f".{FOLDER}.new", path_of(directory, origin)
    if target.exists():
        return
    try:
        shutil.rmtree(building, ignore_errors=True)
        create_mirror_store(building, origin)
        make_directory(target.parent, 0o700)
        path_of(building, origin).rename(target)
        sync_directory(target.parent)
        shutil.rmtree(building, ignore_errors=True)
    except OSError as error:
        why = f"{error.strerror or error} ({target})"
        raise StoreError("the mirror's store was not made", why) from error


class MirrorStore:
    """Implements mirror.Copy. Usable from one thread at a time."""

    def __init__(
        self, directory: Path, origin: str, vfs: str | None = None, *, readonly: bool = False
    ) -> None:
        """Raises ConfigError if it was never made, StoreError if it cannot be used.

        readonly: beside the collector that writes; `following` is then as of now.
        """
        self._path = path_of(directory, origin)
        self._connection = open_store(self._path, VERSION, do=INIT, readonly=readonly, vfs=vfs)
        self._rows = TreeRows(self._connection, self._path)
        self._tree = self._load()

    def close(self) -> None:
        """Lets go of the database."""
        with store_errors(self._path):
            self._connection.close()

    def following(self) -> int:
        """See mirror.Copy."""
        return self._tree.size

    def cosigned(self) -> WitnessHead | None:
        """See mirror.Copy."""
        with store_errors(self._path):
            row = self._connection.execute("SELECT size, root, note FROM head").fetchone()
        if row is None:
            return None
        size, root, note = row
        if not (isinstance(size, int) and isinstance(root, bytes) and isinstance(note, bytes)):
            raise StoreError("the mirror's store is damaged", f"a head of the wrong form ({self._path})")
        return WitnessHead(size, root, note)

    def bodies(self, start: int, stop: int) -> list[bytes]:
        """See mirror.Copy."""
        found = list(self._rows.bodies(start, stop))
        if len(found) != stop - start:
            raise StoreError("the mirror's store is damaged", f"entry {start + len(found)} ({self._path})")
        return found

    def append(self, entries: Sequence[bytes]) -> None:
        """See mirror.Copy. A failure leaves the tree in memory ahead: the process ends with it."""
        first = self._tree.size
        for entry in entries:
            self._tree.add(entry)
        with store_errors(self._path), self._connection:
            self._connection.executemany(
                "INSERT INTO entries (idx, body) VALUES (?, ?)", enumerate(entries, first)
            )
            self._connection.executemany(
                "INSERT INTO nodes (level, n, hash) VALUES (?, ?, ?)", self._tree.pending
            )
        self._tree.pending.clear()

    def root(self, size: int) -> bytes:
        """See mirror.Copy."""
        if size == self._tree.size:
            return self._tree.root()
        return range_hash(0, size, tile_subtrees(size, self._rows.content)) if size else EMPTY_ROOT

    def vouch(self, head: WitnessHead) -> None:
        """See mirror.Copy."""
        with store_errors(self._path), self._connection:
            self._connection.execute(
                "INSERT OR REPLACE INTO head (id, size, root, note) VALUES (1, ?, ?, ?)",
                (head.size, head.root, head.note),
            )

    def content(self, tile: Tile) -> bytes:
        """A tile or bundle of what is vouched for, as it is served."""
        return self._rows.content(tile)

    def _load(self) -> LogTree:
        """Rows of nodes never lag behind entries here: they are one transaction."""
        tree = LogTree.load(self._rows)
        for body in self._rows.bodies(tree.size, self._rows.size()):
            tree.add(body)
        if tree.pending or tree.size != self._rows.size():
            raise StoreError("the mirror's store is damaged", f"entries without their roots ({self._path})")
        return tree
