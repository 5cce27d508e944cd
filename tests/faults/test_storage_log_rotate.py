"""A power cut at every step of changing the log's key: old or new is in force, and the log goes on (U13).

Two kinds: a call that fails, before or after its effect or for want of room, and a process that is simply
gone between two calls. After each the writer's own start path runs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from appliance.audit.checkpoint import parse_checkpoint
from appliance.audit.notes import NOTE_KEY, SigningKey, VerifierKey, parse_note, verify_note
from appliance.audit.verify import KeyText, Trust, verify
from appliance.domain.errors import ConfigError, InterlockError, StoreError
from appliance.storage import log_rotate
from appliance.storage.keys import read_signing_key, read_verifier
from appliance.storage.log_client import LogClient, LogSettings
from appliance.storage.log_reader import LogReader
from appliance.storage.log_rotate import rotate, settle
from appliance.storage.log_store import LogStore
from tests.audit_support import LOG, entry, many_copies, more, new_log, run
from tests.faults.test_storage_log_faults import FaultyVfs, Plan

SEED = bytes([5]) * 32
NEW = SigningKey(LOG.name, SEED)
MOMENT = (1_700_000_000_000_000_000, 17)
FIRST = Trust(KeyText("first", LOG.verifier().vkey))
BEFORE = 255
"""Entries before the rotation: its own completes a tile."""


class PowerCutError(Exception):
    """Nothing of this process runs any more: what catches errors of the disk does not catch this."""


class Cut(Plan):
    """The power goes before the n-th call, and no later call has an effect."""

    def call(self, name: str, real: Callable[..., Any], *arguments: Any) -> Any:
        self.count += 1
        if self._fail_at != -1 and self.count > self._fail_at:
            self.hit = self.hit or name
            raise PowerCutError
        return real(*arguments)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Callable[[], LogSettings]]:
    """Makes the same log of BEFORE entries again and again, the last of them not published yet."""
    template = new_log(tmp_path)
    store = LogStore(template.directory, read_signing_key(template.key_file))
    more(store, BEFORE - 1)
    for _ in store.publish():
        pass
    more(store)
    store.close()
    with many_copies(template, tmp_path) as make:
        yield make


def attempt(settings: LogSettings, plan: Plan) -> bool:
    """A rotation under the plan; whether it came to its end."""
    vfs = FaultyVfs("faulty", plan)
    try:
        rotate(settings.key_file, settings.directory, MOMENT, io=plan.io(), vfs="faulty", seed=SEED)
    except (InterlockError, PowerCutError, apsw.Error):
        return False
    finally:
        vfs.unregister()
    return True


def heads(settings: LogSettings) -> tuple[int, bytes]:
    head = parse_checkpoint(parse_note((settings.directory / "checkpoint").read_bytes()).text)
    return head.size, head.root


def go_on(settings: LogSettings) -> VerifierKey:
    """The writer's start on a good disk, an entry and a publication; returns the key that is in force."""
    settle(settings.key_file, settings.directory)
    key = read_signing_key(settings.key_file)
    store = LogStore(settings.directory, key)
    for _ in range(2):
        for _ in store.publish():
            pass
        more(store)
    for _ in store.publish():
        pass
    store.close()
    return key.verifier()


def check(settings: LogSettings, before: tuple[int, bytes], where: object) -> VerifierKey:
    """Everything that must hold whatever happened to the rotation."""
    seen = heads(settings)
    in_force = go_on(settings)
    assert in_force in (LOG.verifier(), NEW.verifier()), where
    assert read_verifier(settings.key_file.with_suffix(".vkey"), NOTE_KEY) == in_force, where
    assert not settings.key_file.with_name("log.next.key").exists(), where
    reader = LogReader(settings.directory)
    try:
        report = verify(reader, FIRST)
        assert report.ok, (where, report)
        assert report.keys[-1].key == in_force, where
        told = len(list(reader.entries_of_kind("key")))
        assert told == (in_force == NEW.verifier()) == len(report.keys) - 1, where
        for size, root in (before, seen):
            assert reader.root(size) == root, (where, "two heads of one size")
        verify_note(parse_note(reader.file("checkpoint") or b""), [in_force])
    finally:
        reader.close()
    return in_force


def test_a_rotation_without_a_fault(fresh: Callable[[], LogSettings]) -> None:
    """One entry; the head over it carries both signatures; the old private key is gone."""
    settings, plan = fresh(), Plan()
    assert attempt(settings, plan)
    note = parse_note((settings.directory / "checkpoint").read_bytes())
    assert parse_checkpoint(note.text).size == BEFORE + 1
    for key in (LOG, NEW):
        verify_note(note, [key.verifier()])
    assert len(note.signatures) == 2
    texts = b"".join(path.read_bytes() for path in settings.key_file.parent.iterdir())
    assert LOG.private_text().encode() not in texts
    assert sorted(path.name for path in settings.key_file.parent.iterdir()) == ["log.key", "log.vkey"]
    assert check(settings, heads(settings), "whole") == NEW.verifier()


@pytest.mark.parametrize(("late", "full"), [(False, False), (True, False), (False, True)])
def test_each_call_of_a_rotation_fails_once(
    fresh: Callable[[], LogSettings], late: bool, full: bool
) -> None:
    """EIO before the effect, EIO although it had its effect, ENOSPC, at every place."""
    counted = Plan()
    assert attempt(fresh(), counted)
    seen: set[VerifierKey] = set()
    for at in range(counted.count):
        settings, plan = fresh(), Plan(at, late=late, full=full)
        before = heads(settings)
        assert not attempt(settings, plan), (at, plan.hit)
        seen.add(check(settings, before, (at, plan.hit)))
    assert seen == {LOG.verifier(), NEW.verifier()}
    assert counted.count > 40


def test_the_power_goes_between_any_two_calls(fresh: Callable[[], LogSettings]) -> None:
    """Old before some call, new from it on, never back: there is one moment at which the rotation happens."""
    counted = Cut()
    assert attempt(fresh(), counted)
    order = []
    for at in range(counted.count):
        settings, plan = fresh(), Cut(at)
        before = heads(settings)
        assert not attempt(settings, plan), (at, plan.hit)
        order.append(check(settings, before, (at, plan.hit)) == NEW.verifier())
    assert order == sorted(order)
    assert set(order) == {False, True}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of the closing behind a cut
def test_the_power_goes_again_while_it_is_settled(fresh: Callable[[], LogSettings]) -> None:
    """Every cut of every second attempt, for the cuts that leave the entry and nothing else."""
    counted = Cut()
    attempt(fresh(), counted)
    for at in range(counted.count - 24, counted.count, 8):
        again = 0
        while True:
            settings = fresh()
            before = heads(settings)
            attempt(settings, Cut(at))
            plan = Cut(again)
            vfs = FaultyVfs("faulty", plan)
            try:
                with contextlib.suppress(PowerCutError, InterlockError, apsw.Error):
                    settle(settings.key_file, settings.directory, plan.io(), "faulty")
            finally:
                vfs.unregister()
            check(settings, before, (at, again, plan.hit))
            if not plan.hit:
                break
            again += 1


def test_the_writer_settles_what_it_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log has the entry and the files are still the old ones: the next core does not notice."""
    settings = new_log(tmp_path)
    real, calls = log_rotate.settle, []

    def only_before(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 1:
            real(*arguments)

    monkeypatch.setattr(log_rotate, "settle", only_before)
    rotate(settings.key_file, settings.directory, MOMENT, seed=SEED)
    assert len(calls) == 2
    assert read_signing_key(settings.key_file).public == LOG.public
    with pytest.raises(ConfigError, match="not the one in force"):
        LogStore(settings.directory, LOG)

    async def live() -> None:
        client = await LogClient.start(settings)
        await client.append([entry(0)]).durable()
        await client.aclose()

    run(live())
    assert read_signing_key(settings.key_file).public == NEW.public
    reader = LogReader(settings.directory)
    report = verify(reader, FIRST)
    reader.close()
    assert report.ok, report
    assert report.entries == 2


def test_an_old_key_put_back_signs_nothing(fresh: Callable[[], LogSettings]) -> None:
    """From a backup of the key folder: the log says which key is in force, and does not start."""
    settings = fresh()
    assert attempt(settings, Plan())
    with pytest.raises(ConfigError, match="not the one in force"):
        LogStore(settings.directory, LOG)
    with pytest.raises(ConfigError):
        LogStore(settings.directory, SigningKey(LOG.name, bytes([6]) * 32))


def test_many_rotations_one_behind_the_other(fresh: Callable[[], LogSettings]) -> None:
    """Without an entry in between too: ten keys, one chain, one head of each size."""
    settings = fresh()
    for number in range(10):
        rotate(settings.key_file, settings.directory, MOMENT, seed=bytes([60 + number]) * 32)
        if number % 2:
            go_on(settings)
    reader = LogReader(settings.directory)
    report = verify(reader, FIRST)
    reader.close()
    assert report.ok, report
    assert len(report.keys) == 11


def test_a_key_entry_that_is_damaged_stops_the_writer(fresh: Callable[[], LogSettings]) -> None:
    """Who signs cannot be known then: the store says so instead of guessing."""
    settings = fresh()
    assert attempt(settings, Plan())
    connection = apsw.Connection(str(settings.directory / "log.db"))
    connection.execute("UPDATE entries SET body = x'7b7d' WHERE kind = 'key'")
    connection.close()
    with pytest.raises(StoreError):
        LogStore(settings.directory, NEW)
