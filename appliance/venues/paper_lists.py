"""Order lists at the paper venue: OCO, OTO, OTOCO. Pure. The rules, all of them:

- What one leg of an OCO fills, the other loses; a leg that triggers ends the other. A leg that is cancelled
  or expires leaves the other alone: asking for the end of a take-profit must not strip the stop.
- A leg that follows a lead works for as much as the lead has filled, and grows with it.
- A leg that fills, triggers, or ends because nothing is left to reduce, ends what is left of its lead: the
  position is being left, so it must not grow behind the leg's back.
- A lead that ends without a fill ends its legs; one that has filled leaves them working for what it filled.
"""

from __future__ import annotations

from typing import Protocol

from msgspec.structs import replace

from appliance.domain.ids import OrderId
from appliance.domain.intent import ListKind
from appliance.domain.money import Qty
from appliance.venues.paper_ledger import LIVE, PaperOrder
from appliance.venues.paper_terms import AmendOrder


class ListFloor(Protocol):
    """What lists need of the engine."""

    def end(self, order: PaperOrder, reason: str) -> None:
        """Ends an order."""
        ...

    def cut(self, order: PaperOrder, change: AmendOrder, reason: str) -> None:
        """Makes an order smaller where it stands."""
        ...

    def release(self, order: PaperOrder, qty: int) -> None:
        """Lets a held order work, or one that works grow."""
        ...


class _List:
    __slots__ = ("lead", "legs", "paired")

    def __init__(self, kind: ListKind, members: list[PaperOrder]) -> None:
        self.lead = None if kind is ListKind.OCO else members[0]
        self.legs = members if kind is ListKind.OCO else members[1:]
        self.paired = len(self.legs) == 2


class PaperLists:
    """Which order belongs to which list, as long as one of them lives."""

    def __init__(self, floor: ListFloor) -> None:
        self._floor = floor
        self._of: dict[OrderId, _List] = {}

    def __contains__(self, order_id: object) -> bool:
        return order_id in self._of

    def add(self, kind: ListKind, members: list[PaperOrder]) -> None:
        """A list that was accepted."""
        made = _List(kind, members)
        for order in members:
            self._of[order.request.order_id] = made

    def filled(self, order: PaperOrder, qty: int) -> None:
        """One of a list's orders filled `qty`."""
        found = self._of.get(order.request.order_id)
        if found is None:
            return
        if order is found.lead:
            for leg in found.legs:
                if leg.status in LIVE:
                    self._floor.release(leg, min(order.filled, leg.wanted))
            self._tidy(found)
            return
        other = self._other(found, order)
        if other is not None and other.leaves <= qty:
            self._floor.end(other, "oco")
        elif other is not None:
            self._floor.cut(other, _sized(other, other.request.qty - qty), "oco")
        self._end_lead(found)
        self._tidy(found)

    def triggered(self, order: PaperOrder) -> None:
        """A stop of a list was reached; told before it trades."""
        found = self._of.get(order.request.order_id)
        if found is None or order is found.lead:
            return
        other = self._other(found, order)
        if other is not None:
            self._floor.end(other, "oco")
        self._end_lead(found)

    def ended(self, order: PaperOrder, reason: str) -> None:
        """One of a list's orders ended without its fills."""
        found = self._of.get(order.request.order_id)
        if found is None:
            return
        if order is found.lead and not order.filled:
            for leg in found.legs:
                if leg.status in LIVE:
                    self._floor.end(leg, "lead")
        elif order is not found.lead and reason == "reduce_only":
            self._end_lead(found)
        self._tidy(found)

    def _other(self, found: _List, leg: PaperOrder) -> PaperOrder | None:
        if not found.paired:
            return None
        other = found.legs[1] if leg is found.legs[0] else found.legs[0]
        return other if other.status in LIVE else None

    def _end_lead(self, found: _List) -> None:
        lead = found.lead
        if lead is not None and lead.status in LIVE:
            self._floor.end(lead, "leg")

    def _tidy(self, found: _List) -> None:
        members = [*found.legs, found.lead] if found.lead is not None else found.legs
        if not any(order.status in LIVE for order in members):
            for order in members:
                self._of.pop(order.request.order_id, None)


def held(order: PaperOrder) -> PaperOrder:
    """A leg before its lead has filled."""
    order.status = "HELD"
    return order


def _sized(order: PaperOrder, qty: int) -> AmendOrder:
    return AmendOrder(qty=Qty(qty), price=order.request.price, stop_price=order.request.stop_price)


def with_prices(order: PaperOrder, change: AmendOrder) -> AmendOrder:
    """An amendment with the prices it leaves as they are filled in."""
    return replace(
        change,
        price=order.request.price if change.price is None else change.price,
        stop_price=order.request.stop_price if change.stop_price is None else change.stop_price,
    )
