"""The gate on AMEND, REPLACE, lists and the new conditions: class by class, boundary by boundary."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from msgspec.structs import replace

from appliance.domain.ids import IntentId, OrderId, SourceId
from appliance.domain.intent import Action, Intent, ListKind, OrderType, SelfTrade, Side, TimeInForce
from appliance.domain.mode import Mode
from appliance.domain.money import Price, Qty
from appliance.domain.order import Order, OrderState
from appliance.domain.reasons import Reason
from appliance.domain.verdict import Approved, ApprovedList, Denied, Flag, OrderClass
from appliance.risk.changes import NothingWorks
from appliance.risk.classify import CLASSES, Room, classify, reducible
from tests.kit import BOT, SPX, Core, instrument_limits, source_limits, spx

PRICE = 100_000
LIMIT, STOP, STOP_LIMIT, MARKET = (
    OrderType.LIMIT,
    OrderType.STOP,
    OrderType.STOP_LIMIT,
    OrderType.MARKET,
)
I, R, P, C = OrderClass.INCREASE, OrderClass.REDUCE, OrderClass.PROTECTIVE, OrderClass.CANCEL  # noqa: E741


def _core(held: int = 500, **more: Any) -> Core:
    """A core that holds a position behind its attached stop."""
    core = Core(**more)
    asyncio.run(core.hold_position(held) if held else core.market(PRICE))
    return core


def _place(core: Core, **changes: Any) -> Order:
    """A working limit buy at 990.00 unless told otherwise."""
    wish = core.intent(**({"order_type": LIMIT, "price": Price(99_000)} | changes))
    verdict = asyncio.run(core.desk.place(wish))
    assert isinstance(verdict, Approved), verdict
    asyncio.run(core.desk.collect())
    order = core.orders.get(verdict.order_id)
    assert order is not None
    assert order.state is OrderState.WORKING
    return order


def _amend(core: Core, order: Order, qty: int, **prices: int) -> Approved | Denied:
    wish = core.intent(action=Action.AMEND, target=order.id, qty=Qty(qty), **prices)
    return core.gate.check(wish)


def _reason(verdict: object) -> Reason:
    assert isinstance(verdict, Denied), verdict
    return verdict.reason


def _ok(verdict: object) -> Approved:
    assert isinstance(verdict, Approved), verdict
    return verdict


# the table


def test_the_table_is_whole_and_literally_this() -> None:
    """Every action × type has a row; only an amendment can shrink, and a cancel is always one."""
    assert {(a, t) for a in CLASSES for t in CLASSES[a]} == set(itertools.product(Action, OrderType))
    exits, stops = (I, R, I, I), (I, P, P, I)
    for action in (Action.NEW, Action.REPLACE):
        assert [CLASSES[action][t] for t in (MARKET, LIMIT, STOP, STOP_LIMIT)] == [exits, exits, stops, stops]
    assert [CLASSES[Action.AMEND][t][Room.SHRINKS] for t in OrderType] == [C] * 4
    assert [CLASSES[Action.AMEND][t][1:] for t in (LIMIT, STOP)] == [exits[1:], stops[1:]]
    assert {c for row in CLASSES[Action.CANCEL].values() for c in row} == {C}


@pytest.mark.parametrize(
    ("qty", "working", "kind", "made"),
    [
        (500, 0, LIMIT, R),
        (501, 0, LIMIT, I),
        (500, 1, LIMIT, I),
        (499, 1, LIMIT, R),
        (500, 400, STOP, P),
        (501, 400, STOP, I),
        (0, 0, LIMIT, I),
        (-1, 0, MARKET, I),
    ],
)
def test_the_class_at_its_boundaries(qty: int, working: int, kind: OrderType, made: OrderClass) -> None:
    """500 held, on both sides."""
    core = _core(held=0)
    view = core.portfolio.holdings[SPX]
    for side in Side:
        view.position = -side.sign * 500
        view.working_sell = working if side is Side.SELL else 0
        view.working_buy = working if side is Side.BUY else 0
        assert classify(core.intent(side=side, qty=Qty(qty), order_type=kind), view) is made
        assert classify(core.intent(side=side.opposite, qty=Qty(qty), order_type=kind), view) is I


def test_a_replaced_exit_frees_its_own_leaves() -> None:
    """And no more than works: 500 held, 500 working, 500 freed."""
    core = _core(held=0)
    view = core.portfolio.holdings[SPX]
    view.position = view.working_sell = 500
    wish = core.intent(side=Side.SELL, qty=Qty(500), action=Action.REPLACE)
    assert [classify(wish, view, freed) for freed in (499, 500, 501)] == [I, R, R]
    assert classify(replace(wish, qty=Qty(501)), view, 9_999) is I


def test_without_a_view_everything_may_increase() -> None:
    """An instrument nobody configured has no position to reduce."""
    core = _core(held=0)
    assert classify(core.intent(side=Side.SELL), None) is I
    assert classify(core.cancel(), None) is C
    view = core.portfolio.holdings[SPX]
    view.position, view.working_buy = -500, 100
    assert (reducible(view, Side.BUY), reducible(view, Side.SELL)) == (400, 0)


def test_a_stop_given_off_tick_is_refused() -> None:
    """The source's own stop is not rounded for it: it would not be what it asked for."""
    core = _core(held=0, instrument=spx(tick=10))
    assert _reason(core.gate.check(core.intent(stop_price=Price(95_001)))) is Reason.TICK_SIZE


# conditions of an entry


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"time_in_force": TimeInForce.GTD}, Reason.EXPIRY),
        ({"expire_ns": 5}, Reason.EXPIRY),
        ({"order_type": MARKET, "price": None, "post_only": True}, Reason.MALFORMED),
        ({"time_in_force": TimeInForce.IOC, "post_only": True}, Reason.MALFORMED),
        ({"reduce_only": True}, Reason.MALFORMED),
        ({"order_type": STOP_LIMIT}, Reason.MALFORMED),
        ({"order_type": STOP_LIMIT, "stop_price": Price(0)}, Reason.MALFORMED),
        ({"order_type": STOP_LIMIT, "price": None, "stop_price": Price(PRICE)}, Reason.MALFORMED),
        ({"order_type": STOP, "stop_price": Price(PRICE)}, Reason.MALFORMED),
    ],
)
def test_terms_that_do_not_fit_an_entry(changes: dict[str, Any], reason: Reason) -> None:
    """Each alone, on a limit order that would pass."""
    core = _core(held=0)
    fine: dict[str, Any] = {"order_type": LIMIT, "price": Price(99_000)}
    assert isinstance(core.gate.check(core.intent(**fine)), Approved)
    assert _reason(core.gate.check(core.intent(**(fine | changes)))) is reason


@pytest.mark.parametrize(("ahead", "passes"), [(-1, False), (0, False), (1, True)])
def test_gtd_must_lie_ahead_on_the_trading_clock(ahead: int, passes: bool) -> None:
    """And travels with the approval, like post-only."""
    core = _core(held=0)
    wish = core.intent(
        order_type=LIMIT,
        price=Price(99_000),
        time_in_force=TimeInForce.GTD,
        expire_ns=core.clock.utc + ahead,
        post_only=True,
    )
    verdict = core.gate.check(wish)
    assert isinstance(verdict, Approved) is passes
    if isinstance(verdict, Approved):
        assert (verdict.expire_ns, verdict.post_only) == (wish.expire_ns, True)


@pytest.mark.parametrize(("price", "passes"), [(106_050, True), (106_051, False), (95_949, False)])
def test_the_collar_of_a_stop_limit_is_around_its_trigger(price: int, passes: bool) -> None:
    """5 % of 1,010.00."""
    core = _core(held=0, limits=instrument_limits(max_stop_ppm=200_000))
    wish = core.intent(order_type=STOP_LIMIT, price=Price(price), stop_price=Price(101_000), qty=Qty(1))
    verdict = core.gate.check(wish)
    assert isinstance(verdict, Approved) is passes
    if isinstance(verdict, Approved):
        assert (verdict.stop_price, verdict.price) == (101_000, price)


def test_triggers_are_on_a_tick() -> None:
    """Of stops and stop-limits that would open."""
    core = _core(held=0, instrument=spx(tick=10))
    for kind, price in ((STOP, None), (STOP_LIMIT, Price(101_000))):
        wish = core.intent(order_type=kind, price=price, stop_price=Price(101_001))
        assert _reason(core.gate.check(wish)) is Reason.TICK_SIZE


def test_the_dearest_price_of_a_stop_limit_is_the_dearer_of_both() -> None:
    """Value limits look at it: 20,000 USD are 18.86 at 1,060.00."""
    core = _core(held=0, account=None, limits=instrument_limits(max_stop_ppm=200_000))
    for qty, passes in ((1_886, True), (1_887, False)):
        wish = core.intent(
            order_type=STOP_LIMIT, price=Price(106_000), stop_price=Price(101_000), qty=Qty(qty)
        )
        verdict = core.gate.check(wish)
        assert isinstance(verdict, Approved) is passes
        if isinstance(verdict, Denied):
            assert verdict.reason is Reason.VALUE_TOO_LARGE


# terms of an exit: mended, never refused


@pytest.mark.parametrize(
    ("changes", "terms"),
    [
        ({"time_in_force": TimeInForce.GTD, "expire_ns": 1}, (TimeInForce.IOC, 0, False)),
        ({"expire_ns": 77}, (TimeInForce.GTC, 0, False)),
        ({"time_in_force": TimeInForce.GTD, "expire_ns": 2**62}, (TimeInForce.GTD, 2**62, False)),
        ({"post_only": True}, (TimeInForce.GTC, 0, True)),
        ({"post_only": True, "time_in_force": TimeInForce.FOK}, (TimeInForce.FOK, 0, False)),
        ({"post_only": True, "order_type": MARKET, "price": None}, (TimeInForce.GTC, 0, False)),
    ],
)
def test_an_exit_with_terms_that_do_not_fit_is_mended(
    changes: dict[str, Any], terms: tuple[TimeInForce, int, bool]
) -> None:
    """SAFETY 2: it passes in some form."""
    core = _core()
    fine: dict[str, Any] = {"side": Side.SELL, "order_type": LIMIT, "price": Price(101_000)}
    verdict = _ok(core.gate.check(core.intent(**(fine | changes))))
    assert (verdict.time_in_force, verdict.expire_ns, verdict.post_only) == terms
    assert verdict.reduce_only
    assert verdict.self_trade is SelfTrade.CANCEL_OLDEST


@pytest.mark.parametrize(
    ("price", "trigger", "sent"),
    [(None, 95_000, None), (0, 95_000, None), (94_907, 95_003, (94_900, 95_000)), (94_900, None, None)],
)
def test_a_protective_stop_limit(
    price: int | None, trigger: int | None, sent: tuple[int, int] | None
) -> None:
    """Both prices positive, both put on a tick."""
    core = _core(instrument=spx(tick=10))
    leg = core.intent(
        side=Side.SELL,
        order_type=STOP_LIMIT,
        price=None if price is None else Price(price),
        stop_price=None if trigger is None else Price(trigger),
    )
    verdict = core.gate.check(leg)
    if sent is None:
        assert _reason(verdict) is Reason.MALFORMED
    else:
        assert (_ok(verdict).price, _ok(verdict).stop_price) == sent
        assert _ok(verdict).order_class is P
        assert Flag.ROUNDED in _ok(verdict).flags


@pytest.mark.parametrize(("ahead", "force"), [(0, TimeInForce.IOC), (1, TimeInForce.GTD)])
def test_an_exit_whose_time_is_now_has_passed(ahead: int, force: TimeInForce) -> None:
    """As for an entry; but it leaves, at once or not at all."""
    core = _core()
    wish = core.intent(
        side=Side.SELL, time_in_force=TimeInForce.GTD, expire_ns=core.clock.utc + ahead
    )
    assert _ok(core.gate.check(wish)).time_in_force is force


# self-trade


@pytest.mark.parametrize(
    ("changes", "passes"),
    [
        ({"order_type": LIMIT, "price": Price(101_999)}, True),
        ({"order_type": LIMIT, "price": Price(102_000)}, False),
        ({"order_type": MARKET}, True),
        ({"order_type": STOP, "stop_price": Price(101_999)}, True),
        ({"order_type": STOP, "stop_price": Price(102_000)}, False),
        ({"order_type": STOP_LIMIT, "stop_price": Price(101_000), "price": Price(101_999)}, True),
        ({"order_type": STOP_LIMIT, "stop_price": Price(101_000), "price": Price(102_000)}, False),
    ],
)
def test_an_entry_does_not_cross_our_own_exit(changes: dict[str, Any], passes: bool) -> None:
    """Our own sell rests at 1,020.00 (dangerous order 14)."""
    core = _core()
    _place(core, side=Side.SELL, price=Price(102_000))
    verdict = core.gate.check(core.intent(qty=Qty(1), **changes))
    assert isinstance(verdict, Approved) is passes
    if isinstance(verdict, Denied):
        assert verdict.reason is Reason.SELF_TRADE


@pytest.mark.parametrize(("price", "passes"), [(99_001, True), (99_000, False)])
def test_a_short_entry_does_not_cross_our_own_buy(price: int, passes: bool) -> None:
    """The mirror image."""
    core = _core(held=0, source=source_limits(allow_short=True))
    _place(core, price=Price(99_000))
    wish = core.intent(side=Side.SELL, qty=Qty(1), order_type=LIMIT, price=Price(price))
    verdict = core.gate.check(wish)
    assert isinstance(verdict, Approved) is passes


def test_a_market_order_is_judged_at_the_touch() -> None:
    """Adding to a position behind its take-profit is no self-trade; meeting it at the touch is."""
    core = _core()
    _place(core, side=Side.SELL, price=Price(PRICE + 1))
    assert isinstance(core.gate.check(core.intent(qty=Qty(1))), Approved)
    core.portfolio.holdings[SPX].ask = PRICE + 1
    verdict = core.gate.check(core.intent(qty=Qty(1)))
    assert _reason(verdict) is Reason.SELF_TRADE
    assert isinstance(core.gate.check(core.intent(side=Side.SELL, qty=Qty(1))), Approved)


# AMEND


@pytest.mark.parametrize("mode", list(Mode))
def test_an_amendment_that_only_shrinks_is_never_denied(mode: Mode) -> None:
    """Of an entry, an exit and a stop, in every mode, tripped, without prices or limits."""
    core = _core()
    entry = _place(core)
    leave = _place(core, side=Side.SELL, price=Price(102_000))
    stop = _place(core, side=Side.SELL, order_type=STOP, price=None, stop_price=Price(95_000))
    core.safety.mode = mode
    core.guard.present = False
    core.clock.utc += 10**12
    core.limits.instruments.clear()
    core.limits.sources.clear()
    for order in (entry, leave, stop):
        verdict = _ok(_amend(core, order, order.qty - 1))
        assert (verdict.order_class, verdict.action, verdict.qty) == (C, Action.AMEND, order.qty - 1)
        assert (verdict.price, verdict.stop_price) == (order.price, order.stop_price)


@pytest.mark.parametrize(("qty", "reason"), [(2_000, None), (2_001, Reason.POSITION_CAP)])
def test_an_amendment_that_grows_passes_every_control_again(qty: int, reason: Reason | None) -> None:
    """Dangerous order 9: 2 % of 1,000,000 are 20.00 at 1,000.00, whatever the order was before."""
    core = _core(held=0, limits=instrument_limits(max_order_value=10**20))
    order = _place(core, qty=Qty(1))
    verdict = _amend(core, order, qty)
    if reason is None:
        made = _ok(verdict)
        assert (made.order_class, made.qty, made.order_id, made.price) == (I, qty, order.id, 99_000)
        assert made.attached_stop == order.attached_stop
    else:
        assert _reason(verdict) is reason


def test_growing_counts_what_else_works_and_not_itself_twice() -> None:
    """Two orders of 9.00 work; one may become 11.00, not 11.01."""
    core = _core(held=0, limits=instrument_limits(max_order_value=10**20))
    first, _ = _place(core, qty=Qty(900)), _place(core, qty=Qty(900))
    assert isinstance(_amend(core, first, 1_100), Approved)
    assert _reason(_amend(core, first, 1_101)) is Reason.POSITION_CAP


@pytest.mark.parametrize(
    ("prices", "reason"),
    [
        ({"price": 94_999}, Reason.PRICE_COLLAR),
        ({"price": 95_000}, Reason.STOP_DISTANCE),
        ({"price": 0}, Reason.MALFORMED),
        ({"stop_price": 90_000}, Reason.CANNOT_AMEND),
    ],
)
def test_a_new_price_of_an_entry_is_judged(prices: dict[str, int], reason: Reason) -> None:
    """Collar, the attached stop's side and distance, and prices its type does not have."""
    core = _core(
        held=0,
        limits=instrument_limits(max_stop_ppm=10_000),
        source=source_limits(default_stop_ppm=9_000),
    )
    order = _place(core)
    assert order.attached_stop == 98_109
    assert _reason(_amend(core, order, order.qty, **prices)) in (reason, Reason.STOP_SIDE)
    assert isinstance(_amend(core, order, order.qty, price=98_900), Approved)


def test_an_entry_is_not_amended_upwards_when_nothing_new_may_pass() -> None:
    """PAUSED takes no new exposure, and a growing order is some; without limits likewise."""
    core = _core(held=0)
    order = _place(core)
    core.safety.mode = Mode.PAUSED
    assert _reason(_amend(core, order, order.qty + 1)) is Reason.MODE_PAUSED
    assert _reason(_amend(core, order, order.qty, price=98_000)) is Reason.MODE_PAUSED
    core.safety.mode = Mode.NORMAL
    core.limits.instruments.clear()
    assert _reason(_amend(core, order, order.qty + 1)) is Reason.NO_LIMIT


def test_growth_is_bounded_by_the_whole_order() -> None:
    """100.00 in all, of which some has filled already."""
    core = _core(held=0, account=None, limits=instrument_limits(max_order_qty=150, max_order_value=10**20))
    order = _place(core, qty=Qty(100))
    core.orders._put(replace(order, filled=Qty(60)))
    assert isinstance(_amend(core, order, 150), Approved)
    assert _reason(_amend(core, order, 151)) is Reason.QTY_TOO_LARGE


@pytest.mark.parametrize(("qty", "passes"), [(300, True), (500, True), (501, False)])
def test_an_exit_grows_as_far_as_there_is_something_to_close(qty: int, passes: bool) -> None:
    """500 held, 200 of it asked to leave so far; in EMERGENCY too."""
    core = _core()
    order = _place(core, side=Side.SELL, price=Price(102_000), qty=Qty(200))
    core.safety.mode = Mode.EMERGENCY
    verdict = _amend(core, order, qty, price=101_000)
    assert isinstance(verdict, Approved) is passes
    if isinstance(verdict, Approved):
        assert (verdict.order_class, verdict.price, verdict.reduce_only) == (R, 101_000, True)
    else:
        assert _reason(verdict) is Reason.CANNOT_AMEND


def test_a_stop_moves_in_every_mode() -> None:
    """On a tick, positive, and never beyond the position."""
    core = _core(instrument=spx(tick=10))
    stop = _place(core, side=Side.SELL, order_type=STOP, price=None, stop_price=Price(95_000))
    core.safety.mode = Mode.PAUSED
    moved = _ok(_amend(core, stop, 500, stop_price=96_007))
    assert (moved.order_class, moved.stop_price, moved.flags) == (P, 96_000, Flag.ROUNDED)
    assert _reason(_amend(core, stop, 501)) is Reason.CANNOT_AMEND
    assert _reason(_amend(core, stop, 500, stop_price=-1)) is Reason.MALFORMED


def test_who_may_amend_what() -> None:
    """One's own order, that the venue holds, that is not in change, and not below what has filled."""
    core = _core(held=0)
    order = _place(core)
    wish = core.intent(action=Action.AMEND, target=order.id, qty=Qty(50))
    check = core.gate.check
    assert _reason(check(replace(wish, target=None))) is Reason.MALFORMED
    assert _reason(check(replace(wish, target=OrderId("il-never")))) is Reason.UNKNOWN_ORDER
    assert _reason(check(replace(wish, source=SourceId("other")))) is Reason.UNKNOWN_ORDER
    assert _reason(check(replace(wish, instrument=type(SPX)("DAX")))) is Reason.UNKNOWN_INSTRUMENT
    core.orders._put(replace(order, filled=Qty(50)))
    assert _reason(check(wish)) is Reason.CANNOT_AMEND
    core.orders._put(replace(order, state=OrderState.CANCEL_SENT))
    assert _reason(check(wish)) is Reason.UNKNOWN_ORDER
    core.orders._put(order)
    assert isinstance(check(wish), Approved)
    core.orders.amend(_ok(check(wish)), 1)
    assert _reason(check(wish)) is Reason.CANNOT_AMEND
    assert NothingWorks().get(order.id) is None
    assert NothingWorks().nearest(SPX, Side.BUY) is None


# REPLACE


def test_the_old_order_still_counts_until_its_end_is_confirmed() -> None:
    """12.00 work; the replacement may be 8.00 (20.00 in all), not 8.01."""
    core = _core(held=0, limits=instrument_limits(max_order_value=10**20))
    old = _place(core, qty=Qty(1_200))
    for qty, passes in ((800, True), (801, False)):
        wish = core.intent(
            action=Action.REPLACE, target=old.id, order_type=LIMIT, price=Price(98_000), qty=Qty(qty)
        )
        verdict = core.gate.check(wish)
        assert isinstance(verdict, Approved) is passes
        if isinstance(verdict, Approved):
            assert (verdict.action, verdict.target) == (Action.REPLACE, old.id)
            assert verdict.order_id != old.id


def test_an_exit_of_everything_can_be_replaced_in_every_mode() -> None:
    """It is never trapped by the one it takes the place of."""
    core = _core()
    old = _place(core, side=Side.SELL, price=Price(102_000), qty=Qty(500))
    core.safety.mode = Mode.EMERGENCY
    wish = core.intent(
        action=Action.REPLACE, target=old.id, side=Side.SELL, qty=Qty(500), order_type=MARKET
    )
    assert _ok(core.gate.check(wish)).order_class is R
    assert _reason(core.gate.check(replace(wish, qty=Qty(501)))) is Reason.MODE_EMERGENCY
    assert _reason(core.gate.check(replace(wish, side=Side.BUY))) is Reason.MODE_EMERGENCY


def test_replacing_an_entry_frees_nothing_for_an_exit() -> None:
    """500 held, 300 of it asked to leave: a sell of 201 is not made an exit by the buy it replaces."""
    core = _core()
    _place(core, side=Side.SELL, price=Price(102_000), qty=Qty(300))
    entry = _place(core, qty=Qty(400))
    wish = core.intent(action=Action.REPLACE, target=entry.id, side=Side.SELL, qty=Qty(200))
    assert _ok(core.gate.check(wish)).order_class is R
    assert isinstance(core.gate.check(replace(wish, qty=Qty(201))), Denied)


@pytest.mark.parametrize(("qty", "allowed"), [(300, True), (301, False)])
def test_an_exit_grows_as_far_as_the_others_beside_it_leave_room(qty: int, allowed: bool) -> None:
    """5.00 held, exits of 2.00 each work: one of them may become 3.00."""
    core = _core()
    resting = {"side": Side.SELL, "qty": Qty(200), "price": Price(101_000)}
    first, _ = _place(core, **resting), _place(core, **(resting | {"price": Price(101_500)}))
    verdict = _amend(core, first, qty)
    if allowed:
        assert _ok(verdict).reduce_only
    else:
        assert _reason(verdict) is Reason.CANNOT_AMEND


def test_an_amendment_is_paid_for_once() -> None:
    """2,002 USD, fees 0.1 %: 1.00 at 990.00 works, and may become 2.00, not 2.01 (at 1,000.00)."""
    core = _core(held=0, source=source_limits(allocation=2_002 * 10**10))
    order = _place(core, qty=Qty(100))
    assert isinstance(_amend(core, order, 199), Approved)
    assert _reason(_amend(core, order, 201)) is Reason.ALLOCATION


def test_a_leg_of_an_oco_of_entries_may_move() -> None:
    """Both count as one, also while one of them is amended."""
    core = _core(held=0, limits=instrument_limits(max_order_value=10**20))
    low = core.intent(order_type=LIMIT, price=Price(99_000), qty=Qty(1_900))
    high = core.intent(order_type=STOP, stop_price=Price(101_000), qty=Qty(1_900))
    made = asyncio.run(core.desk.place_list(ListKind.OCO, [low, high]))
    assert isinstance(made, ApprovedList)
    asyncio.run(core.desk.collect())
    order = core.orders.get(made.orders[0].order_id)
    assert order is not None
    assert isinstance(_amend(core, order, 1_900, price=98_500), Approved)
    assert _reason(_amend(core, order, 2_001, price=98_500)) is Reason.POSITION_CAP


# lists


def _bracket(core: Core, qty: int = 100, **lead: Any) -> list[Intent]:
    exits: dict[str, Any] = {"side": Side.SELL, "qty": Qty(qty)}
    return [
        core.intent(**({"order_type": LIMIT, "price": Price(99_900), "qty": Qty(qty)} | lead)),
        core.intent(order_type=LIMIT, price=Price(105_000), **exits),
        core.intent(order_type=STOP, stop_price=Price(97_000), **exits),
    ]


def test_a_bracket_protects_its_own_entry() -> None:
    """Its stop stands in for the attached one; the legs are reduce-only and attributed."""
    core = _core(held=0)
    made = core.gate.check_list(ListKind.OTOCO, _bracket(core))
    assert isinstance(made, ApprovedList)
    lead, profit, stop = made.orders
    assert [each.order_class for each in made.orders] == [I, R, P]
    assert (lead.attached_stop, lead.reduce_only) == (None, False)
    assert (profit.reduce_only, profit.protects, profit.price) == (True, lead.order_id, 105_000)
    assert (stop.reduce_only, stop.stop_price) == (True, 97_000)
    links = [each.link for each in made.orders if each.link is not None]
    assert [link.place for link in links] == [0, 1, 2]
    assert {str(link.list_id) for link in links} == {lead.order_id}


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        (Price(99_900), Reason.STOP_SIDE),
        (Price(80_000), Reason.STOP_DISTANCE),
        (Price(-1), Reason.STOP_SIDE),
        (None, Reason.MALFORMED),
    ],
)
def test_a_brackets_stop_is_judged_like_any_other(stop: Price | None, reason: Reason) -> None:
    """Side and distance; a leg without a trigger protects nothing."""
    core = _core(held=0)
    legs = _bracket(core)
    legs[2] = replace(legs[2], stop_price=stop)
    assert _reason(core.gate.check_list(ListKind.OTOCO, legs)) is reason


def test_an_entry_whose_leg_does_not_protect_all_of_it_gets_its_own_stop() -> None:
    """A take-profit alone, a smaller stop, a stop-limit, a lead that waits for a trigger itself."""
    core = _core(held=0)
    lead, profit, stop = _bracket(core)
    smaller = replace(stop, qty=Qty(99))
    limited = replace(stop, order_type=STOP_LIMIT, price=Price(96_000))
    waits = replace(lead, order_type=STOP, price=None, stop_price=Price(101_000), id=IntentId("w"))
    for first, leg in ((lead, profit), (lead, smaller), (lead, limited), (waits, stop)):
        made = core.gate.check_list(ListKind.OTO, [first, leg])
        assert isinstance(made, ApprovedList), made
        assert made.orders[0].attached_stop is not None


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (ListKind.OTO, lambda legs: legs),
        (ListKind.OTOCO, lambda legs: []),
        (ListKind.OTOCO, lambda legs: [legs[0], legs[1], legs[1]]),
        (ListKind.OTOCO, lambda legs: [legs[0], legs[1], replace(legs[2], qty=Qty(99))]),
        (ListKind.OTO, lambda legs: [legs[0], replace(legs[1], qty=Qty(101))]),
        (ListKind.OTO, lambda legs: [legs[0], replace(legs[1], order_type=MARKET)]),
        (ListKind.OTO, lambda legs: [legs[0], replace(legs[1], time_in_force=TimeInForce.IOC)]),
        (ListKind.OTO, lambda legs: [legs[0], replace(legs[1], source=SourceId("x"))]),
        (ListKind.OTO, lambda legs: [legs[0], replace(legs[1], action=Action.CANCEL)]),
    ],
)
def test_what_is_no_list(kind: ListKind, change: Any) -> None:
    """Said with its own reason, before any control."""
    core = _core(held=0)
    assert _reason(core.gate.check_list(kind, change(_bracket(core)))) is Reason.ORDER_LIST


def test_one_refusal_refuses_the_list() -> None:
    """And says whose it was; an id used before too."""
    core = _core(held=0)
    legs = _bracket(core)
    wrong = core.gate.check_list(ListKind.OTOCO, [legs[0], replace(legs[1], price=Price(0)), legs[2]])
    assert isinstance(wrong, Denied)
    assert wrong.detail.startswith("order 2 of 3")
    made = core.gate.check_list(ListKind.OTOCO, legs)
    assert isinstance(made, ApprovedList)
    core.ids.add(made.orders[1].order_id)
    assert _reason(core.gate.check_list(ListKind.OTOCO, legs)) is Reason.DUPLICATE_ID
    zero = [legs[0], replace(legs[1], qty=Qty(0)), replace(legs[2], qty=Qty(0))]
    core = _core(held=0)
    assert _reason(core.gate.check_list(ListKind.OTOCO, zero)) is Reason.MALFORMED
    core.safety.mode = Mode.PAUSED
    assert _reason(core.gate.check_list(ListKind.OTOCO, _bracket(core))) is Reason.MODE_PAUSED
    dax = [replace(each, instrument=type(SPX)("DAX")) for each in _bracket(core)]
    assert _reason(core.gate.check_list(ListKind.OTOCO, dax)) is Reason.UNKNOWN_INSTRUMENT
    assert _reason(core.gate.check_list(ListKind.OCO, dax[1:])) is Reason.UNKNOWN_INSTRUMENT


def test_an_oco_of_entries_counts_once_and_one_after_another_counts_both() -> None:
    """20.00 are allowed: an OCO of 20.00 each passes; a follower of 20.00 on the same side does not."""
    core = _core(held=0, limits=instrument_limits(max_order_value=10**20))
    low = core.intent(order_type=LIMIT, price=Price(99_000), qty=Qty(1_900))
    high = core.intent(order_type=STOP, stop_price=Price(101_000), qty=Qty(1_900))
    assert isinstance(core.gate.check_list(ListKind.OCO, [low, high]), ApprovedList)
    assert _reason(core.gate.check_list(ListKind.OTO, [low, high])) is Reason.POSITION_CAP
    half = [replace(low, qty=Qty(950)), replace(high, qty=Qty(950))]
    assert isinstance(core.gate.check_list(ListKind.OTO, half), ApprovedList)


def test_an_oco_of_exits_passes_in_every_mode_and_is_sliced_alike() -> None:
    """Take-profit and stop of one position; the order size limit cuts both legs to one size."""
    core = _core(held=1_000, limits=instrument_limits(max_order_qty=1_000, max_order_value=10**20))
    core.safety.mode = Mode.EMERGENCY
    legs = [replace(leg, qty=Qty(1_000)) for leg in _bracket(core)[1:]]
    assert isinstance(core.gate.check_list(ListKind.OCO, legs), ApprovedList)
    core.limits.instruments[SPX] = replace(core.limits.instruments[SPX], max_order_qty=Qty(600))
    cut = core.gate.check_list(ListKind.OCO, legs)
    assert isinstance(cut, ApprovedList)
    assert [each.qty for each in cut.orders] == [600, 600]
    assert all(Flag.SLICED in each.flags for each in cut.orders)
    core.portfolio.holdings[SPX].price_ns = 0
    assert _reason(core.gate.check_list(ListKind.OCO, legs)) is Reason.ORDER_LIST


def test_an_exit_may_lead_a_list() -> None:
    """What follows an exit is judged on its own: here a new entry."""
    core = _core()
    leave = core.intent(side=Side.SELL, order_type=LIMIT, price=Price(102_000), qty=Qty(500))
    again = core.intent(order_type=LIMIT, price=Price(98_000), qty=Qty(500))
    made = core.gate.check_list(ListKind.OTO, [leave, again])
    assert isinstance(made, ApprovedList)
    assert [each.order_class for each in made.orders] == [R, I]
    assert made.orders[1].attached_stop is not None
    assert made.orders[0].source == BOT


def test_an_entry_that_follows_an_exit_is_judged_beside_what_works_on_its_own_side() -> None:
    """16.00 held of 20.00: 3.99 may follow (fees have taken the last), 4.01 not; the exit adds nothing."""
    core = _core(1_600, limits=instrument_limits(max_order_value=10**20))
    leave = core.intent(side=Side.SELL, order_type=LIMIT, price=Price(102_000), qty=Qty(500))
    for qty, passes in ((399, True), (401, False)):
        again = core.intent(order_type=LIMIT, price=Price(98_000), qty=Qty(qty))
        made = core.gate.check_list(ListKind.OTO, [leave, again])
        assert isinstance(made, ApprovedList) is passes, made
