"""The order book: price first, then time."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.domain.intent import Side
from appliance.venues.matching import MARKET, Match, OrderBook


def test_best_price_fills_first_then_the_earlier_order() -> None:
    """Two at one price in order of arrival, the better price before both."""
    book = OrderBook()
    book.rest("a", Side.SELL, 101, 5)
    book.rest("b", Side.SELL, 101, 5)
    book.rest("c", Side.SELL, 100, 5)
    matches, left = book.take("x", Side.BUY, 12, 101)
    assert matches == [Match("c", "x", 100, 5), Match("a", "x", 101, 5), Match("b", "x", 101, 2)]
    assert left == 0
    assert book.depth(Side.SELL, 101) == 3


def test_a_limit_is_never_crossed() -> None:
    """What is left comes back to the taker."""
    book = OrderBook()
    book.rest("a", Side.BUY, 99, 5)
    assert book.take("x", Side.SELL, 7, 100) == ([], 7)
    assert book.take("x", Side.SELL, 7, 99) == ([Match("a", "x", 99, 5)], 2)
    assert book.best(Side.BUY) is None


def test_displayed_size_behind_us_does_not_fill_before_us() -> None:
    """Size the market adds after us queues behind us; size that was there stays ahead."""
    book = OrderBook()
    book.display({100: 5}, {})
    book.rest("us", Side.BUY, 100, 3)
    book.display({100: 9}, {})
    matches, _ = book.take(MARKET, Side.SELL, 7, 100)
    assert matches == [Match(MARKET, MARKET, 100, 5), Match("us", MARKET, 100, 2)]


def test_displayed_size_shrinks_from_the_end_of_the_queue() -> None:
    """Cancelled size is not taken from those ahead of us."""
    book = OrderBook()
    book.display({100: 5}, {})
    book.rest("us", Side.BUY, 100, 3)
    book.display({100: 9}, {})
    book.display({100: 6}, {})
    matches, _ = book.take(MARKET, Side.SELL, 6, 100)
    assert matches == [Match(MARKET, MARKET, 100, 5), Match("us", MARKET, 100, 1)]


def test_a_market_that_moves_through_us_trades_at_our_price() -> None:
    """We were there first: an ask displayed below our bid fills us at our bid."""
    book = OrderBook()
    book.display({99: 10}, {101: 10})
    book.rest("us", Side.BUY, 100, 4)
    matches = book.display({97: 10}, {98: 10})
    assert matches == [Match("us", MARKET, 100, 4)]
    assert (book.best(Side.BUY), book.best(Side.SELL)) == (97, 98)
    assert book.depth(Side.SELL, 98) == 6


def test_removing_an_order_leaves_the_others_in_line() -> None:
    """And removing what is not there says so."""
    book = OrderBook()
    for owner in ("a", "b", "c"):
        book.rest(owner, Side.BUY, 100, 1)
    assert book.remove("b")
    assert not book.remove("b")
    assert [match.maker for match in book.take("x", Side.SELL, 2, None)[0]] == ["a", "c"]
    assert book.ours() == {}


_orders = st.lists(
    st.tuples(st.sampled_from([Side.BUY, Side.SELL]), st.integers(1, 20), st.integers(1, 9)), max_size=60
)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(_orders)
def test_quantity_is_conserved_and_the_book_never_crosses(
    orders: list[tuple[Side, int, int]],
) -> None:
    """Everything sent either traded against something or rests; best bid stays below best ask."""
    book = OrderBook()
    traded = sent = 0
    for number, (side, price, qty) in enumerate(orders):
        matches, left = book.take(f"o{number}", side, qty, price)
        assert all((match.price - price) * side.sign <= 0 for match in matches)
        traded += 2 * sum(match.qty for match in matches)
        if left:
            book.rest(f"o{number}", side, price, left)
        sent += qty
        bid, ask = book.best(Side.BUY), book.best(Side.SELL)
        assert bid is None or ask is None or bid < ask
    resting = sum(book.depth(side, price) for side in Side for price in range(21))
    assert sent == traded + resting
