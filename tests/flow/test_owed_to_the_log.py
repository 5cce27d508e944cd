"""What could not wait for the log reaches it once, and only if it is not there already (SAFETY 8)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from appliance.audit.records import decode_entry
from appliance.runtime.guard_link import PageLink, prepare_pages
from appliance.runtime.owed import Act, Repayment, record
from appliance.runtime.paths import find_paths
from appliance.runtime.scribe import CoreScribe
from appliance.runtime.store_health import StoreHealth, ended_well
from appliance.storage.log_client import LogClient, LogSettings
from appliance.storage.log_reader import LogReader
from appliance.storage.ring import Ring, read_ring
from tests.audit_support import entry, new_log, order, run
from tests.box import Box
from tests.processes import Child, running, until


def act(number: int, *, owed: int = -1, with_order: bool = False, why: str = "x") -> Act:
    """An exit of order `o-<number>`."""
    return Act(
        who="core",
        act="NEW",
        order_id=f"o-{number}",
        instrument="SPX",
        why=why,
        utc_ns=number,
        mono_ns=number,
        owed=owed,
        order=order(f"o-{number}") if with_order else None,
    )


def gaps(settings: LogSettings) -> list[dict[str, Any]]:
    """Data of every GAP entry."""
    reader = LogReader(settings.directory)
    try:
        return [dict(decode_entry(found.body).data) for found in reader.entries_of_kind("gap")]
    finally:
        reader.close()


async def repaid(settings: LogSettings, ring: Path) -> None:
    """One core's start."""
    client = await LogClient.start(settings)
    Repayment(ring, "exits", settings.directory).repay(CoreScribe(client))
    await client.aclose()


@pytest.mark.safety("S8.3")
def test_each_act_is_repaid_once_over_restarts(tmp_path: Path) -> None:
    """By its ring and number; an order that only the ring knew is filed again."""
    settings, ring = new_log(tmp_path), Ring(tmp_path / "exits.ring")
    record(ring, act(1, with_order=True))
    record(ring, act(2))
    run(repaid(settings, ring.path))
    run(repaid(settings, ring.path))
    assert [gap["order_id"] for gap in gaps(settings)] == ["o-1", "o-2"]
    record(ring, act(3))
    run(repaid(settings, ring.path))
    assert [gap["number"] for gap in gaps(settings)] == [1, 2, 3]
    assert {gap["from"] for gap in gaps(settings)} == {"exits"}
    reader = LogReader(settings.directory)
    assert [stored.order.id for stored in reader.orders()] == ["o-1"]
    reader.close()
    ring.close()


def test_a_new_ring_is_read_from_its_beginning(tmp_path: Path) -> None:
    """After a reboot /run is empty, and numbers begin at 1 again."""
    settings, ring = new_log(tmp_path), Ring(tmp_path / "exits.ring")
    record(ring, act(1))
    run(repaid(settings, ring.path))
    ring.close()
    ring.path.unlink()
    ring = Ring(tmp_path / "exits.ring")
    record(ring, act(9))
    run(repaid(settings, ring.path))
    assert [gap["order_id"] for gap in gaps(settings)] == ["o-1", "o-9"]
    ring.close()


@pytest.mark.parametrize(
    ("kind", "of", "expected"),
    [("verdict", "o-1", []), ("verdict", "o-2", ["o-1"]), ("order", "o-1", ["o-1"])],
)
def test_an_act_whose_entry_became_durable_is_not_owed(
    tmp_path: Path, kind: str, of: str, expected: list[str]
) -> None:
    """Only that entry counts: same index, a verdict, the same order."""
    settings, ring = new_log(tmp_path), Ring(tmp_path / "exits.ring")

    async def late() -> None:
        client = await LogClient.start(settings)
        client.append([entry(0, kind, order_id=of)])
        await client.aclose()

    run(late())
    record(ring, act(1, owed=0))
    run(repaid(settings, ring.path))
    assert [gap["order_id"] for gap in gaps(settings)] == expected
    ring.close()


def test_what_was_overwritten_and_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    """Nothing is dropped in silence."""
    settings, ring = new_log(tmp_path), Ring(tmp_path / "exits.ring", slots=4)
    for number in range(1, 7):
        record(ring, act(number))
    ring.append(b"{not json")
    run(repaid(settings, ring.path))
    found = gaps(settings)
    assert found[0]["lost"] == 3
    assert [gap.get("order_id") for gap in found[1:]] == ["o-4", "o-5", "o-6", None]
    assert "cannot be read" in found[-1]["why"]
    ring.close()


def test_a_reason_without_end_does_not_lose_the_act(tmp_path: Path) -> None:
    """It is cut, and the act recorded."""
    ring = Ring(tmp_path / "exits.ring")
    record(ring, act(1, with_order=True, why="y" * 5_000))
    ((_, body),) = read_ring(ring.path).records
    assert json.loads(body)["order_id"] == "o-1"
    ring.close()


def _missing(box: Box) -> tuple[str, ...]:
    """What keeps the box from its next step; everything while nobody answers."""
    status = box.status()
    return ("no core",) if status is None else tuple(status.missing)


def _reasons(box: Box) -> list[str]:
    return [str(trip["reason"]) for trip in box.entries("trip")]


def _signed(box: Box) -> int:
    status = box.status()
    return 0 if status is None else status.audit.signed


def _pull(box: Box, up: Child) -> None:
    """Supervisor and core gone at once, as a power cut leaves them."""
    os.kill(up.pid, signal.SIGSTOP)
    os.kill(box.core_pid(), signal.SIGKILL)
    up.kill()
    up.wait()


@pytest.mark.safety("S8.5")
def test_a_log_that_did_not_end_with_a_stop_is_read_whole(tmp_path: Path) -> None:
    """kill -9: nobody arms until `verify` was content, then they may."""
    box = Box(tmp_path)
    assert ended_well(box.state / "log")
    with running(box.up("--no-arm"), tmp_path / "one.log") as child:
        until(lambda: _signed(box) > 2, "a published head")
        _pull(box, child)
    assert not ended_well(box.state / "log")
    with running(box.up("--no-arm"), tmp_path / "two.log") as child:
        until(lambda: not {"store_ok", "no core"} & set(_missing(box)), "the log read whole")
        assert "AUDIT_STORE" not in _reasons(box)
        assert child.stop() == 130
    assert ended_well(box.state / "log")


@pytest.mark.safety("S1.32", "S8.5")
def test_a_log_that_does_not_verify_trips_and_nobody_arms(tmp_path: Path) -> None:
    """A bundle was changed while the box was off. A clean stop does not make the log a good one."""
    box = Box(tmp_path)
    with running(box.up("--no-arm"), tmp_path / "one.log") as child:
        until(lambda: _signed(box) > 2, "a published head")
        _pull(box, child)
    bundle = next(path for path in (box.state / "log" / "tile" / "entries").rglob("*") if path.is_file())
    data = bytearray(bundle.read_bytes())
    data[len(data) // 2] ^= 1
    bundle.write_bytes(data)
    with running(box.up("--no-arm"), tmp_path / "two.log") as child:
        until(lambda: "DATA_INTEGRITY" in _reasons(box), "the trip", 20)
        until(lambda: "store_ok" in _missing(box), "the refusal to arm")
        assert child.stop() == 130
    assert not ended_well(box.state / "log")


PRICES = [f"2001-{month:02}-{day:02},10.0,12.5,9.25,11.00" for month in range(1, 13) for day in range(1, 28)]
CHANGED = [*PRICES[:-1], PRICES[-1][:-1] + "1"]


@pytest.mark.safety("S1.32")
def test_a_run_resumed_on_other_prices_trips_once(tmp_path: Path) -> None:
    """The file was changed while the box was off: books and strategies would be rebuilt from what never was.
    It is told once; who arms after it has accepted the file."""
    sample = 'format = "sample"                  # a shipped sample; or "ohlcv" / "binance" with file = "…"'
    mine = 'format = "ohlcv"\nfile = "mine.csv"\ninterval = "1 d"'
    box = Box(tmp_path, {f'{sample}\nsample = "spx"': mine})
    prices = box.state / "mine.csv"
    for number, text in enumerate((PRICES, PRICES, CHANGED, CHANGED)):
        prices.write_text("\n".join(text) + "\n")
        with running(box.up("--no-arm"), tmp_path / f"{number}.log") as child:
            until(lambda: not {"store_ok", "no core"} & set(_missing(box)), "a core that may be armed", 60)
            if number >= 2:
                until(lambda: "DATA_INTEGRITY" in _reasons(box), "the trip, in the log and on the page")
            assert ("DATA_INTEGRITY" in _reasons(box)) is (number >= 2)
            _pull(box, child)
    trips = [each for each in box.entries("trip") if each["reason"] == "DATA_INTEGRITY"]
    (trip,) = [each for each in trips if each["from"] == "core"]
    assert trip["detail"] == "the feed's files are not those the run was made with (feed.source 0)"
    digests = [each["sha256"] for each in (*box.entries("run_start"), *box.entries("reconcile"))]
    assert len(digests) == 4
    assert digests[0] == digests[1] != digests[2] == digests[3]


def test_after_a_failed_disk_nobody_arms_until_a_reboot(tmp_path: Path) -> None:
    """The core's page outlives the core; a log writer that was only killed leaves no mark."""
    settings = new_log(tmp_path / "log")
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    paths = find_paths(tmp_path / "state", runtime)
    prepare_pages(runtime)

    async def work() -> tuple[str, str, str]:
        client = await LogClient.start(settings)
        health = StoreHealth(client, PageLink(runtime), paths, clean=True)
        before = health.problem
        assert client._process is not None
        client._process.kill()
        await client.failed()
        client.failure = None
        health.note_failure()
        killed = StoreHealth(client, PageLink(runtime), paths, clean=True).problem
        client.disk_failed = True
        health.note_failure()
        after = StoreHealth(client, PageLink(runtime), paths, clean=True).problem
        await client._let_go()
        return before, killed, after

    before, killed, failed = asyncio.run(work())
    assert (before, killed) == ("", "")
    assert "needs a reboot" in failed
