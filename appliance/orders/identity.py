"""Every order id ever recorded, kept for ever (SAFETY 4; ORD-12, U23): an order is never sent twice.

The ledger on disk is the truth; this is its index in memory, 8 bytes of each id's own digest in a set.
A false positive (2^-64 per pair) denies an order that was new; a false negative cannot happen.
"""

from __future__ import annotations

from collections.abc import Iterable

from appliance.domain.ids import ORDER_ID_PREFIX, OrderId

_LENGTH = len(ORDER_ID_PREFIX) + 30
_FROM, _TO = len(ORDER_ID_PREFIX), len(ORDER_ID_PREFIX) + 16  # the first 8 bytes of the digest


class IdLedger:
    """Answers `in`. Ids of this appliance are a digest in hexadecimal; anything else is kept as it is."""

    def __init__(self, known: Iterable[OrderId] = ()) -> None:
        self._seen: set[int | str] = {_short(order_id) for order_id in known}

    def __contains__(self, order_id: object) -> bool:
        return isinstance(order_id, str) and _short(order_id) in self._seen

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, order_id: OrderId) -> None:
        """Remembers an id; it stays remembered."""
        self._seen.add(_short(order_id))


def _short(order_id: str) -> int | str:
    if len(order_id) == _LENGTH and order_id[:_FROM] == ORDER_ID_PREFIX:
        try:
            return int(order_id[_FROM:_TO], 16)
        except ValueError:
            return order_id
    return order_id
