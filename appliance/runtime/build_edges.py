"""The core's peers, connected: venue, fee schedule, memory, upstream."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack

from appliance.audit.notes import COSIGNATURE_KEY
from appliance.domain.breaker import Component
from appliance.domain.errors import TransportError
from appliance.domain.ids import InstrumentId
from appliance.domain.instrument import Instrument
from appliance.memory.service_store import MemorySettings
from appliance.pipeline import Stages
from appliance.ports import FeeSource
from appliance.risk.breakers import Breakers
from appliance.runtime import tables
from appliance.runtime.audit_trust import read_trust
from appliance.runtime.clock import WallClock
from appliance.runtime.config import Config
from appliance.runtime.fee_refresh import FIRST_S, FeeRefresh
from appliance.runtime.guarded import GuardedExchange, GuardedMemory
from appliance.runtime.no_memory import NoMemory
from appliance.runtime.paths import Paths
from appliance.runtime.session import Session
from appliance.safety.latch import CoreLatch
from appliance.storage.keys import read_verifier
from appliance.storage.log_reader import LogReader
from appliance.upstream.client import UpstreamClient, UpstreamSettings
from appliance.venues.paper_client import PaperClient
from appliance.venues.paper_engine import PaperEngine
from appliance.venues.paper_inprocess import InProcessPaper
from appliance.venues.wire import make_recheck

VENUE_TRIES, VENUE_PAUSE_S = 100, 0.05  # both processes are often started together


async def open_venue(
    stack: AsyncExitStack,
    config: Config,
    instruments: dict[InstrumentId, Instrument],
    latch: CoreLatch,
    session: Session,
) -> PaperClient | InProcessPaper:
    """The configured venue, open. Raises TransportError if its process has not answered for 5 s."""
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


async def begin_fees(venue: FeeSource, stages: Stages) -> FeeRefresh:
    """Asked once before the feed begins, or a resumed run's first signal would be denied for want of it."""
    refresh = FeeRefresh(venue, stages.desk.costs.fees, stages.clock, stages.scribe)
    await refresh.once(FIRST_S)
    return refresh


def open_memory(
    stack: AsyncExitStack,
    config: Config,
    paths: Paths,
    instruments: dict[InstrumentId, Instrument],
    breakers: Breakers,
) -> GuardedMemory | NoMemory:
    """Long-term memory in a process of its own, closed by `stack`; none if the configuration says so."""
    if not config.memory.enabled:
        return NoMemory()
    settings = MemorySettings(bar_ns=tables.nominal_bar_ns(config), timeout_ns=int(config.memory.timeout))
    memory = GuardedMemory(paths.memory, instruments, settings, time.monotonic_ns, breakers[Component.MEMORY])
    memory.start()
    stack.push_async_callback(memory.close)
    return memory


def make_upstream(stack: AsyncExitStack, config: Config, paths: Paths, breakers: Breakers) -> UpstreamClient:
    """The client of the witness, with a reader of its own of the log."""
    trust = read_trust(paths, None)
    reader = LogReader(paths.log)
    mirror = paths.trust / "mirror.vkey"
    client = UpstreamClient(
        UpstreamSettings(
            directory=paths.log,
            log_key=trust.log,
            rotations=trust.rotations,
            witness_key=read_verifier(paths.trust / "witness.vkey", COSIGNATURE_KEY),
            mirror_key=read_verifier(mirror, COSIGNATURE_KEY) if config.upstream.mirror else None,
            bytes_per_s=int(config.upstream.mirror_rate),
        ),
        reader,
        GuardedExchange(config.upstream.url, breakers[Component.UPSTREAM], config.upstream.pin),
        now_ns=time.time_ns,
        uniform=random.uniform,
    )
    stack.callback(client.release, reader.close)
    return client
