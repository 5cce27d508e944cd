"""Checks a published audit log with PyPI's `sigstore`, as its client checks entries of Sigstore's Rekor log.

    python -m tests.outside.with_sigstore LOG VKEY [--seen OLDER-CHECKPOINT]

For every entry the inclusion proof is put together out of published tiles and given to sigstore, which also
reads the checkpoint and judges its signature. It has no consistency proofs: of a head seen before, only size
and, at the same size, root are compared. No proof needs a hash that has nothing beside it: the one on top of
a log of exactly 1, 256, 65,536 … entries is not looked at.
"""

from __future__ import annotations

import base64
import hashlib
import sys
from functools import cache
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

from sigstore._internal.merkle import _hash_children, verify_merkle_inclusion
from sigstore._internal.rekor.checkpoint import SignedCheckpoint
from sigstore._internal.trust import Keyring
from sigstore.errors import VerificationError
from sigstore_models.common import v1 as common

from tests.outside.published import (
    WIDTH,
    Head,
    Published,
    RefusedError,
    check_size,
    main,
    parse_head,
    parse_vkey,
    read_note,
)

_DER = bytes.fromhex("302a300506032b6570032100")
"""What stands before an Ed25519 public key in DER (RFC 8410)."""


def check(directory: Path, vkey: str, seen: str | None) -> Head:
    """The verified head. Raises RefusedError."""
    try:
        head = open_head(read_note(directory / "checkpoint"), vkey)
        if seen is not None:
            check_size(head, open_head(seen, vkey))
        _check_entries(Published(directory, head.size), head)
    except VerificationError as error:
        raise RefusedError(_said(error)) from error
    return head


def open_head(note: str, vkey: str) -> Head:
    """The head in a note with a good signature by the key. Raises VerificationError, RefusedError."""
    name, key_id, public = parse_vkey(vkey)
    der = base64.b64encode(_DER + public)
    key = common.PublicKey(raw_bytes=der, key_details=common.PublicKeyDetails.PKIX_ED25519)
    signed = SignedCheckpoint.from_text(note)
    signed.signed_note.verify(Keyring([key]), key_id)
    return parse_head(signed.signed_note.note, name)


def _check_entries(files: Published, head: Head) -> None:
    nodes = Nodes(files)
    bundles = [files.bundle(index) for index in range(-(-head.size // WIDTH))]
    for index, entry in enumerate(chain.from_iterable(bundles)):
        proof = SimpleNamespace(
            log_index=index, tree_size=head.size, root_hash=head.root, hashes=nodes.path(index)
        )
        asked = SimpleNamespace(canonicalized_body=entry, inclusion_proof=proof)
        try:
            verify_merkle_inclusion(SimpleNamespace(_inner=asked))
        except VerificationError as error:
            raise RefusedError(f"entry {index}: {_said(error)}") from error
    if head.size == 0 and head.root != hashlib.sha256(b"").digest():
        raise RefusedError("the root of no entries is another one")


def _said(error: VerificationError) -> str:
    """Its reason without the whole proof it quotes."""
    return str(error).partition(": expected namespace")[0]


class Nodes:
    """Inner nodes of the tree out of the published tiles."""

    def __init__(self, files: Published) -> None:
        self._size = files.size
        self._tile = cache(lambda level, index: _pyramid(files.tile(level, index)))
        self._edge = cache(self._join)

    def path(self, index: int) -> list[bytes]:
        """Inclusion proof of an entry, sibling of the leaf first."""
        found, last, height = [], self._size - 1, 0
        while index != last or index:
            if index & 1:
                found.append(self._node(height, index - 1))
            elif index < last:
                found.append(self._node(height, index + 1))
            index, last, height = index >> 1, last >> 1, height + 1
        return found

    def _node(self, height: int, index: int) -> bytes:
        """Root of entries [index, index + 1) · 2^height, as far as there are any."""
        if (index + 1) << height > self._size:
            return self._edge(height, index)
        level, row = divmod(height, 8)
        tile, at = divmod(index, WIDTH >> row)
        hashes: bytes = self._tile(level, tile)[row][at]
        return hashes

    def _join(self, height: int, index: int) -> bytes:
        """Root of an incomplete range: where its right half is empty, that of the left one."""
        left, right = 2 * index, 2 * index + 1
        if right << height - 1 >= self._size:
            return self._node(height - 1, left)
        joined: bytes = _hash_children(self._node(height - 1, left), self._node(height - 1, right))
        return joined


def _pyramid(hashes: list[bytes]) -> list[list[bytes]]:
    """A tile's hashes, their complete pairs, and so on."""
    rows = [hashes]
    while len(rows[-1]) > 1:
        below = rows[-1]
        rows.append([_hash_children(*below[at : at + 2]) for at in range(0, len(below) & ~1, 2)])
    return rows


if __name__ == "__main__":
    sys.exit(main(check, "sigstore"))
