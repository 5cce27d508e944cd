"""What an instrument traded on margin asks for: tiers as venues publish them (RSK-19, RSK-21, U20). R0.

Maintenance margin of a notional n is n × rate − deduction of its tier. The deduction makes it continuous:

    deduction(1) = 0;  deduction(k) = floor(k) × (rate(k) − rate(k−1)) + deduction(k−1)

(Binance, "Leverage and Margin of USDⓈ-M Futures"; Bybit's maintenance margin deduction is the same). Rates
rise from tier to tier, so maintenance is the largest of n × rate(k) − deduction(k) over all tiers: convex,
and one line per tier is enough to solve for a price. Initial margin has no deduction: the tier's rate holds
for the whole notional. What we owe is rounded up.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from appliance.domain.money import PPM_ONE, Amount, Ppm


class Tier(Struct, frozen=True):
    """One row. up_to: largest notional, an amount.  deduction_x: an amount × 10^6, so that it is exact."""

    up_to: Amount
    initial_ppm: Ppm
    maintenance_ppm: Ppm
    deduction_x: int


class MarginTerms(Struct, frozen=True, kw_only=True):
    """isolated: a position's margin is its initial margin alone; else the whole account stands for it.

    close_fee_ppm: taker fee of the liquidating order, counted as maintenance (OKX, Bybit; 0 on Binance).
    """

    isolated: bool
    close_fee_ppm: Ppm
    tiers: tuple[Tier, ...]

    @property
    def largest(self) -> Amount:
        """The notional above which the venue takes nothing."""
        return self.tiers[-1].up_to

    def initial(self, notional: int) -> int:
        """Margin to open a notional, an amount; above the last tier, by its rate."""
        return -(-notional * self._tier(notional).initial_ppm // PPM_ONE)

    def maintenance(self, notional: int) -> int:
        """Margin below which the venue liquidates, closing fee included, an amount."""
        tier = self._tier(notional)
        owed_x = notional * (tier.maintenance_ppm + self.close_fee_ppm) - tier.deduction_x
        return -(-owed_x // PPM_ONE)

    def room(self, budget: int) -> int:
        """Largest notional whose initial margin is at most `budget`, an amount; never above `largest`."""
        whole = max(0, budget) * PPM_ONE
        return max(min(tier.up_to, whole // tier.initial_ppm) for tier in self.tiers)

    def _tier(self, notional: int) -> Tier:
        for tier in self.tiers:
            if notional <= tier.up_to:
                return tier
        return self.tiers[-1]


def make_margin(
    *, isolated: bool, initial_ppm: int, close_fee_ppm: int, rows: Sequence[tuple[int, int, int]]
) -> MarginTerms:
    """The only way MarginTerms are made: derives the deductions and refuses what a venue cannot mean.

    initial_ppm: one over the chosen leverage; a tier that asks for more gets more.
    rows: (largest notional, initial ppm, maintenance ppm) in rising order. Raises ValueError.
    """
    tiers: list[Tier] = []
    floor = rate = asked = deduction_x = 0
    for up_to, initial, maintenance in rows:
        if up_to <= floor:
            raise ValueError("every tier must reach further than the one before")
        if maintenance <= rate:
            raise ValueError("maintenance margin must be positive and rise from tier to tier")
        if max(initial, initial_ppm) < asked:
            raise ValueError("initial margin must not fall from tier to tier")
        asked = max(initial, initial_ppm)
        if not maintenance + close_fee_ppm < asked <= PPM_ONE:
            raise ValueError("initial margin must lie above maintenance and closing fee, up to 100 %")
        deduction_x += floor * (maintenance - rate)
        tiers.append(Tier(Amount(up_to), Ppm(asked), Ppm(maintenance), deduction_x))
        floor, rate = up_to, maintenance
    if not tiers:
        raise ValueError("at least one tier is needed")
    return MarginTerms(isolated=isolated, close_fee_ppm=Ppm(close_fee_ppm), tiers=tuple(tiers))
