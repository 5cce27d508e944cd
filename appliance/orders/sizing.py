"""How much an entry asks for (RSK-29, U27): what the allocation still allows, on a lot."""

from __future__ import annotations

from appliance.domain.instrument import Instrument
from appliance.domain.money import Qty, round_down


def entry_qty(instrument: Instrument, price: int, free: int) -> Qty:
    """Largest quantity whose value at `price` fits into `free`, an amount; 0 if below the minimum."""
    if price <= 0 or free <= 0:
        return Qty(0)
    qty = round_down(free // (price * instrument.amount_factor), instrument.lot)
    qty = min(qty, instrument.max_qty)
    return Qty(qty if qty >= instrument.min_qty else 0)
