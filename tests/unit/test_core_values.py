"""Values of risk/, orders/ and safety/: nobody changes one, and nobody mistakes one field for another."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import msgspec
import pytest

from appliance import orders, risk, safety

OWNED = {"Beside", "Case", "Guard", "Known"}
"""Not values: what one owner keeps up to date, or what only looks like another."""

BY_POSITION = {
    "Becomes", "Beside", "Bounds", "Change", "ClockNews", "ClockReading", "Earlier", "Exit", "FeeCheck",
    "Guard", "Judgement", "Mark", "Remembered", "Request", "Room", "Rule", "Sighting", "Stage", "Standing",
    "StandingTrip",
}  # fmt: skip
"""Few fields of different types, or made on every order: the order of the fields is part of what they say."""


MS, SECOND, DAY = 10**6, 10**9, 86_400 * 10**9
FIGURES = {
    "orders.admission.ENTRIES_MAX": 1_024,
    "orders.admission.ENTRIES_MAX_OF_A_SOURCE": 512,
    "orders.booking.KEEP_ENDED": 1_000,
    "orders.costs.MOST_FOLLOWED": 10_000,
    "orders.desk.EXIT_WAIT_NS": 50 * MS,
    "orders.fees.REFRESH_NS": 60 * SECOND,
    "orders.fees.MAX_AGE_NS": 300 * SECOND,
    "orders.fees.TOLERANCE_PPM": 100,
    "orders.reconcile.WINDOW_NS": SECOND,
    "orders.reconcile.MARGIN_NS": SECOND,
    "orders.results.REMEMBERED": 4_096,
    "orders.slicing.MOST_SLICES": 100,
    "orders.slicing.SPARE_PPM": 100_000,
    "orders.slippage.LAST": 32,
    "orders.slippage.ENOUGH": 8,
    "orders.slippage.MOST_PPM": 1_000_000,
    "orders.work.ASKS_PER_ORDER": 1_000_000,
    "risk.breaker.PROBE_NS": 30 * SECOND,
    "risk.exits.SLICES_WITHOUT_LIMIT": 4,
    "risk.exits.WIDEST_COLLAR": 10,
    "risk.exits.COLLAR_WITHOUT_LIMIT_PPM": 50_000,
    "risk.gate.APPROVAL_NS": 250 * MS,
    "risk.levels.STOP_RANGES": 2,
    "risk.levels.REWARDS": 2,
    "risk.shares.SLOW_PPM": 500_000,
    "safety.alert_facts.CORE_LOST_NS": SECOND,
    "safety.alert_facts.GUARD_LOST_NS": 2 * SECOND,
    "safety.alert_facts.START_NS": 30 * SECOND,
    "safety.alert_queue.ROOM": 128,
    "safety.alert_queue.TRIES": 3,
    "safety.alert_queue.RETRY_NS": 10 * SECOND,
    "safety.alerts.QUIET_NS": 2 * SECOND,
    "safety.alerts.SUBJECTS_MAX": 32,
    "safety.clock_watch.STEP_NS": SECOND,
    "safety.clock_watch.UNSYNCHRONISED_NS": 3600 * SECOND,
    "safety.clock_watch.SETTLED_NS": 600 * SECOND,
    "safety.clock_watch.UNRESOLVED_NS": 3600 * SECOND,
    "safety.clock_watch.GAP_NS": 60 * SECOND,
    "safety.clock_watch.NOTED_NS": 100 * MS,
    "safety.clock_watch.SYNC_NEWS_NS": 60 * SECOND,
    "safety.controller.MISMATCH_HOLD_NS": 100 * MS,
    "safety.controller.REFUSED_EVERY_NS": SECOND,
    "safety.disk.UNMEASURED_NS": 60 * SECOND,
    "safety.exits.SWEEP_NS": 2 * SECOND,
    "safety.exits.AT_ONCE": 4,
    "safety.exits.RETRY_NS": SECOND,
    "safety.latch.HEARTBEAT_HOLD_NS": 250 * MS,
    "safety.latch.HEARTBEAT_TRIP_NS": 2 * SECOND,
    "safety.signed_act.WITHIN_NS": 5 * SECOND,
    "safety.standby.CORE_LOST_NS": SECOND,
    "safety.standby.UNMINDED_NS": 30 * SECOND,
    "safety.standby.WINDOW_NS": 2 * SECOND,
    "safety.standby.AGAIN_NS": 250 * MS,
    "safety.standby.CONFIRMED_AGAIN_NS": 5 * SECOND,
}
"""Written a second time: other tests take them from the code they judge. Who changes one means it."""


@pytest.mark.parametrize(("name", "figure"), list(FIGURES.items()))
def test_the_figures_are_those_of_the_design(name: str, figure: int) -> None:
    """Times, counts and shares as SAFETY, CONTROLS and the module's own words say."""
    module, _, constant = name.rpartition(".")
    assert getattr(importlib.import_module(f"appliance.{module}"), constant) == figure


def _structs() -> dict[str, type[msgspec.Struct]]:
    found: dict[str, type[msgspec.Struct]] = {}
    modules = [
        f"{package.__name__}.{module.name}"
        for package in (orders, risk, safety)
        for module in pkgutil.iter_modules(package.__path__)
    ]
    for name in modules:
        for each, kind in inspect.getmembers(importlib.import_module(name), inspect.isclass):
            if issubclass(kind, msgspec.Struct) and kind.__module__ == name:
                assert found.setdefault(each, kind) is kind, "two of one name"
    return found


@pytest.mark.parametrize(("name", "kind"), list(_structs().items()))
def test_a_value_stays_what_it_is(name: str, kind: type[msgspec.Struct]) -> None:
    """A decision that was made is not changed behind somebody's back."""
    assert kind.__struct_config__.frozen is (name not in OWNED)


@pytest.mark.parametrize(("name", "kind"), list(_structs().items()))
def test_fields_that_could_be_confused_are_named(name: str, kind: type[msgspec.Struct]) -> None:
    """Two amounts of one type in the wrong order would be a wrong limit."""
    parameters = inspect.signature(kind).parameters.values()
    named = {each.kind is inspect.Parameter.KEYWORD_ONLY for each in parameters}
    assert named == {name not in BY_POSITION}
