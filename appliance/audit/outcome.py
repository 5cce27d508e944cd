"""What came of an order: the round trip its fills open or close, first in, first out. Integers only (PF-07).

Every amount is in 10^-10 of the account's currency, as the fees of the log are; a fee that belongs to several
closings is shared by quantity, the rounding goes to the last. Lots are those of the order's source in its
instrument, as far as the fills that are passed in tell.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from msgspec import Struct

from appliance.domain.money import AMOUNT_EXP, format_scaled


class Trade(Struct, frozen=True, kw_only=True):
    """A fill in integers. signed_qty: long positive.  value_one: amount of one unit of quantity × price."""

    index: int
    order_id: str
    signed_qty: int
    price: int
    fee: int
    value_one: int


class Outcome(Struct, frozen=True, kw_only=True):
    """Of the quantity an order traded: what it closed, and what closed what it opened.

    pnl, fees: of the closed part, in 10^-10; fees of both ends.  closed: quantity, scaled as in the log.
    held: quantity still open.  with_orders: the orders at the other end.  opened: it began the round trip.
    """

    traded: int = 0
    closed: int = 0
    held: int = 0
    pnl: int = 0
    fees: int = 0
    with_orders: tuple[str, ...] = ()
    opened: bool = True

    def text(self, qty_exp: int) -> str:
        """One sentence."""
        if not self.traded:
            return "nothing was traded"
        if not self.closed:
            return f"{format_scaled(self.held, qty_exp)} still held: no result yet"
        how = "closed by" if self.opened else "it closed"
        others = ", ".join(self.with_orders)
        after = format_scaled(self.pnl - self.fees, AMOUNT_EXP)
        rest = f"; {format_scaled(self.held, qty_exp)} still held" if self.held else ""
        return (
            f"P&L {signed(after)} after fees of {format_scaled(self.fees, AMOUNT_EXP)} "
            f"on {format_scaled(self.closed, qty_exp)}, {how} {others}{rest}"
        )


def signed(text: str) -> str:
    """A gain has its sign too."""
    return text if text.startswith("-") else f"+{text}"


class _Lot(Struct):
    order_id: str
    left: int
    price: int
    qty: int
    fee: int


def outcome_of(order_id: str, trades: Iterable[Trade]) -> Outcome:
    """The result of an order. trades: all fills of its source and instrument, in order, each once."""
    lots: deque[_Lot] = deque()
    traded = closed = pnl = fees = 0
    others: dict[str, None] = {}
    opened = closes = False
    for trade in trades:
        mine = trade.order_id == order_id
        traded += abs(trade.signed_qty) if mine else 0
        left, fee_left = trade.signed_qty, trade.fee
        while left and lots and (lots[0].left > 0) is not (left > 0):
            lot = lots[0]
            part = min(abs(left), abs(lot.left))
            part_signed = part if lot.left > 0 else -part
            lot_fee = _share(lot.fee, part, abs(lot.left))
            own_fee = _share(fee_left, part, abs(left))
            if mine or lot.order_id == order_id:
                closed += part
                pnl += part_signed * (trade.price - lot.price) * trade.value_one
                fees += lot_fee + own_fee
                others[lot.order_id if mine else trade.order_id] = None
                opened, closes = opened or not mine, closes or mine
            lot.left -= part_signed
            lot.fee -= lot_fee
            left += part_signed
            fee_left -= own_fee
            if not lot.left:
                lots.popleft()
        if left:
            lots.append(_Lot(trade.order_id, left, trade.price, left, fee_left))
    held = sum(abs(lot.left) for lot in lots if lot.order_id == order_id)
    return Outcome(
        traded=traded, closed=closed, held=held, pnl=pnl, fees=fees,
        with_orders=tuple(others), opened=opened or not closes,
    )  # fmt: skip


def trade_of(index: int, data: Mapping[str, object]) -> Trade | None:
    """A fill entry's data as integers; None if it does not tell enough."""
    raw = data.get("raw")
    if not isinstance(raw, dict):
        return None
    try:
        qty, price, fee = (int(str(raw[key])) for key in ("qty", "price", "fee"))
    except (KeyError, ValueError):
        return None
    decimals = _decimals(data.get("qty")) + _decimals(data.get("price"))
    if decimals > AMOUNT_EXP or data.get("side") not in ("BUY", "SELL"):
        return None
    return Trade(
        index=index,
        order_id=str(data.get("order_id", "")),
        signed_qty=qty if data["side"] == "BUY" else -qty,
        price=price,
        fee=fee,
        value_one=10 ** (AMOUNT_EXP - decimals),
    )


def _decimals(text: object) -> int:
    return len(str(text).partition(".")[2])


def _share(fee: int, part: int, whole: int) -> int:
    """The part's share; of the last part, everything that is left."""
    return fee * part // whole
