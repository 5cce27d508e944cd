"""Does what the log remembers of a run agree with itself, and with the files the run is replayed from?

Asked when a run is resumed: books, marks and strategies are about to be rebuilt from both. What disagrees is
the trip DATA_INTEGRITY (SAFETY 1): nothing is liquidated on it, and what must be cancelled still can be.
Whether the log was tampered with is another question, which `verify` answers (`store_health`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from appliance.domain.ids import OrderId
from appliance.runtime.restore import Restored
from appliance.runtime.session import Session


def contradictions(session: Session, sha256: Sequence[str]) -> str:
    """What is wrong, in words; empty if nothing is. sha256: of the feed's files now, in their order."""
    if not session.resumed:
        return ""
    wrong = [*_changed_files(session.sha256, sha256), *_wrong_fills(session.restored)]
    more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    return "; ".join(wrong[:3]) + more


def _changed_files(known: Sequence[str], found: Sequence[str]) -> list[str]:
    """A log of 0.1.0 knows no digests: nothing to compare with."""
    if not known or tuple(known) == tuple(found):
        return []
    numbers = [str(n) for n, (old, new) in enumerate(zip(known, found, strict=False)) if old != new]
    which = ", ".join(numbers) or "their number"
    return [f"the feed's files are not those the run was made with (feed.source {which})"]


def _wrong_fills(restored: Restored) -> list[str]:
    """An order's row and its fill entries were written in one transaction: they tell the same."""
    filled: Counter[OrderId] = Counter()
    for _, fill in restored.fills:
        filled[fill.order_id] += fill.qty
    rows = {order.id: int(order.filled) for order in restored.orders}
    trades = Counter(fill.trade_id for _, fill in restored.fills)
    return [
        *(f"fill {trade} is in the log {count} times" for trade, count in trades.items() if count > 1),
        *(
            f"order {order_id} has filled {rows.get(order_id, 0)} by its row, {filled[order_id]} by its fills"
            for order_id in sorted(rows.keys() | filled.keys())
            if rows.get(order_id, 0) != filled[order_id]
        ),
    ]
