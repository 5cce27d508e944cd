"""The lane: `python -m tests.mutation [--share PERCENT] [--seed N] [--workers N] [module …]`.

Draws mutants by seed, runs the tests of each, and says which survived. Exit 1 below 90 % killed; survivors
explained in survivors.txt count as killed: nothing could have noticed them. Exit 2 if tests fail without one.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import pytest

from tests.mutation.contexts import Lines, measure
from tests.mutation.mutants import Mutant, modules, mutants
from tests.processes import ROOT

LEAST = 0.90
TIMEOUT_S = 400  # four times what all of them take


def survives(mutant: Mutant, lines: Lines) -> tuple[Mutant, bool]:
    """Whether every test passes with it that runs what it changes."""
    return mutant, all(passes(stage, mutant.name) for stage in lines.stages(mutant) if stage)


def passes(tests: list[str], mutant: str) -> bool:
    """Whether these tests pass with a mutant. One that hangs is noticed, and so is one nobody can import.
    RuntimeError if pytest itself could not run: that says nothing."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--assert=plain", "-p", "no:cacheprovider"]
    command += ["-p", "tests.mutation.plugin", "-m", "not long and not vm", *tests]
    env = os.environ | {"INTERLOCK_MUTANT": mutant, "PYTHONDONTWRITEBYTECODE": ""}
    try:
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return False
    known = done.returncode in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, -signal.SIGALRM)
    if not known and b"ERROR collecting" not in done.stdout:
        raise RuntimeError(f"pytest ended with {done.returncode}: {done.stdout.decode()[-2000:]}")
    return done.returncode == pytest.ExitCode.OK


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


def _ask(drawn: list[Mutant], lines: Lines, workers: int) -> tuple[int, int]:
    """(survivors, survivors that are explained); says each of the former."""
    known, began, survivors, equal = explained(), time.monotonic(), 0, 0
    with ThreadPoolExecutor(workers) as pool:
        asked = [pool.submit(survives, mutant, lines) for mutant in drawn]
        for done, each in enumerate(as_completed(asked), 1):
            mutant, alive = each.result()
            if alive and (mutant.path, source_of(mutant), mutant.what) in known:
                equal += 1
            elif alive:
                survivors += 1
                print(f"survived: {mutant.path}:{mutant.line} {mutant.what}: {source_of(mutant)}", flush=True)
            if done % 10 == 0:
                left_s = (time.monotonic() - began) / done * (len(drawn) - done)
                print(f"  {done}/{len(drawn)}, {survivors} survived, {left_s / 60:.0f} min left", flush=True)
    return survivors, equal


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
    with tempfile.TemporaryDirectory() as folder:
        # Compiled once for all of them, beside the checkout; a mutant is compiled by itself and never kept.
        os.environ["PYTHONPYCACHEPREFIX"] = str(Path(folder) / "compiled")
        print("looking which tests run which line", flush=True)
        if not measure(Path(folder), options.workers):
            print("tests fail without a mutant, so nothing can be said. DO: bash tests/run.sh --fast")
            return 2
        survivors, equal = _ask(drawn, Lines(Path(folder)), options.workers)
    score = 1 - survivors / count
    print(f"killed {count - survivors - equal}, equal {equal}, survived {survivors}: {score:.1%}")
    return 0 if score >= LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
