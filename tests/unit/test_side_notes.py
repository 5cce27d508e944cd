"""What happens beside the core and goes into its log: alerts, memory, the witness."""

from __future__ import annotations

from typing import Any

from appliance.memory.service_store import MemoryService, MemoryStats
from appliance.runtime.core import _Core
from appliance.runtime.side_notes import ALERTS_EVERY_NS, MEMORY_EVERY_NS, AlertNotes, MemoryNotes
from tests.kit import FakeScribe


class Board:
    """An alerter's board."""

    def __init__(self) -> None:
        self.says: dict[str, object] | None = None

    def told(self) -> dict[str, object] | None:
        """See BoardView."""
        return self.says


class Clock:
    """A steady clock one moves."""

    def __init__(self) -> None:
        self.now_ns = 10**12

    def __call__(self) -> int:
        return self.now_ns


def said(number: int) -> dict[str, object]:
    """So many presses."""
    return {"counts": {"KILL_BUTTON": number}, "standing": []}


def test_what_the_alerter_told_is_noted_when_it_changes() -> None:
    """At once the first time, then at most every five seconds; what changed meanwhile is one entry."""
    board, scribe, clock = Board(), FakeScribe(), Clock()
    notes = AlertNotes(board, scribe, clock)  # type: ignore[arg-type]
    notes.look()
    board.says = {"counts": {}, "standing": []}
    notes.look()
    assert scribe.of("alert") == [], "nobody was told anything"
    board.says = said(1)
    notes.look()
    notes.look()
    clock.now_ns += ALERTS_EVERY_NS - 1
    board.says = said(2)
    notes.look()
    assert scribe.of("alert") == [said(1)]
    board.says = said(3)
    clock.now_ns += 1
    notes.look()
    assert scribe.of("alert") == [said(1), said(3)]


def test_an_alerter_that_does_not_live_ends_nothing() -> None:
    """Its silence is no word that all is well."""
    board, scribe, clock = Board(), FakeScribe(), Clock()
    notes = AlertNotes(board, scribe, clock)  # type: ignore[arg-type]
    board.says = said(1)
    notes.look()
    board.says, clock.now_ns = None, clock.now_ns + ALERTS_EVERY_NS
    notes.look()
    board.says = said(1)
    notes.look()
    assert scribe.of("alert") == [said(1)]


class Memory(MemoryService):
    """Only what is looked at."""

    def __init__(self) -> None:
        self.degraded = ""

    def stats(self) -> MemoryStats:
        """See MemoryService."""
        zeros: dict[str, Any] = dict.fromkeys(MemoryStats.__struct_fields__, 0)
        return MemoryStats(**zeros | {"degraded": self.degraded, "rows": 7})


def test_memory_is_noted_when_it_opens_fails_and_recovers() -> None:
    """With the reason; at most once a minute."""
    memory, scribe, clock = Memory(), FakeScribe(), Clock()
    notes = MemoryNotes(memory, scribe, clock)
    notes.look()
    for why, passed in (("x", MEMORY_EVERY_NS - 1), ("y", 1), ("", MEMORY_EVERY_NS), ("", MEMORY_EVERY_NS)):
        memory.degraded, clock.now_ns = why, clock.now_ns + passed
        notes.look()
    assert scribe.of("memory") == [
        {"state": "opened", "why": "", "rows": 7},
        {"state": "degraded", "why": "y", "rows": 7},
        {"state": "ok", "why": "", "rows": 7},
    ]


def test_without_memory_nothing_is_noted() -> None:
    """It is switched off: the configuration says so."""
    scribe = FakeScribe()
    MemoryNotes(object(), scribe, Clock()).look()
    assert scribe.kinds() == []


def test_a_refusal_by_the_witness_is_an_entry() -> None:
    """Why syncing stopped; an outage without an alarm is none."""
    core: Any = _Core.__new__(_Core)
    scribe, lines = FakeScribe(), []
    core._parts = type("Parts", (), {"scribe": scribe})
    core._log = type("Log", (), {"error": staticmethod(lambda *_, **data: lines.append(data))})
    core._upstream_changed("")
    core._upstream_changed("the witness refuses our log: 403")
    assert scribe.of("upstream") == [{"alarm": "the witness refuses our log: 403"}]
    assert len(lines) == 1
