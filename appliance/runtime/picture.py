"""Builds the one picture of the core that page, metrics and `interlock status` show (domain.status)."""

from __future__ import annotations

import time

from appliance import __version__
from appliance.domain.mode import Mode, TripReason
from appliance.domain.money import AMOUNT_ONE, format_share
from appliance.domain.status import (
    AuditHead,
    Lamp,
    LimitLine,
    Part,
    StandingHold,
    Status,
    StrategyLine,
    Trip,
)
from appliance.memory.service_store import MemoryService
from appliance.runtime.alert_files import BoardView
from appliance.runtime.build import Parts
from appliance.runtime.config import Config
from appliance.runtime.units import Money
from appliance.runtime.version import commit
from appliance.safety.modes import SYSTEM_MODE
from appliance.safety.recovery import RECOVERY
from appliance.web.source import Bell

_LAMPS = (("green", 22), ("yellow", 23), ("red", 24))


class Picture:
    """Implements web.source.StatusSource. `look` is called often and rings when somebody must see it."""

    def __init__(self, parts: Parts, board: BoardView) -> None:
        self._parts = parts
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
        trouble = upstream.alarm or upstream.last_error
        return (
            Part("guard", "ok" if guard else "down", "reads the lines" if guard else "no page of this boot"),
            Part("audit log", "down" if failure else "ok", failure.what if failure else "takes entries"),
            Part("venue", "down" if p.watch.venue_problem else "ok", p.watch.venue_problem or "answers"),
            Part("upstream", "degraded" if trouble else "ok", trouble or "co-signs checkpoints"),
            self._memory(),
            self._board.part(),
        )

    def degraded(self) -> int:
        """How many parts are not ok."""
        return sum(part.state != "ok" for part in self.health())

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
                    _stopped_because(table.drawdown) if stopped else "",
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


def _stopped_because(drawdown_ppm: int) -> str:
    """The page says which limit, not how far below it: that would be P&L. The log has the figure."""
    return f"its allocation fell more than {format_share(drawdown_ppm)} from its peak"


def limit_lines(config: Config) -> tuple[LimitLine, ...]:
    """Limits as configured, in people's units; never how much of one is used."""
    limits = config.limits
    lines = [
        LimitLine("account", "position cap", format_share(limits.position_cap)),
        LimitLine("account", "leverage", format_share(limits.leverage)),
        LimitLine("account", "correlation", format_share(limits.correlation)),
        LimitLine("account", "daily loss", format_share(limits.daily_loss)),
        LimitLine("account", "drawdown", format_share(limits.drawdown)),
    ]
    for symbol, table in config.instruments.items():
        if table.limits is None:
            lines.append(LimitLine(symbol, "limits", "none: entries are denied"))
            continue
        money = _money(table.limits.max_order_value)
        lines += [
            LimitLine(symbol, "largest order", f"{table.limits.max_order_qty}, {money}"),
            LimitLine(symbol, "price collar", format_share(table.limits.collar)),
            LimitLine(symbol, "furthest stop", format_share(table.limits.max_stop)),
        ]
    for name, strategy in config.strategies.items():
        money = _money(strategy.allocation)
        lines.append(LimitLine(name, "allocation", money))
        lines.append(LimitLine(name, "drawdown", format_share(strategy.drawdown)))
    return tuple(lines)



def _money(value: Money) -> str:
    return f"{value // AMOUNT_ONE:,} {value.currency}"
