"""Several sources in one instrument: an exit is no larger than what the account has to close (SAFETY 2, 7).

A larger one would turn the account; the gate calls that an entry and denies it whole, so nothing would leave.
"""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from appliance.domain.ids import InstrumentId, SourceId
from appliance.domain.intent import ListKind, OrderType, Side
from appliance.domain.mode import Mode
from appliance.domain.money import Ppm, Price, Qty
from appliance.domain.order import Order, OrderState
from appliance.domain.verdict import Approved, ApprovedList, OrderClass
from appliance.portfolio.correlation import CorrelationTerms
from tests.kit import BOT, SECOND, SPX, Core, source_limits, spx
from tests.risk_kit import instrument

FUT, OTHER = InstrumentId("FUT"), SourceId("other")


async def _core(held: int, opposite: int) -> Core:
    """BOT is long with a stop, OTHER short; the account holds the difference."""
    limits = source_limits(allow_short=True)
    core = Core(source=limits, beside={OTHER: limits})
    await core.hold_position(held)
    if opposite:
        sale = core.intent(source=OTHER, side=Side.SELL, qty=Qty(opposite))
        assert isinstance(await core.desk.place(sale), Approved)
        await core.market(100_000)
    sources = [(source, quantity) for source, _, quantity in core.portfolio.held()]
    assert sources == [(BOT, held), (OTHER, -opposite)][: 1 + bool(opposite)]
    core.safety.mode = Mode.EMERGENCY
    return core


def _sent(core: Core) -> list[int]:
    """Quantities of the exits at the venue, in order; and none was denied."""
    assert [data for data in core.scribe.of("verdict") if data["verdict"] == "denied"] == []
    exits = (each.request for each in core.engine.ledger.orders.values() if each.request.reduce_only)
    return [request.qty for request in exits if request.order_type is not OrderType.STOP]


def _legs(core: Core) -> list[Order]:
    return core.orders.protective(SPX, BOT)


@pytest.mark.safety("S7.2")
@pytest.mark.parametrize("opposite", [1, 400, 999])
def test_an_account_whose_sources_hold_both_sides_is_liquidated(opposite: int) -> None:
    """10.00 long and something short: the difference leaves at once, and then the account is flat."""

    async def story() -> None:
        core = await _core(1_000, opposite)
        await core.exits.leave_everything("liquidate")
        await core.market(100_000)
        assert _sent(core) == [opposite, 1_000 - opposite]
        assert core.portfolio.is_flat()
        assert list(core.orders.live()) == []
        await core.exits.mend()
        await core.exits.leave_everything("liquidate")
        assert list(core.orders.live()) == [], "there is nothing left that an exit or a leg could close"

    asyncio.run(story())


@pytest.mark.safety("S7.2")
def test_an_exit_of_another_that_rests_cannot_keep_a_liquidation_away() -> None:
    """OTHER holds nothing and rests a sale of all of BOT's 10.00: it is cancelled, and BOT's leave."""

    async def story() -> None:
        core = await _core(1_000, 0)
        rests = {"side": Side.SELL, "order_type": OrderType.LIMIT, "price": Price(104_000)}
        greedy = await core.desk.place(core.intent(source=OTHER, qty=Qty(1_000), **rests))
        assert isinstance(greedy, Approved)
        assert greedy.order_class is OrderClass.REDUCE
        await core.desk.collect()
        await core.exits.leave_everything("liquidate")
        order = core.orders.get(greedy.order_id)
        assert order is not None
        assert order.state is OrderState.CANCELED
        await core.exits.leave_everything("liquidate")
        await core.market(100_000)
        assert core.portfolio.is_flat()

    asyncio.run(story())


def test_a_share_leaves_and_its_leg_comes_back_for_what_the_account_still_holds() -> None:
    """A quarter of 10.00; of the 6.00 of the account 3.50 stay, and are protected."""

    async def story() -> None:
        core = await _core(1_000, 400)
        await core.exits.leave_everything("reduce", 250_000)
        assert _sent(core) == [400, 250]
        assert [leg.qty for leg in _legs(core)] == [350]
        await core.market(100_000)
        assert core.portfolio.holdings[SPX].position == 350

    asyncio.run(story())


@pytest.mark.parametrize(
    ("rests", "exit_qty"), [(0, 1_000), (1, 999), (900, 100), (901, None), (999, None), (1_000, None)]
)
def test_what_others_have_working_is_left_to_them(rests: int, exit_qty: int | None) -> None:
    """Their exits rest at the venue and count; less than the smallest order is left alone. What this source
    does not ask to leave keeps its leg."""

    async def story() -> None:
        core = await _core(1_000, 0)
        if rests:
            limit = {"order_type": OrderType.LIMIT, "price": Price(104_000)}
            wish = core.intent(source=OTHER, side=Side.SELL, qty=Qty(rests), **limit)
            verdict = await core.desk.place(wish)
            assert isinstance(verdict, Approved)
            assert verdict.order_class is OrderClass.REDUCE
        core.portfolio.sources[BOT].lots[SPX].instrument = spx(min_qty=100)
        await core.exits.leave_everything("liquidate")
        sent = [qty for qty in (rests, exit_qty) if qty]
        assert _sent(core) == sent
        left = 1_000 - (exit_qty or 0)
        assert [leg.qty for leg in _legs(core)] == ([left] if left else [])

    asyncio.run(story())


def test_sources_on_one_side_keep_legs_of_their_own_size() -> None:
    """What the account holds beside it is no reason to protect more than the source holds."""

    async def story() -> None:
        core = await _core(1_000, 0)
        core.safety.mode = Mode.NORMAL
        assert isinstance(await core.desk.place(core.intent(source=OTHER, qty=Qty(400))), Approved)
        await core.market(100_000)
        core.safety.mode = Mode.REDUCED
        await core.exits.leave_everything("reduce", 250_000)
        assert _sent(core) == [250, 100]
        assert [leg.qty for leg in _legs(core)] == [750]

    asyncio.run(story())


def test_an_exit_of_its_own_that_rests_gives_way() -> None:
    """It is cancelled for the one that does not rest, and takes nothing from it."""

    async def story() -> None:
        core = await _core(1_000, 400)
        limit = {"order_type": OrderType.LIMIT, "price": Price(104_000)}
        verdict = await core.desk.place(core.intent(side=Side.SELL, qty=Qty(600), **limit))
        assert isinstance(verdict, Approved)
        await core.exits.leave_everything("liquidate")
        assert _sent(core) == [400, 600, 600]
        await core.market(100_000)
        assert core.portfolio.is_flat()

    asyncio.run(story())


def test_another_instrument_is_another_matter() -> None:
    """Long here and short there: both leave whole."""

    async def story() -> None:
        limits = source_limits(allow_short=True, instruments=frozenset({SPX, FUT}))
        terms = CorrelationTerms(limit_ppm=Ppm(10**6), interval_ns=SECOND, window=3, sample=3)
        core = Core(also=[instrument(FUT)], source=limits, beside={OTHER: limits}, correlation=terms)
        await core.market(100_000)
        await _bar(core, FUT)
        for source, symbol, side in ((BOT, SPX, Side.BUY), (OTHER, FUT, Side.SELL)):
            wish = core.intent(source=source, instrument=symbol, side=side, qty=Qty(500))
            assert isinstance(await core.desk.place(wish), Approved)
        await _bar(core, FUT)
        await core.market(100_000)
        await core.exits.leave_everything("liquidate")
        assert _sent(core) == [500, 500]

    asyncio.run(story())


def test_a_leg_that_is_put_back_is_no_larger_than_the_account() -> None:
    """The exit found no buyer; meanwhile another source sold: 5.00 of the account's are left to protect."""

    async def story() -> None:
        core = await _core(1_000, 400)
        await core.exits.leave_everything("liquidate")
        await core.market(90_000)
        assert core.portfolio.holdings[SPX].position == 600, "below its collar"
        sale = core.intent(source=OTHER, side=Side.SELL, qty=Qty(100))
        assert isinstance(await core.desk.place(sale), Approved)
        await core.market(90_000)
        assert core.portfolio.holdings[SPX].position == 500
        await core.exits.mend()
        assert [data for data in core.scribe.of("verdict") if data["verdict"] == "denied"] == []
        assert [leg.qty for leg in _legs(core)] == [500]

    asyncio.run(story())


async def _bar(core: Core, symbol: InstrumentId) -> None:
    core.steps += 1
    bar = replace(core.bar(100_000), instrument=symbol)
    await core.venue.step(bar, core.steps)
    await core.desk.collect()
    core.portfolio.mark(bar)


def test_legs_of_others_that_wait_for_their_lead_take_nothing_from_an_exit() -> None:
    """Until the lead fills there is nothing they could close, and the gate does not count them either."""

    async def story() -> None:
        core = await _core(1_000, 0)
        core.safety.mode = Mode.NORMAL
        limit = {"source": OTHER, "qty": Qty(800), "order_type": OrderType.LIMIT}
        lead = core.intent(price=Price(96_000), **limit)
        profit = core.intent(side=Side.SELL, price=Price(104_000), **limit)
        assert isinstance(await core.desk.place_list(ListKind.OTO, [lead, profit]), ApprovedList)
        await core.exits.leave_everything("stopped")
        assert _sent(core) == [800, 1_000]
        await core.market(100_000)
        assert core.portfolio.is_flat()

    asyncio.run(story())


@pytest.mark.parametrize(("held", "sent"), [(100, [100]), (101, [100]), (500, [125]), (99, [])])
def test_a_share_below_the_smallest_order_is_the_smallest_order(held: int, sent: list[int]) -> None:
    """A quarter, but never less than the venue takes; what is smaller altogether is left alone."""

    async def story() -> None:
        core = await _core(held, 0)
        core.portfolio.sources[BOT].lots[SPX].instrument = spx(min_qty=100)
        await core.exits.leave_everything("reduce", 250_000)
        assert _sent(core) == sent

    asyncio.run(story())


def test_an_instrument_that_is_not_configured_is_left_alone() -> None:
    """Nobody knows what the account holds of it, and the gate would deny it."""

    async def story() -> None:
        core = await _core(100, 0)
        await core.exits.leave(BOT, instrument(FUT), 100, "liquidate")
        assert _sent(core) == []

    asyncio.run(story())
