"""The door on the wire: orders queued behind a busy connection pool do not leave after a trip (SAFETY 4).

A real loopback server, real aiohttp connections. The same 200 orders without the second look reach the
venue almost all, which is what makes the test able to fail.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from appliance.domain.errors import PeerError, TransportError
from appliance.domain.intent import Action, OrderType, Side
from appliance.domain.mode import TripReason
from appliance.domain.money import Price, Qty
from appliance.domain.order import Accepted, Filled
from appliance.domain.reasons import Reason
from appliance.domain.verdict import Approved, OrderClass
from appliance.ports import StoppedAtWire
from appliance.runtime.clock import WallClock
from appliance.venues.paper_client import PaperClient
from appliance.venues.paper_server import PaperServer
from appliance.venues.wire import make_recheck
from tests.kit import SPX, Core

ORDERS = 200


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """The application on a free loopback port."""
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        site = web.SockSite(runner, listener)
        await site.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            await runner.cleanup()


def _approvals(core: Core, count: int) -> list[Approved]:
    made = []
    for _ in range(count):
        wish = core.intent(order_type=OrderType.LIMIT, price=Price(99_000), qty=Qty(1))
        verdict = core.gate.check(wish)
        assert isinstance(verdict, Approved)
        made.append(verdict)
    return made


async def _trip_in_mid_flight(recheck: Callable[[Approved], None] | None) -> tuple[int, int, int]:
    """(arrived before the trip, arrived after it, stopped at the wire) of 200 orders on 8 connections."""
    core = Core()
    await core.market(100_000)
    arrived_before = arrived_after = 0
    tripped = asyncio.Event()
    first = asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        nonlocal arrived_before, arrived_after
        if tripped.is_set():
            arrived_after += 1
        else:
            arrived_before += 1
        if arrived_before >= 8:
            first.set()
        await tripped.wait()
        return web.json_response({"seq": 0, "events": []})

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", slow)
    recheck = recheck or make_recheck(core.latch, core.clock)
    stopped = 0
    async with serving(app) as url, PaperClient(url, "t", recheck, WallClock()) as client:

        async def send(order: Approved) -> None:
            nonlocal stopped
            try:
                await client.submit(order)
            except StoppedAtWire as refused:
                stopped += refused.reason == Reason.LATCH_MOVED

        sending = [asyncio.create_task(send(order)) for order in _approvals(core, ORDERS)]
        await first.wait()
        core.guard.trip(TripReason.KILL_BUTTON)
        tripped.set()
        await asyncio.gather(*sending)
    return arrived_before, arrived_after, stopped


@pytest.mark.safety("S4.2")
def test_nothing_leaves_after_the_latch_is_set() -> None:
    """8 are in flight when the button is pressed; the other 192 wait for a connection and stay here."""
    before, after, stopped = asyncio.run(_trip_in_mid_flight(None))
    assert (before, after, stopped) == (8, 0, ORDERS - 8)


@pytest.mark.safety("S4.2")
def test_without_the_second_look_the_queue_would_leave() -> None:
    """The control experiment: a check that only stands before the pool lets nearly everything through."""
    before, after, stopped = asyncio.run(_trip_in_mid_flight(lambda order: None))
    assert (before, stopped) == (8, 0)
    assert after == ORDERS - 8


@pytest.mark.safety("S4.2")
@pytest.mark.parametrize(
    ("order_class", "moved", "expired", "reason"),
    [
        (OrderClass.INCREASE, False, False, None),
        (OrderClass.INCREASE, True, False, Reason.LATCH_MOVED),
        (OrderClass.INCREASE, False, True, Reason.APPROVAL_EXPIRED),
        (OrderClass.REDUCE, True, False, Reason.LATCH_MOVED),
        (OrderClass.REDUCE, False, True, Reason.APPROVAL_EXPIRED),
        (OrderClass.PROTECTIVE, True, False, Reason.LATCH_MOVED),
        (OrderClass.CANCEL, True, True, None),
    ],
)
def test_the_second_look(order_class: OrderClass, moved: bool, expired: bool, reason: Reason | None) -> None:
    """Epoch and deadline bind everything but a CANCEL."""
    core = Core()
    asyncio.run(core.hold_position(1_000))
    intents = {
        OrderClass.INCREASE: core.intent(),
        OrderClass.REDUCE: core.intent(side=Side.SELL),
        OrderClass.PROTECTIVE: core.intent(
            side=Side.SELL,
            order_type=OrderType.STOP,
            stop_price=Price(90_000),
            protects=next(core.orders.live()).id,
        ),
        OrderClass.CANCEL: core.cancel(),
    }
    order = core.gate.check(intents[order_class])
    assert isinstance(order, Approved)
    assert order.order_class is order_class
    if moved:
        core.guard.trip(TripReason.TAMPER)
    core.clock.mono += 250_000_001 if expired else 250_000_000
    recheck = make_recheck(core.latch, core.clock)
    if reason is None:
        recheck(order)
    else:
        with pytest.raises(StoppedAtWire) as refused:
            recheck(order)
        assert refused.value.reason == reason


def test_an_exit_leaves_while_the_gate_is_shut() -> None:
    """Approved after the trip, in its epoch: REDUCE passes the second look."""
    core = Core()
    asyncio.run(core.hold_position(1_000))
    core.guard.trip(TripReason.KILL_BUTTON)
    order = core.gate.check(core.intent(side=Side.SELL))
    assert isinstance(order, Approved)
    make_recheck(core.latch, core.clock)(order)


def _server(tmp_path: Path, core: Core) -> PaperServer:
    return PaperServer([core.instrument], core.terms, tmp_path / "orders.jsonl", WallClock())


async def _client(url: str, after: int = 0) -> PaperClient:
    client = PaperClient(url, "acct", lambda order: None, WallClock(), after=after)
    await client.__aenter__()
    await client.open()
    return client


def test_the_paper_venues_process_keeps_everything_over_a_restart(tmp_path: Path) -> None:
    """Its journal is replayed into the same events; the judge of a killed core is not lost itself."""

    async def run() -> None:
        core = Core()
        await core.market(100_000)
        (first, second) = _approvals(core, 2)
        async with serving(_server(tmp_path, core).app()) as url:
            client = await _client(url)
            await client.step(core.bar(100_000), 1)
            await client.submit(first)
            await client.step(core.bar(98_000, low=97_000), 2)
            told = await client.events()
            assert [type(event) for event in told][:2] == [Accepted, Filled]
            account = await client.account()
            await client.__aexit__()
        async with serving(_server(tmp_path, core).app()) as url:
            again = await _client(url)
            assert list(await again.events()) == list(told)
            assert await again.account() == account
            await again.submit(second)
            assert (await again.order(second.order_id)) is not None
            assert await again.order(type(second.order_id)("il-never")) is None
            await again.__aexit__()

    asyncio.run(run())


def test_a_torn_last_line_is_cut_off_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    """A power cut tears the end; anything else is damage and is named by line."""
    from appliance.domain.errors import StoreError
    from appliance.venues.paper_journal import Journal, Opened, read_journal

    path = tmp_path / "orders.jsonl"
    journal = Journal(path)
    journal.append(Opened("a"), durable=True)
    journal.append(Opened("b"), durable=True)
    journal.close()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"type":"open","acc')
    assert list(read_journal(path)) == [Opened("a"), Opened("b")]
    assert path.read_bytes() == whole
    path.write_bytes(b"x" + whole)
    with pytest.raises(StoreError, match=r"orders\.jsonl:1"):
        list(read_journal(path))


@pytest.mark.parametrize(
    ("body", "says"),
    [(b"", "400"), (b"{}", "400"), (b"\xff", "400"), (b'{"order_id":1}', "400"), (b"[" * 5_000, "400")],
)
def test_a_bad_body_is_the_callers_mistake(tmp_path: Path, body: bytes, says: str) -> None:
    """Never 500: a 5xx would mean that the fate is unknown."""

    async def run() -> None:
        core = Core()
        async with serving(_server(tmp_path, core).app()) as url:
            client = await _client(url)
            for path in ("/orders", "/market", "/still"):
                with pytest.raises(PeerError, match=says):
                    await client._call("POST", path, body)
            await client.__aexit__()

    asyncio.run(run())


@pytest.mark.safety("S4.3")
def test_an_order_outside_its_validity_window_is_refused(tmp_path: Path) -> None:
    """Stamped when it is written, 1 s; what arrives later does not count (SAFETY 4)."""

    class LateClock(WallClock):
        def utc_ns(self) -> int:
            return super().utc_ns() - 1_500_000_000

    async def run() -> None:
        core = Core()
        await core.market(100_000)
        (order,) = _approvals(core, 1)
        async with serving(_server(tmp_path, core).app()) as url:
            client = await _client(url)
            client._clock = LateClock()
            with pytest.raises(PeerError, match="validity window"):
                await client.submit(order)
            assert await client.order(order.order_id) is None
            await client.__aexit__()

    asyncio.run(run())


def test_nobody_there_is_a_transport_error() -> None:
    """The fate of what was sent is then unknown, and looked up later."""

    async def run() -> None:
        client = PaperClient("http://127.0.0.1:9", "t", lambda order: None, WallClock())
        async with client:
            with pytest.raises(TransportError, match="does not answer"):
                await client.open()

    asyncio.run(run())


def test_cancels_carry_their_class() -> None:
    """An Approved of action CANCEL targets the order it names."""
    core = Core()
    order = core.gate.check(core.cancel("il-target"))
    assert isinstance(order, Approved)
    assert (order.action, order.order_class, order.order_id) == (
        Action.CANCEL,
        OrderClass.CANCEL,
        "il-target",
    )
    assert order.instrument == SPX
