"""Which instruments move together, kept as running integer sums (RSK-04, RSK-08, RSK-15; U18).

Pearson's correlation of simple returns over the last `window` closed intervals, from pairs that cover
exactly the same time; both instruments must have a price at both ends. The sums are integers, so adding
and removing leaves no rounding behind, and the comparison with the limit is exact:

    c > limit  ⟺  num > 0 and num² > limit² × vx × vy
    num = n Σxy − Σx Σy    vx = n Σx² − (Σx)²    vy = n Σy² − (Σy)²

Too few common returns, or one that does not move at all: not known, which counts as 1 in whichever
direction is worse. Sign: long A and long B move together when c is high, long A and short B when −c is.

One closed interval costs one step per other instrument; asking costs three machine words per 64
instruments. Memory: six integers per pair, `window` returns per instrument.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import isqrt

from msgspec import Struct

from appliance.domain.ids import InstrumentId
from appliance.domain.intent import Side
from appliance.domain.money import PPM_ONE, Ppm
from appliance.portfolio.series import Return

CORRELATION_ONE = 10**12
"""Correlations for people and for the log: integers in units of 10^-12."""

_BUY = Side.BUY  # Python 3.11 looks an enum member up in 90 ns, a global in 3; every entry passes here.


class CorrelationTerms(Struct, frozen=True, kw_only=True):
    """limit_ppm: the last allowed correlation.  interval_ns: length of one return.  window: returns kept.

    sample: fewest common returns a correlation is known from.
    """

    limit_ppm: Ppm
    interval_ns: int
    window: int
    sample: int

    def __post_init__(self) -> None:
        if self.limit_ppm > PPM_ONE or self.limit_ppm < 0:
            raise ValueError("the limit must lie between 0 and 100 %")
        if self.interval_ns <= 0:
            raise ValueError("the interval must be positive")
        if not 3 <= self.sample <= self.window:  # two points always lie on a line
            raise ValueError("the sample must be 3 at least, and not above the window")


class Pair:
    """Running sums of two instruments' common returns; x belongs to the one with the smaller number."""

    __slots__ = ("n", "x", "xx", "xy", "y", "yy")

    def __init__(self) -> None:
        self.n = self.x = self.y = self.xx = self.yy = self.xy = 0

    def add(self, x: int, y: int, sign: int) -> None:
        """Takes one common return in (sign 1) or out (sign −1)."""
        self.n += sign
        self.x += sign * x
        self.y += sign * y
        self.xx += sign * x * x
        self.yy += sign * y * y
        self.xy += sign * x * y

    def moments(self) -> tuple[int, int]:
        """(num, vx × vy) of the module's docstring; the second is 0 where nothing is defined."""
        n, x, y = self.n, self.x, self.y
        return n * self.xy - x * y, (n * self.xx - x * x) * (n * self.yy - y * y)


class Correlations:
    """All pairs of one account. Without terms nothing is known, and whoever holds something enters alone.

    Masks have one bit per instrument; `_long` and `_short`: held, or would be if what works filled.
    """

    def __init__(self, instruments: Iterable[InstrumentId], terms: CorrelationTerms | None) -> None:
        self._terms = terms
        self._names = list(instruments)
        self._number = {symbol: number for number, symbol in enumerate(self._names)}
        count = len(self._names)
        self._returns: list[dict[tuple[int, int], int]] = [{} for _ in self._names]
        self._pairs: dict[tuple[int, int], Pair] = {}
        everyone = (1 << count) - 1
        nobody_known = terms is None or terms.limit_ppm < PPM_ONE
        self._long = self._short = 0
        self._masks = {  # together, apart, unknown
            symbol: (0, 0, (everyone ^ (1 << number)) if nobody_known else 0)
            for symbol, number in self._number.items()
        }

    def push(self, symbol: InstrumentId, closed: Return) -> None:
        """Takes one closed interval's return of one instrument."""
        if self._terms is None:
            return
        own = self._number[symbol]
        returns = self._returns[own]
        returns[closed.key] = closed.value
        self._each(own, closed.key, closed.value, 1)
        if len(returns) > self._terms.window:
            oldest = next(iter(returns))
            self._each(own, oldest, returns.pop(oldest), -1)
        for numbers, pair in self._pairs_of(own):
            self._judge(numbers, pair, self._terms)

    def hold(self, symbol: InstrumentId, *, long: bool, short: bool) -> None:
        """What is held in the instrument, or would be if everything that works filled."""
        bit = 1 << self._number[symbol]
        self._long = self._long | bit if long else self._long & ~bit
        self._short = self._short | bit if short else self._short & ~bit

    def clash(self, symbol: InstrumentId, side: Side) -> bool | None:
        """Would an entry stand beside one that moves with it? None: with one of which that is not known."""
        together, apart, unknown = self._masks[symbol]
        if side is _BUY:
            same, opposite = self._long, self._short
        else:
            same, opposite = self._short, self._long
        if together & same or apart & opposite:
            return True
        return None if unknown & (same | opposite) else False

    def of(self, one: InstrumentId, other: InstrumentId) -> int | None:
        """Correlation in units of 10^-12, rounded towards zero; None if it is not known."""
        first, second = sorted((self._number[one], self._number[other]))
        if self._terms is None or first == second:
            return None if self._terms is None else CORRELATION_ONE
        pair = self._pairs.get((first, second))
        if pair is None or pair.n < self._terms.sample:
            return None
        num, square = pair.moments()
        if not square:
            return None
        size = isqrt(num * num * CORRELATION_ONE**2 // square)
        return -size if num < 0 else size

    def beside_ppm(self, symbol: InstrumentId, side: Side) -> tuple[int, int]:
        """(highest correlation an entry would have with what is held, limit), rounded up; unknown is 1."""
        own, sign, highest = self._number[symbol], side.sign, 0
        for other, name in enumerate(self._names):
            for held, direction in ((self._long, sign), (self._short, -sign)):
                if other != own and held >> other & 1:
                    known = self.of(symbol, name)
                    value = CORRELATION_ONE if known is None else known * direction
                    highest = max(highest, -(-value * PPM_ONE // CORRELATION_ONE))
        return highest, self._terms.limit_ppm if self._terms is not None else PPM_ONE

    def above(self) -> Iterator[tuple[InstrumentId, InstrumentId, int]]:
        """(one, other, sign) of every pair beyond the limit; sign −1: they move against each other."""
        for one, other in self._pairs:
            together, apart, _ = self._masks[self._names[one]]
            for sign, mask in ((1, together), (-1, apart)):
                if mask >> other & 1:
                    yield self._names[one], self._names[other], sign

    def _each(self, own: int, key: tuple[int, int], value: int, sign: int) -> None:
        """Takes one return in or out of every pair whose other side has one over the same time."""
        for other, returns in enumerate(self._returns):
            theirs = returns.get(key)
            if theirs is None or other == own:
                continue
            numbers = (own, other) if own < other else (other, own)
            pair = self._pairs.get(numbers)
            if pair is None:
                pair = self._pairs[numbers] = Pair()
            x, y = (value, theirs) if own < other else (theirs, value)
            pair.add(x, y, sign)

    def _pairs_of(self, own: int) -> Iterator[tuple[tuple[int, int], Pair]]:
        for other in range(len(self._names)):
            numbers = (own, other) if own < other else (other, own)
            pair = self._pairs.get(numbers)
            if pair is not None:
                yield numbers, pair

    def _judge(self, numbers: tuple[int, int], pair: Pair, terms: CorrelationTerms) -> None:
        """Writes one pair's bits, in both rows."""
        num, square = pair.moments()
        known = pair.n >= terms.sample and square > 0
        beyond = known and num * num * PPM_ONE**2 > terms.limit_ppm**2 * square
        unknown = not known and terms.limit_ppm < PPM_ONE
        for row, column in (numbers, numbers[::-1]):
            bit, name = 1 << column, self._names[row]
            together, apart, before = self._masks[name]
            self._masks[name] = (
                _with(together, bit, beyond and num > 0),
                _with(apart, bit, beyond and num < 0),
                _with(before, bit, unknown),
            )


def _with(mask: int, bit: int, on: bool) -> int:
    return mask | bit if on else mask & ~bit
