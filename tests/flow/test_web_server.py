"""The status page over a real socket: who gets an answer, with which headers, and what it says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import msgspec
import pytest
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from appliance.domain.status import Status
from appliance.web.access import HEADERS, LOOPBACK_HOSTS, host_name
from appliance.web.assets import assets
from appliance.web.server import MAX_HEADER_BYTES, MAX_HEADERS, MAX_LINE_BYTES, listening, make_app
from tests.pictures.web_samples import EMERGENCY, NORMAL, TRIPPED_PAUSED, SampleSource
from tests.unit.web_document import Document

ROUTES = ["/", "/events", "/status.json", "/healthz", "/metrics", "/static/app.js"]
Test = Callable[[aiohttp.ClientSession, SampleSource, int], Awaitable[None]]


@contextlib.asynccontextmanager
async def _page(source: SampleSource, clock: Callable[[], float] | None = None) -> AsyncIterator[int]:
    app = make_app(source, allowed_hosts=LOOPBACK_HOSTS, clock=clock or time.monotonic)
    async with listening(app, port=0) as port:
        yield port


def _serve(test: Test, source: SampleSource | None = None) -> None:
    """Runs the test against a page; a test that hangs fails after 20 s."""

    async def run() -> None:
        shown = source or SampleSource()
        async with asyncio.timeout(20), _page(shown) as port:
            address = f"http://127.0.0.1:{port}"
            async with aiohttp.ClientSession(address, auto_decompress=False) as session:
                await test(session, shown, port)

    asyncio.run(run())


async def _raw(port: int, request: bytes) -> bytes:
    """The whole answer to these bytes; the server must close the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


def test_page_carries_the_whole_state_at_once() -> None:
    """The first answer is HTML with the mode in it, not a shell that a script fills."""

    async def test(session: aiohttp.ClientSession, source: SampleSource, _port: int) -> None:
        source.status = EMERGENCY
        async with session.get("/") as answer:
            assert answer.status == 200
            assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
            page = Document(await answer.text())
        assert page.by_id("mode").text == "EMERGENCY"
        assert page.by_id("trip-reason").text == "KILL_BUTTON"

    _serve(test)


def test_status_json_is_the_status() -> None:
    """Field by field, nanoseconds as strings."""

    async def test(session: aiohttp.ClientSession, source: SampleSource, _port: int) -> None:
        async with session.get("/status.json") as answer:
            assert answer.headers["Content-Type"] == "application/json"
            body = await answer.read()
        assert msgspec.json.decode(body, type=Status) == source.status
        assert json.loads(body)["now_ns"] == NORMAL.now_ns

    _serve(test)


def test_healthz_answers_for_the_worst_part() -> None:
    """200 while every needed part works, 503 when one is down; the body says which."""

    async def test(session: aiohttp.ClientSession, _source: SampleSource, _port: int) -> None:
        async with session.get("/healthz") as answer:
            body = await answer.json()
        assert (answer.status, body["status"]) == (200, "degraded")
        assert body["parts"]["memory"] == "degraded"

    _serve(test)

    async def down(session: aiohttp.ClientSession, _source: SampleSource, _port: int) -> None:
        async with session.get("/healthz") as answer:
            body = await answer.json()
        assert (answer.status, body["status"], body["parts"]["guard"]) == (503, "down", "down")

    _serve(down, SampleSource(TRIPPED_PAUSED))


def test_metrics_can_be_scraped() -> None:
    """With the content type of the negotiated format."""

    async def test(session: aiohttp.ClientSession, _source: SampleSource, _port: int) -> None:
        async with session.get("/metrics") as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            names = {family.name for family in text_string_to_metric_families(await answer.text())}
        assert {"interlock_mode", "interlock_tripped", "interlock_build_info"} <= names
        openmetrics = {"Accept": "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.1"}
        async with session.get("/metrics", headers=openmetrics) as answer:
            assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
            assert (await answer.text()).endswith("# EOF\n")

    _serve(test)


@pytest.mark.parametrize("path", ROUTES)
def test_head_answers_like_get_without_a_body(path: str) -> None:
    """Also for the stream, which it must not open."""

    async def test(session: aiohttp.ClientSession, _source: SampleSource, port: int) -> None:
        async with session.head(path) as answer:
            assert answer.status == 200
            assert answer.headers["Content-Type"]
        request = f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        answered = await _raw(port, request.encode())
        assert answered.startswith(b"HTTP/1.1 200 ")
        assert answered.endswith(b"\r\n\r\n")

    _serve(test)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
def test_nothing_but_reading_is_allowed(method: str) -> None:
    """405 with Allow, on every route and on unknown paths, whatever body comes along (C04)."""

    async def test(session: aiohttp.ClientSession, _source: SampleSource, _port: int) -> None:
        for path in [*ROUTES, "/nowhere"]:
            async with session.request(method, path, data=b"mode=NORMAL") as answer:
                assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")

    _serve(test)


@pytest.mark.parametrize("path", [*ROUTES, "/nowhere"])
def test_every_answer_has_the_strict_headers(path: str) -> None:
    """Also refusals: 403, 404, 405."""

    async def test(session: aiohttp.ClientSession, _source: SampleSource, _port: int) -> None:
        for method, headers in [("GET", {}), ("POST", {}), ("GET", {"Host": "evil.example"})]:
            async with session.request(method, path, headers=headers) as answer:
                for name, value in HEADERS.items():
                    assert answer.headers.getall(name) == [value], f"{method} {path} {name}"
                assert answer.headers["Cache-Control"] in {"no-store", "no-cache"}
                assert "Set-Cookie" not in answer.headers
                assert "Access-Control-Allow-Origin" not in answer.headers

    _serve(test)


def test_policy_allows_only_our_own_files() -> None:
    """The one CSP that the page needs, and nothing inline."""
    policy = HEADERS["Content-Security-Policy"]
    assert policy.startswith("default-src 'self';")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:9999", 200),
        ("localhost.", 200),
        ("127.0.0.1:8480", 200),
        ("[::1]:8480", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("127.0.0.2", 403),
        ("localhost:port", 403),
        ("localhost@evil.example", 403),
        ("evil.example/localhost", 403),
        ("[::1", 403),
        ("", 403),
        ("localhost localhost", 403),
        ("löcalhost", 403),
        ("a" * 300, 403),
    ],
)
def test_only_known_hosts_are_answered(host: str, status: int) -> None:
    """A name that a stranger points at 127.0.0.1 gets nothing (DNS rebinding)."""

    async def test(_session: aiohttp.ClientSession, _source: SampleSource, port: int) -> None:
        request = f"GET /status.json HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        answered = await _raw(port, request.encode())
        assert answered.startswith(b"HTTP/1.1 %d " % status)
        assert (b"attic-01" in answered) == (status == 200)
        assert b"evil" not in answered

    _serve(test)


def test_missing_doubled_or_contradicting_hosts_are_refused() -> None:
    """What HTTP/1.0, header smuggling and proxies' absolute addresses would otherwise slip past the list."""

    async def test(_session: aiohttp.ClientSession, _source: SampleSource, port: int) -> None:
        for request, status in [
            (b"GET / HTTP/1.0\r\n\r\n", 403),
            (b"GET / HTTP/1.1\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 400),
            (b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 403),
            (b"GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 403),
            (b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 405),
            (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 405),
        ]:
            answered = await _raw(port, request)
            assert int(answered.split()[1]) == status, request
            assert b"evil" not in answered

    _serve(test)


def test_host_names_are_read_exactly() -> None:
    """Case and a final dot do not matter, everything else does."""
    assert host_name("Attic-01.Local:80") == "attic-01.local"
    assert host_name("[FE80::1]") == "fe80::1"
    for wrong in ("a b", "a,b", "http://a", "a:", "a:123456", ":80", ".", "a..b", "[::1]x", "a\n"):
        assert host_name(wrong) is None, wrong


@pytest.mark.parametrize(
    ("site", "mode", "dest", "status"),
    [
        ("same-origin", "cors", "empty", 200),
        ("none", "navigate", "document", 200),
        ("cross-site", "navigate", "document", 200),
        ("cross-site", "navigate", "iframe", 403),
        ("cross-site", "cors", "empty", 403),
        ("same-site", "no-cors", "script", 403),
        ("cross-site", "no-cors", "image", 403),
    ],
)
def test_another_site_may_link_but_not_load(site: str, mode: str, dest: str, status: int) -> None:
    """Otherwise any web page in the owner's browser could use up the sixteen streams."""

    async def test(session: aiohttp.ClientSession, _source: SampleSource, _port: int) -> None:
        headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}
        async with session.get("/", headers=headers) as answer:
            assert answer.status == status

    _serve(test)


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/static/",
        "/static/page.html",
        "/static/../server.py",
        "/static/%2e%2e%2fserver.py",
        "//",
        "/%00",
    ],
)
def test_unknown_paths_get_a_plain_page(path: str) -> None:
    """404 in plain text that repeats nothing; static names are a list, not a folder."""

    async def test(_session: aiohttp.ClientSession, _source: SampleSource, port: int) -> None:
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        answered = await _raw(port, request.encode())
        assert answered.startswith(b"HTTP/1.1 404 ")
        assert b"text/plain" in answered
        assert answered.endswith(b"404: nothing is here; the status page is at /\n")

    _serve(test)


def test_static_files_are_checked_not_sent_again() -> None:
    """An updated box serves its new files at once, an unchanged one sends no bytes."""

    async def test(session: aiohttp.ClientSession, _source: SampleSource, _port: int) -> None:
        for name, asset in assets().items():
            async with session.get(f"/static/{name}") as answer:
                assert await answer.read() == asset.body
                assert answer.headers["Cache-Control"] == "no-cache"
                assert answer.headers["Content-Type"] == f"{asset.content_type}; charset=utf-8"
            seen = {"If-None-Match": answer.headers["ETag"]}
            async with session.get(f"/static/{name}", headers=seen) as answer:
                assert (answer.status, await answer.read()) == (304, b"")

    _serve(test)


def test_asking_often_does_not_cost_often() -> None:
    """Within 50 ms the answer is kept; at 50 ms it is made again."""

    async def run() -> None:
        now = [100.0]
        source = SampleSource()
        async with (
            _page(source, lambda: now[0]) as port,
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
        ):
            before = source.asked
            for _ in range(20):
                async with session.get("/status.json") as answer:
                    await answer.read()
            assert source.asked == before + 1
            source.status = replace(NORMAL, mode="PAUSED")
            now[0] += 0.049
            async with session.get("/status.json") as answer:
                assert (await answer.json())["mode"] == "NORMAL"
            now[0] += 0.001
            async with session.get("/status.json") as answer:
                assert (await answer.json())["mode"] == "PAUSED"

    asyncio.run(run())


def test_requests_are_bounded() -> None:
    """Line, one header, number of headers: refused with a short plain answer that repeats nothing."""

    async def test(_session: aiohttp.ClientSession, _source: SampleSource, port: int) -> None:
        many = b"".join(b"X-%d: y\r\n" % at for at in range(MAX_HEADERS + 1))
        for request in [
            b"GET /" + b"q" * MAX_LINE_BYTES + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"q" * (MAX_HEADER_BYTES + 1) + b"\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: localhost\r\n" + many + b"\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ]:
            answered = await _raw(port, request)
            assert answered.startswith(b"HTTP/1.0 400 ")
            assert answered.endswith(b"400: this is not a request the status page can read\n")
            assert b"qq" not in answered
            assert b"nosniff" in answered

    _serve(test)
