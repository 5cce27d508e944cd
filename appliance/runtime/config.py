"""The configuration's schema: frozen, every key known, no limit with a default (CONVENTIONS).

Values with units are parsed by `units`; prices and quantities are decimal strings that `build` scales with
their instrument. `config_load` reads a file into this; `interlock config --example` prints one that loads.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from appliance.runtime.units import Duration, Money, Share


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


class VenueConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[venue]: the paper venue, in its own process or inside the core."""

    kind: Literal["paper"]
    transport: Literal["process", "in-process"]
    port: int
    start_cash: Money
    maker_fee: Share
    taker_fee: Share
    spread: Share
    depth: Money
    allow_short: bool


class InstrumentLimitsConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[instruments.X.limits]: each the last allowed value."""

    max_order_qty: str
    max_order_value: Money
    collar: Share
    max_stop: Share
    max_price_age: Duration


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
    default_stop: distance of the stop attached to an order without one; "none" denies such orders.
    bars: length of the bars built from trades, "0 s" where the feed brings bars.
    """

    kind: str
    instrument: str
    allocation: Money
    deploy: Share
    drawdown: Share
    default_stop: str
    bars: Duration
    params: dict[str, int | str]


class LimitsConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[limits]: of the account.

    correlation: of returns over correlation_interval; window and sample count those.
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


class SafetyConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[safety] reduce_step, reduce_every: how REDUCED works exposure down."""

    tamper: Literal["alert", "paused", "emergency"]
    reduce_step: Share
    reduce_every: Duration


class AuditConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[audit] origin: name of the log in checkpoints, a URL without its scheme."""

    origin: str
    heartbeat: Duration


class UpstreamConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[upstream]: the witness, and the port `interlock collector` listens on here."""

    url: str
    collector_port: int


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


class LogConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[log] format of the lines on stderr."""

    format: Literal["text", "json"]


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    box: BoxConfig
    feed: FeedConfig
    venue: VenueConfig
    instruments: dict[str, InstrumentConfig]
    strategies: dict[str, StrategyConfig]
    limits: LimitsConfig
    safety: SafetyConfig
    audit: AuditConfig
    upstream: UpstreamConfig
    memory: MemoryConfig
    web: WebConfig
    alerts: AlertsConfig
    log: LogConfig
