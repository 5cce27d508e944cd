"""The first result of an intent, for whoever asks with the same id again (CONTROLS 5a).

An approval is remembered for ever by the id ledger, which is what keeps an order from being sent twice; this
is the part of the answer that can be given back word for word, bounded to the latest. A denial older than
that is judged anew: nothing was sent for it, so nothing can be sent twice.
"""

from __future__ import annotations

from collections import OrderedDict

from msgspec.structs import replace

from appliance.domain.ids import IntentId, SourceId
from appliance.domain.intent import Intent
from appliance.domain.reasons import Reason
from appliance.domain.verdict import Denied, OrderClass, Verdict

REMEMBERED = 4_096


class Results:
    """By (source, intent id, attempt), oldest let go first."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        # an OrderedDict: a dict looks for its oldest behind all it has let go
        self._first: OrderedDict[tuple[SourceId, IntentId, int], tuple[Intent, Verdict]] = OrderedDict()

    def note(self, intent: Intent, verdict: Verdict) -> None:
        """The first answer stays; later ones are answers to a repetition."""
        self._first.setdefault((intent.source, intent.id, intent.attempt), (intent, verdict))
        if len(self._first) > self._remembered:
            self._first.popitem(last=False)

    def first(self, intent: Intent) -> Verdict | None:
        """What this wish was answered; a denial if the id named another wish; None if not remembered."""
        found = self._first.get((intent.source, intent.id, intent.attempt))
        if found is None:
            return None
        asked, verdict = found
        if replace(asked, created_ns=0) == replace(intent, created_ns=0):
            return verdict
        return Denied(
            intent.id,
            intent.source,
            intent.instrument,
            OrderClass.CANCEL if verdict.order_class is OrderClass.CANCEL else OrderClass.INCREASE,
            Reason.DUPLICATE_ID,
            "the id named another wish before",
        )
