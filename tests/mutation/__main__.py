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
from tests.reach import fast_tests, imports, reached

LEAST = 0.90
TIMEOUT_S = 300


def files_for(path: Path) -> list[str]:
    """Fast test files for a module: those that import it, by name first; then those that reach its package;
    then those of the whole core. None starts an appliance: that takes as long as all the others."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    ranked: list[list[str]] = [[], [], [], []]
    for shown, module in fast_tests().items():
        found, own = reached(module), imports()[module]
        package = name.rpartition(".")[0] + "."
        if name in own:
            ranked[0].append(shown)
        elif name in found:
            ranked[1].append(shown)
        elif any(each.startswith(package) for each in found):
            ranked[2].append(shown)
        elif "tests.kit" in found:
            ranked[3].append(shown)
    return [shown for rank in ranked for shown in rank]


def survives(mutant: Mutant) -> tuple[Mutant, bool]:
    """Whether every test passes with it. A mutant that hangs is noticed."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    command += ["-p", "tests.mutation.plugin", "-m", "not long and not vm", *files_for(ROOT / mutant.path)]
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
