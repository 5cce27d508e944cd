"""kill -9 of the core at every point of an order's way, with every outcome at the venue (CONTROLS, tests
worth most 6; ARCHITECTURE, What is written when).

                      accepted   filled   rejected   never arrived
    before durable        .         .         .            .         the verdict never reached the log
    before send           .         .         .            .         durable, and not one byte left
    before reply          .         .         .            .         the venue has acted, nobody was told
    before commit         .         .         .            .         told, and the log does not know it
    in a fill             .         .         .            .         of a fill in parts the log has the first

In the first two rows nothing has reached the venue, so the outcome is what the wish meets when its source
asks again after the restart. The log, its writer's process, what is restored from it and the paper venue are
the real ones; "killed" is an exception no handler knows, after which nothing of the core is used again. In
every other cell the writer is killed as well, with whatever it was handed. Processes that are really killed:
`test_crash_runs`.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from appliance.audit.verify import verify
from appliance.domain.errors import TransportError
from appliance.domain.ids import OrderId
from appliance.domain.intent import Action, Intent, ListKind, OrderType, Side
from appliance.domain.money import Price, Qty
from appliance.domain.order import Order, OrderState
from appliance.domain.reasons import Reason
from appliance.domain.verdict import Approved, ApprovedList, Denied
from appliance.storage.log_reader import LogReader
from appliance.venues.paper_engine import PaperEngine
from appliance.venues.paper_faults import Fault
from appliance.venues.paper_inprocess import InProcessPaper
from appliance.venues.paper_terms import AmendOrder, NewList, NewOrder
from appliance.venues.wire import make_recheck
from tests.audit_support import new_log, run, trust
from tests.crash_kit import Died, Life, books_differ, differences, place_for, terms, truth_of
from tests.kit import SPX, Core, spx


class Moment(Enum):
    """Where the core dies."""

    BEFORE_DURABLE = "before the intent is durable"
    BEFORE_SEND = "after it and before send"
    BEFORE_REPLY = "after send and before reply"
    BEFORE_COMMIT = "after reply and before commit"
    IN_A_FILL = "in the middle of a fill"


class Outcome(Enum):
    """What the venue does with it."""

    ACCEPTED = "accepted"
    FILLED = "filled"
    REJECTED = "rejected"
    NEVER_ARRIVED = "never arrived"


UNSENT = (Moment.BEFORE_DURABLE, Moment.BEFORE_SEND)
CELLS = [(moment, outcome) for moment in Moment for outcome in Outcome]
SUBJECTS = ["market", "limit", "exit", "stop", "amend", "shrink", "replace", "cancel", "OCO", "OTO", "OTOCO"]
WILD = {"low": 98_000, "high": 102_000}  # a bar that fills everything that can
MEMORYLESS = ("amend", "shrink", "cancel")  # they have no id of their own; asking again does no harm
Wish = tuple[ListKind | None, Sequence[Intent]]


class Venue(PaperEngine):
    """Remembers every order it was ever sent. refuse: the next request."""

    def __init__(self) -> None:
        super().__init__("test", [spx()], terms())
        self.asked: list[OrderId] = []
        self.refuse = False

    def _refuses(self) -> bool:
        refused, self.refuse = self.refuse, False
        return refused

    def submit(self, request: NewOrder, fault: str = "") -> None:
        """Takes or rejects."""
        self.asked.append(request.order_id)
        super().submit(request, "FAULT" if self._refuses() else fault)

    def submit_list(self, orders: NewList) -> None:
        """Takes or rejects all."""
        self.asked += [request.order_id for request in orders.orders]
        if not self._refuses():
            super().submit_list(orders)
            return
        for request in orders.orders:
            self.ledger.reject(request, "FAULT", "a test")

    def amend(self, order_id: OrderId, asked: AmendOrder) -> None:
        """Changes or leaves it."""
        if self._refuses():
            self.ledger.refuse_amend(order_id, "a test")
        else:
            super().amend(order_id, asked)

    def replace(self, target: OrderId, request: NewOrder) -> None:
        """Both or neither."""
        self.asked.append(request.order_id)
        if self._refuses():
            self.ledger.reject(request, "REPLACE", "a test")
            self.ledger.refuse_cancel(target)
        else:
            super().replace(target, request)

    def cancel(self, order_id: OrderId, late_fill: int = 0) -> None:
        """Ends it or leaves it."""
        if self._refuses():
            self.ledger.refuse_cancel(order_id)
        else:
            super().cancel(order_id, late_fill)


class Door(InProcessPaper):
    """The way to the venue, where the core may die. armed: what becomes of the next request.

    late: what left and has not arrived yet.
    """

    engine: Venue

    def __init__(self, engine: Venue, core: Core) -> None:
        super().__init__(engine, make_recheck(core.latch, core.clock))
        self._core = core
        self._sequence.after = core.desk.last_seq
        self.armed: tuple[Moment, Outcome] | None = None
        self.late: Callable[[], None] | None = None
        self.holds_back = False

    def _ask(self, on: str, work: Callable[[Fault | None], None]) -> None:
        armed, self.armed = self.armed, None
        if armed is None:
            super()._ask(on, work)
            return
        moment, outcome = armed
        if moment is Moment.BEFORE_SEND:
            raise Died
        if self.holds_back:
            self.late = lambda: work(None)
            raise Died
        self.engine.refuse = outcome is Outcome.REJECTED
        fills = outcome is Outcome.FILLED and (moment is not Moment.IN_A_FILL or on == "cancel")
        if fills and on == "cancel":
            self.wild()
        if outcome is not Outcome.NEVER_ARRIVED:
            work(None)
        if fills and on != "cancel":
            self.wild()
        if moment is Moment.BEFORE_REPLY:
            raise Died
        if outcome is Outcome.NEVER_ARRIVED:
            raise TransportError("no answer", "a test")

    def wild(self) -> None:
        """A bar that fills everything that can."""
        self._core.steps += 1
        self.engine.step(self._core.bar(100_000, **WILD), self._core.steps)


class Flow:
    """A log, a venue, and one core after the other."""

    def __init__(self, directory: Path) -> None:
        self.settings = new_log(directory)
        self.place = place_for(self.settings, directory)
        self.venue = Venue()
        self.life: Life
        self.door: Door

    @property
    def core(self) -> Core:
        """The one that lives."""
        return self.life.core

    async def begin(self) -> None:
        """The next core."""
        before = getattr(self, "life", None)
        self.life = await Life.begin(self.place)
        self.door = Door(self.venue, self.core)
        self.life.connect(self.door)
        self.core.engine = self.venue
        self.core.venue = self.door
        self.core.steps = self.venue.ledger.steps
        if before is not None:
            self.core.number, self.core.clock.utc = before.core.number, before.core.clock.utc

    async def prepare(self) -> Order:
        """6.00 held behind a stop, and a limit order that rests; that order."""
        await self.core.market(100_000)
        await self.core.desk.place(self.core.intent(qty=Qty(600)))
        await self.core.market(100_000)
        assert self.core.portfolio.holdings[SPX].position == 600
        verdict = await self.core.desk.place(self.limit(99_000, 400))
        assert isinstance(verdict, Approved)
        await self.core.market(100_000)
        resting = self.core.orders.get(verdict.order_id)
        assert resting is not None
        return resting

    def limit(self, price: int, qty: int, **changes: Any) -> Intent:
        """A buy, unless said otherwise."""
        return self.core.intent(qty=Qty(qty), order_type=OrderType.LIMIT, price=Price(price), **changes)

    def wish(self, subject: str, resting: Order) -> Wish:
        """What the core is doing when it dies."""
        change: dict[str, Any] = {"target": resting.id}
        stop: dict[str, Any] = {"side": Side.SELL, "order_type": OrderType.STOP}
        legs = [
            self.limit(101_500, 300, side=Side.SELL),
            self.core.intent(qty=Qty(300), stop_price=Price(97_000), **stop),
        ]
        made: dict[str, Callable[[], Wish]] = {
            "market": lambda: (None, [self.core.intent(qty=Qty(500))]),
            "limit": lambda: (None, [self.limit(99_500, 500)]),
            "exit": lambda: (None, [self.core.intent(side=Side.SELL, qty=Qty(400))]),
            "stop": lambda: (None, [self.core.intent(qty=Qty(600), stop_price=Price(98_500), **stop)]),
            "amend": lambda: (None, [self.limit(99_500, 550, action=Action.AMEND, **change)]),
            "shrink": lambda: (None, [self.core.intent(action=Action.AMEND, qty=Qty(150), **change)]),
            "replace": lambda: (None, [self.limit(99_700, 500, action=Action.REPLACE, **change)]),
            "cancel": lambda: (None, [self.core.intent(action=Action.CANCEL, **change)]),
            "OCO": lambda: (ListKind.OCO, legs),
            "OTO": lambda: (ListKind.OTO, [self.limit(99_500, 300), legs[1]]),
            "OTOCO": lambda: (ListKind.OTOCO, [self.limit(99_500, 300), *legs]),
        }
        return made[subject]()

    async def ask(self, wish: Wish) -> Approved | ApprovedList | Denied:
        """Places it."""
        kind, intents = wish
        if kind is not None:
            return await self.core.desk.place_list(kind, intents)
        return await self.core.desk.place(intents[0])

    async def die(self, wish: Wish, moment: Moment, outcome: Outcome) -> None:
        """Asks, and dies on the way."""
        scribe, fills = self.life.scribe, 0

        def before(kind: str, data: Any) -> None:
            nonlocal fills
            fills += kind == "fill"
            if moment is Moment.BEFORE_DURABLE and kind == "verdict":
                raise Died
            if moment is Moment.BEFORE_COMMIT and kind in ("order", "fill", "venue"):
                raise Died
            if moment is Moment.IN_A_FILL and fills == 2:
                raise Died

        scribe.before = before  # type: ignore[method-assign]
        self.door.armed = (moment, outcome)
        with pytest.raises(Died):
            await self._go_on(wish, WILD if outcome is Outcome.FILLED else {})

    async def _go_on(self, wish: Wish, bar: dict[str, int]) -> None:
        """The wish, and a purchase beside it that fills in two parts."""
        await self.ask(wish)
        await self.core.desk.collect()
        await self.core.desk.place(self.core.intent(qty=Qty(400)))
        await self.core.market(100_000, **bar)

    def books(self) -> None:
        """The core's books and open orders against the venue's."""
        assert books_differ(self.core, truth_of(self.venue, self.venue.asked)) == []

    async def judge(self) -> None:
        """Likewise, and the log: every order with its end, every fill, once."""
        self.books()
        await self.life.client.publish()
        truth = truth_of(self.venue, self.venue.asked)
        assert differences(self.settings.directory, self.settings.run, truth) == []

    async def leave(self) -> None:
        """The restarted core can still do what matters: cancel everything, sell everything."""
        await self.core.desk.cancel_all(list(self.core.orders.live()))
        for _ in range(9):
            await self.core.exits.leave_everything("test")
            await self.core.market(100_000)
            self.core.clock.mono += 2 * 10**9
            await self.core.exits.mend()
        await self.core.desk.cancel_all(list(self.core.orders.live()))
        await self.core.desk.collect()
        assert self.core.portfolio.is_flat()
        assert not list(self.core.orders.live())

    def ids(self, wish: Wish) -> set[OrderId]:
        """Of the orders a wish makes."""
        made = [each for each in self.core.scribe.entries if each[0] == "verdict"]
        names = {intent.id for intent in wish[1]}
        return {order.id for _, _, orders in made for order in orders if order.intent_id in names}


async def cell(flow: Flow, subject: str, moment: Moment, outcome: Outcome, *, writer: bool) -> None:
    """One cell: die, restart, look up, ask again, judge, and leave."""
    resting = await flow.prepare()
    wish = flow.wish(subject, resting)
    sent = len(flow.venue.asked)
    await flow.die(wish, moment, outcome)
    if moment in UNSENT:
        assert len(flow.venue.asked) == sent
    ids = flow.ids(wish)
    await flow.life.crash(writer=writer)
    await flow.begin()
    known = {order.id for order in flow.life.session.restored.orders}
    assert ids <= known, "a durable order is forgotten"
    lost = [each for each in ids if each not in flow.venue.ledger.orders and subject not in MEMORYLESS]
    assert await flow.core.exits.reconcile() >= len(lost), "given up before the window has passed"
    await flow.life.settled()
    await flow.judge()
    await flow.core.market(100_000)  # a price again; without one nothing may enter
    flow.books()
    await ask_again(flow, subject, moment, outcome, wish)
    flow.books()
    await flow.core.market(100_000, **WILD)
    flow.books()
    await flow.leave()
    await flow.judge()


async def ask_again(flow: Flow, subject: str, moment: Moment, outcome: Outcome, wish: Wish) -> None:
    """Its source heard nothing and repeats itself: what was recorded is not sent again."""
    if subject in MEMORYLESS:
        return
    if moment in UNSENT:
        flow.door.armed = (Moment.BEFORE_COMMIT, outcome)
    sent = len(flow.venue.asked)
    verdict = await flow.ask(wish)
    flow.door.armed = None
    await flow.core.desk.collect()
    if moment is Moment.BEFORE_DURABLE:
        assert isinstance(verdict, Approved | ApprovedList), verdict
        arrived = len(wish[1]) if outcome is not Outcome.NEVER_ARRIVED else 0
        assert len(flow.venue.asked) == sent + arrived
        await flow.life.settled()
    else:
        assert isinstance(verdict, Denied)
        assert verdict.reason in (Reason.DUPLICATE_ID, Reason.UNKNOWN_ORDER), verdict
        assert len(flow.venue.asked) == sent


async def through(directory: Path, subject: str, cells: Sequence[tuple[Moment, Outcome]]) -> None:
    """One core after the other on one log, each killed once; the log verifies in the end."""
    flow = Flow(directory)
    await flow.begin()
    for number, (moment, outcome) in enumerate(cells):
        await cell(flow, subject, moment, outcome, writer=bool(number % 2))
    await flow.life.end()
    reader = LogReader(flow.settings.directory)
    report = verify(reader, trust(flow.settings))
    reader.close()
    assert report.ok, report


@pytest.mark.safety("S4.5")
def test_whenever_the_core_dies_the_log_and_the_venue_agree_afterwards(tmp_path: Path) -> None:
    """The whole matrix for a new order: books, orders and fills equal the venue's, nothing is sent twice."""
    run(through(tmp_path, "market", CELLS), timeout_s=300)


@pytest.mark.parametrize("subject", SUBJECTS[1:])
def test_whatever_the_core_is_doing_when_it_dies(subject: str, tmp_path: Path) -> None:
    """Every other kind of request: five cells of the matrix each, so that all of it has its turn."""
    run(through(tmp_path, subject, CELLS[SUBJECTS.index(subject) % 4 :: 4]), timeout_s=300)


@pytest.mark.long
@pytest.mark.parametrize("subject", SUBJECTS[1:])
def test_every_cell_for_every_kind_of_request(subject: str, tmp_path: Path) -> None:
    """The whole matrix for each of them."""
    run(through(tmp_path, subject, CELLS), timeout_s=300)


@pytest.mark.parametrize("subject", [each for each in SUBJECTS if each != "cancel"])
def test_what_arrives_after_the_restart_is_not_given_up(subject: str, tmp_path: Path) -> None:
    """Sent, not yet there when the next core looks: within the window "not found" is no answer (SAFETY 4)."""

    async def story() -> None:
        flow = Flow(tmp_path)
        await flow.begin()
        wish = flow.wish(subject, await flow.prepare())
        flow.door.holds_back = True
        await flow.die(wish, Moment.BEFORE_REPLY, Outcome.ACCEPTED)
        late = flow.door.late
        assert late is not None
        await flow.life.crash(writer=False)
        await flow.begin()
        assert await flow.core.exits.reconcile() >= 1
        late()
        assert await flow.core.exits.reconcile() == 0
        await flow.judge()
        await flow.life.end()

    run(story())


@pytest.mark.parametrize("outcome", Outcome)
def test_a_core_that_dies_again_while_it_looks_up_has_done_no_harm(outcome: Outcome, tmp_path: Path) -> None:
    """Killed at the first, the second, … entry of the recovery; the one that comes through agrees."""

    async def story() -> None:
        flow = Flow(tmp_path)
        await flow.begin()
        wish = flow.wish("OTOCO", await flow.prepare())
        await flow.die(wish, Moment.BEFORE_REPLY, outcome)
        await flow.life.crash(writer=False)
        for entries in range(1, 20):
            await flow.begin()
            left = entries

            def before(kind: str, data: Any) -> None:
                nonlocal left
                left -= 1
                if left < 0:
                    raise Died

            flow.life.scribe.before = before  # type: ignore[method-assign]
            try:
                await flow.life.settled()
            except Died:
                await flow.life.crash(writer=False)
            else:
                break
        await flow.judge()
        assert entries > 1
        await flow.life.end()

    run(story())


@pytest.mark.safety("S8.3")
@pytest.mark.parametrize("arrived", [True, False])
def test_an_exit_that_left_before_its_record_was_durable_is_owed_and_found(
    arrived: bool, tmp_path: Path
) -> None:
    """The log hangs, the exit goes after 50 ms; core and writer are killed: the ring tells the next core."""

    async def story() -> None:
        flow = Flow(tmp_path)
        await flow.begin()
        wish = flow.wish("exit", await flow.prepare())
        await flow.life.client.publish()
        process = flow.life.client._process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        flow.door.armed = (Moment.BEFORE_REPLY, Outcome.FILLED if arrived else Outcome.NEVER_ARRIVED)
        with pytest.raises(Died):
            await flow.ask(wish)
        (made,) = flow.ids(wish)
        await flow.life.crash(writer=True)
        reader = LogReader(flow.settings.directory)
        assert reader.order(made) is None, "the entry was to be lost"
        reader.close()
        await flow.begin()
        await flow.life.settled()
        await flow.judge()
        order = flow.core.orders.get(made)
        assert order is not None
        assert order.state is (OrderState.FILLED if arrived else OrderState.NEVER_ARRIVED)
        await ask_again(flow, "exit", Moment.BEFORE_REPLY, Outcome.ACCEPTED, wish)
        await flow.life.end()

    run(story())
