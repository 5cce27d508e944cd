"""Finding entries in a big log: by number, kind, order or time, a page at a time in either direction.

Every question here is answered from an index of the store (`log_schema`) or walks a stated range of entry
numbers; no statement stays open between pages, so that a long reading never keeps the write-ahead log from
shrinking.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw
from msgspec import Struct

from appliance.domain.errors import StoreError
from appliance.storage.log_cold import ColdEntries
from appliance.storage.sqlite import store_errors

PAGE = 256
_COLUMNS = "SELECT idx, kind, utc_ns, ref, body FROM entries"
_TYPES: tuple[type | tuple[type, ...], ...] = (int, str, int, (str, type(None)), bytes)

_CITING = """SELECT idx, kind, substr(body, 1, instr(body, x'5d')) FROM entries
    WHERE idx >= ? AND idx < ?
    AND substr(body, 1, 12) >= x'7b22636175736573223a5b30'
    AND substr(body, 1, 12) < x'7b22636175736573223a5b3a'
    ORDER BY idx"""  # bodies that begin with {"causes":[ and a digit


_STUBS = "SELECT idx, kind FROM entries WHERE idx >= ? AND idx < ? AND length(body) = 0 ORDER BY idx"
_CAUSES = re.compile(rb'\{"causes":\[[0-9][^]]*\]')


class StoredEntry(Struct, frozen=True):
    """One entry with the columns it can be found by. body: the hashed bytes."""

    index: int
    kind: str
    utc_ns: int
    ref: str | None
    body: bytes


class EntryQuery:
    """Reads entries of one open database, and the bodies of pruned ones from their segments."""

    def __init__(self, connection: apsw.Connection, path: Path, cold: ColdEntries) -> None:
        self._connection = connection
        self._path = path
        self._cold = cold

    def rows(
        self, where: str, values: tuple[object, ...], order: str = "idx", limit: int = PAGE
    ) -> list[StoredEntry]:
        """One page. Raises StoreError for a database or segment that cannot be read, or columns of another
        type."""
        statement = f"{_COLUMNS} WHERE {where} ORDER BY {order} LIMIT {limit}"
        return [self._entry(row) for row in self.fetch(statement, values)]

    def pages(
        self, first: int, stop: int, kind: str = "", *, newest: bool = False
    ) -> Iterator[list[StoredEntry]]:
        """Entries [first, stop), of one kind if it is given; pages of at most 256, none of them empty."""
        also, values = ("kind = ? AND ", (kind,)) if kind else ("", ())
        where, order = f"{also}idx >= ? AND idx < ?", "idx DESC" if newest else "idx"
        while first < stop and (page := self.rows(where, (*values, first, stop), order)):
            yield page
            if newest:
                stop = page[-1].index
            else:
                first = page[-1].index + 1

    def about(self, order_id: str) -> Iterator[StoredEntry]:
        """Entries about an order and its legs (`<id>-s`), oldest first."""
        first = 0
        where = "(ref = ? OR (ref > ? AND ref < ?)) AND idx >= ?"
        while page := self.rows(where, (order_id, f"{order_id}-", f"{order_id}.", first)):
            yield from page
            first = page[-1].index + 1

    def span(self, from_ns: int, to_ns: int) -> tuple[int, int]:
        """Numbers [first, stop) outside of which no entry has from_ns ≤ utc_ns < to_ns; (0, 0) if none."""
        statement = "SELECT min(idx), max(idx) FROM entries WHERE utc_ns >= ? AND utc_ns < ?"
        bounds = (max(from_ns, -(2**63)), min(to_ns, 2**63 - 1))
        found = self.fetch(statement, bounds)[0]
        return (int(found[0]), int(found[1]) + 1) if isinstance(found[0], int) else (0, 0)

    def last_before(self, kind: str, index: int) -> StoredEntry | None:
        """The newest entry of a kind before an entry number."""
        found = self.rows("kind = ? AND idx < ?", (kind, index), "idx DESC", 1)
        return found[0] if found else None

    def citing(self, first: int, stop: int) -> list[tuple[int, str, bytes]]:
        """(number, kind, bytes up to the first `]`) of the entries [first, stop) that name any cause.

        Canonical JSON begins with `causes`, so those few bytes are enough and the rest is not read.
        """
        found = self.fetch(_CITING, (first, stop))
        told = {index: (index, kind, head) for index, kind, head in found if isinstance(kind, str)}
        # Asked last: what is pruned meanwhile is found twice, never not at all.
        stubs = self.fetch(_STUBS, (first, stop)) if first < self._cold.pruned() else []
        for index, kind in stubs:
            head = _CAUSES.match(self._cold.body(index, b""))
            if head is not None and isinstance(kind, str):
                told[index] = (index, kind, head[0])
        return [told[index] for index in sorted(told)]

    def fetch(self, statement: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        """All rows of a statement. Raises StoreError."""
        try:
            with store_errors(self._path):
                return self._connection.execute(statement, values).fetchall()
        except UnicodeDecodeError as error:
            raise StoreError("the log store is damaged", f"a text is not UTF-8 ({self._path})") from error

    def _entry(self, row: tuple[Any, ...]) -> StoredEntry:
        if not all(isinstance(value, kind) for value, kind in zip(row, _TYPES, strict=True)):
            raise StoreError("the log store is damaged", f"the row of entry {row[0]} ({self._path})")
        index, kind, utc_ns, ref, body = row
        return StoredEntry(index, kind, utc_ns, ref, self._cold.body(index, body))
