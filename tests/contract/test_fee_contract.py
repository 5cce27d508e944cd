"""What a venue promises about fees, asked of the paper venue in process and over its HTTP API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from msgspec.structs import replace

from appliance.domain.errors import PeerError, TransportError
from appliance.domain.fees import FeeSchedule
from appliance.domain.intent import OrderType, Side
from appliance.domain.money import Amount, Ppm, Price, Qty
from appliance.domain.observation import Bar
from appliance.domain.order import Fill, Filled
from appliance.domain.verdict import Approved
from appliance.orders.fees import FeeBook
from appliance.runtime.clock import WallClock
from appliance.venues.paper_client import PaperClient
from appliance.venues.paper_engine import PaperEngine
from appliance.venues.paper_inprocess import InProcessPaper
from appliance.venues.paper_server import PaperServer
from appliance.venues.paper_terms import PaperTerms, make_fees
from tests.fee_kit import DAY_NS, FaultyFees, tier, usd
from tests.flow.test_wire_door import serving
from tests.kit import SPX, Core, instrument_limits

VENUES = ("in process", "http")
TERMS: dict[str, Any] = {
    "maker_fee_ppm": Ppm(-250),
    "taker_fee_ppm": Ppm(1_000),
    "tiers": (tier(1_500, -300, 800), tier(4_000, -400, 600)),
    "network_fee": usd("0.25"),
    "fee_unit": Amount(100),
}


class Venue:
    """One account on one kind of venue, traded through the gate of a core; prices are those of bars."""

    def __init__(self, core: Core, paper: InProcessPaper | PaperClient) -> None:
        self.core = core
        self.paper = paper
        self.steps = 0
        self.fills: list[Fill] = []
        self.cash = 0

    async def bar(self, price: int, *, day: int = 0, low: int = 0) -> list[Fill]:
        """A bar of one second on a day; returns the new fills, each held against the venue's schedule."""
        self.steps += 1
        seen_ns = day * DAY_NS + self.steps * 10**9
        prices = {"open": Price(price), "high": Price(price), "close": Price(price)}
        bar = Bar(
            instrument=SPX,
            event_ns=seen_ns - 10**9,
            seen_ns=seen_ns,
            low=Price(low or price),
            volume=0,
            **prices,
        )
        await self.paper.step(bar, self.steps)
        new = []
        for event in await self.paper.events():
            if isinstance(event, Filled):
                new.append(event.fill)
                self.cash = event.cash_after
        self.fills += new
        return new

    async def order(self, side: Side = Side.BUY, qty: int = 100, price: int | None = None) -> None:
        """A market order, or a limit order at this price."""
        kind = OrderType.MARKET if price is None else OrderType.LIMIT
        limit = None if price is None else Price(price)
        stop = None if price is None else Price(92_000)
        wish = self.core.intent(side=side, qty=Qty(qty), order_type=kind, price=limit, stop_price=stop)
        approved = self.core.gate.check(wish)
        assert isinstance(approved, Approved), approved
        await self.paper.submit(approved)

    def checked(self) -> FeeBook:
        """Every fill so far against what our own computation expects."""
        book = FeeBook()
        book.take(make_fees(self.core.terms), 1)
        seen: set[str] = set()
        for each in self.fills:
            check = book.check(each, self.core.instrument, first=each.order_id not in seen, now_ns=1)
            assert check.expected == each.fee, each
            seen.add(each.order_id)
        return book


@asynccontextmanager
async def venue(kind: str, folder: Path, **terms: Any) -> AsyncIterator[Venue]:
    """An account with these terms; the core's gate only shapes orders."""
    core = Core(limits=instrument_limits(max_order_value=10**18))
    await core.market(100_000)
    core.terms = replace(core.terms, **(TERMS | terms))
    if kind == "in process":
        engine = PaperEngine("acct", [core.instrument], core.terms)
        yield Venue(core, InProcessPaper(engine, lambda order: None))
        return
    server = PaperServer([core.instrument], core.terms, folder / "orders.jsonl", WallClock())
    async with (
        serving(server.app()) as url,
        PaperClient(url, "acct", lambda order: None, WallClock()) as client,
    ):
        await client.open()
        yield Venue(core, client)


def both(
    **terms: Any,
) -> Callable[[Callable[[Venue], Coroutine[Any, Any, None]]], Callable[[str, Path], None]]:
    """Tells the same story to either venue, with these terms."""

    def decorate(story: Callable[[Venue], Coroutine[Any, Any, None]]) -> Callable[[str, Path], None]:
        @pytest.mark.parametrize("kind", VENUES)
        def test(kind: str, tmp_path: Path) -> None:
            async def run() -> None:
                async with venue(kind, tmp_path, **terms) as made:
                    await story(made)

            asyncio.run(run())

        test.__doc__ = story.__doc__
        return test

    return decorate


@both()
async def test_the_schedule_is_served(made: Venue) -> None:
    """The schedule that is told is the one of the terms, tiers, rebate, unit and network fee included."""
    told = await made.paper.fees()
    assert told == make_fees(made.core.terms)
    assert [each.taker_ppm for each in told.tiers] == [1_000, 800, 600]
    assert (told.tiers[0].maker_ppm, told.network_fee, told.unit) == (-250, usd("0.25"), 100)
    assert await made.paper.fees() == told


@both(depth_value=Amount(1_001 * 10**10))
async def test_a_market_order_takes(made: Venue) -> None:
    """A market order that walks the book takes with every fill, and pays the network fee with the first."""
    await made.bar(100_000)
    await made.order(qty=150)
    fills = await made.bar(100_000)
    assert [(each.qty, each.maker) for each in fills] == [(100, False), (50, False)]
    values = [made.core.instrument.notional(each.price, each.qty) for each in fills]
    assert [each.fee for each in fills] == [values[0] // 1_000 + usd("0.25"), values[1] // 1_000]
    start = made.core.terms.start_cash
    assert made.cash == start - sum(values) - sum(each.fee for each in fills)
    assert (made.checked().mismatches, made.checked().unchecked) == (0, 0)


@both()
async def test_a_marketable_limit_is_a_taker(made: Venue) -> None:
    """P22: a limit order that reaches the other side takes, whatever its type says."""
    await made.bar(100_000)
    await made.order(price=100_500)
    (fill,) = await made.bar(100_000)
    assert (fill.maker, fill.price) == (False, 100_010)
    assert fill.fee == 100_010 * 10**8 // 1_000 + usd("0.25")


@both()
async def test_a_resting_order_earns_its_rebate(made: Venue) -> None:
    """A limit order that rested is paid a rebate, less the network fee; rounded against us."""
    await made.bar(100_000)
    await made.order(price=99_000, qty=101)
    assert await made.bar(100_000) == []
    (fill,) = await made.bar(100_000, low=98_000)
    assert (fill.maker, fill.price) == (True, 99_000)
    assert fill.fee == usd("0.25") - usd("0.249975")
    made.checked()


@both()
async def test_volume_lowers_the_fees_of_the_next_day(made: Venue) -> None:
    """What was traded on a day lowers the fees of the next one, and of none of its own fills."""
    await made.bar(100_000)
    rates = []
    for day in (0, 0, 1, 2, 3, 40):
        await made.order()
        (fill,) = await made.bar(100_000, day=day)
        rates.append((fill.fee - usd("0.25")) * 10**6 // made.core.instrument.notional(fill.price, fill.qty))
    assert rates == [1_000, 1_000, 800, 800, 600, 1_000]
    made.checked()


@pytest.mark.parametrize("kind", VENUES)
@pytest.mark.parametrize(
    ("fault", "error"), [("away", TransportError), ("wrong", PeerError), ("silent", TimeoutError)]
)
def test_a_schedule_that_does_not_come(kind: str, fault: str, error: type[Exception], tmp_path: Path) -> None:
    """The switch in front of either venue: what is asked meets the fault, and the venue goes on trading."""

    async def run() -> None:
        async with venue(kind, tmp_path) as made:
            faulty = FaultyFees(made.paper)
            faulty.fault = fault
            with pytest.raises(error):
                async with asyncio.timeout(0.01 if fault == "silent" else 60):
                    await faulty.fees()
            await made.bar(100_000)
            await made.order()
            assert len(await made.bar(100_000)) == 1
            faulty.fault = ""
            assert await faulty.fees() == make_fees(made.core.terms)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, "{}"),
        (404, "nobody"),
        (200, ""),
        (200, "{}"),
        (200, '{"tiers":[]}'),
        (200, '{"tiers":[{"volume_from":0,"maker_ppm":1.5,"taker_ppm":1}]}'),
        (200, '{"tiers":[{"volume_from":0,"maker_ppm":0,"taker_ppm":900000}]}'),
        (200, '{"tiers":[{"volume_from":7,"maker_ppm":0,"taker_ppm":1}]}'),
        (200, "[" * 10_000),
    ],
)
def test_an_answer_that_is_no_schedule_is_the_peers_mistake(status: int, body: str) -> None:
    """Nothing of it is used; over HTTP anything can come back."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, text=body)

    async def run() -> FeeSchedule:
        app = web.Application()
        app.router.add_get("/v1/acct/fees", answer)
        async with (
            serving(app) as url,
            PaperClient(url, "acct", lambda order: None, WallClock()) as client,
        ):
            return await client.fees()

    with pytest.raises(PeerError):
        asyncio.run(run())


def test_nobody_listening_is_a_transport_error() -> None:
    """The edge says which kind of wrong it is."""

    async def run() -> None:
        async with PaperClient("http://127.0.0.1:9", "acct", lambda order: None, WallClock()) as client:
            await client.fees()

    with pytest.raises(TransportError):
        asyncio.run(run())


def test_terms_nobody_could_charge_by_open_no_venue() -> None:
    """Found when the venue starts, not with the first fill."""
    core = Core()
    wrong = PaperTerms(**{name: getattr(core.terms, name) for name in core.terms.__struct_fields__} | {
        "tiers": (tier(0, 0, 0),)
    })  # fmt: skip
    with pytest.raises(ValueError, match="rising from volume 0"):
        PaperEngine("acct", [core.instrument], wrong)


def test_the_venue_keeps_its_volume_over_a_restart(tmp_path: Path) -> None:
    """Its journal is replayed: the tier of the day after is the same."""

    async def trade(made: Venue, day: int) -> Fill:
        await made.order()
        (fill,) = await made.bar(100_000, day=day)
        return fill

    async def run() -> None:
        async with venue("http", tmp_path) as made:
            await made.bar(100_000)
            await trade(made, 0)
            await trade(made, 0)
        async with venue("http", tmp_path) as again:
            again.steps, again.core.number = 3, 100
            assert len([e for e in await again.paper.events() if isinstance(e, Filled)]) == 2
            fill = await trade(again, 1)
            assert fill.fee == 100_010 * 10**8 * 800 // 10**6 + usd("0.25")

    asyncio.run(run())
