"""/decisions and /chain/<n>.svg: from a verdict on the page to how it came about, read only."""

from __future__ import annotations

import asyncio
import re
import xml.etree.ElementTree as ET
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from appliance.domain.ids import IntentId
from appliance.domain.status import Decision
from appliance.runtime.chain_page import ChainPictures
from appliance.runtime.scribe import SHOWN, CoreScribe
from appliance.web.access import HEADERS, LOOPBACK_HOSTS
from appliance.web.chains import GAP_S, is_here
from appliance.web.decisions import render_decisions
from appliance.web.server import listening, make_app
from appliance.web.source import Pictures
from tests.audit_story import StoryBox
from tests.kit import DoneTicket
from tests.pictures.web_samples import NORMAL, SampleSource
from tests.unit.web_document import Document

BUY_VERDICT, DENIAL = 8, 18
Test = Callable[[aiohttp.ClientSession], Awaitable[None]]


class Ticks:
    """A clock that goes on by more than a picture's pause at every look, unless it stands."""

    def __init__(self) -> None:
        self.now_s, self.step_s = 0.0, GAP_S

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


class Drawer:
    """Draws what it is told to, when it is let."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.gate, self.drawing = asyncio.Event(), asyncio.Event()

    async def picture(self, index: int) -> str | None:
        """See Pictures."""
        self.asked.append(index)
        self.drawing.set()
        await self.gate.wait()
        return "<svg/>" if index < 100 else None


def serve(test: Test, pictures: Pictures | None, clock: Ticks | None = None) -> None:
    """Runs the test against a page; what hangs fails."""

    async def run() -> None:
        page = SampleSource()
        app = make_app(page, allowed_hosts=LOOPBACK_HOSTS, clock=clock or Ticks(), pictures=pictures)
        async with (
            asyncio.timeout(20),
            listening(app, port=0) as port,
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
        ):
            await test(session)

    asyncio.run(run())


@pytest.fixture
def box(tmp_path: Path) -> StoryBox:
    """A log that tells a story."""
    return StoryBox(tmp_path)


def test_a_decision_of_the_log_is_drawn_and_nothing_else_is(box: StoryBox) -> None:
    """A verdict, not a fill, a trip, an entry that does not exist or a number too large for the store."""

    async def test(session: aiohttp.ClientSession) -> None:
        for index in (BUY_VERDICT, DENIAL):
            async with session.get(f"/chain/{index}.svg") as answer:
                body = await answer.text()
                assert answer.status == 200
                assert answer.headers["Content-Type"] == "image/svg+xml; charset=utf-8"
                assert {name: answer.headers[name] for name in HEADERS} == HEADERS
                assert answer.headers["Cache-Control"] == "no-store"
            assert ET.fromstring(body).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - our own drawing
            assert f"decision {index}" in body
            assert not re.search(r"BUY|SELL|1\.00|95\.00|110\.00|filled|LONG", body)
        for index in (5, 10, 20, 22, 999_999_999_999_999):
            async with session.get(f"/chain/{index}.svg") as answer:
                assert answer.status == 404, index

    serve(test, ChainPictures(box.paths.log))


def test_a_log_that_is_gone_or_damaged_is_no_decision(box: StoryBox, tmp_path: Path) -> None:
    """404, and the page goes on; nothing of an error is repeated."""
    (box.paths.log / "log.db").write_bytes(b"\0" * 8192)

    async def test(session: aiohttp.ClientSession) -> None:
        async with session.get(f"/chain/{BUY_VERDICT}.svg") as answer:
            assert (answer.status, await answer.text()) == (404, "404: there is no decision of that number\n")
        async with session.get("/") as answer:
            assert answer.status == 200

    serve(test, ChainPictures(box.paths.log))
    serve(test, ChainPictures(tmp_path / "nowhere"))


def test_one_picture_at_a_time_and_four_a_second() -> None:
    """Whoever asks more is told to ask again; the log is not read for them."""
    drawer, clock = Drawer(), Ticks()

    async def test(session: aiohttp.ClientSession) -> None:
        async def ask(index: int = 1) -> int:
            async with session.get(f"/chain/{index}.svg") as answer:
                if answer.status == 429:
                    assert answer.headers["Retry-After"] == "1"
                return answer.status

        first = asyncio.create_task(ask())
        await drawer.drawing.wait()
        assert [await ask(2), await ask(3)] == [429, 429]
        clock.step_s = 0.0
        drawer.gate.set()
        assert await first == 200
        clock.now_s += GAP_S / 2
        assert await ask(4) == 429
        clock.now_s += GAP_S / 2
        assert await ask(5) == 200
        assert drawer.asked == [1, 5]

    serve(test, drawer, clock)


def test_who_cannot_draw_has_no_pictures() -> None:
    """The page of a test or a tool without a log."""

    async def test(session: aiohttp.ClientSession) -> None:
        async with session.get("/chain/1.svg") as answer:
            assert answer.status == 404

    serve(test, None)


@pytest.mark.safety("S12.4")
def test_decisions_are_for_this_machine_alone() -> None:
    """Loopback in every spelling of it; nothing else, and nothing that is no address."""
    assert [is_here(each) for each in ("127.0.0.1", "127.9.9.9", "::1")] == [True] * 3
    others = ("10.0.0.1", "192.168.1.4", "::", "fe80::1", "localhost", "", None, "127.0.0.1:80")
    assert [is_here(each) for each in others] == [False] * len(others)


WORDS = st.sampled_from(
    ["1", "-1", "+1", "1.svg", "..", "%2e%2e", "%2f", "\u0661", "9" * 16, "0x8", "8 ", "", "%00", "8/9",
     ".svg"]
)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.lists(st.lists(WORDS | st.text(max_size=8), min_size=1, max_size=4), min_size=1, max_size=8))
def test_no_address_reaches_the_log_but_a_number(tries: list[list[str]]) -> None:
    """Any path below /chain: 404 or another refusal, or a picture of exactly that number."""
    drawer = Drawer()

    async def test(session: aiohttp.ClientSession) -> None:
        drawer.gate.set()
        for words in tries:
            path = "/chain/" + "".join(words)
            async with session.get(path, allow_redirects=False) as answer:
                plain = re.fullmatch(r"/chain/([0-9]{1,15})\.svg", answer.url.path)
                assert answer.status in ((200, 404) if plain else (400, 404)), path
                assert (answer.status == 200) == (plain is not None and int(plain[1]) < 100)
        assert all(0 <= index < 10**15 for index in drawer.asked)

    serve(test, drawer)


def test_the_list_links_each_decision_and_escapes_every_text() -> None:
    """Newest first as the status has them; a hostile name stays text; an address is a number."""
    hostile = '"><script>alert(1)</script>\u202e'
    decisions = (Decision(12, "0", hostile, "denied", hostile), Decision(-5, "x", "trend", hostile))
    page = Document(render_decisions(replace(NORMAL, decisions=decisions)))
    links = [element.attrs["href"] for element in page.all() if element.tag == "a"]
    assert links == ["/", "/chain/12.svg", "/chain/0.svg"]
    assert not [element for element in page.all() if element.tag == "script" or "style" in element.attrs]
    text = render_decisions(NORMAL)
    assert text.index("41987.svg") < text.index("41950.svg")
    assert "POSITION_CAP" in text
    assert "Nothing was decided" in render_decisions(replace(NORMAL, decisions=()))


class Log:
    """Numbers what it is given."""

    def __init__(self) -> None:
        self.size = 0

    def append(self, *_: object) -> DoneTicket:
        """See AuditLog."""
        self.size += 1
        return DoneTicket(self.size - 1, None)


def test_the_page_has_the_latest_of_either_verdict() -> None:
    """A flood of denials hides no approval; a list has its source in each order; other entries are none."""
    scribe = CoreScribe(Log())
    scribe.note("intent", {"source": "trend", "intent": IntentId("x")})
    scribe.note("verdict", {"verdict": "approved", "orders": [{"source": "trend"}], "list": "OCO"})
    for _ in range(SHOWN + 3):
        scribe.note("verdict", {"verdict": "denied", "source": "bot", "reason": "NO_LIMIT"})
    scribe.note("verdict", {"verdict": "approved", "source": "revert", "reason": ""})
    told = scribe.decisions()
    assert [(each.index, each.source, each.verdict, each.reason) for each in told] == [
        (SHOWN + 5, "revert", "approved", ""),
        *((index, "bot", "denied", "NO_LIMIT") for index in range(SHOWN + 4, 4, -1)),
        (1, "trend", "approved", ""),
    ]
