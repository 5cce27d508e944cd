"""Typed identifiers. A string of one kind cannot be passed where another is wanted (checked by mypy)."""

from __future__ import annotations

import base64
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

TradeId = NewType("TradeId", str)
"""The venue's name for one fill, unique per venue and account."""

RunId = NewType("RunId", str)
"""One replay or live session on one venue account."""

ORDER_ID_MAX = 36
_DIGEST_BYTES = 15  # 24 letters of base32 without padding


def derive_order_id(account: str, source: SourceId, intent: IntentId, attempt: int = 0) -> OrderId:
    """Client order id as a pure function of the wish (SAFETY 4; ARCHITECTURE, What is written when).

    The same wish gives the same id after any restart, so that a crash between deciding and sending can
    be settled by looking the id up. Fields are length-framed: ("ab", "c") and ("a", "bc") differ (P02).
    `attempt` separates deliberate new tries of an exit; 120 bits of BLAKE2b make a collision negligible.
    """
    framed = b"".join(
        len(part).to_bytes(4, "big") + part
        for part in (account.encode(), source.encode(), intent.encode(), attempt.to_bytes(4, "big"))
    )
    digest = hashlib.blake2b(framed, digest_size=_DIGEST_BYTES).digest()
    return OrderId("il-" + base64.b32encode(digest).decode("ascii").lower())
