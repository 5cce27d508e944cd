"""The chain of a decision: what led to it and what it led to, over the `causes` of the records (QRY-04, P47).

Upwards every cause is followed to its end, each entry once, so that not even a forged circle holds anybody
up. Downwards nothing in the store points: the entries after the decision that name a cause are looked at, as
many as the caller allows, and those recorded under the orders found are fetched by order. What was not looked
at, what is missing and what is damaged is part of the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from msgspec import Struct

from appliance.audit.records import Record
from appliance.domain.errors import PeerError

WINDOW = 1024
"""Entries after a decision that are looked at for what it led to, unless the caller wants all."""

MAX_ENTRIES = 1000
"""A chain of more entries is cut, and says so."""


class Link(Struct, frozen=True):
    """What an entry says it follows from, read off its first bytes: enough to pass by the many that matter
    to other decisions. The record has the last word."""

    index: int
    kind: str
    causes: tuple[int, ...]


class ChainLog(Protocol):
    """Where a chain is read. A record that cannot be read is its PeerError."""

    def size(self) -> int:
        """Number of entries."""
        ...

    def record(self, index: int) -> Record | PeerError | None:
        """One entry; None if it is missing."""
        ...

    def about(self, order_id: str) -> Iterable[Record | PeerError]:
        """Entries recorded under an order or one of its legs, oldest first."""
        ...

    def citing(self, first: int, stop: int) -> Iterable[Link]:
        """Of the entries [first, stop) those that name any cause, oldest first."""
        ...

    def last_before(self, kind: str, index: int) -> Record | PeerError | None:
        """The newest entry of a kind before an entry number."""
        ...


class Chain(Struct, frozen=True, kw_only=True):
    """A decision with everything around it.

    records: all entries of the chain, ascending.  focus: the numbers that were asked about.
    children: cause → what names it, ascending.  roots: entries whose causes are not in the chain.
    config: the configuration in force when it was decided.  depth: longest way from a root, in links.
    missing: (entry, cause it names that is not there).  notes: what else a reader must know.
    decided: number of its first verdict, of its first entry if it has none.
    """

    records: dict[int, Record]
    focus: frozenset[int]
    children: dict[int, tuple[int, ...]]
    roots: tuple[int, ...]
    config: Record | None
    decided: int
    depth: int
    missing: tuple[tuple[int, int], ...]
    notes: tuple[str, ...]


def chain_of_entry(log: ChainLog, index: int, window: int | None = WINDOW) -> Chain | None:
    """The chain of one entry; None if there is no such entry. window: None looks to the end of the log."""
    found = log.record(index)
    if found is None:
        return None
    return _Builder(log, window).build([found])


def chain_of_order(log: ChainLog, order_id: str, window: int | None = WINDOW) -> Chain | None:
    """The chain of an order: its entries and its legs', the wish they follow from and what led to that."""
    about = list(log.about(order_id))
    return _Builder(log, window).build(about) if about else None


class _Builder:
    def __init__(self, log: ChainLog, window: int | None) -> None:
        self._log = log
        self._window = window
        self._records: dict[int, Record] = {}
        self._missing: list[tuple[int, int]] = []
        self._notes: list[str] = []
        self._orders: set[str] = set()

    def build(self, about: Sequence[Record | PeerError]) -> Chain:
        """Focus, up, down, then the shape."""
        readable = [record for found in about if (record := self._readable(found)) is not None]
        focus = [record for record in readable if self._take(record)]
        self._up([record.i for record in focus])
        # What an order's entries follow from, its intent, is where the rest of its story hangs.
        wishes = {cause for r in focus if "order_id" in r.data for cause in r.causes if cause < r.i}
        self._down({record.i for record in focus} | (wishes & self._records.keys()))
        return self._shape(frozenset(record.i for record in focus))

    def _readable(self, found: Record | PeerError | None) -> Record | None:
        if isinstance(found, PeerError):
            self._notes.append(f"an entry is damaged: {found.why}")
            return None
        return found

    def _take(self, record: Record) -> bool:
        if record.i in self._records:
            return False
        if len(self._records) >= MAX_ENTRIES:
            note = f"cut at {MAX_ENTRIES} entries: there are more"
            if note not in self._notes:
                self._notes.append(note)
            return False
        self._records[record.i] = record
        order = record.data.get("order_id")
        if isinstance(order, str):
            self._orders.add(order)
        return True

    def _up(self, open_ends: list[int]) -> None:
        while open_ends:
            at = open_ends.pop()
            for cause in self._records[at].causes:
                if cause in self._records:
                    continue
                found = self._log.record(cause)
                if found is None:
                    self._missing.append((at, cause))
                    continue
                record = self._readable(found)
                if record is not None and self._take(record):
                    open_ends.append(cause)

    def _down(self, seeds: set[int]) -> None:
        """One pass forward is enough for links: an effect has a higher number than its cause."""
        if not seeds:
            return
        above = {i for i, r in self._records.items() if r.kind == "execution"} - seeds
        first, size = min(seeds) + 1, self._log.size()
        stop = size if self._window is None else min(size, max(seeds) + 1 + self._window)
        for link in self._log.citing(first, stop):
            follows = not seeds.isdisjoint(link.causes)
            if follows or (link.kind == "execution" and not above.isdisjoint(link.causes)):
                record = self._readable(self._log.record(link.index))
                if record is not None:
                    self._take(record)
            if follows:
                seeds.add(link.index)
        asked: set[str] = set()
        while fresh := self._orders - asked:
            asked |= fresh
            for order in sorted(fresh):
                for found in self._log.about(order):
                    if (record := self._readable(found)) is not None:
                        self._take(record)
        if stop < size:
            self._notes.append(f"effects after entry {stop - 1} are shown for its orders only (--deep: all)")

    def _shape(self, focus: frozenset[int]) -> Chain:
        verdicts = [index for index, record in self._records.items() if record.kind == "verdict"]
        decided = min(verdicts or self._records, default=0)
        children: dict[int, list[int]] = {}
        roots, level = [], dict.fromkeys(self._records, 0)
        for index in sorted(self._records):
            named = dict.fromkeys(self._records[index].causes)
            causes = [cause for cause in named if cause in self._records and cause < index]
            if not causes:
                roots.append(index)
            for cause in causes:
                children.setdefault(cause, []).append(index)
                level[index] = max(level[index], level[cause] + 1)
        return Chain(
            records={index: self._records[index] for index in sorted(self._records)},
            focus=focus,
            children={cause: tuple(effects) for cause, effects in children.items()},
            roots=tuple(roots),
            config=self._readable(self._log.last_before("config", decided)),
            decided=decided,
            depth=max(level.values(), default=0),
            missing=tuple(sorted(self._missing)),
            notes=tuple(dict.fromkeys(self._notes)),
        )
