"""One audit entry as bytes: RFC 8785 canonical JSON, the exact bytes that are hashed, stored and served.

msgspec with `order="sorted"` writes what RFC 8785 asks for as long as keys are ASCII, no float occurs and
every integer is below 2^53 (TOOLCHAIN 8); the encoder refuses the rest. Prices, quantities and nanoseconds
are strings, because JSON numbers are doubles (AUDIT-FORMATS 10).

    v      format of the record, 1
    i      log index
    src    who wrote it; n counts that source's entries from 0 without a gap (AUDIT, completeness)
    kind   one of KINDS
    utc_ns, mono_ns   both clocks as decimal strings
    causes log indices this entry follows from, all smaller than i: chains end and cannot be circular
    data   the content

Creator, time, parents and signature of PRV-01 are src, utc_ns, causes and the checkpoint that covers i;
unlike there, the signature covers all of them (P17).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache

import msgspec
from msgspec import Struct

from appliance.domain.errors import InvariantError, PeerError
from appliance.domain.intent import Action, ListKind, OrderType, Side
from appliance.domain.order import OrderState
from appliance.domain.reasons import Reason
from appliance.domain.verdict import OrderClass
from appliance.ports import Entry

VERSION = 1
MAX_BODY = 16 * 1024
"""Bytes. The format allows 65,535; what is bigger is logged by hash and size."""

MAX_DEPTH = 16
INT_END = 2**53
NS_END = 2**63

KINDS: dict[str, str] = {
    "start": "a process started: version, boot, how often it says that it lives",
    "stop": "a process ended on purpose, and why",
    "config": "the configuration in force: hash of its file, and its limits",
    "key": "the log's key was rotated, a key was revoked, or was used outside the core",
    "run_start": "a replay or live session began on a venue account",
    "run_end": "that session ended",
    "signal": "a strategy changed its mind: why, and which precedents memory knew",
    "intent": "a source asked for an order or a cancel",
    "verdict": "the gate approved or denied an intent",
    "denied_count": "denials of a chatty source, counted instead of listed",
    "execution": "a wish began to be worked, in which slices; or ended, and what it cost against its arrival",
    "order": "an order changed its state",
    "fill": "the venue executed part of an order",
    "fees": "the venue told a fee schedule that is new or has changed",
    "venue": "the venue reported something that does not fit our books",
    "mode": "the mode changed",
    "trip": "the gate was latched shut",
    "arm_press": "somebody worked the arm key, or sent a signed operator command",
    "arm_refused": "the guard refused signed operator commands, how many and why",
    "arm": "one deliberate step back towards NORMAL",
    "recovery": "a recovery plan is due, began, stepped, began its share again or ended",
    "loosening": "a signed act that loosens, such as a reset of the account's peak: done, or refused why",
    "hold": "new exposure began to wait",
    "hold_end": "that wait ended with its cause",
    "breaker": "a circuit breaker opened, let probes through or closed",
    "rebalance": "what would bring the portfolio back inside its limits: a proposal, nobody acts on it",
    "loss_level": "the day's loss passed a mark before its limit: alert, or slow (half of every limit)",
    "strategy_stop": "a strategy's own limit stopped it",
    "reconcile": "our books were compared with the venue's",
    "clock": "the clock was first read, stepped, lost or regained synchronisation, or a doubt about it ended",
    "disk": "room on the disk passed a mark, or the reserve for exits was used or made again",
    "retention": "old entries were sealed and pruned, up to where, or why not",
    "alert": "what the alerter told people since it started, and what stands",
    "heartbeat": "the process is alive, at least so often as its start said",
    "gap": "an act left before its record was durable, or was recorded too late to be in its place",
    "upstream": "the witness answered, refused or showed another history",
    "memory": "long-term memory was opened, is impaired and why, or is well again",
}

_SOURCE = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_KIND = re.compile(r"[a-z][a-z0-9_]{0,31}")
_NS = re.compile(r"0|-?[1-9][0-9]{0,18}")
_LISTS = (list, tuple)
_AS_IS = frozenset({str, bool, Action, ListKind, OrderClass, OrderState, OrderType, Reason, Side})
"""Types whose values the encoder writes as RFC 8785 asks; of the names, every member is ASCII text."""


class Record(Struct, frozen=True, forbid_unknown_fields=True):
    """A decoded entry; fields as in the module's docstring."""

    v: int
    i: int
    src: str
    n: int
    kind: str
    utc_ns: str
    mono_ns: str
    causes: tuple[int, ...]
    data: dict[str, object]


_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder(Record).decode


def encode_entry(index: int, source: str, sequence: int, entry: Entry) -> bytes:
    """Canonical bytes of an entry, at most MAX_BODY.

    `data` that would not fit is replaced by `{"oversize": true, "sha256": …, "size": …}` of its canonical
    bytes. An integer under a key that ends in `_ns` is written as a string; a lone surrogate, which UTF-8
    cannot hold, as its escape, so that no hostile text can stop the log. Raises InvariantError for anything
    that has no canonical form: the caller is wrong, and nothing was numbered yet.
    """
    if entry.kind not in KINDS:
        raise InvariantError(f"audit entry of unknown kind {entry.kind!r}")
    if not _is_source(source):
        raise InvariantError(f"audit source {source!r} is not 1 to 64 letters, digits or ._:-")
    for cause in entry.causes:
        if not 0 <= cause < index:
            raise InvariantError(f"audit entry {index} names a cause that is not before it: {entry.causes}")
    if not (0 <= index < INT_END and 0 <= sequence < INT_END):
        raise InvariantError(f"audit entry {index} of {source} cannot be numbered {sequence}")
    if not (-NS_END <= entry.utc_ns < NS_END and -NS_END <= entry.mono_ns < NS_END):
        raise InvariantError(f"audit entry {index} has a time beyond 64 bits")
    record = Record(
        VERSION, index, source, sequence, entry.kind, str(int(entry.utc_ns)), str(int(entry.mono_ns)),
        tuple(entry.causes), _plain_mapping(entry.data, 0),
    )  # fmt: skip
    try:
        body = _encode(record)
    except UnicodeEncodeError:
        escaped = {key: _escaped(value) for key, value in record.data.items()}
        record = msgspec.structs.replace(record, data=escaped)
        body = _encode(record)
    if len(body) > MAX_BODY:
        body = _encode(msgspec.structs.replace(record, data=_stand_in(record.data)))
    if len(body) > MAX_BODY:
        raise InvariantError(f"audit entry {index} names {len(entry.causes)} causes: too many for one entry")
    return body


def decode_entry(body: bytes) -> Record:
    """The record in `body`. Raises PeerError unless the bytes are exactly what `encode_entry` writes.

    A kind this version does not know is accepted: an older `verify` must not call a newer log forged.
    """
    if len(body) > MAX_BODY:
        raise PeerError("not an audit entry", f"{len(body)} bytes, the cap is {MAX_BODY}")
    try:
        record = _decode(body)
        canonical = _encode(msgspec.structs.replace(record, data=_plain_mapping(record.data, 0)))
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise PeerError("not an audit entry", str(error)) from error
    except InvariantError as error:
        raise PeerError("not an audit entry", error.what) from error
    if canonical != body:
        raise PeerError("not an audit entry", "the bytes are not in canonical form (RFC 8785)")
    _check_fields(record)
    return record


def entry_bytes(record: Record) -> bytes:
    """The bytes a record was decoded from: `decode_entry` takes no others."""
    return _encode(record)


@lru_cache(maxsize=64)
def _is_source(source: str) -> bool:
    return _SOURCE.fullmatch(source) is not None


def _check_fields(record: Record) -> None:
    wrong = ""
    if record.v != VERSION:
        wrong = f"format {record.v} is unknown to this version"
    elif not (0 <= record.i < INT_END and 0 <= record.n < INT_END):
        wrong = "a number is out of range"
    elif not _SOURCE.fullmatch(record.src) or not _KIND.fullmatch(record.kind):
        wrong = "source or kind is not a name"
    elif not _NS.fullmatch(record.utc_ns) or not _NS.fullmatch(record.mono_ns):
        wrong = "a time is not a decimal number"
    elif not all(0 <= cause < record.i for cause in record.causes):
        wrong = "a cause does not point backwards"
    if wrong:
        raise PeerError("not an audit entry", wrong)


def _stand_in(data: dict[str, object]) -> dict[str, object]:
    raw = _encode(data)
    return {"oversize": True, "sha256": hashlib.sha256(raw).hexdigest(), "size": len(raw)}


def _plain_mapping(data: Mapping[str, object], depth: int) -> dict[str, object]:
    """`data` with every value the encoder would write otherwise, or not at all, made plain; a lone surrogate
    in a text is left to `_escaped`. Most values are texts and names, and this runs for every order."""
    try:
        ascii_keys = "".join(data).isascii()
    except TypeError:
        ascii_keys = False
    if not ascii_keys:
        raise InvariantError(f"audit data has the keys {list(data)!r}: keys are ASCII strings")
    plain = dict(data)
    for key, value in data.items():
        if type(value) not in _AS_IS:
            plain[key] = _plain(value, key, depth + 1)
    return plain


def _plain(value: object, key: str, depth: int) -> object:
    """`value` made of JSON's own types; `key` is the name it stands under."""
    if type(value) is dict and depth < MAX_DEPTH:  # asked of the type alone: the ABC below costs 0.4 µs
        return _plain_mapping(value, depth)
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if key.endswith("_ns"):
            return str(int(value))
        if not -INT_END < value < INT_END:
            raise InvariantError(f"audit data {key!r} is an integer of 2^53 or more: pass it as a string")
        return int(value)
    if depth >= MAX_DEPTH:
        raise InvariantError(f"audit data {key!r} is nested deeper than {MAX_DEPTH}")
    if isinstance(value, _LISTS):
        return [_plain(item, key, depth + 1) for item in value]
    if isinstance(value, Mapping):
        return _plain_mapping(value, depth)
    raise InvariantError(f"audit data {key!r} is a {type(value).__name__}, which has no canonical form")


def _escaped(value: object) -> object:
    """Plain values with every lone surrogate as its escape."""
    if isinstance(value, dict):
        return {key: _escaped(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_escaped(each) for each in value]
    return _text(value) if isinstance(value, str) else value


def _text(value: str) -> str:
    plain = str.__str__(value)
    if plain.isascii():
        return plain
    return plain.encode("utf-8", "backslashreplace").decode("utf-8")
