"""A gate over several instruments and no venue: fills and orders are booked as the test says.

Prices are in cents, quantities in hundredths, as in `tests.kit`.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from appliance.domain.ids import InstrumentId, IntentId, OrderId, SourceId, TradeId
from appliance.domain.instrument import Instrument, make_instrument
from appliance.domain.intent import Intent, OrderType, Side
from appliance.domain.margin import MarginTerms, make_margin
from appliance.domain.mode import Mode
from appliance.domain.money import AMOUNT_ONE, Amount, Ppm, Price, Qty
from appliance.domain.observation import Bar
from appliance.domain.order import Fill, Order, OrderState
from appliance.domain.verdict import Approved, Denied, OrderClass
from appliance.orders.fees import FeeBook
from appliance.orders.identity import IdLedger
from appliance.portfolio.correlation import CorrelationTerms
from appliance.portfolio.portfolio import Portfolio
from appliance.risk.breakers import Breakers
from appliance.risk.gate import Gate
from appliance.risk.limits import AccountLimits, Limits
from appliance.safety.holds import Holds
from appliance.safety.latch import CoreLatch
from appliance.safety.recovery_plan import RecoveryPlan
from tests.kit import (
    BOT,
    FakeClock,
    FakeGuard,
    FakeScribe,
    account_limits,
    breaker_settings,
    instrument_limits,
    source_limits,
)

DAY = 86_400_000_000_000
A, B, C = InstrumentId("AAA"), InstrumentId("BBB"), InstrumentId("CCC")
UNIT = 10**6  # amount of one cent times one hundredth
BIG = 10**30


def instrument(symbol: str, margin: MarginTerms | None = None, **changes: Any) -> Instrument:
    """Cents and hundredths."""
    facts: dict[str, Any] = {
        "currency": "USD",
        "price_exp": 2,
        "qty_exp": 2,
        "tick": 1,
        "lot": 1,
        "min_qty": 1,
        "max_qty": 10**9,
        "min_value": 0,
        "margin": margin,
    }
    return make_instrument(symbol, **(facts | changes))


def terms(*, isolated: bool = False, initial_ppm: int = 0, close_fee_ppm: int = 0) -> MarginTerms:
    """Three tiers: to 50,000 USD 5 % and 1 %, to 250,000 10 % and 2.5 %, to 1,000,000 20 % and 5 %."""
    return make_margin(
        isolated=isolated,
        initial_ppm=initial_ppm,
        close_fee_ppm=close_fee_ppm,
        rows=[
            (50_000 * AMOUNT_ONE, 50_000, 10_000),
            (250_000 * AMOUNT_ONE, 100_000, 25_000),
            (1_000_000 * AMOUNT_ONE, 200_000, 50_000),
        ],
    )


def correlation_terms(**changes: int) -> CorrelationTerms:
    """70 % of daily returns, 60 of them kept, 30 needed."""
    wanted: dict[str, int] = {"limit_ppm": 700_000, "interval_ns": DAY, "window": 60, "sample": 30}
    wanted |= changes
    return CorrelationTerms(
        limit_ppm=Ppm(wanted["limit_ppm"]),
        interval_ns=wanted["interval_ns"],
        window=wanted["window"],
        sample=wanted["sample"],
    )


def bar(
    symbol: InstrumentId, day: int, price: int, *, low: int | None = None, high: int | None = None
) -> Bar:
    """The daily bar that is known when day `day` is over."""
    return Bar(
        instrument=symbol,
        event_ns=day * DAY,
        seen_ns=(day + 1) * DAY,
        open=Price(price),
        high=Price(price if high is None else high),
        low=Price(price if low is None else low),
        close=Price(price),
        volume=0,
    )


class Rig:
    """A portfolio and its gate, armed and in NORMAL; one source that may do everything.

    Instruments trade at 100.00 and have been seen a moment ago.
    """

    mode = Mode.NORMAL

    def __init__(
        self,
        *instruments: Instrument,
        cash: int = 1_000_000,
        account: AccountLimits | None = None,
        correlation: CorrelationTerms | None = None,
        **limits: int,
    ) -> None:
        self.clock = FakeClock()
        guard = FakeGuard(self.clock)
        latch = CoreLatch(guard, self.clock)
        latch.clear(guard.state)
        symbols = [each.symbol for each in instruments]
        each = instrument_limits(**({"max_order_qty": BIG, "max_order_value": BIG} | limits))
        self.limits = Limits(
            account=account or account_limits(max_equity_age_ns=BIG),
            instruments={symbol: replace(each, max_price_age_ns=BIG) for symbol in symbols},
            sources={BOT: source_limits(instruments=frozenset(symbols), allocation=BIG, allow_short=True)},
        )
        self.portfolio = Portfolio(
            instruments, Amount(cash * AMOUNT_ONE), {BOT: Amount(cash * AMOUNT_ONE)}, correlation
        )
        self.fees = FeeBook()
        self.fees.until_ns = 2**63  # of no charge: what fees do has tests of its own
        breakers = Breakers(breaker_settings(), self.clock.mono_ns)
        plan = RecoveryPlan(FakeScribe(), self.clock)
        plan.armed()
        self.gate = Gate(
            self.limits, self.portfolio, latch, Holds(), self, IdLedger(), self.clock, "test", plan, breakers,
            self.fees,
        )  # fmt: skip
        self.number = 0
        for symbol in symbols:
            self.price(symbol, 10_000)

    def price(self, symbol: InstrumentId, price: int) -> None:
        """A bar that ends now."""
        self.clock.utc += 1
        seen_ns = self.clock.utc
        observation = bar(symbol, 0, price)
        self.portfolio.mark(replace(observation, event_ns=seen_ns - 1, seen_ns=seen_ns))

    def fill(
        self, symbol: InstrumentId, side: Side, qty: int, price: int = 10_000, *, source: SourceId = BOT,
        fee: int = 0, order_id: str = "o",
    ) -> Fill:  # fmt: skip
        """Books one execution."""
        self.number += 1
        fill = Fill(
            trade_id=TradeId(f"t{self.number}"),
            order_id=OrderId(order_id),
            instrument=symbol,
            side=side,
            qty=Qty(qty),
            price=Price(price),
            fee=Amount(fee),
            maker=False,
            event_ns=self.clock.utc,
        )
        self.portfolio.apply_fill(fill, source)
        return fill

    def work(self, symbol: InstrumentId, side: Side, qty: int, **changes: Any) -> Order:
        """An order that works."""
        self.number += 1
        order = Order(
            id=OrderId(f"w{self.number}"),
            intent_id=IntentId("i"),
            source=BOT,
            instrument=symbol,
            order_class=OrderClass.INCREASE,
            side=side,
            qty=Qty(qty),
            order_type=OrderType.MARKET,
            price=None,
            stop_price=None,
            attached_stop=None,
            reduce_only=False,
            protects=None,
            state=OrderState.WORKING,
        )
        order = replace(order, **changes)
        self.portfolio.working(order)
        return order

    def intent(self, symbol: InstrumentId, side: Side, qty: int, **changes: Any) -> Intent:
        """A market order."""
        self.number += 1
        wish = Intent(
            id=IntentId(f"i{self.number}"),
            source=BOT,
            instrument=symbol,
            created_ns=self.clock.utc,
            side=side,
            qty=Qty(qty),
        )
        return replace(wish, **changes)

    def ask(self, symbol: InstrumentId, side: Side, qty: int, **changes: Any) -> str:
        """The gate's answer: `ok` or the reason code."""
        verdict = self.gate.check(self.intent(symbol, side, qty, **changes))
        assert isinstance(verdict, Approved | Denied)
        return verdict.reason.value if isinstance(verdict, Denied) else "ok"
