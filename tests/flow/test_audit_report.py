"""`interlock audit report` and `audit gaps` over a log on disk, as a person runs them."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from appliance.ports import Entry
from appliance.runtime.owed import Act, record
from appliance.storage.ring import Ring
from tests.audit_story import SECOND, START_NS, StoryBox, story

DAY = "2023-11-14"
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def box(tmp_path: Path) -> StoryBox:
    """The story, of one day."""
    return StoryBox(tmp_path)


def said(capsys: Capture) -> list[str]:
    """Lines on the standard output since the last look."""
    return capsys.readouterr().out.splitlines()


def test_a_day_is_told_in_text(box: StoryBox, capsys: Capture) -> None:
    """Everything a risk officer asks for first, and that the log verifies."""
    assert box.run("report", "--day", DAY) == 0
    lines = said(capsys)
    text = "\n".join(lines)
    for line in (
        f"day        {DAY} UTC: entries 0 to 21, 22 of them",
        "asked      2 trend, 1 bot-2",
        "approved   1 INCREASE, 1 REDUCE",
        "denied     1 NO_LIMIT",
        "orders     2 FILLED, 1 WORKING (last state of each)",
        "alerts     none",
        "gaps       none",
    ):
        assert line in lines, text
    assert "mode from=NORMAL to=EMERGENCY why=KILL_BUTTON" in text
    assert lines[-1].startswith("VERIFIED")


def test_another_day_has_nothing(box: StoryBox, capsys: Capture) -> None:
    """The boundaries are midnights UTC."""
    for day in ("2023-11-13", "2023-11-15"):
        assert box.run("report", "--day", day) == 0
        assert said(capsys)[0] == f"day        {day} UTC: no entry"
    assert box.run("report", "--day", "yesterday") == 2


def test_json_has_the_same(box: StoryBox, capsys: Capture) -> None:
    """For programs; nanoseconds are strings."""
    assert box.run("report", "--day", DAY, "--json") == 0
    told = json.loads(said(capsys)[0])
    assert (told["verified"], told["entries"], told["denied"]) == (True, 22, {"NO_LIMIT": 1})
    assert told["events"][0]["utc_ns"] == str(START_NS)
    assert told["completeness"]["gaps"] == []


def test_a_damaged_log_is_reported_and_said_not_to_verify(box: StoryBox, capsys: Capture) -> None:
    """The entry is named, the rest is counted, and the exit code is 1."""
    with sqlite3.connect(box.paths.log / "log.db") as database:
        database.execute("UPDATE entries SET body = x'7b7d' WHERE idx = 9")
    database.close()
    assert box.run("report", "--day", DAY) == 1
    lines = said(capsys)
    assert "  entry 9 is damaged" in lines
    assert "NOT VERIFIED:" in lines


def _broken(box_root: Path) -> StoryBox:
    """A source that said its period, was silent for an hour, and began again without a stop."""
    told = story()
    at = len(told)
    for seconds, kind, data in (
        (30, "start", {"heartbeat_ns": 10 * SECOND}),
        (3_630, "heartbeat", {}),
        (3_700, "start", {"heartbeat_ns": 10 * SECOND}),
    ):
        mono_ns = seconds * SECOND
        told.append(Entry(kind=kind, utc_ns=START_NS + mono_ns, mono_ns=mono_ns, data=data, causes=()))
    assert len(told) == at + 3
    return StoryBox(box_root, told)


def test_gaps_are_told_and_are_no_failure_of_the_signatures(tmp_path: Path, capsys: Capture) -> None:
    """`verify` says them and exits 0, with --complete 1; `gaps` exits 1; the report lists the day's."""
    box = _broken(tmp_path)
    assert box.run("verify") == 0
    lines = said(capsys)
    assert any(line.startswith("complete   3 gaps") for line in lines), lines
    assert lines[-1].startswith("VERIFIED")
    assert box.run("verify", "--complete") == 1
    capsys.readouterr()
    assert box.run("gaps") == 1
    lines = said(capsys)
    assert "no heartbeat of core for 3600.0 s, where one is due every 10.0 s" in lines[2]
    assert "(2023-11-14T22:13:50Z to 2023-11-14T23:13:50Z)" in lines[2]
    assert box.run("gaps", "--json") == 1
    assert [gap["what"] for gap in json.loads(said(capsys)[0])["gaps"]] == ["stop", "heartbeat", "stop"]
    assert box.run("report", "--day", DAY) == 0
    assert "gaps       3" in said(capsys)


def test_what_a_ring_still_owes_is_told(box: StoryBox, capsys: Capture) -> None:
    """An exit that left without a record, and no core has started since."""
    assert box.run("gaps") == 0
    capsys.readouterr()
    box.paths.runtime.mkdir(parents=True, exist_ok=True)
    ring = Ring(box.paths.exits_ring)
    why = "it could not wait"
    record(
        ring,
        Act(who="core", act="NEW", order_id="il-x", instrument="SPX", why=why, utc_ns=1, mono_ns=1),
    )
    ring.append(b"{no act")
    ring.close()
    assert box.run("gaps") == 1
    lines = said(capsys)
    assert "  not in the log yet: act 1 of the ring exits: NEW il-x: it could not wait" in lines
    assert "  not in the log yet: act 2 of the ring exits cannot be read" in lines
    assert box.run("gaps", "--json") == 1
    assert len(json.loads(said(capsys)[0])["unrecorded"]) == 2


def test_no_text_of_an_entry_reaches_the_terminal_as_it_is(tmp_path: Path, capsys: Capture) -> None:
    """A log somebody handed over may hold anything in the name of a ring."""
    hostile = {"from": "x\x1b[2J\n", "ring": "\x1b[31m", "number": 1, "why": "\x1b]0;owned\x07"}
    told = [Entry(kind="gap", utc_ns=START_NS, mono_ns=0, data=hostile)]
    box = StoryBox(tmp_path, told)
    for verb in ("gaps", "verify", f"report --day {DAY}"):
        box.run(verb)
        text = capsys.readouterr().out
        assert r"\x1b[2J" in text, verb
        assert "\x1b" not in text.replace("\x1b[32m", "").replace("\x1b[0m", ""), verb
