"""What the gate asks of the whole account: cap, leverage, correlation (RSK-06, RSK-08; CONTROLS 1, 8)."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from appliance.domain.intent import OrderType, Side
from appliance.domain.money import Price
from appliance.domain.order import OrderState
from appliance.domain.verdict import Approved, Denied
from appliance.portfolio.series import Return
from tests.kit import account_limits
from tests.risk_kit import DAY, A, B, C, Rig, bar, correlation_terms, instrument

BUY, SELL = Side.BUY, Side.SELL
ALL = 10**6


def _rig(**limits: int) -> Rig:
    """1,000,000 USD, prices of 100.00: 2 % are 200 units, correlations are left out."""
    account = account_limits(**({"max_equity_age_ns": 10**30} | limits))
    open_terms = correlation_terms(limit_ppm=ALL)
    return Rig(instrument("AAA"), instrument("BBB"), account=account, correlation=open_terms)


@pytest.mark.parametrize("side", [BUY, SELL])
@pytest.mark.parametrize(("qty", "answer"), [(20_000, "ok"), (20_001, "POSITION_CAP")])
def test_two_percent_is_the_last_allowed_value_long_and_short(side: Side, qty: int, answer: str) -> None:
    """P21: a short of 2.01 % does not pass by its sign."""
    assert _rig().ask(A, side, qty) == answer


@pytest.mark.parametrize("side", [BUY, SELL])
@pytest.mark.parametrize(("qty", "answer"), [(5_000, "ok"), (5_001, "POSITION_CAP")])
def test_position_and_working_orders_count(side: Side, qty: int, answer: str) -> None:
    """8,000 held and 7,000 working leave 5,000; what works on the other side gives nothing back."""
    rig = _rig()
    rig.fill(A, side, 8_000)
    rig.work(A, side, 7_000)
    rig.work(A, side.opposite, 3_000)
    assert rig.ask(A, side, qty) == answer


def test_a_dearer_working_order_stands_in_the_cap() -> None:
    """100 units wait at 150.00: with 50 at the market they may become 22,500 USD, 200 fit no more."""
    rig = _rig()
    rig.work(A, BUY, 10_000, order_type=OrderType.STOP, stop_price=Price(15_000))
    assert rig.ask(A, BUY, 3_333) == "ok"
    assert rig.ask(A, BUY, 3_334) == "POSITION_CAP"


def test_a_short_is_valued_at_the_ask() -> None:
    """Its mark is max(ask, last); the bid would make it smaller than it is."""
    rig = _rig()
    rig.portfolio.holdings[A].bid = 9_000
    assert rig.ask(A, SELL, 20_000) == "ok"
    assert rig.ask(A, SELL, 20_001) == "POSITION_CAP"
    rig.portfolio.holdings[A].ask = 12_500
    assert rig.ask(A, SELL, 16_000) == "ok"
    assert rig.ask(A, SELL, 16_001) == "POSITION_CAP"
    rig.portfolio.holdings[A].last = 20_000
    assert rig.ask(A, BUY, 10_000) == "ok"
    assert rig.ask(A, BUY, 10_001) == "POSITION_CAP"


def test_without_equity_nothing_fits() -> None:
    """Zero and less are EQUITY_MISSING before any share of it is taken."""
    rig = _rig()
    rig.portfolio.cash = 0
    assert rig.ask(A, BUY, 1) == "EQUITY_MISSING"


@pytest.mark.parametrize("side", [BUY, SELL])
@pytest.mark.parametrize(("qty", "answer"), [(5_000, "ok"), (5_001, "LEVERAGE")])
def test_all_positions_together_have_a_limit(side: Side, qty: int, answer: str) -> None:
    """3 % in all: 1.5 % held in one instrument and 1 % working in the other leave 0.5 %; shorts add up."""
    rig = _rig(leverage_ppm=30_000)
    rig.fill(B, SELL, 15_000)
    rig.work(A, side, 10_000)
    assert rig.ask(A, side, qty) == answer


def test_an_entry_on_the_lighter_side_adds_nothing_to_the_whole() -> None:
    """The worst case of an instrument is its dearer side; the other may grow up to it."""
    rig = _rig(leverage_ppm=20_000)
    rig.work(A, BUY, 20_000)
    assert rig.ask(A, SELL, 20_000) == "ok"
    assert rig.ask(B, SELL, 1) == "LEVERAGE"


def test_a_cancelled_order_gives_its_share_back() -> None:
    """At once."""
    rig = _rig(leverage_ppm=20_000)
    order = rig.work(A, BUY, 20_000)
    assert rig.ask(B, BUY, 1) == "LEVERAGE"
    rig.portfolio.working(replace(order, state=OrderState.CANCELED))
    assert rig.ask(B, BUY, 20_000) == "ok"


def _pair(c: str, **more: Any) -> Rig:
    """AAA and BBB with 30 common returns that move together, apart, or not as one."""
    three = [instrument(name) for name in ("AAA", "BBB", "CCC")]
    rig = Rig(*three, correlation=correlation_terms(), **more)
    for day in range(30):
        value = (day * 7) % 11 - 5
        other = {"together": 2 * value, "apart": -3 * value, "neither": (day * 5) % 7 - 3}[c]
        rig.portfolio.correlations.push(A, Return((day, day + 1), value))
        rig.portfolio.correlations.push(B, Return((day, day + 1), other))
    return rig


@pytest.mark.parametrize(
    ("c", "held", "asked", "answer"),
    [
        ("together", BUY, BUY, "CORRELATION"),
        ("together", BUY, SELL, "ok"),
        ("together", SELL, SELL, "CORRELATION"),
        ("together", SELL, BUY, "ok"),
        ("apart", BUY, SELL, "CORRELATION"),
        ("apart", BUY, BUY, "ok"),
        ("apart", SELL, BUY, "CORRELATION"),
        ("neither", BUY, BUY, "ok"),
        ("neither", SELL, BUY, "ok"),
    ],
)
def test_two_that_move_together_are_not_held_in_one_direction_and_hedges_pass(
    c: str, held: Side, asked: Side, answer: str
) -> None:
    """RSK-08, with the sign of both positions; what works counts as held."""
    rig = _pair(c)
    assert rig.ask(B, asked, 100) == "ok"
    rig.fill(A, held, 100)
    assert rig.ask(B, asked, 100) == answer
    rig.fill(A, held.opposite, 100)
    assert rig.ask(B, asked, 100) == "ok"
    order = rig.work(A, held, 100)
    assert rig.ask(B, asked, 100) == answer
    rig.portfolio.working(replace(order, state=OrderState.REJECTED))
    assert rig.ask(B, asked, 100) == "ok"


def test_exits_are_not_asked_whom_they_stand_beside() -> None:
    """Both were entered before they began to move together: each may leave, neither may grow."""
    rig = _pair("together")
    rig.fill(A, BUY, 100)
    rig.fill(B, BUY, 100)
    assert (rig.ask(A, SELL, 100), rig.ask(B, SELL, 100)) == ("ok", "ok")
    assert (rig.ask(A, BUY, 1), rig.ask(B, BUY, 1)) == ("CORRELATION", "CORRELATION")


@pytest.mark.parametrize("side", [BUY, SELL])
@pytest.mark.parametrize("held", [BUY, SELL])
def test_a_new_instrument_waits_while_anything_else_is_held(side: Side, held: Side) -> None:
    """No common history: both directions are denied, with a reason of their own; alone it may enter."""
    rig = _pair("together")
    assert rig.ask(C, side, 100) == "ok"
    rig.fill(A, held, 100)
    assert rig.ask(C, side, 100) == "CORRELATION_UNKNOWN"
    assert rig.ask(A, held, 100) == "ok", "the one that is held may grow"


def test_dust_is_no_position_to_stand_beside() -> None:
    """It cannot be sold, so it must not keep others out for ever."""
    rig = Rig(instrument("AAA", min_qty=10), instrument("BBB"))
    rig.fill(A, BUY, 9)
    assert rig.ask(B, BUY, 100) == "ok"
    rig.fill(A, SELL, 18)
    assert rig.ask(B, BUY, 100) == "ok"
    rig.fill(A, SELL, 1)
    assert rig.ask(B, BUY, 100) == "CORRELATION_UNKNOWN"
    rig.fill(A, BUY, 20)
    assert rig.ask(B, BUY, 100) == "CORRELATION_UNKNOWN"


def test_a_denial_does_not_name_what_is_held() -> None:
    """The source that asks may not be the one that holds it."""
    rig = _pair("together")
    rig.fill(A, BUY, 100)
    verdict = rig.gate.check(rig.intent(B, BUY, 100))
    assert isinstance(verdict, Denied)
    assert verdict.detail == "BUY BBB"


def test_the_numbers_that_decided_are_in_the_detail() -> None:
    """For the log and for the source."""
    cap = _rig().gate.check(_rig().intent(A, BUY, 20_001))
    assert isinstance(cap, Denied)
    assert cap.detail == "20001.00 > 2 % of the portfolio"
    rig = _rig(leverage_ppm=10_000)
    whole = rig.gate.check(rig.intent(A, BUY, 10_001))
    assert isinstance(whole, Denied)
    assert whole.detail == "10001.00 more than 1 % leave"


@pytest.mark.parametrize(
    ("side", "stop", "answer"),
    [
        (BUY, 9_999, "ok"),
        (BUY, 10_000, "STOP_SIDE"),
        (BUY, 10_001, "STOP_SIDE"),
        (SELL, 10_001, "ok"),
        (SELL, 10_000, "STOP_SIDE"),
        (SELL, 9_999, "STOP_SIDE"),
        (BUY, 9_000, "ok"),
        (BUY, 8_999, "STOP_DISTANCE"),
        (SELL, 11_000, "ok"),
        (SELL, 11_001, "STOP_DISTANCE"),
        (BUY, 0, "STOP_SIDE"),
        (BUY, -1, "STOP_SIDE"),
    ],
)
def test_a_stop_lies_on_its_side_and_at_most_ten_percent_away(side: Side, stop: int, answer: str) -> None:
    """RSK-07, long and short; the largest distance is the last allowed one."""
    assert _rig().ask(A, side, 100, stop_price=Price(stop)) == answer


@pytest.mark.parametrize(("stop", "answer"), [(9_975, "ok"), (9_976, "TICK_SIZE"), (9_974, "TICK_SIZE")])
def test_a_stop_stands_on_a_tick(stop: int, answer: str) -> None:
    """What the venue would refuse protects nobody."""
    rig = Rig(instrument("AAA", tick=25), account=account_limits(max_equity_age_ns=10**30))
    assert rig.ask(A, BUY, 100, stop_price=Price(stop)) == answer


def test_daily_bars_of_the_portfolio_become_correlations() -> None:
    """From `mark` to the gate: the rig's own price and 30 bars give 30 returns, and the last one decides."""
    two = [instrument("AAA"), instrument("BBB")]
    rig = Rig(*two, account=account_limits(max_equity_age_ns=10**30), correlation=correlation_terms())
    rig.price(B, 20_000)
    answers = []
    for day in range(1, 33):
        price = 10_000 + (day * 7) % 11 * 10
        rig.portfolio.mark(bar(A, 20_000 + day, price))
        rig.portfolio.mark(bar(B, 20_000 + day, 2 * price))
        rig.clock.utc = (20_001 + day) * DAY
        if day == 1:
            rig.fill(A, BUY, 100)
        answers.append(rig.ask(B, SELL, 100))
    assert answers == ["CORRELATION_UNKNOWN"] * 29 + ["ok"] * 3
    assert rig.ask(B, BUY, 100) == "CORRELATION"


@pytest.mark.parametrize(("side", "stop"), [(BUY, 9_525), (SELL, 10_500)])
def test_an_attached_stop_is_rounded_towards_the_entry(side: Side, stop: int) -> None:
    """5 % of 100.10 is 5.005: on ticks of 0.25 the loss is smaller than that, never larger."""
    rig = Rig(instrument("AAA", tick=25), account=account_limits(max_equity_age_ns=10**30))
    rig.price(A, 10_010)
    verdict = rig.gate.check(rig.intent(A, side, 100))
    assert isinstance(verdict, Approved)
    assert verdict.attached_stop == stop
    assert abs(10_010 - verdict.attached_stop) <= 500
