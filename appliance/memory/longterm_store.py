"""L2: every bar an instrument had, and which of them looked like now (L2-01, L2-05 to L2-09, L2-17; QRY-01).

Search: bit codes find candidates inside sqlite-vec, exact int8 distances rank them. It covers the asking
instrument's own history, all of it (QRY-01).

A precedent is earlier than the present: only rows with a smaller `event_ns` count. That leaves out the
present itself, and when history is replayed a second time into the same memory, everything the first replay
saw later. (The scaling of a second replay does know the first one; only the first is free of hindsight.)

Precedents resemble; they prove nothing. Whoever tests many of them owes a correction for it (P33).

Not asyncio, not thread-safe: `worker_store` gives it a thread of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from pathlib import Path

from msgspec import Struct

from appliance.domain.errors import InterlockError
from appliance.domain.ids import InstrumentId
from appliance.memory.features import NAMES, FeatureWindow
from appliance.memory.rows_store import Recorded, Rows, Vector
from appliance.memory.sampling import Sample
from appliance.memory.scaling import Scaling
from appliance.memory.schema_store import K_MAX, abandon, open_database, translated
from appliance.memory.similarity import Encoder, squared_distances
from appliance.memory.streams import Condition, Statistics, Stream, whole_seconds
from appliance.ports import Precedent

BATCH_MAX = 512
"""Keeps a statement below SQLite's 32,766 parameters, and a batch shorter than the way from one scaling
version to the next, so that every version is complete before its successor is cut."""

CANDIDATES = 64
"""At least so many bit codes are ranked exactly, and six for each neighbour asked for; sqlite-vec's time
grows with this number. Precision@10 on 20 years of daily bars: 0.65 without ranking, 0.98 with it."""


class Stored(Struct, frozen=True):
    """What became of a batch. repeated: known, or not newer than its stream; full: above the row limit."""

    added: int
    repeated: int
    full: int


class LongTermMemory:
    """An open memory file and the state of the streams seen since it was opened."""

    def __init__(self, path: Path, bar_ns: int, max_rows: int, mmap_bytes: int = 0) -> None:
        """Opens an existing file. bar_ns: nominal bar length; max_rows: where growth ends.

        Raises ValueError for a bar length that is not whole seconds, and what `open_database` raises.
        """
        self._path = path
        self._bar_ns = whole_seconds(bar_ns)
        self._max_rows = max_rows
        self._encoder = Encoder(NAMES)
        self._db = open_database(path, self._encoder, mmap_bytes)
        self._rows = Rows(self._db, path)
        self._windows: dict[InstrumentId, FeatureWindow] = {}
        self._statistics: dict[InstrumentId, Statistics] = {}
        try:
            with translated(path):
                self.row_count, self._newest_row = self._rows.totals()
        except InterlockError:
            abandon(self._db)
            raise

    def store(self, samples: Sequence[Sample]) -> Stored:
        """Adds a batch in one transaction, each stream's bars in order of time: all of it or nothing.

        Raises ValueError for more than 512 samples, TransportError if this batch was lost, PeerError if the
        file is damaged. Windows go on in the latter cases: what was seen was seen.
        """
        if len(samples) > BATCH_MAX:
            raise ValueError(f"samples: at most {BATCH_MAX}, got {len(samples)}")
        with translated(self._path):
            measured = [one for one in map(self._measure, samples) if one is not None]
            if not measured:
                return Stored(0, len(samples), 0)
            known = self._rows.known([record.identity for record in measured])
            new = [record for record in measured if record.identity not in known]
            kept = new[: max(self._max_rows - self.row_count, 0)]
            written = False
            try:
                with self._db:
                    self._add(kept)
                written = True
            finally:
                if not written:
                    self._statistics.clear()  # they count rows that were rolled back; read again when needed
        self.row_count += len(kept)
        self._newest_row += len(kept)
        return Stored(len(kept), len(samples) - len(new), len(new) - len(kept))

    def similar(self, instrument: InstrumentId, k: int) -> tuple[Precedent, ...] | None:
        """The k earlier conditions of this instrument most like its latest one, nearest first.

        None: too little history, there is nothing to compare. Of equals, the one stored later comes first.
        `distance` is L2 in int8 steps, 90.5 per sigma. Raises ValueError unless 1 ≤ k ≤ 4096,
        TransportError and PeerError as `store`.
        """
        if not 1 <= k <= K_MAX:
            raise ValueError(f"k: 1 to {K_MAX}, got {k}")
        window = self._windows.get(instrument)
        if window is None or window.latest is None:
            return None
        stream = Stream(instrument, self._bar_ns)
        with translated(self._path):
            statistics = self._stream_statistics(stream)
            version = statistics.active
            if version == 0:
                return None
            scaling = statistics.versions[version - 1]
            fine, codes = self._encoder.encode(scaling.standardise([window.latest]))
            count = min(K_MAX, max(CANDIDATES, 6 * k))
            found = self._rows.nearest_codes(stream, version, codes[0].tobytes(), window.event_ns, count)
            if not found:
                return ()
            rows = [row for _, row in found]
            squared = squared_distances(fine[0], self._rows.vectors(version, rows)).tolist()
            nearest = sorted(zip(squared, (-row for row in rows), strict=True))[:k]
            stored = self._rows.recorded(stream, [-row for _, row in nearest])
        return tuple(
            Precedent(observation=one.identity.hex(), event_ns=one.bar.event_ns, distance=isqrt(distance))
            for one, (distance, _) in zip(stored, nearest, strict=True)
        )

    def recorded(self, instrument: InstrumentId, identity: bytes) -> Recorded | None:
        """The stored bar of that identity (QRY-07). Raises TransportError and PeerError as `store`."""
        with translated(self._path):
            return self._rows.by_identity(Stream(instrument, self._bar_ns), identity)

    def close(self) -> None:
        """Moves the write-ahead log into the file and releases it. Raises TransportError, PeerError."""
        with translated(self._path):
            self._db.close()

    def abandon(self) -> None:
        """Releases the file without writing to it again: after damage."""
        abandon(self._db)

    def _measure(self, sample: Sample) -> Recorded | None:
        """The bar with its condition; None if it is not newer than its stream."""
        bar = sample.bar
        stream = Stream(bar.instrument, self._bar_ns)
        window = self._windows.get(bar.instrument)
        if window is None:
            window = self._windows[bar.instrument] = self._restored(stream, bar.event_ns)
        if bar.event_ns <= window.event_ns:
            return None
        if sample.restart:
            window.restart()
        features = window.push(bar, sample.spread_ppb)
        return Recorded(stream.identity(bar), bar, sample.spread_ppb, features)

    def _restored(self, stream: Stream, before_ns: int) -> FeatureWindow:
        """The window as it would stand had the process never ended."""
        window = FeatureWindow(self._bar_ns)
        by_time = {old.bar.event_ns: old for old in self._rows.newest_before(stream, before_ns)}
        for old in by_time.values():  # of a bar that was corrected, the later record
            window.push(old.bar, old.spread_ppb)
        return window

    def _add(self, records: Sequence[Recorded]) -> None:
        """Writes new records and whatever vectors they lead to. In a transaction."""
        by_instrument: dict[InstrumentId, list[tuple[int, Recorded]]] = {}
        for row, record in enumerate(records, start=self._newest_row + 1):
            by_instrument.setdefault(record.bar.instrument, []).append((row, record))
        for instrument, rows in by_instrument.items():
            stream = Stream(instrument, self._bar_ns)
            statistics = self._stream_statistics(stream)
            known_versions = len(statistics.versions)
            self._rows.add_observations(stream, rows)
            for version, conditions in self._admitted(stream, statistics, rows).items():
                scaling = statistics.versions[version - 1]
                self._rows.add_vectors(self._encoded(stream, scaling, conditions))
            self._rows.save_statistics(stream, statistics, known_versions)

    def _admitted(
        self, stream: Stream, statistics: Statistics, rows: Sequence[tuple[int, Recorded]]
    ) -> dict[int, list[Condition]]:
        """By scaling version, the conditions to encode now: the new ones, and old ones a new version owes."""
        wanted: dict[int, list[Condition]] = {}
        for row, record in rows:
            if record.features is None:
                continue
            condition = Condition(row, record.bar.event_ns, record.features)
            for version in statistics.admit(condition):
                wanted.setdefault(version, []).append(condition)
        owed = statistics.owed()
        if owed:
            older = self._rows.conditions(stream, statistics.filled_row, statistics.cut_row, owed)
            wanted.setdefault(len(statistics.versions), []).extend(older)
            statistics.fill([condition.row for condition in older])
        return wanted

    def _encoded(self, stream: Stream, scaling: Scaling, conditions: Sequence[Condition]) -> list[Vector]:
        fine, codes = self._encoder.encode(scaling.standardise([one.features for one in conditions]))
        return [
            Vector(one.row, stream, scaling.version, one.event_ns, code.tobytes(), vector.tobytes())
            for one, code, vector in zip(conditions, codes, fine, strict=True)
        ]

    def _stream_statistics(self, stream: Stream) -> Statistics:
        found = self._statistics.get(stream.instrument)
        if found is None:
            found = self._statistics[stream.instrument] = self._rows.statistics(stream)
        return found
