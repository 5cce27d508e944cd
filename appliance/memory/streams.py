"""A stream is one instrument in bars of one length: what may be compared with each other (QRY-01).

Daily and one-minute conditions of an instrument have different spreads and are never mixed.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from appliance.domain.ids import InstrumentId
from appliance.domain.observation import Bar
from appliance.memory.identity import identify
from appliance.memory.scaling import RunningScale, Scaling, cut_count

SECOND_NS = 10**9
BUCKET_BARS = 1024
"""Partition bucket of the vector table, in bar lengths. sqlite-vec allocates whole chunks per partition: with
a bucket a day, 15,082 daily bars in default chunks take 9.2 GB; with 1,024 bars and chunks of 256, 11 MB."""

PACE = 4
"""Older conditions a new one brings along into a new scaling version."""


class Stream(Struct, frozen=True):
    """bar_ns: nominal length of a bar, whole seconds."""

    instrument: InstrumentId
    bar_ns: int

    @property
    def name(self) -> str:
        """As stored, such as `SPX/86400s`. Symbols hold no slash, so names of two streams differ."""
        return f"{self.instrument}/{self.bar_ns // SECOND_NS}s"

    def bucket(self, event_ns: int) -> int:
        """Number of the partition bucket an event falls into; grows with time."""
        return event_ns // (BUCKET_BARS * self.bar_ns)

    def identity(self, bar: Bar) -> bytes:
        """The deduplication key: content, time and bar length, not when it was seen."""
        return identify(bar, at_time=True, context=(("bar_ns", self.bar_ns),))


def whole_seconds(bar_ns: int) -> int:
    """`bar_ns` if a stream can have bars of that length; raises ValueError unless positive whole seconds."""
    if bar_ns <= 0 or bar_ns % SECOND_NS:
        raise ValueError(f"bar_ns: positive whole seconds, got {bar_ns}")
    return bar_ns


class Condition(Struct, frozen=True, gc=False):
    """The features at one stored bar. row: its number in the store."""

    row: int
    event_ns: int
    features: tuple[int, ...]


class Statistics:
    """Scaling of one stream: the running sums, the frozen versions, and how far the newest has got.

    Vectors that are searched together must have one version, the active one. After a cut, new conditions are
    encoded with both the active and the newest version, and each brings four of the older conditions along
    into the newest; with the last of them the newest is active. So no bar ever causes much work, and which
    version is active after n conditions depends on n alone, not on the batches they came in. (sqlite-vec
    0.1.9 cannot update an int8 column.) Superseded vectors stay: 8 % more rows; at the end of a move, 2.3
    times as many.
    """

    __slots__ = ("cut_row", "filled", "filled_row", "scale", "versions")

    def __init__(
        self,
        scale: RunningScale,
        versions: Sequence[Scaling] = (),
        *,
        cut_row: int = 0,
        filled_row: int = 0,
        filled: int = 0,
    ) -> None:
        """cut_row: the row that completed the newest version.  filled: how many conditions before it are
        encoded with it, filled_row: the last of them. Raises ValueError for what cannot have been stored.
        """
        if [one.version for one in versions] != list(range(1, len(versions) + 1)):
            raise ValueError(f"versions: expected 1 to {len(versions)} in order")
        self.scale = scale
        self.versions = list(versions)
        self.cut_row = cut_row
        self.filled_row = filled_row
        self.filled = filled
        if not 0 <= filled <= self._older:
            raise ValueError(f"filled: {filled} of {self._older}")

    @property
    def active(self) -> int:
        """The version to search, 0 while there is none."""
        newest = len(self.versions)
        return newest if self.filled == self._older else newest - 1

    @property
    def _older(self) -> int:
        """Conditions seen before the newest version was cut."""
        return cut_count(len(self.versions)) - 1 if self.versions else 0

    def admit(self, condition: Condition) -> tuple[int, ...]:
        """Counts a new condition, cuts a version if it is due, and says which versions to encode it with."""
        newest = len(self.versions)
        self.scale.add(condition.features, self.versions[-1] if newest else None)
        if self.scale.count == cut_count(newest + 1):
            self.versions.append(self.scale.cut(newest + 1))
            self.cut_row, self.filled_row, self.filled = condition.row, 0, 0
        wanted = {self.active, len(self.versions)} - {0}
        return tuple(sorted(wanted))

    def owed(self) -> int:
        """How many older conditions, those after `filled_row`, the newest version should get now."""
        newest = len(self.versions)
        if newest == 0:
            return 0
        pace = PACE * (self.scale.count - cut_count(newest)) if newest > 1 else self._older
        return min(self._older, pace) - self.filled

    def fill(self, rows: Sequence[int]) -> None:
        """These older conditions, ascending, are encoded with the newest version now."""
        self.filled += len(rows)
        self.filled_row = rows[-1]
