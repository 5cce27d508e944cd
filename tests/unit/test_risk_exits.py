"""Exits leave in some form, whatever is missing (SAFETY 2): sliced, rounded, clamped, widened."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from appliance.domain.intent import Intent, OrderType, Side
from appliance.domain.money import AMOUNT_ONE, Price, Qty
from appliance.domain.verdict import Approved, Denied, Flag, OrderClass
from tests.kit import SECOND, SPX, Core, instrument_limits, source_limits, spx

PRICE = 100_000


def _core(qty: int = 1_000, **changes: Any) -> Core:
    core = Core(**changes)
    asyncio.run(core.hold_position(qty, PRICE))
    return core


def _exit(core: Core, **changes: Any) -> Intent:
    return core.intent(side=Side.SELL, **{"qty": Qty(1_000), **changes})


def _approved(core: Core, intent: Intent) -> Approved:
    verdict = core.gate.check(intent)
    assert isinstance(verdict, Approved), verdict
    assert verdict.order_class is OrderClass.REDUCE
    assert verdict.reduce_only
    return verdict


def test_a_plain_exit_is_sent_as_asked() -> None:
    """Fresh price, within every limit: nothing is changed."""
    core = _core()
    verdict = _approved(core, _exit(core))
    assert (verdict.qty, verdict.order_type, verdict.flags) == (1_000, OrderType.MARKET, Flag.NONE)


@pytest.mark.parametrize(
    ("collars", "sent"), [(0, None), (1, 95_000), (2, 90_000), (4, 80_000), (10, 50_000), (11, 50_000)]
)
def test_an_exit_goes_as_many_collars_from_the_reference_as_it_may(collars: int, sent: int | None) -> None:
    """None at all is a market order; more than ten are ten; what goes further than one is flagged."""
    core = _core()
    verdict = _approved(core, _exit(core, collars=collars))
    assert verdict.price == sent
    assert verdict.order_type is (OrderType.MARKET if sent is None else OrderType.LIMIT)
    assert bool(verdict.flags & Flag.COLLAR_WIDENED) is (collars > 1)


@pytest.mark.parametrize(("last", "sent"), [(0, 1_000), (1, 200), (2, 100)])
def test_a_largest_value_slices_an_exit_at_any_price_there_is(last: int, sent: int) -> None:
    """Two hundred units of price × quantity; without a price there is no value, and the exit goes whole."""
    core = _core()
    limits = core.limits.instruments[SPX]
    core.limits.instruments[SPX] = replace(limits, max_order_value=200 * spx().amount_factor)
    holding = core.portfolio.holdings[SPX]
    holding.bid = holding.ask = holding.last = Price(last)
    verdict = _approved(core, _exit(core))
    assert verdict.qty == sent
    assert bool(verdict.flags & Flag.SLICED) is (sent < 1_000)


@pytest.mark.safety("S2.1", "S2.9")
@pytest.mark.parametrize(("qty", "order_class"), [(1_000, OrderClass.REDUCE), (1_001, OrderClass.INCREASE)])
def test_an_exit_never_crosses_zero(qty: int, order_class: OrderClass) -> None:
    """CONTROLS dangerous order 3: selling more than is held is new exposure."""
    core = _core()
    assert core.gate.check(_exit(core, qty=Qty(qty))).order_class is order_class


@pytest.mark.safety("S2.1")
def test_working_exits_are_counted() -> None:
    """CONTROLS dangerous order 4: long 10.00 with a working sell of 6.00 leaves 4.00 to reduce."""
    core = _core()
    resting = _exit(core, qty=Qty(600), order_type=OrderType.LIMIT, price=Price(PRICE + 500))
    asyncio.run(core.desk.place(resting))
    assert core.gate.check(_exit(core, qty=Qty(400))).order_class is OrderClass.REDUCE
    assert core.gate.check(_exit(core, qty=Qty(401))).order_class is OrderClass.INCREASE


@pytest.mark.safety("S2.2")
def test_the_protective_leg_does_not_use_up_the_exit() -> None:
    """The attached stop covers the whole position and is no working exit (SAFETY 7; CONTROLS 24)."""
    core = _core()
    assert any(order.order_class is OrderClass.PROTECTIVE for order in core.orders.live())
    assert core.portfolio.holdings[SPX].working_sell == 0
    _approved(core, _exit(core))


@pytest.mark.safety("S2.6")
@pytest.mark.parametrize(("limit", "qty"), [(400, 400), (1_000, 1_000), (5_000, 1_000)])
def test_larger_than_the_largest_order_is_sliced(limit: int, qty: int) -> None:
    """The rest follows; the flag says that this is a slice."""
    core = _core()
    core.limits.instruments[SPX] = instrument_limits(max_order_qty=limit)
    verdict = _approved(core, _exit(core))
    assert verdict.qty == qty
    assert (Flag.SLICED in verdict.flags) is (qty < 1_000)


def test_larger_than_the_largest_value_is_sliced() -> None:
    """3,000 USD at 1,000.00 are 3.00."""
    core = _core()
    core.limits.instruments[SPX] = instrument_limits(max_order_value=3_000 * AMOUNT_ONE)
    assert _approved(core, _exit(core)).qty == 300


@pytest.mark.safety("S2.6")
def test_without_limits_a_quarter_leaves_at_a_time() -> None:
    """Missing max size → sliced, not blocked."""
    core = _core()
    core.limits.instruments.clear()
    verdict = _approved(core, _exit(core))
    assert (verdict.qty, verdict.flags) == (250, Flag.SLICED)


@pytest.mark.parametrize(("qty", "sent", "rounded"), [(995, 990, True), (990, 990, False), (7, 7, False)])
def test_off_lot_is_rounded_down_and_a_remainder_is_sent_whole(qty: int, sent: int, rounded: bool) -> None:
    """Lot 10: what is below a lot goes as it is, the venue decides."""
    core = _core(instrument=spx(lot=10, min_qty=10))
    verdict = _approved(core, _exit(core, qty=Qty(qty)))
    assert verdict.qty == sent
    assert (Flag.ROUNDED in verdict.flags) is rounded


@pytest.mark.parametrize(
    ("price", "sent", "flag"), [(100_003, 100_000, Flag.ROUNDED), (100_000, 100_000, Flag.NONE)]
)
def test_off_tick_is_rounded_towards_filling(price: int, sent: int, flag: Flag) -> None:
    """A sell is rounded down, tick 5."""
    core = _core(instrument=spx(tick=5))
    verdict = _approved(core, _exit(core, order_type=OrderType.LIMIT, price=Price(price)))
    assert (verdict.price, verdict.flags) == (sent, flag)


@pytest.mark.safety("S2.9")
@pytest.mark.parametrize(
    ("price", "sent", "flag"),
    [(95_000, 95_000, Flag.NONE), (94_999, 95_000, Flag.PRICE_CLAMPED), (1, 95_000, Flag.PRICE_CLAMPED),
     (150_000, 150_000, Flag.NONE)],
)  # fmt: skip
def test_an_absurd_price_is_moved_to_the_collar(price: int, sent: int, flag: Flag) -> None:
    """Price sanity binds exits too, by mending: a sell far below the market goes to the collar's edge."""
    core = _core()
    verdict = _approved(core, _exit(core, order_type=OrderType.LIMIT, price=Price(price)))
    assert (verdict.price, verdict.flags) == (sent, flag)


def test_a_price_that_is_none_is_refused() -> None:
    """Zero and negative are no prices: not an order that reduces anything."""
    core = _core()
    for price in (0, -1):
        assert isinstance(
            core.gate.check(_exit(core, order_type=OrderType.LIMIT, price=Price(price))), Denied
        )


@pytest.mark.safety("S2.7")
@pytest.mark.parametrize(("age_s", "edge"), [(6, 90_000), (11, 85_000), (16, 80_000), (28, 70_000)])
def test_without_a_fresh_price_the_collar_widens_with_age(age_s: int, edge: int) -> None:
    """Limit at the last good price, 5 % further away per 5 s without a new one."""
    core = _core()
    core.clock.utc += age_s * SECOND
    verdict = _approved(core, _exit(core))
    assert (verdict.order_type, verdict.price, verdict.flags) == (OrderType.LIMIT, edge, Flag.COLLAR_WIDENED)


@pytest.mark.safety("S2.7")
def test_after_the_fallback_time_the_venues_market_order_is_used() -> None:
    """30 s without a good price: flagged, never trapped."""
    core = _core()
    core.clock.utc += 30 * SECOND
    assert _approved(core, _exit(core)).order_type is OrderType.LIMIT
    core.clock.utc += 1
    verdict = _approved(core, _exit(core))
    assert (verdict.order_type, verdict.price, verdict.flags) == (
        OrderType.MARKET,
        None,
        Flag.MARKET_FALLBACK,
    )


def test_with_no_price_at_all_the_exit_is_a_market_order() -> None:
    """A missing input mends an exit, it does not trap it."""
    core = _core()
    core.portfolio.holdings[SPX].price_ns = 0
    assert _approved(core, _exit(core)).flags is Flag.MARKET_FALLBACK


def test_a_short_is_bought_back_the_same_way() -> None:
    """Both directions: buying back 5.00 of a short, clamped from above."""
    core = Core(source=source_limits(allow_short=True))
    asyncio.run(core.market(PRICE))
    asyncio.run(core.desk.place(core.intent(side=Side.SELL, qty=Qty(500))))
    asyncio.run(core.market(PRICE))
    assert core.portfolio.holdings[SPX].position == -500
    buy = core.intent(qty=Qty(500), order_type=OrderType.LIMIT, price=Price(200_000))
    verdict = _approved(core, buy)
    assert (verdict.price, verdict.flags) == (105_000, Flag.PRICE_CLAMPED)
    assert core.gate.check(core.intent(qty=Qty(501))).order_class is OrderClass.INCREASE


@pytest.mark.safety("S2.2")
def test_a_protective_stop_is_put_on_a_tick() -> None:
    """PROTECTIVE passes everywhere; its trigger is rounded down to a tick."""
    core = _core(instrument=spx(tick=10))
    leg = _exit(
        core,
        order_type=OrderType.STOP,
        stop_price=Price(95_007),
        protects=next(order.id for order in core.orders.live()),
    )
    verdict = core.gate.check(leg)
    assert isinstance(verdict, Approved)
    assert (verdict.order_class, verdict.stop_price, verdict.flags) == (
        OrderClass.PROTECTIVE,
        95_000,
        Flag.ROUNDED,
    )


@pytest.mark.parametrize("trigger", [None, 0, -1])
def test_a_protective_stop_without_a_trigger_is_refused(trigger: int | None) -> None:
    """It would protect nothing."""
    core = _core()
    stop = None if trigger is None else Price(trigger)
    leg = _exit(core, order_type=OrderType.STOP, stop_price=stop, protects=next(core.orders.live()).id)
    assert isinstance(core.gate.check(leg), Denied)


def test_a_cancel_without_a_target_is_refused() -> None:
    """There is nothing to send."""
    core = _core()
    intent = core.cancel()
    assert isinstance(core.gate.check(intent), Approved)
    assert isinstance(core.gate.check(type(intent)(**{**_fields(intent), "target": None})), Denied)


def _fields(intent: Intent) -> dict[str, Any]:
    return {name: getattr(intent, name) for name in intent.__struct_fields__}
