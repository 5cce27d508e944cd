"""The lane: `python -m tests.coverage [--workers N]`. Is every branch of risk/, orders/ and safety/ taken?

Runs the fast tests that reach the three (tests.reach) under `coverage`, settings in pyproject.toml, with the
processes those tests start. Prints what no test took, by file:line; exit 1 below 100 %, or the code of
the tests where one of them fails.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.mutation.mutants import PACKAGES, modules
from tests.processes import ROOT
from tests.reach import files_that_reach


def missing(report: Mapping[str, Any]) -> list[str]:
    """What was not taken, out of coverage's JSON report: a line each, in the order of the files.

    A branch whose line never runs at all is told by its line alone; a jump to a negative line leaves the
    function that begins there.
    """
    found = []
    for path, file in sorted(report["files"].items()):
        never = set(file["missing_lines"])
        found += [(path, line, "never runs") for line in never]
        for line, to in file["missing_branches"]:
            if line not in never:
                where = f"goes on to line {to}" if to > 0 else "leaves its function from here"
                found.append((path, line, f"never {where}"))
    return [f"{path}:{line} {what}" for path, line, what in sorted(found)]


def unseen(report: Mapping[str, Any]) -> list[str]:
    """Modules the report says nothing of: what was not measured is not covered."""
    expected = {str(path.relative_to(ROOT)) for path in modules()}
    return [f"{path} was not measured" for path in sorted(expected - report["files"].keys())]


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.coverage", description=__doc__)
    parser.add_argument("--workers", default=os.environ.get("INTERLOCK_TEST_WORKERS", "3"), help="default 3")
    options, more = parser.parse_known_args()
    files = files_that_reach(tuple(f"appliance.{name}" for name in PACKAGES))
    with tempfile.TemporaryDirectory() as folder:
        env = os.environ | {"COVERAGE_FILE": str(Path(folder) / "data")}
        coverage = [sys.executable, "-m", "coverage"]
        tests = ["-m", "pytest", "-n", options.workers, "--dist", "loadfile", "-m", "not long and not vm"]
        done = subprocess.run([*coverage, "run", *tests, *files, *more], cwd=ROOT, env=env, check=False)
        if done.returncode:
            return done.returncode
        subprocess.run([*coverage, "combine", "--quiet"], cwd=ROOT, env=env, check=True)
        told = Path(folder) / "report.json"
        command = [*coverage, "json", "--quiet", "-o", str(told)]
        subprocess.run(command, cwd=ROOT, env=env, check=True)
        report = json.loads(told.read_text("utf-8"))
    lacking = unseen(report) + missing(report)
    for each in lacking:
        print(each)
    sums = report["totals"]
    taken = sums["covered_lines"] + sums["covered_branches"]
    wanted = sums["num_statements"] + sums["num_branches"]
    print(f"{taken} of {wanted} lines and branches, {len(lacking)} lacking")
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main())
