"""One suite over both paper venues: in-process, and over HTTP with its own order log. Same events, one truth.

Every switch for a bad day is thrown at both; what the core may conclude from it is the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from appliance.domain.errors import RefusedError, TransportError
from appliance.domain.ids import ListId
from appliance.domain.intent import Action, Link, ListKind, OrderType, Side
from appliance.domain.money import Price, Qty
from appliance.domain.order import Accepted, Amended, Canceled, Filled, Rejected
from appliance.domain.verdict import Approved, ApprovedList
from appliance.runtime.clock import WallClock
from appliance.venues.paper_client import PaperClient
from appliance.venues.paper_engine import PaperEngine
from appliance.venues.paper_faults import Fault, FaultKind, Faults
from appliance.venues.paper_inprocess import InProcessPaper
from appliance.venues.paper_journal import apply_input, read_journal
from appliance.venues.paper_server import PaperServer
from tests.flow.test_wire_door import serving
from tests.kit import Core

AnyVenue = PaperClient | InProcessPaper
PRICE = 100_000


class Bench:
    """A venue, its switches and a core that makes approvals for it."""

    def __init__(self, venue: AnyVenue, faults: Faults, core: Core, journal: Path | None) -> None:
        self.venue = venue
        self.faults = faults
        self.core = core
        self.journal = journal
        self.steps = 0

    async def market(self, price: int) -> None:
        """The next bar."""
        self.steps += 1
        await self.venue.step(self.core.bar(price), self.steps)

    def approval(self, **changes: Any) -> Approved:
        """A limit buy that rests."""
        wish = self.core.intent(order_type=OrderType.LIMIT, price=Price(99_000), qty=Qty(10))
        verdict = self.core.gate.check(wish)
        assert isinstance(verdict, Approved)
        return replace(verdict, attached_stop=None, **changes)

    async def told(self) -> list[str]:
        """Names of the events since the last call."""
        return [type(event).__name__ for event in await self.venue.events()]


@asynccontextmanager
async def _bench(kind: str, folder: Path) -> AsyncIterator[Bench]:
    core = Core()
    await core.market(PRICE)
    faults = Faults()
    if kind == "in-process":
        engine = PaperEngine("acc", [core.instrument], core.terms)
        yield Bench(InProcessPaper(engine, lambda order: None, faults), faults, core, None)
        return
    journal = folder / "orders.jsonl"
    server = PaperServer([core.instrument], core.terms, journal, WallClock(), faults)
    async with serving(server.app()) as url:
        client = PaperClient(url, "acc", lambda order: None, WallClock())
        async with client:
            await client.open()
            yield Bench(client, faults, core, journal)
    rebuilt = PaperEngine("acc", [core.instrument], core.terms)
    for entry in read_journal(journal):
        apply_input(rebuilt, entry)
    assert rebuilt.ledger.log == server.engines["acc"].ledger.log  # the order log is the judge


KINDS = pytest.mark.parametrize("kind", ["in-process", "http"])


def _run(kind: str, folder: Path, work: Callable[[Bench], Awaitable[None]]) -> None:
    async def run() -> None:
        async with _bench(kind, folder) as bench:
            await bench.market(PRICE)
            await work(bench)

    asyncio.run(run())


@KINDS
def test_new_amend_replace_cancel(kind: str, tmp_path: Path) -> None:
    """The four actions, and what each is answered."""

    async def work(bench: Bench) -> None:
        first, second = bench.approval(), bench.approval()
        await bench.venue.submit(first)
        await bench.market(PRICE)
        await bench.venue.amend(replace(first, action=Action.AMEND, qty=Qty(5)))
        await bench.venue.replace_order(replace(second, action=Action.REPLACE, target=first.order_id))
        await bench.venue.cancel(replace(second, action=Action.CANCEL))
        assert await bench.told() == ["Accepted", "Amended", "Canceled", "Accepted", "Canceled"]
        assert await bench.venue.open_orders() == []

    _run(kind, tmp_path, work)


@KINDS
def test_a_list_travels_as_one_message(kind: str, tmp_path: Path) -> None:
    """Both legs accepted; then a list with a wrong one: none."""

    async def work(bench: Bench) -> None:
        low, high = bench.approval(), bench.approval(price=Price(98_000))
        list_id = ListId(low.order_id)
        legs = tuple(
            replace(each, link=Link(list_id, ListKind.OCO, place)) for place, each in enumerate((low, high))
        )
        await bench.venue.submit_list(ApprovedList(list_id, ListKind.OCO, legs))
        assert await bench.told() == ["Accepted", "Accepted"]
        wrong = ApprovedList(list_id, ListKind.OCO, (bench.approval(), bench.approval(price=Price(-1))))
        await bench.venue.submit_list(wrong)
        assert await bench.told() == ["Rejected", "Rejected"]
        assert len(await bench.venue.open_orders()) == 2

    _run(kind, tmp_path, work)


@KINDS
@pytest.mark.parametrize(
    ("fault", "error", "arrived"),
    [
        (FaultKind.DROP_REPLY, TransportError, True),
        (FaultKind.ERROR_BEFORE, RefusedError, False),
        (FaultKind.ERROR_AFTER, RefusedError, True),
    ],
)
def test_a_reply_that_is_lost_or_wrong_leaves_the_fate_to_a_look_up(
    kind: str, fault: FaultKind, error: type[Exception], arrived: bool, tmp_path: Path
) -> None:
    """Nothing is sent twice; the id tells whether it arrived."""

    async def work(bench: Bench) -> None:
        bench.faults.arm(Fault(kind=fault, on="submit"))
        order = bench.approval()
        with pytest.raises(error):
            await bench.venue.submit(order)
        assert ((await bench.venue.order(order.order_id)) is not None) is arrived
        await bench.market(PRICE)
        assert await bench.told() == (["Accepted"] if arrived else [])

    _run(kind, tmp_path, work)


@KINDS
def test_the_switches_of_the_engine(kind: str, tmp_path: Path) -> None:
    """A refusal for no reason; a fill told after the cancel that was to prevent it."""

    async def work(bench: Bench) -> None:
        bench.faults.arm(Fault(kind=FaultKind.REJECT))
        bench.faults.arm(Fault(kind=FaultKind.FILL_AFTER_CANCEL, qty=4))
        refused, order = bench.approval(), bench.approval()
        await bench.venue.submit(refused)
        await bench.venue.submit(order)
        await bench.venue.cancel(replace(order, action=Action.CANCEL))
        told = list(await bench.venue.events())
        assert [type(event) for event in told] == [Rejected, Accepted, Canceled, Filled]
        assert isinstance(told[3], Filled)
        assert told[3].fill.qty == 4

    _run(kind, tmp_path, work)


@KINDS
@pytest.mark.parametrize("fault", [FaultKind.DUPLICATE, FaultKind.OUT_OF_ORDER])
def test_reports_are_released_once_and_in_order(kind: str, fault: FaultKind, tmp_path: Path) -> None:
    """Whatever the transport repeats or turns round."""

    async def work(bench: Bench) -> None:
        bench.faults.arm(Fault(kind=fault, times=3))
        for _ in range(3):
            await bench.venue.submit(bench.approval())
        await bench.market(PRICE)
        told = list(await bench.venue.events())
        assert [event.seq for event in told] == [1, 2, 3]

    _run(kind, tmp_path, work)


@KINDS
def test_a_delayed_order_arrives_later(kind: str, tmp_path: Path) -> None:
    """In-process with the next market event, over HTTP after its time."""

    async def work(bench: Bench) -> None:
        bench.faults.arm(Fault(kind=FaultKind.DELAY, delay_ms=1))
        await bench.venue.submit(bench.approval())
        await bench.market(PRICE)
        assert await bench.told() == ["Accepted"]

    _run(kind, tmp_path, work)


@KINDS
def test_a_request_that_hangs_is_given_up(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connector's own limit ends it; a cancel meanwhile has a connection of its own."""
    monkeypatch.setattr("appliance.venues.paper_client.TOTAL_S", 3.0)  # ample for what does not hang

    async def work(bench: Bench) -> None:
        resting = bench.approval()
        await bench.venue.submit(resting)
        bench.faults.arm(Fault(kind=FaultKind.HANG, on="submit", times=9))
        sent = [asyncio.create_task(bench.venue.submit(bench.approval())) for _ in range(9)]
        await asyncio.sleep(0)
        await bench.venue.cancel(replace(resting, action=Action.CANCEL))
        ends = await asyncio.gather(*sent, return_exceptions=True)
        assert all(isinstance(end, TransportError) for end in ends)
        assert resting.order_id not in {order.order_id for order in await bench.venue.open_orders()}
        await bench.market(PRICE)
        assert await bench.told() == ["Accepted", "Canceled"]

    _run(kind, tmp_path, work)


@KINDS
def test_the_same_orders_give_the_same_events(kind: str, tmp_path: Path) -> None:
    """A bracket around an entry, through fill, amendment and stop: determinism across the wire."""

    async def work(bench: Bench) -> None:
        lead = bench.approval(price=Price(101_000))
        sells: dict[str, Any] = {"side": Side.SELL, "reduce_only": True}
        limit = bench.approval(price=Price(105_000), **sells)
        stop = bench.approval(price=None, order_type=OrderType.STOP, stop_price=Price(97_000), **sells)
        await bench.venue.submit_list(
            ApprovedList(ListId(lead.order_id), ListKind.OTOCO, (lead, limit, stop))
        )
        await bench.market(PRICE)
        await bench.venue.amend(
            replace(stop, action=Action.AMEND, stop_price=Price(98_000), price=None)
        )
        await bench.market(97_500)
        told = list(await bench.venue.events())
        kinds = [type(event).__name__ for event in told]
        assert kinds == [
            *["Accepted"] * 3,
            "Filled",
            *["Accepted"] * 2,
            "Amended",
            "Triggered",
            "Canceled",
            "Filled",
        ]
        assert [e.held for e in told if isinstance(e, Accepted)] == [False, True, True, False, False]
        assert [e.reason for e in told if isinstance(e, Canceled | Amended)] == ["requested", "oco"]
        account = await bench.venue.account()
        assert account.positions == {}
        assert account.seq == len(told)

    _run(kind, tmp_path, work)


def test_switches_have_to_be_allowed(tmp_path: Path) -> None:
    """A venue that was started without them refuses to arm one; with them, over HTTP too."""

    async def run(faults: Faults | None) -> bytes:
        core = Core()
        server = PaperServer([core.instrument], core.terms, tmp_path / "o.jsonl", WallClock(), faults)
        async with serving(server.app()) as url, PaperClient(url, "a", lambda o: None, WallClock()) as client:
            await client.open()
            return await client._call("POST", "/faults", b'{"kind":"REJECT","times":2}')

    with pytest.raises(RefusedError, match="403"):
        asyncio.run(run(None))
    faults = Faults()
    assert asyncio.run(run(faults)) == b'{"ok":true}'
    assert [faults.next("cancel"), faults.next("list")] == [None, None]
    assert [getattr(faults.next("submit"), "kind", None) for _ in range(3)] == ["REJECT", "REJECT", None]


def test_a_venue_that_leaves_an_event_out_is_wrong() -> None:
    """Asked three times for what is missing; the fourth time nobody waits."""
    from appliance.domain.errors import PeerError

    client = PaperClient("http://127.0.0.1:9", "t", lambda order: None, WallClock())
    late = (
        b'{"seq":2,"events":[{"type":"cancel_refused","seq":2,"event_ns":0,"order_id":"a","detail":""}]}'
    )
    client._take(late)
    client._take(late)
    with pytest.raises(PeerError, match="number 1"):
        client._take(late)
