"""What the paper venue looks at before it takes an order: fields, steps, lists. Pure.

Codes are those of `orders.replies`; a check that fails changes nothing.
"""

from __future__ import annotations

from appliance.domain.instrument import Instrument
from appliance.domain.intent import LIST_SIZE, ListKind, OrderType, TimeInForce
from appliance.venues.paper_terms import NewList, NewOrder

Refusal = tuple[str, str]

PRICED = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT})
TRIGGERED = frozenset({OrderType.STOP, OrderType.STOP_LIMIT})
RESTS = frozenset({TimeInForce.GTC, TimeInForce.GTD})


def malformed(request: NewOrder, instrument: Instrument, now_ns: int) -> Refusal | None:
    """Fields that do not fit each other, the instrument or the time."""
    prices = (request.price, request.stop_price, request.attached_stop)
    if any(price is not None and (price <= 0 or price % instrument.tick) for price in prices):
        return "PRICE_FILTER", "price not positive or not on a tick"
    kind, force = request.order_type, request.time_in_force
    if (kind in PRICED) is (request.price is None) or (kind in TRIGGERED) is (request.stop_price is None):
        return "BAD_ORDER", f"{kind} with the wrong prices"
    if request.qty <= 0 or request.qty % instrument.lot or request.qty > instrument.max_qty:
        return "LOT_SIZE", "quantity not positive, not on a lot, or too large"
    if (force is TimeInForce.GTD) is (request.expire_ns <= 0):
        return "BAD_ORDER", "GTD and only GTD has a time to expire"
    if force is TimeInForce.GTD and request.expire_ns <= now_ns:
        return "EXPIRED", "its time has passed already"
    if request.post_only and (kind is not OrderType.LIMIT or force not in RESTS):
        return "BAD_ORDER", "only a limit order that may rest can be post-only"
    return None


def misfit(orders: NewList) -> Refusal | None:
    """Members that do not make the list they are said to be."""
    kind, members = orders.kind, orders.orders
    if len(members) != LIST_SIZE[kind] or len({order.order_id for order in members}) != len(members):
        return "LIST", f"{kind} takes {LIST_SIZE[kind]} orders with ids of their own"
    if len({order.instrument for order in members}) > 1:
        return "LIST", "the orders of a list are in one instrument"
    legs = members if kind is ListKind.OCO else members[1:]
    if any(leg.order_type is OrderType.MARKET or leg.time_in_force not in RESTS for leg in legs):
        return "LIST", "a leg must be able to wait"
    if kind is not ListKind.OTO and legs[0].qty != legs[1].qty:
        return "LIST", "the legs of an OCO have one size"
    if kind is not ListKind.OCO and any(leg.qty > members[0].qty for leg in legs):
        return "LIST", "a leg is not larger than its lead"
    return None
