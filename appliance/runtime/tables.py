"""Configuration → the frozen values the stages take. Every mistake is a ConfigError naming its key."""

from __future__ import annotations

import re
from pathlib import Path

from appliance.domain.errors import ConfigError
from appliance.domain.fees import FeeTier
from appliance.domain.ids import InstrumentId, SourceId
from appliance.domain.instrument import Instrument, make_instrument
from appliance.domain.margin import MarginTerms, make_margin
from appliance.domain.money import PPM_ONE, Amount, Ppm, Qty, parse_scaled
from appliance.market.binance import BinanceRecording
from appliance.market.ohlcv import OhlcvFile
from appliance.market.quality import QualityLimits
from appliance.market.samples import open_sample
from appliance.market.source import Source
from appliance.portfolio.correlation import CorrelationTerms
from appliance.risk.limits import AccountLimits, InstrumentLimits, Limits, SourceLimits
from appliance.runtime.config import Config, InstrumentConfig, MarginConfig, SourceConfig, StrategyConfig
from appliance.runtime.units import Money, parse_share
from appliance.safety.refusals import RefusedShare
from appliance.signals.registry import make_strategy, read_params
from appliance.signals.strategy import Strategy
from appliance.validation.signals import SignalLimits
from appliance.venues.paper_terms import PaperTerms, make_fees

_SOURCE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


def make_instruments(config: Config) -> dict[InstrumentId, Instrument]:
    """One per [instruments.X]."""
    found: dict[InstrumentId, Instrument] = {}
    for symbol, table in config.instruments.items():
        key = f"instruments.{symbol}"
        try:
            found[InstrumentId(symbol)] = make_instrument(
                symbol,
                currency=table.currency,
                price_exp=table.price_decimals,
                qty_exp=table.qty_decimals,
                tick=parse_scaled(table.tick, table.price_decimals),
                lot=parse_scaled(table.lot, table.qty_decimals),
                min_qty=parse_scaled(table.min_qty, table.qty_decimals),
                max_qty=parse_scaled(table.max_qty, table.qty_decimals),
                min_value=_money(table.min_value, config, f"{key}.min_value"),
                margin=_margin(table.margin, config, f"{key}.margin"),
            )
        except ValueError as error:
            raise ConfigError(f"{key} cannot be used", str(error), "interlock config") from error
        if table.currency != config.venue.start_cash.currency:
            raise ConfigError(f"{key}.currency differs from the account's", config.venue.start_cash.currency)
    if not found:
        raise ConfigError("no instrument is configured", "[instruments.NAME] is missing")
    if len({each.margin.isolated for each in found.values() if each.margin is not None}) > 1:
        raise ConfigError("one account cannot be isolated and cross", "instruments.*.margin.mode")
    return found


def make_correlation(config: Config) -> CorrelationTerms:
    """What must not stand beside what."""
    limits = config.limits
    try:
        return CorrelationTerms(
            limit_ppm=Ppm(int(limits.correlation)),
            interval_ns=int(limits.correlation_interval),
            window=limits.correlation_window,
            sample=limits.correlation_sample,
        )
    except ValueError as error:
        raise ConfigError("limits.correlation cannot be used", str(error)) from error


def make_limits(config: Config, instruments: dict[InstrumentId, Instrument]) -> Limits:
    """Everything the gate compares with."""
    if config.limits.margin < PPM_ONE:
        raise ConfigError("limits.margin cannot be used", "less than 100 % would not cover what is asked for")
    account = AccountLimits(
        position_cap_ppm=Ppm(int(config.limits.position_cap)),
        leverage_ppm=Ppm(int(config.limits.leverage)),
        margin_ppm=Ppm(int(config.limits.margin)),
        risk_ppm=Ppm(int(config.limits.risk_per_trade)),
        daily_loss_ppm=Ppm(int(config.limits.daily_loss)),
        drawdown_ppm=Ppm(int(config.limits.drawdown)),
        max_equity_age_ns=int(config.limits.max_equity_age),
        market_fallback_ns=int(config.limits.market_fallback),
        loss_alert_ppm=Ppm(int(config.limits.loss_alert)),
        loss_slow_ppm=Ppm(int(config.limits.loss_slow)),
        messages=config.limits.messages,
        messages_kept_ppm=Ppm(int(config.limits.messages_kept)),
        duplicate_window_ns=int(config.limits.duplicate_window),
    )
    _check_pace(config)
    per_instrument = {
        symbol: _instrument_limits(config, instrument, config.instruments[symbol])
        for symbol, instrument in instruments.items()
        if config.instruments[symbol].limits is not None
    }
    sources = {
        SourceId(name): _source_limits(config, name, table, instruments)
        for name, table in config.strategies.items()
    }
    total = sum(limits.allocation for limits in sources.values())
    if total > config.venue.start_cash:
        raise ConfigError("the allocations together exceed the account", "strategies.*.allocation")
    return Limits(account=account, instruments=per_instrument, sources=sources)


def _check_pace(config: Config) -> None:
    limits = config.limits
    if not limits.loss_alert <= limits.loss_slow <= limits.daily_loss:
        raise ConfigError("the marks of the day's loss are out of order", "loss_alert, loss_slow, daily_loss")
    if limits.messages < 1 or limits.messages_kept >= PPM_ONE:
        raise ConfigError("limits.messages cannot be used", "at least 1, and less than 100 % kept for exits")
    for name, table in config.strategies.items():
        if min(table.messages, table.entries, table.entries_window) < 1:
            raise ConfigError(f"strategies.{name} can never act", "messages, entries, entries_window: from 1")


def make_terms(config: Config) -> PaperTerms:
    """Of the paper venue."""
    venue = config.venue
    network_fee = 0 if venue.network_fee is None else _money(venue.network_fee, config, "venue.network_fee")
    terms = PaperTerms(
        start_cash=Amount(int(venue.start_cash)),
        maker_fee_ppm=Ppm(int(venue.maker_fee)),
        taker_fee_ppm=Ppm(int(venue.taker_fee)),
        spread_ppm=Ppm(int(venue.spread)),
        depth_value=Amount(_money(venue.depth, config, "venue.depth")),
        allow_short=venue.allow_short,
        network_fee=Amount(network_fee),
        tiers=tuple(
            FeeTier(
                volume_from=Amount(_money(table.volume, config, f"venue.tier.{index}.volume")),
                maker_ppm=Ppm(int(table.maker_fee)),
                taker_ppm=Ppm(int(table.taker_fee)),
            )
            for index, table in enumerate(venue.tier)
        ),
    )
    try:
        make_fees(terms)
    except ValueError as error:
        raise ConfigError("the fees of [venue] cannot be used", str(error)) from error
    return terms


def make_quality(config: Config) -> dict[InstrumentId, QualityLimits]:
    """Of the data checks."""
    found = {}
    for symbol, table in config.instruments.items():
        try:
            found[InstrumentId(symbol)] = QualityLimits(
                jump_ppm=int(table.quality.jump),
                stale_ns=int(table.quality.stale),
                max_delay_ns=int(table.quality.max_delay),
                max_ahead_ns=int(table.quality.max_ahead),
            )
        except ValueError as error:
            raise ConfigError(f"instruments.{symbol}.quality cannot be used", str(error)) from error
    return found


def make_refusals(config: Config) -> RefusedShare:
    """How much of a price source may be nonsense."""
    return RefusedShare(config.integrity.window, int(config.integrity.refused))


def make_strategies(config: Config, instruments: dict[InstrumentId, Instrument]) -> tuple[Strategy, ...]:
    """One per [strategies.NAME], from the built-in registry."""
    made = []
    for name, table in config.strategies.items():
        key = f"strategies.{name}"
        if not _SOURCE_NAME.fullmatch(name):
            raise ConfigError(f"{key} is no name for a strategy", "1 to 32 of a-z, 0-9 and -")
        instrument = instruments.get(InstrumentId(table.instrument))
        if instrument is None:
            known = ", ".join(instruments)
            why = f"{table.instrument!r}; known are {known}"
            raise ConfigError(f"{key}.instrument is not configured", why)
        params = read_params(table.kind, _params(key, table), f"{key}.params")
        made.append(make_strategy(SourceId(name), instrument, params, int(table.bars) or None))
    return tuple(made)


def make_signal_limits(config: Config, instruments: dict[InstrumentId, Instrument]) -> SignalLimits:
    """What a signal must satisfy before it becomes an intent; the gate checks the order again."""
    stops = [limits.max_stop for t in config.instruments.values() if (limits := t.limits) is not None]
    return SignalLimits(
        strategies={SourceId(n): InstrumentId(t.instrument) for n, t in config.strategies.items()},
        instruments=instruments,
        max_age_ns=int(config.limits.max_signal_age),
        max_stop_ppm=int(max(stops, default=0)),
    )


def make_sources(
    config: Config, instruments: dict[InstrumentId, Instrument], base: Path
) -> tuple[Source, ...]:
    """The feed's files; relative paths start at the configuration's directory."""
    return tuple(
        _source(each, f"feed.source.{index}", instruments, base)
        for index, each in enumerate(config.feed.source)
    )


def nominal_bar_ns(config: Config) -> int:
    """Length of the bars memory works in: the feed's interval, or that of the built bars."""
    intervals = [86_400_000_000_000 if s.format == "sample" else s.interval for s in config.feed.source]
    built = [table.bars for table in config.strategies.values() if table.bars]
    return int(max([*intervals, 0]) or max(built, default=0) or 1_000_000_000)


def _source(table: SourceConfig, key: str, instruments: dict[InstrumentId, Instrument], base: Path) -> Source:
    instrument = instruments.get(InstrumentId(table.instrument))
    if instrument is None:
        known = ", ".join(instruments)
        raise ConfigError(f"{key}.instrument is not configured", f"{table.instrument!r}; known are {known}")
    if table.format == "sample":
        return open_sample(table.sample, instrument)
    if not table.file:
        raise ConfigError(f"{key}.file is missing", f"format {table.format!r} reads a file")
    path = base / table.file
    if table.format == "binance":
        return BinanceRecording(path, {table.symbol or table.instrument: instrument})
    if not table.interval:
        raise ConfigError(f"{key}.interval is missing", 'an OHLCV file needs one, such as "1 d"')
    return OhlcvFile(path, instrument, int(table.interval))


def _instrument_limits(config: Config, instrument: Instrument, table: InstrumentConfig) -> InstrumentLimits:
    key = f"instruments.{instrument.symbol}.limits"
    limits = table.limits
    if limits is None:
        raise ConfigError(f"{key} is missing")
    try:
        largest = parse_scaled(limits.max_order_qty, instrument.qty_exp)
        position = parse_scaled(limits.max_position, instrument.qty_exp)
    except ValueError as error:
        raise ConfigError(f"{key}.max_order_qty or max_position cannot be used", str(error)) from error
    return InstrumentLimits(
        max_order_qty=Qty(largest),
        max_order_value=Amount(_money(limits.max_order_value, config, f"{key}.max_order_value")),
        max_position_qty=Qty(position),
        collar_ppm=Ppm(int(limits.collar)),
        max_stop_ppm=Ppm(int(limits.max_stop)),
        max_price_age_ns=int(limits.max_price_age),
        max_spread_ppm=Ppm(int(limits.max_spread)),
        max_deviation_ppm=Ppm(int(limits.max_deviation)),
    )


def _source_limits(
    config: Config, name: str, table: StrategyConfig, instruments: dict[InstrumentId, Instrument]
) -> SourceLimits:
    key = f"strategies.{name}"
    try:
        stop = None if table.default_stop == "none" else Ppm(parse_share(table.default_stop))
    except ValueError as error:
        raise ConfigError(f"{key}.default_stop cannot be used", str(error)) from error
    return SourceLimits(
        instruments=frozenset({InstrumentId(table.instrument)} & set(instruments)),
        allocation=Amount(_money(table.allocation, config, f"{key}.allocation")),
        drawdown_ppm=Ppm(int(table.drawdown)),
        default_stop_ppm=stop,
        messages=table.messages,
        entries=table.entries,
        entries_window_ns=int(table.entries_window),
        allow_short=False,
    )


def _margin(table: MarginConfig | None, config: Config, key: str) -> MarginTerms | None:
    if table is None:
        return None
    return make_margin(
        isolated=table.mode == "isolated",
        initial_ppm=int(table.initial),
        close_fee_ppm=int(table.close_fee),
        rows=[
            (_money(tier.up_to, config, f"{key}.tiers"), int(tier.initial), int(tier.maintenance))
            for tier in table.tiers
        ],
    )


def _params(key: str, table: StrategyConfig) -> dict[str, object]:
    """Shares are written `stop = "8 %"` and handed over as `stop_ppm = 80000`."""
    values: dict[str, object] = {}
    for name, value in table.params.items():
        if isinstance(value, str):
            try:
                values[f"{name}_ppm"] = int(parse_share(value))
            except ValueError as error:
                raise ConfigError(f"{key}.params.{name} cannot be used", str(error)) from error
        else:
            values[name] = value
    return values


def _money(value: Money, config: Config, key: str) -> int:
    if value.currency != config.venue.start_cash.currency:
        why = f"{value.currency} instead of {config.venue.start_cash.currency}"
        raise ConfigError(f"{key} is in another currency than the account", why)
    return int(value)
