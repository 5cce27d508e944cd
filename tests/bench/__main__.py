"""Benchmarks: `python -m tests.bench NAME --json`. Speed and memory live here, not in tests.

Each prints one object {"bench", "machine", "cases": […]}; times in microseconds, null where something does
not apply. A case is compared with a peer or a floor measured in the same run, because machines are noisy.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys

from tests.bench.measure import machine, table

NAMES = ("kill", "gate", "orders", "fees", "audit", "audit_reading", "startup")


def main() -> int:
    """Runs one benchmark and prints it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, to try it out")
    options = parser.parse_args()
    module = importlib.import_module(f"tests.bench.bench_{options.name}")
    cases = module.run(quick=options.quick)
    found = {"bench": options.name, "machine": machine(), "cases": [case.as_dict() for case in cases]}
    print(json.dumps(found) if options.json else table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
