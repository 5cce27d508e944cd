"""A mirror takes what hashes into the checkpoint, in any pieces, and nothing else (C2SP tlog-mirror)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from appliance.audit.checkpoint import open_checkpoint
from appliance.audit.merkle import leaf_hash, root_from_hashes
from appliance.audit.notes import COSIGNATURE_KEY
from appliance.audit.subtree import subtree_proof
from appliance.domain.errors import PeerError, StoreError
from appliance.upstream.mirror import Mirror
from appliance.upstream.upload import (
    INFO,
    MAX_HASHES,
    Head,
    Info,
    make_package,
    ranges,
    read_head,
    read_info,
    read_packages,
)
from appliance.upstream.witness import Reply, WitnessHead
from tests.audit_support import LOG, MIRROR, MemoryLog

NOW_S = 1_700_000_000
MODEL = MemoryLog(1_400)
END = 1_000


class Copy:
    """In memory; counts how often something was made durable."""

    def __init__(self) -> None:
        self.entries: list[bytes] = []
        self.head: WitnessHead | None = None
        self.appends = 0

    def following(self) -> int:
        return len(self.entries)

    def cosigned(self) -> WitnessHead | None:
        return self.head

    def bodies(self, start: int, stop: int) -> list[bytes]:
        assert stop <= len(self.entries)
        return self.entries[start:stop]

    def append(self, entries: Sequence[bytes]) -> None:
        self.appends += 1
        self.entries += entries

    def root(self, size: int) -> bytes:
        return root_from_hashes(leaf_hash(entry) for entry in self.entries[:size])

    def vouch(self, head: WitnessHead) -> None:
        self.head = head


class Bench:
    """A mirror of MODEL whose witness has co-signed the first `size` entries."""

    def __init__(self, size: int = END) -> None:
        self.copy = Copy()
        self.pending: dict[str, WitnessHead] = {}
        self.mirror = Mirror(
            MIRROR, {LOG.name: (LOG.verifier(),)}, self, {LOG.name: self.copy}, lambda: NOW_S
        )
        self.cosign(size)

    def load(self, origin: str) -> WitnessHead | None:
        return self.pending.get(origin)

    def cosign(self, size: int) -> None:
        self.pending[LOG.name] = WitnessHead(size, MODEL.root(size), MODEL.checkpoint(size))

    def send(self, start: int, end: int = END, packages: int | None = None) -> Reply:
        return self.mirror.add_entries(upload(start, end, packages))


def upload(start: int, end: int, packages: int | None = None, model: MemoryLog = MODEL) -> bytes:
    """A body with the first `packages` of an upload."""
    made = [
        make_package(where, lambda a, b: list(model.bodies(a, b)), lambda a, b: _proof(a, b, end, model))
        for where in list(ranges(start, end))[:packages]
    ]
    return Head(LOG.name, start, end).encode() + b"".join(package.encode() for package in made)


def _proof(base: int, stop: int, size: int, model: MemoryLog) -> list[bytes]:
    return subtree_proof(base, stop, size, model.subtree)


def _vouches(reply: Reply, size: int) -> bool:
    keys = [LOG.verifier()], [MIRROR.verifier(COSIGNATURE_KEY)]
    signed = open_checkpoint(MODEL.checkpoint(size) + reply.body, *keys)
    return reply.status == 200 and signed.checkpoint.size == size and len(signed.cosigned) == 1


def test_a_whole_upload_is_stored_and_vouched_for() -> None:
    """One request, one write, one co-signature under the mirror's own name; asked again, the same."""
    bench = Bench()
    reply = bench.send(0)
    assert _vouches(reply, END)
    assert bench.copy.entries == MODEL.stored[:END]
    assert bench.copy.appends == 1
    assert bench.copy.head is not None
    assert bench.mirror.checkpoint(LOG.name) == bench.copy.head.note
    assert bench.copy.head.note == MODEL.checkpoint(END) + reply.body
    assert _vouches(bench.send(0), END)
    assert _vouches(bench.send(END), END)
    assert (len(bench.copy.entries), bench.copy.appends) == (END, 1)


@pytest.mark.parametrize("first", [1, 255, 256, 257, 511, 700, 999])
def test_it_goes_on_from_anywhere(first: int) -> None:
    """A log that grew: the second upload begins in the middle of a package."""
    bench = Bench(first)
    assert _vouches(bench.send(0, first), first)
    bench.cosign(END)
    assert _vouches(bench.send(first), END)
    assert bench.copy.entries == MODEL.stored[:END]


def test_pieces_are_taken_one_after_the_other() -> None:
    """202 tells where to go on; what overlaps is stored once."""
    bench = Bench()
    for packages, stored in ((1, 256), (2, 512), (3, 768)):
        reply = bench.send(0, packages=packages)
        assert (reply.status, reply.content_type) == (202, INFO)
        assert read_info(reply.body) == Info(END, stored)
    assert bench.mirror.checkpoint(LOG.name) is None, "not before everything is there"
    assert bench.send(300, packages=1).status == 202
    assert _vouches(bench.send(768), END)
    assert bench.copy.entries == MODEL.stored[:END]


@pytest.mark.parametrize(("start", "end"), [(0, 999), (0, 1_001), (1, 1_000), (5, 5), (0, 0)])
def test_another_place_or_checkpoint_is_told_where(start: int, end: int) -> None:
    """A gap, a checkpoint nobody co-signed, and the question that is none."""
    bench = Bench()
    reply = bench.mirror.add_entries(Head(LOG.name, start, end).encode())
    assert (reply.status, reply.content_type) == (409, INFO)
    assert read_info(reply.body) == Info(END, 0)


def test_before_any_checkpoint_nothing_is_taken() -> None:
    """The witness beside it has to have seen the log."""
    bench = Bench()
    bench.pending.clear()
    reply = bench.mirror.add_entries(upload(0, 300))
    assert (reply.status, read_info(reply.body)) == (409, Info(0, 0))


def test_a_log_nobody_enrolled_is_unknown() -> None:
    """404, whatever else the body holds."""
    assert Bench().mirror.add_entries(Head("another.example/log", 0, 0).encode()).status == 404
    assert Bench().mirror.checkpoint("another.example/log") is None


@pytest.mark.parametrize("at", [0, 255, 256, 600, 999])
def test_an_altered_entry_is_refused_with_what_comes_after_it(at: int) -> None:
    """Its package and the rest; what was proven before it stays."""
    bench, other = Bench(), MemoryLog(END)
    other.stored[at] += b"!"
    made = [
        make_package(where, lambda a, b: list(other.bodies(a, b)), lambda a, b: _proof(a, b, END, MODEL))
        for where in ranges(0, END)
    ]
    reply = bench.mirror.add_entries(Head(LOG.name, 0, END).encode() + b"".join(p.encode() for p in made))
    assert reply.status == 422
    assert bench.copy.entries == MODEL.stored[: at - at % 256]
    assert bench.copy.head is None


def test_another_history_is_refused_from_its_first_package() -> None:
    """All of it hashes, to another root."""
    bench = Bench()
    other = MemoryLog(END, stored=[b"x%d" % number for number in range(END)])
    assert bench.mirror.add_entries(upload(0, END, model=other)).status == 422
    assert bench.copy.entries == []


@pytest.mark.parametrize(
    ("change", "status", "stored"),
    [
        (lambda body: body[:-1], 202, 768),
        (lambda body: body[: len(body) // 2], 202, 256),
        (lambda body: body + b"\0", 200, END),
        (lambda body: body[:40], 400, 0),
        (lambda body: body[:10], 400, 0),
        (lambda body: b"", 400, 0),
    ],
)
def test_a_body_that_is_cut_is_taken_as_far_as_it_is_whole(change: object, status: int, stored: int) -> None:
    """Half a package is none; without one whole package the request was nothing."""
    bench = Bench()
    assert callable(change)
    reply = bench.mirror.add_entries(change(upload(0, END)))
    assert (reply.status, bench.copy.following() // 256 * 256) == (status, stored // 256 * 256)


def test_a_store_that_lost_an_entry_vouches_for_nothing() -> None:
    """The last look before the signature is at the whole tree."""
    bench = Bench()
    bench.send(0, packages=2)
    bench.copy.entries[5] = b"rotten"
    with pytest.raises(StoreError, match="do not hash"):
        bench.send(512)
    assert bench.copy.head is None


def test_it_never_goes_back() -> None:
    """A witness that forgot (its store was restored) does not make the mirror vouch for less."""
    bench = Bench()
    bench.send(0)
    bench.cosign(600)
    reply = bench.send(0, 600)
    assert (reply.status, read_info(reply.body)) == (409, Info(600, END))


def test_form_of_an_upload() -> None:
    """Bytes as the specification has them, and what they are read as."""
    body = upload(254, 258)
    assert body[:25] == len(LOG.name).to_bytes(2, "big") + LOG.name.encode() + b"\0" * 2
    head, at = read_head(body)
    assert head == Head(LOG.name, 254, 258)
    packages = list(read_packages(body, at, head))
    assert [(p.base, p.start, p.stop) for p in packages] == [(0, 254, 256), (256, 256, 258)]
    assert b"".join((Head(LOG.name, 254, 258, b"").encode(), *(p.encode() for p in packages))) == body
    assert Info(7, 3, b"\xff\x00").encode() == b"7\n3\n/wA=\n"


@pytest.mark.parametrize(
    "body",
    [
        b"\0\0" + b"\0" * 18,
        b"\x01\0" + b"a" * 256 + b"\0" * 18,
        b"\0\1\xff" + b"\0" * 18,
        b"\0\1a" + (2).to_bytes(8, "big") + (1).to_bytes(8, "big") + b"\0\0",
        b"\0\1a" + b"\0" * 16 + b"\0\2a",
    ],
)
def test_a_head_that_is_none(body: bytes) -> None:
    """No origin, a long one, one that is no text, a range that runs backwards, a ticket that is cut."""
    with pytest.raises(PeerError):
        read_head(body)


def test_a_proof_has_63_hashes_at_most() -> None:
    """More cannot be one."""
    head = Head(LOG.name, 0, 1)
    body = head.encode() + b"\0\1x" + bytes((MAX_HASHES + 1,)) + bytes(32 * (MAX_HASHES + 1))
    with pytest.raises(PeerError, match="64 hashes"):
        list(read_packages(body, len(head.encode()), head))


@pytest.mark.parametrize(
    "body", [b"", b"1\n2\n", b"1\n2\n\n3", b"01\n2\n\n", b"-1\n2\n\n", b"1\n2\n%\n", b"1\n2\n\n\n"]
)
def test_an_info_that_is_none(body: bytes) -> None:
    """Three lines: two numbers, and base64."""
    with pytest.raises(PeerError):
        read_info(body)
