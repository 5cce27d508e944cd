"""The gate: the only place that constructs `Approved` (ARCHITECTURE, The door).

Starts shut, has no bypass, and treats a missing input as a denial with its own reason code. Stop
conditions come before everything else; the matrix of SAFETY 2 says what each does to which class.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

from msgspec.structs import replace

from appliance.domain.breaker import Component
from appliance.domain.ids import InstrumentId, IntentId, OrderId, OrderIds, SourceId
from appliance.domain.intent import Action, Intent, ListKind, OrderType, SelfTrade, Side, TimeInForce
from appliance.domain.money import Price, Qty, format_share
from appliance.domain.order import Order
from appliance.domain.reasons import Reason
from appliance.domain.verdict import Approved, ApprovedList, Denied, Flag, OrderClass, Verdict
from appliance.ports import AccountView, Clock, FeeView, InstrumentView
from appliance.risk import entries, lists
from appliance.risk.breakers import Breakers
from appliance.risk.changes import Becomes, NothingWorks, Working, as_new, becomes, beside, target_of
from appliance.risk.classify import classify
from appliance.risk.conditions import Conditions, ModeSource
from appliance.risk.controls import every_control, quick_stop
from appliance.risk.exits import exit_terms, on_tick, shape_exit
from appliance.risk.limits import InstrumentLimits, Limits
from appliance.risk.matrix import MATRIX, Cell
from appliance.risk.pace import Pace
from appliance.risk.shares import Shares
from appliance.safety.holds import Holds
from appliance.safety.latch import CoreLatch
from appliance.safety.recovery_plan import RecoveryPlan

APPROVAL_NS = 250_000_000

# Python 3.11 looks an enum member up in 90 ns, a global in 3; every order passes here.
_BUY, _SELL, _NEW, _GTC = Side.BUY, Side.SELL, Action.NEW, TimeInForce.GTC
_TRIGGERED = frozenset({OrderType.STOP, OrderType.STOP_LIMIT})
_INCREASE, _REDUCE = OrderClass.INCREASE, OrderClass.REDUCE
_PROTECTIVE, _CANCEL = OrderClass.PROTECTIVE, OrderClass.CANCEL
_PASS, _UNCHANGED, _STOP_ATTACHED = Cell.PASS, Flag.NONE, Flag.STOP_ATTACHED

_NOBODY = Intent(id=IntentId(""), source=SourceId(""), instrument=InstrumentId(""), created_ns=0)


class _Judge:
    """One new order against everything. Collaborators are read anew for each; nothing is cached but what
    each share of a recovery plan leaves of the limits, which are frozen.

    account_name: the venue account order ids belong to.  seen: every order id ever recorded.
    plan: how much of the limits new exposure gets; exits are never asked about it.
    working: our orders at the venue; without them nothing can be amended or replaced.
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
        plan: RecoveryPlan,
        breakers: Breakers,
        fees: FeeView,
        working: Working | None = None,
    ) -> None:
        self._limits = limits
        self._account = account
        self._latch = latch
        entry = breakers[Component.ORDER_ENTRY]
        self._conditions = Conditions(limits, account, holds, modes, entry, fees)
        self._seen = seen
        self._clock = clock
        self._order_ids = OrderIds(account_name)
        self._shares = Shares(limits, account, plan)
        self.pace = Pace(limits)
        self._fees = fees
        self._working = working or NothingWorks()

    def _judge(
        self, intent: Intent, view: InstrumentView | None, order_class: OrderClass, now_ns: int
    ) -> Verdict:
        """A new order of this class: every condition, then the controls of its class."""
        if view is None:
            return _denied(intent, order_class, Reason.UNKNOWN_INSTRUMENT, intent.instrument)
        order_id = self._order_ids.derive(intent.source, intent.id, intent.attempt)
        if self._seen.__contains__(order_id):  # `in` takes a third longer: it looks the method up anew
            return _denied(intent, order_class, Reason.DUPLICATE_ID, order_id)
        shut, epoch = self._latch.look(now_ns)
        market_ns = self._clock.utc_ns()
        limits = self._limits.instruments.get(intent.instrument)
        source = self._limits.sources.get(intent.source)
        how, conditions = _PASS, self._conditions
        if (
            shut is not None
            or order_class is not _INCREASE  # an exit's conditions decide how it leaves
            or not conditions.clear(intent, view, limits, source, market_ns, now_ns)
        ):
            for standing in conditions.standing(intent, view, limits, shut, market_ns, now_ns):
                cell = MATRIX[standing][order_class]
                if cell is Cell.DENY:
                    return _denied(intent, order_class, standing, conditions.why(standing, intent))
                how = cell if cell in (Cell.WIDEN, Cell.FALLBACK) else how
        if order_class is _INCREASE:
            return self._grow(intent, view, order_id, epoch, now_ns, market_ns)
        if order_class is _PROTECTIVE:
            return _protective(intent, view, order_id, epoch, now_ns, market_ns)
        return self._reduce(intent, view, limits, how, order_id, epoch, now_ns, market_ns)

    def _grow(
        self, intent: Intent, view: InstrumentView, order_id: OrderId, epoch: int, now_ns: int,
        market_ns: int, freed: int = 0,
    ) -> Verdict:  # fmt: skip
        """freed: cost of working quantity this takes the place of, an amount.

        What only a share of the limits denies, and all of them let pass, has the share's own reason.
        """
        hurry = self.pace.refusal(intent, market_ns)
        if hurry is not None:
            return _denied(intent, _INCREASE, *hurry)
        part = self._shares.part()
        if part is None:
            return self._increase(intent, view, self._limits, order_id, epoch, now_ns, market_ns, freed)
        small = self._increase(intent, view, part.bounds, order_id, epoch, now_ns, market_ns, freed)
        if isinstance(small, Approved):
            return small
        whole = self._increase(intent, view, self._limits, order_id, epoch, now_ns, market_ns, freed)
        if isinstance(whole, Denied):
            return whole
        why = f"{small.reason} at {format_share(part.share_ppm)} of the limits: {small.detail}"
        return _denied(intent, _INCREASE, part.reason, why)

    def _increase(
        self, intent: Intent, view: InstrumentView, bounds: Limits, order_id: OrderId, epoch: int,
        now_ns: int, market_ns: int, freed: int,
    ) -> Verdict:  # fmt: skip
        limits, source = bounds.instruments.get(intent.instrument), bounds.sources.get(intent.source)
        if limits is None or source is None:  # the matrix has denied this; it keeps the types honest
            return _denied(intent, OrderClass.INCREASE, Reason.NO_LIMIT, intent.instrument)
        account, fees, working, attached = self._account, self._fees, self._working, intent.stop_price is None
        stop = quick_stop(intent, view, limits, source, bounds.account, account, fees, working, freed)
        if not stop:
            found, second = every_control(
                intent, view, limits, source, bounds.account, account, fees, working, freed, market_ns
            )
            if isinstance(found, Reason):
                return _denied(intent, _INCREASE, found, str(second))
            stop, attached = found, second is True
        return Approved(
            order_id, intent.id, intent.source, intent.instrument, _NEW, _INCREASE, intent.side,
            intent.qty, intent.order_type, intent.price,
            intent.stop_price if intent.order_type in _TRIGGERED else None, Price(stop),
            intent.time_in_force, False, None, epoch, now_ns + APPROVAL_NS,
            _STOP_ATTACHED if attached else _UNCHANGED, intent.expire_ns, intent.post_only,
        )  # fmt: skip

    def _reduce(
        self, intent: Intent, view: InstrumentView, limits: InstrumentLimits | None, how: Cell,
        order_id: OrderId, epoch: int, now_ns: int, market_ns: int,
    ) -> Verdict:  # fmt: skip
        if intent.price is not None and intent.price <= 0:
            return _denied(intent, OrderClass.REDUCE, Reason.MALFORMED, f"price {intent.price}")
        shaped = shape_exit(intent, view, limits, self._limits.account, how, market_ns - view.price_ns)
        force, expire_ns, post_only = exit_terms(intent, shaped.order_type, market_ns)
        return Approved(
            order_id, intent.id, intent.source, intent.instrument, _NEW, _REDUCE, intent.side, shaped.qty,
            shaped.order_type, shaped.price, None, None, force, True, None, epoch, now_ns + APPROVAL_NS,
            shaped.flags, expire_ns, post_only, self_trade=SelfTrade.CANCEL_OLDEST,
        )  # fmt: skip


class Gate(_Judge):
    """The gate as the desk sees it: new orders, lists, and changes of what works."""

    def check(self, intent: Intent) -> Verdict:
        """Approved or Denied; never raises for anything a source can ask."""
        now_ns = self._clock.mono_ns()
        view = self._account.view(intent.instrument)
        if intent.action is not _NEW:
            return self._change(intent, view, now_ns)
        return self._judge(intent, view, classify(intent, view), now_ns)

    def check_list(self, kind: ListKind, intents: Sequence[Intent]) -> ApprovedList | Denied:
        """All of them or none: the first refusal is the list's. Each is judged beside those that could fill
        as well as it; the legs of an OCO cannot, so the larger counts."""
        why = lists.misfit(kind, intents)
        if why:
            first = intents[0] if intents else _NOBODY
            return _denied(first, _INCREASE, Reason.ORDER_LIST, why)
        now_ns = self._clock.mono_ns()
        made: list[Approved] = []
        for place, intent in enumerate(intents):
            verdict = self._member(kind, intents, place, made, now_ns)
            if isinstance(verdict, Denied):
                return replace(verdict, detail=f"order {place + 1} of {len(intents)}: {verdict.detail}")
            if verdict.order_type is not intent.order_type:
                why = "a leg cannot leave as another type, and there is no price"
                return _denied(intent, verdict.order_class, Reason.ORDER_LIST, why)
            made.append(verdict)
        return lists.listed(kind, made)

    def _change(self, intent: Intent, view: InstrumentView | None, now_ns: int) -> Verdict:
        """CANCEL, AMEND and REPLACE."""
        if intent.action is Action.CANCEL:
            return _cancel(intent, self._latch.look(now_ns)[1], now_ns)
        if view is None:
            return _denied(intent, _INCREASE, Reason.UNKNOWN_INSTRUMENT, intent.instrument)
        order = target_of(intent, self._working.get)
        if isinstance(order, tuple):
            return _denied(intent, _INCREASE, *order)
        if intent.action is Action.AMEND:
            return self._amend(intent, order, view, now_ns)
        exits = order.order_class is _REDUCE and order.side is intent.side
        order_class = classify(intent, view, order.leaves if exits else 0)
        verdict = self._judge(intent, view, order_class, now_ns)
        if isinstance(verdict, Approved):
            return replace(verdict, action=Action.REPLACE, target=order.id)
        return verdict

    def _amend(self, intent: Intent, order: Order, view: InstrumentView, now_ns: int) -> Verdict:
        change = becomes(intent, order, view)
        if isinstance(change, tuple):
            return _denied(intent, _INCREASE, *change)
        shut, epoch = self._latch.look(now_ns)
        if change.order_class is not _INCREASE:
            return _amended(intent, change, view, epoch, now_ns)
        market_ns = self._clock.utc_ns()
        limits = self._limits.instruments.get(order.instrument)
        wish = as_new(intent, change, change.qty - order.filled)
        for standing in self._conditions.standing(wish, view, limits, shut, market_ns, now_ns):
            return _denied(intent, _INCREASE, standing, self._conditions.why(standing, intent))
        freed = order.leaves * max(order.price or 0, order.stop_price or 0) * view.instrument.amount_factor
        apart = beside(view, order.side, -order.leaves)  # the two legs of an OCO count as one
        verdict = self._grow(wish, apart, order.id, epoch, now_ns, market_ns, freed)
        if isinstance(verdict, Denied):
            return verdict
        if limits is not None and change.qty > min(limits.max_order_qty, view.instrument.max_qty):
            return _denied(intent, _INCREASE, Reason.QTY_TOO_LARGE, f"{change.qty} in all")
        made = replace(verdict, action=Action.AMEND, qty=change.qty, attached_stop=order.attached_stop)
        return replace(made, price=change.price, stop_price=change.stop_price, flags=_UNCHANGED)

    def _member(
        self, kind: ListKind, intents: Sequence[Intent], place: int, made: Sequence[Approved], now_ns: int
    ) -> Verdict:
        """One order of a list, beside those before it."""
        intent = intents[place]
        view = self._account.view(intent.instrument)
        if kind is not ListKind.OCO and place == 0:
            protected = lists.with_own_stop(intent, intents[1:])
            verdict = self._judge(protected or intent, view, classify(intent, view), now_ns)
            if protected is not None and isinstance(verdict, Approved):
                return replace(verdict, attached_stop=None)
            return verdict
        if kind is not ListKind.OCO and view is not None and made[0].order_class is _INCREASE:
            closing = lists.closes(intents[0], intent)
            if closing is not None:
                return self._closing(intent, closing, made[0], view, now_ns)
        more = lists.later_legs(kind, intents, place)
        if more and view is not None:
            view = beside(view, intent.side, more)
        return self._judge(intent, view, classify(intent, view), now_ns)

    def _closing(
        self, intent: Intent, order_class: OrderClass, lead: Approved, view: InstrumentView, now_ns: int
    ) -> Verdict:
        """A leg that closes what its lead opens: reduce-only, and as large as the lead at most."""
        order_id = self._order_ids.derive(intent.source, intent.id, intent.attempt)
        if order_id in self._seen:
            return _denied(intent, order_class, Reason.DUPLICATE_ID, order_id)
        wrong = entries.shape(intent, view.instrument)
        if wrong is not None or not intent.qty:
            return _denied(intent, order_class, *(wrong or (Reason.MALFORMED, "quantity 0")))
        force, expire_ns, post_only = exit_terms(intent, intent.order_type, self._clock.utc_ns())
        trigger = intent.stop_price if intent.order_type in _TRIGGERED else None
        return _reducing(
            *(intent, order_id, order_class, intent.qty, lead.latch_epoch, now_ns),
            price=intent.price,
            stop_price=trigger,
            time_in_force=force,
            protects=lead.order_id,
            expire_ns=expire_ns,
            post_only=post_only,
        )


def _reducing(
    intent: Intent, order_id: OrderId, order_class: OrderClass, qty: Qty, epoch: int, now_ns: int, **also: Any
) -> Approved:
    """An approval that cannot open anything: what is not in `also` is the intent's, or nothing."""
    made: dict[str, Any] = {
        "action": _NEW,
        "side": intent.side,
        "order_type": intent.order_type,
        "price": None,
        "stop_price": None,
        "attached_stop": None,
        "time_in_force": intent.time_in_force,
        "reduce_only": True,
        "protects": None,
        "flags": _UNCHANGED,
        "self_trade": SelfTrade.CANCEL_OLDEST,
    }
    return Approved(
        order_id=order_id,
        intent_id=intent.id,
        source=intent.source,
        instrument=intent.instrument,
        order_class=order_class,
        qty=qty,
        latch_epoch=epoch,
        deadline_ns=now_ns + APPROVAL_NS,
        **(made | also),
    )


def _protective(
    intent: Intent, view: InstrumentView, order_id: OrderId, epoch: int, now_ns: int, market_ns: int
) -> Verdict:
    """A stop on what is held: put on a tick, reduce-only, whatever else may stand."""
    trigger, price = intent.stop_price, intent.price
    limit = intent.order_type is OrderType.STOP_LIMIT
    if trigger is None or trigger <= 0 or (limit and (price is None or price <= 0)):
        return _denied(intent, _PROTECTIVE, Reason.MALFORMED, f"trigger {trigger} price {price}")
    tick = view.instrument.tick
    off_tick = trigger % tick or (limit and price is not None and price % tick)
    force, expire_ns, _ = exit_terms(intent, intent.order_type, market_ns)
    return _reducing(
        *(intent, order_id, _PROTECTIVE, intent.qty, epoch, now_ns),
        price=on_tick(price, tick) if limit else None,
        stop_price=on_tick(trigger, tick),
        time_in_force=force,
        protects=intent.protects,
        flags=Flag.ROUNDED if off_tick else _UNCHANGED,
        expire_ns=expire_ns,
    )


def _cancel(intent: Intent, epoch: int, now_ns: int) -> Verdict:
    if intent.target is None:
        return _denied(intent, _CANCEL, Reason.MALFORMED, "CANCEL without a target")
    return _reducing(
        intent, intent.target, _CANCEL, intent.qty, epoch, now_ns, action=Action.CANCEL, reduce_only=False
    )


def _amended(intent: Intent, change: Becomes, view: InstrumentView, epoch: int, now_ns: int) -> Verdict:
    """An amendment that only shrinks, or of an order that is reduce-only on the wire."""
    order, tick = change.order, view.instrument.tick
    prices = [price for price in (change.price, change.stop_price) if price is not None]
    if any(price <= 0 for price in prices):
        return _denied(intent, change.order_class, Reason.MALFORMED, f"prices {prices}")
    return _reducing(
        *(intent, order.id, change.order_class, change.qty, epoch, now_ns),
        action=Action.AMEND,
        side=order.side,
        order_type=order.order_type,
        price=on_tick(change.price, tick),
        stop_price=on_tick(change.stop_price, tick),
        attached_stop=order.attached_stop,
        time_in_force=order.time_in_force,
        reduce_only=order.reduce_only,
        protects=order.protects,
        flags=Flag.ROUNDED if any(price % tick for price in prices) else _UNCHANGED,
        expire_ns=order.expire_ns,
        post_only=order.post_only,
    )


def _denied(intent: Intent, order_class: OrderClass, reason: Reason, detail: str) -> Denied:
    return Denied(intent.id, intent.source, intent.instrument, order_class, reason, detail)
