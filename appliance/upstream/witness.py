"""The witness's decision (C2SP tlog-witness, AUDIT-FORMATS 6): one request in, one reply out, no network.

A witness co-signs a checkpoint only if it extends the one it co-signed last, so that a log it watches can
never take anything back. The next head is durable before the co-signature leaves; comparing with the last
head and storing the next is one atomic step of the store.

    404  unknown origin                  403  no signature by a trusted key of that origin, or a bad one
    400  malformed, or old > size        409  old is not the last size: the body tells which is
    422  proof does not hold, or another root for the same size
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from appliance.audit.checkpoint import SignedCheckpoint, parse_checkpoint, parse_size
from appliance.audit.key_chain import Keys, chain_among
from appliance.audit.merkle import EMPTY_ROOT, HASH, verify_consistency
from appliance.audit.notes import (
    Note,
    SigningKey,
    VerifierKey,
    decode64,
    encode64,
    parse_note,
    verify_note,
)
from appliance.domain.errors import PeerError

MAX_PROOF = 63
TEXT = "text/plain; charset=utf-8"
SIZE = "text/x.tlog.size"


class WitnessHead(Struct, frozen=True):
    """The last co-signed head of one origin. note: the checkpoint with the log's and our signature."""

    size: int
    root: bytes
    note: bytes


class WitnessStore(Protocol):
    """What a witness must never forget."""

    def load(self, origin: str) -> WitnessHead | None:
        """The last head of an origin; None if it was never co-signed."""
        ...

    def find(self, origin_hash: str) -> WitnessHead | None:
        """The last head of the origin with this SHA-256 in hexadecimal."""
        ...

    def advance(self, origin: str, old: int, head: WitnessHead) -> bool:
        """Stores `head` durably if the last size is still `old` (0: never seen); False if it is not.

        Raises StoreError if it cannot be known whether it is stored.
        """
        ...


class Reply(Struct, frozen=True):
    """An HTTP answer."""

    status: int
    body: bytes
    content_type: str = TEXT


class Request(Struct, frozen=True):
    """A parsed add-checkpoint body. checkpoint: the signed note, not yet looked at."""

    old: int
    proof: tuple[bytes, ...]
    checkpoint: bytes

    def encode(self) -> bytes:
        """The body as it is sent."""
        lines = [f"old {self.old}", *(encode64(value) for value in self.proof), "", ""]
        return "\n".join(lines).encode() + self.checkpoint


def parse_request(body: bytes) -> Request:
    """Reads an add-checkpoint body. Raises PeerError naming the line."""
    head, blank, checkpoint = body.partition(b"\n\n")
    try:
        first, *rest = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise PeerError("not an add-checkpoint request", "its first lines are not ASCII") from error
    if not blank or not first.startswith("old "):
        raise PeerError("not an add-checkpoint request", "no line `old <size>` with a blank line after it")
    if len(rest) > MAX_PROOF:
        raise PeerError("not an add-checkpoint request", f"more than {MAX_PROOF} proof lines")
    proof = tuple(decode64(line, f"line {number}") for number, line in enumerate(rest, 2))
    if any(len(value) != HASH for value in proof):
        raise PeerError("not an add-checkpoint request", "a proof line is not a hash")
    return Request(parse_size(first.removeprefix("old ")), proof, checkpoint)


def origin_hash(origin: str) -> str:
    """The name under which a witness serves the last checkpoint of an origin."""
    return hashlib.sha256(origin.encode()).hexdigest()


class Witness:
    """Co-signs for the logs it was given. Calls block on the store; one at a time."""

    def __init__(
        self,
        key: SigningKey,
        logs: Mapping[str, Keys],
        store: WitnessStore,
        now_s: Callable[[], int],
    ) -> None:
        """logs: origin → its trusted keys.  now_s: POSIX seconds for the co-signature."""
        self._key = key
        self._logs = logs
        self._store = store
        self._now_s = now_s

    def add_checkpoint(self, body: bytes) -> Reply:
        """Decides one request. Raises StoreError: then nothing was co-signed, and the process ends."""
        try:
            request = parse_request(body)
            origin = parse_checkpoint(parse_note(request.checkpoint).text).origin
        except PeerError as error:
            return _refusal(400, error)
        chain = chain_among(self._logs, origin)
        if chain is None:
            return Reply(404, b"this origin is not enrolled here\n")
        try:
            signed = chain.open(request.checkpoint)
        except PeerError as error:
            return _refusal(403, error)
        return self._judge(request, signed, chain.keys)

    def latest(self, hashed_origin: str) -> bytes | None:
        """The last co-signed checkpoint of an origin, for whoever monitors it."""
        head = self._store.find(hashed_origin)
        return head.note if head else None

    def _judge(self, request: Request, signed: SignedCheckpoint, keys: Sequence[VerifierKey]) -> Reply:
        checkpoint = signed.checkpoint
        if request.old > checkpoint.size:
            return Reply(400, b"old is larger than the checkpoint\n")
        last = self._store.load(checkpoint.origin)
        last_size = last.size if last else 0
        if request.old != last_size:
            return _conflict(last_size)
        try:
            _check_growth(request, last.root if last else EMPTY_ROOT, signed)
        except PeerError as error:
            return _refusal(422, error)
        cosignature = self._key.cosign(signed.note.text, self._now_s())
        log_signatures = [signature for _, signature in verify_note(signed.note, keys)]
        note = Note(signed.note.text, (*log_signatures, cosignature)).encode()
        if not self._store.advance(checkpoint.origin, last_size, _head(signed, note)):
            now = self._store.load(checkpoint.origin)
            return _conflict(now.size if now else 0)
        return Reply(200, cosignature.line.encode())


def _check_growth(request: Request, last_root: bytes, signed: SignedCheckpoint) -> None:
    """Raises PeerError unless the new head extends the last one of size `request.old`."""
    size, root = signed.checkpoint.size, signed.checkpoint.root
    if request.old:
        verify_consistency(request.old, size, last_root, root, request.proof)
    elif request.proof:
        raise PeerError("consistency proof refused", "from an empty log there is nothing to prove")
    elif size == 0 and root != EMPTY_ROOT:
        raise PeerError("checkpoint refused", "not the root of an empty log")


def _head(signed: SignedCheckpoint, note: bytes) -> WitnessHead:
    return WitnessHead(signed.checkpoint.size, signed.checkpoint.root, note)


def _conflict(size: int) -> Reply:
    return Reply(409, f"{size}\n".encode(), SIZE)


def _refusal(status: int, error: PeerError) -> Reply:
    return Reply(status, f"{error.what}: {error.why}\n".encode())
