"""Statuses of a box in the situations the page must show well; for the tests of `web` and the pictures."""

from __future__ import annotations

from msgspec.structs import replace

from appliance.domain.alert import AlertKind, severity, text
from appliance.domain.status import (
    AlertLine,
    AuditHead,
    Decision,
    Histogram,
    Lamp,
    LimitLine,
    Part,
    Progress,
    StandingHold,
    Status,
    StrategyLine,
    Trip,
    Verdicts,
)
from appliance.web.source import Bell

NOW_S = 1_795_244_765  # 2026-11-21 07:46:05 Z


def ns(seconds_ago: int = 0) -> str:
    """A moment before NOW_S as the status writes it."""
    return str((NOW_S - seconds_ago) * 1_000_000_000 + 123_456_789)


def lamps(green: str, yellow: str, red: str) -> tuple[Lamp, ...]:
    """The three lamps of the box with these patterns."""
    return (Lamp("green", 22, green), Lamp("yellow", 23, yellow), Lamp("red", 24, red))


NORMAL = Status(
    box="attic-01",
    version="0.1.0",
    commit="5d1c9e2",
    now_ns=ns(),
    uptime_s=4 * 86_400 + 5 * 3_600 + 71,
    mode="NORMAL",
    mode_since_ns=ns(3 * 86_400 + 1_234),
    system_mode="FullPerformance",
    armed=True,
    simulated_board=True,
    realtime=False,
    sealed=False,
    trip=None,
    holds=(),
    lamps=lamps("pulse", "off", "off"),
    progress=Progress(
        label="Replay of S&P 500, NASDAQ and WTI, daily bars 1999–2018",
        state="running",
        done=9_412,
        total=15_082,
        rate=1_871,
        eta_s=3,
        market_ns=str(1_299_110_400 * 1_000_000_000),
    ),
    parts=(
        Part("guard", "ok", "simulated board, heartbeat 12 ms old"),
        Part("gate", "ok", "p99 8 µs"),
        Part("audit", "ok", "group of 14 entries durable in 0.4 ms"),
        Part("venue paper", "ok", "connected"),
        Part("feed", "ok", "3 instruments, newest bar 2011-03-03"),
        Part("memory", "degraded", "similarity search paused while the index is rebuilt"),
        Part("upstream", "ok", "last checkpoint sent 4 s ago"),
    ),
    limits=(
        LimitLine("account", "position cap", "2 %"),
        LimitLine("account", "daily loss", "3 %"),
        LimitLine("account", "drawdown", "15 %"),
        LimitLine("SPX", "largest order", "40.00"),
        LimitLine("SPX", "price collar", "5 %"),
        LimitLine("NDX", "largest order", "40.00"),
        LimitLine("NDX", "price collar", "5 %"),
        LimitLine("WTI", "largest order", "250.00"),
        LimitLine("WTI", "price collar", "5 %"),
        LimitLine("momentum", "allocation", "9500 USD"),
        LimitLine("momentum", "drawdown", "10 %"),
        LimitLine("reversion", "allocation", "9500 USD"),
        LimitLine("reversion", "drawdown", "10 %"),
        LimitLine("breakout", "allocation", "9500 USD"),
        LimitLine("breakout", "drawdown", "10 %"),
    ),
    strategies=(
        StrategyLine("momentum", "SPX", "running"),
        StrategyLine("reversion", "NDX", "running"),
        StrategyLine("breakout", "WTI", "stopped", "allocation drawdown limit of 8 % passed", ns(52_000)),
    ),
    verdicts=Verdicts(
        approved=18_204,
        denied={"POSITION_CAP": 1_932, "STOP_DISTANCE": 211, "PRICE_COLLAR": 64, "HOLD": 17},
    ),
    audit=AuditHead(
        origin="interlock.example/attic-01",
        size=61_337,
        root="9f2b61c0a7d44e3c8f1be0a95d7c3a10b64e2f98c51d0e7a6b3f4c2d1e0f9a8b",
        signed=61_312,
        witnessed=61_200,
        witness="witness.example/tlog",
    ),
    gate=Histogram(
        bounds_us=(2, 4, 6, 8, 10, 20, 50, 100),
        counts=(0, 12_801, 6_210, 1_144, 203, 51, 14, 4, 1),
        p50_us=4,
        p99_us=8,
    ),
    data_counts={
        "SPX.received": 3_144,
        "SPX.accepted": 3_144,
        "SPX.gaps": 0,
        "NDX.received": 3_144,
        "NDX.accepted": 3_143,
        "NDX.suspected": 1,
        "WTI.received": 3_124,
        "WTI.accepted": 3_122,
        "WTI.suspected": 2,
        "WTI.confirmed": 2,
        "unknown": 0,
    },
    decisions=(
        Decision(41_987, ns(2), "trend-spx", "approved"),
        Decision(41_950, ns(31), "revert-wti", "denied", "POSITION_CAP"),
        Decision(40_112, ns(604), "revert-ndx", "approved"),
    ),
)


def alert(kind: AlertKind, seconds_ago: int, subject: str = "") -> AlertLine:
    """A standing alert as the alerter's board has it."""
    return AlertLine(kind, severity(kind), subject, text(kind), ns(seconds_ago))


HELD = replace(
    NORMAL,
    alerts=(alert(AlertKind.VENUE_DOWN, 41, "venue:paper"), alert(AlertKind.DEGRADED, 3_700)),
    alert_counts={"VENUE_DOWN": 2, "DEGRADED": 1},
    alert_hook={"delivered": 2, "failed": 1, "given_up": 0, "waiting": 1},
    lamps=lamps("pulse", "slow", "off"),
    holds=(StandingHold("STALE_DATA", "instrument:WTI", ns(42), "newest bar is 38 s old, 30 s allowed"),),
)

PAUSED = replace(
    NORMAL,
    mode="PAUSED",
    mode_since_ns=ns(95),
    system_mode="SafeMode",
    armed=False,
    lamps=lamps("off", "slow", "off"),
    holds=(
        StandingHold("RECONCILING", "venue:paper", ns(6), "3 of 11 intents without an outcome looked up"),
        StandingHold("CLOCK", "box", ns(88), "not synchronised; ends after 10 minutes synchronised"),
    ),
    missing=("reconciled", "clock_ok"),
    uptime_s=95,
    progress=replace(NORMAL.progress, state="starting", done=0, rate=0, eta_s=-1),
    verdicts=Verdicts(approved=0, denied={}),
    decisions=(),
    gate=Histogram(bounds_us=NORMAL.gate.bounds_us, counts=(0,) * 9, p50_us=0, p99_us=0),
)

REDUCED = replace(
    NORMAL, mode="REDUCED", mode_since_ns=ns(611), system_mode="SafeMode", lamps=lamps("off", "double", "off")
)

EMERGENCY = replace(
    NORMAL,
    mode="EMERGENCY",
    mode_since_ns=ns(19),
    system_mode="EmergencyShutdown",
    armed=False,
    missing=("cancels_confirmed",),
    lamps=lamps("off", "off", "slow"),
    trip=Trip(
        reason="KILL_BUTTON",
        since_ns=ns(19),
        recovery="release the button, wait until cancelled and flat, then press and release the kill button "
        "(proof test), then hold the arm key for 3 s, once per step",
        stored=True,
        later=("DRAWDOWN",),
    ),
    progress=replace(NORMAL.progress, state="stopped", rate=0, eta_s=-1),
    strategies=tuple(
        replace(line, state="stopped", reason=line.reason or "the box is tripped", since_ns=ns(19))
        for line in NORMAL.strategies
    ),
    verdicts=replace(NORMAL.verdicts, denied={**NORMAL.verdicts.denied, "TRIPPED": 402}),
)

TRIPPED_PAUSED = replace(
    EMERGENCY,
    mode="PAUSED",
    system_mode="SafeMode",
    lamps=lamps("off", "fast", "double"),
    trip=replace(EMERGENCY.trip, reason="GUARD_LOST", stored=False, later=()) if EMERGENCY.trip else None,
    alerts=(alert(AlertKind.GUARD_LOST, 19), alert(AlertKind.TRIP_NOT_STORED, 17)),
    alert_counts={"GUARD_LOST": 1, "TRIP_NOT_STORED": 1},
    parts=(Part("guard", "down", "no heartbeat for 2.4 s"), *NORMAL.parts[1:]),
)

LIVE = replace(
    NORMAL,
    simulated_board=False,
    realtime=True,
    sealed=True,
    progress=Progress("Binance spot, 3 instruments", "live", 8_123_456, 0, 41, -1, ns()),
    audit=replace(NORMAL.audit, witness="", witnessed=0, alarm="upstream shows another history from 61,200"),
)

SITUATIONS: dict[str, Status] = {
    "normal": NORMAL,
    "held": HELD,
    "paused": PAUSED,
    "reduced": REDUCED,
    "emergency": EMERGENCY,
    "tripped-paused": TRIPPED_PAUSED,
    "live": LIVE,
}


class SampleSource:
    """A source whose status a test sets. Implements `web.source.StatusSource`."""

    def __init__(self, status: Status = NORMAL) -> None:
        self.status = status
        self.bell = Bell()
        self.asked = 0

    def current(self) -> Status:
        """The status last set."""
        self.asked += 1
        return self.status

    async def wait_change(self, seen: int) -> int:
        """See `Bell`."""
        return await self.bell.wait_change(seen)

    def set(self, status: Status) -> None:
        """Shows this from now on and rings."""
        self.status = status
        self.bell.ring()
