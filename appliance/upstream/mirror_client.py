"""The appliance's side of mirroring: uploads what the witness co-signed, in pieces, and resumes.

The log is the queue; what is persisted is `<dir>/mirrored`, the checkpoint with the mirror's co-signature:
everything up to it is stored elsewhere. Where to go on is asked from the mirror, never remembered.

    200   everything is stored: its co-signature is verified and kept
    202   stored in part: the body tells where to go on
    409   elsewhere, or up to another checkpoint, is wanted: the body tells which
    403, 422   the mirror refuses our entries: alarm
    anything else   tried again later

An upload ends at the checkpoint the witness co-signed last, and a later one would void it. So both take
turns: after ROUND_S the witness is asked again, however much is left.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from appliance.audit.checkpoint import SignedCheckpoint
from appliance.audit.key_chain import KeyChain, as_chain
from appliance.audit.merkle import Subtree
from appliance.audit.notes import Note, VerifierKey
from appliance.audit.subtree import subtree_proof
from appliance.audit.verify import MIRRORED
from appliance.domain.errors import PeerError, StoreError
from appliance.storage.durable import read_file, write_file
from appliance.upstream.exchange import Answer, Exchange
from appliance.upstream.upload import Head, Info, make_package, ranges, read_info

T = TypeVar("T")

PIECE = 1_000_000
"""Bytes of an upload before it is compressed: what is lost when a connection breaks."""

LEVEL = 6
ROUND_S = 2.0
"""So long at a time, and always one piece: what a co-signature waits at most while much is to be uploaded."""

RESYNCS = 3
"""A mirror that wants to be elsewhere more often in one round contradicts itself."""


class Entries(Protocol):
    """The published log (`storage.log_reader.LogReader`); used from one thread at a time."""

    def bodies(self, start: int, stop: int) -> Iterable[bytes]:
        """Entries [start, stop) in order, up to the first that is missing."""
        ...

    def subtrees(self, size: int) -> Subtree:
        """Roots of complete subtrees of the first `size` entries, at most the published size."""
        ...


class InThread(Protocol):
    """Runs what reads the log or the disk, one at a time, and waits for it."""

    async def __call__(self, look: Callable[[], T]) -> T:
        """Its result, or what it raised."""
        ...


class MirrorRefusedError(PeerError):
    """The mirror looked at our entries and refuses them: nobody goes on before a person has looked."""


class MirrorClient:
    """One log, one mirror. directory: the log's.  bytes_per_s: at most, compressed, over some seconds."""

    def __init__(
        self,
        directory: Path,
        log_key: VerifierKey | KeyChain,
        mirror_key: VerifierKey,
        log: Entries,
        sleep: Callable[[float], Awaitable[object]],
        in_thread: InThread,
        *,
        bytes_per_s: int,
    ) -> None:
        self._path = directory / MIRRORED
        self._keys, self._mirror_key = as_chain(log_key), mirror_key
        self._log = log
        self._sleep = sleep
        self._in_thread = in_thread
        self._bytes_per_s = bytes_per_s
        self._following: int | None = None  # what the mirror said last
        self.mirrored = 0

    @property
    def uploaded(self) -> int:
        """Entries the mirror says it has stored; it vouches for `mirrored` of them."""
        return max(self._following or 0, self.mirrored)

    async def load(self) -> None:
        """Takes up the checkpoint kept on disk. Raises StoreError or PeerError for one that is not good."""
        await self._in_thread(self._load)

    async def bring_up(self, exchange: Exchange, cosigned: bytes) -> bool:
        """Uploads until the mirror vouches for the checkpoint co-signed last; False: ROUND_S are over.

        Raises TransportError, PeerError, MirrorRefusedError (alarm) and StoreError.
        """
        now, resyncs = asyncio.get_running_loop().time, 0
        until = now() + ROUND_S
        signed = self._keys.open(cosigned)
        origin, size = self._keys.origin, signed.checkpoint.size
        while True:
            start = self._following
            head = Head(origin, 0, 0) if start is None else Head(origin, min(start, size), size)
            packed, end = await self._in_thread(partial(self._make, head))
            answer = await exchange.add_entries(packed)
            if answer.status == 200:
                await self._accept(answer, signed)
                self._following = size
                return True
            info = _info(answer)
            resyncs += answer.status == 409
            lost = answer.status == 202 and (start is None or not start < info.following <= end)
            if lost or resyncs > RESYNCS:
                raise PeerError("the mirror contradicts itself", f"it goes on at {info.following}")
            self._following = info.following
            if info.pending != size or info.following > size:
                theirs = f"it has {info.following} entries and a checkpoint of {info.pending}"
                raise PeerError("the mirror wants another checkpoint", f"{theirs}, ours is of {size}")
            await self._sleep(len(packed) / self._bytes_per_s)
            if now() > until:
                return False

    def _make(self, head: Head) -> tuple[bytes, int]:
        """Head and as many packages as fit, at least one, compressed; and where they end."""
        subtree = self._log.subtrees(head.end)
        body, end = bytearray(head.encode()), head.start
        for where in ranges(head.start, head.end):
            package = make_package(
                where,
                self._bodies,
                lambda base, stop: subtree_proof(base, stop, head.end, subtree),
            )
            body += package.encode()
            end = package.stop
            if len(body) >= PIECE:
                break
        return gzip.compress(body, LEVEL), end

    def _bodies(self, start: int, stop: int) -> list[bytes]:
        found = list(self._log.bodies(start, stop))
        if len(found) != stop - start:
            raise StoreError("our log cannot be uploaded", f"entry {start + len(found)} is missing")
        return found

    async def _accept(self, answer: Answer, ours: SignedCheckpoint) -> None:
        """A 200: counts only with the configured mirror's co-signature of exactly this checkpoint."""
        own = [line for line in ours.note.signatures if line.name == self._keys.origin]
        note = Note(ours.note.text, tuple(own)).encode() + answer.body
        signed = self._keys.open(note, [self._mirror_key])
        kept = Note(signed.note.text, (*own, *(line for _, line in signed.cosigned))).encode()
        await self._in_thread(partial(write_file, self._path, kept))
        self.mirrored = signed.checkpoint.size

    def _load(self) -> None:
        data = read_file(self._path)
        if data is not None:
            self.mirrored = self._keys.open(data, [self._mirror_key]).checkpoint.size


def _info(answer: Answer) -> Info:
    if answer.status in (202, 409) and answer.mirror_info:
        return read_info(answer.body)
    if answer.status in (403, 422):
        raise MirrorRefusedError("the mirror refuses our entries", answer.said)
    raise PeerError("the mirror did not store anything", answer.said)
