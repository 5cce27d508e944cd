"""The life of an order as a literal table (ORD-09, U22). A pair that is absent is illegal: nothing changes,
and the caller decides whether it is the venue's slip or our bug.

Odd but real rows are kept and say why: venues report fills before the acceptance, after a cancel, and for
orders we had given up. An amendment on its way is no state of its own (`Order.pending`): fills, triggers and
cancels go on beside it.
"""

from __future__ import annotations

from appliance.domain.order import OrderEvent as E
from appliance.domain.order import OrderState as S

LIFECYCLE: dict[tuple[S, E], S] = {
    # durable, not sent
    (S.RECORDED, E.SEND): S.SENT,
    (S.RECORDED, E.STOP_AT_WIRE): S.STOPPED_AT_WIRE,
    (S.RECORDED, E.LOSE): S.UNKNOWN,  # found after a crash: it may have been sent
    (S.RECORDED, E.HOLD): S.HELD,
    (S.RECORDED, E.ACCEPT): S.WORKING,  # sent, then a crash before SEND was stored
    (S.RECORDED, E.REJECT): S.REJECTED,
    (S.RECORDED, E.TRIGGER): S.TRIGGERED,
    (S.RECORDED, E.FILL_PART): S.PARTIALLY_FILLED,
    (S.RECORDED, E.FILL_LAST): S.FILLED,
    (S.RECORDED, E.CANCELED): S.CANCELED,
    (S.RECORDED, E.EXPIRE): S.EXPIRED,
    (S.RECORDED, E.CANCEL_REFUSED): S.RECORDED,  # a cancel overtook it before a crash: look it up
    (S.RECORDED, E.NOT_FOUND): S.NEVER_ARRIVED,
    # written to the wire, no answer yet
    (S.SENT, E.HOLD): S.HELD,
    (S.SENT, E.ACCEPT): S.WORKING,
    (S.SENT, E.REJECT): S.REJECTED,
    (S.SENT, E.TRIGGER): S.TRIGGERED,  # trigger before acceptance
    (S.SENT, E.FILL_PART): S.PARTIALLY_FILLED,  # fill before acceptance
    (S.SENT, E.FILL_LAST): S.FILLED,
    (S.SENT, E.CANCELED): S.CANCELED,
    (S.SENT, E.EXPIRE): S.EXPIRED,
    (S.SENT, E.CANCEL_SEND): S.CANCEL_SENT,
    (S.SENT, E.LOSE): S.UNKNOWN,
    (S.SENT, E.STOP_AT_WIRE): S.STOPPED_AT_WIRE,
    (S.SENT, E.NOT_FOUND): S.NEVER_ARRIVED,
    # fate being looked up
    (S.UNKNOWN, E.HOLD): S.HELD,
    (S.UNKNOWN, E.ACCEPT): S.WORKING,
    (S.UNKNOWN, E.REJECT): S.REJECTED,
    (S.UNKNOWN, E.TRIGGER): S.TRIGGERED,
    (S.UNKNOWN, E.FILL_PART): S.PARTIALLY_FILLED,
    (S.UNKNOWN, E.FILL_LAST): S.FILLED,
    (S.UNKNOWN, E.AMEND_LOSE): S.UNKNOWN,
    (S.UNKNOWN, E.AMENDED): S.WORKING,  # the look-up or the report of an amendment whose reply was lost
    (S.UNKNOWN, E.AMEND_REFUSED): S.WORKING,  # so the order is there
    (S.UNKNOWN, E.CANCELED): S.CANCELED,
    (S.UNKNOWN, E.EXPIRE): S.EXPIRED,
    (S.UNKNOWN, E.CANCEL_SEND): S.CANCEL_SENT,
    (S.UNKNOWN, E.CANCEL_REFUSED): S.UNKNOWN,  # likewise; a cancel on its way is not in the log
    (S.UNKNOWN, E.LOSE): S.UNKNOWN,
    (S.UNKNOWN, E.NOT_FOUND): S.NEVER_ARRIVED,
    # at the venue, waiting for its lead
    (S.HELD, E.HOLD): S.HELD,  # duplicate report
    (S.HELD, E.ACCEPT): S.WORKING,  # the lead filled
    (S.HELD, E.REJECT): S.REJECTED,  # refused when its turn came
    (S.HELD, E.TRIGGER): S.TRIGGERED,  # trigger before the report that it works
    (S.HELD, E.FILL_PART): S.PARTIALLY_FILLED,  # likewise a fill
    (S.HELD, E.FILL_LAST): S.FILLED,
    (S.HELD, E.CANCELED): S.CANCELED,  # the lead ended without a fill
    (S.HELD, E.EXPIRE): S.EXPIRED,
    (S.HELD, E.CANCEL_SEND): S.CANCEL_SENT,
    (S.HELD, E.CANCEL_REFUSED): S.HELD,
    # resting at the venue
    (S.WORKING, E.HOLD): S.WORKING,  # late report of what it was before
    (S.WORKING, E.ACCEPT): S.WORKING,  # duplicate acceptance, or a leg that grows with its lead
    (S.WORKING, E.REJECT): S.REJECTED,  # accepted, then refused by a later stage of the venue
    (S.WORKING, E.TRIGGER): S.TRIGGERED,
    (S.WORKING, E.FILL_PART): S.PARTIALLY_FILLED,
    (S.WORKING, E.FILL_LAST): S.FILLED,
    (S.WORKING, E.AMEND_SEND): S.WORKING,
    (S.WORKING, E.AMEND_LOSE): S.UNKNOWN,
    (S.WORKING, E.AMENDED): S.WORKING,
    (S.WORKING, E.AMEND_REFUSED): S.WORKING,
    (S.WORKING, E.CANCELED): S.CANCELED,
    (S.WORKING, E.EXPIRE): S.EXPIRED,
    (S.WORKING, E.CANCEL_SEND): S.CANCEL_SENT,
    (S.WORKING, E.CANCEL_REFUSED): S.WORKING,
    # a stop that was reached
    (S.TRIGGERED, E.ACCEPT): S.TRIGGERED,  # late acceptance, or a stop that grows with its lead
    (S.TRIGGERED, E.REJECT): S.REJECTED,  # refused as the order it became
    (S.TRIGGERED, E.TRIGGER): S.TRIGGERED,
    (S.TRIGGERED, E.FILL_PART): S.PARTIALLY_FILLED,
    (S.TRIGGERED, E.FILL_LAST): S.FILLED,
    (S.TRIGGERED, E.AMEND_SEND): S.TRIGGERED,
    (S.TRIGGERED, E.AMEND_LOSE): S.UNKNOWN,
    (S.TRIGGERED, E.AMENDED): S.TRIGGERED,
    (S.TRIGGERED, E.AMEND_REFUSED): S.TRIGGERED,
    (S.TRIGGERED, E.CANCELED): S.CANCELED,
    (S.TRIGGERED, E.EXPIRE): S.EXPIRED,
    (S.TRIGGERED, E.CANCEL_SEND): S.CANCEL_SENT,
    (S.TRIGGERED, E.CANCEL_REFUSED): S.TRIGGERED,
    # resting with a part filled
    (S.PARTIALLY_FILLED, E.ACCEPT): S.PARTIALLY_FILLED,  # acceptance after the first fill
    (S.PARTIALLY_FILLED, E.TRIGGER): S.PARTIALLY_FILLED,  # trigger reported after its first fill
    (S.PARTIALLY_FILLED, E.FILL_PART): S.PARTIALLY_FILLED,
    (S.PARTIALLY_FILLED, E.FILL_LAST): S.FILLED,
    (S.PARTIALLY_FILLED, E.AMEND_SEND): S.PARTIALLY_FILLED,
    (S.PARTIALLY_FILLED, E.AMEND_LOSE): S.UNKNOWN,
    (S.PARTIALLY_FILLED, E.AMENDED): S.PARTIALLY_FILLED,
    (S.PARTIALLY_FILLED, E.AMEND_REFUSED): S.PARTIALLY_FILLED,
    (S.PARTIALLY_FILLED, E.CANCELED): S.CANCELED,
    (S.PARTIALLY_FILLED, E.EXPIRE): S.EXPIRED,
    (S.PARTIALLY_FILLED, E.CANCEL_SEND): S.CANCEL_SENT,
    (S.PARTIALLY_FILLED, E.CANCEL_REFUSED): S.PARTIALLY_FILLED,
    # cancel on its way
    (S.CANCEL_SENT, E.HOLD): S.CANCEL_SENT,
    (S.CANCEL_SENT, E.ACCEPT): S.CANCEL_SENT,
    (S.CANCEL_SENT, E.REJECT): S.REJECTED,
    (S.CANCEL_SENT, E.TRIGGER): S.CANCEL_SENT,
    (S.CANCEL_SENT, E.FILL_PART): S.CANCEL_SENT,
    (S.CANCEL_SENT, E.FILL_LAST): S.FILLED,
    (S.CANCEL_SENT, E.AMEND_LOSE): S.CANCEL_SENT,  # the cancel settles it
    (S.CANCEL_SENT, E.AMENDED): S.CANCEL_SENT,  # the amendment overtook the cancel
    (S.CANCEL_SENT, E.AMEND_REFUSED): S.CANCEL_SENT,
    (S.CANCEL_SENT, E.CANCELED): S.CANCELED,
    (S.CANCEL_SENT, E.EXPIRE): S.EXPIRED,
    (S.CANCEL_SENT, E.CANCEL_SEND): S.CANCEL_SENT,  # a sweep repeats
    (S.CANCEL_SENT, E.CANCEL_REFUSED): S.UNKNOWN,  # ended, or never there: look it up
    (S.CANCEL_SENT, E.LOSE): S.UNKNOWN,
    (S.CANCEL_SENT, E.NOT_FOUND): S.NEVER_ARRIVED,
    # ended
    (S.FILLED, E.ACCEPT): S.FILLED,  # late acceptance
    (S.FILLED, E.TRIGGER): S.FILLED,  # late trigger
    (S.FILLED, E.AMEND_LOSE): S.FILLED,  # its last fill overtook the amendment; so below
    (S.FILLED, E.AMENDED): S.FILLED,
    (S.FILLED, E.AMEND_REFUSED): S.FILLED,
    (S.FILLED, E.CANCELED): S.FILLED,  # a venue that also tells the end of a filled order
    (S.FILLED, E.CANCEL_REFUSED): S.FILLED,  # our cancel crossed the last fill
    (S.CANCELED, E.HOLD): S.CANCELED,
    (S.CANCELED, E.ACCEPT): S.CANCELED,
    (S.CANCELED, E.TRIGGER): S.CANCELED,
    (S.CANCELED, E.AMEND_LOSE): S.CANCELED,
    (S.CANCELED, E.AMENDED): S.CANCELED,
    (S.CANCELED, E.AMEND_REFUSED): S.CANCELED,
    (S.CANCELED, E.CANCELED): S.CANCELED,
    (S.CANCELED, E.EXPIRE): S.CANCELED,  # cancelled and expired in one moment
    (S.CANCELED, E.CANCEL_REFUSED): S.CANCELED,
    (S.CANCELED, E.FILL_PART): S.CANCELED,  # fill reported after the cancel it crossed
    (S.CANCELED, E.FILL_LAST): S.FILLED,
    (S.EXPIRED, E.HOLD): S.EXPIRED,
    (S.EXPIRED, E.ACCEPT): S.EXPIRED,
    (S.EXPIRED, E.TRIGGER): S.EXPIRED,
    (S.EXPIRED, E.AMEND_LOSE): S.EXPIRED,
    (S.EXPIRED, E.AMENDED): S.EXPIRED,
    (S.EXPIRED, E.AMEND_REFUSED): S.EXPIRED,
    (S.EXPIRED, E.CANCELED): S.EXPIRED,
    (S.EXPIRED, E.EXPIRE): S.EXPIRED,
    (S.EXPIRED, E.CANCEL_REFUSED): S.EXPIRED,  # our cancel crossed the expiry
    (S.EXPIRED, E.FILL_PART): S.EXPIRED,  # fill reported after the expiry it crossed
    (S.EXPIRED, E.FILL_LAST): S.FILLED,
    (S.REJECTED, E.REJECT): S.REJECTED,
    (S.REJECTED, E.FILL_PART): S.PARTIALLY_FILLED,  # refused by one stage, filled by another: money moved
    (S.REJECTED, E.FILL_LAST): S.FILLED,
    (S.REJECTED, E.CANCEL_REFUSED): S.REJECTED,  # our cancel crossed the refusal
    (S.NEVER_ARRIVED, E.HOLD): S.HELD,  # the venue knows it after all: better late than orphaned
    (S.NEVER_ARRIVED, E.ACCEPT): S.WORKING,
    (S.NEVER_ARRIVED, E.TRIGGER): S.TRIGGERED,
    (S.NEVER_ARRIVED, E.FILL_PART): S.PARTIALLY_FILLED,
    (S.NEVER_ARRIVED, E.FILL_LAST): S.FILLED,
    (S.NEVER_ARRIVED, E.CANCELED): S.CANCELED,
    (S.NEVER_ARRIVED, E.EXPIRE): S.EXPIRED,
    (S.NEVER_ARRIVED, E.CANCEL_REFUSED): S.NEVER_ARRIVED,  # the venue says so too
}
"""(state, event) → state. STOPPED_AT_WIRE has no row: an order that never left cannot come back."""

ENDED: frozenset[S] = frozenset(
    {S.FILLED, S.CANCELED, S.EXPIRED, S.REJECTED, S.STOPPED_AT_WIRE, S.NEVER_ARRIVED}
)
"""States in which nothing works and nothing is to be looked up."""

UNSETTLED: frozenset[S] = frozenset({S.RECORDED, S.SENT, S.UNKNOWN})
"""States whose fate must be reconciled before arming is possible."""

def next_state(state: S, event: E) -> S | None:
    """The state after `event`, or None if the pair is illegal."""
    return LIFECYCLE.get((state, event))
