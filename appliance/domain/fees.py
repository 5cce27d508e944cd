"""What a venue charges: its schedule as values, and one exact function (FEE-04, FEE-09, ORD-14, U26, P22).

The paper venue charges by this function and the core checks what was charged by it. The rule, because it
decides every last unit:
- the rate follows what really happened, as the fill says: maker if the order rested, taker if it met one that
  did; a limit order that could trade at once takes, whatever its type says (P22);
- the tier of a fill follows the account's volume of the `window_days` whole UTC days before the fill's day,
  so it is one and the same for a whole day, and however an order is split;
- a discount lowers a fee and never a rebate;
- the fee of one fill is rounded up to the schedule's unit: a fee is never less than exact, a rebate never
  more;
- the network fee is charged once per order, with its first fill.
"""

from __future__ import annotations

from msgspec import Struct

from appliance.domain.money import PPM_ONE, Amount, Ppm, format_share, round_up

DAY_NS = 86_400_000_000_000
MAX_TIERS = 100
MAX_RATE_PPM = 100_000  # nobody charges, or gives, more than 10 %: that is a mistake, not a schedule
MAX_WINDOW_DAYS = 366
KEEP_DAYS = 2 * MAX_WINDOW_DAYS
_WHOLE = PPM_ONE * PPM_ONE


class FeeTier(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rates of an account whose volume is `volume_from` or more; ppm of a fill's value, negative: a rebate.

    discount_ppm: off the fee, 250,000 for a quarter.
    """

    volume_from: Amount
    maker_ppm: Ppm
    taker_ppm: Ppm
    discount_ppm: Ppm = Ppm(0)

    def numerator(self, *, maker: bool) -> int:
        """The rate after the discount, in 10^-12 of a fill's value: exact, nothing is rounded here."""
        rate_ppm = self.maker_ppm if maker else self.taker_ppm
        return rate_ppm * (PPM_ONE - self.discount_ppm if rate_ppm > 0 else PPM_ONE)


class FeeSchedule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One venue's schedule for one account, in the account's currency.

    tiers: from volume 0 upwards.  unit: what the fee of a fill is rounded up to.  network_fee: of one order,
    beside the fees of its fills.  window_days: whole UTC days of volume that count.
    Raises ValueError (PeerError's cause at an edge) for a schedule nobody could charge by.
    """

    tiers: tuple[FeeTier, ...]
    unit: Amount = Amount(1)
    network_fee: Amount = Amount(0)
    window_days: int = 30

    def __post_init__(self) -> None:
        starts = [tier.volume_from for tier in self.tiers]
        if not 0 < len(starts) <= MAX_TIERS or starts[0] != 0 or sorted(set(starts)) != starts:
            raise ValueError(f"a fee schedule has 1 to {MAX_TIERS} tiers, rising from volume 0")
        for tier in self.tiers:
            if max(abs(tier.maker_ppm), abs(tier.taker_ppm)) > MAX_RATE_PPM:
                raise ValueError(f"a fee or rebate is at most {format_share(MAX_RATE_PPM)} of the value")
            if not 0 <= tier.discount_ppm <= PPM_ONE:
                raise ValueError("a discount is between nothing and the whole fee")
        if self.unit < 1 or self.network_fee < 0 or not 1 <= self.window_days <= MAX_WINDOW_DAYS:
            raise ValueError(f"unit from 1, network fee not negative, window of 1 to {MAX_WINDOW_DAYS} days")

    def tier_number(self, volume: int) -> int:
        """Place of the tier of this volume among `tiers`, from 0."""
        return sum(tier.volume_from <= volume for tier in self.tiers) - 1

    def worst_ppm(self) -> int:
        """The highest rate anybody pays under this schedule, discounts not counted; 0 if all are rebates."""
        return max(0, *(max(tier.maker_ppm, tier.taker_ppm) for tier in self.tiers))

    def charge(self, tier: FeeTier, value: int, *, maker: bool) -> Amount:
        """Fee of one fill of this (positive) value, negative for a rebate. Exact, then rounded up once."""
        exact = value * tier.numerator(maker=maker)
        return Amount(round_up(-(-exact // _WHOLE), self.unit))

    def charge_order(self, tier: FeeTier, value: int, *, maker: bool, first: bool) -> Amount:
        """`charge`, and with the first fill of an order its network fee."""
        return Amount(self.charge(tier, value, maker=maker) + (self.network_fee if first else 0))


def takes(*, market: bool, buying: bool, limit: int | None, best: int) -> bool:
    """Will an order take if it arrives now? best: the other side's best price, 0 if nobody knows it.

    Market orders and stops that fired take; a limit order takes if it reaches the other side (P22). Unknown
    counts as taking, which is the dearer.
    """
    if market or limit is None or best <= 0:
        return True
    return limit >= best if buying else limit <= best


class Volume:
    """What an account has traded, by UTC day. Venue and core each keep one and see the same fills."""

    __slots__ = ("_asked", "_days", "_found", "_newest")

    def __init__(self) -> None:
        self._days: dict[int, int] = {}
        self._newest = 0
        self._asked, self._found = (-1, 0), 0  # the last question (day, window) and its answer

    def add(self, event_ns: int, value: int) -> None:
        """Counts the value of one fill on the day it happened; days too old to be asked for are let go."""
        day = event_ns // DAY_NS
        if day > self._newest:
            self._newest = day
            self._days = {each: traded for each, traded in self._days.items() if each >= day - KEEP_DAYS}
        self._days[day] = self._days.get(day, 0) + value
        if day < self._asked[0]:  # a fill told late
            self._asked = (-1, 0)

    def before(self, event_ns: int, window_days: int) -> int:
        """Value traded on the `window_days` days before the day of `event_ns`. O(1) within one day."""
        day = event_ns // DAY_NS
        if self._asked != (day, window_days):
            self._asked = (day, window_days)
            self._found = sum(v for each, v in self._days.items() if day - window_days <= each < day)
        return self._found
