"""The form of a sealed segment: what its end says, and that nothing else is taken for one."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from appliance.audit.merkle import root_from_hashes
from appliance.audit.segment import (
    BUNDLES,
    MAX_BUNDLE,
    MAX_TAIL,
    SEGMENT,
    Tail,
    encode_tail,
    make_manifest,
    read_tail,
    segment_path,
)
from appliance.domain.errors import PeerError

ORIGIN = "audit.example/pi-0001"
ROOTS = [bytes([at]) * 32 for at in range(BUNDLES)]
SIZES = [(100 + at, 1000 + at) for at in range(BUNDLES)]
FRAMES = sum(length for length, _ in SIZES)
MADE = make_manifest(ORIGIN, 7, ROOTS, 123)
TAIL = encode_tail(MADE, SIZES)


def read(tail: bytes, size: int = 0, number: int = 7, origin: str = ORIGIN) -> Tail:
    return read_tail(tail, size or FRAMES + len(tail), number, origin)


def test_what_was_written_is_read() -> None:
    """Range, hashes and frames, each where it is."""
    found = read(TAIL)
    assert found.manifest == MADE
    assert (MADE.start, MADE.stop, MADE.newest_ns) == (7 * SEGMENT, 8 * SEGMENT, "123")
    assert MADE.root == root_from_hashes(ROOTS).hex()
    assert found.start == FRAMES
    assert [(length, raw) for _, length, raw in found.frames] == SIZES
    assert found.frames[3][0] == 100 + 101 + 102
    assert found.encode(MADE.sha256) == TAIL
    assert len(TAIL) < MAX_TAIL
    assert segment_path(7) == "segments/00000007.zst"


def test_the_seek_table_is_that_of_the_format() -> None:
    """Zstandard Seekable Format 0.1.0: skippable frames, magic numbers, number of frames, no checksums."""
    magic, length = struct.unpack_from("<II", TAIL)
    assert (magic, TAIL[8:9]) == (0x184D2A50, b"{")
    magic, size = struct.unpack_from("<II", TAIL, 8 + length)
    assert magic == 0x184D2A5E
    assert size == len(TAIL) - 16 - length == 17 * 8 + 9
    assert struct.unpack("<IBI", TAIL[-9:]) == (17, 0, 0x8F92EAB1)


@pytest.mark.parametrize("raw", [MAX_BUNDLE, MAX_BUNDLE + 1])
def test_a_bundle_larger_than_256_entries_can_be_is_refused(raw: int) -> None:
    """Before anybody makes room for it."""
    tail = encode_tail(MADE, [*SIZES[:-1], (1, raw)])
    size = sum(length for length, _ in SIZES[:-1]) + 1 + len(tail)
    if raw == MAX_BUNDLE:
        assert read(tail, size).frames[-1][2] == raw
    else:
        with pytest.raises(PeerError, match="a bundle of"):
            read(tail, size)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"v": 2}, "format 2"),
        ({"start": 6 * SEGMENT}, "manifest is of"),
        ({"stop": 8 * SEGMENT + 1}, "manifest is of"),
        ({"origin": "other"}, "other"),
        ({"root": "00" * 32}, "root"),
        ({"bundles": MADE.bundles[:-1]}, "root"),
        ({"bundles": ("zz", *MADE.bundles[1:])}, "manifest"),
        ({"newest_ns": "soon"}, "manifest"),
    ],
)
def test_a_manifest_of_anything_else_is_refused(change: dict[str, object], why: str) -> None:
    """Another format, place, log, or hashes that do not belong together."""
    with pytest.raises(PeerError, match=why):
        read(encode_tail(replace(MADE, **change), SIZES))


def test_another_number_or_log_is_refused() -> None:
    """A file that was renamed or copied from another box."""
    for number, origin in ((6, ORIGIN), (8, ORIGIN), (7, "audit.example/pi-0002")):
        with pytest.raises(PeerError, match="another segment"):
            read(TAIL, number=number, origin=origin)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.integers(0, len(TAIL) - 1), st.integers(0, 7))
def test_no_flipped_bit_is_read_as_it_was(at: int, bit: int) -> None:
    """It is refused, or what it says is another thing, which digest and hashes then refuse."""
    changed = bytearray(TAIL)
    changed[at] ^= 1 << bit
    try:
        found = read(bytes(changed))
    except PeerError:
        return
    assert found.encode(found.manifest.sha256) != TAIL or found.manifest != MADE


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.binary(max_size=400), st.integers(0, 10**6))
def test_any_bytes_are_read_or_refused(data: bytes, size: int) -> None:
    """Never another error."""
    with pytest.raises(PeerError):
        read_tail(data, size, 7, ORIGIN)


@pytest.mark.parametrize("cut", [1, 9, 160, len(TAIL) - 1])
def test_a_torn_file_is_refused(cut: int) -> None:
    """From either end of what it says."""
    for part in (TAIL[:-cut], TAIL[cut:]):
        with pytest.raises(PeerError):
            read(part, FRAMES + len(TAIL) - cut)
