"""Strategies by name: configuration mistakes end in a sentence that mends them."""

from __future__ import annotations

import pytest

from appliance.domain.errors import ConfigError
from appliance.domain.ids import SourceId
from appliance.signals.bars import OnBars
from appliance.signals.registry import PARAMS, make_strategy, read_params
from appliance.signals.reversion import Reversion, ReversionParams
from appliance.signals.trend import Trend, TrendParams
from tests.market_builders import S, instrument

TREND = {"fast": 20, "slow": 50, "stop_ppm": 80_000}


def test_each_name_gives_its_strategy() -> None:
    """Fresh ones, with the name and instrument they were given."""
    reversion = {"window": 20, "entry_z_milli": 2_000, "max_bars": 10, "stop_ppm": 50_000}
    assert read_params("trend", TREND) == TrendParams(fast=20, slow=50, stop_ppm=80_000)
    assert isinstance(read_params("reversion", reversion), ReversionParams)
    for kind, values, made in (("trend", TREND, Trend), ("reversion", reversion, Reversion)):
        params = read_params(kind, values)
        first, second = (make_strategy(SourceId("s"), instrument(), params) for _ in range(2))
        assert type(first) is made
        assert first is not second
        assert (first.name, first.instrument) == ("s", "SPX")
        assert isinstance(make_strategy(SourceId("s"), instrument(), params, bar_ns=S), OnBars)


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        ("tremd", TREND, ["'tremd'", "reversion, trend", "write 'trend'"]),
        ("", TREND, ["reversion, trend", "choose one of them"]),
        ("trend", TREND | {"slwo": 1}, ["'slwo'", "fast, slow, stop_ppm", "write 'slow'"]),
        ("trend", TREND | {"x": 1}, ["'x'", "remove the key"]),
        ("trend", {"fast": 20, "slow": 50}, ["stop_ppm"]),
        ("trend", {}, ["fast"]),
        ("trend", TREND | {"fast": "20"}, ["$.fast"]),
        ("trend", TREND | {"fast": 20.0}, ["$.fast"]),
        ("trend", TREND | {"fast": True}, ["$.fast"]),
        ("trend", TREND | {"fast": None}, ["$.fast"]),
        ("trend", TREND | {"fast": 50}, ["1 <= fast < slow", "50 and 50"]),
        ("reversion", TREND, ["'fast'", "window, entry_z_milli, max_bars, stop_ppm"]),
    ],
)
def test_every_mistake_is_named_with_its_place(
    kind: str, values: dict[str, object], words: list[str]
) -> None:
    """Unknown strategies list the valid ones, unknown keys the nearest; nothing has a default."""
    with pytest.raises(ConfigError) as caught:
        read_params(kind, values, where="interlock.toml:12")
    for word in [*words, "(interlock.toml:12)"]:
        assert word in str(caught.value)


def test_parameters_cannot_be_changed_afterwards() -> None:
    """What was sealed is what runs."""
    params = read_params("trend", TREND)
    for field in PARAMS["trend"].__struct_fields__:
        with pytest.raises(AttributeError):
            setattr(params, field, 1)
