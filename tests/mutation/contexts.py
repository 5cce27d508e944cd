"""Which tests run a line: measured once, so that a mutant meets those alone that could notice it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

from coverage import CoverageData

from tests.mutation.mutants import PACKAGES, Mutant
from tests.processes import ROOT
from tests.reach import fast_tests, files_that_reach, imports

SETTINGS = """
[tool.coverage.run]
source = [{sources}]
dynamic_context = "test_function"
disable_warnings = ["no-data-collected"]
patch = ["subprocess"]
"""
_DRAWN = "hypothesis."
"""What hypothesis draws runs in functions of its own: its lines are those of all property tests."""


class Stages(NamedTuple):
    """Arguments for pytest: the unit tests first, since most mutants are noticed there; then all others."""

    first: list[str]
    second: list[str]


def measure(folder: Path, workers: int) -> bool:
    """Runs every fast test that reaches the packages, without a mutant; False if one of them fails."""
    settings, env = folder / "settings.toml", os.environ | {"COVERAGE_FILE": str(folder / "data")}
    sources = ", ".join(f'"appliance/{name}"' for name in PACKAGES)
    settings.write_text(SETTINGS.format(sources=sources), "utf-8")
    coverage = [sys.executable, "-m", "coverage"]
    tests = ["-m", "pytest", "-q", "-n", str(workers), "--dist", "loadfile", "-m", "not long and not vm"]
    files = files_that_reach(tuple(f"appliance.{name}" for name in PACKAGES))
    with (folder / "output").open("wb") as output:
        command = [*coverage, "run", f"--rcfile={settings}", *tests, *files]
        done = subprocess.run(command, cwd=ROOT, env=env, stdout=output, stderr=output, check=False)
    if done.returncode:
        print((folder / "output").read_text("utf-8", "replace")[-4000:])
        return False
    subprocess.run([*coverage, "combine", "--quiet", f"--rcfile={settings}"], cwd=ROOT, env=env, check=True)
    return True


class Lines:
    """What `measure` found. A line that runs outside of any test, at import above all, concerns every one."""

    def __init__(self, folder: Path) -> None:
        self._data = CoverageData(str(folder / "data"))
        self._data.read()

    def stages(self, mutant: Mutant) -> Stages:
        """Those that run the changed statement, or every test that reaches its package."""
        by_line = self._data.contexts_by_lineno(str(ROOT / mutant.path))
        contexts = {each for line in lines_of(mutant) for each in by_line.get(line, ())}
        files = {module: path for path, module in fast_tests().items()}
        if not contexts or "" in contexts:
            package = ".".join(Path(mutant.path).parent.parts)
            chosen = dict.fromkeys(files_that_reach((package,)))
        else:
            own = sorted(each for each in contexts if not each.startswith(_DRAWN))
            drawn = _property_tests() if len(own) < len(contexts) else []
            chosen = dict.fromkeys([*(_node(each, files) for each in own), *drawn])
        unit = [each for each in chosen if each.startswith("tests/unit/")]
        return Stages(unit, [each for each in chosen if each not in unit])


def lines_of(mutant: Mutant) -> range:
    """Lines of the smallest statement that holds the change; of a compound one its head."""
    tree = ast.parse((ROOT / mutant.path).read_text("utf-8"))
    found = range(mutant.line, mutant.line + 1)
    for node in ast.walk(tree):  # breadth first: what is found last is the smallest
        if isinstance(node, ast.stmt) and node.lineno <= mutant.line <= (node.end_lineno or node.lineno):
            body = getattr(node, "body", None)
            last = body[0].lineno - 1 if body else node.end_lineno or node.lineno
            if mutant.line <= max(last, node.lineno):
                found = range(node.lineno, max(last, node.lineno) + 1)
    return found


def _node(context: str, files: dict[str, str]) -> str:
    """`tests.unit.test_x.test_y` → `tests/unit/test_x.py::test_y`; of anything else its file."""
    module, _, name = context.rpartition(".")
    if module in files:
        return f"{files[module]}::{name}"
    return next(path for each, path in files.items() if context.startswith(f"{each}."))


@cache
def _property_tests() -> list[str]:
    """Fast files that use hypothesis."""
    reaching = files_that_reach(tuple(f"appliance.{name}" for name in PACKAGES))
    return [path for path in reaching if "hypothesis" in imports()[fast_tests()[path]]]
