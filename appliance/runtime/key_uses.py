"""What a key was used for outside the core, on its way into the log: one small file a use.

Whoever uses the key writes the file, durably, before what was signed is given away; the core, which alone
writes the log, takes it up within seconds, or at its next start. A crash between entry and removal tells of a
use twice, never not at all; `used_ns` shows that it is one.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path

from appliance.audit.key_notes import USED
from appliance.audit.notes import VerifierKey
from appliance.domain.errors import StoreError
from appliance.ports import Scribe
from appliance.storage.durable import make_directory, read_file, remove_file, write_file

MOST = 16
"""Taken up at a time."""

_MAX = 4096


def record_use(
    directory: Path, purpose: str, key: VerifierKey, used_ns: int, facts: Mapping[str, object]
) -> None:
    """Owes the log an entry. facts: plain values. Raises StoreError: then nothing may be given away."""
    make_directory(directory, 0o700)
    data = {"purpose": purpose, "key": key.vkey, "used_ns": str(used_ns), **facts}
    write_file(directory / f"{used_ns}-{os.getpid()}.json", json.dumps(data).encode(), 0o600)


class KeyUses:
    """Uses waiting in a directory that need not exist."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._told: set[Path] = set()  # a file that cannot be removed is one entry of this process, not many

    async def look(self, scribe: Scribe) -> int:
        """Makes an entry of each, oldest first; returns how many. Waits for disks in threads alone.

        Raises StoreError; what was not removed is told again by the next process.
        """
        waiting = await asyncio.to_thread(self._read)
        for path, data in waiting:
            await scribe.note("key", {"act": USED, **data}).durable()
            self._told.add(path)
            await asyncio.to_thread(remove_file, path)
        return len(waiting)

    def _read(self) -> list[tuple[Path, dict[str, object]]]:
        if not self._directory.is_dir():
            return []
        paths = [path for path in sorted(self._directory.glob("[0-9]*.json")) if path not in self._told]
        return [(path, _facts(path)) for path in paths[:MOST]]


def _facts(path: Path) -> dict[str, object]:
    """What cannot be read is told by its name: something was there."""
    try:
        found = json.loads((read_file(path, _MAX) or b"").decode("ascii"))
    except (StoreError, ValueError):
        found = None
    plain = isinstance(found, dict) and all(isinstance(value, str | int) for value in found.values())
    return found if plain and found is not None else {"unreadable": path.name}
