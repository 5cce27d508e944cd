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


class RecoveryLine(Struct, frozen=True):
    """The recovery plan that runs. share, next: of every limit on new exposure, such as `25 %`.

    every_ns, passed_ns: how long this share lasts and what of it has passed, in the market's time.
    """

    plan: str
    share: str
    next: str
    every_ns: str
    passed_ns: str


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


class BreakerLine(Struct, frozen=True, kw_only=True):
    """One circuit breaker; counts since this start. state: of domain.breaker.

    turned_away: calls it stopped.  passed: exempt calls that went through while it was not closed.
    unknown: calls stopped on our side, or never back.
    """

    name: str
    state: str
    succeeded: int
    failed: int
    turned_away: int
    passed: int
    unknown: int
    openings: int


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


class Disk(Struct, frozen=True):
    """Room for the state directory. level: `ok`, `alert` or `hold`.  percent: of quota_bytes that is gone.
    taken_bytes: by us.  left_bytes: what we may and can still take.  All four -1 while not measured.
    reserve: `in place`, `missing` or `in use`.  hold: why new exposure waits, or ""."""

    level: str
    percent: int
    taken_bytes: int
    left_bytes: int
    quota_bytes: int
    reserve: str
    reserve_bytes: int
    hold: str = ""


class Histogram(Struct, frozen=True):
    """Latency of the gate since this start. counts[i] is what took ≤ bounds_us[i]; the last is above all."""

    bounds_us: tuple[int, ...]
    counts: tuple[int, ...]
    p50_us: int
    p99_us: int


class FeeLine(Struct, frozen=True, kw_only=True):
    """The venue's fee schedule. age_s: since it was asked for, -1 if none came.  tier: in force, from 1.

    usable: young enough for new exposure.  mismatches, unchecked: fills charged otherwise than computed, and
    fills nothing could be computed for, since this start.  problem: why the last question failed, or empty.
    """

    age_s: int = -1
    usable: bool = False
    tier: int = 0
    tiers: int = 0
    mismatches: int = 0
    unchecked: int = 0
    problem: str = ""


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


class Decision(Struct, frozen=True):
    """One verdict of the gate. index: its log entry.  verdict: `approved` or `denied`.  reason: of a denial.

    Neither side nor size, and not whether it opened or closed anything: that would tell a position.
    """

    index: int
    at_ns: str
    source: str
    verdict: str
    reason: str = ""


class Status(Struct, frozen=True, kw_only=True):
    """One consistent picture. sealed: False until configuration sealing exists.

    missing: what keeps an arm press from taking a step, by name; empty if nothing does.
    recovery: None while new exposure gets all of its limits.  recovery_due: the next arming begins a plan.
    alerts, alert_counts, alert_hook: as the alerter's board says; counts since the alerter's start.
    disk: None where nobody measures.  decisions: the latest of this start, newest first.
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
    recovery: RecoveryLine | None = None
    recovery_due: bool = False
    disk: Disk | None = None
    breakers: tuple[BreakerLine, ...] = ()
    fees: FeeLine = FeeLine()
    execution: Execution = Execution()
    decisions: tuple[Decision, ...] = ()
