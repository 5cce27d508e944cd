"""Order lists before the controls see them (CONTROLS 24): what fits together, and who protects whom."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from appliance.domain.ids import ListId
from appliance.domain.intent import LIST_SIZE, Action, Intent, Link, ListKind, OrderType, TimeInForce
from appliance.domain.money import Qty
from appliance.domain.verdict import Approved, ApprovedList, Flag, OrderClass

_STOPS = frozenset({OrderType.STOP, OrderType.STOP_LIMIT})
_RESTS = frozenset({TimeInForce.GTC, TimeInForce.GTD})


def misfit(kind: ListKind, intents: Sequence[Intent]) -> str:
    """Why these do not make a list of that kind; empty if they do. The venue's rules are the same."""
    if len(intents) != LIST_SIZE[kind]:
        return f"{kind} takes {LIST_SIZE[kind]} orders, not {len(intents)}"
    first = intents[0]
    if any(i.action is not Action.NEW for i in intents):
        return "only new orders make a list"
    if any((i.instrument, i.source) != (first.instrument, first.source) for i in intents):
        return "the orders of a list are one source's, in one instrument"
    if len({(i.id, i.attempt) for i in intents}) != len(intents):
        return "two orders of the list have one id"
    legs = intents if kind is ListKind.OCO else intents[1:]
    if any(leg.order_type is OrderType.MARKET or leg.time_in_force not in _RESTS for leg in legs):
        return "a leg must be able to wait"
    if kind is not ListKind.OTO and legs[0].qty != legs[1].qty:
        return "the legs of an OCO have one size"
    if kind is not ListKind.OCO and any(leg.qty > first.qty for leg in legs):
        return "a leg is not larger than its lead"
    return ""


def closes(lead: Intent, leg: Intent) -> OrderClass | None:
    """The class of a leg that only closes what its lead opens; None if it does something else."""
    if leg.side is lead.side:
        return None
    return OrderClass.PROTECTIVE if leg.order_type in _STOPS else OrderClass.REDUCE


def with_own_stop(lead: Intent, legs: Sequence[Intent]) -> Intent | None:
    """The lead with the trigger of the leg that protects all of it, for the controls on stops.

    None if no leg does: then the lead gets its own protective stop like any entry (SAFETY 2). A stop-limit
    leg does not count, it may be jumped over; nor does one of a lead that is itself waiting for a trigger.
    """
    for leg in legs:
        whole = leg.qty == lead.qty and leg.side is not lead.side and leg.order_type is OrderType.STOP
        if whole and leg.stop_price is not None and lead.order_type not in _STOPS:
            return replace(lead, stop_price=leg.stop_price)
    return None


def later_legs(kind: ListKind, intents: Sequence[Intent], place: int) -> Qty:
    """Quantity of earlier members on the side of this one that could fill as well as it: not of its OCO."""
    mine = intents[place]
    rivals = {0, 1} if kind is ListKind.OCO else {1, 2}
    return Qty(
        sum(
            other.qty
            for index, other in enumerate(intents[:place])
            if other.side is mine.side and not ({index, place} <= rivals)
        )
    )


def listed(kind: ListKind, made: Sequence[Approved]) -> ApprovedList:
    """The list; legs of an OCO of which one was sliced are as large as the smaller."""
    list_id = ListId(made[0].order_id)
    smallest = Qty(min(each.qty for each in made))
    orders = []
    for place, each in enumerate(made):
        if kind is ListKind.OCO and each.qty > smallest:
            each = replace(each, qty=smallest, flags=each.flags | Flag.SLICED)
        orders.append(replace(each, link=Link(list_id, kind, place)))
    return ApprovedList(list_id, kind, tuple(orders))
