"""What a mutant is: one operator, constant or condition of one module changed. No file is ever written: the
mutated module is compiled in the memory of the process that tests it.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.processes import ROOT

PACKAGES = ("risk", "orders", "safety")

_COMPARE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_BINARY: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
}


class Mutant(NamedTuple):
    """path: of the module, from the root.  number: of the change, in the order of `changes`."""

    path: str
    number: int
    line: int
    what: str

    @property
    def name(self) -> str:
        """As the lane prints it and as the environment hands it over."""
        return f"{self.path}:{self.number}"


def modules() -> list[Path]:
    """What is mutated."""
    found = (path for name in PACKAGES for path in (ROOT / "appliance" / name).glob("*.py"))
    return sorted(path for path in found if path.name != "__init__.py")


def mutants(path: Path) -> list[Mutant]:
    """Every change of one module."""
    tree = ast.parse(path.read_text("utf-8"))
    shown = str(path.relative_to(ROOT))
    return [Mutant(shown, n, line, what) for n, (line, what, _) in enumerate(changes(tree))]


def mutated(source: str, number: int) -> ast.Module:
    """The module with one change."""
    tree = ast.parse(source)
    for at, (_, _, apply) in enumerate(changes(tree)):
        if at == number:
            apply()
            return ast.fix_missing_locations(tree)
    raise ValueError(f"there is no change {number}")


class _Set:
    """Sets one field of one node."""

    def __init__(self, node: ast.AST, field: str, value: object) -> None:
        self._node, self._field, self._value = node, field, value

    def __call__(self) -> None:
        setattr(self._node, self._field, self._value)


def changes(tree: ast.Module) -> Iterator[tuple[int, str, _Set]]:
    """(line, what, how) of every change, in a fixed order. Docstrings, annotations and texts stay."""
    for node in _code(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Compare):
            for at, op in enumerate(node.ops):
                other = _COMPARE[type(op)]
                ops = [*node.ops[:at], other(), *node.ops[at + 1 :]]
                yield line, f"{type(op).__name__} → {other.__name__}", _Set(node, "ops", ops)
        elif isinstance(node, ast.BoolOp):
            other_op: ast.boolop = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield line, f"{type(node.op).__name__} → {type(other_op).__name__}", _Set(node, "op", other_op)
        elif isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
            arithmetic = _BINARY[type(node.op)]
            what = f"{type(node.op).__name__} → {arithmetic.__name__}"
            yield line, what, _Set(node, "op", arithmetic())
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            double = ast.UnaryOp(ast.Not(), copy.deepcopy(node.operand))
            yield line, "not … → …", _Set(node, "operand", double)
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
            yield line, f"{node.value} → {not node.value}", _Set(node, "value", not node.value)
        elif isinstance(node, ast.Constant) and isinstance(node.value, int):
            yield line, f"{node.value} → {node.value + 1}", _Set(node, "value", node.value + 1)


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """Depth first, without annotations, decorators, and the bodies of protocols."""
    if isinstance(node, ast.ClassDef) and any(ast.unparse(base) == "Protocol" for base in node.bases):
        return
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "bases"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _code(child)
