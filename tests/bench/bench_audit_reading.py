"""Reading a big log: one entry's chain, a filtered tail, a scan, a proof, an export.

The log is written with the real store: stories of 12 entries each, a chain of depth 10 among them (QRY-04:
≤ 10 ms). "whole log" cases are one run each. Times in microseconds.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import time
from pathlib import Path

from appliance.audit.select import Filter
from appliance.ports import Entry
from appliance.runtime.audit_trust import read_trust
from appliance.runtime.cli import main
from appliance.runtime.cmd_audit_proof import make_entry_proof
from appliance.runtime.cmd_audit_read import Search
from appliance.runtime.cmd_audit_why import ChainReader, find_chain
from appliance.runtime.terminal import Terminal
from appliance.storage.log_reader import LogReader
from tests.audit_story import START_NS, StoryBox
from tests.bench.measure import Case, case_of, repeat

STORY = 12


def run(*, quick: bool) -> list[Case]:
    """Chains, tails, scans, proofs and exports."""
    stories = 2_000 if quick else 20_000
    with tempfile.TemporaryDirectory() as place:
        box = StoryBox(Path(place), _entries(stories))
        assert box.run("export --make-key --quiet") == 0
        reader = LogReader(box.paths.log)
        try:
            return [*_short(box, reader, stories), *_long(box, reader, stories)]
        finally:
            reader.close()


def _entries(stories: int) -> list[Entry]:
    made = []
    for story in range(stories):
        first = story * STORY
        for at in range(STORY):
            kind = ("signal", *["execution"] * 7, "intent", "verdict", "order", "fill")[at]
            causes = () if at == 0 else (first + min(at - 1, 9),)
            data: dict[str, object] = {"source": f"s{story % 7}", "instrument": "SPX", "pad": "x" * 200}
            if at > 8:
                raw = {"qty": "100", "price": "10000", "fee": "1000"}
                data |= {"order_id": f"il-{story:033d}", "qty": "1.00", "price": "100.00", "raw": raw}
                data["side"] = "BUY" if story % 14 < 7 else "SELL"
            index = first + at
            made.append(Entry(kind=kind, utc_ns=START_NS + index, mono_ns=index, data=data, causes=causes))
    return made


def _short(box: StoryBox, reader: LogReader, stories: int) -> list[Case]:
    log, entries = ChainReader(reader), stories * STORY
    middle = f"il-{stories // 2:033d}"
    chain = find_chain(log, middle, deep=False)
    assert chain.depth == 10, chain.depth
    trust = read_trust(box.paths, None)
    quiet = Terminal(color=False, quiet=True)
    newest = Search(reader, Filter(kinds=frozenset({"fill"}), source="s3"), quiet)

    def tail() -> object:
        found = newest.run(newest=True)
        return [next(found) for _ in range(20)]

    size = f"{entries:,} entries"
    return [
        case_of(f"the chain of an order, depth 10, {size}",
                repeat(lambda: find_chain(log, middle, deep=False), 300)),
        case_of(f"one entry's proof, made and checked, {size}",
                repeat(lambda: make_entry_proof(reader, trust, entries // 3), 300)),
        case_of(f"the newest 20 of a kind and source, {size}", repeat(tail, 300)),
    ]  # fmt: skip


def _long(box: StoryBox, reader: LogReader, stories: int) -> list[Case]:
    entries = stories * STORY
    quiet = Terminal(color=False, quiet=True)
    middle = f"il-{stories // 2:033d}"
    bundle = box.paths.state.parent / "all.zip"

    def once(name: str, *verb: str) -> Case:
        started = time.perf_counter_ns()
        with contextlib.redirect_stdout(io.StringIO()):
            assert main(["audit", *verb, "--quiet", *box.where]) == 0, verb
        return case_of(f"{name}, {entries:,} entries", [time.perf_counter_ns() - started])

    def scan() -> object:
        return sum(1 for _ in Search(reader, Filter(source="nobody"), quiet).run())

    return [
        case_of(f"a scan that finds nothing, {entries:,} entries", repeat(scan, 1)),
        once("why, with the result of the round trip", "why", middle),
        once("export of everything as .zip, checked", "export", "--out", str(bundle)),
        once("check of that bundle", "export", "--check", str(bundle)),
    ]


