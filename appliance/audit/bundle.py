"""A range of the log as files an auditor takes away: which there are, and the signed manifest over them. R1.

    README.txt      what this is and how to check it without us
    entries.jsonl   the stored bytes of entries [first, stop), one a line: canonical JSON has no line feed
    checkpoint      the signed head the entries are proven against, co-signed by the witness if it has seen it
    tile/…          every C2SP tile an inclusion proof of any of these entries can ask for; hashes only
    trust/*.vkey    the public keys; to be compared with those the owner gave the auditor
    trust/rotations if the log has changed its key: how each led to the next, up to trust/log.vkey
    SHA256SUMS      of all files above, as `sha256sum -c` reads it
    manifest        a signed note: the facts, and the hash of SHA256SUMS

The range is one of entry numbers, so nothing inside can be left out: it reaches from the first to the last
entry of the asked time, and what a stepped clock dated otherwise in between is in it and counted.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from msgspec import Struct

from appliance.audit.checkpoint import parse_size
from appliance.audit.merkle import HASH
from appliance.audit.notes import decode64, encode64
from appliance.audit.tiles import WIDTH, Tile, items, tile_of
from appliance.domain.errors import PeerError

README, ENTRIES, HEAD, SUMS, MANIFEST = "README.txt", "entries.jsonl", "checkpoint", "SHA256SUMS", "manifest"
LOG_KEY, WITNESS_KEY, EXPORT_KEY = "trust/log.vkey", "trust/witness.vkey", "trust/export.vkey"
ROTATIONS = "trust/rotations"
TITLE = "interlock audit export v1"
EXPORT_NAME = "/export"
"""The key that signs manifests is named after the log: `<origin>/export`. It signs nothing else."""

_SUM = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9._/-]{1,200})")
_HEX = re.compile(r"[0-9a-f]{64}")
_NS = re.compile(r"0|-?[1-9][0-9]{0,18}")


class Manifest(Struct, frozen=True, kw_only=True):
    """What a bundle says it is. Entries [first, stop) of the tree (size, root); times in UTC nanoseconds.

    outside: entries in it that are dated outside from_ns ≤ utc_ns < to_ns.  witness: who co-signed the
    checkpoint, empty if nobody.  sums: SHA-256 of SHA256SUMS, hexadecimal.
    """

    origin: str
    first: int
    stop: int
    from_ns: int
    to_ns: int
    outside: int
    made_ns: int
    size: int
    root: bytes
    witness: str
    sums: str

    @property
    def text(self) -> str:
        """The note's text."""
        lines = (
            TITLE,
            f"origin {self.origin}",
            f"entries {self.first} {self.stop}",
            f"time {self.from_ns} {self.to_ns}",
            f"outside {self.outside}",
            f"made {self.made_ns}",
            f"tree {self.size} {encode64(self.root)}",
            f"witness {self.witness}",
            f"sha256sums {self.sums}",
        )
        return "".join(f"{line}\n" for line in lines)


def parse_manifest(text: str) -> Manifest:
    """Reads a manifest's text; its signature is the caller's. Raises PeerError for any other text."""
    values: dict[str, list[str]] = {}
    for line in text.split("\n")[1:-1]:
        name, _, rest = line.partition(" ")
        values[name] = [rest] if name in ("origin", "witness") else rest.split(" ")
    try:
        (origin,), (witness,), (sums,) = values["origin"], values["witness"], values["sha256sums"]
        first, stop = (parse_size(each) for each in values["entries"])
        from_ns, to_ns = (_nanoseconds(each) for each in values["time"])
        (outside,), (made,), (size, root) = values["outside"], values["made"], values["tree"]
        found = Manifest(
            origin=origin, first=first, stop=stop, from_ns=from_ns, to_ns=to_ns, witness=witness, sums=sums,
            outside=parse_size(outside), made_ns=_nanoseconds(made), size=parse_size(size),
            root=decode64(root, "the root"),
        )  # fmt: skip
    except (KeyError, ValueError) as error:
        raise PeerError("not a manifest", f"a line is missing or wrong ({error})") from error
    whole = found.text == text and len(found.root) == HASH and _HEX.fullmatch(sums)
    if not whole or not found.first < found.stop <= found.size:
        raise PeerError("not a manifest", "it is not as this version writes it")
    return found


def encode_sums(sums: Mapping[str, bytes]) -> bytes:
    """SHA256SUMS: path → SHA-256, sorted."""
    return "".join(f"{sums[path].hex()}  {path}\n" for path in sorted(sums)).encode()


def parse_sums(data: bytes) -> dict[str, bytes]:
    """Inverse of `encode_sums`, for that one spelling only. Raises PeerError naming the line."""
    found: dict[str, bytes] = {}
    for number, line in enumerate(data.decode("utf-8", "replace").split("\n")[:-1], 1):
        match = _SUM.fullmatch(line)
        if match is None or any(part in ("", ".", "..") for part in match[2].split("/")):
            raise PeerError("not a list of SHA-256 sums", f"line {number}")
        found[match[2]] = bytes.fromhex(match[1])
    if encode_sums(found) != data:
        raise PeerError("not a list of SHA-256 sums", "not sorted, not unique or not complete lines")
    return found


def sha256(data: bytes) -> bytes:
    """SHA-256."""
    return hashlib.sha256(data).digest()


def needed_tiles(first: int, stop: int, size: int) -> list[Tile]:
    """Tiles of a log of `size` that proofs of entries [first, stop) are made of.

    On each level those above the entries, and the last one, which holds the edge of the tree.
    """
    found: list[Tile] = []
    level = 0
    while count := items(level, size):
        low, high = items(level, first) // WIDTH, items(level, stop - 1) // WIDTH
        for index in dict.fromkeys((*range(low, high + 1), (count - 1) // WIDTH)):
            tile = tile_of(level, index, size)
            if tile is not None:
                found.append(tile)
        level += 1
    return found


def _nanoseconds(text: str) -> int:
    if not _NS.fullmatch(text):
        raise ValueError(text)
    return int(text)
