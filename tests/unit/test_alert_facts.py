"""What pages and log say, as conditions and events: `safety.alert_facts`, source by source."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from appliance.domain.alert import AlertKind
from appliance.domain.mode import HoldCause, TripReason
from appliance.safety.alert_facts import (
    CORE_LOST_NS,
    GUARD_LOST_NS,
    LINES_UNKNOWN,
    LOOP_NS,
    LOOP_STARTS,
    START_NS,
    TAMPER_OPEN,
    CoreView,
    Facts,
    GuardView,
    Known,
    LogLine,
    Mark,
    Seen,
)
from appliance.safety.alerts import Look, Sign
from appliance.safety.latch import WORD_MASK

SECOND = 1_000_000_000
UTC = 1_800_000_000 * SECOND
SINCE = 100 * SECOND
ARMED = GuardView(
    heartbeat_ns=SINCE,
    state=5,
    armed=5,
    complement=5 ^ WORD_MASK,
    reason=0,
    later=0,
    last=0,
    stored=0,
    trip_ns=0,
    levels=0,
    tampers=0,
)
PRESSED = replace(ARMED, state=6, reason=1, last=1, stored=6, trip_ns=SINCE - SECOND)
CORE = CoreView(heartbeat_ns=SINCE, generation=1, holds=0, degraded=0)


def seen(
    guard: GuardView | None = ARMED, core: CoreView | None = CORE, *lines: LogLine, at_ns: int = SINCE
) -> Seen:
    """Everything as it should be, but for what the test changes; both clocks run alike."""
    return Seen(mono_ns=at_ns, utc_ns=UTC + at_ns, guard=guard, core=core, lines=lines)


def line(kind: str, index: int, **data: object) -> LogLine:
    """An entry, written at its index's second."""
    return LogLine(index=index, utc_ns=UTC + index, kind=kind, data=data)


def facts(known: Known | None = None) -> Facts:
    """Somebody who looks since SINCE."""
    return Facts(SINCE, known or Known())


def stands(look: Look) -> set[str]:
    """Kinds that stand."""
    return {sign.kind.value for sign in look.standing}


def sign(look: Look, kind: AlertKind) -> Sign:
    """The one sign of a kind that stands."""
    (found,) = [each for each in look.standing if each.kind is kind]
    return found


def test_an_armed_box_with_a_beating_core_has_nothing_to_say() -> None:
    """And everything was seen."""
    assert facts().look(seen()) == Look(standing=(), events=(), unknown=frozenset())


@pytest.mark.parametrize("reason", [reason for reason in TripReason if reason is not TripReason.NONE])
def test_every_reason_on_the_page_stands_under_its_name(reason: TripReason) -> None:
    """As first reason, and as a later one."""
    page = replace(PRESSED, reason=reason.value, last=reason.value)
    assert stands(facts().look(seen(page))) == {reason.name}
    page = replace(PRESSED, later=1 << reason.value)
    assert stands(facts().look(seen(page))) == {"KILL_BUTTON", reason.name}


def test_a_reason_nobody_knows_is_an_invariant() -> None:
    """As the core reads it."""
    assert stands(facts().look(seen(replace(PRESSED, reason=60, last=60)))) == {"INVARIANT"}


def test_a_trip_is_as_old_as_its_edge() -> None:
    """The guard's monotonic time of the edge, on the UTC clock."""
    assert sign(facts().look(seen(PRESSED)), AlertKind.KILL_BUTTON).event_ns == UTC + SINCE - SECOND


def test_a_trip_ends_by_arming_only() -> None:
    """A guard that was started again has forgotten the press; the box has not."""
    one = facts()
    both = one.look(seen(PRESSED, CORE, line("trip", 4, reason="KILL_BUTTON")))
    assert sign(both, AlertKind.KILL_BUTTON).log_index == 4, "page and log tell of one trip"
    restarted = replace(PRESSED, state=7, reason=13, last=13, stored=0)
    look = one.look(seen(restarted))
    assert stands(look) == {"KILL_BUTTON", "NOT_ARMED"}
    assert sign(look, AlertKind.KILL_BUTTON).log_index == 4
    assert stands(one.look(seen())) == set()
    assert one.known.trips == {}


def test_a_trip_the_log_does_not_know_is_not_known_to_have_ended() -> None:
    """The log could not be read: as long as the gate is shut, the look is no proof of an end."""
    one = facts()
    one.look(seen(PRESSED))
    look = one.look(seen(replace(PRESSED, state=7, reason=13, last=13, stored=0)))
    assert AlertKind.KILL_BUTTON in look.unknown
    assert AlertKind.KILL_BUTTON not in one.look(seen()).unknown


def test_arming_in_the_log_ends_a_trip_no_guard_tells_of() -> None:
    """No page at all: the log stands in for it."""
    one = facts()
    trip = line("trip", 4, reason="POSITION_DISAGREEMENT")
    assert "POSITION_DISAGREEMENT" in stands(one.look(seen(None, CORE, trip)))
    assert "POSITION_DISAGREEMENT" in stands(one.look(seen(None)))
    assert "POSITION_DISAGREEMENT" not in stands(one.look(seen(None, CORE, line("arm", 5))))


def test_the_same_reason_again_moves_the_epoch_and_is_an_event() -> None:
    """The button pressed twice; the first time it is a condition, not also an event."""
    one = facts()
    one.look(seen())
    assert one.look(seen(PRESSED)).events == ()
    again = one.look(seen(replace(PRESSED, state=7, stored=7)))
    assert [each.kind for each in again.events] == [AlertKind.KILL_BUTTON]
    assert one.look(seen(replace(PRESSED, state=7, stored=7))).events == ()


def test_another_reason_is_no_event_of_the_first() -> None:
    """It is a condition of its own."""
    one = facts()
    one.look(seen(PRESSED))
    look = one.look(seen(replace(PRESSED, state=7, stored=7, last=2, later=1 << 2)))
    assert (look.events, stands(look)) == ((), {"KILL_BUTTON", "DRAWDOWN"})


@pytest.mark.parametrize(("stored", "told"), [(0, True), (5, True), (6, False)])
def test_a_trip_that_is_not_stored_is_said(stored: int, told: bool) -> None:
    """STORED is the epoch whose trip survives a power cut; an older one is not this one."""
    look = facts().look(seen(replace(PRESSED, stored=stored)))
    assert ("TRIP_NOT_STORED" in stands(look)) is told


def test_nobody_armed_yet_needs_no_storing() -> None:
    """NOT_ARMED is no trip: there is nothing to store."""
    page = replace(PRESSED, reason=13, last=13, stored=0)
    assert stands(facts().look(seen(page))) == {"NOT_ARMED"}


@pytest.mark.parametrize(
    ("age_ns", "lost"), [(0, False), (GUARD_LOST_NS, False), (GUARD_LOST_NS + 1, True), (10**15, True)]
)
def test_a_silent_guard_is_lost_after_two_seconds(age_ns: int, lost: bool) -> None:
    """The limit is the last allowed age, as for the core's own trip (SAFETY 3)."""
    look = facts().look(seen(at_ns=SINCE + age_ns, core=None))
    assert ("GUARD_LOST" in stands(look)) is lost
    if lost:
        assert sign(look, AlertKind.GUARD_LOST).event_ns == UTC + SINCE


@pytest.mark.parametrize(
    ("age_ns", "lost"), [(0, False), (CORE_LOST_NS, False), (CORE_LOST_NS + 1, True), (10**15, True)]
)
def test_a_silent_core_is_lost_after_one_second(age_ns: int, lost: bool) -> None:
    """What its page said of holds is then no answer any more."""
    look = facts().look(seen(replace(ARMED, heartbeat_ns=SINCE + age_ns), at_ns=SINCE + age_ns))
    assert stands(look) == ({"CORE_LOST"} if lost else set())
    assert (AlertKind.HOLD in look.unknown) is lost


@pytest.mark.parametrize(("waited_ns", "lost"), [(0, False), (START_NS - 1, False), (START_NS, True)])
def test_pages_that_never_come_are_lost_after_the_start(waited_ns: int, lost: bool) -> None:
    """Before, nothing is known: a box that boots alarms nobody, and ends no alert of before."""
    look = facts().look(seen(None, None, at_ns=SINCE + waited_ns))
    assert stands(look) == ({"GUARD_LOST", "CORE_LOST"} if lost else set())
    expected = set() if lost else {AlertKind.GUARD_LOST, AlertKind.CORE_LOST}
    assert {AlertKind.KILL_BUTTON, AlertKind.TAMPER, AlertKind.HOLD} <= look.unknown
    assert look.unknown & {AlertKind.GUARD_LOST, AlertKind.CORE_LOST} == expected


def test_a_core_that_came_back_between_two_looks_was_gone_all_the_same() -> None:
    """Its generation tells."""
    one = facts()
    one.look(seen())
    look = one.look(seen(core=replace(CORE, generation=2)))
    assert [each.kind for each in look.events] == [AlertKind.CORE_LOST]


def test_a_start_after_a_loss_that_was_seen_is_no_second_alert() -> None:
    """The condition told of it."""
    one = facts()
    one.look(seen())
    late = SINCE + 2 * CORE_LOST_NS
    guard = replace(ARMED, heartbeat_ns=late)
    assert stands(one.look(seen(guard, at_ns=late))) == {"CORE_LOST"}
    back = replace(CORE, generation=2, heartbeat_ns=late)
    assert one.look(seen(guard, back, at_ns=late)) == Look(standing=(), events=(), unknown=frozenset())


def test_a_start_after_a_clean_stop_is_somebodys_wish() -> None:
    """The log says that the core was stopped after its last heartbeat; the stop of a life before does not."""
    one = facts()
    one.look(seen())
    stop = LogLine(index=9, utc_ns=UTC + SINCE, kind="stop", data={"mode": "NORMAL"})
    again = replace(CORE, generation=2, heartbeat_ns=SINCE + SECOND)
    later = replace(ARMED, heartbeat_ns=SINCE + SECOND)
    assert one.look(seen(later, again, stop, at_ns=SINCE + SECOND)).events == ()
    killed = replace(again, generation=3)
    assert len(one.look(seen(later, killed, at_ns=SINCE + SECOND)).events) == 1


@pytest.mark.parametrize(
    ("starts", "within_ns", "loop"),
    [
        (LOOP_STARTS - 1, 1, False),
        (LOOP_STARTS, 1, True),
        (LOOP_STARTS, LOOP_NS - 1, True),
        (LOOP_STARTS, LOOP_NS, False),
        (LOOP_STARTS + 7, 1, True),
    ],
)
def test_a_core_that_is_started_again_and_again_is_a_loop(starts: int, within_ns: int, loop: bool) -> None:
    """Three starts nobody wished within five minutes, dense at both limits."""
    one = facts()
    look = one.look(seen())
    for number in range(1, starts + 1):
        at_ns = SINCE + (within_ns if number == starts else 0)
        core = replace(CORE, generation=1 + number, heartbeat_ns=at_ns)
        look = one.look(seen(replace(ARMED, heartbeat_ns=at_ns), core, at_ns=at_ns))
    assert ("CORE_LOOP" in stands(look)) is loop
    assert len(one.known.starts_ns) <= LOOP_STARTS


def test_an_open_case_stands_and_one_that_closed_again_is_an_event() -> None:
    """Also where the reaction is only an alert: the level, else the guard's count."""
    one = facts()
    one.look(seen())
    assert [each.kind for each in one.look(seen(replace(ARMED, tampers=1))).events] == [AlertKind.TAMPER]
    opened = one.look(seen(replace(ARMED, tampers=2, levels=TAMPER_OPEN)))
    assert (stands(opened), opened.events) == ({"TAMPER"}, ())
    assert one.look(seen(replace(ARMED, tampers=2))) == Look(standing=(), events=(), unknown=frozenset())


def test_a_tamper_trip_is_one_alert() -> None:
    """Trip, level and count are the same opening."""
    one = facts()
    one.look(seen())
    page = replace(PRESSED, reason=4, last=4, levels=TAMPER_OPEN, tampers=1)
    look = one.look(seen(page))
    assert (stands(look), look.events) == ({"TAMPER"}, ())


def test_lines_nobody_can_read_are_said() -> None:
    """An unread contact is no open case."""
    page = replace(ARMED, levels=LINES_UNKNOWN | TAMPER_OPEN)
    assert stands(facts().look(seen(page))) == {"LINES_UNREADABLE"}


def test_a_page_that_disagrees_with_itself_is_said() -> None:
    """SAFETY 3: armed epoch and complement."""
    assert stands(facts().look(seen(replace(ARMED, complement=5)))) == {"PAGE_MISMATCH"}
    never = replace(PRESSED, armed=0, complement=0)
    assert stands(facts().look(seen(never))) == {"KILL_BUTTON"}, "not armed at all is no disagreement"


@pytest.mark.parametrize(("holds", "degraded"), [(0, 0), (1, 0), (0, 1), (9, 9)])
def test_holds_and_parts_come_from_the_cores_page(holds: int, degraded: int) -> None:
    """By their number; the machine waits as long as the owner says."""
    look = facts().look(seen(core=replace(CORE, holds=holds, degraded=degraded)))
    assert stands(look) == ({"HOLD"} if holds else set()) | ({"DEGRADED"} if degraded else set())


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (HoldCause.VENUE_DOWN, "VENUE_DOWN"),
        (HoldCause.CLOCK, "CLOCK_HOLD"),
        (HoldCause.DISK_QUOTA, "DISK_QUOTA"),
        (HoldCause.STALE_DATA, ""),
    ],
)
def test_some_holds_are_told_by_their_cause(cause: HoldCause, kind: str) -> None:
    """From the log, by scope, until the log says that it ended."""
    one = facts()
    look = one.look(seen(ARMED, CORE, line("hold", 8, cause=cause.value, scope="venue:paper", detail="x")))
    assert stands(look) == ({kind} if kind else set())
    if kind:
        (found,) = look.standing
        assert (found.subject, found.log_index, found.event_ns) == ("venue:paper", 8, UTC + 8)
    ended = line("hold_end", 9, cause=cause.value, scope="venue:paper")
    assert stands(one.look(seen(ARMED, CORE, ended))) == set()


def test_a_hold_remembered_by_another_version_is_not_told_under_a_name_it_never_had() -> None:
    """The file of an earlier life may name a cause that is none of ours; the others are told all the same."""
    marks = {"MADE_UP instrument:X": Mark(UTC, 7), "VENUE_DOWN venue:paper": Mark(UTC, 8)}
    look = facts(Known(holds=marks)).look(seen())
    assert [(found.kind, found.subject) for found in look.standing] == [(AlertKind.VENUE_DOWN, "venue:paper")]


def test_holds_and_alarm_of_a_core_end_with_it() -> None:
    """The next one finds its own and says so."""
    one = facts()
    lines = (line("hold", 8, cause="VENUE_DOWN", scope="venue:paper"), line("upstream", 9, alarm="another"))
    look = one.look(seen(ARMED, CORE, *lines))
    assert stands(look) == {"VENUE_DOWN", "UPSTREAM_ALARM"}
    assert sign(look, AlertKind.UPSTREAM_ALARM).log_index == 9
    assert stands(one.look(seen(ARMED, CORE, line("start", 10, version="0.1.0")))) == set()


@pytest.mark.parametrize(
    ("entry", "kind", "subject"),
    [
        (line("strategy_stop", 3, strategy="trend-spx", why="it fell 16 %"), "STRATEGY_STOP", "trend-spx"),
        (line("loss_level", 3, level="slow", loss="2.1 %"), "LOSS_LEVEL", "slow"),
        (line("loss_level", 3, level="alert", loss="1.1 %"), "LOSS_LEVEL", "alert"),
        (line("loss_level", 3, level="made up", loss="1.1 %"), "LOSS_LEVEL", "alert"),
        (line("venue", 3, problem="unknown order, cancelled", order_id="il-1"), "VENUE_PROBLEM", ""),
        (line("gap", 3, owed=2, why="late"), "LOG_GAP", ""),
    ],
)  # fmt: skip
def test_what_only_the_log_knows_is_an_event(entry: LogLine, kind: str, subject: str) -> None:
    """With its index for the details, and with none of its words."""
    (found,) = facts().look(seen(ARMED, CORE, entry)).events
    assert found == Sign(kind=AlertKind(kind), subject=subject, event_ns=UTC + 3, log_index=3)


@pytest.mark.safety("S8.7")
@pytest.mark.parametrize(
    ("level", "reserve", "kinds"),
    [
        ("ok", "in place", set()),
        ("alert", "in place", {"DISK_FILLING"}),
        ("hold", "in place", {"DISK_FILLING"}),
        ("ok", "missing", {"DISK_RESERVE"}),
        ("hold", "in use", {"DISK_FILLING", "DISK_RESERVE"}),
    ],
)
def test_the_disk_is_told_by_its_last_entry(level: str, reserve: str, kinds: set[str]) -> None:
    """From its first word until another one, or another core, says that it is over."""
    one = facts()
    one.look(seen(ARMED, CORE, line("disk", 8, level=level, reserve=reserve, percent=81)))
    look = one.look(seen(ARMED, CORE, line("disk", 9, level=level, reserve=reserve, percent=82)))
    assert stands(look) == kinds
    assert {(each.event_ns, each.log_index, each.subject) for each in look.standing} <= {(UTC + 8, 8, "")}
    known = msgspec.json.decode(msgspec.json.encode(one.known), type=Known)
    assert stands(facts(known).look(seen())) == kinds, "over a restart of the alerter"
    assert stands(facts(known).look(seen(ARMED, CORE, line("start", 10)))) == set()
    over = line("disk", 10, level="ok", reserve="in place")
    assert stands(one.look(seen(ARMED, CORE, over))) == set()


@pytest.mark.parametrize("value", [None, 7, [], {}, "", "NO_SUCH", "\ud800"])
@pytest.mark.parametrize(
    "kind", ["trip", "hold", "hold_end", "upstream", "arm", "start", "heartbeat", "disk"]
)
def test_an_entry_of_any_shape_is_read(kind: str, value: object) -> None:
    """A newer core may write what this alerter does not know."""
    one = facts()
    odd = line(kind, 3, reason=value, cause=value, scope=value, alarm=value, level=value, reserve=value)
    one.look(seen(ARMED, CORE, odd, line(kind, 4)))
    assert len(one.known.trips) + len(one.known.holds) + len(one.known.disk) == 0


def test_a_log_that_cannot_be_read_and_a_hook_that_failed_are_said() -> None:
    """Both stand as long as it is so."""
    look = facts().look(replace(seen(), log_unreadable=True, hook_failed=True))
    assert stands(look) == {"LOG_UNREADABLE", "HOOK_FAILED"}


def test_another_boot_forgets_the_pages_and_keeps_the_log() -> None:
    """Epochs and generations start again; what the log told is still so."""
    one = facts()
    trip = line("trip", 4, reason="KILL_BUTTON")
    one.look(seen(replace(PRESSED, tampers=3), replace(CORE, heartbeat_ns=1), trip))
    assert one.known.core_lost
    one.known.another_boot()
    assert msgspec.structs.asdict(one.known) | {"trips": {}, "beat_ns": 0} == msgspec.structs.asdict(Known())
    assert set(one.known.trips) == {"KILL_BUTTON"}
