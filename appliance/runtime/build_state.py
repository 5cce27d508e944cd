"""What a core finds when it starts: its rings, its log, the run and the orders in it."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack

from appliance.domain.ids import InstrumentId
from appliance.domain.instrument import Instrument
from appliance.domain.money import Amount
from appliance.orders.book import Orders
from appliance.orders.fees import FeeBook
from appliance.orders.reconcile import as_restored
from appliance.portfolio.portfolio import Portfolio
from appliance.risk.limits import Limits
from appliance.runtime import tables
from appliance.runtime.clock import ReplayClock
from appliance.runtime.config import Config
from appliance.runtime.owed import Repayment
from appliance.runtime.paths import Paths
from appliance.runtime.restore import earlier_recovery
from appliance.runtime.retention import keep_ns
from appliance.runtime.scribe import CoreScribe
from appliance.runtime.session import Session, begin_session
from appliance.runtime.venue_note import VenueNote
from appliance.safety.recovery_plan import RecoveryPlan
from appliance.storage.log_client import LogClient, LogSettings
from appliance.storage.ring import Ring


def open_ring(stack: AsyncExitStack, paths: Paths) -> Ring:
    """The core's own ring of what exits owe the log: one writer, or BusyError."""
    ring = Ring(paths.exits_ring)
    stack.callback(ring.close)
    return ring


def venue_note(config: Config, session: Session) -> VenueNote | None:
    """A venue inside the core ends with it: nobody else could cancel there."""
    if config.venue.transport == "in-process":
        return None
    return VenueNote(config.venue.kind, config.venue.port, session.account)


def make_portfolio(
    config: Config, instruments: dict[InstrumentId, Instrument], limits: Limits, session: Session
) -> Portfolio:
    """Books of an account before its first fill; resets of the peak are known, the fills are booked later."""
    allocations = {source: limit.allocation for source, limit in limits.sources.items()}
    cash, terms = Amount(int(config.venue.start_cash)), tables.make_correlation(config)
    portfolio = Portfolio(instruments.values(), cash, allocations, terms)
    portfolio.resets.restore(session.restored.resets)
    return portfolio


def restore_fees(session: Session, instruments: dict[InstrumentId, Instrument]) -> FeeBook:
    """The volume that decides the tier is that of the run's fills; a schedule is asked for again."""
    fees = FeeBook()
    for _, fill in session.restored.fills:
        fees.remember(fill, instruments[fill.instrument])
    return fees


def recovery_plan(config: Config, paths: Paths, scribe: CoreScribe, clock: ReplayClock) -> RecoveryPlan:
    """The configured plan, where the log says it stands."""
    table = config.recovery
    earlier = earlier_recovery(paths.log)
    return RecoveryPlan(scribe, clock, plan=table.plan, every_ns=int(table.step_every), earlier=earlier)


async def open_log(stack: AsyncExitStack, config: Config, paths: Paths) -> tuple[LogClient, Session]:
    """The log, and the run it tells of. What earlier processes owed it is durable before anything else."""
    session = begin_session(config, paths, time.time_ns())
    log = await LogClient.start(
        LogSettings(
            directory=paths.log,
            key_file=paths.keys / "log.key",
            source="core",
            run=session.run,
            reserve_bytes=int(config.storage.reserve),
            witness_key=paths.trust / "witness.vkey" if keep_ns(config) is not None else None,
        )
    )
    stack.push_async_callback(log.aclose)
    paid = Repayment(paths.exits_ring, "exits", paths.log).repay(CoreScribe(log))
    if paid is not None:
        await paid.durable()
        session = begin_session(config, paths, time.time_ns()) if session.resumed else session
    return log, session


def restore_orders(session: Session) -> Orders:
    """What was on its way when the process ended is looked up, from a window that starts now."""
    now_ns = time.monotonic_ns()
    known = [as_restored(order, now_ns) for order in session.restored.orders]
    return Orders(known, (fill.trade_id for _, fill in session.restored.fills))
