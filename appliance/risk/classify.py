"""What an intent does to exposure (SAFETY 2). Everything that is not provably smaller is INCREASE."""

from __future__ import annotations

from appliance.domain.intent import Action, Intent, OrderType, Side
from appliance.domain.verdict import OrderClass
from appliance.ports import InstrumentView

# Python 3.11 looks an enum member up in 90 ns, a global in 3; every order passes here.
_CANCEL, _SELL = Action.CANCEL, Side.SELL
_INCREASE, _REDUCE = OrderClass.INCREASE, OrderClass.REDUCE


def reducible(view: InstrumentView, side: Side) -> int:
    """Quantity a REDUCE on `side` may have: venue-confirmed position less the reduces that already work.

    Protective legs do not count: they end, or shrink, when the position does.
    """
    if side is _SELL:
        return max(0, view.position - view.working_sell)
    return max(0, -view.position - view.working_buy)


def classify(intent: Intent, view: InstrumentView | None) -> OrderClass:
    """CANCEL by action; PROTECTIVE is a stop on the closing side that never exceeds the position."""
    if intent.action is _CANCEL:
        return OrderClass.CANCEL
    if view is None:
        return _INCREASE
    if intent.protects is not None and intent.order_type is OrderType.STOP:
        held = view.position if intent.side is _SELL else -view.position
        if 0 < intent.qty <= held:
            return OrderClass.PROTECTIVE
    if 0 < intent.qty <= reducible(view, intent.side):
        return _REDUCE
    return _INCREASE
