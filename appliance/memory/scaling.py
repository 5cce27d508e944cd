"""Which differences count: every feature in units of its own spread, with statistics that are versioned.

A vector means something only together with the statistics it was standardised with. So they are frozen as
numbered versions stored with the collection, and every stored vector belongs to one. Version v is made of the
first 64·16^(v-1) conditions of a stream: 64, 1024, 16384, 262144. Before the first there is no vector: too
little is known to say what a large move is.

The running sums are exact integers of any size, so no order of additions, no machine and no restart changes
a bit (Welford's update exists because floats cancel; integers do not). From the first version on, values are
limited to 6 sigma before they enter, so that one bad print does not make all later moves look small.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from appliance.memory.features import MISSING

FIRST_CUT, GROWTH = 64, 16
UNITS_PER_SIGMA = 256
LIMIT_SIGMA = 6
_MIN_SIGMA = 16  # ppb: below this a feature is constant but for rounding, and says nothing


def cut_count(version: int) -> int:
    """Number of conditions from which that version is made."""
    return int(FIRST_CUT * GROWTH ** (version - 1))


class Scaling(Struct, frozen=True, kw_only=True):
    """One frozen version. center, sigma: ppb per feature; sigma 0: the feature does not count."""

    version: int
    center: tuple[int, ...]
    sigma: tuple[int, ...]

    def standardise(self, features: Sequence[Sequence[int]]) -> NDArray[np.int64]:
        """Rows of features as integers in 1/256 sigma, limited to ±6 sigma; what is missing becomes 0.

        Shape (n, d) in and out. Rounded half up; |feature| ≤ 2^40, so nothing overflows.
        """
        raw = np.array(features, dtype=np.int64).reshape(-1, len(self.center))
        sigma = np.array(self.sigma, dtype=np.int64)
        counts = (sigma > 0) & (raw != MISSING)
        divisor = 2 * np.maximum(sigma, 1)
        distance = np.where(counts, raw - np.array(self.center, dtype=np.int64), 0)
        units = (2 * UNITS_PER_SIGMA * distance + divisor // 2) // divisor
        limit = LIMIT_SIGMA * UNITS_PER_SIGMA
        limited: NDArray[np.int64] = np.clip(units, -limit, limit)
        return limited


class RunningScale:
    """The sums the next version will be cut from. One per stream, changed by its newest rows only."""

    __slots__ = ("count", "counts", "squares", "sums")

    def __init__(self, width: int) -> None:
        """width: number of features."""
        self.count = 0
        self.counts = [0] * width
        self.sums = [0] * width
        self.squares = [0] * width

    def add(self, features: Sequence[int], current: Scaling | None) -> None:
        """Counts one condition, limited to 6 sigma of the current version where there is one."""
        self.count += 1
        for place, value in enumerate(features):
            if value == MISSING:
                continue
            kept = value
            if current is not None and current.sigma[place]:
                reach = LIMIT_SIGMA * current.sigma[place]
                kept = min(max(value, current.center[place] - reach), current.center[place] + reach)
            self.counts[place] += 1
            self.sums[place] += kept
            self.squares[place] += kept * kept

    def cut(self, version: int) -> Scaling:
        """The statistics so far as that version."""
        center, sigma = [], []
        for count, total, square in zip(self.counts, self.sums, self.squares, strict=True):
            center.append(total // count if count else 0)
            spread = isqrt((count * square - total * total) // (count * count)) if count else 0
            sigma.append(spread if spread >= _MIN_SIGMA else 0)
        return Scaling(version=version, center=tuple(center), sigma=tuple(sigma))

    def state(self) -> list[list[int]]:
        """For storage: [[count], counts, sums, squares]."""
        return [[self.count], self.counts, self.sums, self.squares]

    @classmethod
    def restored(cls, width: int, state: Sequence[Sequence[int]]) -> RunningScale:
        """Inverse of `state`; raises ValueError if it does not have that shape."""
        if [len(part) for part in state] != [1, width, width, width]:
            raise ValueError(f"running scale: expected 1 + 3 × {width} numbers")
        scale = cls(width)
        scale.count = state[0][0]
        scale.counts, scale.sums, scale.squares = (list(part) for part in state[1:])
        return scale
