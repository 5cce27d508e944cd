"""What an order costs, against open orders and against instruments: the result of `orders` as an SVG.

    python -m tests.bench orders --json > orders.json
    python -m tests.bench.curve orders.json          writes tests/pictures/orders-cost.svg

The grey line is the floor of the same run: a hundred additions, measured in turns with all points.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from html import escape
from math import log10
from pathlib import Path
from typing import Any

PICTURE = Path(__file__).parents[1] / "pictures" / "orders-cost.svg"

_CASE = re.compile(r"(?P<what>.+), (?P<orders>\d+) open orders, (?P<instruments>\d+) instruments")
_FLOOR = re.compile(r"floor: ")
_COLORS = {"check + state + ledger": "#2ecc71", "sent, accepted, ended": "#5dade2"}
_WIDTH, _HEIGHT = 1040, 420
_TOP, _BOTTOM, _PANEL, _LEFTS = 84, 350, 400, (84, 588)
_STYLE = (
    "text{font:14px system-ui,sans-serif;fill:#d8dee9}.h{font-weight:600;fill:#9aa5b8}"
    ".p{font-size:11px;fill:#9aa5b8}.e{text-anchor:end}.m{text-anchor:middle}"
)

Line = list[tuple[int, float]]


def read_lines(found: Mapping[str, Any], axis: str) -> dict[str, Line]:
    """(x, p50 in µs) of every kind of case along "orders" or "instruments"; the other number is the one at
    which most were measured. Raises ValueError for a result without such cases."""
    other = "instruments" if axis == "orders" else "orders"
    told = found.get("cases", ())
    cases = [(match, case) for case in told if (match := _CASE.fullmatch(case["case"]))]
    if not cases:
        raise ValueError("no case tells of open orders and instruments: not a result of `orders`")
    reach: dict[int, set[str]] = {}
    for match, _ in cases:
        reach.setdefault(int(match[other]), set()).add(match[axis])
    fixed = max(sorted(reach), key=lambda number: len(reach[number]))
    lines: dict[str, Line] = {}
    for match, case in cases:
        if int(match[other]) == fixed:
            lines.setdefault(match["what"], []).append((int(match[axis]), case["p50"]))
    return {what: sorted(line) for what, line in lines.items()}


def draw_curve(found: Mapping[str, Any]) -> str:
    """The picture of one JSON result. Raises ValueError if it is another benchmark's."""
    panels = [read_lines(found, axis) for axis in ("orders", "instruments")]
    floors = [case["p50"] for case in found["cases"] if _FLOOR.match(case["case"])]
    values = [value for lines in panels for line in lines.values() for _, value in line]
    top = _round_up(max([*values, *floors]))
    kinds = list(dict.fromkeys(what for lines in panels for what in lines))
    names = [(what, _COLORS.get(what, "#f1c40f")) for what in kinds]
    legend = [*names, ("floor: 100 additions", "#566074")] if floors else names
    body = "".join(
        _panel(left, lines, floors[:1], top, title)
        for left, lines, title in zip(_LEFTS, panels, ("open orders", "instruments"), strict=True)
    )
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n'
        "<title>What an order costs against how many are open, and against how many instruments there are"
        "</title>\n"
        f"<style>{_STYLE}</style>\n"
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" rx="12" fill="#11151d"/>\n'
        f"{_legend(legend)}{body}"
        f'<text x="24" y="{_HEIGHT - 16}" class="p">{escape(str(found["machine"]))}</text>\n</svg>\n'
    )


def _panel(left: int, lines: Mapping[str, Line], floors: Sequence[float], top: float, title: str) -> str:
    xs = sorted({x for line in lines.values() for x, _ in line})
    decades = max(1.0, log10(xs[-1] / xs[0]))

    def place(x: int, value: float) -> tuple[float, float]:
        return left + _PANEL * log10(x / xs[0]) / decades, _BOTTOM - (_BOTTOM - _TOP) * value / top

    parts = [f'<text x="{left + _PANEL / 2}" y="{_BOTTOM + 38}" class="h m">{title}</text>']
    for step in range(5):
        value = top * step / 4
        y = place(xs[0], value)[1]
        parts.append(f'<line x1="{left}" x2="{left + _PANEL}" y1="{y:.1f}" y2="{y:.1f}" stroke="#232a36"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" class="p e">{value:g} µs</text>')
    parts += [f'<text x="{place(x, 0)[0]:.1f}" y="{_BOTTOM + 18}" class="p m">{x:,}</text>' for x in xs]
    for value in floors:
        y = place(xs[0], value)[1]
        parts.append(f'<line x1="{left}" x2="{left + _PANEL}" y1="{y:.1f}" y2="{y:.1f}" stroke="#566074"/>')
    for what, line in lines.items():
        parts.append(_line([place(x, value) for x, value in line], _COLORS.get(what, "#f1c40f")))
    return "\n".join(parts) + "\n"


def _line(points: Sequence[tuple[float, float]], color: str) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{color}"/>' for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>{dots}'


def _legend(names: Sequence[tuple[str, str]]) -> str:
    parts = ['<text x="24" y="36" class="h">an order, p50</text>']
    for index, (what, color) in enumerate(names):
        x = 180 + index * 240
        parts.append(f'<rect x="{x}" y="26" width="18" height="4" rx="2" fill="{color}"/>')
        parts.append(f'<text x="{x + 26}" y="36">{escape(what)}</text>')
    return "".join(parts) + "\n"


def _round_up(value: float) -> float:
    """The next of 4, 8, 12, 20, 40, 80, …: four steps of it are round numbers."""
    step = 1.0
    while True:
        for top in (4 * step, 8 * step, 12 * step, 20 * step):
            if value <= top:
                return top
        step *= 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the picture; 1 for a file that is no result of `orders`."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.curve", description=__doc__)
    parser.add_argument("result", type=Path, help="what `tests.bench orders --json` printed")
    parser.add_argument("--to", type=Path, default=PICTURE, help="another place for the picture")
    options = parser.parse_args(arguments)
    try:
        picture = draw_curve(json.loads(options.result.read_text("utf-8")))
    except ValueError as error:
        print(f"{options.result}: {error}", file=sys.stderr)
        return 1
    options.to.write_text(picture, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
