"""The lane: `python -m tests.mutation [--share PERCENT] [--seed N] [--workers N] [module …]`.

Draws mutants by seed, runs the tests of each, and says which survived. Exit 1 below 90 % killed; survivors
explained in survivors.txt count as killed: nothing could have noticed them.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutation.mutants import Mutant, modules, mutants
from tests.processes import ROOT

LEAST = 0.90
TIMEOUT_S = 300
SLOW = ("tests.box", "tests.processes", "tests.upstream_support")
"""Test modules that start whole appliances are left out unless they name the module: they take minutes."""


def tests_of(path: Path) -> list[str]:
    """Test files for a module: those that import it, then those about its package, then the whole core."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    first, second, third = [], [], []
    for folder in ("unit", "property", "flow", "contract", "faults"):
        for file in sorted((ROOT / "tests" / folder).glob("test_*.py")):
            text = file.read_text("utf-8")
            shown = str(file.relative_to(ROOT))
            if name in text:
                first.append(shown)
            elif any(slow in text for slow in SLOW):
                continue
            elif name.rpartition(".")[0] in text:
                second.append(shown)
            elif "tests.kit" in text:
                third.append(shown)
    return [*first, *second, *third]


def survives(mutant: Mutant) -> tuple[Mutant, bool]:
    """Whether every test passes with it. A mutant that hangs is noticed."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    command += ["-p", "tests.mutation.plugin", "-m", "not long and not vm", *tests_of(ROOT / mutant.path)]
    env = os.environ | {"INTERLOCK_MUTANT": mutant.name, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return mutant, False
    return mutant, done.returncode == 0


def explained() -> set[tuple[str, str, str]]:
    """(path, source line, change) of survivors.txt."""
    found = set()
    for line in Path(__file__).with_name("survivors.txt").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            path, source, what, _ = (part.strip() for part in line.split(" | "))
            found.add((path, source, what))
    return found


def source_of(mutant: Mutant) -> str:
    """The line that is changed."""
    return (ROOT / mutant.path).read_text("utf-8").splitlines()[mutant.line - 1].strip()


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--share", type=float, default=3, help="percent of all mutants (default 3)")
    parser.add_argument("--seed", type=int, default=0, help="0 draws one and prints it")
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    parser.add_argument("modules", nargs="*", help="such as appliance/risk/pace.py; default: all")
    options = parser.parse_args()
    seed = options.seed or random.SystemRandom().randrange(1, 1 << 32)
    paths = [(ROOT / name).resolve() for name in options.modules] or modules()
    everything = [mutant for path in paths for mutant in mutants(path)]
    count = max(1, round(len(everything) * options.share / 100))
    drawn = random.Random(seed).sample(everything, count)
    print(f"{count} of {len(everything)} mutants, --seed {seed}", flush=True)
    known, began, survivors, equal = explained(), time.monotonic(), [], 0
    with ThreadPoolExecutor(options.workers) as pool:
        for done, (mutant, alive) in enumerate(pool.map(survives, drawn), 1):
            if alive and (mutant.path, source_of(mutant), mutant.what) in known:
                equal += 1
            elif alive:
                survivors.append(mutant)
                print(f"survived: {mutant.path}:{mutant.line} {mutant.what}: {source_of(mutant)}", flush=True)
            if done % 10 == 0:
                left_s = (time.monotonic() - began) / done * (count - done)
                print(f"  {done}/{count}, {len(survivors)} survived, {left_s / 60:.0f} min left", flush=True)
    score = 1 - len(survivors) / count
    print(f"killed {count - len(survivors) - equal}, equal {equal}, survived {len(survivors)}: {score:.1%}")
    return 0 if score >= LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
