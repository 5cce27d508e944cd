"""A small appliance on disk whose log tells one whole story: a wish, its order, its end, a denial, a trip.

Entry i was written i seconds after START_NS. Built with the real store; nothing runs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from appliance.audit.notes import COSIGNATURE_KEY
from appliance.audit.records import encode_entry
from appliance.ports import Entry
from appliance.runtime.paths import Paths
from appliance.storage.durable import write_file
from appliance.storage.keys import create_key, read_signing_key
from appliance.storage.log_store import LogStore
from appliance.storage.log_wire import Append, EntryRow
from tests.audit_support import new_log

START_NS = 1_700_000_000_000_000_000
SECOND = 10**9
BUY, SELL = "il-aaaa", "il-bbbb"


def _entry(index: int, kind: str, causes: Sequence[int] = (), **data: object) -> Entry:
    at_ns = index * SECOND
    return Entry(kind=kind, utc_ns=START_NS + at_ns, mono_ns=at_ns, data=data, causes=tuple(causes))


def _mode(index: int, before: str, after: str, why: str) -> Entry:
    data: dict[str, Any] = {"from": before, "to": after, "why": why}
    return _entry(index, "mode", **data)


def _intent(index: int, causes: Sequence[int], side: str, **data: object) -> Entry:
    told: dict[str, Any] = {"intent": f"r/SPX/{index}", "source": "trend", "instrument": "SPX"}
    told |= {"action": "NEW", "side": side}
    return _entry(index, "intent", causes, **told, type="MARKET", qty="1.00", price="", stop="95.00", **data)


def _verdict(index: int, cause: int, order: str, kind: str, side: str) -> Entry:
    told: dict[str, Any] = {"verdict": "approved", "order_id": order, "class": kind}
    told["flags"] = ["STOP_ATTACHED"]
    return _entry(index, "verdict", (cause,), **told, source="trend", instrument="SPX", side=side, qty="1.00")


def _fill(index: int, cause: int, order: str, side: str, price: int) -> Entry:
    raw = {"qty": "100", "price": str(price), "fee": "1000000000"}
    text = f"{price // 100}.{price % 100:02d}"
    told: dict[str, Any] = {"trade": f"t{index}", "order_id": order, "source": "trend", "instrument": "SPX"}
    return _entry(
        index, "fill", (cause,), **told, side=side, qty="1.00", price=text, fee="0.1000000000", raw=raw,
        state="FILLED", event_ns=str(START_NS + index * SECOND),
    )  # fmt: skip


def story() -> list[Entry]:
    """Twenty-two entries."""
    limits = {"account position cap": "2 %", "SPX price collar": "5 %", "NDX price collar": "4 %",
              "trend allocation": "9,500 USD"}  # fmt: skip
    near = {"observation": "o-17", "event_ns": str(START_NS - 86_400 * SECOND), "distance": 12}
    signal: dict[str, Any] = {"strategy": "trend", "instrument": "SPX"}
    signal["event_ns"] = str(START_NS + 4 * SECOND)
    return [
        _entry(0, "trip", reason="NEVER_ARMED", detail="stood when the core started", mode="PAUSED"),
        _entry(1, "start", version="0.1.0"),
        _entry(2, "config", sealed=False, limits=limits),
        _entry(3, "run_start", run="r", unattended=True),
        _mode(4, "PAUSED", "NORMAL", "armed"),
        _entry(5, "signal", **signal, direction="LONG", reason="above its mean", reference="100.00",
               stop="95.00", precedents=[near]),
        _entry(6, "execution", (5,), execution="begun", intent="r/SPX/7", source="trend"),
        _intent(7, (6,), "BUY"),
        _verdict(8, 7, BUY, "INCREASE", "BUY"),
        _entry(9, "order", (7,), order_id=BUY, source="trend", state="WORKING", instrument="SPX"),
        _fill(10, 7, BUY, "BUY", 10_000),
        _entry(11, "order", (7,), order_id=f"{BUY}-s", source="trend", state="WORKING", instrument="SPX"),
        _entry(12, "signal", **signal, direction="CLOSE", reason="below its mean", precedents=[]),
        _intent(13, (12,), "SELL"),
        _verdict(14, 13, SELL, "REDUCE", "SELL"),
        _fill(15, 13, SELL, "SELL", 11_000),
        _entry(16, "signal", strategy="bot-2", instrument="NDX", direction="LONG", precedents=[]),
        _entry(17, "intent", (16,), intent="x\x1b[31m\n", source="bot-2", instrument="NDX", side="BUY"),
        _entry(18, "verdict", (17,), intent="x", source="bot-2", verdict="denied", reason="NO_LIMIT"),
        _mode(19, "NORMAL", "EMERGENCY", "KILL_BUTTON"),
        _entry(20, "trip", reason="KILL_BUTTON", detail="", mode="EMERGENCY"),
        _entry(21, "heartbeat", mode="EMERGENCY"),
    ]  # fmt: skip


def bodies(entries: Sequence[Entry]) -> list[bytes]:
    """Their canonical bytes, in a log of one source."""
    return [encode_entry(index, "core", index, entry) for index, entry in enumerate(entries)]


class StoryBox:
    """State directory of an appliance that was prepared and has written `entries`."""

    def __init__(self, root: Path, entries: Sequence[Entry] | None = None, *, cosign: int = -1) -> None:
        """cosign: size at which the witness signed, -1 for not at all; 0 for everything."""
        self.paths = Paths(root / "state", root / "run")
        self.settings = new_log(self.paths.state)
        self.bodies = bodies(story() if entries is None else entries)
        self.where = ["--state", str(self.paths.state), "--runtime", str(self.paths.runtime)]
        create_key(self.paths.keys, "witness", "witness.example/w1", COSIGNATURE_KEY, bytes(range(32, 64)))
        create_key(self.paths.keys, "operator", "op", 1, bytes(range(64, 96)))
        self.paths.trust.mkdir(parents=True)
        for name in ("log.vkey", "witness.vkey"):
            write_file(self.paths.trust / name, (self.paths.keys / name).read_bytes())
        self.written = 0
        first = len(self.bodies) if cosign < 0 else cosign or len(self.bodies)
        self.write(first)
        if cosign >= 0:
            self.cosign()
        self.write(len(self.bodies))

    def write(self, stop: int) -> None:
        """Entries up to `stop`, published."""
        store = LogStore(self.settings.directory, read_signing_key(self.settings.key_file))
        rows = tuple(self._row(index) for index in range(self.written, stop))
        if rows:
            store.commit([Append(self.written, "core", stop, rows, ())])
        for _ in store.publish():
            pass
        store.close()
        self.written = stop

    def cosign(self) -> None:
        """The witness signs what is published."""
        note = (self.paths.log / "checkpoint").read_bytes()
        text = note.decode().partition("\n\n")[0] + "\n"
        line = read_signing_key(self.paths.keys / "witness.key").cosign(text, int(time.time())).line
        write_file(self.paths.log / "cosigned", note + line.encode())

    def run(self, verb: str, *more: str) -> int:
        """`interlock audit …` in this process; its exit code."""
        from appliance.runtime.cli import main

        return main(["audit", *verb.split(), *more, *self.where])

    def _row(self, index: int) -> EntryRow:
        from appliance.audit.records import decode_entry

        record = decode_entry(self.bodies[index])
        named: Any = record.data.get("order_id")
        return EntryRow(record.kind, int(record.utc_ns), named, self.bodies[index])
