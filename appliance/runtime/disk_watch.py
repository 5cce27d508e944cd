"""Acts on what the disk allows: hold, trip, log entries, and the reserve again once there is room (SAFETY 8).

Owned by the event loop and never waits for a disk: the gauge measures on a thread, the log writer has the
reserve. When that is given back, `look` is called before anything written on it is called durable: the latch
is shut before an order that was recorded there could leave.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from appliance.domain.disk import DiskReserve
from appliance.domain.mode import BOX, HoldCause, TripReason
from appliance.domain.status import Disk
from appliance.ports import Clock, Scribe
from appliance.runtime.disk_gauge import DiskGauge
from appliance.runtime.disk_text import reserve_word
from appliance.safety.controller import SafetyController
from appliance.safety.disk import DiskLevel, Judgement, judge
from appliance.storage.log_client import LogClient

LOOK_S = 1.0
FIRST_S, FIRST_LOOKS = 0.01, 200
REFILL_EVERY_NS = 5_000_000_000
COUNT_EVERY_NS = 60_000_000_000
FULL = "the disk is full; the log goes on, for exits, on the reserve it was given back"


class DiskWatch:
    """One per core. Until its first look new exposure waits.

    spare (nothing but exits may be recorded, memory may store) is called at every look.
    unrecorded: what was counted instead of recorded; emptied here.
    """

    def __init__(
        self,
        gauge: DiskGauge,
        log: LogClient,
        safety: SafetyController,
        scribe: Scribe,
        clock: Clock,
        spare: Callable[[bool, bool], None],
        unrecorded: Counter[str],
    ) -> None:
        self._gauge = gauge
        self._log = log
        self._safety = safety
        self._scribe = scribe
        self._clock = clock
        self._spare = spare
        self._unrecorded = unrecorded
        self._told = (DiskLevel.OK, "in place")
        self._held = False
        self._changed_ns = 0
        self._refilled_ns = self._counted_ns = clock.mono_ns() - COUNT_EVERY_NS
        safety.holds.begin(HoldCause.DISK_QUOTA, BOX, clock.utc_ns(), "the disk is being measured")

    async def run(self) -> None:
        """For ever. The first measurement is given a moment; a disk that does not answer then holds."""
        for _ in range(FIRST_LOOKS):
            if self._gauge.reading.room is not None:
                break
            await asyncio.sleep(FIRST_S)
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """Judges what is known now. Never blocks."""
        now_ns, reserve = self._clock.mono_ns(), self._log.reserve
        found = self._judge()
        if reserve.given:
            self._safety.trip(TripReason.AUDIT_STORE, FULL)
        self._spare(found.spare, not found.hold)
        self._hold(found.hold)
        told = (found.level, reserve_word(reserve))
        if told != self._told:
            if told[1] != self._told[1]:
                self._changed_ns = now_ns
                self._gauge.again()
            self._told = told
            self._scribe.note("disk", self._describe(reserve, *told))
        self._note_counted(over=not found.spare)
        known = self._gauge.reading.mono_ns > self._changed_ns  # not of before the reserve was given back
        if found.refill and known and now_ns - self._refilled_ns >= REFILL_EVERY_NS:
            self._refilled_ns = now_ns
            self._log.refill()

    def picture(self) -> Disk:
        """For the status page."""
        reserve, found, room = self._log.reserve, self._judge(), self._gauge.reading.room
        return Disk(
            level=found.level,
            percent=room.percent if room is not None else -1,
            taken_bytes=room.taken if room is not None else -1,
            left_bytes=room.left if room is not None else -1,
            quota_bytes=room.quota if room is not None else -1,
            reserve=reserve_word(reserve),
            reserve_bytes=reserve.held,
            hold=found.hold,
        )

    def _judge(self) -> Judgement:
        reading = self._gauge.reading
        age_ns = self._clock.mono_ns() - reading.mono_ns
        return judge(reading.level, reading.room, age_ns, self._log.reserve)

    def _hold(self, why: str) -> None:
        holds = self._safety.holds
        if why:
            holds.begin(HoldCause.DISK_QUOTA, BOX, self._clock.utc_ns(), why)
        else:
            holds.end(HoldCause.DISK_QUOTA, BOX)
        if bool(why) == self._held:
            return
        self._held = bool(why)
        data = {"cause": HoldCause.DISK_QUOTA, "scope": BOX}
        if why:
            self._scribe.note("hold", data | {"detail": why})
        else:
            self._scribe.note("hold_end", data)

    def _describe(self, reserve: DiskReserve, level: DiskLevel, word: str) -> dict[str, object]:
        data: dict[str, object] = {"level": level, "reserve": word, "reserve_bytes": reserve.held}
        room = self._gauge.reading.room
        if room is not None:
            data |= {"percent": room.percent, "taken_bytes": room.taken, "left_bytes": room.left}
        return data | ({"why": reserve.why} if reserve.why else {})

    def _note_counted(self, *, over: bool) -> None:
        """Now and then, and when it is over: a crash in between loses the counts of a minute."""
        now_ns = self._clock.mono_ns()
        if self._unrecorded and (over or now_ns - self._counted_ns >= COUNT_EVERY_NS):
            self._counted_ns = now_ns
            why = "the disk was full: what opens no exit was counted, not recorded"
            self._scribe.note("denied_count", {"counts": dict(self._unrecorded), "why": why})
            self._unrecorded.clear()
