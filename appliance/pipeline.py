"""The whole flow, in the order in which it happens.

    observation ─► fills of what the venue did meanwhile ─► marks ─► memory ─► loss limits
                └► strategies ─► signal ─► validation ─► precedents ─► wish ─► its orders one by one:
                                                                       intent ─► GATE ─► log ─► venue

Everything is called with `await` over ports; nothing here reads a clock, a file or a socket. One pipeline
per core, driven by one task: an observation is finished before the next one begins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from appliance.domain.describe import describe_signal, qty_text
from appliance.domain.ids import InstrumentId, IntentId, SourceId
from appliance.domain.intent import Intent, OrderType, Side
from appliance.domain.mode import Mode, TripReason
from appliance.domain.money import Qty, format_share, share_floor
from appliance.domain.observation import Observation
from appliance.domain.order import Fill
from appliance.domain.signal import Direction, Signal
from appliance.orders.desk import Desk
from appliance.orders.executor import Executor
from appliance.orders.sizing import entry_qty
from appliance.portfolio.analysis import analyse
from appliance.portfolio.decline import DAY_NS
from appliance.portfolio.portfolio import Portfolio
from appliance.ports import Clock, Memory, Scribe
from appliance.risk.advice import advise, describe_advice
from appliance.risk.limits import Limits
from appliance.risk.shares import granted_ppm
from appliance.safety.controller import SafetyController
from appliance.safety.exits import ExitFlow
from appliance.signals.strategy import Strategy
from appliance.validation.recent import RecentPrices
from appliance.validation.signals import SignalLimits, check_signal

PRECEDENTS = 5
FELL = "its allocation fell"
"""How the reason of a drawdown stop begins: the figure behind it is P&L, and the page does not show it."""


class Stages(Struct, frozen=True, kw_only=True):
    """The parts list of the flow; `runtime.build` makes it.

    deploy_ppm: share of its allocation one entry of a strategy asks for.
    """

    portfolio: Portfolio
    strategies: tuple[Strategy, ...]
    recent: RecentPrices
    signal_limits: SignalLimits
    limits: Limits
    deploy_ppm: Mapping[SourceId, int]
    memory: Memory
    desk: Desk
    exits: ExitFlow
    executor: Executor
    safety: SafetyController
    scribe: Scribe
    clock: Clock


class Pipeline:
    """Drives the stages. `run` names the replay or session and is part of every intent's id."""

    def __init__(self, stages: Stages, run: str) -> None:
        self._s = stages
        self._run = run
        self._by_instrument: dict[InstrumentId, list[Strategy]] = {}
        for strategy in stages.strategies:
            self._by_instrument.setdefault(strategy.instrument, []).append(strategy)
        self._day = self._loss_day = -1
        self._loss_level = 0
        self._drawdown_ppm: Mapping[SourceId, int] = {
            source: limits.drawdown_ppm for source, limits in stages.limits.sources.items()
        }

    def warm_up(self, observation: Observation, fills: Sequence[tuple[SourceId, Fill]]) -> None:
        """An observation from before the restart: the same state, and nothing is decided again.

        fills: what had been executed by then, from the log, so that peaks and declines come out the same.
        """
        self.book(fills)
        self._s.portfolio.mark(observation)
        self._s.desk.costs.see(observation)
        self._s.memory.remember(observation)
        self._s.recent.note(observation)
        for strategy in self._by_instrument.get(observation.instrument, ()):
            strategy.on_observation(observation)

    def book(self, fills: Sequence[tuple[SourceId, Fill]]) -> None:
        """Fills that are in the log already."""
        for source, fill in fills:
            self._s.portfolio.apply_fill(fill, source)

    async def on_observation(self, observation: Observation) -> None:
        """One accepted observation, through to whatever it leads to."""
        s = self._s
        await s.desk.collect()
        s.portfolio.mark(observation)
        s.desk.costs.see(observation)
        s.memory.remember(observation)
        s.recent.note(observation)
        self._check_losses(observation)
        in_normal = s.safety.mode is Mode.NORMAL
        s.safety.recovery.pass_time(counts=in_normal and not s.safety.holds.on_box())
        for strategy in self._by_instrument.get(observation.instrument, ()):
            signal = strategy.on_observation(observation)
            if signal is not None:
                await self._on_signal(signal)
        await s.executor.advance()
        await self._work_down()
        self._propose(observation)

    def _propose(self, observation: Observation) -> None:
        """Once a day of the market's: what would bring the portfolio inside its limits. Never an order."""
        day = observation.seen_ns // DAY_NS
        if day <= self._day:
            return
        self._day = day
        limits = self._s.limits.account
        state = analyse(self._s.portfolio, limits.position_cap_ppm, limits.leverage_ppm)
        for each in state.proposals:
            instrument = self._s.portfolio.holdings[each.instrument].instrument
            data = {"instrument": each.instrument, "side": each.side, "why": each.why}
            self._s.scribe.note("rebalance", data | {"qty": qty_text(instrument, each.qty)})

    async def _on_signal(self, signal: Signal) -> None:
        s = self._s
        holding = s.portfolio.view(signal.instrument)
        if holding is None:
            return
        if signal.direction is not Direction.CLOSE and s.desk.spared(signal.strategy, "signal"):
            return
        data = describe_signal(signal, holding.instrument)
        refusal = check_signal(signal, s.signal_limits, s.recent, s.clock.utc_ns())
        if refusal is not None:
            s.scribe.note("signal", data | {"refused": refusal.fault, "detail": refusal.detail})
            return
        data["precedents"] = await self._precedents(signal.instrument)
        entry = self._entry(signal) if signal.direction is not Direction.CLOSE else None
        if entry is not None:
            data |= self._advice(entry)
        cause = s.scribe.note("signal", data).index
        if entry is None:
            await s.executor.close(self._exit(signal), causes=(cause,))
            return
        await s.executor.enter(entry, causes=(cause,))
        await s.desk.collect()

    def _exit(self, signal: Signal) -> Intent:
        """All that the strategy holds, which may be nothing while an entry of it still works."""
        allocation = self._s.portfolio.sources.get(signal.strategy)
        held = allocation.held(signal.instrument) if allocation is not None else 0
        return Intent(
            id=IntentId(f"{self._run}/{signal.instrument}/{signal.event_ns}/close"),
            source=signal.strategy,
            instrument=signal.instrument,
            created_ns=signal.event_ns,
            side=Side.BUY if held < 0 else Side.SELL,
            qty=Qty(abs(held)),
        )

    def _entry(self, signal: Signal) -> Intent:
        """What the strategy wants and the share of its allocation that is granted now still allows; 0 is
        denied by the gate, and counted."""
        s, portfolio = self._s, self._s.portfolio
        holding = portfolio.holdings[signal.instrument]
        source = s.limits.sources.get(signal.strategy)
        free = 0
        if source is not None:
            share_ppm = granted_ppm(s.safety.recovery.share_ppm, portfolio, s.limits)
            allocation = share_floor(source.allocation, share_ppm)
            wanted = share_floor(allocation, s.deploy_ppm.get(signal.strategy, 0))
            most = s.desk.costs.fees.affordable(allocation)  # its fees are part of an entry's cost
            free = min(wanted, most - portfolio.source_exposure(signal.strategy))
        price = max(holding.ask, signal.reference_price)
        return Intent(
            id=IntentId(f"{self._run}/{signal.instrument}/{signal.event_ns}"),
            source=signal.strategy,
            instrument=signal.instrument,
            created_ns=signal.event_ns,
            side=Side.BUY,
            qty=entry_qty(holding.instrument, price, free),
            order_type=OrderType.MARKET,
            stop_price=signal.stop_price,
        )

    def _advice(self, intent: Intent) -> dict[str, object]:
        """Score, suggested size and levels, for the log; the gate decides without it."""
        portfolio = self._s.portfolio
        holding = portfolio.holdings[intent.instrument]
        span = holding.series.average_range() if holding.series is not None else 0
        beside = portfolio.correlations.beside_ppm(intent.instrument, intent.side)
        dear = max(holding.ask, holding.last)
        advice = advise(intent, dear, holding, portfolio, self._s.limits, span, beside)
        return {} if advice is None else {"advice": describe_advice(advice, holding.instrument)}

    async def _precedents(self, instrument: InstrumentId) -> list[dict[str, object]]:
        """What resembled this, for the log: slow or broken memory delays a signal, it stops none."""
        found = await self._s.memory.find_similar_conditions(instrument, PRECEDENTS)
        return [
            {"observation": p.observation, "event_ns": str(p.event_ns), "distance": p.distance} for p in found
        ]

    def _check_losses(self, observation: Observation) -> None:
        """SAFETY 1: the account's limit trips the box, an allocation's limit stops that strategy alone."""
        s = self._s
        account = s.limits.account
        drawdown, loss = s.portfolio.over_limits(account.drawdown_ppm, account.daily_loss_ppm, observation)
        if drawdown:
            fallen = format_share(s.portfolio.drawdown_ppm)
            s.safety.trip(TripReason.DRAWDOWN, f"the account is {fallen} below its peak")
        if loss:
            lost = format_share(s.portfolio.loss_today_ppm)
            s.safety.trip(TripReason.DAILY_LOSS, f"the account is {lost} below the day's start")
        self._tell_loss(observation)
        for source in s.portfolio.sources_over(self._drawdown_ppm, observation):
            fall = format_share(s.portfolio.sources[source].decline.drawdown_ppm)
            allowed = format_share(self._drawdown_ppm[source])
            why = f"{FELL} {fall} from its peak; {allowed} are allowed"
            self._stop(source, why, observation)
        for source, why in s.desk.pace.take_over():
            self._stop(source, why, observation)

    def _stop(self, source: SourceId, why: str, observation: Observation) -> None:
        if not self._s.portfolio.source_stopped(source):
            self._s.portfolio.stop_source(source, why, observation.seen_ns)
            data = {"strategy": source, "why": why, "market_ns": str(observation.seen_ns)}
            self._s.scribe.note("strategy_stop", data)

    def _tell_loss(self, observation: Observation) -> None:
        """The marks before the daily limit, each told once a day (CONTROLS 9, levels 1 and 2)."""
        limits, loss_ppm = self._s.limits.account, self._s.portfolio.loss_today_ppm
        level = (loss_ppm > limits.loss_alert_ppm) + (loss_ppm > limits.loss_slow_ppm)
        day = observation.seen_ns // DAY_NS
        if day != self._loss_day:
            self._loss_day, self._loss_level = day, 0
        if level > self._loss_level:
            self._loss_level = level
            data = {"level": ("alert", "slow")[level - 1], "loss": format_share(loss_ppm)}
            self._s.scribe.note("loss_level", data | {"market_ns": str(observation.seen_ns)})

    async def _work_down(self) -> None:
        """A stopped strategy's exposure is worked down while the others go on; PAUSED holds positions."""
        s = self._s
        if s.safety.mode is not Mode.NORMAL:
            return
        for source, instrument, quantity in s.portfolio.held():
            if s.portfolio.source_stopped(source) and abs(quantity) >= instrument.min_qty:
                await s.exits.leave(source, instrument, quantity, "stopped")
