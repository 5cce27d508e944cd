"""Shows the clock watch one reading a second and does what follows: log, hold, trip (SAFETY 1, 6, 10).

The log hears of every step in any case, because the UTC of its entries depends on it. Hold and trip follow
only where real time counts: in a replay the precondition is the replay clock, unless `[clock] watch` says
otherwise.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from appliance.audit.records import decode_entry
from appliance.domain.mode import BOX, HoldCause, TripReason
from appliance.domain.status import Part
from appliance.ports import Scribe
from appliance.runtime.config import Config
from appliance.runtime.guard_link import boot_text
from appliance.safety.clock_watch import ClockNews, ClockPast, ClockReading, ClockState, ClockWatch, seconds
from appliance.safety.controller import SafetyController
from appliance.storage.log_reader import LogReader

EVERY_S = 1.0

ReadClock = Callable[[], ClockReading]


def counts_real_time(config: Config) -> bool:
    """Whether the machine's own clock may hold the box: always live, in a replay only if asked (SAFETY 6)."""
    return config.clock.watch == "system" or config.feed.kind != "replay"


def remembered_clock(directory: Path, boot: str) -> ClockPast:
    """What the log knows of the clock. Call it before this process appends anything. boot: this boot's id."""
    reader = LogReader(directory)
    try:
        size = reader.size()
        newest_ns = next(iter(reader.entries(size - 1, size))).utc_ns if size else None
        entry = reader.last_of_kind("clock")
    finally:
        reader.close()
    data = decode_entry(entry.body).data if entry is not None else {}
    if data.get("boot") != boot:
        return ClockPast(newest_utc_ns=newest_ns)
    held = data.get("held_ns")
    counted = isinstance(held, str) and data.get("enforced") is True
    return ClockPast(
        newest_utc_ns=newest_ns,
        offset_ns=int(str(data["offset_ns"])),
        held=held is not None,
        held_ns=int(str(held)) if counted else None,
    )


class ClockLoop:
    """Owned by the event loop. read: `kernel_clock.read_kernel_clock`, or a test's own.

    enforced: see `counts_real_time`.
    """

    def __init__(
        self,
        read: ReadClock,
        past: ClockPast,
        safety: SafetyController,
        scribe: Scribe,
        *,
        enforced: bool,
    ) -> None:
        self._read = read
        self._watch = ClockWatch(past)
        self._safety = safety
        self._scribe = scribe
        self._enforced = enforced
        self._boot = boot_text()

    async def run(self) -> None:
        """For ever. The first look is the caller's, before anything may be armed."""
        while True:
            await asyncio.sleep(EVERY_S)
            self.look()

    def look(self) -> None:
        """One reading and its consequences. The log first: a trip that is seen has its reason on record."""
        for news in self._watch.read(self._read()):
            self._note(news)
        if not self._enforced:
            return
        if self._watch.state is ClockState.TRUSTED:
            if self._safety.holds.end(HoldCause.CLOCK, BOX) is not None:
                self._scribe.note("hold_end", {"cause": HoldCause.CLOCK, "scope": BOX})
            return
        why = self._watch.hold_text()
        if self._safety.holds.begin(HoldCause.CLOCK, BOX, time.time_ns(), why):
            self._scribe.note("hold", {"cause": HoldCause.CLOCK, "scope": BOX, "detail": why})
        if self._watch.state is ClockState.OVERDUE:
            self._safety.trip(TripReason.CLOCK, f"held for 1 h: {self._watch.why}")

    def ok(self) -> bool:
        """The arming precondition: synchronised and not held, or a replay clock. False before a look."""
        if not self._enforced:
            return True
        reading = self._watch.reading
        trusted = self._watch.state is ClockState.TRUSTED
        return trusted and reading is not None and reading.synchronised

    def part(self) -> Part:
        """For the page: what is watched, how it stands, and the last step of either direction."""
        reading = self._watch.reading
        said = reading.detail if reading is not None else "not read yet"
        if self._watch.last_step is not None:
            utc_ns, moved_ns = self._watch.last_step
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(utc_ns // 1_000_000_000))
            said += f"; last step {'+' if moved_ns > 0 else '-'}{seconds(moved_ns)} to {stamp}"
        if not self._enforced:
            return Part("clock", "ok", f"replay clock; this machine's own: {said}")
        return Part("clock", "ok" if self.ok() else "degraded", said)

    def _note(self, news: ClockNews) -> None:
        reading, held_ns = self._watch.reading, self._watch.held_ns
        if reading is None:
            return
        self._scribe.note(
            "clock",
            {
                "event": news.what,
                "moved_ns": news.moved_ns,
                "detail": news.detail,
                "synchronised": reading.synchronised,
                "state": self._watch.state.name,
                "enforced": self._enforced,
                "boot": self._boot,
                "boot_ns": reading.boot_ns,
                "offset_ns": reading.utc_ns - reading.boot_ns,
                "held_ns": None if held_ns is None else str(held_ns),
            },
        )
