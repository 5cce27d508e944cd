"""Approvals field by field: what leaves is exactly this, and nothing of another order is in it (SAFETY 4)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import asdict

from appliance.domain.ids import OrderId, derive_order_id
from appliance.domain.intent import Action, ListKind, OrderType, SelfTrade, Side, TimeInForce
from appliance.domain.money import Price, Qty
from appliance.domain.reasons import Reason
from appliance.domain.verdict import Approved, Denied, Flag, OrderClass
from tests.kit import BOT, SPX, START_NS, Core

LATEST_NS = START_NS + 250_000_000
ENTRY: dict[str, Any] = {
    "order_class": OrderClass.INCREASE, "side": Side.BUY, "qty": 100, "order_type": OrderType.MARKET,
    "attached_stop": 95_000, "flags": Flag.STOP_ATTACHED,
}  # fmt: skip
EXIT: dict[str, Any] = {
    "order_class": OrderClass.REDUCE, "side": Side.SELL, "qty": 40, "order_type": OrderType.MARKET,
    "reduce_only": True, "self_trade": SelfTrade.CANCEL_OLDEST,
}  # fmt: skip
STOP: dict[str, Any] = {
    "order_class": OrderClass.PROTECTIVE, "side": Side.SELL, "qty": 100, "order_type": OrderType.STOP,
    "stop_price": 96_000, "reduce_only": True, "protects": "il-entry", "self_trade": SelfTrade.CANCEL_OLDEST,
}  # fmt: skip
CANCEL: dict[str, Any] = {
    "order_id": "il-entry", "action": Action.CANCEL, "order_class": OrderClass.CANCEL, "side": Side.BUY,
    "qty": 0, "order_type": OrderType.MARKET, "self_trade": SelfTrade.CANCEL_OLDEST,
}  # fmt: skip
NOTHING: dict[str, Any] = {
    "source": BOT, "instrument": SPX, "action": Action.NEW, "price": None, "stop_price": None,
    "attached_stop": None, "time_in_force": TimeInForce.GTC, "reduce_only": False, "protects": None,
    "latch_epoch": 7, "deadline_ns": LATEST_NS, "flags": Flag.NONE, "expire_ns": 0, "post_only": False,
    "target": None, "link": None, "self_trade": SelfTrade.CANCEL_NEWEST,
}  # fmt: skip


@pytest.mark.parametrize("wanted", [ENTRY, EXIT, STOP, CANCEL], ids=["entry", "exit", "stop", "cancel"])
def test_an_approval_is_exactly_what_was_asked_for(wanted: dict[str, Any]) -> None:
    """100 are held and the market stands at 1,000.00: every field is the wish's, the gate's, or nothing."""
    core = Core()
    asyncio.run(core.hold_position(100))
    wish = core.intent(
        side=wanted["side"],
        qty=Qty(wanted["qty"]),
        order_type=wanted["order_type"],
        stop_price=None if "stop_price" not in wanted else Price(wanted["stop_price"]),
        protects=wanted.get("protects"),
        action=wanted.get("action", Action.NEW),
        target=OrderId("il-entry") if wanted is CANCEL else None,
    )
    own = {"order_id": derive_order_id("test", BOT, wish.id), "intent_id": wish.id}
    verdict = core.gate.check(wish)
    assert isinstance(verdict, Approved)
    assert asdict(verdict) == NOTHING | own | wanted


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_list_that_is_none_is_denied_under_the_name_of_its_first_order(count: int) -> None:
    """An OCO of nothing, of one order, of two on different sides: never an error, always a reason."""
    core = Core()
    asyncio.run(core.market(100_000))
    wishes = [core.intent(side=side, qty=Qty(1)) for side in (Side.BUY, Side.SELL)][:count]
    verdict = core.gate.check_list(ListKind.OCO, wishes)
    assert isinstance(verdict, Denied)
    assert verdict.reason is Reason.ORDER_LIST
    assert verdict.intent_id == (wishes[0].id if wishes else "")
