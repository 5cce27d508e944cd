"""Fees as they are configured, and as page and metrics show them."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from appliance.domain.errors import ConfigError
from appliance.domain.money import AMOUNT_ONE
from appliance.domain.status import FeeLine
from appliance.runtime.config_load import EXAMPLE, load_config
from appliance.runtime.tables import make_terms
from appliance.runtime.units import parse_rate
from appliance.venues.paper_terms import PaperTerms, make_fees
from appliance.web.metrics import exposition
from tests.fee_kit import schedule, tier, usd
from tests.pictures.web_samples import NORMAL


@pytest.mark.parametrize(
    ("text", "ppm"), [("10 bp", 1_000), ("-0.5 bp", -50), (" -1 %", -10_000), ("0 %", 0), ("-0 bp", 0)]
)
def test_a_rate_may_be_negative(text: str, ppm: int) -> None:
    """A rebate is written as what it is."""
    assert parse_rate(text) == ppm


@pytest.mark.parametrize("value", ["-", "--1 bp", "+1 bp", "1", "-1", -1, 5, None, "-1 USD", "- 0.001 ppm"])
def test_what_is_no_rate_is_refused(value: object) -> None:
    """A bare number least of all."""
    with pytest.raises(ValueError, match=r"unit|decimals"):
        parse_rate(value)


def _terms(tmp_path: Path, changes: dict[str, str], tiers: str = "") -> PaperTerms:
    text = EXAMPLE.read_text("utf-8").replace("[limits] ", f"{tiers}\n[limits] ")
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "interlock.toml"
    path.write_text(text, "utf-8")
    return make_terms(load_config(path))


def _tier(volume: str = "100000 USD") -> str:
    return f'[[venue.tier]]\nvolume = "{volume}"\nmaker_fee = "-0.5 bp"\ntaker_fee = "8 bp"\n'


def test_the_example_has_one_tier_and_no_network_fee(tmp_path: Path) -> None:
    """1 bp and 10 bp, rounded up to the smallest unit."""
    assert make_fees(_terms(tmp_path, {})) == schedule(tier(0, 100, 1_000))


def test_tiers_rebates_and_a_network_fee_are_configured(tmp_path: Path) -> None:
    """Everything the schedule can say of the paper venue."""
    changes = {'maker_fee = "1 bp"': 'maker_fee = "-1 bp"\nnetwork_fee = "0.75 USD"'}
    terms = _terms(tmp_path, changes, _tier())
    expected = schedule(tier(0, -100, 1_000), tier(100_000, -50, 800), network_fee=usd("0.75"))
    assert make_fees(terms) == expected
    assert terms.network_fee == 3 * AMOUNT_ONE // 4


@pytest.mark.parametrize(
    ("changes", "tiers", "says"),
    [
        ({}, _tier("0 USD"), "rising from volume 0"),
        ({}, _tier() + _tier(), "rising"),
        ({}, _tier("5 EUR"), r"venue\.tier\.0\.volume is in another currency"),
        ({'taker_fee = "10 bp"': 'taker_fee = "10.1 %"'}, "", "at most 10 %"),
        ({'taker_fee = "10 bp"': 'taker_fee = "10 bp"\nnetwork_fee = "1 EUR"'}, "", "network_fee"),
        ({'taker_fee = "10 bp"': 'taker_fee = "10 bp"\nnetwork_fee = 1'}, "", "network_fee"),
        ({'taker_fee = "10 bp"': "taker_fee = -1"}, "", "taker_fee"),
        ({}, _tier().replace("taker_fee", "take_fee"), "write 'taker_fee'"),
    ],
)
def test_fees_that_cannot_be_used_are_refused(
    tmp_path: Path, changes: dict[str, str], tiers: str, says: str
) -> None:
    """Exit 78, naming the key."""
    with pytest.raises(ConfigError, match=says):
        _terms(tmp_path, changes, tiers)


def _series(line: FeeLine) -> dict[str, str]:
    body, _ = exposition(replace(NORMAL, fees=line))
    rows = (row.split(" ") for row in body.decode().splitlines() if row.startswith("interlock_fee_"))
    return {row[0].removeprefix("interlock_fee_"): row[1] for row in rows}


def test_the_metrics_of_a_schedule() -> None:
    """Age, tier, and what did not fit."""
    line = FeeLine(age_s=42, usable=True, tier=2, tiers=3, mismatches=4, unchecked=5)
    assert _series(line) == {
        "schedule_age_seconds": "42.0",
        "schedule_usable": "1.0",
        "tier": "2.0",
        "mismatches_total": "4.0",
        "unchecked_total": "5.0",
    }


def test_without_a_schedule_its_age_is_infinite() -> None:
    """An alert on an age above 300 fires when none ever came."""
    assert _series(FeeLine())["schedule_age_seconds"] == "+Inf"
    assert _series(FeeLine(age_s=0))["schedule_age_seconds"] == "0.0"
    assert _series(FeeLine())["schedule_usable"] == "0.0"
