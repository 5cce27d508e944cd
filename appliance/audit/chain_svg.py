"""A story as a picture: one self-contained SVG, no script, no font file, legible printed in black and white.

A box per entry, indented by depth, with a line from its cause. What was asked about has a thick frame, a
denial a dashed one, so that nothing depends on colour. All text is escaped; long text is broken, never cut.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from xml.sax.saxutils import escape

from appliance.audit.chain_words import Row, Stamp, Story

_WIDTH = 1060
_MARGIN = 20
_INDENT = 28
_MAX_LEVELS = 12
"""Deeper boxes are not moved further to the right; their line from above still is."""

_LINE = 18
_PAD = 9
_GAP = 12
_CHAR = 8
"""Width in units of a character of the monospaced face at 13 px, rounded up."""

_UNWRITABLE = re.compile("[\x00-\x1f\ud800-\udfff\ufffe\uffff]")
_FACE = "ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace"
_BOLD = ' font-weight="bold"'
_LOOK = f'font-family="{_FACE}" font-size="13" fill="#111"'
"""Attributes and no style sheet: the page's policy takes none that stands inside a document."""


def svg(story: Story, stamp: Stamp, times: dict[int, int]) -> str:
    """The picture. times: UTC nanoseconds of every entry."""
    parts: list[str] = []
    y = _MARGIN + _LINE
    parts.append(f'<text font-size="17"{_BOLD} x="{_MARGIN}" y="{y}">{_safe(story.title)}</text>')
    y += _GAP
    for name, text in story.facts:
        for at, line in enumerate(_broken(text, _WIDTH - 2 * _MARGIN - 80)):
            y += _LINE
            head = f"<tspan{_BOLD}>{_safe(name)}</tspan>" if at == 0 else ""
            parts.append(f'<text x="{_MARGIN}" y="{y}">{head}<tspan x="100">{_safe(line)}</tspan></text>')
    y += 2 * _GAP
    placed: list[tuple[int, int]] = []  # per level: left edge and middle of the latest box
    for row in story.rows:
        box, y = _box(row, stamp(times[row.index]), y, placed)
        parts += box
    for note in story.notes:
        for line in _broken(f"note: {note}", _WIDTH - 2 * _MARGIN):
            y += _LINE
            parts.append(f'<text{_BOLD} x="{_MARGIN}" y="{y}">{_safe(line)}</text>')
    height = y + _MARGIN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" role="img" {_LOOK}><title>{_safe(story.title)}</title>'
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>'
    )
    return head + "".join(parts) + "</svg>\n"


def _box(row: Row, when: str, y: int, placed: list[tuple[int, int]]) -> tuple[list[str], int]:
    """The parts of one box and where the next one begins."""
    level = len(row.rails)
    x = _MARGIN + _INDENT * min(level, _MAX_LEVELS)
    room = _WIDTH - _MARGIN - x - 2 * _PAD
    again = " (shown above)" if row.again else ""
    lines = [(line, True) for line in _broken(f"#{row.index} {row.kind}: {row.title}{again}", room)]
    lines += [(line, False) for detail in (when, *row.details) for line in _broken(detail, room)]
    height = _LINE * len(lines) + 2 * _PAD
    line = ' stroke="#000" stroke-width="3"' if row.focus else ' stroke="#444"'
    line += ' stroke-dasharray="6 4"' if row.title.startswith("DENIED") else ""
    parts = []
    middle = y + _PAD + _LINE // 2
    if level and len(placed) >= level:
        left, bottom = placed[level - 1]
        parts.append(f'<path fill="none" stroke="#777" d="M{left + 12} {bottom}V{middle}H{x}"/>')
    width = _WIDTH - _MARGIN - x
    parts.append(f'<rect fill="#fff"{line} x="{x}" y="{y}" width="{width}" height="{height}" rx="4"/>')
    for at, (text, bold) in enumerate(lines):
        parts.append(
            f'<text{_BOLD if bold else ""} x="{x + _PAD}" y="{y + _PAD + _LINE * (at + 1) - 5}">'
            f"{_safe(text)}</text>"
        )
    del placed[level:]
    placed.append((x, y + height))
    return parts, y + height + _GAP


def _broken(text: str, room: int) -> Iterator[str]:
    yield from textwrap.wrap(text, max(20, room // _CHAR)) or [""]


def _safe(text: str) -> str:
    """Escaped, and without the few characters XML has no way to write."""
    return escape(_UNWRITABLE.sub("\ufffd", text), {'"': "&quot;"})
