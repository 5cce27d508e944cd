"""The README inside a bundle: what an auditor does with it, without any program of ours. R1."""

from __future__ import annotations

from appliance.audit.bundle import Manifest

_TEXT = """INTERLOCK AUDIT EXPORT

This is a part of the audit log of {origin}: entries {first} to {last}, {count} in all.
It was asked for by time, from {since} to {until} (UTC), and reaches from the first to the
last entry of that time. Entries are numbered without gaps and so is every source inside them
(fields "src" and "n"): nothing in between can have been left out. {outside} of them carry a time
outside (the clock was stepped). That nothing of that time lies before or after the range
is a statement of whoever made this export, signed in the file "manifest".

WHAT YOU NEED FIRST
The public keys log.vkey and export.vkey (and witness.vkey), from the owner, by another way
than this bundle. The ones in trust/ must be the same: a bundle that brings its own keys
proves nothing. A key is the text  name+id+base64(type byte, 32 bytes Ed25519 key).

WITH THE PROGRAM THAT MADE IT (any machine, no appliance):
    interlock audit export --check THIS --trust DIRECTORY-WITH-YOUR-KEYS

WITHOUT IT
1. The files are the ones that were exported:
       sha256sum -c SHA256SUMS
   and no other file is here but SHA256SUMS and manifest.
2. SHA256SUMS is the one that was signed: its SHA-256 is in "manifest", line "sha256sums".
   "manifest" and "checkpoint" are signed notes (https://c2sp.org/signed-note): a text, an
   empty line, then lines  "\u2014 name base64".  Of the decoded base64 the first 4 bytes are the
   id of the key, the next 64 the Ed25519 signature of the text, its last line feed included,
   the empty line not. Go: golang.org/x/mod/sumdb/note. Python: PyNaCl or cryptography.
   manifest: key export.vkey. checkpoint: key log.vkey.
3. The entries are in the log. "checkpoint" is its signed head: name, number of entries,
   Merkle root (RFC 6962, SHA-256). Each line of entries.jsonl, without its line feed, is one
   entry; its leaf hash is SHA-256(00 || line). tile/ holds the hashes an inclusion proof needs,
   in the layout of https://c2sp.org/tlog-tiles: tile/0/NNN has the leaf hashes of 256 entries.
   Read by golang.org/x/mod/sumdb/tlog (TileHashReader, CheckRecord) and others; or hash it
   up yourself: a full tile's root is an item of the tile above, the last tile of each level
   is the tree's right edge.
4. The witness has seen the same history. If the line "witness" of the manifest names one,
   "checkpoint" has a second signature (https://c2sp.org/tlog-cosignature): 4 bytes key id,
   8 bytes time, 64 bytes Ed25519 over "cosignature/v1\\n" "time <seconds>\\n" and the text.

THE ENTRIES
One JSON object a line (RFC 8785): "i" number in the log, "kind" what it is about, "utc_ns" and
"mono_ns" both clocks in nanoseconds, "src" who wrote it and "n" how many that source had
written before, "causes" the numbers of the entries it follows from, "data" the content.
Prices and sums are texts.

Entries describe order flow: keep this file as you keep accounts. It contains no secret key.
"""

_ROTATED = """
IF YOU WERE GIVEN AN OLDER log.vkey
This log has changed its key. trust/rotations tells how, one signed note a change, oldest first:
each is signed by the key it calls old and by the one it calls new. Begin with the note whose old
key is yours; the last new one must be trust/log.vkey, which signed "checkpoint".
"""


def readme(manifest: Manifest, since: str, until: str, *, rotated: bool = False) -> str:
    """The text for one bundle. since, until: the asked time as text.  rotated: the log's key has changed."""
    text = _TEXT + _ROTATED if rotated else _TEXT
    return text.format(
        origin=manifest.origin,
        first=manifest.first,
        last=manifest.stop - 1,
        count=manifest.stop - manifest.first,
        since=since,
        until=until,
        outside=manifest.outside,
    )
