"""What the book of orders keeps of an approval, and what it lets go."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import asdict, replace

from appliance.domain.ids import ListId, OrderId
from appliance.domain.intent import Action, Link, ListKind, OrderType, TimeInForce
from appliance.domain.money import Price, Qty
from appliance.domain.order import (
    Accepted,
    Amended,
    AmendRefused,
    Canceled,
    CancelRefused,
    OrderEvent,
    OrderState,
    Rejected,
)
from appliance.domain.verdict import Approved, OrderClass
from appliance.orders.book import Orders
from appliance.orders.booking import cause_of
from tests.kit import Core


def _approved(core: Core) -> Approved:
    asyncio.run(core.market(100_000))
    verdict = core.gate.check(core.intent(order_type=OrderType.LIMIT, price=Price(99_000)))
    assert isinstance(verdict, Approved)
    return verdict


def test_every_field_of_an_approval_is_in_its_order() -> None:
    """By name, each with a value no other field has: an order is made by position."""
    approved = replace(
        _approved(Core()),
        action=Action.REPLACE,
        qty=Qty(11),
        price=Price(12),
        stop_price=Price(13),
        attached_stop=Price(14),
        time_in_force=TimeInForce.GTD,
        expire_ns=17,
        post_only=True,
        reduce_only=True,
        protects=OrderId("il-protected"),
        target=OrderId("il-target"),
        link=Link(ListId("il-list"), ListKind.OCO, 0),
    )
    told = asdict(approved)
    for name in ("action", "latch_epoch", "deadline_ns", "flags", "self_trade"):
        del told[name]  # of the permission, not of the order
    told["id"], told["replaces"] = told.pop("order_id"), told.pop("target")
    own = {"state": OrderState.RECORDED, "filled": 0, "cause": 5, "sent_ns": 0, "pending": None}
    order = Orders().record(approved, 5)
    assert asdict(order) == told | own
    assert {name: type(value) for name, value in asdict(order).items() if name in own} == {
        name: type(value) for name, value in own.items()
    }
    plain = Orders().record(replace(approved, post_only=False), 5)
    assert plain == replace(order, post_only=False)


def test_the_oldest_of_the_ended_are_let_go_first() -> None:
    """As many stay as asked for; one that came back to life is not among them."""
    core, orders = Core(), Orders()
    approved = _approved(core)
    ids = [OrderId(f"il-{number}") for number in range(6)]
    for number, order_id in enumerate(ids):
        orders.record(replace(approved, order_id=order_id), 0)
        orders.move(order_id, OrderEvent.SEND)
        end = Canceled(seq=number, event_ns=1, order_id=order_id, leaves=Qty(1), reason="requested")
        orders.apply(end)
    orders.forget_ended(6)
    assert all(orders.get(order_id) is not None for order_id in ids)
    orders.forget_ended(4)
    assert [order_id for order_id in ids if orders.get(order_id) is not None] == ids[2:]
    orders.forget_ended(0)
    assert [order_id for order_id in ids if orders.get(order_id) is not None] == []


def test_an_order_that_comes_back_is_not_among_the_ended() -> None:
    """Given up, then accepted after all: it is live once, and nothing of it is let go."""
    core, orders = Core(), Orders()
    order = orders.record(_approved(core), 0)
    orders.move(order.id, OrderEvent.NOT_FOUND)
    assert not list(orders.live())
    orders.move(order.id, OrderEvent.ACCEPT)
    assert [each.state for each in orders.live()] == [OrderState.WORKING]
    assert not orders._ended
    orders.forget_ended(0)
    assert orders.get(order.id) is not None


def test_a_stop_the_venue_made_grows_when_it_is_told_again_and_begins_nothing_anew() -> None:
    """Its cancel is on its way: that stays so, with the new size; its source stays its entry's."""
    core = Core()
    asyncio.run(core.hold_position(100))
    (leg,) = core.orders.live()
    assert leg.order_class is OrderClass.PROTECTIVE
    core.orders.move(leg.id, OrderEvent.CANCEL_SEND)
    told = Accepted(
        seq=1, event_ns=1, order_id=leg.id, instrument=leg.instrument, side=leg.side, qty=Qty(150),
        order_type=leg.order_type, stop_price=leg.stop_price, parent=leg.protects,
    )  # fmt: skip
    assert core.orders.apply(told).order == replace(leg, state=OrderState.CANCEL_SENT, qty=Qty(150))
    stray = replace(told, order_id=OrderId("il-nobody"), parent=None)
    assert core.orders.apply(stray).problem.endswith("ACCEPT for unknown order il-nobody")
    orphan = replace(stray, parent=OrderId("il-unknown"))
    assert core.orders.apply(orphan).problem == "stop il-nobody of unknown order il-unknown"


@pytest.mark.parametrize("kind", [Rejected, CancelRefused, AmendRefused, Canceled, Amended, Accepted])
def test_the_log_tells_why(kind: type) -> None:
    """Whatever an event calls it; an event that has no reason is told with none."""
    core = Core()
    approved = _approved(core)
    order = core.orders.record(approved, -1)
    core.desk.booking.count(order)
    for event in (OrderEvent.SEND, OrderEvent.ACCEPT):
        core.orders.move(order.id, event)
    if kind is Rejected:
        core.orders = Orders([replace(order, state=OrderState.SENT)])
        core.desk.booking._orders = core.orders
    elif kind is CancelRefused:
        core.orders.move(order.id, OrderEvent.CANCEL_SEND)
    elif kind is AmendRefused:
        core.orders.amend(approved, 1)
    told: dict[type, dict[str, Any]] = {
        Rejected: {"code": "X", "detail": "because"},
        CancelRefused: {"detail": "because"},
        AmendRefused: {"detail": "because"},
        Canceled: {"leaves": order.qty, "reason": "because"},
        Amended: {"qty": order.qty, "price": order.price, "stop_price": None, "queue_kept": True},
        Accepted: {"instrument": order.instrument, "side": order.side, "qty": order.qty},
    }
    told[Amended]["reason"] = "because"
    told[Accepted]["order_type"] = order.order_type
    seq = core.desk.last_seq + 1
    core.desk.booking.take((kind(seq=seq, event_ns=1, order_id=order.id, **told[kind]),))
    entry = core.scribe.of("order")[-1]
    assert (entry["why"], entry["seq"]) == ("" if kind is Accepted else "because", seq)


@pytest.mark.parametrize(("cause", "causes"), [(-1, ()), (0, (0,)), (1, (1,))])
def test_an_order_names_what_led_to_it(cause: int, causes: tuple[int, ...]) -> None:
    """By its index in the log, whose first entry is 0; -1 where nobody knows."""
    order = Orders().record(_approved(Core()), cause)
    assert cause_of(order) == causes


def test_the_log_has_the_order_as_it_may_leave() -> None:
    """Prices and quantity as text, every flag by name."""
    core = Core()
    asyncio.run(core.market(100_000))
    wish = core.intent(order_type=OrderType.LIMIT, price=Price(99_000))
    asyncio.run(core.desk.place(wish))
    entry = core.scribe.of("verdict")[-1]
    assert {name: entry[name] for name in ("qty", "price", "trigger", "attached_stop", "flags")} == {
        "qty": "1.00",
        "price": "990.00",
        "trigger": "",
        "attached_stop": "940.50",
        "flags": ["STOP_ATTACHED"],
    }
