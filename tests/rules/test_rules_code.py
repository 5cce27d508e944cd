"""Habits that cost money elsewhere (STYLE.md 5), forbidden by inspection."""

from __future__ import annotations

import ast
import re

from tests.rules.source import Module, modules, product

UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")
BROAD_BY_NATURE = {"hardware/board_gpiozero.py"}  # GPIO drivers raise anything; each case ends in a refusal


def _calls(module: Module) -> list[tuple[str, int]]:
    found = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            target = node.func
            name = target.id if isinstance(target, ast.Name) else getattr(target, "attr", "")
            found.append((name, node.lineno))
    return found


def test_approved_is_constructed_in_one_place() -> None:
    """`risk.gate` is the only door: nothing else makes an Approved, copies or decodes one."""
    for module in modules("appliance"):
        if str(module.path) == "appliance/risk/gate.py":
            continue
        for name, line in _calls(module):
            assert name != "Approved", f"{module.path}:{line} constructs Approved"
        assert not re.search(r"(decode|convert|replace)\([^)\n]*\bApproved\b", module.text), module.path


def test_only_the_runtime_catches_broadly() -> None:
    """Below it an exception says something; swallowed, it trades on."""
    for module in product():
        if module.path.parts[:2] == ("appliance", "runtime") or str(module.path) in BROAD_BY_NATURE:
            continue
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = [node.type] if not isinstance(node.type, ast.Tuple) else node.type.elts
            names = {getattr(part, "id", "") for part in caught}
            assert None not in caught, f"{module.path}:{node.lineno} bare except"
            assert not names & {"Exception", "BaseException"}, f"{module.path}:{node.lineno}"


def test_nothing_is_left_unfinished() -> None:
    """An open end belongs into an issue, not into code that holds keys."""
    for module in product():
        assert not UNFINISHED.search(module.text), module.path


def test_no_assert_hides_a_constant() -> None:
    """`assert a == b if c else d` asserts `d` (STYLE.md 5)."""
    for module in modules("tests"):
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Assert):
                assert not isinstance(node.test, ast.IfExp), f"{module.path}:{node.lineno}"


def test_money_is_never_a_float() -> None:
    """No float literal and no float() in the packages that count money or decide."""
    exact = {"domain", "risk", "safety", "orders", "portfolio", "signals", "validation", "audit", "pipeline"}
    for module in modules("appliance"):
        if module.part not in exact:
            continue
        for node in ast.walk(module.tree):
            is_float = isinstance(node, ast.Constant) and isinstance(node.value, float)
            assert not is_float, f"{module.path}:{getattr(node, 'lineno', 0)} float literal"
        assert [line for name, line in _calls(module) if name == "float"] == [], module.path


def test_no_test_sleeps_to_synchronise() -> None:
    """An event tells when something happened; a sleep guesses."""
    for module in modules("tests"):
        if module.path.parts[1] in {"bench", "vm"}:
            continue
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "sleep":
                owner = getattr(getattr(node.func, "value", None), "id", "")
                zero = node.args and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0
                assert owner != "time" or zero, f"{module.path}:{node.lineno}"


def test_every_public_name_is_documented() -> None:
    """Module, class and function docstrings; private names and protocol members may do without."""
    for module in product():
        if module.path.parts[:2] == ("hardware", "stubs"):
            continue
        assert ast.get_docstring(module.tree), module.path
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                documented = node.name.startswith("_") or ast.get_docstring(node)
                assert documented, f"{module.path}:{node.lineno} {node.name}"


def test_no_except_star() -> None:
    """Python 3.11.2, which Debian 12 has, wraps what is raised in one, and its exit code is lost."""
    for module in product():
        assert not [node for node in ast.walk(module.tree) if isinstance(node, ast.TryStar)], module.path
