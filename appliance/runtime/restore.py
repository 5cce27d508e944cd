"""What a restarted core knows: everything comes out of the audit log, nothing from a file of its own.

The log is the only ledger (U30): orders with their states, fills, stopped strategies, the last mode, signed
acts that loosened, where a recovery plan is, the number of the last venue event. Whatever happened after
the last durable entry is asked from the venue.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from appliance.audit.records import decode_entry
from appliance.domain.errors import StoreError
from appliance.domain.ids import InstrumentId, OrderId, RunId, SourceId, TradeId
from appliance.domain.intent import Side
from appliance.domain.mode import Mode
from appliance.domain.money import Amount, Price, Qty
from appliance.domain.order import Fill, Order, OrderState
from appliance.orders.plan import Plan, read_plan
from appliance.safety.controller import Remembered
from appliance.safety.recovery_plan import Earlier, read_earlier
from appliance.storage.log_reader import LogReader

_WITH_SEQ = ("order", "fill", "venue")


class RunRecord(Struct, frozen=True, kw_only=True):
    """One session on one venue account. finished: its run_end is in the log.  sha256: of the files it was
    last replayed from; none in a log of 0.1.0."""

    run: RunId
    account: str
    feed: str
    index: int
    finished: bool
    sha256: tuple[str, ...] = ()


class Restored(Struct, frozen=True, kw_only=True):
    """State of one run as of the last durable entry. venue_seq: last event taken over.

    stopped: sources a limit of their own stopped, why and when.  starts: sources that were started again,
    each after so many of the fills.  resets: (whose, prices taken by then, peak) of every peak that was
    reset; the account's is "".  plans: wishes that were being worked, with the log index of their entry.
    """

    orders: tuple[Order, ...]
    fills: tuple[tuple[SourceId, Fill], ...]
    stopped: tuple[tuple[SourceId, str, int], ...]
    venue_seq: int
    resets: tuple[tuple[str, int, int], ...] = ()
    starts: tuple[tuple[SourceId, int], ...] = ()
    plans: tuple[tuple[Plan, int], ...] = ()


NOTHING = Restored(orders=(), fills=(), stopped=(), venue_seq=0)


def last_run(directory: Path) -> RunRecord | None:
    """The newest session in the log, finished or not."""
    reader = LogReader(directory)
    try:
        start = reader.last_of_kind("run_start")
        end = reader.last_of_kind("run_end")
        told = [] if start is None else [start, *reader.entries_of_kind("reconcile", start.index)]
    finally:
        reader.close()
    if start is None:
        return None
    data = decode_entry(start.body).data
    digests = [decode_entry(entry.body).data.get("sha256") for entry in told]
    return RunRecord(
        run=RunId(_text(data, "run")),
        account=_text(data, "account"),
        feed=_text(data, "feed"),
        index=start.index,
        finished=end is not None and end.index > start.index,
        sha256=next((tuple(map(str, each)) for each in reversed(digests) if isinstance(each, list)), ()),
    )


def remembered_mode(directory: Path) -> Remembered | None:
    """The last mode entry."""
    reader = LogReader(directory)
    try:
        entry = reader.last_of_kind("mode")
    finally:
        reader.close()
    if entry is None:
        return None
    data = decode_entry(entry.body).data
    boot = data.get("boot")  # absent in logs of 0.1.0: their mode is of no boot, so it is not kept
    return Remembered(
        Mode[_text(data, "to")],
        _number(data, "epoch"),
        _number(data, "generation"),
        boot if isinstance(boot, str) else "",
    )


def earlier_recovery(directory: Path) -> Earlier:
    """Where the recovery plan was. The time of its present share is that of the last heartbeat after its last
    entry: what came later is not counted, so a restart may lengthen a plan and never shortens it."""
    reader = LogReader(directory)
    try:
        armed = reader.last_of_kind("arm") is not None
        entry, beat = reader.last_of_kind("recovery"), reader.last_of_kind("heartbeat")
    finally:
        reader.close()
    told = decode_entry(entry.body).data if entry is not None else {}
    later = beat is not None and entry is not None and beat.index > entry.index
    try:
        return read_earlier(armed, told, decode_entry(beat.body).data if later and beat is not None else {})
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise StoreError("the audit log tells of a recovery plan there is not", repr(error)) from error


def restore(directory: Path, record: RunRecord) -> Restored:
    """Reads one run's orders, fills and stops. Raises StoreError for entries that cannot be what they say."""
    reader = LogReader(directory)
    try:
        seq = 0
        for kind in _WITH_SEQ:
            for entry in reader.entries_of_kind(kind, record.index):
                seq = max(seq, _number(decode_entry(entry.body).data, "seq"))
        told = _read(reader, "fill", record.index)
        fills, fill_indexes = [_fill(data) for _, data in told], [index for index, _ in told]
        stops = _read(reader, "strategy_stop", record.index)
        loosened = [(i, d) for i, d in _read(reader, "loosening", record.index) if d.get("outcome") == "done"]
        plans = _plans(reader, record.index)
        orders = tuple(stored.order for stored in reader.orders(record.run))
    finally:
        reader.close()
    starts = [(index, data) for index, data in loosened if data.get("act") == "source_start"]
    return Restored(
        orders=orders,
        fills=tuple(fills),
        stopped=_stopped(stops, starts),
        venue_seq=seq,
        resets=tuple(_reset(data) for _, data in loosened),
        starts=tuple(
            (SourceId(_text(d, "source")), bisect_left(fill_indexes, index)) for index, d in starts
        ),
        plans=plans,
    )


def _read(reader: LogReader, kind: str, start: int) -> list[tuple[int, Mapping[str, object]]]:
    return [(entry.index, decode_entry(entry.body).data) for entry in reader.entries_of_kind(kind, start)]


def _reset(data: Mapping[str, object]) -> tuple[str, int, int]:
    raw, marks = _mapping(data, "raw"), _number(data, "marks")
    if data.get("act") == "source_start":
        return _text(data, "source"), marks, int(_text(raw, "equity"))
    return "", marks, int(_text(raw, "after"))


def _stopped(
    stops: Iterable[tuple[int, Mapping[str, object]]], starts: Iterable[tuple[int, Mapping[str, object]]]
) -> tuple[tuple[SourceId, str, int], ...]:
    """What was stopped, and not started again since."""
    again = {_text(data, "source"): index for index, data in starts}
    return tuple(
        (SourceId(_text(data, "strategy")), _text(data, "why"), int(_text(data, "market_ns")))
        for index, data in stops
        if index > again.get(_text(data, "strategy"), -1)
    )


def _plans(reader: LogReader, start: int) -> tuple[tuple[Plan, int], ...]:
    """Begun and not ended, oldest first."""
    running: dict[tuple[str, str], tuple[Plan, int]] = {}
    for entry in reader.entries_of_kind("execution", start):
        data = decode_entry(entry.body).data
        key = _text(data, "source"), _text(data, "intent")
        if data.get("execution") == "ended":
            running.pop(key, None)
        if data.get("execution") != "begun":
            continue
        plan = data.get("plan")
        try:
            running[key] = read_plan(plan if isinstance(plan, dict) else {}), entry.index
        except ValueError as error:
            why = f"entry {entry.index}: {error}"
            raise StoreError("a plan in the audit log cannot be read", why) from error
    return tuple(running.values())


def known_orders(directory: Path) -> list[tuple[OrderId, OrderState]]:
    """Every order id in the log, of every run, and what became of it: none may ever be sent again."""
    reader = LogReader(directory)
    try:
        return [(stored.order.id, stored.order.state) for stored in reader.orders()]
    finally:
        reader.close()


def _fill(data: Mapping[str, object]) -> tuple[SourceId, Fill]:
    raw = _mapping(data, "raw")
    fill = Fill(
        trade_id=TradeId(_text(data, "trade")),
        order_id=OrderId(_text(data, "order_id")),
        instrument=InstrumentId(_text(data, "instrument")),
        side=Side(_text(data, "side")),
        qty=Qty(int(_text(raw, "qty"))),
        price=Price(int(_text(raw, "price"))),
        fee=Amount(int(_text(raw, "fee"))),
        maker=bool(data.get("maker")),
        event_ns=int(_text(data, "event_ns")),
    )
    return SourceId(_text(data, "source")), fill


def _mapping(data: Mapping[str, object], key: str) -> dict[str, object]:
    value = data.get(key)
    if not isinstance(value, dict):
        raise StoreError(f"an entry of the audit log has no {key}", msgspec.json.encode(data)[:200].decode())
    return value


def _text(data: Mapping[str, object], key: str) -> str:
    value = data.get(key)
    if not isinstance(value, str):
        raise StoreError(f"an entry of the audit log lacks {key}", msgspec.json.encode(data)[:200].decode())
    return value


def _number(data: Mapping[str, object], key: str) -> int:
    value = data.get(key, 0)
    if not isinstance(value, int):
        raise StoreError(f"an entry of the audit log has no number {key}", str(value)[:80])
    return value
