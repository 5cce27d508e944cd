"""How large an exit may be beside everything else that closes, and who takes more of that than is theirs.

Quantities are units of the instrument, signed as the position they close. Pure (SAFETY 2, 7).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from appliance.domain.ids import InstrumentId, SourceId
from appliance.domain.intent import Side, TimeInForce
from appliance.domain.order import Order
from appliance.domain.verdict import OrderClass
from appliance.ports import InstrumentView


def closable(view: InstrumentView | None, quantity: int) -> int:
    """What the account holds on the side of `quantity`, 0 if it holds the other."""
    if view is None:
        return 0
    return max(0, view.position if quantity > 0 else -view.position)


def room(view: InstrumentView | None, quantity: int, own: int = 0) -> int:
    """What an exit of `quantity` may have, as the gate counts it. own: working exits it takes the place of.

    Other sources may hold the opposite, or be leaving too: a larger exit would turn the account, which makes
    it an entry, and outside of NORMAL it would be denied whole.
    """
    most = closable(view, quantity)
    if view is None or not most:
        return 0
    return max(0, most - (view.working_sell if quantity > 0 else view.working_buy) + own)


def greedy(
    live: Iterator[Order], symbol: InstrumentId, held: Sequence[tuple[SourceId, int]], quantity: int
) -> list[Order]:
    """Exits on the side that closes `quantity` which rest for more than their own source holds."""
    own = {source: abs(q) for source, q in held if (q > 0) is (quantity > 0)}
    closing = Side.SELL if quantity > 0 else Side.BUY
    working: dict[SourceId, list[Order]] = {}
    for order in live:
        rests = order.time_in_force is not TimeInForce.IOC
        if rests and order.side is closing and is_exit(order, order.source, symbol):
            working.setdefault(order.source, []).append(order)
    return [
        order
        for source, orders in working.items()
        if sum(each.leaves for each in orders) > own.get(source, 0)
        for order in orders
    ]


def is_exit(order: Order, source: SourceId, symbol: InstrumentId) -> bool:
    """A REDUCE of this source in this instrument, working or not."""
    return (order.order_class, order.source, order.instrument) == (OrderClass.REDUCE, source, symbol)
