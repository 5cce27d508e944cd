"""`interlock audit why ORDER_ID|N`: who decided what, on which data, under which limits, and what came of it.

As a tree of text, as JSON, or with --svg as a picture. Reads only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from appliance.audit.chain_svg import svg
from appliance.audit.chain_text import text_lines
from appliance.audit.chain_words import Story, tell
from appliance.audit.outcome import Trade, outcome_of, trade_of
from appliance.audit.provenance import WINDOW, Chain, Link, chain_of_entry, chain_of_order
from appliance.audit.records import Record, entry_bytes
from appliance.audit.select import Filter
from appliance.domain.errors import PeerError, UsageError
from appliance.runtime.audit_view import Damage, Judge, Printer, open_log, read_record, stamp
from appliance.runtime.cmd_audit_read import mode_track
from appliance.runtime.paths import Paths
from appliance.runtime.terminal import Terminal
from appliance.storage.durable import create_file
from appliance.storage.log_query import StoredEntry
from appliance.storage.log_reader import LogReader

_STEP = 4096
_CAUSES = b'{"causes":['


class ChainReader:
    """The log as `audit.provenance` reads it."""

    def __init__(self, reader: LogReader) -> None:
        self._reader = reader
        self._judge = Judge(reader)

    def size(self) -> int:
        """Number of entries."""
        return self._reader.size()

    def record(self, index: int) -> Record | PeerError | None:
        """One entry."""
        return next((self._read(entry) for entry in self._reader.entries(index, index + 1)), None)

    def about(self, order_id: str) -> Iterator[Record | PeerError]:
        """Entries of an order and its legs."""
        return map(self._read, self._reader.query.about(order_id))

    def citing(self, first: int, stop: int) -> Iterator[Link]:
        """Entries that name a cause; one whose causes are no numbers names none."""
        for start in range(first, stop, _STEP):
            for index, kind, head in self._reader.query.citing(start, min(start + _STEP, stop)):
                with contextlib.suppress(ValueError):
                    yield Link(index, kind, tuple(map(int, head[len(_CAUSES) : -1].split(b","))))

    def last_before(self, kind: str, index: int) -> Record | PeerError | None:
        """The newest of a kind."""
        found = self._reader.query.last_before(kind, index)
        return None if found is None else self._read(found)

    def _read(self, entry: StoredEntry) -> Record | PeerError:
        found = self._judge.read(entry)
        if isinstance(found, Damage):
            return PeerError("not an audit entry", f"entry {found.index}: {found.why}")
        return found


def run_why(paths: Paths, options: argparse.Namespace, terminal: Terminal) -> int:
    """Prints the tree; exit 1 if something of it is missing or damaged."""
    reader = open_log(paths)
    try:
        chain = find_chain(ChainReader(reader), options.what, deep=options.deep)
        outcome = _outcome(reader, chain, options.what)
        mode = mode_track(reader).at(chain.decided)
    finally:
        reader.close()
    story = tell(chain, options.what, outcome, stamp, mode)
    times = {index: int(record.utc_ns) for index, record in chain.records.items()}
    if options.svg is not None:
        target = Path(options.svg)
        create_file(target.absolute(), svg(story, stamp, times).encode())
        terminal.say(f"wrote {target}")
    elif options.json:
        print(json.dumps(_as_json(chain, story, outcome, mode)))
    else:
        printer = Printer(as_json=False, color=not options.no_color)
        for line, style in text_lines(story, stamp, times):
            printer.line(printer.styled(line, style))
        printer.flush()
    return 1 if chain.missing or any("damaged" in note for note in chain.notes) else 0


def find_chain(log: ChainReader, what: str, *, deep: bool) -> Chain:
    """The chain of an entry number or order id. Raises UsageError if the log has neither."""
    window = None if deep else WINDOW
    if what.isascii() and what.isdigit():
        size = log.size()
        chain = chain_of_entry(log, int(what), window) if int(what) < size else None
        why = f"the last one is {size - 1}"
    else:
        chain = chain_of_order(log, what, window)
        why = "give an order id, as `interlock audit tail --kind verdict` shows them, or an entry number"
    if chain is None:
        raise UsageError(f"there is no entry or order {what!r}", why, "interlock audit tail --kind verdict")
    return chain


def _outcome(reader: LogReader, chain: Chain, what: str) -> str:
    """Of the order that was asked about; of an entry number, of the first order that traded in its chain."""
    fills = [record for record in chain.records.values() if record.kind == "fill"]
    if not what.isdigit():
        fills = [record for record in fills if record.data.get("order_id") == what]
    if not fills:
        judged = any(record.kind == "verdict" for record in chain.records.values())
        return "nothing was traded" if judged else ""
    own = fills[0]
    order = str(own.data.get("order_id"))
    trades = list(_trades(reader, own))
    if not trades:
        return "the fills do not tell enough"
    text = outcome_of(order, trades).text(len(str(own.data.get("qty")).partition(".")[2]))
    return text if order == what else f"{order}: {text}"


def _trades(reader: LogReader, own: Record) -> Iterator[Trade]:
    """Fills of the same source and instrument, from the beginning of the run."""
    begun = reader.query.last_before("run_start", own.i)
    same = Filter(source=str(own.data.get("source", "")))
    for entry in reader.entries_of_kind("fill", begun.index if begun is not None else 0):
        if not same.may_match(entry.kind, entry.utc_ns, entry.body):
            continue
        record = read_record(entry)
        if isinstance(record, Damage):
            continue
        if all(record.data.get(key) == own.data.get(key) for key in ("source", "instrument")):
            trade = trade_of(record.i, record.data)
            if trade is not None:
                yield trade


def _as_json(chain: Chain, story: Story, outcome: str, mode: str) -> dict[str, object]:
    return {
        "focus": sorted(chain.focus),
        "depth": chain.depth,
        "config": chain.config.i if chain.config is not None else None,
        "entries": [json.loads(entry_bytes(record)) for record in chain.records.values()],
        "missing": [list(pair) for pair in chain.missing],
        "mode": mode,
        "outcome": outcome,
        "notes": list(story.notes),
    }
