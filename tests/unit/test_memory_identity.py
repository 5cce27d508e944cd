"""Identity embedding: exactly this record, and no other (EMB-05 to EMB-09; P01–P03)."""

from __future__ import annotations

import msgspec
import pytest
from blake3 import blake3

from appliance.domain.ids import InstrumentId
from appliance.domain.money import Price, Qty
from appliance.domain.observation import Quote, Trade
from appliance.memory.identity import IDENTITY_BYTES, Value, frame, identify, identity
from tests.test_memory_kit import bar

BAR = bar(7, (100, 110, 90, 105))


def _field(name: str, tag: str, payload: bytes) -> bytes:
    raw = name.encode()
    return len(raw).to_bytes(4, "little") + raw + tag.encode() + len(payload).to_bytes(4, "little") + payload


def test_the_frame_is_what_the_module_describes() -> None:
    """Written out by hand, so that another program can make the same identity."""
    expected = _field("interlock.identity.v1", "S", b"kind") + _field("n", "I", b"\x00\x01")
    expected += _field("b", "B", b"\xff") + _field("t", "T", b"") + _field("f", "F", b"")
    expected += _field("x", "N", b"") + _field("z", "I", b"\x00")
    values: list[Value] = [256, b"\xff", True, False, None, 0]
    fields = list(zip("nbtfxz", values, strict=True))
    assert frame("kind", fields) == expected
    assert identity("kind", fields) == blake3(expected).digest(32)


def test_the_identity_of_a_bar_is_pinned() -> None:
    """It must be the same on every machine and in every later version: deduplication depends on it."""
    at_time = identify(BAR, at_time=True).hex()
    assert at_time == "11a9a36a6a3a533fa5844cedb980698c337a41c322e8ccc8f58a54a3e8a8202e"
    assert identify(BAR).hex() == "2f1cef2ec6f966208ac1eb00c6ec3f7935853ce65f553938ca72acecdc193db8"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([("a", "ab"), ("b", "c")], [("a", "a"), ("b", "bc")]),
        ([("ab", "c")], [("a", "bc")]),
        ([("a", 1)], [("a", "1")]),
        ([("a", 1)], [("a", True)]),
        ([("a", 0)], [("a", False)]),
        ([("a", None)], [("a", "")]),
        ([("a", "")], [("a", b"")]),
        ([("a", -1)], [("a", 255)]),
        ([("a", 127)], [("a", -129)]),
        ([], [("a", None)]),
        ([("a", 1), ("b", 2)], [("b", 2), ("a", 1)]),
    ],
)
def test_records_that_differ_have_frames_that_differ(
    one: list[tuple[str, int]], other: list[tuple[str, int]]
) -> None:
    """P02: without length and type marks these pairs collide."""
    assert frame("k", one) != frame("k", other)
    assert identity("k", one) != identity("k", other)


def test_an_identity_can_be_of_any_length() -> None:
    """Extendable output: the longer one starts with the shorter one."""
    long = identity("k", [("a", 1)], 1000)
    assert len(long) == 1000
    assert identity("k", [("a", 1)]) == long[:IDENTITY_BYTES]
    assert identity("k", [("a", 1)], 16) == long[:16]
    with pytest.raises(ValueError, match="length"):
        identity("k", [("a", 1)], 15)


def test_time_takes_part_only_if_asked() -> None:
    """Content answers "have I seen these numbers", content and time "have I seen this bar"."""
    later = msgspec.structs.replace(BAR, event_ns=BAR.event_ns + 1)
    assert identify(later) == identify(BAR)
    assert identify(later, at_time=True) != identify(BAR, at_time=True)


def test_when_it_was_seen_never_takes_part() -> None:
    """The same bar sent again after a reconnect is the same bar."""
    again = msgspec.structs.replace(BAR, seen_ns=BAR.seen_ns + 1)
    assert identify(again) == identify(BAR)
    assert identify(again, at_time=True) == identify(BAR, at_time=True)


@pytest.mark.parametrize("name", ["instrument", "open", "high", "low", "close", "volume"])
def test_every_other_field_takes_part(name: str) -> None:
    """A field left out would make two different bars one."""
    value = InstrumentId("SPY") if name == "instrument" else getattr(BAR, name) + 1
    changed = msgspec.structs.replace(BAR, **{name: value})
    assert identify(changed) != identify(BAR)


def test_kinds_of_observation_are_kept_apart() -> None:
    """A trade and a quote never share an identity, whatever their numbers; context separates too."""
    spx = InstrumentId("SPX")
    trade = Trade(instrument=spx, event_ns=1, seen_ns=1, price=Price(1), qty=Qty(1), seller_initiated=False)
    one, lot = Price(1), Qty(1)
    quote = Quote(instrument=spx, event_ns=1, seen_ns=1, bid=one, bid_qty=lot, ask=one, ask_qty=lot)
    named = {identify(trade), identify(quote), identify(BAR), identify(BAR, context=[("bar_ns", 60)])}
    assert len(named) == 4
