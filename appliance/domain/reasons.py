"""Reason codes of a denial: one enum, each with the sentence the README table prints (tests/rules)."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why the appliance refused. Sources may rely on the names; they are never reused."""

    TRIPPED = "TRIPPED"
    NOT_ARMED = "NOT_ARMED"
    MODE_PAUSED = "MODE_PAUSED"
    MODE_REDUCED = "MODE_REDUCED"
    MODE_EMERGENCY = "MODE_EMERGENCY"
    BREAKER_OPEN = "BREAKER_OPEN"
    HOLD = "HOLD"
    GUARD_MISSING = "GUARD_MISSING"
    GUARD_LATE = "GUARD_LATE"
    PAGE_MISMATCH = "PAGE_MISMATCH"
    DUPLICATE_ID = "DUPLICATE_ID"
    DUPLICATE_ECONOMICS = "DUPLICATE_ECONOMICS"
    THROTTLED = "THROTTLED"
    MALFORMED = "MALFORMED"
    UNKNOWN_INSTRUMENT = "UNKNOWN_INSTRUMENT"
    NOT_ALLOWED = "NOT_ALLOWED"
    NO_LIMIT = "NO_LIMIT"
    TICK_SIZE = "TICK_SIZE"
    LOT_SIZE = "LOT_SIZE"
    QTY_TOO_SMALL = "QTY_TOO_SMALL"
    QTY_TOO_LARGE = "QTY_TOO_LARGE"
    VALUE_TOO_SMALL = "VALUE_TOO_SMALL"
    VALUE_TOO_LARGE = "VALUE_TOO_LARGE"
    PRICE_MISSING = "PRICE_MISSING"
    PRICE_STALE = "PRICE_STALE"
    PRICE_CROSSED = "PRICE_CROSSED"
    PRICE_SPREAD = "PRICE_SPREAD"
    PRICE_DEVIATION = "PRICE_DEVIATION"
    PRICE_COLLAR = "PRICE_COLLAR"
    STOP_MISSING = "STOP_MISSING"
    STOP_SIDE = "STOP_SIDE"
    STOP_DISTANCE = "STOP_DISTANCE"
    EQUITY_MISSING = "EQUITY_MISSING"
    EQUITY_STALE = "EQUITY_STALE"
    FEES_MISSING = "FEES_MISSING"
    FEES_STALE = "FEES_STALE"
    POSITION_CAP = "POSITION_CAP"
    POSITION_LIMIT = "POSITION_LIMIT"
    ALLOCATION = "ALLOCATION"
    LEVERAGE = "LEVERAGE"
    CORRELATION = "CORRELATION"
    CORRELATION_UNKNOWN = "CORRELATION_UNKNOWN"
    MARGIN = "MARGIN"
    MARGIN_TIER = "MARGIN_TIER"
    LIQUIDATION = "LIQUIDATION"
    DAILY_LOSS = "DAILY_LOSS"
    DRAWDOWN = "DRAWDOWN"
    STRATEGY_STOPPED = "STRATEGY_STOPPED"
    RECOVERY_LIMIT = "RECOVERY_LIMIT"
    LOSS_SLOW = "LOSS_SLOW"
    EXPIRY = "EXPIRY"
    UNKNOWN_ORDER = "UNKNOWN_ORDER"
    CANNOT_AMEND = "CANNOT_AMEND"
    ORDER_LIST = "ORDER_LIST"
    SELF_TRADE = "SELF_TRADE"
    BACKPRESSURE = "BACKPRESSURE"
    LATCH_MOVED = "LATCH_MOVED"
    APPROVAL_EXPIRED = "APPROVAL_EXPIRED"


MEANING: dict[Reason, str] = {
    Reason.TRIPPED: "the gate is latched shut; arm the box after the cause is gone",
    Reason.NOT_ARMED: "nobody has armed the box since it started",
    Reason.MODE_PAUSED: "mode PAUSED takes no new exposure",
    Reason.MODE_REDUCED: "mode REDUCED only works exposure down",
    Reason.MODE_EMERGENCY: "mode EMERGENCY only cancels and liquidates",
    Reason.BREAKER_OPEN: "calls to the venue or its market failed too often; it ends when probes succeed",
    Reason.HOLD: "a hold stands on the box, the venue or the instrument; it ends with its cause",
    Reason.GUARD_MISSING: "the guard's page is not there or belongs to another boot",
    Reason.GUARD_LATE: "the guard's heartbeat is older than 250 ms",
    Reason.PAGE_MISMATCH: "the armed epoch and its complement disagree",
    Reason.DUPLICATE_ID: "this id was used before; an order is never sent twice",
    Reason.DUPLICATE_ECONOMICS: "the same source asked for the same order a moment ago, under another id",
    Reason.THROTTLED: "too many messages a second; a share of the venue's is kept for cancels and exits",
    Reason.MALFORMED: "a field is missing, not positive or does not fit the order type",
    Reason.UNKNOWN_INSTRUMENT: "no instrument of that name is configured",
    Reason.NOT_ALLOWED: "this source may not trade that instrument",
    Reason.NO_LIMIT: "no limit table covers this source or instrument",
    Reason.TICK_SIZE: "a price is not a multiple of the tick",
    Reason.LOT_SIZE: "the quantity is not a multiple of the lot",
    Reason.QTY_TOO_SMALL: "below the smallest quantity",
    Reason.QTY_TOO_LARGE: "above the largest order size",
    Reason.VALUE_TOO_SMALL: "below the smallest order value of the venue",
    Reason.VALUE_TOO_LARGE: "above the largest order value",
    Reason.PRICE_MISSING: "no reference price is known",
    Reason.PRICE_STALE: "the reference price is too old",
    Reason.PRICE_CROSSED: "bid above ask: the prices cannot be right",
    Reason.PRICE_SPREAD: "bid and ask lie further apart than allowed",
    Reason.PRICE_DEVIATION: "bid and ask lie further from the last trade than allowed",
    Reason.PRICE_COLLAR: "the price is outside the collar around the reference price",
    Reason.STOP_MISSING: "no protective stop, and none configured for this source",
    Reason.STOP_SIDE: "the protective stop is on the wrong side of the price",
    Reason.STOP_DISTANCE: "the protective stop is further away than allowed",
    Reason.EQUITY_MISSING: "the venue has not confirmed the account's value",
    Reason.EQUITY_STALE: "the account's value is too old",
    Reason.FEES_MISSING: "the venue has not told its fee schedule",
    Reason.FEES_STALE: "the fee schedule is older than five minutes",
    Reason.POSITION_CAP: "position with all working orders would pass the cap",
    Reason.POSITION_LIMIT: "position with all working orders would pass the instrument's largest",
    Reason.ALLOCATION: "the strategy's exposure would pass its allocation",
    Reason.LEVERAGE: "all positions with all working orders would pass the leverage limit",
    Reason.CORRELATION: "it would stand beside a position that moves with it",
    Reason.CORRELATION_UNKNOWN: "too little common history with what is held: counted as moving with it",
    Reason.MARGIN: "the free margin does not cover what the venue asks for, with the configured reserve",
    Reason.MARGIN_TIER: "the position would be larger than the venue's last margin tier",
    Reason.LIQUIDATION: "the venue would liquidate the position before its protective stop",
    Reason.DAILY_LOSS: "the daily loss limit is reached",
    Reason.DRAWDOWN: "the account's drawdown limit is reached",
    Reason.STRATEGY_STOPPED: "this strategy was stopped by a limit of its own",
    Reason.RECOVERY_LIMIT: "within its limits, but above the share of them the recovery plan grants for now",
    Reason.LOSS_SLOW: "the day's loss has passed its second mark: half of every limit, until the day is over",
    Reason.EXPIRY: "a GTD order without a time, or with one that has passed",
    Reason.UNKNOWN_ORDER: "the order to change is not one of this source's working orders",
    Reason.CANNOT_AMEND: "this order cannot be changed in that way",
    Reason.ORDER_LIST: "the orders of the list do not fit together; none was sent",
    Reason.SELF_TRADE: "it would trade with a working order of this account",
    Reason.BACKPRESSURE: "too many entries are on their way to the log or the venue; ask again later",
    Reason.LATCH_MOVED: "the latch moved between the gate and the wire",
    Reason.APPROVAL_EXPIRED: "the approval was older than 250 ms at the wire",
}
