"""The rotations a log tells of, read from its entries: needed by its writer, its readers and its witness."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from appliance.audit.key_chain import KeyChain
from appliance.audit.key_notes import ROTATED, Rotation, note_of, open_rotation
from appliance.audit.notes import VerifierKey
from appliance.audit.records import decode_entry
from appliance.domain.errors import ConfigError, PeerError, StoreError

KEY_ENTRIES = "SELECT body FROM entries WHERE kind = 'key' ORDER BY idx"


def rotation_notes(bodies: Iterable[bytes]) -> Iterator[bytes]:
    """Notes of the rotations among key entries, oldest first. Raises StoreError for an entry that is none.

    Whether they hang together, and with whom, is for `KeyChain` to say.
    """
    for body in bodies:
        try:
            record = decode_entry(body)
            if record.data.get("act") == ROTATED:
                yield note_of(record.data)
        except PeerError as error:
            do = "interlock audit verify"
            raise StoreError("the log tells of its keys in an unknown way", error.why, do) from error


def chain_of(bodies: Iterable[bytes], own: VerifierKey, place: Path) -> KeyChain:
    """The keys this log has had, `own` the last of them. Raises ConfigError if another one is in force.

    The first of them is believed because the log has it: who it is to be trusted by is `verify`'s question.
    """
    try:
        rotations: list[Rotation] = [open_rotation(note) for note in rotation_notes(bodies)]
        chain = KeyChain.rooted(rotations[0].old if rotations else own)
        for rotation in rotations:
            chain = chain.rotated(rotation)
    except PeerError as error:
        why = f"{error.why} ({place})"
        raise StoreError("the log's keys contradict each other", why, "interlock audit verify") from error
    if rotations and chain.current != own:
        why = f"in force is {chain.current.key_id.hex()}, the file holds {own.key_id.hex()} ({place})"
        raise ConfigError("the signing key is not the one in force", why, "put the newest log.key there")
    return chain
