"""The disk reserve as a file: real blocks, whole or none, and never an exception but one (SAFETY 8)."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import apsw
import pytest

from appliance.domain.disk import DiskReserve
from appliance.domain.errors import NoSpaceError, StoreError
from appliance.storage.durable import Io, make_directory, write_file
from appliance.storage.reserve import ReserveFile
from appliance.storage.sqlite import create_store, open_store, store_errors

SIZE = 256 * 1024


def _blocks(path: Path) -> int:
    return path.stat().st_blocks * 512


def _whole(path: Path, wanted: int = SIZE) -> ReserveFile:
    reserve = ReserveFile(path, wanted)
    reserve.find()
    reserve.fill()
    return reserve


@pytest.mark.safety("S8.6")
def test_a_reserve_is_blocks_and_not_a_promise(tmp_path: Path) -> None:
    """Allocated, private, and found again by the next writer without being made anew."""
    path = tmp_path / "reserve"
    told: list[DiskReserve] = []
    reserve = ReserveFile(path, SIZE)
    reserve.on_change = lambda: told.append(reserve.state())
    assert (reserve.state().held, reserve.state().why) == (0, "not allocated yet")
    reserve.fill()
    assert told == [DiskReserve(SIZE, SIZE)]
    assert _blocks(path) >= SIZE
    assert path.stat().st_mode & 0o777 == 0o600
    later = ReserveFile(path, SIZE)
    later.find()
    assert later.state().held == SIZE


@pytest.mark.safety("S8.6")
def test_it_is_given_back_once_and_can_be_made_again(tmp_path: Path) -> None:
    """The blocks are free when `give_back` returns, and the state says who has them."""
    path = tmp_path / "reserve"
    reserve = _whole(path)
    assert reserve.give_back()
    assert _blocks(path) == 0
    assert (reserve.state().held, reserve.state().given, reserve.state().missing) == (0, True, SIZE)
    assert not reserve.give_back(), "there is nothing left to give"
    reserve.fill()
    assert reserve.state() == DiskReserve(SIZE, SIZE)
    assert reserve.give_back(), "whole again, it may be used again"


def test_a_hole_is_no_reserve(tmp_path: Path) -> None:
    """A file of the right length without blocks, as a copy may leave it."""
    path = tmp_path / "reserve"
    path.touch()
    os.truncate(path, SIZE)
    found = ReserveFile(path, SIZE)
    found.find()
    assert found.state().held == 0
    found.fill()
    assert _blocks(path) >= SIZE


@pytest.mark.parametrize("wanted", [SIZE // 2, SIZE * 2])
def test_another_size_in_the_configuration_is_another_size_on_disk(tmp_path: Path, wanted: int) -> None:
    """Cut or grown at the next start."""
    path = tmp_path / "reserve"
    _whole(path)
    assert _whole(path, wanted).state() == DiskReserve(wanted, wanted)
    assert path.stat().st_size == wanted
    assert wanted <= _blocks(path) < wanted + 8192


def test_no_reserve_is_wanted(tmp_path: Path) -> None:
    """0 bytes: no file, nothing to give, nothing missing."""
    reserve = _whole(tmp_path / "reserve", 0)
    assert not reserve.give_back()
    assert (reserve.state(), reserve.state().missing) == (DiskReserve(0, 0), 0)
    assert not (tmp_path / "reserve").exists()


@pytest.mark.safety("S8.6")
@pytest.mark.parametrize("obstacle", ["directory", "link", "nowhere", "no room"])
def test_a_reserve_that_cannot_be_made_is_said_and_raises_nothing(tmp_path: Path, obstacle: str) -> None:
    """The box starts, holds, and says why."""
    path = tmp_path / "reserve"
    wanted = SIZE
    if obstacle == "directory":
        path.mkdir()
    elif obstacle == "link":
        (tmp_path / "elsewhere").touch()
        path.symlink_to(tmp_path / "elsewhere")
    elif obstacle == "nowhere":
        path = tmp_path / "absent" / "reserve"
    else:
        wanted = 1 << 60
    reserve = _whole(path, wanted)
    state = reserve.state()
    assert (state.held, state.given, state.missing) == (0, False, wanted)
    assert state.why
    assert not reserve.give_back()
    if obstacle == "no room":
        assert "bytes are free" in state.why
        assert _blocks(path) == 0, "half a reserve takes room and keeps no promise"


def test_a_file_system_that_only_pretends_is_found_out(tmp_path: Path, monkeypatch: Any) -> None:
    """Allocation that returns without blocks, as on a file system that cannot."""
    monkeypatch.setattr(os, "posix_fallocate", lambda handle, _at, size: os.ftruncate(handle, size))
    assert "does not allocate" in _whole(tmp_path / "reserve").state().why
    assert (tmp_path / "reserve").stat().st_size == 0


def test_a_disk_that_fails_while_giving_back_is_an_error_like_any_other(
    tmp_path: Path, monkeypatch: Any
) -> None:
    """Then nothing is known any more."""
    reserve = _whole(tmp_path / "reserve")

    def fail(_handle: int) -> None:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreError, match="given back") as caught:
        reserve.give_back()
    assert not isinstance(caught.value, NoSpaceError)


@pytest.mark.parametrize(
    ("code", "deadly"), [(errno.EIO, True), (errno.ENOSPC, False), (errno.EDQUOT, False)]
)
def test_a_bad_disk_is_not_taken_for_a_full_one(
    tmp_path: Path, monkeypatch: Any, code: int, deadly: bool
) -> None:
    """An fsync that fails while the reserve is made ends the log as every other does; want of room holds."""

    def fail(_handle: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    reserve = ReserveFile(tmp_path / "reserve", SIZE)
    if deadly:
        with pytest.raises(StoreError, match="made durable"):
            reserve.fill()
    else:
        reserve.fill()
    assert reserve.state().missing == SIZE


def test_a_whole_reserve_costs_a_start_no_write(tmp_path: Path, monkeypatch: Any) -> None:
    """Found, measured, left alone."""
    _whole(tmp_path / "reserve")
    monkeypatch.setattr(os, "ftruncate", None)
    monkeypatch.setattr(os, "fsync", None)
    assert _whole(tmp_path / "reserve").state() == DiskReserve(SIZE, SIZE)


def _failing(name: str, code: int) -> Io:
    def fail(*_arguments: Any) -> Any:
        raise OSError(code, os.strerror(code))

    return Io(**{name: fail})


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("name", ["write", "rename", "fsync"])
def test_only_a_refused_write_is_a_full_disk(tmp_path: Path, name: str, code: int) -> None:
    """An fsync never is: what it could not keep had been accepted (SAFETY 8)."""
    with pytest.raises(StoreError) as caught:
        write_file(tmp_path / "file", b"x", io=_failing(name, code))
    full = code in (errno.ENOSPC, errno.EDQUOT) and name != "fsync"
    assert isinstance(caught.value, NoSpaceError) is full
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize(("name", "full"), [("mkdir", True), ("fsync", False)])
def test_a_directory_likewise(tmp_path: Path, name: str, full: bool) -> None:
    """Its entry may find no room; its fsync only a bad disk."""
    with pytest.raises(StoreError) as caught:
        make_directory(tmp_path / "one", io=_failing(name, errno.ENOSPC))
    assert isinstance(caught.value, NoSpaceError) is full


@pytest.mark.parametrize(
    ("extended", "system", "full"),
    [
        ("SQLITE_FULL", 0, True),
        ("SQLITE_IOERR_SHMSIZE", 0, True),
        ("SQLITE_IOERR_WRITE", errno.EDQUOT, True),
        ("SQLITE_IOERR_WRITE", errno.ENOSPC, True),
        ("SQLITE_IOERR_WRITE", errno.EIO, False),
        ("SQLITE_IOERR_FSYNC", errno.ENOSPC, False),
        ("SQLITE_IOERR_FSYNC", errno.EDQUOT, False),
        ("SQLITE_IOERR_TRUNCATE", errno.ENOSPC, False),
        ("SQLITE_CORRUPT", errno.ENOSPC, False),
    ],
)
def test_what_sqlite_calls_full(extended: str, system: int, full: bool) -> None:
    """A used-up quota is an input/output error there; its fsync is never one for want of space."""

    class Connection:
        system_errno = system

    code = getattr(apsw, extended)
    error = apsw.exception_for(code)
    with pytest.raises(StoreError) as caught, store_errors(Path("log.db"), Connection()):  # type: ignore[arg-type]
        raise error
    assert isinstance(caught.value, NoSpaceError) is full


def test_a_store_opened_without_a_connection_knows_the_plain_case(tmp_path: Path) -> None:
    """Without one to ask for the errno only SQLite's own word counts."""

    create_store(tmp_path / "log.db", 1, "CREATE TABLE t (a)").close()
    open_store(tmp_path / "log.db", 1, do="").close()
    for code, kind in ((apsw.SQLITE_FULL, NoSpaceError), (apsw.SQLITE_IOERR_WRITE, StoreError)):
        with pytest.raises(StoreError) as caught, store_errors(tmp_path / "log.db"):
            raise apsw.exception_for(code)
        assert type(caught.value) is kind
