"""The legend of the lights as an SVG, drawn from `hardware.lights`: position, rhythm, words, colour."""

from __future__ import annotations

from hardware.lights import LIGHTS, TIMES_MS, Pattern, Stands

MEANING: dict[Stands, str] = {
    Stands.NORMAL: "armed; orders that pass every check are sent",
    Stands.HOLD: "armed; new exposure waits for a hold to end by itself",
    Stands.PAUSED: "not armed: no new exposure, positions are held",
    Stands.REDUCED: "working exposure down",
    Stands.TRIPPING: "tripped, not yet stored: keep the power on",
    Stands.EMERGENCY: "tripped, stored: cancelling and liquidating",
    Stands.TRIPPED: "tripped, stored: positions are held",
    Stands.CORE_LOST: "the trading process does not answer",
    Stands.TRIPPING_CORE_LOST: "tripped, not yet stored, and no trading process",
    Stands.EMERGENCY_CORE_LOST: "emergency, and no trading process",
    Stands.TRIPPED_CORE_LOST: "tripped, and no trading process",
    Stands.FAULT: "nobody watches the button: guard or board failed",
}
_COLORS = ("#2ecc71", "#f1c40f", "#ff5a52")
_NAMES = ("green", "yellow", "red")
_SHOWN_MS = 2_000
_ROW, _LEFT, _LAMP = 44, 218, 130


_WIDTH = 1040
_STYLE = (
    "text{font:14px system-ui,sans-serif;fill:#d8dee9}.h{font-weight:600;fill:#9aa5b8}"
    ".s{font:600 13px ui-monospace,monospace}.p{font-size:11px;fill:#9aa5b8}"
)


def draw_legend() -> str:
    """One row per state of the box; two seconds of each lamp."""
    height = 64 + _ROW * len(MEANING)
    rows = "".join(_row(index, stands, text) for index, (stands, text) in enumerate(MEANING.items()))
    heads = "".join(_head(_LEFT + column * _LAMP, name) for column, name in enumerate(_NAMES))
    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n'
        "<title>What the three lights say: two seconds of each, from the guard's own table</title>\n"
        f"<style>{_STYLE}</style>\n"
        f'<rect width="{_WIDTH}" height="{height}" rx="12" fill="#11151d"/>\n'
        f"{_head(24, 'state')}{heads}{_head(_LEFT + 3 * _LAMP + 8, 'meaning')}\n{rows}</svg>\n"
    )


def _head(x: int, name: str) -> str:
    return f'<text x="{x}" y="40" class="h">{name}</text>'


def _row(index: int, stands: Stands, text: str) -> str:
    y = 60 + index * _ROW
    name = stands.value.replace("_", " ").lower()
    lamps = "".join(
        _lamp(_LEFT + column * _LAMP, y, pattern, _COLORS[column])
        for column, pattern in enumerate(LIGHTS[stands])
    )
    return (
        f'<line x1="24" x2="1016" y1="{y}" y2="{y}" stroke="#232a36"/>'
        f'<text x="24" y="{y + 27}" class="s">{name}</text>{lamps}'
        f'<text x="{_LEFT + 3 * _LAMP + 8}" y="{y + 27}">{text}</text>\n'
    )


def _lamp(x: int, y: int, pattern: Pattern, color: str) -> str:
    width = _LAMP - 24
    bars = []
    at = 0
    times = TIMES_MS[pattern]
    while at < _SHOWN_MS:
        for number, length in enumerate(times):
            shown = min(length, _SHOWN_MS - at)
            if number % 2 == 0 and shown > 0:
                left, wide = x + width * at / _SHOWN_MS, max(2.0, width * shown / _SHOWN_MS)
                place = f'x="{left:.1f}" y="{y + 9}" width="{wide:.1f}" height="12"'
                bars.append(f'<rect {place} rx="2" fill="{color}"/>')
            at += length
            if at >= _SHOWN_MS:
                break
    line = f'<line x1="{x}" x2="{x + width}" y1="{y + 22}" y2="{y + 22}" stroke="#566074"/>'
    return f'{line}{"".join(bars)}<text x="{x}" y="{y + 37}" class="p">{pattern.name.lower()}</text>'
