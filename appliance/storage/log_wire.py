"""What core and log writer say to each other: msgpack behind a four-byte length, over a socket pair.

The core sends Append, Publish and Refill; the writer answers Ready once, then Durable after every commit,
Signed after every publication, ReserveChanged whenever the disk reserve changed (when it was given back:
before the Durable of what was written on it), and Failed as its last word. Both ends are of one version and
one trust.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec
from msgspec import Struct

from appliance.domain.disk import DiskReserve
from appliance.domain.errors import InvariantError

MAX_FRAME = 64 * 1024 * 1024
_LENGTH = 4


class EntryRow(Struct, frozen=True, array_like=True, gc=False):
    """One encoded entry. ref: the order id it is about, if any."""

    kind: str
    utc_ns: int
    ref: str | None
    body: bytes


class OrderRow(Struct, frozen=True, array_like=True, gc=False):
    """One order's new state. body: canonical JSON of `domain.order.Order`."""

    order_id: str
    run: str
    state: str
    instrument: str
    source: str
    body: bytes


class Append(Struct, frozen=True, array_like=True, tag=1):
    """Entries `first`, `first + 1`, … of one source, with orders; one unit of one transaction.

    next: the source's sequence number after these entries.
    """

    first: int
    source: str
    next: int
    entries: tuple[EntryRow, ...]
    orders: tuple[OrderRow, ...]


class Publish(Struct, frozen=True, array_like=True, tag=2):
    """Sign and publish now, whatever the cadence says."""


class Refill(Struct, frozen=True, array_like=True, tag=7):
    """There is room again: allocate the reserve."""


class Retain(Struct, frozen=True, array_like=True, tag=9):
    """Leave to seal and prune what is older than before_ns (UTC), for a while (`log_upkeep.LEAVE_NS`).

    hurry: the disk needs the room.  A before_ns of 0 takes the leave back.
    """

    before_ns: int
    hurry: bool


class ReserveChanged(Struct, frozen=True, array_like=True, tag=8):
    """The disk reserve is another than before."""

    reserve: DiskReserve


class Ready(Struct, frozen=True, array_like=True, tag=3):
    """The store is open. size: entries in it, all durable.  sources: next sequence number of each."""

    size: int
    sources: dict[str, int]
    signed: int
    root: bytes
    checkpoint: bytes
    reserve: DiskReserve


class Durable(Struct, frozen=True, array_like=True, tag=4):
    """The first `size` entries survive a power cut."""

    size: int


class Signed(Struct, frozen=True, array_like=True, tag=5):
    """This checkpoint and all its tiles are published."""

    size: int
    root: bytes
    checkpoint: bytes


class Retained(Struct, frozen=True, array_like=True, tag=10):
    """A pass ended that did something, or could not. sealed: segments since the start.  pruned: entries, from
    the first on.  problem: why it went no further, or ""."""

    sealed: int
    pruned: int
    problem: str


class Failed(Struct, frozen=True, array_like=True, tag=6):
    """The writer ends with this exit code; what, why and do as in InterlockError. full: for want of space and
    of nothing else."""

    exit_code: int
    what: str
    why: str
    do: str
    full: bool


ToWriter: TypeAlias = Append | Publish | Refill | Retain
ToCore: TypeAlias = Ready | Durable | Signed | ReserveChanged | Retained | Failed

_encoder = msgspec.msgpack.Encoder()
_to_writer: msgspec.msgpack.Decoder[ToWriter] = msgspec.msgpack.Decoder(ToWriter)
_to_core: msgspec.msgpack.Decoder[ToCore] = msgspec.msgpack.Decoder(ToCore)


def frame(message: ToWriter | ToCore) -> bytes:
    """The message as it goes over the socket. Raises InvariantError above MAX_FRAME."""
    body = _encoder.encode(message)
    if len(body) > MAX_FRAME:
        raise InvariantError(f"{len(body)} bytes for the log in one piece", f"the cap is {MAX_FRAME}")
    return len(body).to_bytes(_LENGTH, "big") + body


class Frames:
    """Cuts a byte stream into frames; a partial one waits for its rest."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that `data` completes. Raises InvariantError for a length no sender writes."""
        self._buffer += data
        frames, at = [], 0
        while len(self._buffer) - at >= _LENGTH:
            length = int.from_bytes(self._buffer[at : at + _LENGTH], "big")
            if length > MAX_FRAME:
                raise InvariantError(f"a frame of {length} bytes on the log's socket")
            end = at + _LENGTH + length
            if end > len(self._buffer):
                break
            frames.append(bytes(self._buffer[at + _LENGTH : end]))
            at = end
        del self._buffer[:at]
        return frames


def decode_to_writer(body: bytes) -> ToWriter:
    """What the core sent. Raises InvariantError if it is nothing of this version."""
    try:
        return _to_writer.decode(body)
    except msgspec.MsgspecError as error:
        raise InvariantError("the core sent the log writer something unknown", str(error)) from error


def decode_to_core(body: bytes) -> ToCore:
    """What the writer sent. Raises InvariantError if it is nothing of this version."""
    try:
        return _to_core.decode(body)
    except msgspec.MsgspecError as error:
        raise InvariantError("the log writer sent the core something unknown", str(error)) from error
