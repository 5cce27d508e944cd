"""The built-in strategies by name, each with the parameters configuration may set. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TypeAlias

import msgspec

from appliance.domain.errors import ConfigError
from appliance.domain.ids import SourceId
from appliance.domain.instrument import Instrument
from appliance.signals.bars import OnBars
from appliance.signals.reversion import Reversion, ReversionParams
from appliance.signals.strategy import Strategy
from appliance.signals.trend import Trend, TrendParams

Params: TypeAlias = TrendParams | ReversionParams

PARAMS: dict[str, type[TrendParams | ReversionParams]] = {
    "trend": TrendParams,
    "reversion": ReversionParams,
}
"""What configuration must give for each built-in strategy: every field, none has a default."""


def read_params(kind: str, values: Mapping[str, object], where: str = "") -> Params:
    """Checked parameters of the built-in strategy `kind`; units are those in the names.

    where: file and key, for the message. Raises ConfigError for an unknown strategy (listing the known ones),
    an unknown or missing key, a wrong type or a value out of range.
    """
    schema = PARAMS.get(kind)
    if schema is None:
        near = get_close_matches(kind, PARAMS, 1)
        raise ConfigError(
            f"there is no strategy {kind!r}",
            f"built in are: {', '.join(sorted(PARAMS))}{_place(where)}",
            f"write {near[0]!r}" if near else "choose one of them",
        )
    unknown = [key for key in values if key not in schema.__struct_fields__]
    if unknown:
        near = get_close_matches(unknown[0], schema.__struct_fields__, 1)
        raise ConfigError(
            f"strategy {kind!r} has no parameter {unknown[0]!r}",
            f"it has: {', '.join(schema.__struct_fields__)}{_place(where)}",
            f"write {near[0]!r}" if near else "remove the key",
        )
    try:
        return msgspec.convert(dict(values), type=schema)
    except msgspec.ValidationError as error:
        raise ConfigError(f"strategy {kind!r} cannot be configured", f"{error}{_place(where)}") from error


def make_strategy(
    name: SourceId, instrument: Instrument, params: Params, bar_ns: int | None = None
) -> Strategy:
    """One strategy, fresh. bar_ns: length of the bars to build from trades; None: the feed brings bars."""
    strategy: Strategy
    match params:
        case TrendParams():
            strategy = Trend(name, instrument, params)
        case ReversionParams():
            strategy = Reversion(name, instrument, params)
    return strategy if bar_ns is None else OnBars(strategy, bar_ns)


def _place(where: str) -> str:
    return f" ({where})" if where else ""
