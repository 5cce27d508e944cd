"""The one durable write: temp file in the same directory → fsync → rename → fsync of the directory.

Any OSError becomes StoreError. After a failed fsync Linux marks the pages clean, so trying again would
report a success that is none: nothing here retries, and whoever gets a StoreError starts over in a new
process (STYLE 4, habit 4; SAFETY 8). A write refused for want of space is a NoSpaceError, and harmless: it is
told before anything was taken. An fsync never is, whatever errno it brings.

A crash leaves the old file, or the new one, or a temp file that the next write of the same name removes; each
file has one writer.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct

from appliance.domain.errors import CannotCreateError, ConfigError, NoSpaceError, StoreError

MAX_READ = 32 * 1024 * 1024
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


class Io(Struct, frozen=True):
    """The system calls a durable write consists of, replaceable so that each can be made to fail."""

    write: Callable[[int, bytes], int] = os.write
    fsync: Callable[[int], None] = os.fsync
    rename: Callable[[Path, Path], None] = os.replace
    link: Callable[[Path, Path], None] = os.link
    unlink: Callable[[Path], None] = os.unlink
    rmdir: Callable[[Path], None] = os.rmdir
    mkdir: Callable[[Path, int], None] = os.mkdir


REAL_IO = Io()


def write_file(path: Path, data: bytes, mode: int = 0o644, io: Io = REAL_IO) -> None:
    """Replaces `path` by `data`, durably and as a whole. Raises StoreError; the old file then stands."""
    with _store_errors("write", path):
        temp = _write_temp(path, data, mode, io)
        io.rename(temp, path)
        sync_directory(path.parent, io)


def create_file(path: Path, data: bytes, mode: int = 0o644, io: Io = REAL_IO) -> None:
    """Like `write_file`, but refuses to replace anything (CannotCreateError), even in a race."""
    with _store_errors("create", path):
        temp = _write_temp(path, data, mode, io)
        try:
            io.link(temp, path)
        except FileExistsError as error:
            raise CannotCreateError(f"{path} was not created", "it exists already") from error
        finally:
            io.unlink(temp)
        sync_directory(path.parent, io)


def make_directory(path: Path, mode: int = 0o755, io: Io = REAL_IO) -> None:
    """Creates `path` and missing parents durably; what exists is left as it is. Raises StoreError."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for part in reversed(missing):
        with _store_errors("create", part):
            io.mkdir(part, mode)
            sync_directory(part.parent, io)


def remove_directory(path: Path, io: Io = REAL_IO) -> None:
    """Removes `path` with the files in it; nothing happens if it is not there. Raises StoreError.

    Not synced: whoever finds the remains after a power cut removes them again.
    """
    with _store_errors("remove", path):
        if not path.is_dir():
            return
        for child in path.iterdir():
            io.unlink(child)
        io.rmdir(path)


def remove_file(path: Path, io: Io = REAL_IO, *, synced: bool = True) -> None:
    """Removes a file, durably unless a return of it does no harm. Nothing happens if it is not there.

    Raises StoreError.
    """
    with _store_errors("remove", path), contextlib.suppress(FileNotFoundError, NotADirectoryError):
        io.unlink(path)
        if synced:
            sync_directory(path.parent, io)


def sync_directory(path: Path, io: Io = REAL_IO) -> None:
    """Makes names created, replaced or removed in `path` durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _sync(descriptor, io)
    finally:
        os.close(descriptor)


def read_file(path: Path, limit: int = MAX_READ) -> bytes | None:
    """Content of a regular file; None if it does not exist. Raises StoreError if it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(limit + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreError(f"{path} cannot be read", error.strerror or str(error)) from error
    if len(data) > limit:
        raise StoreError(f"{path} cannot be read", f"more than {limit} bytes")
    return data


def open_existing(path: Path, flags: int, what: str, do: str) -> int:
    """Descriptor of a file that must be there already (habit 5). Raises ConfigError naming `do`.

    A symbolic link is refused: what we own lies where it was created.
    """
    try:
        return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        why = f"{error.strerror or error} ({path})"
        raise ConfigError(f"{what} cannot be opened", why, do) from error


class TempFile:
    """`write_file` in pieces: what is written is nowhere to be seen until `commit`.

    Raises StoreError, NoSpaceError; after either the temp file is gone and nothing more may be called.
    """

    def __init__(self, path: Path, mode: int = 0o644, io: Io = REAL_IO) -> None:
        self._path, self._io = path, io
        self._temp = path.with_name(f".{path.name}.tmp")
        with _store_errors("write", path):
            self._descriptor = _open_temp(self._temp, mode, io)

    def write(self, data: bytes) -> None:
        """Appends."""
        with self._removed():
            _write_all(self._descriptor, data, self._io)

    def commit(self) -> None:
        """fsync, rename, fsync of the directory."""
        with self._removed():
            _sync(self._descriptor, self._io)
            self._close()
            self._io.rename(self._temp, self._path)
        with _store_errors("write", self._path):
            sync_directory(self._path.parent, self._io)

    def discard(self) -> None:
        """Removes what was not committed; does nothing after `commit` or an error."""
        if self._descriptor >= 0:
            self._close()
            with contextlib.suppress(OSError):
                self._io.unlink(self._temp)

    @contextlib.contextmanager
    def _removed(self) -> Iterator[None]:
        """A full disk must not stay full of a file that never was."""
        with _store_errors("write", self._path):
            try:
                yield
            except OSError:
                if self._descriptor >= 0:
                    self._close()
                with contextlib.suppress(OSError):
                    self._io.unlink(self._temp)
                raise

    def _close(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1


def settle_name(path: Path, io: Io = REAL_IO) -> None:
    """Makes the name of a file durable that a crash may have left between rename and fsync. Raises
    StoreError."""
    with _store_errors("keep", path):
        sync_directory(path.parent, io)


def _open_temp(temp: Path, mode: int, io: Io) -> int:
    with contextlib.suppress(FileNotFoundError):
        io.unlink(temp)
    return os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)


def _write_all(descriptor: int, data: bytes, io: Io) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[io.write(descriptor, bytes(rest)) :]


def _write_temp(path: Path, data: bytes, mode: int, io: Io) -> Path:
    temp = path.with_name(f".{path.name}.tmp")
    descriptor = _open_temp(temp, mode, io)
    try:
        try:
            _write_all(descriptor, data, io)
            _sync(descriptor, io)
        finally:
            os.close(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            io.unlink(temp)  # a full disk must not stay full of a file that never was
        raise
    return temp


def _sync(descriptor: int, io: Io) -> None:
    """An fsync that fails for want of space has lost data that a write had accepted: no room mends that."""
    try:
        io.fsync(descriptor)
    except OSError as error:
        raise OSError(errno.EIO, f"fsync: {error.strerror or error}") from error


@contextlib.contextmanager
def _store_errors(verb: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = f"{error.strerror or error} ({path})"
        kind = NoSpaceError if error.errno in NO_SPACE else StoreError
        raise kind(f"cannot {verb} {path.name} durably", why) from error
