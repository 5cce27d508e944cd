"""The tables of requirement rows against the tests, as `test_rules_safety` does it for the safety rules."""

from __future__ import annotations

import ast
import re

import pytest

from tests.rules import audit_rows, order_rows
from tests.rules.rule_table import Rule, tell_rules
from tests.rules.source import ROOT, modules

DECISIONS = (ROOT / "appliance/DECISIONS.md").read_text()
TABLES = pytest.mark.parametrize(
    "rows",
    [order_rows.ROWS, audit_rows.ROWS, audit_rows.FAULT_ROWS],
    ids=["orders", "audit", "faults of the audit log"],
)


def known_tests() -> set[str]:
    """`path::name` below tests/ of every test function."""
    return {
        f"{'/'.join(module.path.parts[1:])}::{node.name}"
        for module in modules("tests")
        for node in module.tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def _ids(groups: dict[str, int]) -> list[str]:
    return [f"{group}-{number:02}" for group, most in groups.items() for number in range(1, most + 1)]


def test_every_row_is_there_once() -> None:
    """CB-01 to CB-23 and so on, PRV-01 to AUD-22, the single ones, faults 1 to 17: none left out."""
    assert [row.id for row in order_rows.ROWS] == _ids(order_rows.GROUPS)
    assert [row.id for row in audit_rows.ROWS] == [*_ids(audit_rows.GROUPS), *audit_rows.SINGLE]
    faults = [f"F{number:02}" for number in range(1, audit_rows.FAULTS_OF_THE_DESIGN + 1)]
    assert [row.id for row in audit_rows.FAULT_ROWS] == faults


@TABLES
def test_every_row_is_shown_or_says_why_not(rows: tuple[Rule, ...]) -> None:
    """With tests that exist, or a reason; a decision that is named stands in DECISIONS."""
    known = known_tests()
    for row in rows:
        assert row.tests or len(row.open) > 10, row.id
        assert sorted(set(row.tests) - known) == [], row.id
        assert len(set(row.tests)) == len(row.tests), row.id
        for decision in re.findall(r"\bD\d+", row.open):
            assert f"**{decision} " in DECISIONS, (row.id, decision)


def test_every_fault_is_injected_by_a_test() -> None:
    """What is only partly injected says so besides; none is a reason alone."""
    assert [row.id for row in audit_rows.FAULT_ROWS if not row.tests] == []


@TABLES
def test_the_table_can_be_read_by_people(rows: tuple[Rule, ...]) -> None:
    """`python -m tests.rules.order_rows`, `python -m tests.rules.audit_rows`."""
    assert tell_rules(rows).splitlines()[-1].startswith(f"{len(rows)} rules: ")
