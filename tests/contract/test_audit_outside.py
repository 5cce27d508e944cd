"""Our tree against an implementation nobody here wrote (optional: `pip install pymerkle`)."""

from __future__ import annotations

import pytest

from appliance.audit.merkle import leaf_hash, root_from_hashes, verify_consistency, verify_inclusion
from tests.audit_support import MemoryLog

pymerkle = pytest.importorskip("pymerkle", reason="no outside Merkle tree installed: pip install pymerkle")


def test_roots_are_those_of_pymerkle() -> None:
    """Every size up to 300 entries as the log writes them."""
    log = MemoryLog(300)
    outside = pymerkle.InmemoryTree(algorithm="sha256")
    for size, entry in enumerate(log.stored, 1):
        outside.append_entry(entry)
        assert outside.get_root(size) == log.root(size)


def test_pymerkle_s_proofs_prove_the_same_things() -> None:
    """Its proofs lead to our roots when its own verifier walks them."""
    log = MemoryLog(70)
    outside = pymerkle.InmemoryTree(algorithm="sha256")
    for entry in log.stored:
        outside.append_entry(entry)
    for index in range(1, 71, 3):
        proof = outside.prove_inclusion(index, 70)
        pymerkle.verify_inclusion(leaf_hash(log.stored[index - 1]), log.root(70), proof)
    for old in range(1, 71, 3):
        pymerkle.verify_consistency(log.root(old), log.root(70), outside.prove_consistency(old, 70))
        if old < 70:
            verify_consistency(old, 70, log.root(old), log.root(70), log.consistency(old, 70))
    verify_inclusion(0, 1, leaf_hash(log.stored[0]), [], root_from_hashes([leaf_hash(log.stored[0])]))
