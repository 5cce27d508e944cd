"""The fee schedule as the core knows it: its age, its tier, and whether fills are charged by it (FEE-03, 08).

A schedule is asked for every 60 s and used until it is 5 minutes old, counted from the moment of the
question on CLOCK_MONOTONIC: the answer may be as old as that. After it new exposure is denied (FEES_STALE);
exits never ask. What a venue charged is booked; a fee that is not the one computed here is told, never
corrected.
"""

from __future__ import annotations

from msgspec import Struct

from appliance.domain.fees import FeeSchedule, FeeTier, Volume
from appliance.domain.instrument import Instrument
from appliance.domain.money import PPM_ONE, Amount
from appliance.domain.order import Fill
from appliance.domain.status import FeeLine

REFRESH_NS = 60_000_000_000
MAX_AGE_NS = 300_000_000_000
TOLERANCE_PPM = 100  # 0.01 % of the fee (FEE-10)


class FeeCheck(Struct, frozen=True):
    """expected: by our computation, None without a schedule that may be used.  differs: beyond 0.01 %."""

    expected: Amount | None
    differs: bool


class FeeBook:
    """Owned by the event loop. Implements ports.FeeView: plain attributes; the gate compares one word.

    until_ns: CLOCK_MONOTONIC of the last instant the schedule may be used, 0 before the first one.
    cost_ppm: an entry's value with the highest fee of any tier, in ppm of the value.
    cost_fixed: the most an order of one fill costs besides: network fee and rounding.
    mismatches, unchecked: fills charged otherwise than computed, and fills nothing could be computed for.
    """

    __slots__ = (
        "_volume", "asked_ns", "cost_fixed", "cost_ppm", "mismatches", "problem", "schedule", "unchecked",
        "until_ns",
    )  # fmt: skip

    def __init__(self) -> None:
        self.schedule: FeeSchedule | None = None
        self.until_ns = self.asked_ns = 0
        self.cost_ppm, self.cost_fixed = PPM_ONE, 0
        self.mismatches = self.unchecked = 0
        self.problem = "nobody has asked for it yet"
        self._volume = Volume()

    def take(self, schedule: FeeSchedule, asked_ns: int) -> bool:
        """An answer, with the CLOCK_MONOTONIC of its question. True if it differs from the one before.

        An answer that was overtaken by that of a later question changes nothing.
        """
        if asked_ns < self.asked_ns:
            return False
        changed = schedule != self.schedule
        self.schedule, self.asked_ns, self.problem = schedule, asked_ns, ""
        self.until_ns = asked_ns + MAX_AGE_NS
        self.cost_ppm = PPM_ONE + schedule.worst_ppm()
        self.cost_fixed = schedule.network_fee + schedule.unit - 1
        return changed

    def failed(self, why: str) -> None:
        """No answer, or a wrong one: what is known goes on ageing."""
        self.problem = why

    def usable(self, now_ns: int) -> FeeSchedule | None:
        """The schedule, if it may be used at this CLOCK_MONOTONIC."""
        return self.schedule if now_ns <= self.until_ns else None

    def affordable(self, amount: int) -> int:
        """The largest value whose entry with the highest fee fits into `amount`: the gate's sum, solved."""
        return max(0, amount - self.cost_fixed) * PPM_ONE // self.cost_ppm

    def tier(self, schedule: FeeSchedule, event_ns: int) -> FeeTier:
        """The tier of a fill at this time of the market."""
        return schedule.tiers[schedule.tier_number(self._volume.before(event_ns, schedule.window_days))]

    def remember(self, fill: Fill, instrument: Instrument) -> None:
        """Counts a fill from the log, which was checked when it happened."""
        self._volume.add(fill.event_ns, instrument.notional(fill.price, fill.qty))

    def check(self, fill: Fill, instrument: Instrument, *, first: bool, now_ns: int) -> FeeCheck:
        """Compares what a new fill was charged with what its schedule says, and counts the fill's volume.

        first: no fill of its order came before.
        """
        schedule = self.usable(now_ns)
        value = instrument.notional(fill.price, fill.qty)
        expected = None
        if schedule is not None:
            tier = self.tier(schedule, fill.event_ns)
            expected = schedule.charge_order(tier, value, maker=fill.maker, first=first)
        self._volume.add(fill.event_ns, value)
        if expected is None:
            self.unchecked += 1
            return FeeCheck(None, False)
        differs = abs(fill.fee - expected) * PPM_ONE > TOLERANCE_PPM * abs(expected)
        self.mismatches += differs
        return FeeCheck(expected, differs)

    def line(self, now_ns: int, market_ns: int) -> FeeLine:
        """For the page and the metrics."""
        schedule = self.schedule
        if schedule is None:
            return FeeLine(problem=self.problem, unchecked=self.unchecked)
        tier = schedule.tier_number(self._volume.before(market_ns, schedule.window_days))
        return FeeLine(
            age_s=(now_ns - self.asked_ns) // 1_000_000_000,
            usable=now_ns <= self.until_ns,
            tier=tier + 1,
            tiers=len(schedule.tiers),
            mismatches=self.mismatches,
            unchecked=self.unchecked,
            problem=self.problem,
        )
