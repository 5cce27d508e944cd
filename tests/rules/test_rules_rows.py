"""The table of requirement rows against the tests, as `test_rules_safety` does it for the safety rules."""

from __future__ import annotations

import ast
import re

from tests.rules.order_rows import GROUPS, ROWS
from tests.rules.rule_table import tell_rules
from tests.rules.source import ROOT, modules

DECISIONS = (ROOT / "appliance/DECISIONS.md").read_text()


def known_tests() -> set[str]:
    """`path::name` below tests/ of every test function."""
    return {
        f"{'/'.join(module.path.parts[1:])}::{node.name}"
        for module in modules("tests")
        for node in module.tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def test_every_row_is_there_once() -> None:
    """CB-01 to CB-23 and so on, none left out."""
    wanted = [f"{group}-{number:02}" for group, most in GROUPS.items() for number in range(1, most + 1)]
    assert [row.id for row in ROWS] == wanted


def test_every_row_is_shown_or_says_why_not() -> None:
    """With tests that exist, or a reason; a decision that is named stands in DECISIONS."""
    known = known_tests()
    for row in ROWS:
        assert row.tests or len(row.open) > 10, row.id
        assert sorted(set(row.tests) - known) == [], row.id
        for decision in re.findall(r"\bD\d+", row.open):
            assert f"**{decision} " in DECISIONS, (row.id, decision)


def test_the_table_can_be_read_by_people() -> None:
    """`python -m tests.rules.order_rows`."""
    assert tell_rules(ROWS).splitlines()[-1].startswith(f"{len(ROWS)} rules: ")
