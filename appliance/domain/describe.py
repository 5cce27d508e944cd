"""Values as people and auditors read them in the log: decimals as strings (AUDIT-FORMATS 10)."""

from __future__ import annotations

from functools import cache

from appliance.domain.instrument import Instrument
from appliance.domain.intent import Action, Intent
from appliance.domain.money import AMOUNT_EXP, format_scaled
from appliance.domain.order import Fill, Order
from appliance.domain.signal import Signal
from appliance.domain.verdict import Approved, Denied, Flag, Verdict

_CANCEL = Action.CANCEL  # Python 3.11 looks an enum member up in 90 ns, a global in 3


def price_text(instrument: Instrument, price: int | None) -> str:
    """A price with the instrument's decimals; empty if there is none."""
    return "" if price is None else format_scaled(price, instrument.price_exp)


def qty_text(instrument: Instrument, qty: int) -> str:
    """A quantity with the instrument's decimals."""
    return format_scaled(qty, instrument.qty_exp)


def describe_signal(signal: Signal, instrument: Instrument) -> dict[str, object]:
    """Who concluded what, from which numbers."""
    return {
        "strategy": signal.strategy,
        "instrument": signal.instrument,
        "direction": signal.direction,
        "event_ns": str(signal.event_ns),
        "reference": price_text(instrument, signal.reference_price),
        "stop": price_text(instrument, signal.stop_price),
        "reason": signal.reason,
    }


def describe_intent(intent: Intent, instrument: Instrument | None) -> dict[str, object]:
    """A wish; of an unknown instrument only its name and the raw numbers can be told."""
    data: dict[str, object] = {
        "intent": intent.id,
        "source": intent.source,
        "instrument": intent.instrument,
        "action": intent.action,
        "created_ns": str(intent.created_ns),
        "attempt": intent.attempt,
    }
    if intent.action is _CANCEL:
        data["target"] = intent.target or ""
        return data
    data["side"] = intent.side
    if instrument is None:
        data["raw_qty"], data["raw_price"] = str(intent.qty), str(intent.price)
        return data
    data["type"] = intent.order_type
    data["qty"] = qty_text(instrument, intent.qty)
    data["price"] = price_text(instrument, intent.price)
    data["stop"] = price_text(instrument, intent.stop_price)
    return data


def describe_verdict(verdict: Verdict, instrument: Instrument | None) -> dict[str, object]:
    """What the gate said, with the numbers that decided or the order as it may leave."""
    data: dict[str, object] = {
        "intent": verdict.intent_id,
        "source": verdict.source,
        "class": verdict.order_class,
    }
    if isinstance(verdict, Denied):
        data["verdict"], data["reason"], data["detail"] = "denied", verdict.reason, verdict.detail
        return data
    data["verdict"], data["order_id"], data["epoch"] = "approved", verdict.order_id, verdict.latch_epoch
    if verdict.action is not _CANCEL and instrument is not None:
        data |= describe_approved(verdict, instrument)
    return data


def describe_approved(order: Approved, instrument: Instrument) -> dict[str, object]:
    """The order as it may leave, with how it differs from its intent."""
    return {
        "instrument": order.instrument,
        "side": order.side,
        "type": order.order_type,
        "qty": qty_text(instrument, order.qty),
        "price": price_text(instrument, order.price),
        "trigger": price_text(instrument, order.stop_price),
        "attached_stop": price_text(instrument, order.attached_stop),
        "reduce_only": order.reduce_only,
        "flags": list(_flag_names(int(order.flags))),
    }


@cache
def _flag_names(flags: int) -> tuple[str, ...]:
    """Of every flag that is set; to walk an IntFlag takes longer than the gate."""
    return tuple(flag.name for flag in Flag if flag in Flag(flags) and flag.name)


def describe_order(order: Order, instrument: Instrument) -> dict[str, object]:
    """State of an order after something happened to it."""
    return {
        "order_id": order.id,
        "source": order.source,
        "instrument": order.instrument,
        "class": order.order_class,
        "state": order.state,
        "side": order.side,
        "qty": qty_text(instrument, order.qty),
        "filled": qty_text(instrument, order.filled),
    }


def describe_fill(fill: Fill, source: str, instrument: Instrument) -> dict[str, object]:
    """One execution."""
    return {
        "trade": fill.trade_id,
        "order_id": fill.order_id,
        "source": source,
        "instrument": fill.instrument,
        "side": fill.side,
        "qty": qty_text(instrument, fill.qty),
        "price": price_text(instrument, fill.price),
        "fee": format_scaled(fill.fee, AMOUNT_EXP),
        "maker": fill.maker,
        "event_ns": str(fill.event_ns),
    }
