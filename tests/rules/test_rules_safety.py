"""The table of safety rules against the tests: a rule is shown by tests that name it, or open and why."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

from tests.rules.rule_table import Rule
from tests.rules.safety_rules import RULES, SECTIONS, table
from tests.rules.source import ROOT, Module, modules


def _of(section: str) -> list[Rule]:
    return [rule for rule in RULES if re.split(r"[.-]", rule.id)[0] == section]


def _marked(module: Module) -> dict[str, set[str]]:
    """Test function → rule ids in its `@pytest.mark.safety(…)`."""
    found: dict[str, set[str]] = {}
    for node in module.tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        ids = found.setdefault(node.name, set())
        for mark in node.decorator_list:
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.safety":
                ids |= {ast.literal_eval(argument) for argument in mark.args}
    return found


MARKED = {
    f"{'/'.join(module.path.parts[1:])}::{name}": ids
    for module in modules("tests")
    for name, ids in _marked(module).items()
    if name.startswith("test_")
}


def test_every_rule_is_written_once_and_numbered_without_gaps() -> None:
    """S1.1, S1.2, …; HW-01 to HW-24: a rule that is missing silently leaves a hole."""
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert {re.split(r"[.-]", rule.id)[0] for rule in RULES} == set(SECTIONS)
    for section in SECTIONS:
        numbers = [int(re.split(r"[.-]", rule.id)[1]) for rule in _of(section)]
        assert numbers == list(range(1, len(numbers) + 1)), section
    assert len(_of("HW")) == 24
    assert all(rule.text for rule in RULES)


def test_no_section_of_the_design_is_left_out() -> None:
    """SAFETY 1 to 8, 10, 11 and 12, each with at least as many rules as it has sentences that bind."""
    least = {"S1": 30, "S2": 14, "S3": 22, "S4": 7, "S5": 8, "S6": 13, "S7": 9, "S8": 11, "S10": 5, "S11": 6}
    assert {section: len(_of(section)) >= number for section, number in least.items()} == dict.fromkeys(
        least, True
    )


def test_every_rule_is_shown_or_says_why_not() -> None:
    """Neither empty nor with a reason of one word."""
    for rule in RULES:
        assert rule.tests or len(rule.open) > 10, rule.id
        assert len(set(rule.tests)) == len(rule.tests), rule.id


def test_every_named_test_exists_and_names_the_rule() -> None:
    """Both ways: what the table names carries the id, and what carries an id is in the table."""
    named = {(test, rule.id) for rule in RULES for test in rule.tests}
    missing = sorted(test for test, _ in named if test not in MARKED)
    assert missing == []
    marked = {(test, each) for test, ids in MARKED.items() for each in ids}
    assert sorted(named - marked) == []
    assert sorted(marked - named) == []


def test_every_named_test_is_collected() -> None:
    """By pytest itself: a file or a name it does not see would show nothing."""
    files = sorted({test.partition("::")[0] for rule in RULES for test in rule.tests})
    plain = ("-o", "addopts=-p no:cacheprovider --strict-markers", "--collect-only", "-q")
    command = [sys.executable, "-m", "pytest", *plain, *(f"tests/{file}" for file in files)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert found.returncode == 0, found.stdout + found.stderr
    seen = {line.partition("[")[0].removeprefix("tests/") for line in found.stdout.splitlines()}
    assert sorted({test for rule in RULES for test in rule.tests} - seen) == []


def test_the_table_can_be_read_by_people() -> None:
    """`python -m tests.rules.safety_rules`."""
    text = table()
    assert text.splitlines()[-1].startswith(f"{len(RULES)} rules: ")
    assert all(rule.text in text for rule in RULES)
