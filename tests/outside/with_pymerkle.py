"""Checks a published audit log with PyPI's `pymerkle` (tree, proofs) and `cryptography` (OpenSSL's Ed25519).

    python -m tests.outside.with_pymerkle LOG VKEY [--seen OLDER-CHECKPOINT]

It reads every entry and every tile. pymerkle hashes entries and nodes, computes the root, and proves and
verifies that a head seen before is the beginning of this one; OpenSSL judges the signatures.
"""

from __future__ import annotations

import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pymerkle import InmemoryTree, InvalidProof, verify_consistency
from pymerkle.hasher import MerkleHasher

from tests.outside.published import (
    WIDTH,
    Head,
    Published,
    RefusedError,
    check_size,
    decode64,
    main,
    parse_head,
    parse_vkey,
    read_note,
)


def check(directory: Path, vkey: str, seen: str | None) -> Head:
    """The verified head. Raises RefusedError."""
    head = open_head(read_note(directory / "checkpoint"), vkey)
    older = open_head(seen, vkey) if seen is not None else None
    to_prove = older is not None and check_size(head, older)
    files = Published(directory, head.size)
    tree = InmemoryTree(algorithm="sha256")
    _check_tiles(files, tree)
    _check_entries(files, tree)
    if tree.get_root() != head.root:
        raise RefusedError(f"the {head.size} entries have another root than the checkpoint says")
    if older is not None and to_prove:
        proof = tree.prove_consistency(older.size, head.size)
        try:
            verify_consistency(older.root, head.root, proof, older.size, head.size, "sha256")
        except InvalidProof as error:
            reason = f"the head of {older.size} seen before is no beginning of this log: {error}"
            raise RefusedError(reason) from error
    return head


def open_head(note: str, vkey: str) -> Head:
    """The head in a note with a good signature by the key. Raises RefusedError."""
    name, key_id, public = parse_vkey(vkey)
    text, _, lines = note.rpartition("\n\n")
    for line in lines.splitlines():
        signer, _, encoded = line.removeprefix("— ").partition(" ")
        blob = decode64(encoded)
        if (signer, blob[:4]) != (name, key_id):
            continue
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(blob[4:], f"{text}\n".encode())
        except InvalidSignature as error:
            raise RefusedError("the signature does not match") from error
        return parse_head(f"{text}\n", name)
    raise RefusedError("no signature by this key")


def _check_tiles(files: Published, hasher: MerkleHasher) -> None:
    """The tiles of a level hold the roots of the full tiles below it. Raises RefusedError."""
    level, below = 0, None
    while items := files.items(level):
        roots = []
        for index in range(-(-items // WIDTH)):
            hashes = files.tile(level, index)
            if below is not None and hashes != below[index * WIDTH : (index + 1) * WIDTH]:
                raise RefusedError(f"tile {index} of level {level} does not hold the hashes of those below")
            if len(hashes) == WIDTH:
                roots.append(_fold(hasher, hashes))
        level, below = level + 1, roots


def _check_entries(files: Published, tree: InmemoryTree) -> None:
    """Adds every entry to the tree and compares its leaf hash with level 0. Raises RefusedError."""
    for index in range(-(-files.size // WIDTH)):
        tree.append_entries(files.bundle(index))
        for at, published in enumerate(files.tile(0, index), index * WIDTH):
            if tree.get_leaf(at + 1) != published:
                raise RefusedError(f"entry {at} does not have the hash in its tile")


def _fold(hasher: MerkleHasher, hashes: list[bytes]) -> bytes:
    while len(hashes) > 1:
        hashes = [hasher.hash_pair(*hashes[at : at + 2]) for at in range(0, len(hashes), 2)]
    return hashes[0]


if __name__ == "__main__":
    sys.exit(main(check, "pymerkle and OpenSSL"))
