"""What is killed beside the log's writer: the core's side of the log with its upstream client, the collector.

Each is a function for a forked process; a fuse sits at each of its steps.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from appliance.audit.checkpoint import parse_checkpoint
from appliance.audit.key_chain import KeyChain
from appliance.audit.notes import COSIGNATURE_KEY, parse_note
from appliance.domain.errors import StoreError
from appliance.ports import Entry
from appliance.storage.durable import write_file
from appliance.storage.log_client import LogClient, LogHead, LogSettings
from appliance.storage.log_reader import LogReader
from appliance.upstream import client as client_module
from appliance.upstream import collector as collector_module
from appliance.upstream import mirror_client
from appliance.upstream.client import UpstreamClient, UpstreamSettings, UpstreamState
from appliance.upstream.collector import CollectorSettings
from appliance.upstream.exchange import Answer, Exchange
from appliance.upstream.mirror import Mirror
from appliance.upstream.mirror_store import MirrorStore
from appliance.upstream.policy import read_policy
from appliance.upstream.upload import Head
from appliance.upstream.witness import Reply, Witness, WitnessHead, parse_request
from appliance.upstream.witness_store import SqliteWitnessStore
from tests.audit_support import LOG, MIRROR, WITNESS, entry, order
from tests.log_kill_steps import Fuse, FusedVfs, Herald

PIECE = 20_000
"""Bytes of an upload: some hundred entries, so that catching up takes several."""

NOW_S = 1_800_000_000


def entry_of(index: int, life: int) -> Entry:
    """What a life writes under an index: no two lives write the same."""
    return entry(index, order_id=f"o-{index}", life=life)


class Told(Exchange):
    """The real exchange between two steps each."""

    def __init__(self, url: str, fuse: Fuse) -> None:
        super().__init__(url)
        self._fuse = fuse

    async def add_checkpoint(self, body: bytes) -> Answer:
        """See Exchange."""
        self._fuse.burn("offering")
        answer = await super().add_checkpoint(body)
        self._fuse.burn("answered")
        return answer

    async def add_entries(self, packed: bytes) -> Answer:
        """See Exchange."""
        self._fuse.burn("uploading")
        answer = await super().add_entries(packed)
        self._fuse.burn("upload answered")
        return answer


class Box:
    """One life of the core's process: appends until it has enough, then brings everything up and stops."""

    def __init__(self, place: Path, url: str, life: int, luck: random.Random) -> None:
        self.fuse, self.herald = Fuse(place / "box.fuse", "box"), Herald(place / "told")
        self._place, self._url, self._life, self._luck = place, url, life, luck
        self._changed = asyncio.Event()

    async def live(self, settings: LogSettings) -> None:
        """To its end. A log that fails ends it, as it ends a core."""
        command = (sys.executable, "-m", "tests.log_kill_writer", str(self._place))
        self.fuse.burn("started")
        try:
            log = await LogClient.start(replace(settings, command=command))
        except StoreError as error:
            self.herald.say(f"failed {error.sentence()[:200]}")
            return
        assert log._process is not None
        self.herald.say(f"ready {log._process.pid} {log.head.size}")
        self.fuse.burn("log open")
        upstream, reader = self._upstream(settings)
        log.on_signed = partial(self._heard, upstream)
        task = asyncio.create_task(upstream.run())
        try:
            await self._append(log)
            await log.publish()
            await self._brought_up(log, upstream)
            self.herald.say(f"done {log.head.size}")
        except StoreError as error:
            self.herald.say(f"failed {error.sentence()[:200]}")
        finally:
            task.cancel()
            await asyncio.wait({task})
            upstream.release(reader.close)
            with contextlib.suppress(StoreError):
                await log.aclose()

    async def _append(self, log: LogClient) -> None:
        for _ in range(self._luck.randrange(5, 10)):
            first, count = log.head.size, self._luck.randrange(1, 45)
            self.herald.say(f"numbered {first + count}")
            rows = [entry_of(index, self._life) for index in range(first, first + count)]
            ticket = log.append(rows, [order(f"o-{first}")])
            self.fuse.burn("appended")
            if (wish := self._luck.random()) < 0.3:
                continue
            await ticket.durable()
            self.herald.say(f"durable {first + count}")
            self.fuse.burn("acknowledged")
            if wish > 0.6:
                await log.publish()

    async def _brought_up(self, log: LogClient, upstream: UpstreamClient) -> None:
        while upstream.state.mirrored < log.head.size and not upstream.state.alarm:
            if log.failure is not None:
                raise log.failure
            self._changed.clear()
            await self._changed.wait()

    def _heard(self, upstream: UpstreamClient, head: LogHead) -> None:
        self.herald.head("heard", head.signed, head.root)
        upstream.notify()
        self._changed.set()
        self.fuse.burn("published heard")

    def _state(self, state: UpstreamState) -> None:
        if state.alarm:
            self.herald.say(f"alarm {state.alarm[:200]}")
        self._changed.set()

    def _upstream(self, settings: LogSettings) -> tuple[UpstreamClient, LogReader]:
        hook_client(self.fuse)
        reader = LogReader(settings.directory)
        upstream = UpstreamClient(
            UpstreamSettings(
                directory=settings.directory, log_key=LOG.verifier(), every_s=0.0, bytes_per_s=10**9,
                witness_key=WITNESS.verifier(COSIGNATURE_KEY), mirror_key=MIRROR.verifier(COSIGNATURE_KEY),
            ),
            reader,
            Told(self._url, self.fuse),
            now_ns=lambda: NOW_S * 10**9,
            sleep=lambda seconds: asyncio.sleep(min(seconds, 0.01)),
            uniform=lambda _low, high: min(high, 0.01),
        )  # fmt: skip
        upstream.on_change = self._state
        return upstream, reader


def hook_client(fuse: Fuse) -> None:
    """What the client keeps on disk."""
    io = fuse.io()

    def keeping(before: str, after: str) -> Callable[[Path, bytes], None]:
        def write(path: Path, data: bytes) -> None:
            fuse.burn(before)
            write_file(path, data, io=io)
            fuse.burn(after)

        return write

    client: Any = client_module
    mirror: Any = mirror_client
    client.write_file = keeping("keeping co-signature", "co-signature kept")
    mirror.write_file = keeping("keeping mirrored", "mirrored kept")
    mirror.PIECE = PIECE


async def collect(place: Path, port: int) -> None:
    """The collector, until it is killed."""
    fuse, herald = Fuse(place / "collector.fuse", "collector"), Herald(place / "told")
    fuse.burn("started")
    vfs = FusedVfs(fuse)
    hook_witness(fuse, herald)
    hook_mirror(fuse, herald)

    def listening(_host: str, port: int) -> None:
        fuse.burn("stores open")
        herald.say(f"listening {port}")

    settings = CollectorSettings(
        host="127.0.0.1",
        port=port,
        directory=place / "witness",
        key_file=place / "witness-keys/witness.key",
        mirror_key_file=place / "witness-keys/mirror.key",
        policy=read_policy(place / "policy"),
    )
    try:
        await collector_module.run(settings, lambda: NOW_S, listening)
    finally:
        vfs.unregister()


def hook_witness(fuse: Fuse, herald: Herald) -> None:
    """Offered, compared, stored, co-signed."""
    decide, advance = Witness.add_checkpoint, SqliteWitnessStore.advance

    def decided(witness: Witness, body: bytes) -> Reply:
        fuse.burn("checkpoint offered")
        reply = decide(witness, body)
        if reply.status == 200:
            head = parse_checkpoint(parse_note(parse_request(body).checkpoint).text)
            herald.head("witness", head.size, head.root)
            fuse.burn("co-signed")
        return reply

    def advanced(store: SqliteWitnessStore, origin: str, old: int, head: WitnessHead) -> bool:
        fuse.burn("head compared")
        found = advance(store, origin, old, head)
        fuse.burn("head stored")
        return found

    witness_class: Any = Witness
    store_class: Any = SqliteWitnessStore
    witness_class.add_checkpoint, store_class.advance = decided, advanced


def hook_mirror(fuse: Fuse, herald: Herald) -> None:
    """Uploaded, proven, stored, vouched for, or told where to go on."""
    decide, append, vouch, root = (
        Mirror.add_entries, MirrorStore.append, MirrorStore.vouch, Mirror._vouch,
    )  # fmt: skip

    def decided(mirror: Mirror, body: bytes) -> Reply:
        fuse.burn("entries uploaded")
        reply = decide(mirror, body)
        fuse.burn("upload answered" if reply.status == 200 else "place told")
        return reply

    def appended(store: MirrorStore, entries: list[bytes]) -> None:
        fuse.burn("entries proven")
        append(store, entries)
        fuse.burn("entries stored")

    def whole(mirror: Mirror, head: Head, chain: KeyChain, copy: MirrorStore, pending: WitnessHead) -> Reply:
        fuse.burn("copy whole")
        reply = root(mirror, head, chain, copy, pending)
        herald.head("mirror", pending.size, pending.root)
        return reply

    def vouched(store: MirrorStore, head: WitnessHead) -> None:
        vouch(store, head)
        fuse.burn("copy vouched for")

    mirror_class: Any = Mirror
    store_class: Any = MirrorStore
    mirror_class.add_entries, mirror_class._vouch = decided, whole
    store_class.append, store_class.vouch = appended, vouched
