"""What stands at this moment that the matrix of SAFETY 2 speaks about: latch, mode, holds, money,
permissions, prices. Read anew for every order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from appliance.domain.intent import Intent, Side
from appliance.domain.mode import Mode
from appliance.domain.money import PPM_ONE
from appliance.domain.reasons import Reason
from appliance.ports import AccountView, FeeView, InstrumentView
from appliance.risk.breaker import Breaker
from appliance.risk.limits import InstrumentLimits, Limits, SourceLimits
from appliance.safety.holds import Holds

# Python 3.11 looks an enum member up in 90 ns, a global in 3; every order passes here.
_BUY, _SELL, _NORMAL = Side.BUY, Side.SELL, Mode.NORMAL

_MODE_REASON: dict[Mode, Reason] = {
    Mode.PAUSED: Reason.MODE_PAUSED,
    Mode.REDUCED: Reason.MODE_REDUCED,
    Mode.EMERGENCY: Reason.MODE_EMERGENCY,
}


class ModeSource(Protocol):
    """Whoever owns the mode."""

    @property
    def mode(self) -> Mode:
        """The mode now."""
        ...


class Conditions:
    """Collaborators are read on every check; nothing is cached between two orders."""

    def __init__(
        self,
        limits: Limits,
        account: AccountView,
        holds: Holds,
        modes: ModeSource,
        order_entry: Breaker,
        fees: FeeView,
    ) -> None:
        self._limits = limits
        self._account = account
        self._holds = holds
        self._modes = modes
        self._order_entry = order_entry
        self._fees = fees

    def clear(
        self,
        intent: Intent,
        view: InstrumentView,
        limits: InstrumentLimits | None,
        source: SourceLimits | None,
        market_ns: int,
        now_ns: int,
    ) -> bool:
        """Nothing stands but, perhaps, the latch: `standing` in one expression, at half its time.

        It may be False where nothing stands, never True where something does (a test compares the two).
        """
        account, bounds = self._account, self._limits.account
        own, decline, equity_ns = account.source(intent.source), account.decline, account.equity_ns
        bid, last, price_ns = view.bid, view.last, view.price_ns
        return (
            limits is not None
            and source is not None
            and own is not None
            and not own.stopped_reason
            and self._modes.mode is _NORMAL
            and self._order_entry.free
            and self._holds.blocking(intent.instrument) is None
            and decline.loss_ppm <= bounds.daily_loss_ppm
            and decline.drawdown_ppm <= bounds.drawdown_ppm
            and equity_ns > 0
            and account.equity > 0
            and market_ns - equity_ns <= bounds.max_equity_age_ns
            and now_ns <= self._fees.until_ns
            and intent.instrument in source.instruments
            and (intent.side is _BUY or source.allow_short)
            and price_ns > 0
            and bid > 0
            and market_ns - price_ns <= limits.max_price_age_ns
            and (bid == view.ask == last or _reasonable(bid, view.ask, last, limits))
        )

    def standing(  # noqa: C901 - flat: one condition for each row of the matrix
        self,
        intent: Intent,
        view: InstrumentView,
        limits: InstrumentLimits | None,
        shut: Reason | None,
        market_ns: int,
        now_ns: int,
    ) -> Iterator[Reason]:
        """Every condition of the matrix that stands now, in the matrix's order."""
        account, bounds = self._account, self._limits.account
        if shut is not None:
            yield shut
        mode = self._modes.mode
        if mode is not _NORMAL:
            yield _MODE_REASON[mode]
        if not self._order_entry.free and self._order_entry.refusal(now_ns) is not None:
            yield Reason.BREAKER_OPEN
        if self._holds.blocking(intent.instrument) is not None:
            yield Reason.HOLD
        if account.source_stopped(intent.source):
            yield Reason.STRATEGY_STOPPED
        if account.decline.loss_ppm > bounds.daily_loss_ppm:
            yield Reason.DAILY_LOSS
        if account.decline.drawdown_ppm > bounds.drawdown_ppm:
            yield Reason.DRAWDOWN
        equity = _equity_condition(account, bounds.max_equity_age_ns, market_ns)
        if equity is not None:
            yield equity
        if now_ns > self._fees.until_ns:
            yield Reason.FEES_STALE if self._fees.until_ns else Reason.FEES_MISSING
        source = self._limits.sources.get(intent.source)
        if source is None or limits is None:
            yield Reason.NO_LIMIT
        elif intent.instrument not in source.instruments or (intent.side is _SELL and not source.allow_short):
            yield Reason.NOT_ALLOWED
        price = _price_condition(view, limits, market_ns)
        if price is not None:
            yield price

    def why(self, reason: Reason, intent: Intent) -> str:
        """What a denial says beside its code."""
        if reason is Reason.HOLD:
            hold = self._holds.blocking(intent.instrument)
            return f"{hold.cause} on {hold.scope}" if hold is not None else ""
        if reason is Reason.BREAKER_OPEN:
            return self._order_entry.describe()
        return intent.instrument if reason in (Reason.NO_LIMIT, Reason.NOT_ALLOWED) else ""


def _equity_condition(account: AccountView, oldest_ns: int, market_ns: int) -> Reason | None:
    if not account.equity_ns or account.equity <= 0:
        return Reason.EQUITY_MISSING
    return Reason.EQUITY_STALE if market_ns - account.equity_ns > oldest_ns else None


def _price_condition(view: InstrumentView, limits: InstrumentLimits | None, market_ns: int) -> Reason | None:
    if view.price_ns == 0 or view.bid <= 0 or view.ask <= 0 or view.last <= 0:
        return Reason.PRICE_MISSING
    if limits is None:
        return None
    if market_ns - view.price_ns > limits.max_price_age_ns:
        return Reason.PRICE_STALE
    return _unreasonable(view.bid, view.ask, view.last, limits)


def _reasonable(bid: int, ask: int, last: int, limits: InstrumentLimits) -> bool:
    return ask > 0 and last > 0 and _unreasonable(bid, ask, last, limits) is None


def _unreasonable(bid: int, ask: int, last: int, limits: InstrumentLimits) -> Reason | None:
    """CONTROLS 21: quotes that contradict each other or the last trade. A bar is one price, and none does."""
    if bid == ask == last:
        return None
    if bid > ask:
        return Reason.PRICE_CROSSED
    if (ask - bid) * PPM_ONE > limits.max_spread_ppm * bid:
        return Reason.PRICE_SPREAD
    away = bid - last if last < bid else last - ask
    if away * PPM_ONE > limits.max_deviation_ppm * last:
        return Reason.PRICE_DEVIATION
    return None
