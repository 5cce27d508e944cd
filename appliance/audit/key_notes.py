"""What may be said about a key for good, as signed notes that become entries of the log (PRV, U13).

    interlock-rotation/v1          the old and the new log key sign it, both: continuity, and possession
    <origin>
    behind <number of entries before this one>
    <base64 root of those entries>
    old <vkey>
    new <vkey>

    interlock-revocation/v1        the operator's key signs it, or the key it is about
    <origin>
    key <vkey>
    from <number of entries a checkpoint may have that is still believed>
    next <vkey>                    only if the operator vouches for the key it was rotated to
    by <vkey of who signs>

A rotation names the very entries it stands behind: in another log, or at another place, it is refused. No
checkpoint can be taken for either: its second line is a size, theirs is a key's name and then a word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

from appliance.audit.checkpoint import parse_size
from appliance.audit.merkle import HASH
from appliance.audit.notes import (
    NOTE_KEY,
    Note,
    SigningKey,
    VerifierKey,
    decode64,
    encode64,
    parse_note,
    parse_vkey,
    verify_note,
)
from appliance.domain.errors import PeerError

KIND = "key"
"""Kind of the entries; `act` says which: ROTATED or REVOKED, with the note, or USED."""

ROTATED, REVOKED, USED = "rotated", "revoked", "used"
OPERATOR = "interlock-operator"
"""Name of every operator key: its signatures are told apart by the key, never by the name."""

MAX_KEY_NOTE = 4096
MAX_ROTATIONS = 1000
"""In one file; a key a day would take three years."""

_ROTATION = "interlock-rotation/v1"
_REVOCATION = "interlock-revocation/v1"


class Rotation(Struct, frozen=True):
    """From a log's key to its next. size, root: of the entries before the one that says so (32 bytes)."""

    size: int
    root: bytes
    old: VerifierKey
    new: VerifierKey

    @property
    def text(self) -> str:
        """What both keys sign."""
        lines = (
            _ROTATION, self.old.name, f"behind {self.size}", encode64(self.root), f"old {self.old.vkey}",
            f"new {self.new.vkey}",
        )  # fmt: skip
        return "".join(line + "\n" for line in lines)


class Revocation(Struct, frozen=True):
    """`key` is not believed for more than `size` entries. next: its successor, if `by` vouches for it."""

    origin: str
    key: VerifierKey
    size: int
    by: VerifierKey
    next: VerifierKey | None = None

    @property
    def text(self) -> str:
        """What `by` signs."""
        vouched = [] if self.next is None else [f"next {self.next.vkey}"]
        lines = (
            _REVOCATION, self.origin, f"key {self.key.vkey}", f"from {self.size}", *vouched,
            f"by {self.by.vkey}",
        )  # fmt: skip
        return "".join(line + "\n" for line in lines)


def sign_rotation(size: int, root: bytes, old: SigningKey, new: SigningKey) -> str:
    """The note of a rotation behind `size` entries. Raises PeerError for keys of two logs, or one key."""
    rotation = Rotation(size, root, old.verifier(), new.verifier())
    note = Note(rotation.text, (old.sign(rotation.text), new.sign(rotation.text))).encode()
    open_rotation(note)
    return note.decode()


def open_rotation(data: bytes) -> Rotation:
    """What a rotation says, signed by both keys it names; whether the old one is believed is not said here.

    Raises PeerError.
    """
    note = _note(data, _ROTATION, "rotation")
    lines = note.text.split("\n")
    if len(lines) != 7:
        raise PeerError("not a rotation", "it has not six lines")
    root = decode64(lines[3], "the root (line 4)")
    if len(root) != HASH:
        raise PeerError("not a rotation", f"the root has {len(root)} bytes (line 4)")
    old, new = _vkey(lines[4], "old "), _vkey(lines[5], "new ")
    rotation = Rotation(parse_size(_after(lines[2], "behind ")), root, old, new)
    if old.kind != NOTE_KEY or new.kind != NOTE_KEY or old.name != new.name or old.public == new.public:
        raise PeerError("rotation refused", "it does not lead from one key of a log to another of the same")
    if rotation.text != note.text:
        raise PeerError("not a rotation", "it is not spelled as it is signed")
    _signed_by(note, (old, new))
    return rotation


def split_rotations(data: bytes) -> list[bytes]:
    """The notes in a file of rotations, one behind the other; nothing in them is verified yet.

    Raises PeerError for a file that does not begin with one, or has more than MAX_ROTATIONS.
    """
    head = f"{_ROTATION}\n".encode()
    notes = [head + rest for rest in re.split(b"^" + re.escape(head), data, flags=re.MULTILINE)]
    if data and notes.pop(0) != head:
        raise PeerError("not a file of rotations", f"it does not begin with {_ROTATION} (line 1)")
    if len(notes) > MAX_ROTATIONS:
        raise PeerError("not a file of rotations", f"more than {MAX_ROTATIONS} of them")
    return notes if data else []


def sign_revocation(
    origin: str, key: VerifierKey, size: int, by: SigningKey, successor: VerifierKey | None = None
) -> str:
    """The note that says `key` is believed up to `size` entries of the log `origin`, and no further.

    Raises PeerError for what `open_revocation` would refuse.
    """
    revocation = Revocation(origin, key, size, by.verifier(), successor)
    note = Note(revocation.text, (by.sign(revocation.text),)).encode()
    open_revocation(note)
    return note.decode()


def open_revocation(data: bytes) -> Revocation:
    """What a revocation says, signed by who it names; who may say it is `key_chain`'s to decide.

    Raises PeerError.
    """
    note = _note(data, _REVOCATION, "revocation")
    lines = note.text.split("\n")
    if len(lines) not in (6, 7):
        raise PeerError("not a revocation", "it has neither five nor six lines")
    successor = _vkey(lines[4], "next ") if len(lines) == 7 else None
    size = parse_size(_after(lines[3], "from "))
    by = _vkey(lines[-2], "by ")
    revocation = Revocation(lines[1], _vkey(lines[2], "key "), size, by, successor)
    if by.kind != NOTE_KEY:
        raise PeerError("revocation refused", "a cosigner's key signs no notes")
    if successor is not None and (successor.public == revocation.key.public or by.name != OPERATOR):
        raise PeerError("revocation refused", "only the operator can vouch for another key")
    if revocation.text != note.text:
        raise PeerError("not a revocation", "it is not spelled as it is signed")
    _signed_by(note, (by,))
    return revocation


def note_of(data: Mapping[str, object]) -> bytes:
    """The note in the data of a key entry. Raises PeerError if there is none."""
    note = data.get("note")
    if not isinstance(note, str):
        raise PeerError("not a key entry", "it has no note")
    return note.encode("utf-8", "backslashreplace")


def _note(data: bytes, first: str, what: str) -> Note:
    if len(data) > MAX_KEY_NOTE:
        raise PeerError(f"not a {what}", f"{len(data)} bytes, the cap is {MAX_KEY_NOTE}")
    note = parse_note(data)
    if not note.text.startswith(f"{first}\n"):
        raise PeerError(f"not a {what}", f"it does not begin with {first} (line 1)")
    return note


def _signed_by(note: Note, keys: Sequence[VerifierKey]) -> None:
    """By each of these keys once, in this order, and by nobody else: a note has one spelling."""
    marks = [(signature.name, signature.key_id) for signature in note.signatures]
    if marks != [(key.name, key.key_id) for key in keys]:
        raise PeerError("signature refused", "it is not signed by each key it names, once and in order")
    verify_note(note, keys)


def _after(line: str, word: str) -> str:
    if not line.startswith(word):
        raise PeerError("not a key statement", f"a line does not begin with {word!r}")
    return line.removeprefix(word)


def _vkey(line: str, word: str) -> VerifierKey:
    return parse_vkey(_after(line, word))
