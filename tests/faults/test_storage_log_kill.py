"""kill -9 of the log writer at random moments while a core appends (AUDIT, fault 1).

INTERLOCK_KILLS sets how often; a release is tested with 1,000.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from appliance.audit.checkpoint import open_checkpoint
from appliance.audit.records import decode_entry
from appliance.audit.verify import CHECKPOINT, verify
from appliance.domain.errors import StoreError
from appliance.storage.log_client import LogClient, LogSettings
from appliance.storage.log_reader import LogReader
from tests.audit_support import LOG, entry, new_log, order, run, trust

KILLS = int(os.environ.get("INTERLOCK_KILLS", "10"))
KILLS_A_LOG = 10


async def append_until_killed(settings: LogSettings, luck: random.Random) -> tuple[int, int]:
    """Appends and waits in random bursts; kills the writer in the middle. (acknowledged, numbered)"""
    client = await LogClient.start(settings)
    assert client._process is not None
    moment = luck.randrange(1, 40)
    while client.failure is None:
        tickets = []
        for _ in range(luck.randrange(1, 60)):
            number = client.head.size
            tickets.append(client.append([entry(number, order_id=f"o-{number}")], [order(f"o-{number}")]))
        moment -= 1
        if moment == 0:
            os.kill(client._process.pid, signal.SIGKILL)
        try:
            await tickets[luck.randrange(len(tickets))].durable()
        except StoreError:
            break
    numbered = client.head
    await client.aclose()
    return numbered.durable, numbered.size


def test_nothing_acknowledged_is_lost_and_nothing_signed_is_taken_back(tmp_path: Path) -> None:
    """Each time: entries and orders up to the last acknowledgement are there, numbers have no gap, the
    head grows from the one before, and in the end everything verifies."""
    luck = random.Random(20_260_101)
    for number in range(0, KILLS, KILLS_A_LOG):
        live_and_die(tmp_path / str(number), luck)


def live_and_die(directory: Path, luck: random.Random) -> None:
    """One log, killed several times, then stopped in order."""
    settings = new_log(directory, publish_ms=1)
    signed = size = 0
    for _ in range(KILLS_A_LOG):
        acknowledged, numbered = run(append_until_killed(settings, luck))
        reader = LogReader(settings.directory)
        size = reader.size()
        assert acknowledged <= size <= numbered
        assert len(reader.orders()) == size
        report = verify(reader, trust(settings))
        assert report.ok, report
        head = open_checkpoint(reader.file(CHECKPOINT) or b"", [LOG.verifier()]).checkpoint
        assert signed <= head.size <= size
        if signed:
            assert reader.root(head.size) == head.root
        signed = head.size
        reader.close()

    async def finish() -> None:
        client = await LogClient.start(settings)
        assert client.append([entry(0, "stop")]).index == size
        await client.aclose()

    run(finish())
    reader = LogReader(settings.directory)
    report = verify(reader, trust(settings))
    assert report.ok
    assert report.signed == report.entries == size + 1
    last = decode_entry(next(iter(reader.bodies(size, size + 1))))
    assert (last.i, last.n, last.kind) == (size, size, "stop")
    reader.close()


def test_a_writer_killed_while_it_starts_leaves_the_log_usable(tmp_path: Path) -> None:
    """Before Ready: the start fails with StoreError, the next one works."""
    settings = new_log(tmp_path)

    suicide = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(StoreError, match="died"):
        run(LogClient.start(replace(settings, command=(sys.executable, "-c", suicide))))
    run(append_until_killed(settings, random.Random(1)))
    reader = LogReader(settings.directory)
    assert verify(reader, trust(settings)).ok
    reader.close()
