"""The witness's decision: every status code, for the reasons the specification gives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.audit.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from appliance.audit.merkle import EMPTY_ROOT
from appliance.audit.notes import COSIGNATURE_KEY, Note, SigningKey, decode64, encode64, parse_note
from appliance.domain.errors import CannotCreateError, ConfigError, PeerError
from appliance.upstream.policy import parse_policy, read_policy
from appliance.upstream.witness import (
    SIZE,
    Reply,
    Request,
    Witness,
    WitnessHead,
    origin_hash,
    parse_request,
)
from appliance.upstream.witness_store import SqliteWitnessStore, create_witness_store
from tests.audit_support import LOG, WITNESS, MemoryLog, body

NOW_S = 1_700_000_000
MODEL = MemoryLog(20)
OTHER = MemoryLog(20, (), [body(index) + b"x" for index in range(20)])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteWitnessStore]:
    create_witness_store(tmp_path / "witness")
    store = SqliteWitnessStore(tmp_path / "witness")
    yield store
    store.close()


@pytest.fixture
def witness(store: SqliteWitnessStore) -> Witness:
    return Witness(WITNESS, {LOG.name: [LOG.verifier()]}, store, lambda: NOW_S)


def ask(witness: Witness, old: int, size: int, log: MemoryLog = MODEL) -> Reply:
    proof = tuple(log.consistency(old, size)) if old <= size else ()
    return witness.add_checkpoint(Request(old, proof, log.checkpoint(size)).encode())


@pytest.mark.safety("S12.3")
def test_the_worked_request_is_read_and_written_byte_for_byte() -> None:
    """AUDIT-FORMATS 11: old 1, two proof lines, checkpoint of 3."""
    worked = (
        "old 1\nsRmnekhkMIxIHvuUf/cj1r1Ooef6uQLrjKmL11nkau4=\n"
        "0+CmKo96klbIvrcVr97YPkMm0sRzedJZsXCahArS8R0=\n\n"
        "audit.example/pi-0001\n3\nPbZ2Ze6owm3jQWaMHTGZ9h3kt4CoKFaaiYzkjCjZMfM=\n\n"
        "— audit.example/pi-0001 kONU4hKiAjmhKOquRsBgnhEARS6Jt3etvcWwY7bZMVs76PqKYdy//gFfEf2WjRFLufRvYXYrv/I4"
        "/lZtp3iI2Qv2Og4=\n"
    ).encode()
    request = parse_request(worked)
    assert (request.old, len(request.proof)) == (1, 2)
    assert request.encode() == worked


def test_the_worked_checkpoint_is_cosigned_byte_for_byte(store: SqliteWitnessStore) -> None:
    """The same key and time give the line printed there."""
    root = decode64("PbZ2Ze6owm3jQWaMHTGZ9h3kt4CoKFaaiYzkjCjZMfM=", "root")
    witness = Witness(WITNESS, {LOG.name: [LOG.verifier()]}, store, lambda: NOW_S)
    note = sign_checkpoint(Checkpoint(LOG.name, 3, root), LOG)
    reply = witness.add_checkpoint(Request(0, (), note).encode())
    assert reply.status == 200
    assert reply.body.decode() == (
        "— witness.example/w1 IDJKvgAAAABlU/EA246/RbuzSy2ETHpGiR1JbcJRb0J9YkB3MXXkL9EQx5wRT2fHMpg/+dpY1e1Z"
        "Pa4iYjvdynBKNh/aiG0RSZPJDA==\n"
    )


def test_a_log_may_only_grow(witness: Witness) -> None:
    """From nothing to 3, to 3 again, to 20; each answer verifies, each head is what monitors get."""
    for old, size in ((0, 3), (3, 3), (3, 20), (20, 20)):
        reply = ask(witness, old, size)
        assert reply.status == 200
        cosigned = MODEL.checkpoint(size) + reply.body
        open_checkpoint(cosigned, [LOG.verifier()], [WITNESS.verifier(COSIGNATURE_KEY)])
        assert witness.latest(origin_hash(LOG.name)) == cosigned
    assert witness.latest(origin_hash("audit.example/pi-0002")) is None


def test_size_zero_is_a_head_too(witness: Witness) -> None:
    """Of the empty log only, and without a proof."""
    assert ask(witness, 0, 0).status == 200
    assert ask(witness, 0, 0).status == 200
    forged = sign_checkpoint(Checkpoint(LOG.name, 0, bytes(32)), LOG)
    assert witness.add_checkpoint(Request(0, (), forged).encode()).status == 422
    assert ask(witness, 0, 5).status == 200


def test_an_old_size_that_is_not_the_last_is_answered_with_the_last(witness: Witness) -> None:
    """409, content type and body as specified, from the first request on."""
    reply = ask(witness, 1, 3)
    assert (reply.status, reply.body, reply.content_type) == (409, b"0\n", SIZE)
    assert ask(witness, 0, 7).status == 200
    for old in (0, 3, 8, 20):
        reply = ask(witness, old, 20)
        assert (reply.status, reply.body, reply.content_type) == (409, b"7\n", SIZE)
    assert ask(witness, 3, 3).body == b"7\n"


def test_old_above_the_checkpoint_s_size_is_malformed(witness: Witness) -> None:
    """400 comes before 409."""
    assert ask(witness, 0, 7).status == 200
    assert ask(witness, 8, 7).status == 400
    assert ask(witness, 8, 0).status == 400


def test_another_history_is_refused_with_422(witness: Witness) -> None:
    """Fork at the same size, fork further on, a proof of something else, a proof from nothing."""
    assert ask(witness, 0, 7).status == 200
    before = witness.latest(origin_hash(LOG.name))
    fork = Request(7, (), OTHER.checkpoint(7))
    assert witness.add_checkpoint(fork.encode()).status == 422
    later = Request(7, tuple(OTHER.consistency(7, 20)), OTHER.checkpoint(20))
    assert witness.add_checkpoint(later.encode()).status == 422
    mixed = Request(7, tuple(MODEL.consistency(7, 20)), OTHER.checkpoint(20))
    assert witness.add_checkpoint(mixed.encode()).status == 422
    missing = Request(7, (), MODEL.checkpoint(20))
    assert witness.add_checkpoint(missing.encode()).status == 422
    superfluous = Request(7, (bytes(32),), MODEL.checkpoint(7))
    assert witness.add_checkpoint(superfluous.encode()).status == 422
    assert witness.latest(origin_hash(LOG.name)) == before
    assert ask(witness, 7, 20).status == 200


def test_a_proof_for_the_first_checkpoint_is_refused(witness: Witness) -> None:
    """From an empty log there is nothing to prove."""
    request = Request(0, (bytes(32),), MODEL.checkpoint(3))
    assert witness.add_checkpoint(request.encode()).status == 422


def test_who_is_known_and_whose_signature_counts(witness: Witness) -> None:
    """404 before 403; a stranger's key under a known name, no signature, a damaged one."""
    nobody = SigningKey("audit.example/pi-0002", bytes(32))
    unknown = sign_checkpoint(Checkpoint(nobody.name, 3, MODEL.root(3)), nobody)
    assert witness.add_checkpoint(Request(0, (), unknown).encode()).status == 404
    stranger = SigningKey(LOG.name, bytes(32))
    forged = sign_checkpoint(Checkpoint(LOG.name, 3, MODEL.root(3)), stranger)
    assert witness.add_checkpoint(Request(0, (), forged).encode()).status == 403
    text = Checkpoint(LOG.name, 3, MODEL.root(3)).text
    other_text = Note(text, (LOG.sign(text + "x"),)).encode()
    assert witness.add_checkpoint(Request(0, (), other_text).encode()).status == 403
    cosigned_only = Note(text, (WITNESS.cosign(text, NOW_S),)).encode()
    assert witness.add_checkpoint(Request(0, (), cosigned_only).encode()).status == 403


def test_signatures_of_strangers_are_not_kept(witness: Witness) -> None:
    """Monitors get the log's signature and ours, not what somebody else put along."""
    text = Checkpoint(LOG.name, 3, MODEL.root(3)).text
    stranger = SigningKey("stranger.example/x", bytes(32))
    note = Note(text, (stranger.sign(text), LOG.sign(text))).encode()
    assert witness.add_checkpoint(Request(0, (), note).encode()).status == 200
    kept = parse_note(witness.latest(origin_hash(LOG.name)) or b"")
    assert [signature.name for signature in kept.signatures] == [LOG.name, WITNESS.name]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"old 0",
        b"old 0\n",
        b"old 0\n\n",
        b"old 0\n\nnot a note\n",
        b"old\n\n" + MODEL.checkpoint(3),
        b"0\n\n" + MODEL.checkpoint(3),
        b"old 00\n\n" + MODEL.checkpoint(3),
        b"old -1\n\n" + MODEL.checkpoint(3),
        b"old 0 \n\n" + MODEL.checkpoint(3),
        b"OLD 0\n\n" + MODEL.checkpoint(3),
        b"old 9223372036854775808\n\n" + MODEL.checkpoint(3),
        b"old \xff\n\n" + MODEL.checkpoint(3),
        b"old 1\nAAAA\n\n" + MODEL.checkpoint(3),
        b"old 1\nnonsense!\n\n" + MODEL.checkpoint(3),
        b"old 1\r\n\r\n" + MODEL.checkpoint(3),
        b"old 1\n" + (encode64(bytes(32)).encode() + b"\n") * 64 + b"\n" + MODEL.checkpoint(3),
        b"old 0\n\n" + b"x" * 70_000,
    ],
)
def test_malformed_requests_are_answered_with_400(witness: Witness, data: bytes) -> None:
    """With one line that says why."""
    reply = witness.add_checkpoint(data)
    assert reply.status == 400
    assert reply.body.endswith(b"\n")
    assert reply.body.count(b"\n") == 1


def test_63_proof_lines_are_read() -> None:
    """The most a client may send."""
    data = Request(1, (bytes(32),) * 63, b"rest").encode()
    assert len(parse_request(data).proof) == 63
    with pytest.raises(PeerError):
        parse_request(Request(1, (bytes(32),) * 64, b"rest").encode())


def test_two_requests_at_once_cannot_roll_the_log_back(store: SqliteWitnessStore) -> None:
    """Both read the same last head; the second to store finds that it is no longer the last."""

    class Late:
        """A store whose other user is faster."""

        def load(self, origin: str) -> WitnessHead | None:
            return store.load(origin)

        def find(self, origin_hash: str) -> WitnessHead | None:
            return store.find(origin_hash)

        def advance(self, origin: str, old: int, head: WitnessHead) -> bool:
            assert ask(rival, 7, 20).status == 200
            return store.advance(origin, old, head)

    logs = {LOG.name: [LOG.verifier()]}
    rival = Witness(WITNESS, logs, store, lambda: NOW_S)
    assert ask(rival, 0, 7).status == 200
    reply = ask(Witness(WITNESS, logs, Late(), lambda: NOW_S), 7, 9)
    assert (reply.status, reply.body) == (409, b"20\n")
    head = store.load(LOG.name)
    assert head is not None
    assert head.size == 20


def test_origins_do_not_mix(store: SqliteWitnessStore) -> None:
    """Each log has its own head."""
    two = SigningKey("audit.example/pi-0002", bytes(32))
    witness = Witness(WITNESS, {LOG.name: [LOG.verifier()], two.name: [two.verifier()]}, store, lambda: NOW_S)
    assert ask(witness, 0, 7).status == 200
    note = sign_checkpoint(Checkpoint(two.name, 9, OTHER.root(9)), two)
    assert witness.add_checkpoint(Request(0, (), note).encode()).status == 200
    assert ask(witness, 7, 8).status == 200
    assert [head.size for head in (store.load(LOG.name), store.load(two.name)) if head] == [8, 9]


def test_the_store_is_made_once_and_remembers(tmp_path: Path) -> None:
    """Never by the daemon, never over another; durable across a close."""
    with pytest.raises(ConfigError) as caught:
        SqliteWitnessStore(tmp_path / "w")
    assert caught.value.do == "interlock init"
    create_witness_store(tmp_path / "w")
    with pytest.raises(CannotCreateError):
        create_witness_store(tmp_path / "w")
    store = SqliteWitnessStore(tmp_path / "w")
    head = WitnessHead(1, EMPTY_ROOT, b"note")
    assert not store.advance("a", 1, head)
    assert store.advance("a", 0, head)
    assert not store.advance("a", 0, head)
    store.close()
    store = SqliteWitnessStore(tmp_path / "w")
    assert store.load("a") == store.find(origin_hash("a")) == head
    assert store.load("b") is None
    store.close()


def test_a_policy_lists_logs(tmp_path: Path) -> None:
    """Comments, urls, a second key for the same origin; anything odd is refused with its line."""
    second = SigningKey(LOG.name, bytes(32)).verifier()
    text = (
        f"# logs we watch\n\n  log {LOG.verifier().vkey} https://x.example/\nlog {second.vkey}\nquorum none\n"
    )
    (tmp_path / "policy").write_text(text)
    assert read_policy(tmp_path / "policy") == {LOG.name: (LOG.verifier(), second)}
    assert parse_policy("", "policy") == {}
    bad = [
        "log\n",
        "log nonsense\n",
        f"log {LOG.verifier().vkey} a b\n",
        f"witness w {WITNESS.verifier(COSIGNATURE_KEY).vkey}\n",
        f"log {WITNESS.verifier(COSIGNATURE_KEY).vkey}\n",
        f"log {LOG.verifier().vkey}\nlog {LOG.verifier().vkey}\n",
    ]
    for case in bad:
        with pytest.raises(ConfigError, match=r"policy:\d"):
            parse_policy(case, "policy")
    with pytest.raises(ConfigError, match="no such file"):
        read_policy(tmp_path / "none")
