"""The alerter while everything around it fails: pages, log, disk, its own life."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from appliance.domain.errors import PeerMissingError
from appliance.runtime.alert_files import read_board, read_memory
from appliance.runtime.guard_link import boot_text
from appliance.runtime.paths import Paths
from appliance.runtime.supervise import RESTART_LIMIT, Job, Supervisor
from hardware import pages
from hardware.pages import CoreWord, GuardWord
from tests.alert_kit import World, looked
from tests.processes import Child, running, until

ALERTS = ["appliance", "alerts"]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """An armed box with a hook that writes down what it is told."""
    return World(tmp_path)


def _alerter(world: World, log: Path) -> Child:
    return Child([*ALERTS, *world.where], log)


def _standing(world: World) -> list[str]:
    board = read_board(world.paths.alert_board)
    return [each.kind for each in board.standing] if board is not None else []


def _remembers(world: World, kind: str, waiting: int = 0) -> bool:
    memory, _ = read_memory(world.paths.alerts, boot_text())
    if memory is None or len(memory.waiting) != waiting:
        return False
    return any(case.kind == kind and case.told for case in memory.cases)


def _said(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Log lines since the last call, of every thread."""
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_killed_alerter_neither_loses_nor_repeats_what_stands(world: World, tmp_path: Path) -> None:
    """SIGKILL after it told; what happened while it was dead is told by the next, once each."""
    first = _alerter(world, tmp_path / "first.log")
    try:
        until(lambda: read_board(world.paths.alert_board), "the first alerter")
        world.trip(1)
        until(lambda: world.kinds() and _remembers(world, "KILL_BUTTON"), "the press told and remembered")
        assert world.kinds() == [("KILL_BUTTON", "began")]
    finally:
        first.kill(signal.SIGKILL)
        first.wait()
    world.trip(2)
    world.guard[GuardWord.REASON], world.guard[GuardWord.LATER] = 1, 1 << 2
    index = world.write("strategy_stop", strategy="trend-spx", why="its allocation fell 16 % from its peak")
    second = _alerter(world, tmp_path / "second.log")
    try:
        until(lambda: len(world.kinds()) == 3 and _remembers(world, "DRAWDOWN"), "the rest")
    finally:
        second.kill(signal.SIGKILL)
        second.wait()
    third = _alerter(world, tmp_path / "third.log")
    try:
        until(lambda: sorted(_standing(world)) == ["DRAWDOWN", "KILL_BUTTON"], "the third alerter")
        world.arm(epoch=9)
        until(lambda: len(world.kinds()) == 5, "both ends")
    finally:
        assert third.stop() == 0
    kinds = world.kinds()
    assert sorted(kinds[1:3]) == [("DRAWDOWN", "began"), ("STRATEGY_STOP", "began")]
    assert sorted(kinds[3:]) == [("DRAWDOWN", "ended"), ("KILL_BUTTON", "ended")]
    numbers = [alert["number"] for alert in world.heard()]
    assert sorted(numbers) == [1, 2, 3, 4, 5]
    (stop,) = [alert for alert in world.heard() if alert["kind"] == "STRATEGY_STOP"]
    assert (stop["subject"], stop["log_index"]) == ("trend-spx", index)
    assert "16" not in json.dumps({key: stop[key] for key in ("text", "recovery", "subject")})
    assert not world.paths.alert_board.exists(), "a clean stop takes its board along"


def test_what_the_hook_did_not_deliver_waits_for_the_next_life(tmp_path: Path) -> None:
    """The hook hangs, the alerter is stopped, the next one delivers."""
    world = World(tmp_path, hook="exec sleep 600", timeout='"30 s"')
    with running([*ALERTS, *world.where], tmp_path / "first.log") as first:
        world.trip(1)
        until(lambda: _standing(world) == ["KILL_BUTTON"], "the alert")
        first.kill(signal.SIGKILL)
        first.wait()
    memory, _ = read_memory(world.paths.alerts, boot_text())
    if memory is not None:  # the kill may have come before the memory: then the next one sees the trip anew
        assert [each.alert.kind for each in memory.waiting] == ["KILL_BUTTON"]
    world.write_hook('cat >> "$TOLD"')
    with running([*ALERTS, *world.where], tmp_path / "second.log"):
        until(lambda: world.kinds() == [("KILL_BUTTON", "began")], "the delivery")


def test_a_hanging_hook_stops_no_look(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Log line, board and memory of the next alert come while the first hook still hangs."""
    world = World(tmp_path, hook='echo $$ > "$TOLD"; exec sleep 600', timeout='"30 s"')
    alerter = world.alerter()
    try:
        world.trip(1)
        looked(alerter, "KILL_BUTTON")
        until(world.told.exists, "the hook")
        world.guard[GuardWord.LEVELS] = pages.LevelBit.TAMPER_OPEN
        _said(capsys)
        assert looked(alerter, "TAMPER").severity == "critical"
        (line,) = _said(capsys)
        assert (line["level"], line["event"], line["kind"]) == ("ERROR", "began", "TAMPER")
        assert "TAMPER" in _standing(world)
        board = read_board(world.paths.alert_board)
        assert board is not None
        assert (board.hook.waiting, board.hook.delivered) == (2, 0)
        until(lambda: _remembers(world, "TAMPER", waiting=2), "both in the memory")
    finally:
        alerter.close()


def test_a_failing_hook_is_an_alert_everywhere_but_in_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Said with its exit code, shown, counted; it ends with the next delivery."""
    world = World(tmp_path, hook='[ -e "$TOLD" ] || exit 9')
    alerter = world.alerter()
    try:
        world.trip(1)
        looked(alerter, "HOOK_FAILED")
        failed = next(line for line in _said(capsys) if line["event"] == "hook failed")
        assert (failed["how"], failed["failures"], failed["follows"]) == ("exit code 9", 1, "tried again")
        assert "HOOK_FAILED" in _standing(world)
        world.told.touch()
        world.guard[GuardWord.LEVELS] = pages.LevelBit.TAMPER_OPEN

        def over() -> bool:
            alerter.look()
            return "HOOK_FAILED" not in _standing(world)

        until(over, "the end of HOOK_FAILED")
    finally:
        alerter.close()


def test_pages_absent_replaced_and_of_another_boot(world: World) -> None:
    """No page, no statement: a standing trip neither ends nor repeats; the page that comes back is read."""
    alerter = world.alerter()
    try:
        world.trip(1)
        looked(alerter, "KILL_BUTTON")
        for name in (pages.GUARD_PAGE, pages.CORE_PAGE):
            (world.paths.runtime / name).unlink()
        for _ in range(20):
            assert alerter.look() == []
        pages.create_pages(world.paths.runtime)
        guard = pages.PageFile(world.paths.runtime / pages.GUARD_PAGE, writable=True).words
        pages.start_page(guard, pages.GUARD_LAYOUT, (1, 2))
        guard[GuardWord.HEARTBEAT_NS] = time.monotonic_ns()
        guard[GuardWord.REASON] = 2
        for _ in range(20):
            assert alerter.look() == [], "another boot's page is no page"
        pages.start_page(guard, pages.GUARD_LAYOUT, world.boot)
        world.guard = guard
        world.arm()
        world.guard[GuardWord.HEARTBEAT_NS] = time.monotonic_ns() + 10**13
        alert = looked(alerter, "KILL_BUTTON")
        assert alert.phase == "ended"
    finally:
        alerter.close()


def test_a_core_that_dies_and_a_guard_that_dies(world: World) -> None:
    """Both from the pages alone: nobody is left who could write to the log."""
    alerter = world.alerter()
    try:
        world.core[CoreWord.HEARTBEAT_NS] = time.monotonic_ns()
        alert = looked(alerter, "CORE_LOST")
        assert (alert.severity, alert.standing) == ("critical", True)
        assert alert.delay_ns > 1_000_000_000
        world.guard[GuardWord.HEARTBEAT_NS] = time.monotonic_ns()
        alert = looked(alerter, "GUARD_LOST")
        assert alert.delay_ns > 2_000_000_000
    finally:
        alerter.close()


def test_a_trip_that_is_never_stored(world: World) -> None:
    """SAFETY 5: a power cut now would forget it."""
    alerter = world.alerter()
    try:
        world.trip(1)
        world.guard[GuardWord.STORED] = 0
        assert looked(alerter, "TRIP_NOT_STORED").severity == "critical"
    finally:
        alerter.close()


def test_a_log_that_is_not_there(tmp_path: Path) -> None:
    """Said, and everything the pages tell is told; when it comes, it is read."""
    world = World(tmp_path)
    log, aside = world.paths.log, tmp_path / "aside"
    log.rename(aside)
    alerter = world.alerter()
    try:
        world.trip(1)
        looked(alerter, "KILL_BUTTON")
        looked(alerter, "LOG_UNREADABLE")
        aside.rename(log)
        world.write("start", version="0.1.0")
        world.write("upstream", alarm="the witness shows another history")
        alert = looked(alerter, "UPSTREAM_ALARM")
        assert alert.log_index == 1
        alert = looked(alerter, "LOG_UNREADABLE")
        assert alert.phase == "ended"
    finally:
        alerter.close()
        world.close()


def test_a_damaged_entry_hides_nothing_behind_it(world: World) -> None:
    """It is said, and what follows is read."""
    world.write("start", version="0.1.0")
    world.write("strategy_stop", strategy="damaged", why="x")
    world.write("strategy_stop", strategy="trend-spx", why="x")
    world.close()
    import apsw

    connection = apsw.Connection(str(world.paths.log / "log.db"))
    connection.execute("UPDATE entries SET body = X'7B7D' WHERE idx = 1")
    connection.close()
    alerter = world.alerter()
    try:
        alert = looked(alerter, "STRATEGY_STOP")
        assert (alert.subject, alert.more) == ("trend-spx", 0)
        looked(alerter, "LOG_UNREADABLE")
    finally:
        alerter.close()


def test_a_log_that_was_replaced_is_read_from_its_newest_start(world: World) -> None:
    """A cursor beyond its end belongs to the log before."""
    world.paths.alerts.parent.mkdir()
    world.write("start", version="0.1.0")
    world.write("strategy_stop", strategy="before", why="x")
    world.write("start", version="0.1.0")
    world.write("strategy_stop", strategy="now", why="x")
    from appliance.runtime.alert_sources import LogTail

    tail = LogTail(world.paths.log, 10_000)
    tail.start()
    until(tail.looked.is_set, "the first round")
    tail.close(30)
    taken = tail.take()
    assert ([line.index for line in taken.lines], taken.cursor) == ([2, 3], 4)
    world.close()


def test_a_damaged_memory_starts_anew(world: World) -> None:
    """It is kept beside, and what stands is told once more: too often is the safe side."""
    world.paths.alerts.parent.mkdir()
    world.paths.alerts.write_bytes(b'{"v": 1, "boot"')
    world.trip(1)
    alerter = world.alerter()
    try:
        looked(alerter, "KILL_BUTTON")
    finally:
        alerter.close()
    assert world.paths.alerts.with_suffix(".damaged").read_bytes() == b'{"v": 1, "boot"'


def test_a_state_that_cannot_be_written_is_said_and_alerts_go_on(world: World) -> None:
    """A full or read-only disk: the board says that a restart may repeat alerts."""
    world.paths.alerts.parent.write_text("a file where the folder should be")
    alerter = world.alerter()
    try:
        world.trip(1)
        looked(alerter, "KILL_BUTTON")

        def said() -> bool:
            alerter.look()
            board = read_board(world.paths.alert_board)
            return board is not None and "cannot" in board.problem

        until(said, "the problem on the board")
    finally:
        alerter.close()


def test_status_says_that_nobody_is_told(world: World, tmp_path: Path) -> None:
    """Guard and core run, the alerter does not."""
    status = Child(["appliance", "status", *world.where], tmp_path / "status.log")
    assert status.wait() == 0
    assert "alerts  absent: nobody outside the box is told (interlock alerts)" in status.output()


def test_only_one_alerter_on_one_box(world: World, tmp_path: Path) -> None:
    """The second ends with 75, which nobody starts again."""
    with running([*ALERTS, *world.where], tmp_path / "first.log"):
        until(lambda: read_board(world.paths.alert_board), "the first alerter")
        second = _alerter(world, tmp_path / "second.log")
        assert second.wait() == 75
        assert "interlock alerts runs already" in second.output()


def test_the_test_alert_says_what_happened(world: World, tmp_path: Path) -> None:
    """Exit 0 when it was delivered, 1 when not or without a hook, 78 without a configuration."""
    told = Child([*ALERTS, "--test", *world.where], tmp_path / "test.log")
    assert told.wait() == 0
    assert [alert["kind"] for alert in world.heard()] == ["TEST"]
    assert "delivered, exit code 0" in told.output()
    world.write_hook("echo the pager is out >&2; exit 4")
    failed = Child([*ALERTS, "--test", *world.where], tmp_path / "failed.log")
    assert failed.wait() == 1
    assert "failed, exit code 4" in failed.output()
    assert "the pager is out" in failed.output(), "what the hook says is seen here, and only here"
    world.configure()
    none = Child([*ALERTS, "--test", *world.where], tmp_path / "none.log")
    assert none.wait() == 1
    assert "no hook is configured" in none.output()
    world.paths.config.unlink()
    assert Child([*ALERTS, *world.where], tmp_path / "config.log").wait() == 78


def test_a_box_goes_on_without_an_alerter_that_will_not_run(tmp_path: Path) -> None:
    """The supervisor gives it up and says so; a part that is needed still ends everything."""
    (tmp_path / "run").mkdir()
    supervisor = Supervisor(Paths(tmp_path, tmp_path / "run"))
    supervisor.start(Job(name="alerts", arguments=("appliance", "no-such-verb"), needed=False))
    said: list[str] = []

    def look() -> bool:
        said.extend(supervisor.look())
        return bool(said)

    until(look, "its end")
    assert "ended for good" in said[0]
    assert supervisor.look() == []
    looping = Job(name="loop", arguments=("appliance", "verify", "--state", str(tmp_path)), needed=False)
    looping.ends = [time.monotonic()] * RESTART_LIMIT
    supervisor.start(looping)
    until(lambda: look() and len(said) == 2, "the end of the loop")
    assert "ended for good" in said[1]
    supervisor.start(Job(name="needed", arguments=("appliance", "no-such-verb")))

    def ends() -> bool:
        try:
            supervisor.look()
        except PeerMissingError:
            return True
        return False

    until(ends, "the refusal")
    supervisor.stop()
