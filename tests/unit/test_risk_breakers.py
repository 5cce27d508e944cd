"""All breakers together: the cascade's table, the derived global state, what the gate is told."""

from __future__ import annotations

import asyncio
from itertools import product

import pytest

from appliance.domain.breaker import BreakerChange, BreakerState, Component, Refusal
from appliance.domain.intent import Side
from appliance.domain.money import Qty
from appliance.domain.reasons import Reason
from appliance.domain.verdict import Approved, Denied
from appliance.risk.breakers import DEPENDANTS, Breakers, needs_of
from tests.kit import SECOND, Core, FakeClock, breaker_settings

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
COOLDOWN = 10 * SECOND
DECIDE = (Component.ORDER_ENTRY, Component.LOOK_UPS, Component.MARKET)


def _made() -> tuple[Breakers, FakeClock]:
    clock = FakeClock()
    return Breakers(breaker_settings(), clock.mono_ns), clock


def _put(breakers: Breakers, component: Component, state: BreakerState, clock: FakeClock) -> None:
    breaker = breakers[component]
    if state is not CLOSED:
        for _ in range(4):
            breaker.failed(breaker.begin(exempt=True))
    if state is HALF_OPEN:
        breaker.settle(clock.mono + COOLDOWN)
    assert breaker.state is state


def test_the_cascade_is_the_one_of_the_design() -> None:
    """CB-13: memory and upstream stop nobody; nothing depends on order entry."""
    assert DEPENDANTS == {
        Component.ORDER_ENTRY: (),
        Component.LOOK_UPS: (Component.ORDER_ENTRY,),
        Component.MARKET: (Component.ORDER_ENTRY,),
        Component.MEMORY: (),
        Component.UPSTREAM: (),
    }
    assert set(DEPENDANTS) == set(Component), "a new component must be given a row"


def test_needs_are_the_table_read_backwards() -> None:
    """Through any number of steps, each once."""
    assert needs_of(Component.ORDER_ENTRY) == (Component.LOOK_UPS, Component.MARKET)
    assert all(needs_of(each) == () for each in set(Component) - {Component.ORDER_ENTRY})


def test_needs_reach_through_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory → market → order entry: what is two steps away counts as well, and is built before."""
    monkeypatch.setitem(DEPENDANTS, Component.MEMORY, (Component.MARKET,))
    assert needs_of(Component.ORDER_ENTRY) == (Component.LOOK_UPS, Component.MARKET, Component.MEMORY)
    breakers, clock = _made()
    _put(breakers, Component.MEMORY, OPEN, clock)
    assert breakers.refusal(clock.mono) is Refusal.NEEDED_NOT_CLOSED
    assert breakers[Component.MARKET].refusal(clock.mono) is Refusal.NEEDED_NOT_CLOSED
    assert breakers[Component.LOOK_UPS].refusal(clock.mono) is None
    assert (breakers[Component.ORDER_ENTRY].free, breakers.state()) == (False, OPEN)


@pytest.mark.parametrize("states", list(product(BreakerState, repeat=3)), ids=lambda s: " ".join(s))
def test_the_global_state_is_the_worst_of_what_new_exposure_depends_on(
    states: tuple[BreakerState, ...],
) -> None:
    """CB-04: every combination; memory and upstream do not count."""
    breakers, clock = _made()
    for component, state in zip(DECIDE, states, strict=True):
        _put(breakers, component, state, clock)
    for component in (Component.MEMORY, Component.UPSTREAM):
        _put(breakers, component, OPEN, clock)
    worst = OPEN if OPEN in states else HALF_OPEN if HALF_OPEN in states else CLOSED
    assert breakers.state() is worst
    assert breakers[Component.ORDER_ENTRY].free is (worst is CLOSED)
    passes = states[0] is not OPEN and states[1:] == (CLOSED, CLOSED)
    assert (breakers.refusal(clock.mono) is None) is passes
    assert all(each in breakers.describe() for each, s in zip(DECIDE, states, strict=True) if s is not CLOSED)


@pytest.mark.parametrize("component", list(Component))
def test_everybody_hears_of_every_breaker(component: Component) -> None:
    """Opened, half open after the cooldown the safety loop ended, closed again."""
    breakers, clock = _made()
    told: list[BreakerChange] = []
    breakers.tell = told.append
    _put(breakers, component, OPEN, clock)
    clock.mono += COOLDOWN - 1
    breakers.settle(clock.mono)
    assert len(told) == 1
    clock.mono += 1
    breakers.settle(clock.mono)
    for _ in range(2):
        breakers[component].succeeded(breakers[component].begin())
    assert [change.after for change in told] == [OPEN, HALF_OPEN, CLOSED]
    assert {change.component for change in told} == {component}
    assert [change.why for change in told] == [
        "4 of 4 calls failed, allowed are 50 %",
        "the cooldown is over",
        "2 calls ended well",
    ]
    assert breakers[Component.ORDER_ENTRY].free


def test_every_component_has_its_own_breaker() -> None:
    """In the order in which they are shown."""
    breakers, _ = _made()
    assert [each.component for each in breakers] == list(Component)
    assert all(breakers[each].component is each for each in Component)


def test_nobody_needs_to_listen() -> None:
    """Between construction and the wiring a change is told to nobody."""
    breakers, clock = _made()
    _put(breakers, Component.MARKET, OPEN, clock)
    assert not breakers[Component.ORDER_ENTRY].free


def _check(core: Core, side: Side = Side.BUY) -> Approved | Denied:
    return core.gate.check(core.intent(side=side, qty=Qty(100)))


@pytest.mark.parametrize("component", list(Component))
def test_the_gate_denies_by_what_new_exposure_depends_on(component: Component) -> None:
    """With its own code and the numbers; memory and upstream deny nothing (ARCHITECTURE, failures)."""
    core = Core()
    asyncio.run(core.hold_position(1_000))
    _put(core.breakers, component, OPEN, core.clock)
    verdict = _check(core)
    if component in DECIDE:
        assert isinstance(verdict, Denied)
        assert verdict.reason is Reason.BREAKER_OPEN
        failed = 3 if component is Component.ORDER_ENTRY else 4  # the entry of the position went well
        assert verdict.detail == f"{component} is OPEN, {failed} of 4 calls failed, allowed are 50 %"
    else:
        assert isinstance(verdict, Approved)
    assert isinstance(_check(core, Side.SELL), Approved)


def test_the_gate_lets_a_probe_of_order_entry_through_and_no_second() -> None:
    """Half open: the order is the probe; while it is on its way the next one waits."""
    core = Core()
    asyncio.run(core.market(100_000))
    _put(core.breakers, Component.ORDER_ENTRY, OPEN, core.clock)
    core.clock.mono += COOLDOWN - 1
    core.guard.heartbeat_ns = core.clock.mono
    assert isinstance(_check(core), Denied)
    core.clock.mono += 1
    assert isinstance(_check(core), Approved), "by time alone, before the safety loop looked"
    ticket = core.breakers[Component.ORDER_ENTRY].begin()
    verdict = _check(core)
    assert isinstance(verdict, Denied)
    assert verdict.reason is Reason.BREAKER_OPEN
    core.breakers[Component.ORDER_ENTRY].succeeded(ticket)
    assert isinstance(_check(core), Approved)


@pytest.mark.parametrize("component", [Component.LOOK_UPS, Component.MARKET])
def test_half_open_is_not_enough_for_what_is_needed(component: Component) -> None:
    """Look-ups and steps prove it; an order is not what tries it out."""
    core = Core()
    asyncio.run(core.market(100_000))
    _put(core.breakers, component, HALF_OPEN, core.clock)
    verdict = _check(core)
    assert isinstance(verdict, Denied)
    assert verdict.reason is Reason.BREAKER_OPEN
    for _ in range(2):
        core.breakers[component].succeeded(core.breakers[component].begin(exempt=True))
    assert isinstance(_check(core), Approved)
