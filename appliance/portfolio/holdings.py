"""What is held in each instrument, by whom, and what works: the numbers the gate reads."""

from __future__ import annotations

from appliance.domain.errors import InvariantError
from appliance.domain.ids import InstrumentId, SourceId
from appliance.domain.instrument import Instrument
from appliance.domain.intent import OrderType, Side
from appliance.domain.observation import Bar, Observation, Quote
from appliance.domain.order import Fill, Order
from appliance.domain.verdict import OrderClass
from appliance.portfolio.decline import Confirmed, Decline
from appliance.portfolio.lots import Lots
from appliance.portfolio.series import Series

# Python 3.11 looks an enum member up in 90 ns, a global in 3; every fill and order passes here.
_BUY, _PROTECTIVE = Side.BUY, OrderClass.PROTECTIVE

_STOP, _STOP_LIMIT = OrderType.STOP, OrderType.STOP_LIMIT


class Holding:
    """One instrument: its market, our position, our working orders. Implements ports.InstrumentView."""

    __slots__ = (
        "aged",
        "ask",
        "bid",
        "buy_top",
        "counted",
        "instrument",
        "last",
        "lots",
        "position",
        "price_ns",
        "sell_top",
        "series",
        "sides",
        "valued",
        "working_buy",
        "working_sell",
        "worst",
    )

    def __init__(self, instrument: Instrument, series: Series | None = None) -> None:
        self.instrument = instrument
        self.series = series
        self.lots = Lots(instrument)
        self.bid = self.ask = self.last = 0
        self.price_ns = 0
        self.working_buy = self.working_sell = 0
        self.position = 0  # signed quantity from confirmed fills
        self.buy_top = self.sell_top = 0  # see `work`
        self.worst = self.counted = 0  # as `totals` counted them last
        self.valued = 0  # as the portfolio's value counted it last
        self.sides = 0  # 1 long, 2 short: as `correlation` was told last
        self.aged = False  # its price's age is that of the portfolio's value

    def apply(self, signed_qty: int, price: int) -> None:
        """Books a fill."""
        self.lots.apply(signed_qty, price)
        self.position = self.lots.quantity

    @property
    def mark(self) -> int:
        """Conservative mark: what leaving would bring at worst of quote and last trade; 0 if unknown."""
        if self.position >= 0:
            return min(self.bid, self.last) if self.bid and self.last else self.bid or self.last
        return max(self.ask, self.last)

    @property
    def value(self) -> int:
        """Signed value of the position at the conservative mark, an amount."""
        return self.position * self.mark * self.instrument.amount_factor if self.position else 0

    @property
    def cost(self) -> int:
        """Signed value at entry of what is held, an amount."""
        return self.lots.cost

    def worst_case(self) -> int:
        """Value of the position if everything that works on one side fills, the dearer side, an amount.

        Sides are not netted (CONTROLS 8). Each is valued at the dearest of ask, last price and the prices
        its working entries may fill at.
        """
        units, short = self.position + self.working_buy, self.working_sell - self.position
        dear = self.ask  # compared one by one: max() of two takes three times as long
        if self.last > dear:
            dear = self.last
        if self.buy_top > dear or self.sell_top > dear:
            units *= max(dear, self.buy_top)
            short *= max(dear, self.sell_top)
            dear = 1
        if short > units:
            units = short
        return units * dear * self.instrument.amount_factor

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

    def work(self, order: Order, leaves: int, dear: int) -> None:
        """Adds (or, negative, removes) working quantity. Protective legs are not counted.

        dear: price an entry may fill at. The highest of a side is kept until nothing works there any more:
        it may be too high for a while, never too low, and costs no list of orders.
        """
        if order.order_class is _PROTECTIVE:
            return
        if order.side is _BUY:
            self.working_buy += leaves
            if not self.working_buy:
                self.buy_top = 0
            elif dear > self.buy_top:
                self.buy_top = dear
        else:
            self.working_sell += leaves
            if not self.working_sell:
                self.sell_top = 0
            elif dear > self.sell_top:
                self.sell_top = dear


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
        lots.apply(fill.qty if fill.side is _BUY else -fill.qty, fill.price)
        self.held_cost += abs(lots.cost)
        self.fees += fill.fee

    def check(self) -> None:
        """Raises InvariantError if the exposure differs from the lots."""
        if self.held_cost != sum(abs(lots.cost) for lots in self.lots.values()):
            raise InvariantError(f"exposure of {self.source} differs from its lots")

    def equity(self, holdings: dict[InstrumentId, Holding]) -> int:
        """Capital, realised and unrealised P&L less fees, at conservative marks."""
        value = self.capital - self.fees
        for symbol, lots in self.lots.items():
            value += lots.realised
            if lots.quantity:
                value += lots.unrealised(holdings[symbol].mark)
        return value

    def stop(self, reason: str, now_ns: int) -> None:
        """Latched; the first reason stays."""
        if not self.stopped_reason:
            self.stopped_reason, self.stopped_ns = reason, now_ns

    def start(self, peak: int) -> None:
        """By a signed act alone (`safety.source_start`)."""
        self.stopped_reason, self.stopped_ns = "", 0
        self.decline.restart(peak)
        self.confirmed = Confirmed()

    def held(self, instrument: InstrumentId) -> int:
        """Signed quantity this source holds."""
        lots = self.lots.get(instrument)
        return lots.quantity if lots is not None else 0


def entry_price(order: Order, reference: int) -> int:
    """What one unit of an entry will cost at most: limit, trigger or the reference price at approval, and
    what an amendment on its way may make of them."""
    dear, kind = reference, order.order_type
    if order.price is not None and order.price > dear:
        dear = order.price
    if (
        (kind is _STOP or kind is _STOP_LIMIT)
        and order.stop_price is not None
        and order.stop_price > dear
    ):
        dear = order.stop_price
    pending = order.pending
    return dear if pending is None else max(dear, pending.price or 0, pending.stop_price or 0)
