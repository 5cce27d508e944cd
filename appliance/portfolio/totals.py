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
from appliance.domain.margin import MarginTerms
from appliance.portfolio.holdings import Holding


class Totals:
    """Owned by the portfolio; amounts are scaled integers. Each holding remembers what was counted of it."""

    __slots__ = ("_margins", "counted", "gross", "maintenance", "used")

    def __init__(self) -> None:
        self.gross = self.counted = self.used = self.maintenance = 0
        self._margins: dict[InstrumentId, tuple[int, int]] = {}  # used, maintenance

    def update(self, holding: Holding) -> None:
        """Counts one instrument anew, after its position, price or working orders changed.

        `holding.valued` is its value by now.
        """
        worst = holding.worst_case()
        if holding.instrument.margin is not None:
            self._update_margin(holding, holding.instrument.margin, worst)
        elif holding.counted or holding.working_buy or holding.position < 0:
            counted = counted_of(holding, holding.valued)
            self.counted += counted - holding.counted
            holding.counted = counted
        if worst != holding.worst:
            self.gross += worst - holding.worst
            holding.worst = worst

    def others(self, holding: Holding) -> tuple[int, int]:
        """(counted, maintenance) of everything but one instrument: what a cross margin leaves for it."""
        maintenance = self._margins.get(holding.instrument.symbol, (0, 0))[1]
        return self.counted - holding.counted, self.maintenance - maintenance

    def check(self, holdings: Iterable[Holding]) -> None:
        """Raises InvariantError if the running sums differ from sums made anew."""
        gross = counted = used = maintenance = 0
        for holding in holdings:
            worst, terms = holding.worst_case(), holding.instrument.margin
            gross, counted = gross + worst, counted + counted_of(holding, holding.value)
            if terms is not None:
                used += terms.initial(worst)
                maintenance += terms.maintenance(abs(holding.value))
        if (gross, counted, used, maintenance) != (self.gross, self.counted, self.used, self.maintenance):
            raise InvariantError("the sums over all instruments differ from the instruments")

    def _update_margin(self, holding: Holding, terms: MarginTerms, worst: int) -> None:
        symbol = holding.instrument.symbol
        used, maintenance = self._margins.get(symbol, (0, 0))
        new = (terms.initial(worst), terms.maintenance(abs(holding.valued)))
        self._margins[symbol] = new
        self.used += new[0] - used
        self.maintenance += new[1] - maintenance
        counted = counted_of(holding, holding.valued)
        self.counted += counted - holding.counted
        holding.counted = counted


def counted_of(holding: Holding, value: int) -> int:
    """What one instrument adds to cash as collateral, from nothing but its own state."""
    if holding.instrument.margin is not None:
        return min(holding.cost, value)
    owed = min(0, value)
    if not holding.working_buy:
        return owed
    dear = holding.ask  # compared one by one: max() of three takes three times as long
    if holding.last > dear:
        dear = holding.last
    if holding.buy_top > dear:
        dear = holding.buy_top
    return owed - holding.working_buy * dear * holding.instrument.amount_factor
