"""`interlock audit tail|grep|show`: reading the log, whole or filtered, while the core writes or after.

A log of a million entries is read a page at a time: kind and order come from the store's indexes, a time
becomes a range of entry numbers first, and everything else is a scan that tells how far it is.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator

from appliance.audit.records import KINDS, Record
from appliance.audit.select import Filter, ModeTrack
from appliance.domain.errors import UsageError
from appliance.domain.mode import Mode
from appliance.runtime.audit_times import parse_moment
from appliance.runtime.audit_view import Damage, Judge, Printer, Scan, damage_error, open_log, read_record
from appliance.runtime.paths import Paths
from appliance.runtime.terminal import Terminal
from appliance.storage.log_query import StoredEntry
from appliance.storage.log_reader import LogReader

FOLLOW_S = 0.2
_KINDS = f"kinds are {', '.join(KINDS)}"
_TRY = "interlock audit tail"
_FILTERS = ("kind", "order", "mode", "reason", "source", "since", "until")

Found = Iterator[tuple[StoredEntry, Record | Damage]]


def read_filter(options: argparse.Namespace, now_ns: int) -> Filter:
    """The filter the options ask for. Raises UsageError naming the option."""
    kinds = frozenset(options.kind or ())
    if unknown := sorted(kinds - KINDS.keys()):
        raise UsageError(f"--kind {unknown[0]!r} is no kind of entry", _KINDS, _TRY)
    mode = (options.mode or "").upper()
    if mode and mode not in Mode.__members__:
        raise UsageError(f"--mode {options.mode!r} is no mode", f"modes are {', '.join(Mode.__members__)}")
    bounds = {}
    if options.since is not None:
        bounds["from_ns"] = parse_moment(options.since, now_ns, "--since")
    if options.until is not None:
        bounds["to_ns"] = parse_moment(options.until, now_ns, "--until")
    if "to_ns" in bounds and bounds.get("from_ns", bounds["to_ns"] - 1) >= bounds["to_ns"]:
        raise UsageError("--until is not after --since", f"{options.since} to {options.until}")
    return Filter(
        kinds=kinds,
        order=options.order or "",
        mode=mode,
        reason=options.reason or "",
        source=options.source or "",
        pattern=_pattern(options),
        **bounds,
    )


def _pattern(options: argparse.Namespace) -> re.Pattern[bytes] | None:
    text = getattr(options, "pattern", None)
    if text is None:
        return None
    try:
        return re.compile(text.encode(errors="surrogateescape"), re.IGNORECASE if options.ignore_case else 0)
    except (re.error, OverflowError, RecursionError) as error:
        do = r"quote what a pattern gives a meaning to, as in \."
        raise UsageError("the pattern is no regular expression", str(error), do) from error


class Search:
    """A filter over one log."""

    def __init__(self, reader: LogReader, wanted: Filter, terminal: Terminal) -> None:
        self._reader = reader
        self._wanted = wanted
        self._judging = Judge(reader)
        self._terminal = terminal
        self._modes = mode_track(reader) if wanted.mode else None

    def run(self, first: int = 0, stop: int | None = None, *, newest: bool = False) -> Found:
        """Entries [first, stop) that match, oldest first or `newest` first; damaged ones are told too."""
        first, stop = self._span(first, self._reader.size() if stop is None else stop)
        scan = Scan(self._terminal, max(0, stop - first))
        for page in self._pages(first, stop, newest):
            for entry in page:
                record = self._judge(entry)
                if record is not None:
                    scan.end()
                    yield entry, record
            scan.add(len(page))
        scan.end()

    def renew(self) -> None:
        """The log has grown: modes are read again."""
        if self._wanted.mode:
            self._modes = mode_track(self._reader)

    def _judge(self, entry: StoredEntry) -> Record | Damage | None:
        wanted = self._wanted
        if not wanted.may_match(entry.kind, entry.utc_ns, entry.body):
            return None
        if self._modes is not None and self._modes.at(entry.index) != wanted.mode:
            return None
        record = self._judging.read(entry)
        return record if isinstance(record, Damage) or wanted.matches(record) else None

    def _span(self, first: int, stop: int) -> tuple[int, int]:
        if (self._wanted.from_ns, self._wanted.to_ns) == (Filter().from_ns, Filter().to_ns):
            return first, stop
        low, high = self._reader.query.span(self._wanted.from_ns, self._wanted.to_ns)
        return max(first, low), min(stop, high)

    def _pages(self, first: int, stop: int, newest: bool) -> Iterator[list[StoredEntry]]:
        if self._wanted.order:
            about = [e for e in self._reader.query.about(self._wanted.order) if first <= e.index < stop]
            yield about[::-1] if newest else about
            return
        kinds = self._wanted.kinds
        kind = next(iter(kinds)) if len(kinds) == 1 else ""
        yield from self._reader.query.pages(first, stop, kind, newest=newest)


def mode_track(reader: LogReader) -> ModeTrack:
    """The modes of the whole log so far; a damaged entry tells none."""
    told = [
        record
        for kind in ("mode", "start")
        for entry in reader.entries_of_kind(kind)
        if isinstance(record := read_record(entry), Record)
    ]
    return ModeTrack(sorted(told, key=lambda record: record.i))


def run_tail(
    paths: Paths,
    options: argparse.Namespace,
    terminal: Terminal,
    wait: Callable[[float], None] = time.sleep,
) -> int:
    """The newest entries that match, oldest first; with --follow, also every later one until interrupted."""
    if options.count < 0:
        raise UsageError("--count is negative", str(options.count), "interlock audit tail -n 50")
    wanted = read_filter(options, time.time_ns())
    printer = _printer(options)
    reader = open_log(paths)
    try:
        search = Search(reader, wanted, terminal)
        size = reader.size()
        found = []
        if options.count:
            for each in search.run(0, size, newest=True):
                found.append(each)
                if len(found) == options.count:
                    break
        _print(printer, found[::-1])
        while options.follow:
            wait(FOLLOW_S)
            grown = reader.size()
            if grown > size:
                search.renew()
                _print(printer, search.run(size, grown))
                size = grown
    finally:
        reader.close()
    return _result(printer, bool(found) or not _asks(options))


def run_grep(paths: Paths, options: argparse.Namespace, terminal: Terminal) -> int:
    """Every entry that matches, oldest first; exit 1 if none does, as grep."""
    wanted = read_filter(options, time.time_ns())
    printer = _printer(options)
    reader = open_log(paths)
    try:
        found = _print(printer, Search(reader, wanted, terminal).run())
    finally:
        reader.close()
    return _result(printer, found > 0)


def run_show(paths: Paths, options: argparse.Namespace, terminal: Terminal) -> int:
    """One entry in full by its number; every entry about an order by its id; or all of one kind."""
    printer = _printer(options)
    reader = open_log(paths)
    try:
        count = 0
        if options.what.isascii() and options.what.isdigit():
            count = _show_one(reader, int(options.what), printer, as_json=options.json)
        elif options.what in KINDS:
            wanted = Filter(kinds=frozenset({options.what}))
            count = _print(printer, Search(reader, wanted, terminal).run())
        else:
            about, judge = reader.query.about(options.what), Judge(reader)
            count = _print(printer, ((entry, judge.read(entry)) for entry in about))
    finally:
        reader.close()
    if not count and not options.what.startswith("il-"):
        raise UsageError(f"{options.what!r} is no entry number, order id or kind", _KINDS, _TRY)
    return _result(printer, count > 0)


def _show_one(reader: LogReader, index: int, printer: Printer, *, as_json: bool) -> int:
    if index >= (size := reader.size()):
        last = f"the last one is {size - 1}" if size else "the log is empty"
        raise UsageError(f"there is no entry {index}", last, _TRY)
    for entry in reader.entries(index, index + 1):
        record = Judge(reader).read(entry)
        if as_json or isinstance(record, Damage):
            printer.entry(entry, record)
        else:
            printer.line(json.dumps(json.loads(entry.body), indent=2, sort_keys=True))
        return 1
    printer.damaged += 1
    printer.line(f"{index:>7} DAMAGED: it is missing from the store")
    return 1


def _printer(options: argparse.Namespace) -> Printer:
    return Printer(as_json=options.json, color=not options.no_color)


def _print(printer: Printer, found: Iterable[tuple[StoredEntry, Record | Damage]]) -> int:
    count = 0
    for entry, record in found:
        printer.entry(entry, record)
        count += 1
    printer.flush()
    return count


def _asks(options: argparse.Namespace) -> bool:
    return any(getattr(options, name) for name in _FILTERS)


def _result(printer: Printer, found: bool) -> int:
    if printer.damaged:
        raise damage_error(printer.damaged)
    return 0 if found else 1
