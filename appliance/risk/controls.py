"""Every control on an order that increases exposure, and the protective stop that comes of it.

`quick_stop` is all of them in one pass, for what most entries are: MARKET and LIMIT, good till cancelled, of
an instrument that is paid in full. It says only yes. What it does not pass is judged by `every_control`: it
calls those of `entries` one by one, and alone denies and says why; a test holds the two against each other at
every boundary. The pass saves a dozen calls and what each of them reads again: 1.5 to 2 µs of an approval.
"""

from __future__ import annotations

from appliance.domain.intent import Intent, OrderType, Side, TimeInForce
from appliance.domain.money import PPM_ONE
from appliance.domain.reasons import Reason
from appliance.ports import AccountView, FeeView, InstrumentView
from appliance.risk import entries
from appliance.risk.changes import Working
from appliance.risk.limits import AccountLimits, InstrumentLimits, SourceLimits
from appliance.risk.margin import margin

# Python 3.11 looks an enum member up in 90 ns, a global in 3; every order passes here.
_BUY, _SELL, _GTC = Side.BUY, Side.SELL, TimeInForce.GTC
_LIMIT, _MARKET = OrderType.LIMIT, OrderType.MARKET


def quick_stop(  # noqa: C901 - flat: one control after the other, each as in `entries`
    intent: Intent, view: InstrumentView, limits: InstrumentLimits, source: SourceLimits,
    bounds: AccountLimits, account: AccountView, fees: FeeView, working: Working, freed: int,
) -> int:  # fmt: skip
    """The protective stop of an entry that passes every control; 0 for one they must be asked about.

    freed: see `gate`.
    """
    own, instrument, qty, price = account.source(intent.source), view.instrument, intent.qty, intent.price
    if own is None:
        return 0
    buying, factor, tick = intent.side is _BUY, instrument.amount_factor, instrument.tick
    entry = dear = view.ask if buying else view.bid
    if price is None:
        if intent.order_type is not _MARKET:
            return 0
    else:
        if intent.order_type is not _LIMIT or price <= 0 or price % tick:
            return 0
        if abs(price - entry) * PPM_ONE > limits.collar_ppm * entry:
            return 0
        entry = price
        if price > dear:
            dear = price
    value = qty * dear * factor
    if (
        qty < instrument.min_qty or qty % instrument.lot
        or qty > limits.max_order_qty or qty > instrument.max_qty
        or value > limits.max_order_value or value < instrument.min_value
        or intent.time_in_force is not _GTC or intent.expire_ns or intent.post_only or intent.reduce_only
        or instrument.margin is not None
    ):  # fmt: skip
        return 0
    if buying:  # `dear` is not below the ask
        units, top = view.position + view.working_buy + qty, view.buy_top
    else:
        units, top = view.working_sell + qty - view.position, view.sell_top
        if view.ask > top:
            top = view.ask
    if dear > top:
        top = dear
    if view.last > top:
        top = view.last
    worst, before, equity = units * top * factor, view.worst, account.equity
    if (
        units > limits.max_position_qty
        or worst * PPM_ONE > bounds.position_cap_ppm * equity
        or (worst > before and (account.gross - before + worst) * PPM_ONE > bounds.leverage_ppm * equity)
        or (own.held_cost + own.working_cost - freed + value) * fees.cost_ppm
        > (source.allocation - fees.cost_fixed) * PPM_ONE
        or account.correlated(intent.instrument, intent.side) is not False
    ):
        return 0
    nearest = working.nearest(intent.instrument, _SELL if buying else _BUY)
    if nearest is not None and (nearest <= entry if buying else nearest >= entry):
        return 0
    stop: int | None = intent.stop_price
    if stop is None:
        stop = _default_stop(entry, tick, source.default_stop_ppm or 0, buying)
    elif stop % tick:
        return 0
    away = entry - stop if buying else stop - entry
    return stop if stop > 0 and away > 0 and away * PPM_ONE <= limits.max_stop_ppm * entry else 0


def _default_stop(entry: int, tick: int, distance_ppm: int, buying: bool) -> int:
    """On the tick nearer to the entry; without a distance the entry itself, which is no stop."""
    distance = entry * distance_ppm // PPM_ONE
    if buying:
        stop = entry - distance
        return stop + -stop % tick
    stop = entry + distance
    return stop - stop % tick


def every_control(
    intent: Intent, view: InstrumentView, limits: InstrumentLimits, source: SourceLimits,
    bounds: AccountLimits, account: AccountView, fees: FeeView, working: Working, freed: int,
    market_ns: int,
) -> tuple[int, bool] | tuple[Reason, str]:  # fmt: skip
    """(stop, whether it is the source's configured one), or why not: the first control in this order."""
    instrument = view.instrument
    reference = view.ask if intent.side is _BUY else view.bid
    dear = entries.dearest(intent, reference)
    plain = intent.time_in_force is _GTC and not (intent.expire_ns or intent.post_only or intent.reduce_only)
    refusal = (
        entries.shape(intent, instrument)
        or (None if plain else entries.terms(intent, market_ns))
        or entries.size(intent, instrument, limits, dear)
        or entries.collar(intent, instrument, limits, reference)
        or entries.position_limit(intent, view, limits)
        or entries.exposure(intent, view, account, bounds, dear)
        or entries.allocation(
            intent, view, account.source_exposure(intent.source) - freed, source, dear, fees
        )
        or _self_trade(intent, reference, working)
        or entries.correlation(intent, account.correlated(intent.instrument, intent.side))
    )
    if refusal is not None:
        return refusal
    stop, second = entries.stop(intent, instrument, limits, source, reference)
    if not isinstance(stop, Reason) and instrument.margin is not None:
        entry = dear if intent.side is _BUY else entries.cheapest(intent, reference)
        worst = entries.worst_case(intent, view, dear)
        lacking = margin(instrument.margin, intent, view, account, bounds, worst, entry, stop)
        if lacking is not None:
            return lacking
    return stop, second  # type: ignore[return-value]


def _self_trade(intent: Intent, reference: int, working: Working) -> entries.Refusal:
    nearest = working.nearest(intent.instrument, _SELL if intent.side is _BUY else _BUY)
    return entries.self_trade(intent, reference, nearest) if nearest is not None else None
