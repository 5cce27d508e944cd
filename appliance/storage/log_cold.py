"""Entries whose bytes are in a sealed segment only, for every reader of the log's database.

Pruning leaves an entry's row where it is, so that numbers, kinds, times and orders are found as ever, and
empties its body: the row says that there is an entry, `meta.pruned` that the empty body is not the entry.
Both change in one transaction, after the segment was durable; what is pruned stays so. A bundle that is read
from a segment must hash to the root the log's tree has of it.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import apsw

from appliance.audit.merkle import leaf_hash, root_from_hashes
from appliance.audit.segment import BUNDLES, SEGMENT
from appliance.audit.tiles import WIDTH
from appliance.domain.errors import StoreError
from appliance.storage.segments import Segments
from appliance.storage.sqlite import store_errors

PRUNED = "SELECT value FROM meta WHERE name = 'pruned'"
_ORIGIN = "SELECT value FROM meta WHERE name = 'origin'"
_NODE = "SELECT hash FROM nodes WHERE level = 1 AND n = ?"
_KEPT = 8  # bundles; a look at entries one after the other decompresses each bundle once


class ColdEntries:
    """Over one open database. segments: its sealed files."""

    def __init__(self, connection: apsw.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._pruned = 0
        self._bundles: OrderedDict[int, list[bytes]] = OrderedDict()
        self.segments = Segments(path.parent, self._value(_ORIGIN))

    def pruned(self) -> int:
        """Number of entries, from the first on, whose bodies may be in segments only. It only grows."""
        value = self._value(PRUNED) or "0"
        if not (value.isascii() and value.isdigit()):
            raise StoreError("the log store is damaged", f"pruned up to {value[:20]!r} ({self._path})")
        self._pruned = int(value)
        return self._pruned

    def body(self, index: int, stored: bytes) -> bytes:
        """The bytes of an entry whose row holds `stored`. Raises StoreError naming the segment."""
        if stored or (index >= self._pruned and index >= self.pruned()):
            return stored
        return self.bundle(index // WIDTH)[index % WIDTH]

    def bundle(self, index: int) -> list[bytes]:
        """The 256 entries of a sealed bundle. Raises StoreError."""
        found = self._bundles.pop(index, None)
        if found is None:
            found = self.segments.bundle(index)
            with store_errors(self._path):
                row = self._connection.execute(_NODE, (index,)).fetchone()
            if row is None or row[0] != root_from_hashes(map(leaf_hash, found)):
                place = self.segments.path(index // BUNDLES)
                why = f"bundle {index} is not what the log's tree was made of ({place})"
                raise StoreError(f"sealed segment {place.name} is damaged", why, "interlock audit verify")
        self._bundles[index] = found
        while len(self._bundles) > _KEPT:
            self._bundles.popitem(last=False)
        return found

    def sealed(self, start: int) -> list[bytes] | None:
        """For `verify`: entries [start, start + 256) as a segment holds them; None if none does or has to.

        The first bundle of each segment has the whole file checked. Raises StoreError.
        """
        number, rest = divmod(start, SEGMENT)
        if start >= self.pruned() and not self.segments.exists(number):
            return None
        if rest == 0:
            self.segments.check(number)
        return self.bundle(start // WIDTH)

    def _value(self, statement: str) -> str:
        with store_errors(self._path):
            row = self._connection.execute(statement).fetchone()
        return str(row[0]) if row else ""
