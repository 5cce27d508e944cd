"""The alerter: a process of its own that looks at pages and log, and tells people (CONTROLS 19).

It writes nothing that guard, core or log depend on, so nothing it does can hold them up; and it goes on when
they hang, die or were never there. Four threads: the looks (pages, decisions, log lines, board), the log's
tail, the hook, the memory on disk. The looks wait for none of the others.

Order of one look: decide → offer to the hook → say → board → memory. A crash between any two of them repeats
an alert or a line at worst, because the memory is written last and as a whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from appliance.domain.alert import Alert, AlertKind, Phase, Severity
from appliance.domain.errors import BusyError, CannotCreateError, InvariantError
from appliance.runtime.alert_files import (
    BEAT_NS,
    Board,
    HookCounts,
    Keeper,
    Memory,
    Standing,
    read_memory,
    write_board,
)
from appliance.runtime.alert_hook import Hook, HookConfig, Outcome
from appliance.runtime.alert_sources import LOOK_S, LogTail, Pages
from appliance.runtime.config import Config
from appliance.runtime.guard_link import boot_text
from appliance.runtime.logs import Log
from appliance.runtime.paths import Paths
from appliance.safety.alert_facts import Facts, Known, Seen
from appliance.safety.alerts import Alarms

FIRST_READ_S = 2.0
SAVE_NS = 60_000_000_000
CLOSE_S = 3.0


def hook_config(config: Config, folder: Path) -> HookConfig:
    """The configured hook."""
    return HookConfig(config.alerts.hook, int(config.alerts.timeout) / 1e9, folder)


class Alerter:
    """One process's worth. Use as: `prepare`, `look` every LOOK_S, `close`."""

    def __init__(self, config: Config, paths: Paths, log: Log) -> None:
        self._log = log
        self._boot = boot_text()
        self._board_path = paths.alert_board
        self._counts: Counter[str] = Counter()
        self._said_problem = self._board_problem = ""
        self._boarded_ns = self._saved_ns = 0
        self._dirty = threading.Event()
        memory, trouble = read_memory(paths.alerts, self._boot)
        if trouble:
            self._log.warn("alerts", "memory", why=trouble, effect="what stands is told once more")
        self._facts = Facts(time.monotonic_ns(), memory.known if memory else Known())
        self._alarms = Alarms(
            config.box.name,
            int(config.alerts.min_interval),
            int(config.alerts.hold_after),
            memory.cases if memory else (),
            memory.number if memory else 0,
        )
        self._cursor = memory.cursor if memory else None
        self._pages = Pages(paths.runtime)
        self._tail = LogTail(paths.log, self._cursor)
        self._keeper = Keeper(paths.alerts)
        self._hook: Hook | None = None
        if config.alerts.hook:
            waiting = memory.waiting if memory else ()
            self._hook = Hook(hook_config(config, paths.alert_board.parent), waiting, self._delivered)

    def prepare(self) -> None:
        """Starts the threads and gives the log a moment: it says which start of the core was wished."""
        for thread in self._threads():
            thread.start()
        self._tail.looked.wait(FIRST_READ_S)

    def look(self) -> list[Alert]:
        """One look and everything that follows from it; the alerts it made."""
        for thread in self._threads():
            if not thread.is_alive():
                raise InvariantError(f"the alerter's thread {thread.name!r} ended although nobody stopped it")
        tail = self._tail.take()  # before the pages: what the log says of them is then at least as old
        guard, core = self._pages.look()
        now_ns, utc_ns = time.monotonic_ns(), time.time_ns()
        seen = Seen(
            mono_ns=now_ns,
            utc_ns=utc_ns,
            guard=guard,
            core=core,
            lines=tail.lines,
            log_unreadable=bool(tail.problem),
            hook_failed=self._hook is not None and self._hook.failing,
        )
        self._cursor = tail.cursor
        alerts = self._alarms.observe(self._facts.look(seen), now_ns, utc_ns)
        for alert in alerts:
            self._tell(alert)
        self._complain(tail.problem)
        if alerts or now_ns - self._boarded_ns >= BEAT_NS:
            self._show(now_ns)
        if alerts or self._dirty.is_set() or now_ns - self._saved_ns >= SAVE_NS:
            self._save(now_ns)
        return alerts

    def close(self) -> None:
        """Bounded. What is due is delivered for a moment; the rest is told by the next life."""
        self._tail.close(LOOK_S)
        if self._hook is not None:
            self._hook.close(CLOSE_S)
        self._save(time.monotonic_ns())
        self._keeper.close(CLOSE_S)
        with contextlib.suppress(OSError):
            self._board_path.unlink(missing_ok=True)

    def _threads(self) -> Iterator[threading.Thread]:
        yield from (self._tail, self._keeper)
        if self._hook is not None:
            yield self._hook

    def _tell(self, alert: Alert) -> None:
        if self._hook is not None and alert.kind is not AlertKind.HOOK_FAILED:
            self._hook.offer(alert)
        if alert.phase is not Phase.ENDED:
            self._counts[alert.kind] += 1
        say_alert(self._log, alert)

    def _delivered(self, alert: Alert, outcome: Outcome, given_up: bool) -> None:
        """On the hook's thread."""
        self._dirty.set()
        hook = self._hook
        counts = hook.counts() if hook is not None else HookCounts()
        fields = {
            "alert": alert.kind,
            "number": alert.number,
            "how": outcome.detail,
            "took_ms": int(outcome.took_s * 1000),
            "after_ms": (time.time_ns() - alert.event_ns) // 1_000_000,
        }
        if outcome.good:
            self._log.info("alerts", "delivered", **fields)
        else:
            follows = "given up" if given_up else "tried again"
            self._log.warn("alerts", "hook failed", **fields, follows=follows, failures=counts.failed)

    def _complain(self, log_problem: str) -> None:
        """Says once what keeps the alerter from its whole work."""
        problem = log_problem or self._keeper.problem or self._board_problem
        if problem != self._said_problem:
            self._said_problem = problem
            if problem:
                self._log.warn("alerts", "works with less", why=problem)

    def _show(self, now_ns: int) -> None:
        """Not waited for and not durable; without it the core says that the alerter is silent."""
        self._boarded_ns = now_ns
        hook = self._hook
        board = Board(
            boot=self._boot,
            pid=os.getpid(),
            beat_ns=now_ns,
            standing=tuple(Standing(c.kind, c.subject, c.event_ns) for c in self._alarms.standing()),
            counts=dict(self._counts),
            hook=hook.counts() if hook is not None else HookCounts(),
            problem=self._said_problem,
        )
        try:
            write_board(self._board_path, board)
        except OSError as error:
            self._board_problem = f"the board cannot be written: {error.strerror}"
        else:
            self._board_problem = ""

    def _save(self, now_ns: int) -> None:
        """Hands everything of this moment to the keeper; the look does not wait for the disk."""
        self._saved_ns = now_ns
        self._dirty.clear()
        self._keeper.save(
            Memory(
                boot=self._boot,
                cursor=self._cursor,
                number=self._alarms.number,
                known=self._facts.known,
                cases=self._alarms.cases(),
                waiting=self._hook.waiting() if self._hook is not None else (),
            )
        )


def say_alert(log: Log, alert: Alert) -> None:
    """The log line of an alert: the journal's priority is its severity."""
    fields: dict[str, object] = {
        "kind": alert.kind,
        "severity": alert.severity,
        "number": alert.number,
        "text": alert.text,
        "delay_ms": alert.delay_ns // 1_000_000,
    }
    if alert.subject:
        fields["subject"] = alert.subject
    if alert.more:
        fields["more"] = alert.more
    if alert.log_index is not None:
        fields["log_index"] = alert.log_index
    if alert.recovery:
        fields["do"] = alert.recovery
    ended = alert.phase is Phase.ENDED
    say: Callable[..., None] = log.warn
    if ended or alert.severity is Severity.INFO:
        say = log.info
    elif alert.severity is Severity.CRITICAL:
        say = log.error
    say("alerts", alert.phase, **fields)


@contextlib.contextmanager
def only_one(paths: Paths) -> Iterator[None]:
    """Makes the folder of the board. Raises BusyError if another alerter runs on these directories."""
    folder = paths.alert_board.parent
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        why = f"{error.strerror} ({folder})"
        raise CannotCreateError("the alerter's folder cannot be made", why) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BusyError("interlock alerts runs already", str(folder), "interlock status") from error
        yield
    finally:
        os.close(handle)
