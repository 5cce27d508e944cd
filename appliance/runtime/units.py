"""Quantities with units, as configuration writes them; a bare number where a unit is needed is refused.

`"2 %"`, `"5 bp"`, `"300 ppm"` are shares, and rates, which may be negative: `"-0.5 bp"`; `"250 ms"`,
`"10 d"` durations; `"25000 USD"` an amount; `"4 GB"` (4,000,000,000 bytes) and `"16 MiB"` sizes.
"""

from __future__ import annotations

import re
from typing import Any

from appliance.domain.money import AMOUNT_EXP, parse_scaled

_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z%/]+)\s*")
_SHARE_EXP = {"%": 4, "bp": 2, "ppm": 0}
_DURATION_NS = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "min": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}


_SIZE = {
    "B": 1,
    "kB": 1_000,
    "MB": 1_000_000,
    "GB": 1_000_000_000,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
}


class Share(int):
    """Parts per million."""


class Rate(int):
    """Parts per million; negative is what is paid to us, such as a rebate."""


class Duration(int):
    """Nanoseconds."""


class Size(int):
    """Bytes."""


class Money(int):
    """An amount, in units of 10^-10; `currency` is what was written behind it."""

    currency = ""


def _split(value: object, example: str) -> tuple[str, str]:
    if not isinstance(value, str):
        raise ValueError(f"needs a unit, such as {example!r}, not the bare {value!r}")  # noqa: TRY004
    match = _QUANTITY.fullmatch(value)
    if match is None:
        raise ValueError(f"is no quantity with a unit, such as {example!r}: {value!r}")
    return match[1], match[2]


def parse_share(value: object) -> Share:
    """`"2 %"` → 20,000. Raises ValueError, also for more than millionths."""
    number, unit = _split(value, "2 %")
    if unit not in _SHARE_EXP:
        raise ValueError(f"unit {unit!r} is none of {', '.join(_SHARE_EXP)}")
    return Share(parse_scaled(number, _SHARE_EXP[unit]))


def parse_rate(value: object) -> Rate:
    """`"10 bp"` → 1,000, `"-0.5 bp"` → −50. Raises ValueError."""
    if isinstance(value, str) and value.lstrip().startswith("-"):
        return Rate(-parse_share(value.lstrip()[1:]))
    return Rate(parse_share(value))


def parse_duration(value: object) -> Duration:
    """`"250 ms"` → 250,000,000. Raises ValueError."""
    number, unit = _split(value, "250 ms")
    if unit not in _DURATION_NS:
        raise ValueError(f"unit {unit!r} is none of {', '.join(_DURATION_NS)}")
    whole, _, fraction = number.partition(".")
    scaled = int(whole + fraction) * _DURATION_NS[unit]
    if scaled % 10 ** len(fraction):
        raise ValueError(f"is finer than a nanosecond: {value!r}")
    return Duration(scaled // 10 ** len(fraction))


def parse_size(value: object) -> Size:
    """`"4 GB"` → 4,000,000,000. Raises ValueError."""
    number, unit = _split(value, "4 GB")
    if unit not in _SIZE:
        raise ValueError(f"unit {unit!r} is none of {', '.join(_SIZE)}")
    whole, _, fraction = number.partition(".")
    scaled = int(whole + fraction) * _SIZE[unit]
    if scaled % 10 ** len(fraction):
        raise ValueError(f"is finer than a byte: {value!r}")
    return Size(scaled // 10 ** len(fraction))


def parse_money(value: object) -> Money:
    """`"25000 USD"` → 25,000 × 10^10 with its currency. Raises ValueError."""
    number, unit = _split(value, "25000 USD")
    if not re.fullmatch(r"[A-Z]{3,5}", unit):
        raise ValueError(f"currency {unit!r} is not written in 3 to 5 capital letters")
    money = Money(parse_scaled(number, AMOUNT_EXP))
    money.currency = unit
    return money


def parse_speed(value: object) -> int | str:
    """`"max"`, `"20x"` (times real time) or `"30 d/s"` (recorded time per second), as seconds per second."""
    if value == "max":
        return "max"
    if isinstance(value, str) and re.fullmatch(r"[1-9][0-9]*\s*x", value):
        return int(value.rstrip("x ").strip())
    number, unit = _split(value, "30 d/s")
    base = unit.removesuffix("/s")
    if base == unit or base not in _DURATION_NS:
        raise ValueError(f'is none of "max", "20x" or "30 d/s": {value!r}')
    speed = parse_duration(f"{number} {base}") // _DURATION_NS["s"]
    if speed < 1:
        raise ValueError(f"is slower than real time: {value!r}")
    return speed


def decode_hook(kind: type, value: object) -> Any:
    """msgspec's hook for the types of this module."""
    parsers: dict[type, Any] = {
        Share: parse_share,
        Rate: parse_rate,
        Duration: parse_duration,
        Money: parse_money,
        Size: parse_size,
    }
    if kind not in parsers:
        raise TypeError(f"no parser for {kind.__name__}")
    return parsers[kind](value)
