"""A bundle as a directory, a .zip or a .tar: read member by member and never unpacked, written as a whole."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO

from appliance.audit.records import MAX_BODY
from appliance.domain.errors import CannotCreateError, PeerError, UsageError
from appliance.storage.durable import sync_directory

_CHUNK = 1024 * 1024
_BROKEN = (
    OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile, tarfile.TarError, RuntimeError,
)  # fmt: skip
"""What the standard library raises for an archive that is damaged, encrypted or of another method."""

Opener = Callable[[str], AbstractContextManager[IO[bytes]]]


class Files:
    """Implements audit.bundle_check.BundleFiles over an opener."""

    def __init__(self, place: str, names: list[str], opener: Opener) -> None:
        self._place = place
        self._names = names
        self._open = opener

    def names(self) -> list[str]:
        """Every member."""
        return self._names

    def read(self, name: str, limit: int) -> bytes:
        """A whole small file."""
        with self._member(name) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise PeerError(name, f"more than {limit} bytes")
        return data

    def digest(self, name: str) -> bytes:
        """SHA-256, a chunk at a time."""
        found = hashlib.sha256()
        with self._member(name) as file:
            while chunk := file.read(_CHUNK):
                found.update(chunk)
        return found.digest()

    def lines(self, name: str) -> Iterator[bytes]:
        """Each line, ended and not longer than an entry."""
        with self._member(name) as file:
            while line := file.readline(MAX_BODY + 2):
                if not line.endswith(b"\n"):
                    raise PeerError(name, "a line is too long or has no end")
                yield line[:-1]

    @contextmanager
    def _member(self, name: str) -> Iterator[IO[bytes]]:
        if name not in self._names:
            raise PeerError(name, "it is missing")
        with broken(name, self._place), self._open(name) as file:
            yield file


@contextmanager
def broken(what: str, place: str) -> Iterator[None]:
    """Whatever a container's reader raises is the container's fault."""
    try:
        yield
    except _BROKEN as error:
        raise PeerError(what, f"it cannot be read: {error} ({place})") from error


@contextmanager
def open_bundle(place: Path) -> Iterator[Files]:
    """Files of a directory, .zip or .tar. Raises UsageError if there is none, PeerError for a broken one."""
    if place.is_dir():
        yield Files(str(place), _walk(place), lambda name: (place / name).open("rb"))
    elif not place.is_file():
        raise UsageError("there is no bundle", f"no such file or directory ({place})", "check the path")
    elif place.suffix == ".zip":
        with broken("archive", str(place)):
            archive = zipfile.ZipFile(place)
        with archive:
            names = [each.filename for each in archive.infolist()]
            yield Files(str(place), names, archive.open)
    else:
        with place.open("rb") as stream:
            with broken("archive", str(place)):
                tar = tarfile.TarFile(fileobj=stream)
                names = _members(tar)
            yield Files(str(place), names, lambda name: _extract(tar, name))


def _walk(place: Path) -> list[str]:
    """Regular files below a directory; anything else is named too, and will not be in any list."""
    found = sorted(place.rglob("*"))
    for each in found:
        if each.is_symlink() or not (each.is_file() or each.is_dir()):
            raise PeerError(str(each.relative_to(place)), "it is no regular file")
    return [each.relative_to(place).as_posix() for each in found if each.is_file()]


def _members(tar: tarfile.TarFile) -> list[str]:
    members = tar.getmembers()
    for each in members:
        if not each.isreg():
            raise PeerError(each.name, "it is no regular file")
    return [each.name for each in members]


def _extract(tar: tarfile.TarFile, name: str) -> AbstractContextManager[IO[bytes]]:
    found = tar.extractfile(name)
    if found is None:
        raise PeerError(name, "it is no regular file")
    return nullcontext(found)


class NewBundle:
    """A bundle being made beside its place; `finish` packs and renames it, `discard` leaves nothing.

    directory: where its files are put. A crash leaves `.<name>.new`, which the next try removes.
    """

    def __init__(self, place: Path) -> None:
        """place: ends in .zip, .tar or neither. Raises CannotCreateError if it exists or cannot be made."""
        self._place = place.absolute()
        if self._place.exists() or self._place.is_symlink():
            raise CannotCreateError("the bundle was not made", f"it exists already ({place})")
        if not self._place.parent.is_dir():
            raise CannotCreateError("the bundle was not made", f"no such directory ({self._place.parent})")
        self.directory = self._place.with_name(f".{self._place.name}.new")
        self._packed = self._place.with_name(f".{self._place.name}.tmp")
        with cannot_create(self._place):
            shutil.rmtree(self.directory, ignore_errors=True)
            self.directory.mkdir(mode=0o755)

    def finish(self) -> None:
        """Durable and complete under its name when this returns."""
        with cannot_create(self._place):
            if self._place.suffix in (".zip", ".tar"):
                (_zip if self._place.suffix == ".zip" else _tar)(self.directory, self._packed)
                _sync(self._packed)
                self._packed.rename(self._place)
            else:
                for each in sorted(self.directory.rglob("*"), reverse=True):
                    _sync(each)
                _sync(self.directory)
                self.directory.rename(self._place)
            sync_directory(self._place.parent)
        self.discard()

    def discard(self) -> None:
        """Removes what was begun."""
        shutil.rmtree(self.directory, ignore_errors=True)
        self._packed.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Makes a file's bytes, or a directory's names, durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def cannot_create(place: Path) -> Iterator[None]:
    """A full disk, a missing permission: CannotCreateError, naming the bundle's place."""
    try:
        yield
    except OSError as error:
        raise CannotCreateError("the bundle was not made", f"{error.strerror or error} ({place})") from error


def _zip(directory: Path, target: Path) -> None:
    """Nothing of this machine goes in: no times, no owner, no modes but read."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in _walk(directory):
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            with (directory / name).open("rb") as source, archive.open(info, "w", force_zip64=True) as file:
                shutil.copyfileobj(source, file, _CHUNK)


def _tar(directory: Path, target: Path) -> None:
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
        for name in _walk(directory):
            info = tarfile.TarInfo(name)
            info.size = (directory / name).stat().st_size
            info.mode = 0o644
            with (directory / name).open("rb") as source:
                archive.addfile(info, source)
