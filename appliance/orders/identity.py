"""Every order id ever recorded, kept for ever (SAFETY 4; ORD-12, U23): an order is never sent twice.

The ledger on disk is the truth; this is its index in memory: 60 bits of each id's hash, and the last state
of its order. A false positive (2^-60 per pair) denies an order that was new; a false negative cannot happen.
The hash is Python's own, keyed anew by every process: nobody outside can choose two ids that share one.
A 60-bit integer takes 32 bytes and its place in the table 30 to 60: below 100 bytes an id, whatever its
length (measured by `tests.bench orders`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from appliance.domain.ids import OrderId
from appliance.domain.order import OrderState

_SHIFT = 4  # 60 bits are two digits of Python's integers, 64 are three
_STATES = tuple(OrderState)
_NUMBER = {state: number for number, state in enumerate(_STATES)}


class IdLedger:
    """Answers `in`, and what became of it."""

    def __init__(self, known: Iterable[OrderId] = ()) -> None:
        self._seen: dict[int, int] = {hash(order_id) >> _SHIFT: 0 for order_id in known}

    @classmethod
    def restored(cls, known: Iterable[tuple[OrderId, OrderState]]) -> Self:
        """From the log: every order of every run with its last state."""
        made = cls()
        for order_id, state in known:
            made.add(order_id, state)
        return made

    def __contains__(self, order_id: object) -> bool:
        return hash(order_id) >> _SHIFT in self._seen

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, order_id: OrderId, state: OrderState = OrderState.RECORDED) -> None:
        """Remembers an id, or what became of it; it stays remembered."""
        self._seen[hash(order_id) >> _SHIFT] = _NUMBER[state]

    def state(self, order_id: OrderId) -> OrderState | None:
        """The last state its order was in; None for an id that was never recorded."""
        number = self._seen.get(hash(order_id) >> _SHIFT)
        return None if number is None else _STATES[number]

