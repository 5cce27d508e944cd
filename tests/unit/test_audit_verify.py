"""`verify` accepts what is whole, and names the place of what is not."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest

from appliance.audit.checkpoint import Checkpoint, sign_checkpoint
from appliance.audit.notes import SigningKey
from appliance.audit.records import encode_entry
from appliance.audit.report import MAX_FINDINGS, Report
from appliance.audit.tiles import new_tiles
from appliance.audit.verify import MAX_SOURCES, KeyText, Trust, verify
from appliance.domain.errors import StoreError
from appliance.ports import Entry
from tests.audit_support import LOG, TRUST, WITNESS, MemoryLog, body, flip


def places(report: Report) -> list[str]:
    return [finding.place for finding in report.findings]


@pytest.mark.parametrize(
    ("size", "published", "cosigned"),
    [
        (0, [0], None),
        (1, [1], 1),
        (3, [1, 2, 3], 2),
        (255, [255], 255),
        (256, [255, 256], 256),
        (257, [256, 257], 255),
        (600, [5, 300, 599], 300),
        (600, [600], 0),
    ],
)
def test_a_whole_log_is_accepted(size: int, published: list[int], cosigned: int | None) -> None:
    """With unsigned entries after the checkpoint, partial tiles of earlier sizes, and a co-signature."""
    log = MemoryLog(size, published)
    if cosigned is not None:
        log.cosign(cosigned)
    done: list[tuple[int, int]] = []
    report = verify(log, TRUST, lambda now, total: done.append((now, total)))
    assert report.findings == ()
    assert report.ok
    assert (report.entries, report.signed, report.unsigned) == (size, published[-1], size - published[-1])
    assert report.witnessed == (cosigned or 0)
    assert report.witness == (WITNESS.name if cosigned is not None else "")
    assert report.bundles == -(-published[-1] // 256)
    assert report.tiles[:1] == ((report.bundles,) if report.bundles else ())
    assert report.sources == ((("core", size),) if size else ())
    assert report.root == log.root(published[-1]).hex()
    assert done == [(min(at + 256, size), size) for at in range(0, size, 256)]


def test_three_levels_of_tiles_are_counted() -> None:
    """65,537 entries: 257 bundles, 257 tiles of leaves, a full tile above and one hash on top."""
    report = verify(MemoryLog(65_537, [65_537]), TRUST)
    assert report.ok
    assert (report.bundles, report.tiles) == (257, (257, 1, 1))


@pytest.mark.parametrize("index", [0, 1, 254, 255, 256, 300, 599])
@pytest.mark.parametrize("at", [0, 20, -1])
def test_a_changed_entry_is_named(index: int, at: int) -> None:
    """The stored bytes of one entry, at several places of several entries."""
    log = MemoryLog(600, [600])
    log.stored[index] = flip(log.stored[index], at % len(log.stored[index]))
    report = verify(log, TRUST)
    assert not report.ok
    assert places(report)[0] == f"entry {index}"
    assert set(places(report)) <= {f"entry {index}", f"entry {index + 1}"}


@pytest.mark.parametrize("index", [0, 255, 256, 599])
def test_an_entry_exchanged_for_a_well_formed_one_is_named(index: int) -> None:
    """Nothing is wrong with the new bytes themselves; bundle, tile and root outvote them."""
    log = MemoryLog(600, [600])
    changed = Entry(kind="heartbeat", utc_ns=1, mono_ns=1, data={"forged": True})
    log.stored[index] = encode_entry(index, "core", index, changed)
    report = verify(log, TRUST)
    assert [str(finding) for finding in report.findings] == [
        f"entry {index}: the stored bytes differ from what was published"
    ]


@pytest.mark.parametrize("index", [0, 255, 256, 599])
def test_a_changed_entry_no_tile_contradicts_is_found_by_the_root(index: int) -> None:
    """Whoever rewrites entry, bundle and tiles alike cannot sign a new root."""
    log = MemoryLog(600, [300, 600])
    changed = Entry(kind="heartbeat", utc_ns=1, mono_ns=1, data={"forged": True})
    log.stored[index] = encode_entry(index, "core", index, changed)
    rebuilt = MemoryLog(600, [600], log.stored)
    rebuilt.files["checkpoint"] = log.files["checkpoint"]
    report = verify(rebuilt, TRUST)
    assert places(report) == ["checkpoint line 3"]


@pytest.mark.parametrize("size", [300, 512])
def test_every_published_file_is_looked_at(size: int) -> None:
    """One bit of each published file, at its beginning, middle and end: refused, and the file is named."""
    whole = MemoryLog(size, [200, 299, size])
    whole.cosign(200)
    for path, data in whole.files.items():
        for at in (0, len(data) // 2, len(data) - 1):
            log = MemoryLog(size, (), whole.stored)
            log.files = dict(whole.files)
            log.files[path] = flip(data, at)
            report = verify(log, TRUST)
            assert not report.ok, (path, at)
            assert any(place == path or place.startswith(path) for place in places(report)), (path, report)


@pytest.mark.parametrize("size", [300, 512])
def test_a_file_that_is_too_short_or_too_long_is_named(size: int) -> None:
    """Cut, empty, with a byte or a whole hash behind what belongs there."""
    whole = MemoryLog(size, [size])
    whole.cosign(size)
    for path, data in whole.files.items():
        for changed in (b"", data[:-1], data[:-32], data + b"\0", data + bytes(32)):
            log = MemoryLog(size, (), whole.stored)
            log.files = {**whole.files, path: changed}
            assert path in [place.split(" ")[0] for place in places(verify(log, TRUST))], path


def test_a_missing_file_is_named() -> None:
    """Everything a size needs has to be there; a partial tile may be the beginning of a full one."""
    whole = MemoryLog(300, [300])
    for path in whole.files:
        log = MemoryLog(300, (), whole.stored)
        log.files = {name: data for name, data in whole.files.items() if name != path}
        assert places(verify(log, TRUST)) == [path]


def test_a_log_that_grows_meanwhile_is_whole() -> None:
    """Between reading head and partial tile the writer may have replaced that by the full one."""
    log = MemoryLog(600, [300])
    old_head = log.files["checkpoint"]
    log.publish(600)
    log.files["checkpoint"] = old_head
    report = verify(log, TRUST)
    assert report.ok
    assert (report.signed, report.unsigned) == (300, 300)


class Damaged(MemoryLog):
    """A log whose database lost an entry, or cannot be read from some entry on."""

    def __init__(self, whole: MemoryLog, missing: int = -1, unreadable: int = -1) -> None:
        super().__init__(0, (), whole.stored)
        self.files = whole.files
        self._missing, self._unreadable = missing, unreadable

    def bodies(self, start: int, stop: int) -> Iterator[bytes]:
        for index in range(start, stop):
            if index == self._unreadable:
                raise StoreError("log.db cannot be used", "database disk image is malformed")
            if index == self._missing:
                return
            yield self.stored[index]


def test_missing_entries_are_found() -> None:
    """At the end, in the middle, all of them."""
    log = MemoryLog(600, [600])
    del log.stored[590:]
    assert places(verify(log, TRUST))[0] == "checkpoint line 2"
    log = MemoryLog(600, [600])
    log.stored.clear()
    report = verify(log, TRUST)
    assert places(report) == ["checkpoint line 2"]

    log = MemoryLog(600, [600])
    report = verify(Damaged(log, missing=400), TRUST)
    assert places(report) == ["entry 400"]
    assert report.entries == 256


def test_a_store_that_cannot_be_read_is_a_finding() -> None:
    """A damaged page must not end in a traceback."""
    report = verify(Damaged(MemoryLog(600, [600]), unreadable=256), TRUST)
    assert places(report) == ["entry 256 or its files"]
    assert "malformed" in report.findings[0].reason

    class Unreadable(MemoryLog):
        def size(self) -> int:
            raise StoreError("log.db cannot be used", "disk I/O error")

        def file(self, path: str) -> bytes | None:
            raise StoreError(f"{path} cannot be read", "Input/output error")

    assert places(verify(Unreadable(0), TRUST)) == ["checkpoint", "cosigned", "mirrored", "store"]


def test_the_head_of_an_empty_log_has_the_empty_root() -> None:
    """Size 0 is checked like any other."""
    log = MemoryLog(0, [0])
    log.files["checkpoint"] = sign_checkpoint(Checkpoint(LOG.name, 0, bytes(32)), LOG)
    assert places(verify(log, TRUST)) == ["checkpoint line 3"]


def test_sources_are_bounded() -> None:
    """1,024 are followed; each further one is said, so that nobody grows the verifier without end."""
    bodies = [record(index, f"source-{index}", 0) for index in range(MAX_SOURCES + 1)]
    report = verify(signed_log(bodies), TRUST)
    assert places(report) == [f"entry {MAX_SOURCES}"]
    assert len(report.sources) == MAX_SOURCES
    again = [*bodies[:-1], record(MAX_SOURCES, "source-7", 1)]
    assert verify(signed_log(again), TRUST).ok


def signed_log(bodies: list[bytes]) -> MemoryLog:
    """A log whose signature covers these bytes, whatever they say."""
    return MemoryLog(len(bodies), [len(bodies)], bodies)


def record(index: int, source: str, sequence: int) -> bytes:
    return encode_entry(index, source, sequence, Entry(kind="start", utc_ns=1, mono_ns=1, data={}))


def test_what_a_signed_entry_says_of_its_place_is_checked() -> None:
    """Index, gaps and repetitions in a source's numbers, and bytes that are no entry: the log lied."""
    cases = {
        "entry 1": [body(0), body(0)],
        "entry 2": [record(0, "core", 0), record(1, "guard", 0), record(2, "core", 2)],
        "entry 3": [record(at, "core", number) for at, number in enumerate((0, 1, 2, 2))],
        "entry 0": [record(0, "core", 1)],
    }
    for place, bodies in cases.items():
        report = verify(signed_log(bodies), TRUST)
        assert places(report)[0] == place, (place, report.findings)
    elsewhere = verify(signed_log([record(0, "core", 0), record(5, "guard", 0)]), TRUST)
    assert [str(finding) for finding in elsewhere.findings] == ["entry 1: it says it is entry 5"]
    assert places(verify(signed_log([body(0), b"", body(2)]), TRUST))[0] == "entry 1"
    assert places(verify(signed_log([body(0), b"\xff\xfe"]), TRUST)) == ["entry 1"]


def test_sources_count_separately() -> None:
    """Each has its own numbers, and the report says how many."""
    bodies = [record(0, "core", 0), record(1, "guard", 0), record(2, "core", 1), record(3, "guard", 1)]
    report = verify(signed_log(bodies), TRUST)
    assert report.ok
    assert report.sources == (("core", 2), ("guard", 2))


@pytest.mark.parametrize("at", [0, 10, 22, 25, 32, 60, -2, -1])
def test_a_changed_key_file_is_named(at: int) -> None:
    """In name, id, key and line end of either key."""
    log = MemoryLog(3, [3])
    log.cosign(3)
    assert TRUST.witness is not None
    for place, text in ((TRUST.log.place, TRUST.log.text), (TRUST.witness.place, TRUST.witness.text)):
        changed = KeyText(place, flip(text.encode(), at % len(text)).decode("utf-8", "replace"))
        keys = Trust(changed, TRUST.witness) if place == TRUST.log.place else Trust(TRUST.log, changed)
        report = verify(log, keys)
        assert places(report)[0] == place, report.findings
        assert places(report).count(place) == 1


def test_another_key_does_not_verify() -> None:
    """A self-made log with a self-made key verifies with that key only (P17)."""
    log = MemoryLog(3, [3])
    stranger = SigningKey(LOG.name, bytes(32))
    log.files["checkpoint"] = sign_checkpoint(Checkpoint(LOG.name, 3, log.root(3)), stranger)
    assert places(verify(log, TRUST)) == ["checkpoint"]
    own = Trust(KeyText("theirs", stranger.verifier().vkey))
    assert verify(log, own).ok
    other_name = Trust(KeyText("other", SigningKey("other.example/x", bytes(32)).verifier().vkey))
    assert places(verify(log, other_name)) == ["checkpoint line 1", "checkpoint"]


def test_keys_of_the_wrong_kind_are_named() -> None:
    """A witness's key cannot vouch as the log."""
    assert TRUST.witness is not None
    log = MemoryLog(3, [3])
    assert places(verify(log, Trust(TRUST.witness))) == [TRUST.witness.place]
    assert places(verify(log, Trust(TRUST.log, TRUST.log))) == [TRUST.log.place]


def test_a_cosignature_nobody_checked_is_not_reported_as_one() -> None:
    """Without the witness's key, witnessed stays 0."""
    log = MemoryLog(3, [3])
    log.cosign(3)
    report = verify(log, Trust(TRUST.log))
    assert report.ok
    assert (report.witnessed, report.witness) == (0, "")


def test_a_cosigned_head_ahead_of_the_log_is_found() -> None:
    """The card was restored from a backup, the co-signed file was not."""
    log, newer = MemoryLog(3, [3]), MemoryLog(9, [9])
    newer.cosign(9)
    log.files["cosigned"] = newer.files["cosigned"]
    assert places(verify(log, TRUST)) == ["cosigned line 2"]


def test_another_history_under_a_good_signature_is_found() -> None:
    """Two heads of one size: the co-signed one wins over nothing, but it is seen."""
    log = MemoryLog(3, [3])
    other = signed_log([record(at, "core", at) for at in range(3)])
    other.cosign(3)
    log.files["cosigned"] = other.files["cosigned"]
    assert places(verify(log, TRUST)) == ["cosigned line 3"]


def test_findings_are_bounded() -> None:
    """A log that is wrong everywhere does not make an endless report."""
    report = verify(signed_log([b"{}"] * 100), TRUST)
    assert len(report.findings) == MAX_FINDINGS
    assert report.more == 100 - MAX_FINDINGS
    assert str(report.findings[0]).startswith("entry 0: not an audit entry")


class MadeAsRead(MemoryLog):
    """Nothing is kept: entries and files are computed whenever they are asked for."""

    def __init__(self, length: int) -> None:
        super().__init__(0)
        self._length = length
        self._head = self.checkpoint(length)
        self._tiles = {tile.path: tile for tile in new_tiles(0, length)}

    def size(self) -> int:
        return self._length

    def bodies(self, start: int, stop: int) -> Iterator[bytes]:
        return (body(index) for index in range(start, stop))

    def file(self, path: str) -> bytes | None:
        tile = self._tiles.get(path)
        return self._head if path == "checkpoint" else self.content(tile) if tile else None


def test_memory_does_not_grow_with_the_log() -> None:
    """Six times the entries, the same memory: tiles are dropped as soon as they are complete."""
    peaks = []
    for length in (1_100, 6_700):
        log = MadeAsRead(length)
        tracemalloc.start()
        report = verify(log, TRUST)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert report.ok
        assert report.entries == report.signed == length
    assert peaks[1] < peaks[0] + 100_000
