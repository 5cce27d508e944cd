"""How values are written on the page: UTC with Z, thousands with commas, two-part durations."""

from __future__ import annotations

import re
from datetime import UTC, datetime

NEVER = "never"
UNREADABLE = "unreadable time"
MAX_CHARS = 400

_LAST_S = 253_402_300_799  # 9999-12-31T23:59:59 Z
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters
    "\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff"  # invisible, line-breaking, direction-changing
    "\ud800-\udfff]"  # lone surrogates, which no encoding can carry
)


def clean(text: str, limit: int = MAX_CHARS) -> str:
    """Text as one visible line of at most `limit` characters.

    Names and details may come from a peer. A character that hides, reorders or breaks what stands beside it
    becomes U+FFFD, so that no message can dress up as another one.
    """
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    return _UNSEEN.sub("\ufffd", text)


def moment(time_ns: str) -> datetime | None:
    """UTC of a decimal string of nanoseconds; None for "0", which means never.

    Raises ValueError for anything that is not a time between 1970 and 9999.
    """
    if not (time_ns.isascii() and time_ns.isdigit()) or len(time_ns) > 21:
        raise ValueError("not a decimal number of nanoseconds")
    seconds = int(time_ns) // 1_000_000_000
    if seconds > _LAST_S:
        raise ValueError("after the year 9999")
    return datetime.fromtimestamp(seconds, UTC) if int(time_ns) else None


def utc(time_ns: str) -> tuple[str, str | None]:
    """(`2026-11-21 06:51:03 Z`, its RFC 3339 form for machines); the second is None without a time."""
    try:
        when = moment(time_ns)
    except ValueError:
        return UNREADABLE, None
    if when is None:
        return NEVER, None
    return when.strftime("%Y-%m-%d %H:%M:%S Z"), when.strftime("%Y-%m-%dT%H:%M:%SZ")


def clock_time(time_ns: str) -> tuple[str, str | None]:
    """(`06:51:03 Z`, RFC 3339), for the page's own clock."""
    shown, machine = utc(time_ns)
    return (shown[11:], machine) if machine else (shown, None)


def market_time(time_ns: str) -> tuple[str, str | None]:
    """(`2018-03-02`, RFC 3339): a daily bar is known at midnight, and then the hour says nothing."""
    shown, machine = utc(time_ns)
    return (shown[:10], machine) if shown.endswith("00:00:00 Z") else (shown, machine)


def count(number: int) -> str:
    """15082 → `15,082`."""
    return f"{number:,}"


def share(part: int, whole: int) -> str:
    """`42.1 %`; `< 0.1 %` where rounding would hide that there is something, `0 %` only for nothing."""
    if part <= 0 or whole <= 0:
        return "0 %"
    permille = (part * 1000 + whole // 2) // whole
    return f"{permille // 10}.{permille % 10} %" if permille else "< 0.1 %"


def width(part: int, whole: int) -> str:
    """Length of a bar as an SVG percentage; what is not nothing is at least one percent long."""
    if part <= 0 or whole <= 0:
        return "0%"
    return f"{max(1, min(100, (part * 100 + whole // 2) // whole))}%"


def duration(seconds: int) -> str:
    """The two largest units: `41 s`, `12 min 05 s`, `3 h 07 min`, `12 d 4 h`."""
    seconds = max(0, seconds)
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if days:
        return f"{count(days)} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60:02d} min"
    if minutes:
        return f"{minutes} min {seconds % 60:02d} s"
    return f"{seconds} s"
