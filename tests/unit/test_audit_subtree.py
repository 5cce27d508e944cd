"""Subtree proofs: against the definition, and against the vectors of an implementation nobody here wrote."""

from __future__ import annotations

import base64
import json
import tarfile

import pytest

from appliance.audit.merkle import EMPTY_ROOT, HASH
from appliance.audit.subtree import is_subtree, subtree_proof, verify_subtree
from appliance.domain.errors import InvariantError, PeerError
from tests.audit_support import MemoryLog
from tests.market_builders import SHARED

SIZE = 34
MODEL = MemoryLog(SIZE)
ALL = [
    (start, stop, size)
    for size in range(1, SIZE + 1)
    for start in range(size)
    for stop in range(start + 1, size + 1)
    if is_subtree(start, stop, size)
]
VECTORS = SHARED / "data/merkle/transparency-dev-merkle-417fb0c-testdata.tar.gz"
STRICTER = "an empty subtree proves nothing, and a hash has 32 bytes"


def test_every_subtree_of_every_small_tree() -> None:
    """Its proof verifies; with another root, another subtree, a hash more or less it does not."""
    for start, stop, size in ALL:
        root, part = MODEL.root(size), MODEL.subtree(start, stop)
        proof = subtree_proof(start, stop, size, MODEL.subtree)
        verify_subtree(start, stop, size, part, root, proof)
        wrong = [(part, EMPTY_ROOT, proof), (EMPTY_ROOT, root, proof), (part, root, [*proof, root])]
        wrong += [(part, root, proof[:-1])] if proof else []
        wrong += [(part, root, [EMPTY_ROOT, *proof[1:]])] if proof else []
        for values in wrong:
            with pytest.raises(PeerError):
                verify_subtree(start, stop, size, *values)


def test_what_is_a_subtree() -> None:
    """It begins at a multiple of the smallest power of two that holds it."""
    assert [stop for stop in range(1, 17) if is_subtree(4, stop, 16)] == [5, 6, 7, 8]
    assert [stop for stop in range(1, 17) if is_subtree(0, stop, 16)] == list(range(1, 17))
    assert not is_subtree(0, 17, 16)
    assert not is_subtree(3, 3, 16)
    assert not is_subtree(-1, 1, 16)
    with pytest.raises(InvariantError):
        subtree_proof(1, 3, 4, MODEL.subtree)
    with pytest.raises(PeerError, match="is no subtree"):
        verify_subtree(1, 3, 4, EMPTY_ROOT, EMPTY_ROOT, [])


def test_vectors_of_another_implementation() -> None:
    """118 of them; seven it accepts are refused here, each for a known reason."""
    if not VECTORS.is_file():
        pytest.skip(f"NOT SHOWN HERE: the vectors are not there ({VECTORS.name})")
    seen, stricter = 0, 0
    with tarfile.open(VECTORS) as archive:
        for member in archive:
            if "subtreeconsistency/" not in member.name or not member.name.endswith(".json"):
                continue
            file = archive.extractfile(member)
            assert file is not None
            case = json.load(file)
            seen += 1
            if _accepted(case) is case["wantErr"]:
                short = len(base64.b64decode(case["root2"])) != HASH
                assert case["start"] == case["end"] or short, f"{member.name}: {STRICTER}"
                assert not case["wantErr"], member.name
                stricter += 1
    assert (seen, stricter) == (118, 7)


def _accepted(case: dict[str, object]) -> bool:
    proof = case["proof"] or []
    assert isinstance(proof, list)
    start, stop, size = (int(str(case[name])) for name in ("start", "end", "size"))
    part, root = (base64.b64decode(str(case[name] or "")) for name in ("root1", "root2"))
    try:
        verify_subtree(start, stop, size, part, root, [base64.b64decode(each) for each in proof])
    except PeerError:
        return False
    return True
