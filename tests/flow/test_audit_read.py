"""`interlock audit tail|grep|show` on a log on disk, whole and damaged."""

from __future__ import annotations

import argparse
import io
import json
import re
from pathlib import Path

import apsw
import pytest

from appliance.domain.exit_codes import ExitCode
from appliance.runtime.audit_view import Scan
from appliance.runtime.cli import main
from appliance.runtime.cmd_audit_read import run_tail
from appliance.runtime.terminal import Terminal
from tests.audit_story import BUY, StoryBox, bodies, story

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def box(tmp_path: Path) -> StoryBox:
    return StoryBox(tmp_path)


def numbers(text: str) -> list[int]:
    """Entry numbers of the lines printed."""
    return [int(line.split()[0]) for line in text.splitlines()]


@pytest.mark.parametrize(
    ("verb", "found"),
    [
        ("tail -n 3", [19, 20, 21]),
        ("tail -n 0", []),
        ("tail -n 1000000", list(range(22))),
        ("tail -n 1 --kind fill", [15]),
        ("tail -n 1 --order il-aaaa", [11]),
        ("tail -n 3 --source trend --until 2023-11-14T22:13:30Z", [7, 8, 9]),
        ("grep --order il-aaaa", [8, 9, 10, 11]),
        ("grep --mode emergency", [19, 20, 21]),
        ("grep --mode PAUSED", [0, 1, 2, 3]),
        ("grep --mode NORMAL --kind trip --kind fill", [10, 15]),
        ("grep --since 2023-11-14T22:13:40Z --until 2023-11-14T22:13:41Z", [20]),
        ("grep --reason no_limit", [18]),
        ("grep NEVER_armed -i", [0]),
        ("grep il-[ab]{4}-s", [11]),
        ("show trip", [0, 20]),
        ("show il-aaaa", [8, 9, 10, 11]),
    ],
)
def test_what_is_asked_for_is_what_is_shown(
    box: StoryBox, capsys: Capture, verb: str, found: list[int]
) -> None:
    """Oldest first, whichever end the search began at."""
    assert box.run(verb) == 0
    assert numbers(capsys.readouterr().out) == found


def test_json_is_the_stored_bytes(box: StoryBox, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Line by line, so that each line hashes to its leaf."""
    assert box.run("tail -n 100 --json") == 0
    assert capfdbinary.readouterr().out == b"".join(body + b"\n" for body in box.bodies)


def test_nothing_found_is_an_answer(box: StoryBox, capsys: Capture) -> None:
    """As grep: exit 1, nothing printed."""
    for verb in ("grep --since 2030-01-01", "grep nowhere", "tail --order il-none", "show il-none"):
        assert box.run(verb) == 1, verb
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("tail --kind tripp", "--kind 'tripp' is no kind of entry"),
        ("tail --mode calm", "modes are NORMAL"),
        ("tail --since never", "--since is no time"),
        ("tail --until 2023-02-30", "--until is no time"),
        ("tail --since 2023-01-02 --until 2023-01-02", "--until is not after --since"),
        ("tail -n -1", "--count is negative"),
        ("grep (", "the pattern is no regular expression"),
        ("show 22", "there is no entry 22. the last one is 21"),
        ("show 99999999999999999999", "there is no entry"),
        ("show tripp", "'tripp' is no entry number, order id or kind"),
    ],
)
def test_errors_say_what_to_do(box: StoryBox, capsys: Capture, verb: str, said: str) -> None:
    """Exit 2, one sentence with the act in it."""
    assert box.run(verb) == ExitCode.USAGE
    error = capsys.readouterr().err
    assert said in error
    assert " DO: " in error


def test_without_an_appliance_the_next_step_is_named(tmp_path: Path, capsys: Capture) -> None:
    """Exit 78, as everywhere."""
    assert main(["audit", "tail", "--state", str(tmp_path / "none")]) == ExitCode.CONFIG
    assert "interlock init" in capsys.readouterr().err


def test_a_pipe_gets_no_colour_and_nothing_a_terminal_obeys(box: StoryBox, capsys: Capture) -> None:
    """A bot chose that intent's name."""
    box.run("tail -n 100")
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert "intent=x\\x1b[31m\\x0a" in text


def test_following_shows_each_later_entry_once(tmp_path: Path, capsys: Capture) -> None:
    """Entries written while it waits, the filter's only, until somebody interrupts."""
    box = StoryBox(tmp_path, story()[:5])
    box.bodies = bodies(story())
    steps = iter((5, 9, 9, 22))

    def wait(_seconds: float) -> None:
        try:
            box.write(next(steps))
        except StopIteration:
            raise KeyboardInterrupt from None

    options = _options("tail", "-n", "1", "--follow", "--mode", "normal")
    with pytest.raises(KeyboardInterrupt):
        run_tail(box.paths, options, Terminal(color=False, quiet=False), wait)
    assert numbers(capsys.readouterr().out) == list(range(4, 19))


def _options(*arguments: str) -> argparse.Namespace:
    from appliance.runtime.cli import _parser

    return _parser().parse_args(["audit", *arguments])


def test_a_scan_on_a_terminal_says_how_far_it_is(box: StoryBox, monkeypatch: pytest.MonkeyPatch) -> None:
    """And takes its line away before an entry is printed."""
    said: list[str] = []
    monkeypatch.setattr(Terminal, "transient", lambda _self, text: said.append(text))
    monkeypatch.setattr("appliance.runtime.audit_view._EVERY_S", 0.0)
    monkeypatch.setattr("sys.stderr", _Screen())
    assert box.run("grep trip") == 0
    assert re.fullmatch(r"22 of 22 entries, \d+/s(, 0 s left)?", said[-2])
    assert said[-1] == ""


class _Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def test_elsewhere_a_scan_says_a_line_every_ten_seconds(capsys: Capture) -> None:
    """With rate and what is left; nothing before, so that short ones are quiet."""
    seconds = iter((0.0, 9.9, 10.0, 10.0, 10.0, 19.0))
    scan = Scan(Terminal(color=False, quiet=False), 500, lambda: next(seconds))
    scan.add(90)
    scan.add(10)
    scan.add(100)
    scan.end()
    assert capsys.readouterr().err == "100 of 500 entries, 10/s, 40 s left\n"


def damage(box: StoryBox, index: int, body: bytes) -> None:
    """Replaces the stored bytes of one entry."""
    connection = apsw.Connection(str(box.paths.log / "log.db"))
    connection.execute("UPDATE entries SET body = ? WHERE idx = ?", (body, index))
    connection.close()


@pytest.mark.parametrize("at", [0, 5, 40, -1])
def test_a_damaged_entry_is_said_in_its_place(box: StoryBox, capsys: Capture, at: int) -> None:
    """The others are still shown; the end is an error that names the command that knows more."""
    body = bytearray(box.bodies[9])
    body[at] ^= 0x80
    damage(box, 9, bytes(body))
    assert box.run("tail -n 100") == ExitCode.STORE
    shown = capsys.readouterr()
    assert numbers(shown.out) == list(range(22))
    assert re.search(r"^ +9 DAMAGED: .*\(interlock audit verify\)$", shown.out, re.MULTILINE)
    assert "an entry is damaged" in shown.err
    assert "DO: interlock audit verify" in shown.err


def test_a_record_that_was_rewritten_is_not_shown_as_one(box: StoryBox, capsys: Capture) -> None:
    """Good JSON, in its place, and not what was published: the price of a fill."""
    damage(box, 10, box.bodies[10].replace(b"100.00", b"900.00"))
    for verb in ("tail -n 100", "show 10", f"show {BUY}", "grep --kind fill"):
        assert box.run(verb) == ExitCode.STORE
        assert "10 DAMAGED: the stored bytes differ from what was published" in capsys.readouterr().out
    assert box.run(f"why {BUY}") == 1
    assert "900.00" not in capsys.readouterr().out


def test_json_of_a_damaged_log_has_only_whole_entries(box: StoryBox, capsys: Capture) -> None:
    """Whoever reads it by machine sees the exit code."""
    damage(box, 3, box.bodies[4])
    assert box.run("tail -n 5 --json --until 2023-11-14T22:13:25Z") == ExitCode.STORE
    assert [json.loads(line)["i"] for line in capsys.readouterr().out.splitlines()] == [0, 1, 2, 4]


def test_entries_are_read_without_the_published_files(box: StoryBox, capsys: Capture) -> None:
    """After a fire somebody wants to know what happened; that it is not vouched for, `verify` says."""
    for name in ("checkpoint", "tile/0/000.p/22"):
        (box.paths.log / name).unlink()
        assert box.run("tail -n 100") == 0
        assert len(numbers(capsys.readouterr().out)) == 22
    assert box.run("verify") == 1


def test_a_missing_entry_is_said_too(box: StoryBox, capsys: Capture) -> None:
    """Not an empty answer: the log has that number."""
    connection = apsw.Connection(str(box.paths.log / "log.db"))
    connection.execute("DELETE FROM entries WHERE idx = 5")
    connection.close()
    assert box.run("show 5") == ExitCode.STORE
    assert "missing from the store" in capsys.readouterr().out


def test_any_flipped_byte_of_the_database_is_an_answer_and_never_a_traceback(
    tmp_path: Path, capsys: Capture
) -> None:
    """Every 397th byte of the file; exit codes are those a person can act on."""
    box = StoryBox(tmp_path)
    path = box.paths.log / "log.db"
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    whole = path.read_bytes()
    allowed = {0, 1, ExitCode.STORE, ExitCode.CONFIG, ExitCode.USAGE}
    for at in range(0, len(whole), 397):
        changed = bytearray(whole)
        changed[at] ^= 0x41
        path.write_bytes(bytes(changed))
        for verb in ("tail -n 100", f"show {BUY}", "grep --mode NORMAL --since 2023-01-01"):
            code = box.run(verb)
            error = capsys.readouterr().err
            assert code in allowed, (at, verb, error)
            assert "Traceback" not in error
