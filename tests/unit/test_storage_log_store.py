"""The log store in one process: transactions, tree, heads, files, and what it refuses to open."""

from __future__ import annotations

import shutil
from pathlib import Path

import apsw
import msgspec
import pytest

from appliance.audit.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from appliance.audit.merkle import verify_consistency, verify_inclusion
from appliance.audit.notes import NOTE_KEY, SigningKey
from appliance.audit.tiles import Tile, new_tiles
from appliance.audit.verify import verify
from appliance.domain.errors import (
    CannotCreateError,
    ConfigError,
    InvariantError,
    StoreError,
)
from appliance.domain.ids import OrderId
from appliance.domain.order import OrderState
from appliance.storage.create import create_log, create_log_key
from appliance.storage.keys import create_key, read_signing_key
from appliance.storage.log_client import LogSettings
from appliance.storage.log_reader import LogReader
from appliance.storage.log_schema import ENDED
from appliance.storage.log_store import LogStore
from appliance.storage.log_wire import Append, EntryRow, OrderRow
from tests.audit_support import LOG, MemoryLog, body, new_log, order, trust

START_NS = 1_700_000_000_000_000_000


def append(first: int, count: int, orders: tuple[OrderRow, ...] = ()) -> Append:
    rows = tuple(
        EntryRow("heartbeat" if index % 3 else "order", START_NS + index, f"o-{index % 5}", body(index))
        for index in range(first, first + count)
    )
    return Append(first, "core", first + count, rows, orders)


def order_row(name: str, state: OrderState, run: str = "run-1") -> OrderRow:
    value = order(name, state)
    return OrderRow(value.id, run, state.value, value.instrument, value.source, msgspec.json.encode(value))


def opened(settings: LogSettings) -> LogStore:
    return LogStore(settings.directory, read_signing_key(settings.key_file))


def publish(store: LogStore) -> None:
    for _ in store.publish():
        pass


@pytest.fixture
def settings(tmp_path: Path) -> LogSettings:
    return new_log(tmp_path)


def test_a_new_log_is_empty_signed_and_whole(settings: LogSettings) -> None:
    """Size 0 is a checkpoint like any other."""
    reader = LogReader(settings.directory)
    assert (reader.size(), reader.published_size()) == (0, 0)
    assert verify(reader, trust(settings)).ok
    reader.close()


@pytest.mark.parametrize("sizes", [[1], [3, 4], [255, 256, 257], [256], [300, 600, 601], [1000, 1030]])
def test_published_files_are_those_of_the_specification(settings: LogSettings, sizes: list[int]) -> None:
    """Whatever the steps, bytes and paths are those computed straight from the definition."""
    store = opened(settings)
    for size in sizes:
        assert store.commit([append(store.size, size - store.size)]) == size
        assert store.sources == {"core": size}
        publish(store)
    store.close()
    model = MemoryLog(sizes[-1], sizes)
    found = {
        str(path.relative_to(settings.directory)): path.read_bytes()
        for path in settings.directory.rglob("*")
        if path.is_file() and path.name not in ("log.db", "lock")
    }
    assert found == model.files
    reader = LogReader(settings.directory)
    report = verify(reader, trust(settings))
    assert report.ok
    assert (report.entries, report.signed, report.sources) == (sizes[-1], sizes[-1], (("core", sizes[-1]),))
    reader.close()


@pytest.mark.parametrize("size", [1, 255, 256, 257, 511, 512, 700])
@pytest.mark.parametrize("sealed", [0, 1, 256, 600])
def test_a_store_goes_on_where_it_was_left(settings: LogSettings, size: int, sealed: int) -> None:
    """Closed after any number of entries, sealed before or not, the tree is found again."""
    store = opened(settings)
    if 0 < sealed < size:
        store.commit([append(0, sealed)])
        publish(store)
    store.commit([append(store.size, size - store.size)])
    store.close()
    store = opened(settings)
    assert store.size == size
    assert store.sources == {"core": size}
    store.commit([append(size, 300)])
    head = store.seal()
    assert (head.size, head.root) == (size + 300, MemoryLog(size + 300).root(size + 300))
    publish(store)
    store.close()
    reader = LogReader(settings.directory)
    assert verify(reader, trust(settings)).ok
    reader.close()


def test_65536_entries_fill_a_tile_of_the_second_level(settings: LogSettings) -> None:
    """Sizes 65,535, 65,536 and 65,537 with small entries (AUDIT, fault 17)."""
    store = opened(settings)
    rows = [EntryRow("heartbeat", index, None, b"%d" % index) for index in range(65_537)]
    for size in (65_535, 65_536, 65_537):
        store.commit([Append(store.size, "core", size, tuple(rows[store.size : size]), ())])
        publish(store)
    root = store.head.root
    store.close()
    assert (settings.directory / "tile/1/000").stat().st_size == 8192
    assert (settings.directory / "tile/2/000.p/1").stat().st_size == 32
    assert not (settings.directory / "tile/1/000.p").exists()
    reader = LogReader(settings.directory)
    assert reader.root(65_537) == root
    for old in (1, 255, 65_535, 65_536):
        proof = reader.consistency(old, 65_537)
        verify_consistency(old, 65_537, reader.root(old), root, proof)
    reader.close()
    store = opened(settings)
    assert store.seal().root == root
    store.close()
    connection = apsw.Connection(str(store.path))
    connection.execute("DELETE FROM nodes WHERE level = 2")
    connection.close()
    with pytest.raises(StoreError, match="rows"):
        opened(settings)


@pytest.mark.parametrize("missing", [0, 100, 255, 256, 299])
def test_a_reader_stops_at_a_missing_entry(settings: LogSettings, missing: int) -> None:
    """It never hands out an entry under another's index."""
    store = opened(settings)
    store.commit([append(0, 300)])
    store.close()
    connection = apsw.Connection(str(store.path))
    connection.execute("DELETE FROM entries WHERE idx = ?", (missing,))
    connection.close()
    reader = LogReader(settings.directory)
    assert list(reader.bodies(0, 300)) == [body(index) for index in range(missing)]
    assert list(reader.bodies(missing + 1, 300)) == [body(index) for index in range(missing + 1, 300)]
    reader.close()


@pytest.mark.safety("S8.9")
def test_seal_is_durable_before_signed_and_never_two_of_one_size(settings: LogSettings) -> None:
    """Sealing again gives the same bytes; the head's row only grows."""
    store = opened(settings)
    store.commit([append(0, 5)])
    head = store.seal()
    assert store.seal() == head
    assert open_checkpoint(head.checkpoint, [LOG.verifier()]).checkpoint == Checkpoint(LOG.name, 5, head.root)
    store.commit([append(5, 1)])
    assert store.seal().size == 6
    connection = apsw.Connection(str(store.path))
    rows = connection.execute("SELECT size, root, checkpoint FROM head").fetchall()
    connection.close()
    assert rows == [(6, store.head.root, store.head.checkpoint)]
    assert store.head.checkpoint == MemoryLog(6).checkpoint(6)
    store.close()


def test_a_head_somebody_else_moved_is_never_signed_over(settings: LogSettings) -> None:
    """The row is changed only from where this writer left it; then nothing more is written."""
    for moved in ("UPDATE head SET size = 9", "DELETE FROM head"):
        store = opened(settings)
        store.commit([append(store.size, 2)])
        connection = apsw.Connection(str(store.path))
        connection.execute(moved)
        connection.close()
        with pytest.raises(InvariantError, match="where this writer left it"):
            store.seal()
        with pytest.raises(StoreError, match="failed before"):
            store.commit([append(store.size, 1)])
        store._connection.close(True)
        assert (settings.directory / "checkpoint").read_bytes() == MemoryLog(0).checkpoint(0)
        shutil.rmtree(settings.directory)
        create_log(settings.directory, settings.key_file)


def test_a_crash_between_head_and_signature_signs_the_same_head(settings: LogSettings) -> None:
    """The row without its checkpoint is what such a crash leaves."""
    store = opened(settings)
    store.commit([append(0, 5)])
    head = store.seal()
    store.close()
    connection = apsw.Connection(str(store.path))
    connection.execute("UPDATE head SET checkpoint = NULL")
    connection.close()
    store = opened(settings)
    assert store.head.checkpoint == b""
    assert store.seal() == head
    publish(store)
    assert (settings.directory / "checkpoint").read_bytes() == head.checkpoint
    store.close()


def test_a_publication_interrupted_anywhere_is_made_good(settings: LogSettings, tmp_path: Path) -> None:
    """After any number of its steps: the old checkpoint stands with all it needs, the next start finishes."""
    store = opened(settings)
    store.commit([append(0, 250)])
    publish(store)
    store.commit([append(250, 300)])
    steps = sum(1 for _ in store.publish())
    store.close()
    shutil.rmtree(settings.directory)
    assert steps == 9
    for done in range(steps + 1):
        create_log(settings.directory, settings.key_file)
        store = opened(settings)
        store.commit([append(0, 250)])
        publish(store)
        store.commit([append(250, 300)])
        publication = store.publish()
        for _ in range(done):
            next(publication)
        store.close()
        reader = LogReader(settings.directory)
        report = verify(reader, trust(settings))
        assert report.ok, (done, report)
        assert report.signed == 250
        store = opened(settings)
        publish(store)
        store.close()
        report = verify(reader, trust(settings))
        reader.close()
        assert report.ok
        assert report.signed == 550
        shutil.rmtree(settings.directory)


def test_entries_may_be_committed_during_a_publication(settings: LogSettings) -> None:
    """They belong to the next one."""
    store = opened(settings)
    store.commit([append(0, 300)])
    for _ in store.publish():
        store.commit([append(store.size, 7)])
        store.grow()
    assert store.shown.size == 300
    assert store.size > 300
    publish(store)
    assert store.shown.size == store.size
    store.close()
    reader = LogReader(settings.directory)
    assert verify(reader, trust(settings)).ok
    reader.close()


@pytest.mark.safety("S8.9")
def test_order_rows_are_of_the_same_transaction(settings: LogSettings) -> None:
    """Latest state, index of the entry that tells of it, first run kept."""
    store = opened(settings)
    store.commit([append(0, 2, (order_row("a", OrderState.RECORDED), order_row("b", OrderState.RECORDED)))])
    store.commit([append(2, 1, (order_row("a", OrderState.FILLED, run="run-2"),))])
    store.close()
    reader = LogReader(settings.directory)
    found = reader.orders()
    assert [(item.order.id, item.order.state, item.run, item.index) for item in found] == [
        ("b", OrderState.RECORDED, "run-1", 1),
        ("a", OrderState.FILLED, "run-1", 2),
    ]
    assert [item.order.id for item in reader.open_orders()] == ["b"]
    assert [item.order.id for item in reader.orders("run-2")] == []
    assert reader.order(OrderId("a")) == found[1]
    assert reader.order(OrderId("c")) is None
    reader.close()


def test_every_state_is_open_or_ended() -> None:
    """UNKNOWN and RECORDED are open: their fate has to be looked up."""
    still_open = {state.value for state in OrderState} - ENDED
    assert {state.value for state in OrderState} >= ENDED
    assert still_open == {
        "RECORDED", "SENT", "UNKNOWN", "HELD", "WORKING", "TRIGGERED", "PARTIALLY_FILLED", "CANCEL_SENT"
    }  # fmt: skip


def test_queries(settings: LogSettings) -> None:
    """By range, kind, order and time, over more than one page; the last of a kind."""
    store = opened(settings)
    store.commit([append(0, 700)])
    publish(store)
    store.close()
    reader = LogReader(settings.directory)
    everything = list(reader.entries())
    assert [item.index for item in everything] == list(range(700))
    assert [item.body for item in everything] == [body(index) for index in range(700)]
    assert [item.index for item in reader.entries(250, 260)] == list(range(250, 260))
    assert [item.index for item in reader.entries_of_kind("order")] == list(range(0, 700, 3))
    assert [item.index for item in reader.entries_of_kind("order", 600)] == list(range(600, 700, 3))
    assert [item.index for item in reader.entries_about(OrderId("o-4"))] == list(range(4, 700, 5))
    between = reader.entries_between(START_NS + 10, START_NS + 500)
    assert [item.index for item in between] == list(range(10, 500))
    last = reader.last_of_kind("order")
    assert last is not None
    assert last.index == 699
    assert reader.last_of_kind("trip") is None
    head = open_checkpoint(reader.file("checkpoint") or b"", [LOG.verifier()]).checkpoint
    for index in (0, 255, 256, 699):
        leaf = MemoryLog(0, (), [body(index)]).root(1)
        verify_inclusion(index, 700, leaf, reader.inclusion(index, 700), head.root)
    reader.close()


@pytest.mark.parametrize(
    "path",
    ["log.db", "lock", "../log.db", "tile/0/../../log.db", "tile/0/000.p/", "/etc/passwd", "", "tile/0/1"],
)
def test_only_published_paths_are_files(settings: LogSettings, path: str) -> None:
    """What is asked for over a network may be anything."""
    reader = LogReader(settings.directory)
    assert reader.file(path) is None
    assert reader.partial_widths(Tile(0, 0)) == []
    reader.close()


def test_a_group_must_go_on_where_the_log_ends(settings: LogSettings) -> None:
    """A core that numbers differently is a bug, and nothing of it is stored."""
    store = opened(settings)
    store.commit([append(0, 2)])
    for first in (1, 3):
        with pytest.raises(InvariantError, match="ends at 2"):
            store.commit([append(first, 1)])
    assert store.commit([append(2, 1)]) == 3
    store.close()


def test_an_entry_no_bundle_can_hold_is_refused(settings: LogSettings) -> None:
    """65,535 bytes are published, 65,536 never stored (AUDIT, fault 16)."""
    store = opened(settings)
    most = EntryRow("heartbeat", 0, None, b"x" * 65_535)
    assert store.commit([Append(0, "core", 1, (most,), ())]) == 1
    publish(store)
    assert (settings.directory / "tile/entries/000.p/1").stat().st_size == 65_537
    more = EntryRow("heartbeat", 0, None, b"x" * 65_536)
    with pytest.raises(InvariantError, match="no bundle"):
        store.commit([Append(1, "core", 2, (more,), ())])
    assert store.commit([Append(1, "core", 2, (EntryRow("heartbeat", 0, None, b""),), ())]) == 2
    publish(store)
    store.close()


def test_creating_over_a_log_is_refused(settings: LogSettings, tmp_path: Path) -> None:
    """Log and key; and a half-made one of a crashed init is no obstacle."""
    with pytest.raises(CannotCreateError):
        create_log(settings.directory, settings.key_file)
    with pytest.raises(CannotCreateError):
        create_log_key(settings.key_file.parent, LOG.name)
    (tmp_path / ".other.new").mkdir()
    (tmp_path / ".other.new" / "log.db").write_bytes(b"half")
    create_log(tmp_path / "other", settings.key_file)
    assert not (tmp_path / ".other.new").exists()


def test_what_is_not_this_log_is_not_opened(settings: LogSettings, tmp_path: Path) -> None:
    """No store, another log's key, a new key under the old name, a lost or foreign checkpoint."""
    key = read_signing_key(settings.key_file)
    with pytest.raises(ConfigError, match="never created"):
        LogStore(tmp_path / "none", key)
    with pytest.raises(ConfigError, match="not this log's"):
        LogStore(settings.directory, SigningKey("audit.example/pi-0002", bytes(32)))
    with pytest.raises(ConfigError, match="not one of its own"):
        LogStore(settings.directory, SigningKey(LOG.name, bytes(32)))
    checkpoint = settings.directory / "checkpoint"
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[:-9])
    with pytest.raises(ConfigError, match="checkpoint"):
        opened(settings)
    checkpoint.unlink()
    with pytest.raises(ConfigError, match="no checkpoint"):
        opened(settings)
    checkpoint.write_bytes(whole)
    opened(settings).close()
    create_key(tmp_path / "elsewhere", "log", "audit.example/other", NOTE_KEY)
    with pytest.raises(ConfigError):
        LogStore(settings.directory, read_signing_key(tmp_path / "elsewhere" / "log.key"))


def restored(settings: LogSettings, before: int, after: int) -> None:
    """Leaves the database of size `before` under files of size `after`."""
    store = opened(settings)
    store.commit([append(0, before)])
    publish(store)
    store.close()
    old = (settings.directory / "log.db").read_bytes()
    store = opened(settings)
    store.commit([append(before, after - before)])
    publish(store)
    store.close()
    (settings.directory / "log.db").write_bytes(old)


def test_yesterday_s_database_under_today_s_files_is_refused(settings: LogSettings) -> None:
    """Appending would make a second history under signed heads of the first (AUDIT, fault 14)."""
    restored(settings, 3, 5)
    with pytest.raises(ConfigError, match="restored from a backup") as caught:
        opened(settings)
    assert "it ends at 3, 5 entries were vouched for" in caught.value.why


def test_yesterday_s_log_under_today_s_cosigned_head_is_refused(settings: LogSettings) -> None:
    """Database and files are old together; what the witness signed is newer."""
    restored(settings, 3, 5)
    model = MemoryLog(5)
    model.cosign(5)
    (settings.directory / "checkpoint").write_bytes(model.checkpoint(3))
    (settings.directory / "cosigned").write_bytes(model.files["cosigned"])
    with pytest.raises(ConfigError, match="restored from a backup"):
        opened(settings)
    (settings.directory / "cosigned").write_bytes(b"damaged")
    with pytest.raises(ConfigError, match="cosigned"):
        opened(settings)


def test_two_heads_of_one_size_are_refused(settings: LogSettings) -> None:
    """A checkpoint file of our size with another root."""
    store = opened(settings)
    store.commit([append(0, 3)])
    publish(store)
    store.close()
    other = sign_checkpoint(Checkpoint(LOG.name, 3, bytes(32)), LOG)
    (settings.directory / "checkpoint").write_bytes(other)
    with pytest.raises(StoreError, match="two heads of one size"):
        opened(settings)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE entries SET body = x'00' WHERE idx = 299",
        "UPDATE entries SET body = x'00' WHERE idx = 256",
        "DELETE FROM entries WHERE idx = 299",
        "DELETE FROM entries WHERE idx = 280",
        "UPDATE nodes SET hash = zeroblob(32)",
        "UPDATE nodes SET hash = x'00'",
        "UPDATE head SET root = zeroblob(32)",
        "UPDATE head SET size = 298",
        "DELETE FROM head",
    ],
)
def test_a_damaged_right_edge_is_seen_at_start(settings: LogSettings, damage: str) -> None:
    """What the next head would build on must lead to the last head; all the rest is for `verify`."""
    store = opened(settings)
    store.commit([append(0, 300)])
    store.seal()
    store.close()
    connection = apsw.Connection(str(settings.directory / "log.db"))
    connection.execute(damage)
    connection.close()
    with pytest.raises(StoreError):
        opened(settings)


def test_every_tile_of_a_size_comes_out_of_the_database(settings: LogSettings) -> None:
    """`content` is what both publication and proofs are made of."""
    store = opened(settings)
    store.commit([append(0, 600)])
    store.seal()
    store.close()
    model = MemoryLog(600)
    reader = LogReader(settings.directory)
    for tile in new_tiles(0, 600):
        assert reader._rows.content(tile) == model.content(tile)
    with pytest.raises(StoreError, match="missing"):
        reader._rows.content(Tile(0, 2))
    reader.close()
