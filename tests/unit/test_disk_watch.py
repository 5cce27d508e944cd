"""What the core does with what the disk allows: hold, trip, entries, refill; and the gauge (SAFETY 8)."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from appliance.domain.disk import DiskReserve
from appliance.domain.intent import ListKind, OrderType, Side
from appliance.domain.mode import BOX, HoldCause, Mode, TripReason
from appliance.domain.money import Price
from appliance.domain.reasons import Reason
from appliance.domain.status import Disk
from appliance.domain.verdict import Denied, Verdict
from appliance.runtime import disk_watch
from appliance.runtime.cmd_status import look
from appliance.runtime.disk_gauge import (
    DiskGauge,
    Reading,
    directory_bytes,
    free_bytes,
    read_note,
    write_note,
)
from appliance.runtime.disk_text import disk_part, note_text, size_text
from appliance.runtime.disk_watch import FULL, DiskWatch
from appliance.runtime.paths import Paths
from appliance.safety.disk import UNMEASURED_NS, DiskLevel, Room
from tests.kit import SECOND, Core, DoneTicket

WHOLE, GIVEN = DiskReserve(16, 16), DiskReserve(0, 16, given=True, why="the disk was full")
MISSING = DiskReserve(0, 16, why="no room")


def _fake(**attributes: Any) -> Any:
    return SimpleNamespace(**attributes)


class Bench:
    """A watch on a core of the kit, with a gauge and a log that say what the test puts there."""

    def __init__(self) -> None:
        self.core = Core()
        self.gauge = _fake(reading=None, again=self._again)
        self.log = _fake(reserve=WHOLE, refill=self._refill)
        self.refills = self.agains = 0
        self.spared: list[tuple[bool, bool]] = []
        self.measured(100)
        self.watch = DiskWatch(
            self.gauge,
            self.log,
            self.core.safety,
            self.core.scribe,
            self.core.clock,
            lambda exits_only, may_store: self.spared.append((exits_only, may_store)),
            self.core.desk.unrecorded,
        )

    def _refill(self) -> None:
        self.refills += 1

    def _again(self) -> None:
        self.agains += 1

    def measured(self, gone: int, level: DiskLevel = DiskLevel.OK) -> None:
        """A measurement of now."""
        room = Room(gone, 1_000, 10_000)
        self.gauge.reading = Reading(level, room, self.core.clock.mono_ns())

    def held(self) -> str:
        """Why the disk keeps new exposure waiting."""
        standing = [hold for hold in self.core.holds.on_box() if hold.cause is HoldCause.DISK_QUOTA]
        return standing[0].detail if standing else ""


@pytest.fixture
def bench() -> Bench:
    """Armed, in NORMAL, with all the room there is."""
    return Bench()


@pytest.mark.safety("S8.7")
def test_until_the_first_look_new_exposure_waits(bench: Bench) -> None:
    """Nobody has measured: not worth an entry, unless it lasts."""
    assert bench.held() == "the disk is being measured"
    bench.watch.look()
    assert bench.held() == ""
    assert bench.core.scribe.kinds() == []


@pytest.mark.safety("S8.7", "S1.18")
def test_a_hold_is_recorded_once_with_its_end(bench: Bench) -> None:
    """At 95 %: hold, entry, memory stops storing; its detail follows; below 90 % all of it ends."""
    bench.watch.look()
    bench.measured(950, DiskLevel.HOLD)
    bench.watch.look()
    bench.measured(970, DiskLevel.HOLD)
    bench.watch.look()
    assert bench.held() == "97 % of the disk quota is gone"
    assert bench.spared == [(False, True), (False, False), (False, False)]
    assert bench.core.safety.mode is Mode.NORMAL, "a hold is not latched"
    bench.measured(800, DiskLevel.ALERT)
    bench.watch.look()
    assert bench.held() == ""
    assert bench.core.scribe.kinds() == ["hold", "disk", "hold_end", "disk"]
    assert bench.core.scribe.of("hold") == [
        {"cause": "DISK_QUOTA", "scope": BOX, "detail": "95 % of the disk quota is gone"}
    ]
    assert [entry["level"] for entry in bench.core.scribe.of("disk")] == ["hold", "alert"]
    assert bench.core.guard.requests == []


@pytest.mark.safety("S8.6", "S1.29")
def test_the_reserve_in_use_trips_and_holds(bench: Bench) -> None:
    """AUDIT_STORE → PAUSED, once; nothing but exits may write; a new measurement is asked for."""
    bench.watch.look()
    bench.log.reserve = GIVEN
    bench.watch.look()
    bench.watch.look()
    assert bench.core.safety.mode is Mode.PAUSED
    assert bench.core.guard.requests == [TripReason.AUDIT_STORE]
    assert [trip["detail"] for trip in bench.core.scribe.of("trip")] == [FULL]
    assert bench.spared[-1] == (True, False)
    assert "the disk was full" in bench.held()
    assert bench.core.scribe.of("disk") == [
        {
            "level": "ok",
            "reserve": "in use",
            "reserve_bytes": 0,
            "percent": 10,
            "taken_bytes": 100,
            "left_bytes": 900,
            "why": "the disk was full",
        }
    ]
    assert (bench.agains, bench.refills) == (1, 0), "that measurement is older than the use"


@pytest.mark.safety("S8.6")
def test_the_trip_shuts_the_gate_before_anything_else_is_done(bench: Bench) -> None:
    """An order recorded on the reserve is still on its way: its approval must be void first."""
    opened: list[bool] = []

    def note(*_arguments: object, **_named: object) -> DoneTicket:
        opened.append(bench.core.latch.is_open())
        return DoneTicket(0)

    bench.core.scribe.note = note  # type: ignore[method-assign]
    assert bench.core.latch.is_open()
    bench.log.reserve = GIVEN
    bench.watch.look()
    assert opened
    assert not any(opened)


@pytest.mark.safety("S8.6")
def test_it_is_asked_for_again_where_there_is_room(bench: Bench) -> None:
    """Only after a measurement that is newer than its use, and not at every look."""
    bench.watch.look()
    bench.log.reserve = GIVEN
    bench.watch.look()
    bench.core.clock.pass_ns(SECOND)
    bench.measured(980, DiskLevel.HOLD)
    bench.watch.look()
    assert bench.refills == 0, "there is no room"
    bench.measured(500)
    for _ in range(12):
        bench.watch.look()
        bench.core.clock.pass_ns(SECOND)
    assert bench.refills == 3
    bench.log.reserve = WHOLE
    bench.watch.look()
    assert bench.held() == ""
    assert bench.core.safety.mode is Mode.PAUSED, "the trip ends by arming only"
    assert [entry["reserve"] for entry in bench.core.scribe.of("disk")][-1] == "in place"
    assert bench.refills == 3


@pytest.mark.safety("S8.6")
def test_a_reserve_that_was_never_made_holds_and_trips_nothing(bench: Bench) -> None:
    """No room at the start: said, held, asked for again."""
    bench.log.reserve = MISSING
    bench.core.clock.pass_ns(1)
    bench.watch.look()
    assert bench.held() == "the disk reserve for exits is not there: no room"
    assert bench.core.guard.requests == []
    assert bench.core.scribe.of("disk")[0]["reserve"] == "missing"
    bench.core.clock.pass_ns(1)
    bench.measured(100)
    bench.watch.look()
    assert bench.refills == 1


@pytest.mark.safety("S8.6")
def test_denials_are_counted_while_only_exits_may_write(bench: Bench) -> None:
    """One entry a minute, and one when it is over; the desk's own counts are emptied with it."""
    bench.log.reserve = GIVEN
    bench.watch.look()
    bench.core.desk.sparing = True
    bench.core.desk.spared(bench.core.intent().source, "HOLD")
    bench.watch.look()
    bench.core.desk.spared(bench.core.intent().source, "HOLD")
    bench.core.desk.spared(bench.core.intent().source, "HOLD")
    bench.core.clock.pass_ns(59 * SECOND)
    bench.watch.look()
    assert [entry["counts"] for entry in bench.core.scribe.of("denied_count")] == [{"bot HOLD": 1}]
    bench.core.clock.pass_ns(SECOND)
    bench.watch.look()
    bench.core.desk.spared(bench.core.intent().source, "TRIPPED")
    bench.log.reserve = WHOLE
    bench.measured(100)
    bench.watch.look()
    counted = [entry["counts"] for entry in bench.core.scribe.of("denied_count")]
    assert counted == [{"bot HOLD": 1}, {"bot HOLD": 2}, {"bot TRIPPED": 1}]
    assert bench.core.desk.unrecorded == Counter()


@pytest.mark.safety("S8.6")
@pytest.mark.parametrize("sparing", [False, True])
def test_the_desk_records_exits_whatever_the_disk_says(sparing: bool) -> None:
    """A denied entry is counted instead; an approved cancel or exit leaves its whole trail."""

    async def run() -> None:
        core = Core()
        await core.market(100_000)
        await core.desk.place(core.intent())
        await core.market(100_000)
        core.desk.sparing = sparing
        core.holds.begin(HoldCause.DISK_QUOTA, BOX, 1, "full")
        before = len(core.scribe.entries)
        await core.desk.place(core.intent())
        recorded = core.scribe.kinds()[before:]
        assert recorded == ([] if sparing else ["intent", "verdict"])
        assert dict(core.desk.unrecorded) == ({"bot HOLD": 1} if sparing else {})
        before = len(core.scribe.entries)
        await core.exits.leave_everything("liquidate")
        await core.market(100_000)
        kinds = core.scribe.kinds()[before:]
        assert kinds.count("verdict") == kinds.count("intent") >= 2
        assert "fill" in kinds
        assert core.portfolio.is_flat()

    asyncio.run(run())


@pytest.mark.safety("S8.6")
@pytest.mark.parametrize("sparing", [False, True])
def test_a_denied_list_of_entries_is_counted_while_only_exits_may_be_recorded(sparing: bool) -> None:
    """Once, however many orders it has; the verdict is counted and given back all the same."""

    async def run() -> None:
        core = Core()
        await core.market(100_000)
        counted: list[Verdict] = []
        core.desk._count = counted.append
        core.desk.sparing = sparing
        core.holds.begin(HoldCause.DISK_QUOTA, BOX, 1, "full")
        lead, stop = core.intent(), core.intent(side=Side.SELL, order_type=OrderType.STOP)
        before = len(core.scribe.entries)
        verdict = await core.desk.place_list(ListKind.OTO, [lead, replace(stop, stop_price=Price(96_000))])
        assert isinstance(verdict, Denied)
        assert verdict.reason is Reason.HOLD
        assert counted == [verdict]
        assert core.scribe.kinds()[before:] == ([] if sparing else ["intent", "intent", "verdict"])
        assert dict(core.desk.unrecorded) == ({"bot HOLD": 1} if sparing else {})

    asyncio.run(run())


@pytest.mark.safety("S8.7")
def test_a_disk_that_stalls_stops_its_gauge_and_not_the_loop(bench: Bench, monkeypatch: Any) -> None:
    """The watch looks on; when the last measurement is a minute old, new exposure waits."""
    bench.watch.look()
    bench.core.clock.pass_ns(UNMEASURED_NS)
    bench.watch.look()
    assert bench.held() == ""
    bench.core.clock.pass_ns(1)
    bench.watch.look()
    assert "does not answer" in bench.held()

    async def looks() -> int:
        turns = 0
        watching = asyncio.get_running_loop().create_task(stalled.watch.run())
        while not stalled.held().startswith("the disk does not answer"):
            turns += 1
            await asyncio.sleep(0)
        watching.cancel()
        return turns

    stalled = Bench()
    stalled.gauge.reading = Reading(DiskLevel.OK, None, 0)
    monkeypatch.setattr(disk_watch, "FIRST_LOOKS", 2)
    assert asyncio.run(looks()) > 2, "the loop turned while nobody answered"
    assert stalled.core.scribe.kinds() == ["hold"]


def _paths(root: Path) -> Paths:
    paths = Paths(root / "state", root / "run")
    for each in (paths.log, paths.runtime):
        each.mkdir(parents=True)
    return paths


@pytest.mark.safety("S8.7")
def test_the_gauge_counts_blocks_in_every_folder(tmp_path: Path) -> None:
    """Not lengths, not links, and not what vanished meanwhile."""
    state = tmp_path / "state"
    (state / "one" / "two").mkdir(parents=True)
    (state / "one" / "two" / "data").write_bytes(bytes(100_000))
    (state / "hole").touch()
    os.truncate(state / "hole", 10**9)
    (state / "link").symlink_to("/")
    (state / "folder").symlink_to(tmp_path)
    taken = directory_bytes(state)
    assert 100_000 <= taken < 200_000
    rests: list[float] = []

    def vanish(seconds: float) -> None:
        rests.append(seconds)
        (state / "one" / "two" / "data").unlink(missing_ok=True)

    for number in range(200):
        (state / f"file-{number}").touch()
    assert directory_bytes(state, vanish) < 200_000
    assert len(rests) == 3, "it rests every 64 files"
    assert free_bytes(state) > 0


def test_a_measurement_is_shown_to_who_asks_no_process(tmp_path: Path) -> None:
    """Reading, file and sentence; a note of another boot is none."""
    paths = _paths(tmp_path)
    (paths.log / "reserve").write_bytes(bytes(8192))
    gauge = DiskGauge(paths, 1_000_000_000, 16_384)
    assert read_note(paths.disk_note) is None
    gauge.measure()
    note = read_note(paths.disk_note)
    room = gauge.reading.room
    assert note is not None
    assert room is not None
    assert (note.taken, note.left, note.quota) == (room.taken, room.left, 1_000_000_000)
    assert (note.reserve, note.wanted, note.percent) == (8192, 16_384, 0)
    assert note_text(note).endswith("left (ok), reserve of 8.1 kB of 16 kB")
    told = look(paths)["disk"]
    assert isinstance(told, dict)
    assert told["text"] == note_text(note)
    write_note(paths.disk_note, replace(note, mono_ns=note.mono_ns - 2 * UNMEASURED_NS))
    old = look(paths)["disk"]
    assert isinstance(old, dict)
    assert old["text"] == f"{note_text(note)}, measured 120 s ago"
    paths.disk_note.write_bytes(paths.disk_note.read_bytes().replace(note.boot.encode(), b"0" * 32))
    assert look(paths)["disk"] is None
    assert read_note(paths.disk_note) is None
    paths.disk_note.write_bytes(b"{not json")
    assert read_note(paths.disk_note) is None


def test_the_gauge_measures_again_when_asked_and_ends(tmp_path: Path) -> None:
    """On its own thread; a disk that cannot be read leaves the last reading."""
    paths = _paths(tmp_path)
    gauge = DiskGauge(paths, 1_000_000_000, 0)
    measured = threading.Semaphore(0)
    real = gauge.measure

    def measure() -> None:
        try:
            real()
        finally:
            measured.release()

    gauge.measure = measure  # type: ignore[method-assign]
    gauge.start()
    assert measured.acquire(timeout=10)
    first = gauge.reading
    paths.log.rmdir()
    gauge.again()
    assert measured.acquire(timeout=10)
    assert gauge.reading is first
    gauge.close()
    gauge.join(10)
    assert not gauge.is_alive()


GOOD = Disk("ok", 41, 1, 2_400_000_000, 4_000_000_000, "in place", 16_000_000)


@pytest.mark.parametrize(
    ("disk", "state", "detail"),
    [
        (GOOD, "ok", "41 % of the quota of 4.0 GB gone, 2.4 GB left, reserve of 16 MB in place"),
        (replace(GOOD, level="alert"), "degraded", "41 % of"),
        (replace(GOOD, level="hold", hold="x"), "degraded", "41 % of"),
        (replace(GOOD, reserve="missing", hold="x"), "degraded", "reserve missing"),
        (replace(GOOD, reserve="in use", hold="x"), "down", "reserve in use"),
        (replace(GOOD, percent=-1, hold="x"), "degraded", "not measured"),
    ],
)
def test_the_disk_is_a_part_of_the_box(disk: Disk, state: str, detail: str) -> None:
    """down only while the log has nothing but its reserve."""
    part = disk_part(disk)
    assert (part.name, part.state) == ("disk", state)
    assert detail in part.detail


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (9_999, "9.9 kB"), (10_000, "10 kB"),
     (999_999, "999 kB"), (1_000_000, "1.0 MB"), (4_000_000_000, "4.0 GB"), (123 * 10**9, "123 GB")],
)  # fmt: skip
def test_bytes_for_people(size: int, text: str) -> None:
    """Rounded down: never more room than there is."""
    assert size_text(size) == text


def test_the_page_shows_what_the_watch_judges(bench: Bench) -> None:
    """Also before anything was measured."""
    assert bench.watch.picture() == Disk("ok", 10, 100, 900, 1_000, "in place", 16)
    bench.gauge.reading = Reading(DiskLevel.OK, None, 0)
    found = bench.watch.picture()
    assert (found.percent, found.left_bytes, found.reserve) == (-1, -1, "in place")
    assert found.hold
