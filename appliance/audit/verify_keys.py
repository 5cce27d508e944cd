"""Which keys a log's own entries lead to, while `verify` walks them (part of `verify`).

Every rotation and revocation is held against the entries before it, and against the key of first enrolment
at the far end. A co-signed head is judged by the rotations alone: the witness vouches for it too, and it is
held against the same entries.
"""

from __future__ import annotations

from collections.abc import Mapping

from appliance.audit.checkpoint import SignedCheckpoint, parse_checkpoint
from appliance.audit.key_chain import Era, KeyChain, may_revoke
from appliance.audit.key_notes import REVOKED, ROTATED, Revocation, note_of, open_revocation, open_rotation
from appliance.audit.notes import COSIGNATURE_KEY, Note, VerifierKey, verify_note
from appliance.audit.report import Findings
from appliance.domain.errors import PeerError

MAX_REMARKS = 16


class KeyWalk:
    """The chain from `root` as far as the entries taken so far lead it.

    eras: what is believed of it.  remarks: what a person should know although nothing is wrong.
    """

    def __init__(self, root: VerifierKey, operator: VerifierKey | None, findings: Findings) -> None:
        self._findings = findings
        self._operator = operator
        self._told = self._believed = KeyChain.rooted(root)
        self._cosigners: dict[VerifierKey, int] = {}
        self.remarks: list[str] = []

    @property
    def eras(self) -> tuple[Era, ...]:
        """Oldest first."""
        return self._believed.eras

    def take(self, index: int, root: bytes, data: Mapping[str, object]) -> None:
        """A key entry. root: of the entries before it."""
        act = data.get("act")
        try:
            if act == ROTATED:
                self._rotate(index, root, note_of(data))
            elif act == REVOKED:
                self._revoke(index, open_revocation(note_of(data)))
        except PeerError as error:
            self._findings.add(f"entry {index}", f"{error.what}: {error.why}")

    def check(self, note: Note, *, cosigned: bool) -> None:
        """Raises PeerError unless a key that is believed for this size signed the checkpoint."""
        chain = self._told if cosigned else self._believed
        verify_note(note, chain.keys)
        chain.check(SignedCheckpoint(parse_checkpoint(note.text), note))

    def check_witness(self, key: VerifierKey, size: int) -> None:
        """Raises PeerError if the operator has revoked the witness before this size."""
        gone = self._cosigners.get(key)
        if gone is not None and size > gone:
            raise PeerError("co-signature refused", f"{key.name} is revoked from entry {gone} on")

    def _rotate(self, index: int, root: bytes, note: bytes) -> None:
        rotation = open_rotation(note)
        if (rotation.size, rotation.root) != (index, root):
            raise PeerError("rotation refused", f"it was made behind {rotation.size} entries of another log")
        self._told = self._told.rotated(rotation)
        self._believed = self._believed.rotated(rotation)

    def _revoke(self, index: int, revocation: Revocation) -> None:
        may_revoke(revocation, self._operator, index)
        if revocation.origin != self._told.origin:
            raise PeerError("revocation refused", f"it is about the log {revocation.origin}")
        key, size = revocation.key, revocation.size
        if key.kind == COSIGNATURE_KEY:
            self._cosigners[key] = min(size, self._cosigners.get(key, size))
        elif key.name == self._told.origin:
            era = self._believed.era(key)
            self._believed = self._believed.revoked(revocation)
            if era is not None and era.last is not None and size < era.last:
                self._remark(key, size, era.last)

    def _remark(self, key: VerifierKey, size: int, last: int) -> None:
        if len(self.remarks) < MAX_REMARKS:
            self.remarks.append(
                f"entries {size} to {last - 1} were signed by {key.key_id.hex()}, revoked from {size} on:"
                " they stand on its successor's word, and on what a witness had co-signed by then"
            )
