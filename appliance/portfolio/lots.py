"""First-in-first-out lots: realised P&L is a sum of integers, so nothing is ever rounded (PF-07, C36).

An average price would have to be divided; lots do not. Fees are kept apart from price P&L.
"""

from __future__ import annotations

from collections import deque

from appliance.domain.instrument import Instrument


class Lots:
    """One position. quantity is signed, long positive; amounts are scaled integers.

    cost: signed value at entry of what is held (negative for a short).  realised: price P&L so far.
    """

    __slots__ = ("_lots", "cost", "instrument", "quantity", "realised")

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.quantity = 0
        self.cost = 0
        self.realised = 0
        self._lots: deque[tuple[int, int]] = deque()  # (signed quantity, price), oldest first

    def apply(self, signed_qty: int, price: int) -> int:
        """Books a fill; returns the price P&L it realised. O(1) amortised."""
        factor = self.instrument.amount_factor
        before = self.realised
        left = signed_qty
        while left and self.quantity and (self.quantity > 0) is not (left > 0):
            lot_qty, lot_price = self._lots[0]
            taken = min(abs(left), abs(lot_qty))
            closing = taken if lot_qty > 0 else -taken
            self.realised += closing * (price - lot_price) * factor
            self.cost -= closing * lot_price * factor
            self.quantity -= closing
            left += closing
            if closing == lot_qty:
                self._lots.popleft()
            else:
                self._lots[0] = (lot_qty - closing, lot_price)
        if left:
            self._lots.append((left, price))
            self.quantity += left
            self.cost += left * price * factor
        return self.realised - before

    def unrealised(self, mark: int) -> int:
        """Value at `mark` less cost."""
        return self.quantity * mark * self.instrument.amount_factor - self.cost
