"""`interlock audit report --day`: a day of the log for whoever answers for it, as text or JSON."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator

from appliance.audit.day_report import DayReport, Event, report_day
from appliance.audit.records import Record
from appliance.audit.report import Report
from appliance.audit.select import printable
from appliance.domain.errors import UsageError
from appliance.runtime.audit_times import parse_moment
from appliance.runtime.audit_view import Damage, open_log, read_record, stamp
from appliance.runtime.cmd_audit import check_own, completeness_json, read_trust
from appliance.runtime.paths import Paths
from appliance.runtime.terminal import Terminal
from appliance.storage.log_reader import LogReader

DAY_NS = 86_400 * 10**9


def run_report(paths: Paths, options: argparse.Namespace, terminal: Terminal) -> int:
    """Orders, denials, modes, trips, acts, alerts and gaps of a UTC day, and whether the log verifies.

    Exit 1 if it does not, or if an entry of the day is damaged; a gap is told and no failure of the report.
    """
    from_ns = _day(options.day, time.time_ns())
    reader = open_log(paths)
    damaged: list[int] = []
    try:
        first, stop = reader.query.span(from_ns, from_ns + DAY_NS)
        records = _records(reader, first, stop, from_ns, damaged)
        day = report_day(records, _told_before(reader, first))
    finally:
        reader.close()
    checked = check_own(paths, read_trust(paths, None), lambda _done, _total: None)
    if options.json:
        print(json.dumps(_as_json(from_ns, day, checked, damaged)))
    else:
        for line in _lines(from_ns, day, checked, damaged, terminal):
            print(line)
    return 0 if checked.ok and not damaged else 1


def _day(text: str | None, now_ns: int) -> int:
    """Midnight UTC of the day named; of today without one."""
    moment = now_ns if text is None else parse_moment(text, now_ns, "--day")
    if not 0 <= moment < 2**63 - DAY_NS:
        raise UsageError("--day is no day", str(text), "interlock audit report --day 2026-11-21")
    return moment // DAY_NS * DAY_NS


def _records(
    reader: LogReader, first: int, stop: int, from_ns: int, damaged: list[int]
) -> Iterator[Record]:
    """Those dated inside the day: a clock that stepped leaves others between them."""
    for page in reader.query.pages(first, stop):
        for entry in page:
            if from_ns <= entry.utc_ns < from_ns + DAY_NS:
                record = read_record(entry)
                if isinstance(record, Damage):
                    damaged.append(record.index)
                else:
                    yield record


def _told_before(reader: LogReader, first: int) -> dict[str, object] | None:
    found = reader.query.last_before("alert", first)
    record = read_record(found) if found is not None else None
    return record.data if isinstance(record, Record) else None


def _lines(
    from_ns: int, day: DayReport, checked: Report, damaged: list[int], terminal: Terminal
) -> list[str]:
    span = f"entries {day.first} to {day.last}, {day.entries} of them" if day.entries else "no entry"
    kept = f"{checked.signed} entries signed, {checked.witnessed} witnessed, {checked.mirrored} mirrored"
    unanswered = f", {day.unanswered} without a verdict of this day" if day.unanswered else ""
    lines = [
        f"day        {stamp(from_ns)[:10]} UTC: {span}",
        f"log        {checked.origin}, {kept}",
        f"asked      {_sums(day.intents)}{unanswered}",
        f"approved   {_sums(day.approved)}",
        f"denied     {_sums(day.denied)}",
        f"orders     {_sums(day.orders)} (last state of each)",
        f"alerts     {_sums(day.alerts)}",
        f"holds      {_sums(day.holds)}",
        f"breakers   {_sums(day.breakers)}",
        f"others     {_sums(day.counted)}",
    ]
    lines += [_event(event) for event in day.events]
    lines += [f"  and {day.left_out} more (interlock audit grep --since …)"] if day.left_out else []
    gaps = [gap for gap in checked.completeness.gaps if day.first <= gap.index <= day.last]
    lines.append(f"gaps       {len(gaps) or 'none'}")
    lines += [f"  entry {gap.index}: {printable(gap.text)}" for gap in gaps]
    lines += [f"  entry {index} is damaged" for index in damaged]
    if checked.ok and not damaged:
        return [*lines, terminal.style("VERIFIED: the whole log agrees with its signatures", "green")]
    wrong = [f"  {finding}" for finding in checked.findings]
    return [*lines, terminal.style("NOT VERIFIED:", "red"), *wrong]


def _event(event: Event) -> str:
    told = " ".join(f"{name}={text}" for name, text in event.told)
    return f"  {event.index:>7} {stamp(event.utc_ns)} {printable(event.kind)} {printable(told)}"


def _sums(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {printable(name) or 'unnamed'}" for name, number in counts.items()) or "none"


def _as_json(from_ns: int, day: DayReport, checked: Report, damaged: list[int]) -> dict[str, object]:
    return {
        "day": stamp(from_ns)[:10],
        "entries": day.entries, "first": day.first, "last": day.last,
        "intents": day.intents, "unanswered": day.unanswered,
        "approved": day.approved, "denied": day.denied, "orders": day.orders,
        "alerts": day.alerts, "holds": day.holds, "breakers": day.breakers, "others": day.counted,
        "events": [
            {"entry": each.index, "utc_ns": str(each.utc_ns), "kind": each.kind, **dict(each.told)}
            for each in day.events
        ],
        "left_out": day.left_out,
        "damaged": damaged,
        "verified": checked.ok and not damaged,
        "findings": [str(finding) for finding in checked.findings],
        "origin": checked.origin, "root": checked.root, "signed": checked.signed,
        "witnessed": checked.witnessed, "mirrored": checked.mirrored,
        "completeness": completeness_json(checked.completeness),
    }  # fmt: skip
