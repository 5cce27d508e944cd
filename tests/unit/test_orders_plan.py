"""The table of execution, cell by cell; plans as they are frozen, logged and read; what execution cost."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from appliance.domain.ids import IntentId, OrderId, TradeId
from appliance.domain.intent import Intent, OrderType, Side, TimeInForce
from appliance.domain.money import Amount, Price, Qty
from appliance.domain.order import Fill, OrderState
from appliance.orders.lifecycle import ENDED, UNSETTLED
from appliance.orders.plan import (
    ACTS,
    Act,
    Moment,
    Plan,
    Recipe,
    Style,
    arrival_price,
    child_id,
    child_intent,
    make_plan,
    missed,
    passive_price,
    plan_data,
    read_plan,
    shortfall,
    slippage_ppm,
)
from appliance.orders.reconcile import AFTER, After
from appliance.orders.slicing import Bounds
from appliance.orders.work import ASKS_PER_ORDER, Work
from appliance.portfolio.holdings import Holding
from appliance.safety.exits import _REFUSED
from tests.kit import BOT, SECOND, SPX, START_NS, spx

W, E, C, Z = Act.WAIT, Act.EMIT, Act.CANCEL, Act.END
M = Moment
TABLE: dict[tuple[Style, bool], dict[Moment, Act]] = {
    (Style.PLAIN, False): {M.SPENT: Z, M.HALTED: Z, M.OVER: Z, M.HELD: Z, M.EARLY: Z, M.DUE: Z},
    (Style.PLAIN, True): {M.HALTED: W, M.OVER: W, M.HELD: W, M.EARLY: W, M.DUE: W},
    (Style.TWAP, False): {M.SPENT: Z, M.HALTED: Z, M.OVER: Z, M.HELD: W, M.EARLY: W, M.DUE: E},
    (Style.TWAP, True): {M.HALTED: C, M.OVER: C, M.HELD: C, M.EARLY: W, M.DUE: W},
    (Style.ICEBERG, False): {M.SPENT: Z, M.HALTED: Z, M.OVER: Z, M.HELD: W, M.EARLY: W, M.DUE: E},
    (Style.ICEBERG, True): {M.HALTED: C, M.OVER: C, M.HELD: C, M.EARLY: W, M.DUE: W},
    (Style.EXIT, False): {M.SPENT: Z, M.HALTED: E, M.OVER: E, M.HELD: E, M.EARLY: E, M.DUE: E},
    (Style.EXIT, True): {M.HALTED: W, M.OVER: W, M.HELD: W, M.EARLY: W, M.DUE: W},
}


@pytest.mark.parametrize(("style", "working"), list(TABLE))
def test_the_table_is_literally_this(style: Style, working: bool) -> None:
    """Written a second time; 44 cells."""
    assert ACTS[style][working] == TABLE[style, working]
    assert set(ACTS) == set(Style)


def test_nothing_stops_or_delays_an_exit() -> None:
    """Whatever stands, an exit that is not working is sent, and one that works is never cancelled."""
    assert {act for moment, act in ACTS[Style.EXIT][False].items() if moment is not M.SPENT} == {E}
    assert set(ACTS[Style.EXIT][True].values()) == {W}


@pytest.mark.parametrize("style", [Style.TWAP, Style.ICEBERG])
@pytest.mark.parametrize("moment", [M.HALTED, M.OVER, M.HELD])
def test_no_slice_is_asked_for_while_anything_stands(style: Style, moment: Moment) -> None:
    """And the one that works is cancelled."""
    assert ACTS[style][False][moment] is not E
    assert ACTS[style][True][moment] is C


NEXT: dict[OrderState, After] = {
    OrderState.RECORDED: After.LOOK_UP,
    OrderState.SENT: After.LOOK_UP,
    OrderState.UNKNOWN: After.LOOK_UP,
    OrderState.WORKING: After.WAIT,
    OrderState.HELD: After.WAIT,
    OrderState.TRIGGERED: After.WAIT,
    OrderState.PARTIALLY_FILLED: After.WAIT,
    OrderState.CANCEL_SENT: After.WAIT,
    OrderState.FILLED: After.DONE,
    OrderState.CANCELED: After.TRY_AGAIN,
    OrderState.EXPIRED: After.TRY_AGAIN,
    OrderState.REJECTED: After.TRY_AGAIN,
    OrderState.STOPPED_AT_WIRE: After.TRY_AGAIN,
    OrderState.NEVER_ARRIVED: After.TRY_AGAIN,
}


def test_what_may_follow_each_state_is_literally_this() -> None:
    """Written a second time, and in accord with the other tables about the same states."""
    assert AFTER == NEXT
    assert {state for state, after in AFTER.items() if after is After.LOOK_UP} == UNSETTLED
    assert {state for state, after in AFTER.items() if after in (After.DONE, After.TRY_AGAIN)} == ENDED
    assert all(AFTER[state] is After.TRY_AGAIN for state in _REFUSED)
    assert set(AFTER) == set(OrderState)


def _parent(**changes: object) -> Intent:
    parent = Intent(
        id=IntentId("run/SPX/1"),
        source=BOT,
        instrument=SPX,
        created_ns=START_NS,
        side=Side.BUY,
        qty=Qty(1_000),
        order_type=OrderType.MARKET,
        stop_price=Price(90_000),
    )
    return replace(parent, **changes)


def _view(bid: int = 99_990, ask: int = 100_011, last: int = 100_005, **changes: int) -> Holding:
    view = Holding(spx(**changes))
    view.bid, view.ask, view.last = bid, ask, last
    return view


def _plan(style: Style, parent: Intent | None = None, **recipe: int) -> Plan:
    chosen = Recipe(style=style, **recipe)
    return make_plan(parent or _parent(), chosen, Bounds(1, 1, 400), _view(), 5, "b/1/7", 3)


def test_a_plain_plan_is_one_order_and_keeps_its_id() -> None:
    """The child is the wish itself: the order id of before; nothing is tried again."""
    plan = _plan(Style.PLAIN)
    assert (plan.qtys, plan.due_ns, plan.retries, plan.price) == ((1_000,), (START_NS,), 0, None)
    assert child_intent(plan, 0, 3, 1, 99) is plan.parent
    assert child_id(plan, 0) == plan.parent.id


def test_a_twap_is_cut_by_time() -> None:
    """As many slices as asked for, sums exact, all before the end; children keep the wish's stop."""
    plan = _plan(Style.TWAP, slices=5, horizon_ns=100 * SECOND, retries=4)
    assert (len(plan.qtys), sum(plan.qtys), plan.total) == (5, 1_000, 1_000)
    assert len(set(plan.qtys)) > 1, "jittered"
    assert plan.due_ns[0] == START_NS == plan.begun_ns
    assert list(plan.due_ns) == sorted(plan.due_ns)
    assert plan.due_ns[-1] < plan.end_ns == START_NS + 100 * SECOND
    assert (plan.retries, plan.arming, plan.held, plan.smallest) == (4, "b/1/7", 3, 1)
    child = child_intent(plan, 2, 1, 77, 99)
    assert (child.id, child.qty, child.attempt, child.created_ns) == ("run/SPX/1/2", 77, 1, 99)
    assert (child.order_type, child.price, child.stop_price) == (OrderType.MARKET, None, 90_000)


@pytest.mark.parametrize(("side", "price"), [(Side.BUY, 100_000), (Side.SELL, 100_001)])
def test_an_iceberg_rests_at_the_arrival_price_and_shows_no_more_than_it_may(side: Side, price: int) -> None:
    """All slices are due at once: a fill brings the next."""
    plan = _plan(Style.ICEBERG, _parent(side=side), displayed_ppm=100_000)
    assert sum(plan.qtys) == 1_000
    assert max(plan.qtys) <= 100
    assert len(plan.qtys) == 12
    assert set(plan.due_ns) == {START_NS}
    child = child_intent(plan, 0, 0, 10, 99)
    assert (child.order_type, child.price) == (OrderType.LIMIT, price)
    assert child.time_in_force is TimeInForce.GTC


def test_an_iceberg_never_shows_more_than_the_largest_order_nor_less_than_the_smallest() -> None:
    """Whatever share is asked for."""
    assert max(_plan(Style.ICEBERG, displayed_ppm=1_000_000).qtys) <= 400
    plan = make_plan(
        _parent(), Recipe(style=Style.ICEBERG, displayed_ppm=10_000), Bounds(1, 50, 400), _view(), 5, "", 0
    )
    assert min(plan.qtys) >= 50
    assert sum(plan.qtys) == 1_000


@pytest.mark.parametrize(
    ("bid", "ask", "last", "side", "arrival"),
    [
        (100, 104, 90, Side.BUY, 102),
        (100, 105, 90, Side.BUY, 102),  # against us: slippage is never made smaller
        (100, 105, 90, Side.SELL, 103),
        (0, 105, 90, Side.BUY, 90),
        (100, 0, 90, Side.SELL, 90),
        (0, 0, 0, Side.BUY, 0),
    ],
)
def test_the_arrival_price(bid: int, ask: int, last: int, side: Side, arrival: int) -> None:
    """The mid of both sides, or the last price."""
    assert arrival_price(_view(bid, ask, last), side) == arrival


def test_a_passive_price_is_on_the_tick_behind_arrival() -> None:
    """Down for a buy, up for a sell."""
    view = _view(tick=5)
    assert passive_price(view, Side.BUY, 102) == 100
    assert passive_price(view, Side.SELL, 102) == 105
    assert passive_price(view, Side.SELL, 105) == 105


@pytest.mark.parametrize(
    ("side", "qty", "value", "ppm"),
    [
        (Side.BUY, 10, 10_000, 0),
        (Side.BUY, 10, 10_010, 1_000),
        (Side.BUY, 10, 9_990, -1_000),
        (Side.SELL, 10, 9_990, 1_000),
        (Side.SELL, 10, 10_010, -1_000),
        (Side.BUY, 3_000_000, 3_000_000_001, 1),  # rounded against us
        (Side.BUY, 3_000_000, 2_999_999_999, 0),
        (Side.BUY, 0, 0, 0),
    ],
)
def test_slippage_is_positive_when_it_is_worse(side: Side, qty: int, value: int, ppm: int) -> None:
    """Against an arrival of 1,000."""
    assert slippage_ppm(side, 1_000, qty, value) == ppm


def test_slippage_without_an_arrival_price_is_none() -> None:
    """Nothing to compare with, no division."""
    assert slippage_ppm(Side.BUY, 0, 10, 10_000) == 0


def test_implementation_shortfall_has_two_parts() -> None:
    """What was executed, with fees; and what was not, by how far the market went away."""
    assert shortfall(Side.BUY, 1_000, 10, 10_050, 7, 3) == 50 * 7 + 3
    assert shortfall(Side.SELL, 1_000, 10, 10_050, 7, 3) == -50 * 7 + 3
    assert missed(Side.BUY, 1_000, 4, 1_010, 7) == 280
    assert missed(Side.SELL, 1_000, 4, 1_010, 7) == -280


@pytest.mark.parametrize("style", list(Style))
def test_a_plan_is_read_back_from_the_log_as_it_was(style: Style) -> None:
    """Every number exact, and none of them a JSON number."""
    plan = _plan(style, _parent(qty=Qty(2**60)))
    data = plan_data(plan)
    assert read_plan(data) == plan
    assert data["begun_ns"] == str(START_NS)
    assert isinstance(data["parent"], dict)
    assert data["parent"]["qty"] == str(2**60)


@pytest.mark.parametrize("broken", [{}, {"qtys": "x"}, {"parent": {}}])
def test_a_broken_plan_is_no_plan(broken: dict[str, object]) -> None:
    """The log says what it says, or nothing."""
    data = plan_data(_plan(Style.TWAP))
    with pytest.raises(ValueError, match="no execution plan"):
        read_plan(data | broken if broken else {})


def test_children_of_the_log_come_in_any_order() -> None:
    """By their last change: the highest slice is the one that is worked, a live child before an ended one."""
    work = Work(_plan(Style.TWAP, slices=4, retries=1), 0)
    work.remember(2, OrderId("c"), alive=False)
    work.remember(2, OrderId("d"), alive=True)
    work.remember(2, OrderId("e"), alive=False)
    work.remember(0, OrderId("a"), alive=False)
    assert (work.at, work.child, work.tries, work.sent, work.attempt()) == (2, "d", 3, 4, 3 * ASKS_PER_ORDER)
    work.next_slice(again=True)
    assert (work.at, work.tries) == (3, 0), "three tries of two"


@pytest.mark.parametrize(
    ("filled", "again", "at"), [(0, True, 0), (149, True, 0), (151, True, 1), (0, False, 1)]
)
def test_a_rest_the_venue_would_not_take_is_given_up(filled: int, again: bool, at: int) -> None:
    """Slices of 250, smallest order 100: a rest of 101 is tried again, one of 99 is not."""
    plan = make_plan(
        _parent(), Recipe(style=Style.TWAP, slices=4, jitter_ppm=0), Bounds(1, 100, 400), _view(), 5, "", 0
    )
    work = Work(plan, 0)
    work.count_try()
    work.take(0, _fill(filled))
    work.next_slice(again=again)
    assert work.at == at


def _fill(qty: int) -> Fill:
    return Fill(
        trade_id=TradeId("t"), order_id=OrderId("o"), instrument=SPX, side=Side.BUY, qty=Qty(qty),
        price=Price(7), fee=Amount(2), maker=False, event_ns=START_NS + 9,
    )  # fmt: skip


def test_what_a_parent_has_filled() -> None:
    """Sums of quantity, value and fees; the share rounded down, and never above all."""
    work = Work(_plan(Style.PLAIN), 0)
    assert (work.filled_percent(), work.slippage_ppm(), work.fill_ns()) == (0, 0, 0)
    work.take(0, _fill(999))
    assert (work.filled, work.value, work.fees, work.filled_percent()) == (999, 6_993, 2, 99)
    assert work.fill_ns() == 9
    work.take(0, _fill(5))
    assert work.filled_percent() == 100
    assert Work(_plan(Style.PLAIN, _parent(qty=Qty(0))), 0).filled_percent() == 0
