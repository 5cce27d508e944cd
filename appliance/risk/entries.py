"""Controls on an order that increases exposure (CONTROLS 1–4, 8, 11, 12; RSK-02, 03, 06, 07).

Each function returns None or (reason, the numbers that decided). Comparisons are cross-multiplied integers:
no division, no rounding, and a limit is the last allowed value (C24).
"""

from __future__ import annotations

from typing import TypeAlias

from appliance.domain.instrument import Instrument
from appliance.domain.intent import Intent, OrderType, Side, TimeInForce
from appliance.domain.money import PPM_ONE, format_scaled, format_share, round_down, round_up
from appliance.domain.reasons import Reason
from appliance.ports import AccountView, FeeView, InstrumentView
from appliance.risk.limits import AccountLimits, InstrumentLimits, SourceLimits

Refusal: TypeAlias = tuple[Reason, str] | None

# Python 3.11 looks an enum member up in 90 ns, a global in 3; every order passes here.
_BUY, _LIMIT, _STOP, _STOP_LIMIT = Side.BUY, OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT
_GTC, _GTD, _MARKET = TimeInForce.GTC, TimeInForce.GTD, OrderType.MARKET
_RESTS = frozenset({_GTC, _GTD})


def shape(intent: Intent, instrument: Instrument) -> Refusal:
    """Fields fit the order type, steps fit the instrument."""
    qty, price, kind = intent.qty, intent.price, intent.order_type
    limit = kind is _LIMIT or kind is _STOP_LIMIT
    if qty < 0 or limit is (price is None) or (price is not None and price <= 0):
        return Reason.MALFORMED, f"{kind} qty {qty} price {price}"
    if kind is _STOP or kind is _STOP_LIMIT:
        trigger = intent.stop_price
        if trigger is None or trigger <= 0:
            return Reason.MALFORMED, f"{kind} without a trigger price, or not positive: {trigger}"
        if trigger % instrument.tick:
            return Reason.TICK_SIZE, f"trigger {_price(instrument, trigger)}"
    if price is not None and price % instrument.tick:
        return Reason.TICK_SIZE, f"{_price(instrument, price)}, tick {_price(instrument, instrument.tick)}"
    if qty % instrument.lot:
        return Reason.LOT_SIZE, f"{_qty(instrument, qty)}, lot {_qty(instrument, instrument.lot)}"
    return None


def terms(intent: Intent, market_ns: int) -> Refusal:
    """How long, and on which conditions: GTD and only GTD has a time, on the trading clock and not passed;
    only a limit order that may rest can be post-only; an entry is not reduce-only."""
    force = intent.time_in_force
    if (force is _GTD) is (intent.expire_ns <= 0) or (force is _GTD and intent.expire_ns <= market_ns):
        return Reason.EXPIRY, f"{force} until {intent.expire_ns}, now {market_ns}"
    if intent.post_only and (intent.order_type is not _LIMIT or force not in _RESTS):
        return Reason.MALFORMED, f"post-only {intent.order_type} {force}"
    if intent.reduce_only:
        return Reason.MALFORMED, "reduce-only, and there is not that much to reduce"
    return None


def self_trade(intent: Intent, reference: int, nearest: int) -> Refusal:
    """Would meet our own working order on the other side (CONTROLS 10), whosever it is.

    nearest: its price.  A market order is judged at the touch, a stop at its trigger: how deep it goes from
    there only the book knows, and the venue's self-trade prevention, which is set on the wire too.
    """
    kind = intent.order_type
    reach = reference if kind is _MARKET else (intent.stop_price if kind is _STOP else intent.price) or 0
    crosses = nearest <= reach if intent.side is _BUY else nearest >= reach
    return (Reason.SELF_TRADE, "a working order of this account stands there") if crosses else None


def size(intent: Intent, instrument: Instrument, limits: InstrumentLimits, dear: int) -> Refusal:
    """Smallest and largest quantity and value; value at `dear`, see `dearest`."""
    qty = intent.qty
    if qty < instrument.min_qty:
        return Reason.QTY_TOO_SMALL, f"{_qty(instrument, qty)} < {_qty(instrument, instrument.min_qty)}"
    if qty > limits.max_order_qty or qty > instrument.max_qty:
        largest = min(limits.max_order_qty, instrument.max_qty)
        return Reason.QTY_TOO_LARGE, f"{_qty(instrument, qty)} > {_qty(instrument, largest)}"
    value = qty * dear * instrument.amount_factor
    if value > limits.max_order_value:
        return Reason.VALUE_TOO_LARGE, f"{_money(value)} > {_money(limits.max_order_value)}"
    if value < instrument.min_value:
        return Reason.VALUE_TOO_SMALL, f"{_money(value)} < {_money(instrument.min_value)}"
    return None


def dearest(intent: Intent, reference: int) -> int:
    """The highest price this order can be expected to fill at: limit, trigger or reference."""
    kind, price = intent.order_type, intent.price
    if kind is _STOP or kind is _STOP_LIMIT:
        price = max(price or 0, intent.stop_price or 0)  # type: ignore[assignment]
    return price if price is not None and price > reference else reference


def cheapest(intent: Intent, reference: int) -> int:
    """The lowest price this order can be expected to fill at; a market order may slip below it."""
    price = intent.stop_price if intent.order_type is _STOP else intent.price
    return price if price is not None and price < reference else reference


def collar(intent: Intent, instrument: Instrument, limits: InstrumentLimits, reference: int) -> Refusal:
    """|price − reference| ≤ collar × reference. A stop-limit is measured from its trigger, where the market
    will be by then."""
    price = intent.price
    if intent.order_type is _STOP_LIMIT:
        reference = intent.stop_price or reference
    if price is None or abs(price - reference) * PPM_ONE <= limits.collar_ppm * reference:
        return None
    band = f"{_price(instrument, reference)} ± {format_share(limits.collar_ppm)}"
    return Reason.PRICE_COLLAR, f"{_price(instrument, price)} outside {band}"


def stop(
    intent: Intent, instrument: Instrument, limits: InstrumentLimits, source: SourceLimits, reference: int
) -> tuple[int, bool] | tuple[Reason, str]:
    """The protective stop to attach and whether it is the source's configured one; or a refusal.

    The stop lies below the entry of a buy and above that of a sell, on a tick, within the largest distance.
    """
    kind = intent.order_type
    given = None if kind is _STOP or kind is _STOP_LIMIT else intent.stop_price
    entry = (intent.stop_price if kind is _STOP else intent.price) or reference
    buying = intent.side is _BUY
    if given is None:
        if source.default_stop_ppm is None:
            return Reason.STOP_MISSING, "no stop given and no default_stop configured"
        distance = entry * source.default_stop_ppm // PPM_ONE
        raw = entry - distance if buying else entry + distance
        price = round_up(raw, instrument.tick) if buying else round_down(raw, instrument.tick)
    else:
        price = given
        if price % instrument.tick:
            return Reason.TICK_SIZE, f"stop {_price(instrument, price)}"
    if price <= 0 or (price >= entry if buying else price <= entry):
        return Reason.STOP_SIDE, f"stop {_price(instrument, price)}, entry {_price(instrument, entry)}"
    if abs(entry - price) * PPM_ONE > limits.max_stop_ppm * entry:
        return Reason.STOP_DISTANCE, f"stop {_price(instrument, price)}, entry {_price(instrument, entry)}"
    return price, given is None


def worst_case(intent: Intent, view: InstrumentView, dear: int) -> int:
    """Value of the position if this order and every working order of its side fill (CONTROLS 8; not netted).

    Valued at the dearest of this order's price, the mark of what is held and the working entries' prices.
    """
    top = dear  # compared one by one: max() of four takes three times as long
    if intent.side is _BUY:
        units, working = view.position + view.working_buy + intent.qty, view.buy_top
    else:
        units, working = view.working_sell + intent.qty - view.position, view.sell_top
    if working > top:
        top = working
    if view.ask > top:
        top = view.ask
    if view.last > top:
        top = view.last
    return units * top * view.instrument.amount_factor


def position_limit(intent: Intent, view: InstrumentView, limits: InstrumentLimits) -> Refusal:
    """Position with everything that works on this side, sides not netted, in units (CONTROLS 8)."""
    if intent.side is _BUY:
        worst = view.position + view.working_buy + intent.qty
    else:
        worst = view.working_sell + intent.qty - view.position
    if worst <= limits.max_position_qty:
        return None
    most = _qty(view.instrument, limits.max_position_qty)
    return Reason.POSITION_LIMIT, f"{_qty(view.instrument, worst)} > {most}"


def exposure(
    intent: Intent, view: InstrumentView, account: AccountView, limits: AccountLimits, dear: int
) -> Refusal:
    """The position's share of portfolio value (RSK-06), and that of all positions together (CONTROLS 1)."""
    worst, equity, before = worst_case(intent, view, dear), account.equity, view.worst
    if worst * PPM_ONE > limits.position_cap_ppm * equity:
        allowed = format_share(limits.position_cap_ppm)
        return Reason.POSITION_CAP, f"{_money(worst)} > {allowed} of the portfolio"
    if worst > before and (account.gross - before + worst) * PPM_ONE > limits.leverage_ppm * equity:
        return Reason.LEVERAGE, f"{_money(worst)} more than {format_share(limits.leverage_ppm)} leave"
    return None


def correlation(intent: Intent, moves_with: bool | None) -> Refusal:
    """Nothing beside a position that moves with it (RSK-08); whose that is, is nobody's business.

    moves_with: see ports.AccountView.correlated.
    """
    if moves_with is False:
        return None
    reason = Reason.CORRELATION_UNKNOWN if moves_with is None else Reason.CORRELATION
    return reason, f"{intent.side} {intent.instrument}"


def allocation(
    intent: Intent, view: InstrumentView, exposure: int, source: SourceLimits, dear: int, fees: FeeView
) -> Refusal:
    """Cost of what the source holds, has working and asks for, each with one fee at the highest rate: the one
    its entry, or leaving what is held, will still cost (CONTROLS 1: the capital an order ties up)."""
    value = intent.qty * dear * view.instrument.amount_factor
    if (exposure + value) * fees.cost_ppm <= (source.allocation - fees.cost_fixed) * PPM_ONE:
        return None
    fee = (exposure + value) * (fees.cost_ppm - PPM_ONE) // PPM_ONE + fees.cost_fixed
    sums = f"{_money(exposure)} + {_money(value)} + fees {_money(fee)}"
    return Reason.ALLOCATION, f"{sums} > {_money(source.allocation)}"


def _price(instrument: Instrument, price: int) -> str:
    return format_scaled(price, instrument.price_exp)


def _qty(instrument: Instrument, qty: int) -> str:
    return format_scaled(qty, instrument.qty_exp)


def _money(amount: int) -> str:
    return format_scaled(amount // 10**8, 2)
