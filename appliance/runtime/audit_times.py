"""A point in time as a person writes it on the command line: `2h` ago, or a date and time in UTC."""

from __future__ import annotations

import re

from appliance.domain.errors import UsageError
from appliance.market.times import parse_time_ns

_UNITS_NS = {"s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86_400 * 10**9, "w": 7 * 86_400 * 10**9}
_AGO = re.compile(r"([0-9]{1,9}) ?([smhdw])", re.ASCII)
_HOW = "write 30m, 2h, 7d (before now), or 2026-11-21 or 2026-11-21T14:30:00Z, which is UTC"


def parse_moment(text: str, now_ns: int, option: str) -> int:
    """UTC nanoseconds. option: for the UsageError, which any other text raises."""
    if text == "now":
        return now_ns
    if ago := _AGO.fullmatch(text):
        return now_ns - int(ago[1]) * _UNITS_NS[ago[2]]
    try:
        return parse_time_ns(text)
    except ValueError as error:
        raise UsageError(f"{option} is no time", str(error), _HOW) from error
