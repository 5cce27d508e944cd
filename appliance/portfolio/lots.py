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
        if (self.quantity > 0) is (signed_qty > 0) or not self.quantity:
            left, realised = signed_qty, 0
        else:
            left, realised = self._close(signed_qty, price)
        if left:
            self._lots.append((left, price))
            self.quantity += left
            self.cost += left * price * self.instrument.amount_factor
        return realised

    def _close(self, signed_qty: int, price: int) -> tuple[int, int]:
        """Takes what the fill closes off the oldest lots; returns (what it opens, the P&L realised)."""
        left, gained, freed, lots = signed_qty, 0, 0, self._lots
        while left and lots:
            lot_qty, lot_price = lots[0]
            rest = lot_qty + left
            if not rest or (rest > 0) is (left > 0):  # the whole lot
                closing, left = lot_qty, rest
                lots.popleft()
            else:
                closing, left = -left, 0
                lots[0] = (rest, lot_price)
            gained += closing * (price - lot_price)
            freed += closing * lot_price
        factor = self.instrument.amount_factor
        self.quantity += signed_qty - left
        self.cost -= freed * factor
        self.realised += gained * factor
        return left, gained * factor

    def unrealised(self, mark: int) -> int:
        """Value at `mark` less cost."""
        return self.quantity * mark * self.instrument.amount_factor - self.cost
