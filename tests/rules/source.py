"""Reads the project's own source for the rules; no rule imports the code it judges."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]

R0 = {"domain", "ports"}
R1 = {"signals", "validation", "risk", "safety", "orders", "portfolio", "audit", "pipeline"}
R1_AND_STORES = {"memory", "learning"}  # modules named *_store.py are R2, all others R1
R2 = {"market", "venues", "storage", "upstream", "gateway", "web"}
R3 = {"runtime", "__main__"}


@dataclass(frozen=True)
class Module:
    """One Python file: its path below the root, dotted name, text and syntax tree."""

    path: Path
    name: str
    text: str
    tree: ast.Module

    @property
    def part(self) -> str:
        """`appliance.risk.gate` → `risk`; `appliance.ports` → `ports`."""
        pieces = self.name.split(".")
        return pieces[1] if len(pieces) > 1 else pieces[0]

    @property
    def layer(self) -> str:
        """R0 to R3; `hardware` is its own layer, the package marker belongs to R0."""
        if self.name.startswith("hardware"):
            return "guard"
        if self.name == "appliance" or self.part in R0:
            return "R0"
        if self.part in R1_AND_STORES:
            return "R2" if self.path.stem.endswith("_store") else "R1"
        for layer, parts in (("R1", R1), ("R2", R2), ("R3", R3)):
            if self.part in parts:
                return layer
        raise AssertionError(f"{self.path}: {self.part} has no layer; name it in tests/rules/source.py")


@cache
def modules(top: str) -> tuple[Module, ...]:
    """Every module below `appliance`, `hardware`, `provisioning` or `tests`."""
    found = []
    for path in sorted((ROOT / top).rglob("*.py")):
        relative = path.relative_to(ROOT)
        dotted = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
        text = path.read_text(encoding="utf-8")
        found.append(Module(relative, dotted, text, ast.parse(text)))
    return tuple(found)


def product() -> tuple[Module, ...]:
    """What ships: appliance, hardware and provisioning."""
    return modules("appliance") + modules("hardware") + modules("provisioning")


def imports(module: Module) -> Iterator[tuple[str, int]]:
    """Dotted names a module imports, with line numbers; `from a import b` yields `a.b`."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno


def functions(module: Module) -> Iterator[tuple[str, int, int]]:
    """(name, line, body lines without the docstring) of every function and method."""
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        body = node.body
        first = body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and len(body) > 1:
            body = body[1:]
        last = body[-1].end_lineno or body[-1].lineno
        yield node.name, node.lineno, last - body[0].lineno + 1
