"""Real order flow through the whole core (CONTROLS, tests worth most 5; control 26): two stocks, one day,
every message anybody sent, asked of one box by one bot with generous limits.

Asserted: nothing is denied that is not dangerous; the ledger identities hold all along and our books are the
venue's; nothing trips; every order is accounted for. Not asserted: how fast it is on this machine.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import pytest

from appliance.domain.intent import Action, Side
from appliance.domain.reasons import Reason
from appliance.orders.admission import ENTRIES_MAX_OF_A_SOURCE
from tests.kit import SECOND, SPX
from tests.lobster import (
    DELETE,
    EXECUTED,
    FILES,
    FSYNC_NS,
    HALT,
    HALTED,
    HIDDEN,
    NEW,
    SHRINK,
    Flow,
    Message,
    busiest,
    read,
    twice_as_busy,
)

SLICE = 4_000

WHOLE = {
    "AAPL": {NEW: 54_818, SHRINK: 252, DELETE: 28_437, EXECUTED: 23_658, HIDDEN: 11_332},
    "AMZN": {NEW: 77_381, SHRINK: 450, DELETE: 66_685, EXECUTED: 8_974, HIDDEN: 2_445},
}
"""Messages of the whole files by kind. There was no halt that day."""

PEAK = {"AAPL": 492, "AMZN": 362}
"""Most messages within any second."""


@cache
def _slice(symbol: str) -> tuple[Message, ...]:
    return tuple(read(symbol, SLICE))


def _run(messages: Sequence[Message], *, paced: bool = False) -> Flow:
    async def run() -> Flow:
        flow = Flow(paced=paced)
        await flow.run(messages)
        return flow

    return asyncio.run(run())


def _check_nothing_false(flow: Flow, kinds: Counter[int]) -> None:
    """Every new order was answered; every denial had a danger behind it; cancels and amendments always
    passed; the venue's only complaints are cancels of what had ended; fills happened, and cost their fee."""
    answers, asked = flow.answers, Counter[Action]()
    for (action, _), times in answers.items():
        asked[Action(action)] += times
    assert flow.false == []
    assert asked[Action.NEW] == kinds[NEW]
    assert answers[Action.CANCEL, "approved"] == asked[Action.CANCEL] >= kinds[DELETE]
    assert answers[Action.AMEND, "approved"] == asked[Action.AMEND]
    assert asked[Action.AMEND] or len(flow.arrivals) <= 2 * SLICE  # rare: a slice may be without
    assert [problem for problem in flow.log.problems if not problem.startswith("CANCEL_REFUSED")] == []
    assert flow.log.count["intent"] == flow.log.count["verdict"] == asked.total()
    assert flow.log.count["fill"] > 100
    assert flow.core.portfolio.fees > 0


def _check_everything_passes(messages: Sequence[Message]) -> None:
    """At maximum speed each message is finished before the next: nothing is denied at all."""
    kinds = Counter(each.kind for each in messages)
    flow = _run(messages)
    _check_nothing_false(flow, kinds)
    assert flow.answers[Action.NEW, "approved"] == kinds[NEW]


def _check_twice_the_peak(messages: Sequence[Message]) -> None:
    """The busiest second brings twice the messages of the real one and intents wait side by side for the log;
    all the same none is denied for back-pressure, and none but beside one of ours that has not ended yet."""
    peak = busiest(each.time_ns for each in messages)
    flow = _run(list(twice_as_busy(messages)), paced=True)
    _check_nothing_false(flow, Counter(each.kind for each in messages))
    assert busiest(flow.arrivals) >= 2 * peak
    assert 10 < flow.overlapping < ENTRIES_MAX_OF_A_SOURCE
    denied = {reason for (_, reason) in flow.answers if reason != "approved"}
    assert denied <= {Reason.SELF_TRADE}


@pytest.mark.parametrize("symbol", FILES)
def test_a_slice_of_real_flow_passes(symbol: str) -> None:
    """The first thousands of messages after the opening, at maximum speed."""
    _check_everything_passes(_slice(symbol))


@pytest.mark.parametrize("symbol", FILES)
def test_a_slice_at_twice_its_peak(symbol: str) -> None:
    """The same on a clock that brings them closer together, with a log whose fsync takes 8 ms."""
    _check_twice_the_peak(_slice(symbol))


@pytest.mark.long
@pytest.mark.parametrize("symbol", FILES)
def test_a_whole_day_passes(symbol: str) -> None:
    """Every message of the file."""
    messages = read(symbol)
    assert Counter(each.kind for each in messages) == WHOLE[symbol]
    assert all(one.time_ns <= other.time_ns for one, other in pairwise(messages))
    _check_everything_passes(messages)


@pytest.mark.long
@pytest.mark.parametrize("symbol", FILES)
def test_a_whole_day_at_twice_its_peak(symbol: str) -> None:
    """RTS 6 Art. 10: twice the peak of messages."""
    messages = read(symbol)
    assert busiest(each.time_ns for each in messages) == PEAK[symbol]
    _check_twice_the_peak(messages)


def _halted(messages: Sequence[Message], first: int, last: int) -> list[Message]:
    """As if trading had been halted between two messages of the file."""
    begin, end = (
        messages[at]._replace(kind=HALT, ref="0", size=0, price=price)
        for at, price in ((first, HALTED), (last, 1))
    )
    return [*messages[:first], begin, *messages[first:last], end, *messages[last:]]


def test_a_halt_stops_new_exposure_and_nothing_else() -> None:
    """The files have none, so one is put in: new exposure is denied while it lasts, cancels, amendments and
    exits pass, and afterwards everything does."""
    messages = _slice("AMZN")
    first, last = 1_000, 1_400
    flow = _run(_halted(messages, first, last))
    during = Counter(each.kind for each in messages[first:last])
    held = flow.answers[Action.NEW, Reason.HOLD]
    assert 0 < held <= during[NEW]
    _check_nothing_false(flow, Counter(each.kind for each in messages))
    assert {reason for (_, reason) in flow.answers} == {"approved", Reason.HOLD}
    assert flow.core.holds.blocking(SPX) is None


def test_a_dangerous_order_in_real_flow_is_denied() -> None:
    """What this counts as false would be seen: one order crosses our own, which is a danger; one is outside
    the collar, which no real order was."""

    async def run() -> None:
        flow, messages = Flow(), _slice("AAPL")
        for message in messages[:500]:
            await flow.take(message)
        last, view = messages[499], flow.core.portfolio.holdings[SPX]
        assert view.position < 0, "so that a sale is new exposure"
        ours = flow.core.orders.nearest(SPX, Side.BUY)
        assert ours is not None
        for ref, price in (("crossing", ours), ("far", last.bid * 106 // 100)):
            await flow.take(last._replace(kind=NEW, ref=ref, side=Side.SELL, price=price, size=10))
        assert flow.answers[Action.NEW, Reason.SELF_TRADE] == 1
        assert [denied.reason for denied in flow.false] == [Reason.PRICE_COLLAR]
        flow.check()

    asyncio.run(run())


def test_what_twice_as_busy_means() -> None:
    """Order and number stay; the busiest second has at least twice as many, and no more than it must."""
    plain = _slice("AAPL")
    close = list(twice_as_busy(plain))
    assert [each._replace(time_ns=0) for each in close] == [each._replace(time_ns=0) for each in plain]
    assert all(one.time_ns <= other.time_ns for one, other in pairwise(close))
    assert 2 <= busiest(each.time_ns for each in close) / busiest(each.time_ns for each in plain) < 2.3


def test_the_busiest_second() -> None:
    """Any second, not one that begins with the clock's; its two ends are not both in it."""
    assert busiest([]) == 0
    assert busiest([0, SECOND - 1, SECOND]) == 2
    assert busiest([SECOND * 9 // 10, SECOND, SECOND * 11 // 10, 3 * SECOND]) == 3
    assert busiest([0, FSYNC_NS, 2 * FSYNC_NS], FSYNC_NS) == 1
