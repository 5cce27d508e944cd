"""SQLite as a durable store: WAL, `synchronous=FULL` set and read back, never created by a daemon.

Every error of the library becomes StoreError: after a failed write or fsync the state of the file is
unknown to this process (SAFETY 8). Only a write that found no space is a NoSpaceError: SQLite has rolled the
transaction back, and what it had begun to write behind the last commit is never read. `vfs` lets a test put
failing system calls under the real library.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import apsw

from appliance.domain.errors import CannotCreateError, ConfigError, NoSpaceError, StoreError
from appliance.storage.durable import NO_SPACE

BUSY_MS = 5000
WAL_PAGES = 1000
_FULL = 2


def open_store(
    path: Path, version: int, *, do: str, readonly: bool = False, vfs: str | None = None
) -> apsw.Connection:
    """Opens an existing store of `version` (its `user_version`). A writer starts over on what is durable: it
    empties the write-ahead log that it finds.

    Raises ConfigError if it is absent or of another version, naming the command `do`; StoreError if it
    cannot be used. Readers pass `readonly`: they never write, not even a WAL checkpoint.
    """
    if not path.is_file():
        raise ConfigError(f"{path.name} is missing", f"the store was never created ({path})", do)
    name, flags = str(path), apsw.SQLITE_OPEN_READWRITE
    if readonly:
        name, flags = _readonly_name(path), apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    with store_errors(path):
        connection = apsw.Connection(name, flags=flags, vfs=vfs)
        try:
            found = _prepare(connection, readonly=readonly)
            if not readonly:
                _start_over(connection)
        except apsw.Error:
            connection.close(True)
            raise
    if found == version:
        return connection
    connection.close(True)
    why = f"it is of format {found}, this program reads {version} ({path})"
    raise ConfigError(f"{path.name} was written by another version", why)


def create_store(path: Path, version: int, schema: str) -> apsw.Connection:
    """Makes a new store; refuses to touch an existing one (CannotCreateError). For `init` and tests."""
    try:
        path.touch(mode=0o600, exist_ok=False)
    except FileExistsError as error:
        raise CannotCreateError(f"{path} was not created", "it exists already") from error
    except OSError as error:
        raise CannotCreateError(f"{path} was not created", error.strerror or str(error)) from error
    with store_errors(path):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        _prepare(connection, readonly=False)
        with connection:
            connection.execute(schema)
            connection.execute(f"PRAGMA user_version = {int(version)}")
        return connection


def quick_check(connection: apsw.Connection) -> None:
    """Reads the whole database; raises StoreError with the first thing SQLite finds wrong."""
    path = Path(connection.filename)
    with store_errors(path):
        answer = _value(connection, "PRAGMA quick_check(1)")
    if answer != "ok":
        raise StoreError(f"{path.name} is damaged", f"{answer} ({path})")


@contextlib.contextmanager
def store_errors(path: Path, connection: apsw.Connection | None = None) -> Iterator[None]:
    """Turns what SQLite raises into StoreError. connection: whose errno tells a used-up quota from a bad
    disk."""
    try:
        yield
    except apsw.Error as error:
        kind = NoSpaceError if _no_space(error, connection) else StoreError
        raise kind(f"{path.name} cannot be used", f"{error} ({path})") from error


def _no_space(error: apsw.Error, connection: apsw.Connection | None) -> bool:
    """SQLite calls ENOSPC full and EDQUOT an input/output error. The shared index of the write-ahead log
    (SHMSIZE) is a copy in memory: it may always be tried again. An fsync is never counted here."""
    code = getattr(error, "extendedresult", 0)
    if isinstance(error, apsw.FullError) or code == apsw.SQLITE_IOERR_SHMSIZE:
        return True
    return code == apsw.SQLITE_IOERR_WRITE and connection is not None and connection.system_errno in NO_SPACE


def checkpoint_wal(connection: apsw.Connection) -> None:
    """Copies the write-ahead log into the database as far as no reader is in the way.

    SQLite's own automatic checkpoint swallows a failed fsync; here it is an apsw.Error like any other.
    """
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)


def _start_over(connection: apsw.Connection) -> None:
    """Copies the write-ahead log into the database, durably, and cuts it off.

    Where a predecessor's fsync failed, the kernel shows pages that the disk does not have and calls them
    clean: no fsync of ours would store them, and commits behind them would end with them at a power cut. What
    is copied is written anew.
    """
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)


def _after_commit(connection: apsw.Connection, _name: str, pages: int) -> int:
    if pages >= WAL_PAGES:
        checkpoint_wal(connection)
    return apsw.SQLITE_OK


def _readonly_name(path: Path) -> str:
    """URI of the database; on a card mounted read-only, where no lock can be taken, as immutable."""
    wal = path.with_name(path.name + "-wal")
    locked = os.access(path.parent, os.W_OK)
    unread = wal.is_file() and wal.stat().st_size > 0
    return path.absolute().as_uri() + ("" if locked or unread else "?immutable=1")


def _prepare(connection: apsw.Connection, *, readonly: bool) -> object:
    """Sets what must hold on every connection, reads it back, returns the user_version."""
    connection.set_busy_timeout(BUSY_MS)
    if readonly:
        connection.execute("PRAGMA query_only = ON")
        return _value(connection, "PRAGMA user_version")
    mode = _value(connection, "PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    if mode != "wal" or _value(connection, "PRAGMA synchronous") != _FULL:
        raise apsw.SQLError("write-ahead log and full synchronisation cannot be had here")
    connection.set_wal_hook(_after_commit)
    connection.execute("PRAGMA trusted_schema = OFF")
    return _value(connection, "PRAGMA user_version")


def _value(connection: apsw.Connection, statement: str) -> object:
    row = connection.execute(statement).fetchone()
    return row[0] if row else None
