"""`interlock audit tail|show|verify` (`interlock verify` is the same): reading and checking the log."""

from __future__ import annotations

import argparse
import json
import time

from appliance.audit.records import KINDS, Record, decode_entry
from appliance.audit.report import Report
from appliance.audit.verify import Trust, verify
from appliance.domain.errors import UsageError
from appliance.domain.ids import OrderId
from appliance.runtime.paths import Paths, need_state
from appliance.runtime.terminal import Terminal
from appliance.storage.keys import read_key_text
from appliance.storage.log_reader import LogReader, StoredEntry

NOT_VERIFIED = "NOT VERIFIED:"
_SHOWN = 110


def run_verify(paths: Paths, options: argparse.Namespace, terminal: Terminal) -> int:
    """Checks everything and says what was checked; exit 1 and the place if something is wrong."""
    need_state(paths)
    reader = LogReader(paths.log)
    trust = Trust(
        log=read_key_text(paths.trust / "log.vkey"), witness=read_key_text(paths.trust / "witness.vkey")
    )
    started = time.monotonic()

    def told(done: int, total: int) -> None:
        if terminal.live and not options.quiet and done % 8192 == 0:
            terminal.say(f"  {done}/{total} entries")

    try:
        report = verify(reader, trust, told)
    finally:
        reader.close()
    if options.json:
        print(json.dumps(_as_json(report)))
    else:
        for line in _said(report, time.monotonic() - started, terminal):
            print(line)
    return 0 if report.ok else 1


def run_tail(paths: Paths, options: argparse.Namespace, _terminal: Terminal) -> int:
    """The newest entries, oldest first, one line each."""
    need_state(paths)
    reader = LogReader(paths.log)
    try:
        size = reader.size()
        for entry in reader.entries(max(0, size - options.count), size):
            _print_line(entry, as_json=options.json)
    finally:
        reader.close()
    return 0


def run_show(paths: Paths, options: argparse.Namespace, _terminal: Terminal) -> int:
    """One entry in full by its number; every entry about an order by its id; or all of one kind."""
    need_state(paths)
    reader = LogReader(paths.log)
    try:
        found = list(_select(reader, options.what))
    finally:
        reader.close()
    for entry in found:
        if options.json or len(found) > 1:
            _print_line(entry, as_json=options.json)
        else:
            print(json.dumps(json.loads(entry.body), indent=2, sort_keys=True))
    return 0 if found else 1


def _select(reader: LogReader, what: str) -> list[StoredEntry]:
    if what.isdigit():
        index = int(what)
        return list(reader.entries(index, index + 1)) if index < reader.size() else []
    if what in KINDS:
        return list(reader.entries_of_kind(what))
    found = list(reader.entries_about(OrderId(what)))
    if not found and not what.startswith("il-"):
        kinds = ", ".join(KINDS)
        raise UsageError(f"{what!r} is no entry number, order id or kind", f"kinds are {kinds}")
    return found


def _print_line(entry: StoredEntry, *, as_json: bool) -> None:
    if as_json:
        print(entry.body.decode("utf-8"))
        return
    record = decode_entry(entry.body)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(int(record.utc_ns) // 10**9))
    print(f"{entry.index:>7} {stamp}Z {record.kind:<13} {_summary(record)}"[: _SHOWN + 40])


def _summary(record: Record) -> str:
    pairs = (f"{key}={value}" for key, value in record.data.items() if not isinstance(value, dict | list))
    return " ".join(pairs)


def _said(report: Report, took_s: float, terminal: Terminal) -> list[str]:
    lines = [
        f"log        {report.origin}",
        f"entries    {report.entries} read, each canonical, numbered and chained backwards",
        f"signed     {report.signed} entries under one checkpoint, root {report.root[:16]}…",
        f"not yet    {report.unsigned} entries after it (the next checkpoint covers them)",
        f"witnessed  {report.witnessed} entries" + (f" by {report.witness}" if report.witness else ""),
        f"files      {report.bundles} bundles, {sum(report.tiles)} tiles on {len(report.tiles)} levels",
        "sources    " + ", ".join(f"{name}: {count}" for name, count in report.sources),
        f"took       {took_s:.2f} s",
    ]
    if report.ok:
        return [*lines, terminal.style("VERIFIED: everything agrees", "green")]
    wrong = [f"  {finding}" for finding in report.findings]
    more = [f"  and {report.more} more"] if report.more else []
    return [*lines, terminal.style(NOT_VERIFIED, "red"), *wrong, *more]


def _as_json(report: Report) -> dict[str, object]:
    return {
        "ok": report.ok,
        "origin": report.origin,
        "entries": report.entries,
        "signed": report.signed,
        "unsigned": report.unsigned,
        "witnessed": report.witnessed,
        "root": report.root,
        "findings": [str(finding) for finding in report.findings],
    }
