"""Every order id ever recorded, kept for ever (SAFETY 4; ORD-12, U23): an order is never sent twice.

The ledger on disk is the truth; this is its index in memory, 8 bytes of each id's own digest in a set.
A false positive (2^-64 per pair) denies an order that was new; a false negative cannot happen.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable

from appliance.domain.ids import OrderId


class IdLedger:
    """Answers `in`. Ids of this appliance are base32 of a digest; anything else is kept as it is."""

    def __init__(self, known: Iterable[OrderId] = ()) -> None:
        self._seen: set[int | str] = {_short(order_id) for order_id in known}

    def __contains__(self, order_id: object) -> bool:
        return isinstance(order_id, str) and _short(OrderId(order_id)) in self._seen

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, order_id: OrderId) -> None:
        """Remembers an id; it stays remembered."""
        self._seen.add(_short(order_id))


def _short(order_id: OrderId) -> int | str:
    letters = order_id[3:]
    if len(letters) != 24 or not order_id.startswith("il-"):
        return order_id
    try:
        return int.from_bytes(base64.b32decode(letters.upper())[:8], "big")
    except ValueError:
        return order_id
