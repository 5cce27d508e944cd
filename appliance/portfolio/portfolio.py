"""The account: every fill and every price ends here, and the gate reads from here.

Identities that hold after every event, asserted by `check` (CONTROLS, tests worth most 3):
position = Σ signed fills; cash = start − Σ price × signed quantity − fees; the sources' quantities add up
to the account's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from appliance.domain.errors import InvariantError
from appliance.domain.ids import InstrumentId, OrderId, SourceId
from appliance.domain.instrument import Instrument
from appliance.domain.money import Amount, format_scaled
from appliance.domain.observation import Bar, Observation
from appliance.domain.order import Fill, Order, OrderState, VenueAccount
from appliance.domain.verdict import OrderClass
from appliance.portfolio.decline import Confirmed, Decline
from appliance.portfolio.holdings import Allocation, Holding, entry_cost

WORKING_STATES = frozenset(
    {
        OrderState.RECORDED,
        OrderState.SENT,
        OrderState.UNKNOWN,
        OrderState.HELD,
        OrderState.WORKING,
        OrderState.TRIGGERED,
        OrderState.PARTIALLY_FILLED,
        OrderState.CANCEL_SENT,
    }
)


class Portfolio:
    """One venue account. Implements ports.AccountView. Owned by the event loop.

    capital: start cash.  allocations: capital per source, from configuration.
    """

    def __init__(
        self, instruments: Iterable[Instrument], capital: Amount, allocations: Mapping[SourceId, Amount]
    ) -> None:
        self.holdings = {instrument.symbol: Holding(instrument) for instrument in instruments}
        self.sources = {source: Allocation(source, amount) for source, amount in allocations.items()}
        self.capital = capital
        self.cash: int = capital
        self.fees = 0
        self.equity_ns = 0  # market time of the last confirmed value
        self.decline = Decline(capital)
        self.confirmed_drawdown, self.confirmed_loss = Confirmed(), Confirmed()
        self.marks = 0  # prices taken; a reset of the peak is found again by this number
        self._resets: dict[int, int] = {}  # marks → peak, of resets a restart has not come to yet
        self._positions_value = 0
        self._values = dict.fromkeys(self.holdings, 0)
        self._working: dict[OrderId, tuple[int, int, int]] = {}  # leaves, entry cost, reference price

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

    def restore_peaks(self, resets: Iterable[tuple[int, int]]) -> None:
        """(marks, peak) of every reset in the log, in its order, before the warm-up."""
        self._resets = dict(resets)

    def caught_up(self) -> None:
        """Every fill of the log is booked, the last price is still to be taken again. A reset that came
        after it counts now, and a flat account's equity is known without it: so that nobody arms on the
        decline of a moment before the loss."""
        for _, peak in sorted(self._resets.items()):
            self.decline.restart(peak)
        self._resets.clear()
        if self.is_flat():
            self.decline.weigh(self.equity)

    def view(self, instrument: InstrumentId) -> Holding | None:
        """None if the instrument is not configured."""
        return self.holdings.get(instrument)

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
        return allocation.exposure if allocation is not None else 0

    def source_stopped(self, source: SourceId) -> bool:
        """Latched by `stop_source`."""
        allocation = self.sources.get(source)
        return allocation is not None and bool(allocation.stopped_reason)

    def stop_source(self, source: SourceId, reason: str, now_ns: int) -> None:
        """Latches one source shut; the first reason stays."""
        allocation = self.sources[source]
        if not allocation.stopped_reason:
            allocation.stopped_reason, allocation.stopped_ns = reason, now_ns

    def apply_fill(self, fill: Fill, source: SourceId) -> None:
        """Books one fill on the account and on the source whose order it was."""
        holding = self.holdings[fill.instrument]
        signed = fill.side.sign * fill.qty
        holding.apply(signed, fill.price)
        self.cash -= holding.instrument.notional(fill.price, signed) + fill.fee
        self.fees += fill.fee
        if source in self.sources:
            self.sources[source].apply(fill, holding.instrument)
        if not holding.price_ns:
            holding.bid = holding.ask = holding.last = fill.price
        self._revalue(holding)

    def mark(self, observation: Observation) -> None:
        """Takes a price: equity, decline of the account and of every source that holds the instrument."""
        holding = self.holdings[observation.instrument]
        holding.see(observation)
        self._revalue(holding)
        now_ns = observation.seen_ns
        self.equity_ns = now_ns
        self.decline.observe(self.equity, now_ns)
        for allocation in self.sources.values():
            if observation.instrument in allocation.lots:
                allocation.decline.observe(allocation.equity(self.holdings), now_ns)
        self.marks += 1
        if self.marks in self._resets:
            self.decline.restart(self._resets.pop(self.marks))

    def working(self, order: Order, counted: int | None = None) -> None:
        """Counts an order's leaves after it was recorded or changed; ended orders count nothing.

        counted: how much of them counts, where it shares its quantity with another (`orders.links`).
        """
        holding = self.holdings[order.instrument]
        leaves, cost, reference = self._working.pop(order.id, (0, 0, max(holding.ask, holding.last)))
        now_leaves = order.exposed if counted is None else counted
        if order.state not in WORKING_STATES:
            now_leaves = 0
        now_cost = 0
        if now_leaves and order.order_class is OrderClass.INCREASE:
            now_cost = entry_cost(order, holding.instrument, reference, now_leaves)
        holding.work(order, now_leaves - leaves)
        if order.source in self.sources:
            self.sources[order.source].working_cost += now_cost - cost
        if now_leaves:
            self._working[order.id] = (now_leaves, now_cost, reference)

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
        several, now_ns = _several_prints(observation), observation.seen_ns
        over = []
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
        for symbol in sorted(set(account.positions) | set(self.holdings)):
            holding = self.holdings.get(symbol)
            ours, theirs = holding.position if holding else 0, account.positions.get(symbol, 0)
            if ours != theirs:
                return f"{symbol}: ours {ours}, venue {theirs}"
        return ""

    def check(self) -> None:
        """Raises InvariantError if the books do not add up."""
        spent = sum(holding.lots.cost - holding.lots.realised for holding in self.holdings.values())
        if self.cash != self.capital - spent - self.fees:
            raise InvariantError("cash differs from the sum of the fills")
        for symbol, holding in self.holdings.items():
            if holding.working_buy < 0 or holding.working_sell < 0:
                raise InvariantError(f"negative working quantity in {symbol}")
        for source, allocation in self.sources.items():
            if allocation.held_cost != sum(abs(lots.cost) for lots in allocation.lots.values()):
                raise InvariantError(f"exposure of {source} differs from its lots")

    def _revalue(self, holding: Holding) -> None:
        symbol = holding.instrument.symbol
        value = holding.value
        self._positions_value += value - self._values[symbol]
        self._values[symbol] = value


def _several_prints(observation: Observation) -> bool:
    """A bar with a range is made of prints that lie apart; a one-print bar is a single observation."""
    return isinstance(observation, Bar) and observation.low != observation.high
