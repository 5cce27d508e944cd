"""The two-sided safety property (CONTROLS, tests worth most 1), over the whole core and a paper venue.

S: after an approval, if every working order of a side fills, exposure is within the cap.
L: an order that only reduces what is held, given what works, is never denied, in any mode, trip or hold.
And the ledger identities after every step: our books equal the venue's to the last unit.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.domain.intent import Intent, OrderType, Side
from appliance.domain.mode import BOX, HoldCause, Mode, TripReason
from appliance.domain.money import PPM_ONE, Price, Qty
from appliance.domain.verdict import Approved, Denied, OrderClass
from appliance.portfolio.holdings import Holding
from tests.kit import SPX, Core, instrument_limits, source_limits

LARGEST = 700

PRICES = st.integers(60_000, 140_000)
QTYS = st.integers(1, 900)

WISH = st.tuples(
    st.just("wish"),
    st.sampled_from(list(Side)),
    QTYS,
    st.one_of(st.none(), st.integers(-8_000, 8_000)),
)
ACTS = st.one_of(
    WISH,
    WISH,
    WISH,
    st.tuples(st.just("exit"), st.integers(1, 100)),
    st.tuples(st.just("rest"), st.integers(1, 100)),
    st.tuples(st.just("more"), st.integers(1, 1_200)),
    st.tuples(st.just("market"), PRICES),
    st.tuples(st.just("market"), PRICES),
    st.tuples(st.just("cancel"), st.integers(0, 20)),
    st.tuples(st.just("mode"), st.sampled_from(list(Mode))),
    st.tuples(st.just("hold"), st.booleans()),
    st.tuples(st.just("trip"), st.sampled_from([TripReason.KILL_BUTTON, TripReason.TAMPER])),
    st.tuples(st.just("arm")),
    st.tuples(st.just("late"), st.integers(0, 40_000_000_000)),
)


def reducible(holding: Holding, side: Side) -> int:
    """SAFETY 2 once more, in the test's own words: what is held less what works to reduce it."""
    if holding.position * side.sign >= 0:
        return 0
    working = holding.working_sell if side is Side.SELL else holding.working_buy
    return max(0, abs(holding.position) - working)


class World:
    """One account that may go short, driven act by act."""

    def __init__(self) -> None:
        self.core = Core(
            limits=instrument_limits(max_order_value=10**20, max_order_qty=LARGEST),
            source=source_limits(allow_short=True, allocation=10**20),
        )
        self.approved = self.denied = 0

    async def act(self, name: str, *values: Any) -> None:
        """One act, then the identities."""
        await getattr(self, f"_{name}")(*values)
        await self.core.desk.collect()
        self._check_identities()

    async def _wish(self, side: Side, qty: int, offset: int | None) -> None:
        holding = self.core.portfolio.holdings[SPX]
        price = None if offset is None or not holding.last else Price(max(1, holding.last + offset))
        kind = OrderType.MARKET if price is None else OrderType.LIMIT
        await self._place(self.core.intent(side=side, qty=Qty(qty), order_type=kind, price=price))

    async def _exit(self, percent: int) -> None:
        """Exactly what SAFETY 2 calls REDUCE, of whatever is held."""
        holding = self.core.portfolio.holdings[SPX]
        side = Side.SELL if holding.position > 0 else Side.BUY
        qty = reducible(holding, side) * percent // 100
        if qty:
            verdict = await self._place(self.core.intent(side=side, qty=Qty(qty)))
            assert isinstance(verdict, Approved), verdict

    async def _rest(self, percent: int) -> None:
        """An exit that rests in the book, so that a later one has less to reduce."""
        holding = self.core.portfolio.holdings[SPX]
        side = Side.SELL if holding.position > 0 else Side.BUY
        qty = abs(holding.position) * percent // 100
        if qty and holding.last:
            price = Price(max(1, holding.last + side.opposite.sign * 2_000))
            wish = self.core.intent(side=side, qty=Qty(qty), order_type=OrderType.LIMIT, price=price)
            await self._place(wish)

    async def _more(self, qty: int) -> None:
        """A market order of the closing side, of any size: REDUCE or INCREASE, the gate must tell."""
        side = Side.SELL if self.core.portfolio.holdings[SPX].position > 0 else Side.BUY
        await self._place(self.core.intent(side=side, qty=Qty(qty)))

    async def _place(self, intent: Intent) -> Approved | Denied:
        holding = self.core.portfolio.holdings[SPX]
        reduces = 0 < intent.qty <= reducible(holding, intent.side)
        equity = self.core.portfolio.equity
        verdict = await self.core.desk.place(intent)
        if isinstance(verdict, Denied):
            self.denied += 1
            assert not reduces, f"an exit was denied: {verdict}"
            return verdict
        self.approved += 1
        assert verdict.qty <= LARGEST
        if verdict.order_class is OrderClass.INCREASE:
            reference = holding.ask if intent.side is Side.BUY else holding.bid
            self._check_worst_case(intent, max(reference, intent.price or 0), equity)
        else:
            assert reduces, f"{verdict.order_class} although it does not only reduce: {verdict}"
        return verdict

    def _check_worst_case(self, intent: Intent, reference: int, equity: int) -> None:
        holding = self.core.portfolio.holdings[SPX]
        if intent.side is Side.BUY:
            worst = holding.position + holding.working_buy
        else:
            worst = holding.working_sell - holding.position
        value = worst * reference * holding.instrument.amount_factor
        assert value * PPM_ONE <= self.core.limits.account.position_cap_ppm * equity

    async def _market(self, price: int) -> None:
        await self.core.market(price, low=price - 300, high=price + 300)

    async def _cancel(self, index: int) -> None:
        live = list(self.core.orders.live())
        if live:
            await self.core.desk.cancel(live[index % len(live)])

    async def _mode(self, mode: Mode) -> None:
        self.core.safety.mode = mode

    async def _hold(self, begin: bool) -> None:
        if begin:
            self.core.holds.begin(HoldCause.STALE_DATA, BOX, 1, "")
        else:
            self.core.holds.end(HoldCause.STALE_DATA, BOX)

    async def _trip(self, reason: TripReason) -> None:
        self.core.guard.trip(reason)

    async def _arm(self) -> None:
        self.core.guard.press_key("ARMED")
        self.core.latch.clear(self.core.guard.state)
        self.core.safety.mode = Mode.NORMAL

    async def _late(self, duration_ns: int) -> None:
        self.core.clock.utc += duration_ns

    def _check_identities(self) -> None:
        portfolio, account = self.core.portfolio, self.core.engine.ledger.account()
        assert portfolio.disagreement(account) == ""
        portfolio.check()
        holding = portfolio.holdings[SPX]
        live = [o for o in self.core.orders.live() if o.order_class is not OrderClass.PROTECTIVE]
        assert holding.working_buy == sum(o.leaves for o in live if o.side is Side.BUY)
        assert holding.working_sell == sum(o.leaves for o in live if o.side is Side.SELL)
        assert sum(q for _, _, q in portfolio.held()) == holding.position
        venue = {order.describe().order_id for order in self.core.engine.ledger.live.values()}
        assert {order.id for order in self.core.orders.live()} == venue
        assert not self.core.scribe.of("venue"), self.core.scribe.of("venue")


@pytest.mark.safety("S2.1", "S2.5")
@settings(deadline=None, derandomize=True, max_examples=250)
@given(st.lists(ACTS, min_size=5, max_size=40))
def test_never_lets_danger_through_and_never_traps_an_exit(acts: list[tuple[Any, ...]]) -> None:
    """Any sequence of wishes, fills, cancels, modes, trips and holds."""

    async def run() -> None:
        world = World()
        await world.core.hold_position(600)
        for name, *values in acts:
            await world.act(name, *values)

    asyncio.run(run())
