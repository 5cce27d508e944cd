"""Merkle tree of RFC 6962 section 2.1 with SHA-256: roots, proofs and their verification.

A leaf hash is SHA-256(00 ‖ entry), a node SHA-256(01 ‖ left ‖ right), the root of no entries SHA-256("").
A tree of n splits at the largest power of two below n. `Subtree` stands for wherever hashes come from:
it gives the root of a complete, aligned subtree [start, stop), stop - start a power of two.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

from appliance.domain.errors import InvariantError, PeerError

HASH = 32
_sha256 = hashlib.sha256  # looked up once: a tile takes 255 of them
EMPTY_ROOT = hashlib.sha256(b"").digest()

Subtree = Callable[[int, int], bytes]


def leaf_hash(entry: bytes) -> bytes:
    """Hash of one entry."""
    return _sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node."""
    return _sha256(b"\x01" + left + right).digest()


class Frontier:
    """The right edge of a growing tree: the roots of its complete subtrees, largest first."""

    __slots__ = ("_roots", "size")

    def __init__(self, size: int = 0, roots: Iterable[bytes] = ()) -> None:
        """`roots`: one per set bit of `size`, as `frontier_roots` gives them."""
        self.size = size
        self._roots = list(roots)
        if len(self._roots) != size.bit_count():
            raise InvariantError(f"a tree of {size} has {size.bit_count()} complete subtrees")

    def append(self, leaf: bytes) -> None:
        """Adds the leaf hash of the next entry."""
        carry, size, roots = leaf, self.size, self._roots
        while size & 1:
            carry = _sha256(b"\x01" + roots.pop() + carry).digest()
            size >>= 1
        roots.append(carry)
        self.size += 1

    def root(self) -> bytes:
        """Root of the tree as it is now."""
        if not self._roots:
            return EMPTY_ROOT
        root = self._roots[-1]
        for left in reversed(self._roots[:-1]):
            root = node_hash(left, root)
        return root


def frontier_roots(size: int, subtree: Subtree) -> list[bytes]:
    """Roots of the complete subtrees of a tree of `size`, largest first."""
    roots, start = [], 0
    for bit in reversed(range(size.bit_length())):
        width = 1 << bit
        if size & width:
            roots.append(subtree(start, start + width))
            start += width
    return roots


def root_from_hashes(hashes: Iterable[bytes]) -> bytes:
    """Root of a tree with these leaf hashes; for a tile, of the subtree it stands for.

    Row by row, an odd last one goes up as it is: the tree that splits at the largest power of two.
    """
    row = list(hashes)
    while len(row) > 1:
        odd = row[-1:] if len(row) & 1 else []
        pairs = zip(row[::2], row[1::2], strict=False)
        row = [_sha256(b"\x01" + left + right).digest() for left, right in pairs] + odd
    return row[0] if row else EMPTY_ROOT


def range_hash(start: int, stop: int, subtree: Subtree) -> bytes:
    """MTH(D[start:stop]) for any range the recursion of RFC 6962 meets."""
    count = stop - start
    if count & (count - 1) == 0:
        return subtree(start, stop)
    split = start + _split(count)
    return node_hash(range_hash(start, split, subtree), range_hash(split, stop, subtree))


def inclusion_proof(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """Audit path of entry `index` in the tree of `size`, sibling of the leaf first (RFC 6962, 2.1.1)."""
    if not 0 <= index < size:
        raise InvariantError(f"no entry {index} in a tree of {size}")
    start, stop, path = 0, size, []
    while stop - start > 1:
        split = start + _split(stop - start)
        if index < split:
            path.append(range_hash(split, stop, subtree))
            stop = split
        else:
            path.append(range_hash(start, split, subtree))
            start = split
    return path[::-1]


def consistency_proof(old: int, size: int, subtree: Subtree) -> list[bytes]:
    """Proof that the tree of `old` is a prefix of the tree of `size` (RFC 6962, 2.1.2).

    Empty if they are equal. From 0 there is nothing to prove: the caller handles it.
    """
    if not 0 < old <= size:
        raise InvariantError(f"no consistency proof from {old} to {size}")
    start, stop, whole, proof = 0, size, True, []
    while old != stop:
        split = start + _split(stop - start)
        if old <= split:
            proof.append(range_hash(split, stop, subtree))
            stop = split
        else:
            proof.append(range_hash(start, split, subtree))
            start, whole = split, False
    if not whole:
        proof.append(range_hash(start, stop, subtree))
    return proof[::-1]


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Raises PeerError unless `leaf` (a leaf hash) is entry `index` of the tree (RFC 9162, 2.1.3.2)."""
    _check_hashes((leaf, root, *proof))
    if not 0 <= index < size:
        raise PeerError("inclusion proof refused", f"no entry {index} in a tree of {size}")
    position, last, computed = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise PeerError("inclusion proof refused", "it is too long")
        if position & 1 or position == last:
            computed = node_hash(sibling, computed)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            computed = node_hash(computed, sibling)
        position, last = position >> 1, last >> 1
    if last:
        raise PeerError("inclusion proof refused", "it is too short")
    if computed != root:
        raise PeerError("inclusion proof refused", "it leads to another root")


def verify_consistency(
    old: int, size: int, old_root: bytes, root: bytes, proof: Sequence[bytes]
) -> None:
    """Raises PeerError unless the tree of `old` is a prefix of the tree of `size` (RFC 9162, 2.1.4.2).

    A proof from 0 is refused: it would prove nothing about `old_root`. Equal sizes are a comparison only.
    """
    if not 0 < old <= size:
        raise PeerError("consistency proof refused", f"there is none from {old} to {size}")
    if old == size:
        if proof or old_root != root:
            why = "it is not empty" if proof else "two roots of one size"
            raise PeerError("consistency proof refused", why)
        return
    _check_hashes((old_root, root, *proof))
    rest = list(proof) if old & (old - 1) else [old_root, *proof]
    if len(rest) < 2:
        raise PeerError("consistency proof refused", "it is too short")
    position, last = old - 1, size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old_computed = computed = rest[0]
    for value in rest[1:]:
        if last == 0:
            raise PeerError("consistency proof refused", "it is too long")
        if position & 1 or position == last:
            old_computed, computed = node_hash(value, old_computed), node_hash(value, computed)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            computed = node_hash(computed, value)
        position, last = position >> 1, last >> 1
    if last:
        raise PeerError("consistency proof refused", "it is too short")
    if old_computed != old_root or computed != root:
        raise PeerError("consistency proof refused", "it leads to other roots")


def _split(count: int) -> int:
    """Largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


def _check_hashes(hashes: Iterable[bytes]) -> None:
    for value in hashes:
        if len(value) != HASH:
            raise PeerError("proof refused", f"a hash of {len(value)} bytes")
