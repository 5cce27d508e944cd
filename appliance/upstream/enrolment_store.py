"""The collector's memory of tokens, of logs enrolled with them, and of how logs changed their keys.

tokens     SHA-256 of a token, never the token; used_s is set in the transaction that enrols the log
logs       origin and first key of what a token brought
rotations  notes in the order they were taken, of any log, those of the policy file included

A crash leaves a token unused and nothing enrolled, or used and the log enrolled: one transaction.
"""

from __future__ import annotations

import hmac
from pathlib import Path

from msgspec import Struct

from appliance.audit.notes import VerifierKey, parse_vkey
from appliance.domain.errors import CannotCreateError, PeerError, StoreError
from appliance.storage.durable import make_directory, sync_directory
from appliance.storage.sqlite import create_store, open_store, store_errors

DATABASE = "enrolment.db"
VERSION = 1
MAKE = "interlock collector --token"
MAX_TOKENS = 1000
"""That are neither used nor expired; every attempt looks at all that are kept."""

_SCHEMA = """
CREATE TABLE tokens (
    hash BLOB PRIMARY KEY, made_s INTEGER NOT NULL, expires_s INTEGER NOT NULL, used_s INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE logs (origin TEXT PRIMARY KEY, vkey TEXT NOT NULL, token BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE rotations (n INTEGER PRIMARY KEY, origin TEXT NOT NULL, note BLOB NOT NULL) STRICT;
"""


class Token(Struct, frozen=True):
    """A token as it is kept. used_s: when a log was enrolled with it, None if none was."""

    hash: bytes
    expires_s: int
    used_s: int | None


def has_enrolment_store(directory: Path) -> bool:
    """Whether there is one: a collector made before tokens has none."""
    return (directory / DATABASE).exists()


def create_enrolment_store(directory: Path) -> None:
    """Makes an empty store. Raises CannotCreateError if there is one; no daemon calls this."""
    make_directory(directory, 0o700)
    create_store(directory / DATABASE, VERSION, _SCHEMA).close()
    try:
        sync_directory(directory)
    except OSError as error:
        raise StoreError("the enrolment store is not durable", f"{error} ({directory})") from error


class EnrolmentStore:
    """Usable from one thread at a time, and beside another process that makes tokens."""

    def __init__(self, directory: Path, vfs: str | None = None) -> None:
        """Raises ConfigError if the store was never made."""
        self._path = directory / DATABASE
        self._connection = open_store(self._path, VERSION, do=MAKE, vfs=vfs)

    def close(self) -> None:
        """Lets go of the database."""
        with store_errors(self._path):
            self._connection.close()

    def add_token(self, hashed: bytes, now_s: int, expires_s: int) -> None:
        """Keeps a new token and forgets what expired unused. Raises CannotCreateError, StoreError."""
        with store_errors(self._path), self._connection:
            self._connection.execute("DELETE FROM tokens WHERE used_s IS NULL AND expires_s <= ?", (now_s,))
            open_ones = sum(token.used_s is None for token in self.tokens())
            if open_ones >= MAX_TOKENS:
                raise CannotCreateError("no token was made", f"{open_ones} are waiting to be used")
            values = (hashed, now_s, expires_s)
            self._connection.execute(
                "INSERT INTO tokens (hash, made_s, expires_s) VALUES (?, ?, ?)", values
            )

    def tokens(self) -> list[Token]:
        """All that are kept."""
        with store_errors(self._path):
            rows = self._connection.execute("SELECT hash, expires_s, used_s FROM tokens").fetchall()
        return [_token(row, self._path) for row in rows]

    def is_good(self, hashed: bytes, now_s: int) -> bool:
        """Whether a token may still be used. The time this takes does not depend on which it is."""
        good = False
        for token in self.tokens():
            usable = (token.used_s is None) & (now_s < token.expires_s)
            good |= hmac.compare_digest(token.hash, hashed) & usable
        return good

    def use(self, hashed: bytes, key: VerifierKey, now_s: int) -> bool:
        """Uses a token up and enrols the log, durably, both or neither; False if it is not good (any more),
        or the origin has a key already. Raises StoreError if it cannot be known."""
        with store_errors(self._path), self._connection:
            self._connection.execute(
                "UPDATE tokens SET used_s = ? WHERE hash = ? AND used_s IS NULL AND expires_s > ?"
                " AND NOT EXISTS (SELECT 1 FROM logs WHERE origin = ?)",
                (now_s, hashed, now_s, key.name),
            )
            if self._connection.changes() != 1:
                return False
            values = (key.name, key.vkey, hashed)
            self._connection.execute("INSERT INTO logs (origin, vkey, token) VALUES (?, ?, ?)", values)
        return True

    def logs(self) -> list[VerifierKey]:
        """First keys of the logs that tokens brought. Raises StoreError for a row that is none."""
        with store_errors(self._path):
            rows = self._connection.execute("SELECT vkey FROM logs ORDER BY origin").fetchall()
        try:
            return [parse_vkey(str(row[0])) for row in rows]
        except PeerError as error:
            raise StoreError("the enrolment store is damaged", f"{error.why} ({self._path})") from error

    def add_rotation(self, origin: str, note: bytes) -> None:
        """Keeps a rotation behind those before it; durable when it returns."""
        with store_errors(self._path), self._connection:
            self._connection.execute("INSERT INTO rotations (origin, note) VALUES (?, ?)", (origin, note))

    def rotations(self) -> list[tuple[str, bytes]]:
        """(origin, note), oldest first."""
        with store_errors(self._path):
            rows = self._connection.execute("SELECT origin, note FROM rotations ORDER BY n").fetchall()
        return [(str(origin), note if isinstance(note, bytes) else b"") for origin, note in rows]


def _token(row: tuple[object, ...], path: Path) -> Token:
    hashed, expires_s, used_s = row
    if not (isinstance(hashed, bytes) and isinstance(expires_s, int) and isinstance(used_s, int | None)):
        raise StoreError("the enrolment store is damaged", f"a token of the wrong form ({path})")
    return Token(hashed, expires_s, used_s)
