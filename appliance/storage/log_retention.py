"""Sealing and pruning: what is old and co-signed goes into sealed segments, and leaves database and bundles.

For one segment after the other, oldest first, each line a step or several, commits in between:

    seal   the entries, each bundle against the tree's own root of it → the segment file, durable
    prove  the file read back: its digest; its entries against those stored; their leaf hashes against the
           published tiles of level 0; its root, by a subtree proof, against the root the witness co-signed
    prune  a bundle at a time: the bodies in one transaction with the mark that says so, then tile/entries/<N>

A segment is sealed if all of it is older than asked for and under a co-signature of the pinned witness that
verifies now; pruned only after `prove` in this very pass. A crash anywhere leaves every entry in the
database, or in a proven segment, or in both. Tiles are never pruned: proofs need no segment.

What `runtime.restore` asks for at a start keeps its body in the database too (KEPT, KEPT_OF_RUN): a box
starts, with all it knows of orders and acts, even if every segment is lost.

Space: emptied rows let their pages go, and later entries fill these first (measured on entries of 560 B, 4 of
7 about an order: 3.5 bytes written for each pruned, a slice of 256; 5.2 in slices of 64). The file does not
become smaller, it stops growing. An incremental vacuum would cost every append 3 to 5 % more bytes for its
pointer map, from the first day on, and is not used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator

import apsw

from appliance.audit.checkpoint import Checkpoint
from appliance.audit.merkle import leaf_hash, root_from_hashes
from appliance.audit.notes import VerifierKey
from appliance.audit.segment import BUNDLES, SEGMENT, Manifest
from appliance.audit.subtree import subtree_proof, verify_subtree
from appliance.audit.tiles import ENTRIES, WIDTH, Tile, tile_subtrees
from appliance.audit.verify import COSIGNED
from appliance.domain.errors import NoSpaceError, PeerError, StoreError
from appliance.storage.durable import REAL_IO, Io, read_file, remove_file, settle_name
from appliance.storage.log_store import LogStore
from appliance.storage.segments import SegmentWriter

KEPT = (
    "start", "stop", "run_start", "run_end", "reconcile", "mode", "trip", "arm", "recovery", "loosening",
    "strategy_stop", "clock", "gap", "key",
)  # fmt: skip
"""Kinds whose bodies are never pruned: few, and a start or `audit tail --mode` reads them all."""

KEPT_OF_RUN = ("order", "fill", "venue", "execution")
"""The same for those of the newest run."""

_NEWEST = "SELECT max(utc_ns) FROM entries WHERE idx >= ? AND idx < ?"
_LAST = "SELECT max(idx) FROM entries WHERE kind = ?"
_PRUNE = f"""idx >= ? AND idx < ? AND length(body) > 0 AND idx <> ?
    AND kind NOT IN ({", ".join("?" * len(KEPT))})
    AND (idx < ? OR kind NOT IN ({", ".join("?" * len(KEPT_OF_RUN))}))"""
_STUBS = f"SELECT idx, kind, utc_ns, ref, x'' FROM entries WHERE {_PRUNE}"  # noqa: S608 - from literals
_DELETE = f"DELETE FROM entries WHERE {_PRUNE}"  # noqa: S608 - from literals
_INSERT = "INSERT INTO entries (idx, kind, utc_ns, ref, body) VALUES (?, ?, ?, ?, ?)"
_MARK = """INSERT INTO meta (name, value) VALUES ('pruned', ?)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value"""


class _StoppedError(Exception):
    """Nothing more is pruned in this pass; its text is the problem."""


class Retention:
    """Of one open store, in the process that owns it.

    pruned: entries whose bodies are in segments.  sealed: segments written.  problem: why the last pass
    ended before its end, or "".
    """

    def __init__(self, store: LogStore, witness: VerifierKey | None, io: Io = REAL_IO) -> None:
        """witness: pinned; without one nothing is ever sealed or pruned."""
        self._store = store
        self._directory = store.path.parent
        self._witness = witness
        self._io = io
        self.pruned = store.cold.pruned()
        self.sealed = 0
        self.problem = ""

    def steps(self, before_ns: int) -> Generator[None, None, None]:
        """One pass over everything that is older than `before_ns` (UTC) and co-signed, in small steps.

        A generator that is given up anywhere leaves things as a crash would. Raises StoreError for a write
        that failed: the store takes nothing any more. What cannot be proven, and a full disk, end the pass
        and are the `problem`.
        """
        self.problem = ""
        try:
            yield from self._pass(before_ns)
        except NoSpaceError as error:
            self.problem = error.sentence()
        except _StoppedError as stopped:
            self.problem = str(stopped)

    def _pass(self, before_ns: int) -> Iterator[None]:
        done = self.pruned // WIDTH
        for bundle in range(max(0, done - 2 * BUNDLES), done):  # a crash may have brought these back
            self._remove_bundle(bundle)
        head = self._cosigned()
        # The last entry stays, whatever its age: a start looks at it.
        while head is not None and self.pruned // SEGMENT < min(head.size, self._store.size - 1) // SEGMENT:
            number = self.pruned // SEGMENT
            newest_ns = self._newest(number)
            yield
            if newest_ns >= before_ns:
                return
            if not self._whole(number):
                yield from self._seal(number, newest_ns)
            yield from self._prove(number, head)
            yield from self._prune(number)

    def _cosigned(self) -> Checkpoint | None:
        """The head the witness vouches for, verified now. One beyond what is published is no head of ours."""
        if self._witness is None:
            return None
        with _looking():
            data = read_file(self._directory / COSIGNED)
            if data is None:
                return None
            head = self._store.keys.open(data, [self._witness]).checkpoint
        if head.size > self._store.shown.size:
            raise _StoppedError(f"{head.size} entries were co-signed, {self._store.shown.size} are published")
        return head

    def _newest(self, number: int) -> int:
        """Latest UTC of a segment's entries. Rows tell it: nothing but the age is judged by them."""
        with _looking():
            rows = self._store.fetch(_NEWEST, (number * SEGMENT, (number + 1) * SEGMENT))
        return int(rows[0][0] or 0)

    def _whole(self, number: int) -> bool:
        """A segment of an earlier pass that can be used. A damaged one is made again while all entries are
        stored; once some are pruned it is all there is, and stays as it is."""
        segments = self._store.cold.segments
        if not segments.exists(number):
            return False
        try:
            segments.check(number)
        except StoreError as error:
            if self.pruned > number * SEGMENT:
                raise _StoppedError(error.sentence()) from error
            return False
        settle_name(segments.path(number), self._io)
        return True

    def _seal(self, number: int, newest_ns: int) -> Iterator[None]:
        if self.pruned > number * SEGMENT:
            raise _StoppedError(f"sealed segment {self._store.cold.segments.path(number)} is missing")
        writer = SegmentWriter(self._directory, number, self._store.keys.origin, self._io)
        try:
            for bundle in range(number * BUNDLES, (number + 1) * BUNDLES):
                with _looking():
                    entries = self._stored(bundle)
                    expected = self._store.rows.nodes(1, bundle, bundle + 1)
                if [writer.add(entries)] != expected:
                    raise _StoppedError(f"the stored entries of bundle {bundle} are not those of the tree")
                yield
            writer.finish(newest_ns)
            self.sealed += 1
        finally:
            writer.discard()
        yield

    def _prove(self, number: int, head: Checkpoint) -> Iterator[None]:
        with _looking():
            manifest = self._store.cold.segments.check(number)
        yield
        roots = []
        for bundle in range(number * BUNDLES, (number + 1) * BUNDLES):
            with _looking():
                roots.append(self._proven(bundle))
            yield
        with _looking():
            self._prove_root(manifest, root_from_hashes(roots), head)

    def _proven(self, bundle: int) -> bytes:
        """Root of a bundle as the segment has it. Raises _StoppedError, StoreError."""
        segments = self._store.cold.segments
        entries = segments.bundle(bundle)
        if bundle * WIDTH >= self.pruned and entries != self._stored(bundle):
            raise _StoppedError(f"the segment's bundle {bundle} is not what is stored")
        leaves = [leaf_hash(entry) for entry in entries]
        tile = Tile(0, bundle)
        if read_file(self._directory / tile.path) != b"".join(leaves):
            raise _StoppedError(f"the published {tile.path} is not that of the entries")
        return root_from_hashes(leaves)

    def _prove_root(self, manifest: Manifest, root: bytes, head: Checkpoint) -> None:
        start, stop = manifest.start, manifest.stop
        proof = subtree_proof(start, stop, head.size, tile_subtrees(head.size, self._store.rows.content))
        verify_subtree(start, stop, head.size, root, head.root, proof)

    def _prune(self, number: int) -> Iterator[None]:
        for bundle in range(self.pruned // WIDTH, (number + 1) * BUNDLES):
            with _looking():
                run, beat = (self._last(kind) for kind in ("run_start", "heartbeat"))
            start, stop = bundle * WIDTH, (bundle + 1) * WIDTH
            values = (start, stop, beat, *KEPT, run, *KEPT_OF_RUN)

            def write(
                connection: apsw.Connection, values: tuple[int | str, ...] = values, stop: int = stop
            ) -> None:
                stubs = connection.execute(_STUBS, values).fetchall()
                connection.execute(_DELETE, values)
                connection.executemany(_INSERT, stubs)
                connection.execute(_MARK, (str(stop),))

            self._store.change(write)
            self.pruned = stop
            self._store.tidy()
            yield
            self._remove_bundle(bundle)
            yield

    def _stored(self, bundle: int) -> list[bytes]:
        entries = list(self._store.rows.bodies(bundle * WIDTH, (bundle + 1) * WIDTH))
        if len(entries) != WIDTH:
            raise _StoppedError(f"entry {bundle * WIDTH + len(entries)} is missing from the store")
        return entries

    def _last(self, kind: str) -> int:
        """Number of the newest entry of a kind, 0 if there is none."""
        return int(self._store.fetch(_LAST, (kind,))[0][0] or 0)

    def _remove_bundle(self, bundle: int) -> None:
        remove_file(self._directory / Tile(ENTRIES, bundle).path, self._io, synced=False)


@contextlib.contextmanager
def _looking() -> Iterator[None]:
    """What cannot be read or does not agree stops the pruning, and nothing else: no entry was touched."""
    try:
        yield
    except (StoreError, PeerError) as error:
        raise _StoppedError(error.sentence()) from error
