"""A sorted multiset of prices: nearest neighbours in logarithmic time. R0."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort


class PriceSet:
    """Prices with multiplicity, in scaled integers."""

    def __init__(self) -> None:
        self._prices: list[int] = []
        self._counts: dict[int, int] = {}

    def add(self, price: int) -> None:
        """One more of it."""
        count = self._counts.get(price, 0)
        self._counts[price] = count + 1
        if not count:
            insort(self._prices, price)

    def remove(self, price: int) -> None:
        """One fewer; the price must be there."""
        count = self._counts.pop(price)
        if count > 1:
            self._counts[price] = count - 1
        else:
            del self._prices[bisect_left(self._prices, price)]

    def lowest(self) -> int | None:
        """None if there is no price."""
        return self._prices[0] if self._prices else None

    def highest(self) -> int | None:
        """None if there is no price."""
        return self._prices[-1] if self._prices else None

    def below(self, price: int) -> int | None:
        """The largest that is smaller than `price`."""
        index = bisect_left(self._prices, price)
        return self._prices[index - 1] if index else None

    def above(self, price: int) -> int | None:
        """The smallest that is larger than `price`."""
        index = bisect_right(self._prices, price)
        return self._prices[index] if index < len(self._prices) else None

    def __len__(self) -> int:
        return len(self._prices)
