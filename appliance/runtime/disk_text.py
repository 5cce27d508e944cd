"""The disk in words, for the page, the log and `interlock status`."""

from __future__ import annotations

from appliance.domain.disk import DiskReserve
from appliance.domain.status import Disk, Part
from appliance.runtime.disk_gauge import DiskNote
from appliance.safety.disk import DiskLevel


def reserve_word(reserve: DiskReserve) -> str:
    """For log and page."""
    if reserve.given:
        return "in use"
    return "missing" if reserve.missing else "in place"


def disk_part(disk: Disk) -> Part:
    """The disk as a part: `down` while the log writes on its reserve."""
    known = "not measured"
    if disk.percent >= 0:
        known = _gone(disk.percent, disk.quota_bytes, disk.left_bytes)
    reserve = f"reserve of {size_text(disk.reserve_bytes)} in place"
    if disk.reserve != "in place":
        reserve = f"reserve {disk.reserve}"
    bad = disk.hold or disk.level != DiskLevel.OK
    state = "down" if disk.reserve == "in use" else "degraded" if bad else "ok"
    return Part("disk", state, f"{known}, {reserve}")


def size_text(size: int) -> str:
    """Bytes for people, as the configuration writes them, rounded down to three figures."""
    for unit, scale in (("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)):
        if size >= scale:
            tenths = size * 10 // scale
            return f"{tenths // 10}.{tenths % 10} {unit}" if tenths < 100 else f"{tenths // 10} {unit}"
    return f"{size} B"


def note_text(note: DiskNote) -> str:
    """The gauge's note for people."""
    reserve = f"reserve of {size_text(note.reserve)}"
    short = f"{reserve} of {size_text(note.wanted)}" if note.reserve < note.wanted else reserve
    return f"{_gone(note.percent, note.quota, note.left)} ({note.level}), {short}"


def _gone(percent: int, quota: int, left: int) -> str:
    return f"{percent} % of the quota of {size_text(quota)} gone, {size_text(left)} left"
