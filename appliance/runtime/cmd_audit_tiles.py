"""`interlock audit tiles --out DIR`: the whole published log again, with the bundles that were pruned.

A log directory with pruned bundles still proves everything: checkpoint and tiles of every level are there,
so inclusion and consistency proofs work as before. What an outside verifier cannot do with it alone is read
the old entries, whose bundles (tile/entries/<N>) answer "not found". What is written here is complete.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from appliance.audit.checkpoint import open_checkpoint
from appliance.audit.tiles import Tile, new_tiles
from appliance.audit.verify import CHECKPOINT, COSIGNED
from appliance.domain.errors import CannotCreateError, PeerError, StoreError
from appliance.runtime.audit_trust import read_trust
from appliance.runtime.audit_view import VERIFY, open_log
from appliance.runtime.paths import Paths
from appliance.runtime.terminal import Terminal
from appliance.storage.durable import make_directory, write_file
from appliance.storage.log_reader import LogReader

_EVERY = 256


def run_tiles(paths: Paths, options: argparse.Namespace, terminal: Terminal) -> int:
    """Writes the directory; the checkpoint last, so that one that has it has everything it covers."""
    out = Path(options.out).absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CannotCreateError(f"{out} was not written", "there is something in it", "name a new directory")
    trust = read_trust(paths, None)
    reader = open_log(paths)
    try:
        note = reader.file(CHECKPOINT) or b""
        cosigned = reader.file(COSIGNED)
        try:
            head = open_checkpoint(note, [trust.log]).checkpoint
        except PeerError as error:
            raise StoreError("the log's checkpoint cannot be used", error.why, VERIFY) from error
        if reader.root(head.size) != head.root:
            raise StoreError("the log is not what was signed", "its root is another one", VERIFY)
        tiles = list(new_tiles(0, head.size))
        for number, tile in enumerate(tiles, 1):
            _write(reader, out, tile)
            if terminal.live and not options.quiet and number % _EVERY == 0:
                terminal.say(f"  {number} of {len(tiles)} files")
    finally:
        reader.close()
    make_directory(out)
    if cosigned is not None:
        write_file(out / COSIGNED, cosigned)
    write_file(out / CHECKPOINT, note)
    if options.json:
        print(json.dumps({"ok": True, "entries": head.size, "files": len(tiles)}))
    else:
        terminal.say(f"wrote {head.size} entries in {len(tiles)} tiles and bundles to {options.out}")
    return 0


def _write(reader: LogReader, out: Path, tile: Tile) -> None:
    """From the entries, not from the published file: what is damaged there is not copied."""
    path = out / tile.path
    make_directory(path.parent)
    write_file(path, reader.content(tile))
