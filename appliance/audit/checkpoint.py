"""The signed head of a log: a note whose text is origin, size and root (C2SP tlog-checkpoint).

A log never signs two checkpoints of one size with different roots; who holds the store enforces that
(`storage.log_store`). Here are the bytes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct

from appliance.audit.merkle import HASH
from appliance.audit.notes import (
    COSIGNATURE_KEY,
    NOTE_KEY,
    Note,
    Signature,
    SigningKey,
    VerifierKey,
    decode64,
    encode64,
    parse_note,
    verify_note,
)
from appliance.domain.errors import PeerError

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


class Checkpoint(Struct, frozen=True):
    """What a log claims: its name, how many entries it has and their Merkle root (32 bytes)."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The note's text."""
        lines = (self.origin, str(self.size), encode64(self.root), *self.extensions)
        return "".join(line + "\n" for line in lines)


class SignedCheckpoint(Struct, frozen=True):
    """A checkpoint whose log signature was verified. cosigned: the verified cosignatures, if asked for."""

    checkpoint: Checkpoint
    note: Note
    cosigned: tuple[tuple[VerifierKey, Signature], ...] = ()


def parse_size(text: str) -> int:
    """A tree size in ASCII decimal without leading zeros, below 2^63. Raises PeerError."""
    if not _SIZE.fullmatch(text) or int(text) >= 2**63:
        raise PeerError("not a tree size", repr(text[:32]))
    return int(text)


def parse_checkpoint(text: str) -> Checkpoint:
    """Reads a note's text. Raises PeerError naming the line; says nothing about signatures."""
    lines = text.split("\n")
    if len(lines) < 4 or lines.pop() or not all(lines):
        raise PeerError("not a checkpoint", "it is not three or more lines that are not empty")
    try:
        size = parse_size(lines[1])
    except PeerError as error:
        raise PeerError("not a checkpoint", "the tree size (line 2)") from error
    root = decode64(lines[2], "the root (line 3)")
    if len(root) != HASH:
        raise PeerError("not a checkpoint", f"the root has {len(root)} bytes (line 3)")
    return Checkpoint(lines[0], size, root, tuple(lines[3:]))


def sign_checkpoint(checkpoint: Checkpoint, *keys: SigningKey) -> bytes:
    """The note, signed by each key. The same checkpoint and keys give the same bytes: it can be signed again.
    """
    for key in keys:
        if checkpoint.origin != key.name:
            raise PeerError("checkpoint not signed", f"the key is for {key.name}, not {checkpoint.origin}")
    return Note(checkpoint.text, tuple(key.sign(checkpoint.text) for key in keys)).encode()


def open_checkpoint(
    data: bytes, log_keys: Sequence[VerifierKey], witnesses: Sequence[VerifierKey] = ()
) -> SignedCheckpoint:
    """Verified content of a checkpoint, or PeerError.

    At least one of `log_keys` must have signed it, under the origin's name. With `witnesses`, at least one
    of them must have cosigned it. A bad signature of any of these keys refuses the whole.
    """
    note = parse_note(data)
    checkpoint = parse_checkpoint(note.text)
    own = [key for key in log_keys if key.kind == NOTE_KEY and key.name == checkpoint.origin]
    if not own:
        raise PeerError("checkpoint refused", f"no trusted key is named {checkpoint.origin!r} (line 1)")
    verify_note(note, own)
    cosigned: tuple[tuple[VerifierKey, Signature], ...] = ()
    if witnesses:
        cosigned = tuple(verify_note(note, [key for key in witnesses if key.kind == COSIGNATURE_KEY]))
    return SignedCheckpoint(checkpoint, note, cosigned)
