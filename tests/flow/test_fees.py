"""Fees through the whole flow: a schedule that stops coming, a venue that charges otherwise, a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from appliance.domain.fees import FeeSchedule
from appliance.domain.ids import OrderId, RunId, TradeId
from appliance.domain.intent import Intent, OrderType, Side
from appliance.domain.money import AMOUNT_ONE, Amount, Ppm, Price, Qty
from appliance.domain.reasons import Reason
from appliance.domain.signal import Direction, Signal
from appliance.domain.verdict import Approved, Denied, OrderClass
from appliance.orders.fees import FeeBook
from appliance.pipeline import Pipeline, Stages
from appliance.portfolio.portfolio import Portfolio
from appliance.runtime.fee_refresh import ASK_S, FIRST_S, FeeRefresh
from appliance.runtime.no_memory import NoMemory
from appliance.runtime.restore import Restored, RunRecord, restore
from appliance.runtime.scribe import CoreScribe
from appliance.storage.log_client import LogClient, LogSettings
from appliance.validation.recent import RecentPrices
from appliance.validation.signals import SignalLimits
from appliance.venues.paper_engine import PaperEngine
from appliance.venues.paper_inprocess import InProcessPaper
from tests.audit_support import new_log, run
from tests.fee_kit import DAY_NS, FaultyFees, schedule, tier, usd
from tests.kit import BOT, SECOND, SPX, Core, FakeScribe, account_limits, instrument_limits, source_limits


def _with_terms(core: Core, **terms: Any) -> None:
    """Another venue behind the same core, before anything was traded."""
    core.terms = replace(core.terms, **terms)
    core.engine = PaperEngine("test", [core.instrument], core.terms)
    core.venue = InProcessPaper(core.engine, lambda order: None)
    core.desk._venue = core.desk._sender._venue = core.venue


def _refresh(core: Core) -> tuple[FaultyFees, FeeRefresh]:
    faulty = FaultyFees(core.venue)
    return faulty, FeeRefresh(faulty, core.fees, core.clock, core.scribe)


def _four(core: Core) -> dict[OrderClass, Intent]:
    """One wish of each class, of a core that holds 10.00."""
    stop = {"order_type": OrderType.STOP, "stop_price": Price(95_000), "protects": OrderId("il-entry")}
    return {
        OrderClass.INCREASE: core.intent(),
        OrderClass.REDUCE: core.intent(side=Side.SELL, qty=Qty(400)),
        OrderClass.PROTECTIVE: core.intent(side=Side.SELL, qty=Qty(1_000), **stop),
        OrderClass.CANCEL: core.cancel(),
    }


def _denied(core: Core) -> dict[OrderClass, Reason]:
    """Which class is denied now, and why."""
    verdicts = {name: core.gate.check(intent) for name, intent in _four(core).items()}
    return {name: verdict.reason for name, verdict in verdicts.items() if isinstance(verdict, Denied)}


def test_a_schedule_that_stops_coming_keeps_entries_out_and_traps_no_exit() -> None:
    """FEE-03: at five minutes the last entry passes, a nanosecond later none; every exit all the while."""

    async def story() -> None:
        core = Core()
        await core.hold_position(1_000)
        faulty, refresh = _refresh(core)
        core.fees.until_ns = 0
        assert _denied(core) == {OrderClass.INCREASE: Reason.FEES_MISSING}
        assert await refresh.once()
        assert _denied(core) == {}
        for fault in ("away", "wrong"):
            faulty.fault = fault
            core.clock.mono += 150 * SECOND
            assert not await refresh.once()
            assert core.fees.problem
            assert _denied(core) == {}
        core.clock.mono += 1
        assert _denied(core) == {OrderClass.INCREASE: Reason.FEES_STALE}
        core.clock.mono += 86_400 * SECOND
        assert _denied(core) == {OrderClass.INCREASE: Reason.FEES_STALE}
        faulty.fault = ""
        assert await refresh.once()
        assert _denied(core) == {}
        assert core.fees.problem == ""
        assert refresh._untold is None, "the schedule is the one that was known"

    asyncio.run(story())


def test_the_age_counts_from_the_question() -> None:
    """An answer that took 200 s may be 200 s old."""

    class Slow(FaultyFees):
        async def fees(self) -> FeeSchedule:
            core.clock.mono += 200 * SECOND
            return await super().fees()

    core = Core()
    refresh = FeeRefresh(Slow(core.venue), core.fees, core.clock, core.scribe)
    asked_ns = core.clock.mono
    assert asyncio.run(refresh.once())
    assert core.fees.until_ns == asked_ns + 300 * SECOND


def test_a_venue_that_never_answers_is_no_answer() -> None:
    """The question ends by itself; nothing waits for it."""
    core = Core()
    faulty, refresh = _refresh(core)
    faulty.fault = "silent"
    assert asyncio.run(refresh.once(0.01)) is False
    assert "within 0.01 s" in core.fees.problem
    assert FIRST_S <= 1 < ASK_S, "a start waits a second at most: exits come before fees"


def test_asked_every_minute_and_sooner_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """60 s, and 5 s while no answer comes."""
    core = Core()
    faulty, refresh = _refresh(core)
    faults = ["", "away", "wrong", ""]  # what the questions after the first meet
    slept: list[float] = []

    class EndError(Exception):
        """Of the test."""

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) > len(faults):
            raise EndError
        faulty.fault = faults[len(slept) - 1]

    assert asyncio.run(refresh.once())
    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(EndError):
        asyncio.run(refresh.run())
    assert slept == [60.0, 60.0, 5.0, 5.0, 60.0]
    assert faulty.asked == 5
    assert core.scribe.of("fees") == []
    fresh = FeeRefresh(faulty, FeeBook(), core.clock, core.scribe)
    slept.clear()
    with pytest.raises(EndError):
        asyncio.run(fresh.run())
    assert slept == [5.0, 60.0, 5.0, 5.0, 60.0], "a core that knows no schedule asks again soon"
    assert len(core.scribe.of("fees")) == 1


def test_a_schedule_is_in_the_log_when_it_is_new_or_changed() -> None:
    """An auditor sees by which rates a fill was judged."""

    async def story() -> None:
        core = Core()
        _, refresh = _refresh(core)
        await refresh.once()
        core.engine.ledger.fees = schedule(tier(0, -250, 750), tier(9, 1, 2, 3), unit=Amount(100))
        await refresh.once()
        await refresh.once()
        assert core.scribe.of("fees") == [], "not before the start's own entries"
        running = asyncio.create_task(refresh.run())
        await asyncio.sleep(0)
        running.cancel()
        (told,) = core.scribe.of("fees")
        assert told == {
            "tiers": [
                {"volume_from": "0", "maker_ppm": "-250", "taker_ppm": "750", "discount_ppm": "0"},
                {"volume_from": "90000000000", "maker_ppm": "1", "taker_ppm": "2", "discount_ppm": "3"},
            ],
            "unit": "0.0000000100",
            "network_fee": "0.0000000000",
            "window_days": 30,
            "rounding": "up, per fill",
        }

    asyncio.run(story())


@pytest.mark.parametrize(("taker_ppm", "told"), [(1_000, False), (1_001, True), (999, True), (-500, True)])
def test_what_was_charged_is_booked_and_a_difference_is_said(taker_ppm: int, told: bool) -> None:
    """FEE-10: never silently corrected. The books stay the venue's, to the last unit."""

    async def story() -> None:
        core = Core()
        core.engine.ledger.fees = schedule(tier(0, 0, taker_ppm))
        await core.hold_position(1_000)
        (data,) = core.scribe.of("fill")
        value = core.instrument.notional(100_010, 1_000)
        assert core.portfolio.fees == value * taker_ppm // 10**6
        assert data["fee_expected"] == "10.0010000000"
        problems = core.scribe.of("venue")
        assert [each["problem"] for each in problems] == ["the fee is not the schedule's"] * told
        assert [(each["trade"], each["charged"], each["expected"]) for each in problems] == [
            (data["trade"], data["fee"], "10.0010000000")
        ] * told
        assert core.fees.mismatches == told
        assert core.portfolio.disagreement(core.engine.ledger.account()) == ""
        core.portfolio.check()
        assert not core.guard.requests, "a wrong fee is no reason to stop selling"

    asyncio.run(story())


def test_a_fill_without_a_schedule_is_booked_and_counted() -> None:
    """An exit may fill while nothing is known about fees: it is not held up, and nothing is made up."""

    async def story() -> None:
        core = Core()
        await core.hold_position(1_000)
        core.fees.until_ns = 0
        await core.desk.place(core.intent(side=Side.SELL, qty=Qty(1_000)))
        await core.market(100_000)
        assert core.portfolio.holdings[SPX].position == 0
        assert [each["fee_expected"] for each in core.scribe.of("fill")] == ["10.0010000000", ""]
        assert (core.fees.unchecked, core.fees.mismatches) == (1, 0)
        assert not core.scribe.of("venue")

    asyncio.run(story())


def test_an_entry_tells_what_it_will_cost_and_an_exit_does_not_wait_for_it() -> None:
    """The estimate stands beside the verdict; denials and exits have none."""

    async def story() -> None:
        core = Core()
        await core.hold_position(1_000)
        await core.desk.place(core.intent(side=Side.SELL, qty=Qty(10)))
        await core.desk.place(core.intent(qty=Qty(10**6)))
        entry, leave, denied = core.scribe.of("verdict")
        assert entry["cost"]["fee"] == "10.0000000000"
        assert entry["cost"]["break_even"] == "1002.01"  # 10,010 / 0.999 = 10,020.02 for ten
        assert (leave["class"], leave["verdict"]) == ("REDUCE", "approved")
        assert denied["verdict"] == "denied"
        assert "cost" not in leave
        assert "cost" not in denied

    asyncio.run(story())


def test_the_slippage_of_ended_orders_is_learned() -> None:
    """Half a spread at each fill, nothing of it visible in a bar: after eight orders it is predicted."""

    async def story() -> None:
        core = Core()
        await core.market(100_000)
        for _ in range(9):
            await core.desk.place(core.intent(qty=Qty(10)))
            await core.market(100_000)
        told = [each["cost"] for each in core.scribe.of("verdict")]
        assert {(each["slippage_ppm"], each["slippage_error_ppm"]) for each in told[:8]} == {("0", "unknown")}
        assert (told[8]["slippage_ppm"], told[8]["slippage_error_ppm"]) == ("100", "100")
        assert [each["slippage_samples"] for each in told] == [*range(8), 8]
        assert not core.desk.costs._followed

    asyncio.run(story())


def test_a_cancelled_order_is_forgotten() -> None:
    """It taught nothing and is followed no longer."""

    async def story() -> None:
        core = Core()
        await core.market(100_000)
        await core.desk.place(core.intent(qty=Qty(10)))
        assert len(core.desk.costs._followed) == 1
        await core.desk.cancel(next(core.orders.live()))
        await core.market(100_000)
        assert not core.desk.costs._followed

    asyncio.run(story())


def _pipeline(core: Core, deploy_ppm: int) -> Pipeline:
    limits = SignalLimits(
        strategies={BOT: SPX}, instruments={SPX: core.instrument}, max_age_ns=SECOND, max_stop_ppm=10**6
    )
    return Pipeline(
        Stages(
            portfolio=core.portfolio,
            strategies=(),
            recent=RecentPrices(60 * SECOND),
            signal_limits=limits,
            limits=core.limits,
            deploy_ppm={BOT: deploy_ppm},
            memory=NoMemory(),
            desk=core.desk,
            exits=core.exits,
            executor=core.executor(),
            safety=core.safety,
            scribe=core.scribe,
            clock=core.clock,
        ),
        "test",
    )


@pytest.mark.parametrize(
    ("deploy_ppm", "network_fee", "qty"),
    [(1_000_000, "0", 199), (1_000_000, "9", 198), (500_000, "0", 100), (995_000, "0", 199)],
)
def test_an_entry_leaves_room_for_its_own_fee(deploy_ppm: int, network_fee: str, qty: int) -> None:
    """2,000 of allocation buy 1.99 at 1,000: 1,990 and 1.99 of fee. A hundredth more would be denied."""

    async def story() -> None:
        core = Core(source=source_limits(allocation=Amount(2_000 * AMOUNT_ONE)))
        core.fees.take(schedule(tier(0, 0, 1_000), network_fee=usd(network_fee)), core.clock.mono)
        await core.market(100_000)
        signal = Signal(
            strategy=BOT,
            instrument=SPX,
            direction=Direction.LONG,
            event_ns=core.clock.utc,
            reference_price=Price(100_000),
            stop_price=Price(95_000),
            reason="test",
        )
        wish = _pipeline(core, deploy_ppm)._entry(signal)
        assert wish.qty == qty
        assert isinstance(core.gate.check(wish), Approved)
        if deploy_ppm == 1_000_000:
            more = core.gate.check(replace(wish, qty=Qty(qty + 1)))
            assert isinstance(more, Denied)
            assert more.reason is Reason.ALLOCATION
            assert "fees" in more.detail

    asyncio.run(story())


def test_the_pipeline_shows_the_market_to_the_slippage_model() -> None:
    """Live and in warm-up: a restarted core has seen the same bars."""

    async def story() -> None:
        core = Core()
        pipeline = _pipeline(core, 0)
        bar = replace(core.bar(100_000, low=99_000, high=101_000), volume=5_000)
        pipeline.warm_up(bar, ())
        assert core.desk.costs._model(SPX)._volume == 5_000
        await core.venue.step(bar, 1)
        await pipeline.on_observation(replace(bar, volume=7_000))
        assert core.desk.costs._model(SPX)._volume == 7_000

    asyncio.run(story())


async def _log(settings: LogSettings, scribe: FakeScribe) -> None:
    """Writes what the core noted into a real log."""
    client = await LogClient.start(settings)
    writer = CoreScribe(client)
    tickets = [writer.note(kind, data, orders=orders) for kind, data, orders in scribe.entries]
    await tickets[-1].durable()
    await client.aclose()


def _restored(settings: LogSettings) -> Restored:
    record = RunRecord(run=RunId("run-test"), account="test", feed="", index=0, finished=False)
    return restore(settings.directory, record)


async def _trade(core: Core, days: range, act: Callable[[int], Intent]) -> None:
    """One order a day, filled at the day's next bar."""
    for day in days:
        await core.desk.place(act(day))
        core.clock.utc = day * DAY_NS + SECOND
        await core.market(100_000 + 50 * day)


TIERS = (tier(1_500, -300, 800), tier(4_000, -400, 600))


def test_a_restart_restores_the_same_profit_and_the_same_tier(tmp_path: Path) -> None:
    """From the log alone: every fee as charged, and the volume that decides what the next fill costs."""
    settings = new_log(tmp_path)
    core = Core(
        limits=instrument_limits(max_price_age_ns=10**18), account=account_limits(max_equity_age_ns=10**18)
    )
    _with_terms(core, tiers=TIERS, network_fee=usd("0.25"), maker_fee_ppm=Ppm(-250))

    def wish(day: int) -> Intent:
        return core.intent(side=Side.SELL if day % 3 == 2 else Side.BUY, qty=Qty(200 if day % 3 else 300))

    async def before() -> None:
        await core.market(100_000)
        await _refresh(core)[1].once()
        core.fees.until_ns = 2**62
        await _trade(core, range(21, 27), wish)
        await _log(settings, core.scribe)

    run(before())
    assert core.fees.mismatches == core.fees.unchecked == 0
    restored = _restored(settings)
    fills = [fill for _, fill in restored.fills]
    assert len(fills) == 6
    again = Portfolio([core.instrument], core.portfolio.capital, {BOT: Amount(1_000_000 * AMOUNT_ONE)})
    book = FeeBook()
    for source, fill in restored.fills:
        again.apply_fill(fill, source)
        book.remember(fill, core.instrument)
    _assert_same_books(again, core.portfolio)
    assert again.disagreement(core.engine.ledger.account()) == ""
    book.take(core.engine.ledger.fees, core.clock.mono)
    _next_fill_is_expected(core, book, {fill.trade_id for fill in fills})


def _assert_same_books(again: Portfolio, first: Portfolio) -> None:
    """P&L, realised and not, fees and cash, of the account and of the source."""
    assert (again.cash, again.fees) == (first.cash, first.fees)
    lots, same = again.holdings[SPX].lots, first.holdings[SPX].lots
    assert (lots.quantity, lots.cost, lots.realised) == (same.quantity, same.cost, same.realised)
    assert same.realised != 0
    assert again.sources[BOT].fees == first.sources[BOT].fees == first.fees
    assert lots.unrealised(100_000) == same.unrealised(100_000)


def _next_fill_is_expected(core: Core, book: FeeBook, known: set[TradeId]) -> None:
    """The restarted core computes what the venue charges on the day after, at the third tier."""
    core.desk.costs.fees = book
    run(_trade(core, range(27, 28), lambda day: core.intent(qty=Qty(100))))
    (data,) = [each for each in core.scribe.of("fill") if each["trade"] not in known]
    assert data["fee"] == data["fee_expected"]
    value = core.instrument.notional(int(data["raw"]["price"]), 100)
    assert int(data["raw"]["fee"]) == -(-value * 600 // 10**6) + usd("0.25")
    assert book.mismatches == book.unchecked == 0
