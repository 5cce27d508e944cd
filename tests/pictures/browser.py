"""A headless Chromium, driven over its DevTools protocol with aiohttp's websocket client.

    async with Browser.start() as browser:
        page = await browser.page(width=390, height=844, dark=True)
        await page.goto("http://127.0.0.1:8480/")
        await page.screenshot(path)

Nothing here waits by time: every step waits for the protocol's own event. `--virtual-time-budget` must not be
used with a page that keeps a stream open: it never returns.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

STEP_S = 30.0
"""A step that takes longer has failed."""

_UNTIL = """new Promise((done) => {
  const look = () => {
    if (!(CONDITION)) return false;
    watcher.disconnect();
    done();
    return true;
  };
  const watcher = new MutationObserver(look);
  const all = {subtree: true, childList: true, characterData: true, attributes: true};
  look() || watcher.observe(document, all);
})"""

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)


def chromium() -> str | None:
    """Path of the browser, None if there is none on this machine."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class BrowserError(Exception):
    """The browser refused a step or the page threw."""


class Browser:
    """One browser process with its own throw-away profile."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def start(cls) -> AsyncIterator[Browser]:
        """Starts it, and leaves neither process nor profile behind."""
        program = chromium()
        if program is None:
            raise BrowserError("no chromium on this machine")
        with tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as profile:
            process = await asyncio.create_subprocess_exec(
                program,
                *_FLAGS,
                f"--user-data-dir={profile}",
                "about:blank",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
            try:
                async with asyncio.timeout(STEP_S):
                    address = await _devtools_address(process)
                assert process.stderr is not None
                rest = asyncio.create_task(_drain(process.stderr))
                async with (
                    aiohttp.ClientSession() as session,
                    session.ws_connect(address, max_msg_size=0, heartbeat=None) as socket,
                ):
                    browser = cls(socket)
                    reader = asyncio.create_task(browser._read())
                    try:
                        yield browser
                    finally:
                        reader.cancel()
                        await asyncio.gather(reader, return_exceptions=True)
                rest.cancel()
                await asyncio.gather(rest, return_exceptions=True)
            finally:
                await _end(process)

    async def page(
        self, *, width: int = 1280, height: int = 900, dark: bool = False, scale: int = 1, calm: bool = False
    ) -> Page:
        """A new page. scale: device pixels per CSS pixel. calm: the reader prefers reduced motion."""
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        page = Page(self, attached["sessionId"], target["targetId"])
        self._pages[page.session] = page
        for domain in ("Page", "Runtime", "Log"):
            await page.call(f"{domain}.enable")
        await page.look(width=width, height=height, dark=dark, scale=scale, calm=calm)
        return page

    async def call(self, method: str, session: str | None = None, **params: object) -> dict[str, Any]:
        """One DevTools command. Raises BrowserError with the protocol's words if it is refused."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        message: dict[str, object] = {"id": number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        await self._socket.send_str(json.dumps(message))
        async with asyncio.timeout(STEP_S):
            reply = await answer
        if "error" in reply:
            raise BrowserError(f"{method}: {reply['error']}")
        result: dict[str, Any] = reply["result"]
        return result

    async def _read(self) -> None:
        async for message in self._socket:
            body = json.loads(message.data)
            if "id" in body:
                answer = self._answers.pop(body["id"], None)
                if answer is not None and not answer.done():
                    answer.set_result(body)
            elif body.get("sessionId") in self._pages:
                self._pages[body["sessionId"]].heard(body["method"], body["params"])


class Page:
    """One tab. `complaints`: everything the console, the page's errors and the browser's log said."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self._browser = browser
        self.session, self._target = session, target
        self._waiting: dict[str, list[asyncio.Future[dict[str, Any]]]] = {}
        self.complaints: list[str] = []

    async def call(self, method: str, **params: object) -> dict[str, Any]:
        """A DevTools command to this tab."""
        return await self._browser.call(method, self.session, **params)

    async def look(
        self, *, width: int, height: int, dark: bool = False, scale: int = 1, calm: bool = False
    ) -> None:
        """Size in CSS pixels, colour scheme, and the wish for reduced motion."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 600,
        )
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if calm else "no-preference"},
        ]
        await self.call("Emulation.setEmulatedMedia", features=features)

    async def goto(self, url: str) -> None:
        """Returns when the page has loaded."""
        loaded = self.event("Page.loadEventFired")
        reply = await self.call("Page.navigate", url=url)
        if reply.get("errorText"):
            loaded.cancel()
            raise BrowserError(f"{url}: {reply['errorText']}")
        async with asyncio.timeout(STEP_S):
            await loaded

    def event(self, name: str) -> asyncio.Future[dict[str, Any]]:
        """Completes with the parameters of the next protocol event of that name."""
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(name, []).append(future)
        return future

    async def evaluate(self, expression: str) -> Any:
        """Value of a JavaScript expression; a promise is awaited."""
        reply = await self.call(
            "Runtime.evaluate",
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
            userGesture=False,
        )
        if "exceptionDetails" in reply:
            details = reply["exceptionDetails"]
            raise BrowserError(details.get("exception", {}).get("description") or details["text"])
        return reply["result"].get("value")

    async def until(self, condition: str) -> None:
        """Returns once the JavaScript condition holds; looked at after every change of the document."""
        await self.evaluate(_UNTIL.replace("CONDITION", condition))

    async def screenshot(self, path: Path | None = None, *, whole: bool = False) -> bytes:
        """PNG of the window, or of the whole page; also written to `path` if one is given."""
        await self.call("Page.bringToFront")  # a page behind another one makes no frames to take
        clip: dict[str, object] = {}
        if whole:
            size = (await self.call("Page.getLayoutMetrics"))["cssContentSize"]
            area = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
            clip = {"clip": area, "captureBeyondViewport": True}
        reply = await self.call("Page.captureScreenshot", format="png", **clip)
        picture = base64.b64decode(reply["data"])
        if path is not None:
            await asyncio.to_thread(path.write_bytes, picture)
        return picture

    async def close(self) -> None:
        """Closes the tab."""
        await self._browser.call("Target.closeTarget", targetId=self._target)

    def heard(self, name: str, params: dict[str, Any]) -> None:
        """A protocol event for this tab; called by the browser's reader."""
        if name == "Runtime.consoleAPICalled":
            said = " ".join(str(part.get("value", part.get("description", ""))) for part in params["args"])
            self.complaints.append(f"console.{params['type']}: {said}")
        elif name == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            thrown = details.get("exception", {}).get("description") or details["text"]
            self.complaints.append(f"exception: {thrown}")
        elif name == "Log.entryAdded":
            entry = params["entry"]
            self.complaints.append(
                f"{entry['source']} {entry['level']}: {entry['text']} {entry.get('url', '')}"
            )
        for future in self._waiting.pop(name, []):
            if not future.done():
                future.set_result(params)


async def _devtools_address(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    said = []
    async for raw in process.stderr:
        line = raw.decode(errors="replace").strip()
        said.append(line)
        if line.startswith("DevTools listening on "):
            return line.removeprefix("DevTools listening on ")
    raise BrowserError("chromium ended at once: " + " | ".join(said[-5:]))


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.read(65_536):
        pass


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ends the browser and the helpers it started: they share the session this process group leads."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await process.wait()
                break
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
