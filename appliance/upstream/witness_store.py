"""The witness's memory in SQLite: one row per origin, replaced only by a later head."""

from __future__ import annotations

from pathlib import Path

from appliance.domain.errors import StoreError
from appliance.storage.durable import make_directory, sync_directory
from appliance.storage.sqlite import create_store, open_store, store_errors
from appliance.upstream.witness import WitnessHead, origin_hash

DATABASE = "witness.db"
VERSION = 1
INIT = "interlock init"
_SCHEMA = """
CREATE TABLE heads (
    origin TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, root BLOB NOT NULL,
    note BLOB NOT NULL
) STRICT, WITHOUT ROWID;
"""
_REPLACE = "INSERT OR REPLACE INTO heads (origin, hash, size, root, note) VALUES (?, ?, ?, ?, ?)"


def create_witness_store(directory: Path) -> None:
    """Makes an empty store. Raises CannotCreateError if there is one; no daemon calls this."""
    make_directory(directory, 0o700)
    create_store(directory / DATABASE, VERSION, _SCHEMA).close()
    try:
        sync_directory(directory)
    except OSError as error:
        raise StoreError("the witness's store is not durable", f"{error} ({directory})") from error


class SqliteWitnessStore:
    """Implements witness.WitnessStore. Usable from one thread at a time."""

    def __init__(self, directory: Path, vfs: str | None = None) -> None:
        """Raises ConfigError if the store was never created."""
        self._path = directory / DATABASE
        self._connection = open_store(self._path, VERSION, do=INIT, vfs=vfs)

    def close(self) -> None:
        """Lets go of the database."""
        with store_errors(self._path):
            self._connection.close()

    def load(self, origin: str) -> WitnessHead | None:
        """See WitnessStore."""
        return self._one("SELECT size, root, note FROM heads WHERE origin = ?", origin)

    def find(self, origin_hash: str) -> WitnessHead | None:
        """See WitnessStore."""
        return self._one("SELECT size, root, note FROM heads WHERE hash = ?", origin_hash)

    def advance(self, origin: str, old: int, head: WitnessHead) -> bool:
        """See WitnessStore: compare and store in one transaction, durable when it returns True."""
        with store_errors(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            last = self.load(origin)
            if (last.size if last else 0) != old:
                self._connection.execute("ROLLBACK")
                return False
            values = (origin, origin_hash(origin), head.size, head.root, head.note)
            self._connection.execute(_REPLACE, values)
            self._connection.execute("COMMIT")
        return True

    def _one(self, statement: str, value: str) -> WitnessHead | None:
        with store_errors(self._path):
            row = self._connection.execute(statement, (value,)).fetchone()
        if row is None:
            return None
        size, root, note = row
        if not (isinstance(size, int) and isinstance(root, bytes) and isinstance(note, bytes)):
            raise StoreError("the witness's store is damaged", f"a head of the wrong form ({self._path})")
        return WitnessHead(size, root, note)
