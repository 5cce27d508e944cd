"""Sums over all instruments, kept as each of them changes, so that the gate adds nothing up (CONTROLS 1).

    gross        Σ worst case of each instrument: position with all working orders of its dearer side
    counted      what each instrument adds to cash as collateral
    used         Σ initial margin of the worst cases of what is traded on margin
    maintenance  Σ maintenance margin of the positions held there

Collateral counts unrealised losses and no unrealised profit, no value of what is paid in full, and keeps
back what its working entries will cost: each of them on the side on which the account has less.
"""

from __future__ import annotations

from collections.abc import Iterable

from appliance.domain.errors import InvariantError
from appliance.domain.ids import InstrumentId
from appliance.portfolio.holdings import Holding

_Row = tuple[int, int, int, int]


class Totals:
    """Owned by the portfolio; amounts are scaled integers."""

    __slots__ = ("_rows", "counted", "gross", "maintenance", "used")

    def __init__(self, instruments: Iterable[InstrumentId]) -> None:
        self.gross = self.counted = self.used = self.maintenance = 0
        self._rows: dict[InstrumentId, _Row] = dict.fromkeys(instruments, (0, 0, 0, 0))

    def update(self, holding: Holding) -> None:
        """Counts one instrument anew, after its position, price or working orders changed."""
        symbol = holding.instrument.symbol
        old, new = self._rows[symbol], row_of(holding)
        if new == old:
            return
        self._rows[symbol] = new
        holding.worst = new[0]
        self.gross += new[0] - old[0]
        self.counted += new[1] - old[1]
        if holding.instrument.margin is not None:
            self.used += new[2] - old[2]
            self.maintenance += new[3] - old[3]

    def others(self, symbol: InstrumentId) -> tuple[int, int]:
        """(counted, maintenance) of everything but one instrument: what a cross margin leaves for it."""
        row = self._rows[symbol]
        return self.counted - row[1], self.maintenance - row[3]

    def check(self, holdings: Iterable[Holding]) -> None:
        """Raises InvariantError if the running sums differ from sums made anew."""
        rows = [row_of(holding) for holding in holdings]
        anew = [sum(row[column] for row in rows) for column in range(4)]
        if anew != [self.gross, self.counted, self.used, self.maintenance]:
            raise InvariantError("the sums over all instruments differ from the instruments")


def row_of(holding: Holding) -> _Row:
    """(gross, counted, used, maintenance) of one instrument, from nothing but its own state."""
    worst, instrument = holding.worst_case(), holding.instrument
    terms = instrument.margin
    if terms is not None:
        value = holding.value
        counted = min(holding.cost, value)
        return worst, counted, terms.initial(worst), terms.maintenance(abs(value))
    counted = holding.value if holding.position < 0 else 0
    if holding.working_buy:
        dear = max(holding.ask, holding.last, holding.buy_top)
        counted -= holding.working_buy * dear * instrument.amount_factor
    return worst, counted, 0, 0
