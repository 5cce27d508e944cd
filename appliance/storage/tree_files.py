"""A log as plain files, as a mirror exports it or any web server has it: for `verify`, without a database.

    <dir>/checkpoint   <dir>/tile/…

Implements `audit.verify_files.LogReader`. The checkpoint carries the mirror's co-signature; the witness's
stands on a checkpoint of the box and is brought along.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from appliance.audit.checkpoint import parse_checkpoint
from appliance.audit.notes import parse_note
from appliance.audit.tiles import ENTRIES, WIDTH, Tile, decode_bundle, parse_path, tile_of
from appliance.audit.verify import CHECKPOINT, COSIGNED, MIRRORED
from appliance.domain.errors import PeerError, StoreError
from appliance.storage.durable import read_file


class TreeFiles:
    """cosigned: a checkpoint with the witness's co-signature that this tree must agree with; None: none."""

    def __init__(self, directory: Path, cosigned: bytes | None = None) -> None:
        self._directory = directory
        self._cosigned = cosigned

    def size(self) -> int:
        """Number of entries the checkpoint covers, its signatures not verified; 0 without one."""
        data = self.file(CHECKPOINT)
        return 0 if data is None else size_of(data)

    def bodies(self, start: int, stop: int) -> Iterator[bytes]:
        """Entries [start, stop) out of their bundles; StoreError for one that is missing or damaged."""
        size = self.size()
        for index in range(start // WIDTH, -(-stop // WIDTH)):
            bundle = tile_of(ENTRIES, index, size)
            if bundle is None:
                return
            data = self.file(bundle.path)
            if data is None:
                raise StoreError(f"{bundle.path} cannot be read", "the file is missing")
            try:
                entries = decode_bundle(data, bundle.width)
            except PeerError as error:
                raise StoreError(f"{bundle.path} cannot be read", error.why) from error
            first = index * WIDTH
            yield from entries[max(0, start - first) : stop - first]

    def file(self, path: str) -> bytes | None:
        """A file of the tree by its path; None if it is none or is not there."""
        if path == COSIGNED:
            return self._cosigned
        if path == MIRRORED:
            path = CHECKPOINT
        if path != CHECKPOINT and parse_path(path) is None:
            return None
        return read_file(self._directory / path)

    def pruned(self) -> int:
        """None: a copy has every bundle."""
        return 0

    def sealed(self, _start: int) -> list[bytes] | None:
        """None: sealed segments are the box's own."""
        return None

    def partial_widths(self, tile: Tile) -> Sequence[int]:
        """Widths of the partial files there are of this tile, ascending."""
        directory = self._directory / tile.partial_dir
        if not directory.is_dir():
            return []
        return sorted(int(child.name) for child in directory.iterdir() if child.name.isdigit())


def size_of(note: bytes) -> int:
    """Entries a checkpoint covers, its signatures not verified; 0 for one that cannot be read."""
    try:
        return parse_checkpoint(parse_note(note).text).size
    except PeerError:
        return 0
