"""Builds the one picture of the core that page, metrics and `interlock status` show (domain.status)."""

from __future__ import annotations

import time

from appliance import __version__
from appliance.domain.mode import Mode, TripReason
from appliance.domain.money import AMOUNT_ONE, PPM_ONE, format_scaled, format_share
from appliance.domain.status import (
    AuditHead,
    FeeLine,
    Lamp,
    LimitLine,
    Part,
    RecoveryLine,
    StandingHold,
    Status,
    StrategyLine,
    Trip,
)
from appliance.memory.service_store import MemoryService
from appliance.pipeline import FELL
from appliance.runtime.alert_files import BoardView
from appliance.runtime.build import Parts
from appliance.runtime.config import BreakerConfig, Config
from appliance.runtime.disk_text import disk_part
from appliance.runtime.disk_watch import DiskWatch
from appliance.runtime.units import Money
from appliance.runtime.version import commit
from appliance.safety.modes import SYSTEM_MODE
from appliance.safety.recovery import RECOVERY
from appliance.web.source import Bell

_LAMPS = (("green", 22), ("yellow", 23), ("red", 24))


class Picture:
    """Implements web.source.StatusSource. `look` is called often and rings when somebody must see it."""

    def __init__(self, parts: Parts, board: BoardView, disk: DiskWatch) -> None:
        self._parts = parts
        self._disk = disk
        self._board = board
        self._bell = Bell()
        self._started = time.monotonic()
        self._shown: object = None
        self._limits = limit_lines(parts.config)
        self._commit = commit()

    def current(self) -> Status:
        """One consistent picture: everything is read within one turn of the event loop."""
        p, safety = self._parts, self._parts.safety
        mode = safety.mode
        return Status(
            box=p.config.box.name,
            version=__version__,
            commit=self._commit,
            now_ns=str(time.time_ns()),
            uptime_s=int(time.monotonic() - self._started),
            mode=mode.name,
            mode_since_ns=str(safety.mode_since_ns),
            system_mode=SYSTEM_MODE[mode],
            armed=mode is Mode.NORMAL,
            simulated_board=safety.status.simulated,
            realtime=safety.status.realtime,
            sealed=False,
            trip=self._trip(),
            holds=tuple(
                StandingHold(h.cause, h.scope, str(h.since_ns), h.detail) for h in safety.holds.standing()
            ),
            lamps=tuple(
                Lamp(color, bcm, pattern)
                for (color, bcm), pattern in zip(_LAMPS, safety.status.lamps, strict=True)
            ),
            progress=p.feed.progress(),
            parts=self.health(),
            limits=self._limits,
            strategies=self._strategies(),
            verdicts=p.tally.verdicts(),
            audit=self._audit(),
            gate=p.tally.histogram(),
            data_counts=p.feed.quality.counts(),
            missing=() if mode is Mode.NORMAL else safety.missing(),
            alerts=self._board.lines(),
            alert_counts=self._board.counts(),
            alert_hook=self._board.hook(),
            recovery=self._recovery(),
            recovery_due=safety.recovery.due and safety.recovery.share_ppm < PPM_ONE,
            disk=self._disk.picture(),
            breakers=p.breakers.lines(),
            fees=self._fee_line(),
            execution=p.executor.stats.line(),
            decisions=p.scribe.decisions(),
        )

    async def wait_change(self, seen: int) -> int:
        """See web.source."""
        return await self._bell.wait_change(seen)

    def look(self) -> None:
        """Rings if mode, trip, holds, lamps, alerts or a part's health changed since the last look."""
        safety = self._parts.safety
        now = (
            safety.mode,
            safety.standing_trip(),
            (safety.recovery.share_ppm, safety.recovery.due),
            safety.holds.standing(),
            safety.status.lamps,
            tuple(part.state for part in self.health()),
            self._board.lines(),
        )
        if now != self._shown:
            self._shown = now
            self._bell.ring()

    def health(self) -> tuple[Part, ...]:
        """State of each part in a word and a sentence."""
        p = self._parts
        guard, failure = p.safety.status.page.present, p.log.failure
        upstream = p.upstream.state
        trouble = upstream.alarm or upstream.last_error or upstream.mirror_error
        cosigns = "co-signs checkpoints"
        if self._parts.config.upstream.mirror:
            more = upstream.uploaded - upstream.mirrored
            cosigns += f", stores {upstream.mirrored} entries" + (f" and {more} on the way" if more else "")
        return (
            Part("guard", "ok" if guard else "down", "reads the lines" if guard else "no page of this boot"),
            Part("audit log", "down" if failure else "ok", failure.what if failure else "takes entries"),
            Part("venue", "down" if p.watch.venue_problem else "ok", p.watch.venue_problem or "answers"),
            Part("upstream", "degraded" if trouble else "ok", trouble or cosigns),
            p.clock_loop.part(),
            self._fees(),
            self._memory(),
            disk_part(self._disk.picture()),
            p.breakers.part(),
            self._board.part(),
        )

    def degraded(self) -> int:
        """How many parts are not ok."""
        return sum(part.state != "ok" for part in self.health())

    def _fee_line(self) -> FeeLine:
        clock = self._parts.clock
        return self._parts.desk.costs.fees.line(clock.mono_ns(), clock.utc_ns())

    def _fees(self) -> Part:
        return fees_part(self._fee_line())

    def _memory(self) -> Part:
        memory = self._parts.memory
        if not isinstance(memory, MemoryService):
            return Part("memory", "ok", "switched off in the configuration")
        stats = memory.stats()
        if stats.degraded:
            return Part("memory", "degraded", stats.degraded)
        return Part("memory", "ok", f"{stats.rows} observations stored, {stats.answered} questions answered")

    def _trip(self) -> Trip | None:
        standing = self._parts.safety.standing_trip()
        if standing is None:
            return None
        recovery = RECOVERY[standing.reason]
        later = tuple(reason.name for reason in standing.later if reason is not TripReason.NOT_ARMED)
        return Trip(standing.reason.name, str(standing.since_ns), recovery, standing.stored, later)

    def _recovery(self) -> RecoveryLine | None:
        stage = self._parts.safety.recovery.stage
        if stage is None:
            return None
        share, following = format_share(stage.share_ppm), format_share(stage.next_ppm)
        return RecoveryLine(stage.plan, share, following, str(stage.every_ns), str(stage.passed_ns))

    def _strategies(self) -> tuple[StrategyLine, ...]:
        lines = []
        for name, table in self._parts.config.strategies.items():
            allocation = next(a for s, a in self._parts.portfolio.sources.items() if s == name)
            stopped = bool(allocation.stopped_reason)
            lines.append(
                StrategyLine(
                    name,
                    table.instrument,
                    "stopped" if stopped else "running",
                    _stopped_because(name, allocation.stopped_reason, table.drawdown) if stopped else "",
                    str(allocation.stopped_ns),
                )
            )
        return tuple(lines)

    def _audit(self) -> AuditHead:
        head, upstream = self._parts.log.head, self._parts.upstream.state
        return AuditHead(
            origin=self._parts.config.audit.origin,
            size=head.size,
            root=head.root.hex(),
            signed=head.signed,
            witnessed=upstream.witnessed,
            witness=upstream.witness,
            alarm=upstream.alarm,
        )


def fees_part(line: FeeLine) -> Part:
    """Without a schedule that may be used nothing new is opened: the part is down. Exits never need one."""
    if line.age_s < 0:
        return Part("fees", "down", f"no schedule: {line.problem}; entries are denied")
    told = f"schedule {line.age_s} s old, tier {line.tier} of {line.tiers}"
    if line.mismatches:
        told += f"; {line.mismatches} fills charged otherwise"
    if not line.usable:
        return Part("fees", "down", f"{told}; too old, entries are denied: {line.problem}")
    return Part("fees", "degraded" if line.problem else "ok", f"{told}; {line.problem}".rstrip("; "))


def _stopped_because(name: str, why: str, drawdown_ppm: int) -> str:
    """The page says which limit, not how far below it: that would be P&L. The log has the figure."""
    if why.startswith(FELL):
        why = f"{FELL} more than {format_share(drawdown_ppm)} from its peak"
    return f"{why}. To end it: interlock operator start-source {name}"


def limit_lines(config: Config) -> tuple[LimitLine, ...]:
    """Limits as configured, in people's units; never how much of one is used."""
    limits = config.limits
    lines = [
        LimitLine("account", "position cap", format_share(limits.position_cap)),
        LimitLine("account", "leverage", format_share(limits.leverage)),
        LimitLine("account", "correlation", format_share(limits.correlation)),
        LimitLine("account", "daily loss", format_share(limits.daily_loss)),
        LimitLine("account", "loss told of, slowed", " ".join(map(format_share, _marks(config)))),
        LimitLine("account", "drawdown", format_share(limits.drawdown)),
    ]
    kept = f"{limits.messages} a second, {format_share(limits.messages_kept)} kept for exits"
    lines.append(LimitLine("account", "messages", kept))
    lines += _breaker_lines(config.breaker)
    for symbol, table in config.instruments.items():
        if table.limits is None:
            lines.append(LimitLine(symbol, "limits", "none: entries are denied"))
            continue
        money = _money(table.limits.max_order_value)
        lines += [
            LimitLine(symbol, "largest order", f"{table.limits.max_order_qty}, {money}"),
            LimitLine(symbol, "largest position", table.limits.max_position),
            LimitLine(symbol, "price collar", format_share(table.limits.collar)),
            LimitLine(symbol, "furthest stop", format_share(table.limits.max_stop)),
        ]
    for name, strategy in config.strategies.items():
        money = _money(strategy.allocation)
        lines.append(LimitLine(name, "allocation", money))
        lines.append(LimitLine(name, "drawdown", format_share(strategy.drawdown)))
        entries = f"{strategy.entries} in {_span(strategy.entries_window)}"
        lines.append(LimitLine(name, "entries, messages", f"{entries}; {strategy.messages} a second"))
    return tuple(lines)


def _marks(config: Config) -> tuple[int, int]:
    return int(config.limits.loss_alert), int(config.limits.loss_slow)


def _breaker_lines(breaker: BreakerConfig) -> tuple[LimitLine, ...]:
    window = f"of {breaker.min_calls} to {breaker.window_calls} calls in {_seconds(breaker.window)}"
    trial = f"{breaker.successes} calls, {breaker.probes} at a time, after {_seconds(breaker.cooldown)}"
    return (
        LimitLine("breakers", "most failures", f"{format_share(breaker.open_above)} {window}"),
        LimitLine("breakers", "trial", trial),
    )


def _span(duration_ns: int) -> str:
    days, rest = divmod(duration_ns, 86_400_000_000_000)
    return f"{days} d" if days and not rest else _seconds(duration_ns)


def _seconds(duration_ns: int) -> str:
    return f"{format_scaled(duration_ns, 9)}".rstrip("0").rstrip(".") + " s"


def _money(value: Money) -> str:
    return f"{value // AMOUNT_ONE:,} {value.currency}"
