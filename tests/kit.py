"""Parts for tests of the decision core: a page in plain memory, a clock that moves when told, and more.

Values are those of a small account in one instrument: prices in cents, quantities in hundredths.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from appliance.domain.ids import InstrumentId, IntentId, OrderId, SourceId
from appliance.domain.instrument import Instrument, make_instrument
from appliance.domain.intent import Action, Intent, OrderType, Side
from appliance.domain.mode import Mode, TripReason
from appliance.domain.money import AMOUNT_ONE, Amount, Ppm, Price, Qty
from appliance.domain.observation import Bar
from appliance.domain.order import Order
from appliance.domain.verdict import Approved
from appliance.orders.book import Orders
from appliance.orders.costs import Costs
from appliance.orders.desk import Desk
from appliance.orders.executor import Executor
from appliance.orders.fees import FeeBook
from appliance.orders.identity import IdLedger
from appliance.orders.plan import Recipe
from appliance.orders.reconcile import fate
from appliance.portfolio.correlation import CorrelationTerms
from appliance.portfolio.portfolio import Portfolio
from appliance.ports import GuardStatus, PageReading, Ticket
from appliance.risk.breaker import BreakerSettings
from appliance.risk.breakers import Breakers
from appliance.risk.gate import Gate
from appliance.risk.limits import AccountLimits, InstrumentLimits, Limits, SourceLimits
from appliance.runtime.execution import CoreMeans
from appliance.runtime.guarded import GuardedVenue
from appliance.safety.controller import SafetyController
from appliance.safety.exits import ExitFlow
from appliance.safety.holds import Holds
from appliance.safety.latch import WORD_MASK, CoreLatch
from appliance.venues.paper_engine import PaperEngine
from appliance.venues.paper_faults import Faults
from appliance.venues.paper_inprocess import InProcessPaper
from appliance.venues.paper_terms import PaperTerms, make_fees
from appliance.venues.wire import make_recheck

SPX = InstrumentId("SPX")
BOT = SourceId("bot")
SECOND = 1_000_000_000
DAY = 86_400 * SECOND
START_NS = 1_000_000 * SECOND


def spx(**changes: Any) -> Instrument:
    """An index with cents and hundredths."""
    facts: dict[str, Any] = {
        "currency": "USD",
        "price_exp": 2,
        "qty_exp": 2,
        "tick": 1,
        "lot": 1,
        "min_qty": 1,
        "max_qty": 10_000_000,
        "min_value": 0,
    }
    return make_instrument("SPX", **(facts | changes))


MANY = 10**9
"""Of what is not meant to bind: throttles, marks and windows have tests of their own."""


def account_limits(**changes: int) -> AccountLimits:
    """2 % position cap, 100 % together, 3 % daily loss, 15 % drawdown, everything fresh for a minute."""
    return replace(
        AccountLimits(
            position_cap_ppm=Ppm(20_000),
            leverage_ppm=Ppm(1_000_000),
            margin_ppm=Ppm(1_100_000),
            risk_ppm=Ppm(10_000),
            daily_loss_ppm=Ppm(30_000),
            drawdown_ppm=Ppm(150_000),
            max_equity_age_ns=60 * SECOND,
            market_fallback_ns=30 * SECOND,
            loss_alert_ppm=Ppm(10_000),
            loss_slow_ppm=Ppm(30_000),
            messages=MANY,
            messages_kept_ppm=Ppm(0),
            duplicate_window_ns=0,
        ),
        **changes,
    )


def instrument_limits(**changes: int) -> InstrumentLimits:
    """Up to 100.00 units or 20,000 USD an order, 5 % collar, 10 % stop distance, prices fresh for 5 s."""
    return replace(
        InstrumentLimits(
            max_order_qty=Qty(10_000),
            max_order_value=Amount(20_000 * AMOUNT_ONE),
            collar_ppm=Ppm(50_000),
            max_stop_ppm=Ppm(100_000),
            max_position_qty=Qty(MANY * MANY),
            max_price_age_ns=5 * SECOND,
            max_spread_ppm=Ppm(500_000),
            max_deviation_ppm=Ppm(500_000),
        ),
        **changes,
    )


def source_limits(**changes: Any) -> SourceLimits:
    """One instrument, 1,000,000 USD, 15 %, a default stop of 5 %."""
    return replace(
        SourceLimits(
            instruments=frozenset({SPX}),
            allocation=Amount(1_000_000 * AMOUNT_ONE),
            drawdown_ppm=Ppm(150_000),
            default_stop_ppm=Ppm(50_000),
            messages=MANY,
            entries=MANY,
            entries_window_ns=86_400 * SECOND,
            allow_short=False,
        ),
        **changes,
    )


def breaker_settings(**changes: int) -> BreakerSettings:
    """Opens above half of at least 4 of the last 8 calls in a minute, 10 s, one probe, two successes."""
    return replace(
        BreakerSettings(
            window_calls=8,
            window_ns=60 * SECOND,
            min_calls=4,
            open_above_ppm=500_000,
            cooldown_ns=10 * SECOND,
            probes=1,
            successes=2,
        ),
        **changes,
    )


class FakeClock:
    """Both clocks in one number each."""

    def __init__(self) -> None:
        self.mono = START_NS
        self.utc = START_NS

    def mono_ns(self) -> int:
        """CLOCK_MONOTONIC."""
        return self.mono

    def utc_ns(self) -> int:
        """The market's time."""
        return self.utc

    def pass_ns(self, duration_ns: int) -> None:
        """Moves both."""
        self.mono += duration_ns
        self.utc += duration_ns


class FakeGuard:
    """A guard's page and what the core writes to its own. Implements ports.GuardLink."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.present = True
        self.state = 7
        self.armed = 7
        self.complement = 7 ^ WORD_MASK
        self.heartbeat_ns = clock.mono
        self.beating = True
        self.reason = TripReason.NONE
        self.last = TripReason.NONE
        self.later: set[TripReason] = set()
        self.stored = 0
        self.liquidate = 0
        self.presses = 0
        self.outcome = "NONE"
        self.source, self.operator, self.subject = "NONE", "", 0
        self.refused, self.refusal = 0, "NONE"
        self.generation = 1
        self.boot = "boot"
        self.permits: list[int] = []
        self.requests: list[TripReason] = []
        self.modes: list[Mode] = []

    def read(self) -> PageReading:
        """The gate's words."""
        if not self.present:
            return PageReading(False, 0, 0, 0, 0, 0)
        beat = self.clock.mono if self.beating else self.heartbeat_ns
        return PageReading(True, self.state, self.armed, self.complement, beat, self.reason)

    def status(self) -> GuardStatus:
        """The whole page."""
        return GuardStatus(
            page=self.read(),
            boot=self.boot if self.present else "",
            generation=self.generation,
            last=self.last,
            later=frozenset(self.later),
            stored=self.stored,
            liquidate=self.liquidate,
            arm_presses=self.presses,
            arm_outcome=self.outcome,
            simulated=True,
            realtime=True,
            lamps=("pulse", "off", "off"),
            trip_ns=self.clock.mono,
            trip_utc_ns=self.clock.utc,
            arm_source=self.source,
            arm_operator=self.operator,
            arm_subject=self.subject,
            refused=self.refused,
            refusal=self.refusal,
        )

    def glance(self) -> bytes:
        """Moves with every word but the heartbeat."""
        status = self.status()
        return repr(replace(status, page=replace(status.page, heartbeat_ns=0), trip_ns=0)).encode()

    def request_trip(self, reason: TripReason) -> None:
        """Remembers; `adopt` makes it the guard's own."""
        self.requests.append(reason)

    def permit(self, trip_epoch: int) -> None:
        """Remembers."""
        self.permits.append(trip_epoch)

    def publish_mode(self, mode: Mode) -> None:
        """Remembers."""
        self.modes.append(mode)

    def trip(self, reason: TripReason, *, stored: bool = True) -> None:
        """As the guard does: the first reason stays, the epoch moves."""
        if self.reason in (TripReason.NONE, TripReason.NOT_ARMED):
            self.reason, self.later = reason, set()
        elif reason is not self.reason:
            self.later.add(reason)
        self.last = reason
        self.state += 1
        if stored:
            self.stored = self.state

    def press_key(self, outcome: str = "STEP", operator: str = "") -> None:
        """One arm press; ARMED opens the page as the guard would. operator: the key of a signed command."""
        self.outcome = outcome
        self.source, self.operator = ("OPERATOR" if operator else "KEY"), operator
        if outcome == "ARMED":
            self.armed, self.complement = self.state, self.state ^ WORD_MASK
            self.reason = TripReason.NONE
            self.later = set()
        self.presses += 1

    def freeze(self) -> None:
        """The heartbeat stops where it is."""
        self.heartbeat_ns, self.beating = self.clock.mono, False


class DoneTicket:
    """An entry that is durable at once."""

    def __init__(self, index: int, error: Exception | None = None) -> None:
        self.index = index
        self._error = error

    async def durable(self) -> None:
        """Returns, or raises what the test put there."""
        if self._error is not None:
            raise self._error


class FakeScribe:
    """Remembers every entry with its order rows."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, dict[str, Any], tuple[Order, ...]]] = []
        self.error: Exception | None = None
        self.slow = False

    def note(
        self,
        kind: str,
        data: Mapping[str, object],
        *,
        causes: Sequence[int] = (),
        orders: Sequence[Order] = (),
    ) -> Ticket:
        """One entry."""
        assert all(cause < len(self.entries) for cause in causes)
        self.entries.append((kind, dict(data), tuple(orders)))
        return DoneTicket(len(self.entries) - 1, self.error)

    def kinds(self) -> list[str]:
        """Kinds in order."""
        return [kind for kind, _, _ in self.entries]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Data of one kind."""
        return [data for found, data, _ in self.entries if found == kind]


class FakePatience:
    """Waits for nothing; `patient=False` lets every limit pass first."""

    def __init__(self) -> None:
        self.patient = True

    async def durable_within(self, ticket: Ticket, limit_ns: int) -> bool:
        """As the real one, without time."""
        assert limit_ns <= 50_000_000
        if not self.patient:
            return False
        await ticket.durable()
        return True

    async def together(self, works: Sequence[Awaitable[None]]) -> None:
        """One after the other: the order of two cancels is nobody's promise."""
        for work in works:
            await work


class Core:
    """Everything between an intent and an in-process paper venue, armed and in NORMAL."""

    def __init__(
        self,
        *,
        instrument: Instrument | None = None,
        account: AccountLimits | None = None,
        limits: InstrumentLimits | None = None,
        source: SourceLimits | None = None,
        cash: int = 1_000_000,
        faults: Faults | None = None,
        with_limits: bool = True,
        with_source: bool = True,
        orders: Orders | None = None,
        also: Sequence[Instrument] = (),
        beside: Mapping[SourceId, SourceLimits] | None = None,
        correlation: CorrelationTerms | None = None,
        scribe: FakeScribe | None = None,
    ) -> None:
        """also: more instruments, under the same limits.  beside: more sources."""
        self.instrument = instrument or spx()
        traded, more = [self.instrument, *also], dict(beside or {})
        self.clock = FakeClock()
        self.guard = FakeGuard(self.clock)
        self.latch = CoreLatch(self.guard, self.clock)
        self.latch.clear(self.guard.state)
        self.holds = Holds()
        self.scribe = scribe or FakeScribe()
        self.patience = FakePatience()
        self.safety = SafetyController(
            self.guard, self.latch, self.holds, self.clock, self.scribe, tamper_is_emergency=False
        )
        self.safety.start(None)
        self.safety.mode = Mode.NORMAL
        self.safety.recovery.armed()
        self.limits = Limits(
            account=account or account_limits(),
            instruments={
                each.symbol: limits or instrument_limits() for each in traded if with_limits
            },
            sources=({BOT: source or source_limits()} if with_source else {}) | more,
        )
        self.portfolio = Portfolio(
            traded,
            Amount(cash * AMOUNT_ONE),
            {name: Amount(1_000_000 * AMOUNT_ONE) for name in (BOT, *more)},
            correlation,
        )
        self.terms = PaperTerms(
            start_cash=Amount(cash * AMOUNT_ONE),
            maker_fee_ppm=Ppm(0),
            taker_fee_ppm=Ppm(1_000),
            spread_ppm=Ppm(200),
            depth_value=Amount(100_000 * AMOUNT_ONE),
            allow_short=True,
        )
        self.engine = PaperEngine("test", traded, self.terms)
        self.venue = InProcessPaper(self.engine, make_recheck(self.latch, self.clock), faults)
        self.ids = IdLedger()
        self.breakers = Breakers(breaker_settings(), self.clock.mono_ns)
        self.door = GuardedVenue(self.venue, self.breakers)
        self.orders = orders or Orders()
        self.fees = FeeBook()
        self.fees.take(make_fees(self.terms), self.clock.mono)
        self.fees.until_ns = 2**63  # a venue that always answers; tests of fees ask for themselves
        self.gate = Gate(
            self.limits,
            self.portfolio,
            self.latch,
            self.holds,
            self.safety,
            self.ids,
            self.clock,
            "test",
            self.safety.recovery,
            self.breakers,
            self.fees,
            self.orders,
        )
        self.owed: list[tuple[int, Approved, Order | None]] = []
        self.desk = Desk(
            self.gate,
            self.orders,
            self.ids,
            self.portfolio,
            self.door,
            self.scribe,
            self.patience,
            self.clock,
            self.safety.trip,
            lambda verdict: None,
            lambda index, approved, order: self.owed.append((index, approved, order)),
            Costs(self.fees, self.clock),
        )
        self.exits = ExitFlow(self.desk, self.portfolio, self.door, self.clock, fate)
        self.steps = 0
        self.number = 0

    def bar(
        self, price: int, *, low: int | None = None, high: int | None = None, opened: int | None = None
    ) -> Bar:
        """The next bar; market time moves with it."""
        self.clock.utc += SECOND
        open_price = price if opened is None else opened
        return Bar(
            instrument=SPX,
            event_ns=self.clock.utc - SECOND,
            seen_ns=self.clock.utc,
            open=Price(open_price),
            high=Price(max(price, open_price, high or price)),
            low=Price(min(price, open_price, low or price)),
            close=Price(price),
            volume=0,
        )

    async def market(self, price: int, **shape: int) -> None:
        """Moves the venue's market and marks the portfolio."""
        observation = self.bar(price, **shape)
        self.steps += 1
        await self.venue.step(observation, self.steps)
        await self.desk.collect()
        self.portfolio.mark(observation)

    def intent(self, **changes: Any) -> Intent:
        """A market buy of 1.00 with the source's default stop; every call has its own id."""
        self.number += 1
        return replace(
            Intent(
                id=IntentId(f"i{self.number}"),
                source=BOT,
                instrument=SPX,
                created_ns=self.clock.utc,
                side=Side.BUY,
                qty=Qty(100),
                order_type=OrderType.MARKET,
            ),
            **changes,
        )

    def cancel(self, target: str = "il-x") -> Intent:
        """A cancel of that order."""
        return self.intent(action=Action.CANCEL, target=OrderId(target))

    def executor(self, **recipe: Any) -> Executor:
        """As `runtime.execution` makes it; recipe: of the one source, plain without."""
        recipes = {BOT: Recipe(**recipe)}
        means = CoreMeans(recipes, self.limits, self.portfolio, self.safety, "test")
        return Executor(self.desk, self.portfolio, self.exits, self.scribe, self.clock, means)

    async def hold_position(self, qty: int, price: int = 100_000) -> None:
        """Buys through the whole flow and lets it fill at the next bar."""
        await self.market(price)
        await self.desk.place(self.intent(qty=Qty(qty)))
        await self.market(price)
        assert self.portfolio.holdings[SPX].position == qty
