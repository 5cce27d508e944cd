"""Typed identifiers. A string of one kind cannot be passed where another is wanted (checked by mypy)."""

from __future__ import annotations

import hashlib
from typing import NewType

InstrumentId = NewType("InstrumentId", str)
"""Symbol as configured, such as `SPX`; unique within one appliance."""

SourceId = NewType("SourceId", str)
"""Who asks: a strategy, a bot, or one of the appliance's own (`exit`)."""

IntentId = NewType("IntentId", str)
"""Chosen by the source; the same id twice is the same wish, not a second one."""

OrderId = NewType("OrderId", str)
"""Client order id on the wire: at most 36 characters of [a-z0-9-], never reused."""

ListId = NewType("ListId", str)
"""Names one order list (OCO, OTO, OTOCO): the order id of its first member."""

TradeId = NewType("TradeId", str)
"""The venue's name for one fill, unique per venue and account."""

RunId = NewType("RunId", str)
"""One replay or live session on one venue account."""

ORDER_ID_MAX = 36
ORDER_ID_PREFIX = "il-"


def derive_order_id(account: str, source: SourceId, intent: IntentId, attempt: int = 0) -> OrderId:
    """Client order id as a pure function of the wish (SAFETY 4; ARCHITECTURE, What is written when).

    The same wish gives the same id after any restart, so that a crash between deciding and sending can
    be settled by looking the id up. Fields are length-framed: ("ab", "c") and ("a", "bc") differ (P02).
    `attempt` separates deliberate new tries of an exit; 120 bits of BLAKE2b make a collision negligible.
    """
    framed = f"{len(account)}:{account}{len(source)}:{source}{len(intent)}:{intent}{attempt}"
    digest = hashlib.blake2b(framed.encode(), digest_size=15).hexdigest()
    return OrderId(ORDER_ID_PREFIX + digest)
