"""The SQL of one collection. R2. What has many rows is written, and read where possible, in few steps.

Each step of a statement gives up the interpreter lock and must win it back, up to 5 ms each while the event
loop is busy. So a batch is one statement per table, not one per row.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import apsw
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from appliance.domain.money import Price
from appliance.domain.observation import Bar
from appliance.memory.features import HISTORY_BARS, NAMES
from appliance.memory.scaling import RunningScale, Scaling
from appliance.memory.schema_store import COLLECTION, damaged
from appliance.memory.similarity import DIMS
from appliance.memory.streams import Condition, Statistics, Stream

_Row: TypeAlias = tuple[Any, ...]
_FEATURES = struct.Struct(f"<{len(NAMES)}q")
_RECORD = "identity, spread_ppb, features, event_ns, seen_ns, open, high, low, close, volume"
_VERSION_STEP = 2**48  # id of a vector: row of its observation + version × this; an observation has several


class Recorded(Struct, frozen=True):
    """One bar as stored. features: None if its history was too short for a condition."""

    identity: bytes
    bar: Bar
    spread_ppb: int | None
    features: tuple[int, ...] | None


class Vector(Struct, frozen=True):
    """One row of the vector table. code: 64 bytes of bits.  fine: 512 signed bytes."""

    row: int
    stream: Stream
    version: int
    event_ns: int
    code: bytes
    fine: bytes


class Rows:
    """Reads and writes of one open memory file.

    Raises apsw.Error, and PeerError where the content cannot be what was written.
    """

    def __init__(self, db: apsw.Connection, path: Path) -> None:
        self._db = db
        self._path = path

    def totals(self) -> tuple[int, int]:
        """(number of observations, highest row number)."""
        count, newest = self._all("SELECT count(*), coalesce(max(id), 0) FROM observations")[0]
        return count, newest

    def known(self, identities: Sequence[bytes]) -> set[bytes]:
        """Those of them that are stored."""
        marks = ",".join("?" * len(identities))
        query = f"SELECT json_group_array(hex(identity)) FROM observations WHERE identity IN ({marks})"  # noqa: S608
        return {bytes.fromhex(text) for text in json.loads(self._all(query, identities)[0][0])}

    def add_observations(self, stream: Stream, rows: Iterable[tuple[int, Recorded]]) -> None:
        """Adds (row number, record) of one stream."""
        values: list[Any] = []
        for row, one in rows:
            bar = one.bar
            features = None if one.features is None else _FEATURES.pack(*one.features)
            values += (row, stream.name, one.identity, one.spread_ppb, features, bar.event_ns, bar.seen_ns)
            values += (bar.open, bar.high, bar.low, bar.close, bar.volume)
        self._insert(f"observations (id, stream, {_RECORD})", "(?,?,?,?,?,?,?,?,?,?,?,?)", values)

    def add_vectors(self, vectors: Iterable[Vector]) -> None:
        """Adds encoded conditions."""
        values: list[Any] = []
        for one in vectors:
            number = one.row + one.version * _VERSION_STEP
            values += (number, one.stream.name, one.version, one.stream.bucket(one.event_ns), one.event_ns)
            values += (one.code, one.fine)
        table = "observations_vec (id, stream, scaling, bucket, event_ns, coarse, fine)"
        self._insert(table, "(?,?,?,?,?,vec_bit(?),vec_int8(?))", values)

    def save_statistics(self, stream: Stream, statistics: Statistics, known_versions: int) -> None:
        """Writes the sums, the progress, and the versions after `known_versions`."""
        for one in statistics.versions[known_versions:]:
            row = (COLLECTION, stream.name, one.version, json.dumps(one.center), json.dumps(one.sigma))
            self._db.execute("INSERT INTO scalings VALUES (?, ?, ?, ?, ?)", row)
        sums = json.dumps(statistics.scale.state())
        progress = (statistics.cut_row, statistics.filled_row, statistics.filled)
        query = "INSERT OR REPLACE INTO running VALUES (?, ?, ?, ?, ?, ?)"
        self._db.execute(query, (COLLECTION, stream.name, sums, *progress))

    def statistics(self, stream: Stream) -> Statistics:
        """What is stored of a stream's scaling; empty for a new stream."""
        key = (COLLECTION, stream.name)
        where = "WHERE collection = ? AND stream = ?"
        frozen = self._all(f"SELECT version, center, sigma FROM scalings {where} ORDER BY version", key)  # noqa: S608
        running = self._all(f"SELECT sums, cut_row, filled_row, filled FROM running {where}", key)  # noqa: S608
        width = len(NAMES)
        if not running:
            return Statistics(RunningScale(width))
        sums, cut_row, filled_row, filled = running[0]
        try:
            return Statistics(
                RunningScale.restored(width, json.loads(sums)),
                [_scaling(*row) for row in frozen],
                cut_row=cut_row,
                filled_row=filled_row,
                filled=filled,
            )
        except (ValueError, TypeError) as error:
            raise damaged(self._path, f"scaling of {stream.name}: {error}") from error

    def conditions(self, stream: Stream, after_row: int, before_row: int, count: int) -> list[Condition]:
        """The first `count` conditions of a stream between two rows; PeerError if there are not so many."""
        found = self._all(
            "SELECT id, event_ns, features FROM observations"
            " WHERE id > ? AND id < ? AND +stream = ? AND features IS NOT NULL ORDER BY id LIMIT ?",
            (after_row, before_row, stream.name, count),
        )
        if len(found) != count:
            raise damaged(self._path, f"conditions of {stream.name} are missing")
        return [Condition(row, event_ns, self._unpacked(blob)) for row, event_ns, blob in found]

    def newest_before(self, stream: Stream, event_ns: int) -> list[Recorded]:
        """The bars a feature window needs, oldest first, all before `event_ns`."""
        query = (
            f"SELECT {_RECORD} FROM observations WHERE stream = ? AND event_ns < ?"  # noqa: S608
            " ORDER BY event_ns DESC, id DESC LIMIT ?"
        )
        found = self._all(query, (stream.name, event_ns, HISTORY_BARS))
        return [self._recorded(stream, row) for row in reversed(found)]

    def nearest_codes(
        self, stream: Stream, version: int, code: bytes, before_ns: int, count: int
    ) -> list[tuple[int, int]]:
        """(differing bits, row) of the `count` nearest codes earlier than `before_ns`."""
        found = self._all(
            "SELECT distance, id FROM observations_vec WHERE coarse MATCH vec_bit(?) AND k = ?"
            " AND stream = ? AND scaling = ? AND bucket <= ? AND event_ns < ?",
            (code, count, stream.name, version, stream.bucket(before_ns), before_ns),
        )
        return [(int(bits), number % _VERSION_STEP) for bits, number in found]

    def vectors(self, version: int, rows: Sequence[int]) -> NDArray[np.int8]:
        """Stored int8 vectors of one version, shape (len(rows), 512), in that order."""
        # sqlite-vec answers `id IN (...)` by reading the whole table: 3.6 ms against 0.3 at 15,000 rows.
        query = (
            "SELECT v.fine FROM json_each(?) AS wanted"
            " CROSS JOIN observations_vec AS v ON v.id = wanted.value ORDER BY wanted.key"
        )
        found = self._all(query, (json.dumps([row + version * _VERSION_STEP for row in rows]),))
        joined = b"".join(blob for (blob,) in found)
        if len(found) != len(rows) or len(joined) != DIMS * len(rows):
            raise damaged(self._path, "vectors are missing or cut short")
        return np.frombuffer(joined, dtype=np.int8).reshape(-1, DIMS)

    def recorded(self, stream: Stream, rows: Sequence[int]) -> list[Recorded]:
        """Stored bars in the order of `rows`."""
        query = (
            f"SELECT {_RECORD} FROM json_each(?) AS wanted"  # noqa: S608
            " CROSS JOIN observations AS o ON o.id = wanted.value ORDER BY wanted.key"
        )
        found = self._all(query, (json.dumps(list(rows)),))
        if len(found) != len(rows):
            raise damaged(self._path, "observations of stored vectors are missing")
        return [self._recorded(stream, row) for row in found]

    def by_identity(self, stream: Stream, identity: bytes) -> Recorded | None:
        """The bar of this stream with that identity (QRY-07)."""
        query = f"SELECT {_RECORD} FROM observations WHERE identity = ? AND stream = ?"  # noqa: S608
        found = self._all(query, (identity, stream.name))
        return self._recorded(stream, found[0]) if found else None

    def _recorded(self, stream: Stream, row: _Row) -> Recorded:
        """Raises PeerError if the bar no longer gives the identity it was stored under: bits have changed."""
        identity, spread_ppb, features, event_ns, seen_ns, opened, high, low, close, volume = row
        bar = Bar(
            instrument=stream.instrument,
            event_ns=event_ns,
            seen_ns=seen_ns,
            open=Price(opened),
            high=Price(high),
            low=Price(low),
            close=Price(close),
            volume=volume,
        )
        if stream.identity(bar) != identity:
            raise damaged(self._path, f"the bar stored as {identity.hex()[:16]} is not the one it was")
        return Recorded(identity, bar, spread_ppb, None if features is None else self._unpacked(features))

    def _unpacked(self, blob: bytes) -> tuple[int, ...]:
        if len(blob) != _FEATURES.size:
            raise damaged(self._path, f"a feature vector of {len(blob)} bytes instead of {_FEATURES.size}")
        return _FEATURES.unpack(blob)

    def _insert(self, table: str, marks: str, values: Sequence[Any]) -> None:
        """One statement for all rows; `marks` are the place holders of one of them."""
        count = len(values) // marks.count("?")
        if count:
            self._db.execute(f"INSERT INTO {table} VALUES " + ",".join([marks] * count), values)  # noqa: S608

    def _all(self, query: str, values: Sequence[Any] = ()) -> list[_Row]:
        return self._db.execute(query, values).fetchall()


def _scaling(version: int, center: str, sigma: str) -> Scaling:
    scaling = Scaling(version=version, center=tuple(json.loads(center)), sigma=tuple(json.loads(sigma)))
    if len(scaling.center) != len(NAMES) or len(scaling.sigma) != len(NAMES):
        raise ValueError(f"expected {len(NAMES)} numbers each")
    return scaling
