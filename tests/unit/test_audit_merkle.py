"""Merkle tree against the published vectors, positive and negative."""

from __future__ import annotations

import base64
import json
import os
import tarfile
from pathlib import Path

import pytest

from appliance.audit.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    frontier_roots,
    inclusion_proof,
    leaf_hash,
    node_hash,
    range_hash,
    root_from_hashes,
    verify_consistency,
    verify_inclusion,
)
from appliance.domain.errors import InvariantError, PeerError

SHARED = Path(os.environ.get("INTERLOCK_SHARED", Path(__file__).parents[2] / ".." / "shared")) / "data"
VECTORS = SHARED / "merkle" / "transparency-dev-merkle-417fb0c-testdata.tar.gz"

ENTRIES = [
    bytes.fromhex(text)
    for text in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
ROOTS = [
    "e3b0c44298fc1c14", "6e340b9cffb37a98", "fac54203e7cc696c", "aeb6bcfe274b70a1", "d37ee418976dd957",
    "4e3bbb1f7b478dcf", "76e67dadbcdf1e10", "ddb89be403809e32", "5dc9da79a70659a9",
]  # fmt: skip


def vectors(kind: str) -> list[tuple[str, dict[str, object]]]:
    """The JSON files below testdata/`kind`, with their names."""
    if not VECTORS.exists():
        pytest.skip(f"no published Merkle vectors here: {VECTORS}")
    found = []
    with tarfile.open(VECTORS) as archive:
        for member in archive.getmembers():
            if f"testdata/{kind}/" in member.name and member.name.endswith(".json"):
                file = archive.extractfile(member)
                assert file is not None
                found.append((member.name, json.load(file)))
    return found


def raw(value: object) -> bytes:
    return base64.b64decode(value) if isinstance(value, str) else b""


def many(value: object) -> list[bytes]:
    return [raw(item) for item in value] if isinstance(value, list) else []


def test_reference_roots() -> None:
    """The eight-leaf set of RFC 6962 implementations, grown one by one and computed at once."""
    frontier = Frontier()
    for size in range(9):
        leaves = [leaf_hash(entry) for entry in ENTRIES[:size]]
        assert frontier.root().hex()[:16] == ROOTS[size]
        assert root_from_hashes(leaves) == frontier.root()
        if size < 8:
            frontier.append(leaf_hash(ENTRIES[size]))
    assert frontier.root().hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
    assert frontier.size == 8


def test_published_proofs_are_judged_as_their_authors_do() -> None:
    """All 196 vectors; a naive verifier misses some of the negative ones."""
    judged = 0
    for name, case in vectors("inclusion"):
        wrong = False
        try:
            proof = many(case["proof"])
            index, size = case["leafIdx"], case["treeSize"]
            assert isinstance(index, int)
            assert isinstance(size, int)
            verify_inclusion(index, size, raw(case["leafHash"]), proof, raw(case["root"]))
        except PeerError:
            wrong = True
        assert wrong == case["wantErr"], name
        judged += 1
    for name, case in vectors("consistency"):
        wrong = False
        try:
            old, size = case["size1"], case["size2"]
            assert isinstance(old, int)
            assert isinstance(size, int)
            verify_consistency(old, size, raw(case["root1"]), raw(case["root2"]), many(case["proof"]))
        except PeerError:
            wrong = True
        assert wrong == case["wantErr"], name
        judged += 1
    assert judged == 196


def test_all_proofs_of_small_trees_hold() -> None:
    """Every entry in every tree, every prefix of every tree, up to 40 entries."""
    leaves = [leaf_hash(bytes([value])) for value in range(40)]
    roots = [root_from_hashes(leaves[:size]) for size in range(41)]

    def subtree(start: int, stop: int) -> bytes:
        return root_from_hashes(leaves[start:stop])

    for size in range(1, 41):
        for index in range(size):
            proof = inclusion_proof(index, size, subtree)
            verify_inclusion(index, size, leaves[index], proof, roots[size])
        for old in range(1, size + 1):
            verify_consistency(old, size, roots[old], roots[size], consistency_proof(old, size, subtree))


def test_a_proof_from_nothing_is_refused() -> None:
    """It would hold for any root of size 0: the caller handles that case."""
    root = leaf_hash(b"x")
    with pytest.raises(PeerError):
        verify_consistency(0, 1, EMPTY_ROOT, root, [])
    with pytest.raises(InvariantError):
        consistency_proof(0, 1, lambda _start, _stop: root)


def test_two_roots_of_one_size_are_refused() -> None:
    """The fork a witness exists for."""
    with pytest.raises(PeerError, match="two roots"):
        verify_consistency(4, 4, leaf_hash(b"a"), leaf_hash(b"b"), [])


def test_a_proof_may_not_go_on_above_the_root() -> None:
    """Even where the roots were chosen so that the longer walk would lead to them."""
    leaves = [leaf_hash(bytes([value])) for value in range(5)]
    extra = leaf_hash(b"extra")
    with pytest.raises(PeerError, match="too long"):
        verify_inclusion(0, 1, leaves[0], [extra], node_hash(extra, leaves[0]))
    proof = consistency_proof(3, 5, lambda start, stop: root_from_hashes(leaves[start:stop]))
    old_root, root = root_from_hashes(leaves[:3]), root_from_hashes(leaves)
    verify_consistency(3, 5, old_root, root, proof)
    with pytest.raises(PeerError, match="too long"):
        verify_consistency(3, 5, node_hash(extra, old_root), node_hash(extra, root), [*proof, extra])


def test_hashes_have_32_bytes() -> None:
    """Also where they would otherwise only be compared: an empty leaf hash equals an empty root."""
    with pytest.raises(PeerError, match="bytes"):
        verify_inclusion(0, 1, b"", [], b"")
    with pytest.raises(PeerError, match="bytes"):
        verify_consistency(1, 2, b"", leaf_hash(b""), [leaf_hash(b"")])


def test_proofs_outside_the_tree_are_not_made() -> None:
    """Asking for one is a bug of ours."""
    for index, size in ((1, 1), (-1, 1), (0, 0)):
        with pytest.raises(InvariantError):
            inclusion_proof(index, size, lambda _start, _stop: EMPTY_ROOT)
    with pytest.raises(InvariantError):
        consistency_proof(3, 2, lambda _start, _stop: EMPTY_ROOT)


def test_a_frontier_is_taken_up_where_it_was_left() -> None:
    """After a restart the right edge is rebuilt from complete subtrees."""
    leaves = [leaf_hash(bytes([value])) for value in range(40)]

    def subtree(start: int, stop: int) -> bytes:
        if stop - start == 1:
            return leaves[start]
        middle = (start + stop) // 2
        return node_hash(subtree(start, middle), subtree(middle, stop))

    for size in range(33):
        resumed = Frontier(size, frontier_roots(size, subtree))
        assert resumed.root() == root_from_hashes(leaves[:size])
        for leaf in leaves[size:]:
            resumed.append(leaf)
        assert resumed.root() == root_from_hashes(leaves) == range_hash(0, 40, subtree)
    with pytest.raises(InvariantError):
        Frontier(3, [leaves[0]])
