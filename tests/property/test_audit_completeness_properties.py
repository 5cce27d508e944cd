"""An entry somebody never appended is missed, however well the rest was renumbered, hashed and signed."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.audit.completeness import HEARTBEAT, LATE, SEQUENCE, STOP, Completeness, Completing
from appliance.audit.records import decode_entry, encode_entry
from appliance.audit.verify import verify
from appliance.ports import Entry
from tests.audit_support import TRUST, MemoryLog

quick = settings(deadline=None, derandomize=True, max_examples=150)
PERIOD = 1000
UTC = 1_700_000_000_000_000_000

Line = tuple[str, int, Entry]
"""(source, its number, the entry)"""

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["core", "guard", "bot.1"]),
        st.sampled_from(["fill", "verdict", "order", "restart"]),
        st.integers(0, 2 * PERIOD),
    ),
    min_size=2,
    max_size=40,
)


def history(steps: Sequence[tuple[str, str, int]]) -> list[Line]:
    """A history without a gap: every source starts, says in time that it lives, and stops."""
    told: list[Line] = []
    numbers: dict[str, int] = {}
    beat: dict[str, int] = {}
    now = 0

    def say(source: str, kind: str, **data: object) -> None:
        numbers[source] = numbers.get(source, -1) + 1
        causes = (len(told) - 1,) if told else ()
        entry = Entry(kind=kind, utc_ns=UTC + now, mono_ns=now, data=data, causes=causes)
        told.append((source, numbers[source], entry))

    for source, kind, passed in steps:
        now += passed
        for each in beat:  # whoever runs is no later than it may be
            say(each, "heartbeat")
            beat[each] = now
        if kind == "restart" and source in beat:
            say(source, "stop")
            del beat[source]
        if source not in beat:
            say(source, "start", heartbeat_ns=PERIOD)
            beat[source] = now
        elif kind != "restart":
            say(source, kind)
    for source in beat:
        say(source, "stop")
    return told


def bodies(told: Sequence[Line]) -> list[bytes]:
    """As a log would have them, numbered afresh; causes point where there is something."""
    found = []
    for index, (source, number, entry) in enumerate(told):
        causes = tuple(cause for cause in entry.causes if cause < index)
        fresh = Entry(
            kind=entry.kind, utc_ns=entry.utc_ns, mono_ns=entry.mono_ns, data=entry.data, causes=causes
        )
        found.append(encode_entry(index, source, number, fresh))
    return found


def judged(told: Sequence[Line]) -> Completeness:
    """What is missing."""
    looks = Completing()
    for each in bodies(told):
        looks.add(decode_entry(each))
    return looks.result()


@quick
@given(STEPS)
def test_a_history_without_a_gap_has_none(steps: list[tuple[str, str, int]]) -> None:
    """The check cries for nothing."""
    found = judged(history(steps))
    assert found.gaps == ()
    assert found.longest_ns <= LATE * PERIOD


@quick
@given(STEPS, st.data())
def test_an_entry_that_was_never_appended_is_missed(
    steps: list[tuple[str, str, int]], draw: st.DataObject
) -> None:
    """Any but the last of its source, which only a head seen before can miss; the numbers are named."""
    told = history(steps)
    last = {source: index for index, (source, _, _) in enumerate(told)}
    inner = [index for index in range(len(told)) if index not in last.values()]
    gone = draw.draw(st.sampled_from(inner))
    source, number, _ = told[gone]
    found = judged(told[:gone] + told[gone + 1 :])
    missed = [gap for gap in found.gaps if gap.what == SEQUENCE]
    assert [(gap.source, gap.first, gap.last) for gap in missed] == [(source, number, number)]


@quick
@given(STEPS, st.data())
def test_whoever_renumbers_the_source_too_is_betrayed_by_a_start(
    steps: list[tuple[str, str, int]], draw: st.DataObject
) -> None:
    """A stop that is not the log's last of its source: its numbers may fit again, the next start does not."""
    told = history(steps)
    starts = [index for index, (_, _, entry) in enumerate(told) if entry.kind == "stop"]
    later = {
        index: [at for at in range(index + 1, len(told)) if told[at][0] == told[index][0]] for index in starts
    }
    inner = [index for index in starts if later[index]]
    if not inner:
        return
    gone = draw.draw(st.sampled_from(inner))
    source = told[gone][0]
    forged = [
        (each, number - (each == source and at > gone), entry)
        for at, (each, number, entry) in enumerate(told)
        if at != gone
    ]
    found = judged(forged)
    assert STOP in {gap.what for gap in found.gaps if gap.source == source}
    assert {gap.what for gap in found.gaps} <= {STOP, HEARTBEAT}


def test_a_tree_made_without_it_and_signed_anew_is_missed_by_verify() -> None:
    """With the log's own key: root, tiles and signature agree, and the number is missing all the same."""
    told = history([("core", "fill", 10)] * 300)
    whole = MemoryLog(0, [len(told)], bodies(told))
    whole_report = verify(whole, TRUST)
    assert (whole_report.ok, whole_report.completeness.ok) == (True, True)
    forged = told[:200] + told[201:]
    report = verify(MemoryLog(0, [len(forged)], bodies(forged)), TRUST)
    assert [str(finding) for finding in report.findings] == [
        "entry 200: source core goes on with 201 where 200 is due"
    ]
    assert [(gap.what, gap.first, gap.last) for gap in report.completeness.gaps] == [(SEQUENCE, 200, 200)]
