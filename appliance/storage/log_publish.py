"""The public half of the log: plain files in the layout of C2SP tlog-tiles, servable as they are.

    <dir>/checkpoint   <dir>/tile/…        written here
    <dir>/cosigned                         written by `upstream.client`

Order: tiles and bundles of the new size, each durable → partial tiles that a full one replaces removed →
checkpoint replaced. A crash anywhere in between leaves the old checkpoint with everything it needs, and the
next start writes the same bytes again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from msgspec import Struct

from appliance.audit.checkpoint import Checkpoint
from appliance.audit.key_chain import KeyChain
from appliance.audit.tiles import Tile, completed_tiles, new_tiles
from appliance.audit.verify import CHECKPOINT, COSIGNED
from appliance.domain.errors import ConfigError, PeerError
from appliance.storage.durable import (
    REAL_IO,
    Io,
    make_directory,
    read_file,
    remove_directory,
    write_file,
)
from appliance.storage.log_schema import INIT


class Head(Struct, frozen=True):
    """A head as stored. checkpoint: the signed note; empty as long as it was not signed."""

    size: int
    root: bytes
    checkpoint: bytes


class Publisher:
    """Brings the files from one published size to the next."""

    def __init__(
        self, directory: Path, published: int, content: Callable[[Tile], bytes], io: Io = REAL_IO
    ) -> None:
        """published: size of the checkpoint file.  content: bytes of any tile up to the signed size."""
        self._size = published
        self._directory = directory
        self._content = content
        self._io = io

    def steps(self, head: Head) -> Iterator[Callable[[], None]]:
        """What to do before `show`, file by file; between two steps the caller may commit entries.

        Each may be done again; one that raises StoreError leaves the files as after a crash.
        """
        for tile in new_tiles(self._size, head.size):
            yield partial(self._write, tile)
        for tile in completed_tiles(self._size, head.size):
            yield partial(remove_directory, self._directory / tile.partial_dir, io=self._io)

    def show(self, head: Head) -> None:
        """Replaces the checkpoint: all it needs is there. Raises StoreError."""
        write_file(self._directory / CHECKPOINT, head.checkpoint, io=self._io)
        self._size = head.size

    def _write(self, tile: Tile) -> None:
        path = self._directory / tile.path
        make_directory(path.parent, io=self._io)
        write_file(path, self._content(tile), io=self._io)


def read_published(directory: Path, keys: KeyChain) -> tuple[Checkpoint, bytes]:
    """The checkpoint file, verified. Raises ConfigError: no log runs on over a head it cannot vouch for."""
    found = _read_signed(directory / CHECKPOINT, keys)
    if found is None:
        raise ConfigError("the log has no checkpoint", f"no such file ({directory / CHECKPOINT})", INIT)
    return found


def read_witnessed(directory: Path, keys: KeyChain) -> int:
    """Size of the co-signed checkpoint kept here, 0 if there is none. Raises ConfigError."""
    found = _read_signed(directory / COSIGNED, keys)
    return found[0].size if found else 0


def _read_signed(path: Path, keys: KeyChain) -> tuple[Checkpoint, bytes] | None:
    data = read_file(path)
    if data is None:
        return None
    try:
        return keys.open(data).checkpoint, data
    except PeerError as error:
        raise ConfigError(f"the log's {path.name} is not one of its own", f"{error.why} ({path})") from error
