"""What is worth knowing about an entry before it is asked for (RSK-18, RSK-20): score, size, levels.

Made for the log, next to the signal it belongs to. The gate reads none of it: advice that is missing or
wrong changes nothing about what may leave.
"""

from __future__ import annotations

from msgspec import Struct

from appliance.domain.describe import price_text, qty_text
from appliance.domain.instrument import Instrument
from appliance.domain.intent import Intent, Side
from appliance.domain.money import PPM_ONE, Price, format_amount, format_scaled
from appliance.ports import AccountView, InstrumentView
from appliance.risk.entries import cheapest, worst_case
from appliance.risk.levels import Levels, propose
from appliance.risk.limits import Limits
from appliance.risk.margin import liquidation_after
from appliance.risk.score import score
from appliance.risk.suggest import Suggestion, suggest


class Advice(Struct, frozen=True, kw_only=True):
    """score: 0 to 100, of the intent as it is.  liquidation: None for what is paid in full."""

    score: int
    suggestion: Suggestion
    levels: Levels | None
    liquidation: Price | None


def advise(
    intent: Intent,
    entry: int,
    view: InstrumentView,
    account: AccountView,
    limits: Limits,
    average_range: int,
    beside_ppm: tuple[int, int],
) -> Advice | None:
    """None where a limit table or the stop is missing: the gate denies that entry anyway.

    entry: dearest price it may fill at.  average_range: a price, 0 if not known.  beside_ppm: highest
    correlation with what is held, and its limit.
    """
    instrument, stop = view.instrument, intent.stop_price
    own, source = limits.instruments.get(intent.instrument), limits.sources.get(intent.source)
    if own is None or source is None or stop is None:
        return None
    whole, equity = limits.account, max(0, account.equity)
    worst = worst_case(intent, view, entry)
    at_risk = instrument.notional(abs(entry - stop), intent.qty)
    used = {
        "position": (worst * PPM_ONE, whole.position_cap_ppm * equity),
        "stop": (at_risk * PPM_ONE, whole.risk_ppm * equity),
        "drawdown": (account.decline.drawdown_ppm, whole.drawdown_ppm),
        "leverage": (
            (account.gross - view.worst + max(worst, view.worst)) * PPM_ONE,
            whole.leverage_ppm * equity,
        ),
        "correlation": beside_ppm,
    }
    exposure, lowest = account.source_exposure(intent.source), cheapest(intent, view.bid)
    worse = entry if intent.side is Side.BUY else lowest
    return Advice(
        score=score(used),
        suggestion=suggest(intent.side, entry, stop, view, account, own, whole, source, exposure, lowest),
        levels=propose(instrument, intent.side, entry, average_range, own.max_stop_ppm),
        liquidation=liquidation_after(intent.side, intent.qty, view, account, worse),
    )


def describe_advice(advice: Advice, instrument: Instrument) -> dict[str, object]:
    """For the log: decimals as strings."""
    size, levels = advice.suggestion, advice.levels
    data: dict[str, object] = {
        "score": advice.score,
        "qty": qty_text(instrument, size.qty),
        "value": format_amount(size.value),
        "at_risk": format_amount(size.at_risk),
        "bound_by": size.bound_by,
        "liquidation": price_text(instrument, advice.liquidation),
    }
    if levels is None:
        return data
    return data | {
        "stop": price_text(instrument, levels.stop),
        "take_profit": price_text(instrument, levels.take_profit),
        "reward_risk": format_scaled(levels.ratio_milli, 3),
    }
