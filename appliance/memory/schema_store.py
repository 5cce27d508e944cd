"""The memory file: its tables, its creation, and what is checked before it is trusted. R2.

SQLite is the only truth of long-term memory. A collection is one table of records in plain SQL, one
sqlite-vec table with their vectors, both only ever added to, and its rows in `collections`, `scalings` and
`running`.

    observations       the record, its identity and its features
    observations_vec   int8 vectors and bit codes; partition = stream × scaling version × bucket of time
    collections        which encoder made the vectors
    scalings           frozen standardisation statistics (stream, version)
    running            the sums the next version will be cut from, and how far the newest has got

`synchronous=NORMAL`: a power cut may cost the last seconds of memory. The audit log may not lose anything
and is another file with other settings. Locking is exclusive: one process owns the file, and no shared-memory
file is mapped. Memory-mapped reading is off unless asked for: an unreadable sector under a mapping is SIGBUS,
which would end the core, where a failed read() is an error that is counted (and at 15,000 rows the mapping
gains nothing: the page cache holds the whole file).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import apsw
import sqlite_vec  # type: ignore[import-untyped]  # a loader of 30 lines without type marks

from appliance.domain.errors import CannotCreateError, ConfigError, PeerError, TransportError
from appliance.memory.features import NAMES
from appliance.memory.similarity import DIMS, Encoder

COLLECTION = "observations"
CACHE_KIB = 64 * 1024
CHUNK_ROWS = 256
K_MAX = 4096
"""sqlite-vec's own limit on neighbours per search."""

_APPLICATION_ID = 0x494C4D45  # "ILME"
_LAYOUT = 1
_PASSING = (
    apsw.BusyError, apsw.CantOpenError, apsw.FullError, apsw.InterruptError, apsw.IOError, apsw.LockedError,
    apsw.NoMemError, apsw.PermissionsError, apsw.ReadOnlyError,
)  # fmt: skip

_TABLES = f"""
CREATE TABLE collections (
    name TEXT PRIMARY KEY, encoder TEXT NOT NULL, features TEXT NOT NULL, dims INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE scalings (
    collection TEXT NOT NULL, stream TEXT NOT NULL, version INTEGER NOT NULL,
    center TEXT NOT NULL, sigma TEXT NOT NULL, PRIMARY KEY (collection, stream, version)
) STRICT, WITHOUT ROWID;
CREATE TABLE running (
    collection TEXT NOT NULL, stream TEXT NOT NULL, sums TEXT NOT NULL,
    cut_row INTEGER NOT NULL, filled_row INTEGER NOT NULL, filled INTEGER NOT NULL,
    PRIMARY KEY (collection, stream)
) STRICT, WITHOUT ROWID;
CREATE TABLE observations (
    id INTEGER PRIMARY KEY, identity BLOB NOT NULL UNIQUE, stream TEXT NOT NULL,
    event_ns INTEGER NOT NULL, seen_ns INTEGER NOT NULL,
    open INTEGER NOT NULL, high INTEGER NOT NULL, low INTEGER NOT NULL, close INTEGER NOT NULL,
    volume INTEGER NOT NULL, spread_ppb INTEGER, features BLOB
) STRICT;
CREATE INDEX observations_by_time ON observations (stream, event_ns);
CREATE VIRTUAL TABLE observations_vec USING vec0 (
    id INTEGER PRIMARY KEY, stream TEXT PARTITION KEY, scaling INTEGER PARTITION KEY,
    bucket INTEGER PARTITION KEY, event_ns INTEGER, coarse bit[{DIMS}], fine int8[{DIMS}],
    chunk_size={CHUNK_ROWS}
);
"""


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's errors as ours: TransportError for what may pass (busy, full, IO), PeerError for damage."""
    try:
        yield
    except _PASSING as error:
        why = f"{type(error).__name__}: {error} ({path})"
        raise TransportError("memory did not answer", why) from error
    except apsw.Error as error:
        raise damaged(path, f"{type(error).__name__}: {error}") from error


def missing(path: Path) -> ConfigError:
    """The daemon never creates its own store."""
    return ConfigError("long-term memory cannot start", f"there is no memory file ({path})", "interlock init")


def damaged(path: Path, why: str) -> PeerError:
    """The file cannot be used and is left as it is, for whoever wants to know what happened to it."""
    return PeerError(
        "the memory file cannot be used and is kept as it is",
        f"{why} ({path})",
        "move the file and its -wal away, then: interlock init",
    )


def create(path: Path, names: Sequence[str] = NAMES) -> None:
    """An empty memory for these features, mode 0600; called by `interlock init`, never by the daemon.

    Written beside the path and renamed when complete: a crash leaves no file, or the whole one. Raises
    CannotCreateError if there is one already, or a log of one (SQLite would apply it to the new file), or if
    the folder refuses.
    """
    for found in (path, *_logs(path)):
        if found.exists():
            why = f"{found} exists already"
            raise CannotCreateError("memory was not created", why, "keep it, or move it away with its logs")
    draft = path.with_name(path.name + ".new")
    try:
        for leftover in (draft, *_logs(draft)):
            leftover.unlink(missing_ok=True)
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        _fill(draft, names)
        draft.replace(path)
        _sync_folder(path.parent)
    except (OSError, apsw.Error) as error:
        raise CannotCreateError("memory was not created", f"{error} ({path})") from error


def open_database(path: Path, encoder: Encoder, mmap_bytes: int = 0) -> apsw.Connection:
    """The existing file, checked and locked for this process.

    Raises ConfigError if there is none, PeerError if it is damaged or not made for this encoder,
    TransportError if it is in use or cannot be read now.
    """
    if not path.exists():
        raise missing(path)
    with translated(path):
        db = _connect(path)
        try:
            db.execute("PRAGMA locking_mode=EXCLUSIVE")
            _check(db, path, encoder)
            db.execute("PRAGMA synchronous=NORMAL")
            db.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
            db.execute(f"PRAGMA mmap_size={mmap_bytes}")
            db.execute("PRAGMA journal_mode=WAL")
        except (apsw.Error, PeerError):
            abandon(db)
            raise
    return db


def abandon(db: apsw.Connection) -> None:
    """Closes without moving the write-ahead log into the file: what is damaged is not written to."""
    db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    db.close()


def _logs(path: Path) -> list[Path]:
    return [path.with_name(path.name + suffix) for suffix in ("-wal", "-journal")]


def _connect(path: Path) -> apsw.Connection:
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    db.enable_load_extension(True)
    db.load_extension(sqlite_vec.loadable_path())
    db.enable_load_extension(False)
    return db


def _check(db: apsw.Connection, path: Path, encoder: Encoder) -> None:
    marks = (db.pragma("application_id"), db.pragma("user_version"))
    if marks != (_APPLICATION_ID, _LAYOUT):
        raise damaged(path, f"not a memory of layout {_LAYOUT}: application and layout read {marks}")
    verdict = db.execute("PRAGMA quick_check(1)").fetchall()[0][0]
    if verdict != "ok":
        raise damaged(path, str(verdict))
    found = db.execute("SELECT encoder, dims FROM collections WHERE name = ?", (COLLECTION,)).fetchone()
    if found != (encoder.name, DIMS):
        raise damaged(path, "its vectors were made by another encoder")


def _fill(draft: Path, names: Sequence[str]) -> None:
    db = _connect(draft)
    try:
        with db:
            db.execute(_TABLES)
            row = (COLLECTION, Encoder(names).name, json.dumps(list(names)), DIMS)
            db.execute("INSERT INTO collections VALUES (?, ?, ?, ?)", row)
            db.execute(f"PRAGMA application_id={_APPLICATION_ID}")
            db.execute(f"PRAGMA user_version={_LAYOUT}")
        db.execute("PRAGMA journal_mode=WAL")
    finally:
        db.close()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
