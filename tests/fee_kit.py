"""Fee schedules as exchanges publish them, and a source whose schedule can fail to come.

The figures are those of the exchanges' public pages as they once stood; they are here to be computed with,
not to be current.
"""

from __future__ import annotations

import asyncio
from typing import Any

from appliance.domain.errors import PeerError, TransportError
from appliance.domain.fees import FeeSchedule, FeeTier
from appliance.domain.ids import OrderId, TradeId
from appliance.domain.intent import Side
from appliance.domain.money import AMOUNT_ONE, Amount, Ppm, Price, Qty
from appliance.domain.order import Fill
from appliance.ports import FeeSource
from tests.kit import SPX

CENT = AMOUNT_ONE // 100
DAY_NS = 86_400_000_000_000


def usd(text: str) -> Amount:
    """`"37.5"` → an amount."""
    whole, _, fraction = text.lstrip("-").partition(".")
    amount = int(whole) * AMOUNT_ONE + int(fraction.ljust(10, "0"))
    return Amount(-amount if text.startswith("-") else amount)


def tier(volume: int, maker: int, taker: int, discount: int = 0) -> FeeTier:
    """Volume in whole dollars, rates in ppm."""
    return FeeTier(
        volume_from=Amount(volume * AMOUNT_ONE),
        maker_ppm=Ppm(maker),
        taker_ppm=Ppm(taker),
        discount_ppm=Ppm(discount),
    )


def schedule(*tiers: FeeTier, **more: Any) -> FeeSchedule:
    """0.02 % and 0.1 % unless told otherwise."""
    return FeeSchedule(tiers=tiers or (tier(0, 200, 1_000),), **more)


BINANCE = schedule(tier(0, 1_000, 1_000))
"""Spot, regular user: 0.1000 % / 0.1000 %."""

BINANCE_BNB = schedule(tier(0, 1_000, 1_000, 250_000))
"""The same with a quarter off for paying in BNB."""

KRAKEN = schedule(
    tier(0, 1_600, 2_600),
    tier(50_000, 1_400, 2_400),
    tier(100_000, 1_200, 2_200),
    tier(250_000, 1_000, 2_000),
    tier(500_000, 800, 1_800),
    tier(1_000_000, 600, 1_600),
    tier(2_500_000, 400, 1_400),
    tier(5_000_000, 200, 1_200),
    tier(10_000_000, 0, 1_000),
    unit=CENT // 100,
)
"""Spot: 0.16 % / 0.26 % down to 0 % / 0.10 % from ten million in 30 days; four decimals of a dollar."""

REBATE = schedule(tier(0, -250, 750))
"""A maker is paid 0.025 %."""


def fill(value_cents: int = 100_000, **changes: Any) -> Fill:
    """1.00 of SPX at this price, taken on day 0 at 0.1 %."""
    fields: dict[str, Any] = {
        "trade_id": TradeId("t1"),
        "order_id": OrderId("il-1"),
        "instrument": SPX,
        "side": Side.BUY,
        "qty": Qty(100),
        "price": Price(value_cents),
        "fee": Amount(value_cents * AMOUNT_ONE // 100 // 1_000),
        "maker": False,
        "event_ns": 0,
    }
    return Fill(**(fields | changes))


class FaultyFees:
    """A FeeSource in front of another. fault: "" passes through; else what the next questions meet."""

    def __init__(self, source: FeeSource) -> None:
        self._source = source
        self.fault = ""
        self.asked = 0

    async def fees(self) -> FeeSchedule:
        """`away`: no connection. `wrong`: an answer that is none. `silent`: no answer ever."""
        self.asked += 1
        if self.fault == "away":
            raise TransportError("the venue does not answer")
        if self.fault == "wrong":
            raise PeerError("the venue's answer cannot be read")
        if self.fault == "silent":
            await asyncio.Event().wait()
        return await self._source.fees()
