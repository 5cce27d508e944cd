"""Stops that wait at the paper venue, sorted by trigger: finding those that are due costs nothing for the
others. Pure; one instrument."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort

from appliance.domain.ids import OrderId
from appliance.domain.intent import Side


class StopBook:
    """(trigger, arrival) per side."""

    def __init__(self) -> None:
        self._sorted: dict[Side, list[tuple[int, int, OrderId]]] = {Side.BUY: [], Side.SELL: []}
        self._where: dict[OrderId, tuple[Side, tuple[int, int, OrderId]]] = {}
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._where)

    def __contains__(self, order_id: object) -> bool:
        return order_id in self._where

    def add(self, order_id: OrderId, side: Side, trigger: int) -> None:
        """Waits from now on."""
        self._arrivals += 1
        entry = (trigger, self._arrivals, order_id)
        insort(self._sorted[side], entry)
        self._where[order_id] = (side, entry)

    def remove(self, order_id: OrderId) -> bool:
        """No longer waits; False if it did not."""
        found = self._where.pop(order_id, None)
        if found is None:
            return False
        side, entry = found
        ordered = self._sorted[side]
        del ordered[bisect_left(ordered, entry)]
        return True

    def due(self, best_bid: int | None, best_ask: int | None) -> list[OrderId]:
        """Sells whose trigger is at or above the best bid, buys at or below the best ask; oldest first."""
        sells, buys = self._sorted[Side.SELL], self._sorted[Side.BUY]
        reached = sells[bisect_left(sells, (best_bid,)) :] if best_bid is not None else []
        if best_ask is not None:
            reached = reached + buys[: bisect_left(buys, (best_ask + 1,))]
        return [order_id for _, _, order_id in sorted(reached, key=lambda entry: entry[1])]

    def count(self, side: Side) -> int:
        """How many of one side wait."""
        return len(self._sorted[side])

    def below(self, side: Side, price: int) -> int | None:
        """The highest trigger of a side that is below `price`."""
        ordered = self._sorted[side]
        index = bisect_left(ordered, (price,))
        return ordered[index - 1][0] if index else None

    def above(self, side: Side, price: int) -> int | None:
        """The lowest trigger of a side that is above `price`."""
        ordered = self._sorted[side]
        index = bisect_right(ordered, (price + 1,))
        return ordered[index][0] if index < len(ordered) else None
