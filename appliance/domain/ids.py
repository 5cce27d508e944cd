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
_DIGEST_BYTES = 15
_LENGTHS_KEPT = 128
_LENGTHS = tuple(f"{length}:" for length in range(_LENGTHS_KEPT))
_SOURCES_KEPT = 256  # more than there are; whoever could name sources must not fill the memory


def derive_order_id(account: str, source: SourceId, intent: IntentId, attempt: int = 0) -> OrderId:
    """Client order id as a pure function of the wish (SAFETY 4; ARCHITECTURE, What is written when).

    The same wish gives the same id after any restart, so that a crash between deciding and sending can
    be settled by looking the id up. Fields are length-framed: ("ab", "c") and ("a", "bc") differ (P02).
    `attempt` separates deliberate new tries of an exit; 120 bits of BLAKE2b make a collision negligible.
    """
    framed = f"{len(account)}:{account}{len(source)}:{source}{len(intent)}:{intent}{attempt}"
    digest = hashlib.blake2b(framed.encode(), digest_size=_DIGEST_BYTES).hexdigest()
    return OrderId(ORDER_ID_PREFIX + digest)


class OrderIds:
    """`derive_order_id` for one account, the same ids at half the cost: what the digest has taken in of the
    account and of a source is kept, and goes on from there."""

    __slots__ = ("_account", "_begun")

    def __init__(self, account: str) -> None:
        self._account = account
        self._begun: dict[SourceId, hashlib.blake2b] = {}

    def derive(self, source: SourceId, intent: IntentId, attempt: int = 0) -> OrderId:
        """See `derive_order_id`."""
        begun = self._begun.get(source)
        if begun is None:
            begun = self._begin(source)
        digest = begun.copy()
        length = len(intent)  # two numbers made text are a tenth of all this; nearly all are known
        known = not attempt and length < _LENGTHS_KEPT
        framed = f"{_LENGTHS[length]}{intent}0" if known else f"{length}:{intent}{attempt}"
        digest.update(framed.encode())
        return OrderId(ORDER_ID_PREFIX + digest.hexdigest())

    def _begin(self, source: SourceId) -> hashlib.blake2b:
        if len(self._begun) >= _SOURCES_KEPT:
            self._begun.clear()
        framed = f"{len(self._account)}:{self._account}{len(source)}:{source}"
        begun = self._begun[source] = hashlib.blake2b(framed.encode(), digest_size=_DIGEST_BYTES)
        return begun
