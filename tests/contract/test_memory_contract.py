"""`ports.Memory` as the pipeline uses it: never blocks, never raises, answers from the past."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from appliance.domain.errors import ConfigError
from appliance.domain.exit_codes import ExitCode
from appliance.domain.ids import InstrumentId
from appliance.domain.money import Price, Qty
from appliance.domain.observation import Observation, Quote, Trade
from appliance.memory.longterm_store import LongTermMemory
from appliance.memory.schema_store import create
from appliance.memory.service_store import MemoryService, MemorySettings
from appliance.ports import Memory
from tests.test_memory_kit import DAY, SPX, WTI, bar, memory, samples, similar, walk

CALM = MemorySettings(bar_ns=DAY, linger_ns=0, timeout_ns=30 * 10**9)
BARS = walk(200)


def service(folder: Path, settings: MemorySettings = CALM) -> MemoryService:
    """Over a new file, not started."""
    create(folder / "memory.db")
    return MemoryService(folder / "memory.db", [SPX, WTI], settings, time.monotonic_ns)


def trade(ns: int, price: int, qty: int) -> Trade:
    """Seen as it happened."""
    price_, qty_ = Price(price), Qty(qty)
    return Trade(instrument=SPX, event_ns=ns, seen_ns=ns, price=price_, qty=qty_, seller_initiated=False)


def quote(ns: int, bid: int, ask: int) -> Quote:
    """One on each side, seen as it happened."""
    prices = {"bid": Price(bid), "ask": Price(ask)}
    return Quote(instrument=SPX, event_ns=ns, seen_ns=ns, bid_qty=Qty(1), ask_qty=Qty(1), **prices)


def running(
    folder: Path, use: Callable[[MemoryService], Awaitable[None]], settings: MemorySettings = CALM
) -> MemoryService:
    """Starts a service, uses it on a loop, and closes it."""

    async def all_of_it() -> MemoryService:
        one = service(folder, settings)
        one.start()
        await use(one)
        assert await one.close(30 * 10**9)
        return one

    return asyncio.run(all_of_it())


def remember_all(one: Memory, observations: Sequence[Observation]) -> None:
    """What the pipeline does on each observation."""
    for observation in observations:
        one.remember(observation)


def test_an_answer_knows_everything_remembered_before_the_question(tmp_path: Path) -> None:
    """The same precedents as the store gives when each bar is stored at once."""
    store = memory(tmp_path / "reference.db")
    for sample in samples(BARS):
        store.store([sample])
    expected = similar(store, 5)
    store.close()

    async def use(one: MemoryService) -> None:
        remember_all(one, BARS)
        assert await one.find_similar_conditions(SPX, 5) == expected
        assert one.stats().rows == len(BARS)

    stats = running(tmp_path, use).stats()
    assert (stats.answered, stats.dropped, stats.repeated, stats.refused) == (1, 0, 0, 0)
    assert stats.last_query_us > 0


@pytest.mark.parametrize("k", [-1, 0, 1, 4096, 4097, 10**9])
def test_any_number_of_neighbours_may_be_asked_for(tmp_path: Path, k: int) -> None:
    """A strange k is answered with what there is, not with an exception in the pipeline."""

    async def use(one: MemoryService) -> None:
        remember_all(one, BARS)
        found = await one.find_similar_conditions(SPX, k)
        assert len(found) == max(0, min(k, len(BARS) - 21))

    running(tmp_path, use)


def test_too_little_history_has_no_precedents(tmp_path: Path) -> None:
    """Not an error; counted under its own name. An instrument not configured has no history either."""

    async def use(one: MemoryService) -> None:
        remember_all(one, BARS[:83])
        assert await one.find_similar_conditions(SPX, 3) == ()
        assert await one.find_similar_conditions(InstrumentId("NONE"), 3) == ()
        one.remember(BARS[83])
        assert len(await one.find_similar_conditions(SPX, 3)) == 3

    stats = running(tmp_path, use).stats()
    assert (stats.unanswered, stats.answered) == ({"no_condition": 2}, 1)


@pytest.mark.parametrize(
    "observation",
    [
        bar(1, (0, 1, 0, 1)),
        bar(1, (1, 2**63, 1, 1)),
        bar(1, (5, 4, 3, 9)),
        bar(1, (1, 1, 1, 1), volume=2**64),
        bar(-1, (1, 1, 1, 1)),
        bar(1, (1, 1, 1, 1), symbol="NONE"),
        trade(1, -1, 1),
        quote(1, 2, 1),
    ],
)
def test_what_cannot_be_used_is_counted_and_not_raised(tmp_path: Path, observation: Observation) -> None:
    """Judging data is not memory's business; ending the process over it even less."""

    async def use(one: MemoryService) -> None:
        one.remember(observation)
        assert await one.settle()

    stats = running(tmp_path, use).stats()
    assert (stats.refused, stats.rows) == (1, 0)


def test_the_session_has_the_newest_observations_at_once(tmp_path: Path) -> None:
    """L1 does not wait for L2, and needs no started thread."""
    one = service(tmp_path)
    remember_all(one, BARS)
    assert list(one.session.recent(SPX, 3)) == BARS[-3:]


def test_a_feed_of_ticks_is_remembered_in_bars(tmp_path: Path) -> None:
    """100 minutes of trades and quotes, one condition a minute, with the spread in it."""
    settings = msgspec.structs.replace(CALM, bar_ns=60 * 10**9)

    async def use(one: MemoryService) -> None:
        for second in range(0, 6060, 20):
            ns, price = second * 10**9, 1000 + second * 7 % 31
            one.remember(quote(ns, price - 1, price + 1))
            one.remember(trade(ns, price, second))
        found = await one.find_similar_conditions(SPX, 2)
        assert len(found) == 2
        assert all(precedent.event_ns % (60 * 10**9) == 0 for precedent in found)

    assert running(tmp_path, use, settings).stats().rows == 100


def test_a_full_queue_drops_and_counts(tmp_path: Path) -> None:
    """Bounded: before the thread runs, exactly so many bars wait."""
    one = service(tmp_path, msgspec.structs.replace(CALM, queue_bars=5))
    remember_all(one, BARS[:12])
    assert (one.stats().queued, one.stats().dropped) == (5, 7)


def test_a_disk_without_room_is_not_written_to(tmp_path: Path) -> None:
    """What is not stored is counted; the session and the answers go on, and so does storing when there is."""

    async def use(one: MemoryService) -> None:
        remember_all(one, BARS[:100])
        assert await one.settle()
        one.may_store = False
        remember_all(one, BARS[100:150])
        assert await one.settle()
        assert (one.stats().rows, one.stats().dropped) == (100, 50)
        assert one.session.recent(SPX, 1) == (BARS[149],)
        assert await one.find_similar_conditions(SPX, 3)
        one.may_store = True
        remember_all(one, BARS[150:])

    assert running(tmp_path, use).stats().rows == 150


def test_closing_stores_what_lingers(tmp_path: Path) -> None:
    """A bar may wait an hour for company, not longer than the process."""

    async def use(one: MemoryService) -> None:
        remember_all(one, BARS[:30])

    one = running(tmp_path, use, msgspec.structs.replace(CALM, linger_ns=3600 * 10**9))
    assert (one.stats().rows, one.stats().degraded) == (30, "closed")
    reopened = memory(tmp_path / "memory.db")
    assert reopened.row_count == 30
    reopened.close()


def test_what_is_known_already_is_counted(tmp_path: Path) -> None:
    """Repeated bars are neither stored nor lost."""

    async def use(one: MemoryService) -> None:
        remember_all(one, [*BARS[:30], *BARS[20:40]])

    stats = running(tmp_path, use).stats()
    assert (stats.rows, stats.repeated, stats.dropped) == (40, 10, 0)


def test_after_closing_nothing_is_accepted_and_nothing_raises(tmp_path: Path) -> None:
    """Shutdown order is the runtime's business."""

    async def use(one: MemoryService) -> None:
        assert await one.close(30 * 10**9)
        one.remember(BARS[0])
        assert await one.find_similar_conditions(SPX, 1) == ()
        assert not await one.settle()

    stats = running(tmp_path, use).stats()
    assert (stats.dropped, stats.unanswered) == (1, {"down": 1})


def test_the_daemon_does_not_make_its_own_memory(tmp_path: Path) -> None:
    """Absence is a matter of provisioning: exit 78 and the command that mends it."""
    one = MemoryService(tmp_path / "memory.db", [SPX], CALM, time.monotonic_ns)
    with pytest.raises(ConfigError, match="DO: interlock init") as caught:
        one.start()
    assert caught.value.exit_code is ExitCode.CONFIG
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bar_ns", [0, 1, -DAY, DAY + 1])
def test_a_strange_bar_length_is_refused_at_once(tmp_path: Path, bar_ns: int) -> None:
    """At construction, not later inside the thread."""
    with pytest.raises(ValueError, match="bar_ns"):
        MemoryService(tmp_path / "memory.db", [], MemorySettings(bar_ns=bar_ns), time.monotonic_ns)


def test_a_cancelled_question_is_cancelled(tmp_path: Path) -> None:
    """The asker may leave; the thread goes on and later questions are answered."""

    async def use(one: MemoryService) -> None:
        remember_all(one, BARS)
        question = asyncio.create_task(one.find_similar_conditions(SPX, 3))
        await asyncio.sleep(0)
        question.cancel()
        with pytest.raises(asyncio.CancelledError):
            await question
        assert len(await one.find_similar_conditions(SPX, 3)) == 3

    assert running(tmp_path, use).stats().answered == 1


def test_the_configuration_reaches_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row limit and mapping reach the file."""
    seen: list[tuple[object, ...]] = []
    original = LongTermMemory.__init__

    def spy(self: LongTermMemory, *given: object) -> None:
        seen.append(given)
        original(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(LongTermMemory, "__init__", spy)

    async def use(one: MemoryService) -> None:
        assert await one.settle()

    running(tmp_path, use, msgspec.structs.replace(CALM, max_rows=7, mmap_bytes=1 << 20))
    assert seen == [(tmp_path / "memory.db", DAY, 7, 1 << 20)]
