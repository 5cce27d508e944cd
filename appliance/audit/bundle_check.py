"""Checks a bundle against the keys one trusts, and nothing in it against itself only. R1.

Order: which files there are → manifest's signature → SHA256SUMS → every file → checkpoint's signature → every
entry against its tile, every tile against the signed root → every record against its place. The first thing
wrong ends it: what comes later stands on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from msgspec import Struct

from appliance.audit import bundle
from appliance.audit.bundle import Manifest, parse_manifest, parse_sums
from appliance.audit.key_chain import KeyChain, rooted_in
from appliance.audit.key_notes import MAX_KEY_NOTE, MAX_ROTATIONS, split_rotations
from appliance.audit.merkle import inclusion_proof, leaf_hash, verify_inclusion
from appliance.audit.notes import MAX_NOTE, VerifierKey, parse_note, parse_vkey, verify_note
from appliance.audit.records import decode_entry
from appliance.audit.tiles import WIDTH, Tile, split_hashes, tile_of, tile_subtrees
from appliance.domain.errors import PeerError

MAX_SUMS = 32 * 1024 * 1024
_MAX_TILE = 8192


class BundleFiles(Protocol):
    """Where a bundle is read. Raises PeerError for a container that is broken."""

    def names(self) -> Iterable[str]:
        """Path of every file, each as often as it is there."""
        ...

    def read(self, name: str, limit: int) -> bytes:
        """Content of a file; PeerError if it is longer than `limit`."""
        ...

    def digest(self, name: str) -> bytes:
        """SHA-256 of a file of any length."""
        ...

    def lines(self, name: str) -> Iterator[bytes]:
        """Lines without their line feed; PeerError for one that is too long or has no end."""
        ...


class BundleKeys(Struct, frozen=True):
    """Public keys somebody else vouches for: of the log, of its exports, of the witness if there is one.

    log: one the log has had; what follows it is proven by the rotations in the bundle.
    """

    log: VerifierKey
    export: VerifierKey
    witness: VerifierKey | None = None


class BundleReport(Struct, frozen=True):
    """What was found to be true. sources: (source, its entries). cosigned_s: POSIX seconds, 0 if not."""

    manifest: Manifest
    entries: int
    tiles: int
    sources: tuple[tuple[str, int], ...]
    cosigned_s: int


def check_bundle(
    files: BundleFiles, keys: BundleKeys, progress: Callable[[int], None] = lambda _entries: None
) -> BundleReport:
    """The report of a bundle that is whole and genuine; PeerError naming file and reason otherwise."""
    manifest = _manifest(files, keys.export)
    sums = _sums(files, manifest)
    _presence(files, sums)
    for name, expected in sums.items():
        if files.digest(name) != expected:
            raise PeerError(name, "its SHA-256 is not the one in SHA256SUMS")
    chain = _chain(files, sums, keys.log)
    _same_keys(files, sums, keys)
    cosigned_s = _checkpoint(files, manifest, keys, chain)
    wanted = {tile.path for tile in bundle.needed_tiles(manifest.first, manifest.stop, manifest.size)}
    listed = {name for name in sums if name.startswith("tile/")}
    if wanted != listed:
        name = min(wanted ^ listed)
        raise PeerError(name, "it is missing" if name in wanted else "a tile this range does not need")
    sources = _entries(files, manifest, progress)
    return BundleReport(
        manifest, manifest.stop - manifest.first, len(wanted), tuple(sorted(sources.items())), cosigned_s
    )


def _manifest(files: BundleFiles, key: VerifierKey) -> Manifest:
    data = files.read(bundle.MANIFEST, MAX_NOTE)
    try:
        note = parse_note(data)
        verify_note(note, [key])
        found = parse_manifest(note.text)
    except PeerError as error:
        raise PeerError(bundle.MANIFEST, f"{error.what}: {error.why}") from error
    if len(note.signatures) != 1:
        raise PeerError(bundle.MANIFEST, "it has other signatures than the one it is checked for")
    return found


def _sums(files: BundleFiles, manifest: Manifest) -> dict[str, bytes]:
    data = files.read(bundle.SUMS, MAX_SUMS)
    if bundle.sha256(data).hex() != manifest.sums:
        raise PeerError(bundle.SUMS, "its SHA-256 is not the one in the manifest")
    return parse_sums(data)


def _presence(files: BundleFiles, sums: dict[str, bytes]) -> None:
    there = Counter(files.names())
    for name in sorted({*sums, bundle.SUMS, bundle.MANIFEST, *there}):
        if there[name] == 0:
            raise PeerError(name, "it is missing")
        if there[name] > 1:
            raise PeerError(name, "it is there more than once")
        if name not in sums and name not in (bundle.SUMS, bundle.MANIFEST):
            raise PeerError(name, "a file that is not in SHA256SUMS")
    for name in (bundle.README, bundle.ENTRIES, bundle.HEAD, bundle.LOG_KEY, bundle.EXPORT_KEY):
        if name not in sums:
            raise PeerError(name, "it is missing")


def _chain(files: BundleFiles, sums: dict[str, bytes], trusted: VerifierKey) -> KeyChain:
    """From the trusted key to the bundle's own, along its rotations."""
    try:
        told = b""
        if bundle.ROTATIONS in sums:
            told = files.read(bundle.ROTATIONS, MAX_KEY_NOTE * MAX_ROTATIONS)
        chain = rooted_in(trusted, split_rotations(told))
    except PeerError as error:
        raise PeerError(bundle.ROTATIONS, f"{error.what}: {error.why}") from error
    own = files.read(bundle.LOG_KEY, MAX_NOTE).decode("utf-8", "replace")
    if not any(own == f"{key.vkey}\n" for key in chain.keys):
        raise PeerError(bundle.LOG_KEY, "it is not the key you trust")
    return KeyChain(tuple(era for era in chain.eras if era.key == parse_vkey(own.removesuffix("\n"))))


def _same_keys(files: BundleFiles, sums: dict[str, bytes], keys: BundleKeys) -> None:
    """The keys inside are for convenience; they may not be others than the trusted ones."""
    trusted = {bundle.EXPORT_KEY: keys.export, bundle.WITNESS_KEY: keys.witness}
    for name, key in trusted.items():
        if key is not None and name in sums and files.read(name, MAX_NOTE) != f"{key.vkey}\n".encode():
            raise PeerError(name, "it is not the key you trust")


def _checkpoint(files: BundleFiles, manifest: Manifest, keys: BundleKeys, chain: KeyChain) -> int:
    note = files.read(bundle.HEAD, MAX_NOTE)
    # A witness the auditor has no key of is no reason to refuse, and none to believe either.
    witnesses = [keys.witness] if keys.witness is not None and manifest.witness == keys.witness.name else []
    try:
        opened = chain.open(note, witnesses)
    except PeerError as error:
        raise PeerError(bundle.HEAD, f"{error.what}: {error.why}") from error
    head = opened.checkpoint
    if (head.origin, head.size, head.root) != (manifest.origin, manifest.size, manifest.root):
        raise PeerError(bundle.HEAD, "it is not the one the manifest tells of")
    return opened.cosigned[0][1].time_s if opened.cosigned else 0


def _entries(files: BundleFiles, manifest: Manifest, progress: Callable[[int], None]) -> Counter[str]:
    records = _Records(manifest)
    index, lines = manifest.first, files.lines(bundle.ENTRIES)
    while index < manifest.stop:
        tile = tile_of(0, index // WIDTH, manifest.size)
        end = min(manifest.stop, (index // WIDTH + 1) * WIDTH)
        hashes = _proven(files, manifest, tile, index)
        for at in range(index, end):
            body = next(lines, None)
            if body is None:
                raise PeerError(bundle.ENTRIES, f"entry {at} is missing")
            if leaf_hash(body) != hashes[at % WIDTH]:
                raise PeerError(bundle.ENTRIES, f"entry {at} is not the one that was signed")
            records.take(at, body)
        progress(end - index)
        index = end
    if next(lines, None) is not None:
        raise PeerError(bundle.ENTRIES, f"there are lines after entry {manifest.stop - 1}")
    records.finish()
    return records.count


def _proven(files: BundleFiles, manifest: Manifest, tile: Tile | None, index: int) -> list[bytes]:
    """Leaf hashes of a tile. One entry's proof covers it whole: all its other hashes are on the path."""
    if tile is None:
        raise PeerError(bundle.MANIFEST, "entries beyond the tree")

    def read(each: Tile) -> bytes:
        return files.read(each.path, _MAX_TILE)

    try:
        hashes = split_hashes(read(tile), tile.width)
        proof = inclusion_proof(index, manifest.size, tile_subtrees(manifest.size, read))
        verify_inclusion(index, manifest.size, hashes[index % WIDTH], proof, manifest.root)
    except PeerError as error:
        raise PeerError(tile.path, f"it does not lead to the signed root: {error.why}") from error
    return hashes


class _Records:
    """What the entries say about their place. count: entries of each source."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._next: dict[str, int] = {}
        self._outside = 0
        self.count: Counter[str] = Counter()

    def take(self, index: int, body: bytes) -> None:
        """The next entry's bytes."""
        try:
            record = decode_entry(body)
        except PeerError as error:
            raise PeerError(bundle.ENTRIES, f"entry {index} is no record: {error.why}") from error
        if record.i != index:
            raise PeerError(bundle.ENTRIES, f"entry {index} says it is entry {record.i}")
        if record.n != self._next.get(record.src, record.n):
            due = self._next[record.src]
            raise PeerError(bundle.ENTRIES, f"entry {index}: number {due} of source {record.src} is left out")
        self._next[record.src] = record.n + 1
        self.count[record.src] += 1
        self._outside += not self._manifest.from_ns <= int(record.utc_ns) < self._manifest.to_ns

    def finish(self) -> None:
        """What can be said at the end only."""
        if self._outside != self._manifest.outside:
            raise PeerError(bundle.MANIFEST, f"{self._outside} entries are dated outside, it says otherwise")
