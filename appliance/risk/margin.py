"""Margin and liquidation price of what is traded on margin (RSK-15, RSK-18, RSK-19, RSK-21; U20).

The account's equity as a function of one instrument's price p is a straight line,

    equity(p) = base + quantity × p        quantity signed, base: everything that does not depend on p

and the venue liquidates where equity(p) ≤ maintenance(|quantity| × p). Maintenance is the largest of
n × rate − deduction over the tiers (domain.margin), so the price is the first one any tier's line gives:

    long   p ≤ (−base − deduction) ÷ (quantity × (1 − rate))       the highest over the tiers
    short  p ≥ ( base + deduction) ÷ (|quantity| × (1 + rate))     the lowest over the tiers

with base = margin − cost for isolated margin, and wallet + others' P&L − others' maintenance − cost for
cross margin. This is Binance's formula ("How to Calculate Liquidation Price of USDⓈ-M Futures Contracts")
with the closing fee added to the rate, as OKX has it. All integers: the result is the first tick at which
the venue would act, and the tick before it is solvent, exactly.
"""

from __future__ import annotations

from appliance.domain.instrument import Instrument
from appliance.domain.intent import Intent, Side
from appliance.domain.margin import MarginTerms
from appliance.domain.money import (
    PPM_ONE,
    Price,
    format_amount,
    format_scaled,
    format_share,
    round_down,
    round_up,
)
from appliance.domain.reasons import Reason
from appliance.ports import AccountView, InstrumentView
from appliance.risk.limits import AccountLimits


def is_solvent(instrument: Instrument, terms: MarginTerms, quantity: int, base: int, price: int) -> bool:
    """The definition `liquidation_price` solves: equity above maintenance margin and closing fee."""
    value = quantity * price * instrument.amount_factor
    owed_x = max(
        abs(value) * (tier.maintenance_ppm + terms.close_fee_ppm) - tier.deduction_x for tier in terms.tiers
    )
    return (base + value) * PPM_ONE > owed_x


def liquidation_price(instrument: Instrument, terms: MarginTerms, quantity: int, base: int) -> Price | None:
    """The first price, on a tick, at which the venue liquidates; None if no price does.

    For a long the highest such tick, for a short the lowest. quantity: signed, not zero.
    """
    size, tick, fee_ppm = abs(quantity) * instrument.amount_factor, instrument.tick, terms.close_fee_ppm
    if quantity > 0:
        highest = max(
            (-base * PPM_ONE - tier.deduction_x) // (size * (PPM_ONE - tier.maintenance_ppm - fee_ppm))
            for tier in terms.tiers
        )
        return Price(round_down(highest, tick)) if highest >= tick else None
    lowest = min(
        -(-(base * PPM_ONE + tier.deduction_x) // (size * (PPM_ONE + tier.maintenance_ppm + fee_ppm)))
        for tier in terms.tiers
    )
    return Price(max(tick, round_up(lowest, tick)))


def liquidation_after(
    side: Side, qty: int, view: InstrumentView, account: AccountView, entry: int
) -> Price | None:
    """Where the venue would liquidate once `qty` more and all that works on the side have filled at `entry`.

    None for an instrument that is paid in full, if no price does, or if what remains is on the other side.
    """
    instrument, terms, sign = view.instrument, view.instrument.margin, side.sign
    added = sign * (qty + (view.working_buy if sign > 0 else view.working_sell))
    quantity = view.position + added
    if terms is None or quantity * sign <= 0:
        return None
    if not terms.isolated:
        base = account.cross_margin(instrument.symbol) - instrument.notional(entry, added)
        return liquidation_price(instrument, terms, quantity, base)
    if view.position * sign < 0:  # it closes what is held first: the rest has no cost but its own
        cost: int = instrument.notional(entry, quantity)
    else:
        cost = view.cost + instrument.notional(entry, added)
    return liquidation_price(instrument, terms, quantity, terms.initial(abs(cost)) - cost)


def outlives(side: Side, stop: int, price: Price | None) -> bool:
    """The stop is reached before the venue liquidates at `price`."""
    return price is None or (stop > price if side is Side.BUY else stop < price)


def margin(
    terms: MarginTerms,
    intent: Intent,
    view: InstrumentView,
    account: AccountView,
    limits: AccountLimits,
    worst: int,
    entry: int,
    stop: int,
) -> tuple[Reason, str] | None:
    """Free margin ≥ 110 % of what this order adds, and its stop is reached before the venue liquidates.

    terms: the instrument's.  worst: see entries.worst_case.  entry: price this order is expected to fill
    at, the worse for margin.
    """
    if worst > terms.largest:
        return Reason.MARGIN_TIER, f"{format_amount(worst)} > {format_amount(terms.largest)}"
    required = terms.initial(max(worst, view.worst)) - terms.initial(view.worst)
    if account.free_margin * PPM_ONE < required * limits.margin_ppm:
        return Reason.MARGIN, f"{format_share(limits.margin_ppm)} of {format_amount(required)} are not free"
    price = liquidation_after(intent.side, intent.qty, view, account, entry)
    if price is None or outlives(intent.side, stop, price):
        return None
    exp = view.instrument.price_exp
    return Reason.LIQUIDATION, f"stop {format_scaled(stop, exp)}, liquidation {format_scaled(price, exp)}"
