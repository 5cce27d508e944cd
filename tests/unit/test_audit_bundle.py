"""What a bundle consists of: its manifest, its sums, its tiles; and parsers that take anything."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.audit.bundle import Manifest, encode_sums, needed_tiles, parse_manifest, parse_sums, sha256
from appliance.audit.merkle import inclusion_proof, leaf_hash, verify_inclusion
from appliance.audit.tiles import Tile, tile_subtrees
from appliance.domain.errors import PeerError
from tests.audit_support import MemoryLog

FACTS = Manifest(
    origin="audit.example/pi-0001", first=3, stop=9, from_ns=-5, to_ns=10**18, outside=1, made_ns=7, size=22,
    root=bytes(32), witness="witness.example/w1", sums="ab" * 32,
)  # fmt: skip


def test_a_manifest_is_read_as_it_was_written() -> None:
    """With and without a witness."""
    for facts in (FACTS, msgspec.structs.replace(FACTS, witness="", from_ns=-(2**63))):
        assert parse_manifest(facts.text) == facts


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("export v1", "export v2"),
        ("entries 3 9", "entries 9 3"),
        ("entries 3 9", "entries 3 3"),
        ("entries 3 9", "entries 3 23"),
        ("entries 3 9", "entries 3 9 9"),
        ("entries 3 9", "entries 03 9"),
        ("entries 3 9\n", ""),
        ("outside 1", "outside -1"),
        ("time -5", "time -05"),
        ("time -5", "time x"),
        ("made 7", "made"),
        ("sha256sums ab", "sha256sums AB"),
        ("witness ", "more 1\nwitness "),
        ("made 7\n", "made 7\nmade 7\n"),
        ("tree 22 AA", "tree 22 BB"[:9]),
    ],
)
def test_any_other_manifest_is_refused(old: str, new: str) -> None:
    """One spelling, so that nothing hides in it."""
    changed = FACTS.text.replace(old, new, 1)
    assert changed != FACTS.text
    with pytest.raises(PeerError):
        parse_manifest(changed)


SUMS = encode_sums({"a": sha256(b"a"), "tile/0/000.p/3": sha256(b"b")})


@pytest.mark.parametrize(
    "data",
    [SUMS[:-1], SUMS + SUMS, SUMS + b"\n", SUMS.replace(b"  a", b" *a"), SUMS.replace(b"  a", b"  ../a"),
     SUMS.replace(b"  a", b"  /a"), SUMS.replace(b"  a", b"  ./a"), SUMS.replace(b"  a", b"  a//b"),
     SUMS.replace(b"  a", b"  z"), SUMS.upper(), b"\xff\n"],
)  # fmt: skip
def test_sums_have_one_spelling_and_stay_inside(data: bytes) -> None:
    """No path leaves the bundle, none is there twice."""
    assert parse_sums(SUMS) == {"a": sha256(b"a"), "tile/0/000.p/3": sha256(b"b")}
    with pytest.raises(PeerError):
        parse_sums(data)


@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 400))
@settings(deadline=None, derandomize=True, max_examples=300)
def test_no_bytes_are_anything_but_a_manifest_or_a_peer_error(junk: bytes, start: int, stop: int) -> None:
    """Spliced into good ones; whatever is read is written again as it was."""
    text, sums = FACTS.text.encode(), SUMS[:start] + junk + SUMS[stop:]
    spliced = (text[:start] + junk + text[stop:]).decode("utf-8", "replace")
    with contextlib.suppress(PeerError):
        assert parse_manifest(spliced).text == spliced
    with contextlib.suppress(PeerError):
        assert encode_sums(parse_sums(sums)) == sums


SIZES = st.sampled_from([1, 2, 3, 255, 256, 257, 511, 512, 513, 700])
LOG = MemoryLog(700)


@given(SIZES, st.data())
@settings(deadline=None, derandomize=True, max_examples=60)
def test_the_tiles_of_a_range_are_enough_and_each_is_asked_for(size: int, data: st.DataObject) -> None:
    """Proofs of its entries read no other tile; a tile nobody reads would be somebody else's business."""
    first = data.draw(st.integers(0, size - 1))
    stop = data.draw(st.integers(first + 1, size))
    allowed, asked = set(needed_tiles(first, stop, size)), set()

    def read(tile: Tile) -> bytes:
        assert tile in allowed
        asked.add(tile)
        return LOG.content(tile)

    for index in {first, (first + stop) // 2, stop - 1, *range(first, stop, 64)}:
        if index < stop:
            proof = inclusion_proof(index, size, tile_subtrees(size, read))
            verify_inclusion(index, size, leaf_hash(LOG.stored[index]), proof, LOG.root(size))
    assert {tile.level for tile in allowed} >= {0}
    assert len(allowed) <= (stop - first) // 256 + 2 + 2 * (size.bit_length() // 8 + 1)
