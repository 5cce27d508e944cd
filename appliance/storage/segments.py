"""Sealed segments on disk, `<dir>/segments/`: written once by the log writer, read by everybody.

A segment is written to a temp file, fsynced, renamed, its directory fsynced; then nobody changes it. A crash
leaves no file, or a temp file that the next try removes, or the whole segment. What is read is hashed: a
bundle that is not what its manifest says is an error that names file and bundle, never a gap.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec.structs import replace

from appliance.audit.merkle import leaf_hash, root_from_hashes
from appliance.audit.segment import (
    BUNDLES,
    MAX_TAIL,
    NO_DIGEST,
    Manifest,
    Tail,
    encode_tail,
    make_manifest,
    read_tail,
    segment_path,
)
from appliance.audit.tiles import WIDTH, decode_bundle, encode_bundle
from appliance.domain.errors import PeerError, StoreError
from appliance.storage.durable import REAL_IO, Io, TempFile, make_directory

LEVEL = 9
"""Measured on entries of three replays (560 B each), ratio and time of one bundle: level 3 4.6-5.4, 0.8 ms;
9 5.0-6.2, 2.9 ms; 15 5.8-7.1, 19 ms; 19 5.8-7.1, 75 ms."""

_READ = 256 * 1024
_RESTORE = "interlock audit verify; put the file back from a backup, or from the mirror's copy of the log"


class SegmentWriter:
    """Makes one segment, bundle by bundle."""

    def __init__(self, directory: Path, number: int, origin: str, io: Io = REAL_IO) -> None:
        """directory: of the log. Opens the temp file; raises StoreError, NoSpaceError as every step does."""
        import zstandard

        path = directory / segment_path(number)
        make_directory(path.parent, 0o700, io=io)
        self._compressor = zstandard.ZstdCompressor(
            level=LEVEL, write_checksum=True, write_content_size=True
        )
        self._number = number
        self._origin = origin
        self._digest = hashlib.sha256()
        self._sizes: list[tuple[int, int]] = []
        self._roots: list[bytes] = []
        self._file = TempFile(path, 0o600, io)

    def add(self, entries: Sequence[bytes]) -> bytes:
        """The next 256 entries; returns their root."""
        plain = encode_bundle(entries)
        frame = self._compressor.compress(plain)
        self._file.write(frame)
        self._digest.update(frame)
        self._sizes.append((len(frame), len(plain)))
        self._roots.append(root_from_hashes(map(leaf_hash, entries)))
        return self._roots[-1]

    def finish(self, newest_ns: int) -> None:
        """The segment is there, durably and as a whole, when this returns."""
        manifest = make_manifest(self._origin, self._number, self._roots, newest_ns)
        self._digest.update(encode_tail(manifest, self._sizes))
        self._file.write(encode_tail(replace(manifest, sha256=self._digest.hexdigest()), self._sizes))
        self._file.commit()

    def discard(self) -> None:
        """Removes the temp file of a segment that was not finished."""
        self._file.discard()


class Segments:
    """Reads the segments of one log."""

    def __init__(self, directory: Path, origin: str) -> None:
        """directory: of the log.  origin: whose log it is."""
        self._directory = directory
        self._origin = origin

    def path(self, number: int) -> Path:
        """Where a segment lies, whether it is there or not."""
        return self._directory / segment_path(number)

    def exists(self, number: int) -> bool:
        """Whether there is a file of that name."""
        return self.path(number).exists()

    def count(self) -> int:
        """How many files of segments there are."""
        try:
            return sum(child.suffix == ".zst" for child in self.path(0).parent.iterdir())
        except FileNotFoundError:
            return 0

    def bundle(self, index: int) -> list[bytes]:
        """The 256 entries of bundle `index` of the log. Raises StoreError naming the segment."""
        number, at = divmod(index, BUNDLES)
        with _named(self.path(number), f"bundle {index}"), self._open(number) as file:
            tail = self._tail(file, number)
            offset, length, raw = tail.frames[at]
            entries = decode_bundle(_plain(os.pread(file, length, offset), raw), WIDTH)
            if root_from_hashes(map(leaf_hash, entries)).hex() != tail.manifest.bundles[at]:
                raise PeerError("a damaged segment", "its entries do not hash to what the manifest says")
            return entries

    def check(self, number: int) -> Manifest:
        """Reads a whole segment and compares the digest of every byte. Raises StoreError naming it."""
        with _named(self.path(number), "the whole file"), self._open(number) as file:
            tail = self._tail(file, number)
            digest, at = hashlib.sha256(), 0
            while at < tail.start and (data := os.pread(file, min(_READ, tail.start - at), at)):
                digest.update(data)
                at += len(data)
            digest.update(tail.encode(NO_DIGEST))
            same = os.pread(file, MAX_TAIL, tail.start) == tail.encode(tail.manifest.sha256)
            if not same or digest.hexdigest() != tail.manifest.sha256:
                raise PeerError("a damaged segment", "its bytes are not those that were written")
            return tail.manifest

    def _tail(self, file: int, number: int) -> Tail:
        size = os.fstat(file).st_size
        start = max(0, size - MAX_TAIL)
        return read_tail(os.pread(file, MAX_TAIL, start), size, number, self._origin)

    @contextlib.contextmanager
    def _open(self, number: int) -> Iterator[int]:
        file = os.open(self.path(number), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            yield file
        finally:
            os.close(file)


def _plain(frame: bytes, raw: int) -> bytes:
    """A frame decompressed: never more than the seek table says, whatever the frame does."""
    import zstandard

    try:
        if zstandard.frame_content_size(frame) != raw:
            raise PeerError("a damaged segment", "a frame is of another size than the seek table says")
        return zstandard.ZstdDecompressor().decompress(frame, max_output_size=raw)
    except zstandard.ZstdError as error:
        raise PeerError("a damaged segment", str(error)) from error


@contextlib.contextmanager
def _named(path: Path, part: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        why = f"entries that were pruned are in it ({path})"
        raise StoreError(f"sealed segment {path.name} is missing", why, _RESTORE) from error
    except OSError as error:
        why = f"{error.strerror or error} ({path})"
        raise StoreError(f"sealed segment {path.name} cannot be read", why) from error
    except PeerError as error:
        why = f"{part}: {error.why} ({path})"
        raise StoreError(f"sealed segment {path.name} is damaged", why, _RESTORE) from error

