"""Bits flipped in the files of a log on disk, and keys exchanged under it (AUDIT, faults 7 and 12)."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.audit.notes import NOTE_KEY, SigningKey
from appliance.audit.report import Report
from appliance.audit.verify import verify
from appliance.domain.errors import ConfigError, InterlockError
from appliance.storage.keys import create_key, read_signing_key
from appliance.storage.log_client import LogClient, LogSettings
from appliance.storage.log_reader import LogReader
from appliance.storage.log_store import LogStore
from appliance.storage.log_wire import Append, EntryRow
from tests.audit_support import LOG, body, entry, flip, new_log, run, trust

SIZE = 600
PAGE = 4096


@pytest.fixture
def settings(tmp_path: Path) -> LogSettings:
    """A closed log of SIZE entries, published in two steps."""
    made = new_log(tmp_path)
    store = LogStore(made.directory, read_signing_key(made.key_file))
    for size in (300, SIZE):
        rows = tuple(EntryRow("heartbeat", at, f"o-{at % 7}", body(at)) for at in range(store.size, size))
        store.commit([Append(store.size, "core", size, rows, ())])
        for _ in store.publish():
            pass
    store.close()
    return made


def look(settings: LogSettings) -> tuple[Report, list[bytes]]:
    """What `interlock audit verify` finds, and the entries as everybody reads them."""
    reader = LogReader(settings.directory)
    try:
        return verify(reader, trust(settings)), list(reader.bodies(0, SIZE))
    finally:
        reader.close()


def files(settings: LogSettings) -> dict[Path, bytes]:
    """Everything in the log's directory."""
    return {path: path.read_bytes() for path in settings.directory.rglob("*") if path.is_file()}


def test_every_class_of_published_file_is_checked_on_disk(settings: LogSettings) -> None:
    """Several bits of each bundle, each tile of each level and the checkpoint; the file is named."""
    luck = random.Random(7)
    assert look(settings)[0].ok
    for path, whole in files(settings).items():
        name = str(path.relative_to(settings.directory))
        if not name.startswith(("tile/", "checkpoint")):
            continue
        for _ in range(4):
            path.write_bytes(flip(whole, luck.randrange(len(whole)), luck.randrange(8)))
            report = look(settings)[0]
            assert not report.ok, name
            assert any(finding.place.split(" ")[0] == name for finding in report.findings), (name, report)
        path.write_bytes(whole)
    assert look(settings)[0].ok


def test_a_flipped_bit_of_the_verifier_key_never_verifies(tmp_path: Path) -> None:
    """Every bit of the key file, the line end included."""
    settings = new_log(tmp_path)
    assert look(settings)[0].ok
    place = settings.key_file.with_suffix(".vkey")
    whole = place.read_bytes()
    for at in range(len(whole)):
        for bit in range(8):
            place.write_bytes(flip(whole, at, bit))
            report = look(settings)[0]
            assert not report.ok, (at, bit)
            assert report.findings[0].place == str(place), (at, bit)


def test_no_flipped_bit_of_the_database_changes_an_entry_unseen(settings: LogSettings) -> None:
    """Three bits of every page: found, refused, or nothing anybody reads has changed.

    Free space, indexes and orders are not under the tree: that share of the flips is not promised to be
    seen, so what is asserted is that a report without findings comes with the entries that were logged.
    """
    luck = random.Random(11)
    database = settings.directory / "log.db"
    whole, logged = database.read_bytes(), [body(at) for at in range(SIZE)]
    assert len(whole) % PAGE == 0
    seen = unread = 0
    for start in range(0, len(whole), PAGE):
        for _ in range(3):
            database.write_bytes(flip(whole, start + luck.randrange(PAGE), luck.randrange(8)))
            try:
                report, bodies = look(settings)
            except InterlockError:
                seen += 1
                continue
            if report.ok:
                assert bodies == logged, start
                unread += 1
            else:
                seen += 1
    assert seen
    assert unread


def _another(key_file: Path) -> None:
    """A key made somewhere else, under the log's own name."""
    key_file.write_text(SigningKey(LOG.name, bytes(32)).private_text() + "\n")


def _of_another_log(key_file: Path) -> None:
    shutil.rmtree(key_file.parent)
    create_key(key_file.parent, key_file.stem, "audit.example/pi-0002", NOTE_KEY)


KEYS: dict[str, tuple[Callable[[Path], object], str]] = {
    "another of the same name": (_another, "not one of its own"),
    "another log's": (_of_another_log, "not this log's"),
    "empty": (lambda path: path.write_bytes(b""), "the file is empty"),
    "damaged": (lambda path: path.write_bytes(flip(path.read_bytes(), -10)), "signing key"),
    "readable by others": (lambda path: path.chmod(0o640), "mode is 0640"),
    "missing": (lambda path: path.unlink(), "signing key"),
}


@pytest.mark.parametrize("kind", KEYS)
def test_a_log_whose_key_was_exchanged_takes_nothing(settings: LogSettings, kind: str) -> None:
    """The writer refuses before it writes a byte; with the right key the log goes on (AUDIT, fault 12)."""
    change, reason = KEYS[kind]
    before, kept = files(settings), settings.key_file.read_bytes()
    change(settings.key_file)

    async def start(changed: LogSettings) -> None:
        with pytest.raises(ConfigError, match=reason):
            await LogClient.start(changed)

    run(start(settings))
    assert files(settings) == before
    settings.key_file.unlink(missing_ok=True)
    settings.key_file.touch(mode=0o600)
    settings.key_file.write_bytes(kept)
    settings.key_file.with_suffix(".vkey").write_text(LOG.verifier().vkey + "\n")

    async def go_on() -> None:
        client = await LogClient.start(settings)
        assert client.append([entry(SIZE)]).index == SIZE
        await client.aclose()

    run(go_on())
    assert look(settings)[0].ok
