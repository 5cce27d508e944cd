"""A receipt for one entry that outside tools read: C2SP tlog-proof (AUDIT-FORMATS 8).

    c2sp.org/tlog-proof@v1
    extra <base64>          here: the entry itself, so that the file is all one needs besides the key
    index <i>
    <base64 hash>*          sibling of the leaf first

    <checkpoint>

`extra` is not authenticated by the format; the entry in it is, because its leaf hash must lead to the root.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from appliance.audit.checkpoint import SignedCheckpoint, parse_size
from appliance.audit.key_chain import KeyChain, as_chain
from appliance.audit.merkle import HASH, leaf_hash, verify_inclusion
from appliance.audit.notes import MAX_NOTE, VerifierKey, decode64, encode64
from appliance.audit.records import MAX_BODY
from appliance.domain.errors import PeerError

HEADER = "c2sp.org/tlog-proof@v1"
MAX_HASHES = 63
MAX_PROOF = 2 * MAX_BODY + 64 * MAX_HASHES + MAX_NOTE


class EntryProof(Struct, frozen=True):
    """A parsed receipt; nothing in it is verified. checkpoint: the signed note.  entry: None without one."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    entry: bytes | None = None

    def encode(self) -> bytes:
        """The file."""
        extra = [] if self.entry is None else [f"extra {encode64(self.entry)}"]
        lines = [HEADER, *extra, f"index {self.index}", *(encode64(value) for value in self.hashes), "", ""]
        return "\n".join(lines).encode() + self.checkpoint


def parse_proof(data: bytes) -> EntryProof:
    """Reads a tlog-proof. Raises PeerError naming the line."""
    if len(data) > MAX_PROOF:
        raise PeerError("not a proof", f"{len(data)} bytes, the cap is {MAX_PROOF}")
    head, blank, checkpoint = data.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise PeerError("not a proof", "the lines above the checkpoint are not ASCII") from error
    if not blank or lines[0] != HEADER:
        raise PeerError("not a proof", f"it does not begin with {HEADER} (line 1)")
    extra = lines[1].removeprefix("extra ") if len(lines) > 1 and lines[1].startswith("extra ") else None
    at = 1 if extra is None else 2
    if len(lines) <= at or not lines[at].startswith("index "):
        raise PeerError("not a proof", f"no line `index <number>` (line {at + 1})")
    if len(lines) - at - 1 > MAX_HASHES:
        raise PeerError("not a proof", f"more than {MAX_HASHES} hashes")
    index = parse_size(lines[at].removeprefix("index "))
    hashes = tuple(decode64(line, f"line {number}") for number, line in enumerate(lines[at + 1 :], at + 2))
    if any(len(value) != HASH for value in hashes):
        raise PeerError("not a proof", "a line above the checkpoint is no hash")
    return EntryProof(index, hashes, checkpoint, None if extra is None else decode64(extra, "line 2"))


def check_proof(
    proof: EntryProof, entry: bytes, log: VerifierKey | KeyChain, witnesses: Sequence[VerifierKey] = ()
) -> SignedCheckpoint:
    """The verified checkpoint that has these very bytes as entry `proof.index`, or PeerError."""
    opened = as_chain(log).open(proof.checkpoint, witnesses)
    head = opened.checkpoint
    verify_inclusion(proof.index, head.size, leaf_hash(entry), proof.hashes, head.root)
    return opened
