"""What an intent does to exposure (SAFETY 2): action × order type × room, as a literal table.

Everything that is not provably smaller is INCREASE. The room is what the closing side still has:

    SHRINKS  an amendment that lowers the quantity and changes nothing else
    FREE     closing side, quantity ≤ venue-confirmed position − reduces that already work
    HELD     closing side, quantity ≤ position, but other reduces work
    MORE     anything else
"""

from __future__ import annotations

from enum import IntEnum

from appliance.domain.intent import Action, Intent, OrderType, Side
from appliance.domain.verdict import OrderClass
from appliance.ports import InstrumentView


class Room(IntEnum):
    """Column of the table."""

    SHRINKS = 0
    FREE = 1
    HELD = 2
    MORE = 3


N, R, P, C = OrderClass.INCREASE, OrderClass.REDUCE, OrderClass.PROTECTIVE, OrderClass.CANCEL
Row = tuple[OrderClass, OrderClass, OrderClass, OrderClass]

CLASSES: dict[Action, dict[OrderType, Row]] = {
    # columns: SHRINKS, FREE, HELD, MORE; N is INCREASE
    Action.NEW: {
        OrderType.MARKET: (N, R, N, N),
        OrderType.LIMIT: (N, R, N, N),
        OrderType.STOP: (N, P, P, N),
        OrderType.STOP_LIMIT: (N, P, P, N),
    },
    Action.REPLACE: {  # an exit's own leaves are free again: the venue ends it first, or refuses both
        OrderType.MARKET: (N, R, N, N),
        OrderType.LIMIT: (N, R, N, N),
        OrderType.STOP: (N, P, P, N),
        OrderType.STOP_LIMIT: (N, P, P, N),
    },
    Action.AMEND: {  # a part of the order ends, and nothing else: as good as a cancel
        OrderType.MARKET: (C, R, N, N),
        OrderType.LIMIT: (C, R, N, N),
        OrderType.STOP: (C, P, P, N),
        OrderType.STOP_LIMIT: (C, P, P, N),
    },
    Action.CANCEL: {
        OrderType.MARKET: (C, C, C, C),
        OrderType.LIMIT: (C, C, C, C),
        OrderType.STOP: (C, C, C, C),
        OrderType.STOP_LIMIT: (C, C, C, C),
    },
}
"""SHRINKS is only ever true of an amendment. A stop on the closing side is attached to the position it
closes whether it names it or not: it cannot fill beyond it, because it is reduce-only on the wire."""

# Python 3.11 looks an enum member up in 90 ns, a global in 3; every order passes here.
_CANCEL, _SELL = Action.CANCEL, Side.SELL
_FREE, _HELD, _MORE = int(Room.FREE), int(Room.HELD), int(Room.MORE)


def reducible(view: InstrumentView, side: Side) -> int:
    """Quantity a REDUCE on `side` may have: venue-confirmed position less the reduces that already work.

    Protective legs do not count: they end, or shrink, when the position does.
    """
    if side is _SELL:
        return max(0, view.position - view.working_sell)
    return max(0, -view.position - view.working_buy)


def classify(intent: Intent, view: InstrumentView | None, freed: int = 0) -> OrderClass:
    """The class of a NEW, REPLACE or CANCEL. freed: leaves of the exit that a REPLACE ends."""
    row = CLASSES[intent.action][intent.order_type]
    if intent.action is _CANCEL:
        return row[_MORE]
    qty = intent.qty
    if view is None or qty <= 0:
        return row[_MORE]
    if intent.side is _SELL:
        held, working = view.position, view.working_sell
    else:
        held, working = -view.position, view.working_buy
    if qty > held:
        return row[_MORE]
    return row[_FREE if qty <= held - max(0, working - freed) else _HELD]
