"""A day of the log for whoever answers for it: what was asked, allowed, refused, done, and what failed. R1.

Counts and lists out of the entries alone; no position and no P&L, which the log's reader can have from the
fills. What is missing from the log is `completeness`, whether it is whole `verify`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from appliance.audit.records import Record

MAX_EVENTS = 200
_EVENTS = {
    "mode": ("from", "to", "why"),
    "trip": ("reason", "from", "detail"),
    "arm": ("mode",),
    "arm_press": ("outcome", "source", "operator"),
    "arm_refused": ("count", "last"),
    "loosening": ("act", "outcome", "why", "operator"),
    "strategy_stop": ("strategy", "why"),
    "loss_level": ("level",),
    "upstream": ("alarm",),
    "key": ("purpose", "event"),
}
"""Kinds that are listed one by one, with the fields a reader is shown."""

_COUNTED = ("start", "stop", "heartbeat", "fill", "gap", "venue", "clock", "disk", "reconcile")


class Event(Struct, frozen=True):
    """One entry that is listed. told: (field, text)."""

    index: int
    utc_ns: int
    kind: str
    told: tuple[tuple[str, str], ...]


class DayReport(Struct, frozen=True, kw_only=True):
    """Counts by name, most first where a person would look.

    first, last: numbers of the entries it is made of, -1 for none.  intents: by source.  approved: by class.
    denied: by reason.  unanswered: intents no verdict of the day names.  orders: by the state they last
    had.  alerts: told to people, by kind.  holds, breakers: by what began or opened.  counted: other kinds.
    events: what is listed one by one; left_out: how many more there were.
    """

    entries: int = 0
    first: int = -1
    last: int = -1
    intents: dict[str, int] = {}
    approved: dict[str, int] = {}
    denied: dict[str, int] = {}
    unanswered: int = 0
    orders: dict[str, int] = {}
    alerts: dict[str, int] = {}
    holds: dict[str, int] = {}
    breakers: dict[str, int] = {}
    counted: dict[str, int] = {}
    events: tuple[Event, ...] = ()
    left_out: int = 0


def report_day(records: Iterable[Record], told_before: Mapping[str, object] | None = None) -> DayReport:
    """The report of these entries, oldest first. told_before: data of the last `alert` entry before them."""
    day = _Day(told_before)
    for record in records:
        day.add(record)
    return day.result()


class _Day:
    def __init__(self, told_before: Mapping[str, object] | None) -> None:
        self._told = _counts(told_before or {})
        self._first = self._last = -1
        self._entries = self._left_out = 0
        self._open: set[int] = set()
        self._events: list[Event] = []
        self._states: dict[str, str] = {}
        names = ("intents", "approved", "denied", "alerts", "holds", "breakers", "counted")
        self._sums: dict[str, Counter[str]] = {name: Counter() for name in names}

    def add(self, record: Record) -> None:
        kind, data = record.kind, record.data
        self._entries += 1
        self._first, self._last = (record.i if self._first < 0 else self._first), record.i
        if kind == "intent":
            self._open.add(record.i)
            self._sums["intents"][str(data.get("source", ""))] += 1
        elif kind == "verdict":
            self._open.difference_update(record.causes)
            self._verdict(data)
        elif kind == "denied_count":
            for name, number in _counts(data).items():
                self._sums["denied"][name.rpartition(" ")[2]] += number
        elif kind in ("order", "fill"):
            self._states[str(data.get("order_id", ""))] = str(data.get("state", ""))
        elif kind == "alert":
            self._alerts(_counts(data))
        elif kind == "hold":
            self._sums["holds"][str(data.get("cause", ""))] += 1
        elif kind == "breaker":
            self._sums["breakers"][f"{data.get('component', '')} {data.get('to', '')}".strip()] += 1
        if kind in _COUNTED:
            self._sums["counted"][kind] += 1
        if kind in _EVENTS:
            self._event(record)

    def result(self) -> DayReport:
        sums = {name: dict(counter.most_common()) for name, counter in self._sums.items()}
        return DayReport(
            entries=self._entries,
            first=self._first,
            last=self._last,
            unanswered=len(self._open),
            orders=dict(Counter(self._states.values()).most_common()),
            events=tuple(self._events),
            left_out=self._left_out,
            **sums,
        )

    def _verdict(self, data: Mapping[str, object]) -> None:
        """A repeated answer decides nothing anew; a list of orders counts each."""
        if data.get("repeated"):
            return
        if data.get("verdict") == "denied":
            self._sums["denied"][str(data.get("reason", ""))] += 1
            return
        for each in _orders(data):
            self._sums["approved"][str(each.get("class", ""))] += 1

    def _alerts(self, counts: dict[str, int]) -> None:
        """Counts are since the alerter's start: one that went down began anew."""
        began_anew = any(counts.get(kind, 0) < number for kind, number in self._told.items())
        before = {} if began_anew else self._told
        for kind, number in counts.items():
            if number > before.get(kind, 0):
                self._sums["alerts"][kind] += number - before.get(kind, 0)
        self._told = counts

    def _event(self, record: Record) -> None:
        if len(self._events) >= MAX_EVENTS:
            self._left_out += 1
            return
        fields = _EVENTS[record.kind]
        told = tuple((name, str(record.data[name])) for name in fields if record.data.get(name))
        self._events.append(Event(record.i, int(record.utc_ns), record.kind, told))


def _orders(data: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    listed = data.get("orders")
    yield from (each for each in listed if isinstance(each, dict)) if isinstance(listed, list) else (data,)


def _counts(data: Mapping[str, object]) -> dict[str, int]:
    found = data.get("counts")
    if not isinstance(found, dict):
        return {}
    return {name: number for name, number in found.items() if type(number) is int}
