"""Amendments, lists, results, admission, replies, the id ledger and the order of events: the pure parts."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from appliance.domain.ids import InstrumentId, IntentId, ListId, OrderId, SourceId, TradeId
from appliance.domain.intent import Action, Intent, Link, ListKind, OrderType, Side
from appliance.domain.money import Amount, Price, Qty
from appliance.domain.order import (
    Accepted,
    Amended,
    Amendment,
    AmendRefused,
    Canceled,
    Expired,
    Fill,
    Filled,
    Order,
    OrderEvent,
    OrderState,
    Rejected,
    Triggered,
    VenueOrder,
)
from appliance.domain.reasons import Reason
from appliance.domain.sequence import EARLY_MAX, EventSequence
from appliance.domain.verdict import Denied, OrderClass
from appliance.orders.admission import Admission
from appliance.orders.book import Orders
from appliance.orders.identity import IdLedger
from appliance.orders.lifecycle import ENDED
from appliance.orders.reconcile import MARGIN_NS, WINDOW_NS, as_restored, fate
from appliance.orders.replies import FATE_OF_CODE, Fate, fate_of_reply
from appliance.orders.results import Results
from appliance.orders.sending import OUTCOME

S, E = OrderState, OrderEvent
SPX, BOT = InstrumentId("SPX"), SourceId("bot")
ID = OrderId("il-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
LIST = ListId(ID)


def _order(state: OrderState = S.WORKING, **changes: Any) -> Order:
    made = Order(
        id=ID,
        intent_id=IntentId("i"),
        source=BOT,
        instrument=SPX,
        order_class=OrderClass.INCREASE,
        side=Side.BUY,
        qty=Qty(10),
        order_type=OrderType.LIMIT,
        price=Price(100),
        stop_price=None,
        attached_stop=None,
        reduce_only=False,
        protects=None,
        state=state,
    )
    return replace(made, **changes)


def _fill(qty: int, trade: str = "t", order_id: OrderId = ID) -> Filled:
    fill = Fill(
        trade_id=TradeId(trade),
        order_id=order_id,
        instrument=SPX,
        side=Side.BUY,
        qty=Qty(qty),
        price=Price(100),
        fee=Amount(0),
        maker=True,
        event_ns=0,
    )
    return Filled(
        seq=1, event_ns=0, fill=fill, leaves=Qty(0), position_after=0, cash_after=Amount(0)
    )


def _amended(qty: int, price: int | None = 100, reason: str = "requested") -> Amended:
    return Amended(
        seq=1,
        event_ns=0,
        order_id=ID,
        qty=Qty(qty),
        price=None if price is None else Price(price),
        stop_price=None,
        queue_kept=True,
        reason=reason,
    )


PENDING = Amendment(Qty(30), Price(101), None, 5)


# amendments in the book


def test_until_its_fate_is_known_the_worse_of_both_counts() -> None:
    """Asked to grow: the larger; asked to shrink: still the old one."""
    assert _order(pending=PENDING, filled=Qty(4)).exposed == 26
    assert _order(pending=replace(PENDING, qty=Qty(5)), filled=Qty(4)).exposed == 6
    assert _order(filled=Qty(4)).exposed == 6


def test_the_venues_word_ends_an_amendment() -> None:
    """Taken as the venue says it, refused: as it was."""
    book = Orders([_order(pending=PENDING)])
    assert book.apply(_amended(20, 99)).order == _order(qty=Qty(20), price=Price(99))
    book = Orders([_order(pending=PENDING)])
    refused = AmendRefused(seq=1, event_ns=0, order_id=ID, detail="no")
    assert book.apply(refused).order == _order()


def test_a_size_taken_by_the_other_leg_leaves_our_amendment_pending() -> None:
    """It is still on its way."""
    book = Orders([_order(pending=PENDING)])
    assert book.apply(_amended(6, 100, "oco")).order == _order(qty=Qty(6), pending=PENDING)


def test_an_amendment_below_what_has_filled_is_a_problem() -> None:
    """Leaves never become negative by the venue's word; an unknown order is one too."""
    book = Orders([_order(S.PARTIALLY_FILLED, filled=Qty(7))])
    assert book.apply(_amended(6)).problem
    assert book.apply(_amended(7)).problem == ""
    assert Orders().apply(_amended(6)).problem


def test_a_fill_beyond_the_old_size_may_be_the_amendment_at_work() -> None:
    """Up to what was asked for; one more is a claim nobody can book."""
    book = Orders([_order(pending=PENDING)])
    grown = book.apply(_fill(12))
    assert grown.fill is not None
    assert grown.order is not None
    assert (grown.order.filled, grown.order.state, grown.order.exposed) == (12, S.PARTIALLY_FILLED, 18)
    too_much = book.apply(_fill(19, "t2"))
    assert too_much.claim
    assert book.apply(_amended(30)).order == _order(
        S.PARTIALLY_FILLED, qty=Qty(30), filled=Qty(12)
    )


def test_an_end_clears_what_was_pending() -> None:
    """By a cancel, or by the last fill."""
    cancel = Canceled(seq=1, event_ns=0, order_id=ID, leaves=Qty(1), reason="requested")
    assert Orders([_order(pending=PENDING)]).apply(cancel).order == _order(S.CANCELED)
    assert Orders([_order(pending=PENDING)]).apply(_fill(10)).order == _order(S.FILLED, filled=Qty(10))


def test_a_look_up_takes_over_what_was_asked() -> None:
    """The reply was lost, the order shows it."""
    book = Orders([_order(S.UNKNOWN, pending=PENDING)])
    assert book.move(ID, E.AMENDED).order == _order(qty=Qty(30), price=Price(101))


@pytest.mark.parametrize(
    ("event", "state"),
    [
        (Expired(seq=1, event_ns=0, order_id=ID, leaves=Qty(1)), S.EXPIRED),
        (Triggered(seq=1, event_ns=0, order_id=ID), S.TRIGGERED),
        (Rejected(seq=1, event_ns=0, order_id=ID, code="CASH", detail=""), S.REJECTED),
        (Rejected(seq=1, event_ns=0, order_id=ID, code="DUPLICATE", detail=""), S.UNKNOWN),
        (
            Accepted(
                seq=1,
                event_ns=0,
                order_id=ID,
                instrument=SPX,
                side=Side.BUY,
                qty=Qty(3),
                order_type=OrderType.LIMIT,
                held=True,
            ),
            S.HELD,
        ),
    ],
)
def test_what_each_report_makes_of_an_order_that_was_sent(event: Any, state: OrderState) -> None:
    """A venue that says DUPLICATE has something of ours: which fate it had, the look-up tells."""
    change = Orders([_order(S.SENT)]).apply(event)
    assert change.order == _order(state)


def test_a_leg_grows_with_its_lead() -> None:
    """Released for 3, then 10."""
    link = Link(LIST, ListKind.OTO, 1)
    book = Orders([_order(S.HELD, link=link)])
    told = Accepted(
        seq=1,
        event_ns=0,
        order_id=ID,
        instrument=SPX,
        side=Side.BUY,
        qty=Qty(3),
        order_type=OrderType.LIMIT,
    )
    assert book.apply(told).order == _order(S.WORKING, link=link, qty=Qty(3))
    assert book.apply(replace(told, qty=Qty(10))).order == _order(S.WORKING, link=link)


# fates


@pytest.mark.parametrize(
    ("found", "waited", "event"),
    [
        ({"qty": Qty(30), "price": Price(101)}, 0, E.AMENDED),
        ({}, WINDOW_NS + MARGIN_NS - 1, None),
        ({}, WINDOW_NS + MARGIN_NS, E.AMEND_REFUSED),
        ({"qty": Qty(30), "price": Price(100)}, 0, None),
    ],
)
def test_an_amendment_that_is_not_to_be_seen_counts_only_after_the_window(
    found: dict[str, Any], waited: int, event: OrderEvent | None
) -> None:
    """Until then it may still be on its way (SAFETY 4)."""
    listed = _listed(**found)
    assert fate(_order(S.UNKNOWN, pending=PENDING), listed, 5 + waited) is event


def _listed(**changes: Any) -> VenueOrder:
    made = VenueOrder(
        order_id=ID,
        instrument=SPX,
        side=Side.BUY,
        qty=Qty(10),
        filled=Qty(0),
        order_type=OrderType.LIMIT,
        open=True,
        status="OPEN",
        price=Price(100),
    )
    return replace(made, **changes)


def test_a_leg_found_held_is_held() -> None:
    """And no more."""
    assert fate(_order(S.UNKNOWN), _listed(status="HELD", held=True), 0) is E.HOLD


@pytest.mark.parametrize(
    ("state", "pending", "after"),
    [
        (S.RECORDED, None, S.RECORDED),
        (S.SENT, None, S.SENT),
        (S.WORKING, None, S.WORKING),
        (S.WORKING, PENDING, S.UNKNOWN),
        (S.CANCEL_SENT, None, S.UNKNOWN),
        (S.FILLED, PENDING, S.FILLED),
    ],
)
def test_how_a_restarted_core_takes_an_order_up(
    state: OrderState, pending: Amendment | None, after: OrderState
) -> None:
    """What may have left just before the crash is looked up, from a window that starts now."""
    taken = as_restored(_order(state, pending=pending, sent_ns=1), 77)
    assert taken.state is after
    assert (taken.sent_ns == 77) is (state not in (S.WORKING, S.FILLED) or after is S.UNKNOWN)
    if after is S.UNKNOWN and taken.pending is not None:
        assert taken.pending.sent_ns == 77


def test_replies() -> None:
    """The code says more than the status; what nobody knows may have been taken."""
    assert fate_of_reply(400, "") is Fate.FINAL
    assert fate_of_reply(429, "") is Fate.RETRYABLE
    assert fate_of_reply(500, "") is Fate.UNKNOWN
    assert fate_of_reply(400, "-1003") is Fate.RETRYABLE
    assert fate_of_reply(200, "CASH") is Fate.FINAL
    assert fate_of_reply(400, "never heard of") is Fate.UNKNOWN
    assert FATE_OF_CODE["-1007"] is Fate.UNKNOWN
    assert set(OUTCOME) == set(itertools.product(Action, ("stopped", "known", "unknown")))


# lists


def _pair(kind: ListKind, places: tuple[int, int], *changes: dict[str, Any]) -> list[Order]:
    return [
        _order(id=OrderId(f"leg{place}"), link=Link(LIST, kind, place), **change)
        for place, change in zip(places, changes, strict=True)
    ]


def _counts(book: Orders, order: Order) -> dict[str, int]:
    return {each.id: counted for each, counted in book.links.counted(order)}


@pytest.mark.parametrize(
    ("kind", "places"), [(ListKind.OCO, (0, 1)), (ListKind.OTOCO, (1, 2))], ids=["oco", "otoco"]
)
def test_of_two_legs_on_one_side_the_larger_counts(kind: ListKind, places: tuple[int, int]) -> None:
    """Only one can fill; of two equals the dearer."""
    small, large = _pair(kind, places, {"qty": Qty(3)}, {})
    book = Orders([small, large])
    assert _counts(book, small) == {small.id: 0, large.id: 10}
    cheap, dear = _pair(kind, places, {}, {"price": Price(200)})
    assert _counts(Orders([cheap, dear]), cheap) == {cheap.id: 0, dear.id: 10}


def test_legs_on_two_sides_count_each_on_its_own() -> None:
    """The worst case of a side is what can fill on it."""
    buy, sell = _pair(ListKind.OCO, (0, 1), {}, {"side": Side.SELL, "qty": Qty(11)})
    book = Orders([buy, sell])
    assert _counts(book, buy) == {buy.id: 10}
    assert _counts(book, sell) == {sell.id: 11}


def test_a_protective_leg_does_not_stand_for_the_other() -> None:
    """It is not counted at all, so the take-profit must be."""
    legs = _pair(
        ListKind.OCO, (0, 1), {"order_class": OrderClass.REDUCE}, {"order_class": OrderClass.PROTECTIVE}
    )
    assert _counts(Orders(legs), legs[0])[legs[0].id] == 10


@pytest.mark.parametrize(
    ("state", "order_class", "counted"),
    [
        (S.HELD, OrderClass.REDUCE, 0),
        (S.SENT, OrderClass.REDUCE, 0),
        (S.WORKING, OrderClass.REDUCE, 10),
        (S.HELD, OrderClass.INCREASE, 10),
    ],
)
def test_a_leg_that_waits_and_only_reduces_counts_when_it_works(
    state: OrderState, order_class: OrderClass, counted: int
) -> None:
    """Before, there is nothing it could reduce; one that would open counts from the start."""
    leg = _order(state, link=Link(LIST, ListKind.OTO, 1), order_class=order_class)
    assert _counts(Orders([leg]), leg) == {leg.id: counted}


def test_a_list_is_forgotten_with_its_last_order() -> None:
    """Memory is bounded by what is live."""
    first, second = _pair(ListKind.OCO, (0, 1), {}, {})
    book = Orders([first, second])
    assert len(book.links) == 1
    for each in (first, second):
        change = book.move(each.id, E.CANCELED)
        assert change.order is not None
        assert _counts(book, change.order)[each.id] == 0
    assert len(book.links) == 0
    lead = _order(link=Link(LIST, ListKind.OTOCO, 0))
    assert _counts(Orders([lead]), lead) == {lead.id: 10}


def test_the_nearest_of_our_own_orders() -> None:
    """Highest buy, lowest sell; a stop-limit that waits and a held leg would not trade with us."""
    prices = (100, 102, 101)
    buys = [_order(id=OrderId(f"b{p}"), price=Price(p)) for p in prices]
    sells = [_order(id=OrderId(f"s{p}"), price=Price(p + 10), side=Side.SELL) for p in prices]
    waits = _order(id=OrderId("w"), price=Price(500), order_type=OrderType.STOP_LIMIT)
    held = _order(S.HELD, id=OrderId("h"), price=Price(501), link=Link(LIST, ListKind.OTO, 1))
    book = Orders([*buys, *sells, waits, held])
    assert (book.nearest(SPX, Side.BUY), book.nearest(SPX, Side.SELL)) == (102, 110)
    book.move(OrderId("b102"), E.CANCELED)
    book.move(OrderId("s100"), E.CANCELED)
    assert (book.nearest(SPX, Side.BUY), book.nearest(SPX, Side.SELL)) == (101, 111)
    book.move(OrderId("w"), E.TRIGGER)
    assert book.nearest(SPX, Side.BUY) == 500
    assert book.nearest(InstrumentId("DAX"), Side.BUY) is None


# results, admission, ids


def _intent(**changes: Any) -> Intent:
    made = Intent(id=IntentId("i"), source=BOT, instrument=SPX, created_ns=1, qty=Qty(1))
    return replace(made, **changes)


def test_the_first_answer_is_the_answer() -> None:
    """Asked again at another time: the same; another wish under the id: a denial of its own."""
    results = Results(remembered=2)
    verdict = Denied(IntentId("i"), BOT, SPX, OrderClass.REDUCE, Reason.HOLD, "x")
    results.note(_intent(), verdict)
    results.note(_intent(), replace(verdict, detail="later"))
    assert results.first(_intent(created_ns=99)) is verdict
    other = results.first(_intent(qty=Qty(2)))
    assert isinstance(other, Denied)
    assert (other.reason, other.order_class) == (Reason.DUPLICATE_ID, OrderClass.INCREASE)
    assert results.first(_intent(attempt=1)) is None
    for n in range(2):
        results.note(_intent(id=IntentId(f"{n}")), replace(verdict, order_class=OrderClass.CANCEL))
    assert results.first(_intent()) is None
    cancel = results.first(_intent(id=IntentId("1"), qty=Qty(2)))
    assert cancel is not None
    assert cancel.order_class is OrderClass.CANCEL


def test_entries_under_way_are_bounded_in_all_and_per_source() -> None:
    """The last allowed value is let in, the next is told which bound it met; leaving makes room."""
    gate = Admission(total=3, of_a_source=2)
    assert [gate.enter(BOT) for _ in range(2)] == ["", ""]
    assert "bot are under way, 2 may be" in gate.enter(BOT)
    other = SourceId("other")
    assert gate.enter(other) == ""
    assert "3 entries are under way" in gate.enter(SourceId("third"))
    gate.leave(BOT)
    assert gate.enter(other, 2) != ""
    assert gate.enter(other) == ""
    assert gate.under_way == 3
    for source, count in ((BOT, 1), (other, 2)):
        gate.leave(source, count)
    assert gate.under_way == 0
    assert gate.enter(BOT, 2) == ""


def test_the_id_ledger_tells_what_became_of_an_order() -> None:
    """For ever, and after a restart."""
    ledger = IdLedger.restored([(ID, S.FILLED), (OrderId("x"), S.CANCELED)])
    assert (ledger.state(ID), ledger.state(OrderId("x"))) == (S.FILLED, S.CANCELED)
    assert ledger.state(OrderId("y")) is None
    ledger.add(OrderId("y"))
    assert ledger.state(OrderId("y")) is S.RECORDED


# the order of events


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.lists(st.lists(st.integers(1, 12), max_size=8), max_size=12), st.integers(0, 3))
def test_events_are_released_once_and_in_order(batches: list[list[int]], after: int) -> None:
    """Whatever is repeated, reordered or missing."""
    sequence = EventSequence(after)
    seen: list[int] = []
    for batch in batches:
        released = sequence.take(
            Triggered(seq=number, event_ns=0, order_id=ID) for number in batch
        )
        seen += [event.seq for event in released]
    assert seen == list(range(after + 1, after + 1 + len(seen)))
    told = {number for batch in batches for number in batch if number > after}
    assert sequence.gap is bool(told - set(seen))
    assert (after + len(seen) + 1) not in told


def test_what_is_early_is_bounded() -> None:
    """A venue that never tells number 1 does not fill the memory."""
    sequence = EventSequence()
    sequence.take(Triggered(seq=n, event_ns=0, order_id=ID) for n in range(2, EARLY_MAX + 50))
    released = sequence.take([Triggered(seq=1, event_ns=0, order_id=ID)])
    assert len(released) == EARLY_MAX + 1
    assert not sequence.gap


def test_an_ended_order_is_not_live_and_an_unknown_one_is_unsettled() -> None:
    """The indices follow every change."""
    for state in S:
        book = Orders([_order(state)])
        assert [o.id for o in book.live()] == ([] if state in ENDED else [ID])
        assert bool(book.unsettled()) is (state in (S.RECORDED, S.SENT, S.UNKNOWN))
        leg = Orders([_order(state, order_class=OrderClass.PROTECTIVE)])
        assert bool(leg.protective(SPX, BOT)) is (state not in ENDED and state is not S.HELD)


def test_a_rejected_order_that_fills_is_booked() -> None:
    """Money has moved, whatever was said before; and it works again."""
    book = Orders([_order(S.REJECTED)])
    assert book.apply(_fill(4)).fill is not None
    assert [o.id for o in book.live()] == [ID]
    stopped = Orders([_order(S.STOPPED_AT_WIRE)]).apply(_fill(4))
    assert stopped.claim
    assert Orders().apply(_fill(4)).claim
    repeated = Orders([_order()], [TradeId("t")]).apply(_fill(4))
    assert (repeated.claim, repeated.problem) == (False, "fill t was reported before")
