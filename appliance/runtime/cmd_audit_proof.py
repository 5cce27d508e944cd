"""`interlock audit proof`: receipts that outside tools check, made from the log or checked without it.

    proof N                          tlog-proof of entry N, the entry inside
    proof [N] --check FILE           checks one; needs no appliance with --trust
    proof --extends OLD              that the log only grew since checkpoint OLD, as a witness is told it
    proof --extends OLD --check FILE
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from appliance.audit.merkle import verify_consistency
from appliance.audit.notes import MAX_NOTE
from appliance.audit.proofs import MAX_PROOF, EntryProof, check_proof, parse_proof
from appliance.audit.records import MAX_BODY, decode_entry
from appliance.audit.select import printable
from appliance.domain.errors import PeerError, StoreError, UsageError
from appliance.runtime.audit_trust import Head, TrustedKeys, best_head, cosigned_by, read_given, read_trust
from appliance.runtime.audit_view import VERIFY, Printer, open_log, stamp
from appliance.runtime.paths import Paths
from appliance.runtime.terminal import Terminal
from appliance.storage.durable import create_file
from appliance.storage.log_reader import LogReader
from appliance.upstream.witness import Request, parse_request

NOT_VERIFIED = "NOT VERIFIED:"
_EXAMPLE = "interlock audit proof 1234 --out 1234.tlog-proof"
_MAX_CONSISTENCY = MAX_NOTE + 64 * 64


def run_proof(paths: Paths, options: argparse.Namespace, terminal: Terminal) -> int:
    """Makes or checks a proof; a check that fails says why, exit 1."""
    both = options.index is not None and options.extends is not None
    if both or (options.index is None and options.extends is None and options.check is None):
        raise UsageError("it is not clear what to prove", "an entry number, or --extends OLD", _EXAMPLE)
    if options.check is not None:
        return _check(paths, options)
    trust = read_trust(paths, options.trust)
    reader = open_log(paths)
    try:
        if options.extends is None:
            made = make_entry_proof(reader, trust, options.index).encode()
        else:
            made = _extension(reader, trust, options.extends)
    finally:
        reader.close()
    if options.out is None:
        print(made.decode(), end="")
    else:
        create_file(Path(options.out).absolute(), made)
        terminal.say(f"wrote {options.out}")
    return 0


def make_entry_proof(reader: LogReader, trust: TrustedKeys, index: int) -> EntryProof:
    """Proof of a stored entry, checked before it is given away. Raises UsageError, StoreError."""
    size = reader.size()
    if not 0 <= index < size:
        why = f"the last one is {size - 1}" if size else "the log is empty"
        raise UsageError(f"there is no entry {index}", why, "interlock audit tail")
    head = best_head(reader, trust, index + 1)
    if index >= head.size:
        why = f"the checkpoint covers {head.size} entries"
        raise UsageError(f"entry {index} is not signed yet", why, "try again in a second")
    entry = next(iter(reader.bodies(index, index + 1)), b"")
    try:
        proof = EntryProof(index, tuple(reader.inclusion(index, head.size)), head.note, entry)
        check_proof(proof, entry, trust.keys)
    except PeerError as error:
        raise StoreError(f"entry {index} is not what was signed", error.why, VERIFY) from error
    return proof


def _extension(reader: LogReader, trust: TrustedKeys, path: str) -> bytes:
    old = _old(path, trust)
    head: Head = best_head(reader, trust, reader.published_size())
    if old.size > head.size:
        why = f"{path} covers {old.size} entries, the log's checkpoint {head.size}: restored from a backup?"
        do = "keep both, and compare with the witness"
        raise StoreError("the log is older than that checkpoint", why, do)
    proof = tuple(reader.consistency(old.size, head.size))
    root = head.opened.checkpoint.root
    try:
        if old.size:
            verify_consistency(old.size, head.size, old.root, root, proof)
    except PeerError as error:
        why = f"{error.why}: one of the two histories was changed ({path})"
        raise StoreError("the log does not extend that checkpoint", why, VERIFY) from error
    return Request(old.size, proof, head.note).encode()


class _Old:
    """A checkpoint somebody kept, verified."""

    def __init__(self, size: int, root: bytes) -> None:
        self.size, self.root = size, root


def _old(path: str, trust: TrustedKeys) -> _Old:
    try:
        found = trust.keys.open(read_given(path, "the checkpoint", MAX_NOTE)).checkpoint
    except PeerError as error:
        do = "give a file that was the log's `checkpoint` once"
        raise UsageError("that is no checkpoint of this log", f"{error.why} ({path})", do) from error
    return _Old(found.size, found.root)


def _check(paths: Paths, options: argparse.Namespace) -> int:
    trust = read_trust(paths, options.trust)
    try:
        checked = _checked_entry if options.extends is None else _checked_extension
        facts = checked(options, trust)
    except PeerError as error:
        return _say(options, {"ok": False, "finding": f"{error.what}: {error.why}"})
    return _say(options, {"ok": True} | facts)


def _checked_entry(options: argparse.Namespace, trust: TrustedKeys) -> dict[str, object]:
    proof = parse_proof(read_given(options.check, "the proof", MAX_PROOF))
    if options.index is not None and options.index != proof.index:
        raise PeerError("another entry", f"the proof is about entry {proof.index}, not {options.index}")
    entry = proof.entry
    if options.entry is not None:
        # Canonical JSON never ends in a line feed: one at the end came from `show --json` or an editor.
        entry = read_given(options.entry, "the entry", MAX_BODY + 1).removesuffix(b"\n")
    if entry is None:
        do = "give the entry's bytes with --entry FILE"
        raise UsageError("the proof has no entry in it", options.check, do)
    opened = check_proof(proof, entry, trust.keys)
    record = decode_entry(entry)
    if record.i != proof.index:
        raise PeerError("another entry", f"the bytes say they are entry {record.i}, not {proof.index}")
    return {
        "entry": proof.index,
        "kind": record.kind,
        "utc": stamp(int(record.utc_ns)),
        "origin": opened.checkpoint.origin,
        "size": opened.checkpoint.size,
        "witness": cosigned_by(proof.checkpoint, trust),
    }


def _checked_extension(options: argparse.Namespace, trust: TrustedKeys) -> dict[str, object]:
    old = _old(options.extends, trust)
    request = parse_request(read_given(options.check, "the proof", _MAX_CONSISTENCY))
    new = trust.keys.open(request.checkpoint).checkpoint
    if request.old != old.size:
        raise PeerError("another checkpoint", f"the proof starts at {request.old}, not at {old.size}")
    if old.size:
        verify_consistency(old.size, new.size, old.root, new.root, request.proof)
    elif request.proof:
        raise PeerError("consistency proof refused", "from nothing it is empty")
    return {
        "old": old.size,
        "size": new.size,
        "origin": new.origin,
        "witness": cosigned_by(request.checkpoint, trust),
    }


def _say(options: argparse.Namespace, facts: dict[str, object]) -> int:
    if options.json:
        print(json.dumps(facts))
        return 0 if facts["ok"] else 1
    printer = Printer(as_json=False, color=not options.no_color)
    if not facts["ok"]:
        printer.line(f"{printer.styled(NOT_VERIFIED, 'red')} {printable(str(facts['finding']))}")
        return 1
    witness = f"co-signed by {facts['witness']}" if facts["witness"] else "without a co-signature we know"
    log = f"{facts['origin']} of {facts['size']} entries"
    what = f"the log {log} extends the one of {facts.get('old')}"
    if "entry" in facts:
        what = f"entry {facts['entry']} ({facts['kind']}, {facts['utc']}) is in the log {log}"
    printer.line(f"{printer.styled('VERIFIED:', 'green')} {what}, {witness}")
    return 0
