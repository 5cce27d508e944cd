"""Consistency of a subtree with the tree it is in (C2SP tlog-mirror; Merkle tree certificates, 4.4).

A subtree [start, stop) begins at a multiple of the smallest power of two that holds it, so that it is a node
of every tree that reaches beyond it, or the right edge of the one that ends with it.
"""

from __future__ import annotations

from collections.abc import Sequence

from appliance.audit.merkle import HASH, Subtree, node_hash, range_hash
from appliance.domain.errors import InvariantError, PeerError


def is_subtree(start: int, stop: int, size: int) -> bool:
    """Whether [start, stop) is a subtree of a tree of `size`."""
    if not 0 <= start < stop <= size:
        return False
    return start % (1 << (stop - start - 1).bit_length()) == 0


def subtree_proof(start: int, stop: int, size: int, subtree: Subtree) -> list[bytes]:
    """Proof that the root of [start, stop) belongs to the tree of `size`; empty for the whole tree."""
    if not is_subtree(start, stop, size):
        raise InvariantError(f"[{start}, {stop}) is no subtree of a tree of {size}")
    return _proof((start, stop), (0, size), subtree, known=True)


def verify_subtree(
    start: int, stop: int, size: int, subtree_root: bytes, root: bytes, proof: Sequence[bytes]
) -> None:
    """Raises PeerError unless `subtree_root` is that of [start, stop) in the tree of `size` with `root`."""
    if not is_subtree(start, stop, size):
        raise PeerError("subtree proof refused", f"[{start}, {stop}) is no subtree of a tree of {size}")
    for value in (subtree_root, root, *proof):
        if len(value) != HASH:
            raise PeerError("subtree proof refused", f"a hash of {len(value)} bytes")
    rest = list(reversed(proof))
    found = _roots((start, stop), (0, size), rest, subtree_root)
    if rest:
        raise PeerError("subtree proof refused", "it is too long")
    if found != (subtree_root, root):
        raise PeerError("subtree proof refused", "it leads to other roots")


Range = tuple[int, int]


def _proof(wanted: Range, tree: Range, subtree: Subtree, *, known: bool) -> list[bytes]:
    """known: the verifier has the root of `tree` if that is what is wanted."""
    low, high = tree
    if wanted == tree:
        return [] if known else [range_hash(low, high, subtree)]
    split = _split(tree)
    if wanted[1] <= split:
        return [*_proof(wanted, (low, split), subtree, known=known), range_hash(split, high, subtree)]
    left = range_hash(low, split, subtree)
    if wanted[0] >= split:
        return [*_proof(wanted, (split, high), subtree, known=known), left]
    return [*_proof((split, wanted[1]), (split, high), subtree, known=False), left]


def _roots(wanted: Range, tree: Range, rest: list[bytes], known: bytes | None) -> tuple[bytes, bytes]:
    """Roots of `wanted` and `tree`, computed from the proof; rest: what is left of it, the next one last.

    known: the root of what is wanted, if the whole of it is what the verifier has.
    """
    if wanted == tree:
        value = _next(rest) if known is None else known
        return value, value
    low, high = tree
    split = _split(tree)
    if wanted[1] <= split:
        part, whole = _roots(wanted, (low, split), rest, known)
        return part, node_hash(whole, _next(rest))
    if wanted[0] >= split:
        part, whole = _roots(wanted, (split, high), rest, known)
        return part, node_hash(_next(rest), whole)
    part, whole = _roots((split, wanted[1]), (split, high), rest, None)
    left = _next(rest)
    return node_hash(left, part), node_hash(left, whole)


def _split(tree: Range) -> int:
    low, high = tree
    return low + (1 << (high - low - 1).bit_length() - 1)


def _next(rest: list[bytes]) -> bytes:
    if not rest:
        raise PeerError("subtree proof refused", "it is too short")
    return rest.pop()
