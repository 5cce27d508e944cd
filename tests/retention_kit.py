"""A log with sealed segments for tests: entries of every kind a start asks for, co-signed as by a witness."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec

from appliance.audit.checkpoint import Checkpoint, sign_checkpoint
from appliance.audit.notes import COSIGNATURE_KEY, Note, SigningKey, parse_note
from appliance.audit.records import encode_entry
from appliance.audit.segment import SEGMENT
from appliance.domain.order import OrderState
from appliance.ports import Entry
from appliance.storage.durable import REAL_IO, Io
from appliance.storage.keys import read_signing_key
from appliance.storage.log_client import LogSettings
from appliance.storage.log_retention import Retention
from appliance.storage.log_store import LogStore
from appliance.storage.log_wire import Append, EntryRow, OrderRow
from tests.audit_support import LOG, WITNESS, order

START_NS = 1_700_000_000_000_000_000
LATE_NS = START_NS + 10**15
"""Later than any entry here."""

GROUP = 1024
WITNESS_KEY = WITNESS.verifier(COSIGNATURE_KEY)


EVERY_KIND: dict[str, dict[str, object]] = {
    # kind: data as a start reads it
    "start": {"version": "1"},
    "run_start": {"run": "run-1", "account": "account-1", "feed": "feed-1", "sha256": ["aa"]},
    "reconcile": {"sha256": ["bb"]},
    "mode": {"to": "REDUCED", "epoch": 3, "generation": 4, "boot": "boot-1"},
    "arm": {"from": "EMERGENCY"},
    "recovery": {"due": False, "plan": "standard", "stage": "0", "every_ns": "86400000000000"},
    "heartbeat": {"recovery_passed_ns": "77"},
    "clock": {"boot": "boot-1", "offset_ns": "5", "held_ns": None, "enforced": False},
    "gap": {"from": "exits", "ring": "ring-1", "number": 9},
    "strategy_stop": {"strategy": "trend", "why": "drawdown", "market_ns": "1"},
    "loosening": {"outcome": "done", "act": "peak_reset", "raw": {"after": "100"}, "marks": 1},
    "venue": {"seq": 1},
    "trip": {"reason": "BUTTON"},
    "run_end": {"run": "run-0"},
    "stop": {"mode": "PAUSED"},
}
FIRST_RUN, SECOND_RUN = 10, SEGMENT + 1000
"""Where the run of old began, with one entry of every kind behind it, and where the newest did."""


def _kind(index: int) -> tuple[str, dict[str, object]]:
    for begun in (FIRST_RUN, SECOND_RUN):
        if begun <= index < begun + len(EVERY_KIND):
            return list(EVERY_KIND.items())[(index - begun)]
    if index % 500 == 0:
        return "heartbeat", {"done": index}
    order_id = f"o-{index // 7}"
    if index % 7 == 2:
        raw = {"qty": "1", "price": "200", "fee": "0"}
        named = {"trade": f"t-{index}", "order_id": order_id, "instrument": "SPX", "side": "BUY", "raw": raw}
        return "fill", named | {"maker": False, "event_ns": str(index), "source": "trend", "seq": index}
    if index % 7 < 2:
        return ("verdict", "order")[index % 7], {"order_id": order_id, "seq": index, "reason": "NO_LIMIT"}
    return "signal", {"text": "as ever " * 40}


@cache
def row(index: int) -> EntryRow:
    """One entry; every third follows from the one before."""
    kind, data = _kind(index)
    order_id = data.get("order_id")
    causes = (index - 1,) if index % 3 == 1 else ()
    entry = Entry(kind=kind, utc_ns=START_NS + index, mono_ns=index, data=data, causes=causes)
    body = encode_entry(index, "core", index, entry)
    return EntryRow(kind, START_NS + index, order_id if isinstance(order_id, str) else None, body)


def append(first: int, stop: int) -> Append:
    """A group of them, with the row of an order."""
    value = order(f"o-{first // 7}", OrderState.FILLED)
    body = msgspec.json.encode(value)
    told = OrderRow(value.id, "run-1", value.state.value, value.instrument, value.source, body)
    return Append(first, "core", stop, tuple(map(row, range(first, stop))), (told,))


def fill(store: LogStore, size: int) -> None:
    """Entries up to `size`, published."""
    while store.size < size:
        store.commit([append(store.size, min(size, store.size + GROUP))])
        store.grow()
        store.tidy()
    for _ in store.publish():
        pass


def cosign(directory: Path, size: int, root: bytes, by: SigningKey = WITNESS) -> None:
    """The file the upstream client keeps."""
    note = parse_note(sign_checkpoint(Checkpoint(LOG.name, size, root), LOG))
    signed = Note(note.text, (*note.signatures, by.cosign(note.text, 1_700_000_000)))
    (directory / "cosigned").write_bytes(signed.encode())


def opened(settings: LogSettings, io: Io = REAL_IO, vfs: str | None = None) -> LogStore:
    """The store as its writer opens it."""
    return LogStore(settings.directory, read_signing_key(settings.key_file), io, vfs)


def retention(store: LogStore, io: Io = REAL_IO) -> Retention:
    """With the witness pinned."""
    return Retention(store, WITNESS_KEY, io)


def prune(settings: LogSettings, size: int, before_ns: int = LATE_NS) -> Retention:
    """A life: entries up to `size`, published, co-signed, one pass over them."""
    store = opened(settings)
    fill(store, size)
    cosign(settings.directory, store.shown.size, store.shown.root)
    made = retention(store)
    for _ in made.steps(before_ns):
        pass
    store.close()
    return made
