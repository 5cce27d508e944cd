"""Asks the venue for its fee schedule, for ever (FEE-03).

Not a deadly loop: without it the schedule ages, and after five minutes the gate denies new exposure.
"""

from __future__ import annotations

import asyncio

import msgspec

from appliance.domain.errors import PeerError, TransportError
from appliance.domain.fees import FeeSchedule
from appliance.domain.money import AMOUNT_EXP, format_scaled
from appliance.orders.fees import REFRESH_NS, FeeBook
from appliance.ports import Clock, FeeSource, Scribe

ASK_S = 10.0  # an answer that takes longer is none
FIRST_S = 1.0  # a start waits no longer for its first answer: exits come before fees
RETRY_S = 5.0


class FeeRefresh:
    """Owned by the event loop; the only one who writes schedules into the book."""

    def __init__(self, source: FeeSource, book: FeeBook, clock: Clock, scribe: Scribe) -> None:
        self._source = source
        self._book = book
        self._clock = clock
        self._scribe = scribe
        self._untold: FeeSchedule | None = None

    async def once(self, limit_s: float = ASK_S) -> bool:
        """One question. False if no usable answer came; what is known stays and ages."""
        asked_ns = self._clock.mono_ns()
        try:
            async with asyncio.timeout(limit_s):
                schedule = await self._source.fees()
        except TimeoutError:
            self._book.failed(f"the venue did not tell its fees within {limit_s:g} s")
            return False
        except (TransportError, PeerError) as error:
            self._book.failed(error.what)
            return False
        if self._book.take(schedule, asked_ns):
            self._untold = schedule
        return True

    async def run(self) -> None:
        """For ever, after a first `once`: every 60 s, after a failure every 5 s; a new schedule is logged."""
        known = not self._book.problem
        while True:
            if self._untold is not None:
                self._scribe.note("fees", describe(self._untold))
                self._untold = None
            await asyncio.sleep(REFRESH_NS / 1e9 if known else RETRY_S)
            known = await self.once()


def describe(schedule: FeeSchedule) -> dict[str, object]:
    """A schedule as the log tells it."""
    return {
        "tiers": [
            {name: str(value) for name, value in msgspec.structs.asdict(tier).items()}
            for tier in schedule.tiers
        ],
        "unit": format_scaled(schedule.unit, AMOUNT_EXP),
        "network_fee": format_scaled(schedule.network_fee, AMOUNT_EXP),
        "window_days": schedule.window_days,
        "rounding": "up, per fill",
    }
