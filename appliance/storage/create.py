"""What `interlock init` makes: an empty log with its keys. No daemon calls this (STYLE 4, habit 5)."""

from __future__ import annotations

import shutil
from pathlib import Path

from appliance.audit.checkpoint import Checkpoint, sign_checkpoint
from appliance.audit.merkle import EMPTY_ROOT
from appliance.audit.notes import NOTE_KEY, SigningKey
from appliance.audit.verify import CHECKPOINT
from appliance.domain.errors import CannotCreateError
from appliance.storage import log_schema as schema
from appliance.storage.durable import create_file, make_directory, sync_directory
from appliance.storage.keys import create_key, read_signing_key
from appliance.storage.sqlite import create_store, store_errors

LOG_KEY = "log"
"""Stem of the log's key files: `log.key`, `log.vkey`."""


def create_log_key(keys: Path, origin: str, seed: bytes | None = None) -> Path:
    """Makes the log's key pair in `keys`; returns the private file. `origin` names log and key for ever.

    Raises CannotCreateError if there is one already, ConfigError for an unusable name.
    """
    create_key(keys, LOG_KEY, origin, NOTE_KEY, seed)
    return keys / f"{LOG_KEY}.key"


def create_log(directory: Path, key_file: Path) -> None:
    """Makes an empty log: database, lock, signed checkpoint of size 0. `directory` must not exist yet.

    It is built beside its place and renamed: a crash leaves no half a log, only `.<name>.new`, which the
    next try removes. Raises CannotCreateError, ConfigError (key), StoreError.
    """
    key = read_signing_key(key_file)
    if directory.exists():
        raise CannotCreateError("the audit log was not created", f"it exists already ({directory})")
    building = directory.with_name(f".{directory.name}.new")
    try:
        shutil.rmtree(building, ignore_errors=True)
        make_directory(building, 0o700)
        _fill(building, key)
        building.rename(directory)
        sync_directory(directory.parent)
    except OSError as error:
        why = f"{error.strerror or error} ({directory})"
        raise CannotCreateError("the audit log was not created", why) from error


def _fill(building: Path, key: SigningKey) -> None:
    note = sign_checkpoint(Checkpoint(key.name, 0, EMPTY_ROOT), key)
    path = building / schema.DATABASE
    connection = create_store(path, schema.VERSION, schema.SCHEMA)
    with store_errors(path):
        with connection:
            connection.execute("INSERT INTO meta (name, value) VALUES ('origin', ?)", (key.name,))
            values = (EMPTY_ROOT, note)
            connection.execute("INSERT INTO head (id, size, root, checkpoint) VALUES (1, 0, ?, ?)", values)
        connection.close()
    create_file(building / schema.LOCK, b"", 0o600)
    create_file(building / CHECKPOINT, note)
