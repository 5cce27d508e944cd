"""A day of the log in counts and lists, out of its entries alone."""

from __future__ import annotations

from typing import Any

from appliance.audit.day_report import MAX_EVENTS, DayReport, report_day
from appliance.audit.records import decode_entry
from tests.audit_story import bodies, story
from tests.unit.test_audit_provenance import record


def of(*told: tuple[str, dict[str, Any]], before: dict[str, Any] | None = None) -> DayReport:
    """The report of these entries."""
    return report_day((record(at, kind=kind, **data) for at, (kind, data) in enumerate(told)), before)


def test_the_story_is_counted_and_listed() -> None:
    """Two approvals, a denial, a fill each way, a leg that works; modes and trips one by one."""
    day = report_day(decode_entry(body) for body in bodies(story()))
    assert (day.entries, day.first, day.last, day.unanswered) == (22, 0, 21, 0)
    assert day.intents == {"trend": 2, "bot-2": 1}
    assert day.approved == {"INCREASE": 1, "REDUCE": 1}
    assert day.denied == {"NO_LIMIT": 1}
    assert day.orders == {"FILLED": 2, "WORKING": 1}
    assert day.counted == {"fill": 2, "start": 1, "heartbeat": 1}
    assert [(event.index, event.kind) for event in day.events] == [
        (0, "trip"), (4, "mode"), (19, "mode"), (20, "trip"),
    ]  # fmt: skip
    assert day.events[1].told == (("from", "PAUSED"), ("to", "NORMAL"), ("why", "armed"))


def test_nothing_is_an_empty_report() -> None:
    """A day on which the box was off."""
    assert report_day(()) == DayReport()


def test_a_list_counts_each_order_and_a_repeated_answer_none() -> None:
    """The gate answered once."""
    listed = {"verdict": "approved", "orders": [{"class": "INCREASE"}, {"class": "PROTECTIVE"}]}
    again = {"verdict": "denied", "reason": "THROTTLED", "repeated": True}
    day = of(("verdict", listed), ("verdict", again), ("verdict", {"verdict": "denied", "reason": "HOLD"}))
    assert day.approved == {"INCREASE": 1, "PROTECTIVE": 1}
    assert day.denied == {"HOLD": 1}


def test_an_intent_without_a_verdict_is_counted() -> None:
    """A core that died in between: what became of it, the next day's entries may tell."""
    told = [
        record(0, kind="intent", source="bot"),
        record(1, kind="intent", source="bot"),
        record(2, 0, kind="verdict", verdict="approved"),
    ]
    assert report_day(told).unanswered == 1


def test_denials_that_were_only_counted_count() -> None:
    """By reason, whoever asked."""
    day = of(
        ("denied_count", {"counts": {"bot HOLD": 3, "trend HOLD": 2, "bot NO_LIMIT": 1}, "why": "x"}),
        ("verdict", {"verdict": "denied", "reason": "HOLD"}),
    )
    assert day.denied == {"HOLD": 6, "NO_LIMIT": 1}


def test_alerts_are_what_was_told_since_the_entry_before() -> None:
    """Over midnight, within the day, and over a restart of the alerter."""
    day = of(
        ("alert", {"counts": {"HOLD": 5, "DEGRADED": 1}}),
        ("alert", {"counts": {"HOLD": 7, "DEGRADED": 1, "CORE_LOST": 1}}),
        ("alert", {"counts": {"HOLD": 1}}),
        before={"counts": {"HOLD": 4}},
    )
    assert day.alerts == {"HOLD": 4, "DEGRADED": 1, "CORE_LOST": 1}


def test_an_order_has_its_last_state() -> None:
    """However many states it had."""
    states = ("WORKING", "PARTIALLY_FILLED", "CANCELLED")
    day = of(*(("order", {"order_id": "il-1", "state": state}) for state in states))
    assert day.orders == {"CANCELLED": 1}


def test_lists_are_bounded_and_say_so() -> None:
    """The first ones; the rest are in the log."""
    day = of(*(("trip", {"reason": "KILL_BUTTON"}) for _ in range(MAX_EVENTS + 2)))
    assert (len(day.events), day.left_out) == (MAX_EVENTS, 2)


def test_entries_of_any_form_are_counted() -> None:
    """A log of another version, or of a liar: no field need be there or be what it should."""
    for kind in ("intent", "verdict", "order", "fill", "alert", "hold", "breaker", "mode", "denied_count"):
        for data in ({}, {"counts": 1, "orders": 2, "state": [], "reason": {}, "from": None}):
            assert of((kind, data), (kind, data)).entries == 2
