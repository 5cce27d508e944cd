"""`interlock audit verify` (`interlock verify` is the same): checking the whole log."""

from __future__ import annotations

import argparse
import json
import time

from appliance.audit.report import Report
from appliance.audit.segment import SEGMENT
from appliance.audit.verify import KeyText, Trust, verify
from appliance.runtime.operator_key import operator_key
from appliance.runtime.paths import Paths, need_state
from appliance.runtime.terminal import Terminal
from appliance.storage.keys import read_key_text
from appliance.storage.log_reader import LogReader

NOT_VERIFIED = "NOT VERIFIED:"


def run_verify(paths: Paths, options: argparse.Namespace, terminal: Terminal) -> int:
    """Checks everything and says what was checked; exit 1 and the place if something is wrong."""
    need_state(paths)
    reader = LogReader(paths.log)
    operator = operator_key(paths)
    trust = Trust(
        log=read_key_text(paths.trust / "log.vkey"),
        witness=read_key_text(paths.trust / "witness.vkey"),
        operator=KeyText(str(paths.guard_config), operator.vkey) if operator else None,
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


def _said(report: Report, took_s: float, terminal: Terminal) -> list[str]:
    lines = [
        f"log        {report.origin}",
        f"entries    {report.entries} read, each canonical, numbered and chained backwards",
        *_keys(report),
        f"signed     {report.signed} entries under one checkpoint, root {report.root[:16]}…",
        f"not yet    {report.unsigned} entries after it (the next checkpoint covers them)",
        f"witnessed  {report.witnessed} entries" + (f" by {report.witness}" if report.witness else ""),
        f"files      {report.bundles} bundles, {sum(report.tiles)} tiles on {len(report.tiles)} levels",
        f"sealed     {report.sealed} entries in {report.sealed // SEGMENT} segments",
        "sources    " + ", ".join(f"{name}: {count}" for name, count in report.sources),
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


def _as_json(report: Report) -> dict[str, object]:
    return {
        "ok": report.ok,
        "origin": report.origin,
        "entries": report.entries,
        "signed": report.signed,
        "unsigned": report.unsigned,
        "witnessed": report.witnessed,
        "sealed": report.sealed,
        "root": report.root,
        "keys": [
            {"vkey": era.key.vkey, "first": era.first, "last": era.last, "revoked": era.revoked}
            for era in report.keys
        ],
        "remarks": list(report.remarks),
        "findings": [str(finding) for finding in report.findings],
    }
