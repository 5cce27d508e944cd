"""WCAG 2.2 AA contrast of every pair of colours the page combines, computed from style.css."""

from __future__ import annotations

import re

import pytest

from appliance.web.assets import assets

CSS = assets()["style.css"].body.decode()
TEXT, GRAPHIC = 4.5, 3.0

PAIRS = [
    *[(ink, ground, TEXT) for ink in ("ink", "soft") for ground in ("paper", "panel")],
    *[(ink, ground, TEXT) for ink in ("ink", "soft") for ground in ("warn-tint", "stop-tint")],
    ("warn", "panel", TEXT),
    ("warn", "warn-tint", TEXT),
    ("stop", "panel", TEXT),
    ("stop", "stop-tint", TEXT),
    *[(ink, "plate", TEXT) for ink in ("plate-ink", "plate-soft")],
    ("bar", "panel", GRAPHIC),
    ("bar", "track", GRAPHIC),
    ("edge", "paper", GRAPHIC),
    ("edge", "panel", GRAPHIC),
    ("warn-line", "warn-tint", GRAPHIC),
    ("stop-line", "stop-tint", GRAPHIC),
    ("ring", "plate", GRAPHIC),
]
HERO = [
    (f"{kind}-{ink}", f"{kind}-hero", TEXT) for kind in ("calm", "warn", "stop") for ink in ("ink", "soft")
]
LIT = [
    *[
        (color, ground, GRAPHIC)
        for color in ("green", "yellow", "red")
        for ground in ("plate", f"{color}-dark")
    ],
    ("beat", "paper", GRAPHIC),
    ("beat", "calm-hero", GRAPHIC),
]
LOST_HERO = [("hero-ink", "hero", TEXT), ("hero-soft", "hero", TEXT), ("hero-rim", "paper", GRAPHIC)]


def _palette(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block))


def _palettes() -> dict[str, dict[str, str]]:
    dark = r"@media \(prefers-color-scheme: dark\) {\n  :root"
    (light_block,) = re.findall(r"^:root {\n(.*?)^}", CSS, re.DOTALL | re.MULTILINE)
    (dark_block,) = re.findall(dark + r" {\n(.*?)\n  }", CSS, re.DOTALL)
    (lost_block,) = re.findall(r'^:root\[data-link="lost"\] {\n(.*?)^}', CSS, re.DOTALL | re.MULTILINE)
    (dark_lost_block,) = re.findall(dark + r'\[data-link="lost"\] {\n(.*?)\n  }', CSS, re.DOTALL)
    light, lost = _palette(light_block), _palette(lost_block)
    return {
        "light": light,
        "dark": light | _palette(dark_block),
        "lost": light | lost,
        "lost-dark": light | _palette(dark_block) | lost | _palette(dark_lost_block),
    }


PALETTES = _palettes()


def _luminance(color: str) -> float:
    """WCAG 2.2, definition of relative luminance."""

    def linear(part: str) -> float:
        value = int(part, 16) / 255
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(color[at : at + 2]) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_formula_is_right() -> None:
    """Black on white is 21; #767676 on white is the well-known 4.54."""
    assert round(_contrast("#000000", "#ffffff"), 2) == 21.0
    assert round(_contrast("#767676", "#ffffff"), 2) == 4.54


@pytest.mark.parametrize("name", PALETTES)
def test_every_pair_is_readable(name: str) -> None:
    """Text 4.5 : 1, meaningful graphics 3 : 1, in both schemes and without connection."""
    palette = PALETTES[name]
    pairs = PAIRS + (LOST_HERO if name.startswith("lost") else HERO + LIT)
    low = {
        f"{ink} on {ground}": round(_contrast(palette[ink], palette[ground]), 2)
        for ink, ground, least in pairs
        if _contrast(palette[ink], palette[ground]) < least
    }
    assert low == {}


@pytest.mark.parametrize("name", ["lost", "lost-dark"])
def test_a_page_that_is_not_connected_has_no_colour(name: str) -> None:
    """Every colour the page still uses is a grey; the mode's own colours are not reachable then."""
    by_mode = {key for key in PALETTES[name] if key.split("-")[0] in {"calm", "warn", "stop"}} - {
        "warn", "warn-line", "warn-tint", "stop", "stop-line", "stop-tint",
    }  # fmt: skip
    for key, color in PALETTES[name].items():
        if key not in by_mode:
            assert color[1:3] == color[3:5] == color[5:7], f"--{key}: {color}"
    assert {"hero", "hero-ink", "hero-soft", "hero-rim"} <= set(PALETTES[name])


def test_no_colour_is_written_outside_the_palettes() -> None:
    """A colour in a rule would escape this test and the loss of colour."""
    rules = re.sub(r"--[a-z-]+: #[0-9a-f]{6};", "", CSS)
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b|\brgba?\(|\bhsla?\(|oklch|color-mix", rules) == []
    assert re.findall(r":[^;{}]*\b(?:red|green|yellow|white|black|gr[ae]y|orange)\b[^;{}]*;", rules) == [
        ": var(--green);", ": var(--green-dark);", ": var(--yellow);", ": var(--yellow-dark);",
        ": var(--red);", ": var(--red-dark);",
    ]  # fmt: skip
