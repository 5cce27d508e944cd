"""Every state × event pair of the life-cycle table, and the book that follows it."""

from __future__ import annotations

import itertools

import pytest
from msgspec.structs import replace

from appliance.domain.ids import InstrumentId, IntentId, OrderId, SourceId, TradeId
from appliance.domain.intent import OrderType, Side
from appliance.domain.money import Amount, Price, Qty
from appliance.domain.order import (
    Accepted,
    Canceled,
    CancelRefused,
    Fill,
    Filled,
    Order,
    OrderEvent,
    OrderState,
    Rejected,
    VenueOrder,
)
from appliance.domain.verdict import OrderClass
from appliance.orders.book import Orders
from appliance.orders.identity import IdLedger
from appliance.orders.lifecycle import ENDED, LIFECYCLE, UNSETTLED, next_state
from appliance.orders.reconcile import MARGIN_NS, WINDOW_NS, fate

ID = OrderId("il-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
SPX = InstrumentId("SPX")

S, E = OrderState, OrderEvent
AMENDING = {E.AMEND_SEND, E.AMEND_LOSE, E.AMENDED, E.AMEND_REFUSED}
OURS_ONLY = {E.SEND, E.AMEND_SEND, E.CANCEL_SEND, E.LOSE, E.NOT_FOUND, E.STOP_AT_WIRE}
ILLEGAL_BY_STATE = {
    S.RECORDED: AMENDING | {E.CANCEL_SEND},
    S.SENT: AMENDING | {E.SEND, E.CANCEL_REFUSED},
    S.UNKNOWN: {E.SEND, E.AMEND_SEND, E.STOP_AT_WIRE},
    S.HELD: AMENDING | {E.SEND, E.LOSE, E.NOT_FOUND, E.STOP_AT_WIRE},
    S.WORKING: {E.SEND, E.LOSE, E.NOT_FOUND, E.STOP_AT_WIRE},
    S.TRIGGERED: {E.SEND, E.HOLD, E.LOSE, E.NOT_FOUND, E.STOP_AT_WIRE},
    S.PARTIALLY_FILLED: {E.SEND, E.HOLD, E.LOSE, E.NOT_FOUND, E.STOP_AT_WIRE, E.REJECT},
    S.CANCEL_SENT: {E.SEND, E.AMEND_SEND, E.STOP_AT_WIRE},
    S.FILLED: OURS_ONLY | {E.HOLD, E.REJECT, E.FILL_PART, E.FILL_LAST, E.EXPIRE},
    S.CANCELED: OURS_ONLY | {E.REJECT},
    S.EXPIRED: OURS_ONLY | {E.REJECT},
    S.REJECTED: set(E) - {E.REJECT, E.FILL_PART, E.FILL_LAST, E.CANCEL_REFUSED},
    S.STOPPED_AT_WIRE: set(E),
    S.NEVER_ARRIVED: set(E)
    - {E.HOLD, E.ACCEPT, E.TRIGGER, E.FILL_PART, E.FILL_LAST, E.CANCELED, E.EXPIRE, E.CANCEL_REFUSED},
}


def _order(state: OrderState = S.RECORDED, qty: int = 10, filled: int = 0) -> Order:
    return Order(
        id=ID,
        intent_id=IntentId("i"),
        source=SourceId("bot"),
        instrument=SPX,
        order_class=OrderClass.INCREASE,
        side=Side.BUY,
        qty=Qty(qty),
        order_type=OrderType.LIMIT,
        price=Price(100),
        stop_price=None,
        attached_stop=Price(90),
        reduce_only=False,
        protects=None,
        state=state,
        filled=Qty(filled),
    )


def _fill(trade: str, qty: int, side: Side = Side.BUY, order_id: OrderId = ID) -> Filled:
    return Filled(
        seq=1,
        event_ns=1,
        fill=Fill(
            trade_id=TradeId(trade),
            order_id=order_id,
            instrument=SPX,
            side=side,
            qty=Qty(qty),
            price=Price(100),
            fee=Amount(0),
            maker=False,
            event_ns=1,
        ),
        leaves=Qty(0),
        position_after=qty,
        cash_after=Amount(0),
    )


def _accepted(order_id: OrderId = ID, parent: OrderId | None = None, qty: int = 10) -> Accepted:
    return Accepted(
        seq=1,
        event_ns=1,
        order_id=order_id,
        instrument=SPX,
        side=Side.SELL if parent else Side.BUY,
        qty=Qty(qty),
        order_type=OrderType.STOP if parent else OrderType.LIMIT,
        stop_price=Price(90) if parent else None,
        reduce_only=parent is not None,
        parent=parent,
    )


@pytest.mark.parametrize(("state", "event"), list(itertools.product(S, E)), ids=lambda each: each.value)
def test_every_pair_is_either_in_the_table_or_illegal(state: OrderState, event: OrderEvent) -> None:
    """252 pairs; the illegal ones stand here by name, so that a new row needs two edits."""
    assert (next_state(state, event) is None) is (event in ILLEGAL_BY_STATE[state])


def test_the_table_speaks_only_of_its_own_states() -> None:
    """Terminal and unsettled sets partition what they should."""
    assert {state for state, _ in LIFECYCLE} | {S.STOPPED_AT_WIRE} == set(S)
    assert not ENDED & UNSETTLED
    assert {S.FILLED, S.CANCELED, S.EXPIRED, S.REJECTED, S.STOPPED_AT_WIRE, S.NEVER_ARRIVED} == ENDED


def test_an_order_that_never_left_cannot_come_back() -> None:
    """The wire check's word is final."""
    assert not [event for event in E if next_state(S.STOPPED_AT_WIRE, event)]


@pytest.mark.parametrize("state", sorted(ILLEGAL_BY_STATE), ids=str)
def test_an_illegal_event_changes_nothing_and_is_told(state: OrderState) -> None:
    """The caller decides whose mistake it is."""
    for event in ILLEGAL_BY_STATE[state]:
        book = Orders([_order(state)])
        change = book.move(ID, event)
        assert change.problem
        assert book.get(ID) == _order(state)


def test_fill_before_acceptance_and_after_cancel() -> None:
    """Both are reported by real venues; quantities are right in either order."""
    book = Orders([_order(S.SENT)])
    assert book.apply(_fill("t1", 4)).order == _order(S.PARTIALLY_FILLED, filled=4)
    assert book.apply(_accepted()).order == _order(S.PARTIALLY_FILLED, filled=4)
    book.apply(Canceled(seq=1, event_ns=1, order_id=ID, leaves=Qty(6), reason="requested"))
    late = book.apply(_fill("t2", 6))
    assert late.order == _order(S.FILLED, filled=10)
    assert late.fill is not None


def test_a_fill_is_booked_once() -> None:
    """The same trade id twice is one fill, whatever the transport repeats."""
    book = Orders([_order(S.WORKING)])
    assert book.apply(_fill("t1", 4)).fill is not None
    again = book.apply(_fill("t1", 4))
    assert (again.fill, again.problem) == (None, "fill t1 was reported before")
    known = Orders([_order(S.WORKING)], trades=[TradeId("t1")])
    assert known.apply(_fill("t1", 4)).problem


@pytest.mark.parametrize(("qty", "side"), [(0, Side.BUY), (-1, Side.BUY), (11, Side.BUY), (4, Side.SELL)])
def test_a_fill_that_does_not_fit_changes_nothing(qty: int, side: Side) -> None:
    """More than ordered, nothing, or the other side."""
    book = Orders([_order(S.WORKING)])
    assert book.apply(_fill("t1", qty, side)).problem
    assert book.get(ID) == _order(S.WORKING)


def test_an_event_for_an_unknown_order_is_a_problem() -> None:
    """The venue's claim on us is told, not dropped."""
    book = Orders()
    for event in (_fill("t", 1), _accepted(), Rejected(seq=1, event_ns=1, order_id=ID, code="X", detail="")):
        change = book.apply(event)
        assert change.order is None
        assert change.problem


def test_an_attached_stop_becomes_ours_and_grows_with_its_entry() -> None:
    """The venue made it; it belongs to the entry's source and is PROTECTIVE."""
    book = Orders([_order(S.WORKING)])
    stop_id = OrderId(f"{ID}-s")
    change = book.apply(_accepted(stop_id, parent=ID, qty=4))
    assert change.order is not None
    assert (change.order.order_class, change.order.source, change.order.qty) == (
        OrderClass.PROTECTIVE,
        "bot",
        4,
    )
    grown = book.apply(_accepted(stop_id, parent=ID, qty=10))
    assert grown.order is not None
    assert (grown.order.qty, grown.order.state) == (10, S.WORKING)
    assert [order.id for order in book.protective(SPX, SourceId("bot"))] == [stop_id]


def test_a_stop_of_an_unknown_entry_is_a_problem() -> None:
    """It would protect nobody we know."""
    assert Orders().apply(_accepted(OrderId("x-s"), parent=OrderId("x"))).problem


def test_cancel_refused_means_looking_it_up() -> None:
    """The venue may have filled it meanwhile, or never had it."""
    book = Orders([_order(S.CANCEL_SENT)])
    change = book.apply(CancelRefused(seq=1, event_ns=1, order_id=ID, detail="unknown"))
    assert change.order is not None
    assert change.order.state is S.UNKNOWN
    assert [order.id for order in book.unsettled()] == [ID]


def test_ended_orders_are_let_go_and_live_ones_are_kept() -> None:
    """Memory stays bounded; ids live on in the ledger."""
    ended = [replace(_order(S.FILLED), id=OrderId(f"e{n}")) for n in range(5)]
    book = Orders([*ended, _order(S.WORKING)])
    book.forget_ended(keep=2)
    assert [book.get(OrderId(f"e{n}")) is not None for n in range(5)] == [False, False, False, True, True]
    assert book.get(ID) is not None


def _venue_order(status: str, *, opened: bool, filled: int = 0) -> VenueOrder:
    return VenueOrder(
        order_id=ID,
        instrument=SPX,
        side=Side.BUY,
        qty=Qty(10),
        filled=Qty(filled),
        order_type=OrderType.LIMIT,
        open=opened,
        status=status,
    )


@pytest.mark.parametrize(
    ("state", "found", "event"),
    [
        (S.RECORDED, _venue_order("OPEN", opened=True), E.ACCEPT),
        (S.UNKNOWN, _venue_order("NEW", opened=True), E.ACCEPT),
        (S.SENT, _venue_order("OPEN", opened=True), None),
        (S.UNKNOWN, _venue_order("CANCELED", opened=False), E.CANCELED),
        (S.UNKNOWN, _venue_order("EXPIRED", opened=False), E.EXPIRE),
        (S.UNKNOWN, _venue_order("REJECTED", opened=False), E.REJECT),
        (S.UNKNOWN, _venue_order("FILLED", opened=False, filled=10), None),
        (S.UNKNOWN, _venue_order("CANCELED", opened=False, filled=3), None),
        (S.UNKNOWN, _venue_order("WHATEVER", opened=False), None),
    ],
)
def test_what_a_look_up_means(state: OrderState, found: VenueOrder, event: OrderEvent | None) -> None:
    """Fills are never made up from a list: they come as events, with price and fee."""
    assert fate(_order(state), found, 10**18) is event


@pytest.mark.safety("S4.6")
@pytest.mark.parametrize(
    ("waited_ns", "event"), [(WINDOW_NS + MARGIN_NS - 1, None), (WINDOW_NS + MARGIN_NS, E.NOT_FOUND)]
)
def test_not_found_counts_only_after_window_and_margin(waited_ns: int, event: OrderEvent | None) -> None:
    """Until then it may still be on its way (SAFETY 4)."""
    assert fate(_order(S.UNKNOWN), None, waited_ns) is event


@pytest.mark.safety("S4.7")
def test_the_id_ledger_never_forgets() -> None:
    """Ours by digest, anything else as it is."""
    ledger = IdLedger([ID])
    assert ID in ledger
    assert OrderId("il-baaaaaaaaaaaaaaaaaaaaaaaaaaaaa") not in ledger
    for foreign in ("il-gggggggggggggggggggggggggggggg", "x", "il-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-s"):
        assert OrderId(foreign) not in ledger
        ledger.add(OrderId(foreign))
        assert OrderId(foreign) in ledger
    assert 5 not in ledger
    assert len(ledger) == 4
