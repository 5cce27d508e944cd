"""The parts list: configuration in, a connected core out. Objects get their collaborators as arguments."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
from msgspec import Struct

from appliance.audit.notes import COSIGNATURE_KEY, NOTE_KEY
from appliance.domain.errors import ConfigError, TransportError
from appliance.domain.ids import InstrumentId, SourceId
from appliance.domain.instrument import Instrument
from appliance.domain.money import Amount
from appliance.market.pace import Pacer
from appliance.market.quality import DataQuality
from appliance.market.replay import Replay
from appliance.memory.service_store import MemoryService, MemorySettings
from appliance.orders.book import Orders
from appliance.orders.desk import Desk
from appliance.orders.identity import IdLedger
from appliance.orders.lifecycle import UNSETTLED
from appliance.orders.reconcile import fate
from appliance.pipeline import Pipeline, Stages
from appliance.portfolio.portfolio import Portfolio
from appliance.ports import Memory, Scribe
from appliance.risk.gate import Gate
from appliance.risk.limits import Limits
from appliance.runtime import tables
from appliance.runtime.clock import ReplayClock, WallClock
from appliance.runtime.config import Config
from appliance.runtime.feed import ReplayFeed
from appliance.runtime.guard_link import PageLink
from appliance.runtime.no_memory import NoMemory
from appliance.runtime.owed import Repayment, exits_into
from appliance.runtime.own_latch import OwnLatch
from appliance.runtime.paths import Paths
from appliance.runtime.patience import LoopPatience
from appliance.runtime.restore import known_order_ids, remembered_mode
from appliance.runtime.scribe import CoreScribe
from appliance.runtime.session import Session, begin_session
from appliance.runtime.store_health import StoreHealth, ended_well
from appliance.runtime.tally import Tally, TimedGate
from appliance.runtime.units import parse_speed
from appliance.runtime.venue_note import VenueNote, write_note
from appliance.runtime.watch import SafetyLoop, begin_start_holds
from appliance.safety.controller import SafetyController
from appliance.safety.exits import ExitFlow
from appliance.safety.holds import Holds
from appliance.safety.latch import CoreLatch
from appliance.storage.keys import read_verifier
from appliance.storage.log_client import LogClient, LogSettings
from appliance.storage.log_reader import LogReader
from appliance.storage.ring import Ring
from appliance.upstream.client import UpstreamClient, UpstreamSettings
from appliance.upstream.exchange import Exchange
from appliance.validation.recent import RecentPrices
from appliance.venues.paper_client import PaperClient
from appliance.venues.paper_engine import PaperEngine
from appliance.venues.paper_inprocess import InProcessPaper
from appliance.venues.wire import make_recheck

VENUE_TRIES, VENUE_PAUSE_S = 100, 0.05  # both processes are often started together


class Options(Struct, frozen=True, kw_only=True):
    """What the command line adds to the configuration. speed: "" takes the configured one."""

    unattended: bool = False
    wait_for_arm: bool = False
    speed: str = ""


class Parts(Struct, kw_only=True):
    """One connected core."""

    config: Config
    session: Session
    limits: Limits
    log: LogClient
    store: StoreHealth
    link: PageLink
    scribe: Scribe
    safety: SafetyController
    portfolio: Portfolio
    desk: Desk
    venue: PaperClient | InProcessPaper
    memory: Memory
    upstream: UpstreamClient
    feed: ReplayFeed
    watch: SafetyLoop
    tally: Tally
    clock: ReplayClock


async def build(
    stack: AsyncExitStack, config: Config, paths: Paths, base: Path, options: Options, tally: Tally
) -> Parts:
    """Opens everything in the order in which it is needed; `stack` closes it in reverse.

    Raises ConfigError, PeerError (feed), PeerMissingError (pages), BusyError (second core), StoreError.
    """
    instruments = tables.make_instruments(config)
    limits = tables.make_limits(config, instruments)
    replay = Replay(tables.make_sources(config, instruments, base))
    exits_ring = _open_ring(stack, paths)  # one writer: a second core ends here and touches no page
    clean = ended_well(paths.log)
    log, session = await _open_log(stack, config, paths)
    clock, link = ReplayClock(), PageLink(paths.runtime)
    store = StoreHealth(log, link, paths, clean=clean)
    latch = CoreLatch(link, clock)
    scribe = CoreScribe(log)
    safety = SafetyController(
        link, latch, Holds(), WallClock(), scribe, tamper_is_emergency=config.safety.tamper == "emergency"
    )
    begin_start_holds(safety, WallClock())
    safety.start(remembered_mode(paths.log))
    venue = await _open_venue(stack, config, instruments, latch, session)
    write_note(paths.venue_note, _venue_note(config, session))
    portfolio = Portfolio(
        instruments.values(),
        Amount(int(config.venue.start_cash)),
        {source: limit.allocation for source, limit in limits.sources.items()},
        tables.make_correlation(config),
    )
    ids = IdLedger(known_order_ids(paths.log))
    gate = TimedGate(Gate(limits, portfolio, latch, safety.holds, safety, ids, clock, session.account), tally)
    desk = Desk(
        gate,
        _restore_orders(session),
        ids,
        portfolio,
        venue,
        scribe,
        LoopPatience(),
        clock,
        safety.trip,
        tally.verdict,
        exits_into(exits_ring),
    )
    stages = Stages(
        portfolio=portfolio,
        strategies=tables.make_strategies(config, instruments),
        recent=RecentPrices(tables.nominal_bar_ns(config)),
        signal_limits=tables.make_signal_limits(config, instruments),
        limits=limits,
        deploy_ppm={SourceId(name): int(table.deploy) for name, table in config.strategies.items()},
        memory=_open_memory(stack, config, paths, instruments),
        desk=desk,
        exits=ExitFlow(desk, portfolio, venue, clock, fate),
        safety=safety,
        scribe=scribe,
        clock=clock,
    )
    feed = await _make_feed(config, replay, stages, venue, clock, session, options)
    upstream = _make_upstream(stack, config, paths)
    watch = _make_watch(config, stages, link, venue, store, OwnLatch(paths.latch))
    return _connect(config, session, log, store, link, stages, venue, upstream, feed, watch, tally, clock)


def _connect(
    config: Config,
    session: Session,
    log: LogClient,
    store: StoreHealth,
    link: PageLink,
    stages: Stages,
    venue: PaperClient | InProcessPaper,
    upstream: UpstreamClient,
    feed: ReplayFeed,
    watch: SafetyLoop,
    tally: Tally,
    clock: ReplayClock,
) -> Parts:
    memory = stages.memory
    parts = Parts(
        config=config,
        session=session,
        limits=stages.limits,
        log=log,
        store=store,
        link=link,
        scribe=stages.scribe,
        safety=stages.safety,
        portfolio=stages.portfolio,
        desk=stages.desk,
        venue=venue,
        memory=memory,
        upstream=upstream,
        feed=feed,
        watch=watch,
        tally=tally,
        clock=clock,
    )
    feed.on_caught_up = lambda: _caught_up(parts)
    return parts


def _open_ring(stack: AsyncExitStack, paths: Paths) -> Ring:
    ring = Ring(paths.exits_ring)
    stack.callback(ring.close)
    return ring


def _venue_note(config: Config, session: Session) -> VenueNote | None:
    """A venue inside the core ends with it: nobody else could cancel there."""
    if config.venue.transport == "in-process":
        return None
    return VenueNote(config.venue.kind, config.venue.port, session.account)


async def _open_log(stack: AsyncExitStack, config: Config, paths: Paths) -> tuple[LogClient, Session]:
    session = begin_session(config, paths, time.time_ns())
    log = await LogClient.start(
        LogSettings(
            directory=paths.log, key_file=paths.keys / "log.key", source="core", run=session.run
        )
    )
    stack.push_async_callback(log.aclose)
    paid = Repayment(paths.exits_ring, "exits", paths.log).repay(CoreScribe(log))
    if paid is not None:
        await paid.durable()
        session = begin_session(config, paths, time.time_ns()) if session.resumed else session
    return log, session


async def _open_venue(
    stack: AsyncExitStack,
    config: Config,
    instruments: dict[InstrumentId, Instrument],
    latch: CoreLatch,
    session: Session,
) -> PaperClient | InProcessPaper:
    recheck = make_recheck(latch, WallClock())
    if config.venue.transport == "in-process":
        engine = PaperEngine(session.account, instruments.values(), tables.make_terms(config))
        return InProcessPaper(engine, recheck)
    client = PaperClient(
        f"http://127.0.0.1:{config.venue.port}",
        session.account,
        recheck,
        WallClock(),
        after=session.restored.venue_seq,
    )
    await stack.enter_async_context(client)
    for _ in range(VENUE_TRIES):
        try:
            await client.open()
        except TransportError:
            await asyncio.sleep(VENUE_PAUSE_S)
        else:
            return client
    await client.open()
    return client


def _restore_orders(session: Session) -> Orders:
    """An order whose sending is not on record may have left just before the crash: its window starts now."""
    now_ns = time.monotonic_ns()
    known = [
        msgspec.structs.replace(order, sent_ns=now_ns) if order.state in UNSETTLED else order
        for order in session.restored.orders
    ]
    return Orders(known, (fill.trade_id for _, fill in session.restored.fills))


def _open_memory(
    stack: AsyncExitStack, config: Config, paths: Paths, instruments: dict[InstrumentId, Instrument]
) -> MemoryService | NoMemory:
    if not config.memory.enabled:
        return NoMemory()
    settings = MemorySettings(bar_ns=tables.nominal_bar_ns(config), timeout_ns=int(config.memory.timeout))
    memory = MemoryService(paths.memory, instruments, settings, time.monotonic_ns)
    memory.start()
    stack.push_async_callback(memory.close)
    return memory


def _make_upstream(stack: AsyncExitStack, config: Config, paths: Paths) -> UpstreamClient:
    reader = LogReader(paths.log)
    stack.callback(reader.close)
    return UpstreamClient(
        UpstreamSettings(
            directory=paths.log,
            log_key=read_verifier(paths.trust / "log.vkey", NOTE_KEY),
            witness_key=read_verifier(paths.trust / "witness.vkey", COSIGNATURE_KEY),
        ),
        reader,
        Exchange(config.upstream.url),
        now_ns=time.time_ns,
        uniform=random.uniform,
    )


async def _make_feed(
    config: Config,
    replay: Replay,
    stages: Stages,
    venue: PaperClient | InProcessPaper,
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
        cursor=(await venue.account()).steps,
        fills=session.restored.fills,
        unattended=options.unattended,
        wait_for_arm=options.wait_for_arm,
    )


def _make_watch(
    config: Config,
    stages: Stages,
    link: PageLink,
    venue: PaperClient | InProcessPaper,
    store: StoreHealth,
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
        own_latch=own_latch,
    )


def _caught_up(parts: Parts) -> None:
    """The run's state is rebuilt: count what works, latch what was stopped, and let the box be armed."""
    for order in parts.desk.orders.live():
        parts.portfolio.working(order)
    for source, why, when_ns in parts.session.restored.stopped:
        if source in parts.portfolio.sources:
            parts.portfolio.stop_source(SourceId(source), why, when_ns)
    parts.desk.last_seq = max(parts.desk.last_seq, parts.session.restored.venue_seq)
    parts.watch.catch_up()
