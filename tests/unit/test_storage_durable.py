"""The durable write: what it does in which order, and what every failing step leaves."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.domain.errors import CannotCreateError, ConfigError, StoreError
from appliance.storage.durable import (
    REAL_IO,
    Io,
    create_file,
    make_directory,
    open_existing,
    read_file,
    remove_directory,
    write_file,
)

CALLS = ("write", "fsync", "rename", "link", "unlink", "rmdir", "mkdir")


class Recorder:
    """Counts the calls, and makes the n-th fail, before or after it had its effect."""

    def __init__(self, fail_at: int = -1, *, late: bool = False, code: int = errno.EIO) -> None:
        self.calls: list[str] = []
        self._fail_at, self._late, self._code = fail_at, late, code

    def io(self) -> Io:
        return Io(**{name: self._wrapped(name, getattr(REAL_IO, name)) for name in CALLS})

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            failing = len(self.calls) == self._fail_at
            self.calls.append(name)
            if failing and not self._late:
                raise OSError(self._code, os.strerror(self._code))
            result = real(*arguments)
            if failing:
                raise OSError(self._code, os.strerror(self._code))
            return result

        return call


def test_a_write_is_temp_fsync_rename_fsync(tmp_path: Path) -> None:
    """In this order, with the mode from the beginning, and nothing left over."""
    recorder = Recorder()
    path = tmp_path / "file"
    write_file(path, b"new", 0o600, recorder.io())
    assert [call for call in recorder.calls if call != "unlink"] == ["write", "fsync", "rename", "fsync"]
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [child.name for child in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EROFS])
def test_a_failure_at_any_step_leaves_old_or_new_and_says_so(tmp_path: Path, code: int, late: bool) -> None:
    """Never half a file, never a silent retry, whether or not the failing call had its effect."""
    path = tmp_path / "file"
    write_file(path, b"x")
    counted = Recorder()
    write_file(path, b"old", io=counted.io())
    for step in range(len(counted.calls)):
        if counted.calls[step] == "unlink":
            continue  # removing a leftover that is not there
        path.write_bytes(b"old")
        recorder = Recorder(step, late=late, code=code)
        with pytest.raises(StoreError, match="file durably"):
            write_file(path, b"new", io=recorder.io())
        assert path.read_bytes() in (b"old", b"new")
        assert recorder.calls.count("write") <= 1
        write_file(path, b"again")
        assert [child.name for child in tmp_path.iterdir()] == ["file"]


def test_a_short_write_is_continued(tmp_path: Path) -> None:
    """write() may take less than it was given."""
    io = Io(write=lambda descriptor, data: os.write(descriptor, data[:3]))
    write_file(tmp_path / "file", b"0123456789", io=io)
    assert (tmp_path / "file").read_bytes() == b"0123456789"


def test_leftovers_of_a_crash_are_replaced(tmp_path: Path) -> None:
    """Also one with another mode, or a link somebody put there."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / ".file.tmp").symlink_to(victim)
    write_file(tmp_path / "file", b"new", 0o600)
    assert victim.read_bytes() == b"precious"
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


def test_create_refuses_to_replace(tmp_path: Path) -> None:
    """And leaves what is there."""
    create_file(tmp_path / "key", b"first", 0o600)
    with pytest.raises(CannotCreateError, match="exists already"):
        create_file(tmp_path / "key", b"second", 0o600)
    assert (tmp_path / "key").read_bytes() == b"first"
    assert [child.name for child in tmp_path.iterdir()] == ["key"]


def test_directories_are_made_durably(tmp_path: Path) -> None:
    """Each new one is synced into its parent; an existing one is left alone."""
    recorder = Recorder()
    make_directory(tmp_path / "a" / "b", 0o700, recorder.io())
    assert recorder.calls == ["mkdir", "fsync", "mkdir", "fsync"]
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    make_directory(tmp_path / "a" / "b", 0o755, recorder.io())
    assert len(recorder.calls) == 4
    with pytest.raises(StoreError):
        make_directory(tmp_path / "c", io=Recorder(0).io())
    (tmp_path / "plain").write_bytes(b"")
    with pytest.raises(StoreError):
        make_directory(tmp_path / "plain" / "d")


def test_removing_a_directory_twice_is_fine(tmp_path: Path) -> None:
    """After a crash it is done again."""
    make_directory(tmp_path / "a.p")
    (tmp_path / "a.p" / "1").write_bytes(b"")
    with pytest.raises(StoreError):
        remove_directory(tmp_path / "a.p", Recorder(0).io())
    remove_directory(tmp_path / "a.p")
    remove_directory(tmp_path / "a.p")
    assert list(tmp_path.iterdir()) == []


def test_reading(tmp_path: Path) -> None:
    """Absent is None, too big or unreadable is an error."""
    (tmp_path / "file").write_bytes(b"12345")
    assert read_file(tmp_path / "file", 5) == b"12345"
    assert read_file(tmp_path / "none") is None
    assert read_file(tmp_path / "file" / "below") is None
    with pytest.raises(StoreError, match="more than 4"):
        read_file(tmp_path / "file", 4)
    with pytest.raises(StoreError):
        read_file(tmp_path)


def test_what_must_exist_is_not_created(tmp_path: Path) -> None:
    """Absence is a configuration error that names the command; a link is not followed."""
    with pytest.raises(ConfigError) as caught:
        open_existing(tmp_path / "lock", os.O_RDWR, "the lock", "interlock init")
    assert caught.value.do == "interlock init"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "real").write_bytes(b"")
    (tmp_path / "lock").symlink_to(tmp_path / "real")
    with pytest.raises(ConfigError):
        open_existing(tmp_path / "lock", os.O_RDWR, "the lock", "interlock init")
    os.close(open_existing(tmp_path / "real", os.O_RDWR, "the lock", "interlock init"))
