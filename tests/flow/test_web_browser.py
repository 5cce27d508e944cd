"""The page in a real browser: what a person sees when the mode changes, when the box is gone, and on a phone.

Needs chromium; without it these tests are skipped, and the summary says so.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from appliance.audit.chain_public import public_story
from appliance.audit.chain_svg import svg
from appliance.domain.status import LimitLine, Part
from appliance.web import stream
from appliance.web.access import LOOPBACK_HOSTS
from appliance.web.server import listening, make_app
from tests.pictures.browser import Browser, Page, chromium
from tests.pictures.web_samples import EMERGENCY, HELD, NORMAL, PAUSED, SITUATIONS, SampleSource
from tests.unit.test_audit_provenance import of_entry, the_story

pytestmark = pytest.mark.skipif(
    chromium() is None,
    reason="NO CHROMIUM: the status page was not looked at in a browser (apt install chromium)",
)

LIVE = "document.documentElement.dataset.link === 'live'"
LOST = "document.documentElement.dataset.link === 'lost'"

DOM = """(() => {
  const skip = new Set(["data-link"]);
  const tell = (node) => {
    if (node.nodeType === 3) return node.data.trim();
    if (node.nodeType !== 1 || node.classList.contains("local")) return "";
    const attributes = [...node.attributes].filter((a) => !skip.has(a.name));
    const said = attributes.map((a) => `${a.name}=${a.value}`).sort();
    return [node.tagName, said, [...node.childNodes].map(tell).filter((part) => part !== "")];
  };
  return JSON.stringify([document.title, tell(document.documentElement)]);
})()"""

COLOURS = """(() => {
  const found = new Set();
  for (const element of document.querySelectorAll("body *")) {
    const style = getComputedStyle(element);
    for (const name of ["color", "background-color", "background-image", "border-top-color",
                        "border-left-color", "box-shadow", "fill", "stroke", "outline-color"]) {
      for (const color of style.getPropertyValue(name).match(/rgba?\\([^)]*\\)/g) ?? []) {
        const [red, green, blue, alpha] = color.match(/[\\d.]+/g).map(Number);
        const seen = alpha !== 0 && !(element.matches(".glow, .glow *") && style.opacity === "0");
        if (seen && !(red === green && green === blue)) found.add(`${element.className} ${name} ${color}`);
      }
    }
  }
  return [...found];
})()"""

GLOW = """[...document.querySelectorAll('.glow')].map((part) => getComputedStyle(part))
  .map((style) => [style.animationName, +style.opacity])"""

CHROMA = """(async (data) => {
  const picture = await createImageBitmap(await (await fetch(data)).blob());
  const canvas = new OffscreenCanvas(picture.width, picture.height).getContext("2d");
  canvas.drawImage(picture, 0, 0);
  const pixels = canvas.getImageData(0, 0, picture.width, picture.height).data;
  let most = 0;
  for (let at = 0; at < pixels.length; at += 4) {
    const [red, green, blue] = [pixels[at], pixels[at + 1], pixels[at + 2]];
    most = Math.max(most, Math.max(red, green, blue) - Math.min(red, green, blue));
  }
  return most;
})"""


class Drawn:
    """Draws the denial of the story, whatever is asked for."""

    async def picture(self, _index: int) -> str | None:
        """See Pictures."""
        chain = of_entry(the_story(), 18)
        return svg(public_story(chain, 18, str), str, dict.fromkeys(chain.records, 0))


class Box:
    """A box that can be switched off and on again at one address."""

    def __init__(self) -> None:
        self.source = SampleSource()
        self.port = 0
        self._stack = contextlib.AsyncExitStack()

    async def on(self) -> None:
        """Serves the page."""
        app = make_app(self.source, allowed_hosts=LOOPBACK_HOSTS, pictures=Drawn())
        self.port = await self._stack.enter_async_context(listening(app, port=self.port))

    async def off(self) -> None:
        """Stops serving."""
        await self._stack.aclose()

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.port}/"


def _look(test: Callable[[Browser, Box], Awaitable[None]]) -> None:
    """Runs the test with a browser and a box; what hangs fails."""

    @contextlib.asynccontextmanager
    async def standing() -> AsyncIterator[Box]:
        box = Box()
        await box.on()
        try:
            yield box
        finally:
            await box.off()

    async def run() -> None:
        async with asyncio.timeout(120), Browser.start() as browser, standing() as box:
            await test(browser, box)

    asyncio.run(run())


async def _chroma(page: Page, png: bytes) -> int:
    """The largest difference between two channels of any pixel."""
    picture = "data:image/png;base64," + base64.b64encode(png).decode()
    return int(await page.evaluate(f"{CHROMA}({json.dumps(picture)})"))


@pytest.mark.safety("HW-13")
def test_mode_changes_reach_the_screen(capsys: pytest.CaptureFixture[str]) -> None:
    """100 changes, each shown in text, title and colour. The time is reported, not judged (HW-13, USR-11)."""

    async def test(browser: Browser, box: Box) -> None:
        page = await browser.page()
        await page.goto(box.url)
        await page.until(LIVE)
        await page.evaluate(
            "window.seen = []; new MutationObserver(() => requestAnimationFrame(() => seen.push(Date.now())))"
            ".observe(document.getElementById('mode'), {childList: true, characterData: true, subtree: true})"
        )
        changed = []
        for status in [EMERGENCY, PAUSED, replace(NORMAL, mode="REDUCED"), NORMAL] * 25:
            changed.append(time.time() * 1000)
            box.source.set(status)
            await page.until(f"document.getElementById('mode').textContent === '{status.mode}'")
            title, root = await page.evaluate("[document.title, document.documentElement.dataset.mode]")
            assert title.startswith(status.mode)
            assert root == status.mode
        await page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        shown = await page.evaluate("seen")
        delays = sorted(at - then for at, then in zip(shown, changed, strict=True))
        figures = f"p50 {delays[49]:.0f} ms, p99 {delays[98]:.0f} ms, max {delays[99]:.0f} ms"
        with capsys.disabled():
            print(f"\n  mode change -> painted text, 100 changes: {figures}")
        assert page.complaints == []

    _look(test)


def test_a_page_that_was_updated_equals_a_page_that_was_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """For every pair of situations: nothing of the old state stays, nothing of the new one is missing."""
    monkeypatch.setattr(stream, "MIN_GAP_S", 0.001)

    async def test(browser: Browser, box: Box) -> None:
        fresh: dict[str, Any] = {}
        page = await browser.page()
        for name, status in SITUATIONS.items():
            box.source.set(status)
            await page.goto(box.url)
            await page.until(LIVE)
            fresh[name] = json.loads(await page.evaluate(DOM))
        for before in SITUATIONS:
            for after in SITUATIONS:
                for step, name in enumerate((before, after)):
                    marked = f"{before} {after} {step}"
                    box.source.set(replace(SITUATIONS[name], uptime_s=0, box=marked))
                    await page.until(f"document.getElementById('box').textContent === '{marked}'")
                box.source.set(SITUATIONS[after])
                await page.until("document.getElementById('box').textContent === 'attic-01'")
                assert json.loads(await page.evaluate(DOM)) == fresh[after], f"{before} -> {after}"
        assert page.complaints == []

    _look(test)


def test_a_box_that_is_gone_is_unknown_and_without_colour() -> None:
    """Text, title, lamps and every pixel; and all of it returns when the box does."""

    async def test(browser: Browser, box: Box) -> None:
        page, helper = await browser.page(), await browser.page()
        box.source.set(EMERGENCY)
        await page.goto(box.url)
        await page.until(LIVE)
        assert await page.evaluate(COLOURS) != []
        assert await _chroma(helper, await page.screenshot()) > 100
        await box.off()
        await page.until(LOST)
        heading = await page.evaluate("document.querySelector('h1').textContent.replace(/\\s+/g, ' ')")
        title = await page.evaluate("document.title")
        said = r"UNKNOWN – NOT CONNECTED SINCE \d\d:\d\d:\d\d Z"
        assert re.search(said, heading), heading
        assert re.fullmatch(said, title), title
        assert await page.evaluate(GLOW) == [["none", 0]] * 3
        for dark in (False, True):
            await page.look(width=1280, height=900, dark=dark)
            assert await page.evaluate(COLOURS) == []
            assert await _chroma(helper, await page.screenshot(whole=True)) == 0
        lamps = await page.evaluate("[...document.querySelectorAll('.lamp')].map((lamp) => lamp.innerText)")
        assert all("unknown" in lamp and "off" not in lamp and "slow" not in lamp for lamp in lamps), lamps
        box.source.set(NORMAL)
        await box.on()
        await page.until(LIVE)
        assert (await page.evaluate("document.title")).startswith("NORMAL – ")
        assert await page.evaluate("document.getElementById('mode').textContent") == "NORMAL"
        assert "NOT CONNECTED" not in await page.evaluate("document.body.innerText")

    _look(test)


def test_a_box_that_hangs_is_unknown_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection stands, but no event comes: silence is not a state."""
    monkeypatch.setattr(stream, "TICK_S", 3_600.0)

    async def test(browser: Browser, box: Box) -> None:
        page = await browser.page()
        await page.goto(box.url)
        await page.until(LOST)
        box.source.set(HELD)
        await page.until(LIVE)
        assert (await page.evaluate("document.title")).startswith("NORMAL + HOLD")

    _look(test)


def test_a_refused_stream_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser gives up for good after a 503; the page does not, and says UNKNOWN meanwhile."""
    monkeypatch.setattr(stream, "MAX_STREAMS", 0)

    async def test(browser: Browser, box: Box) -> None:
        page = await browser.page()
        await page.goto(box.url)
        await page.until(LOST)
        assert "16 pages are open already" in await page.evaluate("document.body.innerText")
        monkeypatch.setattr(stream, "MAX_STREAMS", 16)
        await page.until(LIVE)

    _look(test)


def test_an_event_the_page_cannot_read_is_no_event() -> None:
    """A page that fails to show the state must not look as if it showed it."""

    async def test(browser: Browser, box: Box) -> None:
        page = await browser.page()
        await page.goto(box.url)
        await page.until(LIVE)
        await page.evaluate("document.getElementById('audit-root').remove()")
        await page.until(LOST)
        assert any("exception" in complaint for complaint in page.complaints)

    _look(test)


def test_an_updated_box_gets_its_own_page() -> None:
    """Old markup and old script do not go on with a new core."""

    async def test(browser: Browser, box: Box) -> None:
        page = await browser.page()
        await page.goto(box.url)
        await page.until(LIVE)
        await box.off()
        box.source.set(replace(NORMAL, version="0.2.0"))
        loaded = page.event("Page.loadEventFired")
        await box.on()
        await loaded
        await page.until(LIVE)
        assert await page.evaluate("document.getElementById('version').textContent") == "0.2.0"
        assert (await page.evaluate("document.documentElement.dataset.build")).startswith("0.2.0 ")

    _look(test)


def test_nothing_is_wider_than_a_small_phone() -> None:
    """320 CSS pixels, which is also a desktop at 400 %: no sideways scrolling, also with long words."""
    long = replace(
        EMERGENCY,
        box="x" * 90,
        holds=HELD.holds,
        limits=(LimitLine("s" * 80, "n" * 80, "9" * 30),),
        parts=(Part("p" * 120, "down", "d" * 200),),
        audit=replace(EMERGENCY.audit, origin="o" * 200, alarm="a" * 200),
    )

    async def test(browser: Browser, box: Box) -> None:
        page = await browser.page(width=320, height=640)
        for status in [*SITUATIONS.values(), long]:
            box.source.set(status)
            await page.goto(box.url)
            await page.until(LIVE)
            assert await page.evaluate("document.documentElement.scrollWidth") == 320
        await box.off()
        await page.until(LOST)
        assert await page.evaluate("document.documentElement.scrollWidth") == 320

    _look(test)


def test_without_motion_no_lamp_blinks_and_none_looks_steady() -> None:
    """The drawn rhythm and the words stay; only the fault pattern is lit."""

    async def test(browser: Browser, box: Box) -> None:
        page = await browser.page()
        await page.goto(box.url)
        assert (await page.evaluate(GLOW))[0][0] == "pulse"
        await page.look(width=1280, height=900, calm=True)
        assert await page.evaluate(GLOW) == [["none", 0]] * 3
        says = await page.evaluate("document.querySelector('.lamp-says').innerText")
        assert says == "pulse a short blink every second"
        steady = replace(NORMAL.lamps[1], pattern="steady")
        box.source.set(replace(NORMAL, lamps=(NORMAL.lamps[0], steady, NORMAL.lamps[2])))
        await page.until("document.querySelectorAll('.lamp')[1].dataset.pattern === 'steady'")
        assert [opacity for _, opacity in await page.evaluate(GLOW)] == [0, 1, 0]

    _look(test)


def test_without_script_the_page_tells_all_and_grows_pale() -> None:
    """It says that it does not update, and loses its colours ten seconds after it was loaded."""

    async def test(browser: Browser, box: Box) -> None:
        page = await browser.page(dark=True)
        helper = await browser.page()
        await page.call("Emulation.setScriptExecutionDisabled", value=True)
        await page.call("Animation.enable")
        box.source.set(EMERGENCY)
        await page.goto(box.url)
        assert (await page.evaluate("document.title")).startswith("EMERGENCY")
        assert (
            await page.evaluate("getComputedStyle(document.getElementById('stale')).visibility") == "hidden"
        )
        await page.evaluate(
            "for (const animation of document.getAnimations())"
            " if (animation.animationName.startsWith('stale')) animation.finish()"
        )
        assert (
            await page.evaluate("getComputedStyle(document.getElementById('stale')).visibility") == "visible"
        )
        assert await page.evaluate("document.getElementById('stale').offsetHeight") > 20
        assert await _chroma(helper, await page.screenshot()) == 0

    _look(test)


def test_local_time_stands_beside_utc() -> None:
    """Added by the script where the reader's zone is not UTC, and nowhere else."""

    async def test(browser: Browser, box: Box) -> None:
        page = await browser.page()
        await page.call("Emulation.setTimezoneOverride", timezoneId="Asia/Kolkata")
        await page.goto(box.url)
        await page.until(LIVE)
        assert (
            await page.evaluate("document.querySelector('#now + .local').textContent") == "(12:36:05 local)"
        )
        await page.call("Emulation.setTimezoneOverride", timezoneId="America/Los_Angeles")
        box.source.set(EMERGENCY)
        await page.goto(box.url)
        await page.until(LIVE)
        trip = await page.evaluate("document.querySelector('#trip-since + .local').textContent")
        assert trip == "(2026-11-20 23:05:46 local)", "there it is still the day before"
        await page.call("Emulation.setTimezoneOverride", timezoneId="UTC")
        await page.goto(box.url)
        await page.until(LIVE)
        assert await page.evaluate("document.querySelector('#now + .local').textContent") == ""

    _look(test)


def test_pictures_can_be_taken(tmp_path: Path) -> None:
    """What the README's pictures are made with: phone and desktop, both schemes, exact sizes."""

    async def test(browser: Browser, box: Box) -> None:
        for width, height, dark in [(390, 844, True), (1280, 900, False)]:
            page = await browser.page(width=width, height=height, dark=dark)
            await page.goto(box.url)
            await page.until(LIVE)
            picture = await page.screenshot(tmp_path / "page.png")
            assert picture == (tmp_path / "page.png").read_bytes()
            assert picture[:8] == b"\x89PNG\r\n\x1a\n"
            assert (int.from_bytes(picture[16:20]), int.from_bytes(picture[20:24])) == (width, height)
            await page.close()

    _look(test)


def test_a_decision_is_followed_from_the_page_to_its_picture() -> None:
    """By two links; the picture looks as it is meant to under the strict policy, without a complaint."""

    async def test(browser: Browser, box: Box) -> None:
        page = await browser.page()
        await page.goto(box.url)
        await page.until(LIVE)
        assert "POSITION_CAP" in await page.evaluate("document.body.innerText")
        linked = "document.querySelector('[aria-labelledby=decisions-heading] a').href"
        await page.goto(await page.evaluate(linked))
        links = await page.evaluate("[...document.querySelectorAll('li a')].map((a) => a.pathname)")
        assert links == [f"/chain/{each.index}.svg" for each in NORMAL.decisions]
        await page.goto(await page.evaluate("document.querySelectorAll('li a')[1].href"))
        text = await page.evaluate("document.documentElement.textContent")
        assert "DENIED: NO_LIMIT" in text
        look = await page.evaluate(
            "[...document.querySelectorAll('rect')].map((r) => getComputedStyle(r))"
            ".map((s) => [s.fill, s.strokeWidth])"
        )
        assert set(map(tuple, look)) == {("rgb(255, 255, 255)", "1px"), ("rgb(255, 255, 255)", "3px")}
        icon = "/favicon.ico"  # asked for beside a picture, which cannot name another
        assert [said for said in page.complaints if not said.endswith(icon)] == []

    _look(test)
