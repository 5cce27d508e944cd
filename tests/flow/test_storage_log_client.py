"""Core and writer process together: numbering, acknowledgement, failure, restart."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from appliance.audit.records import decode_entry
from appliance.audit.verify import verify
from appliance.domain.errors import BusyError, ConfigError, InvariantError, StoreError
from appliance.domain.ids import OrderId
from appliance.domain.order import OrderState
from appliance.ports import AuditLog
from appliance.storage.log_client import LogClient, LogHead, LogSettings, LogTicket
from appliance.storage.log_reader import LogReader
from tests.audit_support import entry, new_log, order, run, trust

ROOT = Path(__file__).parents[2]


def writer_pid(client: LogClient) -> int:
    assert client._process is not None
    return client._process.pid


def check(settings: LogSettings, entries: int, signed: int | None = None) -> None:
    """The log on disk is whole, has so many entries, and (unless told) all of them are signed."""
    reader = LogReader(settings.directory)
    report = verify(reader, trust(settings))
    reader.close()
    assert report.ok, report
    assert report.entries == entries
    assert report.signed == (entries if signed is None else signed)


def as_port(client: LogClient) -> AuditLog:
    """The type checker agrees that it is one."""
    return client


def test_entries_are_numbered_at_once_and_durable_soon(tmp_path: Path) -> None:
    """Index known before anything is written; after `durable` a reader of the file sees it."""
    settings = new_log(tmp_path)

    async def work() -> None:
        client = await LogClient.start(settings)
        assert client.head.size == client.head.signed == 0
        first = as_port(client).append([entry(0), entry(1)])
        second = client.append([entry(2, "order", order_id="il-x")], [order("il-x")])
        assert (first.index, second.index) == (0, 2)
        assert client.head.size == 3
        await second.durable()
        reader = LogReader(settings.directory)
        assert reader.size() == 3
        assert [item.index for item in reader.entries_about(OrderId("il-x"))] == [2]
        assert [item.order.id for item in reader.open_orders()] == ["il-x"]
        reader.close()
        await first.durable()
        assert client.head.durable == 3
        await client.aclose()
        assert client.head.signed == 3

    run(work())
    check(settings, 3)


def test_a_stopped_log_goes_on_with_its_numbers(tmp_path: Path) -> None:
    """Index and every source's own count; orders keep the run they were made in."""
    settings = new_log(tmp_path)

    async def work() -> None:
        client = await LogClient.start(settings)
        client.append([entry(0), entry(1)], [order("a")])
        client.append([entry(2)], source="guard")
        await client.aclose()
        client = await LogClient.start(replace(settings, run="run-2"))
        assert client.head.size == client.head.durable == client.head.signed == 3
        assert client.head.root
        assert client.append([entry(3)], [order("a", OrderState.FILLED), order("b")]).index == 3
        assert client.append([entry(4)], source="guard").index == 4
        await client.aclose()

    run(work())
    check(settings, 5)
    reader = LogReader(settings.directory)
    records = [decode_entry(item) for item in reader.bodies(0, 5)]
    assert [(record.src, record.n) for record in records] == [
        ("core", 0), ("core", 1), ("guard", 0), ("core", 2), ("guard", 1),
    ]  # fmt: skip
    assert [(item.order.id, item.run, item.order.state) for item in reader.orders()] == [
        ("a", "run-1", OrderState.FILLED),
        ("b", "run-2", OrderState.RECORDED),
    ]
    reader.close()


def test_publication_on_request_and_by_cadence(tmp_path: Path) -> None:
    """`publish` does not wait for the cadence; the cadence does not wait for `publish`."""
    settings = new_log(tmp_path, publish_ms=3_600_000)

    async def work() -> None:
        client = await LogClient.start(settings)
        heads: list[LogHead] = []
        client.on_signed = heads.append
        client.append([entry(0)])
        head = await client.publish()
        assert head.signed == 1
        assert head.checkpoint == (settings.directory / "checkpoint").read_bytes()
        client.append([entry(1)])
        assert (await client.publish()).signed == 2
        assert (await client.publish()).signed == 2
        assert sorted({seen.signed for seen in heads}) == [1, 2]
        await client.aclose()
        client = await LogClient.start(replace(settings, publish_ms=1))
        seen = asyncio.Event()
        client.on_signed = lambda _head: seen.set()
        client.append([entry(2)])
        await seen.wait()
        assert client.head.signed == 3
        await client.aclose()

    run(work())
    check(settings, 3)


def test_what_cannot_be_written_numbers_nothing(tmp_path: Path) -> None:
    """A float, an unknown kind, no entry at all: InvariantError, and the next entry takes the index."""
    settings = new_log(tmp_path)

    async def work() -> None:
        client = await LogClient.start(settings)
        for bad in ([entry(0, x=1.5)], [entry(0), entry(0, "nonsense")], []):
            with pytest.raises(InvariantError):
                client.append(bad)
        with pytest.raises(InvariantError, match="cannot be stored"):
            client.append([entry(0)], [replace(order("a"), intent_id="\ud800")])
        assert client.append([entry(0)]).index == 0
        await client.aclose()

    run(work())
    check(settings, 1)


def test_a_second_core_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    """One writer per log; BusyError says who holds it."""
    settings = new_log(tmp_path)

    async def work() -> None:
        client = await LogClient.start(settings)
        with pytest.raises(BusyError, match="in use"):
            await LogClient.start(settings)
        await client.append([entry(0)]).durable()
        await client.aclose()
        again = await LogClient.start(settings)
        await again.aclose()

    run(work())
    check(settings, 1)


def test_no_log_and_no_key_are_configuration_errors(tmp_path: Path) -> None:
    """With the command that mends it, and nothing created."""
    settings = new_log(tmp_path)

    async def refused(changed: LogSettings, what: str) -> None:
        with pytest.raises(ConfigError, match=what):
            await LogClient.start(changed)

    run(refused(replace(settings, directory=tmp_path / "none"), "lock"))
    assert not (tmp_path / "none").exists()
    run(refused(replace(settings, key_file=tmp_path / "none.key"), "signing key"))
    settings.key_file.chmod(0o644)
    run(refused(settings, "mode is 0644"))
    with pytest.raises(StoreError, match="cannot be started"):
        run(LogClient.start(replace(settings, command=(str(tmp_path / "no-such-program"),))))


@pytest.mark.safety("S8.10")
def test_a_writer_that_dies_fails_every_pending_and_later_ticket(tmp_path: Path) -> None:
    """Acknowledged ones stay acknowledged; whoever waits on `failed` hears of it."""
    settings = new_log(tmp_path)

    async def work() -> None:
        client = await LogClient.start(settings)
        good = client.append([entry(0)])
        await good.durable()
        os.kill(writer_pid(client), signal.SIGSTOP)
        pending = client.append([entry(1)])
        waiting = asyncio.create_task(pending.durable())
        watch = asyncio.create_task(client.failed())
        await asyncio.sleep(0)
        os.kill(writer_pid(client), signal.SIGKILL)
        error = await watch
        assert isinstance(error, StoreError)
        with pytest.raises(StoreError, match="died"):
            await waiting
        await good.durable()
        size = client.head.size
        later = client.append([entry(2)])
        assert client.head.size == size
        for _ in range(2):
            with pytest.raises(StoreError, match="died"):
                await later.durable()
        with pytest.raises(StoreError):
            await client.publish()
        await client.aclose()

    run(work())
    reader = LogReader(settings.directory)
    assert reader.size() in (1, 2)
    reader.close()


FAULTY = """
import errno, os, sys
from appliance.storage import log_writer
from appliance.storage.durable import Io
def fsync(descriptor):
    raise OSError(errno.EIO, os.strerror(errno.EIO))
sys.exit(log_writer.serve(log_writer.parse(sys.argv[1:]), Io(fsync=fsync)))
"""


@pytest.mark.safety("S8.5")
def test_a_disk_error_in_the_writer_is_reported_with_its_cause(tmp_path: Path) -> None:
    """It says what failed and exits 74; the entry was durable, its publication was not."""
    settings = replace(new_log(tmp_path, publish_ms=1), command=(sys.executable, "-c", FAULTY))

    async def work() -> None:
        client = await LogClient.start(settings)
        await client.append([entry(0)]).durable()
        error = await client.failed()
        assert isinstance(error, StoreError)
        assert "Input/output error" in error.why
        assert client.disk_failed, "no arming before a reboot (SAFETY 8)"
        with pytest.raises(StoreError, match="durably"):
            await client.append([entry(1)]).durable()
        await client.aclose()
        assert client._process is not None
        assert client._process.returncode == 74

    run(work())
    check(settings, 1, signed=0)


def test_a_disk_that_cannot_keep_up_is_a_failure_not_a_queue_without_end(tmp_path: Path) -> None:
    """The bound is counted in entries and in bytes; what was handed over is still written."""
    for bound in (replace(new_log(tmp_path / "a"), backlog_entries=100),
                  replace(new_log(tmp_path / "b"), backlog_bytes=20_000)):  # fmt: skip

        async def work(settings: LogSettings) -> int:
            client = await LogClient.start(settings)
            os.kill(writer_pid(client), signal.SIGSTOP)
            tickets: list[LogTicket] = []
            while client.failure is None:
                tickets.append(client.append([entry(len(tickets))]))
            for ticket in tickets:
                with pytest.raises(StoreError, match="cannot keep up"):
                    await ticket.durable()
            os.kill(writer_pid(client), signal.SIGCONT)
            await client.aclose()
            return len(tickets)

        count = run(work(bound))
        assert count <= 130
        check(bound, count)


def test_the_writer_ignores_the_terminal_and_a_polite_kill(tmp_path: Path) -> None:
    """The core decides when the log ends: its last entries come after the signal."""
    settings = new_log(tmp_path)

    async def work() -> None:
        client = await LogClient.start(settings)
        os.kill(writer_pid(client), signal.SIGINT)
        os.kill(writer_pid(client), signal.SIGTERM)
        await client.append([entry(0)]).durable()
        await client.aclose()

    run(work())
    check(settings, 1)


def test_a_close_that_is_cancelled_leaves_nobody_waiting(tmp_path: Path) -> None:
    """Tickets of a log that is gone raise; closing again is harmless."""
    settings = new_log(tmp_path)

    async def work() -> None:
        client = await LogClient.start(settings)
        os.kill(writer_pid(client), signal.SIGSTOP)
        ticket = client.append([entry(0)])
        waiting = asyncio.create_task(ticket.durable())
        closing = asyncio.create_task(client.aclose())
        for _ in range(3):
            await asyncio.sleep(0)
        closing.cancel()
        os.kill(writer_pid(client), signal.SIGKILL)
        with pytest.raises((asyncio.CancelledError, StoreError)):
            await closing
        with pytest.raises(StoreError, match="closed"):
            await waiting
        with pytest.raises(StoreError, match="closed"):
            await client.append([entry(1)]).durable()
        with pytest.raises(StoreError):
            await client.publish()
        with pytest.raises(StoreError, match="exit code -9"):
            await client.aclose()

    run(work())


CORE = """
import asyncio, sys
from pathlib import Path
from appliance.ports import Entry
from appliance.ports import AuditLog
from appliance.storage.log_client import LogClient, LogSettings
async def work():
    client = await LogClient.start(LogSettings(
        directory=Path(sys.argv[1]), key_file=Path(sys.argv[2]), source="core", run="run-1", publish_ms=5))
    number = 0
    while True:
        tickets = []
        for _ in range(20):
            tickets.append(client.append([Entry(kind="heartbeat", utc_ns=number, mono_ns=number, data={})]))
            number += 1
        await tickets[-1].durable()
        print(number, flush=True)
asyncio.run(work())
"""


def test_a_core_that_is_killed_loses_nothing_it_was_told_is_durable(tmp_path: Path) -> None:
    """The writer commits what it had received, publishes and ends; the next core waits for it."""
    settings = new_log(tmp_path)
    command = [sys.executable, "-c", CORE, str(settings.directory), str(settings.key_file)]
    base = 0
    for goal in (100, 400):
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as core:
            assert core.stdout is not None
            acknowledged = 0
            while acknowledged < goal:
                acknowledged = int(core.stdout.readline())
            core.kill()
            acknowledged = max([acknowledged, *(int(line) for line in core.stdout if line.endswith("\n"))])
        reader = LogReader(settings.directory)
        before = reader.size()
        reader.close()

        async def work() -> int:
            client = await LogClient.start(replace(settings, lock_wait_ms=30_000))
            size = client.head.size
            await client.aclose()
            return size

        size = run(work())
        assert size >= before
        assert size >= base + acknowledged
        check(settings, size)
        base = size


def test_a_start_that_is_cancelled_leaves_no_writer(tmp_path: Path) -> None:
    """The lock is free again afterwards."""
    settings = new_log(tmp_path)

    async def work() -> None:
        starting = asyncio.create_task(LogClient.start(settings))
        for _ in range(20):
            await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        client = await LogClient.start(replace(settings, lock_wait_ms=30_000))
        await client.aclose()

    run(work())
    check(settings, 0)
