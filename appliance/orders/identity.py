"""Every order id ever recorded, kept for ever (SAFETY 4; ORD-12, U23): an order is never sent twice.

The ledger on disk is the truth; this is its index in memory: 60 bits of each id's digest, and the last state
of its order. A false positive (2^-60 per pair) denies an order that was new; a false negative cannot happen.
A 60-bit integer takes 32 bytes and its place in the table 30 to 60: below 100 bytes an id, whatever its
length (measured by `tests.bench orders`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Self

from appliance.domain.ids import ORDER_ID_PREFIX, OrderId
from appliance.domain.order import OrderState

_LENGTH = len(ORDER_ID_PREFIX) + 30
_FROM, _TO = len(ORDER_ID_PREFIX), len(ORDER_ID_PREFIX) + 15  # 60 bits of the digest
_STATES = tuple(OrderState)
_NUMBER = {state: number for number, state in enumerate(_STATES)}


class IdLedger:
    """Answers `in`, and what became of it. Ids of this appliance are a digest; others are digested."""

    def __init__(self, known: Iterable[OrderId] = ()) -> None:
        self._seen: dict[int, int] = dict.fromkeys(map(_short, known), 0)

    @classmethod
    def restored(cls, known: Iterable[tuple[OrderId, OrderState]]) -> Self:
        """From the log: every order of every run with its last state."""
        made = cls()
        for order_id, state in known:
            made.add(order_id, state)
        return made

    def __contains__(self, order_id: object) -> bool:
        return isinstance(order_id, str) and _short(order_id) in self._seen

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, order_id: OrderId, state: OrderState = OrderState.RECORDED) -> None:
        """Remembers an id, or what became of it; it stays remembered."""
        self._seen[_short(order_id)] = _NUMBER[state]

    def state(self, order_id: OrderId) -> OrderState | None:
        """The last state its order was in; None for an id that was never recorded."""
        number = self._seen.get(_short(order_id))
        return None if number is None else _STATES[number]


def _short(order_id: str) -> int:
    if len(order_id) == _LENGTH and order_id[:_FROM] == ORDER_ID_PREFIX:
        try:
            return int(order_id[_FROM:_TO], 16)
        except ValueError:
            pass  # not one of ours after all
    return int.from_bytes(hashlib.blake2b(order_id.encode(), digest_size=8).digest()) >> 4
