"""/events: a change is pushed at once, silence is filled, and sixteen readers are the limit."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace

from appliance.web import stream
from appliance.web.access import LOOPBACK_HOSTS
from appliance.web.server import BROADCAST, listening, make_app
from appliance.web.source import Bell
from tests.pictures.web_samples import EMERGENCY, NORMAL, PAUSED, SampleSource

NEVER_S = 3_600.0


class Reader:
    """One SSE client that decodes frames by the rules of the format."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer
        self.status = answer.status

    async def frame(self) -> dict[str, Any]:
        """The next view event."""
        fields: dict[str, str] = {}
        async for raw in self._answer.content:
            line = raw.decode().removesuffix("\n")
            if not line:
                assert fields["event"] == "view"
                view: dict[str, Any] = json.loads(fields["data"])
                return view
            name, _, value = line.partition(": ")
            assert name in {"id", "event", "data"}, line
            fields[name] = value
        raise EOFError

    async def mode(self) -> str:
        """The mode in the next event."""
        mode: str = (await self.frame())["one"]["mode"][0]
        return mode

    async def until(self, mode: str) -> None:
        """Reads on until this mode is shown."""
        while await self.mode() != mode:
            pass


@contextlib.asynccontextmanager
async def _serving(source: SampleSource) -> AsyncIterator[tuple[aiohttp.ClientSession, stream.Broadcast]]:
    app = make_app(source, allowed_hosts=LOOPBACK_HOSTS)
    async with (
        asyncio.timeout(20),
        listening(app, port=0) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        yield session, app[BROADCAST]


async def _turn() -> None:
    """Lets everything that is ready run."""
    await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def _reading(session: aiohttp.ClientSession) -> AsyncIterator[Reader]:
    async with session.get("/events") as answer:
        yield Reader(answer)


@pytest.mark.safety("HW-13")
def test_a_mode_change_is_pushed_and_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the regular event an hour away, every change arrives because it rang."""
    monkeypatch.setattr(stream, "TICK_S", NEVER_S)

    async def run() -> None:
        source = SampleSource()
        async with _serving(source) as (session, _), _reading(session) as reader:
            await reader.until("NORMAL")
            for status in [EMERGENCY, PAUSED, NORMAL] * 5:
                source.set(status)
                await reader.until(status.mode)

    asyncio.run(run())


def test_an_event_comes_without_any_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counters never ring; and silence would make the page say UNKNOWN."""
    monkeypatch.setattr(stream, "TICK_S", 0.005)

    async def run() -> None:
        source = SampleSource()
        async with _serving(source) as (session, _), _reading(session) as reader:
            await reader.frame()
            source.status = replace(NORMAL, uptime_s=77)
            while (await reader.frame())["one"]["uptime"][0] != "1 min 17 s":
                pass

    asyncio.run(run())


def test_regular_events_are_well_inside_the_second_the_page_allows() -> None:
    """Two may be lost before a page says UNKNOWN."""
    assert 0.2 <= stream.TICK_S + stream.MIN_GAP_S <= 0.34


def test_a_source_that_rings_without_end_does_not_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames are made no faster than MIN_GAP_S, and the last state always arrives."""
    monkeypatch.setattr(stream, "TICK_S", NEVER_S)

    async def run() -> None:
        source = SampleSource()
        async with _serving(source) as (session, _), _reading(session) as reader:
            await reader.frame()
            clock = asyncio.get_running_loop().time
            asked, started = source.asked, clock()
            for at in range(5_000):
                source.set(replace(NORMAL, uptime_s=at))
                if at % 100 == 0:
                    await asyncio.sleep(0)
            source.set(PAUSED)
            await reader.until("PAUSED")
            assert source.asked - asked <= 2 + (clock() - started) / stream.MIN_GAP_S

    asyncio.run(run())


def test_sixteen_streams_and_no_more() -> None:
    """The seventeenth gets a reason; the place of one that leaves is given again."""

    async def run() -> None:
        async with _serving(SampleSource()) as (session, broadcast), contextlib.AsyncExitStack() as stack:
            readers = [
                await stack.enter_async_context(_reading(session)) for _ in range(stream.MAX_STREAMS - 1)
            ]
            last = await session.get("/events")
            readers.append(Reader(last))
            assert [reader.status for reader in readers] == [200] * 16
            for reader in readers:
                assert await reader.mode() == "NORMAL"
            async with session.get("/events") as refused:
                assert refused.status == 503
                assert refused.headers["Retry-After"] == "5"
                assert await refused.text() == "503: all 16 streams are in use; close another status page\n"
            async with session.get("/") as page, session.head("/events") as head:
                assert (page.status, head.status) == (200, 200)
            last.close()
            while broadcast.streams == stream.MAX_STREAMS:
                await readers[0].frame()
            async with session.get("/events") as again:
                assert again.status == 200
                assert await Reader(again).mode() == "NORMAL"

    asyncio.run(run())


def test_leaving_readers_cost_nothing_and_log_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiohttp would log a traceback for each; and without readers no frame is made."""
    monkeypatch.setattr(stream, "TICK_S", 0.001)

    async def run() -> None:
        source = SampleSource()
        async with _serving(source) as (session, broadcast):
            for _ in range(5):
                answer = await session.get("/events")
                await Reader(answer).frame()
                answer.close()
            while broadcast.streams:  # noticed when the next frame cannot be written
                await _turn()
            asked = source.asked
            source.set(EMERGENCY)
            for _ in range(5):
                await _turn()
            assert source.asked == asked
            async with _reading(session) as reader:
                assert await reader.mode() == "EMERGENCY", "the first event is of now, not of the last reader"

    asyncio.run(run())
    assert [record for record in caplog.records if record.levelname not in {"DEBUG", "INFO"}] == []


def test_events_are_never_kept_by_a_cache_or_a_proxy() -> None:
    """Type, no-store, and the wish not to be buffered."""

    async def run() -> None:
        async with _serving(SampleSource()) as (session, _), session.get("/events") as answer:
            assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["X-Accel-Buffering"] == "no"

    asyncio.run(run())


def test_stopping_ends_the_streams() -> None:
    """A page must not hold up the end of the core: each stream ends by itself, not by a broken connection."""

    async def run() -> None:
        source = SampleSource()
        async with aiohttp.ClientSession() as session:
            app = make_app(source, allowed_hosts=LOOPBACK_HOSTS)
            async with asyncio.timeout(10):
                async with listening(app, port=0) as port:
                    answer = await session.get(f"http://127.0.0.1:{port}/events")
                    reader = Reader(answer)
                    await reader.frame()
                with pytest.raises(EOFError):
                    await reader.until("a mode there is not")
            answer.close()

    asyncio.run(run())


def test_no_ring_of_the_bell_is_missed() -> None:
    """Rung before the wait, during it, and twice: the waiter always learns of it, once."""

    async def run() -> None:
        bell = Bell()
        assert await bell.wait_change(0) == 1
        waiting = [asyncio.create_task(bell.wait_change(1)) for _ in range(3)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        bell.ring()
        bell.ring()
        assert await asyncio.gather(*waiting) == [3, 3, 3]
        assert await bell.wait_change(2) == 3
        cancelled = asyncio.create_task(bell.wait_change(3))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        bell.ring()
        assert await bell.wait_change(3) == 4

    asyncio.run(run())
