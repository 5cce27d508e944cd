"""The paper venue: what fills, when and at which price; stops, reduce-only, rejects, fees."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.domain.ids import OrderId
from appliance.domain.intent import OrderType, Side, TimeInForce
from appliance.domain.money import AMOUNT_ONE, Amount, Ppm, Price, Qty
from appliance.domain.observation import Bar, Observation, Quote, Trade
from appliance.domain.order import Accepted, Canceled, CancelRefused, Filled, Rejected
from appliance.venues.paper_engine import PaperEngine
from appliance.venues.paper_terms import NewOrder, PaperTerms
from tests.kit import SPX, spx

HALF = 10  # half of the synthetic spread at 1,000.00 with 200 ppm; 11 at 1,010.00, rounded up


class Venue:
    """An engine fed step by step."""

    def __init__(
        self, *, depth: int = 1_000_000, short: bool = False, cash: int = 1_000_000, **facts: Any
    ) -> None:
        terms = PaperTerms(
            start_cash=Amount(cash * AMOUNT_ONE),
            maker_fee_ppm=Ppm(100),
            taker_fee_ppm=Ppm(1_000),
            spread_ppm=Ppm(200),
            depth_value=Amount(depth * AMOUNT_ONE),
            allow_short=short,
        )
        self.engine = PaperEngine("t", [spx(**facts)], terms)
        self.steps = 0
        self.seen = 0

    def step(self, observation: Observation) -> list[object]:
        """Moves the market; returns the new events."""
        self.steps += 1
        self.engine.step(observation, self.steps)
        return self.news()

    def bar(self, opened: int, high: int, low: int, close: int) -> list[object]:
        """A bar of one second."""
        start = self.steps * 10**9
        return self.step(
            Bar(
                instrument=SPX,
                event_ns=start,
                seen_ns=start + 10**9,
                open=Price(opened),
                high=Price(high),
                low=Price(low),
                close=Price(close),
                volume=0,
            )
        )

    def order(self, name: str, side: Side = Side.BUY, qty: int = 100, **changes: Any) -> list[object]:
        """A market order unless told otherwise."""
        fields: dict[str, Any] = {
            "order_type": OrderType.MARKET,
            "price": None,
            "stop_price": None,
            "attached_stop": None,
            "time_in_force": TimeInForce.GTC,
            "reduce_only": False,
        }
        self.engine.submit(
            NewOrder(order_id=OrderId(name), instrument=SPX, side=side, qty=Qty(qty), **(fields | changes))
        )
        return self.news()

    def news(self) -> list[object]:
        """Events since the last call."""
        fresh: list[object] = list(self.engine.ledger.log[self.seen :])
        self.seen = len(self.engine.ledger.log)
        return fresh


def _fills(events: list[object]) -> list[tuple[str, int, int]]:
    return [(e.fill.order_id, e.fill.qty, e.fill.price) for e in events if isinstance(e, Filled)]


def test_an_order_trades_at_the_open_of_the_next_bar() -> None:
    """CONVENTIONS: a signal on bar D reaches the venue at the open of bar D+1."""
    venue = Venue()
    venue.bar(100_000, 100_000, 100_000, 100_000)
    assert [type(event) for event in venue.order("a")] == [Accepted]
    assert _fills(venue.bar(101_000, 102_000, 101_000, 101_500)) == [("a", 100, 101_000 + 11)]


def test_partial_fills_go_down_the_ladder_and_the_rest_of_a_market_order_ends() -> None:
    """Five levels of 1,000 USD: 1.00 each near 1,000.00."""
    venue = Venue(depth=1_010)
    venue.bar(100_000, 100_000, 100_000, 100_000)
    venue.order("a", qty=700)
    events = venue.bar(100_000, 100_000, 100_000, 100_000)
    assert [(qty, price) for _, qty, price in _fills(events)] == [
        (qty, 100_010 + 20 * level) for level, qty in enumerate((100, 100, 100, 100, 100))
    ]
    ended = events[-1]
    assert isinstance(ended, Canceled)
    assert (ended.reason, ended.leaves) == ("ioc", 200)


def test_a_resting_limit_fills_at_its_own_price_as_maker() -> None:
    """The bar trades through 990.00; the fee is the maker's."""
    venue = Venue()
    venue.bar(100_000, 100_000, 100_000, 100_000)
    venue.order("a", order_type=OrderType.LIMIT, price=Price(99_000))
    assert _fills(venue.bar(100_000, 100_000, 99_500, 99_800)) == []
    events = venue.bar(99_800, 99_900, 98_500, 98_600)
    fill = next(event.fill for event in events if isinstance(event, Filled))
    assert (fill.price, fill.maker) == (99_000, True)
    assert fill.fee == 990 * AMOUNT_ONE // 10_000


def test_a_limit_that_is_only_touched_by_the_mid_does_not_fill() -> None:
    """Our bid fills when the ask comes down to it: half a spread below."""
    venue = Venue()
    venue.bar(100_000, 100_000, 100_000, 100_000)
    venue.order("a", order_type=OrderType.LIMIT, price=Price(99_000))
    assert _fills(venue.bar(100_000, 100_000, 99_000 - HALF + 1, 99_500)) == []
    assert _fills(venue.bar(99_500, 99_500, 99_000 - HALF, 99_200)) == [("a", 100, 99_000)]


def test_a_stop_inside_a_bar_fills_at_its_trigger() -> None:
    """No gap: the path crosses the trigger."""
    venue = Venue()
    venue.bar(100_000, 100_000, 100_000, 100_000)
    venue.order("a", attached_stop=Price(98_000))
    events = venue.bar(100_000, 100_500, 97_000, 100_400)
    assert _fills(events) == [("a", 100, 100_000 + HALF), ("a-s", 100, 98_000)]


def test_a_gap_fills_a_stop_at_the_open() -> None:
    """A stop is no guarantee of a price."""
    venue = Venue()
    venue.bar(100_000, 100_000, 100_000, 100_000)
    venue.order("a", attached_stop=Price(98_000))
    venue.bar(100_000, 100_000, 100_000, 100_000)
    assert _fills(venue.bar(95_000, 96_000, 94_000, 95_500)) == [("a-s", 100, 95_000 - HALF)]


def test_the_adverse_extreme_comes_first() -> None:
    """Long: the low before the high, so the stop is hit and the limit above is not reached with it."""
    venue = Venue()
    venue.bar(100_000, 100_000, 100_000, 100_000)
    venue.order("a", attached_stop=Price(98_000))
    venue.bar(100_000, 100_000, 100_000, 100_000)
    venue.order("take", side=Side.SELL, order_type=OrderType.LIMIT, price=Price(102_000), reduce_only=True)
    events = venue.bar(100_000, 103_000, 97_000, 100_000)
    assert _fills(events) == [("a-s", 100, 98_000)]
    assert any(isinstance(e, Canceled) and e.order_id == "take" and e.reason == "reduce_only" for e in events)


def test_short_the_high_comes_first() -> None:
    """The mirror image."""
    venue = Venue(short=True)
    venue.bar(100_000, 100_000, 100_000, 100_000)
    venue.order("a", side=Side.SELL, attached_stop=Price(102_000))
    venue.bar(100_000, 100_000, 100_000, 100_000)
    venue.order("take", order_type=OrderType.LIMIT, price=Price(98_000), reduce_only=True)
    assert _fills(venue.bar(100_000, 103_000, 97_000, 100_000)) == [("a-s", 100, 102_000)]


@pytest.mark.safety("S2.12")
def test_an_attached_stop_grows_with_its_entry() -> None:
    """Two partial fills, one stop of the whole."""
    venue = Venue(depth=1_010)
    venue.bar(100_000, 100_000, 100_000, 100_000)
    venue.order("a", qty=200, attached_stop=Price(90_000))
    events = venue.bar(100_000, 100_000, 100_000, 100_000)
    sizes = [event.qty for event in events if isinstance(event, Accepted) and event.parent == "a"]
    assert sizes == [100, 200]


def test_reduce_only_never_flips() -> None:
    """Cut to the position, the rest ends; flat, it ends at once."""
    venue = Venue(short=True)
    venue.bar(100_000, 100_000, 100_000, 100_000)
    venue.order("a")
    venue.bar(100_000, 100_000, 100_000, 100_000)
    venue.order("exit", side=Side.SELL, qty=300, reduce_only=True)
    events = venue.bar(100_000, 100_000, 100_000, 100_000)
    assert [(n, q) for n, q, _ in _fills(events)] == [("exit", 100)]
    assert venue.engine.ledger.positions[SPX] == 0
    venue.order("again", side=Side.SELL, qty=1, reduce_only=True)
    (ended,) = venue.bar(100_000, 100_000, 100_000, 100_000)
    assert isinstance(ended, Canceled)
    assert ended.reason == "reduce_only"


def test_a_resting_reduce_only_order_is_cut_when_the_position_shrinks() -> None:
    """Another exit came first: what rests may close only what is left."""
    venue = Venue(short=True)
    venue.bar(100_000, 100_000, 100_000, 100_000)
    venue.order("a")
    venue.bar(100_000, 100_000, 100_000, 100_000)
    venue.order("rest", side=Side.SELL, order_type=OrderType.LIMIT, price=Price(101_000), reduce_only=True)
    venue.order("other", side=Side.SELL, qty=60, reduce_only=True)
    venue.bar(100_000, 100_000, 100_000, 100_000)
    assert [(n, q) for n, q, _ in _fills(venue.bar(101_500, 102_000, 101_500, 102_000))] == [("rest", 40)]
    assert venue.engine.ledger.positions[SPX] == 0


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"qty": 0}, "LOT_SIZE"),
        ({"qty": -5}, "LOT_SIZE"),
        ({"qty": 15}, "LOT_SIZE"),
        ({"qty": 10_000_010}, "LOT_SIZE"),
        ({"order_type": OrderType.LIMIT}, "BAD_ORDER"),
        ({"price": Price(100_000)}, "BAD_ORDER"),
        ({"order_type": OrderType.STOP}, "BAD_ORDER"),
        ({"order_type": OrderType.LIMIT, "price": Price(100_003)}, "PRICE_FILTER"),
        ({"order_type": OrderType.LIMIT, "price": Price(-5)}, "PRICE_FILTER"),
        ({"attached_stop": Price(0)}, "PRICE_FILTER"),
        ({"qty": 10}, "MIN_NOTIONAL"),
        ({"qty": 100_010}, "CASH"),
        ({"side": Side.SELL}, "POSITION"),
    ],
)
def test_rejects(changes: dict[str, Any], code: str) -> None:
    """The venue's own refusals, each with its code; the id stays used."""
    venue = Venue(tick=5, lot=10, min_qty=20, min_value=150 * AMOUNT_ONE)
    venue.bar(100_000, 100_000, 100_000, 100_000)
    (event,) = venue.order("a", **changes)
    assert isinstance(event, Rejected)
    assert event.code == code
    (again,) = venue.order("a")
    assert isinstance(again, Rejected)
    assert again.code == "DUPLICATE"


def test_working_sells_cover_a_sell() -> None:
    """Two sells of the same holding: the second is short."""
    venue = Venue()
    venue.bar(100_000, 100_000, 100_000, 100_000)
    venue.order("a")
    venue.bar(100_000, 100_000, 100_000, 100_000)
    limit: dict[str, Any] = {"side": Side.SELL, "order_type": OrderType.LIMIT, "price": Price(101_000)}
    assert isinstance(venue.order("s1", qty=60, **limit)[0], Accepted)
    assert isinstance(venue.order("s2", qty=41, **limit)[0], Rejected)
    assert isinstance(venue.order("s3", qty=40, **limit)[0], Accepted)


def test_cancel_of_each_kind() -> None:
    """Waiting, resting, a stop, an ended and an unknown order."""
    venue = Venue()
    venue.bar(100_000, 100_000, 100_000, 100_000)
    venue.order("waiting")
    venue.order("resting", order_type=OrderType.LIMIT, price=Price(99_000))
    venue.order("stop", order_type=OrderType.STOP, stop_price=Price(105_000))
    for name, kind in (
        ("waiting", Canceled),
        ("resting", Canceled),
        ("stop", Canceled),
        ("waiting", CancelRefused),
        ("never", CancelRefused),
    ):
        venue.engine.cancel(OrderId(name))
        (event,) = venue.news()
        assert isinstance(event, kind), name
    assert _fills(venue.bar(104_000, 106_000, 98_000, 100_000)) == []
    assert venue.engine.ledger.live == {}


def test_a_repeated_step_does_nothing() -> None:
    """A restarted core repeats its last step; the market must not move twice."""
    venue = Venue()
    venue.bar(100_000, 100_000, 100_000, 100_000)
    venue.order("a")
    venue.steps -= 1
    assert venue.bar(101_000, 101_000, 101_000, 101_000) == []
    assert _fills(venue.bar(101_000, 101_000, 101_000, 101_000)) == [("a", 100, 101_000 + 11)]


def test_standing_still_lets_exits_trade_at_the_last_price() -> None:
    """The replay clock is stopped; the last prices stand."""
    venue = Venue()
    venue.bar(100_000, 100_000, 100_000, 100_000)
    venue.order("a")
    venue.bar(100_000, 100_000, 100_000, 100_500)
    venue.order("exit", side=Side.SELL, reduce_only=True)
    venue.engine.stand_still(SPX)
    assert _fills(venue.news()) == [("exit", 100, 100_500 - HALF)]


def _quote(bid_qty: int = 50, ask_qty: int = 70) -> Quote:
    return Quote(
        instrument=SPX,
        event_ns=1,
        seen_ns=1,
        bid=Price(99_990),
        bid_qty=Qty(bid_qty),
        ask=Price(100_010),
        ask_qty=Qty(ask_qty),
    )


def test_quotes_and_trades_move_the_book_as_they_were() -> None:
    """A market order takes the quoted size; a print through our bid fills us after the size ahead of us."""
    venue = Venue()
    venue.step(_quote())
    venue.order("a", order_type=OrderType.LIMIT, price=Price(100_010))
    assert _fills(venue.step(_quote())) == [("a", 70, 100_010)]
    venue.engine.cancel(OrderId("a"))
    venue.order("bid", order_type=OrderType.LIMIT, price=Price(99_990))
    venue.step(_quote())
    trade = Trade(
        instrument=SPX, event_ns=2, seen_ns=2, price=Price(99_990), qty=Qty(60), seller_initiated=True
    )
    assert _fills(venue.step(trade)) == [("bid", 10, 99_990)]


def test_cash_and_position_add_up() -> None:
    """cash = start − Σ price × signed quantity − fees, to the last unit."""
    venue = Venue()
    for number, price in enumerate((100_000, 101_337, 99_871, 102_413)):
        venue.bar(price, price + 50, price - 50, price)
        venue.order(f"b{number}", qty=33 + number)
        venue.order(f"s{number}", side=Side.SELL, qty=10 + number, reduce_only=True)
    venue.bar(100_000, 100_000, 100_000, 100_000)
    fills = [event.fill for event in venue.engine.ledger.log if isinstance(event, Filled)]
    assert len(fills) == 8
    spent = sum(fill.side.sign * fill.price * fill.qty for fill in fills) * 10**6
    fees = sum(fill.fee for fill in fills)
    assert venue.engine.ledger.cash == 1_000_000 * AMOUNT_ONE - spent - fees
    assert venue.engine.ledger.positions[SPX] == sum(fill.side.sign * fill.qty for fill in fills)
    last = [event for event in venue.engine.ledger.log if isinstance(event, Filled)][-1]
    assert last.cash_after == venue.engine.ledger.cash
    assert [event.seq for event in venue.engine.ledger.log] == list(
        range(1, len(venue.engine.ledger.log) + 1)
    )
