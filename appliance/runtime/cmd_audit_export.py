"""`interlock audit export`: a range of time as a signed bundle, and the check of one, offline."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from pathlib import Path

from msgspec.structs import replace

from appliance.audit import bundle
from appliance.audit.bundle import Manifest, encode_sums, needed_tiles, sha256
from appliance.audit.bundle_check import BundleKeys, BundleReport, check_bundle
from appliance.audit.bundle_readme import readme
from appliance.audit.notes import NOTE_KEY, Note, SigningKey
from appliance.audit.select import Filter, printable
from appliance.domain.errors import CannotCreateError, ConfigError, PeerError, StoreError, UsageError
from appliance.runtime.audit_times import parse_moment
from appliance.runtime.audit_trust import EXPORT, Head, TrustedKeys, best_head, cosigned_by, read_trust
from appliance.runtime.audit_view import VERIFY, Damage, Printer, Scan, open_log, read_record, stamp
from appliance.runtime.bundle_files import NewBundle, cannot_create, open_bundle
from appliance.runtime.key_table import revocations
from appliance.runtime.key_uses import record_use
from appliance.runtime.operator_key import operator_key
from appliance.runtime.paths import Paths, need_state
from appliance.runtime.terminal import Terminal
from appliance.storage.durable import create_file
from appliance.storage.keys import create_key, read_signing_key
from appliance.storage.log_reader import LogReader

EXPORT_STEM = "export"
NOT_VERIFIED = "NOT VERIFIED:"
_MAKE_KEY = "interlock audit export --make-key"
_EXAMPLE = "interlock audit export --from 2026-11-01 --to 2026-12-01 --out november.zip"


def run_export(paths: Paths, options: argparse.Namespace, terminal: Terminal) -> int:
    """Makes a bundle, checks one (exit 1 if it is not whole and genuine), or makes the key."""
    if sum((options.make_key, options.out is not None, options.check is not None)) != 1:
        raise UsageError("one of --out, --check and --make-key is needed", "", _EXAMPLE)
    if options.make_key:
        return _make_key(paths, terminal)
    if options.check is not None:
        return _check(paths, options, terminal)
    return _make(paths, options, terminal)


def make_export_key(paths: Paths, origin: str) -> bool:
    """The key that signs bundles and nothing else, and its public half among the trusted ones.

    Makes what is missing; False if nothing was. A key is never replaced.
    """
    private, trusted, made = paths.keys / f"{EXPORT_STEM}.key", paths.trust / EXPORT, False
    if not private.exists():
        create_key(paths.keys, EXPORT_STEM, origin + bundle.EXPORT_NAME, NOTE_KEY)
        made = True
    if not trusted.exists():
        create_file(trusted, f"{read_signing_key(private).verifier().vkey}\n".encode())
        made = True
    return made


def _make_key(paths: Paths, terminal: Terminal) -> int:
    need_state(paths)
    if not make_export_key(paths, read_trust(paths, None).log.name):
        why = f"there is one already ({paths.keys})"
        raise CannotCreateError("the export key was not made", why, _EXAMPLE)
    terminal.say(f"made {paths.keys / EXPORT_STEM}.key; give {paths.trust / EXPORT} to your auditor")
    return 0


def _make(paths: Paths, options: argparse.Namespace, terminal: Terminal) -> int:
    now_ns = time.time_ns()
    from_ns, to_ns = Filter().from_ns, now_ns
    if options.since is not None:
        from_ns = parse_moment(options.since, now_ns, "--from")
    if options.until is not None:
        to_ns = parse_moment(options.until, now_ns, "--to")
    if from_ns >= to_ns:
        raise UsageError("--to is not after --from", f"{options.since} to {options.until}", _EXAMPLE)
    reader = open_log(paths)
    try:
        trust = read_trust(paths, None)
        key = read_signing_key(paths.keys / f"{EXPORT_STEM}.key", _MAKE_KEY)
        if trust.export != key.verifier():
            why = f"the key auditors are given is another one ({paths.trust / EXPORT})"
            raise ConfigError("the export key cannot be used", why, "put its own export.vkey there")
        _need_unrevoked(reader, paths, key)
        head, facts = _range(reader, trust, from_ns, to_ns, terminal)
        new = NewBundle(Path(options.out))
        try:
            with cannot_create(Path(options.out)):
                _fill(new.directory, reader, head, facts, trust, key, terminal)
            _prove(new.directory, trust, key)
            range_ = {"first": facts.first, "stop": facts.stop, "size": facts.size}
            record_use(paths.key_uses, EXPORT_STEM, key.verifier(), facts.made_ns, range_)
            new.finish()
        finally:
            new.discard()
    finally:
        reader.close()
    terminal.say(f"wrote {options.out}: entries {facts.first} to {facts.stop - 1} of {facts.size}")
    return 0


def _need_unrevoked(reader: LogReader, paths: Paths, key: SigningKey) -> None:
    """An auditor would be right to refuse what a revoked key signs now."""
    gone = {each.key for each in revocations(reader, operator_key(paths))}
    if key.verifier() in gone:
        why = f"it is revoked ({paths.keys / EXPORT_STEM}.key)"
        do = f"move it and {paths.trust / EXPORT} away; {_MAKE_KEY}"
        raise ConfigError("the export key cannot be used", why, do)


def _range(
    reader: LogReader, trust: TrustedKeys, from_ns: int, to_ns: int, terminal: Terminal
) -> tuple[Head, Manifest]:
    """The head to prove against, and what the manifest will say."""
    first, stop = reader.query.span(from_ns, to_ns)
    head = best_head(reader, trust, stop)
    left, stop = max(0, stop - head.size), min(stop, head.size)
    if first >= stop:
        why = f"{stamp(from_ns)} to {stamp(to_ns)}; the checkpoint covers {head.size} entries"
        raise UsageError("there is no signed entry in that time", why, "interlock audit tail")
    if left:
        terminal.say(f"{left} entries are newer than the checkpoint and not in it: export again in a second")
    witness = cosigned_by(head.note, trust)
    if not witness and trust.witness is not None:
        terminal.say("the witness has not co-signed all of it yet: export again later to have that too")
    checkpoint = head.opened.checkpoint
    return head, Manifest(
        origin=checkpoint.origin, first=first, stop=stop, from_ns=from_ns, to_ns=to_ns, outside=0,
        made_ns=time.time_ns(), size=head.size, root=checkpoint.root, sums="",
        witness=trust.witness.name if witness and trust.witness is not None else "",
    )  # fmt: skip


def _fill(
    directory: Path, reader: LogReader, head: Head, facts: Manifest, trust: TrustedKeys, key: SigningKey,
    terminal: Terminal,
) -> None:  # fmt: skip
    """Every file of the bundle, by name: nothing is copied because it lies somewhere."""
    sums: dict[str, bytes] = {}

    def put(name: str, data: bytes) -> None:
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        sums[name] = sha256(data)

    sums[bundle.ENTRIES], outside = _write_entries(directory / bundle.ENTRIES, reader, facts, terminal)
    facts = replace(facts, outside=outside)
    for tile in needed_tiles(facts.first, facts.stop, facts.size):
        put(tile.path, reader.content(tile))
    put(bundle.HEAD, head.note)
    put(bundle.LOG_KEY, f"{trust.keys.check(head.opened).vkey}\n".encode())
    if trust.rotations:
        put(bundle.ROTATIONS, b"".join(trust.rotations))
    put(bundle.EXPORT_KEY, f"{key.verifier().vkey}\n".encode())
    if trust.witness is not None:
        put(bundle.WITNESS_KEY, f"{trust.witness.vkey}\n".encode())
    told = readme(facts, _when(facts.from_ns), _when(facts.to_ns), rotated=bool(trust.rotations))
    put(bundle.README, told.encode())
    listed = encode_sums(sums)
    put(bundle.SUMS, listed)
    text = replace(facts, sums=sha256(listed).hex()).text
    put(bundle.MANIFEST, Note(text, (key.sign(text),)).encode())


def _write_entries(
    target: Path, reader: LogReader, facts: Manifest, terminal: Terminal
) -> tuple[bytes, int]:
    """The entries' file; (its SHA-256, how many are dated outside). Raises StoreError for a damaged entry."""
    digest, outside, at = hashlib.sha256(), 0, facts.first
    scan = Scan(terminal, facts.stop - facts.first)
    with target.open("wb") as file:
        for page in reader.query.pages(facts.first, facts.stop):
            for entry in page:
                record = read_record(entry)
                if isinstance(record, Damage) or entry.index != at:
                    raise StoreError(f"entry {at} is damaged or missing", "nothing was exported", VERIFY)
                line = entry.body + b"\n"
                file.write(line)
                digest.update(line)
                outside += not facts.from_ns <= int(record.utc_ns) < facts.to_ns
                at += 1
            scan.add(len(page))
        file.flush()
        os.fsync(file.fileno())
    scan.end()
    return digest.digest(), outside


def _prove(directory: Path, trust: TrustedKeys, key: SigningKey) -> None:
    """A bundle that its own check refuses is not given away."""
    try:
        with open_bundle(directory) as files:
            check_bundle(files, BundleKeys(trust.log, key.verifier(), trust.witness))
    except PeerError as error:
        why = f"{error.what}: {error.why}; nothing was exported"
        raise StoreError("the log is not what was signed", why, VERIFY) from error


def _check(paths: Paths, options: argparse.Namespace, terminal: Terminal) -> int:
    trust = read_trust(paths, options.trust)
    if trust.export is None:
        why = "its key signs the manifest"
        raise ConfigError("there is no export.vkey to check against", why, "ask the owner for it")
    scan = Scan(terminal, 0)
    try:
        with open_bundle(Path(options.check)) as files:
            report = check_bundle(files, BundleKeys(trust.log, trust.export, trust.witness), scan.add)
    except PeerError as error:
        return _refused(options, f"{error.what}: {error.why}")
    finally:
        scan.end()
    if options.json:
        print(json.dumps({"ok": True} | _as_json(report)))
        return 0
    printer = Printer(as_json=False, color=not options.no_color)
    for line in _said(report):
        printer.line(line)
    printer.line(printer.styled("VERIFIED: every file, entry and signature agrees", "green"))
    return 0


def _refused(options: argparse.Namespace, finding: str) -> int:
    if options.json:
        print(json.dumps({"ok": False, "finding": finding}))
    else:
        printer = Printer(as_json=False, color=not options.no_color)
        printer.line(f"{printer.styled(NOT_VERIFIED, 'red')} {printable(finding)}")
    return 1


def _said(report: BundleReport) -> list[str]:
    facts = report.manifest
    seen = "by nobody we trust"
    if report.cosigned_s:
        seen = f"by {facts.witness} at {stamp(report.cosigned_s * 10**9)}"
    return [
        f"log        {facts.origin}",
        f"entries    {facts.first} to {facts.stop - 1}: {report.entries}, of a log of {facts.size}",
        f"time       {_when(facts.from_ns)} to {_when(facts.to_ns)}; {facts.outside} dated outside",
        f"made       {stamp(facts.made_ns)}",
        f"witnessed  {seen}",
        "sources    " + ", ".join(f"{name}: {count}" for name, count in report.sources),
    ]


def _as_json(report: BundleReport) -> dict[str, object]:
    facts = report.manifest
    return {
        "origin": facts.origin,
        "first": facts.first,
        "stop": facts.stop,
        "size": facts.size,
        "root": facts.root.hex(),
        "outside": facts.outside,
        "witness": facts.witness if report.cosigned_s else "",
        "sources": dict(report.sources),
    }


def _when(utc_ns: int) -> str:
    return "the beginning" if utc_ns == Filter().from_ns else stamp(utc_ns)
