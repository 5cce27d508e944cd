"""`venue.json` in the run-time directory: which account must be cancelled if the core cannot do it any more.

Written by the core before its first order, in memory (`/run`): the cancel-only process needs no
configuration, no log and no disk.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from appliance.domain.errors import StoreError


class VenueNote(Struct, frozen=True, forbid_unknown_fields=True):
    """A venue on this machine: its port and our account there."""

    kind: str
    port: int
    account: str


def write_note(path: Path, note: VenueNote | None) -> None:
    """Replaces the note as a whole; None: there is no venue outside the core."""
    if note is None:
        path.unlink(missing_ok=True)
        return
    temp = path.with_name(f".{path.name}.tmp")
    temp.write_bytes(msgspec.json.encode(note))
    temp.replace(path)


def read_note(path: Path) -> VenueNote | None:
    """None if there is none. Raises StoreError for a note that cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=VenueNote)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise StoreError("the note about the venue cannot be read", f"{error} ({path})") from error
