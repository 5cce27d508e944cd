"""The life of an order as a literal table (ORD-09, U22). A pair that is absent is illegal: nothing changes,
and the caller decides whether it is the venue's slip or our bug.

Odd but real rows are kept and say why: venues report fills before the acceptance, after a cancel, and for
orders we had given up.
"""

from __future__ import annotations

from appliance.domain.order import OrderEvent as E
from appliance.domain.order import OrderState as S

LIFECYCLE: dict[tuple[S, E], S] = {
    # durable, not sent
    (S.RECORDED, E.SEND): S.SENT,
    (S.RECORDED, E.STOP_AT_WIRE): S.STOPPED_AT_WIRE,
    (S.RECORDED, E.LOSE): S.UNKNOWN,  # found after a crash: it may have been sent
    (S.RECORDED, E.ACCEPT): S.WORKING,  # sent, then a crash before SEND was stored
    (S.RECORDED, E.REJECT): S.REJECTED,
    (S.RECORDED, E.FILL_PART): S.PARTIALLY_FILLED,
    (S.RECORDED, E.FILL_LAST): S.FILLED,
    (S.RECORDED, E.CANCELED): S.CANCELED,
    (S.RECORDED, E.NOT_FOUND): S.NEVER_ARRIVED,
    # written to the wire, no answer yet
    (S.SENT, E.ACCEPT): S.WORKING,
    (S.SENT, E.REJECT): S.REJECTED,
    (S.SENT, E.FILL_PART): S.PARTIALLY_FILLED,  # fill before acceptance
    (S.SENT, E.FILL_LAST): S.FILLED,
    (S.SENT, E.CANCELED): S.CANCELED,
    (S.SENT, E.CANCEL_SEND): S.CANCEL_SENT,
    (S.SENT, E.LOSE): S.UNKNOWN,
    (S.SENT, E.STOP_AT_WIRE): S.STOPPED_AT_WIRE,
    (S.SENT, E.NOT_FOUND): S.NEVER_ARRIVED,
    # fate being looked up
    (S.UNKNOWN, E.ACCEPT): S.WORKING,
    (S.UNKNOWN, E.REJECT): S.REJECTED,
    (S.UNKNOWN, E.FILL_PART): S.PARTIALLY_FILLED,
    (S.UNKNOWN, E.FILL_LAST): S.FILLED,
    (S.UNKNOWN, E.CANCELED): S.CANCELED,
    (S.UNKNOWN, E.CANCEL_SEND): S.CANCEL_SENT,
    (S.UNKNOWN, E.LOSE): S.UNKNOWN,
    (S.UNKNOWN, E.NOT_FOUND): S.NEVER_ARRIVED,
    # resting at the venue
    (S.WORKING, E.ACCEPT): S.WORKING,  # duplicate acceptance
    (S.WORKING, E.REJECT): S.REJECTED,  # accepted, then refused by a later stage of the venue
    (S.WORKING, E.FILL_PART): S.PARTIALLY_FILLED,
    (S.WORKING, E.FILL_LAST): S.FILLED,
    (S.WORKING, E.CANCELED): S.CANCELED,
    (S.WORKING, E.CANCEL_SEND): S.CANCEL_SENT,
    (S.WORKING, E.CANCEL_REFUSED): S.WORKING,
    (S.PARTIALLY_FILLED, E.ACCEPT): S.PARTIALLY_FILLED,  # acceptance after the first fill
    (S.PARTIALLY_FILLED, E.FILL_PART): S.PARTIALLY_FILLED,
    (S.PARTIALLY_FILLED, E.FILL_LAST): S.FILLED,
    (S.PARTIALLY_FILLED, E.CANCELED): S.CANCELED,
    (S.PARTIALLY_FILLED, E.CANCEL_SEND): S.CANCEL_SENT,
    (S.PARTIALLY_FILLED, E.CANCEL_REFUSED): S.PARTIALLY_FILLED,
    # cancel on its way
    (S.CANCEL_SENT, E.ACCEPT): S.CANCEL_SENT,
    (S.CANCEL_SENT, E.REJECT): S.REJECTED,
    (S.CANCEL_SENT, E.FILL_PART): S.CANCEL_SENT,
    (S.CANCEL_SENT, E.FILL_LAST): S.FILLED,
    (S.CANCEL_SENT, E.CANCELED): S.CANCELED,
    (S.CANCEL_SENT, E.CANCEL_SEND): S.CANCEL_SENT,  # a sweep repeats
    (S.CANCEL_SENT, E.CANCEL_REFUSED): S.UNKNOWN,  # ended, or never there: look it up
    (S.CANCEL_SENT, E.LOSE): S.UNKNOWN,
    (S.CANCEL_SENT, E.NOT_FOUND): S.NEVER_ARRIVED,
    # ended
    (S.FILLED, E.ACCEPT): S.FILLED,  # late acceptance
    (S.FILLED, E.CANCEL_REFUSED): S.FILLED,  # our cancel crossed the last fill
    (S.CANCELED, E.ACCEPT): S.CANCELED,
    (S.CANCELED, E.CANCELED): S.CANCELED,
    (S.CANCELED, E.CANCEL_REFUSED): S.CANCELED,
    (S.CANCELED, E.FILL_PART): S.CANCELED,  # fill reported after the cancel it crossed
    (S.CANCELED, E.FILL_LAST): S.FILLED,
    (S.REJECTED, E.REJECT): S.REJECTED,
    (S.NEVER_ARRIVED, E.ACCEPT): S.WORKING,  # the venue knows it after all: better late than orphaned
    (S.NEVER_ARRIVED, E.FILL_PART): S.PARTIALLY_FILLED,
    (S.NEVER_ARRIVED, E.FILL_LAST): S.FILLED,
    (S.NEVER_ARRIVED, E.CANCELED): S.CANCELED,
}
"""(state, event) → state. STOPPED_AT_WIRE has no row: an order that never left cannot come back."""

ENDED: frozenset[S] = frozenset({S.FILLED, S.CANCELED, S.REJECTED, S.STOPPED_AT_WIRE, S.NEVER_ARRIVED})
"""States in which nothing works and nothing is to be looked up."""

UNSETTLED: frozenset[S] = frozenset({S.RECORDED, S.SENT, S.UNKNOWN})
"""States whose fate must be reconciled before arming is possible."""


def next_state(state: S, event: E) -> S | None:
    """The state after `event`, or None if the pair is illegal."""
    return LIFECYCLE.get((state, event))
