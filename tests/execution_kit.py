"""A core whose entries are sliced, and the same core after a crash: what it knows then is in its log."""

from __future__ import annotations

from typing import Any

from appliance.domain.ids import OrderId
from appliance.domain.intent import Intent, Side
from appliance.domain.money import Qty
from appliance.domain.order import Order
from appliance.orders.book import Orders
from appliance.orders.executor import Executor
from appliance.orders.plan import Plan, read_plan
from appliance.orders.reconcile import as_restored
from appliance.runtime.restore import _fill
from tests.kit import SPX, Core


class Slicing:
    """recipe: of the one source. Time passes one second a bar."""

    def __init__(self, core: Core | None = None, **recipe: Any) -> None:
        self.core = core or Core()
        self.recipe = recipe
        self.executor: Executor = self.core.executor(**recipe)

    async def bar(self, price: int = 100_000, **shape: int) -> None:
        """The market moves, what it did is booked, the executor looks."""
        await self.core.market(price, **shape)
        await self.executor.advance()

    async def enter(self, qty: int, **changes: Any) -> Intent:
        """A buy of `qty` hundredths."""
        intent = self.core.intent(qty=Qty(qty), **changes)
        await self.executor.enter(intent)
        await self.core.desk.collect()
        return intent

    async def close(self) -> None:
        """The strategy wants out."""
        held = self.position
        await self.executor.close(self.core.intent(side=Side.SELL, qty=Qty(abs(held))))
        await self.core.desk.collect()

    @property
    def position(self) -> int:
        """As the core's books have it."""
        return self.core.portfolio.holdings[SPX].position

    def asked(self) -> list[str]:
        """Ids of the entries that were asked for, in order."""
        found = [data for data in self.core.scribe.of("intent") if data["action"] == "NEW"]
        return [data["intent"] for data in found if not data["intent"].startswith(("protect/", "close/"))]

    def posted(self) -> list[int]:
        """Quantities of the entries the venue took or refused, in order."""
        orders = self.core.engine.ledger.orders.values()
        return [order.request.qty for order in orders if not order.request.reduce_only]

    def ended(self) -> list[dict[str, Any]]:
        """The last entries of the parents that ended."""
        return [data for data in self.core.scribe.of("execution") if data["execution"] == "ended"]

    def plans(self) -> list[tuple[Plan, int]]:
        """Running plans, from the log."""
        found: dict[str, tuple[Plan, int]] = {}
        for index, (kind, data, _) in enumerate(self.core.scribe.entries):
            if kind == "execution" and data["execution"] == "begun":
                found[data["intent"]] = read_plan(data["plan"]), index
            elif kind == "execution" and data["execution"] == "ended":
                found.pop(data["intent"], None)
        return list(found.values())

    def crash(self) -> Slicing:
        """A new core on the same venue. It knows its log: rows, fills, plans; the rest it is told."""
        old = self.core
        rows: dict[OrderId, Order] = {}
        for _, _, orders in old.scribe.entries:
            rows |= {order.id: order for order in orders}
        fills = [_fill(data) for data in old.scribe.of("fill")]
        known = [as_restored(order, old.clock.mono) for order in rows.values()]
        new = Core(orders=Orders(known, (fill.trade_id for _, fill in fills)))
        new.clock.mono, new.clock.utc = old.clock.mono, old.clock.utc
        new.number, new.steps = old.number, old.steps
        new.engine = new.venue.engine = old.engine
        seqs = [data.get("seq", 0) for kind in ("order", "fill") for data in old.scribe.of(kind)]
        new.venue._sequence.after = new.desk.last_seq = max([0, *seqs])
        for order_id in rows:
            new.ids.add(order_id)
        for source, fill in fills:
            new.portfolio.apply_fill(fill, source)
        for order in new.orders.live():
            new.desk.booking.count(order)
        new.scribe.entries = list(old.scribe.entries)
        again = Slicing(new, **self.recipe)
        again.executor.resume(self.plans(), list(rows.values()), fills)
        return again
