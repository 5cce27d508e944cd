"""Limits as configured, frozen. No limit has a default: what is not configured denies (CONVENTIONS)."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from appliance.domain.ids import InstrumentId, SourceId
from appliance.domain.money import Amount, Ppm, Qty, share_floor


class AccountLimits(Struct, frozen=True, kw_only=True):
    """Box-wide limits; each is the last allowed value (C24).

    position_cap_ppm: value of one instrument's position with all working orders, of portfolio value.
    leverage_ppm: worst cases of all instruments together, of portfolio value.
    margin_ppm: free margin an order on margin must leave covered, of what the venue asks for it.
    risk_ppm: loss at the stop a suggested size is made for, of portfolio value; a suggestion, not a limit.
    daily_loss_ppm: of the day's first equity.  drawdown_ppm: below the peak.
    max_equity_age_ns: older than this, portfolio value is unknown to new exposure (SAFETY 9).
    market_fallback_ns: without a good price for longer, an exit becomes the venue's market order.
    loss_alert_ppm, loss_slow_ppm: marks of the day's loss before its limit; see `risk.shares`.
    messages: to the venue, a second; messages_kept_ppm of them only for what is no new exposure.
    duplicate_window_ns: the same economics of one source only once within it; 0 allows it.
    """

    position_cap_ppm: Ppm
    leverage_ppm: Ppm
    margin_ppm: Ppm
    risk_ppm: Ppm
    daily_loss_ppm: Ppm
    drawdown_ppm: Ppm
    max_equity_age_ns: int
    market_fallback_ns: int
    loss_alert_ppm: Ppm
    loss_slow_ppm: Ppm
    messages: int
    messages_kept_ppm: Ppm
    duplicate_window_ns: int


class InstrumentLimits(Struct, frozen=True, kw_only=True):
    """Order limits of one instrument.

    max_position_qty: position with all working orders of a side, either side (CONTROLS 8).
    collar_ppm: distance of a limit price from the reference price.  max_stop_ppm: distance of a stop.
    max_spread_ppm: between bid and ask, of the bid.  max_deviation_ppm: of the nearer of them from the last
    trade (CONTROLS 21).
    """

    max_order_qty: Qty
    max_order_value: Amount
    max_position_qty: Qty
    collar_ppm: Ppm
    max_stop_ppm: Ppm
    max_price_age_ns: int
    max_spread_ppm: Ppm
    max_deviation_ppm: Ppm


class SourceLimits(Struct, frozen=True, kw_only=True):
    """What one bot or strategy may do.

    allocation: cost of its positions and working entries.  drawdown_ppm: of its allocation's peak.
    default_stop_ppm: distance of the stop attached to an order without one; None denies such orders.
    messages: to the venue, a second.  entries: in one instrument that may begin to fill within
    entries_window_ns; one more stops the source.
    """

    instruments: frozenset[InstrumentId]
    allocation: Amount
    drawdown_ppm: Ppm
    default_stop_ppm: Ppm | None
    messages: int
    entries: int
    entries_window_ns: int
    allow_short: bool = False


class Limits(Struct, frozen=True, kw_only=True):
    """Everything the gate compares with."""

    account: AccountLimits
    instruments: dict[InstrumentId, InstrumentLimits]
    sources: dict[SourceId, SourceLimits]


def share_of(limits: Limits, share_ppm: int) -> Limits:
    """A share of every limit on how much: largest order, positions, leverage, allocations.

    Rounded down, so never above the share. Limits on how (collar, stop, age, pace) and on losses stay.
    """
    cap = share_floor(limits.account.position_cap_ppm, share_ppm)
    leverage = share_floor(limits.account.leverage_ppm, share_ppm)
    return Limits(
        account=replace(limits.account, position_cap_ppm=Ppm(cap), leverage_ppm=Ppm(leverage)),
        instruments={
            symbol: replace(
                each,
                max_order_qty=Qty(share_floor(each.max_order_qty, share_ppm)),
                max_order_value=Amount(share_floor(each.max_order_value, share_ppm)),
                max_position_qty=Qty(share_floor(each.max_position_qty, share_ppm)),
            )
            for symbol, each in limits.instruments.items()
        },
        sources={
            source: replace(each, allocation=Amount(share_floor(each.allocation, share_ppm)))
            for source, each in limits.sources.items()
        },
    )
