"""The public keys a check believes: those of this appliance, or those brought along with --trust DIR."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from appliance.audit.checkpoint import SignedCheckpoint
from appliance.audit.key_chain import KeyChain, rooted_in
from appliance.audit.key_notes import KIND, MAX_KEY_NOTE, MAX_ROTATIONS, split_rotations
from appliance.audit.notes import COSIGNATURE_KEY, NOTE_KEY, VerifierKey, parse_note
from appliance.audit.verify import CHECKPOINT, COSIGNED
from appliance.domain.errors import ConfigError, PeerError, StoreError, UsageError
from appliance.runtime.audit_view import stamp
from appliance.runtime.paths import Paths
from appliance.storage.durable import read_file
from appliance.storage.keys import read_verifier
from appliance.storage.log_reader import LogReader
from appliance.storage.log_rotations import rotation_notes

LOG, WITNESS, EXPORT = "log.vkey", "witness.vkey", "export.vkey"
ROTATIONS = "rotations"
"""In a --trust directory, if the log.vkey there is not the newest: what `interlock keys chain` prints."""

_BRING = "give --trust DIR with the log.vkey that the owner gave you, not one from what is to be checked"


class TrustedKeys(Struct, frozen=True):
    """One key per purpose; witness and export may be missing where nobody has any.

    log: the first one, which leads to all later ones.  keys: the log's, from `log` on.
    rotations: the notes that led there, oldest first.
    """

    log: VerifierKey
    keys: KeyChain
    rotations: tuple[bytes, ...] = ()
    witness: VerifierKey | None = None
    export: VerifierKey | None = None

    @property
    def witnesses(self) -> tuple[VerifierKey, ...]:
        """For `open_checkpoint`: empty without a witness."""
        return () if self.witness is None else (self.witness,)


class Head(Struct, frozen=True):
    """A published checkpoint, verified. witnessed: the witness's co-signature is on it and good."""

    note: bytes
    opened: SignedCheckpoint
    witnessed: bool

    @property
    def size(self) -> int:
        """Number of entries it covers."""
        return self.opened.checkpoint.size


def read_trust(paths: Paths, given: str | None) -> TrustedKeys:
    """Keys in `given`, else this appliance's. Raises ConfigError, UsageError if there is neither."""
    directory = Path(given) if given is not None else paths.trust
    if given is None and not (directory / LOG).exists():
        raise UsageError("there is no key to check against", f"no appliance here ({paths.state})", _BRING)
    if not (directory / LOG).exists():
        raise ConfigError("there is no key to check against", f"no such file ({directory / LOG})", _BRING)
    log = read_verifier(directory / LOG, NOTE_KEY)
    rotations = _told(paths) if given is None else _given(directory / ROTATIONS)
    try:
        chain = rooted_in(log, rotations)
    except PeerError as error:
        why = f"{error.why} ({directory})"
        raise ConfigError("nothing leads from the first key to the last", why, "interlock verify") from error
    return TrustedKeys(
        log,
        chain,
        rotations,
        read_verifier(directory / WITNESS, COSIGNATURE_KEY) if (directory / WITNESS).exists() else None,
        read_verifier(directory / EXPORT, NOTE_KEY) if (directory / EXPORT).exists() else None,
    )


def log_chain(paths: Paths) -> tuple[KeyChain, tuple[bytes, ...]]:
    """The keys this appliance's log has had, from the trusted one on, and the notes that led from one to
    the next. Raises ConfigError, StoreError."""
    trust = read_trust(paths, None)
    return trust.keys, trust.rotations


def _told(paths: Paths) -> tuple[bytes, ...]:
    if not paths.log.is_dir():
        return ()
    reader = LogReader(paths.log)
    try:
        return tuple(rotation_notes(entry.body for entry in reader.entries_of_kind(KIND)))
    finally:
        reader.close()


def _given(path: Path) -> tuple[bytes, ...]:
    data = read_file(path, MAX_KEY_NOTE * MAX_ROTATIONS)
    try:
        return () if data is None else tuple(split_rotations(data))
    except PeerError as error:
        raise ConfigError("the rotations cannot be used", f"{error.why} ({path})", _BRING) from error


def best_head(reader: LogReader, trust: TrustedKeys, stop: int) -> Head:
    """The checkpoint to prove entries below `stop` against: the witness's if it covers them, else the log's.

    Raises StoreError if the log has none that its own key verifies.
    """
    cosigned = _head(reader, COSIGNED, trust, witnessed=True) if trust.witness is not None else None
    if cosigned is not None and cosigned.size >= stop:
        return cosigned
    own = _head(reader, CHECKPOINT, trust, witnessed=False)
    if own is None:
        raise StoreError("the log has no checkpoint", "the file is missing", "interlock audit verify")
    return own


def _head(reader: LogReader, name: str, trust: TrustedKeys, *, witnessed: bool) -> Head | None:
    note = reader.file(name)
    if note is None:
        return None
    try:
        return Head(note, trust.keys.open(note, trust.witnesses if witnessed else ()), witnessed)
    except PeerError as error:
        raise StoreError(f"the log's {name} cannot be used", error.why, "interlock audit verify") from error


def cosigned_by(note: bytes, trust: TrustedKeys) -> str:
    """Who of ours co-signed a checkpoint, and when by its own clock; empty if nobody did.

    Raises PeerError if the co-signature is bad.
    """
    marks = {(key.name, key.key_id) for key in trust.witnesses}
    if not any((each.name, each.key_id) in marks for each in parse_note(note).signatures):
        return ""
    key, signature = trust.keys.open(note, trust.witnesses).cosigned[0]
    return f"{key.name} at {stamp(signature.time_s * 10**9)}"


def read_given(path: str, what: str, limit: int) -> bytes:
    """A file named on the command line. Raises UsageError if there is none, or it is too long to be one."""
    try:
        data = read_file(Path(path), limit)
    except StoreError as error:
        raise UsageError(f"{what} cannot be read", error.why, f"check the path {path}") from error
    if data is None:
        raise UsageError(f"{what} cannot be read", f"no such file ({path})", "check the path")
    return data
