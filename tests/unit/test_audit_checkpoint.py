"""Checkpoints, and the worked three-entry log byte for byte (AUDIT-FORMATS 11)."""

from __future__ import annotations

import pytest

from appliance.audit.checkpoint import (
    Checkpoint,
    open_checkpoint,
    parse_checkpoint,
    parse_size,
    sign_checkpoint,
)
from appliance.audit.merkle import (
    EMPTY_ROOT,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_from_hashes,
    verify_consistency,
    verify_inclusion,
)
from appliance.audit.notes import COSIGNATURE_KEY, Note, SigningKey, encode64, parse_note
from appliance.domain.errors import PeerError

LOG = SigningKey("audit.example/pi-0001", bytes(range(32)))
WITNESS = SigningKey("witness.example/w1", bytes(range(32, 64)))
ENTRIES = [b'{"seq":0}', b'{"seq":1}', b'{"seq":2}']
LEAVES = [leaf_hash(entry) for entry in ENTRIES]
LOG_LINE = (
    "— audit.example/pi-0001 kONU4hKiAjmhKOquRsBgnhEARS6Jt3etvcWwY7bZMVs76PqKYdy//gFfEf2WjRFLufRvYXYrv/I4/lZt"
    "p3iI2Qv2Og4=\n"
)
WITNESS_LINE = (
    "— witness.example/w1 IDJKvgAAAABlU/EA246/RbuzSy2ETHpGiR1JbcJRb0J9YkB3MXXkL9EQx5wRT2fHMpg/+dpY1e1ZPa4i"
    "YjvdynBKNh/aiG0RSZPJDA==\n"
)
BODY = "audit.example/pi-0001\n3\nPbZ2Ze6owm3jQWaMHTGZ9h3kt4CoKFaaiYzkjCjZMfM=\n"
WORKED = (BODY + "\n" + LOG_LINE + WITNESS_LINE).encode()


def subtree(start: int, stop: int) -> bytes:
    return root_from_hashes(LEAVES[start:stop])


def test_keys_and_hashes_of_the_worked_log() -> None:
    """Key ids, leaves, inner node and root as printed."""
    assert LOG.public.hex() == "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"
    assert (
        LOG.verifier().vkey
        == "audit.example/pi-0001+90e354e2+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
    )
    assert (
        WITNESS.verifier(COSIGNATURE_KEY).vkey
        == "witness.example/w1+20324abe+BCmsuuFBvMrwsi4alNNNC8c2HlJtC/4SyJeUvJMilm3X"
    )
    assert [leaf.hex() for leaf in LEAVES] == [
        "a402b0e36f5aae85457360fcf00a2545b87dd47f310553e7b0d32d6d0ac4400d",
        "b119a77a4864308c481efb947ff723d6bd4ea1e7fab902eb8ca98bd759e46aee",
        "d3e0a62a8f7a9256c8beb715afded83e4326d2c47379d259b1709a840ad2f11d",
    ]
    inner = node_hash(LEAVES[0], LEAVES[1])
    assert inner.hex() == "fc52d71a368a798fd96ec7e5b7ee5f8f9fdd10c7ff9ab146c4eac1e6a0a1b10a"
    assert subtree(0, 3).hex() == "3db67665eea8c26de341668c1d3199f61de4b780a828569a898ce48c28d931f3"


def test_the_worked_checkpoint_is_signed_and_cosigned_byte_for_byte() -> None:
    """Ed25519 is deterministic: a crash between signing and storing signs the same bytes again."""
    checkpoint = Checkpoint("audit.example/pi-0001", 3, subtree(0, 3))
    signed = sign_checkpoint(checkpoint, LOG)
    assert signed == (BODY + "\n" + LOG_LINE).encode()
    assert signed + WITNESS.cosign(BODY, 1_700_000_000).line.encode() == WORKED


def test_the_worked_checkpoint_opens() -> None:
    """With the log's key alone, and with the witness's as well."""
    log, witness = LOG.verifier(), WITNESS.verifier(COSIGNATURE_KEY)
    opened = open_checkpoint(WORKED, [log], [witness])
    assert opened.checkpoint == Checkpoint("audit.example/pi-0001", 3, subtree(0, 3))
    assert [(key.name, signature.time_s) for key, signature in opened.cosigned] == [
        ("witness.example/w1", 1_700_000_000)
    ]
    assert open_checkpoint(WORKED, [log]).cosigned == ()


def test_proofs_of_the_worked_log() -> None:
    """The consistency proof 1 → 3 and the inclusion proof of entry 1, as printed."""
    proof = consistency_proof(1, 3, subtree)
    assert [encode64(value) for value in proof] == [
        "sRmnekhkMIxIHvuUf/cj1r1Ooef6uQLrjKmL11nkau4=",
        "0+CmKo96klbIvrcVr97YPkMm0sRzedJZsXCahArS8R0=",
    ]
    verify_consistency(1, 3, LEAVES[0], subtree(0, 3), proof)
    path = inclusion_proof(1, 3, subtree)
    assert [encode64(value) for value in path] == [
        "pAKw429aroVFc2D88AolRbh91H8xBVPnsNMtbQrEQA0=",
        "0+CmKo96klbIvrcVr97YPkMm0sRzedJZsXCahArS8R0=",
    ]
    verify_inclusion(1, 3, LEAVES[1], path, subtree(0, 3))


def test_who_must_have_signed() -> None:
    """The log under its own name, and a witness if one is asked for; kinds of keys do not mix."""
    log, witness = LOG.verifier(), WITNESS.verifier(COSIGNATURE_KEY)
    stranger = SigningKey("audit.example/pi-0001", bytes(32))
    unwitnessed = (BODY + "\n" + LOG_LINE).encode()
    for data, keys, witnesses in (
        (WORKED, [], []),
        (WORKED, [stranger.verifier()], []),
        (WORKED, [SigningKey("audit.example/pi-0002", bytes(range(32))).verifier()], []),
        (WORKED, [LOG.verifier(COSIGNATURE_KEY)], []),
        (WORKED, [witness], []),
        (unwitnessed, [log], [witness]),
        (WORKED, [log], [WITNESS.verifier()]),
        (WORKED, [log], [SigningKey("witness.example/w1", bytes(32)).verifier(COSIGNATURE_KEY)]),
    ):
        with pytest.raises(PeerError):
            open_checkpoint(data, keys, witnesses)


def test_a_trusted_key_vouches_for_its_own_origin_only() -> None:
    """Another log's key, and a key of the right name that is a cosigner's."""
    other = SigningKey("audit.example/pi-0002", bytes(32))
    text = Checkpoint(LOG.name, 3, subtree(0, 3)).text
    by_other = Note(text, (other.sign(text),)).encode()
    with pytest.raises(PeerError, match="no trusted key is named"):
        open_checkpoint(by_other, [other.verifier()])
    with pytest.raises(PeerError, match="no signature by a known key"):
        open_checkpoint(by_other, [LOG.verifier(), other.verifier()])
    cosigned = Note(text, (LOG.cosign(text, 1),)).encode()
    with pytest.raises(PeerError, match="no trusted key is named"):
        open_checkpoint(cosigned, [LOG.verifier(COSIGNATURE_KEY)])


def test_every_flipped_bit_is_seen() -> None:
    """In text, separator, names, ids and signatures of both signers."""
    log, witness = LOG.verifier(), WITNESS.verifier(COSIGNATURE_KEY)
    for at in range(len(WORKED)):
        for bit in range(8):
            changed = bytearray(WORKED)
            changed[at] ^= 1 << bit
            with pytest.raises(PeerError):
                open_checkpoint(bytes(changed), [log], [witness])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "origin\n",
        "origin\n3\n",
        "origin\n3\n" + encode64(bytes(32)),
        "\n3\n" + encode64(bytes(32)) + "\n",
        "origin\n03\n" + encode64(bytes(32)) + "\n",
        "origin\n-3\n" + encode64(bytes(32)) + "\n",
        "origin\n+3\n" + encode64(bytes(32)) + "\n",
        "origin\n3 \n" + encode64(bytes(32)) + "\n",
        "origin\n٣\n" + encode64(bytes(32)) + "\n",
        "origin\n9223372036854775808\n" + encode64(bytes(32)) + "\n",
        "origin\n3\n" + encode64(bytes(31)) + "\n",
        "origin\n3\n" + encode64(bytes(33)) + "\n",
        "origin\n3\nnot base64\n",
        "origin\n3\n" + encode64(bytes(32)) + "\n\nextension\n",
    ],
)
def test_malformed_text_is_no_checkpoint(text: str) -> None:
    """Three lines, decimal size without ornament, 32 bytes of root."""
    with pytest.raises(PeerError):
        parse_checkpoint(text)


def test_extension_lines_are_kept() -> None:
    """Other logs may have them; a witness signs them along."""
    text = "origin\n9223372036854775807\n" + encode64(EMPTY_ROOT) + "\none\ntwo\n"
    checkpoint = parse_checkpoint(text)
    assert (checkpoint.size, checkpoint.extensions) == (2**63 - 1, ("one", "two"))
    assert checkpoint.text == text


def test_a_key_signs_only_for_its_own_log() -> None:
    """Name of key and origin are one thing."""
    with pytest.raises(PeerError):
        sign_checkpoint(Checkpoint("audit.example/pi-0002", 0, EMPTY_ROOT), LOG)


def test_sizes() -> None:
    """Zero is written as one digit."""
    assert [parse_size(text) for text in ("0", "1", "10")] == [0, 1, 10]
    for text in ("", "00", "01", " 1", "1\n"):
        with pytest.raises(PeerError):
            parse_size(text)


def test_note_of_a_checkpoint_with_a_second_log_key() -> None:
    """A signature by a key that is not (yet) trusted does not disturb: key change."""
    old, new = LOG, SigningKey(LOG.name, bytes(32))
    text = BODY
    data = Note(text, (new.sign(text), old.sign(text))).encode()
    assert len(parse_note(data).signatures) == 2
    assert open_checkpoint(data, [old.verifier()]).checkpoint.size == 3
    assert open_checkpoint(data, [new.verifier(), old.verifier()]).checkpoint.size == 3
