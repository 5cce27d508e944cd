"""Sealing and pruning in one process: what goes where, what may never go, and that nobody notices reading."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from msgspec.structs import replace

from appliance.audit.notes import SigningKey
from appliance.audit.segment import BUNDLES, SEGMENT
from appliance.audit.tiles import ENTRIES, WIDTH, Tile, encode_bundle
from appliance.audit.verify import verify
from appliance.domain.errors import StoreError
from appliance.domain.ids import OrderId
from appliance.runtime.clock_loop import remembered_clock
from appliance.runtime.owed import _repaid
from appliance.runtime.restore import earlier_recovery, known_orders, last_run, remembered_mode, restore
from appliance.runtime.store_health import ended_well
from appliance.storage.log_client import LogSettings
from appliance.storage.log_reader import LogReader
from appliance.storage.log_retention import KEPT, KEPT_OF_RUN, Retention
from appliance.storage.segments import Segments
from tests.audit_support import LOG, flip, new_log, trust
from tests.retention_kit import (
    LATE_NS,
    SECOND_RUN,
    START_NS,
    cosign,
    fill,
    opened,
    prune,
    retention,
    row,
)

SIZE = 3 * SEGMENT + 300
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> LogSettings:
    """A log of three segments and a bit, published and co-signed, of which nothing is sealed."""
    settings = new_log(tmp_path_factory.mktemp("whole"))
    prune(settings, SIZE, before_ns=0)
    return settings


@pytest.fixture
def settings(whole: LogSettings, tmp_path: Path) -> LogSettings:
    """A copy of it."""
    shutil.copytree(whole.directory, tmp_path / "log")
    return replace(whole, directory=tmp_path / "log")


@pytest.fixture
def pruned(settings: LogSettings) -> Iterator[LogReader]:
    """A reader of the copy, all three segments pruned."""
    assert prune(settings, SIZE).pruned == 3 * SEGMENT
    reader = LogReader(settings.directory)
    yield reader
    reader.close()


def passed(
    settings: LogSettings, before_ns: int = LATE_NS, spoil: Callable[[], object] = lambda: None
) -> Retention:
    """One pass over a log as it is. spoil: called once the store is open."""
    store = opened(settings)
    made = retention(store)
    spoil()
    for _ in made.steps(before_ns):
        pass
    store.close()
    return made


def stored_bodies(settings: LogSettings) -> dict[int, bytes]:
    """What the database itself holds."""
    connection = apsw.Connection(str(settings.directory / "log.db"))
    try:
        found: list[tuple[Any, ...]] = connection.execute("SELECT idx, body FROM entries").fetchall()
        return dict(found)
    finally:
        connection.close()


def bundles(settings: LogSettings) -> set[int]:
    """Full entry bundles that are published."""
    folder = settings.directory / "tile/entries"
    return {int(path.name) for path in folder.iterdir() if path.is_file()}


def test_nobody_who_reads_notices(pruned: LogReader) -> None:
    """By number, kind, order, time and cause, in pages of either direction, over the border of a segment."""
    rows = [row(index) for index in range(SIZE)]
    assert pruned.size() == SIZE
    assert list(pruned.bodies(0, SIZE)) == [each.body for each in rows]
    assert [entry.body for entry in pruned.entries(SEGMENT - 300, SEGMENT + 300)] == [
        each.body for each in rows[SEGMENT - 300 : SEGMENT + 300]
    ]
    for kind in ("signal", "verdict", "fill", "heartbeat"):
        wanted = [(index, each.body) for index, each in enumerate(rows) if each.kind == kind]
        assert [(entry.index, entry.body) for entry in pruned.entries_of_kind(kind)] == wanted
        pages = pruned.query.pages(0, SIZE, kind, newest=True)
        assert [(entry.index, entry.body) for page in pages for entry in page] == wanted[::-1]
    about = [entry.body for entry in pruned.query.about("o-5")]
    assert about == [each.body for each in rows if each.ref == "o-5"]
    assert [e.body for e in pruned.entries_about(OrderId("o-5"))] == about
    assert [e.index for e in pruned.entries_between(START_NS + 900, START_NS + 950)] == list(range(900, 950))
    assert pruned.query.span(START_NS + 7, START_NS + 5000) == (7, 5000)
    newest = pruned.query.last_before("verdict", 1000)
    assert newest is not None
    assert newest.body == rows[newest.index].body
    wanted_causes = [
        (index, each.kind, b'{"causes":[%d]' % (index - 1))
        for index, each in enumerate(rows)
        if index % 3 == 1
    ]
    assert pruned.query.citing(0, SIZE) == wanted_causes


def test_tiles_proofs_and_bundles_are_those_of_before(whole: LogSettings, pruned: LogReader) -> None:
    """What publisher, witness and mirror ask for is computed from segments as from the database."""
    before = LogReader(whole.directory)
    for tile in (Tile(0, 0), Tile(ENTRIES, 17), Tile(ENTRIES, 3 * BUNDLES), Tile(1, 0, 49)):
        assert pruned.content(tile) == before.content(tile)
    for index in (0, 255, SEGMENT - 1, SEGMENT, SIZE - 1):
        assert pruned.inclusion(index, SIZE) == before.inclusion(index, SIZE)
    for old in (1, 300, SEGMENT, 2 * SEGMENT + 77, SIZE):
        assert pruned.consistency(old, SIZE) == before.consistency(old, SIZE)
    before.close()


def test_verify_reads_segments_and_misses_no_bundle(settings: LogSettings, pruned: LogReader) -> None:
    """Every entry of a segment is compared; only bundles that were not pruned are there to be read."""
    report = verify(pruned, trust(settings))
    assert report.ok, report
    assert (report.entries, report.sealed, report.bundles) == (SIZE, 3 * SEGMENT, 2)
    assert bundles(settings) == {48}
    tiles = settings.directory / "tile/0"
    assert len([path for path in tiles.iterdir() if path.is_file()]) == 49


def test_what_is_pruned_leaves_the_database_and_what_a_start_asks_for_stays(settings: LogSettings) -> None:
    """Of kinds that are few, of the newest run, and the last heartbeat; all else is empty."""
    prune(settings, SIZE)
    for index, body in stored_bodies(settings).items():
        kind = row(index).kind
        kept = kind in KEPT or (kind in KEPT_OF_RUN and index >= SECOND_RUN) or index >= 3 * SEGMENT
        assert body == (row(index).body if kept else b""), (index, kind)


def test_a_start_needs_no_segment(settings: LogSettings) -> None:
    """Run, mode, recovery, orders, fills, stops, clock, gaps are found with every segment gone."""
    # The newest heartbeat is in a segment: nothing later is one.
    store = opened(settings)
    store._connection.execute("UPDATE entries SET kind = 'signal' WHERE kind = 'heartbeat' AND idx > 9000")
    store.close()

    def known() -> list[object]:
        record = last_run(settings.directory)
        assert record is not None
        return [
            record,
            remembered_mode(settings.directory),
            earlier_recovery(settings.directory),
            restore(settings.directory, record),
            known_orders(settings.directory),
            remembered_clock(settings.directory, "boot-1"),
            _repaid(settings.directory, "exits"),
            ended_well(settings.directory),
        ]

    before = known()
    assert passed(settings).pruned == 3 * SEGMENT
    shutil.rmtree(settings.directory / "segments")
    assert known() == before
    store = opened(settings)
    fill(store, SIZE + 600)
    store.close()


def test_without_a_pinned_witness_nothing_is_ever_sealed(settings: LogSettings) -> None:
    """However old and co-signed it is."""
    store = opened(settings)
    made = Retention(store, None)
    assert list(made.steps(LATE_NS)) == []
    store.close()
    assert not (settings.directory / "segments").exists()
    assert bundles(settings) == set(range(49))


@pytest.mark.parametrize("covered", [0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 2 * SEGMENT - 1, 2 * SEGMENT])
def test_only_whole_segments_under_a_co_signature_are_pruned(settings: LogSettings, covered: int) -> None:
    """One entry short of a segment's end keeps all of it."""
    reader = LogReader(settings.directory)
    root = reader.root(covered)
    reader.close()
    cosign(settings.directory, covered, root)
    made = passed(settings)
    assert (made.pruned, made.problem) == (covered // SEGMENT * SEGMENT, "")
    assert Segments(settings.directory, LOG.name).count() == covered // SEGMENT


@pytest.mark.parametrize("newest", [SEGMENT - 1, SEGMENT, 2 * SEGMENT - 1])
@pytest.mark.parametrize("later_ns", [0, 1])
def test_nothing_as_young_as_asked_for_is_pruned(settings: LogSettings, newest: int, later_ns: int) -> None:
    """The age is that of the youngest entry of the segment, to the nanosecond."""
    made = passed(settings, before_ns=row(newest).utc_ns + later_ns)
    assert made.pruned == (newest + later_ns) // SEGMENT * SEGMENT


@pytest.mark.parametrize(("size", "left"), [(SEGMENT, 0), (SEGMENT + 1, SEGMENT), (2 * SEGMENT, SEGMENT)])
def test_the_last_entry_stays_whatever_its_age(tmp_path: Path, size: int, left: int) -> None:
    """A start looks at it: what kind it is, and when it was written."""
    settings = new_log(tmp_path)
    assert prune(settings, size).pruned == left
    shutil.rmtree(settings.directory / "segments", ignore_errors=True)
    assert remembered_clock(settings.directory, "boot-1").newest_utc_ns == row(size - 1).utc_ns
    assert not ended_well(settings.directory)


def test_bundles_that_a_power_cut_brought_back_go_again(settings: LogSettings) -> None:
    """Their removal is not synced; the next pass removes them."""
    prune(settings, SIZE)
    for bundle in (20, 3 * BUNDLES - 1):
        (settings.directory / Tile(ENTRIES, bundle).path).write_bytes(b"any")
    passed(settings)
    assert bundles(settings) == {48}


def test_a_co_signature_that_does_not_verify_prunes_nothing(settings: LogSettings) -> None:
    """By another key, of another root, beyond what is published, cut short, or none."""
    path = settings.directory / "cosigned"
    good = path.read_bytes()
    reader = LogReader(settings.directory)
    root = reader.root(SIZE)
    reader.close()
    other = SigningKey("witness.example/w1", bytes(32))
    spoils: tuple[tuple[Callable[[], object], str], ...] = (
        (lambda: cosign(settings.directory, SIZE, root, other), "witness"),
        (lambda: cosign(settings.directory, SIZE, flip(root, 0)), "proof"),
        (lambda: cosign(settings.directory, SIZE + 1, root), "published"),
        (lambda: path.write_bytes(good[:-30]), "note"),
        (path.unlink, ""),
    )
    for spoil, told in spoils:
        path.write_bytes(good)
        made = passed(settings, spoil=spoil)
        assert made.pruned == 0
        assert told in made.problem.lower(), (told, made.problem)
        assert bundles(settings) == set(range(49))
    assert all(stored_bodies(settings).values())


def test_what_does_not_agree_is_neither_sealed_nor_pruned(settings: LogSettings) -> None:
    """An entry changed in the database, a tile of level 0 that is not the entries', a missing entry."""
    connection = apsw.Connection(str(settings.directory / "log.db"))
    original = row(700).body
    connection.execute("UPDATE entries SET body = ? WHERE idx = 700", (flip(original, 40),))
    made = passed(settings)
    assert (made.pruned, made.sealed) == (0, 0)
    assert "bundle 2 are not those of the tree" in made.problem
    connection.execute("UPDATE entries SET body = ? WHERE idx = 700", (original,))
    tile = settings.directory / "tile/0/018"
    data = tile.read_bytes()
    tile.write_bytes(flip(data, 100))
    made = passed(settings)
    assert made.pruned == SEGMENT
    assert "tile/0/018 is not that of the entries" in made.problem
    tile.write_bytes(data)
    connection.execute("DELETE FROM entries WHERE idx = 9000")
    connection.close()
    made = passed(settings)
    assert made.pruned == 2 * SEGMENT
    assert "entry 9000 is missing" in made.problem


def test_a_segment_damaged_before_it_was_pruned_is_made_again(settings: LogSettings) -> None:
    """A torn one of an earlier pass; the entries are still stored."""
    segments = Segments(settings.directory, LOG.name)
    store = opened(settings)
    made = retention(store)
    for _ in made.steps(LATE_NS):
        if made.sealed:
            break
    store.close()
    assert made.pruned == 0
    good = segments.path(0).read_bytes()
    for bad in (b"", good[:-1], good[:-2000], flip(good, 5000), flip(good, len(good) - 5)):
        segments.path(0).write_bytes(bad)
        assert passed(settings, before_ns=row(SEGMENT).utc_ns).pruned in (0, SEGMENT)
        assert segments.path(0).read_bytes() == good
        break_open(settings)
    reader = LogReader(settings.directory)
    assert verify(reader, trust(settings)).ok
    reader.close()


def break_open(settings: LogSettings) -> None:
    """Puts back what was pruned, as if the last pass had ended after sealing."""
    connection = apsw.Connection(str(settings.directory / "log.db"))
    with connection:
        for index in range(SEGMENT):
            connection.execute("UPDATE entries SET body = ? WHERE idx = ?", (row(index).body, index))
        connection.execute("DELETE FROM meta WHERE name = 'pruned'")
    connection.close()
    for bundle in range(BUNDLES):
        entries = [row(index).body for index in range(bundle * WIDTH, (bundle + 1) * WIDTH)]
        (settings.directory / Tile(ENTRIES, bundle).path).write_bytes(encode_bundle(entries))


@pytest.mark.parametrize("where", ["frame", "digest", "manifest", "table", "torn", "gone", "another"])
def test_damage_is_named_and_never_skipped(settings: LogSettings, where: str) -> None:
    """Every way of reading the entry says which segment; `verify` too; other segments can be read."""
    prune(settings, SIZE)
    path = Segments(settings.directory, LOG.name).path(1)
    data = path.read_bytes()
    changed = {
        "frame": flip(data, 9000, 3),
        "digest": data.replace(b'"sha256":"', b'"sha256":"0', 1)[:-1],
        "manifest": data.replace(b'"newest_ns":"1', b'"newest_ns":"2', 1).replace(b'"v":1', b'"v":2', 1),
        "table": flip(data, len(data) - 60),
        "torn": data[: len(data) // 2],
        "another": Segments(settings.directory, LOG.name).path(0).read_bytes(),
    }
    path.unlink()
    if where != "gone":
        path.write_bytes(changed[where])
    reader = LogReader(settings.directory)
    report = verify(reader, trust(settings))
    assert not report.ok
    assert any("00000001.zst" in str(finding) for finding in report.findings)
    signal = next(i for i in range(SEGMENT + 8 * WIDTH, 2 * SEGMENT) if row(i).kind == "signal")
    if where not in ("frame", "table"):
        with pytest.raises(StoreError, match=r"segment 00000001\.zst"):
            list(reader.entries(signal, signal + 1))
        with pytest.raises(StoreError, match=r"segment 00000001\.zst"):
            list(reader.bodies(signal, signal + 1))
    assert [entry.body for entry in reader.entries(0, SEGMENT)] == [row(i).body for i in range(SEGMENT)]
    reader.close()


def test_every_flipped_byte_of_a_segment_is_found_by_verify(settings: LogSettings) -> None:
    """Spread over frames, manifest and seek table; the place named is the segment."""
    prune(settings, SIZE)
    segments = Segments(settings.directory, LOG.name)
    path = segments.path(2)
    data = path.read_bytes()
    for at in [*range(0, len(data), len(data) // 60), *range(len(data) - 200, len(data), 7)]:
        path.write_bytes(flip(data, at, at % 8))
        with pytest.raises(StoreError, match=r"00000002\.zst is damaged"):
            segments.check(2)
    path.write_bytes(data)
    segments.check(2)


@pytest.mark.skipif(shutil.which("zstd") is None, reason="the command is not installed")
def test_any_zstd_reads_a_segment(settings: LogSettings) -> None:
    """Its frames are the entry bundles of tlog-tiles, one after the other; the rest is skipped."""
    prune(settings, SIZE)
    path = Segments(settings.directory, LOG.name).path(1)
    found = subprocess.run(["zstd", "-dcq", str(path)], check=True, capture_output=True).stdout
    assert found == encode_bundle([row(index).body for index in range(SEGMENT, 2 * SEGMENT)])


def test_pages_that_were_let_go_are_filled_first(settings: LogSettings) -> None:
    """The database does not become smaller, it stops growing."""
    prune(settings, SIZE)
    connection = apsw.Connection(str(settings.directory / "log.db"))

    def pages(name: str) -> int:
        found: Any = connection.execute(f"PRAGMA {name}_count").fetchone()
        return int(found[0])

    count, free = pages("page"), pages("freelist")
    assert free > count // 3
    store = opened(settings)
    fill(store, SIZE + SEGMENT)
    store.close()
    assert pages("page") == count
    assert 0 < pages("freelist") < free
    connection.close()


def test_rows_of_an_empty_entry_are_entries(tmp_path: Path) -> None:
    """An entry of no bytes in the database is one, unless it was pruned (AUDIT, fault 16)."""
    from appliance.storage.log_wire import Append, EntryRow

    settings = new_log(tmp_path)
    store = opened(settings)
    rows = tuple(EntryRow("signal", START_NS, None, b"" if at % 2 else b"x") for at in range(SEGMENT + 2))
    store.commit([Append(0, "core", SEGMENT + 2, rows, ())])
    for _ in store.publish():
        pass
    cosign(settings.directory, store.shown.size, store.shown.root)
    made = retention(store)
    for _ in made.steps(LATE_NS):
        pass
    store.close()
    assert (made.pruned, made.problem) == (SEGMENT, "")
    reader = LogReader(settings.directory)
    assert list(reader.bodies(0, SEGMENT + 2)) == [each.body for each in rows]
    reader.close()
