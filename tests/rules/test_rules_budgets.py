"""Size budgets of ARCHITECTURE.md and STYLE.md 1, so that no god object grows."""

from __future__ import annotations

import ast
import statistics

from tests.rules.source import functions, modules, product

MODULE_MAX, MODULE_MEDIAN = 400, 150
TEST_MODULE_MAX = 700
CLASS_MAX = 250
BODY_MAX, BODY_P90 = 60, 25


def _lines(text: str) -> int:
    return text.count("\n")


def test_modules_stay_small() -> None:
    """No module above 400 lines, half of them below 150."""
    sizes = {str(module.path): _lines(module.text) for module in product()}
    assert {path: size for path, size in sizes.items() if size > MODULE_MAX} == {}
    assert statistics.median(size for size in sizes.values() if size > 3) <= MODULE_MEDIAN


def test_test_modules_stay_readable() -> None:
    """Tests may be longer than what they test, not without end."""
    sizes = {str(module.path): _lines(module.text) for module in modules("tests")}
    assert {path: size for path, size in sizes.items() if size > TEST_MODULE_MAX} == {}


def test_functions_stay_small() -> None:
    """No body above 60 lines, nine of ten at most 25."""
    bodies = [
        (size, f"{module.path}:{line} {name}")
        for module in product()
        for name, line, size in functions(module)
    ]
    assert [where for size, where in bodies if size > BODY_MAX] == []
    sizes = sorted(size for size, _ in bodies)
    assert sizes[int(len(sizes) * 0.9)] <= BODY_P90


def test_classes_stay_small() -> None:
    """A class above 250 lines does more than one thing."""
    for module in product():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                size = (node.end_lineno or node.lineno) - node.lineno + 1
                assert size <= CLASS_MAX, f"{module.path}:{node.lineno} {node.name}: {size} lines"
