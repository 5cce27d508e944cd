"""Tables of what must hold and what shows it: one block per rule, read by people and by tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """tests: `path::name` below tests/.  open: why no test shows it, or not the whole of it."""

    id: str
    text: str
    tests: tuple[str, ...] = ()
    open: str = ""


def read_rules(table: str) -> tuple[Rule, ...]:
    """Raises nothing: what is wrong in a table shows in its tests."""
    rules: list[Rule] = []
    for line in filter(str.strip, table.splitlines()):
        if not line.startswith(" "):
            name, _, text = line.partition(" ")
            rules.append(Rule(name, text))
            continue
        last, entry = rules.pop(), line.strip()
        if entry.startswith("open: "):
            rules.append(Rule(last.id, last.text, last.tests, f"{last.open} {entry[6:]}".strip()))
        else:
            rules.append(Rule(last.id, last.text, (*last.tests, entry), last.open))
    return tuple(rules)


def tell_rules(rules: Sequence[Rule]) -> str:
    """Id, state and rule, then what shows it or why it is open."""
    lines = []
    count = {"shown": 0, "part": 0, "open": 0}
    for rule in rules:
        state = "open" if not rule.tests else "part" if rule.open else "shown"
        count[state] += 1
        lines.append(f"{rule.id:<7}{state:<7}{rule.text}")
        lines += [f"{'':14}{test}" for test in rule.tests]
        lines += [f"{'':14}open: {rule.open}"] if rule.open else []
    sums = ", ".join(f"{number} {state}" for state, number in count.items())
    return "\n".join([*lines, f"{len(rules)} rules: {sums}"])
