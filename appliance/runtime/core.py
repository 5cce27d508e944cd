"""One core: the deadly loops in one TaskGroup, the others beside them, and a clean stop (SAFETY 3).

Gate, orders, audit and guard link are deadly: a loop of them that ends, even without an error, ends the
process, and systemd or the supervisor restarts it into the tested start path. Page, upstream and memory
degrade: they say what is wrong and the core goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from msgspec import Struct

from appliance import __version__
from appliance.domain.breaker import BreakerChange
from appliance.domain.errors import InterlockError, InvariantError, StoreError
from appliance.domain.mode import Mode, TripReason
from appliance.domain.status import Status
from appliance.domain.verdict import OrderClass
from appliance.memory.service_store import MemoryService
from appliance.runtime.alert_files import BoardView
from appliance.runtime.build import Options, Parts, build
from appliance.runtime.chain_page import ChainPictures
from appliance.runtime.clock import WallClock
from appliance.runtime.clock_loop import ReadClock
from appliance.runtime.config import Config
from appliance.runtime.disk_gauge import DiskGauge
from appliance.runtime.disk_watch import DiskWatch
from appliance.runtime.guard_link import boot_text
from appliance.runtime.history import contradictions
from appliance.runtime.kernel_clock import read_kernel_clock
from appliance.runtime.key_table import in_force
from appliance.runtime.key_uses import KeyUses
from appliance.runtime.logs import Log
from appliance.runtime.notify import SystemdNotifier
from appliance.runtime.owed import Repayment
from appliance.runtime.paths import Paths
from appliance.runtime.picture import Picture
from appliance.runtime.retention import RetentionLoop, keep_ns, note_retained
from appliance.runtime.session import feed_identity
from appliance.runtime.side_notes import AlertNotes, MemoryNotes
from appliance.runtime.tally import Tally
from appliance.runtime.tick import TICK_S
from appliance.web import server

NOTIFY_S = 1.0
LAST_OFFER_S = 1.0
REPAY_S = 1.0
STOP_S, STOP_TRIPPED_S = 3.0, 50.0  # below TimeoutStopSec, and below what `interlock up` waits
LOG_LOST_S = 10.0


class Hooks(Struct, frozen=True):
    """What whoever started the core wants to hear. progress: called once a second with the picture."""

    ready: Callable[[int], None]
    progress: Callable[[Status], None]
    stop_when_finished: bool


class _StopError(Exception):
    """Ends the TaskGroup on purpose."""


async def run_core(
    config: Config,
    paths: Paths,
    base: Path,
    options: Options,
    log: Log,
    stop: asyncio.Event,
    hooks: Hooks,
    *,
    read_clock: ReadClock = read_kernel_clock,
) -> None:
    """Runs until `stop` is set, the replay is finished (if asked to end there), or something deadly happens.

    read_clock: the machine's clock; a test of the clock's rules brings its own (no setting can).
    Raises the InterlockError that ended it.
    """
    notifier = SystemdNotifier()
    async with AsyncExitStack() as stack:
        parts = await build(stack, config, paths, base, options, Tally(), read_clock)
        board = BoardView(paths.alert_board, boot_text())
        core = _Core(parts, paths, notifier, log, hooks, stop, board)
        core.note_start(options)
        try:
            await core.run()
        except BaseExceptionGroup as group:
            error = _outcome(group)
            if error is not None:
                core.end_for(error)
                raise error from group
        finally:
            await core.finish()


class _Core:
    def __init__(
        self,
        parts: Parts,
        paths: Paths,
        notifier: SystemdNotifier,
        log: Log,
        hooks: Hooks,
        stop: asyncio.Event,
        board: BoardView,
    ) -> None:
        self._parts = parts
        self._paths = paths
        self._notifier = notifier
        self._log = log
        self._hooks = hooks
        self._stop = stop
        self._why = "it was asked to"  # why the process ends
        storage = parts.config.storage
        self._gauge = DiskGauge(paths, int(storage.quota), int(storage.reserve))
        self._disk = DiskWatch(
            self._gauge,
            parts.log,
            parts.safety,
            parts.scribe,
            WallClock(),
            self._spare,
            parts.desk.unrecorded,
        )
        keep = keep_ns(parts.config)
        self._retention = RetentionLoop(keep, parts.log, parts.safety, self._disk, self._why_not_prune)
        self._picture = Picture(parts, board, self._disk)
        self._side_notes = (
            AlertNotes(board, parts.scribe, time.monotonic_ns),
            MemoryNotes(parts.memory, parts.scribe, time.monotonic_ns),
        )
        self._parts.watch.degraded = self._picture.degraded
        self._parts.watch.after_round = self._picture.look
        self._parts.breakers.listeners.append(self._breaker_changed)
        self._parts.breakers.report = lambda why: log.error("breaker", "problem", why=why)
        self._parts.log.on_signed = lambda _head: parts.upstream.notify()
        self._parts.log.on_reserve = self._disk.look
        self._parts.log.on_retained = note_retained(parts.scribe, log)
        self._parts.upstream.on_change = lambda state: self._upstream_changed(state.alarm)

    def note_start(self, options: Options) -> None:
        """Start, configuration and run; what came before it in this process, `first` tells."""
        parts, session = self._parts, self._parts.session
        told: dict[str, object] = {"version": __version__, "pid_ns": str(time.monotonic_ns())}
        told |= {"boot": boot_text(), "heartbeat_ns": int(parts.config.audit.heartbeat)}
        told |= {"keys": in_force(self._paths)}
        told["first"] = parts.log.first  # what stood and what was owed is noted before this
        parts.scribe.note("start", told)
        limits = {f"{line.scope} {line.name}": line.value for line in self._picture.current().limits}
        parts.scribe.note("config", {"sealed": False, "sha256": options.config_sha256, "limits": limits})
        parts.clock_loop.look()
        wrong = contradictions(session, parts.feed.sha256)
        if wrong:
            parts.safety.trip(TripReason.DATA_INTEGRITY, wrong)
        if session.resumed:
            data: dict[str, object] = {"run": session.run, "orders": len(session.restored.orders)}
            data["sha256"] = list(parts.feed.sha256)  # told once: the next start compares with these
            parts.scribe.note("reconcile", data | {"fills": len(session.restored.fills)})
        else:
            parts.scribe.note(
                "run_start",
                {
                    "run": session.run,
                    "account": session.account,
                    "feed": feed_identity(parts.config),
                    "sha256": list(parts.feed.sha256),
                    "unattended": options.unattended,
                },
            )

    async def run(self) -> None:
        """The TaskGroup."""
        self._gauge.start()
        try:
            await self._run_all()
        finally:
            self._gauge.close()

    async def _run_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(_deadly("safety loop", self._parts.watch.run()))
            group.create_task(_deadly("audit log", self._watch_log()))
            group.create_task(_deadly("clock watch", self._parts.clock_loop.run()))
            group.create_task(_deadly("disk watch", self._disk.run()))
            group.create_task(self._degrades("fee schedule", self._parts.fee_refresh.run()))
            group.create_task(self._feed())
            group.create_task(self._heartbeats())
            group.create_task(self._told())
            group.create_task(self._degrades("upstream", self._parts.upstream.run()))
            group.create_task(self._degrades("status page", self._serve()))
            group.create_task(self._degrades("gap entries", self._repays()))
            group.create_task(self._degrades("key uses", self._tells_uses()))
            group.create_task(self._degrades("retention", self._retention.run()))
            group.create_task(self._degrades("log check", self._reads_log()))
            group.create_task(self._stopped())

    def end_for(self, error: InterlockError) -> None:
        """A bug shuts the gate before the process ends; the guard adopts and keeps it."""
        self._why = error.what
        if isinstance(error, InvariantError):
            self._parts.safety.trip(TripReason.INVARIANT, error.what)

    async def finish(self) -> None:
        """A stop while tripped first sees the cancels through (SAFETY 3); then the log is closed."""
        self._notifier.tell("STOPPING=1")
        parts = self._parts
        if parts.safety.mode is not Mode.NORMAL and parts.watch.caught_up:
            entries = any(order.order_class is OrderClass.INCREASE for order in parts.desk.orders.live())
            tripped = parts.safety.mode is Mode.EMERGENCY or entries
            await parts.watch.see_cancels_through(STOP_TRIPPED_S if tripped else STOP_S)
        if parts.log.failure is None:
            data = {"mode": parts.safety.mode.name, "unverified": parts.store.unverified, "why": self._why}
            parts.scribe.note("stop", data)
            await parts.log.publish()
            await parts.upstream.offer_last(LAST_OFFER_S)

    def _spare(self, exits_only: bool, may_store: bool) -> None:
        """What writes on the disk besides the log of exits makes room for it."""
        parts = self._parts
        parts.desk.sparing = exits_only
        if isinstance(parts.memory, MemoryService):
            parts.memory.may_store = may_store

    def _why_not_prune(self) -> str:
        """What keeps old entries where they are, besides a trip."""
        parts = self._parts
        if not parts.store.whole:
            return "the log is not known to be whole"
        if not parts.clock_loop.ok():
            return "the clock is not trusted"
        return parts.upstream.state.alarm

    async def _watch_log(self) -> None:
        failure = await self._parts.log.failed()
        self._parts.store.note_failure()
        self._parts.safety.trip(TripReason.AUDIT_STORE, failure.what)
        self._parts.watch.round()
        for _ in range(int(LOG_LOST_S / TICK_S)):  # new exposure is shut out; what works is cancelled first
            if self._parts.watch.preconditions().cancels_confirmed:
                break
            await asyncio.sleep(TICK_S)
        raise StoreError(failure.what, failure.why, failure.do)

    async def _repays(self) -> None:
        """What the cancel-only process did while this core could not, for the log."""
        repayment = Repayment(self._paths.cancels_ring, "cancels", self._paths.log)
        while True:
            repayment.repay(self._parts.scribe)
            await asyncio.sleep(REPAY_S)

    async def _tells_uses(self) -> None:
        uses = KeyUses(self._paths.key_uses)
        while True:
            await uses.look(self._parts.scribe)
            await asyncio.sleep(REPAY_S)

    async def _reads_log(self) -> None:
        wrong = await self._parts.store.read_whole()
        if wrong is not None:
            self._parts.safety.trip(*wrong)

    async def _feed(self) -> None:
        parts = self._parts
        await parts.feed.run()
        data = {"run": parts.session.run, "observations": parts.feed.number}
        await parts.scribe.note("run_end", data | {"mode": parts.safety.mode.name}).durable()
        self._log.info("feed", "finished", observations=parts.feed.number)
        if self._hooks.stop_when_finished:
            self._why = "the session has ended"
            raise _StopError
        await parts.feed.linger()

    async def _stopped(self) -> None:
        await self._stop.wait()
        raise _StopError

    async def _heartbeats(self) -> None:
        every_s = self._parts.config.audit.heartbeat / 1e9
        while True:
            await asyncio.sleep(every_s)
            progress, mode = self._parts.feed.progress(), self._parts.safety.mode.name
            data = {"market_ns": progress.market_ns, "done": progress.done, "mode": mode}
            self._parts.scribe.note("heartbeat", data | self._parts.safety.recovery.beat())

    async def _told(self) -> None:
        while True:
            for each in self._side_notes:
                each.look()
            picture = self._picture.current()
            self._hooks.progress(picture)
            self._notifier.feed(self._parts.watch.rounds)
            self._notifier.tell(f"STATUS={picture.mode} {picture.progress.done}/{picture.progress.total}")
            await asyncio.sleep(NOTIFY_S)

    async def _serve(self) -> None:
        web = self._parts.config.web
        await server.run(
            self._picture,
            allowed_hosts=web.hosts,
            host=web.host,
            port=web.port,
            ready=self._ready,
            pictures=ChainPictures(self._paths.log),
        )

    def _ready(self, port: int) -> None:
        self._notifier.tell("READY=1")
        self._hooks.ready(port)

    async def _degrades(self, name: str, loop: Coroutine[Any, Any, None]) -> None:
        """A loop whose end is said and survived; only what the user must mend at once ends the core."""
        try:
            await loop
        except InterlockError as error:
            if error.exit_code in (75, 77, 78):
                raise
            self._log.error(name, "ended", why=error.sentence())
        except Exception as error:  # noqa: BLE001 - web and upstream must not take the gate down with them
            self._log.error(name, "failed", why=f"{type(error).__name__}: {error}")

    def _breaker_changed(self, change: BreakerChange) -> None:
        self._log.warn("breaker", change.after, component=change.component, why=change.why)

    def _upstream_changed(self, alarm: str) -> None:
        if alarm:
            self._log.error("upstream", "alarm", why=alarm)
            self._parts.scribe.note("upstream", {"alarm": alarm})


async def _deadly(name: str, loop: Coroutine[Any, Any, None]) -> None:
    """A TaskGroup ignores a loop that returns; for these it is as fatal as raising (STYLE habit 12)."""
    await loop
    raise InvariantError(f"the {name} ended although nobody stopped it")


def _outcome(group: BaseExceptionGroup[BaseException]) -> InterlockError | None:
    """What ended the TaskGroup: None for a stop, a bug before everything else, then the error whose exit
    code says most: configuration before store before a missing peer.

    No `except*`: before Python 3.11.4 an error raised in one arrives wrapped in a group, and its exit code
    with it is lost.
    """
    found = list(_leaves(group))
    for each in found:
        if not isinstance(each, (InterlockError, _StopError)):
            bug = InvariantError(f"a bug: {each!r}")
            bug.__cause__ = each
            return bug
    order = (78, 77, 75, 74, 69, 70)
    errors = [each for each in found if isinstance(each, InterlockError)]
    return min(errors, key=lambda e: order.index(e.exit_code) if e.exit_code in order else 9, default=None)


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from _leaves(each)
        else:
            yield each
