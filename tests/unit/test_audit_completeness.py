"""What is missing from a log: numbers, heartbeats, ends, and what was owed to it."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.audit.completeness import (
    HEARTBEAT,
    LATE,
    LOST,
    MAX_GAPS,
    MAX_SOURCES,
    OWED,
    REMEMBERED,
    SEQUENCE,
    STOP,
    Completeness,
    Completing,
)
from appliance.audit.records import decode_entry, encode_entry
from appliance.ports import Entry

SECOND = 10**9
UTC = 1_700_000_000 * SECOND
PERIOD = 30 * SECOND


class Teller:
    """Writes the entries of one log, each as the log would store it."""

    def __init__(self) -> None:
        self._looks = Completing()
        self.size = 0
        self._next: dict[str, int] = {}

    def say(self, kind: str, at_ns: int, source: str = "core", n: int | None = None, **data: Any) -> int:
        """An entry at a time of the steady clock; its number. n: the source's, the one due unless given."""
        n = self._next.get(source, 0) if n is None else n
        self._next[source] = n + 1
        entry = Entry(kind=kind, utc_ns=UTC + at_ns, mono_ns=at_ns, data=data)
        self._looks.add(decode_entry(encode_entry(self.size, source, n, entry)))
        self.size += 1
        return self.size - 1

    def start(self, at_ns: int, source: str = "core") -> int:
        """A start that says its period."""
        return self.say("start", at_ns, source, heartbeat_ns=PERIOD)

    @property
    def found(self) -> Completeness:
        """So far."""
        return self._looks.result()

    @property
    def gaps(self) -> list[tuple[str, int, int, int]]:
        """(what, entry, first, last)"""
        return [(gap.what, gap.index, gap.first, gap.last) for gap in self.found.gaps]


def test_a_life_from_start_to_stop_has_no_gap() -> None:
    """Heartbeats on time, ends with a stop, and begins again."""
    log = Teller()
    for begin in (0, 1000 * SECOND):
        log.start(begin)
        for beat in range(1, 4):
            log.say("heartbeat", begin + beat * PERIOD)
        log.say("stop", begin + 4 * PERIOD - 1)
    assert log.found == Completeness(beats=8, longest_ns=PERIOD)
    assert log.found.ok


@pytest.mark.parametrize("late", [1, LATE - 1])
def test_a_heartbeat_may_be_late(late: int) -> None:
    """Up to so many periods, which is the last value that passes."""
    log = Teller()
    log.start(0)
    log.say("heartbeat", late * PERIOD)
    log.say("heartbeat", late * PERIOD + LATE * PERIOD)
    assert log.found.ok
    assert log.found.longest_ns == LATE * PERIOD


@pytest.mark.parametrize("kind", ["heartbeat", "fill", "stop"])
def test_a_silence_is_told_once_with_its_ends(kind: str) -> None:
    """By whatever entry comes first after it, one nanosecond too late."""
    log = Teller()
    log.start(0)
    log.say("heartbeat", PERIOD)
    end = PERIOD + LATE * PERIOD + 1
    log.say(kind, end)
    log.say("heartbeat", end + 1)
    assert log.gaps == [(HEARTBEAT, 2, UTC + PERIOD, UTC + end)]
    assert log.found.gaps[0].text == "no heartbeat of core for 90.0 s, where one is due every 30.0 s"


def test_other_entries_are_no_heartbeat() -> None:
    """Who keeps the heartbeats back and goes on writing is found."""
    log = Teller()
    log.start(0)
    for at in range(1, 8):
        log.say("fill", at * PERIOD // 2)
    assert [gap[0] for gap in log.gaps] == [HEARTBEAT]


def test_a_silence_before_a_start_is_no_missing_heartbeat() -> None:
    """Time switched off counts for nothing; nor does what comes after a stop."""
    log = Teller()
    log.start(0)
    log.say("stop", 1)
    log.say("upstream", 500 * SECOND)
    log.start(100_000 * SECOND)
    assert log.found.ok


def test_a_start_without_a_stop_is_told() -> None:
    """After a crash nobody knows what its last moments were; the steady clock may begin anew."""
    log = Teller()
    log.start(50 * SECOND)
    log.say("fill", 51 * SECOND)
    log.start(SECOND)
    assert log.gaps == [(STOP, 2, UTC + 51 * SECOND, UTC + SECOND)]
    assert log.found.running == (("core", 2, UTC + SECOND),)


@pytest.mark.parametrize("at", [SECOND, 60 * SECOND, 5000 * SECOND])
def test_what_a_new_process_writes_before_its_start_is_its_own(at: int) -> None:
    """A trip that stood, acts it repays: neither a silence of the one that crashed nor its last word, be it
    in the same boot or in another."""
    log = Teller()
    log.start(50 * SECOND)
    log.say("fill", 51 * SECOND)
    first = log.say("trip", at)
    log.say("gap", at + 1, **act(1, act="CANCEL"))
    log.say("start", at + 2, heartbeat_ns=PERIOD, first=first)
    log.say("heartbeat", at + PERIOD)
    assert log.gaps == [(STOP, 4, UTC + 51 * SECOND, UTC + at + 2)]
    assert log.found.gaps[0].text.endswith("entry 1 is its last word before")


def test_a_silence_before_a_crash_stays_told() -> None:
    """The process itself broke it, before it ended without a stop."""
    log = Teller()
    log.start(0)
    late = log.say("fill", 1000 * SECOND)
    log.say("start", SECOND, heartbeat_ns=PERIOD, first=late + 1)
    assert [gap[:2] for gap in log.gaps] == [(HEARTBEAT, late), (STOP, late + 1)]


def test_a_period_nobody_told_is_not_judged_and_that_is_said() -> None:
    """Logs of earlier versions: nothing is invented."""
    log = Teller()
    log.say("start", 0)
    log.say("heartbeat", 10_000 * SECOND)
    assert (log.found.ok, log.found.unjudged, log.found.beats) == (True, 1, 0)


def test_a_steady_clock_that_runs_back_is_told() -> None:
    """Within one life it cannot: such an entry was put there."""
    log = Teller()
    log.start(100)
    log.say("fill", 99)
    assert log.gaps == [(HEARTBEAT, 1, UTC + 100, UTC + 99)]
    assert "before its last sign of life" in log.found.gaps[0].text


@pytest.mark.parametrize(
    ("n", "first", "last", "text"),
    [
        (3, 2, 2, "number 2 of core is not in the log"),
        (9, 2, 8, "numbers 2 to 8 of core are not in the log"),
        (1, 1, 1, "core counts 1 again where 2 is due"),
        (0, 0, 1, "core counts 0 again where 2 is due"),
    ],
)
def test_a_jump_of_a_sources_numbers_is_told_with_its_ends(n: int, first: int, last: int, text: str) -> None:
    """Once: the numbers after it go on from there."""
    log = Teller()
    log.say("fill", 0)
    log.say("fill", 1)
    log.say("fill", 2, n=n)
    log.say("fill", 3, n=n + 1)
    assert log.gaps == [(SEQUENCE, 2, first, last)]
    assert log.found.gaps[0].text == text


def test_sources_are_counted_each_for_itself() -> None:
    """Numbers, heartbeats and ends of one say nothing of another."""
    log = Teller()
    log.start(0, "core")
    log.start(0, "guard")
    log.say("stop", 1, "guard")
    log.say("heartbeat", PERIOD, "core")
    log.say("fill", 2 * PERIOD, "core", n=5)
    assert [(gap.what, gap.source) for gap in log.found.gaps] == [(SEQUENCE, "core")]


def test_a_late_record_that_is_there_is_repaid() -> None:
    """The GAP entry names an approval before it."""
    log = Teller()
    owed = log.say("verdict", 0, verdict="approved", order_id="il-1")
    log.say("gap", 1, owed=owed, order_id="il-1", why="x")
    assert (log.gaps, log.found.repaid) == ([], 1)


@pytest.mark.parametrize("kind", ["order", "verdict"])
def test_a_late_record_that_is_another_entry_was_never_repaid(kind: str) -> None:
    """A denial approves nothing, nor does an order."""
    log = Teller()
    log.say(kind, 0, verdict="denied")
    log.say("gap", 1, owed=0, why="x")
    assert (log.gaps, log.found.repaid) == ([(OWED, 1, 0, 0)], 0)


def test_approvals_are_remembered_for_as_long_as_is_said() -> None:
    """Memory has a bound; what was owed longer ago cannot be judged and counts as missing."""
    log = Teller()
    for at in range(REMEMBERED + 1):
        log.say("verdict", at, verdict="approved")
    log.say("gap", REMEMBERED, owed=1, why="x")
    assert log.found.ok
    log.say("gap", REMEMBERED, owed=0, why="x")
    assert [gap[0] for gap in log.gaps] == [OWED]


def act(number: int, **data: Any) -> dict[str, Any]:
    """A repaid act of a ring."""
    return {"from": "exits", "ring": "aa", "number": number, **data}


def test_repaid_acts_of_a_ring_are_no_gap() -> None:
    """Numbers may jump: an act whose own entry became durable needs no other. Another ring begins at 1."""
    log = Teller()
    for number in (1, 2, 5):
        log.say("gap", number, **act(number, act="NEW"))
    log.say("gap", 6, **{**act(1, act="NEW"), "ring": "bb"})
    log.say("gap", 7, **{**act(1, act="CANCEL"), "from": "cancels"})
    assert (log.gaps, log.found.repaid) == ([], 5)


def test_lost_acts_of_a_ring_are_told() -> None:
    """Overwritten, unreadable, or recorded a second time."""
    log = Teller()
    log.say("gap", 1, **act(3, act="NEW"))
    log.say("gap", 2, **act(3, lost=1))
    log.say("gap", 3, **act(8, lost=3))
    log.say("gap", 4, **act(9, why="a record that cannot be read: x"))
    log.say("gap", 5, **act(9, act="NEW"))
    assert log.gaps == [(LOST, 1, 3, 3), (LOST, 2, 6, 8), (LOST, 3, 9, 9), (LOST, 4, 9, 9)]
    assert "second time" in log.found.gaps[-1].text


@pytest.mark.parametrize("value", [True, -1, "1.5", "x", "", None, [], {"a": 1}, "9" * 40])
def test_fields_of_any_form_break_nothing(value: Any) -> None:
    """A period, a number, a count: what is none counts as none told."""
    log = Teller()
    log.say("start", 0, heartbeat_ns=value)
    log.say("gap", 1, **{"from": value, "ring": value, "number": value, "lost": value, "owed": value})
    log.say("heartbeat", 10**15)
    assert log.found.beats == 0


def test_gaps_and_sources_are_bounded() -> None:
    """The first ones are shown, the rest counted; `verify` refuses more sources by itself."""
    log = Teller()
    for at in range(MAX_GAPS + 3):
        log.say("fill", at, n=2 * at + 1)
    assert (len(log.found.gaps), log.found.more) == (MAX_GAPS, 3)
    many = Teller()
    for at in range(MAX_SOURCES + 1):
        many.start(at, f"s-{at}")
    assert len(many.found.running) == MAX_SOURCES
