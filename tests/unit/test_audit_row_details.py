"""Details of rows PRV-02, PRV-05 and PRV-06 that no other test states by itself."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from appliance.audit.checkpoint import Checkpoint, sign_checkpoint
from appliance.audit.notes import SigningKey, parse_vkey
from appliance.audit.records import decode_entry, encode_entry, entry_bytes
from appliance.audit.verify import KeyText, Trust, verify
from appliance.domain.errors import InvariantError, PeerError
from appliance.ports import Entry
from appliance.runtime.scribe import CoreScribe
from tests.audit_support import LOG, TRUST, MemoryLog, body
from tests.kit import DoneTicket


def test_an_entry_is_made_with_its_creator_and_the_time_of_its_writing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both clocks of the moment it is noted, and nothing of the caller's choosing."""
    monkeypatch.setattr("time.time_ns", lambda: 1_700_000_000_123_456_789)
    monkeypatch.setattr("time.monotonic_ns", lambda: 42)
    noted: list[Entry] = []

    class Log:
        def append(self, entries: tuple[Entry, ...], _orders: object) -> DoneTicket:
            noted.extend(entries)
            return DoneTicket(0, None)

    CoreScribe(Log()).note("trip", {"reason": "X"})  # type: ignore[arg-type]
    record = decode_entry(encode_entry(7, "core", 3, noted[0]))
    assert (record.src, record.n, record.utc_ns, record.mono_ns) == ("core", 3, "1700000000123456789", "42")


@pytest.mark.parametrize("causes", [(), (0,), (0, 1), (2, 1)])
def test_a_parent_changed_after_signing_is_found(causes: tuple[int, ...]) -> None:
    """In the store alone, and in store, bundle and tiles alike: the signed root covers causes too (P17)."""
    whole = MemoryLog(5, [5])
    changed = entry_bytes(replace(decode_entry(body(3)), causes=causes))
    assert changed != body(3)
    alone = MemoryLog(5, [5])
    alone.stored[3] = changed
    (finding,) = verify(alone, TRUST).findings
    assert finding.place == "entry 3"
    forged = MemoryLog(5, [5], [*whole.stored[:3], changed, *whole.stored[4:]])
    forged.files["checkpoint"] = whole.files["checkpoint"]
    assert [each.place for each in verify(forged, TRUST).findings] == ["checkpoint line 3"]


def test_each_way_to_fail_has_its_own_words() -> None:
    """What cannot be written, a key that is none, a bad signature, bytes that are not the signed ones."""
    with pytest.raises(InvariantError, match="no canonical form"):
        encode_entry(0, "core", 0, Entry(kind="trip", utc_ns=0, mono_ns=0, data={"x": 1.5}))
    with pytest.raises(PeerError, match="key"):
        parse_vkey("no key")
    keyless = verify(MemoryLog(2, [2]), Trust(KeyText("log.vkey", "no key")))
    assert keyless.findings[0].place == "log.vkey"
    signed = MemoryLog(2, [2])
    stranger = SigningKey(LOG.name, bytes(32))
    signed.files["checkpoint"] = sign_checkpoint(Checkpoint(LOG.name, 2, signed.root(2)), stranger)
    changed = MemoryLog(2, [2])
    changed.stored[1] = body(1).replace(b'"number":1', b'"number":2')
    reports = (keyless, verify(signed, TRUST), verify(changed, TRUST))
    assert len({report.findings[0].reason for report in reports}) == 3
