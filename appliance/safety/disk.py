"""What the disk allows: 80 % of the room alerts, 95 % is a hold, and so is a reserve that is not there
(SAFETY 8). Nothing here measures; `runtime.disk_gauge` does.

Percent are of the quota, which is what the state directory may take. What is left of it is left on the disk
too, or it is not left: whichever is nearer counts, and room somebody else took is gone all the same.

| level | begins at | ends below | what follows                                         |
|-------|-----------|------------|------------------------------------------------------|
| OK    |           |            |                                                      |
| ALERT | 80 %      | 75 %       | somebody is told                                     |
| HOLD  | 95 %      | 90 %       | no new exposure; exits pass; memory stops storing    |
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from appliance.domain.disk import DiskReserve

UNMEASURED_NS = 60_000_000_000
"""A disk that was not measured for so long does not answer: as good as full."""


class DiskLevel(StrEnum):
    """How full it is."""

    OK = "ok"
    ALERT = "alert"
    HOLD = "hold"


BEGINS: dict[DiskLevel, int] = {DiskLevel.OK: 0, DiskLevel.ALERT: 80, DiskLevel.HOLD: 95}
ENDS: dict[DiskLevel, int] = {DiskLevel.OK: 0, DiskLevel.ALERT: 75, DiskLevel.HOLD: 90}
"""Percent of the quota, exactly: a level begins at its figure and ends below the other."""

_RISING = (DiskLevel.OK, DiskLevel.ALERT, DiskLevel.HOLD)


class Room(Struct, frozen=True):
    """Bytes, at one moment. taken: by the state directory, the reserve included.  quota: what it may take,
    above 0.  free: what the file system of the log would still give us."""

    taken: int
    quota: int
    free: int

    @property
    def left(self) -> int:
        """What the state directory may still take, and can."""
        return max(0, min(self.quota - self.taken, self.free))

    @property
    def percent(self) -> int:
        """Of the quota that is gone, rounded down."""
        return (self.quota - self.left) * 100 // self.quota


def next_level(level: DiskLevel, room: Room) -> DiskLevel:
    """The level after a measurement, with hysteresis."""
    reached = max((each for each in _RISING if _at(room, BEGINS[each])), key=_RISING.index)
    kept = max((each for each in _RISING if _at(room, ENDS[each])), key=_RISING.index)
    return max(reached, min(level, kept, key=_RISING.index), key=_RISING.index)


def may_refill(room: Room, missing: int) -> bool:
    """Whether allocating `missing` bytes leaves the box below the hold."""
    return not _at(Room(room.taken + missing, room.quota, room.free - missing), BEGINS[DiskLevel.HOLD])


class Judgement(Struct, frozen=True):
    """level: for the alert.  hold: why new exposure waits, or "".  spare: nothing but exits may write.
    refill: the reserve should be allocated again."""

    level: DiskLevel
    hold: str
    spare: bool
    refill: bool


def judge(level: DiskLevel, room: Room | None, age_ns: int, reserve: DiskReserve) -> Judgement:
    """What follows. level, room, age_ns: of the last measurement; None before the first one."""
    if room is None or age_ns > UNMEASURED_NS:
        hold = "the disk does not answer: nobody knows what room is left"
        return Judgement(level, hold, reserve.given, refill=False)
    hold = ""
    if reserve.given:
        hold = "the disk was full: the log writes on the reserve for exits"
    elif reserve.missing:
        hold = f"the disk reserve for exits is not there: {reserve.why}"
    elif level is DiskLevel.HOLD:
        hold = f"{room.percent} % of the disk quota is gone"
    refill = reserve.missing > 0 and may_refill(room, reserve.missing)
    return Judgement(level, hold, reserve.given, refill)


def _at(room: Room, percent: int) -> bool:
    return (room.quota - room.left) * 100 >= room.quota * percent
