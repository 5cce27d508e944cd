"""Receipts in C2SP tlog-proof form: the worked vector, every flipped byte, and what the parser refuses."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.audit.merkle import inclusion_proof
from appliance.audit.notes import COSIGNATURE_KEY
from appliance.audit.proofs import HEADER, MAX_HASHES, MAX_PROOF, EntryProof, check_proof, parse_proof
from appliance.domain.errors import PeerError
from tests.audit_support import LOG, WITNESS, MemoryLog, flip

WORKED = """c2sp.org/tlog-proof@v1
index 1
pAKw429aroVFc2D88AolRbh91H8xBVPnsNMtbQrEQA0=
0+CmKo96klbIvrcVr97YPkMm0sRzedJZsXCahArS8R0=

audit.example/pi-0001
3
PbZ2Ze6owm3jQWaMHTGZ9h3kt4CoKFaaiYzkjCjZMfM=

\u2014 audit.example/pi-0001 kONU4hKiAjmhKOquRsBgnhEARS6Jt3etvcWwY7bZMVs76PqKYdy//gFfEf2WjRFLufRvYXYrv/I4/lZtp3iI2Qv2Og4=
\u2014 witness.example/w1 IDJKvgAAAABlU/EA246/RbuzSy2ETHpGiR1JbcJRb0J9YkB3MXXkL9EQx5wRT2fHMpg/+dpY1e1ZPa4iYjvdynBKNh/aiG0RSZPJDA==
""".encode()  # noqa: E501 - as the specification's tools wrote it
KEY, COSIGNER = LOG.verifier(), WITNESS.verifier(COSIGNATURE_KEY)


def test_the_worked_proof_is_read_checked_and_written_again() -> None:
    """Bytes that golang.org/x/mod and torchwood accepted (AUDIT-FORMATS 11)."""
    proof = parse_proof(WORKED)
    assert (proof.index, len(proof.hashes), proof.entry) == (1, 2, None)
    opened = check_proof(proof, b'{"seq":1}', KEY, [COSIGNER])
    assert (opened.checkpoint.size, opened.cosigned[0][0]) == (3, COSIGNER)
    assert proof.encode() == WORKED
    for wrong in (b'{"seq":0}', b'{"seq":1}\n', b""):
        with pytest.raises(PeerError, match="another root"):
            check_proof(proof, wrong, KEY)


@pytest.mark.parametrize("size", [1, 2, 3, 255, 256, 257, 300])
def test_first_middle_and_last_entry_of_any_size(size: int) -> None:
    """With the entry inside."""
    log = MemoryLog(size)
    for index in {0, size // 2, size - 1}:
        hashes = tuple(inclusion_proof(index, size, log.subtree))
        made = EntryProof(index, hashes, log.checkpoint(size), log.stored[index])
        read = parse_proof(made.encode())
        assert read == made
        assert check_proof(read, log.stored[index], KEY).checkpoint.size == size


def test_no_flipped_bit_of_a_proof_goes_unnoticed() -> None:
    """Each byte of the file; of the co-signature, if the witness is asked."""
    log = MemoryLog(5)
    log.publish(5)
    log.cosign(5)
    made = EntryProof(3, tuple(inclusion_proof(3, 5, log.subtree)), log.files["cosigned"], log.stored[3])
    whole = made.encode()
    for at in range(len(whole)):
        with pytest.raises(PeerError):  # noqa: PT012 - either step may notice
            read = parse_proof(flip(whole, at))
            check_proof(read, read.entry or b"", KEY, [COSIGNER])


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"", "line 1"),
        (b"c2sp.org/tlog-proof@v2\nindex 1", "line 1"),
        (HEADER.encode(), "line 2"),
        (HEADER.encode() + b"\nextra AA==", "line 3"),
        (HEADER.encode() + b"\nextra !\nindex 1", "line 2"),
        (HEADER.encode() + b"\nindex 01", "tree size"),
        (HEADER.encode() + b"\nindex -1", "tree size"),
        (HEADER.encode() + b"\nindex 1\nAA==", "no hash"),
        (HEADER.encode() + b"\nindex 1\n" + b"\n".join([b"x"] * (MAX_HASHES + 1)), "more than 63"),
        (HEADER.encode() + b"\nindex 1\n\xff", "not ASCII"),
    ],
)
def test_anything_else_is_refused_with_its_line(head: bytes, said: str) -> None:
    """Nothing of a wrong file is used."""
    with pytest.raises(PeerError, match=said):
        parse_proof(head + b"\n\nlog\n1\n")
    with pytest.raises(PeerError, match="the cap is"):
        parse_proof(b"x" * (MAX_PROOF + 1))


@given(st.binary(max_size=300), st.integers(0, len(WORKED)), st.integers(0, len(WORKED)))
@settings(deadline=None, derandomize=True, max_examples=300)
def test_no_bytes_are_anything_but_a_proof_or_a_peer_error(junk: bytes, start: int, stop: int) -> None:
    """Spliced into a good one, so that every part of the parser is reached."""
    try:
        proof = parse_proof(WORKED[:start] + junk + WORKED[stop:])
        check_proof(proof, proof.entry or b'{"seq":1}', KEY, [COSIGNER])
    except PeerError:
        return
    assert proof.hashes == parse_proof(WORKED).hashes
