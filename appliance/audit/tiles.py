"""The static tree of C2SP tlog-tiles: which files a log of a size consists of, their paths and content.

    checkpoint                       the signed head
    tile/<L>/<N>[.p/<W>]             256 (or W) hashes of level L; item i covers 256^L entries
    tile/entries/<N>[.p/<W>]         the entries themselves, each with a two-byte length

<N> is written in groups of three digits, all but the last with an `x` in front (AUDIT-FORMATS 4). A partial
tile is never hashed into the level above; an empty one does not exist.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from appliance.audit.merkle import HASH, Subtree, root_from_hashes
from appliance.domain.errors import PeerError

WIDTH = 256
ENTRIES = -1
"""The pseudo level of entry bundles; they are shaped like level 0."""

MAX_ENTRY = 0xFFFF
_LEVEL_BITS = 8
_PATH = re.compile(r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/([0-9]{1,3}))?")


class Tile(Struct, frozen=True, order=True):
    """One file: level (ENTRIES for a bundle), index within the level, number of items 1..256."""

    level: int
    index: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Below the log's prefix, as in `tile/0/x001/234` or `tile/entries/000.p/3`."""
        full = _full_path(self.level, self.index)
        return full if self.width == WIDTH else f"{full}.p/{self.width}"

    @property
    def partial_dir(self) -> str:
        """Where the partial tiles of this index lie."""
        return _full_path(self.level, self.index) + ".p"

    @property
    def start(self) -> int:
        """Index of its first item within the level."""
        return self.index * WIDTH


def _full_path(level: int, index: int) -> str:
    head, last = divmod(index, 1000)
    groups = [f"{last:03d}"]
    while head:
        head, last = divmod(head, 1000)
        groups.append(f"x{last:03d}")
    kind = "entries" if level == ENTRIES else str(level)
    return "/".join(("tile", kind, *reversed(groups)))


def parse_path(path: str) -> Tile | None:
    """The tile behind a path as `Tile.path` writes it; None for any other spelling."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    kind, groups, width = found.groups()
    tile = Tile(
        ENTRIES if kind == "entries" else int(kind),
        int("".join(group.removeprefix("x") for group in groups.split("/"))),
        int(width) if width else WIDTH,
    )
    return tile if tile.path == path else None


def items(level: int, size: int) -> int:
    """How many items a log of `size` has at a level."""
    return size >> _LEVEL_BITS * max(level, 0)


def tile_of(level: int, index: int, size: int) -> Tile | None:
    """The tile at an index as a log of `size` has it; None if it would be empty."""
    width = min(WIDTH, items(level, size) - index * WIDTH)
    return Tile(level, index, width) if width > 0 else None


def new_tiles(old: int, size: int) -> Iterator[Tile]:
    """Files that a log of `size` has and the same log at `old` did not, bundles first, upwards.

    With `old` = 0: all there are, without the partial tiles of sizes in between.
    """
    level = ENTRIES
    while items(level, size):
        before, now = items(level, old), items(level, size)
        for index in range(before // WIDTH, now // WIDTH):
            yield Tile(level, index)
        if now % WIDTH and now != before:
            yield Tile(level, now // WIDTH, now % WIDTH)
        level += 1


def completed_tiles(old: int, size: int) -> Iterator[Tile]:
    """Full tiles of `size` that were partial at `old`: their partial files have had their time."""
    level = ENTRIES
    while items(level, old):
        index = items(level, old) // WIDTH
        if items(level, old) % WIDTH and index < items(level, size) // WIDTH:
            yield Tile(level, index)
        level += 1


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Content of a bundle. An entry above 65,535 bytes has no form (OverflowError)."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def decode_bundle(data: bytes, width: int) -> list[bytes]:
    """The `width` entries of a bundle. Raises PeerError if there are more, fewer, or one is cut."""
    entries: list[bytes] = []
    at = 0
    while at < len(data) and len(entries) < width:
        start = at + 2
        at = start + int.from_bytes(data[at:start], "big")
        entries.append(data[start:at])
    if len(entries) != width or at != len(data):
        what = "more" if at < len(data) else "fewer"
        raise PeerError("not an entry bundle", f"{len(data)} bytes are {what} than {width} items have")
    return entries


def split_hashes(data: bytes, width: int) -> list[bytes]:
    """The `width` hashes of a tile. Raises PeerError for any other length."""
    if len(data) != width * HASH:
        raise PeerError("not a tile", f"{len(data)} bytes where {width} hashes are {width * HASH}")
    return [data[at : at + HASH] for at in range(0, len(data), HASH)]


def tile_subtrees(size: int, read: Callable[[Tile], bytes]) -> Subtree:
    """Roots of complete subtrees out of the tiles of a log of `size`.

    read: content of a tile that this size has; its errors pass through. A proof touches a tile several
    times, so the few it needs are kept as long as the returned function is.
    """
    kept: dict[Tile, list[bytes]] = {}

    def hashes(tile: Tile) -> list[bytes]:
        if tile not in kept:
            kept[tile] = split_hashes(read(tile), tile.width)
        return kept[tile]

    def subtree(start: int, stop: int) -> bytes:
        level, rest = divmod((stop - start).bit_length() - 1, _LEVEL_BITS)
        first, count = start >> _LEVEL_BITS * level, 1 << rest
        tile = tile_of(level, first // WIDTH, size)
        if tile is None or first + count > tile.start + tile.width:
            raise PeerError("no such subtree", f"[{start}, {stop}) reaches beyond a log of {size}")
        offset = first - tile.start
        return root_from_hashes(hashes(tile)[offset : offset + count])

    return subtree


class TileBuilder:
    """Cuts a stream of leaf hashes into full tiles of every level; keeps at most 255 hashes a level."""

    def __init__(self, levels: Sequence[Sequence[bytes]] = (), counts: Sequence[int] = ()) -> None:
        """levels: hashes of the open tile of each level.  counts: full tiles before it, per level."""
        self.levels = [list(level) for level in levels]
        self._counts = list(counts)

    def add(self, leaf: bytes) -> list[tuple[Tile, list[bytes], bytes]]:
        """The tiles this leaf hash completes, level 0 first, with their hashes and root; usually none."""
        done: list[tuple[Tile, list[bytes], bytes]] = []
        level, value = 0, leaf
        while True:
            if level == len(self.levels):
                self.levels.append([])
                self._counts.append(0)
            hashes = self.levels[level]
            hashes.append(value)
            if len(hashes) < WIDTH:
                return done
            value = root_from_hashes(hashes)
            done.append((Tile(level, self._counts[level]), hashes, value))
            self.levels[level] = []
            self._counts[level] += 1
            level += 1
