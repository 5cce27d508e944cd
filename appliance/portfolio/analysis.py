"""What the portfolio looks like as a whole, and what would bring it back inside its limits (PF-02 to PF-06).

    leverage       Σ |value| ÷ portfolio value
    largest        largest |value| ÷ portfolio value: the base of the position cap, cash included (U17, PF-04)
    concentration  Herfindahl–Hirschman index of the |values|: Σ (|value| ÷ Σ |value|)², 1 for one position
    total          portfolio value at the conservative mark; unrealised P&L is measured there too

All shares are ppm, rounded up. Proposals only make something smaller, by whole lots, so that the limit
holds at the same prices once they are done; each stands by itself. Nobody acts on one: they are for people
and for the log (U29). The diversification rule is the three limits: the cap of one instrument, the leverage
of all, and no two that move together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from appliance.domain.ids import InstrumentId
from appliance.domain.intent import Side
from appliance.domain.money import PPM_ONE, Amount, Ppm, Qty, round_up
from appliance.portfolio.holdings import Holding
from appliance.portfolio.portfolio import Portfolio


class PositionLine(Struct, frozen=True, kw_only=True):
    """One position. quantity is signed; value at the conservative mark; share_ppm of portfolio value."""

    instrument: InstrumentId
    quantity: int
    value: Amount
    share_ppm: Ppm
    realised: Amount
    unrealised: Amount


class Rebalance(Struct, frozen=True, kw_only=True):
    """A proposal. why: `POSITION_CAP`, `LEVERAGE` or `CORRELATION`."""

    instrument: InstrumentId
    side: Side
    qty: Qty
    why: str


class PortfolioState(Struct, frozen=True, kw_only=True):
    """Amounts are scaled integers. correlation: highest |c| of two positions, in 10^-12; None: not known."""

    total: Amount
    cash: Amount
    fees: Amount
    realised: Amount
    unrealised: Amount
    positions: tuple[PositionLine, ...]
    leverage_ppm: Ppm
    largest_ppm: Ppm
    concentration_ppm: Ppm
    correlation: int | None
    proposals: tuple[Rebalance, ...]


def analyse(portfolio: Portfolio, position_cap_ppm: int, leverage_ppm: int) -> PortfolioState:
    """One consistent picture. Costs one step per instrument and per pair of positions."""
    equity = portfolio.equity
    lines = tuple(_line(holding, equity) for holding in portfolio.holdings.values() if holding.position)
    sizes = [abs(line.value) for line in lines]
    gross = sum(sizes)
    return PortfolioState(
        total=Amount(equity),
        cash=Amount(portfolio.cash),
        fees=Amount(portfolio.fees),
        realised=Amount(sum(holding.lots.realised for holding in portfolio.holdings.values())),
        unrealised=Amount(sum(line.unrealised for line in lines)),
        positions=lines,
        leverage_ppm=_share(gross, equity),
        largest_ppm=_share(max(sizes, default=0), equity),
        concentration_ppm=_share(sum(size * size for size in sizes), gross * gross),
        correlation=_highest(portfolio, lines),
        proposals=tuple(_proposals(portfolio, lines, position_cap_ppm, leverage_ppm)),
    )


def _line(holding: Holding, equity: int) -> PositionLine:
    value = holding.value
    return PositionLine(
        instrument=holding.instrument.symbol,
        quantity=holding.position,
        value=Amount(value),
        share_ppm=_share(abs(value), equity),
        realised=Amount(holding.lots.realised),
        unrealised=Amount(value - holding.cost),
    )


def _share(part: int, whole: int) -> Ppm:
    """Rounded up; nothing of nothing is nothing, something of nothing is all of it."""
    if part <= 0:
        return Ppm(0)
    return Ppm(-(-part * PPM_ONE // whole) if whole > 0 else PPM_ONE)


def _highest(portfolio: Portfolio, lines: Sequence[PositionLine]) -> int | None:
    found = [
        abs(known)
        for number, one in enumerate(lines)
        for other in lines[number + 1 :]
        if (known := portfolio.correlations.of(one.instrument, other.instrument)) is not None
    ]
    return max(found, default=None)


def _proposals(
    portfolio: Portfolio, lines: Sequence[PositionLine], position_cap_ppm: int, leverage_ppm: int
) -> Iterator[Rebalance]:
    equity = max(0, portfolio.equity)
    by_symbol = {line.instrument: line for line in lines}
    allowed = position_cap_ppm * equity // PPM_ONE
    for line in lines:
        if abs(line.value) > allowed:
            yield _down_to(portfolio, line, allowed, "POSITION_CAP")
    gross, most = sum(abs(line.value) for line in lines), leverage_ppm * equity // PPM_ONE
    if gross > most:
        for line in lines:
            yield _down_to(portfolio, line, abs(line.value) * most // gross, "LEVERAGE")
    for line in _moving_together(portfolio, by_symbol):
        yield _down_to(portfolio, line, 0, "CORRELATION")


def _moving_together(
    portfolio: Portfolio, by_symbol: Mapping[InstrumentId, PositionLine]
) -> Iterator[PositionLine]:
    """Of every pair beyond the limit, the position with the smaller value; each once."""
    told: set[InstrumentId] = set()
    for one, other, sign in portfolio.correlations.above():
        first, second = by_symbol.get(one), by_symbol.get(other)
        if first is None or second is None or first.quantity * second.quantity * sign < 0:
            continue
        smaller = first if abs(first.value) < abs(second.value) else second
        if not {one, other} & told:
            told.add(smaller.instrument)
            yield smaller


def _down_to(portfolio: Portfolio, line: PositionLine, value: int, why: str) -> Rebalance:
    """Makes the position at most `value` large: what goes is rounded up to lots, and never turns it."""
    holding = portfolio.holdings[line.instrument]
    unit = holding.mark * holding.instrument.amount_factor
    held = abs(line.quantity)
    over = held - (value // unit if unit else 0)
    return Rebalance(
        instrument=line.instrument,
        side=Side.SELL if line.quantity > 0 else Side.BUY,
        qty=Qty(min(held, round_up(over, holding.instrument.lot))),
        why=why,
    )
