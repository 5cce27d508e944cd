"""Entries as canonical bytes: what is written, what is refused, what is replaced."""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum

import pytest
import rfc8785

from appliance.audit.records import _AS_IS, KINDS, MAX_BODY, MAX_DEPTH, decode_entry, encode_entry
from appliance.domain.errors import InvariantError, PeerError
from appliance.domain.verdict import Flag, OrderClass
from appliance.ports import Entry


def entry(data: dict[str, object], causes: tuple[int, ...] = (), kind: str = "intent") -> Entry:
    return Entry(kind=kind, utc_ns=1_700_000_000_000_000_001, mono_ns=42, causes=causes, data=data)


def test_the_bytes_of_an_entry_are_exactly_these() -> None:
    """The format is fixed: another implementation must be able to write the same bytes."""
    body = encode_entry(7, "core", 3, entry({"qty": "1.5", "b": True, "a": [1, -2]}, causes=(2, 6)))
    assert body == (
        b'{"causes":[2,6],"data":{"a":[1,-2],"b":true,"qty":"1.5"},"i":7,"kind":"intent","mono_ns":"42",'
        b'"n":3,"src":"core","utc_ns":"1700000000000000001","v":1}'
    )
    record = decode_entry(body)
    assert (record.i, record.src, record.n, record.causes) == (7, "core", 3, (2, 6))
    assert record.utc_ns == "1700000000000000001"


def test_nanoseconds_become_strings() -> None:
    """A JSON number is a double; 1,700,000,000,000,000,001 would not survive it."""
    body = encode_entry(0, "core", 0, entry({"sent_ns": 2**60 + 1, "nested": {"all_ns": [1, 2]}}))
    assert decode_entry(body).data == {"sent_ns": str(2**60 + 1), "nested": {"all_ns": ["1", "2"]}}


def test_enumerations_are_written_by_value() -> None:
    """Domain values are enumerations of strings and flags."""
    data: dict[str, object] = {"class": OrderClass.REDUCE, "flags": Flag.SLICED | Flag.ROUNDED}
    body = encode_entry(0, "core", 0, entry(data))
    assert decode_entry(body).data == {"class": "REDUCE", "flags": 34}


@pytest.mark.parametrize("value", [2**53, -(2**53), 2**64, 1.0, b"x", {1, 2}, object()])
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    """The caller is wrong, and says so before anything is numbered."""
    with pytest.raises(InvariantError):
        encode_entry(0, "core", 0, entry({"x": value}))


@pytest.mark.parametrize("value", [2**53 - 1, -(2**53) + 1, 0, None, True, "", [], {}])
def test_the_last_values_that_fit_are_written(value: object) -> None:
    """Boundary values, checked against the outside implementation of RFC 8785."""
    body = encode_entry(0, "core", 0, entry({"x": value}))
    assert body == rfc8785.dumps(json.loads(body))
    assert decode_entry(body).data == {"x": value}


def test_keys_must_be_ascii() -> None:
    """RFC 8785 sorts by UTF-16, msgspec by UTF-8; ASCII keys are where both agree."""
    with pytest.raises(InvariantError, match="ASCII"):
        encode_entry(0, "core", 0, entry({"größe": 1}))
    with pytest.raises(InvariantError, match="ASCII"):
        encode_entry(0, "core", 0, entry({"a": {"😀": 1}}))


def test_a_lone_surrogate_cannot_stop_the_log() -> None:
    """A hostile string that UTF-8 cannot hold is written as its escape."""
    body = encode_entry(0, "core", 0, entry({"text": "a\ud800b", "good": "größe 😀"}))
    assert decode_entry(body).data == {"text": "a\\ud800b", "good": "größe 😀"}


def test_nesting_has_a_bound() -> None:
    """Sixteen levels pass, the seventeenth is refused."""
    deep: object = "end"
    for _ in range(MAX_DEPTH - 1):
        deep = [deep]
    encode_entry(0, "core", 0, entry({"x": deep}))
    with pytest.raises(InvariantError, match="nested"):
        encode_entry(0, "core", 0, entry({"x": [deep]}))


def test_a_body_may_have_16_kib_and_not_a_byte_more() -> None:
    """What is bigger is logged by hash and size of its canonical bytes."""
    empty = len(encode_entry(0, "core", 0, entry({"x": ""})))
    fits = encode_entry(0, "core", 0, entry({"x": "y" * (MAX_BODY - empty)}))
    assert len(fits) == MAX_BODY
    assert decode_entry(fits).data["x"] == "y" * (MAX_BODY - empty)
    data: dict[str, object] = {"x": "y" * (MAX_BODY - empty + 1)}
    raw = rfc8785.dumps({"x": "y" * (MAX_BODY - empty + 1)})
    digest = hashlib.sha256(raw).hexdigest()
    over = decode_entry(encode_entry(0, "core", 0, entry(data)))
    assert over.data == {"oversize": True, "sha256": digest, "size": len(raw)}


def test_causes_point_backwards() -> None:
    """An entry follows from earlier ones only: a chain cannot be circular."""
    encode_entry(5, "core", 0, entry({}, causes=(0, 4)))
    for cause in (5, 6, -1):
        with pytest.raises(InvariantError, match="cause"):
            encode_entry(5, "core", 0, entry({}, causes=(cause,)))


def test_numbers_stay_below_2_to_the_53() -> None:
    """The last index and sequence that a JSON number holds exactly; nothing negative."""
    last = 2**53 - 1
    record = decode_entry(encode_entry(last, "core", last, entry({}, causes=(0, last - 1))))
    assert (record.i, record.n, record.causes) == (last, last, (0, last - 1))
    for index, number in ((2**53, 0), (0, 2**53), (-1, 0), (0, -1)):
        with pytest.raises(InvariantError, match="numbered"):
            encode_entry(index, "core", number, entry({}))
    assert (MAX_BODY, MAX_DEPTH) == (16_384, 16)


def test_times_have_64_bits() -> None:
    """The largest and the smallest pass; SQLite has no place for the next."""
    for good in (2**63 - 1, -(2**63), 0):
        written = encode_entry(0, "core", 0, Entry(kind="clock", utc_ns=good, mono_ns=good, data={}))
        assert decode_entry(written).utc_ns == str(good)
    for bad in (2**63, -(2**63) - 1):
        for times in ((bad, 0), (0, bad)):
            with pytest.raises(InvariantError, match="64 bits"):
                encode_entry(0, "core", 0, Entry(kind="clock", utc_ns=times[0], mono_ns=times[1], data={}))


def test_too_many_causes_are_a_bug() -> None:
    """Replacing the data cannot help there."""
    with pytest.raises(InvariantError, match="too many"):
        encode_entry(100_000, "core", 0, entry({}, causes=tuple(range(90_000, 94_000))))


@pytest.mark.parametrize(
    ("source", "kind"), [("", "start"), ("a b", "start"), ("x" * 65, "start"), ("core", "?")]
)
def test_source_and_kind_are_names(source: str, kind: str) -> None:
    """An unknown kind written here is a bug; read from a newer log it is not."""
    with pytest.raises(InvariantError):
        encode_entry(0, source, 0, entry({}, kind=kind))


def test_kinds_have_a_meaning_each() -> None:
    """The table is what the documentation prints."""
    assert {"intent", "verdict", "order", "fill", "trip", "arm", "gap", "heartbeat"} <= set(KINDS)
    assert all(meaning and meaning[0].islower() for meaning in KINDS.values())


GOOD = encode_entry(9, "core", 2, entry({"a": 1}, causes=(1,)))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        GOOD + b" ",
        GOOD.replace(b'"a":1', b'"a":1.0'),
        GOOD.replace(b'"a":1', b'"a":-0'),
        GOOD.replace(b'"a":1', b'"a": 1'),
        GOOD.replace(b'"a":1', b'"a":1,"a":1'),
        GOOD.replace(b'"a":1', b'"b":1,"a":1'),
        GOOD.replace(b'"a":1', b'"a":9007199254740992'),
        GOOD.replace(b'"a":1', b'"a_ns":1'),
        GOOD.replace(b'"a":1', b'"a":"\\u0041"'),
        GOOD.replace(b'"a":1', b'"a":' + b"[" * 5000 + b"]" * 5000),
        GOOD.replace(b'"v":1', b'"v":2'),
        GOOD.replace(b'"v":1', b'"v":1,"w":1'),
        GOOD.replace(b'"i":9', b'"i":-9'),
        GOOD.replace(b'"i":9', b'"i":9007199254740992'),
        GOOD.replace(b'"n":2', b'"n":9007199254740992'),
        GOOD.replace(b'"n":2', b'"n":-2'),
        GOOD.replace(b"[1]", b"[9]"),
        GOOD.replace(b"[1]", b"[-1]"),
        GOOD.replace(b'"mono_ns":"42"', b'"mono_ns":"042"'),
        GOOD.replace(b'"mono_ns":"42"', b'"mono_ns":"4 2"'),
        GOOD.replace(b'"mono_ns":"42"', b'"mono_ns":42'),
        GOOD.replace(b'"core"', b'"co re"'),
        GOOD.replace(b'"intent"', b'"Intent"'),
        GOOD.replace(b'"a":1', b'"a":"' + b"y" * MAX_BODY + b'"'),
    ],
)
def test_anything_else_is_no_entry(body: bytes) -> None:
    """Only the one canonical spelling is read; errors never escape as anything but PeerError."""
    with pytest.raises(PeerError):
        decode_entry(body)


def test_a_kind_of_a_newer_version_is_read() -> None:
    """An older `verify` must not call a newer log forged."""
    assert decode_entry(GOOD.replace(b'"intent"', b'"ota"')).kind == "ota"


def test_types_written_as_they_are_have_ascii_names() -> None:
    """Their members go to the encoder unlooked at, and it writes UTF-8 where JSON text is ASCII here."""
    for kind in _AS_IS - {str, bool}:
        assert issubclass(kind, StrEnum)
        assert all(member.value.isascii() and member.value == str(member) for member in kind)


def test_lone_surrogates_become_escapes_wherever_they_stand() -> None:
    """In a text, a list, a mapping in a list; what stands beside them stays as it is."""
    listed, mapped = ["\udfff", ["\ud800"]], {"inner": "x\udc00", "n": 1}
    hostile = {"text": "a\ud800é", "list": listed, "map": mapped, "seq": 5}
    entry = Entry(kind="venue", utc_ns=1, mono_ns=1, data=hostile)
    assert decode_entry(encode_entry(3, "core", 0, entry)).data == {
        "text": "a\\ud800é",
        "list": ["\\udfff", ["\\ud800"]],
        "map": {"inner": "x\\udc00", "n": 1},
        "seq": 5,
    }
