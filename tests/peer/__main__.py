"""`python -m tests.peer`: the four cells, and every class of disagreement with its count."""

from __future__ import annotations

from collections import Counter

from appliance.domain.verdict import Denied
from tests.peer.stream import disagreements
from tests.peer.test_peer_differential import GAPS, walk


def _table() -> str:
    answers = walk()
    cells = Counter((isinstance(each.ours, Denied), bool(each.theirs)) for each in answers)
    found = Counter(gap for each in disagreements(answers) for gap in GAPS if gap.explains(each))
    lines = [
        f"{len(answers)} orders",
        f"both let through {cells[False, False]}, both deny {cells[True, True]}",
        f"only we deny {cells[True, False]}, only they deny {cells[False, True]}",
    ]
    for gap in GAPS:
        who = "we deny" if gap.we_deny else "they deny"
        lines.append(f"{found[gap]:5}  {who}, {gap.name} (CONTROLS {gap.control}): {gap.why}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(_table())
