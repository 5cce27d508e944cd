"""The configuration's schema: frozen, every key known, no limit with a default (CONVENTIONS).

Values with units are parsed by `units`; prices and quantities are decimal strings that `build` scales with
their instrument. `config_load` reads a file into this; `interlock config --example` prints one that loads.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from appliance.orders.slicing import MOST_SLICES
from appliance.risk.breaker import BreakerSettings
from appliance.runtime.units import Duration, Money, Rate, Share, Size
from appliance.safety.exits import AT_ONCE
from appliance.safety.recovery_plan import DEFAULT_EVERY_NS
from appliance.upstream.address import address_problem

RESERVE_LEAST = 1_000_000
"""Bytes; measured, hundreds of exits (tests/faults/test_disk_full_log.py)."""


class BoxConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[box] name: on the page and in the log's origin."""

    name: str


class SourceConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[[feed.source]]: a shipped sample or a recorded file.

    format: `sample`, `ohlcv` or `binance`.  interval: of OHLCV rows.
    """

    instrument: str
    format: Literal["sample", "ohlcv", "binance"]
    sample: str = ""
    file: str = ""
    interval: Duration = Duration(0)
    symbol: str = ""


class FeedConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[feed] kind `replay`; speed: `max`, `20x` or `30 d/s`."""

    kind: Literal["replay"]
    speed: str
    label: str
    source: tuple[SourceConfig, ...]


class FeeTierConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[[venue.tier]]: the fees from this volume on, of the 30 days before."""

    volume: Money
    maker_fee: Rate
    taker_fee: Rate


class VenueConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[venue]: the paper venue, in its own process or inside the core.

    maker_fee, taker_fee: below the first tier; negative: a rebate.  network_fee: of one order.
    """

    kind: Literal["paper"]
    transport: Literal["process", "in-process"]
    port: int
    start_cash: Money
    maker_fee: Rate
    taker_fee: Rate
    spread: Share
    depth: Money
    allow_short: bool
    network_fee: Money | None = None
    tier: tuple[FeeTierConfig, ...] = ()


class InstrumentLimitsConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[instruments.X.limits]: each the last allowed value."""

    max_order_qty: str
    max_order_value: Money
    max_position: str
    collar: Share
    max_stop: Share
    max_price_age: Duration
    max_spread: Share
    max_deviation: Share


class QualityConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[instruments.X.quality]: what the data checks believe at once."""

    jump: Share
    stale: Duration
    max_delay: Duration
    max_ahead: Duration


class TierConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of [instruments.X.margin] tiers, as the venue publishes them. up_to: largest position value."""

    up_to: Money
    initial: Share
    maintenance: Share


class MarginConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[instruments.X.margin]: what is traded on margin; without the table an instrument is paid in full.

    initial: one over the leverage chosen at the venue.  close_fee: counted by the venue as maintenance.
    """

    mode: Literal["isolated", "cross"]
    initial: Share
    close_fee: Share
    tiers: tuple[TierConfig, ...]


class InstrumentConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[instruments.X]: steps and smallest sizes. Without a limits table every entry is denied NO_LIMIT."""

    currency: str
    price_decimals: int
    qty_decimals: int
    tick: str
    lot: str
    min_qty: str
    max_qty: str
    min_value: Money
    quality: QualityConfig
    limits: InstrumentLimitsConfig | None = None
    margin: MarginConfig | None = None


class StrategyConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[strategies.NAME]: a built-in strategy, its share of the account and its own limits.

    deploy: share of the allocation one entry asks for.
    messages: a second.  entries: that may begin to fill within entries_window; one more stops it.
    default_stop: distance of the stop attached to an order without one; "none" denies such orders.
    bars: length of the bars built from trades, "0 s" where the feed brings bars.
    execution: how an entry becomes orders; twap and iceberg are cut as [execution] says.
    """

    kind: str
    instrument: str
    allocation: Money
    deploy: Share
    drawdown: Share
    messages: int
    entries: int
    entries_window: Duration
    default_stop: str
    bars: Duration
    params: dict[str, int | str]
    execution: Literal["plain", "twap", "iceberg"] = "plain"


class LimitsConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[limits]: of the account.

    correlation: of returns over correlation_interval; window and sample count those.
    loss_alert, loss_slow: marks before daily_loss.  messages: to the venue, a second.
    """

    position_cap: Share
    leverage: Share
    margin: Share
    risk_per_trade: Share
    correlation: Share
    correlation_interval: Duration
    correlation_window: int
    correlation_sample: int
    daily_loss: Share
    drawdown: Share
    max_equity_age: Duration
    market_fallback: Duration
    max_signal_age: Duration
    loss_alert: Share
    loss_slow: Share
    messages: int
    messages_kept: Share
    duplicate_window: Duration


class SafetyConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[safety] reduce_step, reduce_every: how REDUCED works exposure down.

    exit_slices: of an exit larger than the largest order, how many may leave side by side.
    """

    tamper: Literal["alert", "paused", "emergency"]
    reduce_step: Share
    reduce_every: Duration
    exit_slices: int = AT_ONCE

    def __post_init__(self) -> None:
        if not 1 <= self.exit_slices <= 20:
            raise ValueError(f"the value of exit_slices is outside of 1 to 20: {self.exit_slices}")


class ExecutionConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[execution]: how the entries of strategies with `execution = "twap"` or `"iceberg"` are cut.

    horizon: market time after which nothing more is sent.  slices: of a TWAP.  displayed: share of the whole
    an iceberg shows at most.  jitter: of sizes and times.  retries: of a slice whose fate is known.
    No limit is among these: whatever they say, the gate judges every slice.
    """

    horizon: Duration = Duration(3_600_000_000_000)
    slices: int = 10
    displayed: Share = Share(100_000)
    jitter: Share = Share(200_000)
    retries: int = 2

    def __post_init__(self) -> None:
        for name, least, most, shown in (
            ("horizon", 1_000_000_000, 30 * 86_400_000_000_000, "1 s to 30 d"),
            ("slices", 1, MOST_SLICES, f"1 to {MOST_SLICES}"),
            ("displayed", 10_000, 1_000_000, "1 % to 100 %"),
            ("jitter", 0, 500_000, "0 % to 50 %"),
            ("retries", 0, 10, "0 to 10"),
        ):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"the value of {name} is outside of {shown}")


class ClockConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[clock] watch: whether the machine's own clock may hold the box; `auto` is live only (SAFETY 6, 10)."""

    watch: Literal["auto", "system"]


class IntegrityConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[integrity] refused: share of the last `window` records of one instrument that may be refused for
    what they say; more trips. At least one of them, so that no single bad line does."""

    refused: Share
    window: int

    def __post_init__(self) -> None:
        if not 10 <= self.window <= 100_000:
            raise ValueError(f"the value of window is outside of 10 to 100000: {self.window}")
        if not 0 < self.refused < 1_000_000:
            raise ValueError("the value of refused is outside of 1 ppm to 99.9999 %")
        if self.refused * self.window < 1_000_000:
            raise ValueError(f"one bad record in {self.window} would trip: enlarge refused or window")


class RecoveryConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[recovery] plan: what new exposure gets after an emergency (safety.recovery_plan).

    step_every: how long the standard plan keeps each share, in the market's time.
    """

    plan: Literal["standard", "aggressive"]
    step_every: Duration

    def __post_init__(self) -> None:
        minute = 60_000_000_000
        if not minute <= self.step_every <= 525_600 * minute:
            raise ValueError("the value of step_every is outside of 1 min to 365 d")


class AuditConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[audit] origin: of the log, a URL without its scheme.  keep: see `retention`; without it, for ever."""

    origin: str
    heartbeat: Duration
    keep: Duration | None = None


class StorageConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[storage] quota: what the state directory may take.  reserve: of it, kept allocated for exits."""

    quota: Size
    reserve: Size

    def __post_init__(self) -> None:
        if self.reserve < RESERVE_LEAST:
            raise ValueError(f"the value of reserve is below {RESERVE_LEAST} bytes")
        if self.reserve * 4 > self.quota:
            raise ValueError("the reserve is more than a quarter of the quota")


class UpstreamConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[upstream] pin: SHA-256 of its certificate.  collector_port: of `interlock collector` on this machine.
    mirror: it also gets the entries; false for a witness that is not the owner's.  mirror_rate: a second."""

    url: str
    pin: str
    collector_port: int
    mirror: bool
    mirror_rate: Size

    def __post_init__(self) -> None:
        if why := address_problem(self.url, self.pin):
            raise ValueError(why)


class MemoryConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[memory] timeout: how long a signal waits for precedents."""

    enabled: bool
    timeout: Duration


class WebConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[web] host is a loopback address unless the LAN is really wanted; hosts: names a browser may use."""

    host: str
    port: int
    hosts: tuple[str, ...]


class AlertsConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[alerts] hook: command and arguments, without a shell; empty for none.  timeout: after it the hook is
    killed.  min_interval: between two alerts of one kind about one thing.  hold_after: how long holds may
    keep new exposure waiting, or a part be not ok, before that is an alert."""

    hook: tuple[str, ...]
    timeout: Duration
    min_interval: Duration
    hold_after: Duration

    def __post_init__(self) -> None:
        if self.hook and not self.hook[0].startswith("/"):
            raise ValueError(f"the hook is named by its whole path, not {self.hook[0]!r}")
        if any("\0" in part for part in self.hook):
            raise ValueError("the hook has a zero byte in it")
        second = 1_000_000_000
        for name, least, most in (
            ("timeout", second // 10, 30 * second),
            ("min_interval", second, 3_600 * second),
            ("hold_after", second, 86_400 * second),
        ):
            if not least <= getattr(self, name) <= most:
                limits = f"{least / second:g} s to {most / second:g} s"
                raise ValueError(f"the value of {name} is outside of {limits}")


class BreakerConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[breaker]: of every component alike; `settings` says what each key means."""

    window_calls: int
    window: Duration
    min_calls: int
    open_above: Share
    cooldown: Duration
    probes: int
    successes: int

    def __post_init__(self) -> None:
        self.settings()

    def settings(self) -> BreakerSettings:
        """As `risk.breaker` takes them. Raises ValueError for one that is out of range."""
        return BreakerSettings(
            window_calls=self.window_calls,
            window_ns=int(self.window),
            min_calls=self.min_calls,
            open_above_ppm=int(self.open_above),
            cooldown_ns=int(self.cooldown),
            probes=self.probes,
            successes=self.successes,
        )


class LogConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[log] format of the lines on stderr."""

    format: Literal["text", "json"]


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file. [recovery] may be absent: then the stricter plan holds, a day for each share. So may
    [execution], or any key of it: nothing in it is a limit."""

    box: BoxConfig
    feed: FeedConfig
    venue: VenueConfig
    instruments: dict[str, InstrumentConfig]
    strategies: dict[str, StrategyConfig]
    limits: LimitsConfig
    safety: SafetyConfig
    clock: ClockConfig
    integrity: IntegrityConfig
    audit: AuditConfig
    storage: StorageConfig
    upstream: UpstreamConfig
    memory: MemoryConfig
    web: WebConfig
    alerts: AlertsConfig
    breaker: BreakerConfig
    log: LogConfig
    recovery: RecoveryConfig = RecoveryConfig(plan="standard", step_every=Duration(DEFAULT_EVERY_NS))
    execution: ExecutionConfig = ExecutionConfig()
