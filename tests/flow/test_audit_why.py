"""`interlock audit why` on a log on disk."""

from __future__ import annotations

import json
from pathlib import Path

import apsw
import pytest

from appliance.domain.exit_codes import ExitCode
from tests.audit_story import BUY, SELL, StoryBox

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def box(tmp_path: Path) -> StoryBox:
    return StoryBox(tmp_path)


def test_an_order_is_explained_with_its_result(box: StoryBox, capsys: Capture) -> None:
    """From both ends of the round trip: 1.00 bought at 100 and sold at 110, a fee of 0.1 each."""
    assert box.run("why", BUY) == 0
    text = capsys.readouterr().out
    assert "outcome  P&L +9.8000000000 after fees of 0.2000000000 on 1.00, closed by il-bbbb" in text
    assert "mode     NORMAL" in text
    assert "#5 2023-11-14T22:13:25Z signal: trend wants LONG SPX" in text
    assert "\x1b" not in text
    assert box.run("why", SELL) == 0
    assert "on 1.00, it closed il-aaaa" in capsys.readouterr().out
    assert box.run("why 12") == 0
    assert "outcome  il-bbbb: P&L +9.8000000000" in capsys.readouterr().out
    assert box.run("why", f"{BUY}-s") == 0
    assert "outcome  nothing was traded" in capsys.readouterr().out
    assert box.run("why 18") == 0
    assert "nothing was traded" in capsys.readouterr().out


def test_json_has_the_entries_as_they_are_stored(box: StoryBox, capsys: Capture) -> None:
    """For whoever draws another tree."""
    assert box.run("why --json", BUY) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["entries"] == [json.loads(box.bodies[index]) for index in (5, 6, 7, 8, 9, 10, 11)]
    assert (found["focus"], found["config"], found["depth"]) == ([8, 9, 10, 11], 2, 3)


def test_a_picture_never_replaces_a_file(box: StoryBox, tmp_path: Path, capsys: Capture) -> None:
    """The second time it refuses, exit 73."""
    target = tmp_path / "why.svg"
    assert box.run("why", BUY, "--svg", str(target)) == 0
    assert target.read_text("utf-8").startswith("<svg")
    assert box.run("why", BUY, "--svg", str(target)) == ExitCode.CANNOT_CREATE
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["22", "99999999999999999999999", "il-nothing", "", "٣"])
def test_what_the_log_has_not_is_said(box: StoryBox, capsys: Capture, what: str) -> None:
    """With where to find one."""
    assert box.run("why", what) == ExitCode.USAGE
    assert "DO: interlock audit tail" in capsys.readouterr().err


def test_a_damaged_link_is_said_and_the_rest_shown(box: StoryBox, capsys: Capture) -> None:
    """Exit 1: the chain is not whole."""
    connection = apsw.Connection(str(box.paths.log / "log.db"))
    connection.execute("UPDATE entries SET body = ? WHERE idx = 6", (box.bodies[5],))
    assert box.run("why", BUY) == 1
    assert "note: an entry is damaged: entry 6: it says it is entry 5" in capsys.readouterr().out
    connection.execute("DELETE FROM entries WHERE idx = 6")
    connection.close()
    assert box.run("why", BUY) == 1
    assert "note: entry 7 names 6 as its cause: it is missing" in capsys.readouterr().out
