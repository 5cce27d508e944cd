"""Every key of this appliance: what it is for, where it lies, since when, and whether it may still be used.

One key, one purpose (U13). Private halves lie in `keys/`, mode 0600, and never leave; the operator's never
comes here. Public halves that are believed lie in `trust/`, the operator's in guard.toml.
"""

from __future__ import annotations

import hashlib
import stat
from functools import partial
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from appliance.audit.key_chain import KeyChain, may_revoke
from appliance.audit.key_notes import (
    KIND,
    OPERATOR,
    REVOKED,
    ROTATED,
    Revocation,
    note_of,
    open_revocation,
    open_rotation,
)
from appliance.audit.notes import COSIGNATURE_KEY, NOTE_KEY, VerifierKey
from appliance.audit.records import decode_entry
from appliance.domain.errors import ConfigError, PeerError, StoreError
from appliance.runtime.audit_trust import read_trust
from appliance.runtime.operator_key import operator_key
from appliance.runtime.paths import Paths
from appliance.storage.keys import read_verifier
from appliance.storage.log_reader import LogReader

IN_USE, RETIRED, GONE, MISSING = "in use", "retired", "revoked", "missing"
UNREADABLE = "unreadable"


class Purpose(NamedTuple):
    """kind: of its signatures.  signs: what, and nothing else."""

    kind: int
    signs: str


PURPOSES = {
    "log": Purpose(NOTE_KEY, "the log's checkpoints, and which key follows it"),
    "export": Purpose(NOTE_KEY, "manifests of exported bundles"),
    "witness": Purpose(COSIGNATURE_KEY, "that a log only grew, as the collector here saw it"),
    "mirror": Purpose(COSIGNATURE_KEY, "that the collector here has stored a log"),
    "operator": Purpose(NOTE_KEY, "commands on the console, and that a key is not believed any more"),
}


class KeyRow(Struct, frozen=True):
    """One key. file: empty where there is none here.  mode: as `stat` has it, empty without a file.

    created_ns: UTC of the file or of the rotation, 0 if unknown.  detail: until when, or who says so.
    """

    name: str
    purpose: str
    key: VerifierKey | None
    file: str
    mode: str
    created_ns: int
    state: str
    detail: str = ""

    @property
    def key_id(self) -> str:
        """As signatures and the log name it."""
        return "" if self.key is None else named(self.key)


def named(key: VerifierKey) -> str:
    """The id in signatures; of an operator's key the fingerprint that the log names it by."""
    if key.name == OPERATOR:
        return hashlib.sha256(key.public).hexdigest()[:16]
    return key.key_id.hex()


def in_force(paths: Paths) -> dict[str, str]:
    """purpose → verifier key, for the entry of a start; of what is missing nothing.

    UNREADABLE for a file that is damaged: a core that has orders to cancel starts all the same.
    """
    own = [name for name in PURPOSES if name != "operator"]
    files = {name: (paths.keys / f"{name}.vkey", PURPOSES[name].kind) for name in own}
    for name in ("witness", "mirror"):
        files[f"upstream_{name}"] = paths.trust / f"{name}.vkey", COSIGNATURE_KEY
    looks = {name: partial(_vkey, path, kind) for name, (path, kind) in files.items()}
    found = {}
    for name, look in (looks | {"operator": partial(_operator_vkey, paths)}).items():
        try:
            vkey = look()
        except (ConfigError, StoreError):
            vkey = UNREADABLE
        if vkey:
            found[name] = vkey
    return found


def _vkey(path: Path, kind: int) -> str:
    return read_verifier(path, kind).vkey if path.exists() else ""


def _operator_vkey(paths: Paths) -> str:
    key = operator_key(paths)
    return "" if key is None else key.vkey


def key_rows(paths: Paths) -> list[KeyRow]:
    """The table. Raises ConfigError or StoreError for keys or a log that cannot be read."""
    reader = LogReader(paths.log)
    try:
        gone = dict[VerifierKey, Revocation]()
        for revocation in revocations(reader, operator_key(paths)):
            known = gone.get(revocation.key, revocation)
            gone[revocation.key] = min(known, revocation, key=lambda each: each.size)
        since = _rotated_at(reader)
    finally:
        reader.close()
    rows = _log_rows(paths, read_trust(paths, None).keys, since)
    rows += [_file_row(paths, name) for name in ("export", "witness", "mirror")]
    rows += _believed_rows(paths)
    operator = operator_key(paths)
    if operator is not None:
        signs, file = PURPOSES["operator"].signs, str(paths.guard_config)
        rows.append(KeyRow("operator", signs, operator, file, "", 0, IN_USE, "public half"))
    return [_marked(row, gone) for row in rows]


def revocations(reader: LogReader, operator: VerifierKey | None) -> list[Revocation]:
    """Those in the log that were said by somebody who may; `verify` complains about the others."""
    found = []
    for entry in reader.entries_of_kind(KIND):
        try:
            record = decode_entry(entry.body)
            if record.data.get("act") == REVOKED:
                revocation = open_revocation(note_of(record.data))
                may_revoke(revocation, operator, entry.index)
                found.append(revocation)
        except PeerError:
            continue
    return found


def _rotated_at(reader: LogReader) -> dict[VerifierKey, int]:
    """Keys that came by a rotation, and when."""
    since = {}
    for entry in reader.entries_of_kind(KIND):
        data = decode_entry(entry.body).data
        if data.get("act") == ROTATED:
            since[open_rotation(note_of(data)).new] = entry.utc_ns
    return since


def _log_rows(paths: Paths, chain: KeyChain, since: dict[VerifierKey, int]) -> list[KeyRow]:
    rows = []
    for era in chain.eras:
        if era.last is None:
            row = _file_row(paths, "log")
            created_ns = since.get(era.key, row.created_ns)
            rows.append(KeyRow(row.name, row.purpose, era.key, row.file, row.mode, created_ns, row.state))
        else:
            until = f"after {era.last} entries; its private half was replaced"
            signs = PURPOSES["log"].signs
            rows.append(KeyRow("log", signs, era.key, "", "", since.get(era.key, 0), RETIRED, until))
    return rows


def _file_row(paths: Paths, name: str) -> KeyRow:
    private, public = paths.keys / f"{name}.key", paths.keys / f"{name}.vkey"
    purpose = PURPOSES[name]
    if not private.exists():
        return KeyRow(name, purpose.signs, None, str(private), "", 0, MISSING)
    key = read_verifier(public, purpose.kind) if public.exists() else None
    return KeyRow(name, purpose.signs, key, str(private), *_facts(private), IN_USE)


def _believed_rows(paths: Paths) -> list[KeyRow]:
    """Of the upstream, where it is not the collector here."""
    rows = []
    for name in ("witness", "mirror"):
        path, own = paths.trust / f"{name}.vkey", paths.keys / f"{name}.vkey"
        if not path.exists():
            continue
        key = read_verifier(path, COSIGNATURE_KEY)
        if not own.exists() or read_verifier(own, COSIGNATURE_KEY) != key:
            signs = PURPOSES[name].signs.replace("the collector here", "the upstream")
            said = "the upstream's public half"
            rows.append(KeyRow(name, signs, key, str(path), *_facts(path), IN_USE, said))
    return rows


def _facts(path: Path) -> tuple[str, int]:
    status = path.stat()
    return f"{stat.S_IMODE(status.st_mode):04o}", status.st_mtime_ns


def _marked(row: KeyRow, gone: dict[VerifierKey, Revocation]) -> KeyRow:
    revocation = None if row.key is None else gone.get(row.key)
    if revocation is None:
        return row
    detail = f"not believed from entry {revocation.size} on, by {named(revocation.by)}"
    facts = (row.name, row.purpose, row.key, row.file, row.mode, row.created_ns)
    return KeyRow(*facts, GONE, detail)
