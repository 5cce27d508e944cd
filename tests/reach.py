"""Which test files reach a module: by what they import, themselves or through other modules of the tests."""

from __future__ import annotations

import ast
from functools import cache

from tests.rules.source import modules

FOLDERS = ("unit", "flow", "contract", "property", "faults")  # quickest first
WHOLE = ("tests.box", "tests.upstream_support")
"""Modules that start whole appliances: what reaches them takes minutes."""


@cache
def imports() -> dict[str, frozenset[str]]:
    """Module of the tests → everything it names in an import, at any depth of its code; `from a import b` is
    both a and a.b, since b may be a module."""
    found: dict[str, frozenset[str]] = {}
    for module in modules("tests"):
        names: set[str] = set()
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Import):
                names |= {each.name for each in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                names |= {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
        found[module.name] = frozenset(names)
    return found


@cache
def reached(module: str) -> frozenset[str]:
    """What a module of the tests imports, with all that those of the tests among it import."""
    known, found, waiting = imports(), set[str](), [module]
    while waiting:
        new = known.get(waiting.pop(), frozenset()) - found
        found |= new
        waiting += [each for each in new if each in known]
    return frozenset(found)


@cache
def fast_tests() -> dict[str, str]:
    """Path from the root → module, of every test file that starts no whole appliance."""
    return {
        str(module.path): module.name
        for folder in FOLDERS
        for module in modules("tests")
        if module.path.parts[1] == folder
        and module.path.name.startswith("test_")
        and reached(module.name).isdisjoint(WHOLE)
    }


def files_that_reach(packages: tuple[str, ...]) -> list[str]:
    """Fast test files that import something of these packages, such as `appliance.risk`."""
    return [
        path
        for path, module in fast_tests().items()
        if any(name == each or name.startswith(f"{each}.") for name in reached(module) for each in packages)
    ]
