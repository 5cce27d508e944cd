"""SAFETY 2, cell by cell: every condition × every class, driven through the whole gate.

The expected table stands here a second time, written from SAFETY.md, so that an edit of the code's table
alone fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from appliance.domain.breaker import Component
from appliance.domain.ids import InstrumentId, OrderId
from appliance.domain.intent import Action, Intent, OrderType, Side
from appliance.domain.mode import BOX, HoldCause, Mode, TripReason
from appliance.domain.money import Amount, Price, Qty
from appliance.domain.reasons import Reason
from appliance.domain.verdict import Approved, Denied, Flag, OrderClass
from appliance.risk.matrix import MATRIX, Cell
from tests.kit import BOT, SPX, Core, account_limits, source_limits

HELD = 1_000  # 10.00 units held before the condition is made to stand


def _core(**changes: object) -> Core:
    core = Core(**changes)  # type: ignore[arg-type]
    asyncio.run(core.hold_position(HELD))
    return core


def _after_stop(core: Core) -> None:
    core.portfolio.stop_source(BOT, "test", 1)


def _lose(core: Core, cents: int) -> None:
    """Books a loss without touching the position: cash is gone."""
    core.portfolio.cash -= cents
    core.portfolio.decline.observe(core.portfolio.equity, core.clock.utc)


def _trip(core: Core) -> None:
    core.guard.trip(TripReason.KILL_BUTTON)


def _not_armed(core: Core) -> None:
    core.guard.reason = TripReason.NOT_ARMED
    core.guard.state += 1


def _mode(mode: Mode) -> Callable[[Core], None]:
    def act(core: Core) -> None:
        core.safety.mode = mode

    return act


def _hold(scope: str) -> Callable[[Core], None]:
    def act(core: Core) -> None:
        core.holds.begin(HoldCause.STALE_DATA, scope, 1, "test")

    return act


def _open_breaker(component: Component) -> Callable[[Core], None]:
    def act(core: Core) -> None:
        breaker = core.breakers[component]
        for _ in range(4):
            breaker.failed(breaker.begin(exempt=True))

    return act


def _prices(**values: int) -> Callable[[Core], None]:
    def act(core: Core) -> None:
        for name, value in values.items():
            setattr(core.portfolio.holdings[SPX], name, value)

    return act


def _late_guard(core: Core) -> None:
    core.guard.freeze()
    core.clock.mono += 250_000_001


def _attribute(name: str, value: int) -> Callable[[Core], None]:
    def act(core: Core) -> None:
        setattr(core.portfolio, name, value)

    return act


def _no_limits(core: Core) -> None:
    core.limits.instruments.clear()


def _no_source(core: Core) -> None:
    core.limits.sources.clear()


def _not_allowed(core: Core) -> None:
    core.limits.sources[BOT] = source_limits(instruments=frozenset())


def _no_guard(core: Core) -> None:
    core.guard.present = False


def _mismatch(core: Core) -> None:
    core.guard.complement ^= 1


def _stale_price(core: Core) -> None:
    core.portfolio.equity_ns = core.clock.utc + 6_000_000_000
    core.clock.utc += 5_000_000_001


def _stale_equity(core: Core) -> None:
    core.portfolio.equity_ns = core.clock.utc - 60_000_000_001


def _fees_until(when_ns: int) -> Callable[[Core], None]:
    """The schedule may be used until so long after now; 0: none ever came."""

    def act(core: Core) -> None:
        core.fees.until_ns = core.clock.mono + when_ns if when_ns else 0

    return act


CONDITIONS: list[tuple[str, Callable[[Core], None], Reason]] = [
    ("tripped", _trip, Reason.TRIPPED),
    ("not armed", _not_armed, Reason.NOT_ARMED),
    ("no guard", _no_guard, Reason.GUARD_MISSING),
    ("guard late", _late_guard, Reason.GUARD_LATE),
    ("page mismatch", _mismatch, Reason.PAGE_MISMATCH),
    ("paused", _mode(Mode.PAUSED), Reason.MODE_PAUSED),
    ("reduced", _mode(Mode.REDUCED), Reason.MODE_REDUCED),
    ("emergency", _mode(Mode.EMERGENCY), Reason.MODE_EMERGENCY),
    ("breaker open", _open_breaker(Component.ORDER_ENTRY), Reason.BREAKER_OPEN),
    ("look-ups' breaker open", _open_breaker(Component.LOOK_UPS), Reason.BREAKER_OPEN),
    ("market's breaker open", _open_breaker(Component.MARKET), Reason.BREAKER_OPEN),
    ("hold on the box", _hold(BOX), Reason.HOLD),
    ("hold on the venue", _hold("venue:paper"), Reason.HOLD),
    ("hold on the instrument", _hold("instrument:SPX"), Reason.HOLD),
    ("strategy stopped", _after_stop, Reason.STRATEGY_STOPPED),
    ("daily loss", lambda core: _lose(core, 31_000 * 10**10), Reason.DAILY_LOSS),
    ("drawdown", lambda core: None, Reason.DRAWDOWN),
    ("no equity", _attribute("equity_ns", 0), Reason.EQUITY_MISSING),
    ("negative equity", _attribute("cash", -(10**20)), Reason.EQUITY_MISSING),
    ("stale equity", _stale_equity, Reason.EQUITY_STALE),
    ("no fee schedule", _fees_until(0), Reason.FEES_MISSING),
    ("stale fee schedule", _fees_until(-1), Reason.FEES_STALE),
    ("not allowed", _not_allowed, Reason.NOT_ALLOWED),
    ("no instrument limits", _no_limits, Reason.NO_LIMIT),
    ("no source limits", _no_source, Reason.NO_LIMIT),
    ("no price", _prices(price_ns=0), Reason.PRICE_MISSING),
    ("no bid", _prices(bid=0), Reason.PRICE_MISSING),
    ("no ask", _prices(ask=0), Reason.PRICE_MISSING),
    ("negative price", _prices(last=-1), Reason.PRICE_MISSING),
    ("stale price", _stale_price, Reason.PRICE_STALE),
    ("bid above ask", _prices(bid=100_001, ask=100_000), Reason.PRICE_CROSSED),
    ("bid and ask apart", _prices(bid=70_000, ask=105_001, last=90_000), Reason.PRICE_SPREAD),
    ("last trade below", _prices(bid=100_000, ask=100_000, last=66_666), Reason.PRICE_DEVIATION),
    ("last trade above", _prices(bid=49_999, ask=49_999, last=100_000), Reason.PRICE_DEVIATION),
]


def _stand(core: Core, name: str, act: Callable[[Core], None]) -> None:
    if name == "drawdown":  # the account's limit alone: the day's loss stays inside its own
        core.portfolio.decline.drawdown_ppm = 150_001
    else:
        act(core)


def _intents(core: Core) -> dict[OrderClass, Intent]:
    return {
        OrderClass.INCREASE: core.intent(),
        OrderClass.REDUCE: core.intent(side=Side.SELL, qty=Qty(400)),
        OrderClass.PROTECTIVE: core.intent(
            side=Side.SELL,
            qty=Qty(HELD),
            order_type=OrderType.STOP,
            stop_price=Price(95_000),
            protects=OrderId("il-entry"),
        ),
        OrderClass.CANCEL: core.cancel(),
    }


@pytest.mark.safety(
    "S1.2", "S1.10", "S1.11", "S2.3", "S2.5", "S2.8", "S2.10", "S2.11", "S2.14", "HW-01", "HW-08"
)
@pytest.mark.parametrize(("name", "act", "reason"), CONDITIONS, ids=[name for name, _, _ in CONDITIONS])
@pytest.mark.parametrize("order_class", list(OrderClass))
def test_cell(name: str, act: Callable[[Core], None], reason: Reason, order_class: OrderClass) -> None:
    """INCREASE is denied with the condition's own code; every other class passes in some form."""
    core = _core()
    intent = _intents(core)[order_class]
    _stand(core, name, act)
    verdict = core.gate.check(intent)
    assert verdict.order_class is order_class
    if order_class is OrderClass.INCREASE:
        assert isinstance(verdict, Denied)
        assert verdict.reason is reason
    else:
        assert isinstance(verdict, Approved)


@pytest.mark.safety("S2.10", "HW-07")
@pytest.mark.parametrize("order_class", list(OrderClass))
def test_with_nothing_standing_every_class_passes(order_class: OrderClass) -> None:
    """NORMAL, armed, everything fresh."""
    core = _core()
    verdict = core.gate.check(_intents(core)[order_class])
    assert isinstance(verdict, Approved)
    assert verdict.order_class is order_class
    assert verdict.flags in (Flag.NONE, Flag.STOP_ATTACHED)


@pytest.mark.parametrize(("equity", "missing"), [(-1, True), (0, True), (1, False)])
def test_the_smallest_equity_is_known_and_pays_for_nothing(equity: int, missing: bool) -> None:
    """Zero and below is no portfolio value; one unit of money is one, and every limit of it is nothing."""
    core = Core()
    asyncio.run(core.market(100_000))
    core.portfolio.cash = Amount(equity)
    verdict = core.gate.check(core.intent())
    assert isinstance(verdict, Denied)
    assert (verdict.reason is Reason.EQUITY_MISSING) is missing


@pytest.mark.parametrize("act", [_no_limits, _no_source])
def test_without_limits_nothing_grows_even_if_the_table_let_it(
    act: Callable[[Core], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second line behind the table: what there is no limit for cannot be compared with one."""
    core = _core()
    intent = _intents(core)[OrderClass.INCREASE]
    act(core)
    row = MATRIX[Reason.NO_LIMIT] | {OrderClass.INCREASE: Cell.PASS}
    monkeypatch.setitem(MATRIX, Reason.NO_LIMIT, row)
    verdict = core.gate.check(intent)
    assert isinstance(verdict, Denied)
    assert verdict.reason is Reason.NO_LIMIT
    assert verdict.order_class is OrderClass.INCREASE


@pytest.mark.safety("S2.14")
def test_the_table_is_the_one_of_safety_2() -> None:
    """INCREASE never passes a row, CANCEL always; REDUCE is mended where limits or prices are missing."""
    assert all(row[OrderClass.INCREASE] is Cell.DENY for row in MATRIX.values())
    assert all(row[OrderClass.CANCEL] is Cell.PASS for row in MATRIX.values())
    assert all(row[OrderClass.PROTECTIVE] is Cell.PASS for row in MATRIX.values())
    reduce = {reason: row[OrderClass.REDUCE] for reason, row in MATRIX.items()}
    assert {reason: cell for reason, cell in reduce.items() if cell is not Cell.PASS} == {
        Reason.NO_LIMIT: Cell.SLICE,
        Reason.PRICE_MISSING: Cell.FALLBACK,
        Reason.PRICE_STALE: Cell.WIDEN,
    }


@pytest.mark.safety("S2.11")
def test_every_condition_of_the_table_is_driven_here() -> None:
    """A row nobody tests is a row nobody knows."""
    assert {reason for _, _, reason in CONDITIONS} == set(MATRIX)


def test_stop_conditions_come_before_everything_else() -> None:
    """With everything wrong at once the latch is what is reported (STYLE habit 2)."""
    core = _core()
    for name, act, _ in CONDITIONS:
        if name not in ("no guard", "not armed", "page mismatch", "guard late"):
            _stand(core, name, act)
    verdict = core.gate.check(core.intent())
    assert isinstance(verdict, Denied)
    assert verdict.reason is Reason.TRIPPED


@pytest.mark.safety("HW-01")
def test_a_core_of_its_own_is_shut_until_somebody_arms() -> None:
    """The gate starts shut: a new latch has no armed epoch."""
    core = Core()
    core.latch.armed_epoch = 0
    core.latch.reason = TripReason.NOT_ARMED
    verdict = core.gate.check(core.intent())
    assert isinstance(verdict, Denied)
    assert verdict.reason is Reason.NOT_ARMED


@pytest.mark.safety("S3.8")
@pytest.mark.parametrize(
    ("guard_open", "core_open", "is_open"),
    [(True, True, True), (True, False, False), (False, True, False), (False, False, False)],
)
def test_either_side_alone_shuts_the_gate(guard_open: bool, core_open: bool, is_open: bool) -> None:
    """SAFETY 3: clearing needs both."""
    core = Core()
    if not guard_open:
        core.guard.trip(TripReason.TAMPER)
    if not core_open:
        core.latch.trip(TripReason.INVARIANT)
    assert core.latch.is_open() is is_open


@pytest.mark.safety("S2.3")
def test_an_unconfigured_instrument_is_denied_and_a_cancel_of_it_is_not() -> None:
    """There is nothing to hold, so nothing to reduce; the venue may still hold an order."""
    core = Core()
    unknown = core.intent(instrument=InstrumentId("DAX"))
    verdict = core.gate.check(unknown)
    assert isinstance(verdict, Denied)
    assert verdict.reason is Reason.UNKNOWN_INSTRUMENT
    cancel = core.intent(instrument=InstrumentId("DAX"), action=Action.CANCEL, target=OrderId("il-x"))
    assert isinstance(core.gate.check(cancel), Approved)


@pytest.mark.safety("S2.2")
@pytest.mark.parametrize(
    ("changes", "order_class"),
    [
        ({}, OrderClass.PROTECTIVE),
        ({"qty": Qty(HELD + 1)}, OrderClass.INCREASE),
        ({"qty": Qty(0)}, OrderClass.INCREASE),
        ({"protects": None}, OrderClass.PROTECTIVE),
        ({"side": Side.BUY}, OrderClass.INCREASE),
        ({"order_type": OrderType.MARKET, "stop_price": None}, OrderClass.REDUCE),
    ],
)
def test_a_stop_larger_than_the_position_is_not_protective(
    changes: dict[str, Any], order_class: OrderClass
) -> None:
    """A stop, on the closing side, of at most what is held: one of these missing is another class."""
    core = _core()
    leg = _intents(core)[OrderClass.PROTECTIVE]
    assert core.gate.check(replace(leg, **changes)).order_class is order_class


def test_limits_of_the_account_are_the_last_allowed_value() -> None:
    """C24: 15.00 % passes, 15.0001 % is denied."""
    for fall, allowed in ((150_000, True), (150_001, False)):
        core = _core(account=account_limits(daily_loss_ppm=1_000_000))
        core.portfolio.decline.drawdown_ppm = fall
        assert isinstance(core.gate.check(core.intent()), Approved) is allowed
