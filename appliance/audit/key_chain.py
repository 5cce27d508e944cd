"""Which key of a log may sign a checkpoint of which size: from the key of first enrolment on, rotation by
rotation (PRV-04, P17). R1.

    era of a key    from the size at which it came into force to the size at which it went, both included

The checkpoint that covers a rotation and nothing behind it is signed by both keys: who knows the old one can
check up to there, who knows the new one from there on. Behind it the old key signs nothing that is believed,
so that it can be destroyed, and whoever finds a copy later cannot go on with the log.

What no signature can say is *when* it was made. A thief of a key can sign a checkpoint of any size its era
allows, with entries of his own; only what a witness co-signed before is out of his reach. A revocation
therefore says "from entry N on", and nothing about what lies before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec
from msgspec import Struct

from appliance.audit.checkpoint import SignedCheckpoint, open_checkpoint
from appliance.audit.key_notes import OPERATOR, Revocation, Rotation, open_rotation
from appliance.audit.notes import NOTE_KEY, VerifierKey
from appliance.domain.errors import PeerError


class Era(Struct, frozen=True):
    """One key's time. first, last: smallest and largest checkpoint it may sign; last None: in force.

    revoked: its end was moved forward by a revocation.
    """

    key: VerifierKey
    first: int = 0
    last: int | None = None
    revoked: bool = False

    def covers(self, size: int) -> bool:
        """Whether a checkpoint of this size is believed on this key's word."""
        return self.first <= size and (self.last is None or size <= self.last)


class KeyChain(Struct, frozen=True):
    """The keys of one log that are believed, oldest first; never empty, all of one name."""

    eras: tuple[Era, ...]

    @classmethod
    def rooted(cls, *keys: VerifierKey) -> KeyChain:
        """Trust as it was given, before any rotation."""
        return cls(tuple(Era(key) for key in keys))

    @property
    def origin(self) -> str:
        """Name of the log."""
        return self.eras[0].key.name

    @property
    def keys(self) -> tuple[VerifierKey, ...]:
        """All of them, of any time."""
        return tuple(era.key for era in self.eras)

    @property
    def current(self) -> VerifierKey:
        """The key in force; the newest, if none is."""
        return next((era.key for era in reversed(self.eras) if era.last is None), self.eras[-1].key)

    def era(self, key: VerifierKey) -> Era | None:
        """When a key was in force; None for a stranger."""
        return next((era for era in self.eras if era.key == key), None)

    def successor(self, key: VerifierKey) -> Era | None:
        """What a key was rotated to; None for a stranger or the last one."""
        keys = self.keys
        at = keys.index(key) + 1 if key in keys else len(keys)
        return self.eras[at] if at < len(keys) else None

    def open(self, data: bytes, witnesses: Sequence[VerifierKey] = ()) -> SignedCheckpoint:
        """As `open_checkpoint`, for a signature by a key whose era the checkpoint's size lies in."""
        opened = open_checkpoint(data, self.keys, witnesses)
        self.check(opened)
        return opened

    def check(self, opened: SignedCheckpoint) -> VerifierKey:
        """Who signed it and may sign that size, the newest. Raises PeerError if nobody."""
        size = opened.checkpoint.size
        marks = {(signature.name, signature.key_id) for signature in opened.note.signatures}
        signers = [era for era in self.eras if (era.key.name, era.key.key_id) in marks]
        able = [era.key for era in signers if era.covers(size)]
        if able:
            return able[-1]
        told = ", ".join(_said(era) for era in signers) or "no key of this log"
        raise PeerError("checkpoint refused", f"{size} entries are signed by {told}")

    def rotated(self, rotation: Rotation) -> KeyChain:
        """The chain with the next key. The same rotation twice is once. Raises PeerError."""
        old, new = self.era(rotation.old), self.era(rotation.new)
        last = rotation.size + 1
        if old is None:
            raise PeerError("rotation refused", f"nothing leads to the old key {_id(rotation.old)}")
        if rotation.old == rotation.new:
            raise PeerError("rotation refused", "it leads nowhere")
        if old.last == last and new is not None and new.first <= last:
            return self
        if old.last is not None:
            raise PeerError("rotation refused", f"the old key went before: {_said(old)}")
        if last < old.first:
            raise PeerError("rotation refused", f"the old key came later: {_said(old)}")
        if new is not None and new.last is not None:
            raise PeerError("rotation refused", f"a key that went does not come back: {_said(new)}")
        kept = tuple(msgspec.structs.replace(era, last=last) if era is old else era for era in self.eras)
        return KeyChain(kept if new is not None else (*kept, Era(rotation.new, last)))

    def revoked(self, revocation: Revocation) -> KeyChain:
        """The chain after a revocation by somebody who may; `may_revoke` decides that. One root is assumed.

        What was reached through a rotation the key signed when it was no longer believed goes too, unless
        the operator vouches for it by name. Raises PeerError for a key this log never had.
        """
        era = self.era(revocation.key)
        if era is None:
            raise PeerError("revocation refused", f"nothing leads to the key {_id(revocation.key)}")
        at, size = self.eras.index(era), revocation.size
        after = self.eras[at + 1 :]
        vouched = bool(after) and after[0].key == revocation.next
        if revocation.next is not None and not vouched:
            raise PeerError("revocation refused", f"{_id(revocation.next)} is not what came after it")
        if era.last is not None and era.last <= size:
            cut = era
        else:
            cut = msgspec.structs.replace(era, last=size, revoked=True)
        if after and size < after[0].first and not vouched:
            after = ()
        return KeyChain((*self.eras[:at], cut, *after))


def as_chain(keys: VerifierKey | KeyChain) -> KeyChain:
    """One trusted key is a chain without a rotation."""
    return keys if isinstance(keys, KeyChain) else KeyChain.rooted(keys)


Keys: TypeAlias = KeyChain | Sequence[VerifierKey]
"""What is trusted for one log."""


def chain_among(logs: Mapping[str, Keys], origin: str) -> KeyChain | None:
    """The keys of an origin; None if it is unknown."""
    keys = logs.get(origin)
    return keys if keys is None or isinstance(keys, KeyChain) else KeyChain.rooted(*keys)


def rooted_in(key: VerifierKey, rotations: Iterable[bytes]) -> KeyChain:
    """The chain from a trusted key along the notes that follow it; those before it are passed over.

    Raises PeerError for one that is none, or does not fit.
    """
    chain, reached = KeyChain.rooted(key), False
    for note in rotations:
        rotation = open_rotation(note)
        reached = reached or rotation.old == key
        if reached:
            chain = chain.rotated(rotation)
    return chain


def may_revoke(revocation: Revocation, operator: VerifierKey | None, index: int) -> None:
    """Who may say so in entry `index`: the operator anything, a key about itself from that entry on.

    A key cannot reach back: whoever has stolen it could take back what was signed before. Raises PeerError.
    """
    if operator is not None and revocation.by == operator and operator.name == OPERATOR:
        return
    itself = revocation.by.public == revocation.key.public and revocation.key.kind == NOTE_KEY
    if not itself:
        raise PeerError("revocation refused", f"{_id(revocation.by)} is neither the operator nor that key")
    if revocation.size < index:
        why = f"a key can say so of itself from entry {index} on, not from {revocation.size}"
        raise PeerError("revocation refused", why)


def _said(era: Era) -> str:
    if era.last is None:
        return f"{_id(era.key)}, in force from {era.first} entries on"
    return f"{_id(era.key)}, {'revoked' if era.revoked else 'retired'} after {era.last} entries"


def _id(key: VerifierKey) -> str:
    return key.key_id.hex()
