"""Identity embedding: have I seen exactly this? (EMB-05 to EMB-09; P01–P04)

BLAKE3 in extendable-output mode over the framed record. It says nothing about resemblance: records that
differ in one bit get unrelated bytes, which is what deduplication wants and what similarity search must not
use (P01; that is `similarity`). It cannot be turned back into the record, so the record is stored beside it
(P04).

Framing: every field is  u32 length of name ‖ name ‖ tag ‖ u32 length of value ‖ value,  little-endian, so
that ("ab", "c") and ("a", "bc") differ, and so do 1, "1" and True (P02).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from blake3 import blake3

from appliance.domain.observation import Observation

Value: TypeAlias = int | str | bytes | bool | None

IDENTITY_BYTES = 32
"""Length of the identity the store keeps: 2^128 work for a collision."""

_DOMAIN = "interlock.identity.v1"
_TIMES = ("event_ns", "seen_ns")


def frame(kind: str, fields: Iterable[tuple[str, Value]]) -> bytes:
    """The record as bytes; different records never give the same bytes. Order of fields counts."""
    parts = [_field(_DOMAIN, kind)]
    parts.extend(_field(name, value) for name, value in fields)
    return b"".join(parts)


def identity(kind: str, fields: Iterable[tuple[str, Value]], length: int = IDENTITY_BYTES) -> bytes:
    """`length` bytes that name this record; a longer identity starts with the shorter one.

    Raises ValueError for a length below 16: shorter names collide.
    """
    if length < 16:
        raise ValueError(f"length: at least 16 bytes, got {length}")
    return blake3(frame(kind, fields)).digest(length)


def identify(
    observation: Observation, *, at_time: bool = False, context: Iterable[tuple[str, Value]] = ()
) -> bytes:
    """Identity of an observation's content, of its `event_ns` too if asked, and of what `context` adds.

    `seen_ns` never takes part: the same bar sent twice after a reconnect is one observation. Without
    `at_time`, two quiet bars of different days that read the same are the same (P02).
    """
    skipped = _TIMES[1:] if at_time else _TIMES
    kind = str(observation.__struct_config__.tag)
    names = (name for name in observation.__struct_fields__ if name not in skipped)
    return identity(kind, [*((name, getattr(observation, name)) for name in names), *context])


def _field(name: str, value: Value) -> bytes:
    label = name.encode()
    tag, payload = _tagged(value)
    return b"".join(
        (len(label).to_bytes(4, "little"), label, tag, len(payload).to_bytes(4, "little"), payload)
    )


def _tagged(value: Value) -> tuple[bytes, bytes]:
    if isinstance(value, bool):
        return (b"T" if value else b"F"), b""
    if isinstance(value, int):
        # Shortest two's complement: one byte sequence per integer, of any size.
        return b"I", value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
    if isinstance(value, str):
        return b"S", value.encode()
    if isinstance(value, bytes):
        return b"B", value
    return b"N", b""
