"""However events, conditions and blindness interleave: nobody is told too late, too often, or nothing."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.domain.alert import Alert, AlertKind, Phase
from appliance.runtime.alert_files import Memory, dump, load
from appliance.safety.alert_facts import Known
from appliance.safety.alert_queue import ROOM, AlertQueue
from appliance.safety.alerts import LONG, QUIET_NS, RULES, SUBJECTS_MAX, Alarms, Look, Sign

SECOND = 1_000_000_000
LIMIT, HOLD_AFTER, LOOK_NS = 10 * SECOND, 15 * SECOND, 250_000_000
UTC = 1_800_000_000 * SECOND
KINDS = sorted(AlertKind)

Steps = list[tuple[int, set[AlertKind], list[tuple[AlertKind, str]], set[AlertKind], bool]]
_kinds = st.sets(st.sampled_from(KINDS), max_size=6)
_subjects = st.sampled_from(["", "a", "b"])
_event = st.tuples(st.sampled_from(KINDS), _subjects)
_step = st.tuples(
    st.integers(1, 80),  # looks until the next change
    _kinds,  # standing
    st.lists(_event, max_size=4),
    _kinds,  # unknown
    st.booleans(),  # the alerter is started again here
)
_steps = st.lists(_step, min_size=1, max_size=12)
FEW = settings(deadline=None, derandomize=True, max_examples=80)


def _after_ns(kind: AlertKind) -> int:
    return HOLD_AFTER if RULES[kind].after_ns == LONG else RULES[kind].after_ns


class Told:
    """Plays steps through a machine, look by look, and remembers what was told when."""

    def __init__(self) -> None:
        self.alarms = Alarms("attic", LIMIT, HOLD_AFTER)
        self.now_ns = 3 * SECOND
        self.told: list[tuple[int, Alert]] = []
        self.most = 0

    def look(self, look: Look) -> None:
        """One look, then LOOK_NS pass."""
        for alert in self.alarms.observe(look, self.now_ns, UTC + self.now_ns):
            self.told.append((self.now_ns, alert))
        self.most = max(self.most, len(self.alarms.cases()))
        self.now_ns += LOOK_NS

    def sign(self, kind: AlertKind, subject: str = "") -> Sign:
        """Seen now."""
        return Sign(kind=kind, subject=subject, event_ns=UTC + self.now_ns)

    def again(self) -> None:
        """A new process takes up what the memory on disk has of the old one."""
        memory = Memory(
            boot="b",
            cursor=None,
            number=self.alarms.number,
            known=Known(),
            cases=self.alarms.cases(),
            waiting=(),
        )
        memory = load(dump(memory), Memory)
        self.alarms = Alarms("attic", LIMIT, HOLD_AFTER, memory.cases, memory.number)

    def play(self, steps: Steps) -> list[tuple[int, AlertKind, str]]:
        """All steps; returns every event with its moment."""
        happened = []
        for looks, standing, events, unknown, restart in steps:
            if restart:
                self.again()
            happened += [(self.now_ns, kind, subject) for kind, subject in events]
            signs = tuple(self.sign(kind, subject) for kind, subject in events)
            for number in range(looks):
                stands = tuple(self.sign(kind) for kind in standing)
                self.look(
                    Look(standing=stands, events=signs if not number else (), unknown=frozenset(unknown))
                )
        return happened

    def settle(self) -> None:
        """Nothing stands and everything is seen, until every limit is over."""
        for _ in range((LIMIT + QUIET_NS + HOLD_AFTER) // LOOK_NS + 2):
            self.look(Look(standing=(), events=(), unknown=frozenset()))


@FEW
@given(_steps)
def test_every_event_is_told_within_the_limit(steps: Steps) -> None:
    """At once, or with the next alert of its kind and subject at the end of the limit."""
    told = Told()
    happened = told.play(steps)
    told.settle()
    for at_ns, kind, subject in happened:
        assert any(
            at_ns <= when_ns <= at_ns + LIMIT + LOOK_NS
            and (alert.kind, alert.subject) == (kind, subject)
            and alert.phase is not Phase.ENDED
            for when_ns, alert in told.told
        ), (kind, subject)


@FEW
@given(_steps)
def test_nobody_is_told_the_same_more_often_than_the_limit(steps: Steps) -> None:
    """Beginnings and repetitions of one kind and subject are LIMIT apart; an end follows a beginning."""
    told = Told()
    told.play(steps)
    told.settle()
    last_ns: dict[tuple[AlertKind, str], int] = {}
    believed: dict[tuple[AlertKind, str], bool] = {}
    for when_ns, alert in told.told:
        key = (alert.kind, alert.subject)
        if alert.phase is Phase.ENDED:
            assert believed[key]
        else:
            assert when_ns - last_ns.get(key, -LIMIT) >= LIMIT
            assert (alert.phase is Phase.AGAIN) == believed.get(key, False)
            last_ns[key] = when_ns
        believed[key] = alert.standing
    assert not any(believed.values()), "everything is over, and everybody knows"
    assert told.alarms.cases() == ()


@FEW
@given(_steps)
def test_a_condition_that_lasts_is_known(steps: Steps) -> None:
    """After whatever came before, what stands for its time and the limit is believed to stand."""
    told = Told()
    told.play(steps)
    lasting = tuple(KINDS[::3])
    for _ in range((LIMIT + HOLD_AFTER) // LOOK_NS + 2):
        signs = tuple(told.sign(kind) for kind in lasting)
        told.look(Look(standing=signs, events=(), unknown=frozenset()))
    for kind in lasting:
        latest = [alert for _, alert in told.told if (alert.kind, alert.subject) == (kind, "")][-1]
        assert latest.standing, kind


@FEW
@given(st.lists(st.tuples(st.sampled_from(KINDS), st.text(max_size=8)), max_size=400))
def test_machine_and_queue_stay_bounded_and_count_everything(events: list[tuple[AlertKind, str]]) -> None:
    """Whatever names come: a bounded number of cases and places, and every occurrence in somebody's count."""
    told = Told()
    for start in range(0, len(events), 40):
        signs = tuple(told.sign(kind, subject) for kind, subject in events[start : start + 40])
        told.look(Look(standing=(), events=signs, unknown=frozenset()))
    assert told.most <= len(AlertKind) * (SUBJECTS_MAX + 1)
    told.settle()
    queue = AlertQueue()
    for _, alert in told.told:
        queue.add(alert)
        assert len(queue) <= ROOM + len(AlertKind)
    delivered = []
    while (each := queue.take(0)) is not None:
        delivered.append(each.alert)
    assert sum(1 + alert.more for alert in delivered) == len(events)
    assert {alert.kind for alert in delivered} == {kind for kind, _ in events}


@FEW
@given(_steps)
def test_the_memory_survives_its_file(steps: Steps) -> None:
    """What is written is what is read, whatever state the machine is in."""
    told = Told()
    told.play(steps)
    cases = told.alarms.cases()
    memory = Memory(boot="b", cursor=7, number=3, known=Known(starts_ns=(1, 2)), cases=cases, waiting=())
    assert load(dump(memory), Memory) == memory
    assert b'_ns":1' not in dump(memory), "nanoseconds are strings"
    assert msgspec.json.decode(dump(memory))["known"]["starts_ns"] == ["1", "2"]
