"""Where one parent stands: its slice, its children, what they filled and at what price. One owner."""

from __future__ import annotations

from appliance.domain.describe import price_text, qty_text
from appliance.domain.ids import OrderId
from appliance.domain.money import AMOUNT_EXP, format_scaled
from appliance.domain.order import Fill
from appliance.orders.plan import Plan, missed, shortfall, slippage_ppm
from appliance.ports import InstrumentView

ASKS_PER_ORDER = 1_000_000  # more than anybody asks between two orders of a slice


class Work:
    """Owned by the executor. cause: log index of the plan's entry.  at: the slice that is worked.
    tries: of it.  denials: of it since its last order.
    child: the order that may still fill.  orders: every child → its slice."""

    def __init__(self, plan: Plan, cause: int) -> None:
        self.plan = plan
        self.cause = cause
        self.at = self.tries = self.sent = self.retries = 0
        self.child: OrderId | None = None
        self.orders: dict[OrderId, int] = {}
        self.filled = self.value = self.fees = self.last_fill_ns = 0
        self.denials = 0
        self.denied = self.replaced = ""
        self._done = [0] * len(plan.qtys)

    def rest(self) -> int:
        """What the slice still wants."""
        return self.plan.qtys[self.at] - self._done[self.at]

    def attempt(self) -> int:
        """Number of the next ask for this slice: no restart gives one order's number twice, and no denial's
        is asked again, since the desk would repeat its answer. Counted from the orders, which the log has."""
        return ASKS_PER_ORDER * self._count() + self.denials

    def _count(self) -> int:
        return sum(index == self.at for index in self.orders.values())

    def count_try(self) -> None:
        """The gate is asked for one more child."""
        self.tries += 1
        self.sent += 1
        self.retries += self.tries > 1

    def remember(self, index: int, order_id: OrderId, *, alive: bool) -> None:
        """One child, as it was approved now or as the log has it."""
        self.orders[order_id] = index
        if index > self.at:
            self.at, self.child = index, None
        if index == self.at and (alive or self.child is None):
            self.child = order_id
        self.sent = max(self.sent, len(self.orders))
        self.tries = max(self.tries, self._count()) if index == self.at else self.tries
        self.denials = 0

    def next_slice(self, *, again: bool) -> None:
        """The slice once more, if it may be tried again and has a rest the venue takes; else the next one.

        A rest that is given up is given up for good: it is not added to a later slice.
        """
        if again and self.rest() >= self.plan.smallest and self.tries <= self.plan.retries:
            return
        self.at += 1
        self.tries = self.denials = 0

    def take(self, index: int, fill: Fill) -> None:
        """Books one fill of slice `index`."""
        self._done[index] += fill.qty
        self.filled += fill.qty
        self.value += fill.price * fill.qty
        self.fees += fill.fee
        self.last_fill_ns = max(self.last_fill_ns, fill.event_ns)

    def filled_percent(self) -> int:
        """Of what was wanted, rounded down, at most 100."""
        return min(100, self.filled * 100 // self.plan.total) if self.plan.total > 0 else 0

    def slippage_ppm(self) -> int:
        """Average price against arrival; positive is worse."""
        return slippage_ppm(self.plan.parent.side, self.plan.arrival, self.filled, self.value)

    def fill_ns(self) -> int:
        """Market time from the decision to the last fill; 0 without one."""
        return max(0, self.last_fill_ns - self.plan.begun_ns)


def describe_work(work: Work, view: InstrumentView) -> dict[str, object]:
    """For the parent's last entry: what was wanted, what came of it, what it cost (implementation shortfall).

    slippage_ppm is "" where nothing filled or no arrival price was known.
    """
    plan, parent, instrument = work.plan, work.plan.parent, view.instrument
    compared = plan.arrival > 0
    cost = shortfall(parent.side, plan.arrival, work.filled, work.value, instrument.amount_factor, work.fees)
    unfilled = max(0, plan.total - work.filled)
    lost = missed(parent.side, plan.arrival, unfilled, view.last, instrument.amount_factor)
    return {
        "instrument": parent.instrument,
        "style": plan.style,
        "side": parent.side,
        "qty": qty_text(instrument, plan.total),
        "filled": qty_text(instrument, work.filled),
        "arrival": price_text(instrument, plan.arrival if compared else None),
        "slippage_ppm": str(work.slippage_ppm()) if compared and work.filled else "",
        "shortfall": format_scaled(cost, AMOUNT_EXP) if compared else "",
        "missed": format_scaled(lost, AMOUNT_EXP) if compared else "",
        "fees": format_scaled(work.fees, AMOUNT_EXP),
        "fill_ns": str(work.fill_ns()),
        "children": work.sent,
        "retries": work.retries,
    }
