"""What execution needs of configuration and safety, connected: recipes, order sizes, and what stands now."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from appliance.domain.errors import ConfigError
from appliance.domain.ids import InstrumentId, IntentId, SourceId
from appliance.domain.mode import Mode
from appliance.orders.desk import Desk
from appliance.orders.executor import Executor
from appliance.orders.plan import Recipe, Standing, Style
from appliance.portfolio.portfolio import Portfolio
from appliance.ports import Clock, Scribe
from appliance.risk.limits import Limits
from appliance.runtime.config import Config
from appliance.runtime.session import Session
from appliance.safety.controller import SafetyController
from appliance.safety.exits import ExitFlow


class CoreMeans:
    """Implements orders.executor.Means. account: makes the jitter differ from one account to the next; in a
    replay the same run on the same account is cut alike."""

    def __init__(
        self,
        recipes: Mapping[SourceId, Recipe],
        limits: Limits,
        portfolio: Portfolio,
        safety: SafetyController,
        account: str,
    ) -> None:
        self.recipes = recipes
        self._limits = limits
        self._portfolio = portfolio
        self._safety = safety
        self._account = account

    def standing(self, source: SourceId, instrument: InstrumentId) -> Standing:
        """As of the safety controller's last look; the gate looks itself, at every order."""
        status = self._safety.status
        arming = f"{status.boot}/{status.generation}/{status.page.state}"
        normal = self._safety.mode is Mode.NORMAL and not self._portfolio.source_stopped(source)
        return Standing(arming, normal, self._safety.holds.blocking(instrument) is not None)

    def most(self, instrument: InstrumentId) -> tuple[int, int]:
        """Of one order; an instrument without limits has none, and its orders are denied."""
        limits = self._limits.instruments.get(instrument)
        return (limits.max_order_qty, limits.max_order_value) if limits is not None else (0, 0)

    def seed(self, parent: IntentId) -> int:
        """From account and parent: no secret. Who knows both can tell the slices; the venue is told neither
        the parent nor how slices are cut."""
        framed = f"{len(self._account)}:{self._account}{parent}".encode()
        return int.from_bytes(hashlib.blake2b(framed, digest_size=16).digest(), "big")


def make_recipes(config: Config, bar_ns: int) -> dict[SourceId, Recipe]:
    """One per strategy. bar_ns: length of the feed's bars, which are what a TWAP's slices wait for.

    Raises ConfigError for slices that would fall between two bars.
    """
    table = config.execution
    share_ns = table.horizon // table.slices
    recipes = {}
    for name, strategy in config.strategies.items():
        style = Style(strategy.execution)
        if style is Style.TWAP and share_ns < bar_ns:
            raise ConfigError(
                f"strategies.{name}.execution cannot be twap",
                f"execution.horizon / execution.slices is {share_ns / 1e9:g} s, a bar {bar_ns / 1e9:g} s",
                "lengthen execution.horizon or lower execution.slices",
            )
        recipes[SourceId(name)] = Recipe(
            style=style,
            horizon_ns=int(table.horizon),
            slices=table.slices,
            displayed_ppm=int(table.displayed),
            jitter_ppm=int(table.jitter),
            retries=table.retries,
        )
    return recipes


def make_executor(
    config: Config,
    session: Session,
    limits: Limits,
    desk: Desk,
    portfolio: Portfolio,
    exits: ExitFlow,
    safety: SafetyController,
    scribe: Scribe,
    clock: Clock,
) -> Executor:
    """The executor of one core."""
    recipes = make_recipes(config, bar_length(config))
    means = CoreMeans(recipes, limits, portfolio, safety, session.account)
    return Executor(desk, portfolio, exits, scribe, clock, means)


def bar_length(config: Config) -> int:
    """The feed's own bars; 0 where it brings quotes or trades, which come in between."""
    bars = [86_400_000_000_000 if s.format == "sample" else int(s.interval) for s in config.feed.source]
    return max([*bars, 0])
