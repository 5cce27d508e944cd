"""What the LEDs show: a literal table of what stands, and the patterns as on/off times (SAFETY 11).

| stands                              | green | yellow | red    |
|-------------------------------------|-------|--------|--------|
| FAULT: guard or board failed        | off   | steady | steady |
| TRIPPING: tripped, not yet stored   | off   | off    | fast   |
| EMERGENCY: tripped, stored          | off   | off    | slow   |
| TRIPPED: stored, positions held     | off   | slow   | double |
| CORE_LOST: no heartbeat for 0.8 s   | off   | fast   | off    |
| REDUCED                             | off   | double | off    |
| PAUSED: not armed                   | off   | slow   | off    |
| HOLD: armed, new exposure waits     | pulse | slow   | off    |
| NORMAL                              | pulse | off    | off    |

No steady light ever means healthy: green exists only as a pulse, and each pulse needs a new heartbeat of
the loop that reads the lines. A trip of a box whose core is lost keeps its red pattern and shows yellow fast.
FAULT is steady because it must also be shown by nobody: `ExecStopPost=` leaves it behind a dead guard.
"""

from __future__ import annotations

from enum import Enum, IntEnum


class Pattern(IntEnum):
    """Numbers are published in the guard page."""

    OFF = 0
    PULSE = 1
    SLOW = 2
    FAST = 3
    DOUBLE = 4
    STEADY = 5


TIMES_MS: dict[Pattern, tuple[int, ...]] = {
    Pattern.OFF: (0, 1000),
    Pattern.PULSE: (80, 920),
    Pattern.SLOW: (500, 500),
    Pattern.FAST: (100, 100),
    Pattern.DOUBLE: (120, 160, 120, 600),
    Pattern.STEADY: (1000, 0),
}
"""Alternating milliseconds on and off, repeated."""


class Stands(Enum):
    """What the lights have to say, most urgent first."""

    FAULT = "FAULT"
    TRIPPING = "TRIPPING"
    TRIPPING_CORE_LOST = "TRIPPING_CORE_LOST"
    EMERGENCY_CORE_LOST = "EMERGENCY_CORE_LOST"
    EMERGENCY = "EMERGENCY"
    TRIPPED_CORE_LOST = "TRIPPED_CORE_LOST"
    TRIPPED = "TRIPPED"
    CORE_LOST = "CORE_LOST"
    REDUCED = "REDUCED"
    PAUSED = "PAUSED"
    HOLD = "HOLD"
    NORMAL = "NORMAL"


LIGHTS: dict[Stands, tuple[Pattern, Pattern, Pattern]] = {
    Stands.FAULT: (Pattern.OFF, Pattern.STEADY, Pattern.STEADY),
    Stands.TRIPPING: (Pattern.OFF, Pattern.OFF, Pattern.FAST),
    Stands.TRIPPING_CORE_LOST: (Pattern.OFF, Pattern.FAST, Pattern.FAST),
    Stands.EMERGENCY_CORE_LOST: (Pattern.OFF, Pattern.FAST, Pattern.SLOW),
    Stands.EMERGENCY: (Pattern.OFF, Pattern.OFF, Pattern.SLOW),
    Stands.TRIPPED_CORE_LOST: (Pattern.OFF, Pattern.FAST, Pattern.DOUBLE),
    Stands.TRIPPED: (Pattern.OFF, Pattern.SLOW, Pattern.DOUBLE),
    Stands.CORE_LOST: (Pattern.OFF, Pattern.FAST, Pattern.OFF),
    Stands.REDUCED: (Pattern.OFF, Pattern.DOUBLE, Pattern.OFF),
    Stands.PAUSED: (Pattern.OFF, Pattern.SLOW, Pattern.OFF),
    Stands.HOLD: (Pattern.PULSE, Pattern.SLOW, Pattern.OFF),
    Stands.NORMAL: (Pattern.PULSE, Pattern.OFF, Pattern.OFF),
}
"""(green, yellow, red). Every row differs in position or rhythm, so that colour is never needed."""


def is_lit(pattern: Pattern, at_ms: int) -> bool:
    """Whether a pattern that started at 0 is lit at `at_ms`."""
    times = TIMES_MS[pattern]
    rest = at_ms % sum(times)
    for index, length in enumerate(times):
        if rest < length:
            return index % 2 == 0
        rest -= length
    raise AssertionError("unreachable: rest is smaller than the sum")


def until_change_ms(pattern: Pattern, at_ms: int) -> int:
    """Milliseconds from `at_ms` to the next boundary of a pattern that started at 0; at least 1."""
    times = TIMES_MS[pattern]
    rest = at_ms % sum(times)
    for length in times:
        if rest < length:
            return length - rest
        rest -= length
    raise AssertionError("unreachable: rest is smaller than the sum")
