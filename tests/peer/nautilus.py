"""NautilusTrader's risk engine, standing where our core stands.

Its execution engine, cache and portfolio are its own; the venue is ours: what the paper venue reports is
repeated to it as orders, fills and account states, so that both engines always see the same working orders,
positions and prices. What is asked of it never changes that, whatever it answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_DOWN, Decimal
from typing import Any

from nautilus_trader.cache.cache import Cache
from nautilus_trader.common.component import MessageBus, TestClock
from nautilus_trader.common.factories import OrderFactory
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.execution.client import ExecutionClient
from nautilus_trader.execution.engine import ExecutionEngine
from nautilus_trader.execution.messages import CancelOrder, ModifyOrder, SubmitOrder
from nautilus_trader.model.currencies import BTC, USD
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide, TradingState
from nautilus_trader.model.enums import OrderType as TheirOrderType
from nautilus_trader.model.events import AccountState, OrderDenied, OrderModifyRejected
from nautilus_trader.model.identifiers import (
    ClientId,
    ClientOrderId,
    InstrumentId,
    Symbol,
    TradeId,
    Venue,
    VenueOrderId,
)
from nautilus_trader.model.instruments import CryptoPerpetual, CurrencyPair
from nautilus_trader.model.objects import AccountBalance, MarginBalance, Money, Price, Quantity
from nautilus_trader.portfolio.portfolio import Portfolio
from nautilus_trader.risk.engine import RiskEngine, RiskEngineConfig
from nautilus_trader.test_kit.stubs.events import TestEventStubs
from nautilus_trader.test_kit.stubs.identifiers import TestIdStubs

from appliance.domain.instrument import Instrument
from appliance.domain.intent import Action, Intent, OrderType, Side
from appliance.domain.mode import Mode
from appliance.domain.money import AMOUNT_EXP, format_scaled
from appliance.domain.order import Accepted, Amended, Canceled, Expired, Filled, VenueEvent
from appliance.risk.limits import InstrumentLimits

VENUE = Venue("SIM")
NO_THROTTLE = "1000000/00:00:01"

STATE_OF: dict[Mode, Any] = {
    Mode.NORMAL: TradingState.ACTIVE,
    Mode.PAUSED: TradingState.HALTED,
    Mode.REDUCED: TradingState.REDUCING,
    Mode.EMERGENCY: TradingState.HALTED,
}
"""Their three states for our four modes; HALTED is the nearest of both PAUSED and EMERGENCY."""


class _Client(ExecutionClient):  # type: ignore[misc]
    """The door to their venue: counts what gets through."""

    def __init__(self, account_type: Any, base: Any, bus: Any, cache: Any, clock: Any) -> None:
        super().__init__(
            client_id=ClientId(VENUE.value), venue=VENUE, oms_type=OmsType.NETTING,
            account_type=account_type, base_currency=base, msgbus=bus, cache=cache, clock=clock,
        )  # fmt: skip
        self.through = 0

    def submit_order(self, _command: Any) -> None:
        self.through += 1

    def modify_order(self, _command: Any) -> None:
        self.through += 1

    def cancel_order(self, _command: Any) -> None:
        self.through += 1


class Peer:
    """Their engine with the limits of ours that it has: largest and smallest order, decimals, and its
    balance check. Its throttle is out of the way: ours is another control, tested elsewhere."""

    def __init__(self, instrument: Instrument, limits: InstrumentLimits) -> None:
        self._ours = instrument
        self.clock = TestClock()
        self._bus = MessageBus(trader_id=TestIdStubs.trader_id(), clock=self.clock)
        self._cache = Cache()
        self._portfolio = Portfolio(self._bus, self._cache, self.clock)
        self._execution = ExecutionEngine(msgbus=self._bus, cache=self._cache, clock=self.clock)
        rates = RiskEngineConfig(max_order_submit_rate=NO_THROTTLE, max_order_modify_rate=NO_THROTTLE)
        self.risk = RiskEngine(self._portfolio, self._bus, self._cache, self.clock, rates)
        margin = instrument.margin is not None
        self._type: Any = AccountType.MARGIN if margin else AccountType.CASH
        self._base: Any = USD if margin else None  # without one, each currency has a balance of its own
        self._client = _Client(self._type, self._base, self._bus, self._cache, self.clock)
        self._execution.register_client(self._client)
        self._theirs = self._instrument(limits)
        self._cache.add_instrument(self._theirs)
        value = format_scaled(limits.max_order_value, AMOUNT_EXP)
        self.risk.set_max_notional_per_order(self._theirs.id, Decimal(value))
        self._factory = OrderFactory(
            trader_id=TestIdStubs.trader_id(), strategy_id=TestIdStubs.strategy_id(), clock=self.clock
        )
        self._refusals: list[str] = []
        self._bus.subscribe(topic="events.order.*", handler=self._heard)
        self._told = 0
        self._execution.start()
        self.risk.start()

    def ask(self, intent: Intent, order_id: str) -> str:
        """Why they refuse it; empty if it reaches their venue. order_id: the id it would have there."""
        before, self._refusals = self._client.through, []
        if intent.action is Action.CANCEL:
            self._execution.execute(self._cancel(intent))
        elif intent.action is Action.AMEND:
            self.risk.execute(self._modify(intent))
        else:
            self._submit(intent, order_id)
        if self._client.through > before:
            assert not self._refusals
            return ""
        return self._refusals[0] if self._refusals else "not found"  # that one they only write to their log

    def set_mode(self, mode: Mode) -> None:
        """Their state for ours."""
        if self.risk.trading_state != STATE_OF[mode]:
            self.risk.set_trading_state(STATE_OF[mode])

    def quote(self, bid: int, ask: int, now_ns: int) -> None:
        """The market as our core sees it."""
        self.clock.set_time(now_ns)
        size = self._qty(10**6)
        self._cache.add_quote_tick(
            QuoteTick(self._theirs.id, self._price(bid), self._price(ask), size, size, now_ns, now_ns)
        )

    def follow(self, log: Sequence[VenueEvent]) -> None:
        """Everything our venue has told since the last call."""
        for event in log[self._told :]:
            self._repeat(event)
        self._told = len(log)

    def account(self, cash: int, position: int) -> None:
        """The account as the venue knows it: cash and what is held, less what working orders lock.

        A stop locks nothing here, as at the paper venue: it ends or shrinks with the position.
        """
        open_orders = self._cache.orders_open()
        resting = [order for order in open_orders if order.order_type == TheirOrderType.LIMIT]
        buys = sum((o.leaves_qty.as_decimal() * o.price.as_decimal() for o in resting if o.is_buy), Decimal())
        sells = sum((o.leaves_qty.as_decimal() for o in resting if o.is_sell), Decimal())
        total = Decimal(format_scaled(cash, AMOUNT_EXP))
        balances = [_balance(total, buys, USD)]
        if self._base is None:
            balances.append(_balance(Decimal(format_scaled(position, self._ours.qty_exp)), sells, BTC))
        used = MarginBalance(Money(0, USD), Money(0, USD), self._theirs.id)
        margins = [] if self._base is None else [used]
        state = AccountState(
            account_id=TestIdStubs.account_id(), account_type=self._type, base_currency=self._base,
            reported=True, balances=balances, margins=margins, info={}, event_id=UUID4(),
            ts_event=0, ts_init=0,
        )  # fmt: skip
        self._portfolio.update_account(state)

    def agrees_on(self, position: int, working: int) -> bool:
        """Their position and number of open orders are ours: both engines are asked about the same world."""
        net = self._portfolio.net_position(self._theirs.id)
        held = net == Decimal(format_scaled(position, self._ours.qty_exp))
        return bool(held and len(self._cache.orders_open()) == working)

    def _heard(self, event: Any) -> None:
        if isinstance(event, OrderDenied | OrderModifyRejected):
            self._refusals.append(event.reason)

    def _submit(self, intent: Intent, order_id: str) -> None:
        known = self._cache.order_exists(ClientOrderId(order_id))
        order = self._order(
            order_id, intent.side, intent.qty, intent.order_type, intent.price, intent.stop_price,
            reduce_only=intent.reduce_only,
        )  # fmt: skip
        through = self._client.through
        self.risk.execute(SubmitOrder(order.trader_id, order.strategy_id, order, UUID4(), 0))
        if self._client.through > through and not known:  # the stage stays as our venue has it
            self._execution.process(TestEventStubs.order_submitted(order))
            self._execution.process(TestEventStubs.order_rejected(order))

    def _modify(self, intent: Intent) -> Any:
        price = None if intent.price is None else self._price(intent.price)
        trigger = None if intent.stop_price is None else self._price(intent.stop_price)
        return ModifyOrder(
            TestIdStubs.trader_id(), TestIdStubs.strategy_id(), self._theirs.id,
            ClientOrderId(intent.target or ""), None, self._qty(intent.qty), price, trigger, UUID4(), 0,
        )  # fmt: skip

    def _cancel(self, intent: Intent) -> Any:
        return CancelOrder(
            TestIdStubs.trader_id(), TestIdStubs.strategy_id(), self._theirs.id,
            ClientOrderId(intent.target or ""), None, UUID4(), 0,
        )  # fmt: skip

    def _repeat(self, event: VenueEvent) -> None:
        stubs, tell = TestEventStubs, self._execution.process
        if isinstance(event, Accepted):
            order = self._cache.order(ClientOrderId(event.order_id))
            if order is not None:
                tell(stubs.order_updated(order, self._qty(event.qty), None, _trigger_of(order)))
                return
            order = self._order(
                event.order_id, event.side, event.qty, event.order_type, event.price, event.stop_price,
                reduce_only=event.reduce_only,
            )  # fmt: skip
            self._cache.add_order(order, None)
            tell(stubs.order_submitted(order))
            tell(stubs.order_accepted(order, venue_order_id=VenueOrderId(event.order_id)))
        elif isinstance(event, Filled):
            fill = event.fill
            order = self._cache.order(ClientOrderId(fill.order_id))
            trade = {"trade_id": TradeId(fill.trade_id), "last_qty": self._qty(fill.qty)}
            tell(stubs.order_filled(order, self._theirs, last_px=self._price(fill.price), **trade))
        elif isinstance(event, Canceled | Expired):
            tell(stubs.order_canceled(self._cache.order(ClientOrderId(event.order_id))))
        elif isinstance(event, Amended):
            order = self._cache.order(ClientOrderId(event.order_id))
            price = None if event.price is None else self._price(event.price)
            trigger = None if event.stop_price is None else self._price(event.stop_price)
            tell(stubs.order_updated(order, self._qty(event.qty), price, trigger))

    def _order(
        self, order_id: str, side: Side, qty: int, kind: OrderType, price: int | None, trigger: int | None,
        *, reduce_only: bool,
    ) -> Any:  # fmt: skip
        terms: dict[str, Any] = {"client_order_id": ClientOrderId(order_id), "reduce_only": reduce_only}
        which = OrderSide.BUY if side is Side.BUY else OrderSide.SELL
        if kind in (OrderType.LIMIT, OrderType.STOP_LIMIT):
            terms["price"] = self._price(price or 0)
        if kind in (OrderType.STOP, OrderType.STOP_LIMIT):
            terms["trigger_price"] = self._price(trigger or 0)
        make = {
            OrderType.MARKET: self._factory.market,
            OrderType.LIMIT: self._factory.limit,
            OrderType.STOP: self._factory.stop_market,
            OrderType.STOP_LIMIT: self._factory.stop_limit,
        }[kind]
        return make(self._theirs.id, which, self._qty(qty), **terms)

    def _price(self, price: int) -> Any:
        return Price.from_str(format_scaled(price, self._ours.price_exp))

    def _qty(self, qty: int) -> Any:
        return Quantity.from_str(format_scaled(qty, self._ours.qty_exp))

    def _instrument(self, limits: InstrumentLimits) -> Any:
        ours = self._ours
        facts: dict[str, Any] = {
            "instrument_id": InstrumentId(Symbol("BTCUSD"), VENUE),
            "raw_symbol": Symbol("BTCUSD"),
            "base_currency": BTC,
            "quote_currency": USD,
            "price_precision": ours.price_exp,
            "size_precision": ours.qty_exp,
            "price_increment": self._price(ours.tick),
            "size_increment": self._qty(ours.lot),
            "max_quantity": self._qty(min(limits.max_order_qty, ours.max_qty)),
            "min_quantity": self._qty(ours.min_qty),
            "min_notional": Money(Decimal(format_scaled(ours.min_value, AMOUNT_EXP)), USD),
            "margin_init": Decimal("0.05"),
            "margin_maint": Decimal("0.01"),
            "maker_fee": Decimal(0),
            "taker_fee": Decimal("0.001"),
            "ts_event": 0,
            "ts_init": 0,
        }
        if ours.margin is None:
            return CurrencyPair(**facts)
        return CryptoPerpetual(settlement_currency=USD, is_inverse=False, **facts)


def _trigger_of(order: Any) -> Any:
    return order.trigger_price if order.has_trigger_price else None


def _balance(total: Decimal, locked: Decimal, currency: Any) -> Any:
    step = Decimal(1).scaleb(-currency.precision)
    total = total.quantize(step, ROUND_DOWN)
    held = min(locked, max(total, Decimal(0))).quantize(step, ROUND_DOWN)
    return AccountBalance(Money(total, currency), Money(held, currency), Money(total - held, currency))
