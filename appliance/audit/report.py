"""What `verify` says: what it looked at, and where something is wrong."""

from __future__ import annotations

from msgspec import Struct

from appliance.audit.completeness import Completeness
from appliance.audit.key_chain import Era

MAX_FINDINGS = 16


class Finding(Struct, frozen=True):
    """place: `entry 1234`, `tile/0/005`, `tile/entries/x001/234`, `checkpoint`, a key file's path."""

    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


class Report(Struct, frozen=True, kw_only=True):
    """Result of a verification; `ok` only if everything that was published or stored agrees.

    entries: read from the store.  signed, root: size and Merkle root (hex) of the checkpoint.
    unsigned: entries after it, which only the next checkpoint will cover.
    witnessed: size of the co-signed checkpoint, 0 if there is none.  witness: who, empty if not verified.
    bundles: entry bundles compared.  tiles: tiles compared per level.
    sealed: entries compared with sealed segments.
    sources: (source, its number of entries).  more: findings beyond MAX_FINDINGS, counted only.
    keys: the log's keys and their times.  remarks: nothing wrong, but a person should know.
    mirrored: size of the checkpoint a mirror vouches for, 0 if there is none.  mirror: who, as `witness`.
    completeness: what is missing although everything there agrees; nothing in it makes a log not `ok`.
    """

    origin: str
    entries: int
    signed: int
    root: str
    unsigned: int
    witnessed: int
    witness: str
    bundles: int
    tiles: tuple[int, ...]
    sources: tuple[tuple[str, int], ...]
    findings: tuple[Finding, ...]
    more: int
    keys: tuple[Era, ...] = ()
    remarks: tuple[str, ...] = ()
    sealed: int = 0
    mirrored: int = 0
    mirror: str = ""
    completeness: Completeness = Completeness()

    @property
    def ok(self) -> bool:
        """True if nothing was found wrong."""
        return not self.findings


class Findings:
    """Collects what is wrong; the first is the cause, so nothing is ever dropped before MAX_FINDINGS."""

    def __init__(self) -> None:
        self.kept: list[Finding] = []
        self.more = 0

    def add(self, place: str, reason: str) -> None:
        """Notes one fault."""
        if len(self.kept) < MAX_FINDINGS:
            self.kept.append(Finding(place, reason))
        else:
            self.more += 1
