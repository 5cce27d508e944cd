"""The price at which a round trip stops losing, exact to the tick (FEE-07, U26).

For a long: the lowest price such that leaving there or anywhere above does not lose; for a short the highest
such that there or anywhere below. "Anywhere" matters where a venue rounds a fee to more than a tick is worth:
just above a price that breaks even there may then be one that does not.
"""

from __future__ import annotations

from msgspec import Struct

from appliance.domain.fees import FeeSchedule, FeeTier
from appliance.domain.instrument import Instrument
from appliance.domain.intent import Side
from appliance.domain.money import PPM_ONE, Price

_WHOLE = PPM_ONE * PPM_ONE
_FEW = 4  # candidates that are tried one by one; a coarse fee leaves more, and those are searched


class Leaving(Struct, frozen=True, kw_only=True):
    """How a position will be left: one order, one fill, as maker or taker of this tier."""

    schedule: FeeSchedule
    tier: FeeTier
    maker: bool = False

    def fee(self, value: int) -> int:
        """What leaving at this value costs, network fee included."""
        return self.schedule.charge_order(self.tier, value, maker=self.maker, first=True)


def round_trip(side: Side, entry_value: int, paid: int, exit_value: int, leaving: Leaving) -> int:
    """Profit (negative: loss) of entering on `side` for `entry_value` with fees `paid`, and leaving."""
    return side.sign * (exit_value - entry_value) - paid - leaving.fee(exit_value)


def break_even(
    side: Side, qty: int, entry_value: int, paid: int, instrument: Instrument, leaving: Leaving
) -> Price | None:
    """On a tick. side, qty: of the entry; entry_value: what was bought or sold for, without the fees `paid`.

    None for a short whose costs no positive price brings back. Leaving in n fills instead of one can cost
    n − 1 units of the fee's rounding more.
    """
    step = instrument.notional(instrument.tick, qty)
    if side is Side.BUY:
        ticks = _highest_losing(entry_value + paid, step, leaving) + 1
    else:
        ticks = _lowest_losing(entry_value - paid, step, leaving) - 1
    return Price(ticks * instrument.tick) if ticks > 0 else None


def _highest_losing(needed: int, step: int, leaving: Leaving) -> int:
    """Largest number n ≥ 0 of ticks such that n × step less its fee is below `needed`."""
    rate = leaving.tier.numerator(maker=leaving.maker)
    margin = needed + leaving.schedule.network_fee + leaving.schedule.unit
    # A fee is below rate × value + unit, so from here on nothing loses.
    top = _ceil(margin * _WHOLE, (_WHOLE - rate) * step)
    # Nor is it below rate × value, so up to here everything loses; mostly that leaves one candidate.
    sure = _ceil((needed + leaving.schedule.network_fee) * _WHOLE, (_WHOLE - rate) * step) - 1
    if top - sure <= _FEW:
        for n in range(top, max(0, sure), -1):
            if n * step - leaving.fee(n * step) < needed:
                return n
        return max(0, sure)
    while top > 0:
        fee = leaving.fee(top * step)
        losing = min(top, _ceil(needed + fee, step) - 1)  # with this fee, the last that loses
        if losing > 0 and leaving.fee(losing * step) == fee:
            return losing
        top = _edge(top, -1, step, leaving) - 1
    return 0


def _lowest_losing(allowed: int, step: int, leaving: Leaving) -> int:
    """Smallest number n ≥ 1 of ticks such that n × step and its fee are above `allowed`."""
    rate = leaving.tier.numerator(maker=leaving.maker)
    margin = allowed - leaving.schedule.network_fee - leaving.schedule.unit
    bottom = max(1, margin * _WHOLE // ((_WHOLE + rate) * step))  # below nothing loses
    sure = (allowed - leaving.schedule.network_fee) * _WHOLE // ((_WHOLE + rate) * step) + 1
    if sure - bottom <= _FEW:  # from `sure` on everything loses, as above
        for n in range(bottom, sure):
            if n * step + leaving.fee(n * step) > allowed:
                return n
        return max(bottom, sure)
    while True:
        fee = leaving.fee(bottom * step)
        losing = max(bottom, (allowed - fee) // step + 1)  # with this fee, the first that loses
        if leaving.fee(losing * step) == fee:
            return losing
        bottom = _edge(bottom, +1, step, leaving) + 1


def _edge(ticks: int, way: int, step: int, leaving: Leaving) -> int:
    """The last number of ticks from `ticks` on, in this direction, at which leaving costs the same fee."""
    fee, jump = leaving.fee(ticks * step), 1
    while ticks + way * jump > 0 and leaving.fee((ticks + way * jump) * step) == fee:
        jump *= 2
    jump //= 2
    while jump:
        if ticks + way * jump > 0 and leaving.fee((ticks + way * jump) * step) == fee:
            ticks += way * jump
        jump //= 2
    return ticks


def _ceil(value: int, by: int) -> int:
    return -(-value // by)
