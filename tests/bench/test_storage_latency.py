"""How long from `append` to durable, beside a busy event loop (SAFETY 8 and 13).

    python -m tests.bench.test_storage_latency [APPENDS]

prints p50, p99, p99.9 and the largest value in milliseconds, natively and with the injected fsync latency
of an SD card (p50 8 ms, p99 50 ms, one stall of 2 s a minute). The test only makes sure that it measures.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from appliance.audit.verify import verify
from appliance.storage.log_client import LogClient, LogSettings
from appliance.storage.log_reader import LogReader
from tests.audit_support import entry, new_log, order, trust

SD_CARD = """
import math, os, random, sys, time
import apsw
from appliance.storage import log_writer
from appliance.storage.durable import Io
luck, stall = random.Random(1), time.monotonic() + 20
def wait():
    global stall
    if time.monotonic() > stall:
        stall += 60
        time.sleep(2)
    time.sleep(0.008 * math.exp(0.788 * luck.gauss(0, 1)))
class File(apsw.VFSFile):
    def __init__(self, name, flags):
        super().__init__("", name, flags)
    def xSync(self, flags):
        wait()
        super().xSync(flags)
class Vfs(apsw.VFS):
    def xOpen(self, name, flags):
        return File(name, flags)
vfs = Vfs("card", "")
def fsync(descriptor):
    wait()
    os.fsync(descriptor)
sys.exit(log_writer.serve(log_writer.parse(sys.argv[1:]), Io(fsync=fsync), "card"))
"""


async def burn(share: float) -> None:
    """Keeps the loop busy: 1 ms of work, then a pause that makes it `share` of the time."""
    while True:
        end = time.perf_counter() + 0.001
        while time.perf_counter() < end:
            pass
        await asyncio.sleep(0.001 * (1 - share) / share)


async def measure(settings: LogSettings, appends: int, every_s: float, share: float) -> list[float]:
    """Milliseconds from `append` (intent, verdict, order row) to `durable`, one after every `every_s`."""
    client = await LogClient.start(settings)
    load = asyncio.create_task(burn(share)) if share else None
    took: list[float] = []
    waiting: set[asyncio.Task[None]] = set()

    async def one(number: int) -> None:
        name = f"il-{number}"
        start = time.perf_counter()
        group = [entry(number, "intent"), entry(number, "verdict", order_id=name)]
        await client.append(group, [order(name)]).durable()
        took.append((time.perf_counter() - start) * 1000)

    for number in range(appends):
        task = asyncio.create_task(one(number))
        waiting.add(task)
        task.add_done_callback(waiting.discard)
        await asyncio.sleep(every_s)
    while waiting:
        await asyncio.wait(waiting)
    if load is not None:
        load.cancel()
    await client.aclose()
    return sorted(took)


def line(label: str, took: list[float]) -> str:
    """One row of the table."""
    p50, p99, p999 = (took[int(len(took) * share)] for share in (0.5, 0.99, 0.999))
    figures = f"p50 {p50:7.2f}  p99 {p99:7.2f}  p99.9 {p999:7.2f}  max {took[-1]:8.2f} ms"
    return f"{label:42} n={len(took):6}  {figures}"


@pytest.mark.safety("HW-12")
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_it_measures(tmp_path: Path, share: float) -> None:
    """Every append is timed, and the log it leaves is whole. No assertion about speed."""
    settings = new_log(tmp_path)
    took = asyncio.run(measure(settings, 50, 0.0, share))
    assert len(took) == 50
    assert took[0] > 0
    reader = LogReader(settings.directory)
    report = verify(reader, trust(settings))
    reader.close()
    assert report.ok
    assert report.entries == 100


def main() -> None:
    """Prints the table."""
    appends = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    card = (sys.executable, "-c", SD_CARD)
    for label, command, share, count in (
        ("native, idle loop, 500/s", (), 0.0, appends),
        ("native, loop 50 % busy, 500/s", (), 0.5, appends),
        ("native, loop 90 % busy, 500/s", (), 0.9, appends),
        ("injected SD card, loop 50 % busy, 50/s", card, 0.5, appends // 2),
    ):
        with tempfile.TemporaryDirectory() as name:
            settings = new_log(Path(name))
            if command:
                settings = replace(settings, command=command)
            every_s = 0.02 if command else 0.002
            took = asyncio.run(measure(settings, count, every_s, share))
            sys.stdout.write(line(label, took) + "\n")


if __name__ == "__main__":
    main()
