"""What can be traded, and in which steps (ORD-16; Binance PRICE_FILTER, LOT_SIZE, NOTIONAL)."""

from __future__ import annotations

from msgspec import Struct

from appliance.domain.ids import InstrumentId
from appliance.domain.margin import MarginTerms
from appliance.domain.money import AMOUNT_EXP, Amount, Price, Qty


class Instrument(Struct, frozen=True, kw_only=True):
    """Static facts of one instrument, in its own scaled units.

    tick, lot: smallest step of price and quantity.  min_value: smallest notional the venue takes.
    amount_factor: 10^(10 - price_exp - qty_exp), so that price × qty × amount_factor is an `Amount`.
    margin: None for what is paid in full.
    """

    symbol: InstrumentId
    currency: str
    price_exp: int
    qty_exp: int
    tick: Price
    lot: Qty
    min_qty: Qty
    max_qty: Qty
    min_value: Amount
    amount_factor: int
    margin: MarginTerms | None = None

    def notional(self, price: int, qty: int) -> Amount:
        """Exact value of `qty` at `price`."""
        return Amount(price * qty * self.amount_factor)


def make_instrument(
    symbol: str,
    *,
    currency: str,
    price_exp: int,
    qty_exp: int,
    tick: int,
    lot: int,
    min_qty: int,
    max_qty: int,
    min_value: int,
    margin: MarginTerms | None = None,
) -> Instrument:
    """The only way an Instrument is made: derives amount_factor and refuses what cannot be exact.

    Raises ValueError naming the field.
    """
    if not symbol or not symbol.isascii() or not symbol.replace("-", "").isalnum():
        raise ValueError(f"symbol: letters, digits and '-' only, got {symbol!r}")
    if not 0 <= price_exp <= AMOUNT_EXP or not 0 <= qty_exp <= AMOUNT_EXP - price_exp:
        raise ValueError(f"decimals: price and quantity together may have {AMOUNT_EXP}")
    if min(tick, lot, min_qty) <= 0 or min_value < 0:
        raise ValueError("tick, lot and min_qty must be positive, min_value not negative")
    if min_qty % lot or max_qty % lot or max_qty < min_qty:
        raise ValueError("min_qty and max_qty must be multiples of lot, and max_qty not below min_qty")
    return Instrument(
        symbol=InstrumentId(symbol),
        currency=currency,
        price_exp=price_exp,
        qty_exp=qty_exp,
        tick=Price(tick),
        lot=Qty(lot),
        min_qty=Qty(min_qty),
        max_qty=Qty(max_qty),
        min_value=Amount(min_value),
        amount_factor=10 ** (AMOUNT_EXP - price_exp - qty_exp),
        margin=margin,
    )
