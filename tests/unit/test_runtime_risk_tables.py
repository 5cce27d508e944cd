"""Configuration of leverage, correlation and margin: what is read, and what is refused with its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.domain.errors import ConfigError
from appliance.domain.ids import InstrumentId, SourceId
from appliance.domain.money import AMOUNT_ONE
from appliance.runtime.config import Config
from appliance.runtime.config_load import EXAMPLE, load_config
from appliance.runtime.picture import limit_lines
from appliance.runtime.tables import make_correlation, make_instruments, make_limits

DAY = 86_400_000_000_000
MARGIN = """
[instruments.{symbol}.margin]
mode = "{mode}"
initial = "10 %"
close_fee = "5 bp"
tiers = [
  {{ up_to = "50000 USD", initial = "0.8 %", maintenance = "0.4 %" }},
  {{ up_to = "250000 USD", initial = "{second}", maintenance = "{maintenance}" }},
]
"""


def _load(tmp_path: Path, *changes: tuple[str, str], add: str = "") -> Config:
    text = EXAMPLE.read_text("utf-8")
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    path = tmp_path / "interlock.toml"
    path.write_text(text + add)
    return load_config(path)


def _margin(symbol: str, mode: str = "cross", second: str = "20 %", maintenance: str = "0.5 %") -> str:
    return MARGIN.format(symbol=symbol, mode=mode, second=second, maintenance=maintenance)


def test_the_example_says_what_it_means(tmp_path: Path) -> None:
    """70 % of 60 daily returns, 30 needed; 2 %, 100 %, 110 %, 1 %; nothing on margin."""
    config = _load(tmp_path)
    terms = make_correlation(config)
    assert (terms.limit_ppm, terms.interval_ns, terms.window, terms.sample) == (700_000, DAY, 60, 30)
    instruments = make_instruments(config)
    account = make_limits(config, instruments).account
    assert (account.position_cap_ppm, account.leverage_ppm) == (20_000, 1_000_000)
    assert (account.margin_ppm, account.risk_ppm) == (1_100_000, 10_000)
    assert all(each.margin is None for each in instruments.values())
    told = {(line.scope, line.name): line.value for line in limit_lines(config)}
    assert told["account", "leverage"] == "100 %"
    assert told["account", "correlation"] == "70 %"
    assert told["account", "loss told of, slowed"] == "1 % 2 %"
    assert told["account", "messages"] == "50 a second, 40 % kept for exits"
    assert told["SPX", "largest position"] == "1000"
    assert told["trend-spx", "entries, messages"] == "20 in 30 d; 10 a second"
    assert (account.loss_alert_ppm, account.loss_slow_ppm) == (10_000, 20_000)
    assert (account.messages, account.messages_kept_ppm, account.duplicate_window_ns) == (50, 400_000, 10**9)
    source = make_limits(config, instruments).sources[SourceId("trend-spx")]
    assert (source.messages, source.entries, source.entries_window_ns) == (10, 20, 30 * DAY)
    limits = make_limits(config, instruments).instruments[InstrumentId("SPX")]
    assert limits.max_position_qty == 100_000
    assert (limits.max_spread_ppm, limits.max_deviation_ppm) == (20_000, 50_000)


def test_margin_tables_become_terms(tmp_path: Path) -> None:
    """The chosen leverage of 10x stands above the first tier's, below the second's."""
    made = make_instruments(_load(tmp_path, add=_margin("SPX", "isolated")))
    terms = made[InstrumentId("SPX")].margin
    assert terms is not None
    assert (terms.isolated, terms.close_fee_ppm, terms.largest) == (True, 500, 250_000 * AMOUNT_ONE)
    assert [(tier.initial_ppm, tier.maintenance_ppm) for tier in terms.tiers] == [
        (100_000, 4_000),
        (200_000, 5_000),
    ]
    assert made[InstrumentId("NDX")].margin is None


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('correlation = "70 %"', 'correlation = "101 %"', "between 0 and 100"),
        ('correlation_interval = "1 d"', 'correlation_interval = "0 s"', "interval"),
        ("correlation_window = 60", "correlation_window = 29", "sample"),
        ("correlation_sample = 30", "correlation_sample = 2", "sample"),
    ],
)
def test_a_correlation_nobody_can_mean_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    """With its key."""
    with pytest.raises(ConfigError, match=says) as refused:
        make_correlation(_load(tmp_path, (old, new)))
    assert "limits.correlation" in refused.value.what


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('loss_alert = "1 %"', 'loss_alert = "2.1 %"', "out of order"),
        ('loss_slow = "2 %"', 'loss_slow = "3.1 %"', "out of order"),
        ("messages = 50", "messages = 0", "limits.messages"),
        ('messages_kept = "40 %"', 'messages_kept = "100 %"', "limits.messages"),
        ("messages = 10 ", "messages = 0 ", "trend-spx can never act"),
        ("entries = 20 ", "entries = 0 ", "trend-spx can never act"),
        ('entries_window = "30 d"  ', 'entries_window = "0 s"  ', "trend-spx can never act"),
        ('max_position = "1000"  ', 'max_position = "many"  ', "max_position"),
    ],
)
def test_a_pace_nobody_can_mean_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    """Marks above their limit, nothing left for entries, a strategy that may do nothing."""
    config = _load(tmp_path, (old, new))
    with pytest.raises(ConfigError, match=says):
        make_limits(config, make_instruments(config))


@pytest.mark.parametrize(("margin", "good"), [("100 %", True), ("99.9999 %", False)])
def test_a_margin_cover_below_all_of_it_is_refused(tmp_path: Path, margin: str, good: bool) -> None:
    """It would let through what the venue rejects, and a suggestion would divide by nothing at 0 %."""
    config = _load(tmp_path, ('margin = "110 %"', f'margin = "{margin}"'))
    if good:
        make_limits(config, make_instruments(config))
        return
    with pytest.raises(ConfigError, match=r"limits\.margin"):
        make_limits(config, make_instruments(config))


@pytest.mark.parametrize(
    "key",
    [
        "leverage",
        "margin",
        "risk_per_trade",
        "correlation",
        "correlation_interval",
        "correlation_window",
        "correlation_sample",
        "loss_alert",
        "loss_slow",
        "messages_kept",
        "duplicate_window",
    ],
)
def test_no_limit_has_a_default(tmp_path: Path, key: str) -> None:
    """A missing key is refused by its name."""
    text = EXAMPLE.read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.startswith(f"{key} = ")]
    assert len(lines) == len(text.splitlines()) - 1
    path = tmp_path / "interlock.toml"
    path.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match=f"limits.{key}"):
        load_config(path)


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        (_margin("SPX", second="5 %", maintenance="30 %"), "instruments.SPX"),
        (_margin("SPX", maintenance="0.4 %"), "instruments.SPX"),
        (_margin("SPX").replace('"50000 USD"', '"300000 USD"'), "instruments.SPX"),
        (_margin("SPX").replace("50000 USD", "50000 EUR"), "instruments.SPX.margin.tiers"),
        (_margin("SPX") + _margin("NDX", "isolated"), "isolated and cross"),
    ],
)
def test_margin_terms_no_venue_can_mean_are_refused(tmp_path: Path, tables: str, says: str) -> None:
    """One account has one margin mode; tiers rise; the currency is the account's."""
    with pytest.raises(ConfigError, match=says):
        make_instruments(_load(tmp_path, add=tables))


def test_a_mode_and_a_tier_key_are_checked_by_name(tmp_path: Path) -> None:
    """Unknown key, unknown mode."""
    with pytest.raises(ConfigError, match=r"SPX\.margin\.mode"):
        _load(tmp_path, add=_margin("SPX", "portfolio"))
    with pytest.raises(ConfigError, match=r"SPX\.margin\.tiers\.0\.maintainance"):
        _load(tmp_path, add=_margin("SPX").replace('maintenance = "0.4', 'maintainance = "0.4'))
