"""The paper venue's order types, lists, amendments and switches, event by event."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.domain.ids import ListId, OrderId
from appliance.domain.intent import ListKind, OrderType, SelfTrade, Side, TimeInForce
from appliance.domain.money import AMOUNT_ONE, Amount, Ppm, Price, Qty
from appliance.domain.observation import Quote, Trade
from appliance.domain.order import (
    Accepted,
    Amended,
    AmendRefused,
    Canceled,
    Expired,
    Filled,
    Rejected,
    Triggered,
)
from appliance.venues.paper_engine import PaperEngine
from appliance.venues.paper_latency import travel_ns
from appliance.venues.paper_terms import AmendOrder, Latency, NewList, NewOrder, PaperTerms
from tests.kit import SPX, spx

PRICE = 100_000
LIMIT, STOP, STOP_LIMIT = OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT
SELL: dict[str, Any] = {"side": Side.SELL, "reduce_only": True}


def request(name: str, side: Side = Side.BUY, qty: int = 100, **changes: Any) -> NewOrder:
    """A market order unless told otherwise; a price makes it a limit order."""
    fields: dict[str, Any] = {
        "order_type": LIMIT if "price" in changes else OrderType.MARKET,
        "price": None,
        "stop_price": None,
        "attached_stop": None,
        "time_in_force": TimeInForce.GTC,
        "reduce_only": False,
    }
    return NewOrder(order_id=OrderId(name), instrument=SPX, side=side, qty=Qty(qty), **(fields | changes))


class Venue:
    """An engine whose market is quotes of a test's choosing; `now` counts nanoseconds."""

    def __init__(self, *, latency: Latency | None = None, short: bool = True, cash: int = 10**7) -> None:
        terms = PaperTerms(
            start_cash=Amount(cash * AMOUNT_ONE),
            maker_fee_ppm=Ppm(0),
            taker_fee_ppm=Ppm(1_000),
            spread_ppm=Ppm(200),
            depth_value=Amount(10**6 * AMOUNT_ONE),
            allow_short=short,
            latency=latency,
        )
        self.engine = PaperEngine("t", [spx()], terms)
        self.number = self.seen = 0
        self.now = 1_000

    def quote(self, bid: int = PRICE - 10, ask: int = PRICE + 10, qty: int = 1_000, at: int = 0) -> list[str]:
        """Shows a market; returns what happened in short words."""
        self.now = at or self.now + 1
        self.number += 1
        quote = Quote(
            instrument=SPX,
            event_ns=self.now,
            seen_ns=self.now,
            bid=Price(bid),
            bid_qty=Qty(qty),
            ask=Price(ask),
            ask_qty=Qty(qty),
        )
        self.engine.step(quote, self.number)
        return self.news()

    def trade(self, price: int, qty: int, *, sold: bool) -> list[str]:
        """Somebody else's trade."""
        self.now += 1
        self.number += 1
        trade = Trade(
            instrument=SPX,
            event_ns=self.now,
            seen_ns=self.now,
            price=Price(price),
            qty=Qty(qty),
            seller_initiated=sold,
        )
        self.engine.step(trade, self.number)
        return self.news()

    def send(self, name: str, side: Side = Side.BUY, qty: int = 100, **changes: Any) -> list[str]:
        """One order."""
        self.engine.submit(request(name, side, qty, **changes))
        return self.news()

    def send_list(self, kind: ListKind, *orders: NewOrder) -> list[str]:
        """An order list."""
        made = NewList(list_id=ListId(orders[0].order_id), kind=kind, orders=list(orders))
        self.engine.submit_list(made)
        return self.news()

    def amend(self, name: str, qty: int, price: int | None = None, stop: int | None = None) -> list[str]:
        """An amendment."""
        prices = [None if each is None else Price(each) for each in (price, stop)]
        self.engine.amend(OrderId(name), AmendOrder(qty=Qty(qty), price=prices[0], stop_price=prices[1]))
        return self.news()

    def cancel(self, name: str, late: int = 0) -> list[str]:
        """A cancel."""
        self.engine.cancel(OrderId(name), late)
        return self.news()

    def news(self) -> list[str]:
        """Events since the last call, in short words."""
        fresh = self.engine.ledger.log[self.seen :]
        self.seen = len(self.engine.ledger.log)
        return [_short(event) for event in fresh]

    def long(self, qty: int = 1_000) -> None:
        """Holds a position."""
        self.quote(qty=5_000)
        self.send("long", qty=qty)
        self.quote(qty=5_000)
        assert self.engine.ledger.positions[SPX] == qty

    @property
    def position(self) -> int:
        """Signed quantity held."""
        return self.engine.ledger.positions[SPX]


def _short(event: object) -> str:
    match event:
        case Accepted(order_id=name, qty=qty, held=held):
            return f"{name} {'held' if held else 'accepted'} {qty}"
        case Filled(fill=fill):
            return f"{fill.order_id} filled {fill.qty} at {fill.price}{' maker' if fill.maker else ''}"
        case Canceled(order_id=name, reason=reason, leaves=leaves):
            return f"{name} canceled {reason} {leaves}"
        case Expired(order_id=name, leaves=leaves):
            return f"{name} expired {leaves}"
        case Triggered(order_id=name):
            return f"{name} triggered"
        case Amended(order_id=name, qty=qty, reason=reason, queue_kept=kept):
            return f"{name} amended {qty} {reason}{' kept' if kept else ''}"
        case AmendRefused(order_id=name, detail=detail):
            return f"{name} amend refused: {detail}"
        case Rejected(order_id=name, code=code):
            return f"{name} rejected {code}"
        case _:
            return f"{getattr(event, 'order_id', '')} {type(event).__name__}"


def _ready(**more: Any) -> Venue:
    venue = Venue(**more)
    venue.quote()
    return venue


# conditions of one order


def test_ioc_takes_what_is_there_and_ends() -> None:
    """The rest does not rest."""
    venue = _ready()
    venue.send("a", qty=1_500, price=Price(PRICE + 10), time_in_force=TimeInForce.IOC)
    assert venue.quote() == [f"a filled 1000 at {PRICE + 10}", "a canceled ioc 500"]


@pytest.mark.parametrize(("qty", "filled"), [(1_000, True), (1_001, False)])
def test_fok_fills_whole_or_not_at_all(qty: int, filled: bool) -> None:
    """1,000 are shown: one more than that is nothing."""
    venue = _ready()
    venue.send("a", qty=qty, price=Price(PRICE + 10), time_in_force=TimeInForce.FOK)
    told = venue.quote()
    assert told == ([f"a filled {qty} at {PRICE + 10}"] if filled else [f"a canceled fok {qty}"])
    assert venue.position == (qty if filled else 0)


def test_fok_of_an_exit_larger_than_the_position_is_nothing() -> None:
    """Reduce-only cuts it, and cut is not whole."""
    venue = Venue()
    venue.long(100)
    venue.send("x", qty=101, time_in_force=TimeInForce.FOK, **SELL)
    assert venue.quote() == ["x canceled fok 101"]


@pytest.mark.parametrize(("at", "ended"), [(1_999, False), (2_000, True), (2_001, True)])
def test_gtd_ends_with_the_first_observation_at_its_time(at: int, ended: bool) -> None:
    """On the trading clock, before anything fills in that observation."""
    venue = _ready()
    venue.send("a", price=Price(PRICE - 50), time_in_force=TimeInForce.GTD, expire_ns=2_000)
    venue.quote()
    told = venue.quote(bid=PRICE - 100, ask=PRICE - 60, at=at)
    assert told == (["a expired 100"] if ended else [f"a filled 100 at {PRICE - 50} maker"])


@pytest.mark.parametrize("at", [0, -1, 1_001])
def test_gtd_without_a_time_to_come_is_refused(at: int) -> None:
    """The venue's clock stands at 1,001."""
    venue = _ready()
    (told,) = venue.send("a", price=Price(PRICE), time_in_force=TimeInForce.GTD, expire_ns=at)
    assert told == ("a rejected EXPIRED" if at > 0 else "a rejected BAD_ORDER")
    assert venue.send("b", price=Price(PRICE), expire_ns=5_000) == ["b rejected BAD_ORDER"]


@pytest.mark.parametrize(("price", "takes"), [(PRICE + 9, False), (PRICE + 10, True)])
def test_post_only_never_takes(price: int, takes: bool) -> None:
    """At the ask it would take, so it ends; one tick below it rests."""
    venue = _ready()
    venue.send("a", price=Price(price), post_only=True)
    assert venue.quote() == (["a canceled post_only 100"] if takes else [])
    assert (venue.engine.books[SPX].depth(Side.BUY, price) >= 100) is not takes


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"price": Price(PRICE), "time_in_force": TimeInForce.IOC},
        {"order_type": STOP_LIMIT, "price": Price(PRICE), "stop_price": Price(PRICE)},
    ],
)
def test_post_only_is_for_limit_orders_that_rest(changes: dict[str, Any]) -> None:
    """Nothing else can promise not to take."""
    assert _ready().send("a", post_only=True, **changes) == ["a rejected BAD_ORDER"]


def test_a_stop_limit_becomes_a_limit_order() -> None:
    """It triggers at 990.00 and does not sell below 989.80."""
    venue = Venue()
    venue.long(100)
    stop_limit: dict[str, Any] = {"order_type": STOP_LIMIT, "stop_price": Price(99_000)}
    venue.send("x", qty=100, price=Price(98_980), **stop_limit, **SELL)
    assert venue.quote(bid=99_001, ask=99_021) == []
    assert venue.quote(bid=98_900, ask=98_920) == ["x triggered"]
    assert venue.quote(bid=98_980, ask=99_000) == ["x filled 100 at 98980 maker"]


@pytest.mark.parametrize("wrong", [{"price": Price(1)}, {"stop_price": Price(1), "price": None}])
def test_a_stop_limit_wants_both_prices(wrong: dict[str, Any]) -> None:
    """Trigger and limit."""
    assert _ready().send("x", **(wrong | {"order_type": STOP_LIMIT})) == ["x rejected BAD_ORDER"]


def test_an_order_rests_behind_the_size_shown_at_its_price() -> None:
    """1,000 are ahead: the first 1,000 traded there are not ours."""
    venue = _ready()
    venue.send("a", price=Price(PRICE - 10))
    venue.quote()
    assert venue.engine.books[SPX].ahead_of("a") == 1_000
    assert venue.trade(PRICE - 10, 1_000, sold=True) == []
    assert venue.engine.books[SPX].ahead_of("a") == 0
    assert venue.trade(PRICE - 10, 60, sold=True) == [f"a filled 60 at {PRICE - 10} maker"]
    assert venue.engine.books[SPX].ahead_of("nobody") == 0


# self-trade prevention


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        (SelfTrade.CANCEL_NEWEST, ["x filled 1000 at 99990", "x canceled self_trade 150"]),
        (
            SelfTrade.CANCEL_OLDEST,
            ["x filled 1000 at 99990", "a canceled self_trade 100", "x canceled ioc 150"],
        ),
        (
            SelfTrade.CANCEL_BOTH,
            ["x filled 1000 at 99990", "a canceled self_trade 100", "x canceled self_trade 150"],
        ),
    ],
)
def test_two_orders_of_the_account_never_trade_with_each_other(mode: SelfTrade, told: list[str]) -> None:
    """The market's size ahead of ours is taken first; then the mode decides which of the two ends."""
    venue = Venue()
    venue.quote()
    venue.send("a", price=Price(PRICE - 10))
    venue.quote()
    venue.send("x", Side.SELL, 1_150, price=Price(PRICE - 10), time_in_force=TimeInForce.IOC, self_trade=mode)
    assert venue.quote() == told


# amendments


def test_smaller_at_the_same_price_keeps_its_place() -> None:
    """100 → 40: still before the size that came after it."""
    venue = _ready()
    venue.send("a", price=Price(PRICE - 10))
    venue.quote()
    assert venue.amend("a", 40) == ["a amended 40 requested kept"]
    assert venue.trade(PRICE - 10, 1_040, sold=True) == [f"a filled 40 at {PRICE - 10} maker"]


@pytest.mark.parametrize(("qty", "price"), [(101, None), (100, PRICE - 9)])
def test_larger_or_elsewhere_loses_its_place(qty: int, price: int | None) -> None:
    """It arrives anew with the next market event."""
    venue = _ready()
    venue.send("a", price=Price(PRICE - 10))
    venue.quote()
    venue.quote(qty=1_500)
    assert venue.amend("a", qty, price) == [f"a amended {qty} requested"]
    venue.quote(qty=1_500)
    assert venue.engine.books[SPX].ahead_of("a") == (1_500 if price is None else 0)


def test_an_amended_price_may_take() -> None:
    """At the ask it is a taker."""
    venue = _ready()
    venue.send("a", price=Price(PRICE - 50))
    venue.quote()
    venue.amend("a", 100, PRICE + 10)
    assert venue.quote() == [f"a filled 100 at {PRICE + 10}"]


def test_a_stop_is_amended_where_it_waits() -> None:
    """The old trigger does nothing any more."""
    venue = Venue()
    venue.long(100)
    venue.send("s", order_type=STOP, stop_price=Price(99_000), **SELL)
    assert venue.amend("s", 100, stop=98_000) == ["s amended 100 requested"]
    assert venue.quote(bid=98_500, ask=98_520) == []
    assert venue.quote(bid=98_000, ask=98_020) == ["s triggered", "s filled 100 at 98000"]


def test_an_order_that_has_not_met_the_market_is_amended_where_it_waits() -> None:
    """Once, not twice, in the queue of arrivals."""
    venue = _ready()
    venue.send("a", price=Price(PRICE - 10))
    assert venue.amend("a", 100, PRICE - 20) == ["a amended 100 requested"]
    venue.quote()
    assert venue.engine.books[SPX].depth(Side.BUY, PRICE - 20) == 100


def test_what_cannot_be_amended_stays_as_it_is() -> None:
    """Each with its reason."""
    venue = _ready()
    venue.send("m")
    assert venue.amend("m", 50) == ["m amend refused: a market order has nothing to change"]
    assert venue.amend("never", 50) == ["never amend refused: unknown order"]
    venue.quote()
    assert venue.amend("m", 50) == ["m amend refused: order is FILLED"]
    venue.send("a", price=Price(PRICE - 10))
    venue.quote()
    venue.trade(PRICE - 10, 1_030, sold=True)
    assert venue.amend("a", 30) == ["a amend refused: 30 of it has filled"]
    assert venue.amend("a", 31) == ["a amended 31 requested kept"]
    assert venue.amend("a", 100, 0) == ["a amend refused: price not positive or not on a tick"]
    venue.send("e", attached_stop=Price(90_000))
    venue.quote()
    assert venue.amend("e-s", 50) == ["e-s amend refused: its size follows another order"]
    assert venue.amend("e-s", 100, stop=91_000) == ["e-s amended 100 requested"]


def test_an_amendment_has_to_be_paid_for() -> None:
    """Cash for one unit at 1,000.00, asked for a hundred."""
    venue = _ready(cash=2_000)
    venue.send("a", qty=100, price=Price(PRICE - 10))
    assert venue.amend("a", 10_000) == ["a amend refused: not enough cash"]


# replace


def test_replace_ends_one_and_begins_the_other() -> None:
    """One message, both or neither."""
    venue = _ready()
    venue.send("a", price=Price(PRICE - 10))
    venue.quote()
    venue.engine.replace(OrderId("a"), request("b", price=Price(PRICE - 20)))
    assert venue.news() == ["a canceled replaced 100", "b accepted 100"]
    venue.engine.replace(OrderId("a"), request("c", price=Price(PRICE - 20)))
    assert venue.news() == ["c rejected REPLACE", "a CancelRefused"]
    venue.engine.replace(OrderId("b"), request("d", price=Price(-1)))
    assert venue.news() == ["d rejected PRICE_FILTER", "b CancelRefused"]
    assert set(venue.engine.ledger.live) == {"b"}


def test_replace_counts_what_it_frees() -> None:
    """A sell of everything held can be replaced by another, though this account cannot go short."""
    venue = Venue(short=False)
    venue.long(100)
    venue.send("s", Side.SELL, price=Price(PRICE + 50))
    assert venue.send("t", Side.SELL, price=Price(PRICE + 60)) == ["t rejected POSITION"]
    venue.engine.replace(OrderId("s"), request("u", Side.SELL, price=Price(PRICE + 60)))
    assert venue.news() == ["s canceled replaced 100", "u accepted 100"]


# lists


def _bracket(venue: Venue, kind: ListKind = ListKind.OTOCO) -> list[str]:
    legs = [
        request("tp", qty=200, price=Price(101_000), **SELL),
        request("sl", qty=200, order_type=STOP, stop_price=Price(99_000), **SELL),
    ]
    lead = request("lead", qty=200, price=Price(PRICE + 10))
    if kind is ListKind.OCO:
        return venue.send_list(kind, *legs)
    return venue.send_list(kind, lead, *(legs if kind is ListKind.OTOCO else legs[1:]))


def test_of_an_oco_the_other_ends_when_one_fills() -> None:
    """Take-profit filled, stop gone."""
    venue = Venue()
    venue.long(200)
    assert _bracket(venue, ListKind.OCO) == ["tp accepted 200", "sl accepted 200"]
    venue.quote()
    assert venue.quote(bid=101_000, ask=101_020) == [
        "tp filled 200 at 101000 maker",
        "sl canceled oco 200",
    ]


def test_of_an_oco_the_other_ends_when_one_triggers() -> None:
    """Before the stop trades: there is no moment in which both can fill."""
    venue = Venue()
    venue.long(200)
    _bracket(venue, ListKind.OCO)
    assert venue.quote(bid=99_000, ask=99_020) == [
        "sl triggered",
        "tp canceled oco 200",
        "sl filled 200 at 99000",
    ]


def test_a_part_of_one_leg_is_taken_from_the_other() -> None:
    """50 of 200 filled: the stop covers 150."""
    venue = Venue()
    venue.long(200)
    _bracket(venue, ListKind.OCO)
    venue.quote(bid=100_980, ask=101_020)
    assert venue.trade(101_000, 50, sold=False) == [
        "tp filled 50 at 101000 maker",
        "sl amended 150 oco kept",
    ]
    assert venue.quote(bid=99_000, ask=99_020)[-1] == "sl filled 150 at 99000"
    assert venue.position == 0


def test_cancelling_one_leg_leaves_the_other() -> None:
    """Asking for the end of the take-profit must not strip the stop; so does its expiry."""
    venue = Venue()
    venue.long(200)
    _bracket(venue, ListKind.OCO)
    assert venue.cancel("tp") == ["tp canceled requested 200"]
    assert set(venue.engine.ledger.live) == {"sl"}
    assert venue.cancel("sl") == ["sl canceled requested 200"]
    assert "sl" not in venue.engine.lists


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ({"price": Price(-1)}, ["tp rejected PRICE_FILTER", "sl rejected LIST"]),
        ({"qty": 199}, ["tp rejected LIST", "sl rejected LIST"]),
        ({"time_in_force": TimeInForce.IOC}, ["tp rejected LIST", "sl rejected LIST"]),
        ({"order_type": OrderType.MARKET, "price": None}, ["tp rejected LIST", "sl rejected LIST"]),
    ],
)
def test_a_list_is_taken_whole_or_not_at_all(broken: dict[str, Any], told: list[str]) -> None:
    """Neither leg works, whichever was wrong."""
    venue = Venue()
    venue.long(200)
    wrong = {"qty": 200, "price": Price(101_000)} | SELL | broken
    legs = (
        request("tp", **wrong),
        request("sl", qty=200, order_type=STOP, stop_price=Price(99_000), **SELL),
    )
    assert venue.send_list(ListKind.OCO, *legs) == told
    assert not venue.engine.ledger.live


def test_lists_that_are_none() -> None:
    """Too few, the same id twice, a leg larger than its lead."""
    venue = _ready()
    lead = request("l", price=Price(PRICE))
    leg = request("s", qty=101, order_type=STOP, stop_price=Price(99_000), **SELL)
    assert venue.send_list(ListKind.OTO, lead) == ["l rejected LIST"]
    assert venue.send_list(ListKind.OTO, request("d"), request("d", price=Price(1)))[0] == "d rejected LIST"
    assert venue.send_list(ListKind.OTO, request("l2"), leg)[0] == "l2 rejected LIST"
    assert venue.send_list(ListKind.OTOCO, lead, leg) == ["l rejected LIST", "s rejected LIST"]


def test_legs_work_for_what_their_lead_has_filled() -> None:
    """200 wanted, 120 filled, then the rest: the legs have 120, then 200; nothing is unprotected."""
    venue = Venue()
    venue.quote(qty=120)
    assert _bracket(venue) == ["lead accepted 200", "tp held 200", "sl held 200"]
    assert venue.quote(qty=120) == [
        f"lead filled 120 at {PRICE + 10}",
        "tp accepted 120",
        "sl accepted 120",
    ]
    assert venue.quote(bid=PRICE - 10, ask=PRICE + 5, qty=80)[-3:] == [
        f"lead filled 80 at {PRICE + 10} maker",
        "tp accepted 200",
        "sl accepted 200",
    ]
    venue.quote()
    assert venue.engine.books[SPX].depth(Side.SELL, 101_000) == 200
    assert venue.quote(bid=98_000, ask=98_020)[0] == "sl triggered"
    assert venue.position == 0


def test_a_leg_that_fires_ends_what_is_left_of_its_lead() -> None:
    """The position is being left: it must not grow behind the leg's back."""
    venue = Venue()
    venue.quote(qty=120)
    _bracket(venue)
    venue.quote(qty=120)
    assert venue.quote(bid=101_000, ask=101_020) == [
        "tp filled 120 at 101000",
        "sl canceled oco 120",
        "lead canceled leg 80",
    ]
    assert venue.position == 0


def test_a_lead_that_ends_without_a_fill_ends_its_legs() -> None:
    """And one that has filled leaves them."""
    venue = Venue()
    venue.quote(bid=PRICE + 90, ask=PRICE + 110)
    _bracket(venue)
    venue.quote(bid=PRICE + 90, ask=PRICE + 110)
    assert venue.cancel("lead") == [
        "lead canceled requested 200",
        "tp canceled lead 200",
        "sl canceled lead 200",
    ]
    venue = Venue()
    venue.quote(qty=120)
    _bracket(venue, ListKind.OTO)
    venue.quote(qty=120)
    assert venue.cancel("lead") == ["lead canceled requested 80"]
    assert set(venue.engine.ledger.live) == {"sl"}


def test_a_held_leg_waits_even_when_the_account_is_flat() -> None:
    """Somebody else's exit makes the account flat: legs that wait for their lead are not ended by it."""
    venue = Venue()
    venue.long(100)
    _bracket(venue, ListKind.OTOCO)
    assert venue.amend("sl", 200, stop=98_000) == ["sl amend refused: it waits for its lead"]
    venue.cancel("lead")
    assert not set(venue.engine.ledger.live)
    venue.send_list(
        ListKind.OTO,
        request("low", qty=50, price=Price(90_000)),
        request("leg", qty=50, order_type=STOP, stop_price=Price(89_000), **SELL),
    )
    venue.send("exit", **SELL)
    assert venue.quote()[-1].startswith("exit filled 100")
    assert set(venue.engine.ledger.live) == {"low", "leg"}


def test_the_size_of_a_lists_order_is_fixed_and_its_price_is_not() -> None:
    """A trailing stop is an amendment of one leg."""
    venue = Venue()
    venue.long(200)
    _bracket(venue, ListKind.OCO)
    assert venue.amend("sl", 100) == ["sl amend refused: its size follows another order"]
    assert venue.amend("sl", 200, stop=99_500) == ["sl amended 200 requested"]
    assert venue.quote(bid=99_500, ask=99_520)[:2] == ["sl triggered", "tp canceled oco 200"]


def test_an_entry_oco_fills_once() -> None:
    """Buy at 990.00 or break out at 1,010.00: whichever comes first ends the other."""
    venue = _ready()
    low = request("low", price=Price(99_000))
    high = request("high", order_type=STOP, stop_price=Price(101_000))
    venue.send_list(ListKind.OCO, low, high)
    venue.quote()
    assert venue.quote(bid=100_990, ask=101_000)[:2] == ["high triggered", "low canceled oco 100"]
    assert venue.position == 100


# travel time


def test_travel_time_is_the_orders_own() -> None:
    """Seed and id decide, not the order of asking; the median is e^mu ms."""
    model = Latency(seed=1)
    first = [travel_ns(model, OrderId(f"o{n}")) for n in range(400)]
    assert first == [travel_ns(model, OrderId(f"o{n}")) for n in range(400)]
    assert first != [travel_ns(Latency(seed=2), OrderId(f"o{n}")) for n in range(400)]
    assert 45_000_000 < sorted(first)[200] < 54_000_000
    assert travel_ns(None, OrderId("o")) == 0


def test_an_order_does_not_trade_before_it_has_arrived() -> None:
    """The last quote before its time passes by, the first one after it fills."""
    venue = Venue(latency=Latency(seed=7))
    venue.quote()
    venue.send("a")
    due = venue.engine.ledger.live[OrderId("a")].active_ns
    assert due > venue.now
    assert venue.quote(at=due - 1) == []
    assert venue.quote(at=due) == [f"a filled 100 at {PRICE + 10}"]


def test_a_market_that_stands_still_lets_everything_arrive() -> None:
    """The replay clock is stopped: an exit must not wait for it."""
    venue = Venue(latency=Latency(seed=7))
    venue.quote()
    venue.send("a")
    venue.engine.stand_still(SPX)
    assert venue.news()[0].startswith("a filled")


# switches of the engine


def test_switches_of_the_engine() -> None:
    """An order refused for no reason, and a fill reported after its cancel."""
    venue = _ready()
    venue.engine.submit(request("a"), "FAULT")
    assert venue.news() == ["a rejected FAULT"]
    venue.send("b", price=Price(PRICE - 10))
    venue.quote()
    assert venue.cancel("b", late=30) == [
        "b canceled requested 100",
        f"b filled 30 at {PRICE - 10}",
    ]
    assert venue.engine.ledger.orders[OrderId("b")].status == "CANCELED"
    venue.send("c", price=Price(PRICE - 10))
    assert venue.cancel("c", late=500)[-1] == f"c filled 100 at {PRICE - 10}"
    assert venue.engine.ledger.orders[OrderId("c")].status == "FILLED"


def test_a_list_whose_orders_have_all_filled_is_forgotten() -> None:
    """Entry and take-profit filled: nothing of the list is kept."""
    venue = Venue()
    venue.quote()
    take = request("tp", price=Price(101_000), **SELL)
    venue.send_list(ListKind.OTO, request("lead", price=Price(PRICE + 10)), take)
    venue.quote()
    assert "tp" in venue.engine.lists
    assert venue.quote(bid=101_000, ask=101_020) == ["tp filled 100 at 101000"]
    assert "lead" not in venue.engine.lists
    assert "tp" not in venue.engine.lists


def test_two_stops_on_each_side_trigger_in_order_of_arrival() -> None:
    """The older first, and one the first has pushed the market away from still finds it there."""
    venue = Venue()
    venue.long(200)
    for name, trigger in (("first", 99_000), ("second", 99_500), ("third", 98_000)):
        venue.send(name, qty=50, order_type=STOP, stop_price=Price(trigger), **SELL)
    venue.send("up", qty=10, order_type=STOP, stop_price=Price(101_000))
    told = venue.quote(bid=98_500, ask=98_520)
    assert [each for each in told if "triggered" in each] == ["first triggered", "second triggered"]
    stops = venue.engine.stop_books[SPX]
    assert len(stops) == 2
    assert ("third" in stops, "first" in stops) == (True, False)
    assert (stops.below(Side.SELL, 98_001), stops.below(Side.SELL, 98_000)) == (98_000, None)
    assert (stops.above(Side.BUY, 100_999), stops.above(Side.BUY, 101_000)) == (101_000, None)
    assert venue.quote(bid=100_990, ask=101_000)[0] == "up triggered"


def test_a_leg_that_ends_because_nothing_is_left_to_reduce_ends_its_lead() -> None:
    """Somebody else's exit sells what the lead has filled: the rest must not fill without its stop."""
    venue = Venue()
    venue.quote(qty=120)
    _bracket(venue, ListKind.OTO)
    venue.quote(qty=120)
    venue.send("exit", qty=120, price=Price(PRICE + 20), **SELL)
    venue.quote(ask=PRICE + 30)
    assert venue.quote(bid=PRICE + 20, ask=PRICE + 40) == [
        f"exit filled 120 at {PRICE + 20} maker",
        "sl canceled reduce_only 120",
        "lead canceled leg 80",
    ]
    assert venue.position == 0
