"""Throttle, same economics, repeated execution, marks of a day's loss, largest positions (CONTROLS 5–9, 21).

Each binds new exposure at its boundary, and no exit, cancel or protective leg ever.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from appliance.domain.ids import InstrumentId, OrderId, SourceId, TradeId
from appliance.domain.intent import Action, Intent, ListKind, OrderType, Side
from appliance.domain.money import Amount, Price, Qty
from appliance.domain.order import Fill, Order, OrderState
from appliance.domain.reasons import Reason
from appliance.domain.verdict import Approved, Denied, OrderClass
from appliance.risk.limits import Limits
from appliance.risk.pace import SECOND_NS, Bucket, Pace
from tests.kit import BOT, SECOND, SPX, Core, account_limits, instrument_limits, source_limits

NDX, OTHER = InstrumentId("NDX"), SourceId("other")
PRICE = 100_000


def _limits(
    messages: int = 100, own: int = 100, kept_ppm: int = 0, window_ns: int = 0, **source: Any
) -> Limits:
    return Limits(
        account=account_limits(messages=messages, messages_kept_ppm=kept_ppm, duplicate_window_ns=window_ns),
        instruments={},
        sources={BOT: source_limits(messages=own, **source), OTHER: source_limits(messages=own, **source)},
    )


def _wish(source: SourceId = BOT, **changes: Any) -> Intent:
    made = Intent(
        id=changes.pop("id", "i"), source=source, instrument=SPX, created_ns=0, side=Side.BUY, qty=Qty(10)
    )
    return replace(made, **changes)


def _reason(pace: Pace, now_ns: int, intent: Intent | None = None) -> Reason | None:
    found = pace.refusal(intent or _wish(), now_ns)
    return found[0] if found is not None else None


def test_a_bucket_gives_what_a_second_brings() -> None:
    """Three a second: full at the start, one back after a third of a second and not a nanosecond before."""
    bucket, now = Bucket(3), 10 * SECOND_NS
    for _ in range(3):
        assert bucket.at(now) >= SECOND_NS
        bucket.take(now)
    assert bucket.at(now) == 0
    assert bucket.at(now + SECOND_NS // 3) < SECOND_NS
    assert bucket.at(now + SECOND_NS // 3 + 1) >= SECOND_NS
    assert bucket.at(now + 100 * SECOND_NS) == 3 * SECOND_NS


def test_a_bucket_owes_one_second_at_most_and_a_clock_that_steps_back_fills_nothing() -> None:
    """What exits take beyond it is not held against entries for longer."""
    bucket = Bucket(2)
    for _ in range(50):
        bucket.take(SECOND_NS)
    assert bucket.level == -2 * SECOND_NS
    assert bucket.at(0) == -2 * SECOND_NS
    assert bucket.at(SECOND_NS) == 0
    assert bucket.at(SECOND_NS + 1) == 2


def test_a_source_has_its_own_messages_and_the_venue_all_of_them() -> None:
    """Two for each of two sources, three in all."""
    pace = Pace(_limits(messages=3, own=2))
    for _ in range(2):
        assert _reason(pace, 0) is None
        pace.sent(BOT, 0)
    assert _reason(pace, 0) is Reason.THROTTLED
    assert _reason(pace, 0, _wish(OTHER)) is None
    pace.sent(OTHER, 0)
    assert _reason(pace, 0, _wish(OTHER)) is Reason.THROTTLED
    found = pace.refusal(_wish(OTHER), 0)
    assert found is not None
    assert found[1].startswith("3 messages a second go to the venue")
    assert _reason(pace, SECOND_NS) is None


@pytest.mark.safety("S2.4")
def test_a_share_is_kept_for_exits() -> None:
    """Ten a second, four kept: six entries, and cancels of anybody take from the same bucket."""
    pace = Pace(_limits(messages=10, own=50, kept_ppm=400_000))
    for count in range(6):
        assert _reason(pace, 0) is None, count
        pace.sent(BOT, 0)
    assert _reason(pace, 0) is Reason.THROTTLED
    assert _reason(pace, SECOND_NS // 10) is None
    pace.sent(SourceId("sweep"), SECOND_NS // 10)
    assert _reason(pace, SECOND_NS // 10) is Reason.THROTTLED


def test_a_source_nobody_configured_may_send_nothing() -> None:
    """The matrix denies it too; nothing here lets it through."""
    pace = Pace(_limits())
    assert _reason(pace, 0, _wish(SourceId("nobody"))) is Reason.THROTTLED
    pace.throttled(SourceId("nobody"), 0)
    assert pace.take_over() == []


def test_who_does_not_stop_asking_is_stopped() -> None:
    """As many refusals within one second as messages allowed, and not one less, nor slower."""
    pace = Pace(_limits(own=3))
    for now in (0, SECOND_NS // 2, SECOND_NS, SECOND_NS + SECOND_NS // 2):
        pace.throttled(BOT, now)
    assert pace.take_over() == []
    pace.throttled(BOT, SECOND_NS + SECOND_NS // 2 + 1)
    ((source, why),) = pace.take_over()
    assert (source, why) == (BOT, "throttled 3 times within a second")
    assert pace.take_over() == []


@pytest.mark.parametrize(
    "change",
    [
        {"qty": Qty(11)},
        {"side": Side.SELL},
        {"order_type": OrderType.LIMIT, "price": Price(5)},
        {"stop_price": Price(5)},
        {"instrument": NDX},
        {"source": OTHER},
        {"action": Action.REPLACE},
    ],
)
def test_the_same_economics_again_within_the_window(change: dict[str, Any]) -> None:
    """Denied to the last nanosecond of it, under whatever id; whatever differs is another wish."""
    pace, window = Pace(_limits(window_ns=SECOND_NS)), SECOND_NS
    pace.sent(BOT, 50, _wish())
    assert _reason(pace, 50, _wish(id="j")) is Reason.DUPLICATE_ECONOMICS
    late = pace.refusal(_wish(id="j"), 50 + window - 1)
    assert late == (Reason.DUPLICATE_ECONOMICS, "999 ms after the first")
    assert _reason(pace, 50 + window) is None
    assert _reason(pace, 49) is None, "a clock that steps back is a hold, not a duplicate"
    assert _reason(pace, 50, _wish(**change)) is None
    assert _reason(Pace(_limits()), 50) is None


def test_only_new_entries_are_remembered_and_not_for_ever() -> None:
    """An amendment, a replacement and an exit are none; the oldest is let go after its window."""
    pace = Pace(_limits(window_ns=SECOND_NS))
    pace.sent(BOT, 0)
    pace.sent(BOT, 0, _wish(action=Action.AMEND))
    assert _reason(pace, 0) is None
    for number in range(1_000):
        pace.sent(BOT, number * SECOND_NS, _wish(qty=Qty(number)))
    assert len(pace._recent) == 1


def _order(
    number: int, order_class: OrderClass = OrderClass.INCREASE, source: SourceId = BOT, filled: int = 1
) -> Order:
    return Order(
        id=OrderId(f"il-{number}"), intent_id=_wish().id, source=source, instrument=SPX,
        order_class=order_class, side=Side.BUY, qty=Qty(10), order_type=OrderType.MARKET, price=None,
        stop_price=None, attached_stop=None, protects=None, reduce_only=False,
        state=OrderState.WORKING, filled=Qty(filled),
    )  # fmt: skip


def _fill(number: int, event_ns: int, part: int = 0) -> Fill:
    return Fill(
        trade_id=TradeId(f"t{number}.{part}"), order_id=OrderId(f"il-{number}"), instrument=SPX,
        side=Side.BUY, qty=Qty(1), price=Price(PRICE), fee=Amount(0), maker=False, event_ns=event_ns,
    )  # fmt: skip


def test_one_entry_too_many_stops_the_source() -> None:
    """Three within ten seconds are allowed; further fills of one order are none, an exit is none."""
    pace = Pace(_limits(entries=3, entries_window_ns=10 * SECOND_NS))
    for number in range(3):
        for part in range(5):
            pace.filled(_order(number, filled=part + 1), _fill(number, number * SECOND_NS, part))
    pace.filled(_order(7, OrderClass.REDUCE), _fill(7, 3 * SECOND_NS))
    pace.filled(_order(8, source=SourceId("nobody")), _fill(8, 3 * SECOND_NS))
    assert pace.take_over() == []
    pace.filled(_order(9, source=OTHER), _fill(9, 3 * SECOND_NS))
    pace.filled(_order(3), _fill(3, 10 * SECOND_NS))
    assert pace.take_over() == [], "the first has left the window"
    pace.filled(_order(4), _fill(4, 11 * SECOND_NS - 1))
    ((source, why),) = pace.take_over()
    assert source == BOT
    assert why == "4 entries in SPX began to fill within its window; 3 are allowed"


def test_executions_are_found_again_in_the_log() -> None:
    """After a restart the next entry counts after those before, further fills of one order do not."""
    orders = [_order(number, filled=2) for number in range(3)]
    fills = [_fill(number, number, part) for number in range(3) for part in range(2)] + [_fill(99, 0)]
    pace = Pace(_limits(entries=3, entries_window_ns=10 * SECOND_NS))
    pace.restore(orders, fills)
    assert pace.take_over() == []
    pace.filled(_order(5), _fill(5, 5))
    assert [source for source, _ in pace.take_over()] == [BOT]


def test_a_core_killed_before_the_stop_stops_it_afterwards() -> None:
    """The fill that was one too many is in the log, the stop is not; until it is, no entry leaves."""
    pace = Pace(_limits(entries=3, entries_window_ns=10 * SECOND_NS))
    pace.restore([_order(number) for number in range(4)], [_fill(number, number) for number in range(4)])
    assert _reason(pace, 0) is Reason.STRATEGY_STOPPED
    assert _reason(pace, 0, _wish(OTHER)) is None
    assert [source for source, _ in pace.take_over()] == [BOT]
    assert _reason(pace, 0) is None, "from here on the portfolio says so"


def test_a_source_that_was_started_again_counts_from_there() -> None:
    """In this run and after a restart: what came before the start is forgotten, of that source alone."""
    limits = _limits(entries=3, entries_window_ns=100 * SECOND_NS)
    orders = [_order(number) for number in range(8)] + [_order(9, source=OTHER)]
    fills = [_fill(number, number) for number in range(8)]
    for cut, left in ((0, True), (4, True), (5, False), (8, False), (99, False)):
        pace = Pace(limits)
        pace.restore(orders, fills, [(BOT, cut)])
        assert (_reason(pace, 0) is Reason.STRATEGY_STOPPED) is left, cut
    pace = Pace(limits)
    for number in range(3):
        pace.filled(_order(number), _fill(number, number))
        pace.filled(_order(10 + number, source=OTHER), _fill(10 + number, number))
    pace.forget(BOT)
    pace.filled(_order(4), _fill(4, 4))
    pace.filled(_order(20, source=OTHER), _fill(20, 4))
    assert [source for source, _ in pace.take_over()] == [OTHER]


def test_refusals_of_the_throttle_count_anew_after_a_start() -> None:
    """And a stop that nobody carried out yet is void."""
    pace = Pace(_limits(messages=3))
    for now_ns in range(3):
        pace.throttled(BOT, now_ns)
    pace.forget(BOT)
    assert pace.take_over() == []
    for now_ns in range(3, 5):
        pace.throttled(BOT, now_ns)
    assert pace.take_over() == []


# through the gate, the desk and the flow


def _core(**changes: Any) -> Core:
    core = Core(**changes)
    asyncio.run(core.market(PRICE))
    return core


def _ask(core: Core, **changes: Any) -> Reason | None:
    verdict = asyncio.run(core.desk.place(core.intent(**changes)))
    return verdict.reason if isinstance(verdict, Denied) else None


@pytest.mark.safety("S2.4")
def test_an_exhausted_throttle_stops_no_exit() -> None:
    """Entries wait; the exit, its cancel and a stop leave although nothing is left in the bucket."""
    core = Core(account=account_limits(messages=2))
    asyncio.run(core.hold_position(1_000))
    core.clock.utc += SECOND
    asyncio.run(core.market(PRICE))
    for _ in range(2):
        assert _ask(core, qty=Qty(1)) is None
    assert _ask(core, qty=Qty(1)) is Reason.THROTTLED
    sell = {"side": Side.SELL, "qty": Qty(100)}
    assert _ask(core, **sell) is None
    assert _ask(core, **sell, order_type=OrderType.STOP, stop_price=Price(90_000)) is None
    for order in list(core.orders.live()):
        asyncio.run(core.desk.cancel(order))
    assert _ask(core, **sell, order_type=OrderType.LIMIT, price=Price(101_000)) is None
    assert _ask(core, qty=Qty(1)) is Reason.THROTTLED


def test_what_is_denied_and_what_is_amended_counts_as_it_leaves() -> None:
    """A denial sends nothing; a cancel is a message; so is every order of a list."""
    core = _core(account=account_limits(messages=4))
    for _ in range(10):
        assert _ask(core, qty=Qty(0)) is Reason.QTY_TOO_SMALL
    far = {"order_type": OrderType.LIMIT, "price": Price(96_000), "qty": Qty(1)}
    assert _ask(core, **far) is None
    asyncio.run(core.desk.cancel(next(core.orders.live())))
    low = core.intent(**far)
    high = core.intent(order_type=OrderType.STOP, stop_price=Price(104_000), qty=Qty(1))
    made = asyncio.run(core.desk.place_list(ListKind.OCO, [low, high]))
    assert not isinstance(made, Denied)
    assert _ask(core, qty=Qty(1)) is Reason.THROTTLED


def test_a_second_of_refusals_is_told_through_the_desk() -> None:
    """Level 2 of the throttle: the pipeline stops the source."""
    core = _core(source=source_limits(messages=2))
    asked = [_ask(core, qty=Qty(1)) for _ in range(4)]
    assert asked == [None, None, Reason.THROTTLED, Reason.THROTTLED]
    assert [source for source, _ in core.gate.pace.take_over()] == [BOT]


def test_the_same_order_twice_within_a_second_under_a_new_id() -> None:
    """Danger 13. A second later it is a wish of its own."""
    core = _core(account=account_limits(duplicate_window_ns=SECOND))
    assert _ask(core, qty=Qty(5)) is None
    assert _ask(core, qty=Qty(5)) is Reason.DUPLICATE_ECONOMICS
    assert _ask(core, qty=Qty(6)) is None
    core.clock.utc += SECOND
    assert _ask(core, qty=Qty(5)) is None


def test_fills_of_entries_are_counted_by_the_booking() -> None:
    """Two entries that fill; a second one stops a source that may have one."""
    core = Core(source=source_limits(entries=1))
    asyncio.run(core.hold_position(10))
    assert core.gate.pace.take_over() == []
    asyncio.run(core.desk.place(core.intent(qty=Qty(11))))
    asyncio.run(core.market(PRICE))
    assert [source for source, _ in core.gate.pace.take_over()] == [BOT]


@pytest.mark.parametrize(("loss_ppm", "qty", "reason"), [
    (20_000, 1_000, None),
    (20_001, 500, None),
    (20_001, 501, Reason.LOSS_SLOW),
    (20_001, 1_001, Reason.QTY_TOO_LARGE),
])  # fmt: skip
def test_the_second_mark_of_the_days_loss_halves_every_limit(
    loss_ppm: int, qty: int, reason: Reason | None
) -> None:
    """At the mark all of the limits, one millionth beyond it half of them, for new exposure alone."""
    core = _core(
        account=account_limits(loss_slow_ppm=20_000, position_cap_ppm=10**6),
        limits=instrument_limits(max_order_qty=1_000, max_order_value=10**20),
    )
    core.portfolio.decline.loss_ppm = loss_ppm
    assert _ask(core, qty=Qty(qty)) is reason


@pytest.mark.parametrize(("side", "held", "working", "qty", "reason"), [
    (Side.BUY, 0, 0, 1_000, None),
    (Side.BUY, 0, 0, 1_001, Reason.POSITION_LIMIT),
    (Side.BUY, 300, 0, 700, None),
    (Side.BUY, 300, 0, 701, Reason.POSITION_LIMIT),
    (Side.BUY, 300, 200, 500, None),
    (Side.BUY, 300, 200, 501, Reason.POSITION_LIMIT),
    (Side.SELL, 0, 0, 1_000, None),
    (Side.SELL, 0, 0, 1_001, Reason.POSITION_LIMIT),
])  # fmt: skip
def test_a_position_has_a_largest_quantity(
    side: Side, held: int, working: int, qty: int, reason: Reason | None
) -> None:
    """With everything that works on its side; the other side is not netted (CONTROLS 8)."""
    core = Core(
        account=account_limits(position_cap_ppm=10**6),
        limits=instrument_limits(max_order_value=10**20, max_position_qty=1_000),
        source=source_limits(allow_short=True),
    )
    asyncio.run(core.hold_position(held) if held else core.market(PRICE))
    if working:
        assert _ask(core, qty=Qty(working), order_type=OrderType.LIMIT, price=Price(96_000)) is None
    assert _ask(core, side=side, qty=Qty(qty)) is reason


@pytest.mark.parametrize(("bid", "ask", "last", "reason"), [
    (100_000, 101_000, 100_500, None),
    (100_000, 101_001, 100_500, Reason.PRICE_SPREAD),
    (100_000, 99_999, 100_000, Reason.PRICE_CROSSED),
    (100_000, 100_000, 98_040, None),
    (100_000, 100_000, 98_039, Reason.PRICE_DEVIATION),
    (98_000, 98_000, 100_000, None),
    (97_999, 97_999, 100_000, Reason.PRICE_DEVIATION),
    (100_000, 100_500, 100_250, None),
])  # fmt: skip
def test_quotes_that_cannot_be_right_deny_entries(
    bid: int, ask: int, last: int, reason: Reason | None
) -> None:
    """1 % of spread and 2 % away from the last trade are the last allowed values (CONTROLS 21)."""
    core = _core(limits=instrument_limits(max_spread_ppm=10_000, max_deviation_ppm=20_000))
    holding = core.portfolio.holdings[SPX]
    holding.bid, holding.ask, holding.last = bid, ask, last
    verdict = core.gate.check(core.intent(qty=Qty(1)))
    assert (verdict.reason if isinstance(verdict, Denied) else None) is reason


def test_an_exit_leaves_through_crossed_quotes() -> None:
    """Never trapped (SAFETY 2)."""
    core = Core()
    asyncio.run(core.hold_position(100))
    holding = core.portfolio.holdings[SPX]
    holding.bid, holding.ask, holding.last = 100_001, 90_000, 50_000
    assert isinstance(core.gate.check(core.intent(side=Side.SELL, qty=Qty(100))), Approved)
