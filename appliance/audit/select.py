"""Which entries somebody wants to read: by kind, order, mode, time, reason, source or text. R1.

A filter answers twice: `may_match` looks at columns and bytes only, so that a long scan decodes little;
`matches` looks at the record and has the last word.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
from msgspec import Struct

from appliance.audit.records import Record

FIRST_NS, END_NS = -(2**63), 2**63
_WHO = ("source", "strategy")
_FRESH_NS = 500_000_000
"""A core that notes its mode and then its start does both within this; to come up again takes longer."""

_PAUSED = "PAUSED"


class Filter(Struct, frozen=True, kw_only=True):
    """What an entry must be like; an empty field asks for nothing.

    kinds: any of these.  order: the order's id, or that of one of its legs.  reason: a code such as
    `NO_LIMIT`, any case.  source: who asked, or who wrote the entry.  mode: the box was in it (`ModeTrack`).
    from_ns ≤ utc_ns < to_ns.  pattern: found in the stored bytes.
    """

    kinds: frozenset[str] = frozenset()
    order: str = ""
    mode: str = ""
    reason: str = ""
    source: str = ""
    from_ns: int = FIRST_NS
    to_ns: int = END_NS
    pattern: re.Pattern[bytes] | None = None

    def may_match(self, kind: str, utc_ns: int, body: bytes) -> bool:
        """False only for an entry that `matches` would refuse."""
        if (self.kinds and kind not in self.kinds) or not self.from_ns <= utc_ns < self.to_ns:
            return False
        if self.reason and _stored(self.reason).upper() not in body.upper():
            return False
        if _stored(self.source) not in body or _stored(self.order) not in body:
            return False
        return self.pattern is None or self.pattern.search(body) is not None

    def matches(self, record: Record) -> bool:
        """True if the record is wanted; mode and pattern are the caller's and `may_match`'s."""
        if self.kinds and record.kind not in self.kinds:
            return False
        if not self.from_ns <= int(record.utc_ns) < self.to_ns:
            return False
        told = list(_tellings(record.data))
        if self.order and not _is_order(record.data.get("order_id"), self.order):
            return False
        if self.reason and not any(_upper(self.reason) in _reasons(data) for data in told):
            return False
        return not self.source or record.src == self.source or any(
            data.get(key) == self.source for data in told for key in _WHO
        )


def _tellings(data: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    """An entry's data and, for a list of orders, that of each."""
    yield data
    orders = data.get("orders")
    if isinstance(orders, list):
        yield from (each for each in orders if isinstance(each, dict))


def _is_order(named: object, order: str) -> bool:
    """Legs are named after their order: `il-…-s` is the stop of `il-…`."""
    return isinstance(named, str) and (named == order or named.startswith(f"{order}-"))


def _reasons(data: Mapping[str, object]) -> set[bytes]:
    """What an entry gives as its reason: a code, or the free text of an order's or a mode's `why`."""
    found = (data.get(key) for key in ("reason", "why", "ending", "refused", "cause"))
    return {_upper(value) for value in found if isinstance(value, str)}


def _upper(text: str) -> bytes:
    """Codes are ASCII; other letters are compared as they are, as `may_match` does."""
    return text.encode(errors="replace").upper()


def _stored(text: str) -> bytes:
    """`text` as it stands inside a canonical JSON text."""
    return msgspec.json.encode(text.encode(errors="replace").decode())[1:-1]


class ModeTrack:
    """In which mode each entry was written, from the entries of kind `mode` and `start` alone.

    A core starts in PAUSED; what it kept over a restart it notes just before its own `start` (SAFETY 5).
    """

    def __init__(self, told: Iterable[Record]) -> None:
        """told: every `mode` and `start` entry, in order."""
        self._at: list[int] = []
        self._modes: list[str] = []
        noted_ns = -_FRESH_NS
        for record in told:
            mono_ns = int(record.mono_ns)
            if record.kind == "mode":
                self._add(record.i, str(record.data.get("to", "")))
                noted_ns = mono_ns
            elif record.kind == "start" and not 0 <= mono_ns - noted_ns < _FRESH_NS:
                self._add(record.i, _PAUSED)

    def at(self, index: int) -> str:
        """The mode as of an entry; a change of mode counts as the mode it leads to."""
        place = bisect.bisect_right(self._at, index)
        return self._modes[place - 1] if place else _PAUSED

    def _add(self, index: int, mode: str) -> None:
        self._at.append(index)
        self._modes.append(mode)


def summary(data: Mapping[str, object], first: Sequence[str] = ()) -> str:
    """`key=value` of every plain value, those named in `first` before the others; no control characters."""
    keys = [*(key for key in first if key in data), *(key for key in data if key not in first)]
    pairs = (f"{key}={data[key]}" for key in keys if not isinstance(data[key], dict | list))
    return printable(" ".join(pairs))


def printable(text: str) -> str:
    """`text` without anything a terminal would obey: a bot chooses ids and reasons, not cursor movements."""
    return "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in text)
