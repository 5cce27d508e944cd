"""Which entries a filter picks, in which mode each was written, and what a terminal is never told."""

from __future__ import annotations

import re
from typing import Any

import pytest

from appliance.audit.records import Record, decode_entry
from appliance.audit.select import Filter, ModeTrack, printable, summary
from appliance.domain.errors import UsageError
from appliance.runtime.audit_times import parse_moment
from tests.audit_story import BUY, SECOND, START_NS, bodies, story

NOW = START_NS + 100 * SECOND


def picked(wanted: Filter) -> list[int]:
    """Numbers of the story's entries that match, asked both ways."""
    found = []
    for index, body in enumerate(bodies(story())):
        record = decode_entry(body)
        both = wanted.may_match(record.kind, int(record.utc_ns), body), wanted.matches(record)
        if all(both):
            found.append(index)
        if wanted.pattern is None:
            assert both[0] or not both[1], "the quick answer may not refuse what the record has"
    return found


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, list(range(22))),
        ({"kinds": frozenset({"fill"})}, [10, 15]),
        ({"kinds": frozenset({"fill", "trip"})}, [0, 10, 15, 20]),
        ({"order": BUY}, [8, 9, 10, 11]),
        ({"order": f"{BUY}-s"}, [11]),
        ({"order": BUY[:-1]}, []),
        ({"reason": "NO_LIMIT"}, [18]),
        ({"reason": "no_limit"}, [18]),
        ({"reason": "NO_LIMI"}, []),
        ({"reason": "kill_button"}, [19, 20]),
        ({"source": "bot-2"}, [16, 17, 18]),
        ({"source": "core", "kinds": frozenset({"start"})}, [1]),
        ({"from_ns": START_NS + 20 * SECOND}, [20, 21]),
        ({"from_ns": START_NS + 20 * SECOND + 1}, [21]),
        ({"to_ns": START_NS + SECOND}, [0]),
        ({"to_ns": START_NS + SECOND + 1}, [0, 1]),
        ({"pattern": re.compile(rb"il-aaaa.*SELL")}, []),
        ({"pattern": re.compile(rb"KILL")}, [19, 20]),
    ],
)
def test_a_filter_picks_what_it_says(asked: dict[str, Any], found: list[int]) -> None:
    """Each field at its boundary."""
    assert picked(Filter(**asked)) == found


def test_an_order_list_is_found_by_the_source_of_any_member() -> None:
    """Verdicts about lists keep what concerns each order inside."""
    record = _record(kind="verdict", data={"orders": [{"source": "a"}, {"source": "b", "reason": "X"}, 3]})
    assert Filter(source="b").matches(record)
    assert Filter(reason="x").matches(record)
    assert not Filter(source="c").matches(record)


def _record(index: int = 5, kind: str = "mode", mono_ns: int = 0, **data: Any) -> Record:
    given = data.pop("data", data)
    return Record(1, index, "core", index, kind, "0", str(mono_ns), (), given)


def test_a_core_that_starts_is_in_pause_unless_it_has_just_said_otherwise() -> None:
    """What it kept over the restart is noted right before its own start; what is older was another's."""
    told = [
        _record(3, "start", 10 * SECOND),
        _record(5, "mode", 20 * SECOND, to="NORMAL"),
        _record(9, "start", 30 * SECOND),
        _record(12, "mode", 40 * SECOND, to="NORMAL"),
        _record(13, "start", 40 * SECOND + SECOND // 2 - 1),
        _record(15, "start", SECOND),
    ]
    track = ModeTrack(told)
    modes = [track.at(index) for index in (0, 3, 4, 5, 8, 9, 11, 12, 13, 14, 15, 99)]
    normal, paused = "NORMAL", "PAUSED"
    assert modes == [paused] * 3 + [normal] * 2 + [paused] * 2 + [normal] * 3 + [paused] * 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        ("0s", NOW),
        ("90s", NOW - 90 * SECOND),
        ("2h", NOW - 7_200 * SECOND),
        ("30 m", NOW - 1_800 * SECOND),
        ("1w", NOW - 7 * 86_400 * SECOND),
        ("2023-11-14", 1_699_920_000 * SECOND),
        ("2023-11-14T22:13:20Z", START_NS),
        ("2023-11-14T22:13:20.000000001Z", START_NS + 1),
        ("2023-11-14 22:13", START_NS - 20 * SECOND),
    ],
)
def test_times_are_utc_or_so_long_ago(text: str, expected: int) -> None:
    """Both spellings a person uses."""
    assert parse_moment(text, NOW, "--since") == expected


@pytest.mark.parametrize(
    "text", ["", "h", "2", "2y", "-2h", "2h ", "٢h", "tomorrow", "2023-11-14T22:13:20+02:00"]
)
def test_any_other_time_is_refused_with_how_to_write_one(text: str) -> None:
    """Another zone is refused too: it would be read wrongly by the next person."""
    with pytest.raises(UsageError, match=r"--since is no time.*DO: write 30m"):
        parse_moment(text, NOW, "--since")


def test_a_terminal_is_never_told_what_a_bot_chose() -> None:
    """Escape, line feed, bidirectional overrides: shown, not obeyed."""
    assert printable("a\x1b[2J\nb\u202e") == "a\\x1b[2J\\x0ab\\x202e"
    assert summary({"z": "\x07", "list": [1], "a": 1}, ("a",)) == "a=1 z=\\x07"
