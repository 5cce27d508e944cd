"""What a paper venue promises: fees, spread, depth, and the shape of an order on its wire."""

from __future__ import annotations

from msgspec import Struct

from appliance.domain.fees import FeeSchedule, FeeTier
from appliance.domain.ids import InstrumentId, ListId, OrderId
from appliance.domain.instrument import Instrument
from appliance.domain.intent import ListKind, OrderType, SelfTrade, Side, TimeInForce
from appliance.domain.money import PPM_ONE, Amount, Ppm, Price, Qty, round_down, round_up
from appliance.domain.observation import Bar, Quote, Trade
from appliance.domain.verdict import Approved, ApprovedList

LEVELS = 5


class Latency(Struct, frozen=True, kw_only=True):
    """Log-normal travel times: median e^mu ms (ORD-20 has mu = 3.9, sigma = 0.3), drawn per order id."""

    seed: int
    mu: float = 3.9
    sigma: float = 0.3


class PaperTerms(Struct, frozen=True, kw_only=True):
    """start_cash: of a new account.  spread_ppm: synthetic, full spread around a bar's path; configured and
    shown (CONVENTIONS).  depth_value: what the synthetic market shows on each of its five price levels.
    latency: how long an order travels before it meets the market; None: until the next market event.
    maker_fee_ppm, taker_fee_ppm: from volume 0 on; tiers: those above, rising."""

    start_cash: Amount
    maker_fee_ppm: Ppm
    taker_fee_ppm: Ppm
    spread_ppm: Ppm
    depth_value: Amount
    allow_short: bool
    latency: Latency | None = None
    tiers: tuple[FeeTier, ...] = ()
    network_fee: Amount = Amount(0)
    fee_unit: Amount = Amount(1)


def make_fees(terms: PaperTerms) -> FeeSchedule:
    """The schedule the venue charges by and serves. Raises ValueError for one nobody could charge by."""
    first = FeeTier(volume_from=Amount(0), maker_ppm=terms.maker_fee_ppm, taker_ppm=terms.taker_fee_ppm)
    return FeeSchedule(tiers=(first, *terms.tiers), unit=terms.fee_unit, network_fee=terms.network_fee)


class NewOrder(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An order as the paper venue receives it; time of sending and validity window travel as headers."""

    order_id: OrderId
    instrument: InstrumentId
    side: Side
    qty: Qty
    order_type: OrderType
    price: Price | None
    stop_price: Price | None
    attached_stop: Price | None
    time_in_force: TimeInForce
    reduce_only: bool
    expire_ns: int = 0
    post_only: bool = False
    self_trade: SelfTrade = SelfTrade.CANCEL_NEWEST


class NewList(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Orders that are accepted together or not at all; in OTO and OTOCO the first is the lead."""

    list_id: ListId
    kind: ListKind
    orders: list[NewOrder]


class AmendOrder(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an order is to become. qty: the new total; a price that is None stays."""

    qty: Qty
    price: Price | None
    stop_price: Price | None


class ReplaceOrder(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`target` ends and `order` takes its place, or neither happens."""

    target: OrderId
    order: NewOrder


class MarketStep(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One move of the paper market as it travels; numbered from 1."""

    number: int
    observation: Bar | Quote | Trade


def to_wire(order: Approved) -> NewOrder:
    """What leaves for an approved order."""
    return NewOrder(
        order_id=order.order_id,
        instrument=order.instrument,
        side=order.side,
        qty=order.qty,
        order_type=order.order_type,
        price=order.price,
        stop_price=order.stop_price,
        attached_stop=order.attached_stop,
        time_in_force=order.time_in_force,
        reduce_only=order.reduce_only,
        expire_ns=order.expire_ns,
        post_only=order.post_only,
        self_trade=order.self_trade,
    )


def list_to_wire(orders: ApprovedList) -> NewList:
    """What leaves for an approved order list."""
    return NewList(
        list_id=orders.list_id, kind=orders.kind, orders=[to_wire(order) for order in orders.orders]
    )


def amend_to_wire(order: Approved) -> AmendOrder:
    """What leaves for an approved amendment."""
    return AmendOrder(qty=order.qty, price=order.price, stop_price=order.stop_price)


def half_spread(instrument: Instrument, price: int, terms: PaperTerms) -> int:
    """Half of the synthetic spread at `price`, rounded up to a tick (against us) and at least one."""
    return max(instrument.tick, round_up(-(-price * terms.spread_ppm // (2 * PPM_ONE)), instrument.tick))


def ladder(instrument: Instrument, best: int, away: int, step: int, terms: PaperTerms) -> dict[int, int]:
    """Five levels of displayed size from `best` on, `away` = -1 for bids, +1 for asks."""
    sizes: dict[int, int] = {}
    for index in range(LEVELS):
        price = best + away * index * step
        if price <= 0:
            break
        qty = terms.depth_value // (price * instrument.amount_factor)
        sizes[price] = max(instrument.lot, round_down(qty, instrument.lot))
    return sizes
