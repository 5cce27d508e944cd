"""Signed notes and their keys (C2SP signed-note, tlog-cosignature; AUDIT-FORMATS 2 and 5).

    <text, ends in \\n> \\n  — <key name> base64(key id[4] ‖ signature) \\n  …

Every Ed25519 decision of the project is taken by `ed25519_verifies`: libraries disagree on 165 of 914
known edge cases, so one of them decides, always (AUDIT-FORMATS 12). Parsing is stricter than Go's: base64
has one spelling, hexadecimal is lower case, and every signature by a known key must be good, so that no
changed byte goes unnoticed.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Sequence

from msgspec import Struct
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey as _Ed25519Key
from nacl.signing import VerifyKey as _Ed25519VerifyKey

from appliance.domain.errors import PeerError

NOTE_KEY = 1
COSIGNATURE_KEY = 4
MAX_NOTE = 64 * 1024
MAX_SIGNATURES = 100

_ID = 4
_TIME = 8
_PUBLIC = 32
_SIGNATURE = 64
_DASH = "\u2014 "
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f]")
_HEX = re.compile("[0-9a-f]{8}")


class Signature(Struct, frozen=True):
    """One signature line. blob: without the key id; a cosignature's starts with its time."""

    name: str
    key_id: bytes
    blob: bytes

    @property
    def line(self) -> str:
        """The line as it stands in a note, with its newline."""
        return f"{_DASH}{self.name} {encode64(self.key_id + self.blob)}\n"

    @property
    def time_s(self) -> int:
        """POSIX seconds a cosignature claims; verify first."""
        return int.from_bytes(self.blob[:_TIME], "big")


class Note(Struct, frozen=True):
    """A parsed note; its signatures are claims until `verify_note` has looked at them."""

    text: str
    signatures: tuple[Signature, ...]

    def encode(self) -> bytes:
        """The note as bytes."""
        return (self.text + "\n" + "".join(signature.line for signature in self.signatures)).encode()


class VerifierKey(Struct, frozen=True):
    """A public key with its name. kind: NOTE_KEY or COSIGNATURE_KEY."""

    name: str
    kind: int
    public: bytes

    @property
    def key_id(self) -> bytes:
        """The four bytes that mark this key's signatures."""
        return _key_id(self.name, self.kind, self.public)

    @property
    def vkey(self) -> str:
        """The key's text form, without newline."""
        return f"{self.name}+{self.key_id.hex()}+{encode64(bytes([self.kind]) + self.public)}"

    def verifies(self, text: str, blob: bytes) -> bool:
        """True if `blob` is this key's signature of a note's text."""
        if self.kind == NOTE_KEY:
            return ed25519_verifies(self.public, text.encode(), blob)
        time_s = int.from_bytes(blob[:_TIME], "big")
        if len(blob) != _TIME + _SIGNATURE or time_s >= 2**63:
            return False
        return ed25519_verifies(self.public, _cosigned(text, time_s), blob[_TIME:])


class SigningKey:
    """A private key with its name; neither shown nor compared by accident."""

    __slots__ = ("_key", "name", "public")

    def __init__(self, name: str, seed: bytes) -> None:
        """`seed`: 32 secret bytes. Raises PeerError for a name no note can carry."""
        _check_name(name)
        self.name = name
        self._key = _Ed25519Key(seed)
        self.public = bytes(self._key.verify_key)

    def __repr__(self) -> str:
        return f"SigningKey({self.name!r})"

    def verifier(self, kind: int = NOTE_KEY) -> VerifierKey:
        """The public half, to sign notes or to cosign checkpoints."""
        return VerifierKey(self.name, kind, self.public)

    def private_text(self) -> str:
        """Go's private form, without newline: what the key file holds."""
        key_id = self.verifier().key_id.hex()
        return f"PRIVATE+KEY+{self.name}+{key_id}+{encode64(bytes([NOTE_KEY]) + bytes(self._key))}"

    def sign(self, text: str) -> Signature:
        """Signature of a note's text; the same text gives the same bytes."""
        blob = self._key.sign(text.encode()).signature
        return Signature(self.name, self.verifier().key_id, blob)

    def cosign(self, text: str, time_s: int) -> Signature:
        """A cosignature/v1 of a checkpoint's text as of POSIX time `time_s`."""
        blob = time_s.to_bytes(_TIME, "big") + self._key.sign(_cosigned(text, time_s)).signature
        return Signature(self.name, self.verifier(COSIGNATURE_KEY).key_id, blob)


def ed25519_verifies(public: bytes, message: bytes, signature: bytes) -> bool:
    """The one Ed25519 decision (libsodium through PyNaCl): no cofactor, no small order, no malleable s."""
    if len(public) != _PUBLIC or len(signature) != _SIGNATURE:
        return False
    try:
        _Ed25519VerifyKey(public).verify(message, signature)
    except BadSignatureError:
        return False
    return True


def parse_vkey(text: str) -> VerifierKey:
    """`name+hex8+base64(kind ‖ public)` → the key. Raises PeerError naming the part that is wrong."""
    name, _, rest = text.partition("+")
    hex_id, _, encoded = rest.partition("+")
    _check_name(name)
    raw = decode64(encoded, "the key")
    if len(raw) != 1 + _PUBLIC or raw[0] not in (NOTE_KEY, COSIGNATURE_KEY):
        raise PeerError("not a verifier key", "neither an Ed25519 note key nor a cosignature key")
    key = VerifierKey(name, raw[0], raw[1:])
    if not _HEX.fullmatch(hex_id) or hex_id != key.key_id.hex():
        raise PeerError("not a verifier key", "name and key do not hash to the key id it carries")
    return key


def parse_private(text: str) -> SigningKey:
    """Go's private form → the key. Raises PeerError; no message contains any of the text."""
    parts = text.split("+", 4)
    if len(parts) != 5 or parts[:2] != ["PRIVATE", "KEY"]:
        raise PeerError("not a signing key", "it does not start with PRIVATE+KEY+")
    raw = decode64(parts[4], "the seed")
    if len(raw) != 1 + _PUBLIC or raw[0] not in (NOTE_KEY, COSIGNATURE_KEY):
        raise PeerError("not a signing key", "not an Ed25519 seed")
    key = SigningKey(parts[2], raw[1:])
    if parts[3] != key.verifier(raw[0]).key_id.hex():
        raise PeerError("not a signing key", "name and key do not hash to the key id it carries")
    return key


def parse_note(data: bytes) -> Note:
    """Splits a note at its last blank line. Raises PeerError naming the line; verifies nothing."""
    if len(data) > MAX_NOTE:
        raise PeerError("not a signed note", f"{len(data)} bytes, the cap is {MAX_NOTE}")
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PeerError("not a signed note", f"byte {error.start} is not UTF-8") from error
    control = _CONTROL.search(whole)
    if control:
        line = whole.count("\n", 0, control.start()) + 1
        raise PeerError("not a signed note", f"a control character (line {line})")
    text, blank, tail = whole.rpartition("\n\n")
    if not blank or not tail.endswith("\n"):
        raise PeerError("not a signed note", "no blank line with signatures below it")
    first = text.count("\n") + 3
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise PeerError("not a signed note", f"more than {MAX_SIGNATURES} signatures")
    return Note(text + "\n", tuple(parse_signature(line, first + at) for at, line in enumerate(lines)))


def parse_signature(line: str, number: int) -> Signature:
    """One signature line without its newline; `number` is for the message of the PeerError."""
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space:
        raise PeerError("not a signed note", f"not a signature line (line {number})")
    _check_name(name, f" (line {number})")
    raw = decode64(encoded, f"the signature (line {number})")
    if len(raw) <= _ID:
        raise PeerError("not a signed note", f"an empty signature (line {number})")
    return Signature(name, raw[:_ID], raw[_ID:])


def verify_note(note: Note, keys: Sequence[VerifierKey]) -> list[tuple[VerifierKey, Signature]]:
    """The signatures by known keys, all of them verified; signatures of others are ignored.

    Raises PeerError if one by a known key is bad, or if there is none by any of them.
    """
    known = {(key.name, key.key_id): key for key in keys}
    good = []
    for signature in note.signatures:
        key = known.get((signature.name, signature.key_id))
        if key is None:
            continue
        if not key.verifies(note.text, signature.blob):
            raise PeerError("signature refused", f"the signature of {key.name} does not match the text")
        good.append((key, signature))
    if not good:
        names = ", ".join(sorted({key.name for key in keys})) or "no key at all"
        raise PeerError("signature refused", f"no signature by a known key ({names})")
    return good


def encode64(raw: bytes) -> str:
    """Standard base64 with padding."""
    return binascii.b2a_base64(raw, newline=False).decode("ascii")


def decode64(text: str, what: str) -> bytes:
    """Inverse of `encode64`, for that one spelling only. Raises PeerError naming `what`."""
    try:
        raw = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise PeerError("not base64", f"{what}: {error}") from error
    if encode64(raw) != text:
        raise PeerError("not base64", f"{what}: not the canonical spelling")
    return raw


def _key_id(name: str, kind: int, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:_ID]


def _cosigned(text: str, time_s: int) -> bytes:
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()


def _check_name(name: str, where: str = "") -> None:
    if not name or "+" in name or any(part.isspace() or part < " " for part in name):
        raise PeerError("not a key name", f"empty, or with a space or a plus sign{where}")
