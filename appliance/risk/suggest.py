"""How large an entry may sensibly be (RSK-17, RSK-18, RSK-29; P21, U27): fixed fractional, then every limit.

    quantity = risk budget ÷ |entry − stop|       risk budget: a share of portfolio value

in lots and in money, never a ratio. Every limit the gate applies to size caps it, each rounded down, so
that the gate never denies a suggested size for being too large. A suggestion is not an order and not a
limit: a source may ask for less, and for more as far as the gate lets it.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from appliance.domain.intent import Side
from appliance.domain.money import PPM_ONE, Amount, Qty, round_down
from appliance.domain.reasons import Reason
from appliance.ports import AccountView, InstrumentView
from appliance.risk.limits import AccountLimits, InstrumentLimits, SourceLimits
from appliance.risk.margin import liquidation_after, outlives


class Suggestion(Struct, frozen=True, kw_only=True):
    """qty: whole lots, 0 if not even the smallest order fits.  value: of it at the entry price.

    at_risk: what is lost at the stop, costs not counted.  bound_by: what keeps it from being larger,
    `RISK` or the reason code the gate would give.
    """

    qty: Qty
    value: Amount
    at_risk: Amount
    bound_by: str


def suggest(
    side: Side,
    entry: int,
    stop: int,
    view: InstrumentView,
    account: AccountView,
    limits: InstrumentLimits,
    whole: AccountLimits,
    source: SourceLimits,
    exposure: int,
    lowest: int,
) -> Suggestion:
    """entry, stop: prices.  exposure: cost of what the source holds and has working, an amount.

    `entry` is taken as the dearest price the order fills at, `lowest` as the cheapest, which is the worse for
    the liquidation price of a sale; a market order is meant at the ask or bid.
    """
    instrument = view.instrument
    rooms = dict(_rooms(side, entry, stop, view, account, limits, whole, source, exposure))
    bound_by = min(rooms, key=lambda name: rooms[name])
    qty = round_down(max(0, rooms[bound_by]), instrument.lot)
    outliving = _outliving(side, qty, entry if side is Side.BUY else lowest, stop, view, account)
    if outliving < qty:
        qty, bound_by = outliving, Reason.LIQUIDATION
    value = instrument.notional(entry, qty)
    if qty < instrument.min_qty or value < instrument.min_value:
        qty, value = 0, Amount(0)
    at_risk = instrument.notional(abs(entry - stop), qty)
    return Suggestion(qty=Qty(qty), value=value, at_risk=at_risk, bound_by=bound_by)


def _rooms(
    side: Side,
    entry: int,
    stop: int,
    view: InstrumentView,
    account: AccountView,
    limits: InstrumentLimits,
    whole: AccountLimits,
    source: SourceLimits,
    exposure: int,
) -> Iterator[tuple[str, int]]:
    """What each limit leaves, in units of quantity; negative where it is passed already."""
    factor, equity = view.instrument.amount_factor, max(0, account.equity)
    distance = (entry - stop) * side.sign
    if entry <= 0 or distance <= 0:
        yield Reason.STOP_SIDE, 0
        return
    yield "RISK", equity * whole.risk_ppm // (PPM_ONE * distance * factor)
    yield Reason.QTY_TOO_LARGE, min(limits.max_order_qty, view.instrument.max_qty)
    yield Reason.VALUE_TOO_LARGE, limits.max_order_value // (entry * factor)
    yield Reason.ALLOCATION, (source.allocation - exposure) // (entry * factor)
    if side is Side.BUY:
        taken, dearest = view.position + view.working_buy, view.buy_top
    else:
        taken, dearest = view.working_sell - view.position, view.sell_top
    unit = max(entry, view.ask, view.last, dearest) * factor
    yield Reason.POSITION_CAP, whole.position_cap_ppm * equity // (PPM_ONE * unit) - taken
    others = account.gross - view.worst
    most = max(whole.leverage_ppm * equity // PPM_ONE - others, view.worst)
    yield Reason.LEVERAGE, most // unit - taken
    terms = view.instrument.margin
    if terms is not None:
        yield Reason.MARGIN_TIER, terms.largest // unit - taken
        budget = account.free_margin * PPM_ONE // whole.margin_ppm
        most = terms.room(budget + terms.initial(view.worst))
        yield Reason.MARGIN, most // unit - taken if budget >= 0 else 0


def _outliving(
    side: Side, qty: int, entry: int, stop: int, view: InstrumentView, account: AccountView
) -> int:
    """At most `qty`, in lots, and such that the stop is reached before the venue liquidates: by halving."""
    if view.instrument.margin is None or not qty:
        return qty
    lot = view.instrument.lot
    good, bad = 0, qty // lot + 1
    lots = qty // lot
    while bad - good > 1:
        price = liquidation_after(side, lots * lot, view, account, entry)
        good, bad = (lots, bad) if outlives(side, stop, price) else (good, lots)
        lots = (good + bad) // 2
    return good * lot
