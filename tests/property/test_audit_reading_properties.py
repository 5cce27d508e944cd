"""Whatever is typed after `interlock audit`, and whatever became of the log: an answer, never a traceback."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.domain.errors import UsageError
from appliance.domain.exit_codes import ExitCode
from appliance.runtime.audit_times import parse_moment
from appliance.runtime.cli import main
from tests.audit_story import BUY, StoryBox

ANSWERS = {*map(int, (ExitCode.OK, ExitCode.SAID_NO, ExitCode.USAGE, ExitCode.STORE, ExitCode.CONFIG))}
WORDS = ["2h", "1w", "now", "2023-11-14", "trip", BUY, "NORMAL", "7", "-1", "("]
TEXT = st.text(max_size=12) | st.sampled_from(WORDS)
OPTIONS = st.sampled_from(
    ["--order", "--kind", "--reason", "--source", "--mode", "--since", "--until", "-n", "--extends",
     "--check", "--entry", "--trust", "--from", "--to", "--deep", "--json", "-i", "--no-color"]
)  # fmt: skip
VERBS = st.sampled_from(["tail", "grep", "show", "why", "proof", "export"])


@given(TEXT, st.integers(0, 2**62))
@settings(deadline=None, derandomize=True, max_examples=300)
def test_a_moment_is_nanoseconds_or_a_usage_error(text: str, now_ns: int) -> None:
    """No other exception, no other type."""
    with contextlib.suppress(UsageError):
        assert isinstance(parse_moment(text, now_ns, "--since"), int)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> StoryBox:
    return StoryBox(tmp_path_factory.mktemp("story"), cosign=12)


def answer(box: StoryBox, arguments: list[str]) -> tuple[int, str]:
    """Exit code and everything said; argparse ends with 2 by itself."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            code = main(["audit", *arguments, *box.where])
        except SystemExit as end:
            code = int(str(end.code))
    return code, said.getvalue()


@given(VERBS, st.lists(OPTIONS | TEXT, max_size=5))
@settings(deadline=None, derandomize=True, max_examples=120)
def test_any_command_line_is_answered(box: StoryBox, verb: str, arguments: list[str]) -> None:
    """A text that is nothing is a usage error; nothing is a bug, nothing writes."""
    code, said = answer(box, [verb, *arguments])
    assert code in ANSWERS, (verb, arguments, said)
    assert "Traceback" not in said
    if not said.startswith("usage:"):  # argparse repeats what was typed as it was typed
        assert "\x1b" not in said


@given(st.integers(0, 21), st.binary(max_size=40), st.integers(0, 400), st.integers(0, 400))
@settings(deadline=None, derandomize=True, max_examples=25)
def test_any_bytes_in_place_of_an_entry_are_a_finding(
    box: StoryBox, index: int, junk: bytes, start: int, stop: int
) -> None:
    """Each verb that reads says so or does without; none says that it is whole."""
    connection = apsw.Connection(str(box.paths.log / "log.db"))
    whole = box.bodies[index]
    damaged = whole[:start] + junk + whole[stop:]
    try:
        connection.execute("UPDATE entries SET body = ? WHERE idx = ?", (damaged, index))
        if damaged != whole:
            assert answer(box, ["tail", "-n", "100"])[0] == ExitCode.STORE
            assert answer(box, ["proof", str(index)])[0] == ExitCode.STORE
            assert answer(box, ["show", str(index)])[0] == ExitCode.STORE
        assert answer(box, ["why", BUY])[0] in (0, 1, 2)
        assert answer(box, ["grep", "--mode", "NORMAL"])[0] in (0, 1, ExitCode.STORE)
    finally:
        connection.execute("UPDATE entries SET body = ? WHERE idx = ?", (whole, index))
        connection.close()


def test_the_story_is_whole_again(box: StoryBox, tmp_path: Path) -> None:
    """The damage above was undone: what it showed was the damage."""
    assert answer(box, ["verify"])[0] == 0
    assert not list(tmp_path.iterdir())
