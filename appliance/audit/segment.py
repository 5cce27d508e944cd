"""A sealed segment: 4,096 entries of the log in one file, each bundle of 256 a Zstandard frame of its own.

    frame 0 … frame 15     the entry bundles of C2SP tlog-tiles, byte for byte what tile/entries/<N> holds
    skippable frame        the manifest, JSON
    skippable frame        seek table of the Zstandard Seekable Format 0.1.0, which lists all frames before it

Any zstd reads it: `zstd -dc` gives the sixteen bundles, one after the other. One entry costs the end of the
file and one frame. A segment is a complete subtree of the log's tree: its root is proven against any
checkpoint that covers it (`audit.subtree`). Nothing here compresses; `storage.segments` does.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from appliance.audit.merkle import root_from_hashes
from appliance.audit.tiles import MAX_ENTRY, WIDTH
from appliance.domain.errors import PeerError

BUNDLES = 16
SEGMENT = BUNDLES * WIDTH
"""Entries. A power of two, so that a segment is a node of the tree."""

NO_DIGEST = "0" * 64
MAX_TAIL = 16 * 1024
MAX_BUNDLE = WIDTH * (MAX_ENTRY + 2)
_VERSION = 1
_MANIFEST_MAGIC = 0x184D2A50
_TABLE_MAGIC = 0x184D2A5E
_SEEKABLE_MAGIC = 0x8F92EAB1
_HEAD = struct.Struct("<II")  # magic, length of what follows
_ROW = struct.Struct("<II")  # length of a frame, and of what it decompresses to
_FOOT = struct.Struct("<IBI")  # number of frames, descriptor, magic
_FRAMES = BUNDLES + 1


class Manifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a segment says of itself. Entries [start, stop) of the log `origin`.

    root: of that subtree.  bundles: root of each 256, which are the items of the tile of level 1.
    newest_ns: latest UTC among the entries.  sha256: of the whole file, with NO_DIGEST in this place.  Hashes
    in hex.
    """

    v: int
    origin: str
    start: int
    stop: int
    root: str
    bundles: tuple[str, ...]
    newest_ns: str
    sha256: str


class Tail(Struct, frozen=True):
    """The end of a file, read. frames: (offset, length, length decompressed) of each bundle.  start: where
    the frames end and this begins."""

    manifest: Manifest
    frames: tuple[tuple[int, int, int], ...]
    start: int

    def encode(self, digest: str) -> bytes:
        """Its bytes, with another digest in the manifest."""
        sizes = [(length, raw) for _, length, raw in self.frames]
        return encode_tail(replace(self.manifest, sha256=digest), sizes)


_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder(Manifest).decode


def segment_path(number: int) -> str:
    """Below the log's directory; number: of the segment, from 0."""
    return f"segments/{number:08d}.zst"


def make_manifest(origin: str, number: int, bundles: Sequence[bytes], newest_ns: int) -> Manifest:
    """bundles: root of each. The digest is still to come."""
    return Manifest(
        v=_VERSION,
        origin=origin,
        start=number * SEGMENT,
        stop=(number + 1) * SEGMENT,
        root=root_from_hashes(bundles).hex(),
        bundles=tuple(value.hex() for value in bundles),
        newest_ns=str(newest_ns),
        sha256=NO_DIGEST,
    )


def encode_tail(manifest: Manifest, sizes: Sequence[tuple[int, int]]) -> bytes:
    """What follows the frames. sizes: (length, length decompressed) of each."""
    body = _encode(manifest)
    told = _HEAD.pack(_MANIFEST_MAGIC, len(body)) + body
    rows = b"".join(_ROW.pack(*size) for size in (*sizes, (len(told), 0)))
    table = rows + _FOOT.pack(len(sizes) + 1, 0, _SEEKABLE_MAGIC)
    return told + _HEAD.pack(_TABLE_MAGIC, len(table)) + table


def read_tail(end: bytes, size: int, number: int, origin: str) -> Tail:
    """Checks everything the end of a file says. end: its last bytes, up to MAX_TAIL.  size: of the file.

    origin: whose segment it must be.  Raises PeerError.
    """
    table = _table(end)
    if sum(length for length, _ in table) + _table_bytes() != size:
        raise PeerError("not a sealed segment", f"its {size} bytes are not those of its frames: torn?")
    start = len(end) - _table_bytes() - table[-1][0]
    if start < 0 or table[-1][1]:
        raise PeerError("not a sealed segment", "there is no manifest behind the frames")
    magic, length = _HEAD.unpack_from(end, start)
    if (magic, length + _HEAD.size) != (_MANIFEST_MAGIC, table[-1][0]):
        raise PeerError("not a sealed segment", "the frame of the manifest is another one")
    try:
        manifest = _decode(end[start + _HEAD.size : start + _HEAD.size + length])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise PeerError("not a sealed segment", f"the manifest: {error}") from error
    _check(manifest, number, origin)
    frames, at = [], 0
    for length, raw in table[:BUNDLES]:
        if raw > MAX_BUNDLE:
            raise PeerError("not a sealed segment", f"a bundle of {raw} bytes")
        frames.append((at, length, raw))
        at += length
    return Tail(manifest, tuple(frames), at)


def _table_bytes() -> int:
    return _HEAD.size + _FRAMES * _ROW.size + _FOOT.size


def _table(end: bytes) -> list[tuple[int, int]]:
    if len(end) < _table_bytes():
        raise PeerError("not a sealed segment", "it is too short to have a seek table: torn?")
    at = len(end) - _table_bytes()
    head = _HEAD.unpack_from(end, at)
    foot = _FOOT.unpack_from(end, len(end) - _FOOT.size)
    wanted = (_TABLE_MAGIC, _table_bytes() - _HEAD.size), (_FRAMES, 0, _SEEKABLE_MAGIC)
    if (head, foot) != wanted:
        raise PeerError("not a sealed segment", "it does not end with its seek table: torn?")
    first = at + _HEAD.size
    found = [_ROW.unpack_from(end, first + row * _ROW.size) for row in range(_FRAMES)]
    return [(int(length), int(raw)) for length, raw in found]


def _check(manifest: Manifest, number: int, origin: str) -> None:
    place = (_VERSION, number * SEGMENT, (number + 1) * SEGMENT, origin)
    if (manifest.v, manifest.start, manifest.stop, manifest.origin) != place:
        why = f"{manifest.start} to {manifest.stop} of {manifest.origin!r}, format {manifest.v}"
        raise PeerError("another segment", f"its manifest is of {why}")
    try:
        roots = [bytes.fromhex(value) for value in manifest.bundles]
        int(manifest.newest_ns)
    except ValueError as error:
        raise PeerError("not a sealed segment", f"the manifest: {error}") from error
    if len(roots) != BUNDLES or root_from_hashes(roots).hex() != manifest.root:
        raise PeerError("not a sealed segment", "the manifest's root is not that of its bundles")
