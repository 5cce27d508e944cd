"""The log writer with a fuse at each of its steps.

    python -m tests.log_kill_writer PLACE, then the writer's own options
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from appliance.audit.checkpoint import Checkpoint
from appliance.audit.notes import SigningKey
from appliance.storage import log_store, log_writer
from appliance.storage.log_publish import Head, Publisher
from appliance.storage.log_store import LogStore
from appliance.storage.log_wire import Append, Durable, Ready, Signed, ToCore
from appliance.storage.log_writer import LogWriter
from tests.log_kill_steps import Fuse, FusedVfs, Herald

WAL_PAGES = 24
"""So that every life empties the write-ahead log several times."""


def hook_store(fuse: Fuse, herald: Herald) -> None:
    """Entries durable, head durable, checkpoint signed, checkpoint persisted."""
    module: Any = log_store
    commit, transact, empty = LogStore.commit, LogStore._transact, LogStore._checkpoint_wal
    sign: Callable[[Checkpoint, SigningKey], bytes] = module.sign_checkpoint

    def committed(store: LogStore, group: list[Append]) -> int:
        fuse.burn("group received")
        size = commit(store, group)
        fuse.burn("entries durable")
        return size

    def transacted(store: LogStore, write: Callable[[], None]) -> None:
        transact(store, write)
        name = getattr(write, "__name__", "sign")
        if name != "write":
            fuse.burn({"raise_head": "head durable", "sign": "checkpoint persisted"}[name])

    def signed(checkpoint: Checkpoint, key: SigningKey) -> bytes:
        note = sign(checkpoint, key)
        herald.head("signed", checkpoint.size, checkpoint.root)
        fuse.burn("checkpoint signed")
        return note

    def emptied(store: LogStore) -> None:
        fuse.burn("write-ahead log long")
        empty(store)
        fuse.burn("write-ahead log emptied")

    owner: Any = LogStore
    owner.commit, owner._transact, owner._checkpoint_wal = committed, transacted, emptied
    module.sign_checkpoint = signed


def hook_publisher(fuse: Fuse, herald: Herald) -> None:
    """File by file, then the checkpoint."""
    steps, show = Publisher.steps, Publisher.show

    def stepped(publisher: Publisher, head: Head) -> Iterator[Callable[[], None]]:
        for step in steps(publisher, head):
            yield step
            fuse.burn("file published")

    def shown(publisher: Publisher, head: Head) -> None:
        fuse.burn("files durable")
        show(publisher, head)
        herald.head("published", head.size, head.root)
        fuse.burn("checkpoint published")

    owner: Any = Publisher
    owner.steps, owner.show = stepped, shown


def hook_link(fuse: Fuse) -> None:
    """What the core is told."""
    run, send = LogWriter.run, LogWriter._send
    told = {Ready: "ready said", Durable: "durable said", Signed: "published said"}

    def running(writer: LogWriter) -> None:
        fuse.burn("store open")
        run(writer)

    def sent(writer: LogWriter, message: ToCore) -> None:
        send(writer, message)
        if type(message) in told:
            fuse.burn(told[type(message)])

    owner: Any = LogWriter
    owner.run, owner._send = running, sent


def main() -> None:
    """As the real one begins and ends."""
    place = Path(sys.argv[1])
    fuse, herald = Fuse(place / "writer.fuse", "writer"), Herald(place / "told")
    fuse.burn("started")
    module: Any = log_writer
    module.WAL_PAGES = WAL_PAGES
    hook_store(fuse, herald)
    hook_publisher(fuse, herald)
    hook_link(fuse)
    vfs = FusedVfs(fuse)
    code = log_writer.serve(log_writer.parse(sys.argv[2:]), fuse.io())
    vfs.unregister()
    sys.exit(code)


if __name__ == "__main__":
    main()
