"""Nothing reachable over a network can loosen anything (C04, C05): every route of every server of a running,
tripped appliance, every method, hostile bodies; and nobody listens anywhere but on loopback (SAFETY 12).

The routes are read from the applications themselves: one that is added is tried without an edit here.
"""

from __future__ import annotations

import http.client
import itertools
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from appliance.domain.mode import Mode
from appliance.runtime.board_socket import command_board
from appliance.runtime.clock import WallClock
from appliance.runtime.guard_link import Glance
from appliance.upstream.collector import _application
from appliance.venues.paper_server import PaperServer
from appliance.venues.wire import SENT_HEADER, WINDOW_HEADER
from appliance.web.access import LOOPBACK_HOSTS
from appliance.web.server import make_app
from tests.box import Box
from tests.kit import Core
from tests.pictures.web_samples import SampleSource
from tests.ports import ports_of
from tests.processes import Child, running, until

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "ARM")
LOOSEN = {"mode": "NORMAL", "armed": True, "permit": 2, "trip": None, "holds": [], "reset_peak": True}
BODIES = (
    b"",
    b"{}",
    b"[]",
    json.dumps(LOOSEN).encode(),
    b"mode=NORMAL&arm=1&permit=2&_method=PUT",
    b"\xff\xfe\x00",
    b"[" * 20_000,
    b"x" * 200_000,
)
HEADERS = {"X-HTTP-Method-Override": "PUT", "X-Forwarded-For": "127.0.0.1", "X-Interlock-Arm": "1"}
RAW = (
    b"GET http://evil/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"CONNECT 127.0.0.1:8481 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\0" * 5_000,
)
WORDS = ("STATE", "ARMED", "COMPLEMENT", "REASON", "LATER", "ARM_PRESSES", "PROVEN", "GENERATION")
STREAMS = {"/events"}


def _paths(app: web.Application) -> set[str]:
    """Canonical paths of every route."""
    return {str(route.resource.canonical) for route in app.router.routes() if route.resource is not None}


def _applications(tmp_path: Path) -> dict[str, set[str]]:
    core = Core()
    server = PaperServer([core.instrument], core.terms, tmp_path / "orders.jsonl", WallClock())
    found: dict[str, set[str]] = {
        "page": _paths(make_app(SampleSource(), allowed_hosts=LOOPBACK_HOSTS)),
        "collector": _paths(_application(_Nobody())),  # type: ignore[arg-type]
        "venue": _paths(server.app()),
    }
    server._journal.close()
    return found


class _Nobody:
    """A collector nobody asks: only its routes are wanted."""

    async def add_checkpoint(self, _request: web.Request) -> web.Response:
        return web.Response()

    latest = healthz = add_entries = mirrored = enrol = rotate_key = add_checkpoint


@pytest.mark.safety("C04.1")
def test_every_server_has_routes(tmp_path: Path) -> None:
    """The enumeration below finds something to try, and the page's only verbs are for reading."""
    found = _applications(tmp_path)
    assert {name: len(paths) for name, paths in found.items()} == {"page": 8, "collector": 7, "venue": 13}
    app = make_app(SampleSource(), allowed_hosts=LOOPBACK_HOSTS)
    assert {route.method for route in app.router.routes()} <= {"GET", "HEAD"}


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """A new appliance."""
    return Box(tmp_path)


@pytest.fixture
def up(box: Box, tmp_path: Path) -> Iterator[Child]:
    """The whole appliance, pressed and released: EMERGENCY, stored, the proof test done."""
    with running(box.up("--no-arm"), tmp_path / "up.log") as child:
        until(lambda: box.mode() == "PAUSED" or child.process.poll() is not None, "PAUSED", 60)
        assert child.process.poll() is None, child.output()
        command_board(box.runtime, "press")
        until(lambda: box.mode() == "EMERGENCY", "EMERGENCY", 5)
        command_board(box.runtime, "release")
        until(lambda: _words(box)["PROVEN"] == _words(box)["STATE"], "the release", 5)
        until(box.ready_for_a_step, "the core's consent to a step: everything that would loosen is ready", 15)
        yield child


def _words(box: Box) -> dict[str, int]:
    words = Glance(box.runtime).guard_words()
    return {name: words[name] for name in WORDS}


def _permit_and_request(box: Box) -> dict[str, int]:
    words = Glance(box.runtime).core_words()
    return {name: words[name] for name in ("PERMIT", "REQUEST", "MODE", "PID", "GENERATION")}


def _picture(box: Box) -> dict[str, Any]:
    """What must not change, as the core itself tells it."""
    status = box.status()
    assert status is not None
    return {
        "mode": status.mode,
        "armed": status.armed,
        "trip": status.trip,
        "holds": status.holds,
        "limits": status.limits,
        "missing": status.missing,
        "strategies": status.strategies,
        "sealed": status.sealed,
    }


def _ask(port: int, method: str, path: str, body: bytes, headers: dict[str, str]) -> int:
    """The status of the answer, 0 if the connection was closed on us. A stream is not read to its end."""
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        link.request(method, path, body or None, headers)
        answer = link.getresponse()
        if path not in STREAMS or method != "GET":
            answer.read()
    except (OSError, http.client.HTTPException):
        return 0
    else:
        return answer.status
    finally:
        link.close()


def _filled(path: str, account: str) -> list[str]:
    """A route's path with its parameters filled, with what exists and with what does not."""
    choices = {
        "{account}": [account, "somebody", "..%2f..%2flatch"],
        "{id}": ["il-0", "%00"],
        "{name}": ["app.js", "..%2f..%2farmed"],
        "{origin}": ["0" * 64, "x"],
        "{index}": ["0", "1", "999999999999999"],
        "{path}": ["checkpoint", "tile/0/000", "..%2f..%2f..%2fkeys%2flog.key"],
    }
    names = [name for name in choices if name in path]
    filled = []
    for values in itertools.product(*(choices[name] for name in names)):
        text = path
        for name, value in zip(names, values, strict=True):
            text = text.replace(name, value)
        filled.append(text)
    return filled


@pytest.mark.safety("C04.1")
def test_no_route_changes_anything_on_a_tripped_appliance(box: Box, up: Child, tmp_path: Path) -> None:
    """Latch epoch, armed word, mode, trip, holds, limits, permit: the same before and after."""
    ports = ports_of(box.config)
    (run,) = box.entries("run_start")
    before, words, core = _picture(box), _words(box), _permit_and_request(box)
    assert before["mode"] == "EMERGENCY"
    assert core["PERMIT"] == 0
    assert words["ARMED"] != words["STATE"]
    answers: dict[int, int] = {}
    for name, paths in _applications(tmp_path).items():
        for path in sorted(paths):
            for filled in _filled(path, run["account"]):
                for method, body in itertools.product(METHODS, BODIES):
                    status = _ask(ports[name], method, filled, body, HEADERS)
                    answers[status] = answers.get(status, 0) + 1
        for raw in RAW:
            with socket.create_connection(("127.0.0.1", ports[name]), 20) as link:
                link.sendall(raw)
                link.shutdown(socket.SHUT_WR)
    assert answers.get(200, 0) > 50
    assert answers.get(405, 0) > 200
    assert not any(status >= 500 for status in answers), answers
    assert _words(box) == words
    assert _permit_and_request(box) == core
    assert _picture(box) == before
    assert up.process.poll() is None


@pytest.mark.safety("C04.2")
def test_a_hostile_venue_cannot_loosen_anything(box: Box, up: Child) -> None:
    """Orders, fills and prices nobody asked for, on the live account: it may trip again, not open."""
    ports = ports_of(box.config)
    (run,) = box.entries("run_start")
    words, limits, now = _words(box), _picture(box)["limits"], WallClock().utc_ns()
    stamp = {SENT_HEADER: str(now), WINDOW_HEADER: str(60 * 10**9)}
    order = {
        "order_id": "il-hostile", "instrument": "SPX", "side": "BUY", "qty": 100, "order_type": "MARKET",
        "price": None, "stop_price": None, "attached_stop": None, "time_in_force": "GTC",
        "reduce_only": False,
    }  # fmt: skip
    bar = {"type": "Bar", "instrument": "SPX", "event_ns": 1, "seen_ns": 2, "volume": 0} | dict.fromkeys(
        ("open", "high", "low", "close"), 1
    )
    account = f"/v1/{run['account']}"
    told = [
        _ask(ports["venue"], "POST", f"{account}/orders", json.dumps(order).encode(), stamp),
        _ask(ports["venue"], "POST", f"{account}/still", b'["SPX"]', {}),
        _ask(
            ports["venue"], "POST", f"{account}/market",
            json.dumps({"number": 10**9, "observation": bar}).encode(), {},
        ),
        _ask(ports["venue"], "DELETE", f"{account}/orders/il-hostile", b"", stamp),
    ]  # fmt: skip
    assert told[0] == 200, told
    until(lambda: box.entries("venue"), "the core noticing what it did not ask for", 20)
    after = _words(box)
    assert after["ARMED"] == words["ARMED"]
    assert after["STATE"] >= words["STATE"]
    assert after["REASON"] == words["REASON"]
    picture = _picture(box)
    assert Mode[picture["mode"]] is Mode.EMERGENCY
    assert not picture["armed"]
    assert picture["limits"] == limits


def _descendants(pid: int) -> set[int]:
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _inodes(pids: set[int]) -> set[str]:
    found = set()
    for pid in pids:
        for handle in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = str(handle.readlink())
            except OSError:
                continue
            if target.startswith("socket:["):
                found.add(target[8:-1])
    return found


def _rows(kind: str) -> list[list[str]]:
    path = Path(f"/proc/net/{kind}")
    return [line.split() for line in path.read_text().splitlines()[1:]] if path.exists() else []


LOOPBACK = {"0100007F", "00000000000000000000000001000000"}
LISTEN = "0A"


@pytest.mark.safety("S12.1", "C04.3")
def test_everybody_listens_on_loopback_only(box: Box, up: Child) -> None:
    """Every process of the appliance, by the kernel's own tables: TCP, UDP, raw, packet and UNIX sockets."""
    pids = _descendants(up.pid)
    assert len(pids) >= 6, "supervisor, guard, collector, venue, core and its log writer"
    mine = _inodes(pids)
    listening = {
        (kind, *row[1].split(":"))
        for kind in ("tcp", "tcp6")
        for row in _rows(kind)
        if row[9] in mine and row[3] == LISTEN
    }
    assert {int(port, 16) for _, _, port in listening} == set(ports_of(box.config).values())
    assert {address for _, address, _ in listening} <= LOOPBACK
    for kind in ("udp", "udp6", "raw", "raw6"):
        assert [row for row in _rows(kind) if row[9] in mine] == [], kind
    assert [row for row in _rows("packet") if row[8] in mine] == []
    named = [row[7] for row in _rows("unix") if row[6] in mine and len(row) > 7]
    assert all(name.startswith(f"{box.runtime}/") for name in named), "no abstract name, nothing elsewhere"
    assert box.runtime.stat().st_mode & 0o777 == 0o700
    guard = _inodes({Glance(box.runtime).guard_words()["PID"]})
    inet = {row[9] for kind in ("tcp", "tcp6", "udp", "udp6") for row in _rows(kind)}
    assert not guard & inet, "the guard has no network socket at all"
