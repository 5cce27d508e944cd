"""The account: every fill and every price ends here, and the gate reads from here.

The identities of `ledger` are asserted after every event, for what it touched, and by `check` as a whole.

Portfolio value (SAFETY 9) is venue-confirmed cash and positions at the conservative mark. It stays at the
last good prices when none come, and is as old as the oldest price of anything held; money that comes in or
goes out other than by fills is not in it, and a venue whose cash differs for that reason trips the box.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from appliance.domain.errors import InvariantError
from appliance.domain.ids import InstrumentId, OrderId, SourceId
from appliance.domain.instrument import Instrument
from appliance.domain.intent import Side
from appliance.domain.money import Amount, format_scaled
from appliance.domain.observation import Bar, Observation
from appliance.domain.order import Fill, Order, OrderState, VenueAccount
from appliance.domain.verdict import OrderClass
from appliance.portfolio.correlation import Correlations, CorrelationTerms
from appliance.portfolio.decline import Confirmed, Decline, PeakResets
from appliance.portfolio.holdings import Allocation, Holding, entry_price
from appliance.portfolio.ledger import Ledger
from appliance.portfolio.series import Series
from appliance.portfolio.totals import Totals

WORKING_STATES = frozenset(
    {
        OrderState.WORKING,
        OrderState.RECORDED,
        OrderState.SENT,
        OrderState.PARTIALLY_FILLED,
        OrderState.CANCEL_SENT,
        OrderState.UNKNOWN,
        OrderState.HELD,
        OrderState.TRIGGERED,
    }
)
"""What can still fill."""

# Python 3.11 looks an enum member up in 90 ns, a global in 3; every fill and order passes here.
_BUY, _INCREASE = Side.BUY, OrderClass.INCREASE


class Portfolio:
    """One venue account. Implements ports.AccountView. Owned by the event loop.

    capital: start cash.  allocations: capital per source, from configuration.  correlation: without it
    no correlation is known, and what is held keeps every other instrument out.
    """

    def __init__(
        self,
        instruments: Iterable[Instrument],
        capital: Amount,
        allocations: Mapping[SourceId, Amount],
        correlation: CorrelationTerms | None = None,
    ) -> None:
        self.holdings = {
            instrument.symbol: Holding(instrument, Series(correlation.interval_ns) if correlation else None)
            for instrument in instruments
        }
        self.sources = {source: Allocation(source, amount) for source, amount in allocations.items()}
        self.capital = capital
        self.cash: int = capital
        self.fees = self._positions_value = 0
        self.equity_ns = 0  # market time of the oldest price in the value, 0 if there is none yet
        self.decline = Decline(capital)
        self.confirmed_drawdown, self.confirmed_loss = Confirmed(), Confirmed()
        shares = {str(source): allocation.decline for source, allocation in self.sources.items()}
        self.resets = PeakResets({"": self.decline} | shares)
        self._working: dict[OrderId, tuple[int, int, int]] = {}  # leaves, entry cost, reference price
        self._priced = OrderedDict[InstrumentId, None]()  # what is held, the longest without a price first
        self.totals = Totals()
        self.gross = 0  # Σ worst case of every instrument
        self.ledger = Ledger(capital)
        self.correlations = Correlations(self.holdings, correlation)
        # Of ports.AccountView, one call less for every order; None: not configured.
        self.view, self.source = self.holdings.get, self.sources.get
        self.correlated = self.correlations.clash

    @property
    def equity(self) -> int:
        """Cash and positions at the conservative mark."""
        return self.cash + self._positions_value

    @property
    def loss_today_ppm(self) -> int:
        """Below the day's first equity."""
        return self.decline.loss_ppm

    @property
    def drawdown_ppm(self) -> int:
        """Below the peak."""
        return self.decline.drawdown_ppm

    @property
    def peak(self) -> int:
        """Highest equity, or what it was reset to."""
        return self.decline.peak

    def reset_peak(self, peak: int) -> None:
        """The account's peak becomes this, or the equity if it has risen above it meanwhile (SAFETY 6)."""
        self.decline.restart(max(peak, self.equity))

    def caught_up(self) -> None:
        """Every fill of the log is booked, the last price is still to be taken again: a flat account's
        equity is known without it, and nobody arms on the decline of a moment before the loss."""
        self.resets.catch_up()
        if self.is_flat():
            self.decline.weigh(self.equity)

    @property
    def free_margin(self) -> int:
        """Collateral less the initial margin of everything held and working; may be negative."""
        return self.cash + self.totals.counted - self.totals.used

    def cross_margin(self, instrument: InstrumentId) -> int:
        """Collateral without one instrument, less the maintenance margin of the others."""
        counted, maintenance = self.totals.others(self.holdings[instrument])
        return self.cash + counted - maintenance

    def held(self) -> list[tuple[SourceId, Instrument, int]]:
        """(source, instrument, signed quantity) of everything that is not zero."""
        return [
            (source, lots.instrument, lots.quantity)
            for source, allocation in self.sources.items()
            for lots in allocation.lots.values()
            if lots.quantity
        ]

    def source_exposure(self, source: SourceId) -> int:
        """An amount; 0 for a source without an allocation (the gate denies it for want of limits)."""
        allocation = self.sources.get(source)
        return allocation.working_cost + allocation.held_cost if allocation is not None else 0

    def source_stopped(self, source: SourceId) -> bool:
        """Latched by `stop_source`."""
        allocation = self.sources.get(source)
        return allocation is not None and allocation.stopped_reason != ""

    def stop_source(self, source: SourceId, reason: str, now_ns: int) -> None:
        """Latches one source shut; the first reason stays."""
        self.sources[source].stop(reason, now_ns)

    def apply_fill(self, fill: Fill, source: SourceId, order: Order | None = None) -> None:
        """Books one fill on the account and on the source whose order it was. order: as the fill left it, if
        it shares its quantity with none: `working` in the same step, so that the sums are renewed once."""
        holding = self.holdings[fill.instrument]
        instrument, known = holding.instrument, self.sources.get(source)
        self.ledger.book(fill, source, instrument)
        signed = fill.qty if fill.side is _BUY else -fill.qty
        holding.apply(signed, fill.price)
        self.cash -= signed * fill.price * instrument.amount_factor + fill.fee
        self.fees += fill.fee
        if known is not None:
            known.apply(fill, instrument)
        if not holding.price_ns:
            holding.bid = holding.ask = holding.last = fill.price
        own = known.lots[fill.instrument] if known is not None else None
        self.ledger.compare(self.cash, holding.lots, source, own)
        if order is not None:
            self._count(order, holding, None)
        self._revalue(holding)
        self._follow(holding)
        if (abs(holding.position) >= instrument.min_qty) is not holding.aged:
            self._age(holding, not holding.aged)

    def mark(self, observation: Observation) -> None:
        """Takes a price: equity, decline of the account and of every source that holds the instrument."""
        holding = self.holdings[observation.instrument]
        holding.see(observation)
        if holding.series is not None:
            for closed in holding.series.observe(observation):
                self.correlations.push(observation.instrument, closed)
        self._revalue(holding)
        if holding.aged:  # the newest price is the last to grow old
            self._priced.move_to_end(observation.instrument)
        oldest = next(iter(self._priced), observation.instrument)
        self.equity_ns = self.holdings[oldest].price_ns
        self.decline.observe(self.equity, observation.seen_ns)
        for allocation in self.sources.values():
            if observation.instrument in allocation.lots:
                allocation.decline.observe(allocation.equity(self.holdings), observation.seen_ns)
        self.resets.marked()

    def working(self, order: Order, counted: int | None = None) -> None:
        """Counts an order's leaves after it was recorded or changed; ended orders count nothing.

        counted: how much of them counts, where it shares its quantity with another (`orders.links`).
        """
        holding = self.holdings[order.instrument]
        if self._count(order, holding, counted):
            self.totals.update(holding)
            self.gross = self.totals.gross
            self._follow(holding)

    def _count(self, order: Order, holding: Holding, counted: int | None) -> bool:
        """False if it was sent, or accepted: nothing of what the gate reads depends on it."""
        live = order.state in WORKING_STATES
        self.ledger.follow(order, live=live)
        leaves, cost, reference = self._working.get(order.id) or (0, 0, max(holding.ask, holding.last))
        if counted is None:  # what `exposed` says, without the call where nothing is pending
            counted = order.qty - order.filled if order.pending is None else order.exposed
        now_leaves = counted if live else 0
        dear = entry_price(order, reference) if now_leaves and order.order_class is _INCREASE else 0
        now_cost = now_leaves * dear * holding.instrument.amount_factor
        if now_leaves == leaves and now_cost == cost:
            return False
        holding.work(order, now_leaves - leaves, dear)
        if now_cost != cost and order.source in self.sources:
            self.sources[order.source].working_cost += now_cost - cost
        if now_leaves:
            self._working[order.id] = (now_leaves, now_cost, reference)
        else:
            del self._working[order.id]
        return True

    def over_limits(
        self, drawdown_ppm: int, daily_loss_ppm: int, observation: Observation
    ) -> tuple[bool, bool]:
        """(drawdown, daily loss) of the account passed and confirmed at this observation."""
        several, now_ns = _several_prints(observation), observation.seen_ns
        return (
            self.confirmed_drawdown.update(self.drawdown_ppm > drawdown_ppm, now_ns, several),
            self.confirmed_loss.update(self.loss_today_ppm > daily_loss_ppm, now_ns, several),
        )

    def sources_over(self, limits: Mapping[SourceId, int], observation: Observation) -> list[SourceId]:
        """Sources whose allocation's drawdown limit was passed and confirmed at this observation."""
        several, now_ns, over = _several_prints(observation), observation.seen_ns, []
        for source, limit_ppm in limits.items():
            allocation = self.sources[source]
            if observation.instrument not in allocation.lots or allocation.stopped_reason:
                continue
            passed = allocation.decline.drawdown_ppm > limit_ppm
            if allocation.confirmed.update(passed, now_ns, several):
                over.append(source)
        return over

    def is_flat(self) -> bool:
        """Nothing held that the venue would still take an order for; smaller remainders are dust."""
        return all(abs(h.position) < h.instrument.min_qty for h in self.holdings.values())

    def dust(self) -> dict[str, str]:
        """What is held and smaller than the venue takes an order for, by symbol."""
        found = (h for h in self.holdings.values() if 0 < abs(h.position) < h.instrument.min_qty)
        return {h.instrument.symbol: format_scaled(h.position, h.instrument.qty_exp) for h in found}

    def disagreement(self, account: VenueAccount) -> str:
        """Where our books and the venue's differ; empty if they agree to the last unit."""
        if account.cash != self.cash:
            return f"cash: ours {self.cash}, venue {account.cash}"
        return _position_difference(self.holdings, account.positions)

    def check(self) -> None:
        """Raises InvariantError if the books do not add up."""
        spent = sum(holding.lots.cost - holding.lots.realised for holding in self.holdings.values())
        if self.cash != self.capital - spent - self.fees:
            raise InvariantError("cash differs from the sum of the fills")
        for symbol, holding in self.holdings.items():
            if holding.working_buy < 0 or holding.working_sell < 0:
                raise InvariantError(f"negative working quantity in {symbol}")
            self.ledger.compare_sources(symbol)
        for allocation in self.sources.values():
            allocation.check()
        self.totals.check(self.holdings.values())

    def _revalue(self, holding: Holding) -> None:
        value = holding.value
        self._positions_value += value - holding.valued
        holding.valued = value
        self.totals.update(holding)
        self.gross = self.totals.gross

    def _follow(self, holding: Holding) -> None:
        """Tells the correlations which sides are held, or would be if what works filled; dust is neither."""
        position, least = holding.position, holding.instrument.min_qty
        long, short = position + holding.working_buy >= least, holding.working_sell - position >= least
        sides = long + 2 * short
        if holding.sides != sides:
            holding.sides = sides
            self.correlations.hold(holding.instrument.symbol, long=long, short=short)

    def _age(self, holding: Holding, held: bool) -> None:
        """Begins or ends to count the age of an instrument's price into that of the portfolio's value."""
        holding.aged, symbol = held, holding.instrument.symbol
        if not held:
            del self._priced[symbol]
            return
        priced = sorted([*self._priced, symbol], key=lambda each: self.holdings[each].price_ns)
        self._priced = OrderedDict.fromkeys(priced)
        self.equity_ns = min(self.equity_ns, holding.price_ns)


def _position_difference(
    holdings: Mapping[InstrumentId, Holding], theirs: Mapping[InstrumentId, int]
) -> str:
    for symbol in sorted(set(theirs) | set(holdings)):
        holding, venue = holdings.get(symbol), theirs.get(symbol, 0)
        ours = holding.position if holding is not None else 0
        if ours != venue:
            return f"{symbol}: ours {ours}, venue {venue}"
    return ""


def _several_prints(observation: Observation) -> bool:
    """A bar with a range is made of prints that lie apart; a one-print bar is a single observation."""
    return isinstance(observation, Bar) and observation.low != observation.high
