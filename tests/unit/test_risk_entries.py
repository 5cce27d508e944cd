"""Controls on new exposure, each at its boundary (CONTROLS 2–4, 8, 11, 12; C24)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from appliance.domain.ids import InstrumentId
from appliance.domain.intent import Intent, OrderType, Side
from appliance.domain.money import AMOUNT_ONE, Price, Qty
from appliance.domain.reasons import Reason
from appliance.domain.verdict import Approved, Denied, Flag, OrderClass
from tests.kit import SPX, Core, instrument_limits, source_limits, spx

PRICE = 100_000  # 1,000.00


def _core(**changes: Any) -> Core:
    core = Core(**changes)
    asyncio.run(core.market(PRICE))
    return core


def _reason(core: Core, intent: Intent) -> Reason | None:
    verdict = core.gate.check(intent)
    return verdict.reason if isinstance(verdict, Denied) else None


def _limit(core: Core, price: int, **changes: Any) -> Intent:
    return core.intent(order_type=OrderType.LIMIT, price=Price(price), **changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"qty": Qty(-1)}, Reason.MALFORMED),
        ({"qty": Qty(0)}, Reason.QTY_TOO_SMALL),
        ({"price": Price(PRICE)}, Reason.MALFORMED),
        ({"order_type": OrderType.LIMIT}, Reason.MALFORMED),
        ({"order_type": OrderType.LIMIT, "price": Price(0)}, Reason.MALFORMED),
        ({"order_type": OrderType.LIMIT, "price": Price(-5)}, Reason.MALFORMED),
        ({"order_type": OrderType.LIMIT, "price": Price(1)}, Reason.PRICE_COLLAR),
        ({"order_type": OrderType.STOP}, Reason.MALFORMED),
        ({"order_type": OrderType.STOP, "stop_price": Price(0)}, Reason.MALFORMED),
        ({"stop_price": Price(0)}, Reason.STOP_SIDE),
        ({"stop_price": Price(-1)}, Reason.STOP_SIDE),
    ],
)
def test_a_malformed_wish_is_denied(changes: dict[str, Any], reason: Reason) -> None:
    """Missing, zero and negative fields, each with its code."""
    core = _core()
    assert _reason(core, core.intent(**changes)) is reason


@pytest.mark.parametrize(("qty", "allowed"), [(1, False), (2, True), (3, False), (4, True), (10_000, True)])
def test_lot_and_smallest_quantity(qty: int, allowed: bool) -> None:
    """Lot 2, minimum 2."""
    tradable = spx(lot=2, min_qty=2, max_qty=10_000)
    core = _core(instrument=tradable, limits=instrument_limits(max_order_value=10**18))
    assert (_reason(core, core.intent(qty=Qty(qty))) in (None, Reason.POSITION_CAP)) is allowed


@pytest.mark.parametrize(("price", "reason"), [(PRICE + 5, None), (PRICE + 4, Reason.TICK_SIZE)])
def test_prices_are_on_a_tick(price: int, reason: Reason | None) -> None:
    """Tick 5."""
    core = _core(instrument=spx(tick=5))
    assert _reason(core, _limit(core, price, stop_price=Price(98_000))) is reason


@pytest.mark.parametrize(("qty", "reason"), [(1_000, None), (1_001, Reason.QTY_TOO_LARGE)])
def test_largest_quantity(qty: int, reason: Reason | None) -> None:
    """max_order_qty 10.00; the instrument's own maximum binds as well."""
    core = _core(limits=instrument_limits(max_order_qty=1_000))
    assert _reason(core, core.intent(qty=Qty(qty))) is reason
    core = _core(instrument=spx(max_qty=1_000))
    assert _reason(core, core.intent(qty=Qty(qty))) is reason


@pytest.mark.parametrize(("value", "reason"), [(5_000, None), (4_999, Reason.VALUE_TOO_LARGE)])
def test_largest_value(value: int, reason: Reason | None) -> None:
    """5.00 at 1,000.00 are 5,000.00; a market order is valued at the reference price."""
    core = _core(limits=instrument_limits(max_order_value=value * AMOUNT_ONE))
    assert _reason(core, core.intent(qty=Qty(500))) is reason


def test_value_uses_the_worse_of_limit_and_reference() -> None:
    """A buy limit above the market is valued at its limit, one below at the market."""
    core = _core(limits=instrument_limits(max_order_value=5_000 * AMOUNT_ONE))
    assert _reason(core, _limit(core, PRICE + 1, qty=Qty(500))) is Reason.VALUE_TOO_LARGE
    assert _reason(core, _limit(core, PRICE - 1, qty=Qty(500))) is None
    assert _reason(core, _limit(core, PRICE - 1, qty=Qty(501))) is Reason.VALUE_TOO_LARGE


@pytest.mark.parametrize(("value", "reason"), [(10, None), (11, Reason.VALUE_TOO_SMALL)])
def test_smallest_value(value: int, reason: Reason | None) -> None:
    """0.01 at 1,000.00 is 10.00."""
    core = _core(instrument=spx(min_value=value * AMOUNT_ONE))
    assert _reason(core, core.intent(qty=Qty(1))) is reason


@pytest.mark.parametrize(
    ("price", "reason"),
    [(105_000, None), (105_001, Reason.PRICE_COLLAR), (95_000, None), (94_999, Reason.PRICE_COLLAR)],
)
def test_collar_on_both_sides(price: int, reason: Reason | None) -> None:
    """5 % of the reference, the last allowed value on each side."""
    core = _core()
    assert _reason(core, _limit(core, price, qty=Qty(1), stop_price=Price(price - 100))) is reason


@pytest.mark.parametrize(("qty", "reason"), [(2_000, None), (2_001, Reason.POSITION_CAP)])
def test_position_cap_of_two_percent(qty: int, reason: Reason | None) -> None:
    """RSK-06: 20.00 at 1,000.00 are exactly 2 % of a million."""
    core = _core(limits=instrument_limits(max_order_value=10**18))
    assert _reason(core, core.intent(qty=Qty(qty))) is reason


def test_position_cap_counts_position_and_every_working_order() -> None:
    """CONTROLS 8: 10.00 held, 6.00 working, so 4.00 more is the last that fits."""
    core = _core()
    asyncio.run(core.hold_position(1_000, PRICE))
    asyncio.run(core.desk.place(_limit(core, PRICE - 1_000, qty=Qty(600))))
    cap = 20_000 * core.portfolio.equity // 10**6
    fits = cap // (PRICE * core.instrument.amount_factor) - 1_600
    assert fits == 399  # fees have taken one hundredth's worth of the cap
    assert _reason(core, core.intent(qty=Qty(fits))) is None
    assert _reason(core, core.intent(qty=Qty(fits + 1))) is Reason.POSITION_CAP


def test_position_cap_is_per_side_and_not_netted() -> None:
    """A working sell does not make room for a buy."""
    core = _core()
    asyncio.run(core.hold_position(1_900, PRICE))
    asyncio.run(core.desk.place(_limit(core, PRICE + 1_000, side=Side.SELL, qty=Qty(1_900))))
    assert core.portfolio.holdings[SPX].working_sell == 1_900
    assert _reason(core, core.intent(qty=Qty(200))) is Reason.POSITION_CAP


def test_a_short_has_the_same_cap() -> None:
    """P21: a negative size does not slip under a limit."""
    core = _core(source=source_limits(allow_short=True), limits=instrument_limits(max_order_value=10**18))
    assert _reason(core, core.intent(side=Side.SELL, qty=Qty(2_000))) is None
    assert _reason(core, core.intent(side=Side.SELL, qty=Qty(2_001))) is Reason.POSITION_CAP


def test_selling_what_is_not_held_needs_permission() -> None:
    """A sell that would open a short is INCREASE, and not allowed to this source."""
    core = _core()
    verdict = core.gate.check(core.intent(side=Side.SELL))
    assert isinstance(verdict, Denied)
    assert (verdict.order_class, verdict.reason) == (OrderClass.INCREASE, Reason.NOT_ALLOWED)


@pytest.mark.parametrize(("qty", "reason"), [(149, None), (150, Reason.ALLOCATION)])
def test_allocation_of_the_source(qty: int, reason: Reason | None) -> None:
    """Cost of what it holds, has working and asks for, with 0.1 % each: 1,990 + 1.99 fits, 2,000 + 2 not."""
    core = _core(source=source_limits(allocation=2_000 * AMOUNT_ONE))
    asyncio.run(core.desk.place(_limit(core, PRICE - 50_00, qty=Qty(50))))
    assert core.portfolio.source_exposure(core.intent().source) == 500 * AMOUNT_ONE
    assert _reason(core, core.intent(qty=Qty(qty))) is reason


@pytest.mark.safety("S2.12")
@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        (PRICE - 1, None),
        (PRICE, Reason.STOP_SIDE),
        (PRICE + 1, Reason.STOP_SIDE),
        (90_000, None),
        (89_999, Reason.STOP_DISTANCE),
    ],
)
def test_stop_side_and_distance_of_a_buy(stop: int, reason: Reason | None) -> None:
    """Below the entry, at most 10 % away."""
    core = _core()
    assert _reason(core, core.intent(stop_price=Price(stop))) is reason


@pytest.mark.parametrize(
    ("stop", "reason"),
    [(PRICE + 1, None), (PRICE, Reason.STOP_SIDE), (110_000, None), (110_001, Reason.STOP_DISTANCE)],
)
def test_stop_side_and_distance_of_a_short(stop: int, reason: Reason | None) -> None:
    """Above the entry, at most 10 % away."""
    core = _core(source=source_limits(allow_short=True))
    assert _reason(core, core.intent(side=Side.SELL, stop_price=Price(stop))) is reason


@pytest.mark.safety("S2.12")
def test_the_sources_own_stop_is_attached() -> None:
    """SAFETY 2: an order without a stop gets the configured one, flagged; 5 % below 1,000.00."""
    core = _core()
    verdict = core.gate.check(core.intent())
    assert isinstance(verdict, Approved)
    assert (verdict.attached_stop, verdict.flags) == (95_000, Flag.STOP_ATTACHED)


def test_the_attached_stop_of_an_odd_price_is_on_a_tick_towards_the_entry() -> None:
    """Rounded towards the price: never further away than configured."""
    core = _core(instrument=spx(tick=7))
    asyncio.run(core.market(100_002))
    verdict = core.gate.check(core.intent())
    assert isinstance(verdict, Approved)
    assert verdict.attached_stop is not None
    assert verdict.attached_stop % 7 == 0
    assert 0 <= verdict.attached_stop - 95_001.9 < 7


@pytest.mark.safety("S2.13")
def test_without_any_stop_the_order_is_denied() -> None:
    """RSK-07: no order without a stop."""
    core = _core(source=source_limits(default_stop_ppm=None))
    assert _reason(core, core.intent()) is Reason.STOP_MISSING


def test_a_stop_of_a_limit_order_is_measured_from_its_limit() -> None:
    """The entry is where it fills, not where the market is."""
    core = _core()
    assert _reason(core, _limit(core, 96_000, stop_price=Price(97_000))) is Reason.STOP_SIDE
    assert _reason(core, _limit(core, 96_000, stop_price=Price(86_400))) is None


def test_the_same_wish_is_one_order() -> None:
    """CONTROLS 5a: an id that was recorded is never approved again, in no class but CANCEL."""
    core = _core()
    wish = core.intent()
    asyncio.run(core.desk.place(wish))
    assert _reason(core, wish) is Reason.DUPLICATE_ID
    assert _reason(core, core.intent(id=wish.id, qty=Qty(7))) is Reason.DUPLICATE_ID


def test_unknown_instrument() -> None:
    """Not configured means not tradable."""
    core = _core()
    assert _reason(core, core.intent(instrument=InstrumentId("DAX"))) is Reason.UNKNOWN_INSTRUMENT


@pytest.mark.safety("S4.1")
def test_an_approval_carries_epoch_and_deadline() -> None:
    """SAFETY 4: at most 250 ms, and void after the next trip."""
    core = _core()
    verdict = core.gate.check(core.intent())
    assert isinstance(verdict, Approved)
    assert verdict.latch_epoch == core.guard.state
    assert verdict.deadline_ns == core.clock.mono + 250_000_000


def test_denials_tell_the_numbers_that_decided() -> None:
    """A person must see why, without the source code."""
    core = _core()
    verdict = core.gate.check(_limit(core, 200_000))
    assert isinstance(verdict, Denied)
    assert verdict.detail == "2000.00 outside 1000.00 ± 5 %"
