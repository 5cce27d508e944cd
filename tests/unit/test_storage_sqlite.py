"""SQLite as a store: durability settings, absence, versions, damage."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from appliance.domain.errors import CannotCreateError, ConfigError, StoreError
from appliance.storage.sqlite import create_store, open_store, quick_check, store_errors

SCHEMA = "CREATE TABLE t (x INTEGER) STRICT; CREATE TABLE u (y TEXT) STRICT;"
DO = "interlock init"


def made(directory: Path) -> Path:
    path = directory / "a.db"
    create_store(path, 7, SCHEMA).close()
    return path


def test_every_connection_syncs_fully(tmp_path: Path) -> None:
    """WAL and FULL are set and read back, and the schema is there."""
    connection = open_store(made(tmp_path), 7, do=DO)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("SELECT count(*) FROM u").fetchone() == (0,)
    quick_check(connection)
    connection.close()
    assert stat.S_IMODE((tmp_path / "a.db").stat().st_mode) == 0o600


def test_absence_names_the_command_and_creates_nothing(tmp_path: Path) -> None:
    """The daemon never makes its own store."""
    for readonly in (False, True):
        with pytest.raises(ConfigError) as caught:
            open_store(tmp_path / "a.db", 7, do=DO, readonly=readonly)
        assert caught.value.do == DO
    assert list(tmp_path.iterdir()) == []


def test_another_version_is_refused_and_kept(tmp_path: Path) -> None:
    """Nothing is converted behind anybody's back."""
    path = made(tmp_path)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="format 7, this program reads 8"):
        open_store(path, 8, do=DO)
    assert path.read_bytes() == before


def test_creating_twice_is_refused(tmp_path: Path) -> None:
    """An existing store is never touched; a missing directory is said."""
    path = made(tmp_path)
    with pytest.raises(CannotCreateError):
        create_store(path, 7, SCHEMA)
    with pytest.raises(CannotCreateError):
        create_store(tmp_path / "none" / "a.db", 7, SCHEMA)


def test_a_reader_reads_while_a_writer_writes(tmp_path: Path) -> None:
    """And can change nothing."""
    path = made(tmp_path)
    writer, reader = open_store(path, 7, do=DO), open_store(path, 7, do=DO, readonly=True)
    writer.execute("INSERT INTO t VALUES (1)")
    assert reader.execute("SELECT x FROM t").fetchall() == [(1,)]
    with pytest.raises(StoreError), store_errors(path):
        reader.execute("INSERT INTO t VALUES (2)")
    writer.close()
    reader.close()


def test_a_card_mounted_read_only_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No lock can be taken there: forensics read the file as it lies, and leave nothing beside it."""
    path = made(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    reader = open_store(path, 7, do=DO, readonly=True)
    assert reader.execute("SELECT count(*) FROM t").fetchone() == (0,)
    assert [child.name for child in tmp_path.iterdir()] == ["a.db"]
    reader.close()


def test_a_file_that_is_no_database_is_a_store_error(tmp_path: Path) -> None:
    """Garbage and a database cut short."""
    path = tmp_path / "a.db"
    path.write_bytes(b"this is not a database, whatever it is called" * 100)
    with pytest.raises(StoreError):
        open_store(path, 7, do=DO)
    path.unlink()
    connection = create_store(path, 7, SCHEMA)
    with connection:
        connection.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(5000)])
    connection.close()
    data = bytearray(path.read_bytes())
    data[4096 * 3 : 4096 * 4] = bytes(4096)
    path.write_bytes(bytes(data))
    connection = open_store(path, 7, do=DO)
    with pytest.raises(StoreError, match=r"damaged|cannot be used"):
        quick_check(connection)
    connection.close()
