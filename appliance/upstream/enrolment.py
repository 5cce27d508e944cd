"""How a log comes to a collector, and how it goes on there under another key: one request in, one reply out.

    POST /enrol        a signed note by the log's own key, which is the proof that the sender has it

        interlock-enrol/v1
        <token, 64 hexadecimal digits>
        <vkey>

    POST /rotate-key   the rotation as it stands in the log (`audit.key_notes`)

A token is good once, for whichever log brings it first; bad, expired, used and unknown ones get one answer,
after the same work. It never gives a second key to an origin that is known: that takes a rotation, signed by
the key in force. Behind a rotation the old key cannot have anything co-signed, so that whoever stole it
cannot go on with the log; nor can it reach back behind what was co-signed already. Whoever has the key in
force can rotate it to his own: the first rotation is believed, and the owner's log then meets an alarm.

The bound on refusals is one for all: a stranger can keep tokens from being used, but nobody from being
witnessed; the owner can always enrol a log by its key (`interlock collector --enrol`).

    400  malformed        403  refused           404  unknown origin, or this collector takes no tokens
    409  the origin is enrolled already, or was co-signed further than the rotation says
    422  the rotation is of another history      429  too many refusals in a minute
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

from appliance.audit.key_chain import KeyChain
from appliance.audit.key_notes import MAX_KEY_NOTE, MAX_ROTATIONS, Rotation, open_rotation
from appliance.audit.notes import (
    NOTE_KEY,
    Note,
    SigningKey,
    VerifierKey,
    parse_note,
    parse_vkey,
    verify_note,
)
from appliance.domain.errors import PeerError, StoreError
from appliance.upstream.witness import Reply, WitnessHead

TOKEN_BYTES = 32
MAX_ORIGIN = 200
MAX_REFUSALS, REFUSALS_S = 20, 60
_ENROL = "interlock-enrol/v1"
_TOKEN = re.compile("[0-9a-f]{64}")
_REFUSED = Reply(403, b"this enrolment is refused\n")

Book: TypeAlias = dict[str, KeyChain]
"""origin → its keys; owned by the collector's one worker thread, which alone adds to it."""


class Kept(Protocol):
    """What must not be forgotten (`enrolment_store.EnrolmentStore`)."""

    def is_good(self, hashed: bytes, now_s: int) -> bool:
        """Whether a token may be used, by its hash."""
        ...

    def use(self, hashed: bytes, key: VerifierKey, now_s: int) -> bool:
        """Uses it up and enrols the log, both durable when it returns, or neither."""
        ...

    def logs(self) -> Sequence[VerifierKey]:
        """First keys of what was enrolled."""
        ...

    def add_rotation(self, origin: str, note: bytes) -> None:
        """Durable when it returns."""
        ...

    def rotations(self) -> Sequence[tuple[str, bytes]]:
        """All of them, in order."""
        ...


class Heads(Protocol):
    """The witness's memory, as far as a change of keys needs it."""

    def load(self, origin: str) -> WitnessHead | None:
        """The last head of an origin that was co-signed."""
        ...


def hash_token(token: str) -> bytes:
    """All that is ever kept of a token."""
    return hashlib.sha256(token.encode()).digest()


def sign_enrolment(token: str, key: SigningKey) -> bytes:
    """The request of a log. Raises PeerError for what is no token."""
    if not _TOKEN.fullmatch(token):
        raise PeerError("not a token", "it is not 64 hexadecimal digits")
    text = f"{_ENROL}\n{token}\n{key.verifier().vkey}\n"
    return Note(text, (key.sign(text),)).encode()


def parse_enrolment(data: bytes) -> tuple[str, VerifierKey, Note]:
    """Token, key and note of a request, its signature not verified. Raises PeerError."""
    if len(data) > MAX_KEY_NOTE:
        raise PeerError("not an enrolment", f"more than {MAX_KEY_NOTE} bytes")
    note = parse_note(data)
    lines = note.text.split("\n")
    if len(lines) != 4 or lines[0] != _ENROL or not _TOKEN.fullmatch(lines[1]):
        raise PeerError("not an enrolment", f"not {_ENROL} with a token and a key")
    key = parse_vkey(lines[2])
    if key.kind != NOTE_KEY or len(key.name.encode()) > MAX_ORIGIN:
        raise PeerError("not an enrolment", "not the key of a log")
    return lines[1], key, note


def read_book(roots: Mapping[str, Sequence[VerifierKey]], kept: Kept) -> Book:
    """The policy's logs and the enrolled ones, with every rotation that was taken.

    A rotation whose key the owner has since taken out of the policy leads nowhere and is passed over.
    """
    book = {origin: KeyChain.rooted(*keys) for origin, keys in roots.items()}
    for key in kept.logs():
        book.setdefault(key.name, KeyChain.rooted(key))
    for origin, note in kept.rotations():
        try:
            rotation = open_rotation(note)
            if origin in book and book[origin].era(rotation.old) is not None:
                book[origin] = book[origin].rotated(rotation)
        except PeerError as error:
            why = f"a rotation of {origin}: {error.why}"
            raise StoreError("the enrolment store is damaged", why) from error
    return book


class Enrolment:
    """Decides who is watched under which key. Calls block on the store; one at a time."""

    def __init__(
        self,
        kept: Kept,
        book: Book,
        heads: Heads,
        now_s: Callable[[], int],
        make_copy: Callable[[str], None],
        own_keys: Sequence[VerifierKey],
    ) -> None:
        """make_copy: an empty copy of a log, durable, before it is enrolled.  own_keys: the cosigners'."""
        self._kept = kept
        self._book = book
        self._heads = heads
        self._now_s = now_s
        self._make_copy = make_copy
        self._own = "".join(f"{key.vkey}\n" for key in own_keys).encode()
        self._refusals: deque[int] = deque(maxlen=MAX_REFUSALS)

    def enrol(self, body: bytes) -> Reply:
        """Decides one request with a token. Raises StoreError: the process ends."""
        now_s = self._now_s()
        if len(self._refusals) == MAX_REFUSALS and 0 <= now_s - self._refusals[0] < REFUSALS_S:
            return Reply(429, b"too many enrolments were refused: try again in a minute\n")
        try:
            token, key, note = parse_enrolment(body)
        except PeerError as error:
            return Reply(400, f"{error.what}: {error.why}\n".encode())
        hashed = hash_token(token)
        good = self._kept.is_good(hashed, now_s) & _possessed(note, key)  # both, whatever either says
        if not good:
            self._refusals.append(now_s)
            return _REFUSED
        if key.name in self._book:
            return Reply(409, b"this origin is enrolled already; its key changes by a rotation\n")
        self._make_copy(key.name)
        if not self._kept.use(hashed, key, now_s):
            return _REFUSED
        self._book[key.name] = KeyChain.rooted(key)
        return Reply(200, self._own)

    def rotate(self, body: bytes) -> Reply:
        """Decides one rotation; one that is known already is a success. Raises StoreError."""
        try:
            rotation = open_rotation(body)
        except PeerError as error:
            return Reply(400, f"{error.what}: {error.why}\n".encode())
        origin = rotation.old.name
        chain = self._book.get(origin)
        if chain is None:
            return Reply(404, b"this origin is not enrolled here\n")
        try:
            after = chain.rotated(rotation)
        except PeerError as error:
            return Reply(403, f"{error.what}: {error.why}\n".encode())
        if after == chain:
            return Reply(200, b"known\n")
        if refused := self._against_head(rotation) or _too_many(after):
            return refused
        self._kept.add_rotation(origin, body)
        self._book[origin] = after
        return Reply(200, b"taken\n")

    def _against_head(self, rotation: Rotation) -> Reply | None:
        """What was co-signed under the old key stays: no rotation reaches behind it."""
        head = self._heads.load(rotation.old.name)
        if head is None:
            return None
        if head.size > rotation.size + 1:
            return Reply(409, f"{head.size} entries are co-signed under the old key\n".encode())
        if head.size == rotation.size and head.root != rotation.root:
            return Reply(422, b"the entries before it are not those that were co-signed\n")
        return None


def _too_many(chain: KeyChain) -> Reply | None:
    return Reply(403, b"too many rotations\n") if len(chain.eras) > MAX_ROTATIONS else None


def _possessed(note: Note, key: VerifierKey) -> bool:
    try:
        verify_note(note, [key])
    except PeerError:
        return False
    return len(note.signatures) == 1
