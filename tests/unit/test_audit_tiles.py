"""The static tree: paths, which files a size has, bundles, hashes found again in tiles."""

from __future__ import annotations

import pytest

from appliance.audit.merkle import Frontier, leaf_hash, range_hash, root_from_hashes
from appliance.audit.tiles import (
    ENTRIES,
    Tile,
    TileBuilder,
    completed_tiles,
    decode_bundle,
    encode_bundle,
    items,
    new_tiles,
    split_hashes,
    tile_of,
    tile_subtrees,
)
from appliance.domain.errors import PeerError

SIZES = [0, 1, 255, 256, 257, 65_535, 65_536, 65_537, 70_000]


@pytest.mark.parametrize(
    ("index", "path"),
    [(5, "005"), (255, "255"), (256, "256"), (273, "273"), (999, "999"), (1000, "x001/000"),
     (1234067, "x001/x234/067"), (999_999, "x999/999"), (1_000_000, "x001/x000/000")],
)  # fmt: skip
def test_paths(index: int, path: str) -> None:
    """Worked values of the specification and the steps between digit groups."""
    assert Tile(0, index).path == f"tile/0/{path}"
    assert Tile(ENTRIES, index, 3).path == f"tile/entries/{path}.p/3"
    assert Tile(63, index, 255).path == f"tile/63/{path}.p/255"
    assert Tile(1, index).partial_dir == f"tile/1/{path}.p"


def test_the_specification_s_example_of_70000() -> None:
    """273 full tiles and one of 112 at level 0, a full one and one of 17 above, one of width 1 on top."""
    tiles = list(new_tiles(0, 70_000))
    by_level = {level: [tile for tile in tiles if tile.level == level] for level in (ENTRIES, 0, 1, 2)}
    assert len(tiles) == sum(len(found) for found in by_level.values())
    assert [tile.width for tile in by_level[0]] == [256] * 273 + [112]
    assert [tile.width for tile in by_level[ENTRIES]] == [256] * 273 + [112]
    assert [tile.width for tile in by_level[1]] == [256, 17]
    assert by_level[2] == [Tile(2, 0, 1)]


@pytest.mark.parametrize(
    ("size", "last"),
    [
        (0, []),
        (1, [Tile(ENTRIES, 0, 1), Tile(0, 0, 1)]),
        (255, [Tile(ENTRIES, 0, 255), Tile(0, 0, 255)]),
        (256, [Tile(ENTRIES, 0), Tile(0, 0), Tile(1, 0, 1)]),
        (257, [Tile(ENTRIES, 1, 1), Tile(0, 1, 1), Tile(1, 0, 1)]),
        (65_535, [Tile(ENTRIES, 255, 255), Tile(0, 255, 255), Tile(1, 0, 255)]),
        (65_536, [Tile(ENTRIES, 255), Tile(0, 255), Tile(1, 0), Tile(2, 0, 1)]),
        (65_537, [Tile(ENTRIES, 256, 1), Tile(0, 256, 1), Tile(1, 0), Tile(2, 0, 1)]),
    ],
)
def test_the_right_edge_of_every_interesting_size(size: int, last: list[Tile]) -> None:
    """The last tile of each level, for sizes around full tiles (AUDIT, fault 17)."""
    edge: dict[int, Tile] = {}
    for tile in new_tiles(0, size):
        edge[tile.level] = max(tile, edge.get(tile.level, tile))
    assert sorted(edge.values()) == sorted(last)


@pytest.mark.parametrize(("old", "size"), [(old, size) for old in SIZES for size in SIZES if old <= size])
def test_steps_from_size_to_size_leave_nothing_out(old: int, size: int) -> None:
    """What is new at `size` and what `old` had make all that `size` has; replaced partials are known."""
    new = set(new_tiles(old, size))
    had = set(new_tiles(0, old))
    assert new | {tile for tile in had if tile.width == 256} >= set(new_tiles(0, size)) - had
    replaced = {(tile.level, tile.index) for tile in completed_tiles(old, size)}
    became_full = {(t.level, t.index) for t in had if t.width < 256} & {
        (t.level, t.index) for t in new if t.width == 256
    }
    assert replaced == became_full


def test_no_tile_is_empty_or_beyond_the_size() -> None:
    """An empty tile does not exist."""
    assert tile_of(0, 0, 0) is None
    assert tile_of(0, 1, 256) is None
    assert tile_of(1, 0, 255) is None
    assert tile_of(0, 1, 257) == Tile(0, 1, 1)
    assert items(2, 65_536) == 1
    assert items(ENTRIES, 300) == items(0, 300) == 300


def test_bundle_of_the_worked_log() -> None:
    """Two length bytes before each entry, big end first."""
    entries = [b'{"seq":0}', b'{"seq":1}', b'{"seq":2}']
    data = encode_bundle(entries)
    assert data.hex() == "00097b22736571223a307d00097b22736571223a317d00097b22736571223a327d"
    assert decode_bundle(data, 3) == entries


@pytest.mark.parametrize("length", [0, 1, 65_535])
def test_entries_of_any_length_the_format_has(length: int) -> None:
    """Nothing and the most a bundle can hold (AUDIT, fault 16)."""
    assert decode_bundle(encode_bundle([b"x" * length, b"y"]), 2) == [b"x" * length, b"y"]


def test_an_entry_of_65536_bytes_has_no_form() -> None:
    """It would need a third length byte."""
    with pytest.raises(OverflowError):
        encode_bundle([b"x" * 65_536])


@pytest.mark.parametrize(
    ("data", "width"),
    [(b"", 1), (b"\x00", 1), (b"\x00\x01", 1), (b"\x00\x01a", 2), (b"\x00\x01ab", 1), (b"\x00\x01a\x00", 2),
     (b"\x00\x01a\x00\x01b", 1), (b"\x00\x02a\x00\x01b", 2)],
)  # fmt: skip
def test_a_bundle_that_is_cut_or_too_long_is_refused(data: bytes, width: int) -> None:
    """Neither more nor fewer entries than its name says, and nothing left over."""
    with pytest.raises(PeerError):
        decode_bundle(data, width)


@pytest.mark.parametrize("size", [0, 31, 33, 64 * 32 + 1])
def test_a_tile_is_a_whole_number_of_hashes(size: int) -> None:
    """Of exactly the width its name says."""
    with pytest.raises(PeerError):
        split_hashes(b"x" * size, 64)


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 700, 65_535, 65_536, 65_537, 66_000])
def test_builder_and_tiles_give_the_root_the_frontier_gives(size: int) -> None:
    """Synthetic leaf hashes: tiles of every level, and roots of subtrees found in them."""
    builder, frontier = TileBuilder(), Frontier()
    full: dict[tuple[int, int], bytes] = {}
    for value in range(size):
        leaf = leaf_hash(value.to_bytes(4, "big"))
        frontier.append(leaf)
        for tile, hashes, root in builder.add(leaf):
            assert root == root_from_hashes(hashes)
            full[(tile.level, tile.index)] = b"".join(hashes)

    def read(tile: Tile) -> bytes:
        if tile.width == 256:
            return full[(tile.level, tile.index)]
        assert len(builder.levels[tile.level]) == tile.width
        return b"".join(builder.levels[tile.level])

    subtree = tile_subtrees(size, read)
    assert range_hash(0, size, subtree) == frontier.root()
    expected = {tile for tile in new_tiles(0, size) if tile.width == 256 and tile.level >= 0}
    assert {Tile(*key) for key in full} == expected
    with pytest.raises(PeerError):
        subtree(0, 1 << size.bit_length())
