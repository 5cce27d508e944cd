"""Every HTTP fault on both roads: a checkpoint offered and entries uploaded (AUDIT, faults 9 to 11).

What is never a success advances nothing, holds up nobody else, and the next good answer is one. Answers that
only an add-checkpoint has are in test_upstream_client, what a mirror decides in test_upstream_mirror.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from appliance.audit.checkpoint import open_checkpoint
from appliance.audit.notes import COSIGNATURE_KEY, SigningKey, parse_note
from appliance.audit.verify import MIRRORED
from appliance.domain.errors import NoSpaceError
from appliance.storage.durable import write_file
from appliance.upstream import client as client_module
from appliance.upstream import mirror_client
from appliance.upstream.client import BACKOFF_CAP_S, UpstreamClient, UpstreamSettings
from appliance.upstream.exchange import MAX_REPLY, Exchange
from appliance.upstream.upload import INFO, read_head
from tests.audit_support import LOG, MIRROR, WITNESS, MemoryLog, flip, run
from tests.unit.test_upstream_mirror import Bench as RealMirror
from tests.upstream_support import (
    NOW_NS,
    FakeWitness,
    Handler,
    Pauses,
    always,
    cosignature,
    endless,
    running,
    serving,
)

SIZE = 9
WITNESSED, MIRROR_UP = "add-checkpoint", "add-entries"
BOTH = pytest.mark.parametrize("road", [WITNESSED, MIRROR_UP])
TRIES = 50


class Upstream(FakeWitness):
    """A witness and a mirror, each of which does what the test tells it; by default what is right."""

    def __init__(self) -> None:
        super().__init__()
        self.real = RealMirror(SIZE)
        self.entries: Handler = self.stored
        self.starts: list[tuple[int, int]] = []
        self._body = b""

    async def upload(self, request: web.Request) -> web.StreamResponse:
        """What was sent is kept whatever is answered."""
        self._body = await request.read()
        head, _ = read_head(self._body)
        self.starts.append((head.start, head.end))
        return await self.entries(request)

    async def stored(self, _request: web.Request) -> web.StreamResponse:
        """As a mirror should."""
        reply = self.real.mirror.add_entries(self._body)
        return web.Response(
            status=reply.status, body=reply.body, headers={"Content-Type": reply.content_type}
        )

    def set(self, road: str, answer: Handler) -> Handler:
        """Puts an answer on a road; gives the one before."""
        if road == WITNESSED:
            before, self.answer = self.answer, answer
        else:
            before, self.entries = self.entries, answer
        return before


class Box:
    """The appliance's client with a log of SIZE entries, time in the test's hand."""

    def __init__(self, directory: Path, url: str, total_s: float, log: MemoryLog) -> None:
        self.directory = directory
        self.pauses = Pauses()
        self.ceilings: list[float] = []
        self.client = UpstreamClient(
            UpstreamSettings(
                directory=directory,
                log_key=LOG.verifier(),
                witness_key=WITNESS.verifier(COSIGNATURE_KEY),
                every_s=7.0,
                mirror_key=MIRROR.verifier(COSIGNATURE_KEY),
                bytes_per_s=10**9,
            ),
            log,
            Exchange(url, total_s, upload_s=total_s),
            now_ns=lambda: NOW_NS,
            sleep=self._sleep,
            uniform=self._uniform,
        )

    async def _sleep(self, seconds: float) -> None:
        if seconds in (0.0, 7.0):  # between rounds, not between two pieces
            await self.pauses.sleep(seconds)

    def _uniform(self, low: float, high: float) -> float:
        assert low == 0.0
        self.ceilings.append(high)
        return 0.0

    def error(self, road: str) -> str:
        """Why the last try on a road failed."""
        state = self.client.state
        return state.last_error if road == WITNESSED else state.mirror_error

    def advanced(self, road: str) -> int:
        """Size that counts, which must be the one on disk."""
        state = self.client.state
        size, name = (
            (state.witnessed, "cosigned") if road == WITNESSED else (state.mirrored, MIRRORED)
        )
        path, key = self.directory / name, WITNESS if road == WITNESSED else MIRROR
        if not path.exists():
            assert size == 0
            return 0
        keys = [LOG.verifier()], [key.verifier(COSIGNATURE_KEY)]
        assert open_checkpoint(path.read_bytes(), *keys).checkpoint.size == size
        return size

    def running(self) -> AbstractAsyncContextManager[asyncio.Task[None]]:
        """Its task, for the length of the block."""
        return running(self.client)

    async def until_advanced(self, road: str) -> None:
        """Round after round."""
        for _ in range(TRIES):
            if self.advanced(road) == SIZE:
                return
            self.pauses.over()
            await self.pauses.next()
        raise AssertionError(f"{road} does not come up: {self.client.state}")


def with_both(
    tmp_path: Path, work: Callable[[Upstream, Box], Awaitable[None]], total_s: float = 20.0
) -> None:
    """Runs a test with a fresh pair."""

    async def whole() -> None:
        upstream = Upstream()
        async with serving(upstream, upstream.upload):
            await work(upstream, Box(tmp_path, upstream.url, total_s, MemoryLog(SIZE, [SIZE])))

    run(whole())


def refuses(
    tmp_path: Path, road: str, answers: Sequence[Handler], expected: str = "", total_s: float = 20.0
) -> None:
    """Each answer fails with this, advances nothing, holds the witness up only where it is the witness's own,
    and raises no alarm; after them a good one is taken."""

    async def work(upstream: Upstream, box: Box) -> None:
        good = upstream.set(road, answers[0])
        async with box.running():
            for number, answer in enumerate(answers, 1):
                upstream.set(road, answer)
                if number > 1:
                    box.pauses.over()
                await box.pauses.next()
                assert box.error(road), number
                assert expected in box.error(road)
                assert (box.advanced(road), box.client.state.alarm) == (0, "")
                assert box.ceilings == [min(BACKOFF_CAP_S, 2.0**n) for n in range(number)]
                if road == MIRROR_UP:
                    assert (box.advanced(WITNESSED), box.client.state.last_error) == (SIZE, "")
            upstream.set(road, good)
            await box.until_advanced(road)
            assert box.error(road) == ""
            await box.until_advanced(MIRROR_UP)

    with_both(tmp_path, work, total_s)


@BOTH
@pytest.mark.parametrize("status", [500, 503, 404, 400, 408, 413, 429, 201, 204, 301, 307])
def test_only_200_is_a_success(tmp_path: Path, road: str, status: int) -> None:
    """Not even with the right co-signature as its body, nor where a redirect leads to one."""
    key = WITNESS if road == WITNESSED else MIRROR
    text = b"" if status == 204 else cosignature(MemoryLog(SIZE).checkpoint(SIZE), key)
    refuses(tmp_path, road, [always(status, text, Location=f"/{road}?again")] * 3, str(status))


@BOTH
@pytest.mark.parametrize(
    "kind",
    ["empty", "words", "binary", "replayed", "stranger", "wrong key", "the other's", "flipped", "cut",
     "trailing", "plain signature", "large"],
)  # fmt: skip
def test_only_the_right_co_signature_of_this_checkpoint_counts(
    tmp_path: Path, road: str, kind: str
) -> None:
    """Empty, garbage, of yesterday's checkpoint, by anybody else, damaged: none."""
    key, other = (WITNESS, MIRROR) if road == WITNESSED else (MIRROR, WITNESS)
    note = MemoryLog(SIZE).checkpoint(SIZE)
    good = cosignature(note, key)
    body = {
        "empty": b"",
        "words": b"stored, thank you\n",
        "binary": b"\xff\xfe\x00\n",
        "replayed": cosignature(MemoryLog(SIZE - 1).checkpoint(SIZE - 1), key),
        "stranger": cosignature(note, SigningKey("example.com/somebody", bytes(32))),
        "wrong key": cosignature(note, SigningKey(key.name, bytes(32))),
        "the other's": cosignature(note, other),
        "flipped": flip(good, 60),
        "cut": good[:-1],
        "trailing": good + b"and more\n",
        "plain signature": key.sign(parse_note(note).text).line.encode(),
        "large": b"x" * (MAX_REPLY + 1),
    }[kind]
    refuses(tmp_path, road, [always(200, body)])


@BOTH
def test_half_written_answers(tmp_path: Path, road: str) -> None:
    """Cut in the head, cut in the body, closed at once, not HTTP, a head without end."""
    line = cosignature(MemoryLog(SIZE).checkpoint(SIZE), WITNESS if road == WITNESSED else MIRROR)
    cases = (
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + line,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + line,
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
        b"\x00\x01\x02 what?\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    )
    refuses(tmp_path, road, [_raw(case) for case in cases])


def _raw(data: bytes) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(data)
        request.transport.close()
        return web.Response()

    return answer


@BOTH
def test_an_answer_without_end_is_cut_off(tmp_path: Path, road: str) -> None:
    """After MAX_REPLY bytes, whatever its status."""
    refuses(tmp_path, road, [endless], "more than 65536 bytes")


@BOTH
def test_an_answer_that_trickles_is_taken(tmp_path: Path, road: str) -> None:
    """Slow is not wrong: byte by byte, within the bound of the whole conversation."""

    async def work(upstream: Upstream, box: Box) -> None:
        real = upstream.set(road, always(500))

        async def trickle(request: web.Request) -> web.StreamResponse:
            whole = await real(request)
            assert isinstance(whole, web.Response)
            assert isinstance(whole.body, bytes)
            response = web.StreamResponse(status=whole.status, headers={"Content-Type": whole.content_type})
            await response.prepare(request)
            for byte in whole.body:
                await response.write(bytes((byte,)))
                await asyncio.sleep(0)
            return response

        upstream.set(road, trickle)
        async with box.running():
            await box.pauses.next()
            await box.until_advanced(road)
            assert box.ceilings == []

    with_both(tmp_path, work)


@BOTH
def test_silence_is_given_up_and_holds_up_nobody(tmp_path: Path, road: str) -> None:
    """Nothing at all, and one byte now and then for ever: the whole conversation has a bound."""

    async def silent(_request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        return web.Response()

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while request.transport is not None and not request.transport.is_closing():
                await response.write(b"x")
                await asyncio.sleep(0.02)
        except ConnectionError:
            return response
        return response

    refuses(tmp_path, road, [silent, drip], "could not be reached", total_s=0.5)


@BOTH
def test_an_answer_that_comes_too_late_is_made_good(tmp_path: Path, road: str) -> None:
    """It was co-signed, or stored, and we had hung up: asked again, the same is answered; nothing twice."""

    async def work(upstream: Upstream, box: Box) -> None:
        real, hung_up = upstream.set(road, always(500)), asyncio.Event()

        async def late(request: web.Request) -> web.StreamResponse:
            whole = await real(request)
            await hung_up.wait()
            return whole

        upstream.set(road, late)
        async with box.running():
            await box.pauses.next()
            assert "could not be reached" in box.error(road)
            assert box.advanced(road) == 0
            hung_up.set()
            upstream.set(road, real)
            await box.until_advanced(road)
            await box.until_advanced(MIRROR_UP)
            assert box.client.state.alarm == ""
        assert upstream.size == SIZE
        assert (upstream.real.copy.entries, upstream.real.copy.appends) == (
            list(MemoryLog(SIZE).bodies(0, SIZE)),
            1,
        )

    with_both(tmp_path, work, total_s=0.5)


@BOTH
def test_an_answer_that_comes_twice_counts_once(tmp_path: Path, road: str) -> None:
    """The line doubled in one answer; and the whole request sent again after a success of which nothing was
    kept: the same co-signature, the same entries."""

    async def work(upstream: Upstream, box: Box) -> None:
        real = upstream.set(road, always(500))

        async def twice(request: web.Request) -> web.StreamResponse:
            whole = await real(request)
            assert isinstance(whole, web.Response)
            assert isinstance(whole.body, bytes)
            doubled = whole.body * 2 if whole.status == 200 else whole.body
            kind = {"Content-Type": whole.content_type}
            return web.Response(status=whole.status, body=doubled, headers=kind)

        upstream.set(road, twice)
        async with box.running():
            await box.pauses.next()
            upstream.set(road, real)
            await box.until_advanced(road)
            await box.until_advanced(MIRROR_UP)
        for name in ("cosigned", MIRRORED):
            (box.directory / name).unlink()
        again = Box(box.directory, upstream.url, 20.0, MemoryLog(SIZE, [SIZE]))
        async with again.running():
            await again.pauses.next()
            await again.until_advanced(MIRROR_UP)
            assert again.client.state.alarm == ""
        assert upstream.real.copy.appends == 1

    with_both(tmp_path, work)


@pytest.mark.parametrize("status", [202, 409])
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/plain", b"9\n0\n\n"),
        ("text/x.tlog.size", b"9\n"),
        ("application/json", b"{}"),
        (INFO, b""),
        (INFO, b"9\n0\n"),
        (INFO, b"9\n-1\n\n"),
        (INFO, b"09\n0\n\n"),
        (INFO, b"9\n0\n!\n"),
        (INFO, b"9\n0\n\n\n"),
    ],
)
def test_where_to_go_on_has_one_form(tmp_path: Path, status: int, kind: str, body: bytes) -> None:
    """Another type, or three lines that are none: nothing is concluded from it."""
    refuses(tmp_path, MIRROR_UP, [always(status, body, Content_Type=kind)] * 2)


@pytest.mark.parametrize("status", [403, 422])
def test_a_mirror_that_refuses_our_history_ends_it_with_an_alarm(tmp_path: Path, status: int) -> None:
    """What it says is shown as one line; the witness's co-signature is kept."""

    async def work(upstream: Upstream, box: Box) -> None:
        upstream.set(MIRROR_UP, always(status, b"no such history\x1b[2J\nmore"))
        await box.client.run()
        assert f"{status} no such history?[2J" in box.client.state.alarm
        assert "more" not in box.client.state.alarm
        assert (box.advanced(WITNESSED), box.advanced(MIRROR_UP)) == (SIZE, 0)

    with_both(tmp_path, work)


def test_a_failed_upload_is_tried_again_without_a_new_checkpoint(tmp_path: Path) -> None:
    """A log at rest comes up too; the pause grows with every failure, and a success ends that."""

    async def work(upstream: Upstream, box: Box) -> None:
        good = upstream.set(MIRROR_UP, always(503))
        async with box.running():
            for number in range(1, 4):
                assert await box.pauses.next() == 7.0
                assert len(upstream.starts) == number
                if number == 3:
                    upstream.set(MIRROR_UP, good)
                box.pauses.over()
            await box.pauses.next()
            assert box.advanced(MIRROR_UP) == SIZE
            assert box.ceilings == [1.0, 2.0, 4.0]
            assert len(upstream.seen) == 1, "the witness was not asked again for what it had co-signed"
            box.pauses.over()
            assert await box.pauses.asks_no_more()

    with_both(tmp_path, work)


@BOTH
def test_a_full_disk_keeps_no_co_signature_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, road: str
) -> None:
    """Not counted, said, and made good once there is room (AUDIT, fault 3)."""
    where: Any = client_module if road == WITNESSED else mirror_client
    real, left = write_file, 3

    def full(path: Path, data: bytes) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            raise NoSpaceError(f"cannot write {path.name} durably", os.strerror(errno.ENOSPC))
        real(path, data)

    monkeypatch.setattr(where, "write_file", full)

    async def work(_upstream: Upstream, box: Box) -> None:
        async with box.running():
            await box.pauses.next()
            assert "No space" in box.error(road)
            assert (box.advanced(road), box.client.state.alarm) == (0, "")
            await box.until_advanced(road)
            await box.until_advanced(MIRROR_UP)
            assert (box.error(road), left) == ("", -1)
            assert box.ceilings == [1.0, 2.0, 4.0]

    with_both(tmp_path, work)


def test_the_log_is_closed_only_when_nobody_reads_it(tmp_path: Path) -> None:
    """A stop leaves a thread in the middle of a proof: `release` waits for it."""
    inside, go_on = threading.Event(), threading.Event()
    done: list[str] = []

    class SlowLog(MemoryLog):
        """Stops in the middle of a proof until it is told to go on."""

        def consistency(self, old: int, size: int) -> list[bytes]:
            inside.set()
            assert go_on.wait(30)
            done.append("read")
            return super().consistency(old, size)

    async def work() -> None:
        upstream = Upstream()
        async with serving(upstream, upstream.upload):
            box = Box(tmp_path, upstream.url, 20.0, SlowLog(SIZE, [SIZE]))
            async with box.running():
                assert await asyncio.to_thread(inside.wait, 30)
            release = asyncio.to_thread(box.client.release, lambda: done.append("closed"))
            closing = asyncio.create_task(release)
            await asyncio.to_thread(lambda: None)
            assert done == []
            go_on.set()
            await closing
        assert done == ["read", "closed"]

    run(work())
