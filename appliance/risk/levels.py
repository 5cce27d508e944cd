"""Stop-loss and take-profit proposals from the average true range (RSK-18, RSK-30, RSK-31; U21, U27).

stop = entry ∓ 2 × ATR, take profit = entry ± 2 × the distance of the stop: at least two units of reward per
unit of risk, so that one win in three breaks even before costs. The multiples are Wilder's order of size
(New Concepts in Technical Trading Systems, 1978), not a claim that they earn anything. They are proposals:
the gate takes the stop the order brings, or the source's configured distance.

Rounding: the stop goes to the tick nearer the entry (less is risked than proposed), the take profit to the
tick further from it (the ratio is at least what is said).
"""

from __future__ import annotations

from msgspec import Struct

from appliance.domain.instrument import Instrument
from appliance.domain.intent import Side
from appliance.domain.money import PPM_ONE, Price, round_down, round_up

STOP_RANGES = 2
REWARDS = 2
MILLI = 1_000


class Levels(Struct, frozen=True, kw_only=True):
    """Prices on ticks. ratio_milli: reward per risk in thousandths, rounded down."""

    stop: Price
    take_profit: Price
    ratio_milli: int


def propose(
    instrument: Instrument, side: Side, entry: int, average_range: int, max_stop_ppm: int
) -> Levels | None:
    """None without a range or an entry price, or where no tick fits: a proposal is not invented.

    average_range: a price; 0 if it is not known.  max_stop_ppm: the instrument's largest stop distance.
    """
    if entry <= 0 or average_range <= 0:
        return None
    distance = min(STOP_RANGES * average_range, entry * max_stop_ppm // PPM_ONE)
    if side is Side.BUY:
        stop = round_up(entry - distance, instrument.tick)
        target = round_up(entry + REWARDS * (entry - stop), instrument.tick)
    else:
        stop = round_down(entry + distance, instrument.tick)
        target = round_down(entry - REWARDS * (stop - entry), instrument.tick)
    risk, reward = abs(entry - stop), abs(target - entry)
    if stop <= 0 or target <= 0 or (entry - stop) * side.sign <= 0:
        return None
    return Levels(stop=Price(stop), take_profit=Price(target), ratio_milli=reward * MILLI // risk)
