"""The gate: the only place that constructs `Approved` (ARCHITECTURE, The door).

Starts shut, has no bypass, and treats a missing input as a denial with its own reason code. Stop
conditions come before everything else; the matrix of SAFETY 2 says what each does to which class.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Protocol

from appliance.domain.ids import OrderId, derive_order_id
from appliance.domain.intent import Action, Intent, OrderType, Side
from appliance.domain.mode import Mode
from appliance.domain.money import Price
from appliance.domain.reasons import Reason
from appliance.domain.verdict import Approved, Denied, Flag, OrderClass, Verdict
from appliance.ports import AccountView, Clock, InstrumentView
from appliance.risk import entries
from appliance.risk.classify import classify
from appliance.risk.exits import shape_exit
from appliance.risk.limits import InstrumentLimits, Limits
from appliance.risk.margin import margin
from appliance.risk.matrix import MATRIX, Cell
from appliance.safety.holds import Holds
from appliance.safety.latch import CoreLatch

APPROVAL_NS = 250_000_000

# Python 3.11 looks an enum member up in 90 ns, a global in 3; every order passes here.
_BUY, _SELL, _STOP, _NEW = Side.BUY, Side.SELL, OrderType.STOP, Action.NEW
_INCREASE, _PROTECTIVE, _CANCEL = OrderClass.INCREASE, OrderClass.PROTECTIVE, OrderClass.CANCEL
_PASS, _NORMAL, _UNCHANGED, _STOP_ATTACHED = Cell.PASS, Mode.NORMAL, Flag.NONE, Flag.STOP_ATTACHED

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


class Gate:
    """One gate per core. Collaborators are read on every check; nothing is cached between two orders.

    account_name: the venue account order ids belong to.  seen: every order id ever recorded.
    """

    def __init__(
        self,
        limits: Limits,
        account: AccountView,
        latch: CoreLatch,
        holds: Holds,
        modes: ModeSource,
        seen: Container[OrderId],
        clock: Clock,
        account_name: str,
    ) -> None:
        self._limits = limits
        self._account = account
        self._latch = latch
        self._holds = holds
        self._modes = modes
        self._seen = seen
        self._clock = clock
        self._account_name = account_name

    def check(self, intent: Intent) -> Verdict:
        """Approved or Denied; never raises for anything a source can ask."""
        now_ns = self._clock.mono_ns()
        view = self._account.view(intent.instrument)
        order_class = classify(intent, view)
        shut, epoch = self._latch.look(now_ns)
        if order_class is _CANCEL:
            return self._cancel(intent, epoch, now_ns)
        if view is None:
            return _denied(intent, order_class, Reason.UNKNOWN_INSTRUMENT, intent.instrument)
        order_id = derive_order_id(self._account_name, intent.source, intent.id, intent.attempt)
        if order_id in self._seen:
            return _denied(intent, order_class, Reason.DUPLICATE_ID, order_id)
        market_ns = self._clock.utc_ns()
        limits = self._limits.instruments.get(intent.instrument)
        how = _PASS
        for standing in self._standing(intent, view, limits, shut, market_ns):
            cell = MATRIX[standing][order_class]
            if cell is Cell.DENY:
                return _denied(intent, order_class, standing, self._why(standing, intent))
            how = cell if cell in (Cell.WIDEN, Cell.FALLBACK) else how
        if order_class is _INCREASE:
            return self._increase(intent, view, limits, order_id, epoch, now_ns)
        if order_class is _PROTECTIVE:
            return self._protective(intent, view, order_id, epoch, now_ns)
        return self._reduce(intent, view, limits, how, order_id, epoch, now_ns, market_ns)

    def _standing(
        self,
        intent: Intent,
        view: InstrumentView,
        limits: InstrumentLimits | None,
        shut: Reason | None,
        market_ns: int,
    ) -> Iterator[Reason]:
        """Every condition of the matrix that stands now, in the matrix's order."""
        account, bounds = self._account, self._limits.account
        if shut is not None:
            yield shut
        mode = self._modes.mode
        if mode is not _NORMAL:
            yield _MODE_REASON[mode]
        if self._holds.blocking(intent.instrument) is not None:
            yield Reason.HOLD
        if account.source_stopped(intent.source):
            yield Reason.STRATEGY_STOPPED
        if account.loss_today_ppm > bounds.daily_loss_ppm:
            yield Reason.DAILY_LOSS
        if account.drawdown_ppm > bounds.drawdown_ppm:
            yield Reason.DRAWDOWN
        if not account.equity_ns or account.equity <= 0:
            yield Reason.EQUITY_MISSING
        elif market_ns - account.equity_ns > bounds.max_equity_age_ns:
            yield Reason.EQUITY_STALE
        source = self._limits.sources.get(intent.source)
        if source is None or limits is None:
            yield Reason.NO_LIMIT
        elif intent.instrument not in source.instruments or (
            intent.side is _SELL and not source.allow_short
        ):
            yield Reason.NOT_ALLOWED
        price = _price_condition(view, limits, market_ns)
        if price is not None:
            yield price

    def _increase(
        self,
        intent: Intent,
        view: InstrumentView,
        limits: InstrumentLimits | None,
        order_id: OrderId,
        epoch: int,
        now_ns: int,
    ) -> Verdict:
        source = self._limits.sources.get(intent.source)
        if limits is None or source is None:  # the matrix has denied this; it keeps the types honest
            return _denied(intent, OrderClass.INCREASE, Reason.NO_LIMIT, intent.instrument)
        account, instrument = self._account, view.instrument
        reference = view.ask if intent.side is _BUY else view.bid
        dear = entries.dearest(intent, reference)
        refusal = (
            entries.shape(intent, instrument)
            or entries.size(intent, instrument, limits, dear)
            or entries.collar(intent, instrument, limits, reference)
            or entries.exposure(intent, view, account, self._limits.account, dear)
            or entries.allocation(intent, view, account.source_exposure(intent.source), source, dear)
            or entries.correlation(intent, account.correlated(intent.instrument, intent.side))
        )
        if refusal is not None:
            return _denied(intent, _INCREASE, *refusal)
        stop, second = entries.stop(intent, instrument, limits, source, reference)
        if isinstance(stop, Reason):
            return _denied(intent, _INCREASE, stop, str(second))
        if instrument.margin is not None:
            entry = dear if intent.side is _BUY else entries.cheapest(intent, reference)
            worst = entries.worst_case(intent, view, dear)
            bounds, terms = self._limits.account, instrument.margin
            lacking = margin(terms, intent, view, account, bounds, worst, entry, stop)
            if lacking is not None:
                return _denied(intent, _INCREASE, *lacking)
        return Approved(
            order_id,
            intent.id,
            intent.source,
            intent.instrument,
            _NEW,
            _INCREASE,
            intent.side,
            intent.qty,
            intent.order_type,
            intent.price,
            intent.stop_price if intent.order_type is _STOP else None,
            Price(stop),
            intent.time_in_force,
            False,
            None,
            epoch,
            now_ns + APPROVAL_NS,
            _STOP_ATTACHED if second else _UNCHANGED,
        )

    def _reduce(
        self,
        intent: Intent,
        view: InstrumentView,
        limits: InstrumentLimits | None,
        how: Cell,
        order_id: OrderId,
        epoch: int,
        now_ns: int,
        market_ns: int,
    ) -> Verdict:
        if intent.price is not None and intent.price <= 0:
            return _denied(intent, OrderClass.REDUCE, Reason.MALFORMED, f"price {intent.price}")
        shaped = shape_exit(intent, view, limits, self._limits.account, how, market_ns - view.price_ns)
        return Approved(
            order_id,
            intent.id,
            intent.source,
            intent.instrument,
            Action.NEW,
            OrderClass.REDUCE,
            intent.side,
            shaped.qty,
            shaped.order_type,
            shaped.price,
            None,
            None,
            intent.time_in_force,
            True,
            None,
            epoch,
            now_ns + APPROVAL_NS,
            shaped.flags,
        )

    def _protective(
        self, intent: Intent, view: InstrumentView, order_id: OrderId, epoch: int, now_ns: int
    ) -> Verdict:
        trigger = intent.stop_price
        if trigger is None or trigger <= 0:
            return _denied(intent, OrderClass.PROTECTIVE, Reason.MALFORMED, f"trigger {trigger}")
        tick = view.instrument.tick
        off_tick = trigger % tick
        return Approved(
            order_id,
            intent.id,
            intent.source,
            intent.instrument,
            Action.NEW,
            OrderClass.PROTECTIVE,
            intent.side,
            intent.qty,
            OrderType.STOP,
            None,
            Price(max(tick, trigger - off_tick)),
            None,
            intent.time_in_force,
            True,
            intent.protects,
            epoch,
            now_ns + APPROVAL_NS,
            Flag.ROUNDED if off_tick else Flag.NONE,
        )

    def _cancel(self, intent: Intent, epoch: int, now_ns: int) -> Verdict:
        if intent.target is None:
            return _denied(intent, OrderClass.CANCEL, Reason.MALFORMED, "CANCEL without a target")
        return Approved(
            intent.target,
            intent.id,
            intent.source,
            intent.instrument,
            Action.CANCEL,
            OrderClass.CANCEL,
            intent.side,
            intent.qty,
            intent.order_type,
            None,
            None,
            None,
            intent.time_in_force,
            False,
            None,
            epoch,
            now_ns + APPROVAL_NS,
            Flag.NONE,
        )

    def _why(self, reason: Reason, intent: Intent) -> str:
        if reason is Reason.HOLD:
            hold = self._holds.blocking(intent.instrument)
            return f"{hold.cause} on {hold.scope}" if hold is not None else ""
        return intent.instrument if reason in (Reason.NO_LIMIT, Reason.NOT_ALLOWED) else ""


def _price_condition(view: InstrumentView, limits: InstrumentLimits | None, market_ns: int) -> Reason | None:
    if view.price_ns == 0 or view.bid <= 0 or view.ask <= 0 or view.last <= 0:
        return Reason.PRICE_MISSING
    if limits is not None and market_ns - view.price_ns > limits.max_price_age_ns:
        return Reason.PRICE_STALE
    return None


def _denied(intent: Intent, order_class: OrderClass, reason: Reason, detail: str) -> Denied:
    return Denied(intent.id, intent.source, intent.instrument, order_class, reason, detail)
