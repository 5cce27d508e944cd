"""The appliance's side of witnessing: offers new checkpoints, keeps the latest co-signed one on disk.

It never blocks or fails the core: network and disk are waited for in its own task and threads, an outage is
a state to show and a reason to try later. The log itself is the queue; what is persisted is only
`<dir>/cosigned`, replaced as a whole after its co-signature was verified.

    200 with a co-signature by the configured witness   the only success
    409 with a size      resync from that size – but a size ahead of ours means this card was restored from a
                         backup: alarm
    403, 422, 409 without a size   the witness refuses this log or shows another history: alarm
    anything else        not advanced; tried again after a back-off with full jitter: want of disk space too

An upload that failed holds up no offer: it is tried again with the next one, or after a back-off of its own.

An alarm stops the client until a person looks: it never overwrites another history (ARCHITECTURE, Failure
semantics).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

import msgspec
from msgspec import Struct

from appliance.audit.checkpoint import SignedCheckpoint
from appliance.audit.key_chain import KeyChain, rooted_in
from appliance.audit.notes import Note, VerifierKey
from appliance.audit.verify import CHECKPOINT, COSIGNED
from appliance.domain.errors import InterlockError, NoSpaceError, PeerError, StoreError, TransportError
from appliance.storage.durable import read_file, write_file
from appliance.upstream.exchange import Answer, Exchange
from appliance.upstream.mirror_client import Entries, MirrorClient, MirrorRefusedError
from appliance.upstream.mirror_turns import MirrorTurns
from appliance.upstream.one_at_a_time import OneAtATime
from appliance.upstream.witness import Request, origin_hash

P = ParamSpec("P")
T = TypeVar("T")

RESYNCS = 3
BACKOFF_FIRST_S = 1.0
BACKOFF_CAP_S = 300.0


class LogView(Entries, Protocol):
    """The published log (`storage.log_reader.LogReader`); used from one thread at a time, not shared."""

    def file(self, path: str) -> bytes | None:
        """A published file, None if it is not there."""
        ...

    def root(self, size: int) -> bytes:
        """Root of the first `size` entries, at most the published size."""
        ...

    def consistency(self, old: int, size: int) -> list[bytes]:
        """Consistency proof between two sizes, empty from 0."""
        ...


class UpstreamSettings(Struct, frozen=True, kw_only=True):
    """directory: the log's.  every_s: shortest time between two offers.

    log_key: the log's first.  rotations: the notes that lead from it to the key in force, oldest first.
    mirror_key: of the mirror that also gets the entries; None for a witness that gets proofs only.
    bytes_per_s: of entries, at most, compressed.
    """

    directory: Path
    log_key: VerifierKey
    witness_key: VerifierKey
    every_s: float = 0.8
    mirror_key: VerifierKey | None = None
    bytes_per_s: int = 1_000_000
    rotations: tuple[bytes, ...] = ()

    @property
    def keys(self) -> KeyChain:
        """All keys the log has had. Raises PeerError for notes that do not hang together."""
        return rooted_in(self.log_key, self.rotations)


class UpstreamState(Struct, frozen=True):
    """What a status page may say. witnessed: size of the co-signed checkpoint.

    last_success_ns: UTC of the last co-signature, 0 if none since this start.  alarm: why syncing stopped,
    empty if it did not.  last_error: why the last try failed, empty after a success.  failures: in a row.
    mirrored: entries the mirror vouches for.  uploaded: those it says it has.  mirror_error: why it got no
    more at the last try.
    """

    witness: str
    witnessed: int = 0
    last_success_ns: int = 0
    alarm: str = ""
    last_error: str = ""
    failures: int = 0
    mirrored: int = 0
    uploaded: int = 0
    mirror_error: str = ""


class _AlarmError(Exception):
    """Raised where the client must stop; its text is the alarm."""


def _restored(vouched: int, size: int) -> _AlarmError:
    return _AlarmError(
        f"{vouched} entries of our log were co-signed and it ends at {size}: "
        "this card was restored from a backup"
    )


class UpstreamClient:
    """One log, one witness. `run` is its task; `notify` tells it of a new checkpoint."""

    def __init__(
        self,
        settings: UpstreamSettings,
        log: LogView,
        exchange: Exchange,
        *,
        now_ns: Callable[[], int],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        uniform: Callable[[float, float], float],
    ) -> None:
        """now_ns: UTC.  uniform: a random number between two bounds, for the jitter."""
        self._settings = settings
        self._log = log
        self._exchange = exchange
        self._now_ns = now_ns
        self._sleep = sleep
        self._uniform = uniform
        self._news = asyncio.Event()
        self._old = 0
        self._alone = OneAtATime()
        self.release = self._alone.release
        self._keys = settings.keys
        self._rotated = self._untold = bool(settings.rotations)  # a witness may not know our key yet
        self._turns: MirrorTurns | None = None
        if settings.mirror_key is not None:
            mirror = MirrorClient(
                settings.directory, self._keys, settings.mirror_key, log, sleep, self._alone,
                bytes_per_s=settings.bytes_per_s,
            )  # fmt: skip
            cosigned = settings.directory / COSIGNED
            self._turns = MirrorTurns(mirror, cosigned, self._news.set, self._back_off_s)
        self.state = UpstreamState(settings.witness_key.name)
        self.on_change: Callable[[UpstreamState], None] | None = None  # must neither block nor raise

    def notify(self) -> None:
        """There may be a new checkpoint. Never blocks; several calls are one."""
        self._news.set()

    async def compare(self) -> None:
        """Compares our log with what the witness last co-signed, before anything new is appended.

        Sets the alarm if the witness is ahead of us or shows another history. Raises TransportError if it
        cannot be asked: then nothing is known, and the first offer finds out.
        """
        try:
            async with self._exchange as exchange:
                await self._load()
                await self._compare(exchange)
        except (_AlarmError, StoreError) as alarm:
            self._change(alarm=str(alarm))

    async def run(self) -> None:
        """Offers checkpoints until cancelled; returns only after an alarm, which `state` shows."""
        try:
            async with self._exchange as exchange:
                await self._load()
                await self._first_look(exchange)
                self._news.set()
                while True:
                    await self._news.wait()
                    self._news.clear()
                    await self._sleep(await self._try(exchange))
        except _AlarmError as alarm:
            self._change(alarm=str(alarm))
        finally:
            self._not_again()

    async def offer_last(self, within_s: float) -> None:
        """One offer at a clean stop, once `run` has ended, so that the log's last entries are witnessed too.

        An upstream that does not answer in time costs nothing but that: nothing is raised or tried again.
        """
        if self.state.alarm:
            return
        try:
            async with asyncio.timeout(within_s), self._exchange as exchange:
                await self._round(exchange)
        except InterlockError as error:
            self._change(last_error=error.sentence())
        except TimeoutError:
            self._change(last_error=f"the upstream did not answer within {within_s:g} s at the stop")
        except _AlarmError as alarm:
            self._change(alarm=str(alarm))
        finally:
            self._not_again()

    async def _first_look(self, exchange: Exchange) -> None:
        """`compare` at the start of `run`; an upstream that cannot be reached is no reason to wait."""
        try:
            await self._compare(exchange)
        except TransportError as error:
            self._change(last_error=error.sentence())
        except StoreError as error:
            raise _AlarmError(error.sentence()) from error

    async def _try(self, exchange: Exchange) -> float:
        """One round; returns how long to wait before the next."""
        try:
            await self._round(exchange)
        except (TransportError, PeerError, NoSpaceError) as error:
            self._change(last_error=error.sentence(), failures=self.state.failures + 1)
            self._news.set()
            return self._back_off_s(self.state.failures)
        except StoreError as error:
            raise _AlarmError(error.sentence()) from error
        if self._turns is not None and self._turns.more:
            self._news.set()
            return 0.0
        return self._settings.every_s

    async def _round(self, exchange: Exchange) -> None:
        ours, note = await self._alone(self._own)
        size = ours.checkpoint.size
        if size < self.state.witnessed:
            raise _restored(self.state.witnessed, size)
        if size == self.state.witnessed:
            await self._bring_up(exchange)
            return
        for _ in range(RESYNCS):
            proof = await self._alone(self._log.consistency, self._old, size)
            answer = await exchange.add_checkpoint(Request(self._old, tuple(proof), note).encode())
            if answer.status == 200:
                await self._accept(answer, note)
                await self._bring_up(exchange)
                return
            if answer.status == 403 and self._untold:
                await self._tell_rotations(exchange)
                continue
            self._resync(answer, size)
        raise PeerError("the upstream changes its mind", f"{RESYNCS} different sizes in one round")

    async def _tell_rotations(self, exchange: Exchange) -> None:
        """Each note, once in this life: what it thinks of them shows in its answer to the next offer."""
        for note in self._settings.rotations:
            answer = await exchange.rotate_key(note)
            if answer.status >= 500:
                raise TransportError("the witness could not take our rotation", answer.said)
        self._untold = False

    async def _accept(self, answer: Answer, note: bytes) -> None:
        """A 200: counts only with the configured witness's co-signature of exactly this checkpoint."""
        cosigned = note + answer.body
        signed = self._keys.open(cosigned, [self._settings.witness_key])
        own = {(key.name, key.key_id) for key in self._keys.keys}
        kept = [line for line in signed.note.signatures if (line.name, line.key_id) in own]
        kept += [line for _, line in signed.cosigned]
        data = Note(signed.note.text, tuple(kept)).encode()
        await asyncio.to_thread(write_file, self._settings.directory / COSIGNED, data)
        self._old = signed.checkpoint.size
        self._change(witnessed=self._old, last_success_ns=self._now_ns(), last_error="", failures=0)

    async def _bring_up(self, exchange: Exchange) -> None:
        """What the witness co-signed goes to the mirror. Its outage is not the witness's: a state to show."""
        turns = self._turns
        if turns is None or self.state.mirrored == self.state.witnessed:
            return
        try:
            why = await turns.take(exchange)
        except MirrorRefusedError as error:
            raise _AlarmError(error.sentence()) from error
        self._change(mirrored=turns.mirror.mirrored, uploaded=turns.mirror.uploaded, mirror_error=why)

    def _not_again(self) -> None:
        if self._turns is not None:
            self._turns.end()

    def _back_off_s(self, failures: int) -> float:
        return self._uniform(0.0, min(BACKOFF_CAP_S, BACKOFF_FIRST_S * 2 ** min(failures - 1, 20)))

    def _resync(self, answer: Answer, size: int) -> None:
        """Anything but 200: a new `old` size to try, an error to try again later, or the alarm."""
        if answer.size is not None:
            if answer.size > size:
                raise _restored(answer.size, size)
            if answer.size == self._old:
                why = f"it refuses the size it asks for ({answer.said})"
                raise PeerError("the upstream contradicts itself", why)
            self._old = answer.size
            return
        if answer.status in (403, 409, 422):
            told = "; tell it our key, or what leads to it: interlock keys chain" if self._rotated else ""
            raise _AlarmError(f"the witness refuses our log: {answer.said}{told}")
        raise PeerError("the upstream did not co-sign", answer.said)

    async def _compare(self, exchange: Exchange) -> None:
        origin = self._settings.log_key.name
        answer = await exchange.latest(origin_hash(origin))
        if answer.status == 404:
            return
        if answer.status != 200:
            raise TransportError("the upstream could not be asked", answer.said)
        try:
            theirs = self._keys.open(answer.body, [self._settings.witness_key])
        except PeerError as error:
            raise TransportError("the upstream's answer was refused", error.why) from error
        await self._alone(self._check_history, theirs)

    def _check_history(self, theirs: SignedCheckpoint) -> None:
        ours, _ = self._own()
        size = theirs.checkpoint.size
        if size > ours.checkpoint.size:
            raise _restored(size, ours.checkpoint.size)
        if self._log.root(size) != theirs.checkpoint.root:
            raise _AlarmError(f"the witness holds another history of this log at {size} entries")

    async def _load(self) -> None:
        """Takes up the co-signed checkpoint kept on disk. What is there and not good is an alarm."""
        path = self._settings.directory / COSIGNED
        try:
            data = await asyncio.to_thread(read_file, path)
            if data is None:
                return
            signed = self._keys.open(data, [self._settings.witness_key])
        except InterlockError as error:
            raise _AlarmError(f"the co-signed checkpoint cannot be used: {error.why} ({path})") from error
        self._old = signed.checkpoint.size
        self._change(witnessed=self._old)
        if self._turns is not None:
            mirror = self._turns.mirror
            try:
                await mirror.load()
            except InterlockError as error:
                raise _AlarmError(f"the mirrored checkpoint cannot be used: {error.why}") from error
            self._change(mirrored=mirror.mirrored, uploaded=mirror.uploaded)

    def _own(self) -> tuple[SignedCheckpoint, bytes]:
        """Our published checkpoint with our signature only; StoreError if it is not there or not ours."""
        data = self._log.file(CHECKPOINT)
        if data is None:
            raise StoreError("our log has no checkpoint")
        try:
            return self._keys.open(data), data
        except PeerError as error:
            raise StoreError("our checkpoint cannot be used", error.why) from error

    def _change(self, **changes: object) -> None:
        self.state = msgspec.structs.replace(self.state, **changes)
        if self.on_change is not None:
            self.on_change(self.state)
