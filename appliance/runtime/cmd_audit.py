"""`interlock audit verify` (`interlock verify` is the same) and `audit gaps`: checking the whole log.

`verify` answers whether what is there is what was written, and the exit code is for that alone: a core reads
it at its start and trips when it says no. What was never written is another question; `gaps` answers it,
`verify --complete` both.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from appliance.audit.completeness import Completeness, Completing, Gap
from appliance.audit.records import Record
from appliance.audit.report import Report
from appliance.audit.segment import SEGMENT
from appliance.audit.select import printable
from appliance.audit.verify import COSIGNED, KeyText, Progress, Trust, verify
from appliance.audit.verify_files import LogReader
from appliance.domain.errors import UsageError
from appliance.runtime.audit_view import Damage, Scan, damage_error, open_log, read_record, stamp
from appliance.runtime.operator_key import operator_key
from appliance.runtime.owed import unrecorded
from appliance.runtime.paths import Paths, need_log, need_state
from appliance.runtime.terminal import Terminal
from appliance.storage.durable import read_file
from appliance.storage.keys import read_key_text
from appliance.storage.log_reader import LogReader as StoredLog
from appliance.storage.tree_files import TreeFiles, size_of

NOT_VERIFIED = "NOT VERIFIED:"
_GAPS = "interlock audit gaps"


def run_verify(paths: Paths, options: argparse.Namespace, terminal: Terminal) -> int:
    """Checks everything and says what was checked; exit 1 and the place if something is wrong."""
    started = time.monotonic()

    def told(done: int, total: int) -> None:
        if terminal.live and not options.quiet and done % 8192 == 0:
            terminal.say(f"  {done}/{total} entries")

    trust = read_trust(paths, options.trust)
    report = _check_copy(paths, options, trust, told) if options.mirror else check_own(paths, trust, told)
    if options.json:
        print(json.dumps(_as_json(report)))
    else:
        for line in _said(report, time.monotonic() - started, terminal):
            print(line)
    return 0 if report.ok and (report.completeness.ok or not options.complete) else 1


def run_gaps(paths: Paths, options: argparse.Namespace, terminal: Terminal) -> int:
    """What is missing from the log as far as it can tell, and what the rings still owe it; exit 1 for any.

    No signature is looked at: that is `verify`'s. Raises StoreError at the end if an entry was no record.
    """
    reader = open_log(paths)
    completing, damaged = Completing(), 0
    try:
        scan = Scan(terminal, reader.size())
        for page in reader.query.pages(0, reader.size()):
            for entry in page:
                record = read_record(entry)
                if isinstance(record, Record):
                    completing.add(record)
                damaged += isinstance(record, Damage)
            scan.add(len(page))
        scan.end()
    finally:
        reader.close()
    found = completing.result()
    owed = unrecorded(paths)
    if options.json:
        told = {"ok": found.ok and not owed, **completeness_json(found), "unrecorded": list(owed)}
        print(json.dumps(told))
    else:
        for line in completeness_lines(found):
            print(line)
        for act in owed:
            print(f"  not in the log yet: {printable(act)}")
    if damaged:
        raise damage_error(damaged)
    return 0 if found.ok and not owed else 1


def read_trust(paths: Paths, given: str | None) -> Trust:
    """The keys in `given`, else this appliance's, as texts for `verify`."""
    if given is None:
        need_state(paths)
    directory = paths.trust if given is None else Path(given)
    keys = {name: directory / f"{name}.vkey" for name in ("witness", "mirror")}
    there = {name: read_key_text(path) for name, path in keys.items() if path.exists()}
    if given is None:  # both were made with the log: a witness's key that is gone is no smaller trust
        there["witness"] = read_key_text(keys["witness"])
    operator = operator_key(paths) if given is None else None
    if operator is not None:
        there["operator"] = KeyText(str(paths.guard_config), operator.vkey)
    return Trust(log=read_key_text(directory / "log.vkey"), **there)


def check_own(paths: Paths, trust: Trust, told: Progress) -> Report:
    """The report about the log of this appliance."""
    need_log(paths)
    reader = StoredLog(paths.log)
    try:
        return verify(reader, trust, told)
    finally:
        reader.close()


def _check_copy(paths: Paths, options: argparse.Namespace, trust: Trust, told: Progress) -> Report:
    """A mirror's copy. The box's own co-signed checkpoint, where there is one here and the copy reaches so
    far, must have the copy's root."""
    directory = Path(options.mirror)
    if not (directory / "checkpoint").is_file():
        why = f"there is no checkpoint in it ({directory})"
        raise UsageError("that is no copy of a log", why, "interlock collector --export DIR, then name DIR/…")
    if trust.mirror is None:
        why = "mirror.vkey is missing"
        raise UsageError("there is no key of a mirror to check against", why, "name its place: --trust DIR")
    copy = TreeFiles(directory)
    cosigned = read_file(paths.log / COSIGNED) if options.trust is None else None
    if cosigned is not None and 0 < size_of(cosigned) <= copy.size():
        copy = TreeFiles(directory, cosigned)
    reader: LogReader = copy
    return verify(reader, trust, told)


def _said(report: Report, took_s: float, terminal: Terminal) -> list[str]:
    lines = [
        f"log        {report.origin}",
        f"entries    {report.entries} read, each canonical, numbered and chained backwards",
        *_keys(report),
        f"signed     {report.signed} entries under one checkpoint, root {report.root[:16]}…",
        f"not yet    {report.unsigned} entries after it (the next checkpoint covers them)",
        f"witnessed  {report.witnessed} entries" + (f" by {report.witness}" if report.witness else ""),
        f"mirrored   {report.mirrored} entries" + (f" by {report.mirror}" if report.mirror else ""),
        f"files      {report.bundles} bundles, {sum(report.tiles)} tiles on {len(report.tiles)} levels",
        f"sealed     {report.sealed} entries in {report.sealed // SEGMENT} segments",
        "sources    " + ", ".join(f"{name}: {count}" for name, count in report.sources),
        *completeness_lines(report.completeness),
        f"took       {took_s:.2f} s",
    ]
    lines += [f"note       {remark}" for remark in report.remarks]
    if report.ok:
        return [*lines, terminal.style("VERIFIED: everything agrees", "green")]
    wrong = [f"  {finding}" for finding in report.findings]
    more = [f"  and {report.more} more"] if report.more else []
    return [*lines, terminal.style(NOT_VERIFIED, "red"), *wrong, *more]


def _keys(report: Report) -> list[str]:
    """One line, or one for each key where there were several."""
    lines = []
    for era in report.keys:
        until = "in force" if era.last is None else f"to {era.last} entries"
        gone = ", REVOKED" if era.revoked else ""
        lines.append(f"key        {era.key.key_id.hex()}, checkpoints from {era.first} {until}{gone}")
    return lines


def completeness_lines(found: Completeness) -> list[str]:
    """The section for people: one line if nothing is missing, then one for each gap."""
    looked = f"{found.beats} heartbeats, the longest silence {found.longest_ns / 1e9:.1f} s"
    if found.unjudged:
        looked += f"; {found.unjudged} starts do not say how often one is due"
    if found.repaid:
        looked += f"; {found.repaid} acts recorded after they had left"
    if found.ok:
        return [f"complete   no gap ({looked})"]
    count = len(found.gaps) + found.more
    lines = [f"complete   {count} {'gap' if count == 1 else 'gaps'} ({looked}; {_GAPS})"]
    lines += [f"  entry {gap.index}: {gap.what}: {printable(gap.text)}{_between(gap)}" for gap in found.gaps]
    return lines + ([f"  and {found.more} more"] if found.more else [])


def _between(gap: Gap) -> str:
    timed = gap.what in ("heartbeat", "stop")
    return f" ({stamp(gap.first)} to {stamp(gap.last)})" if timed else ""


def completeness_json(found: Completeness) -> dict[str, object]:
    """The section for programs; nanoseconds are strings."""
    return {
        "gaps": [
            {
                "what": gap.what, "entry": gap.index, "source": gap.source, "from": str(gap.first),
                "to": str(gap.last), "text": gap.text,
            }
            for gap in found.gaps
        ],
        "more": found.more,
        "running": [[source, index, str(utc_ns)] for source, index, utc_ns in found.running],
        "heartbeats": found.beats,
        "longest_ns": str(found.longest_ns),
        "unjudged": found.unjudged,
        "repaid": found.repaid,
    }  # fmt: skip


def _as_json(report: Report) -> dict[str, object]:
    return {
        "ok": report.ok,
        "origin": report.origin,
        "entries": report.entries,
        "signed": report.signed,
        "unsigned": report.unsigned,
        "witnessed": report.witnessed,
        "sealed": report.sealed,
        "mirrored": report.mirrored,
        "root": report.root,
        "keys": [
            {"vkey": era.key.vkey, "first": era.first, "last": era.last, "revoked": era.revoked}
            for era in report.keys
        ],
        "remarks": list(report.remarks),
        "findings": [str(finding) for finding in report.findings],
        "completeness": completeness_json(report.completeness),
    }
