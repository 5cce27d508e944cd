"""The alerter's two files: what the core shows of the board, and what a damaged memory becomes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from appliance.audit.records import encode_entry
from appliance.domain.alert import AlertKind
from appliance.domain.errors import ConfigError
from appliance.ports import Entry
from appliance.runtime.alert_files import (
    FRESH_NS,
    Board,
    BoardView,
    HookCounts,
    Keeper,
    Memory,
    Standing,
    board_age_ns,
    dump,
    read_board,
    read_memory,
    write_board,
)
from appliance.runtime.config_load import EXAMPLE, load_config
from appliance.safety.alert_facts import Known, Mark
from appliance.safety.alert_queue import Waiting
from appliance.safety.alerts import Case, trial_alert

BOARD = Board(
    boot="this boot",
    pid=1,
    beat_ns=0,
    standing=(Standing(AlertKind.KILL_BUTTON, "", 7), Standing(AlertKind.VENUE_DOWN, "venue:paper", 8)),
    counts={"KILL_BUTTON": 2, "VENUE_DOWN": 1},
    hook=HookCounts(delivered=3),
    problem="",
)
MEMORY = Memory(
    boot="this boot",
    cursor=12,
    number=3,
    known=Known(trips={"KILL_BUTTON": Mark(5, 4)}, epoch=6, reasons=(1,), generation=2, starts_ns=(9,)),
    cases=(Case(kind=AlertKind.KILL_BUTTON, subject="", changed_ns=1, told_ns=2, event_ns=3, told=True),),
    waiting=(Waiting(alert=trial_alert("attic", 1_000), tries=1, due_ns=10),),
)


def _shown(path: Path, board: Board | None) -> BoardView:
    if board is not None:
        write_board(path, board)
    return BoardView(path, "this boot")


def test_a_living_alerter_is_shown_with_what_stands(tmp_path: Path) -> None:
    """Part, lines, counts; sentences and severities are the domain's."""
    view = _shown(tmp_path / "board.json", replace(BOARD, beat_ns=time.monotonic_ns()))
    assert (view.part().state, view.part().detail) == ("ok", "3 alerts told")
    assert [(line.kind, line.severity, line.subject, line.since_ns) for line in view.lines()] == [
        ("KILL_BUTTON", "critical", "", "7"),
        ("VENUE_DOWN", "warning", "venue:paper", "8"),
    ]
    assert view.lines()[0].text == "The red button was pressed."
    assert view.counts() == {"KILL_BUTTON": 2, "VENUE_DOWN": 1}
    assert view.hook() == {"delivered": 3, "failed": 0, "given_up": 0, "waiting": 0}


@pytest.mark.parametrize(("age_ns", "state", "lines"), [(0, "ok", 2), (FRESH_NS + 1, "degraded", 0)])
def test_an_old_board_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age_ns: int, state: str, lines: int
) -> None:
    """A dead alerter's last word says nothing about now; the core goes on."""
    now_ns = time.monotonic_ns()
    view = _shown(tmp_path / "board.json", replace(BOARD, beat_ns=now_ns - age_ns))
    monkeypatch.setattr("appliance.runtime.alert_files.time.monotonic_ns", lambda: now_ns)
    assert (view.part().state, len(view.lines())) == (state, lines)


@pytest.mark.parametrize(("age_ns", "fresh"), [(FRESH_NS, True), (FRESH_NS + 1, False)])
def test_the_age_of_a_board_is_its_heartbeats(
    monkeypatch: pytest.MonkeyPatch, age_ns: int, fresh: bool
) -> None:
    """Dense at the limit; another boot's clock says nothing."""
    now_ns = time.monotonic_ns()
    monkeypatch.setattr("appliance.runtime.alert_files.time.monotonic_ns", lambda: now_ns)
    board = replace(BOARD, beat_ns=now_ns - age_ns)
    assert board_age_ns(board, "this boot") == age_ns
    assert (age_ns <= FRESH_NS) is fresh
    assert board_age_ns(board, "another boot") is None
    assert board_age_ns(None, "this boot") is None


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"v":1}', b"\xff" * 100, dump(BOARD)[:-1], b"0" * 2_000_000]
)
def test_what_is_no_board_is_none(tmp_path: Path, data: bytes) -> None:
    """The core reads somebody else's file: it never raises."""
    path = tmp_path / "board.json"
    path.write_bytes(data)
    assert read_board(path) is None
    assert (_shown(path, None).part().state, _shown(path, None).lines()) == ("degraded", ())


def test_what_lies_in_the_boards_place_cannot_stop_the_core(tmp_path: Path) -> None:
    """A pipe nobody writes to, a link, a folder: the hook may write there."""
    (tmp_path / "good.json").write_bytes(dump(BOARD))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "good.json")
    (tmp_path / "folder").mkdir()
    assert read_board(tmp_path / "good.json") == BOARD
    for name in ("pipe", "link", "folder"):
        assert read_board(tmp_path / name) is None
        assert "cannot be read" in read_memory(tmp_path / name, "this boot")[1]
    open_files = Path("/proc/self/fd")
    before = len(list(open_files.iterdir()))
    for name in ("good.json", "pipe", "link", "folder", "absent") * 5:
        read_board(tmp_path / name)
    assert len(list(open_files.iterdir())) == before, "it looks twice a second, for ever"


def test_no_board_is_said(tmp_path: Path) -> None:
    """Absent file, absent folder."""
    for path in (tmp_path / "board.json", tmp_path / "none" / "board.json"):
        assert "does not run" in _shown(path, None).part().detail
        assert _shown(path, None).counts() == {}


def test_a_working_alerter_with_less_is_degraded(tmp_path: Path) -> None:
    """And says why."""
    board = replace(BOARD, beat_ns=time.monotonic_ns(), problem="cannot write alerts.json durably")
    part = _shown(tmp_path / "board.json", board).part()
    assert (part.state, part.detail) == ("degraded", "cannot write alerts.json durably")


def test_memory_is_kept_whole(tmp_path: Path) -> None:
    """Written by its own thread, the last one given wins, and read as it was."""
    path = tmp_path / "alerts" / "alerts.json"
    keeper = Keeper(path)
    keeper.start()
    for number in range(50):
        keeper.save(replace(MEMORY, number=number))
    keeper.close(30)
    assert read_memory(path, "this boot") == (replace(MEMORY, number=49), "")
    assert path.stat().st_mode & 0o077 == 0
    assert [child.name for child in path.parent.iterdir()] == ["alerts.json"]


def test_memory_that_cannot_be_written_is_said_and_tried_again(tmp_path: Path) -> None:
    """The alerter goes on; when there is room again, the problem is over."""
    blocked = tmp_path / "alerts"
    blocked.write_text("a file where the folder should be")
    keeper = Keeper(blocked / "alerts.json")
    keeper.start()
    keeper.save(MEMORY)
    while not keeper.problem:
        keeper.join(0.01)
    assert keeper.is_alive()
    blocked.unlink()
    keeper.save(MEMORY)
    keeper.close(30)
    assert (keeper.problem, read_memory(blocked / "alerts.json", "this boot")[0]) == ("", MEMORY)


def test_another_boot_keeps_what_was_told_and_forgets_clocks(tmp_path: Path) -> None:
    """CLOCK_MONOTONIC began anew: limits of before cannot be compared."""
    path = tmp_path / "alerts.json"
    path.write_bytes(dump(MEMORY))
    memory, trouble = read_memory(path, "another boot")
    assert memory is not None
    assert trouble == ""
    assert (memory.cases[0].told, memory.cases[0].told_ns) == (True, None)
    assert (memory.known.epoch, memory.known.generation) == (None, None)
    assert memory.known.trips == MEMORY.known.trips
    assert memory.waiting == MEMORY.waiting


@pytest.mark.parametrize(
    "data", [b"", b"{}", dump(MEMORY)[:-9], b"\0" * 4096, dump(MEMORY).replace(b"KILL_", b"FROM_MARS_")]
)
def test_a_damaged_memory_is_moved_aside_and_kept(tmp_path: Path, data: bytes) -> None:
    """Whoever investigates finds it; the alerter starts anew and tells what stands once more."""
    path = tmp_path / "alerts.json"
    path.write_bytes(data)
    memory, trouble = read_memory(path, "this boot")
    assert memory is None
    assert "alerts.damaged" in trouble
    assert not path.exists()
    assert path.with_suffix(".damaged").read_bytes() == data
    assert read_memory(path, "this boot") == (None, "")


def _example_with(changed: str, key: str) -> str:
    """The example with one line under [alerts] replaced; without a change, that table loses hold_after."""
    head, table, rest = EXAMPLE.read_text().partition("[alerts]")
    lines = [changed if line.startswith(f"{key or 'hold_after'} ") else line for line in rest.splitlines()]
    assert lines != rest.splitlines()
    return head + table + "\n".join(lines)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ('hook = ["page-me"]', "whole path"),
        ('hook = [""]', "whole path"),
        ('hook = "/bin/true"', "hook"),
        ('hook = ["/bin/true\\u0000"]', "zero byte"),
        ('timeout = "99 ms"', "the value of timeout is outside of 0.1 s to 30 s"),
        ('timeout = "30001 ms"', "timeout is outside"),
        ("timeout = 3", "needs a unit"),
        ('min_interval = "999 ms"', "min_interval is outside of 1 s to 3600 s"),
        ('min_interval = "3601 s"', "min_interval is outside"),
        ('hold_after = "0 s"', "hold_after is outside"),
        ('hold_after = "86401 s"', "hold_after is outside"),
        ("", "lacks alerts."),
        ('timeouts = "3 s"', "alerts.timeouts"),
    ],
)
def test_alerts_configured_wrongly_are_refused(tmp_path: Path, changed: str, why: str) -> None:
    """Exit 78 with the key; a limit is the last allowed value."""
    path = tmp_path / "interlock.toml"
    path.write_text(_example_with(changed, changed.partition(" ")[0].replace("timeouts", "timeout")))
    with pytest.raises(ConfigError, match=f"(?i){why}"):
        load_config(path)


@pytest.mark.parametrize(
    "changed",
    [
        'hook = ["/bin/true", "--urgent", ""]',
        'timeout = "100 ms"',
        'timeout = "30 s"',
        'min_interval = "1 s"',
        'min_interval = "1 h"',
        'hold_after = "1 s"',
        'hold_after = "1 d"',
    ],
)
def test_alerts_at_their_limits_are_taken(tmp_path: Path, changed: str) -> None:
    """The last allowed values."""
    path = tmp_path / "interlock.toml"
    key = changed.partition(" ")[0]
    path.write_text(_example_with(changed, key))
    assert msgspec.structs.asdict(load_config(path).alerts)[key] is not None


def test_what_goes_into_the_log_can_be_written_there(tmp_path: Path) -> None:
    """A board that was damaged in place: its counts are left out, and no entry of it stops the core."""
    counts = {"KILL_BUTTON": 2, "\u00e9": 1, "HOLD": 2**53, "TAMPER": -(2**53)}
    wild = replace(BOARD, beat_ns=time.monotonic_ns(), counts=counts)
    told = _shown(tmp_path / "board", wild).told()
    assert told is not None
    assert told["counts"] == {"KILL_BUTTON": 2}
    encode_entry(0, "core", 0, Entry(kind="alert", utc_ns=0, mono_ns=0, data=told))
    assert _shown(tmp_path / "none", None).told() is None
