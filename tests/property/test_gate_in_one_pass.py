"""What the gate says in one expression is what it says step by step: the latch, the conditions, the controls.

The steps alone deny. So it is enough that the short way is never open where the long one is shut; that it is
open wherever it may be is what makes it worth having. Limits are tried at the last value that passes, the one
before and the one after, found by halving: no formula stands twice here.
"""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from appliance.domain.ids import InstrumentId, IntentId
from appliance.domain.intent import Intent, OrderType, Side, TimeInForce
from appliance.domain.margin import make_margin
from appliance.domain.mode import HoldCause, Mode, TripReason
from appliance.domain.money import PPM_ONE, Price, Qty
from appliance.domain.reasons import Reason
from appliance.ports import PageReading
from appliance.risk.changes import Beside
from appliance.risk.controls import every_control, quick_stop
from appliance.safety.latch import HEARTBEAT_HOLD_NS, WORD_MASK, CoreLatch, refusal
from tests.kit import BOT, SECOND, SPX, Core, account_limits, instrument_limits, source_limits, spx

QUICK = settings(deadline=None, derandomize=True, max_examples=300)


class Account:
    """ports.AccountView, as far as the controls read it."""

    def __init__(self, dice: Random) -> None:
        self.equity = dice.randint(1, 10**6) * 10**8
        self.gross = dice.randint(0, 10**4) * 10**10
        self.free_margin = 10**30
        self.own: Any = SimpleNamespace(
            held_cost=dice.randint(0, 12) * 10**10,
            working_cost=dice.randint(0, 12) * 10**10,
            stopped_reason="",
        )
        self.moves_with = dice.choice([*[False] * 8, True, None])

    def source(self, _source: object) -> Any:
        """The one there is."""
        return self.own

    def source_exposure(self, _source: object) -> int:
        """Of the one there is."""
        return int(self.own.held_cost + self.own.working_cost) if self.own is not None else 0

    def correlated(self, _instrument: object, _side: object) -> bool | None:
        """As drawn."""
        return self.moves_with

    def cross_margin(self, _instrument: object) -> int:
        """Enough."""
        return 10**30


class Resting:
    """risk.changes.Working with one order at most."""

    def __init__(self, price: int | None) -> None:
        self.price = price

    def nearest(self, _instrument: object, _side: object) -> int | None:
        """As drawn."""
        return self.price

    def get(self, _order_id: object) -> None:
        """None."""


class Case:
    """One entry and everything it is judged by; `ask` both ways."""

    def __init__(self, dice: Random) -> None:
        bid = dice.randint(90, 110)
        self.instrument = spx(
            tick=dice.choice([1, 1, 5]),
            lot=(lot := dice.choice([1, 1, 2])),
            min_qty=lot * dice.randint(1, 3),
            max_qty=lot * dice.randint(4, 50),
            min_value=dice.choice([0, 300 * 10**6, 10**9]),
        )
        if dice.randint(0, 9) == 9:
            rows = [(10**30, 500_000, 10_000)]
            terms = make_margin(isolated=True, initial_ppm=0, close_fee_ppm=0, rows=rows)
            self.instrument = replace(self.instrument, margin=terms)
        self.view = Beside(
            self.instrument, bid, bid + dice.randint(0, 4), dice.randint(88, 116), 1,
            dice.randint(-6, 6), dice.randint(0, 12), dice.randint(0, 12), dice.randint(0, 130),
            dice.randint(0, 130), dice.randint(0, 3_000) * 10**6, 0,
        )  # fmt: skip
        self.account = Account(dice)
        self.fees = SimpleNamespace(
            until_ns=1, cost_ppm=PPM_ONE + dice.randint(0, 2_000), cost_fixed=dice.randint(0, 12)
        )
        self.resting = Resting(dice.choice([None, None, dice.randint(85, 120)]))
        self.freed = dice.randint(0, 12) * 10**8
        self.intent = _wish(dice)
        self.limits: dict[str, dict[str, Any]] = {
            "money": vars(self.account),
            "account": {"position_cap_ppm": 10**12, "leverage_ppm": 10**12},
            "instrument": {
                "max_order_qty": 10**6,
                "max_order_value": 10**18,
                "max_position_qty": 10**6,
                "collar_ppm": 10**6,
                "max_stop_ppm": 10**6,
            },
            "source": {"allocation": 10**20, "default_stop_ppm": dice.choice([50_000, 50_000, None, 0])},
        }

    def ask(self) -> tuple[int, object, object]:
        """(what one pass says, what the controls say one by one)."""
        own = instrument_limits(**self.limits["instrument"])
        bounds, source = account_limits(**self.limits["account"]), source_limits(**self.limits["source"])
        asked: Any = (self.view, own, source, bounds, self.account, self.fees, self.resting, self.freed)
        each: Any = (*asked, 5)
        return quick_stop(self.intent, *asked), *every_control(self.intent, *each)

    def agree(self) -> bool:
        """Compares; True if the entry passes."""
        quick, found, second = self.ask()
        plain = (
            self.intent.order_type in (OrderType.MARKET, OrderType.LIMIT)
            and self.intent.time_in_force is TimeInForce.GTC
            and not (self.intent.expire_ns or self.intent.post_only or self.intent.reduce_only)
            and self.instrument.margin is None
        )
        passes = not isinstance(found, Reason)
        if quick:
            assert plain
            assert (quick, self.intent.stop_price is None) == (found, second)
        else:
            assert not (plain and passes), (found, second)
        return passes


def _wish(dice: Random) -> Intent:
    """Mostly of the plain kind, with a price where the type wants one and a stop on the right side."""
    odd, side = dice.randint(0, 9) == 9, dice.choice([*Side])
    kind = dice.choice([*OrderType] if odd else [OrderType.MARKET, OrderType.LIMIT])
    priced = kind in (OrderType.LIMIT, OrderType.STOP_LIMIT) or (odd and dice.random() < 0.5)
    stop = dice.randint(70, 95) if side is Side.BUY else dice.randint(105, 130)
    return Intent(
        id=IntentId("i"), source=BOT, instrument=SPX, created_ns=1, side=side, order_type=kind,
        qty=Qty(dice.randint(-1, 30)), price=Price(dice.randint(-1 if odd else 92, 112)) if priced else None,
        stop_price=dice.choice([None, Price(dice.randint(-1, 140) if odd else stop)]),
        time_in_force=dice.choice([*TimeInForce]) if odd else TimeInForce.GTC,
        expire_ns=dice.choice([0, 5, 6]) if odd else 0,
        post_only=odd and dice.random() < 0.3, reduce_only=odd and dice.random() < 0.3,
    )  # fmt: skip


def test_one_pass_passes_what_every_control_passes() -> None:
    """Same stop, same answer whether it is the configured one; and nothing plain is left to the long way."""
    passed = sum(Case(Random(seed)).agree() for seed in range(6_000))
    assert 500 < passed < 5_000


def test_who_has_no_allocation_goes_the_long_way() -> None:
    """A source with limits and without an allocation has nothing; the controls are asked one by one."""
    case = next(case for seed in range(200) if (case := Case(Random(seed))).agree() and case.ask()[0])
    case.account.own = None
    assert case.ask()[0] == 0
    assert not isinstance(case.ask()[1], Reason)


LIMITS = [
    *(("account", each) for each in ("position_cap_ppm", "leverage_ppm")),
    *(
        ("instrument", each)
        for each in ("max_order_qty", "max_order_value", "max_position_qty", "collar_ppm", "max_stop_ppm")
    ),
    ("source", "allocation"),
    ("money", "equity"),  # against which cap and leverage come out even
]


@pytest.mark.parametrize(("whose", "limit"), LIMITS)
def test_they_agree_beside_the_last_allowed_value_of_every_limit(whose: str, limit: str) -> None:
    """The limit is lowered until the controls deny; there, one above and one below both say the same."""
    bound = 0
    for seed in range(700):
        case = Case(Random(seed))
        if not case.agree():
            continue
        least = low = -(10**6)
        high = case.limits[whose][limit]
        while high - low > 1:  # passes at `high`, not at `low`
            middle = (low + high) // 2
            case.limits[whose][limit] = middle
            low, high = (middle, high) if isinstance(case.ask()[1], Reason) else (low, middle)
        if high == least + 1:
            continue  # it never binds here: a stop-limit without a price, say
        bound += 1
        for value in (high - 1, high, high + 1):
            case.limits[whose][limit] = value
            assert case.agree() is (value >= high)
    assert bound > 50


def _shift(core: Core, **changes: int) -> None:
    view = core.portfolio.holdings[SPX]
    for name, value in changes.items():
        setattr(view, name, value)


def _early(core: Core, of: object, name: str) -> None:
    """A time that never came, and a clock so early that not even that is old."""
    setattr(of, name, 0)
    core.clock.utc = SECOND


OLD = 60_000_000_000  # the oldest equity of `account_limits`
ACTS: dict[str, Any] = {
    "mode": lambda core, n: setattr(core.safety, "mode", [*Mode][n % len(Mode)]),
    "hold here": lambda core, n: core.holds.begin(HoldCause.STALE_DATA, "instrument:SPX", n, "t"),
    "hold elsewhere": lambda core, n: core.holds.begin(HoldCause.STALE_DATA, "instrument:X", n, "t"),
    "stopped": lambda core, n: core.portfolio.stop_source(BOT, "test", n),
    "loss": lambda core, n: setattr(core.portfolio.decline, "loss_ppm", 29_998 + n),
    "drawdown": lambda core, n: setattr(core.portfolio.decline, "drawdown_ppm", 149_998 + n),
    "equity": lambda core, n: setattr(core.portfolio, "cash", n - 2),
    "equity age": lambda core, n: setattr(core.portfolio, "equity_ns", core.clock.utc - OLD + 2 - n),
    "no equity yet": lambda core, n: _early(core, core.portfolio, "equity_ns"),
    "fees": lambda core, n: setattr(core.fees, "until_ns", core.clock.mono - 2 + n),
    "no fees yet": lambda core, n: setattr(core.fees, "until_ns", 0),
    "no limits": lambda core, n: core.limits.instruments.clear(),
    "no source": lambda core, n: core.limits.sources.clear(),
    "nothing listed": lambda core, n: core.limits.sources.update(
        {BOT: source_limits(instruments=frozenset({InstrumentId("X")}))}
    ),
    "shorts": lambda core, n: core.limits.sources.update({BOT: source_limits(allow_short=True)}),
    "price age": lambda core, n: _shift(core, price_ns=core.clock.utc - 5_000_000_000 + 2 - n),
    "no price yet": lambda core, n: _early(core, core.portfolio.holdings[SPX], "price_ns"),
    "no prices": lambda core, n: _shift(core, bid=n - 2, ask=n - 2, last=n - 2),
    "bid": lambda core, n: _shift(core, bid=n - 2),
    "ask": lambda core, n: _shift(core, ask=n - 2),
    "last": lambda core, n: _shift(core, last=n - 2),
    "quotes": lambda core, n: _shift(core, bid=100_000, ask=100_000 + 24_999 * n, last=100_000 + 30_000 * n),
    "crossed": lambda core, n: _shift(core, bid=100_000, ask=100_002 - n, last=100_000),
}  # fmt: skip


@settings(QUICK, max_examples=600)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(ACTS)), st.integers(0, 4)), max_size=2),
    st.sampled_from(Side),
)
def test_nothing_is_clear_while_a_condition_stands(acts: list[tuple[str, int]], side: Side) -> None:
    """And with no condition it is clear, so that the short way is taken at all."""
    core = Core()
    core.portfolio.mark(core.bar(100_000))
    for name, n in acts:
        ACTS[name](core, n)
    conditions, view = core.gate._conditions, core.portfolio.holdings[SPX]
    wish, limits = core.intent(side=side), core.limits.instruments.get(SPX)
    now = (core.clock.utc, core.clock.mono)
    standing = list(conditions.standing(wish, view, limits, None, *now))
    assert conditions.clear(wish, view, limits, core.limits.sources.get(BOT), *now) is (not standing)


EPOCHS = st.sampled_from([0, 7, 8, WORD_MASK])


@QUICK
@given(
    st.booleans(), EPOCHS, EPOCHS, EPOCHS, st.booleans(), EPOCHS,
    st.sampled_from([-1, 0, 1]), st.sampled_from([-1, 0, 1]), st.sampled_from(TripReason),
)  # fmt: skip
def test_the_latch_is_open_only_where_nothing_refuses(
    present: bool, state: int, armed: int, own: int, whole: bool, other: int, side: int, step: int,
    reason: TripReason,
) -> None:  # fmt: skip
    """Page, complement, heartbeat at both ends of its allowed age, own epoch and own reason."""
    complement = armed ^ WORD_MASK if whole else other
    now_ns, age_ns = 10**12, side * (HEARTBEAT_HOLD_NS + step)
    page = PageReading(present, state, armed, complement, now_ns - age_ns, TripReason.NONE)
    latch = CoreLatch(SimpleNamespace(read=lambda: page), SimpleNamespace())
    latch.reason, latch.armed_epoch = reason, own
    why, epoch = latch.look(now_ns)
    is_open = refusal(page, now_ns) is None and reason is TripReason.NONE and state == own
    assert (why is None) is is_open
    assert epoch == (state if present else 0)
