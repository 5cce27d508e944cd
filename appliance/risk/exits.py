"""How an exit is sent when something is missing: sliced, repriced or rounded, never refused (SAFETY 2).

An order that only reduces |position| leaves in some form in every mode. What may be wrong with it — too
large, off tick, priced far away, no fresh price — is mended here and flagged.
"""

from __future__ import annotations

from msgspec import Struct

from appliance.domain.instrument import Instrument
from appliance.domain.intent import Intent, OrderType, Side, TimeInForce
from appliance.domain.money import PPM_ONE, Price, Qty, round_down, round_up
from appliance.domain.verdict import Flag
from appliance.ports import InstrumentView
from appliance.risk.limits import AccountLimits, InstrumentLimits
from appliance.risk.matrix import Cell

SLICES_WITHOUT_LIMIT = 4
WIDEST_COLLAR = 10
COLLAR_WITHOUT_LIMIT_PPM = 50_000


class Exit(Struct, frozen=True):
    """What is sent for an exit intent."""

    qty: Qty
    order_type: OrderType
    price: Price | None
    flags: Flag


def shape_exit(
    intent: Intent,
    view: InstrumentView,
    limits: InstrumentLimits | None,
    account: AccountLimits,
    how: Cell,
    price_age_ns: int,
) -> Exit:
    """`how` is what the matrix says about the price: PASS (fresh), WIDEN or FALLBACK."""
    instrument = view.instrument
    qty, flags = _sized(intent, view, limits)
    if how is Cell.WIDEN and price_age_ns > account.market_fallback_ns:
        how = Cell.FALLBACK
    if how is Cell.FALLBACK:
        return Exit(qty, OrderType.MARKET, None, flags | Flag.MARKET_FALLBACK)
    collar_ppm = limits.collar_ppm if limits is not None else COLLAR_WITHOUT_LIMIT_PPM
    if how is Cell.WIDEN:
        max_age_ns = limits.max_price_age_ns if limits is not None else price_age_ns
        steps = min(WIDEST_COLLAR, 1 + price_age_ns // max(1, max_age_ns))
        worst = worst_price(instrument, view.last, intent.side, collar_ppm * steps)
        price = _no_worse(intent, worst)
        return Exit(qty, OrderType.LIMIT, price, flags | Flag.COLLAR_WIDENED)
    if intent.price is None and intent.collars == 0:
        return Exit(qty, OrderType.MARKET, None, flags)
    if intent.price is None:
        steps = min(WIDEST_COLLAR, intent.collars)
        edge = worst_price(instrument, view.last, intent.side, collar_ppm * steps)
        return Exit(qty, OrderType.LIMIT, edge, flags | (Flag.COLLAR_WIDENED if steps > 1 else Flag.NONE))
    on_tick = _to_tick(instrument, intent.price, intent.side)
    if on_tick != intent.price:
        flags |= Flag.ROUNDED
    edge = worst_price(instrument, view.last, intent.side, collar_ppm)
    beyond = on_tick < edge if intent.side is Side.SELL else on_tick > edge
    if beyond:
        return Exit(qty, OrderType.LIMIT, edge, flags | Flag.PRICE_CLAMPED)
    return Exit(qty, OrderType.LIMIT, on_tick, flags)


def exit_terms(intent: Intent, kind: OrderType, market_ns: int) -> tuple[TimeInForce, int, bool]:
    """(time in force, expiry, post-only) an exit leaves with; what does not fit is dropped, not refused.

    A GTD exit whose time is missing or has passed is one to be done at once or not at all: IOC.
    """
    force, expire_ns = intent.time_in_force, intent.expire_ns
    if force is TimeInForce.GTD and expire_ns <= market_ns:
        force = TimeInForce.IOC
    if force is not TimeInForce.GTD:
        expire_ns = 0
    rests = force in (TimeInForce.GTC, TimeInForce.GTD)
    return force, expire_ns, intent.post_only and rests and kind is OrderType.LIMIT


def on_tick(price: Price | None, tick: int) -> Price | None:
    """Rounded down to a tick, at least one."""
    return None if price is None else Price(max(tick, price - price % tick))


def worst_price(instrument: Instrument, reference: int, side: Side, collar_ppm: int) -> Price:
    """The least favourable price inside the collar, on a tick and positive."""
    distance = reference * min(collar_ppm, PPM_ONE - 1) // PPM_ONE
    if side is Side.SELL:
        return Price(max(instrument.tick, round_up(reference - distance, instrument.tick)))
    return Price(max(instrument.tick, round_down(reference + distance, instrument.tick)))


def _no_worse(intent: Intent, worst: Price) -> Price:
    if intent.price is None or intent.price <= 0:
        return worst
    return Price(max(intent.price, worst) if intent.side is Side.SELL else min(intent.price, worst))


def _to_tick(instrument: Instrument, price: int, side: Side) -> Price:
    rounded = round_down(price, instrument.tick) if side is Side.SELL else round_up(price, instrument.tick)
    return Price(max(instrument.tick, rounded))


def _sized(intent: Intent, view: InstrumentView, limits: InstrumentLimits | None) -> tuple[Qty, Flag]:
    instrument = view.instrument
    if limits is None:
        quarter = -(-abs(view.position) // SLICES_WITHOUT_LIMIT)
        largest = max(instrument.lot, round_up(quarter, instrument.lot))
    else:
        largest = limits.max_order_qty
        if view.last > 0:
            by_value = limits.max_order_value // (view.last * instrument.amount_factor)
            largest = Qty(min(largest, max(by_value, instrument.min_qty)))
    largest = min(largest, instrument.max_qty)
    flags = Flag.NONE
    qty: int = intent.qty
    if qty > largest:
        short = instrument.min_qty - (qty - largest)  # a rest below the smallest order could never leave
        if short > 0 and largest - short >= instrument.min_qty:
            largest = Qty(largest - round_up(short, instrument.lot))
        qty, flags = largest, flags | Flag.SLICED
    whole = round_down(qty, instrument.lot)
    if whole != qty and whole > 0:
        qty, flags = whole, flags | Flag.ROUNDED
    return Qty(qty), flags
