"""Cores that are killed with SIGKILL at random moments while they trade, one after the other on one log.

    python -m tests.crash_runs venue PORT JOURNAL
    python -m tests.crash_runs runs PORT JOURNAL DIRECTORY SEED COUNT

Every run is a process of its own, forked from this one: it restores itself from the log, looks up what was on
its way, compares its books with the venue's, and then trades at random until it dies: at a random one of the
points where something is about to be written, sent or booked, or at a random time from outside. Often the
log's writer is killed with it. After each journey of runs the log is compared with the venue's order log and
verified. Exit code 1 and a line for each difference if one is found; the seed is in every line.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import random
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from appliance.audit.verify import verify
from appliance.domain.errors import PeerError, TransportError
from appliance.domain.ids import OrderId
from appliance.domain.intent import Action, Intent, ListKind, OrderType, Side, TimeInForce
from appliance.domain.money import Price, Qty
from appliance.domain.order import Order
from appliance.domain.verdict import Approved
from appliance.orders import reconcile
from appliance.runtime.clock import WallClock
from appliance.runtime.hosting import serve_app
from appliance.storage.log_reader import LogReader
from appliance.venues import paper_client
from appliance.venues.paper_client import PaperClient
from appliance.venues.paper_engine import PaperEngine
from appliance.venues.paper_faults import Fault, FaultKind, Faults
from appliance.venues.paper_journal import ListSubmitted, Replaced, Submitted, apply_input, read_journal
from appliance.venues.paper_server import PaperServer
from appliance.venues.wire import make_recheck
from tests.audit_support import new_log, trust
from tests.crash_kit import Life, Place, Truth, books_differ, differences, place_for, terms, truth_of
from tests.kit import SPX, Core, spx

WINDOW_NS = 100_000_000  # and as long a margin: the rule is the same, and a run takes a tenth of the time
RUNS_A_LOG = 20
ACTS = 150  # then it kills itself: a run ends
FAULTS = tuple(kind for kind in FaultKind if kind is not FaultKind.HANG)
FORCES = (TimeInForce.GTC, TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK)


class Fuse:
    """Counts the moments at which a process may die, and ends it at one of them.

    writer: process id of the log's writer, once it is known; with_writer: it is killed first.
    """

    def __init__(self, at: int, with_writer: bool) -> None:
        """at: number of the moment, 0 for none."""
        self.left = at
        self.with_writer = with_writer
        self.writer = 0

    def burn(self) -> None:
        """One moment has come."""
        self.left -= 1
        if self.left == 0:
            if self.with_writer and self.writer:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.writer, signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)


class Connector(PaperClient):
    """Burns before a request leaves, when the connection is there, and when the answer has come."""

    def __init__(self, place: Place, port: int, core: Core, fuse: Fuse) -> None:
        recheck, self._fuse = make_recheck(core.latch, core.clock), fuse

        def last_look(order: Approved) -> None:
            recheck(order)
            fuse.burn()

        url = f"http://127.0.0.1:{port}"
        super().__init__(url, place.account, last_look, WallClock(), after=core.desk.last_seq)

    async def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        self._fuse.burn()
        answer = await super()._exchange(method, path, body)
        self._fuse.burn()
        return answer

    async def arm(self, fault: Fault) -> None:
        """The next request or report of this venue goes wrong, whosever it is."""
        await self._call("POST", "/faults", paper_client._ENCODER.encode(fault))


class Trader:
    """Does what bots do, at random, and more often than they do."""

    def __init__(self, core: Core, venue: Connector, luck: random.Random) -> None:
        self.core = core
        self.venue = venue
        self.luck = luck
        self.price = 100_000

    async def act(self) -> None:
        """One thing; what the venue does not answer stays to be looked up."""
        acts: Sequence[Callable[[], Any]] = (
            self.market, self.market, self.market, self.enter, self.enter, self.enter, self.listed,
            self.exit, self.amend, self.replace, self.cancel, self.fault, self.look_up, self.leave,
        )  # fmt: skip
        self.core.clock.mono = time.monotonic_ns()
        with contextlib.suppress(TransportError, PeerError):
            await self.luck.choice(acts)()
        await self.core.desk.collect()

    async def market(self) -> None:
        """A bar, now and then a wild one."""
        wide = self.luck.choice((0, 200, 2_000))
        self.price = max(90_000, min(110_000, self.price + self.luck.randint(-800, 800)))
        self.core.steps += 1
        bar = self.core.bar(self.price, low=self.price - wide, high=self.price + wide)
        await self.venue.step(bar, self.core.steps)
        await self.core.desk.collect()
        self.core.portfolio.mark(bar)

    def wish(self, **changes: Any) -> Intent:
        """A limit order somewhere near the market, or a market order."""
        luck, limit = self.luck, self.luck.random() < 0.6
        fields: dict[str, Any] = {
            "side": luck.choice((Side.BUY, Side.BUY, Side.SELL)),
            "qty": Qty(luck.randint(1, 700)),
            "order_type": OrderType.LIMIT if limit else OrderType.MARKET,
            "price": Price(self.price + luck.randint(-1_500, 1_500)) if limit else None,
            "time_in_force": luck.choice(FORCES),
        }
        return self.core.intent(**(fields | changes))

    async def enter(self) -> None:
        """An order of any kind."""
        await self.core.desk.place(self.wish())

    async def exit(self) -> None:
        """A part of what is held."""
        held = self.core.portfolio.holdings[SPX].position
        side = Side.SELL if held > 0 else Side.BUY
        qty = Qty(self.luck.randint(0, abs(held)))
        await self.core.desk.place(self.core.intent(side=side, qty=qty))

    async def listed(self) -> None:
        """OCO, OTO or OTOCO."""
        qty, far = Qty(self.luck.randint(1, 400)), self.luck.randint(100, 2_000)
        limit: dict[str, Any] = {"qty": qty, "order_type": OrderType.LIMIT}
        lead = self.core.intent(price=Price(self.price - far // 2), **limit)
        profit = self.core.intent(side=Side.SELL, price=Price(self.price + far), **limit)
        stop = self.core.intent(
            side=Side.SELL, qty=qty, order_type=OrderType.STOP, stop_price=Price(self.price - far)
        )
        kind = self.luck.choice(list(ListKind))
        legs = {
            ListKind.OCO: (profit, stop),
            ListKind.OTO: (lead, stop),
            ListKind.OTOCO: (lead, profit, stop),
        }
        await self.core.desk.place_list(kind, legs[kind])

    def live(self) -> Order | None:
        """One of the open orders."""
        live = list(self.core.orders.live())
        return self.luck.choice(live) if live else None

    async def amend(self) -> None:
        """Quantity, price or both."""
        order = self.live()
        if order is not None:
            move = self.luck.randint(-300, 300)
            price = None if order.price is None else Price(max(1, order.price + move))
            qty = Qty(self.luck.randint(1, 700))
            ask = self.core.intent(action=Action.AMEND, target=order.id, qty=qty, price=price)
            await self.core.desk.place(ask)

    async def replace(self) -> None:
        """Another order in its place."""
        order = self.live()
        if order is not None:
            await self.core.desk.place(self.wish(action=Action.REPLACE, target=order.id, side=order.side))

    async def cancel(self) -> None:
        """One of them, or all side by side."""
        order = self.live()
        if order is not None and self.luck.random() < 0.9:
            await self.core.desk.cancel(order)
        else:
            await self.core.desk.cancel_all(list(self.core.orders.live()))

    async def fault(self) -> None:
        """A bad day at the venue begins."""
        await self.venue.arm(Fault(kind=self.luck.choice(FAULTS), qty=30, delay_ms=30))

    async def look_up(self) -> None:
        """As the safety loop does all the time."""
        await self.core.exits.reconcile()
        await self.core.exits.mend()

    async def leave(self) -> None:
        """An exit behind its protective legs, once in a while."""
        if self.luck.random() < 0.3:
            await self.core.exits.leave_everything("test")


async def live(place: Place, port: int, luck: random.Random, fuse: Fuse, tell: int, acts: int) -> list[str]:
    """One process's life; what differed from the venue after the restart. acts: then it is over."""
    life = await Life.begin(place)
    core, process = life.core, life.client._process
    assert process is not None
    fuse.writer = process.pid
    os.write(tell, f"writer {process.pid}\n".encode())

    def before(kind: str, data: Mapping[str, object]) -> None:
        fuse.burn()

    life.scribe.before = before  # type: ignore[method-assign]
    async with Connector(place, port, core, fuse) as venue:
        await venue.open()
        life.connect(venue)
        core.steps, core.clock.utc = await _clock(venue)
        core.number = luck.randrange(3) * 1_000 + luck.randrange(100)  # ids that were used before come again
        await settled(core)
        found = await compared(core, venue)
        os.write(tell, b"compared\n")
        if found or not acts:
            await life.end()
            return found
        trader = Trader(core, venue, luck)
        await trader.market()
        for _ in range(acts):
            await trader.act()
    fuse.left = 1
    fuse.burn()
    return []


async def _clock(venue: Connector) -> tuple[int, int]:
    account = await venue.account()
    return account.steps, max(account.event_ns, Core().clock.utc)


async def settled(core: Core) -> None:
    """Looks up until every fate is known: the window passes on the clock."""
    for _ in range(2):
        async with asyncio.timeout(20):
            await _looked_up(core)
        await core.exits.mend()


async def _looked_up(core: Core) -> None:
    core.clock.mono = time.monotonic_ns()
    if await core.exits.reconcile():
        await asyncio.sleep(0.01)
        await _looked_up(core)


async def compared(core: Core, venue: Connector) -> list[str]:
    """Books and open orders against what the venue says at one and the same event."""
    while True:
        await venue.poll()
        await core.desk.collect()
        account, orders = await venue.account(), await venue.open_orders()
        again = await venue.account()
        if account.seq == again.seq == core.desk.last_seq:
            break
    told = {order.order_id: order for order in orders}
    truth = Truth(orders=told, positions=account.positions, cash=account.cash, seq=account.seq)
    return books_differ(core, truth)


def judged(place: Place, journal: Path) -> list[str]:
    """The finished log against the venue's own order log, as a copy of it tells."""
    copy = place.ring.with_suffix(".jsonl")
    shutil.copyfile(journal, copy)
    engine, asked = PaperEngine(place.account, [spx()], terms()), list[OrderId]()
    for entry in read_journal(copy):
        if entry.account != place.account:
            continue
        apply_input(engine, entry)
        if isinstance(entry, Submitted | Replaced):
            asked.append(entry.order.order_id)
        elif isinstance(entry, ListSubmitted):
            asked += [order.order_id for order in entry.orders.orders]
    truth = truth_of(engine, asked)
    found = differences(place.settings.directory, place.settings.run, truth)
    reader = LogReader(place.settings.directory)
    report = verify(reader, trust(place.settings))
    reader.close()
    print(f"  {len(truth.orders)} orders, {len(truth.fills)} fills, {report.entries} entries", flush=True)
    return found if report.ok else [*found, f"the log does not verify: {report}"]


class Run:
    """One forked process, from its start to its end."""

    def __init__(self, body: Callable[[int], int]) -> None:
        """body: what it does, with the file it tells its progress to; its exit code."""
        hear, tell = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(hear)
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
            code = 70
            try:
                code = body(tell)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        os.close(tell)
        self._hear = hear
        self.heard = ""

    def hear(self, until: str, limit_s: float) -> bool:
        """Reads until that word, the end or the time has come; True for the first."""
        end = time.monotonic() + limit_s
        while until not in self.heard:
            ready, _, _ = select.select([self._hear], [], [], max(0.0, end - time.monotonic()))
            data = os.read(self._hear, 4096) if ready else b""
            if not data:
                return False
            self.heard += data.decode()
        return True

    def kill(self, writer: bool) -> None:
        """SIGKILL, to the log's writer as well if it is known."""
        os.kill(self.pid, signal.SIGKILL)
        if writer and "writer " in self.heard:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(self.heard.split()[1]), signal.SIGKILL)

    def wait(self) -> int:
        """What `os.waitstatus_to_exitcode` says."""
        _, status = os.waitpid(self.pid, 0)
        os.close(self._hear)
        return os.waitstatus_to_exitcode(status)


def one_run(place: Place, port: int, luck: random.Random) -> bool:
    """A life that ends with SIGKILL; False if it ended otherwise, which it tells itself."""
    from_outside, writer = luck.random() < 0.5, luck.random() < 0.4
    at = 0 if from_outside else luck.choice((luck.randint(1, 40), luck.randint(1, 900)))
    after, delay_s = luck.choice(("writer", "compared", "compared")), luck.random() * 0.15
    seed = luck.getrandbits(64)

    def body(tell: int) -> int:
        return asyncio.run(_lived(place, port, random.Random(seed), Fuse(at, writer), tell, ACTS))

    run = Run(body)
    if from_outside and run.hear(after, 30):
        run.hear("never", delay_s)
        run.kill(writer)
    return run.wait() == -signal.SIGKILL


async def _lived(
    place: Place, port: int, luck: random.Random, fuse: Fuse, tell: int, acts: int
) -> int:
    found = await live(place, port, luck, fuse, tell, acts)
    for each in found:
        print(f"  DIFFERENCE {each}", flush=True)
    return 1 if found else 0


def journey(directory: Path, port: int, journal: Path, seed: int, runs: int) -> bool:
    """One log and one account, and as many cores as runs; True if all agree with the venue."""
    directory.mkdir(parents=True)
    place = place_for(
        replace(new_log(directory), lock_wait_ms=10_000), directory, f"j-{os.getpid()}-{seed % 10**9}"
    )
    luck = random.Random(seed)
    for number in range(runs):
        if not one_run(place, port, luck):
            print(f"FAILED seed {seed}, run {number + 1} ({directory})", flush=True)
            return False
    last = Run(lambda tell: asyncio.run(_lived(place, port, luck, Fuse(0, False), tell, 0)))
    good = last.wait() == 0
    asyncio.run(flush(port, place))
    found = judged(place, journal)
    for each in found:
        print(f"  DIFFERENCE {each}", flush=True)
    print(f"{'ok' if good and not found else 'FAILED'} seed {seed}, {runs} runs ({directory})", flush=True)
    return good and not found


async def flush(port: int, place: Place) -> None:
    """The venue's order log is on disk with what rode along: opening an account is durable."""
    url = f"http://127.0.0.1:{port}"
    async with PaperClient(url, f"{place.account}-f", lambda order: None, WallClock()) as client:
        await client.open()


def runs(port: int, journal: Path, directory: Path, seed: int, count: int) -> int:
    """As many runs as asked for, a log and an account of their own for every RUNS_A_LOG of them."""
    reconcile.WINDOW_NS = reconcile.MARGIN_NS = paper_client.WINDOW_NS = WINDOW_NS
    for number in range(0, count, RUNS_A_LOG):
        some = min(RUNS_A_LOG, count - number)
        if not journey(directory / str(number), port, journal, seed + number, some):
            return 1
    return 0


async def serve(port: int, journal: Path) -> None:
    """The venue, until it is told to stop."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = PaperServer([spx()], terms(), journal, WallClock(), Faults())
    await serve_app(server.app(), "paper venue", port, stop)


def main(arguments: Sequence[str]) -> int:
    """See the module."""
    port, journal = int(arguments[1]), Path(arguments[2])
    if arguments[0] == "venue":
        asyncio.run(serve(port, journal))
        return 0
    return runs(port, journal, Path(arguments[3]), int(arguments[4]), int(arguments[5]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
