"""What the status page could say at all: its contract, field by field (SAFETY 12)."""

from __future__ import annotations

import msgspec
import pytest

from appliance.domain import status
from appliance.domain.status import Status

FORBIDDEN = ("position", "pnl", "profit", "loss", "equity", "balance", "cash", "exposure", "held", "used")


def _fields(kind: type) -> set[str]:
    """Names of every field, of nested values too."""
    names: set[str] = set()
    parts = [each for each in vars(status).values() if isinstance(each, type) and each is not kind]
    for field in msgspec.structs.fields(kind):
        names.add(field.name)
        for part in parts:
            if issubclass(part, msgspec.Struct) and f".{part.__name__}" in f".{field.type}".replace("'", "."):
                names |= _fields(part)
    return names


@pytest.mark.safety("S12.4")
def test_the_contract_of_the_page_names_no_position_and_no_profit() -> None:
    """No field carries one; limits carry their configured value and nothing of their use."""
    names = _fields(Status)
    assert {"mode", "pattern", "scope", "value", "denied", "witnessed"} <= names, "nested values were visited"
    assert [name for name in names if any(word in name for word in FORBIDDEN)] == []
    assert _fields(status.LimitLine) == {"scope", "name", "value"}
    assert _fields(status.StrategyLine) == {"name", "instrument", "state", "reason", "since_ns"}
