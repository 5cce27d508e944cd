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
