"""The uploading client against mirrors that fail, lie or change their mind; the store against a full disk."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.audit.notes import COSIGNATURE_KEY, SigningKey, parse_note
from appliance.audit.verify import MIRRORED
from appliance.domain.errors import CannotCreateError, ConfigError, PeerError, StoreError, TransportError
from appliance.upstream import mirror_client
from appliance.upstream.exchange import Answer, Exchange
from appliance.upstream.mirror_client import MirrorClient, MirrorRefusedError
from appliance.upstream.mirror_store import MirrorStore, create_mirror_store, path_of
from appliance.upstream.upload import Info, read_head, read_packages
from appliance.upstream.witness import WitnessHead
from tests.audit_support import LOG, MIRROR, WITNESS, MemoryLog
from tests.small_disk import MIB, small_disk
from tests.unit.test_upstream_mirror import Bench, upload

SIZE = 700
MODEL = MemoryLog(1_400)
T = TypeVar("T")


class Scripted(Exchange):
    """Answers from a list; a real mirror answers where the list is at its end."""

    def __init__(self, *answers: Answer | Exception) -> None:
        super().__init__("http://127.0.0.1:1")
        self.answers = list(answers)
        self.mirror = Bench(SIZE)
        self.bodies: list[bytes] = []

    async def add_entries(self, packed: bytes) -> Answer:
        """One answer."""
        self.bodies.append(gzip.decompress(packed))
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        reply = self.mirror.mirror.add_entries(self.bodies[-1])
        return Answer(reply.status, reply.body, mirror_info=reply.content_type.endswith("mirror-info"))


def info(status: int, pending: int, following: int) -> Answer:
    return Answer(status, Info(pending, following).encode(), mirror_info=True)


def _client(tmp_path: Path, sleep: Callable[[float], Awaitable[object]] | None = None) -> MirrorClient:
    async def in_thread(look: Callable[[], T]) -> T:
        return look()

    return MirrorClient(
        tmp_path, LOG.verifier(), MIRROR.verifier(COSIGNATURE_KEY), MODEL, sleep or asyncio.sleep, in_thread,
        bytes_per_s=10**9,
    )  # fmt: skip


def _bring_up(client: MirrorClient, exchange: Exchange) -> None:
    asyncio.run(client.bring_up(exchange, MODEL.checkpoint(SIZE)))


def test_it_asks_where_to_begin_and_ends_with_a_co_signature(tmp_path: Path) -> None:
    """Kept on disk, found again; at the next checkpoint it goes on without asking."""
    client, exchange = _client(tmp_path), Scripted()
    _bring_up(client, exchange)
    assert [read_head(body)[0].start for body in exchange.bodies] == [0, 0]
    assert client.mirrored == SIZE
    again = _client(tmp_path)
    asyncio.run(again.load())
    assert again.mirrored == SIZE
    exchange.mirror.cosign(900)
    asyncio.run(client.bring_up(exchange, MODEL.checkpoint(900)))
    assert read_head(exchange.bodies[-1])[0].start == SIZE
    assert exchange.mirror.copy.entries == MODEL.stored[:900]


def test_pieces_are_as_large_as_they_may_be_and_pace_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After every piece that is not the last, as long as its bytes may take."""
    monkeypatch.setattr(mirror_client, "PIECE", 3_000)
    naps: list[float] = []

    async def sleep(seconds: float) -> None:
        naps.append(seconds)

    exchange = Scripted()
    _bring_up(_client(tmp_path, sleep), exchange)
    packages = []
    for body in exchange.bodies[1:]:
        head, at = read_head(body)
        packages.append(len(list(read_packages(body, at, head))))
    assert packages == [1, 1, 1]
    assert len(naps) == 3
    sizes = [len(gzip.compress(body, mirror_client.LEVEL)) for body in exchange.bodies[:3]]
    assert naps == [size / 10**9 for size in sizes]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(500, b"no"), Answer(503, b""), Answer(404, b"who?"), Answer(400, b""), Answer(301, b""),
        Answer(409, b"700\n0\n\n"), Answer(202, b""), info(202, SIZE, 0), info(202, SIZE, SIZE + 1),
        Answer(409, b"nonsense", mirror_info=True), Answer(200, b""),
        TransportError("the upstream could not be reached", "gone"),
    ],
)  # fmt: skip
def test_what_is_no_success_advances_nothing(tmp_path: Path, answer: Answer | Exception) -> None:
    """Errors, wrong types, a 202 that goes nowhere or too far, a 200 without a signature."""
    client, exchange = _client(tmp_path), Scripted(info(409, SIZE, 0), answer)
    with pytest.raises((PeerError, TransportError)):
        _bring_up(client, exchange)
    assert client.mirrored == 0
    assert not (tmp_path / MIRRORED).exists()
    _bring_up(client, exchange)
    assert client.mirrored == SIZE, "the next try goes on"


@pytest.mark.parametrize("status", [403, 422])
def test_a_refusal_is_an_alarm(tmp_path: Path, status: int) -> None:
    """Nobody goes on before a person has looked."""
    with pytest.raises(MirrorRefusedError, match="no such history"):
        _bring_up(_client(tmp_path), Scripted(Answer(status, b"no such history\n")))


@pytest.mark.parametrize("key", [WITNESS, SigningKey(MIRROR.name, bytes(32)), LOG])
def test_a_co_signature_by_another_key_is_none(tmp_path: Path, key: SigningKey) -> None:
    """Of the witness, of somebody with the mirror's name, of the log."""
    text = parse_note(MODEL.checkpoint(SIZE)).text
    forged = Answer(200, key.cosign(text, 1_700_000_000).line.encode())
    client = _client(tmp_path)
    with pytest.raises(PeerError):
        _bring_up(client, Scripted(info(409, SIZE, 0), forged))
    assert client.mirrored == 0


def test_a_co_signature_of_yesterday_is_none(tmp_path: Path) -> None:
    """Replayed: it is about another size."""
    text = parse_note(MODEL.checkpoint(SIZE - 1)).text
    replayed = Answer(200, MIRROR.cosign(text, 1_700_000_000).line.encode())
    with pytest.raises(PeerError):
        _bring_up(_client(tmp_path), Scripted(info(409, SIZE, 0), replayed))


def test_a_mirror_with_another_checkpoint_is_said_and_tried_again(tmp_path: Path) -> None:
    """It has seen a later one, or holds more than this one has: nothing claimed, and the page shows why."""
    for answer in (info(409, SIZE + 5, 0), info(409, SIZE, SIZE + 1)):
        client = _client(tmp_path)
        exchange = Scripted(answer)
        with pytest.raises(PeerError, match="wants another checkpoint"):
            _bring_up(client, exchange)
        assert (client.mirrored, len(exchange.bodies)) == (0, 1)


def test_a_mirror_that_never_comes_to_an_end(tmp_path: Path) -> None:
    """It sends us back for ever: this round is over, and the next begins where it said last."""
    exchange = Scripted(*[info(409, SIZE, n % 2) for n in range(9)])
    with pytest.raises(PeerError, match="contradicts itself"):
        _bring_up(_client(tmp_path), exchange)
    assert len(exchange.bodies) == mirror_client.RESYNCS + 1


def test_a_long_upload_lets_the_witness_have_its_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One piece at least, whatever it took; the next round goes on behind it and asks nothing again."""
    monkeypatch.setattr(mirror_client, "PIECE", 3_000)
    monkeypatch.setattr(mirror_client, "ROUND_S", -1.0)
    client, exchange = _client(tmp_path), Scripted()
    rounds = [asyncio.run(client.bring_up(exchange, MODEL.checkpoint(SIZE))) for _ in range(4)]
    assert rounds == [False, False, False, True]
    assert [read_head(body)[0].start for body in exchange.bodies] == [0, 0, 256, 512]
    assert (client.mirrored, client.uploaded) == (SIZE, SIZE)


def test_a_kept_checkpoint_that_is_not_ours_is_said(tmp_path: Path) -> None:
    """Damaged, or signed by the witness instead."""
    for content in (b"rotten", MODEL.checkpoint(SIZE)):
        (tmp_path / MIRRORED).write_bytes(content)
        with pytest.raises(PeerError):
            asyncio.run(_client(tmp_path).load())


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.integers(0, 1_400), st.integers(0, 60_000), st.binary(min_size=1, max_size=40), st.booleans())
def test_no_body_stores_what_is_not_in_the_log(start: int, at: int, junk: bytes, cut: bool) -> None:
    """Whatever is cut off, put in or overwritten: an answer, never an error, and only true entries."""
    bench = Bench(1_000)
    good = upload(min(start, 1_000), 1_000)
    at %= len(good) + 1
    body = good[:at] + junk + (b"" if cut else good[at + len(junk) :])
    reply = bench.mirror.add_entries(body)
    assert reply.status in (200, 202, 400, 404, 409, 422)
    assert bench.copy.entries == MODEL.stored[: len(bench.copy.entries)]


def test_the_store_is_found_again_as_it_was(tmp_path: Path) -> None:
    """Entries, tree and head after every kind of size; made once, and never by opening it."""
    with pytest.raises(ConfigError, match="interlock init"):
        MirrorStore(tmp_path, LOG.name)
    create_mirror_store(tmp_path, LOG.name)
    with pytest.raises(CannotCreateError):
        create_mirror_store(tmp_path, LOG.name)
    size = 0
    for more in (1, 254, 1, 1, 255, 300, 0):
        store = MirrorStore(tmp_path, LOG.name)
        assert (store.following(), store.root(size)) == (size, MODEL.root(size))
        store.append(MODEL.stored[size : size + more])
        size += more
        assert store.root(size) == MODEL.root(size)
        store.vouch(WitnessHead(size, MODEL.root(size), b"note %d" % size))
        store.close()
    store = MirrorStore(tmp_path, LOG.name)
    assert store.cosigned() == WitnessHead(size, MODEL.root(size), b"note %d" % size)
    assert store.root(300) == MODEL.root(300)
    assert store.bodies(250, 260) == MODEL.stored[250:260]
    with pytest.raises(StoreError, match="entry 812"):
        store.bodies(800, 900)
    store.close()


def test_a_store_with_a_hole_is_damaged(tmp_path: Path) -> None:
    """It vouches for nothing any more."""
    create_mirror_store(tmp_path, LOG.name)
    store = MirrorStore(tmp_path, LOG.name)
    store.append(MODEL.stored[:600])
    store._connection.execute("DELETE FROM entries WHERE idx = 580")
    store.close()
    with pytest.raises(StoreError):
        MirrorStore(tmp_path, LOG.name)


def test_a_full_disk_ends_it_and_loses_nothing(tmp_path: Path) -> None:
    """What was durable before is there afterwards, and the rest comes again."""
    with small_disk(tmp_path / "disk", 8 * MIB) as disk:
        create_mirror_store(disk.path, LOG.name)
        store = MirrorStore(disk.path, LOG.name)
        store.append(MODEL.stored[:300])
        disk.fill()
        with pytest.raises(StoreError):
            store.append([bytes(60_000)] * 300)
        store.close()
        disk.drain()
        store = MirrorStore(disk.path, LOG.name)
        assert store.bodies(0, 300) == MODEL.stored[:300]
        store.close()
    assert not path_of(disk.path, LOG.name).exists()
