"""The worked log of AUDIT-FORMATS, sizes around full tiles and odd entries, before the outside verifiers."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from appliance.audit.notes import ed25519_verifies
from appliance.audit.verify import verify
from appliance.storage.keys import read_signing_key
from appliance.storage.log_client import LogSettings
from appliance.storage.log_reader import LogReader
from appliance.storage.log_store import LogStore
from appliance.storage.log_wire import Append, EntryRow
from tests.audit_support import WITNESS, new_log, trust
from tests.outside.judges import Verifier, copy_of, put
from tests.unit.test_audit_checkpoint import BODY, LOG_LINE, WITNESS_LINE
from tests.unit.test_audit_notes import EDGE_CASES

SMALL = (1, 255, 256, 257)
LARGE = (65_535, 65_536, 65_537)


def published(settings: LogSettings, bodies: list[bytes], sizes: tuple[int, ...], kept: Path) -> None:
    """Commits and publishes size by size; `kept/<size>` has the files as they were then."""
    store = LogStore(settings.directory, read_signing_key(settings.key_file))
    for size in sizes:
        rows = tuple(EntryRow("heartbeat", at, None, bodies[at]) for at in range(store.size, size))
        store.commit([Append(store.size, "core", size, rows, ())])
        for _ in store.publish():
            pass
        copy_of(settings.directory, kept / str(size))
    store.close()


def accepts(verifier: Verifier, settings: LogSettings, log: Path, size: int) -> None:
    """Whole, and this many entries."""
    accepted, said = verifier(log, settings.key_file.with_suffix(".vkey"), None)
    assert accepted, said
    assert said.startswith(f"{size} entries of ")


def test_the_worked_log_out_of_our_store_is_accepted(tmp_path: Path, verifier: Verifier) -> None:
    """AUDIT-FORMATS 11 byte for byte, and with the witness's line under it."""
    settings = new_log(tmp_path)
    published(settings, [b'{"seq":%d}' % at for at in range(3)], (3,), tmp_path)
    log = tmp_path / "3"
    assert (log / "checkpoint").read_text() == f"{BODY}\n{LOG_LINE}"
    bundle = "00097b22736571223a307d00097b22736571223a317d00097b22736571223a327d"
    assert (log / "tile/entries/000.p/3").read_bytes().hex() == bundle
    assert {str(path.relative_to(log)) for path in log.rglob("*") if path.is_file()} == {
        "checkpoint",
        "tile/0/000.p/3",
        "tile/entries/000.p/3",
    }
    accepts(verifier, settings, log, 3)
    assert WITNESS.cosign(BODY, 1_700_000_000).line == WITNESS_LINE
    put(log / "checkpoint", f"{BODY}\n{LOG_LINE}{WITNESS_LINE}".encode())
    accepts(verifier, settings, log, 3)


def test_an_empty_log_is_accepted(tmp_path: Path, verifier: Verifier) -> None:
    """Size 0 is signed too."""
    settings = new_log(tmp_path)
    accepts(verifier, settings, settings.directory, 0)


@pytest.mark.parametrize(
    "sizes",
    [pytest.param(SMALL, id="256"), pytest.param(LARGE, id="65536", marks=pytest.mark.long)],
)
def test_sizes_around_full_tiles_are_accepted(
    tmp_path: Path, verifier: Verifier, sizes: tuple[int, ...], request: pytest.FixtureRequest
) -> None:
    """AUDIT, fault 17: one before, exactly, one after a full tile of either level; as published then."""
    settings = new_log(tmp_path)
    published(settings, [b"%d" % at for at in range(sizes[-1])], sizes, tmp_path)
    if sizes == LARGE and "sigstore" in request.node.name:
        sizes = sizes[-1:]  # it walks every proof: seconds for each
    for size in sizes:
        accepts(verifier, settings, tmp_path / str(size), size)


def test_entries_of_any_bytes_are_accepted_as_logged(tmp_path: Path, verifier: Verifier) -> None:
    """AUDIT, fault 16: of 0 and 65,535 bytes, and not UTF-8. Only ours can say that they are no records."""
    settings = new_log(tmp_path)
    odd = [b"", b"x" * 65_535, b"\xff\xfe\x00\x80", b"\x00" * 65_535, b"", b"\n\n"]
    published(settings, odd, (1, len(odd)), tmp_path)
    for size in (1, len(odd)):
        accepts(verifier, settings, tmp_path / str(size), size)
    reader = LogReader(settings.directory)
    report = verify(reader, trust(settings))
    reader.close()
    assert [finding.place for finding in report.findings] == [f"entry {at}" for at in range(len(odd))]
    assert all(finding.reason.startswith("not an audit entry") for finding in report.findings)


def test_openssl_accepts_edge_cases_ours_refuses() -> None:
    """208 of 914 against 43, as AUDIT-FORMATS 12 counted: which library decides is part of the format."""
    ed25519 = pytest.importorskip(
        "cryptography.hazmat.primitives.asymmetric.ed25519",
        reason="no cryptography here. DO: pip install '.[test]'",
    )
    if not EDGE_CASES.exists():
        pytest.skip(f"no published Ed25519 vectors here: {EDGE_CASES}")
    refused = pytest.importorskip("cryptography.exceptions").InvalidSignature
    theirs, ours = set(), set()
    for at, case in enumerate(json.loads(gzip.decompress(EDGE_CASES.read_bytes()))):
        key, message, signature = bytes.fromhex(case["key"]), case["msg"].encode(), bytes.fromhex(case["sig"])
        if ed25519_verifies(key, message, signature):
            ours.add(at)
        try:
            ed25519.Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
        except refused:
            continue
        theirs.add(at)
    assert (len(ours), len(theirs), len(ours ^ theirs)) == (43, 208, 165)
    assert ours < theirs
