"""Rotation and revocation of a log's keys: what leads from the first key to the last, and what not."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.audit.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from appliance.audit.key_chain import KeyChain, may_revoke, rooted_in
from appliance.audit.key_notes import (
    MAX_KEY_NOTE,
    OPERATOR,
    Revocation,
    Rotation,
    note_of,
    open_revocation,
    open_rotation,
    sign_revocation,
    sign_rotation,
)
from appliance.audit.notes import COSIGNATURE_KEY, Note, SigningKey, parse_note
from appliance.audit.records import encode_entry
from appliance.audit.report import Report
from appliance.audit.verify import KeyText, Trust, verify
from appliance.domain.errors import PeerError
from appliance.ports import Entry
from tests.audit_support import LOG, TRUST, WITNESS, MemoryLog, flip

SECOND = SigningKey(LOG.name, bytes([2]) * 32)
THIRD = SigningKey(LOG.name, bytes([3]) * 32)
STRANGER = SigningKey(LOG.name, bytes([9]) * 32)
OPERATING = SigningKey(OPERATOR, bytes([7]) * 32)
OPERATED = Trust(TRUST.log, TRUST.witness, KeyText("guard.toml", OPERATING.verifier().vkey))
ROOT = bytes(range(32))


class Story:
    """A log that grows entry by entry, with the key entries a test wants and checkpoints by any keys."""

    def __init__(self) -> None:
        self.log = MemoryLog(0)

    def grow(self, count: int) -> Story:
        for _ in range(count):
            self.add("heartbeat", {"number": len(self.log.stored)})
        return self

    def add(self, kind: str, data: dict[str, object]) -> Story:
        index = len(self.log.stored)
        entry = Entry(kind=kind, utc_ns=index, mono_ns=index, data=data)
        self.log.stored.append(encode_entry(index, "core", index, entry))
        return self

    def rotate(self, old: SigningKey, new: SigningKey) -> Story:
        size = len(self.log.stored)
        return self.told("rotated", sign_rotation(size, self.log.root(size), old, new))

    def revoke(
        self, key: SigningKey, size: int, by: SigningKey = OPERATING, successor: SigningKey | None = None
    ) -> Story:
        vouched = None if successor is None else successor.verifier()
        return self.told("revoked", sign_revocation(LOG.name, key.verifier(), size, by, vouched))

    def told(self, act: str, note: str) -> Story:
        return self.add("key", {"act": act, "note": note})

    def signed(self, *keys: SigningKey) -> Story:
        size = len(self.log.stored)
        self.log.publish(size)
        self.log.files["checkpoint"] = sign_checkpoint(Checkpoint(LOG.name, size, self.log.root(size)), *keys)
        return self

    def cosigned(self, key: SigningKey) -> Story:
        """The witness's co-signature on what was published last, by that key."""
        text = parse_note(self.log.files["checkpoint"]).text
        self.log.files["cosigned"] = Note(text, (key.sign(text), WITNESS.cosign(text, 1))).encode()
        return self

    def verify(self, trust: Trust = OPERATED) -> Report:
        return verify(self.log, trust)


def said(report: Report) -> list[str]:
    return [str(finding) for finding in report.findings]


def test_a_rotation_is_one_note_with_the_words_of_its_docstring() -> None:
    """Text byte for byte; signed by both; what was signed comes back."""
    note = sign_rotation(5, ROOT, LOG, SECOND)
    assert note.split("\n\n")[0] == (
        f"interlock-rotation/v1\n{LOG.name}\nbehind 5\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
        f"old {LOG.verifier().vkey}\nnew {SECOND.verifier().vkey}"
    )
    assert open_rotation(note.encode()) == Rotation(5, ROOT, LOG.verifier(), SECOND.verifier())


def test_no_changed_bit_of_a_rotation_or_revocation_is_accepted() -> None:
    """Every bit of either."""
    revocation = sign_revocation(LOG.name, LOG.verifier(), 5, OPERATING, SECOND.verifier())
    notes: list[tuple[bytes, Callable[[bytes], object]]] = [
        (sign_rotation(5, ROOT, LOG, SECOND).encode(), open_rotation),
        (revocation.encode(), open_revocation),
    ]
    for note, opened in notes:
        opened(note)
        for at in range(len(note)):
            for bit in range(8):
                with pytest.raises(PeerError):
                    opened(flip(note, at, bit))


def test_a_rotation_needs_both_signatures_and_no_other() -> None:
    """The old key alone, the new alone, twice the same, a third beside them, the other order."""
    text = open_rotation(sign_rotation(5, ROOT, LOG, SECOND).encode()).text
    old, new, more = LOG.sign(text), SECOND.sign(text), STRANGER.sign(text)
    open_rotation(Note(text, (old, new)).encode())
    for signatures in ((old,), (new,), (old, old), (old, new, more), (new, old), (more, new), (old, new) * 2):
        with pytest.raises(PeerError):
            open_rotation(Note(text, signatures).encode())


def test_a_rotation_is_within_one_log_and_to_another_key() -> None:
    """Another name, the same key, a key that is none of a log's."""
    other = SigningKey("audit.example/pi-0002", bytes([2]) * 32)
    for new in (LOG, other):
        with pytest.raises(PeerError):
            sign_rotation(5, ROOT, LOG, new)
    cosigner = SECOND.verifier(COSIGNATURE_KEY)
    text = Rotation(5, ROOT, LOG.verifier(), cosigner).text
    with pytest.raises(PeerError):
        open_rotation(Note(text, (LOG.sign(text), SECOND.sign(text))).encode())


def test_neither_note_can_be_taken_for_a_checkpoint_or_for_the_other() -> None:
    """A log's key signs three kinds of notes: each is refused as any other."""
    rotation = sign_rotation(5, ROOT, LOG, SECOND).encode()
    revocation = sign_revocation(LOG.name, LOG.verifier(), 5, LOG).encode()
    checkpoint = sign_checkpoint(Checkpoint(LOG.name, 5, ROOT), LOG)
    for note in (rotation, revocation):
        with pytest.raises(PeerError):
            parse_checkpoint(parse_note(note).text)
    for note in (revocation, checkpoint):
        with pytest.raises(PeerError):
            open_rotation(note)
    for note in (rotation, checkpoint):
        with pytest.raises(PeerError):
            open_revocation(note)


def test_eras_meet_at_the_checkpoint_that_covers_the_rotation() -> None:
    """Dense around both ends of each era: one key below, both at the seam, the other above."""
    chain = KeyChain.rooted(LOG.verifier())
    chain = chain.rotated(Rotation(5, ROOT, LOG.verifier(), SECOND.verifier()))
    chain = chain.rotated(Rotation(9, ROOT, SECOND.verifier(), THIRD.verifier()))
    keys = (LOG, SECOND, THIRD, STRANGER)
    may = {key: [size for size in range(13) if believed(chain, size, key)] for key in keys}
    assert may == {LOG: [*range(7)], SECOND: [*range(6, 11)], THIRD: [10, 11, 12], STRANGER: []}
    assert chain.current == THIRD.verifier()
    assert believed(chain, 6, SECOND, LOG)
    assert believed(chain, 7, SECOND, LOG), "one that may is enough"


def believed(chain: KeyChain, size: int, *keys: SigningKey) -> bool:
    try:
        chain.open(sign_checkpoint(Checkpoint(LOG.name, size, ROOT), *keys))
    except PeerError:
        return False
    return True


def test_what_does_not_follow_is_refused() -> None:
    """A stranger's, one behind a later one, a second one of the same key, a key that comes back."""
    first = Rotation(5, ROOT, LOG.verifier(), SECOND.verifier())
    chain = KeyChain.rooted(LOG.verifier()).rotated(first)
    assert chain.rotated(first) == chain
    for wrong in (
        Rotation(7, ROOT, STRANGER.verifier(), THIRD.verifier()),
        Rotation(5, ROOT, LOG.verifier(), THIRD.verifier()),
        Rotation(7, ROOT, LOG.verifier(), SECOND.verifier()),
        Rotation(4, ROOT, SECOND.verifier(), THIRD.verifier()),
        Rotation(7, ROOT, SECOND.verifier(), LOG.verifier()),
    ):
        with pytest.raises(PeerError):
            chain.rotated(wrong)
    assert chain.rotated(Rotation(5, ROOT, SECOND.verifier(), THIRD.verifier())).current == THIRD.verifier()


def test_a_chain_is_taken_up_at_the_key_one_trusts() -> None:
    """Whoever was given the second key needs only what came behind it; without the link there is none."""
    notes = [sign_rotation(5, ROOT, LOG, SECOND).encode(), sign_rotation(9, ROOT, SECOND, THIRD).encode()]
    assert rooted_in(LOG.verifier(), notes).keys == tuple(key.verifier() for key in (LOG, SECOND, THIRD))
    assert rooted_in(SECOND.verifier(), notes).keys == (SECOND.verifier(), THIRD.verifier())
    assert rooted_in(THIRD.verifier(), notes).keys == (THIRD.verifier(),)
    assert rooted_in(STRANGER.verifier(), notes).keys == (STRANGER.verifier(),)
    with pytest.raises(PeerError):
        rooted_in(LOG.verifier(), [notes[0], sign_rotation(9, ROOT, STRANGER, THIRD).encode()])


def test_who_may_revoke() -> None:
    """The operator anything; a key itself from that entry on; nobody else; nobody without an operator."""
    by_operator = Revocation(LOG.name, LOG.verifier(), 0, OPERATING.verifier())
    may_revoke(by_operator, OPERATING.verifier(), 9)
    for operator in (None, SigningKey(OPERATOR, bytes([8]) * 32).verifier()):
        with pytest.raises(PeerError):
            may_revoke(by_operator, operator, 9)
    for size, allowed in ((8, False), (9, True), (10, True)):
        itself = Revocation(LOG.name, LOG.verifier(), size, LOG.verifier())
        if allowed:
            may_revoke(itself, None, 9)
        else:
            with pytest.raises(PeerError):
                may_revoke(itself, None, 9)
    with pytest.raises(PeerError):
        may_revoke(Revocation(LOG.name, LOG.verifier(), 9, SECOND.verifier()), OPERATING.verifier(), 9)


def test_only_the_operator_vouches_for_a_successor() -> None:
    """A key that is revoked cannot name who comes after it."""
    with pytest.raises(PeerError):
        sign_revocation(LOG.name, LOG.verifier(), 5, LOG, SECOND.verifier())
    with pytest.raises(PeerError):
        sign_revocation(LOG.name, LOG.verifier(), 5, OPERATING, LOG.verifier())
    assert sign_revocation(LOG.name, LOG.verifier(), 5, OPERATING, SECOND.verifier())


@cache
def three_keys() -> tuple[bytes, ...]:
    """Notes of a story of three keys: nothing is made twice."""
    return tuple(Story().grow(3).rotate(LOG, SECOND).grow(2).rotate(SECOND, THIRD).grow(1).log.stored)


def test_verify_walks_any_number_of_rotations_from_the_first_key() -> None:
    """Twenty keys; the last signs; who was given the first accepts, who was given the tenth does not."""
    keys = [LOG, *(SigningKey(LOG.name, bytes([number]) * 32) for number in range(40, 60))]
    story = Story().grow(1)
    for old, new in itertools.pairwise(keys):
        story.rotate(old, new).grow(1)
    report = story.signed(keys[-1]).verify()
    assert report.ok, said(report)
    assert [era.key for era in report.keys] == [key.verifier() for key in keys]
    assert not story.verify(Trust(KeyText("middle", keys[9].verifier().vkey))).ok


@pytest.mark.parametrize(
    ("keys", "fine"),
    [((THIRD,), True), ((THIRD, SECOND), True), ((LOG,), False), ((SECOND,), False), ((STRANGER,), False)],
)
def test_a_head_is_believed_from_the_key_in_force_alone(keys: tuple[SigningKey, ...], fine: bool) -> None:
    """A retired key, a stranger's: refused at a size where another key is in force."""
    story = Story()
    story.log.stored = list(three_keys())
    report = story.signed(*keys).verify()
    assert report.ok is fine, said(report)


def test_the_checkpoint_of_a_rotation_verifies_with_either_key_alone() -> None:
    """Who knows only the old key can check up to there: also with the plain rule of a signed note."""
    for key in (LOG, SECOND):
        assert Story().grow(3).rotate(LOG, SECOND).signed(key).verify().ok
    assert not Story().grow(3).rotate(LOG, SECOND).grow(1).signed(LOG).verify().ok
    assert not Story().grow(3).signed(SECOND).verify().ok


def test_a_rotation_by_a_stranger_is_found_where_it_stands() -> None:
    """And leads to no key: the head it signs is refused too."""
    report = Story().grow(3).rotate(STRANGER, SECOND).grow(1).signed(SECOND).verify()
    assert [finding.place for finding in report.findings] == ["entry 3", "checkpoint"]
    assert "nothing leads to the old key" in said(report)[0]


def test_a_rotation_of_another_log_or_place_is_refused() -> None:
    """Same keys, same index, other entries before it; and the same log's own, one entry later."""
    elsewhere = Story().add("heartbeat", {"other": True}).grow(2)
    note = sign_rotation(3, elsewhere.log.root(3), LOG, SECOND)
    report = Story().grow(3).told("rotated", note).grow(1).signed(SECOND).verify()
    assert "entry 3" in said(report)[0]
    assert "another log" in said(report)[0]
    here = Story().grow(3)
    late = sign_rotation(3, here.log.root(3), LOG, SECOND)
    assert not here.grow(1).told("rotated", late).grow(1).signed(SECOND).verify().ok


@pytest.mark.parametrize("data", [{}, {"note": 5}, {"note": ""}, {"note": "x\n"}, {"note": "\ud800"}])
def test_a_key_entry_without_a_good_note_is_a_finding(data: dict[str, object]) -> None:
    """Nothing in a log can make `verify` fall over; an act it does not know says nothing."""
    for act in ("rotated", "revoked"):
        report = Story().grow(1).add("key", {"act": act, **data}).signed(LOG).verify()
        assert [finding.place for finding in report.findings] == ["entry 1"]
    assert Story().grow(1).add("key", {"act": "used", **data}).signed(LOG).verify().ok


def test_a_revoked_key_is_not_believed_from_there_on() -> None:
    """Of a key in force: dense around the entry; what is before it stays believed."""
    for size, fine in ((4, False), (5, False), (6, True), (7, True)):
        report = Story().grow(5).revoke(LOG, size).signed(LOG).verify()
        assert report.ok is fine, (size, said(report))


def test_a_key_that_was_rotated_away_is_revoked_without_harm() -> None:
    """The usual order: rotate, then revoke from the rotation on."""
    report = Story().grow(3).rotate(LOG, SECOND).grow(1).revoke(LOG, 4).signed(SECOND).verify()
    assert report.ok, said(report)
    assert not report.remarks


def test_reaching_back_before_the_rotation_needs_the_operator_s_word_for_the_successor() -> None:
    """Without it nothing leads to the key in force; with it a remark says what stands on whose word."""
    story = Story().grow(3).rotate(LOG, SECOND).grow(1)
    refused = story.revoke(LOG, 2).signed(SECOND).verify()
    assert [finding.place for finding in refused.findings] == ["checkpoint"]
    story = Story().grow(3).rotate(LOG, SECOND).grow(1)
    report = story.revoke(LOG, 2, successor=SECOND).signed(SECOND).verify()
    assert report.ok, said(report)
    assert len(report.remarks) == 1
    assert "entries 2 to 3" in report.remarks[0]
    wrong = Story().grow(3).rotate(LOG, SECOND).grow(1).revoke(LOG, 2, successor=THIRD)
    assert "entry 5" in said(wrong.signed(SECOND).verify())[0]


def test_a_revocation_by_a_stranger_is_found_and_changes_nothing() -> None:
    """Nor one that is about another log, or a key nobody ever had."""
    other = sign_revocation("audit.example/pi-0002", LOG.verifier(), 0, OPERATING)
    stories = (
        Story().grow(3).revoke(LOG, 0, by=SigningKey(OPERATOR, bytes([8]) * 32)),
        Story().grow(3).revoke(LOG, 0, by=LOG),
        Story().grow(3).revoke(STRANGER, 0),
        Story().grow(3).told("revoked", other),
    )
    for story in stories:
        report = story.signed(LOG).verify()
        assert [finding.place for finding in report.findings] == ["entry 3"], said(report)


def test_a_revoked_witness_does_not_count_behind_that_entry() -> None:
    """Its co-signature of what came before does."""
    witness = WITNESS.verifier(COSIGNATURE_KEY)
    for size, fine in ((3, False), (4, True)):
        note = sign_revocation(LOG.name, witness, size, OPERATING)
        report = Story().grow(3).told("revoked", note).signed(LOG).cosigned(LOG).verify()
        assert report.ok is fine, said(report)


def test_a_head_cosigned_before_the_rotation_stays_good() -> None:
    """The witness was last seen under the old key; the log goes on under the new one."""
    story = Story().grow(3).signed(LOG).cosigned(LOG).rotate(LOG, SECOND).grow(1).signed(SECOND)
    report = story.verify()
    assert report.ok, said(report)
    assert report.witnessed == 3


def test_a_note_of_a_key_entry_is_bounded() -> None:
    """One byte below the cap is looked at, one above is not."""
    for size, why in ((MAX_KEY_NOTE, "no blank line"), (MAX_KEY_NOTE + 1, "cap")):
        with pytest.raises(PeerError, match=why):
            open_rotation(b"a" * (size - 3) + b"\n\n\n")
    with pytest.raises(PeerError):
        note_of({"note": None})


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 12)), max_size=6))
def test_two_keys_are_never_believed_above_the_same_seam(moves: list[tuple[int, int, int]]) -> None:
    """Whatever rotations are offered in whatever order: one key in force, at most two at any size."""
    keys = (LOG, SECOND, THIRD, STRANGER)
    chain = KeyChain.rooted(LOG.verifier())
    for old, new, size in moves:
        try:
            chain = chain.rotated(Rotation(size, ROOT, keys[old].verifier(), keys[new].verifier()))
        except PeerError:
            continue
    assert [era.last for era in chain.eras].count(None) == 1
    seams = [era.first for era in chain.eras]
    assert seams == sorted(seams)
    for size in range(15):
        covering = [era for era in chain.eras if era.covers(size)]
        assert covering
        assert (len(covering) == 1 or size in seams)
