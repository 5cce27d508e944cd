"""Key files: Go's private-note form in a file of mode 0600, verifier keys as one line of text.

Private keys never lie below a directory that is served.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from appliance.audit.notes import (
    COSIGNATURE_KEY,
    NOTE_KEY,
    SigningKey,
    VerifierKey,
    parse_private,
    parse_vkey,
)
from appliance.audit.verify import KeyText
from appliance.domain.errors import ConfigError, PeerError
from appliance.storage.durable import create_file, make_directory, open_existing, read_file

INIT = "interlock init"
_MAX = 4096


def create_key(directory: Path, stem: str, name: str, kind: int, seed: bytes | None = None) -> VerifierKey:
    """Makes `stem.key` (private, 0600) and `stem.vkey` in `directory`, which becomes 0700 if it is new.

    kind: NOTE_KEY for a log, COSIGNATURE_KEY for a witness.  seed: 32 random bytes unless given.
    Raises CannotCreateError rather than replace a key, ConfigError for a name no note can carry.
    """
    try:
        key = SigningKey(name, seed or secrets.token_bytes(32))
    except PeerError as error:
        raise ConfigError(f"{name!r} cannot be a key's name", error.why) from error
    make_directory(directory, 0o700)
    create_file(directory / f"{stem}.key", f"{key.private_text()}\n".encode(), 0o600)
    create_file(directory / f"{stem}.vkey", f"{key.verifier(kind).vkey}\n".encode(), 0o644)
    return key.verifier(kind)


def read_signing_key(path: Path, do: str = INIT) -> SigningKey:
    """Raises ConfigError naming the file: absent (`do` makes one), empty, not ours, not 0600, or no key."""
    descriptor = open_existing(path, os.O_RDONLY | os.O_NONBLOCK, "the signing key", do)
    try:
        wrong = _wrong_owner(os.fstat(descriptor))
        data = b"" if wrong else os.read(descriptor, _MAX)
    finally:
        os.close(descriptor)
    if not wrong and not data:
        wrong = "the file is empty"
    if wrong:
        own = "use a key file of your own with mode 0600"
        raise ConfigError("the signing key cannot be used", f"{wrong} ({path})", own)
    try:
        return parse_private(data.decode("ascii").removesuffix("\n"))
    except UnicodeDecodeError as error:
        raise ConfigError("the signing key cannot be used", f"it is not text ({path})") from error
    except PeerError as error:
        raise ConfigError("the signing key cannot be used", f"{error.why} ({path})") from error


def read_key_text(path: Path) -> KeyText:
    """The text of a verifier key with its place, for `verify`. Raises ConfigError if there is none."""
    data = read_file(path, _MAX)
    if data is None:
        raise ConfigError("a verifier key is missing", f"no such file ({path})", INIT)
    return KeyText(str(path), data.decode("utf-8", "replace"))


def read_verifier(path: Path, kind: int) -> VerifierKey:
    """The key in a `.vkey` file. Raises ConfigError naming the file."""
    text = read_key_text(path).text
    try:
        key = parse_vkey(text.removesuffix("\n"))
    except PeerError as error:
        raise ConfigError("a verifier key cannot be used", f"{error.why} ({path})") from error
    if key.kind != kind:
        wanted = {NOTE_KEY: "a log's key", COSIGNATURE_KEY: "a witness's key"}[kind]
        raise ConfigError("a verifier key cannot be used", f"it is not {wanted} ({path})")
    return key


def _wrong_owner(status: os.stat_result) -> str:
    if not stat.S_ISREG(status.st_mode):
        return "it is not a regular file"
    if status.st_uid != os.geteuid():
        return f"it belongs to user {status.st_uid}"
    if stat.S_IMODE(status.st_mode) & 0o177:
        return f"its mode is {stat.S_IMODE(status.st_mode):04o}, not 0600"
    return ""
