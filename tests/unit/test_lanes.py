"""The lanes' own judgement: which tests reach a module, and what a report of branches says is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.coverage import missing, unseen
from tests.mutation import contexts
from tests.mutation.__main__ import explained, source_of
from tests.mutation.mutants import Mutant, modules, mutants
from tests.processes import ROOT
from tests.reach import fast_tests, files_that_reach, reached
from tests.rules.source import modules as sources


def _report(**file: list[Any]) -> dict[str, Any]:
    return {"files": {"appliance/risk/a.py": {"missing_lines": [], "missing_branches": []} | file}}


@pytest.mark.parametrize(
    ("report", "lines"),
    [
        (_report(), []),
        (_report(missing_lines=[9, 7]), [":7 never runs", ":9 never runs"]),
        (_report(missing_branches=[[3, 5]]), [":3 never goes on to line 5"]),
        (_report(missing_branches=[[3, -1]]), [":3 never leaves its function from here"]),
        (_report(missing_lines=[3], missing_branches=[[3, 5], [3, 4]]), [":3 never runs"]),
    ],
)
def test_a_branch_no_test_took_is_told_once_by_its_line(report: dict[str, Any], lines: list[str]) -> None:
    """A line that never runs has no branches of its own to tell."""
    assert missing(report) == [f"appliance/risk/a.py{line}" for line in lines]


def test_a_module_that_was_not_measured_is_not_covered() -> None:
    """A report of fewer files than there are says so for each."""
    everything: dict[str, object] = {str(path.relative_to(ROOT)): {} for path in modules()}
    assert unseen({"files": everything}) == []
    del everything["appliance/risk/gate.py"]
    assert unseen({"files": everything}) == ["appliance/risk/gate.py was not measured"]


def test_reach_goes_through_the_kits_and_stops_at_whole_appliances() -> None:
    """test_core_two_sided imports the core by its kits only; test_appliance starts processes."""
    assert "appliance.risk.gate" in reached("tests.property.test_core_two_sided")
    found = files_that_reach(("appliance.risk",))
    assert "tests/property/test_core_two_sided.py" in found
    assert "tests/unit/test_guard_latch.py" in fast_tests()
    assert "tests/unit/test_guard_latch.py" not in found
    assert "tests/flow/test_appliance.py" not in fast_tests()


@pytest.mark.parametrize(
    ("line", "lines"), [(3, [3]), (4, [4, 5]), (5, [4, 5]), (6, [6]), (7, [7, 8, 9]), (9, [7, 8, 9])]
)
def test_a_mutant_meets_the_tests_of_its_whole_statement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: int, lines: list[int]
) -> None:
    """Of a compound statement its head alone: the line of a change need not be one that is measured."""
    text = "\n\ndef f(a, b):\n    if (a\n            or b):\n        return 1\n    return max(\n"
    text += "        a,\n        b)\n"
    (tmp_path / "m.py").write_text(text)
    monkeypatch.setattr(contexts, "ROOT", tmp_path)
    assert list(contexts.lines_of(Mutant("m.py", 0, line, ""))) == lines


def test_what_is_explained_is_still_there() -> None:
    """A line of survivors.txt whose source or change is gone explains nothing."""
    every = {(each.path, source_of(each), each.what) for path in modules() for each in mutants(path)}
    assert explained() <= every


def test_nothing_of_the_core_is_excused_from_measurement() -> None:
    """Neither coverage nor mutation is told to look away."""
    for module in sources("appliance"):
        assert "pragma: no" not in module.text, module.path
