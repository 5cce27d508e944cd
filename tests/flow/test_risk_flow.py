"""Margin through the whole flow with a venue inside the process, and what the log says beside a signal."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from appliance.domain.errors import InvariantError
from appliance.domain.ids import SourceId, TradeId
from appliance.domain.intent import Intent, Side
from appliance.domain.margin import MarginTerms, make_margin
from appliance.domain.money import AMOUNT_ONE, Price, Qty
from appliance.domain.observation import Bar, Observation
from appliance.domain.order import Filled
from appliance.domain.reasons import Reason
from appliance.domain.signal import Direction, Signal
from appliance.domain.verdict import Approved, Denied, OrderClass
from appliance.pipeline import Pipeline, Stages
from appliance.portfolio.series import RANGES, Series
from appliance.risk.margin import is_solvent, liquidation_after
from appliance.runtime.no_memory import NoMemory
from appliance.validation.recent import RecentPrices
from appliance.validation.signals import SignalLimits
from tests.kit import BOT, SECOND, SPX, Core, account_limits, instrument_limits, source_limits, spx


def _terms(*, isolated: bool) -> MarginTerms:
    """20x: 5 % initial, 1 % maintenance, up to 100,000,000 USD."""
    return make_margin(
        isolated=isolated, initial_ppm=50_000, close_fee_ppm=1_000, rows=[(10**8 * AMOUNT_ONE, 0, 10_000)]
    )


def _core(*, isolated: bool, cash: int = 10_000) -> Core:
    wide = account_limits(
        position_cap_ppm=10**8, leverage_ppm=10**8, daily_loss_ppm=10**6, drawdown_ppm=10**6
    )
    return Core(
        instrument=spx(margin=_terms(isolated=isolated)),
        account=wide,
        limits=instrument_limits(max_order_qty=10**9, max_order_value=10**20),
        source=source_limits(allow_short=True, allocation=10**20, default_stop_ppm=20_000),
        cash=cash,
    )


@pytest.mark.parametrize(
    ("isolated", "side", "cash"),
    [(True, Side.BUY, 200_000), (True, Side.SELL, 10_000), (False, Side.SELL, 10_000)],
)
def test_a_position_on_margin_leaves_by_its_stop_before_the_venue_would_take_it(
    isolated: bool, side: Side, cash: int
) -> None:
    """100,000 USD at 20x: approved with a stop 2 % away, denied with one behind the liquidation price, and
    the market walks through the stop while the account stays solvent. The paper venue takes no buy beyond
    its cash, so only shorts are larger than that."""

    async def run() -> None:
        core = _core(isolated=isolated, cash=cash)
        await core.market(100_000)
        behind = Price(100_000 - side.sign * 9_500)
        denied = await core.desk.place(core.intent(side=side, qty=Qty(10_000), stop_price=behind))
        assert isinstance(denied, Denied)
        assert denied.reason is Reason.LIQUIDATION
        approved = await core.desk.place(core.intent(side=side, qty=Qty(10_000)))
        assert isinstance(approved, Approved)
        await core.market(100_000)
        holding = core.portfolio.holdings[SPX]
        assert holding.position == side.sign * 10_000
        assert approved.attached_stop is not None
        price = 100_000
        for _ in range(40):
            if not holding.position:
                break
            price -= side.sign * 100
            await core.market(price)
            assert core.portfolio.equity > _terms(isolated=isolated).maintenance(abs(holding.value))
        assert abs(price - approved.attached_stop) <= 100
        core.portfolio.check()

    asyncio.run(run())


def test_free_margin_is_what_the_venues_cash_and_our_orders_leave() -> None:
    """5,600 USD and 500 an order: ten are open, the eleventh finds less than 550; an exit gives it back."""

    async def run() -> None:
        core = _core(isolated=False, cash=5_600)
        await core.market(100_000)
        answers: list[Approved | Denied] = []

        def entry() -> Intent:
            return core.intent(side=Side.SELL, qty=Qty(1_000), stop_price=Price(101_000))

        for _ in range(20):
            answers.append(await core.desk.place(entry()))
            await core.market(100_000)
        assert all(isinstance(each, Approved) for each in answers[:10])
        assert [each.reason for each in answers[10:] if isinstance(each, Denied)] == [Reason.MARGIN] * 10
        assert 0 < core.portfolio.free_margin < 550 * AMOUNT_ONE
        leave = await core.desk.place(core.intent(side=Side.BUY, qty=Qty(1_000)))
        assert isinstance(leave, Approved)
        assert leave.order_class is OrderClass.REDUCE
        await core.market(100_000)
        assert isinstance(await core.desk.place(entry()), Approved)

    asyncio.run(run())


def test_the_liquidation_price_is_the_tick_at_which_the_account_is_not_solvent() -> None:
    """After real fills, with fees and slippage in the cash: one tick better solvent, that tick not."""
    side = Side.SELL

    async def run() -> None:
        core = _core(isolated=False)
        await core.market(100_000)
        await core.desk.place(core.intent(side=side, qty=Qty(5_000)))
        await core.market(100_000)
        holding, portfolio = core.portfolio.holdings[SPX], core.portfolio
        price = liquidation_after(side, 0, holding, portfolio, 100_000)
        assert price is not None
        base, terms = portfolio.cross_margin(SPX), _terms(isolated=False)
        assert base == portfolio.cash
        assert not is_solvent(core.instrument, terms, holding.position, base, price)
        assert is_solvent(core.instrument, terms, holding.position, base, price + side.sign)

    asyncio.run(run())


class _Once:
    """Says LONG at its fifteenth bar, and nothing else."""

    name, instrument = BOT, SPX

    def __init__(self) -> None:
        self.bars = 0

    def on_observation(self, observation: Observation) -> Signal | None:
        """See signals.strategy."""
        self.bars += 1
        if self.bars != RANGES + 1 or not isinstance(observation, Bar):
            return None
        return Signal(
            strategy=self.name,
            instrument=self.instrument,
            event_ns=observation.seen_ns,
            direction=Direction.LONG,
            reference_price=observation.close,
            stop_price=Price(observation.close - 1_000),
            reason="because",
        )


def _pipeline(core: Core) -> Pipeline:
    stages: dict[str, Any] = {
        "portfolio": core.portfolio,
        "strategies": (_Once(),),
        "recent": RecentPrices(60 * SECOND),
        "signal_limits": SignalLimits(
            strategies={BOT: SPX}, instruments={SPX: core.instrument}, max_age_ns=SECOND, max_stop_ppm=10**6
        ),
        "limits": core.limits,
        "deploy_ppm": {BOT: 1_000},
        "memory": NoMemory(),
        "desk": core.desk,
        "exits": core.exits,
        "safety": core.safety,
        "executor": core.executor(),
        "scribe": core.scribe,
        "clock": core.clock,
    }
    return Pipeline(Stages(**stages), "test")


async def _bars(core: Core, pipeline: Pipeline, count: int, *, low: int = 0) -> None:
    for _ in range(count):
        observation = core.bar(100_000, low=100_000 - low)
        core.steps += 1
        await core.venue.step(observation, core.steps)
        await pipeline.on_observation(observation)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_signal_stands_in_the_log_with_its_advice(ranges: bool) -> None:
    """Score, size and liquidation always; stop and take profit where ranges are known."""

    async def run() -> None:
        core = Core()
        core.portfolio.holdings[SPX].series = Series(SECOND) if ranges else None
        await _bars(core, _pipeline(core), RANGES + 1, low=50)
        (signal,) = core.scribe.of("signal")
        advice = signal["advice"]
        assert advice["qty"] == "20.00"
        assert advice["bound_by"] == "VALUE_TOO_LARGE"
        assert advice["liquidation"] == ""
        assert ("stop" in advice, "take_profit" in advice) == (ranges, ranges)
        if ranges:
            assert (advice["stop"], advice["take_profit"]) == ("999.00", "1002.00")
        assert [entry["verdict"] for entry in core.scribe.of("verdict")] == ["approved"]

    asyncio.run(run())


def test_a_signal_without_limits_has_no_advice_and_is_denied() -> None:
    """The gate says NO_LIMIT; nothing is invented before."""

    async def run() -> None:
        core = Core(with_limits=False)
        await _bars(core, _pipeline(core), RANGES + 1)
        (signal,) = core.scribe.of("signal")
        assert "advice" not in signal
        assert core.scribe.of("verdict")[0]["reason"] == "NO_LIMIT"

    asyncio.run(run())


def test_proposals_are_noted_once_a_day_and_never_become_orders() -> None:
    """2 % and more because the cap was tightened: said on the first bar of each day of the market's."""

    async def run() -> None:
        core = Core()
        await core.hold_position(1_900)
        core.limits = replace(core.limits, account=account_limits(position_cap_ppm=10_000))
        pipeline = _pipeline(core)
        pipeline._s = replace(pipeline._s, limits=core.limits)
        await _bars(core, pipeline, 3)
        told = core.scribe.of("rebalance")
        assert told == [{"instrument": "SPX", "side": Side.SELL, "why": "POSITION_CAP", "qty": "9.01"}]
        core.clock.utc += 86_400 * SECOND
        await _bars(core, pipeline, 3)
        assert len(core.scribe.of("rebalance")) == 2
        assert core.portfolio.holdings[SPX].position == 1_900
        assert [order.order_class for order in core.orders.live()] == [OrderClass.PROTECTIVE]

    asyncio.run(run())


def test_books_that_do_not_add_up_stop_the_flow_with_an_invariant_error() -> None:
    """What the core trips INVARIANT for: cash that moved by itself, found when the venue's fill is booked."""

    async def run() -> None:
        core = Core()
        await core.hold_position(100)
        core.portfolio.cash += 1
        await core.desk.place(core.intent())
        with pytest.raises(InvariantError, match="cash"):
            await core.market(100_000)

    asyncio.run(run())


def test_a_fill_the_venue_repeats_under_another_order_is_no_second_fill() -> None:
    """The order book refuses the trade id, and the ledger would too."""

    async def run() -> None:
        core = Core()
        await core.hold_position(100)
        (event,) = [e for e in core.engine.ledger.log if isinstance(e, Filled)]
        change = core.orders.apply(event)
        assert "reported before" in change.problem
        with pytest.raises(InvariantError, match="booked before"):
            core.portfolio.apply_fill(event.fill, SourceId("other"))
        core.portfolio.apply_fill(replace(event.fill, trade_id=TradeId("another")), BOT)

    asyncio.run(run())
