"""Time stamps of data files as UTC nanoseconds, exactly (CONVENTIONS, Units and time)."""

from __future__ import annotations

import re
from datetime import date

DAY_NS = 86_400_000_000_000
LAST_NS = 2**63 - 1

_EPOCH = date(1970, 1, 1).toordinal()
_CLOCK = re.compile(r"(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(?:Z|\+00:?00)?", re.ASCII)
_EPOCH_UNIT_NS = {13: 1_000_000, 16: 1_000, 19: 1}
"""Digits of an epoch from 2001 to 2262 in ms, µs and ns. Ten digits could be seconds or anything else."""


def parse_time_ns(text: str) -> int:
    """UTC nanoseconds of `text`.

    Understood: `2008-10-15`, `20081015` and `10/15/2008` (month first), each optionally followed by a blank
    or `T` and `HH:MM[:SS[.fraction]]`, with `Z`, `+00:00` or nothing, which also means UTC; an epoch of 13,
    16 or 19 digits in ms, µs or ns. Raises ValueError for anything else, other zones and years before 1970
    included.
    """
    if text.isascii() and text.isdigit() and len(text) in _EPOCH_UNIT_NS:
        return _bounded(int(text) * _EPOCH_UNIT_NS[len(text)], text)
    day, mark, clock = text.partition("T" if "T" in text else " ")
    days = _days(day, text)
    return _bounded(days * DAY_NS + (_clock_ns(clock, text) if mark else 0), text)


def _days(day: str, text: str) -> int:
    if len(day) == 10 and day[4] == day[7] == "-":
        parts = (day[:4], day[5:7], day[8:])
    elif "/" in day:
        month, _, rest = day.partition("/")
        of_month, _, year = rest.partition("/")
        parts = (year, month, of_month)
    elif len(day) == 8:
        parts = (day[:4], day[4:6], day[6:])
    else:
        raise ValueError(f"not a date: {text!r}")
    if not all(part.isascii() and part.isdigit() for part in parts) or len(parts[0]) != 4:
        raise ValueError(f"not a date: {text!r}")
    try:
        return date(int(parts[0]), int(parts[1]), int(parts[2])).toordinal() - _EPOCH
    except ValueError as error:
        raise ValueError(f"not a date: {text!r}, {error}") from error


def _clock_ns(clock: str, text: str) -> int:
    match = _CLOCK.fullmatch(clock)
    if match is None:
        raise ValueError(f"not a time of day in UTC: {text!r}")
    hours, minutes, seconds = int(match[1]), int(match[2]), int(match[3] or 0)
    if hours > 23 or minutes > 59 or seconds > 59:
        raise ValueError(f"not a time of day in UTC: {text!r}")
    fraction_ns = int((match[4] or "").ljust(9, "0"))
    return ((hours * 60 + minutes) * 60 + seconds) * 1_000_000_000 + fraction_ns


def _bounded(value_ns: int, text: str) -> int:
    if not 0 <= value_ns <= LAST_NS:
        raise ValueError(f"outside 1970 to 2262: {text!r}")
    return value_ns
