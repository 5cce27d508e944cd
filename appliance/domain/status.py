"""Everything the status page may say (USR-11): no live position, no P&L, no use of a limit (SAFETY 12).

Built by `runtime.status` from the parts, shown by `web` and `interlock status`. Times are UTC
nanoseconds unless the name says otherwise; in JSON every `_ns` field is a string (JCS numbers are doubles).
"""

from __future__ import annotations

from msgspec import Struct


class Lamp(Struct, frozen=True):
    """One LED as on the box. pattern: `off`, `pulse`, `slow`, `fast`, `double`, `steady`."""

    color: str
    bcm: int
    pattern: str


class Trip(Struct, frozen=True):
    """The standing trip. recovery: what a person does to end it. later: reasons that came after it."""

    reason: str
    since_ns: str
    recovery: str
    stored: bool
    later: tuple[str, ...] = ()


class StandingHold(Struct, frozen=True):
    """One hold, which ends by itself with its cause."""

    cause: str
    scope: str
    since_ns: str
    detail: str


class Progress(Struct, frozen=True):
    """Where the feed is. state: `running`, `stopped` (by a trip), `finished`, `live`, `starting`.

    rate: observations per real second.  eta_s: seconds left, -1 if unknown.  market_ns: the market's time.
    """

    label: str
    state: str
    done: int
    total: int
    rate: int
    eta_s: int
    market_ns: str


class Part(Struct, frozen=True):
    """Health of one part. state: `ok`, `degraded` or `down`."""

    name: str
    state: str
    detail: str


class LimitLine(Struct, frozen=True):
    """One limit as configured, never how much of it is used."""

    scope: str
    name: str
    value: str


class StrategyLine(Struct, frozen=True):
    """state: `running` or `stopped`; why and when it was stopped."""

    name: str
    instrument: str
    state: str
    reason: str = ""
    since_ns: str = "0"


class AlertLine(Struct, frozen=True):
    """An alert that stands: kind, severity, sentence of domain.alert. subject: a strategy, a scope or ""."""

    kind: str
    severity: str
    subject: str
    text: str
    since_ns: str


class Verdicts(Struct, frozen=True):
    """Counts since this start; denied by reason code."""

    approved: int
    denied: dict[str, int]


class AuditHead(Struct, frozen=True):
    """size, root: the log as of now.  signed: size of the last checkpoint.  witnessed: size co-signed.

    witness: who co-signs; empty if none is configured.  alarm: why syncing stopped, empty if it did not.
    """

    origin: str
    size: int
    root: str
    signed: int
    witnessed: int
    witness: str
    alarm: str = ""


class Histogram(Struct, frozen=True):
    """Latency of the gate since this start. counts[i] is what took ≤ bounds_us[i]; the last is above all."""

    bounds_us: tuple[int, ...]
    counts: tuple[int, ...]
    p50_us: int
    p99_us: int


class Buckets(Struct, frozen=True):
    """counts[i] is what was ≤ bounds[i] and above the bound before; the last is above all."""

    bounds: tuple[int, ...] = ()
    counts: tuple[int, ...] = (0,)


class Execution(Struct, frozen=True, kw_only=True):
    """How entries and closes were worked since this start (EXE-05): shares and times, never a size.

    parents: ended, by ending.  children: orders asked for.  retries: further tries of a slice.
    filled_percent: of what was wanted.  slippage_ppm: average against arrival, positive is worse.
    fill_ms: market time from the decision to the last fill.
    """

    parents: dict[str, int] = {}
    children: int = 0
    retries: int = 0
    filled_percent: Buckets = Buckets()
    slippage_ppm: Buckets = Buckets()
    fill_ms: Buckets = Buckets()


class Status(Struct, frozen=True, kw_only=True):
    """One consistent picture. sealed: False until configuration sealing exists.

    missing: what keeps an arm press from taking a step, by name; empty if nothing does.
    alerts, alert_counts, alert_hook: as the alerter's board says; counts since the alerter's start.
    """

    box: str
    version: str
    commit: str
    now_ns: str
    uptime_s: int
    mode: str
    mode_since_ns: str
    system_mode: str
    armed: bool
    simulated_board: bool
    realtime: bool
    sealed: bool
    trip: Trip | None
    holds: tuple[StandingHold, ...]
    lamps: tuple[Lamp, ...]
    progress: Progress
    parts: tuple[Part, ...]
    limits: tuple[LimitLine, ...]
    strategies: tuple[StrategyLine, ...]
    verdicts: Verdicts
    audit: AuditHead
    gate: Histogram
    data_counts: dict[str, int]
    missing: tuple[str, ...] = ()
    alerts: tuple[AlertLine, ...] = ()
    alert_counts: dict[str, int] = {}
    alert_hook: dict[str, int] = {}
    execution: Execution = Execution()
