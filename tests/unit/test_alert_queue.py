"""What waits for the hook: order, merging, retries, and that it cannot grow."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from appliance.domain.alert import Alert, AlertKind, Phase, severity
from appliance.safety.alert_queue import MERGED, RETRY_NS, ROOM, TRIES, AlertQueue, Waiting, merged
from appliance.safety.alerts import trial_alert

_BASE = trial_alert("attic", 1_000)
PRESS, STOP = AlertKind.KILL_BUTTON, AlertKind.STRATEGY_STOP


def made(kind: AlertKind, number: int, phase: Phase = Phase.BEGAN, subject: str = "", more: int = 0) -> Alert:
    """An alert of that kind."""
    return replace(
        _BASE,
        kind=kind,
        number=number,
        phase=phase,
        subject=subject,
        more=more,
        severity=severity(kind),
        standing=phase is not Phase.ENDED,
        event_ns=number * 1_000,
        alert_ns=number * 1_000 + 10,
        delay_ns=10,
    )


def _drained(queue: AlertQueue, now_ns: int = 0) -> list[Alert]:
    found = []
    while (each := queue.take(now_ns)) is not None:
        found.append(each.alert)
    return found


def test_most_urgent_first_then_oldest() -> None:
    """A press that comes last leaves first."""
    queue = AlertQueue()
    for number, kind in enumerate((STOP, AlertKind.TEST, AlertKind.CORE_LOST, PRESS), 1):
        queue.add(made(kind, number))
    assert [alert.kind for alert in _drained(queue)] == [AlertKind.CORE_LOST, PRESS, STOP, AlertKind.TEST]


def test_every_pair_of_phases_has_a_word() -> None:
    """The table is complete."""
    assert set(MERGED) == {(older, newer) for older in Phase for newer in Phase}


@pytest.mark.parametrize(
    ("older", "newer", "phase", "more", "standing"),
    [
        (Phase.BEGAN, Phase.ENDED, Phase.BEGAN, 0, False),
        (Phase.BEGAN, Phase.AGAIN, Phase.BEGAN, 1, True),
        (Phase.AGAIN, Phase.ENDED, Phase.AGAIN, 0, False),
        (Phase.ENDED, Phase.BEGAN, Phase.AGAIN, 0, True),
        (Phase.ENDED, Phase.ENDED, Phase.ENDED, 0, False),
    ],
)
def test_two_of_one_case_become_one(
    older: Phase, newer: Phase, phase: Phase, more: int, standing: bool
) -> None:
    """Nobody reads of an end without having read of the beginning."""
    one = merged(made(PRESS, 1, older), made(PRESS, 2, newer))
    assert (one.phase, one.more, one.standing, one.number) == (phase, more, standing, 2)
    since = 2_000 if older is Phase.ENDED else 1_000
    assert (one.event_ns, one.delay_ns) == (since, 2_010 - since)


def test_counts_are_added_up() -> None:
    """3 and 5 occurrences are 8: one told, 7 more."""
    queue = AlertQueue()
    queue.add(made(STOP, 1, more=2))
    queue.add(made(STOP, 2, more=4))
    (alert,) = _drained(queue)
    assert alert.more == 7


@pytest.mark.parametrize("count", [ROOM - 1, ROOM, ROOM + 1, ROOM + 500])
def test_a_full_queue_merges_and_drops_nothing(count: int) -> None:
    """Beyond its room each kind has one place, so that the first of a kind always finds one."""
    queue = AlertQueue()
    for number in range(count):
        queue.add(made(STOP, number, subject=f"s{number}"))
    queue.add(made(PRESS, count))
    assert len(queue) <= ROOM + len(AlertKind)
    alerts = _drained(queue)
    assert alerts[0].kind is PRESS
    assert sum(1 + alert.more for alert in alerts) == count + 1


def test_a_full_queue_keeps_the_places_it_has() -> None:
    """Who waits already is merged into its own place; who comes new shares its kind's."""
    queue = AlertQueue()
    for number in range(ROOM - 1):
        queue.add(made(STOP, number, subject=f"s{number}"))
    queue.add(made(PRESS, ROOM, subject="the last place"))
    queue.add(made(STOP, ROOM + 1, subject="s0"))
    assert len(queue) == ROOM
    queue.add(made(STOP, ROOM + 2, subject="new"))
    queue.add(made(STOP, ROOM + 3, subject="newer"))
    assert len(queue) == ROOM + 1
    told = {(alert.subject, alert.more) for alert in _drained(queue)}
    assert {("the last place", 0), ("s0", 1), ("", 1)} <= told


def test_two_entries_of_the_log_name_the_first() -> None:
    """Where the older alert has none, the newer one's."""
    older, newer = made(STOP, 1, subject="a"), replace(made(STOP, 2, subject="a"), log_index=9)
    assert merged(older, newer).log_index == 9
    assert merged(replace(older, log_index=4), newer).log_index == 4
    assert merged(replace(older, log_index=4), older).log_index == 4
    assert merged(older, newer).subject == "a"
    assert merged(older, replace(newer, subject="b")).subject == "", "no name for two things"


def test_a_failed_delivery_is_tried_again_after_a_pause_and_given_up_after_the_last() -> None:
    """Three tries in all, dense at the pause."""
    queue, now_ns = AlertQueue(), 0
    queue.add(made(PRESS, 1))
    for number in range(1, TRIES):
        waiting = queue.take(now_ns)
        assert waiting is not None
        assert waiting.tries == number - 1
        assert queue.failed(waiting, now_ns)
        assert queue.next_due_ns() == now_ns + RETRY_NS
        assert queue.take(now_ns + RETRY_NS - 1) is None
        now_ns += RETRY_NS
    waiting = queue.take(now_ns)
    assert waiting is not None
    assert not queue.failed(waiting, now_ns)
    assert len(queue) == 0
    assert queue.next_due_ns() is None


def test_something_new_does_not_wait_for_the_retry_of_the_old() -> None:
    """It takes the old one along, at once, with all its tries."""
    queue = AlertQueue()
    queue.add(made(PRESS, 1))
    first = queue.take(0)
    assert first is not None
    queue.failed(first, 0)
    queue.add(made(PRESS, 2, Phase.AGAIN))
    again = queue.take(0)
    assert again is not None
    assert (again.tries, again.alert.phase, again.alert.more) == (0, Phase.BEGAN, 1)


def test_what_came_while_the_hook_ran_is_merged_behind_its_failure() -> None:
    """The beginning failed, the end came meanwhile: one alert that says both."""
    queue = AlertQueue()
    queue.add(made(PRESS, 1))
    running = queue.take(0)
    assert running is not None
    queue.add(made(PRESS, 2, Phase.ENDED))
    assert queue.failed(running, 0)
    (alert,) = _drained(queue)
    assert (alert.phase, alert.standing, alert.number) == (Phase.BEGAN, False, 2)


def test_what_waits_is_told_oldest_first_and_stays() -> None:
    """What is stored for the next life; nothing is taken out by it."""
    queue = AlertQueue()
    assert queue.waiting() == ()
    for number, kind in enumerate((STOP, PRESS), 1):
        queue.add(made(kind, number))
    assert [each.alert.kind for each in queue.waiting()] == [STOP, PRESS]
    assert len(queue) == 2


def test_what_an_earlier_life_left_is_due_at_once() -> None:
    """Its clock may have been another boot's."""
    queue = AlertQueue([Waiting(alert=made(PRESS, 1), tries=2, due_ns=10**18)])
    waiting = queue.take(0)
    assert waiting is not None
    assert waiting.tries == 2
