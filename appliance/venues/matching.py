"""A limit order book with price-time priority. Pure; one instrument, one thread.

Two kinds of participant share the queues: our orders, and the market's displayed size (owner `MARKET`).
At one price, whoever came first fills first; size the market adds later queues behind us. Every operation
costs the same however many orders rest elsewhere in the book.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator, Mapping

from msgspec import Struct

from appliance.domain.intent import Side
from appliance.domain.price_set import PriceSet

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


class _Level:
    """One price. queue: place in line → who stands there; market: the market's places, first in front."""

    __slots__ = ("market", "queue", "shown")

    def __init__(self) -> None:
        self.queue: dict[int, _Resting] = {}
        self.market: deque[int] = deque()
        self.shown = 0  # the market's size


class _Side:
    """Price levels of one side, best last in `_prices` so that the best pops from the end."""

    def __init__(self, side: Side) -> None:
        self._sign = side.sign  # bids rise towards the best, asks fall
        self._prices: list[int] = []  # price × sign, ascending
        self.levels: dict[int, _Level] = {}
        self.own = PriceSet()
        self.market: set[int] = set()  # prices with size of the market's

    def best(self) -> int | None:
        return self._prices[-1] * self._sign if self._prices else None

    def level(self, price: int) -> _Level:
        level = self.levels.get(price)
        if level is None:
            level = self.levels[price] = _Level()
            insort(self._prices, price * self._sign)
        return level

    def within(self, limit: int | None) -> Iterator[tuple[int, _Level]]:
        """Levels an order with this limit reaches, best first."""
        for signed in reversed(self._prices):
            price = signed * self._sign
            if limit is not None and (limit - price) * self._sign > 0:
                return
            yield price, self.levels[price]

    def tidy(self, price: int) -> None:
        level = self.levels.get(price)
        if level is None:
            return
        if not level.market:
            self.market.discard(price)
        if not level.queue:
            del self.levels[price]
            del self._prices[bisect_left(self._prices, price * self._sign)]


class OrderBook:
    """Bids and asks of one instrument, in scaled integers."""

    def __init__(self) -> None:
        self._sides = {Side.BUY: _Side(Side.BUY), Side.SELL: _Side(Side.SELL)}
        self._ours: dict[str, tuple[Side, int, int]] = {}  # order id → side, price, place
        self._places = 0

    def best(self, side: Side) -> int | None:
        """Highest bid or lowest ask."""
        return self._sides[side].best()

    def depth(self, side: Side, price: int) -> int:
        """Quantity resting at a price."""
        level = self._sides[side].levels.get(price)
        return sum(resting.leaves for resting in level.queue.values()) if level is not None else 0

    def ours(self) -> dict[str, tuple[Side, int]]:
        """Order id → (side, price) of what rests for us."""
        return {owner: (side, price) for owner, (side, price, _) in self._ours.items()}

    def own(self, side: Side) -> PriceSet:
        """Prices of what rests for us on one side."""
        return self._sides[side].own

    def ahead_of(self, owner: str) -> int:
        """Quantity that fills before this order of ours at its price; 0 if it does not rest here."""
        found = self._ours.get(owner)
        if found is None:
            return 0
        side, price, place = found
        queue = self._sides[side].levels[price].queue
        return sum(resting.leaves for where, resting in queue.items() if where < place)

    def reach(self, side: Side, qty: int, limit: int | None) -> tuple[int, str]:
        """How much of `qty` an arriving order could take before it meets one of ours, and which one.

        The id is empty if it meets none. Nothing is changed.
        """
        found = 0
        for _, level in self._sides[side.opposite].within(limit):
            for resting in level.queue.values():
                if resting.owner != MARKET:
                    return min(found, qty), resting.owner if found < qty else MARKET
                found += resting.leaves
            if found >= qty:
                return qty, MARKET
        return min(found, qty), MARKET

    def take(self, taker: str, side: Side, qty: int, limit: int | None) -> tuple[list[Match], int]:
        """An order arrives: matches down to `limit` (None: any price). Returns matches and what is left."""
        other = self._sides[side.opposite]
        matches: list[Match] = []
        left = qty
        while left:
            price = other.best()
            if price is None or (limit is not None and (price - limit) * side.sign > 0):
                break
            level = other.levels[price]
            while left and level.queue:
                place, first = next(iter(level.queue.items()))
                traded = min(left, first.leaves)
                matches.append(Match(first.owner, taker, price, traded))
                left -= traded
                self._cut(other, price, place, traded)
            other.tidy(price)
        return matches, left

    def rest(self, owner: str, side: Side, price: int, qty: int) -> None:
        """Joins the end of the queue at `price`."""
        where = self._sides[side]
        level = where.level(price)
        if owner == MARKET and level.market and next(reversed(level.queue)) == level.market[-1]:
            level.queue[level.market[-1]].leaves += qty  # it is last in line already
            level.shown += qty
            return
        self._places += 1
        level.queue[self._places] = _Resting(owner, qty)
        if owner == MARKET:
            level.market.append(self._places)
            level.shown += qty
            where.market.add(price)
        else:
            where.own.add(price)
            self._ours[owner] = (side, price, self._places)

    def shrink(self, owner: str, by: int) -> bool:
        """Makes one of our orders smaller where it stands; False if it does not rest here or is no larger."""
        found = self._ours.get(owner)
        if found is None:
            return False
        side, price, place = found
        resting = self._sides[side].levels[price].queue[place]
        if resting.leaves <= by:
            return False
        resting.leaves -= by
        return True

    def remove(self, owner: str) -> bool:
        """Takes one of our orders out of its queue; False if it does not rest here."""
        found = self._ours.get(owner)
        if found is None:
            return False
        side, price, place = found
        where = self._sides[side]
        self._cut(where, price, place, where.levels[price].queue[place].leaves)
        where.tidy(price)
        return True

    def display(self, bids: Mapping[int, int], asks: Mapping[int, int]) -> list[Match]:
        """The market now shows exactly these sizes (price → quantity) beside our orders.

        Size that is gone leaves from the end of the queue, size that is new joins there. Market orders
        that cross one of ours trade with it at our price: we were there first.
        """
        for side, sizes in ((Side.BUY, bids), (Side.SELL, asks)):
            for price in sorted(self._sides[side].market):
                self._hide(self._sides[side], price, sizes.get(price, 0))
        matches: list[Match] = []
        for side, sizes in ((Side.BUY, bids), (Side.SELL, asks)):
            for price in sorted(sizes, reverse=side is Side.BUY):
                level = self._sides[side].levels.get(price)
                more = sizes[price] - (level.shown if level is not None else 0)
                if more <= 0:
                    continue
                crossed, left = self.take(MARKET, side, more, price)
                matches += crossed
                if left:
                    self.rest(MARKET, side, price, left)
        return matches

    def _cut(self, where: _Side, price: int, place: int, qty: int) -> None:
        """Takes quantity from one place in line; an empty place is given up."""
        level = where.levels[price]
        resting = level.queue[place]
        resting.leaves -= qty
        if resting.owner == MARKET:
            level.shown -= qty
        if resting.leaves:
            return
        del level.queue[place]
        if resting.owner == MARKET:
            if level.market[0] == place:
                level.market.popleft()
            else:
                level.market.pop()  # size leaves from either end only
        else:
            where.own.remove(price)
            del self._ours[resting.owner]

    def _hide(self, where: _Side, price: int, keep: int) -> None:
        level = where.levels[price]
        while level.shown > keep:
            last = level.market[-1]
            self._cut(where, price, last, min(level.shown - keep, level.queue[last].leaves))
        where.tidy(price)
