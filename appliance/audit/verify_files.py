"""Compares published bundles and tiles with the entries they must follow from (part of `verify`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from appliance.audit.merkle import HASH, leaf_hash
from appliance.audit.report import Findings
from appliance.audit.tiles import (
    ENTRIES,
    WIDTH,
    Tile,
    TileBuilder,
    decode_bundle,
    items,
    tile_of,
)
from appliance.domain.errors import PeerError


class LogReader(Protocol):
    """Where `verify` reads; StoreError if a read fails. The log may grow: its size is asked once."""

    def size(self) -> int:
        """Number of entries in the store."""
        ...

    def bodies(self, start: int, stop: int) -> Iterable[bytes]:
        """Stored entries [start, stop) in order, up to the first that is missing; at most 256 at a time."""
        ...

    def pruned(self) -> int:
        """Number of entries, from the first on, whose bundles need not be published any more."""
        ...

    def sealed(self, start: int) -> list[bytes] | None:
        """Entries [start, start + 256) as a sealed segment holds them; None if none does, and none has to."""
        ...

    def file(self, path: str) -> bytes | None:
        """Content of a published file by its path below the prefix; None if it is not there."""
        ...

    def partial_widths(self, tile: Tile) -> Sequence[int]:
        """Widths of the partial files there are of this tile."""
        ...


class PublishedFiles:
    """Compares bundles and tiles of the published size with what the entries hash to."""

    def __init__(self, reader: LogReader, signed: int, findings: Findings) -> None:
        self._reader = reader
        self._signed = signed
        self._findings = findings
        self._builder = TileBuilder()
        self.bundles = 0
        self.tiles: list[int] = []

    def judge(self, start: int, bodies: list[bytes]) -> list[bytes]:
        """Leaf hashes of a group of entries, as two of store, bundle and tile agree on them."""
        stored = [leaf_hash(body) for body in bodies]
        tile = tile_of(0, start // WIDTH, min(self._signed, start + len(bodies)))
        if tile is None:
            return stored
        bundled = self._bundle_hashes(tile, stored)
        tiled = self._tile_hashes(tile)
        chosen = list(stored)
        if not stored[: tile.width] == bundled == tiled:
            for at in range(tile.width):
                chosen[at] = self._settle(start + at, tile, stored[at], bundled[at], tiled[at])
        for value in chosen[: tile.width]:
            for full, hashes, _ in self._builder.add(value):
                if full.level > 0:
                    self._compare(full, b"".join(hashes))
        self._partials(tile, b"".join(chosen[: tile.width]))
        self._partial_bundles(tile, bodies)
        return chosen

    def finish(self) -> None:
        """Compares the partial tiles above level 0."""
        for level, hashes in enumerate(self._builder.levels):
            tile = tile_of(level, items(level, self._signed) // WIDTH, self._signed)
            if level and tile and tile.width == len(hashes):
                self._compare(tile, b"".join(hashes))
                self._partials(tile, b"".join(hashes))

    def _settle(self, index: int, tile: Tile, stored: bytes, bundled: bytes, tiled: bytes) -> bytes:
        if stored == bundled == tiled:
            return stored
        if bundled and bundled == tiled:
            self._findings.add(f"entry {index}", "the stored bytes differ from what was published")
            return tiled
        if stored != bundled and bundled:
            place = Tile(ENTRIES, tile.index, tile.width).path
            self._findings.add(place, f"entry {index} in it differs from the stored one")
        if stored != tiled and tiled:
            self._findings.add(tile.path, f"the hash of entry {index} in it is not the entry's")
        return stored

    def _bundle_hashes(self, tile: Tile, stored: list[bytes]) -> list[bytes]:
        bundle = Tile(ENTRIES, tile.index, tile.width)
        try:
            data = self._read(bundle)
        except PeerError as error:
            if tile.start + WIDTH <= self._reader.pruned():
                return stored[: tile.width]  # asked after it was not there: it may be pruned meanwhile
            self.bundles += 1
            self._findings.add(bundle.path, f"{error.what}: {error.why}")
            return [b""] * tile.width
        self.bundles += 1
        try:
            return [leaf_hash(entry) for entry in decode_bundle(data, tile.width)]
        except PeerError as error:
            self._findings.add(bundle.path, f"{error.what}: {error.why}")
            return [b""] * tile.width

    def _tile_hashes(self, tile: Tile) -> list[bytes]:
        self._count(tile.level)
        try:
            data = self._read(tile)
        except PeerError as error:
            self._findings.add(tile.path, error.why)
            return [b""] * tile.width
        if len(data) != tile.width * HASH:
            self._findings.add(tile.path, f"{len(data)} bytes where {tile.width} hashes were published")
            return [b""] * tile.width
        return [data[at : at + HASH] for at in range(0, len(data), HASH)]

    def _compare(self, tile: Tile, expected: bytes) -> None:
        self._count(tile.level)
        try:
            found = self._read(tile)
        except PeerError as error:
            self._findings.add(tile.path, error.why)
            return
        if found != expected:
            self._findings.add(tile.path, "it does not hold the hashes of the tiles below it")

    def _partials(self, tile: Tile, expected: bytes) -> None:
        """Partial files of smaller published sizes must be beginnings of this one."""
        for width in self._smaller(tile):
            part = Tile(tile.level, tile.index, width)
            data = self._reader.file(part.path)
            if data is not None and data != expected[: width * HASH]:
                self._findings.add(part.path, f"it is not the beginning of {tile.path}")

    def _partial_bundles(self, tile: Tile, bodies: list[bytes]) -> None:
        for width in self._smaller(Tile(ENTRIES, tile.index, tile.width)):
            part = Tile(ENTRIES, tile.index, width)
            data = self._reader.file(part.path)
            try:
                same = data is None or decode_bundle(data, width) == bodies[:width]
            except PeerError:
                same = False
            if not same:
                self._findings.add(part.path, "it does not hold the stored entries")

    def _smaller(self, tile: Tile) -> list[int]:
        return [] if tile.width == WIDTH else [w for w in self._reader.partial_widths(tile) if w < tile.width]

    def _read(self, tile: Tile) -> bytes:
        """The file, or the beginning of the full one if the log has grown past it meanwhile."""
        data = self._reader.file(tile.path)
        if data is None and tile.width < WIDTH:
            data = self._prefix(tile)
        if data is None:
            raise PeerError(f"{tile.path} cannot be read", "the file is missing")
        return data

    def _prefix(self, tile: Tile) -> bytes | None:
        full = self._reader.file(Tile(tile.level, tile.index).path)
        if full is None or tile.level != ENTRIES:
            return full and full[: tile.width * HASH]
        end = 0
        for _ in range(tile.width):
            end += 2 + int.from_bytes(full[end : end + 2], "big")
        return full[:end]

    def _count(self, level: int) -> None:
        self.tiles.extend([0] * (level + 1 - len(self.tiles)))
        self.tiles[level] += 1
