"""The appliance's client against a witness that does everything wrong (AUDIT, faults 9 to 11, 14)."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest
from aiohttp import web

from appliance.audit.notes import SigningKey, parse_note
from appliance.domain.errors import ConfigError, StoreError, TransportError
from appliance.upstream import client as client_module
from appliance.upstream.client import BACKOFF_CAP_S, UpstreamState
from appliance.upstream.exchange import MAX_REPLY, Exchange
from tests.audit_support import LOG, WITNESS, MemoryLog, body, flip, run
from tests.upstream_support import (
    NOW_NS,
    Bench,
    FakeWitness,
    Handler,
    always,
    conflict,
    cosignature,
    endless,
    with_bench,
)


async def refused(bench: Bench, expected: str) -> None:
    """One round fails with this in `last_error`; nothing advances; after a good answer it goes on."""
    good = bench.witness.good
    async with bench.running():
        for failures in (1, 2, 3):
            assert await bench.pauses.next() == 2.0 ** (failures - 1)
            assert expected in bench.state.last_error, bench.state
            assert (bench.state.failures, bench.state.witnessed, bench.state.alarm) == (failures, 0, "")
            assert bench.kept() == 0
            if failures == 3:
                bench.witness.answer = good
            bench.pauses.over()
        assert await bench.pauses.next() == 7.0
        assert (bench.state.witnessed, bench.state.last_error, bench.state.failures) == (9, "", 0)
        assert bench.state.last_success_ns == NOW_NS
        assert bench.kept() == 9


async def alarmed(bench: Bench, expected: str) -> None:
    """The client stops with this alarm, having kept what it had, and asks no more."""
    before = bench.kept()
    await bench.client.run()
    assert expected in bench.state.alarm
    assert bench.kept() == before
    assert bench.states[-1].alarm == bench.state.alarm


@pytest.mark.safety("S12.3")
def test_checkpoints_are_offered_as_they_come(tmp_path: Path) -> None:
    """The first from nothing, later ones with a proof; the latest only, if several came in between."""

    async def work(bench: Bench) -> None:
        async with bench.running():
            assert await bench.pauses.next() == 7.0
            assert (bench.state.witnessed, bench.kept(), bench.state.witness) == (9, 9, WITNESS.name)
            bench.log.stored += [body(index) for index in range(9, 40)]
            for size in (12, 30, 40):
                bench.log.publish(size)
                bench.client.notify()
            bench.pauses.over()
            assert await bench.pauses.next() == 7.0
            assert (bench.state.witnessed, bench.kept()) == (40, 40)
            bench.client.notify()
            bench.pauses.over()
            assert await bench.pauses.next() == 7.0
            bench.pauses.over()
            assert await bench.pauses.asks_no_more()
        assert [request.old for request in bench.witness.seen] == [0, 9]
        assert bench.witness.seen[1].proof == tuple(bench.log.consistency(9, 40))

    with_bench(tmp_path, work)


def test_after_a_restart_the_kept_checkpoint_is_taken_up(tmp_path: Path) -> None:
    """No request is needed to know what was witnessed."""
    log = MemoryLog(9, [9])
    log.cosign(9)
    (tmp_path / "cosigned").write_bytes(log.files["cosigned"])

    async def work(bench: Bench) -> None:
        bench.witness.size = 9
        async with bench.running():
            assert await bench.pauses.next() == 7.0
            assert bench.state.witnessed == 9
            assert bench.witness.seen == []
            bench.log.stored.append(body(9))
            bench.log.publish(10)
            bench.client.notify()
            bench.pauses.over()
            await bench.pauses.next()
            assert bench.kept() == 10
        assert [request.old for request in bench.witness.seen] == [9]

    with_bench(tmp_path, work, log)


@pytest.mark.parametrize("status", [500, 503, 404, 400, 408, 413, 418, 201, 204, 429])
def test_no_other_status_is_a_success(tmp_path: Path, status: int) -> None:
    """Not even with a good co-signature as its body."""

    async def work(bench: Bench) -> None:
        async def answer(_request: web.Request) -> web.StreamResponse:
            text = b"" if status == 204 else cosignature(bench.witness.seen[-1].checkpoint)
            return web.Response(status=status, body=text)

        bench.witness.answer = answer
        await refused(bench, str(status))

    with_bench(tmp_path, work)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(tmp_path: Path, status: int) -> None:
    """Wherever they lead; here to an address that would co-sign."""

    async def work(bench: Bench) -> None:
        bench.witness.answer = always(status, Location=f"{bench.witness.url}/add-checkpoint?again")
        await refused(bench, str(status))
        assert len(bench.witness.seen) == 4

    with_bench(tmp_path, work)


def other_checkpoint(size: int) -> bytes:
    return MemoryLog(size).checkpoint(size)


@pytest.mark.parametrize(
    "lines",
    [
        b"",
        b"ok\n",
        b"\xff\xfe\n",
        cosignature(other_checkpoint(8)),
        cosignature(other_checkpoint(9), SigningKey("witness.example/w2", bytes(32))),
        cosignature(other_checkpoint(9), SigningKey(WITNESS.name, bytes(32))),
        flip(cosignature(other_checkpoint(9)), 60),
        cosignature(other_checkpoint(9))[:-1],
        cosignature(other_checkpoint(9)) + b"trailing\n",
        cosignature(other_checkpoint(9)) + flip(cosignature(other_checkpoint(9)), 60),
        WITNESS.sign(parse_note(other_checkpoint(9)).text).line.encode(),
        b"x" * MAX_REPLY,
    ],
    ids=["empty", "ok", "binary", "replayed", "other witness", "wrong key", "flipped", "cut", "trailing",
         "good and bad", "plain signature", "large"],
)  # fmt: skip
def test_a_200_without_the_right_cosignature_is_none(tmp_path: Path, lines: bytes) -> None:
    """Empty, garbage, of another checkpoint (replayed), by another key, damaged: not advanced."""

    async def work(bench: Bench) -> None:
        bench.witness.answer = always(200, lines)
        await refused(bench, "")
        assert bench.states[0].last_error

    with_bench(tmp_path, work)


def test_a_cosignature_among_others_counts(tmp_path: Path) -> None:
    """A witness may send lines of several keys; only the configured one is kept."""

    async def work(bench: Bench) -> None:
        async def answer(_request: web.Request) -> web.StreamResponse:
            note = bench.witness.seen[-1].checkpoint
            other = cosignature(note, SigningKey("witness.example/w2", bytes(32)))
            return web.Response(body=other + cosignature(note))

        bench.witness.answer = answer
        async with bench.running():
            await bench.pauses.next()
        kept = parse_note((tmp_path / "cosigned").read_bytes())
        assert [signature.name for signature in kept.signatures] == [LOG.name, WITNESS.name]

    with_bench(tmp_path, work)


def test_replies_are_bounded(tmp_path: Path) -> None:
    """A body without end is cut off, whatever its status."""

    async def work(bench: Bench) -> None:
        bench.witness.answer = endless
        await refused(bench, "more than 65536 bytes")

    with_bench(tmp_path, work)


def test_a_witness_that_never_answers_is_given_up(tmp_path: Path) -> None:
    """The whole conversation has a bound, and nobody else waits for it."""

    async def work(bench: Bench) -> None:
        never = asyncio.Event()

        async def silent(_request: web.Request) -> web.StreamResponse:
            await never.wait()
            return web.Response()

        bench.witness.answer = silent
        async with bench.running():
            assert await bench.pauses.next() == 1.0
            assert "could not be reached" in bench.state.last_error
            never.set()

    with_bench(tmp_path, work, total_s=0.2)


def test_half_an_answer_and_a_closed_connection_are_failures_to_talk(tmp_path: Path) -> None:
    """Cut in the head, cut in the body, closed at once, not HTTP at all."""
    note = other_checkpoint(9)
    line = cosignature(note)
    cases = [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + line,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + line,
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
        b"\x00\x01\x02 what?\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    ]

    async def work() -> None:
        answers = list(cases)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"POST"):
                writer.write(answers.pop(0))
            else:
                writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        witness = FakeWitness()
        witness.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        bench = Bench(tmp_path, witness, MemoryLog(9, [9]))
        async with server, bench.running():
            for number in range(len(cases)):
                await bench.pauses.next()
                assert bench.state.last_error, cases[number][:40]
                assert (bench.state.failures, bench.state.alarm, bench.kept()) == (number + 1, "", 0)
                bench.pauses.over()
            server.close()
            await bench.pauses.next()
            assert "could not be reached" in bench.state.last_error

    run(work())


def test_the_back_off_is_capped_and_jittered(tmp_path: Path) -> None:
    """Random between nothing and the ceiling; thirty days offline overflow nothing."""

    async def work(bench: Bench) -> None:
        bench.witness.answer = always(500)
        asked: list[tuple[float, float]] = []

        def uniform(low: float, high: float) -> float:
            asked.append((low, high))
            return high / 2

        bench.client._uniform = uniform
        async with bench.running():
            for number in range(60):
                assert await bench.pauses.next() == min(BACKOFF_CAP_S, 2.0**number) / 2
                bench.pauses.over()
        assert all(low == 0.0 for low, _ in asked)
        assert bench.state.failures >= 60

    with_bench(tmp_path, work)


def test_a_conflict_with_a_size_below_ours_is_a_resync(tmp_path: Path) -> None:
    """A witness that lost its latest state, or one that is new to us but not to the log."""

    async def work(bench: Bench) -> None:
        bench.witness.size = 5
        async with bench.running():
            assert await bench.pauses.next() == 7.0
            assert bench.kept() == 9
        assert [request.old for request in bench.witness.seen] == [0, 5]
        assert bench.witness.seen[1].proof == tuple(bench.log.consistency(5, 9))

    with_bench(tmp_path, work)


def test_a_witness_that_has_exactly_our_size_cosigns_it_again(tmp_path: Path) -> None:
    """Our copy of its co-signature was lost: nothing to prove, nothing to be alarmed about."""

    async def work(bench: Bench) -> None:
        bench.witness.size = 9
        async with bench.running():
            assert await bench.pauses.next() == 7.0
            assert (bench.kept(), bench.state.alarm) == (9, "")
        assert [(request.old, request.proof) for request in bench.witness.seen] == [(0, ()), (9, ())]

    with_bench(tmp_path, work)


def test_a_witness_behind_our_record_is_brought_up_again(tmp_path: Path) -> None:
    """It was restored from a backup: it accepts our growth from where it stands."""
    log = MemoryLog(12, [9])
    log.cosign(9)
    (tmp_path / "cosigned").write_bytes(log.files["cosigned"])
    log.publish(12)

    async def work(bench: Bench) -> None:
        bench.witness.size = 4
        async with bench.running():
            await bench.pauses.next()
            assert bench.kept() == 12
        assert [request.old for request in bench.witness.seen] == [9, 4]

    with_bench(tmp_path, work, log)


def test_a_witness_that_cannot_make_up_its_mind_is_left_alone_for_a_while(tmp_path: Path) -> None:
    """The same size again, or ever new ones: bounded in one round, then backed off."""

    async def work(bench: Bench) -> None:
        sizes = iter([0, 1, 2, 3, 0])

        async def answer(_request: web.Request) -> web.StreamResponse:
            return conflict(next(sizes))

        bench.witness.answer = answer
        async with bench.running():
            await bench.pauses.next()
            assert "contradicts itself" in bench.state.last_error
            bench.pauses.over()
            await bench.pauses.next()
            assert "changes its mind" in bench.state.last_error
            assert len(bench.witness.seen) == 4
            assert bench.kept() == 0

    with_bench(tmp_path, work)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (always(403, b"no trusted signature\n"), "403 no trusted signature"),
        (always(422, b"proof\n"), "422 proof"),
        (always(409), "409"),
        (always(409, b"7\n"), "409 7"),
        (always(409, b"7 \n", Content_Type="text/x.tlog.size"), "409"),
        (always(409, b"07\n", Content_Type="text/x.tlog.size"), "409"),
        (always(409, b"-1\n", Content_Type="text/x.tlog.size"), "409"),
        (always(409, b"", Content_Type="text/x.tlog.size"), "409"),
        (always(409, b"10\n", Content_Type="text/x.tlog.size"), "restored from a backup"),
        (always(409, b"9223372036854775807\n", Content_Type="text/x.tlog.size"), "restored from a backup"),
    ],
)
def test_what_only_a_person_can_settle_is_an_alarm(tmp_path: Path, answer: Handler, expected: str) -> None:
    """The witness refuses this log, or holds more of it than we have: stop, say so, keep everything."""

    async def work(bench: Bench) -> None:
        bench.witness.answer = answer
        await alarmed(bench, expected)
        assert len(bench.witness.seen) == 1

    with_bench(tmp_path, work)


def test_what_a_hostile_witness_says_is_shown_harmlessly(tmp_path: Path) -> None:
    """One line of printable ASCII, cut: it ends up on a status page."""

    async def work(bench: Bench) -> None:
        bench.witness.answer = always(403, b"<script>\x1b[2J\x00\xff" + b"y" * 1000 + b"\nsecond line")
        await alarmed(bench, "403 <script>?[2J")
        text = bench.state.alarm
        assert text.isascii()
        assert text.isprintable()
        assert len(text) < 300
        assert "second line" not in text

    with_bench(tmp_path, work)


def from_head(note: bytes) -> Handler:
    return always(200, note)


def test_a_witness_ahead_of_us_is_seen_before_anything_is_offered(tmp_path: Path) -> None:
    """Yesterday's card: the witness holds 20 entries, we hold 9 (AUDIT, anti-rollback)."""
    ahead = MemoryLog(20)
    ahead.cosign(20)

    async def work(bench: Bench) -> None:
        bench.witness.latest = from_head(ahead.files["cosigned"])
        await bench.client.compare()
        assert "20 entries of our log were co-signed and it ends at 9" in bench.state.alarm
        await alarmed(bench, "restored from a backup")
        assert bench.witness.seen == []

    with_bench(tmp_path, work)


def test_another_history_at_the_witness_is_seen_before_anything_is_offered(tmp_path: Path) -> None:
    """A cloned card that went its own way: same size or less, another root."""
    for size in (5, 9):
        other = MemoryLog(9, (), [body(index) + b"x" for index in range(9)])
        other.cosign(size)
        head = other.files["cosigned"]

        async def work(bench: Bench, head: bytes = head) -> None:
            bench.witness.latest = from_head(head)
            await bench.client.compare()
            assert "another history" in bench.state.alarm

        with_bench(tmp_path, work)


def test_comparing_with_a_witness_that_agrees_or_does_not_know_us(tmp_path: Path) -> None:
    """No alarm; and an answer that is none raises, for the caller to go on without."""
    log = MemoryLog(9, [9])
    log.cosign(4)

    async def work(bench: Bench) -> None:
        await bench.client.compare()
        bench.witness.latest = from_head(log.files["cosigned"])
        await bench.client.compare()
        assert bench.state.alarm == ""
        damaged = flip(log.files["cosigned"], -9)
        for bad in (always(500), always(200, b"garbage"), always(200, damaged), always(302)):
            bench.witness.latest = bad
            with pytest.raises(TransportError):
                await bench.client.compare()
        assert bench.state.alarm == ""

    with_bench(tmp_path, work, log)


def test_an_unreachable_witness_does_not_keep_the_client_from_starting(tmp_path: Path) -> None:
    """Outages are the normal case: it tries again, the log goes on."""

    async def work(bench: Bench) -> None:
        bench.witness.latest = always(503, b"maintenance\n")
        async with bench.running():
            assert await bench.pauses.next() == 7.0
            assert "503 maintenance" in bench.states[0].last_error
            assert bench.kept() == 9

    with_bench(tmp_path, work)


@pytest.mark.parametrize("kind", ["garbage", "flipped", "other witness", "newer than the log"])
def test_a_kept_checkpoint_that_is_not_good_is_an_alarm_and_kept(tmp_path: Path, kind: str) -> None:
    """Nothing is overwritten that might be evidence."""
    log = MemoryLog(9, [9])
    newer = MemoryLog(20)
    newer.cosign(20)
    log.cosign(9)
    good = log.files["cosigned"]
    text = parse_note(good).text
    stranger = SigningKey("witness.example/w2", bytes(32)).cosign(text, 1).line.encode()
    data = {
        "garbage": b"garbage",
        "flipped": flip(good, -9),
        "other witness": log.checkpoint(9) + stranger,
        "newer than the log": newer.files["cosigned"],
    }[kind]
    (tmp_path / "cosigned").write_bytes(data)

    async def work(bench: Bench) -> None:
        if kind != "newer than the log":
            await bench.client.compare()
            assert str(tmp_path / "cosigned") in bench.state.alarm
        await bench.client.run()
        expected = "restored from a backup" if kind == "newer than the log" else str(tmp_path / "cosigned")
        assert expected in bench.state.alarm
        assert (tmp_path / "cosigned").read_bytes() == data
        assert bench.witness.seen == []

    with_bench(tmp_path, work, log)


def test_a_disk_that_cannot_keep_the_cosignature_is_an_alarm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not counted as witnessed, not tried again on pages the kernel calls clean."""

    def broken(path: Path, _data: bytes) -> None:
        raise StoreError(f"cannot write {path.name} durably", os.strerror(errno.EIO))

    monkeypatch.setattr(client_module, "write_file", broken)

    async def work(bench: Bench) -> None:
        await alarmed(bench, "cannot write cosigned durably")
        assert bench.state.witnessed == 0

    with_bench(tmp_path, work)


def test_our_own_checkpoint_must_be_ours(tmp_path: Path) -> None:
    """A damaged checkpoint file is not offered to anybody."""
    log = MemoryLog(9, [9])
    log.files["checkpoint"] = flip(log.files["checkpoint"], 30)

    async def work(bench: Bench) -> None:
        await alarmed(bench, "our checkpoint cannot be used")
        log.cosign(9)
        bench.witness.latest = from_head(log.files["cosigned"])
        await alarmed(bench, "our checkpoint cannot be used")
        await bench.client.compare()
        assert "our checkpoint cannot be used" in bench.state.alarm
        assert bench.witness.seen == []

    with_bench(tmp_path, work, log)


def test_a_log_without_a_checkpoint_is_an_alarm_nobody_has_to_listen_to(tmp_path: Path) -> None:
    """`on_change` is optional; the state starts empty and ends with the alarm."""
    log = MemoryLog(9)

    async def work(bench: Bench) -> None:
        assert bench.state == UpstreamState(WITNESS.name, 0, 0, "", "", 0)
        bench.client.on_change = None
        await bench.client.run()
        assert "no checkpoint" in bench.state.alarm
        assert bench.witness.seen == []

    with_bench(tmp_path, work, log)


def test_addresses_are_http_or_https() -> None:
    """Anything else is a configuration error."""
    for url in ("ftp://x", "x.example", "", "file:///etc/passwd", "unix:/run/x"):
        with pytest.raises(ConfigError):
            Exchange(url)


def test_a_clean_stop_offers_what_was_published_last(tmp_path: Path) -> None:
    """`run` was cancelled in the middle of a pause; the newest checkpoint is witnessed all the same."""

    async def work(bench: Bench) -> None:
        async with bench.running():
            assert await bench.pauses.next() == 7.0
        bench.log.stored += [body(index) for index in range(9, 40)]
        bench.log.publish(40)
        await bench.client.offer_last(20.0)
        assert (bench.state.witnessed, bench.kept(), bench.state.last_error) == (40, 40, "")

    with_bench(tmp_path, work)


def test_a_clean_stop_does_not_wait_for_an_upstream(tmp_path: Path) -> None:
    """Silent, refusing or absent: it is said, nothing is raised, nothing advances."""

    async def work(bench: Bench) -> None:
        never = asyncio.Event()

        async def silent(_request: web.Request) -> web.StreamResponse:
            await never.wait()
            return web.Response()

        bench.witness.answer = silent
        await bench.client.offer_last(0.05)
        assert "did not answer within 0.05 s" in bench.state.last_error
        never.set()
        bench.witness.answer = always(503)
        await bench.client.offer_last(20.0)
        assert "did not co-sign" in bench.state.last_error
        bench.witness.answer = always(403, b"not you")
        await bench.client.offer_last(20.0)
        assert "not you" in bench.state.alarm
        asked = len(bench.witness.seen)
        await bench.client.offer_last(20.0)
        assert (len(bench.witness.seen), bench.state.witnessed, bench.kept()) == (asked, 0, 0)

    with_bench(tmp_path, work)
