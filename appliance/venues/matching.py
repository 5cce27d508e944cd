"""A limit order book with price-time priority. Pure; one instrument, one thread.

Two kinds of participant share the queues: our orders, and the market's displayed size (owner `MARKET`).
At one price, whoever came first fills first; size the market adds later queues behind us.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Mapping

from msgspec import Struct

from appliance.domain.intent import Side

MARKET = ""


class Match(Struct, frozen=True):
    """One trade. maker, taker: order ids, `MARKET` for the market's own size."""

    maker: str
    taker: str
    price: int
    qty: int


class _Resting:
    __slots__ = ("leaves", "owner")

    def __init__(self, owner: str, leaves: int) -> None:
        self.owner = owner
        self.leaves = leaves


class _Side:
    """Price levels of one side, best last in `_prices` so that the best pops from the end."""

    def __init__(self, side: Side) -> None:
        self._sign = side.sign  # bids rise towards the best, asks fall
        self._prices: list[int] = []  # price × sign, ascending
        self._levels: dict[int, deque[_Resting]] = {}

    def best(self) -> int | None:
        return self._prices[-1] * self._sign if self._prices else None

    def queue(self, price: int) -> deque[_Resting]:
        level = self._levels.get(price)
        if level is None:
            level = self._levels[price] = deque()
            insort(self._prices, price * self._sign)
        return level

    def prices(self) -> list[int]:
        """Best first."""
        return [price * self._sign for price in reversed(self._prices)]

    def level(self, price: int) -> deque[_Resting] | None:
        return self._levels.get(price)

    def tidy(self, price: int) -> None:
        level = self._levels.get(price)
        if level is not None and not level:
            del self._levels[price]
            self._prices.remove(price * self._sign)


class OrderBook:
    """Bids and asks of one instrument, in scaled integers."""

    def __init__(self) -> None:
        self._sides = {Side.BUY: _Side(Side.BUY), Side.SELL: _Side(Side.SELL)}
        self._ours: dict[str, tuple[Side, int]] = {}

    def best(self, side: Side) -> int | None:
        """Highest bid or lowest ask."""
        return self._sides[side].best()

    def depth(self, side: Side, price: int) -> int:
        """Quantity resting at a price."""
        return sum(resting.leaves for resting in self._sides[side].level(price) or ())

    def ours(self) -> dict[str, tuple[Side, int]]:
        """Order id → (side, price) of what rests for us."""
        return dict(self._ours)

    def take(self, taker: str, side: Side, qty: int, limit: int | None) -> tuple[list[Match], int]:
        """An order arrives: matches down to `limit` (None: any price). Returns matches and what is left."""
        other = self._sides[side.opposite]
        matches: list[Match] = []
        left = qty
        while left:
            price = other.best()
            if price is None or (limit is not None and (price - limit) * side.sign > 0):
                break
            level = other.queue(price)
            while left and level:
                first = level[0]
                traded = min(left, first.leaves)
                matches.append(Match(first.owner, taker, price, traded))
                left -= traded
                first.leaves -= traded
                if not first.leaves:
                    level.popleft()
                    self._ours.pop(first.owner, None)
            other.tidy(price)
        return matches, left

    def rest(self, owner: str, side: Side, price: int, qty: int) -> None:
        """Joins the end of the queue at `price`."""
        self._sides[side].queue(price).append(_Resting(owner, qty))
        if owner != MARKET:
            self._ours[owner] = (side, price)

    def remove(self, owner: str) -> bool:
        """Takes one of our orders out of its queue; False if it does not rest here."""
        place = self._ours.pop(owner, None)
        if place is None:
            return False
        side, price = place
        level = self._sides[side].queue(price)
        level.remove(next(resting for resting in level if resting.owner == owner))
        self._sides[side].tidy(price)
        return True

    def display(self, bids: Mapping[int, int], asks: Mapping[int, int]) -> list[Match]:
        """The market now shows exactly these sizes (price → quantity) beside our orders.

        Size that is gone leaves from the end of the queue, size that is new joins there. Market orders
        that cross one of ours trade with it at our price: we were there first.
        """
        for side, sizes in ((Side.BUY, bids), (Side.SELL, asks)):
            for price in self._sides[side].prices():
                self._shrink(side, price, sizes.get(price, 0))
        matches: list[Match] = []
        for side, sizes in ((Side.BUY, bids), (Side.SELL, asks)):
            for price in sorted(sizes, reverse=side is Side.BUY):
                more = sizes[price] - self._shown(side, price)
                if more <= 0:
                    continue
                crossed, left = self.take(MARKET, side, more, price)
                matches += crossed
                if left:
                    self.rest(MARKET, side, price, left)
        return matches

    def _shown(self, side: Side, price: int) -> int:
        return sum(r.leaves for r in self._sides[side].level(price) or () if r.owner == MARKET)

    def _shrink(self, side: Side, price: int, keep: int) -> None:
        level = self._sides[side].queue(price)
        surplus = self._shown(side, price) - keep
        for resting in list(reversed(level)):
            if surplus <= 0:
                break
            if resting.owner != MARKET:
                continue
            cut = min(surplus, resting.leaves)
            resting.leaves -= cut
            surplus -= cut
            if not resting.leaves:
                level.remove(resting)
        self._sides[side].tidy(price)
