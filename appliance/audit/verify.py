"""Checks a whole log against itself, its signatures and the keys one trusts (PRV-08, P17).

Everything is computed again from the entries' bytes: canonical form, index, per-source sequence, causes;
leaf hashes, tiles of every level, roots. Store, bundle and level-0 tile hold each entry three times over;
where they differ, two against one says which of them was damaged, and the signed root has the last word.
Memory stays at a few tiles whatever the size.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from appliance.audit.checkpoint import Checkpoint, parse_checkpoint
from appliance.audit.completeness import Completing
from appliance.audit.merkle import Frontier
from appliance.audit.notes import (
    COSIGNATURE_KEY,
    NOTE_KEY,
    VerifierKey,
    parse_note,
    parse_vkey,
    verify_note,
)
from appliance.audit.records import decode_entry
from appliance.audit.report import Findings, Report
from appliance.audit.tiles import WIDTH
from appliance.audit.verify_files import LogReader, PublishedFiles
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
    """The keys one trusts: the log's own, and those of witness and mirror where there are any."""

    log: KeyText
    witness: KeyText | None = None
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
        self._frontier = Frontier()

    def run(self) -> Report:
        """The report; a store that cannot be read is a finding like any other."""
        try:
            self._walk()
        except StoreError as error:
            self._findings.add(f"entry {self._frontier.size} or its files", error.sentence())
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
            self._group(start, bodies)
            if self._progress:
                self._progress(stop, self._size)
        self._files.finish()

    def _group(self, start: int, bodies: list[bytes]) -> None:
        hashes = self._files.judge(start, bodies)
        for at, body in enumerate(bodies):
            self._order.check(start + at, body)
            self._frontier.append(hashes[at])
            self._check_root()

    def _check_root(self) -> None:
        """At the sizes somebody signed, the computed root must be the signed one."""
        for head, name in self._heads:
            here = head.present and head.size == self._frontier.size
            if here and head.root != self._frontier.root():
                self._findings.add(f"{name} line 3", f"the first {head.size} entries have another root")

    def _report(self) -> Report:
        return Report(
            origin=self._head.origin,
            entries=self._frontier.size,
            signed=self._head.size,
            root=self._head.root.hex(),
            unsigned=max(0, self._size - self._head.size),
            witnessed=self._cosigned.size if self._cosigned.witness else 0,
            witness=self._cosigned.witness,
            bundles=self._files.bundles,
            tiles=tuple(self._files.tiles),
            sources=tuple(sorted(self._order.next.items())),
            findings=tuple(self._findings.kept),
            more=self._findings.more,
            mirrored=self._mirrored.size if self._mirrored.witness else 0,
            mirror=self._mirrored.witness,
            completeness=self._order.completing.result(),
        )


class _Head(Struct, frozen=True):
    """A checkpoint file as far as it could be read; its signature may already have been found bad."""

    present: bool = False
    origin: str = ""
    size: int = 0
    root: bytes = b""
    witness: str = ""


def _open(
    reader: LogReader, name: str, log: KeyText, witness: KeyText | None, findings: Findings
) -> _Head:
    """Reads and checks `name`. Content is used even if a signature is bad, to say more about it."""
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
    for key in (log_key, witness_key):
        try:
            if key is not None:
                verify_note(note, [key])
        except PeerError as error:
            findings.add(name, error.why)
            return _head(checkpoint, "")
    return _head(checkpoint, witness_key.name if witness_key else "")


def _head(checkpoint: Checkpoint, witness: str) -> _Head:
    return _Head(True, checkpoint.origin, checkpoint.size, checkpoint.root, witness)


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

    def check(self, index: int, body: bytes) -> None:
        place = f"entry {index}"
        try:
            record = decode_entry(body)
        except PeerError as error:
            self._findings.add(place, f"{error.what}: {error.why}")
            return
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
