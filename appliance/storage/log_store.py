"""The log's database as its one writer uses it: entries durable → head durable → head signed → published.

    commit   entries and order rows of a group, one transaction, one fsync
    seal     tree rows and the new head in one transaction; only then is the head signed, and the signed
             text stored. The head only grows, and the signature is a function of it: after a crash between
             the two the same checkpoint is signed again, never another of that size
    publish  the files, last of them the checkpoint

Nothing is tried again after an error: the store refuses, the process ends, the next start looks (SAFETY 8).
One error is none of the disk's: a write that found no space keeps nothing. A commit then gives the reserve
back and is done once more; a publication, which no exit needs, may be begun again when there is room.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import apsw

from appliance.audit.checkpoint import Checkpoint, sign_checkpoint
from appliance.audit.key_chain import KeyChain
from appliance.audit.notes import SigningKey
from appliance.audit.tiles import MAX_ENTRY
from appliance.domain.errors import (
    ConfigError,
    InterlockError,
    InvariantError,
    NoSpaceError,
    StoreError,
)
from appliance.storage import log_schema as schema
from appliance.storage.durable import REAL_IO, Io
from appliance.storage.log_cold import ColdEntries
from appliance.storage.log_publish import Head, Publisher, read_published, read_witnessed
from appliance.storage.log_rotations import KEY_ENTRIES, chain_of
from appliance.storage.log_tree import LogTree, TreeRows
from appliance.storage.log_wire import Append
from appliance.storage.sqlite import WAL_PAGES, checkpoint_wal, open_store, store_errors

_Result = TypeVar("_Result")


class LogStore:
    """Open log store; one per directory (`log_writer` holds the lock).

    wal_pages: length at which `tidy` empties the write-ahead log.
    size: entries in it.  head: the largest that may be signed.  shown: the published one.
    sources: next sequence number of each source.  rows, cold: what is stored, read only.  keys: the log's.
    """

    def __init__(
        self,
        directory: Path,
        key: SigningKey,
        io: Io = REAL_IO,
        vfs: str | None = None,
        give_back: Callable[[], bool] = lambda: False,
        also: SigningKey | None = None,
    ) -> None:
        """Opens and checks what `create_log` made. give_back: frees the disk reserve; False without one.

        also: the key before `key`, which signs the checkpoint they meet at too (`log_rotate`).

        Raises ConfigError if it is absent, belongs to another key, or is older than what was published or
        witnessed; StoreError if it contradicts itself.
        """
        self.path = directory / schema.DATABASE
        self._key = key
        self._also = also
        self._broken = False
        self._give_back = give_back
        self._fresh: list[bytes] = []
        self._wal_length = 0
        self.wal_pages = WAL_PAGES
        self._connection = self._with_room(
            partial(open_store, self.path, schema.VERSION, do=schema.INIT, vfs=vfs)
        )
        self._connection.set_wal_hook(self._note_wal)
        try:
            self._load(directory, io)
        except (InterlockError, apsw.Error):
            self._connection.close(True)
            raise

    def _load(self, directory: Path, io: Io) -> None:
        self.cold = ColdEntries(self._connection, self.path)
        rows = self.rows = TreeRows(self._connection, self.path, self.cold)
        self._check_origin()
        self.head = self._read_head()
        self.size = rows.size()
        self.sources = self._read_sources()
        self.keys = self._read_keys()
        published, note = read_published(directory, self.keys)
        self.shown = Head(published.size, published.root, note)
        witnessed = read_witnessed(directory, self.keys)
        if max(published.size, witnessed) > self.head.size:
            raise ConfigError(
                "the audit log is older than what was published of it",
                f"it ends at {self.head.size}, {max(published.size, witnessed)} entries were vouched for: "
                f"restored from a backup? ({self.path})",
                "keep this directory, and restore the newer one or start a new log with interlock init",
            )
        if published.size == self.head.size and published.root != self.head.root:
            raise StoreError("the audit log has two heads of one size", f"at {published.size} ({self.path})")
        self._tree = self._load_tree(rows)
        self._publisher = Publisher(directory, published.size, rows.content, io)

    def _load_tree(self, rows: TreeRows) -> LogTree:
        """Hashes what the stored rows do not cover, and passes the head's size on the way."""
        tree = LogTree.load(rows)
        found = tree.root() if tree.size == self.head.size else b""
        for body in rows.bodies(tree.size, self.size):
            tree.add(body)
            if tree.size == self.head.size:
                found = tree.root()
        if tree.size != self.size or found != self.head.root:
            why = f"entries and head disagree at {self.head.size} of {self.size} ({self.path})"
            raise StoreError("the audit log is damaged", why, "interlock audit verify")
        return tree

    def commit(self, group: Sequence[Append]) -> int:
        """Makes a group durable in one transaction; returns the new size. Raises StoreError."""
        entries, orders, sources, end = [], [], {}, self.size
        for append in group:
            if append.first != end:
                raise InvariantError(f"the log ends at {end} and was sent entry {append.first}")
            for index, row in enumerate(append.entries, end):
                if len(row.body) > MAX_ENTRY:
                    raise InvariantError(f"entry {index} has {len(row.body)} bytes: no bundle can hold it")
                entries.append((index, row.kind, row.utc_ns, row.ref, row.body))
            end += len(append.entries)
            sources[append.source] = append.next
            for order in append.orders:
                change = (order.order_id, order.run, order.state, order.instrument, order.source)
                orders.append((*change, end - 1, order.body))

        def write() -> None:
            self._connection.executemany(schema.INSERT_ENTRY, entries)
            self._connection.executemany(schema.UPSERT_ORDER, orders)
            self._connection.executemany(schema.UPSERT_SOURCE, sources.items())

        self._with_room(partial(self._transact, write))
        self._fresh += [row.body for append in group for row in append.entries]
        self.sources.update(sources)
        self.size = end
        return end

    def grow(self) -> None:
        """Brings the tree in memory up to the committed entries. Apart from `commit`: acknowledge first."""
        for body in self._fresh:
            self._tree.add(body)
        self._fresh.clear()

    def tidy(self) -> None:
        """Checkpoints the write-ahead log once it is long; apart from `commit`, acknowledge first."""
        if self._wal_length >= self.wal_pages:
            self._with_room(self._checkpoint_wal)
            self._wal_length = 0

    def seal(self) -> Head:
        """The signed head over everything committed, durable before this returns. Raises StoreError."""
        self.grow()
        size, root = self._tree.size, self._tree.root()
        if size > self.head.size:

            def raise_head() -> None:
                self._connection.executemany(schema.INSERT_NODE, self._tree.pending)
                self._change_head(schema.RAISE_HEAD, (size, root, size))

            self._last_word(partial(self._transact, raise_head))
            self._tree.pending.clear()
            self.head = Head(size, root, b"")
        if not self.head.checkpoint:
            note = self._sign(Checkpoint(self._key.name, self.head.size, self.head.root))
            sign = partial(self._change_head, schema.SIGN_HEAD, (note, self.head.size))
            self._last_word(partial(self._transact, sign))
            self.head = Head(self.head.size, self.head.root, note)
        return self.head

    def publish(self) -> Iterator[None]:
        """Seals, then publishes in steps; entries committed in between wait for the next publication.

        Raises StoreError; after a NoSpaceError, and only then, commits and other publications may follow.
        """
        head = self.seal()
        if head != self.shown:
            for step in self._publisher.steps(head):
                self._last_word(step)
                yield
            self._last_word(partial(self._publisher.show, head))
            self.shown = head

    def fetch(self, statement: str, values: Sequence[int | str]) -> list[tuple[Any, ...]]:
        """All rows of a statement that reads. Raises StoreError."""
        with store_errors(self.path, self._connection):
            return self._connection.execute(statement, values).fetchall()

    def change(self, write: Callable[[apsw.Connection], None]) -> None:
        """One more transaction, of what is no entry: it never takes the reserve. Raises StoreError; after a
        NoSpaceError, and only then, commits and other changes may follow."""
        self._last_word(partial(self._transact, partial(write, self._connection)))

    def close(self) -> None:
        """Lets go of the database; what was committed is durable already."""
        with store_errors(self.path):
            self._connection.close()

    def _sign(self, checkpoint: Checkpoint) -> bytes:
        era = self.keys.era(self._key.verifier())
        meet = self._also is not None and era is not None and era.first == checkpoint.size
        return sign_checkpoint(checkpoint, self._key, *((self._also,) if self._also and meet else ()))

    def _note_wal(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self._wal_length = pages
        return apsw.SQLITE_OK

    def _change_head(self, statement: str, values: tuple[object, ...]) -> None:
        self._connection.execute(statement, values)
        if self._connection.changes() != 1:
            raise InvariantError("the log's head was not where this writer left it", str(self.path))

    def _checkpoint_wal(self) -> None:
        with store_errors(self.path, self._connection):
            checkpoint_wal(self._connection)

    def _transact(self, write: Callable[[], None]) -> None:
        """One transaction, durable as a whole when this returns."""
        if self._broken:
            raise StoreError("the audit log failed before", f"nothing is tried again ({self.path})")
        with store_errors(self.path, self._connection), self._rolled_back():
            self._connection.execute("BEGIN IMMEDIATE")
            write()
            self._connection.execute("COMMIT")

    @contextlib.contextmanager
    def _rolled_back(self) -> Iterator[None]:
        """After an error no transaction is open: SQLite ends most by itself, not all."""
        try:
            yield
        except apsw.Error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _with_room(self, step: Callable[[], _Result]) -> _Result:
        """A step the log cannot do without: once more if the disk was full and there was a reserve to give
        back. If there was none, or not enough, the store takes nothing any more."""
        try:
            try:
                return self._last_word(step)
            except NoSpaceError:
                if not self._give_back():
                    raise
                return self._last_word(step)
        except InterlockError:
            self._broken = True
            raise

    def _last_word(self, step: Callable[[], _Result]) -> _Result:
        """After any error but a full disk, the store takes nothing any more."""
        try:
            return step()
        except NoSpaceError:
            raise
        except InterlockError:
            self._broken = True
            raise

    def _check_origin(self) -> None:
        with store_errors(self.path):
            row = self._connection.execute("SELECT value FROM meta WHERE name = 'origin'").fetchone()
        origin = row[0] if row else "nobody"
        if origin != self._key.name:
            why = f"the log is {origin}'s, the key is {self._key.name}'s ({self.path})"
            raise ConfigError("the signing key is not this log's", why)

    def _read_keys(self) -> KeyChain:
        rows = self.fetch(KEY_ENTRIES, ())
        bodies = [row[0] if isinstance(row[0], bytes) else b"" for row in rows]
        return chain_of(bodies, self._key.verifier(), self.path)

    def _read_head(self) -> Head:
        with store_errors(self.path):
            row = self._connection.execute("SELECT size, root, checkpoint FROM head").fetchone()
        if row is None:
            raise StoreError("the audit log has no head", f"it is damaged ({self.path})")
        return Head(row[0], row[1], row[2] or b"")

    def _read_sources(self) -> dict[str, int]:
        with store_errors(self.path):
            rows = self._connection.execute("SELECT src, next FROM sources").fetchall()
        return {str(row[0]): int(str(row[1])) for row in rows}
