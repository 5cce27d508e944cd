"""When is somebody told: the machine of `safety.alerts`, driven look by look, dense at its limits."""

from __future__ import annotations

import pytest

from appliance.domain.alert import MEANING, Alert, AlertKind, Phase, Severity
from appliance.safety.alerts import LONG, QUIET_NS, RULES, SUBJECTS_MAX, Alarms, Look, Sign, trial_alert

MS, SECOND = 1_000_000, 1_000_000_000
LIMIT, HOLD_AFTER = 30 * SECOND, 60 * SECOND
UTC = 1_800_000_000 * SECOND
PRESS, VENUE, STOP = AlertKind.KILL_BUTTON, AlertKind.VENUE_DOWN, AlertKind.STRATEGY_STOP


class Machine:
    """The machine with a clock that moves when told; UTC runs with it."""

    def __init__(self, limit_ns: int = LIMIT) -> None:
        self.alarms = Alarms("attic", limit_ns, HOLD_AFTER)
        self.now_ns = 5 * SECOND  # shortly after boot: younger than the limit

    def look(
        self,
        *standing: AlertKind,
        events: tuple[Sign, ...] = (),
        unknown: tuple[AlertKind, ...] = (),
        signs: tuple[Sign, ...] = (),
    ) -> list[Alert]:
        """One look at this moment."""
        made = tuple(Sign(kind=kind, event_ns=self.utc_ns) for kind in standing)
        look = Look(standing=made + signs, events=events, unknown=frozenset(unknown))
        return self.alarms.observe(look, self.now_ns, self.utc_ns)

    @property
    def utc_ns(self) -> int:
        """The UTC of this moment."""
        return UTC + self.now_ns

    def event(self, kind: AlertKind = STOP, subject: str = "") -> Sign:
        """Something that happens now."""
        return Sign(kind=kind, subject=subject, event_ns=self.utc_ns, log_index=7)


def _said(alerts: list[Alert]) -> list[tuple[AlertKind, Phase, bool, int]]:
    return [(alert.kind, alert.phase, alert.standing, alert.more) for alert in alerts]


def test_a_condition_is_told_in_the_look_that_shows_it() -> None:
    """No debounce, no waiting: the first word of a press comes at once, and once."""
    machine = Machine()
    (alert,) = machine.look(PRESS)
    assert _said([alert]) == [(PRESS, Phase.BEGAN, True, 0)]
    assert (alert.box, alert.number, alert.severity, alert.delay_ns) == ("attic", 1, Severity.CRITICAL, 0)
    assert alert.text == MEANING[PRESS][1]
    assert alert.recovery == RULES[PRESS].recovery
    for _ in range(1_000):
        machine.now_ns += SECOND
        assert machine.look(PRESS) == []


@pytest.mark.parametrize(
    ("kind", "after_ns"),
    [(kind, HOLD_AFTER if rule.after_ns == LONG else rule.after_ns) for kind, rule in RULES.items()],
)
def test_every_kind_counts_exactly_when_it_has_stood_long_enough(kind: AlertKind, after_ns: int) -> None:
    """One nanosecond before its rule's time nothing is said; at it, it is."""
    machine = Machine()
    began_ns = machine.now_ns
    for at_ns in sorted({0, 1, after_ns // 2, after_ns - 1} - {-1}):
        if at_ns < after_ns:
            machine.now_ns = began_ns + at_ns
            assert machine.look(kind) == []
            assert machine.alarms.standing() == []
    machine.now_ns = began_ns + after_ns
    (alert,) = machine.look(kind)
    assert (alert.phase, alert.standing, alert.delay_ns) == (Phase.BEGAN, True, after_ns)
    assert [case.kind for case in machine.alarms.standing()] == [kind]


def test_no_rule_waits_longer_than_the_five_seconds_allow() -> None:
    """RTS 6 Art. 16(5): rule, one look and the hook's start fit; only what the owner may set is longer."""
    assert all(rule.after_ns <= 2 * SECOND for rule in RULES.values())
    assert {kind for kind, rule in RULES.items() if rule.after_ns == LONG} == {
        AlertKind.HOLD, AlertKind.DEGRADED,
    }  # fmt: skip


def test_what_did_not_last_is_not_told() -> None:
    """A condition that ends before its time leaves nothing behind, and its next time starts anew."""
    machine = Machine()
    assert machine.look(VENUE) == []
    machine.now_ns += RULES[VENUE].after_ns - 1
    assert machine.look() == []
    assert machine.alarms.cases() == ()
    machine.now_ns += 1
    assert machine.look(VENUE) == []


@pytest.mark.parametrize("gone_ns", [1, 250 * MS, QUIET_NS - 1])
def test_a_chattering_condition_is_one(gone_ns: int) -> None:
    """Gone for less than the quiet time, it never ended."""
    machine = Machine(limit_ns=SECOND)
    machine.look(PRESS)
    began_ns = machine.utc_ns
    machine.now_ns += 10 * SECOND
    machine.look(PRESS)
    for _ in range(10):
        assert machine.look() == []
        machine.now_ns += gone_ns
        assert machine.look() == []
        assert machine.look(PRESS) == []
    assert [case.event_ns for case in machine.alarms.standing()] == [began_ns]


def test_an_end_is_told_when_it_was_quiet_long_enough_and_the_limit_is_over() -> None:
    """The later of both; its event is the moment it went away."""
    machine = Machine()
    machine.look(PRESS)
    machine.now_ns += SECOND
    machine.look()
    gone_ns = machine.utc_ns
    machine.now_ns += QUIET_NS
    assert machine.look() == []
    assert machine.alarms.standing() == [], "what stands is true at once, also while nobody may be told"
    machine.now_ns += LIMIT - SECOND - QUIET_NS - 1
    assert machine.look() == []
    machine.now_ns += 1
    (alert,) = machine.look()
    assert (alert.phase, alert.standing, alert.event_ns, alert.recovery) == (Phase.ENDED, False, gone_ns, "")
    assert machine.look() == []
    assert machine.alarms.cases() == ()


def test_after_the_limit_an_end_waits_for_the_quiet_only() -> None:
    """Dense at the quiet time."""
    machine = Machine()
    machine.look(PRESS)
    machine.now_ns += 10 * LIMIT
    machine.look()
    machine.now_ns += QUIET_NS - 1
    assert machine.look() == []
    machine.now_ns += 1
    assert _said(machine.look()) == [(PRESS, Phase.ENDED, False, 0)]
    machine.now_ns += 1
    assert _said(machine.look(PRESS)) == [(PRESS, Phase.BEGAN, True, 0)], "a told end is never in the way"


def test_nobody_believes_ended_what_came_back_within_the_limit() -> None:
    """It ended and began again before either could be told: the reader hears that it stands, with a count."""
    machine = Machine()
    machine.look(PRESS)
    machine.now_ns += SECOND
    machine.look()
    machine.now_ns += QUIET_NS
    machine.look()
    assert machine.look(PRESS) == []
    came_back_ns = machine.utc_ns
    machine.now_ns += LIMIT - SECOND - QUIET_NS
    (alert,) = machine.look(PRESS)
    assert _said([alert]) == [(PRESS, Phase.AGAIN, True, 0)]
    assert alert.event_ns == came_back_ns


@pytest.mark.parametrize(("wait_ns", "told"), [(0, 0), (1, 0), (LIMIT - 1, 0), (LIMIT, 1), (LIMIT + 1, 1)])
def test_the_limit_is_the_first_moment_at_which_it_may_be_told_again(wait_ns: int, told: int) -> None:
    """Events of one kind about one thing, dense at the limit."""
    machine = Machine()
    assert len(machine.look(events=(machine.event(),))) == 1
    machine.now_ns += wait_ns
    assert len(machine.look(events=(machine.event(),))) == told


@pytest.mark.parametrize("count", [1, 2, 3, 500])
def test_what_waited_is_counted_and_told_once(count: int) -> None:
    """N events inside the limit are one alert with N - 1 more, since the first of them."""
    machine = Machine()
    machine.look(events=(machine.event(),))
    machine.now_ns += SECOND
    first_ns = machine.utc_ns
    for _ in range(count):
        assert machine.look(events=(machine.event(),)) == []
        machine.now_ns += 1
    machine.now_ns += LIMIT
    (alert,) = machine.look()
    assert (alert.phase, alert.more, alert.event_ns) == (Phase.BEGAN, count - 1, first_ns)
    assert alert.delay_ns == machine.utc_ns - first_ns
    assert machine.look() == []


def test_an_event_of_a_condition_that_stands_is_told_as_again() -> None:
    """The button pressed once more while its trip stands."""
    machine = Machine()
    machine.look(PRESS)
    machine.now_ns += LIMIT
    assert _said(machine.look(PRESS, events=(machine.event(PRESS),))) == [(PRESS, Phase.AGAIN, True, 0)]


def test_another_subject_is_not_limited_by_the_first() -> None:
    """Two strategies stopped within the same second are two alerts within the same second."""
    machine = Machine()
    assert len(machine.look(events=(machine.event(subject="trend-spx"),))) == 1
    (alert,) = machine.look(events=(machine.event(subject="trend-ndx"),))
    assert (alert.subject, alert.log_index) == ("trend-ndx", 7)


@pytest.mark.parametrize(
    "subject", ["", "a b", "x" * 65, "sk-secret\n", "\u202ename", "a=b&signature=ff", "<b>"]
)
def test_only_names_are_subjects(subject: str) -> None:
    """Nothing but a plain name of at most 64 characters leaves the box (SAFETY 12)."""
    machine = Machine()
    (alert,) = machine.look(events=(machine.event(subject=subject),))
    assert alert.subject == ""


@pytest.mark.parametrize("extra", [0, 1, 2, 100])
def test_subjects_beyond_the_bound_share_one_case(extra: int) -> None:
    """However many names there are, the machine does not grow; all are counted."""
    machine = Machine()
    names = [machine.event(subject=f"s{number}") for number in range(SUBJECTS_MAX + extra)]
    alerts = machine.look(events=tuple(names))
    assert len(machine.alarms.cases()) == SUBJECTS_MAX + min(extra, 1)
    assert sum(1 + alert.more for alert in alerts) == SUBJECTS_MAX + extra


def test_what_cannot_be_seen_neither_begins_nor_ends() -> None:
    """A page that is gone says nothing about a trip."""
    machine = Machine()
    machine.look(PRESS)
    for _ in range(100):
        machine.now_ns += LIMIT
        assert machine.look(unknown=(PRESS, AlertKind.DRAWDOWN)) == []
        assert [case.kind for case in machine.alarms.standing()] == [PRESS]
    machine.look()
    machine.now_ns += QUIET_NS
    assert _said(machine.look()) == [(PRESS, Phase.ENDED, False, 0)]


def test_what_is_over_does_not_come_back_by_not_being_seen() -> None:
    """Gone and then out of sight: it is neither standing nor again, and its end is told."""
    machine = Machine()
    machine.look(PRESS)
    machine.now_ns += LIMIT
    machine.look()
    machine.now_ns += QUIET_NS
    assert _said(machine.look(unknown=(PRESS,))) == [(PRESS, Phase.ENDED, False, 0)]
    machine.now_ns += LIMIT
    assert machine.look(unknown=(PRESS,)) == []
    assert machine.alarms.cases() == ()


def test_the_first_of_what_waits_gives_the_time() -> None:
    """An event that waits, then the condition: one alert, as old as the event, with its entry."""
    machine = Machine()
    machine.look(events=(machine.event(PRESS),))
    machine.now_ns += SECOND
    machine.look(events=(machine.event(PRESS),))
    first_ns = machine.utc_ns
    machine.now_ns += SECOND
    machine.look(signs=(Sign(kind=PRESS, event_ns=machine.utc_ns, log_index=99),))
    machine.now_ns += LIMIT
    (alert,) = machine.look(PRESS)
    assert (alert.event_ns, alert.log_index, alert.more) == (first_ns, 7, 1)


def test_a_bound_of_names_holds_for_each_kind_alone() -> None:
    """Names that are known keep their own case, other kinds have their own bound, "" takes no place."""
    machine = Machine(limit_ns=SECOND)
    names = [machine.event(subject=f"s{number}") for number in range(SUBJECTS_MAX - 1)]
    machine.look(events=(machine.event(), *names))
    (last,) = machine.look(events=(machine.event(subject="last"),))
    assert last.subject == "last"
    (beyond,) = machine.look(events=(machine.event(subject="s0"), machine.event(AlertKind.LOG_GAP, "gap")))
    assert (beyond.kind, beyond.subject) == (AlertKind.LOG_GAP, "gap")
    machine.now_ns += SECOND
    alerts = machine.look(events=(machine.event(subject="s1"), machine.event(subject="s1")))
    assert {(alert.subject, alert.more) for alert in alerts} == {("s0", 0), ("s1", 1)}


def test_the_most_urgent_comes_first() -> None:
    """Critical before warning, then in the order of the numbers."""
    machine = Machine()
    alerts = machine.look(AlertKind.NOT_ARMED, AlertKind.CORE_LOST, AlertKind.CLOCK_HOLD, PRESS)
    assert [alert.severity for alert in alerts] == ["critical", "critical", "warning", "warning"]
    assert sorted(alert.number for alert in alerts) == [1, 2, 3, 4]


def test_an_earlier_life_is_taken_up() -> None:
    """What was told is not told again, what was not is, and the numbers go on."""
    machine = Machine()
    machine.look(PRESS, events=(machine.event(),))
    machine.look(PRESS, events=(machine.event(),))
    later = Machine()
    later.alarms = Alarms("attic", LIMIT, HOLD_AFTER, machine.alarms.cases(), machine.alarms.number)
    later.now_ns = machine.now_ns + SECOND
    assert later.look(PRESS) == []
    later.now_ns += LIMIT
    (alert,) = later.look(PRESS)
    assert (alert.kind, alert.number) == (STOP, 3)


def test_the_log_index_is_the_entry_of_what_is_told() -> None:
    """A condition seen on the page first gets the index as soon as the log has one."""
    machine = Machine()
    (began,) = machine.look(PRESS)
    assert began.log_index is None
    machine.now_ns += LIMIT
    with_index = (Sign(kind=PRESS, event_ns=machine.utc_ns, log_index=41),)
    assert machine.look(signs=with_index) == []
    (case,) = machine.alarms.standing()
    assert case.log_index == 41


def test_every_kind_speaks_in_sentences_and_says_what_to_do() -> None:
    """Each is read by somebody who was woken by it."""
    for kind, (severity, text) in MEANING.items():
        assert text[0].isupper(), text
        assert text.endswith("."), text
        assert severity in set(Severity)
        assert RULES[kind].recovery, kind


def test_a_trial_is_recognised() -> None:
    """It stands for nothing and says so."""
    alert = trial_alert("attic", UTC)
    assert (alert.kind, alert.severity, alert.standing) == (AlertKind.TEST, Severity.INFO, False)


def test_how_long_each_kind_stands_before_it_is_told_is_literally_this() -> None:
    """Every other kind is told at once; none waits so long that the alert misses its 5 s but those two."""
    waits = {kind: rule.after_ns for kind, rule in RULES.items() if rule.after_ns}
    assert waits == {
        AlertKind.TRIP_NOT_STORED: 1_500 * MS,
        AlertKind.PAGE_MISMATCH: 500 * MS,
        AlertKind.VENUE_DOWN: SECOND,
        AlertKind.LOG_UNREADABLE: 2 * SECOND,
        AlertKind.HOLD: LONG,
        AlertKind.DEGRADED: LONG,
    }
