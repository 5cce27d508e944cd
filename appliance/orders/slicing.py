"""A total cut into orders a venue takes: exact sums, equal but for a seeded jitter (EXE-06, EXE-10).

Remainder policy: lots that do not divide evenly go one each to the first slices, so no last slice gives the
end away by its size; a total that cannot be cut into valid slices stays one slice, and the gate judges it.
"""

from __future__ import annotations

import hashlib

from msgspec import Struct

from appliance.domain.instrument import Instrument
from appliance.domain.money import PPM_ONE, Qty, round_down, round_up

MOST_SLICES = 100  # a plan is one entry of the audit log, 16 KiB at most
SPARE_PPM = 100_000  # a slice is checked again when it is sent: its value may have moved by this much


class Bounds(Struct, frozen=True):
    """What one order may be: a multiple of `lot` from `smallest` to `largest`; both are multiples of it."""

    lot: int
    smallest: int
    largest: int

    def takes(self, qty: int) -> bool:
        """Is this a valid order?"""
        return self.smallest <= qty <= self.largest and qty % self.lot == 0


def order_bounds(instrument: Instrument, price: int, most_qty: int, most_value: int) -> Bounds:
    """Of one order at about `price`: the instrument's steps, and what the limits allow of quantity and value.

    Values keep SPARE_PPM of room, because a later slice meets another price.
    """
    lot, smallest = instrument.lot, int(instrument.min_qty)
    largest = min(int(instrument.max_qty), most_qty)
    one = price * instrument.amount_factor
    if one > 0:
        least = instrument.min_value * (PPM_ONE + SPARE_PPM)
        smallest = max(smallest, round_up(-(-least // (one * PPM_ONE)), lot))
        largest = min(largest, most_value * (PPM_ONE - SPARE_PPM) // (one * PPM_ONE))
    return Bounds(lot, smallest, round_down(max(0, largest), lot))


class Draws:
    """Numbers from a seed: the same seed gives the same numbers in the same order, on every machine."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._count = 0

    def below(self, end: int) -> int:
        """One of 0 … end-1; 0 for an end below 2. 128 bits: the bias of the remainder cannot be noticed."""
        self._count += 1
        digest = hashlib.blake2b(f"{self._seed}/{self._count}".encode(), digest_size=16).digest()
        return int.from_bytes(digest, "big") % end if end > 1 else 0


def sizes(total: int, count: int, bounds: Bounds, jitter_ppm: int, draws: Draws) -> tuple[Qty, ...]:
    """`total` in about `count` slices, each valid for `bounds`, their sum exactly `total`.

    The count moves to what the bounds allow; if they allow none, the answer is the total as one slice.
    jitter_ppm: how far a slice may lie from the equal share. What one slice gets its neighbour gives.
    """
    fewest = -(-total // bounds.largest) if bounds.largest else MOST_SLICES + 1
    most = min(MOST_SLICES, total // bounds.smallest)
    if total <= 0 or total % bounds.lot or fewest > most:
        return (Qty(total),)
    count = max(fewest, min(count, most), 1)
    lots, more = divmod(total // bounds.lot, count)
    found = [(lots + (index < more)) * bounds.lot for index in range(count)]
    for left in range(0, count - 1, 2):
        one, other = found[left], found[left + 1]
        # `one` is never the smaller: its room upwards and the other's downwards bind both of them.
        room = min(lots * bounds.lot * jitter_ppm // PPM_ONE, bounds.largest - one, other - bounds.smallest)
        steps = room // bounds.lot
        shift = (draws.below(2 * steps + 1) - steps) * bounds.lot
        found[left], found[left + 1] = one + shift, other - shift
    return tuple(Qty(each) for each in found)


def due_times(start_ns: int, horizon_ns: int, count: int, jitter_ppm: int, draws: Draws) -> tuple[int, ...]:
    """When each of `count` slices may leave: the first at once, each later one at a jittered moment of its
    own share of the horizon. Never decreasing, all before the horizon's end."""
    share_ns = horizon_ns // count
    late_ns = share_ns * jitter_ppm // PPM_ONE
    rest = (start_ns + index * share_ns + draws.below(late_ns) for index in range(1, count))
    return (start_ns, *rest)


def displayed_count(total: int, displayed: int, jitter_ppm: int) -> int:
    """How many slices an iceberg needs, so that none has to show more than `displayed`, jitter included."""
    return -(-total * (PPM_ONE + jitter_ppm) // (max(1, displayed) * PPM_ONE))
