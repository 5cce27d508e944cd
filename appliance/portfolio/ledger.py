"""A second set of books, kept apart from the first, and the identities both must satisfy (CONTROLS, tests
worth most 3). After every event, of what the event touched:

    position = Σ signed fills          account and source
    cash = start − Σ price × signed quantity − fees
    cost − realised = Σ price × signed quantity
    filled + leaves = quantity, and filled = Σ fills of the order while it lives
    a trade id is booked once

A broken one is a bug or bad memory, so InvariantError: the core trips INVARIANT and ends (SAFETY 1). All
comparisons are of integers. Each costs the same after the first fill and after the hundred-thousandth.
"""

from __future__ import annotations

from appliance.domain.errors import InvariantError
from appliance.domain.ids import InstrumentId, OrderId, SourceId, TradeId
from appliance.domain.instrument import Instrument
from appliance.domain.intent import Side
from appliance.domain.order import Fill, Order
from appliance.portfolio.lots import Lots

_BUY = Side.BUY


class Ledger:
    """Owned by the portfolio. Memory: one set entry per trade id, one number per live order."""

    __slots__ = ("_filled", "_of_source", "_sums", "_trades", "cash")

    def __init__(self, capital: int) -> None:
        self.cash = capital
        self._sums: dict[InstrumentId, tuple[int, int]] = {}  # signed quantity, signed value
        self._of_source: dict[tuple[SourceId, InstrumentId], int] = {}
        self._filled: dict[OrderId, int] = {}
        self._trades: set[TradeId] = set()

    def book(self, fill: Fill, source: SourceId, instrument: Instrument) -> None:
        """Takes a fill before the portfolio does. Raises InvariantError for one that was booked before."""
        trade_id, symbol, size, price = fill.trade_id, fill.instrument, fill.qty, fill.price
        if trade_id in self._trades:
            raise InvariantError(f"trade {trade_id} was booked before")
        if size <= 0 or price <= 0:
            raise InvariantError(f"trade {trade_id} has quantity {size} at {price}")
        self._trades.add(trade_id)
        qty = size if fill.side is _BUY else -size
        value = qty * price * instrument.amount_factor
        self.cash -= value + fill.fee
        position, spent = self._sums.get(symbol, (0, 0))
        self._sums[symbol] = (position + qty, spent + value)
        key = source, symbol
        self._of_source[key] = self._of_source.get(key, 0) + qty
        filled = self._filled.get(fill.order_id)
        if filled is not None:
            self._filled[fill.order_id] = filled + size

    def compare(self, cash: int, account: Lots, source: SourceId, own: Lots | None) -> None:
        """The portfolio's books against these, after a fill. own: None for a source nobody knows."""
        symbol = account.instrument.symbol
        if cash != self.cash:
            raise InvariantError(f"cash {cash} differs from the sum of the fills, {self.cash}")
        position, spent = self._sums[symbol]
        if account.quantity != position:
            raise InvariantError(f"{symbol}: position {account.quantity}, sum of fills {position}")
        if account.cost - account.realised != spent:
            raise InvariantError(f"{symbol}: cost and realised P&L differ from the sum of the fills")
        if own is not None and own.quantity != self._of_source[source, symbol]:
            raise InvariantError(f"{symbol}: position of {source} differs from its fills")

    def follow(self, order: Order, *, live: bool) -> None:
        """An order after something happened to it, its fills booked before. live: it can still fill."""
        filled, known = order.filled, self._filled.get(order.id)
        if not 0 <= filled <= order.qty:
            raise InvariantError(f"order {order.id} filled {filled} of {order.qty}")
        if known is not None and known != filled:
            raise InvariantError(f"order {order.id} filled {filled}, its fills are {known}")
        if live:
            self._filled[order.id] = filled
        elif known is not None:
            del self._filled[order.id]

    def compare_sources(self, symbol: InstrumentId) -> None:
        """Σ of the sources' fills = the account's; for the whole check, not for every event."""
        total = sum(qty for (_, of), qty in self._of_source.items() if of == symbol)
        if total != self._sums.get(symbol, (0, 0))[0]:
            raise InvariantError(f"{symbol}: the sources' positions do not add up to the account's")
