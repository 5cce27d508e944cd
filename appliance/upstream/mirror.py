"""The mirror's decision (C2SP tlog-mirror): entries in, a co-signature out once all of them are stored.

What is uploaded must hash into the checkpoint the witness beside it co-signed last, package by package: so
nothing is ever stored that is not in the log. The mirror's co-signature says: durably stored, and served.
It is a key of its own, under a name of its own.

    404  unknown origin                        409  another checkpoint or place is wanted: the body tells
    400  malformed, nothing could be stored    422  a proof does not hold
    202  stored in part: the body tells where to go on
    200  everything is stored: the mirror's co-signature of the checkpoint
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from appliance.audit.key_chain import KeyChain, Keys, chain_among
from appliance.audit.merkle import leaf_hash, root_from_hashes
from appliance.audit.notes import Note, SigningKey, verify_note
from appliance.audit.subtree import verify_subtree
from appliance.domain.errors import PeerError, StoreError
from appliance.upstream.upload import INFO, Head, Info, Package, read_head, read_packages
from appliance.upstream.witness import Reply, WitnessHead


class Copy(Protocol):
    """The stored copy of one log (`mirror_store.MirrorStore`)."""

    def following(self) -> int:
        """Index of the first entry it does not have."""
        ...

    def cosigned(self) -> WitnessHead | None:
        """The last checkpoint it vouches for."""
        ...

    def bodies(self, start: int, stop: int) -> list[bytes]:
        """Stored entries, all of them; StoreError if one is missing."""
        ...

    def append(self, entries: Sequence[bytes]) -> None:
        """Adds entries behind the last; durable when it returns. Raises StoreError."""
        ...

    def root(self, size: int) -> bytes:
        """Root of the first `size` entries, all of them stored."""
        ...

    def vouch(self, head: WitnessHead) -> None:
        """Replaces the checkpoint; durable when it returns."""
        ...


class Pending(Protocol):
    """The witness's memory, as far as a mirror needs it."""

    def load(self, origin: str) -> WitnessHead | None:
        """The last head of an origin that was co-signed."""
        ...


class _Stored(Struct, frozen=True):
    """How far a body was taken over. packages: how many, known ones included."""

    packages: int
    problem: PeerError | None


class Mirror:
    """Copies of the logs it was given. Calls block on the stores; one at a time."""

    def __init__(
        self,
        key: SigningKey,
        logs: Mapping[str, Keys],
        pending: Pending,
        copies: Mapping[str, Copy],
        now_s: Callable[[], int],
    ) -> None:
        """logs: origin → its trusted keys.  copies: origin → what is stored of it."""
        self._key = key
        self._logs = logs
        self._pending = pending
        self._copies = copies
        self._now_s = now_s

    def add_entries(self, body: bytes) -> Reply:
        """Decides one request. Raises StoreError: then nothing is vouched for, and the process ends."""
        try:
            head, at = read_head(body)
        except PeerError as error:
            return _refused(400, error)
        copy = self._copies.get(head.origin)
        chain = chain_among(self._logs, head.origin)
        if copy is None or chain is None:
            return Reply(404, b"this origin is not mirrored here\n")
        pending, vouched = self._pending.load(head.origin), copy.cosigned()
        size = pending.size if pending else 0
        wanted = pending is not None and head.end == size and head.start <= copy.following()
        if pending is None or not wanted or (vouched is not None and head.end < vouched.size):
            return _told(409, size, copy)
        stored = self._take_over(copy, pending, read_packages(body, at, head))
        if stored.problem is not None and stored.problem.what == "subtree proof refused":
            return _refused(422, stored.problem)
        if copy.following() >= head.end:
            return self._vouch(head, chain, copy, pending)
        if not stored.packages:
            return _refused(400, stored.problem or PeerError("nothing was uploaded", "no whole package"))
        return _told(202, size, copy)

    def checkpoint(self, origin: str) -> bytes | None:
        """The last checkpoint this mirror vouches for, with its co-signature."""
        copy = self._copies.get(origin)
        head = copy.cosigned() if copy is not None else None
        return head.note if head is not None else None

    def _take_over(self, copy: Copy, pending: WitnessHead, packages: Iterable[Package]) -> _Stored:
        """Package by package: what is whole and proven before the first that is not stays stored."""
        new: list[bytes] = []
        count, following = 0, copy.following()
        problem = None
        try:
            for package in packages:
                inside = package.start > package.base  # the first alone; what is before it is stored
                before = copy.bodies(package.base, package.start) if inside else []
                leaves = [leaf_hash(entry) for entry in (*before, *package.entries)]
                verify_subtree(
                    package.base, package.stop, pending.size, root_from_hashes(leaves), pending.root,
                    package.proof,
                )  # fmt: skip
                count += 1
                new += package.entries[max(0, following + len(new) - package.start) :]
        except PeerError as error:
            problem = error
        if new:
            copy.append(new)
        return _Stored(count, problem)

    def _vouch(self, head: Head, chain: KeyChain, copy: Copy, pending: WitnessHead) -> Reply:
        if copy.root(pending.size) != pending.root:
            why = f"{pending.size} entries of {head.origin} do not hash to the checkpoint they were proven by"
            raise StoreError("the mirror's store is damaged", why)
        signed = chain.open(pending.note)
        cosignature = self._key.cosign(signed.note.text, self._now_s())
        own = [signature for _, signature in verify_note(signed.note, chain.keys)]
        note = Note(signed.note.text, (*own, cosignature)).encode()
        copy.vouch(WitnessHead(pending.size, pending.root, note))
        return Reply(200, cosignature.line.encode())


def _told(status: int, pending: int, copy: Copy) -> Reply:
    return Reply(status, Info(pending, copy.following()).encode(), INFO)


def _refused(status: int, error: PeerError) -> Reply:
    return Reply(status, f"{error.what}: {error.why}\n".encode())
