"""Checks a whole log against itself, its signatures and the keys one trusts (PRV-08, P17).

Everything is computed again from the entries' bytes: canonical form, index, per-source sequence, causes;
leaf hashes, tiles of every level, roots; and the keys, rotation by rotation from the first (`verify_keys`).
Store, bundle and level-0 tile hold each entry three times over; where they differ, two against one says which
of them was damaged, and the signed root has the last word. A sealed segment is one place more; of what was
pruned it is the store, and the bundle may be gone. Memory stays at a few tiles whatever the size.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from appliance.audit.checkpoint import Checkpoint, parse_checkpoint
from appliance.audit.completeness import Completing
from appliance.audit.key_notes import KIND
from appliance.audit.merkle import Frontier
from appliance.audit.notes import (
    COSIGNATURE_KEY,
    NOTE_KEY,
    Note,
    VerifierKey,
    parse_note,
    parse_vkey,
    verify_note,
)
from appliance.audit.records import Record, decode_entry
from appliance.audit.report import Findings, Report
from appliance.audit.tiles import WIDTH
from appliance.audit.verify_files import LogReader, PublishedFiles
from appliance.audit.verify_keys import KeyWalk
from appliance.domain.errors import PeerError, StoreError

CHECKPOINT = "checkpoint"
COSIGNED = "cosigned"
MIRRORED = "mirrored"
MAX_SOURCES = 1024


class KeyText(Struct, frozen=True):
    """A verifier key as text, with the place it was read from."""

    place: str
    text: str


class Trust(Struct, frozen=True):
    """The keys one trusts: the log's first one; those of witness, mirror and operator where there are any."""

    log: KeyText
    witness: KeyText | None = None
    operator: KeyText | None = None
    mirror: KeyText | None = None


Progress = Callable[[int, int], None]
"""Called with (entries done, entries to do) after every 256."""


def verify(reader: LogReader, trust: Trust, progress: Progress | None = None) -> Report:
    """Verifies everything `reader` has. Never raises for a bad log: the report names the place."""
    return _Verification(reader, trust, progress).run()


class _Verification:
    def __init__(self, reader: LogReader, trust: Trust, progress: Progress | None) -> None:
        self._reader = reader
        self._progress = progress
        self._findings = Findings()
        # The head is read before the size: entries may be added in between, never the other way round.
        self._head = _open(reader, CHECKPOINT, trust.log, None, self._findings)
        self._cosigned = _open(reader, COSIGNED, trust.log, trust.witness, self._findings)
        self._mirrored = _open(reader, MIRRORED, trust.log, trust.mirror, self._findings)
        self._heads = (
            (self._head, CHECKPOINT), (self._cosigned, COSIGNED), (self._mirrored, MIRRORED),
        )  # fmt: skip
        self._size = self._read_size()
        self._signed = min(self._head.size, self._size)
        self._files = PublishedFiles(reader, self._signed, self._findings)
        self._order = _Order(self._findings)
        self._keys = _key_walk(trust, self._findings)
        self._frontier = Frontier()
        self._sealed = 0

    def run(self) -> Report:
        """The report; a store that cannot be read is a finding like any other."""
        try:
            self._walk()
        except StoreError as error:
            self._findings.add(f"entry {self._frontier.size} or its files", error.sentence())
        self._check_signers()
        return self._report()

    def _read_size(self) -> int:
        try:
            return self._reader.size()
        except StoreError as error:
            self._findings.add("store", error.sentence())
            return 0

    def _walk(self) -> None:
        for head, name in self._heads:
            if head.size > self._size:
                reason = f"it covers {head.size} entries, the store has {self._size}: entries are missing"
                self._findings.add(f"{name} line 2", reason)
        self._check_root()
        for start in range(0, self._size, WIDTH):
            stop = min(start + WIDTH, self._size)
            bodies = list(self._reader.bodies(start, stop))
            if len(bodies) < stop - start:
                reason = "it is missing from the store; nothing after it was checked"
                self._findings.add(f"entry {start + len(bodies)}", reason)
                break
            self._compare_sealed(start, bodies)
            self._group(start, bodies)
            if self._progress:
                self._progress(stop, self._size)
        self._files.finish()

    def _group(self, start: int, bodies: list[bytes]) -> None:
        hashes = self._files.judge(start, bodies)
        for at, body in enumerate(bodies):
            record = self._order.check(start + at, body)
            if record is not None and record.kind == KIND and self._keys is not None:
                self._keys.take(start + at, self._frontier.root(), record.data)
            self._frontier.append(hashes[at])
            self._check_root()

    def _compare_sealed(self, start: int, bodies: list[bytes]) -> None:
        """A sealed segment must hold what is stored; where it is all there is, reading found that already."""
        try:
            sealed = self._reader.sealed(start)
        except StoreError as error:
            self._findings.add(f"bundle {start // WIDTH}", error.sentence())
            return
        if sealed is None:
            return
        self._sealed += len(sealed)
        for at, (body, other) in enumerate(zip(bodies, sealed, strict=False)):
            if body != other:
                reason = "the sealed segment has other bytes than the store"
                self._findings.add(f"entry {start + at}", reason)

    def _check_root(self) -> None:
        """At the sizes somebody signed, the computed root must be the signed one."""
        for head, name in self._heads:
            here = head.present and head.size == self._frontier.size
            if here and head.root != self._frontier.root():
                self._findings.add(f"{name} line 3", f"the first {head.size} entries have another root")

    def _check_signers(self) -> None:
        """Only now all rotations and revocations are known."""
        for head, name in self._heads:
            if head.note is None or self._keys is None:
                continue
            try:
                self._keys.check(head.note, cosigned=name != CHECKPOINT)
                if head.witness is not None:
                    self._keys.check_witness(head.witness, head.size)
            except PeerError as error:
                self._findings.add(name, error.why)

    def _report(self) -> Report:
        witness, mirror = self._cosigned.witness, self._mirrored.witness
        return Report(
            origin=self._head.origin,
            entries=self._frontier.size,
            signed=self._head.size,
            root=self._head.root.hex(),
            unsigned=max(0, self._size - self._head.size),
            witnessed=self._cosigned.size if witness else 0,
            witness=witness.name if witness else "",
            bundles=self._files.bundles,
            sealed=self._sealed,
            tiles=tuple(self._files.tiles),
            sources=tuple(sorted(self._order.next.items())),
            findings=tuple(self._findings.kept),
            more=self._findings.more,
            keys=self._keys.eras if self._keys else (),
            remarks=tuple(self._keys.remarks) if self._keys else (),
            mirrored=self._mirrored.size if mirror else 0,
            mirror=mirror.name if mirror else "",
            completeness=self._order.completing.result(),
        )


class _Head(Struct, frozen=True):
    """A checkpoint file as far as it could be read. note: None once it was found bad.

    witness: who co-signed it, if that was asked for and is good.
    """

    present: bool = False
    origin: str = ""
    size: int = 0
    root: bytes = b""
    note: Note | None = None
    witness: VerifierKey | None = None


def _open(
    reader: LogReader, name: str, log: KeyText, witness: KeyText | None, findings: Findings
) -> _Head:
    """Reads and checks `name`. Content is used even if a signature is bad, to say more about it.

    One that the first key has not signed may be signed by a later one: the entries will tell.
    """
    try:
        data = reader.file(name)
    except StoreError as error:
        findings.add(name, error.sentence())
        return _Head()
    log_key = _key(log, NOTE_KEY, findings) if name == CHECKPOINT else _key(log, NOTE_KEY, Findings())
    witness_key = _key(witness, COSIGNATURE_KEY, findings) if witness else None
    if data is None:
        if name == CHECKPOINT:
            findings.add(name, "the file is missing")
        return _Head()
    try:
        note = parse_note(data)
        checkpoint = parse_checkpoint(note.text)
    except PeerError as error:
        findings.add(name, f"{error.what}: {error.why}")
        return _Head()
    if log_key is not None and checkpoint.origin != log_key.name:
        findings.add(f"{name} line 1", f"the origin is not {log_key.name}, the name of {log.place}")
    marks = {(signature.name, signature.key_id) for signature in note.signatures}
    first = log_key is not None and (log_key.name, log_key.key_id) in marks
    for key in (log_key if first else None, witness_key):
        try:
            if key is not None:
                verify_note(note, [key])
        except PeerError as error:
            findings.add(name, error.why)
            return _head(checkpoint, None, None)
    return _head(checkpoint, note, witness_key)


def _head(checkpoint: Checkpoint, note: Note | None, witness: VerifierKey | None) -> _Head:
    return _Head(True, checkpoint.origin, checkpoint.size, checkpoint.root, note, witness)


def _key_walk(trust: Trust, findings: Findings) -> KeyWalk | None:
    """None without a usable first key, which was found wrong already."""
    root = _key(trust.log, NOTE_KEY, Findings())
    operator = _key(trust.operator, NOTE_KEY, findings) if trust.operator else None
    return None if root is None else KeyWalk(root, operator, findings)


def _key(text: KeyText, kind: int, findings: Findings) -> VerifierKey | None:
    try:
        key = parse_vkey(text.text.removesuffix("\n"))
    except PeerError as error:
        findings.add(text.place, f"{error.what}: {error.why}")
        return None
    if key.kind != kind:
        findings.add(text.place, "a key of the wrong kind")
        return None
    return key


class _Order:
    """What an entry says about its place: index, sequence of its source, causes."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self.next: dict[str, int] = {}
        self.completing = Completing()

    def check(self, index: int, body: bytes) -> Record | None:
        """The record, None if it is none."""
        place = f"entry {index}"
        try:
            record = decode_entry(body)
        except PeerError as error:
            self._findings.add(place, f"{error.what}: {error.why}")
            return None
        self.completing.add(record)
        if record.i != index:
            self._findings.add(place, f"it says it is entry {record.i}")
        expected = self.next.get(record.src, 0)
        if record.n != expected:
            reason = f"source {record.src} goes on with {record.n} where {expected} is due"
            self._findings.add(place, reason)
        if record.src in self.next or len(self.next) < MAX_SOURCES:
            self.next[record.src] = record.n + 1
        else:
            self._findings.add(place, f"more than {MAX_SOURCES} sources")
        return record
