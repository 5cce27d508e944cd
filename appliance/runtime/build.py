"""The parts list: configuration in, a connected core out. Objects get their collaborators as arguments."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from msgspec import Struct

from appliance.domain.errors import ConfigError
from appliance.domain.ids import SourceId
from appliance.domain.order import Order
from appliance.domain.verdict import Approved
from appliance.market.pace import Pacer
from appliance.market.quality import DataQuality
from appliance.market.replay import Replay
from appliance.orders.book import Orders
from appliance.orders.costs import Costs
from appliance.orders.desk import Desk
from appliance.orders.executor import Executor
from appliance.orders.identity import IdLedger
from appliance.orders.reconcile import fate
from appliance.pipeline import Pipeline, Stages
from appliance.portfolio.portfolio import Portfolio
from appliance.ports import Memory
from appliance.risk.breakers import Breakers
from appliance.risk.gate import Gate
from appliance.risk.limits import Limits
from appliance.runtime import tables
from appliance.runtime.breaker_watch import BreakerWatch
from appliance.runtime.build_edges import begin_fees, make_upstream, open_memory, open_venue
from appliance.runtime.build_state import (
    make_portfolio,
    open_log,
    open_ring,
    recovery_plan,
    restore_fees,
    restore_orders,
    venue_note,
)
from appliance.runtime.clock import ReplayClock, WallClock
from appliance.runtime.clock_loop import ClockLoop, ReadClock, counts_real_time, remembered_clock
from appliance.runtime.config import Config
from appliance.runtime.execution import make_executor
from appliance.runtime.fee_refresh import FeeRefresh
from appliance.runtime.feed import ReplayFeed
from appliance.runtime.guard_link import PageLink, boot_text
from appliance.runtime.guarded import GuardedVenue
from appliance.runtime.owed import exits_into
from appliance.runtime.own_latch import OwnLatch
from appliance.runtime.paths import Paths
from appliance.runtime.patience import LoopPatience
from appliance.runtime.restore import known_orders, remembered_mode
from appliance.runtime.scribe import CoreScribe
from appliance.runtime.session import Session
from appliance.runtime.store_health import StoreHealth, ended_well
from appliance.runtime.tally import Tally, TimedGate
from appliance.runtime.units import parse_speed
from appliance.runtime.venue_note import write_note
from appliance.runtime.watch import SafetyLoop, begin_start_holds
from appliance.safety.controller import SafetyController
from appliance.safety.exits import ExitFlow
from appliance.safety.holds import Holds
from appliance.safety.latch import CoreLatch
from appliance.safety.recovery_plan import RecoveryPlan
from appliance.storage.log_client import LogClient
from appliance.upstream.client import UpstreamClient
from appliance.validation.recent import RecentPrices


class Options(Struct, frozen=True, kw_only=True):
    """What the command line adds to the configuration. speed: "" takes the configured one.

    config_sha256: of the file the configuration was read from, for the log.
    """

    unattended: bool = False
    wait_for_arm: bool = False
    speed: str = ""
    config_sha256: str = ""


class Parts(Struct, kw_only=True):
    """One connected core."""

    config: Config
    session: Session
    limits: Limits
    log: LogClient
    store: StoreHealth
    link: PageLink
    scribe: CoreScribe
    safety: SafetyController
    portfolio: Portfolio
    desk: Desk
    executor: Executor
    venue: GuardedVenue
    memory: Memory
    upstream: UpstreamClient
    feed: ReplayFeed
    fee_refresh: FeeRefresh
    watch: SafetyLoop
    breakers: BreakerWatch
    tally: Tally
    clock: ReplayClock
    clock_loop: ClockLoop


async def build(
    stack: AsyncExitStack,
    config: Config,
    paths: Paths,
    base: Path,
    options: Options,
    tally: Tally,
    read_clock: ReadClock,
) -> Parts:
    """Opens everything in the order in which it is needed; `stack` closes it in reverse.

    read_clock: the machine's clock and its synchronisation, `kernel_clock.read_kernel_clock`.
    Raises ConfigError, PeerError (feed), PeerMissingError (pages), BusyError (second core), StoreError.
    """
    instruments = tables.make_instruments(config)
    limits = tables.make_limits(config, instruments)
    replay = Replay(tables.make_sources(config, instruments, base))
    exits_ring = open_ring(stack, paths)  # one writer: a second core ends here and touches no page
    clean, clock_past = ended_well(paths.log), remembered_clock(paths.log, boot_text())
    log, session = await open_log(stack, config, paths)
    clock, link = ReplayClock(), PageLink(paths.runtime)
    store = StoreHealth(log, link, paths, clean=clean)
    latch = CoreLatch(link, clock)
    scribe = CoreScribe(log)
    safety = _make_safety(config, link, latch, scribe, recovery_plan(config, paths, scribe, clock))
    clock_loop = ClockLoop(read_clock, clock_past, safety, scribe, enforced=counts_real_time(config))
    begin_start_holds(safety, WallClock())
    safety.start(remembered_mode(paths.log))
    breakers = Breakers(config.breaker.settings(), time.monotonic_ns)
    venue = GuardedVenue(await open_venue(stack, config, instruments, latch, session), breakers)
    write_note(paths.venue_note, venue_note(config, session))
    portfolio = make_portfolio(config, instruments, limits, session)
    ids, orders = IdLedger.restored(known_orders(paths.log)), restore_orders(session)
    account, plan, fees = session.account, safety.recovery, restore_fees(session, instruments)
    gate = Gate(
        limits, portfolio, latch, safety.holds, safety, ids, clock, account, plan, breakers, fees, orders
    )
    desk = _make_desk(
        TimedGate(gate, tally), orders, ids, portfolio, venue, scribe, clock, safety, tally,
        exits_into(exits_ring), Costs(fees, clock),
    )  # fmt: skip
    exits = ExitFlow(desk, portfolio, venue, clock, fate, config.safety.exit_slices)
    stages = Stages(
        portfolio=portfolio,
        strategies=tables.make_strategies(config, instruments),
        recent=RecentPrices(tables.nominal_bar_ns(config)),
        signal_limits=tables.make_signal_limits(config, instruments),
        limits=limits,
        deploy_ppm={SourceId(name): int(table.deploy) for name, table in config.strategies.items()},
        memory=open_memory(stack, config, paths, instruments, breakers),
        desk=desk,
        exits=exits,
        executor=make_executor(config, session, limits, desk, portfolio, exits, safety, scribe, clock),
        safety=safety,
        scribe=scribe,
        clock=clock,
    )
    feed = await _make_feed(config, replay, stages, venue, clock, session, options)
    refresh = await begin_fees(venue, stages)
    upstream = make_upstream(stack, config, paths, breakers)
    watch = _make_watch(config, stages, link, venue, store, clock_loop, OwnLatch(paths.latch))
    told = BreakerWatch(breakers, safety.holds, scribe, WallClock(), venue.name)
    watch.before_beat = told.round
    return _connect(
        config, session, log, store, link, stages, venue, upstream, feed, refresh, watch, told, tally,
        clock, clock_loop, scribe,
    )  # fmt: skip


def _make_desk(
    gate: TimedGate,
    orders: Orders,
    ids: IdLedger,
    portfolio: Portfolio,
    venue: GuardedVenue,
    scribe: CoreScribe,
    clock: ReplayClock,
    safety: SafetyController,
    tally: Tally,
    owe: Callable[[int, Approved, Order | None], None],
    costs: Costs,
) -> Desk:
    return Desk(
        gate,
        orders,
        ids,
        portfolio,
        venue,
        scribe,
        LoopPatience(),
        clock,
        safety.trip,
        tally.verdict,
        owe,
        costs,
    )


def _make_safety(
    config: Config, link: PageLink, latch: CoreLatch, scribe: CoreScribe, recovery: RecoveryPlan
) -> SafetyController:
    emergency = config.safety.tamper == "emergency"
    return SafetyController(
        link, latch, Holds(), WallClock(), scribe, tamper_is_emergency=emergency, recovery=recovery
    )


def _connect(
    config: Config,
    session: Session,
    log: LogClient,
    store: StoreHealth,
    link: PageLink,
    stages: Stages,
    venue: GuardedVenue,
    upstream: UpstreamClient,
    feed: ReplayFeed,
    fee_refresh: FeeRefresh,
    watch: SafetyLoop,
    breakers: BreakerWatch,
    tally: Tally,
    clock: ReplayClock,
    clock_loop: ClockLoop,
    scribe: CoreScribe,
) -> Parts:
    memory = stages.memory
    parts = Parts(
        config=config,
        session=session,
        limits=stages.limits,
        log=log,
        store=store,
        link=link,
        scribe=scribe,
        safety=stages.safety,
        portfolio=stages.portfolio,
        desk=stages.desk,
        executor=stages.executor,
        venue=venue,
        memory=memory,
        upstream=upstream,
        feed=feed,
        fee_refresh=fee_refresh,
        watch=watch,
        breakers=breakers,
        tally=tally,
        clock=clock,
        clock_loop=clock_loop,
    )
    feed.on_caught_up = lambda: _caught_up(parts)
    return parts


async def _make_feed(
    config: Config,
    replay: Replay,
    stages: Stages,
    venue: GuardedVenue,
    clock: ReplayClock,
    session: Session,
    options: Options,
) -> ReplayFeed:
    try:
        speed = parse_speed(options.speed or config.feed.speed)
    except ValueError as error:
        raise ConfigError("feed.speed cannot be used", str(error)) from error
    first_ns = min((each.first_seen_ns for each in replay.surveys), default=0)
    clock.advance(first_ns)
    return ReplayFeed(
        replay,
        Pacer(speed if isinstance(speed, int) else "max"),
        config.feed.label,
        DataQuality(tables.make_quality(config), first_ns),
        Pipeline(stages, session.run),
        venue,
        stages.memory,
        stages.safety,
        stages.scribe,
        clock,
        list(stages.portfolio.holdings),
        tables.make_refusals(config),
        cursor=(await venue.account()).steps,
        fills=session.restored.fills,
        unattended=options.unattended,
        wait_for_arm=options.wait_for_arm,
    )


def _make_watch(
    config: Config,
    stages: Stages,
    link: PageLink,
    venue: GuardedVenue,
    store: StoreHealth,
    clock_loop: ClockLoop,
    own_latch: OwnLatch,
) -> SafetyLoop:
    return SafetyLoop(
        stages.safety,
        link,
        stages.desk,
        stages.portfolio,
        stages.exits,
        venue,
        WallClock(),
        stages.scribe,
        stages.limits.account,
        reduce_ppm=int(config.safety.reduce_step),
        reduce_every_ns=int(config.safety.reduce_every),
        store_ok=lambda: not store.problem,
        clock_ok=clock_loop.ok,
        own_latch=own_latch,
    )


def _caught_up(parts: Parts) -> None:
    """The run's state is rebuilt: count what works, latch what was stopped, and let the box be armed."""
    for order in parts.desk.orders.live():
        parts.desk.booking.count(order)
    for source, why, when_ns in parts.session.restored.stopped:
        if source in parts.portfolio.sources:
            parts.portfolio.stop_source(SourceId(source), why, when_ns)
    parts.portfolio.caught_up()
    restored = parts.session.restored
    parts.executor.resume(restored.plans, restored.orders, restored.fills)
    parts.desk.pace.restore(restored.orders, (fill for _, fill in restored.fills), restored.starts)
    parts.desk.last_seq = max(parts.desk.last_seq, parts.session.restored.venue_seq)
    parts.watch.catch_up()
