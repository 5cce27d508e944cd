"""The appliance's side of mirroring: uploads what the witness co-signed, in pieces, and resumes.

The log is the queue; what is persisted is `<dir>/mirrored`, the checkpoint with the mirror's co-signature:
everything up to it is stored elsewhere. Where to go on is asked from the mirror, never remembered.

    200   everything is stored: its co-signature is verified and kept
    202   stored in part, or 409: elsewhere is wanted: the body tells where to go on
    403, 422   the mirror refuses our entries: alarm
    anything else   tried again later; witnessing goes on meanwhile
"""

from __future__ import annotations

import gzip
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from appliance.audit.checkpoint import SignedCheckpoint, open_checkpoint
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
PIECES = 10_000
"""More in one round would be a mirror that never lets it end."""


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
        log_key: VerifierKey,
        mirror_key: VerifierKey,
        log: Entries,
        sleep: Callable[[float], Awaitable[object]],
        in_thread: InThread,
        *,
        bytes_per_s: int,
    ) -> None:
        self._path = directory / MIRRORED
        self._log_key, self._mirror_key = log_key, mirror_key
        self._log = log
        self._sleep = sleep
        self._in_thread = in_thread
        self._bytes_per_s = bytes_per_s
        self._following: int | None = None  # what the mirror said last
        self.mirrored = 0

    async def load(self) -> None:
        """Takes up the checkpoint kept on disk. Raises StoreError or PeerError for one that is not good."""
        await self._in_thread(self._load)

    async def bring_up(self, exchange: Exchange, cosigned: bytes) -> None:
        """Uploads until the mirror vouches for the checkpoint that was co-signed last, or another is wanted.

        Raises TransportError, PeerError, MirrorRefusedError (alarm) and StoreError.
        """
        signed = open_checkpoint(cosigned, [self._log_key])
        origin, size = self._log_key.name, signed.checkpoint.size
        for _ in range(PIECES):
            start = self._following
            head = Head(origin, 0, 0) if start is None else Head(origin, min(start, size), size)
            packed, end = await self._in_thread(partial(self._make, head))
            answer = await exchange.add_entries(packed)
            if answer.status == 200:
                await self._accept(answer, signed)
                self._following = size
                return
            info = _info(answer)
            if answer.status == 202 and (start is None or info.following <= start or info.following > end):
                raise PeerError("the mirror contradicts itself", f"it goes on at {info.following}")
            self._following = info.following
            if info.pending != size or info.following > size:
                return  # it has a later checkpoint than ours of this round: the next one will tell
            await self._sleep(len(packed) / self._bytes_per_s)
        raise PeerError("the mirror does not come to an end", f"{PIECES} pieces in one round")

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
        own = [line for line in ours.note.signatures if line.name == self._log_key.name]
        note = Note(ours.note.text, tuple(own)).encode() + answer.body
        signed = open_checkpoint(note, [self._log_key], [self._mirror_key])
        kept = Note(signed.note.text, (*own, *(line for _, line in signed.cosigned))).encode()
        await self._in_thread(partial(write_file, self._path, kept))
        self.mirrored = signed.checkpoint.size

    def _load(self) -> None:
        data = read_file(self._path)
        if data is not None:
            self.mirrored = open_checkpoint(data, [self._log_key], [self._mirror_key]).checkpoint.size


def _info(answer: Answer) -> Info:
    if answer.status in (202, 409) and answer.mirror_info:
        return read_info(answer.body)
    if answer.status in (403, 422):
        raise MirrorRefusedError("the mirror refuses our entries", answer.said)
    raise PeerError("the mirror did not store anything", answer.said)
