"""Changing the key that signs the log, so that a power cut at any moment leaves one key in force, and a log
that can be appended to. Whoever calls holds the log's lock (`log_writer.only_writer`).

    1  everything is published under the old key
    2  the next key is made beside it, `log.next.key`
    3  one entry says old and new, signed by both: from here on the new one is in force
    4  the checkpoint that covers this entry is signed by both, and published
    5  `log.key` and `log.vkey` are replaced, `log.next.key` removed: the old private key is gone

Cut before 3 is durable: `settle` removes the next key, the old one goes on. Cut after it: `settle` does 4 and
5, and each of them gives the same bytes again. The writer settles at every start, so nobody has to look.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

from appliance.audit.key_notes import KIND, ROTATED, Rotation, open_rotation, sign_rotation
from appliance.audit.notes import SigningKey
from appliance.audit.records import encode_entry
from appliance.ports import Entry
from appliance.storage.durable import REAL_IO, Io, create_file, remove_file, write_file
from appliance.storage.keys import read_signing_key
from appliance.storage.log_reader import LogReader
from appliance.storage.log_rotations import rotation_notes
from appliance.storage.log_store import LogStore
from appliance.storage.log_wire import Append, EntryRow

SOURCE = "keys"
"""Source of the entries written while no core runs."""


def rotate(
    key_file: Path,
    directory: Path,
    moment: tuple[int, int],
    *,
    io: Io = REAL_IO,
    vfs: str | None = None,
    seed: bytes | None = None,
) -> Rotation:
    """Steps 1 to 5. moment: UTC and monotonic nanoseconds.  seed: 32 random bytes unless given.

    Raises ConfigError (key, log), StoreError; after either, the next start of the writer settles it.
    """
    settle(key_file, directory, io, vfs)
    old = read_signing_key(key_file)
    store = LogStore(directory, old, io, vfs)
    try:
        for _ in store.publish():
            pass
        new = SigningKey(old.name, seed or secrets.token_bytes(32))
        create_file(_next(key_file), f"{new.private_text()}\n".encode(), 0o600, io)
        note = sign_rotation(store.head.size, store.head.root, old, new)
        append(store, moment, {"act": ROTATED, "purpose": "log", "note": note})
    finally:
        store.close()
    settle(key_file, directory, io, vfs)
    return open_rotation(note.encode())


def settle(
    key_file: Path,
    directory: Path,
    io: Io = REAL_IO,
    vfs: str | None = None,
    give_back: Callable[[], bool] = lambda: False,
) -> None:
    """Brings a rotation that was cut short to its end, or back to its beginning. Costs a look otherwise.

    Raises ConfigError, StoreError.
    """
    if not _next(key_file).exists():
        return
    new, old = read_signing_key(_next(key_file)), read_signing_key(key_file)
    if _is_told(directory, new):
        if new.public != old.public:
            store = LogStore(directory, new, io, vfs, give_back, also=old)
            try:
                for _ in store.publish():
                    pass
            finally:
                store.close()
            write_file(key_file, f"{new.private_text()}\n".encode(), 0o600, io)
        write_file(key_file.with_suffix(".vkey"), f"{new.verifier().vkey}\n".encode(), io=io)
    remove_file(_next(key_file), io)


def append(store: LogStore, moment: tuple[int, int], data: dict[str, object]) -> int:
    """Adds one key entry, durable when its index is returned. moment: UTC and monotonic nanoseconds."""
    index, number = store.size, store.sources.get(SOURCE, 0)
    entry = Entry(kind=KIND, utc_ns=moment[0], mono_ns=moment[1], data=data)
    row = EntryRow(KIND, moment[0], None, encode_entry(index, SOURCE, number, entry))
    store.commit([Append(index, SOURCE, number + 1, (row,), ())])
    return index


def _is_told(directory: Path, new: SigningKey) -> bool:
    """Whether the log has the entry of a rotation to this key: it was made for no other."""
    reader = LogReader(directory)
    try:
        notes = rotation_notes(entry.body for entry in reader.entries_of_kind(KIND))
        return any(open_rotation(note).new == new.verifier() for note in notes)
    finally:
        reader.close()


def _next(key_file: Path) -> Path:
    return key_file.with_name(f"{key_file.stem}.next.key")
