"""Signed notes, keys and cosignatures against the published vectors."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
from pathlib import Path

import pytest

from appliance.audit.notes import (
    COSIGNATURE_KEY,
    MAX_NOTE,
    NOTE_KEY,
    Note,
    Signature,
    SigningKey,
    VerifierKey,
    decode64,
    ed25519_verifies,
    parse_note,
    parse_private,
    parse_vkey,
    verify_note,
)
from appliance.domain.errors import PeerError

SHARED = Path(os.environ.get("INTERLOCK_SHARED", Path(__file__).parents[2] / ".." / "shared")) / "data"
EDGE_CASES = SHARED / "merkle" / "cctv-ed25519vectors.json.gz"

FOO = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_PRIVATE = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
PETER_LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6Ry"
    "yBwJnAM=\n"
)
ENOCH_LINE = (
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc"
    "+QQ=\n"
)


def note(*lines: str, text: str = TEXT) -> bytes:
    return (text + "\n" + "".join(lines)).encode()


def test_the_specification_s_signature_verifies() -> None:
    """C2SP signed-note: text, key and signature as printed there."""
    line = (
        "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1"
        "Yu72IneyaQM=\n"
    )
    parsed = parse_note(note(line, text="This is an example message.\n"))
    assert [key.vkey for key, _ in verify_note(parsed, [parse_vkey(FOO)])] == [FOO]
    with pytest.raises(PeerError, match="does not match"):
        verify_note(Note("This is another message.\n", parsed.signatures), [parse_vkey(FOO)])


def test_signing_gives_the_bytes_go_gives() -> None:
    """golang.org/x/mod/sumdb/note: the same key and text, byte for byte."""
    key = parse_private(PETER_PRIVATE)
    assert Note(TEXT, (key.sign(TEXT),)).encode() == note(PETER_LINE)
    assert key.private_text() == PETER_PRIVATE
    assert key.verifier().vkey == PETER
    assert "AYEKF" not in repr(key)


def test_no_part_or_change_of_a_vkey_is_a_vkey() -> None:
    """Every proper substring and every single changed character, as Go's own test does it."""
    assert parse_vkey(PETER) == VerifierKey("PeterNeumann", NOTE_KEY, parse_vkey(PETER).public)
    mangled = {PETER[i:j] for i in range(len(PETER)) for j in range(i + 1, len(PETER) + 1)} - {PETER}
    mangled |= {PETER[:at] + chr(ord(PETER[at]) + 1) + PETER[at + 1 :] for at in range(len(PETER))}
    mangled |= {PETER.replace("c74f20a3", "C74F20A3"), PETER + "\n", PETER + "=", " " + PETER}
    mangled.add("PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==")
    mangled.add("PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    for text in mangled:
        with pytest.raises(PeerError):
            parse_vkey(text)


def test_no_part_or_change_of_a_private_key_is_one() -> None:
    """And no message repeats any of it."""
    mangled = [
        PETER_PRIVATE[i:j]
        for i in range(len(PETER_PRIVATE))
        for j in range(i + 1, len(PETER_PRIVATE) + 1)
        if j - i < len(PETER_PRIVATE)
    ]
    mangled += [
        PETER_PRIVATE[:at] + chr(ord(PETER_PRIVATE[at]) + 1) + PETER_PRIVATE[at + 1 :]
        for at in range(len(PETER_PRIVATE))
    ]
    for text in mangled:
        with pytest.raises(PeerError) as caught:
            parse_private(text)
        assert "FALVFGyNhPJEMzD1" not in str(caught.value)


def test_signatures_of_strangers_are_ignored_and_bad_ones_of_friends_are_not() -> None:
    """Name and id decide together who is known."""
    peter, enoch = parse_vkey(PETER), parse_vkey(ENOCH)
    both = parse_note(note(PETER_LINE, ENOCH_LINE))
    assert [key for key, _ in verify_note(both, [peter])] == [peter]
    assert [key for key, _ in verify_note(both, [peter, enoch])] == [peter, enoch]
    with pytest.raises(PeerError, match="no signature by a known key"):
        verify_note(both, [])
    with pytest.raises(PeerError, match="no signature by a known key"):
        verify_note(parse_note(note(PETER_LINE)), [enoch])
    bad = PETER_LINE.replace("x08go/ZJkuBS", "x08go/ZJkuBT")
    with pytest.raises(PeerError, match="PeterNeumann"):
        verify_note(parse_note(note(bad, ENOCH_LINE)), [peter, enoch])
    with pytest.raises(PeerError, match="PeterNeumann"):
        verify_note(parse_note(note(PETER_LINE, bad)), [peter])
    renamed = PETER_LINE.replace("PeterNeumann", "CarmenSandiego")
    with pytest.raises(PeerError, match="no signature by a known key"):
        verify_note(parse_note(note(renamed)), [peter])


def test_sixteen_signatures_are_read_and_a_hundred_is_the_cap() -> None:
    """Notes must allow sixteen, and somewhere it has to end."""
    assert len(parse_note(note(PETER_LINE, *[ENOCH_LINE] * 15)).signatures) == 16
    assert len(parse_note(note(*[PETER_LINE] * 100)).signatures) == 100
    with pytest.raises(PeerError, match="more than 100"):
        parse_note(note(*[PETER_LINE] * 101))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        TEXT.encode(),
        (TEXT + "\n").encode(),
        note(PETER_LINE[:-1]),
        b"\x01" + note(PETER_LINE),
        b"\xff" + note(PETER_LINE),
        note(PETER_LINE, text="tab\there\n"),
        note(PETER_LINE, text="return\r\n"),
        note("— Bad Name x08go/ZJkuBS\n"),
        note("— Bad+Name x08go/ZJkuBS\n"),
        note("—  x08go/ZJkuBS\n"),
        note("— \u2003 x08go/ZJkuBS\n"),
        note("- PeterNeumann x08go/ZJkuBS\n"),
        note("— PeterNeumann\n"),
        note("PeterNeumann x08go/ZJkuBS\n"),
        note("— PeterNeumann x08go/ZJkuBS extra\n"),
        note("— PeterNeumann x08go/ZJkuB\n"),
        note("— PeterNeumann x08goA==\n"),
        note(PETER_LINE, "Unexpected line.\n"),
        note(PETER_LINE.replace("nAM=", "nAN=")),
        note(PETER_LINE, text="x" * 70_000 + "\n"),
    ],
)
def test_malformed_notes_are_refused(data: bytes) -> None:
    """Go's list and the cases a stricter reader sees: second spellings of base64, odd spaces."""
    with pytest.raises(PeerError):
        parse_note(data)


def test_messages_name_the_line() -> None:
    """Counted from one, in the whole note."""
    for data, where in (
        (note("— Bad Name x08go/ZJkuBS\n"), "line 4"),
        (note(PETER_LINE, "Unexpected line.\n"), "line 5"),
        (note(PETER_LINE, text="one\ntwo\x07\n"), "line 2"),
    ):
        with pytest.raises(PeerError, match=where):
            parse_note(data)


def test_a_note_may_have_64_kib() -> None:
    """Not a byte more: it is read from strangers."""
    room = MAX_NOTE - len(note(PETER_LINE, text="\n"))
    assert MAX_NOTE == 65_536
    assert len(parse_note(note(PETER_LINE, text="x" * room + "\n")).text) == room + 1
    with pytest.raises(PeerError, match="the cap is"):
        parse_note(note(PETER_LINE, text="x" * (room + 1) + "\n"))


@pytest.mark.parametrize("name", ["", "a b", "a\u2003b", "a\tb", "a\x01b"])
def test_key_names_without_spaces_only(name: str) -> None:
    """Even where id and key fit the name."""
    vkey = VerifierKey(name, NOTE_KEY, bytes(32)).vkey
    with pytest.raises(PeerError, match="not a key name"):
        parse_vkey(vkey)
    with pytest.raises(PeerError, match="not a key name"):
        SigningKey(name, bytes(32))


def test_text_may_have_empty_lines() -> None:
    """The last blank line separates."""
    parsed = parse_note(note(PETER_LINE, text="one\n\ntwo\n\n\nthree\n"))
    assert parsed.text == "one\n\ntwo\n\n\nthree\n"
    assert parsed.encode() == note(PETER_LINE, text="one\n\ntwo\n\n\nthree\n")


def test_a_cosignature_is_of_text_time_and_key() -> None:
    """Changing any of the three makes it another one."""
    key = SigningKey("witness.example/w1", bytes(range(0x20, 0x40)))
    verifier = key.verifier(COSIGNATURE_KEY)
    signature = key.cosign(TEXT, 1_700_000_000)
    assert signature.time_s == 1_700_000_000
    assert verifier.verifies(TEXT, signature.blob)
    assert not verifier.verifies(TEXT + "x\n", signature.blob)
    assert not verifier.verifies(TEXT, (1_700_000_001).to_bytes(8, "big") + signature.blob[8:])
    assert not verifier.verifies(TEXT, signature.blob[8:])
    assert not verifier.verifies(TEXT, key.sign(TEXT).blob)
    assert verifier.verifies(TEXT, key.cosign(TEXT, 2**63 - 1).blob)
    assert not verifier.verifies(TEXT, key.cosign(TEXT, 2**63).blob)
    assert not verifier.verifies(TEXT, signature.blob + b"\0")
    assert not key.verifier(NOTE_KEY).verifies(TEXT, signature.blob)
    other = SigningKey("witness.example/w1", bytes(32)).verifier(COSIGNATURE_KEY)
    assert not other.verifies(TEXT, signature.blob)


def test_a_private_key_may_be_marked_as_a_cosigner_s() -> None:
    """Other witness implementations write type 04 into the private form."""
    key = SigningKey("witness.example/w1", bytes(range(0x20, 0x40)))
    raw = base64.b64encode(b"\x04" + bytes(range(0x20, 0x40))).decode()
    text = f"PRIVATE+KEY+{key.name}+{key.verifier(COSIGNATURE_KEY).key_id.hex()}+{raw}"
    assert parse_private(text).public == key.public


def test_base64_has_one_spelling() -> None:
    """Other last bits, missing padding, spaces and line breaks are not accepted."""
    assert decode64("AAAAAAA=", "x") == bytes(5)
    for text in ("AAAAAAB=", "AAAAAAA", "AAAAAAA==", "AAAA AAA=", "AAAAAAA=\n", "AAAA-AA=", "ÄAAAAAA="):
        with pytest.raises(PeerError):
            decode64(text, "x")


def test_a_signature_line_is_what_a_note_ends_with() -> None:
    """Line and parsed form are the same thing."""
    signature = parse_note(note(PETER_LINE)).signatures[0]
    assert isinstance(signature, Signature)
    assert signature.line == PETER_LINE


def test_the_verifier_accepts_the_same_43_edge_cases_as_ever() -> None:
    """Libraries disagree on 165 of these; an upgrade that changes our answer must not go unnoticed."""
    if not EDGE_CASES.exists():
        pytest.skip(f"no published Ed25519 vectors here: {EDGE_CASES}")
    cases = json.loads(gzip.decompress(EDGE_CASES.read_bytes()))
    accepted = [
        at
        for at, case in enumerate(cases)
        if ed25519_verifies(bytes.fromhex(case["key"]), case["msg"].encode(), bytes.fromhex(case["sig"]))
    ]
    assert len(cases) == 914
    assert len(accepted) == 43
    which = hashlib.sha256(json.dumps(accepted).encode()).hexdigest()
    assert which == "0a926497939b17c6efad01da9bb7a62f783271d48556800673380a813451a8c9"
    flags = {flag for at in accepted for flag in cases[at]["flags"] or ()}
    assert not flags & {"low_order_A", "low_order_R", "non_canonical_A", "non_canonical_R"}


@pytest.mark.parametrize(("public", "signature"), [(31, 64), (33, 64), (32, 63), (32, 65), (0, 0)])
def test_keys_and_signatures_of_other_lengths_are_bad(public: int, signature: int) -> None:
    """False, never an exception."""
    assert not ed25519_verifies(bytes(public), b"", bytes(signature))
