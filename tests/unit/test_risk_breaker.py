"""One circuit breaker: every state × event, windows at their boundaries, probes, exempt calls, the guard.

What the table must say stands here a second time, in the test's own words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from fractions import Fraction

import pytest

from appliance.domain.breaker import BreakerChange, BreakerOpenError, BreakerState, Component, Refusal
from appliance.domain.errors import PeerError, TransportError
from appliance.ports import StoppedAtWire
from appliance.risk.breaker import PROBE_NS, TRANSITIONS, Breaker, BreakerSettings, CallEvent
from appliance.upstream import exchange
from appliance.venues import paper_client
from tests.kit import SECOND, FakeClock, breaker_settings

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
COOLDOWN = 10 * SECOND
WINDOW = 60 * SECOND


class Rig:
    """One breaker, a clock and everything it told."""

    def __init__(self, *needs: Breaker, **changes: int) -> None:
        self.clock = FakeClock()
        self.told: list[BreakerChange] = []
        self.breaker = Breaker(
            Component.MEMORY, breaker_settings(**changes), self.clock.mono_ns, self.told.append, needs
        )

    def good(self, count: int = 1, *, exempt: bool = False) -> None:
        """Calls that end well."""
        for _ in range(count):
            self.breaker.succeeded(self.breaker.begin(exempt=exempt))

    def bad(self, count: int = 1, *, exempt: bool = False) -> None:
        """Calls that fail."""
        for _ in range(count):
            self.breaker.failed(self.breaker.begin(exempt=exempt))

    def later(self, duration_ns: int) -> None:
        """Time passes, and the safety loop looks."""
        self.clock.mono += duration_ns
        self.breaker.settle(self.clock.mono)

    def refusal(self) -> Refusal | None:
        """What the gate would be told now."""
        return self.breaker.refusal(self.clock.mono)


def _in(state: BreakerState, **changes: int) -> Rig:
    rig = Rig(**changes)
    if state is not CLOSED:
        rig.bad(rig.breaker.settings.min_calls)
    if state is HALF_OPEN:
        rig.later(COOLDOWN)
    assert rig.breaker.state is state
    rig.told.clear()
    return rig


def _hang(rig: Rig) -> None:
    rig.breaker.begin()
    rig.later(PROBE_NS)


# what happens to a call, or to nobody but time → (state → state)
ACTS: list[tuple[str, Callable[[Rig], None], dict[BreakerState, BreakerState]]] = [
    ("success", lambda rig: rig.good(exempt=True), {CLOSED: CLOSED, OPEN: OPEN, HALF_OPEN: HALF_OPEN}),
    ("failure", lambda rig: rig.bad(exempt=True), {CLOSED: CLOSED, OPEN: OPEN, HALF_OPEN: OPEN}),
    ("many failures", lambda rig: rig.bad(4, exempt=True), {CLOSED: OPEN, OPEN: OPEN, HALF_OPEN: OPEN}),
    ("many successes", lambda rig: rig.good(2, exempt=True), {CLOSED: CLOSED, OPEN: OPEN, HALF_OPEN: CLOSED}),
    ("a nanosecond too early", lambda r: r.later(COOLDOWN - 1), {CLOSED: CLOSED, OPEN: OPEN}),
    ("cooled", lambda r: r.later(COOLDOWN), {CLOSED: CLOSED, OPEN: HALF_OPEN, HALF_OPEN: HALF_OPEN}),
    ("much later", lambda r: r.later(86_400 * SECOND), {CLOSED: CLOSED, HALF_OPEN: HALF_OPEN}),
    ("a probe hangs", _hang, {CLOSED: CLOSED, HALF_OPEN: OPEN}),
]


@pytest.mark.parametrize(
    ("act", "before", "after"),
    [
        pytest.param(act, before, after, id=f"{name} while {before}")
        for name, act, cells in ACTS
        for before, after in cells.items()
    ],
)
def test_cell(act: Callable[[Rig], None], before: BreakerState, after: BreakerState) -> None:
    """Driven from outside; a change is told once, and staying tells nothing."""
    rig = _in(before)
    act(rig)
    assert rig.breaker.state is after
    told = [(change.before, change.after) for change in rig.told]
    assert told == ([(before, after)] if before is not after else [])


EXPECTED = {
    CLOSED: {CallEvent.TOO_MANY: OPEN},
    OPEN: {CallEvent.COOLED: HALF_OPEN},
    HALF_OPEN: {CallEvent.FAILURE: OPEN, CallEvent.TOO_MANY: OPEN, CallEvent.PROVEN: CLOSED},
}


@pytest.mark.parametrize("event", list(CallEvent))
@pytest.mark.parametrize("state", list(BreakerState))
def test_the_table_is_total_and_the_one_of_the_design(state: BreakerState, event: CallEvent) -> None:
    """CB-17, CB-21: what is not listed stays; nothing leaves OPEN but the cooldown."""
    assert TRANSITIONS[state, event] is EXPECTED[state].get(event, state)
    rig = _in(state)
    rig.breaker._move(event, "test")
    assert rig.breaker.state is EXPECTED[state].get(event, state)


@pytest.mark.parametrize("allowed", [0, 1, 249_999, 250_000, 333_333, 499_999, 500_000, 750_000, 999_999])
@pytest.mark.parametrize("total", range(1, 9))
def test_it_opens_when_more_than_the_allowed_share_failed(allowed: int, total: int) -> None:
    """C24: the limit is the last allowed value; every number of failures of every number of calls."""
    for bad in range(1, total + 1):
        rig = Rig(min_calls=total, open_above_ppm=allowed)
        rig.good(total - bad)
        rig.bad(bad)
        expected = Fraction(bad, total) > Fraction(allowed, 1_000_000)
        assert (rig.breaker.state is OPEN) is expected, (bad, total, allowed)


@pytest.mark.parametrize("least", [1, 2, 3, 7, 8])
def test_too_few_calls_prove_nothing(least: int) -> None:
    """P35: below the minimum it stays closed whatever fails; the call that completes it decides."""
    rig = Rig(min_calls=least)
    rig.bad(least - 1)
    assert rig.breaker.state is CLOSED
    rig.bad()
    assert rig.breaker.state is OPEN
    assert rig.breaker.why == f"{least} of {least} calls failed, allowed are 50 %"
    assert rig.breaker.openings == 1


def test_only_a_failure_can_open() -> None:
    """Successes that leave the window make the share of failures grow; nothing failed just then."""
    rig = Rig(window_calls=8, min_calls=4)
    rig.good(4)
    rig.bad(4)
    rig.clock.mono += WINDOW + 1
    rig.good(1)
    assert rig.breaker.state is CLOSED


def test_only_the_last_calls_count() -> None:
    """Of 8: four failures among them are allowed, the fifth opens, however many went well before."""
    rig = Rig()
    rig.good(1_000)
    rig.bad(4)
    assert rig.breaker.state is CLOSED
    rig.bad()
    assert rig.breaker.state is OPEN
    assert rig.breaker.why == "5 of 8 calls failed, allowed are 50 %"


def test_a_failure_that_left_the_window_by_number_counts_no_more() -> None:
    """C07: three failures, eight successes, then four failures are four of eight and not seven."""
    rig = Rig()
    rig.good(4)
    rig.bad(3)
    rig.good(8)
    rig.bad(4)
    assert rig.breaker.state is CLOSED
    rig.bad()
    assert rig.breaker.state is OPEN


@pytest.mark.parametrize(("age_ns", "state"), [(WINDOW - 1, OPEN), (WINDOW, OPEN), (WINDOW + 1, CLOSED)])
def test_an_outcome_counts_up_to_the_windows_age(age_ns: int, state: BreakerState) -> None:
    """Three failures of that age and one now: four of four, or one of one."""
    rig = Rig()
    rig.bad(3)
    rig.clock.mono += age_ns
    rig.bad()
    assert rig.breaker.state is state


@pytest.mark.parametrize("old", [1, 2, 3])
def test_what_left_the_window_with_age_is_forgotten(old: int) -> None:
    """Old failures, then four good calls and four that fail: four of eight, as if the old ones never were."""
    rig = Rig(window_calls=20)
    rig.bad(old)
    rig.clock.mono += WINDOW + 1
    rig.good(4)
    rig.bad(4)
    assert rig.breaker.state is CLOSED
    rig.bad()
    assert rig.breaker.why == "5 of 9 calls failed, allowed are 50 %"


@pytest.mark.parametrize(("age_ns", "state"), [(WINDOW, CLOSED), (WINDOW + 1, OPEN)])
def test_successes_leave_the_window_with_age_too(age_ns: int, state: BreakerState) -> None:
    """Four old successes keep four failures allowed for exactly as long as they are young enough."""
    rig = Rig()
    rig.good(4)
    rig.clock.mono += age_ns
    rig.bad(4)
    assert rig.breaker.state is state


@pytest.mark.parametrize("last_ns", [0, 1, 4 * SECOND, COOLDOWN - 1])
def test_the_cooldown_runs_from_the_last_failure(last_ns: int) -> None:
    """CB-17: an exit that fails while it is open begins it again, to the nanosecond."""
    rig = _in(OPEN)
    rig.later(last_ns)
    rig.bad(exempt=True)
    rig.later(COOLDOWN - 1)
    assert (rig.breaker.state, rig.refusal()) == (OPEN, Refusal.OPEN)
    with pytest.raises(BreakerOpenError):
        rig.breaker.begin()
    rig.clock.mono += 1
    assert rig.refusal() is None, "before anybody settled it: time alone ends a cooldown"
    rig.breaker.begin()
    assert rig.breaker.state is HALF_OPEN


@pytest.mark.parametrize("probes", [1, 2, 5])
def test_no_more_probes_than_tokens(probes: int) -> None:
    """CB-05: the next one is refused until one is back, and then one more passes."""
    rig = _in(HALF_OPEN, probes=probes, successes=100)
    tickets = []
    for _ in range(probes):
        assert rig.refusal() is None
        tickets.append(rig.breaker.begin())
    assert rig.refusal() is Refusal.HALF_OPEN_EXHAUSTED
    with pytest.raises(BreakerOpenError) as refused:
        rig.breaker.begin()
    assert refused.value.refusal is Refusal.HALF_OPEN_EXHAUSTED
    assert refused.value.component is Component.MEMORY
    rig.breaker.succeeded(tickets[0])
    rig.breaker.begin()
    with pytest.raises(BreakerOpenError):
        rig.breaker.begin()
    assert rig.breaker.refused == 2


@pytest.mark.parametrize("successes", [1, 2, 5])
def test_as_many_successes_as_asked_for_close_it(successes: int) -> None:
    """And it begins with an empty window."""
    rig = _in(HALF_OPEN, successes=successes)
    rig.good(successes - 1)
    assert rig.breaker.state is HALF_OPEN
    rig.good()
    assert rig.breaker.state is CLOSED
    assert rig.breaker.why == f"{successes} calls ended well"
    rig.bad(3)
    assert rig.breaker.state is CLOSED, "the failures of before are forgotten"
    rig.bad()
    assert rig.breaker.state is OPEN


def test_every_half_open_phase_begins_from_zero() -> None:
    """One success and a failure, then again: two successes in two phases do not close it."""
    rig = _in(HALF_OPEN)
    rig.good()
    rig.bad()
    assert rig.breaker.state is OPEN
    rig.later(COOLDOWN)
    rig.good()
    assert rig.breaker.state is HALF_OPEN
    rig.good()
    assert rig.breaker.state is CLOSED


def test_a_call_of_which_nothing_is_known_returns_its_token_and_proves_nothing() -> None:
    """Stopped by our own latch: neither success nor failure."""
    rig = _in(HALF_OPEN, successes=1)
    ticket = rig.breaker.begin()
    rig.breaker.abandon(ticket)
    assert rig.breaker.state is HALF_OPEN
    assert rig.refusal() is None
    assert rig.breaker.abandoned == 1


def test_what_began_before_the_change_proves_nothing_by_succeeding() -> None:
    """A slow call from before the outage ends well while the breaker probes: that is old news."""
    rig = Rig(successes=1)
    slow = [rig.breaker.begin() for _ in range(3)]
    rig.bad(4)
    rig.breaker.succeeded(slow[0])
    assert rig.breaker.state is OPEN
    rig.later(COOLDOWN)
    rig.breaker.succeeded(slow[1])
    assert rig.breaker.state is HALF_OPEN
    rig.good()
    assert rig.breaker.state is CLOSED
    rig.breaker.succeeded(slow[2])
    rig.bad(4)
    assert rig.breaker.state is OPEN, "four of four: the old success is not in the window"
    assert rig.breaker.why.startswith("4 of 4 ")


def test_the_last_ticket_of_the_old_state_is_old_and_the_first_of_the_new_is_not() -> None:
    """The boundary between two states lies between two calls."""
    rig = Rig(successes=1)
    rig.bad(3)
    last = rig.breaker.begin()
    rig.breaker.failed(last)
    rig.later(COOLDOWN)
    rig.breaker.succeeded(last)
    assert rig.breaker.state is HALF_OPEN
    rig.breaker.succeeded(rig.breaker.begin())
    assert rig.breaker.state is CLOSED


@pytest.mark.parametrize("state", [CLOSED, HALF_OPEN])
def test_a_failure_counts_whenever_the_call_began(state: BreakerState) -> None:
    """It is learned now that the component does not answer."""
    rig = Rig()
    slow = rig.breaker.begin()
    rig.bad(4)
    rig.later(COOLDOWN)
    if state is CLOSED:
        rig.good(2)
        rig.bad(3)
    rig.breaker.failed(slow)
    assert rig.breaker.state is OPEN


def test_a_probe_of_an_earlier_phase_holds_no_token_of_this_one() -> None:
    """It hung, the breaker opened, cooled and probes anew; then it comes back after all."""
    rig = _in(HALF_OPEN)
    lost = rig.breaker.begin()
    rig.later(PROBE_NS - 1)
    assert (rig.breaker.state, rig.breaker.hung) == (HALF_OPEN, 0)
    rig.later(1)
    assert (rig.breaker.state, rig.breaker.hung, rig.breaker.why) == (OPEN, 1, "a probe did not come back")
    rig.later(COOLDOWN - 1)
    assert rig.breaker.state is OPEN, "that counts as a failure of this moment"
    rig.later(1)
    probe = rig.breaker.begin()
    rig.breaker.succeeded(lost)
    rig.breaker.abandon(lost)
    assert rig.refusal() is Refusal.HALF_OPEN_EXHAUSTED
    rig.breaker.succeeded(probe)
    rig.good()
    assert rig.breaker.state is CLOSED


def test_the_oldest_probe_is_the_one_that_is_waited_for() -> None:
    """A younger one has its own time; one that came back is not waited for."""
    rig = _in(HALF_OPEN, probes=2, successes=9)
    first = rig.breaker.begin()
    rig.later(PROBE_NS // 2)
    rig.breaker.begin()
    rig.breaker.succeeded(first)
    rig.later(PROBE_NS // 2)
    assert rig.breaker.state is HALF_OPEN
    rig.later(PROBE_NS // 2)
    assert rig.breaker.state is OPEN


@pytest.mark.safety("S2.8")
@pytest.mark.parametrize("state", list(BreakerState))
def test_an_exempt_call_is_never_refused(state: BreakerState) -> None:
    """P37: closed, open, half open with every token taken, and with everything it needs open."""
    need = _in(OPEN).breaker
    rig = Rig(need)
    if state is not CLOSED:
        rig.bad(4, exempt=True)
    if state is HALF_OPEN:
        rig.later(COOLDOWN)
        rig.breaker._probes[10**6] = rig.clock.mono
    before = rig.breaker.refused
    for _ in range(20):
        rig.breaker.begin(exempt=True)
    assert (rig.breaker.state, rig.breaker.refused) == (state, before)
    assert rig.breaker.passed == (0 if state is CLOSED else 20)
    with pytest.raises(BreakerOpenError):
        rig.breaker.begin()


def test_an_exempt_call_takes_no_token() -> None:
    """Cancels that are on their way do not keep the probe from leaving."""
    rig = _in(HALF_OPEN)
    for _ in range(5):
        rig.breaker.begin(exempt=True)
    assert rig.refusal() is None
    rig.breaker.begin()
    assert rig.refusal() is Refusal.HALF_OPEN_EXHAUSTED


def test_what_is_needed_must_be_closed() -> None:
    """The cascade: refused while the other is open, half open as well, and free with its closing."""
    other = Rig()
    rig = Rig(other.breaker)
    rig.good()
    other.bad(4)
    assert rig.refusal() is Refusal.NEEDED_NOT_CLOSED
    with pytest.raises(BreakerOpenError) as refused:
        rig.breaker.begin()
    assert refused.value.refusal is Refusal.NEEDED_NOT_CLOSED
    assert "memory is OPEN, 4 of 4 calls failed" in refused.value.why
    assert rig.breaker.state is CLOSED, "a fault of the other is none of its own"
    other.later(COOLDOWN)
    assert rig.refusal() is Refusal.NEEDED_NOT_CLOSED
    other.good(2)
    assert rig.refusal() is None
    rig.good()
    assert (rig.breaker.refused, rig.breaker.failures) == (1, 0)


def test_its_own_cooldown_is_reported_before_what_it_needs() -> None:
    """Both stand: the one that is over first is not the one that is named."""
    other = Rig()
    rig = Rig(other.breaker)
    rig.bad(4)
    other.bad(4)
    assert rig.refusal() is Refusal.OPEN
    rig.clock.mono += COOLDOWN
    assert rig.refusal() is Refusal.NEEDED_NOT_CLOSED
    assert rig.breaker.describe().count("is OPEN") == 2


def test_a_probe_is_waited_for_longer_than_any_edge_waits() -> None:
    """A slow answer is an answer; only what the edge itself has given up on is lost."""
    assert PROBE_NS == 30 * SECOND
    longest_s = max(paper_client.TOTAL_S, exchange.TOTAL_S)
    assert longest_s * SECOND < PROBE_NS


def test_a_new_breaker_has_nothing_to_tell() -> None:
    """Closed, free, no reason."""
    breaker = Rig().breaker
    assert (breaker.state, breaker.free, breaker.why, breaker.describe()) == (CLOSED, True, "", "")


def test_counters() -> None:
    """CB-14: every call is in exactly one of them."""
    rig = Rig()
    rig.good(3)
    rig.bad(4)
    with pytest.raises(BreakerOpenError):
        rig.breaker.begin()
    rig.good(exempt=True)
    rig.bad(exempt=True)
    found = rig.breaker
    assert (found.successes, found.failures, found.refused, found.passed) == (4, 5, 1, 2)
    assert (found.openings, found.abandoned, found.hung) == (1, 0, 0)


def test_whoever_hears_of_a_change_hears_of_a_breaker_that_has_moved() -> None:
    """CB-07: a listener that raises changes nothing; even without `runtime.breaker_watch` around it."""
    seen: list[tuple[BreakerState, int]] = []

    def raises(change: BreakerChange) -> None:
        seen.append((breaker.state, breaker.openings))
        assert change.component is Component.UPSTREAM
        raise RuntimeError("listener")

    clock = FakeClock()
    breaker = Breaker(Component.UPSTREAM, breaker_settings(min_calls=1), clock.mono_ns, raises)
    with pytest.raises(RuntimeError, match="listener"):
        breaker.failed(breaker.begin())
    assert seen == [(OPEN, 1)]
    clock.mono += COOLDOWN
    with pytest.raises(RuntimeError, match="listener"):
        breaker.settle(clock.mono)
    assert breaker.state is HALF_OPEN
    breaker.succeeded(breaker.begin())
    with pytest.raises(RuntimeError, match="listener"):
        breaker.succeeded(breaker.begin())
    assert [state for state, _ in seen] == [OPEN, HALF_OPEN, CLOSED]
    assert breaker.refusal(clock.mono) is None


ENDS: list[tuple[BaseException | None, str]] = [
    (None, "successes"),
    (TransportError("no answer"), "failures"),
    (PeerError("nonsense"), "failures"),
    (TimeoutError(), "failures"),
    (KeyError("a bug"), "failures"),
    (StoppedAtWire("LATCH_MOVED"), "abandoned"),
    (asyncio.CancelledError(), "abandoned"),
    (KeyboardInterrupt(), "abandoned"),
]


@pytest.mark.parametrize("state", [CLOSED, HALF_OPEN])
@pytest.mark.parametrize(("end", "counted"), ENDS, ids=[type(end).__name__ for end, _ in ENDS])
def test_the_guard_records_how_the_call_ended(
    state: BreakerState, end: BaseException | None, counted: str
) -> None:
    """CB-08: once, and what the call raised reaches its caller."""
    rig = _in(state)
    before = _counts(rig.breaker)
    if end is None:
        with rig.breaker.guard():
            pass
    else:
        with pytest.raises(type(end)) as raised, rig.breaker.guard():
            raise end
        assert raised.value is end
    changed = {name for name, number in _counts(rig.breaker).items() if number != before[name]}
    assert changed == {counted}
    assert _counts(rig.breaker)[counted] == before[counted] + 1


def _counts(breaker: Breaker) -> dict[str, int]:
    names = ("successes", "failures", "refused", "abandoned", "hung", "passed")
    return {name: getattr(breaker, name) for name in names}


def test_a_call_that_came_back_may_still_have_failed() -> None:
    """An answer of 503 is an answer, and a failure."""
    rig = Rig()
    with rig.breaker.guard() as call:
        call.fail()
    assert (rig.breaker.successes, rig.breaker.failures) == (0, 1)


def test_a_refused_call_does_not_begin() -> None:
    """Nothing of it happens, and nothing is recorded but the refusal."""
    rig = _in(OPEN)
    before = _counts(rig.breaker)
    with pytest.raises(BreakerOpenError) as refused, rig.breaker.guard():
        pytest.fail("the call began")
    assert _counts(rig.breaker) == before | {"refused": 1}
    assert isinstance(refused.value, TransportError)
    assert refused.value.sentence() == (
        "calls of memory are refused. OPEN: memory is OPEN, 4 of 4 calls failed, allowed are 50 %. "
        "DO: nothing: it is tried again when the cooldown is over"
    )
    with rig.breaker.guard(exempt=True):
        pass
    assert rig.breaker.passed == 1


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("window_calls", 4, 1_000),
        ("min_calls", 1, 8),
        ("probes", 1, 100),
        ("successes", 1, 100),
        ("window_ns", SECOND, 86_400 * SECOND),
        ("cooldown_ns", SECOND, 3_600 * SECOND),
        ("open_above_ppm", 0, 999_999),
    ],
)
def test_settings_have_bounds(name: str, least: int, most: int) -> None:
    """Both ends are allowed, one beyond is refused by name; min_calls never exceeds the window."""
    for value in (least, least + 1, most - 1, most):
        assert getattr(breaker_settings(**{name: value}), name) == value
    for value in (least - 1, most + 1, -1):
        with pytest.raises(ValueError, match=r"outside of"):
            _settings(**{name: value})


def _settings(**changes: int) -> BreakerSettings:
    """Checked anew: `replace` builds, and so checks, too."""
    values = {name: getattr(breaker_settings(), name) for name in BreakerSettings.__struct_fields__}
    return BreakerSettings(**(values | changes))
