"""What is held in each instrument, by whom, and what works: the numbers the gate reads."""

from __future__ import annotations

from appliance.domain.ids import InstrumentId, SourceId
from appliance.domain.instrument import Instrument
from appliance.domain.intent import OrderType, Side
from appliance.domain.observation import Bar, Observation, Quote
from appliance.domain.order import Fill, Order
from appliance.domain.verdict import OrderClass
from appliance.portfolio.decline import Confirmed, Decline
from appliance.portfolio.lots import Lots

_TRIGGERED = frozenset({OrderType.STOP, OrderType.STOP_LIMIT})


class Holding:
    """One instrument: its market, our position, our working orders. Implements ports.InstrumentView."""

    __slots__ = (
        "ask",
        "bid",
        "instrument",
        "last",
        "lots",
        "position",
        "price_ns",
        "working_buy",
        "working_sell",
    )

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.lots = Lots(instrument)
        self.bid = self.ask = self.last = 0
        self.price_ns = 0
        self.working_buy = self.working_sell = 0
        self.position = 0  # signed quantity from confirmed fills

    def apply(self, signed_qty: int, price: int) -> None:
        """Books a fill."""
        self.lots.apply(signed_qty, price)
        self.position = self.lots.quantity

    @property
    def mark(self) -> int:
        """Conservative mark: what leaving would bring at worst of quote and last trade; 0 if unknown."""
        if self.lots.quantity >= 0:
            return min(self.bid, self.last) if self.bid and self.last else self.bid or self.last
        return max(self.ask, self.last)

    @property
    def value(self) -> int:
        """Signed value of the position at the conservative mark, an amount."""
        return self.lots.quantity * self.mark * self.instrument.amount_factor

    def see(self, observation: Observation) -> None:
        """Takes the newest price. A bar's close stands for bid, ask and last until the next bar."""
        if isinstance(observation, Quote):
            self.bid, self.ask = observation.bid, observation.ask
            if not self.last:
                self.last = observation.bid
        else:
            price = observation.close if isinstance(observation, Bar) else observation.price
            self.last = price
            if isinstance(observation, Bar) or not self.bid:
                self.bid = self.ask = price
        self.price_ns = observation.seen_ns

    def work(self, order: Order, leaves: int) -> None:
        """Adds (or, negative, removes) working quantity. Protective legs are not counted."""
        if order.order_class is OrderClass.PROTECTIVE:
            return
        if order.side is Side.BUY:
            self.working_buy += leaves
        else:
            self.working_sell += leaves


class Allocation:
    """One source's share of the account: its own lots, exposure and decline. Latched once stopped."""

    def __init__(self, source: SourceId, capital: int) -> None:
        self.source = source
        self.capital = capital
        self.fees = 0
        self.held_cost = 0  # of every position, either side
        self.working_cost = 0  # value of working entries at the price they were approved at
        self.lots: dict[InstrumentId, Lots] = {}
        self.decline = Decline(capital)
        self.confirmed = Confirmed()
        self.stopped_reason = ""
        self.stopped_ns = 0

    @property
    def exposure(self) -> int:
        """Cost of what is held, either side, and of working entries."""
        return self.working_cost + self.held_cost

    def apply(self, fill: Fill, instrument: Instrument) -> None:
        """Books one fill of one of this source's orders."""
        lots = self.lots.get(fill.instrument)
        if lots is None:
            lots = self.lots[fill.instrument] = Lots(instrument)
        self.held_cost -= abs(lots.cost)
        lots.apply(fill.side.sign * fill.qty, fill.price)
        self.held_cost += abs(lots.cost)
        self.fees += fill.fee

    def equity(self, holdings: dict[InstrumentId, Holding]) -> int:
        """Capital, realised and unrealised P&L less fees, at conservative marks."""
        value = self.capital - self.fees
        for symbol, lots in self.lots.items():
            value += lots.realised
            if lots.quantity:
                value += lots.unrealised(holdings[symbol].mark)
        return value

    def held(self, instrument: InstrumentId) -> int:
        """Signed quantity this source holds."""
        lots = self.lots.get(instrument)
        return lots.quantity if lots is not None else 0


def entry_cost(order: Order, instrument: Instrument, reference: int, leaves: int) -> int:
    """What `leaves` of an entry will cost at most: limit, trigger or the reference price at approval, and
    what an amendment on its way may make of them."""
    dear = max(reference, order.price or 0)
    if order.order_type in _TRIGGERED:
        dear = max(dear, order.stop_price or 0)
    if order.pending is not None:
        dear = max(dear, order.pending.price or 0, order.pending.stop_price or 0)
    return leaves * dear * instrument.amount_factor
