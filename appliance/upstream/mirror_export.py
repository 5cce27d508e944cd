"""A mirror's copy as plain files: the static tree of C2SP tlog-tiles, for any web server or verifier.

    <out>/<hex sha256(origin)>/checkpoint   <out>/<hex sha256(origin)>/tile/…

The checkpoint is written last: a directory that has one has everything it covers. The collector may run
meanwhile; what it takes over after the checkpoint was read is left for the next export.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from appliance.audit.tiles import new_tiles
from appliance.domain.errors import CannotCreateError
from appliance.storage.durable import make_directory, write_file
from appliance.upstream.mirror_store import MirrorStore
from appliance.upstream.witness import origin_hash

CHECKPOINT = "checkpoint"


def export_copies(
    directory: Path, origins: Iterable[str], out: Path, told: Callable[[str, int, int], None]
) -> dict[str, int]:
    """Origin → entries exported, of those that have any. told(origin, files done, files in all).

    Raises CannotCreateError if `out` has something in it, ConfigError and StoreError as the store does.
    """
    if out.exists() and any(out.iterdir()):
        raise CannotCreateError(f"{out} was not written", "there is something in it", "name a new directory")
    exported = {}
    for origin in origins:
        store = MirrorStore(directory, origin, readonly=True)
        try:
            size = _export(store, out / origin_hash(origin), partial(told, origin))
        finally:
            store.close()
        if size:
            exported[origin] = size
    return exported


def _export(store: MirrorStore, out: Path, told: Callable[[int, int], None]) -> int:
    head = store.cosigned()
    if head is None:
        return 0
    tiles = list(new_tiles(0, head.size))
    for number, tile in enumerate(tiles, 1):
        path = out / tile.path
        make_directory(path.parent)
        write_file(path, store.content(tile))
        told(number, len(tiles))
    make_directory(out)
    write_file(out / CHECKPOINT, head.note)
    return head.size
