"""Enrolment with one-time tokens, and a change of keys at the witness: who is taken, who is refused."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.audit.checkpoint import Checkpoint, sign_checkpoint
from appliance.audit.key_chain import KeyChain
from appliance.audit.key_notes import MAX_KEY_NOTE, sign_rotation
from appliance.audit.notes import COSIGNATURE_KEY, Note, SigningKey, VerifierKey, parse_note
from appliance.domain.errors import CannotCreateError, ConfigError, InterlockError, PeerError, StoreError
from appliance.upstream import enrolment_store
from appliance.upstream.enrolment import (
    MAX_ORIGIN,
    MAX_REFUSALS,
    REFUSALS_S,
    Enrolment,
    hash_token,
    read_book,
    sign_enrolment,
)
from appliance.upstream.enrolment_store import EnrolmentStore, create_enrolment_store
from appliance.upstream.mirror_store import MirrorStore, need_mirror_store, path_of
from appliance.upstream.witness import Request, Witness, WitnessHead
from tests.audit_support import LOG, WITNESS, MemoryLog, flip
from tests.faults.test_storage_log_faults import FaultyVfs, Plan

NOW_S = 1_700_000_000
TOKEN, OTHER = "ab" * 32, "cd" * 32
DEVICE = SigningKey("audit.example/pi-0002", bytes([2]) * 32)
NEXT = SigningKey(LOG.name, bytes([3]) * 32)
LAST = SigningKey(LOG.name, bytes([4]) * 32)
THIEF = SigningKey(LOG.name, bytes([9]) * 32)
MODEL = MemoryLog(20)


class Heads(dict[str, WitnessHead]):
    """The witness's store, in memory."""

    def load(self, origin: str) -> WitnessHead | None:
        return self.get(origin)

    def find(self, _origin_hash: str) -> WitnessHead | None:
        raise AssertionError

    def advance(self, origin: str, _old: int, head: WitnessHead) -> bool:
        self[origin] = head
        return True


class Bench:
    """A collector's decisions over a real store."""

    def __init__(self, directory: Path, vfs: str | None = None) -> None:
        self.now_s = NOW_S
        self.store = EnrolmentStore(directory, vfs)
        self.book = read_book({LOG.name: (LOG.verifier(),)}, self.store)
        self.heads = Heads()
        self.copies: list[str] = []
        own = [WITNESS.verifier(COSIGNATURE_KEY)]
        self.enrolment = Enrolment(
            self.store, self.book, self.heads, lambda: self.now_s, self.copies.append, own
        )
        self.witness = Witness(WITNESS, self.book, self.heads, lambda: self.now_s)

    def token(self, token: str = TOKEN, expires_s: int = NOW_S + 60) -> None:
        self.store.add_token(hash_token(token), NOW_S, expires_s)

    def enrol(self, token: str = TOKEN, key: SigningKey = DEVICE) -> int:
        return self.enrolment.enrol(sign_enrolment(token, key)).status

    def rotate(self, size: int, old: SigningKey, new: SigningKey, root: bytes | None = None) -> int:
        note = sign_rotation(size, MODEL.root(size) if root is None else root, old, new)
        return self.enrolment.rotate(note.encode()).status

    def offer(self, old: int, size: int, *keys: SigningKey) -> int:
        note = sign_checkpoint(Checkpoint(LOG.name, size, MODEL.root(size)), *keys)
        request = Request(old, tuple(MODEL.consistency(old, size)), note)
        return self.witness.add_checkpoint(request.encode()).status


@pytest.fixture
def place(tmp_path: Path) -> Path:
    create_enrolment_store(tmp_path / "collector")
    return tmp_path / "collector"


@pytest.fixture
def bench(place: Path) -> Iterator[Bench]:
    made = Bench(place)
    yield made
    made.store.close()


def test_a_token_enrols_one_log_once(bench: Bench, place: Path) -> None:
    """200 with the collector's own keys, a copy made before, the log known at once and after a restart."""
    bench.token()
    reply = bench.enrolment.enrol(sign_enrolment(TOKEN, DEVICE))
    assert (reply.status, reply.body.decode()) == (200, WITNESS.verifier(COSIGNATURE_KEY).vkey + "\n")
    assert bench.copies == [DEVICE.name]
    assert bench.book[DEVICE.name].keys == (DEVICE.verifier(),)
    assert Bench(place).book[DEVICE.name].keys == (DEVICE.verifier(),)
    assert TOKEN.encode() not in b"".join(path.read_bytes() for path in place.iterdir())


def test_used_expired_unknown_and_replayed_tokens_get_one_answer(bench: Bench) -> None:
    """The same status and the same bytes; nothing is enrolled; a token ends with its last second."""
    third = SigningKey("audit.example/pi-0003", bytes(32))
    bench.token()
    request = sign_enrolment(TOKEN, DEVICE)
    assert bench.enrolment.enrol(request).status == 200
    bench.token(OTHER, NOW_S + 60)
    refusals = {bench.enrolment.enrol(request).body, bench.enrolment.enrol(sign_enrolment(TOKEN, third)).body}
    refusals.add(bench.enrolment.enrol(sign_enrolment("00" * 32, third)).body)
    bench.now_s = NOW_S + 60
    refusals.add(bench.enrolment.enrol(sign_enrolment(OTHER, third)).body)
    assert refusals == {b"this enrolment is refused\n"}
    assert third.name not in bench.book
    bench.now_s = NOW_S + 59
    assert bench.enrol(OTHER, third) == 200


def test_possession_is_proven_by_the_key_itself(bench: Bench) -> None:
    """Somebody else's signature, a second one beside it, a changed bit: refused; the token stays good."""
    bench.token()
    good = sign_enrolment(TOKEN, DEVICE)
    note = parse_note(good)
    other = SigningKey(DEVICE.name, bytes([8]) * 32)
    stranger = other.sign(note.text)
    for signatures in ((stranger,), (*note.signatures, stranger), note.signatures * 2):
        assert bench.enrolment.enrol(Note(note.text, signatures).encode()).status == 403
        bench.now_s += REFUSALS_S
        bench.now_s = min(bench.now_s, NOW_S + 59)
    for at in range(0, len(good), 7):
        bench.enrolment._refusals.clear()
        assert bench.enrolment.enrol(flip(good, at)).status in (400, 403)
    bench.enrolment._refusals.clear()
    assert bench.enrol() == 200


def test_a_token_is_no_second_key_of_a_known_log(bench: Bench) -> None:
    """Of the policy's or an enrolled one: 409, and the token is still good for a new one."""
    bench.token()
    assert bench.enrol(key=THIEF) == 409
    assert bench.enrol(key=LOG) == 409
    assert bench.enrol() == 200
    bench.token(OTHER)
    assert bench.enrol(OTHER, SigningKey(DEVICE.name, bytes([7]) * 32)) == 409
    assert bench.book[DEVICE.name].keys == (DEVICE.verifier(),)


def test_refusals_are_bounded_and_the_bound_ends(bench: Bench) -> None:
    """The next after MAX_REFUSALS within the minute is not looked at; rotations and witnessing go on."""
    bench.token()
    for _ in range(MAX_REFUSALS):
        assert bench.enrol(OTHER) == 403
    assert bench.enrol() == 429
    assert bench.offer(0, 3, LOG) == 200
    bench.now_s += REFUSALS_S - 1
    assert bench.enrol() == 429
    bench.now_s += 1
    bench.store.add_token(hash_token(OTHER), NOW_S, bench.now_s + 1)
    assert bench.enrol(OTHER) == 200


def test_names_and_requests_have_a_longest(bench: Bench) -> None:
    """At the cap it is taken, one more byte is malformed."""
    for length, status in ((MAX_ORIGIN, 200), (MAX_ORIGIN + 1, 400)):
        token = f"{length:064x}"
        bench.token(token)
        assert bench.enrol(token, SigningKey("a" * length, bytes(32))) == status
    assert bench.enrolment.enrol(b"x" * (MAX_KEY_NOTE + 1)).status == 400
    with pytest.raises(PeerError):
        sign_enrolment("AB" * 32, DEVICE)


def test_expired_tokens_are_forgotten_and_their_number_is_bounded(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Used ones are kept: they tell which log came with which token."""
    monkeypatch.setattr(enrolment_store, "MAX_TOKENS", 2)
    bench.token()
    assert bench.enrol() == 200
    bench.token("11" * 32, NOW_S + 1)
    bench.token("22" * 32)
    with pytest.raises(CannotCreateError):
        bench.token("33" * 32)
    bench.store.add_token(hash_token("33" * 32), NOW_S + 1, NOW_S + 9)
    assert len(bench.store.tokens()) == 3


def test_of_two_devices_with_one_token_exactly_one_wins(place: Path) -> None:
    """Two connections, which is more than one collector has, let go at the same moment, many times."""
    stores = [EnrolmentStore(place), EnrolmentStore(place)]
    with ThreadPoolExecutor(2) as pool:
        for number in range(40):
            hashed = hash_token(f"{number:064x}")
            stores[0].add_token(hashed, NOW_S, NOW_S + 9)
            start = Barrier(2)

            def race(at: int, hashed: bytes = hashed, number: int = number, start: Barrier = start) -> bool:
                key = SigningKey(f"audit.example/{number}-{at}", bytes([at]) * 32)
                start.wait()
                return stores[at].use(hashed, key.verifier(), NOW_S)

            assert sorted(pool.map(race, (0, 1))) == [False, True]
    assert len(stores[0].logs()) == 40
    for store in stores:
        store.close()


def test_a_copy_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    """What a crash left beside its place is swept away; what is there is left alone."""
    (tmp_path / ".mirror.new" / "mirror").mkdir(parents=True)
    path_of(tmp_path / ".mirror.new", DEVICE.name).write_bytes(b"")
    need_mirror_store(tmp_path, DEVICE.name)
    store = MirrorStore(tmp_path, DEVICE.name)
    store.append([b"entry"])
    store.close()
    need_mirror_store(tmp_path, DEVICE.name)
    store = MirrorStore(tmp_path, DEVICE.name)
    assert store.following() == 1
    store.close()
    assert not (tmp_path / ".mirror.new").exists()


@pytest.mark.parametrize("late", [False, True])
def test_a_disk_that_fails_never_makes_a_token_usable_twice(tmp_path: Path, late: bool) -> None:
    """EIO at each write and sync, before or after its effect: used and enrolled, or neither."""
    at, both = 0, set()
    while True:
        place = tmp_path / "run"
        shutil.rmtree(place, ignore_errors=True)
        create_enrolment_store(place)
        first = EnrolmentStore(place)
        first.add_token(hash_token(TOKEN), NOW_S, NOW_S + 60)
        first.close()
        plan = Plan(at, late=late)
        vfs = FaultyVfs("enrolling", plan)
        try:
            store = EnrolmentStore(place, "enrolling")
            with contextlib.suppress(StoreError):
                store.use(hash_token(TOKEN), DEVICE.verifier(), NOW_S)
            with contextlib.suppress(apsw.Error, InterlockError):
                store.close()
        finally:
            vfs.unregister()
        again = EnrolmentStore(place)
        enrolled, good = again.logs(), again.is_good(hash_token(TOKEN), NOW_S)
        again.close()
        assert bool(enrolled) is not good, (at, plan.hit)
        both.add(good)
        if not plan.hit:
            break
        at += 1
    assert both == {True, False}
    assert at > 3


def test_a_log_goes_on_under_its_next_key(bench: Bench, place: Path) -> None:
    """Before the rotation the new key is refused; behind it the old one is; after a restart too."""
    assert bench.offer(0, 5, LOG) == 200
    assert bench.offer(5, 9, NEXT) == 403
    assert bench.rotate(7, LOG, NEXT) == 200
    assert bench.offer(5, 9, LOG) == 403
    assert bench.offer(5, 8, LOG) == 200
    assert bench.offer(8, 9, NEXT) == 200
    assert bench.rotate(7, LOG, NEXT) == 200, "told again"
    assert bench.rotate(12, NEXT, LAST) == 200
    heads, bench = bench.heads, Bench(place)
    bench.heads.update(heads)
    assert [bench.offer(9, 20, key) for key in (LOG, NEXT, THIEF, LAST)] == [403, 403, 403, 200]


def test_a_stranger_s_rotation_is_refused(bench: Bench) -> None:
    """By a key that is nobody's, by one that went before, of a log that is not here, of another history."""
    assert bench.rotate(5, THIEF, NEXT) == 403
    assert bench.rotate(5, DEVICE, SigningKey(DEVICE.name, bytes(32))) == 404
    assert bench.offer(0, 5, LOG) == 200
    assert bench.rotate(5, LOG, NEXT, root=bytes(32)) == 422
    assert bench.rotate(3, LOG, THIEF) == 409, "behind what was co-signed"
    assert bench.rotate(4, LOG, NEXT) == 200
    assert bench.rotate(6, LOG, THIEF) == 403
    assert bench.book[LOG.name].current == NEXT.verifier()


def test_a_key_taken_out_of_the_policy_leads_nowhere(bench: Bench) -> None:
    """The owner has put the new key into the policy by hand: what is stored of the old one is passed over."""
    assert bench.rotate(5, LOG, NEXT) == 200
    book = read_book({LOG.name: (NEXT.verifier(),)}, bench.store)
    assert book == {LOG.name: KeyChain.rooted(NEXT.verifier())}
    both = read_book({LOG.name: (LOG.verifier(), NEXT.verifier())}, bench.store)
    assert [era.last for era in both[LOG.name].eras] == [6, None]


def test_a_damaged_store_says_so(bench: Bench) -> None:
    """A note that is none, a key that is none: the collector does not start on it."""
    bench.store.add_rotation(LOG.name, b"nothing")
    with pytest.raises(StoreError):
        read_book({LOG.name: (LOG.verifier(),)}, bench.store)


def test_a_store_that_was_never_made_is_named(tmp_path: Path) -> None:
    """With the command that makes one."""
    with pytest.raises(ConfigError, match="collector --token"):
        EnrolmentStore(tmp_path)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(
    data=st.one_of(st.binary(max_size=400), st.text(max_size=200).map(str.encode)), keep=st.integers(0, 400)
)
def test_no_bytes_from_the_network_do_more_than_be_refused(data: bytes, keep: int) -> None:
    """Any bytes, and any bytes behind or in a good beginning: 400 or 403, and nothing is stored."""
    kept = _Nothing()
    book = {LOG.name: KeyChain.rooted(LOG.verifier())}
    enrolment = Enrolment(kept, book, Heads(), lambda: NOW_S, kept.refuse, [])
    good = sign_enrolment(TOKEN, DEVICE)
    rotation = sign_rotation(5, bytes(32), LOG, NEXT).encode()
    for body in (data, good[:keep] + data, good[:keep] + data + good[keep + len(data) :]):
        if body != good:
            enrolment._refusals.clear()
            assert enrolment.enrol(body).status in (400, 403)
    for body in (data, rotation[:keep] + data, rotation[:keep] + data + rotation[keep + len(data) :]):
        if body != rotation:
            assert enrolment.rotate(body).status in (400, 403, 404)
    assert book == {LOG.name: KeyChain.rooted(LOG.verifier())}


class _Nothing:
    """A store with one good token, in which nothing may be changed."""

    def is_good(self, hashed: bytes, _now_s: int) -> bool:
        return hashed == hash_token(TOKEN)

    def use(self, *_: object) -> bool:
        raise AssertionError

    def logs(self) -> list[VerifierKey]:
        return []

    def add_rotation(self, *_: object) -> None:
        raise AssertionError

    def rotations(self) -> list[tuple[str, bytes]]:
        return []

    def refuse(self, _origin: str) -> None:
        raise AssertionError
