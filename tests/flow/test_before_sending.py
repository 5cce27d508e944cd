"""What is durable before it is sent, what waits 50 ms at most, what is never sent twice (SAFETY 4, 8)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

import pytest

from appliance.domain.errors import TransportError
from appliance.domain.intent import Intent, OrderType, Side
from appliance.domain.mode import BOX, HoldCause, Mode, TripReason
from appliance.domain.money import Price, Qty
from appliance.domain.order import Order
from appliance.domain.verdict import Approved, OrderClass
from appliance.ports import Ticket
from appliance.runtime.clock import WallClock
from appliance.runtime.patience import LoopPatience
from appliance.venues.paper_client import PaperClient
from appliance.venues.wire import make_recheck
from tests.kit import BOT, SPX, Core, FakeScribe, source_limits


class SlowScribe(FakeScribe):
    """Entries become durable when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.durable = asyncio.Event()

    def note(
        self,
        kind: str,
        data: Mapping[str, object],
        *,
        causes: Sequence[int] = (),
        orders: Sequence[Order] = (),
    ) -> Ticket:
        """One entry, not durable yet."""
        return _Pending(super().note(kind, data, causes=causes, orders=orders).index, self.durable)


class _Pending:
    def __init__(self, index: int, durable: asyncio.Event) -> None:
        self.index = index
        self._durable = durable

    async def durable(self) -> None:
        await self._durable.wait()


async def _slow_core() -> tuple[Core, SlowScribe]:
    core = Core()
    await core.hold_position(1_000)
    scribe = SlowScribe()
    core.desk._scribe, core.desk._patience = scribe, LoopPatience()
    return core, scribe


@pytest.mark.safety("S8.1")
def test_new_exposure_waits_until_it_is_durable() -> None:
    """However long that takes; nothing of it is at the venue before."""

    async def run() -> None:
        core, scribe = await _slow_core()
        there = len(core.engine.ledger.orders)
        placing = asyncio.create_task(core.desk.place(core.intent()))
        for _ in range(20):
            await asyncio.sleep(0.005)
        assert not placing.done()
        assert len(core.engine.ledger.orders) == there
        scribe.durable.set()
        core.clock.mono += 1
        assert isinstance(await placing, Approved)
        assert len(core.engine.ledger.orders) == there + 1

    asyncio.run(run())


@pytest.mark.safety("S8.2")
@pytest.mark.parametrize("order_class", [OrderClass.REDUCE, OrderClass.PROTECTIVE, OrderClass.CANCEL])
def test_an_exit_waits_50_ms_for_the_log_and_then_goes(order_class: OrderClass) -> None:
    """By the real clock: not less, so that a healthy log is waited for; a gap is owed."""

    async def run() -> None:
        core, scribe = await _slow_core()
        leg = next(core.orders.live())
        wishes: dict[OrderClass, Intent] = {
            OrderClass.REDUCE: core.intent(side=Side.SELL),
            OrderClass.PROTECTIVE: core.intent(
                side=Side.SELL, order_type=OrderType.STOP, stop_price=Price(90_000), protects=leg.id
            ),
            OrderClass.CANCEL: core.cancel(leg.id),
        }
        told = len(core.engine.ledger.log)
        began = time.monotonic()
        verdict = await core.desk.place(wishes[order_class])
        assert time.monotonic() - began >= 0.049
        assert isinstance(verdict, Approved)
        assert verdict.order_class is order_class
        assert len(core.engine.ledger.log) > told, "the venue has it"
        assert [data["why"] for data in scribe.of("gap")] == ["an exit left before its entry was durable"]

    asyncio.run(run())


@pytest.mark.safety("S2.9")
def test_an_exit_is_recorded_before_it_is_sent() -> None:
    """Intent, verdict and its order row, in that order, when the venue first hears of it."""

    async def run() -> None:
        core = Core()
        await core.hold_position(1_000)
        before, submit = len(core.scribe.entries), core.venue.submit
        seen: list[list[str]] = []

        async def look(order: Approved) -> None:
            seen.append([kind for kind, _, _ in core.scribe.entries[before:]])
            assert [row.id for _, _, rows in core.scribe.entries[before:] for row in rows] == [order.order_id]
            await submit(order)

        core.venue.submit = look  # type: ignore[method-assign]
        await core.desk.place(core.intent(side=Side.SELL, qty=Qty(1_000)))
        assert seen == [["intent", "verdict"]]

    asyncio.run(run())


@pytest.mark.safety("S2.8")
def test_an_exit_needs_no_stop() -> None:
    """A source for which an entry without a stop is denied can always sell."""

    async def run() -> None:
        core = Core()
        await core.hold_position(1_000)
        core.limits.sources[BOT] = source_limits(default_stop_ppm=None)
        core.portfolio.stop_source(BOT, "test", 1)
        assert not isinstance(core.gate.check(core.intent()), Approved)
        verdict = core.gate.check(core.intent(side=Side.SELL, qty=Qty(1_000)))
        assert isinstance(verdict, Approved)
        assert (verdict.order_class, verdict.attached_stop) == (OrderClass.REDUCE, None)

    asyncio.run(run())


@pytest.mark.safety("S2.3")
def test_a_cancel_passes_with_everything_wrong_at_once() -> None:
    """No guard, no limits, no price, no equity, every mode, hold and trip: gate and door let it through."""

    async def run() -> None:
        core = Core()
        await core.hold_position(1_000)
        leg = next(core.orders.live())
        core.guard.present = False
        core.safety.trip(TripReason.INVARIANT, "test")
        core.limits.instruments.clear()
        core.limits.sources.clear()
        core.portfolio.equity_ns = core.portfolio.holdings[SPX].price_ns = 0
        for cause in HoldCause:
            core.holds.begin(cause, BOX, 1, "")
        for mode in Mode:
            core.safety.mode = mode
            verdict = core.gate.check(core.cancel(leg.id))
            assert isinstance(verdict, Approved)
            core.clock.mono += 10**12
            make_recheck(core.latch, core.clock)(verdict)
        await core.desk.cancel(leg)
        await core.desk.collect()
        assert not list(core.orders.live())

    asyncio.run(run())


async def _drop_after(requests: list[bytes]) -> asyncio.Server:
    """A server that answers the first request and closes the kept connection on every later one."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await _head(reader):
            requests.append(head)
            if len(requests) > 1:
                break
            body = b'{"seq":0,"events":[]}'
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            await reader.readexactly(int(line.partition(b":")[2]))
    return head


@pytest.mark.safety("S4.5")
def test_an_order_is_never_posted_twice_by_the_connection() -> None:
    """A kept connection that dies under a POST: the fate is unknown, and nothing below us tries again."""

    async def run() -> None:
        core = Core()
        await core.market(100_000)
        requests: list[bytes] = []
        server = await _drop_after(requests)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        order = core.gate.check(core.intent())
        assert isinstance(order, Approved)
        async with PaperClient(url, "t", lambda _order: None, WallClock()) as client:
            await client.open()
            with pytest.raises(TransportError):
                await client.submit(order)
        server.close()
        await server.wait_closed()
        assert [head.split(b" ")[0] for head in requests] == [b"POST", b"POST"], "open, and the order once"

    asyncio.run(run())
