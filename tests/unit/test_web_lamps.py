"""The lamps on the page blink as those on the box: style.css against the guard's own table."""

from __future__ import annotations

import re

import pytest

from appliance.web.assets import assets
from hardware.lights import TIMES_MS, Pattern, is_lit

CSS = assets()["style.css"].body.decode()
BLINKING = [Pattern.PULSE, Pattern.SLOW, Pattern.FAST, Pattern.DOUBLE]


def _keyframes(name: str) -> list[tuple[float, int]]:
    """(share of the period, opacity) of a step-end animation."""
    (body,) = re.findall(rf"@keyframes {name} {{ ((?:\d+% {{ opacity: [01]; }} ?)+)}}", CSS)
    return [(int(at) / 100, int(on)) for at, on in re.findall(r"(\d+)% { opacity: ([01]); }", body)]


def _period_ms(name: str) -> int:
    (period,) = re.findall(
        rf'\[data-pattern="{name}"\] \.glow {{ animation: {name} (\d+)ms step-end infinite; }}', CSS
    )
    return int(period)


@pytest.mark.parametrize("pattern", BLINKING)
def test_animation_is_lit_exactly_when_the_lamp_is(pattern: Pattern) -> None:
    """Every millisecond of two seconds."""
    name = pattern.name.lower()
    period_ms, frames = _period_ms(name), _keyframes(name)
    for at_ms in range(2_000):
        within = (at_ms % period_ms) / period_ms
        lit = [on for start, on in frames if start <= within][-1]
        assert lit == is_lit(pattern, at_ms), f"{name} at {at_ms} ms"


@pytest.mark.parametrize("pattern", BLINKING)
def test_drawn_rhythm_shows_the_same_times(pattern: Pattern) -> None:
    """The static drawing is one second wide and is the only rhythm a reader without motion gets."""
    name = pattern.name.lower()
    (gradient,) = re.findall(rf'\[data-pattern="{name}"\] {{ --rhythm: (.*?); }}', CSS)
    ends = [int(end) / 100 for end in re.findall(r"(\d+)%", gradient)]
    times = [ms / 1_000 for ms in TIMES_MS[pattern]]
    so_far, expected = 0.0, []
    for length in times:
        so_far += length
        expected.append(round(so_far, 3))
    if pattern is not Pattern.FAST:
        expected = expected[:-1]  # the last stop is the end of the drawing
    assert ends == expected
    assert gradient.startswith("repeating-") == (pattern is Pattern.FAST)


@pytest.mark.safety("S11.1")
def test_steady_is_lit_and_off_is_dark() -> None:
    """Steady is the fault pattern: no animation may make it look alive."""
    assert '[data-pattern="steady"] .glow { opacity: 1; }' in CSS
    assert '[data-pattern="off"]' not in CSS.split("/* A lamp that may not blink")[0]
    assert TIMES_MS[Pattern.STEADY][1] == TIMES_MS[Pattern.OFF][0] == 0
