"""Configuration, log and page of execution: what is accepted, restored and shown."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from appliance.domain.errors import ConfigError, StoreError
from appliance.domain.ids import InstrumentId, IntentId, RunId, SourceId
from appliance.domain.intent import Intent
from appliance.domain.mode import BOX, HoldCause, Mode
from appliance.domain.money import AMOUNT_ONE, Qty
from appliance.domain.status import Buckets, Execution
from appliance.orders.execution_stats import Ending, ExecutionStats
from appliance.orders.plan import Recipe, Standing, Style, make_plan, plan_data
from appliance.orders.slicing import Bounds
from appliance.portfolio.holdings import Holding
from appliance.ports import Entry
from appliance.runtime.config_load import EXAMPLE, load_config
from appliance.runtime.execution import CoreMeans, bar_length, make_recipes
from appliance.runtime.restore import RunRecord, restore
from appliance.storage.log_client import LogClient
from appliance.web.metrics import cumulative, exposition
from tests.audit_support import new_log
from tests.kit import BOT, SECOND, SPX, Core, spx
from tests.pictures.web_samples import NORMAL

DAY_NS = 86_400 * SECOND


def _config(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    text = EXAMPLE.read_text("utf-8")
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    path = tmp_path / "interlock.toml"
    path.write_text(text, "utf-8")
    return path


def test_the_example_executes_plainly(tmp_path: Path) -> None:
    """The shipped demo sends one order for one entry, as before."""
    config = load_config(_config(tmp_path))
    recipes = make_recipes(config, bar_length(config))
    assert {recipe.style for recipe in recipes.values()} == {Style.PLAIN}
    assert set(recipes) == {SourceId(name) for name in config.strategies}
    assert config.safety.exit_slices == 4


def test_a_configuration_without_execution_is_plain(tmp_path: Path) -> None:
    """One of an earlier version: nothing in the table is a limit."""
    text = EXAMPLE.read_text("utf-8")
    start, end = text.index("[execution]"), text.index("[integrity]")
    text = text[:start] + text[end:]
    for line in ('execution = "plain" ', "exit_slices = 4 "):
        at = text.index(line)
        text = text[:at] + text[text.index("\n", at) + 1 :]
    path = tmp_path / "interlock.toml"
    path.write_text(text, "utf-8")
    config = load_config(path)
    assert make_recipes(config, DAY_NS)[SourceId("trend-spx")] == Recipe()


@pytest.mark.parametrize("style", ["twap", "iceberg"])
def test_a_strategy_chooses_how_it_is_executed(tmp_path: Path, style: str) -> None:
    """The others stay as they are; the numbers are those of [execution]."""
    config = load_config(
        _config(tmp_path, ('execution = "plain"', f'execution = "{style}"'), ("slices = 10 ", "slices = 4 "))
    )
    recipes = make_recipes(config, bar_length(config))
    assert recipes[SourceId("trend-spx")] == Recipe(
        style=Style(style), horizon_ns=20 * DAY_NS, slices=4, displayed_ppm=100_000,
        jitter_ppm=200_000, retries=2,
    )  # fmt: skip
    assert recipes[SourceId("trend-ndx")].style is Style.PLAIN


@pytest.mark.parametrize(("slices", "fits"), [(20, True), (21, False)])
def test_slices_of_a_twap_are_not_shorter_than_a_bar(tmp_path: Path, slices: int, fits: bool) -> None:
    """20 days of daily bars are 20 slices; an iceberg waits for fills and may have more."""
    change = ("slices = 10 ", f"slices = {slices} ")
    config = load_config(_config(tmp_path, change, ('execution = "plain"', 'execution = "twap"')))
    assert bar_length(config) == DAY_NS
    if fits:
        assert make_recipes(config, DAY_NS)[SourceId("trend-spx")].slices == slices
    else:
        with pytest.raises(ConfigError, match=r"strategies\.trend-spx\.execution cannot be twap"):
            make_recipes(config, DAY_NS)
    iceberg = load_config(_config(tmp_path, change, ('execution = "plain"', 'execution = "iceberg"')))
    assert make_recipes(iceberg, DAY_NS)[SourceId("trend-spx")].style is Style.ICEBERG


def test_only_bars_set_a_bars_length(tmp_path: Path) -> None:
    """Quotes and trades come in between: a slice finds its moment."""
    config = load_config(_config(tmp_path))
    trades = tuple(replace(s, format="binance") for s in config.feed.source)
    assert bar_length(replace(config, feed=replace(config.feed, source=trades))) == 0
    assert bar_length(replace(config, feed=replace(config.feed, source=()))) == 0
    hourly = tuple(replace(s, format="ohlcv", interval=3_600 * SECOND) for s in config.feed.source)
    assert bar_length(replace(config, feed=replace(config.feed, source=hourly))) == 3_600 * SECOND


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('horizon = "20 d"', 'horizon = "999 ms"'), "horizon"),
        (('horizon = "20 d"', 'horizon = "31 d"'), "horizon"),
        (("slices = 10 ", "slices = 0 "), "slices"),
        (("slices = 10 ", "slices = 101 "), "slices"),
        (('displayed = "10 %"', 'displayed = "9999 ppm"'), "displayed"),
        (('displayed = "10 %"', 'displayed = "101 %"'), "displayed"),
        (('jitter = "20 %"', 'jitter = "51 %"'), "jitter"),
        (("retries = 2", "retries = -1"), "retries"),
        (("retries = 2", "retries = 11"), "retries"),
        (("exit_slices = 4", "exit_slices = 0"), "exit_slices"),
        (("exit_slices = 4", "exit_slices = 21"), "exit_slices"),
        (('execution = "plain"', 'execution = "vwap"'), "execution"),
    ],
)
def test_a_value_out_of_range_is_refused(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    """With the key's name."""
    with pytest.raises(ConfigError, match=words):
        load_config(_config(tmp_path, change))


@pytest.mark.parametrize(
    "change",
    [
        ('horizon = "20 d"', 'horizon = "1 s"'),
        ('horizon = "20 d"', 'horizon = "30 d"'),
        ("slices = 10 ", "slices = 1 "),
        ("slices = 10 ", "slices = 100 "),
        ('displayed = "10 %"', 'displayed = "1 %"'),
        ('displayed = "10 %"', 'displayed = "100 %"'),
        ('jitter = "20 %"', 'jitter = "0 %"'),
        ('jitter = "20 %"', 'jitter = "50 %"'),
        ("retries = 2", "retries = 0"),
        ("retries = 2", "retries = 10"),
        ("exit_slices = 4", "exit_slices = 1"),
        ("exit_slices = 4", "exit_slices = 20"),
    ],
)
def test_a_value_at_its_bound_is_taken(tmp_path: Path, change: tuple[str, str]) -> None:
    """The last allowed value passes (C24)."""
    load_config(_config(tmp_path, change))


def test_what_stands_is_asked_of_safety_and_books() -> None:
    """Mode, latched stop, holds of this instrument, and which arming it is."""
    core = Core()
    means = CoreMeans({}, core.limits, core.portfolio, core.safety, "test")
    assert means.standing(BOT, SPX) == Standing("boot/1/7", normal=True, held=False)
    core.holds.begin(HoldCause.STALE_DATA, "instrument:NDX", 1, "")
    assert not means.standing(BOT, SPX).held
    core.holds.begin(HoldCause.STALE_DATA, BOX, 1, "")
    assert means.standing(BOT, SPX).held
    core.safety.mode = Mode.REDUCED
    assert not means.standing(BOT, SPX).normal
    core.safety.mode = Mode.NORMAL
    core.portfolio.stop_source(BOT, "test", 1)
    assert not means.standing(BOT, SPX).normal
    assert means.most(SPX) == (10_000, 20_000 * AMOUNT_ONE)
    assert means.most(InstrumentId("XYZ")) == (0, 0)


def test_the_seed_differs_by_account_and_parent() -> None:
    """Framed: an account cannot borrow from the parent's id."""
    core = Core()
    seeds = {
        CoreMeans({}, core.limits, core.portfolio, core.safety, account).seed(IntentId(parent))
        for account, parent in (("a", "bc"), ("ab", "c"), ("a", "b"), ("b", "bc"))
    }
    assert len(seeds) == 4
    one, same = (CoreMeans({}, core.limits, core.portfolio, core.safety, "a") for _ in range(2))
    assert one.seed(IntentId("x")) == same.seed(IntentId("x"))


def _begun(name: str, source: SourceId = BOT) -> dict[str, Any]:
    parent = Intent(id=IntentId(name), source=source, instrument=SPX, created_ns=5, qty=Qty(100))
    recipe, bounds = Recipe(style=Style.TWAP), Bounds(1, 1, 50)
    plan = make_plan(parent, recipe, bounds, Holding(spx()), 1, "b/1/7", 0)
    return {"execution": "begun", "intent": name, "source": source, "plan": plan_data(plan)}


def _restored(tmp_path: Path, entries: list[dict[str, Any]]) -> list[tuple[str, str, int]]:
    settings = new_log(tmp_path)

    async def write() -> None:
        client = await LogClient.start(settings)
        for data in entries:
            client.append((Entry(kind="execution", utc_ns=1, mono_ns=1, data=data),))
        await client.aclose()

    asyncio.run(write())
    record = RunRecord(run=RunId("r"), account="a", feed="f", index=0, finished=False)
    plans = restore(settings.directory, record).plans
    return [(plan.parent.id, plan.parent.source, index) for plan, index in plans]


def test_plans_that_have_not_ended_are_restored(tmp_path: Path) -> None:
    """By source and intent, with the index of their entry; one that ended is over."""
    ended = {"execution": "ended", "intent": "x", "source": BOT}
    other = SourceId("other")
    repeated = {"execution": "repeated", "intent": "y", "source": BOT}
    entries = [_begun("x"), _begun("y"), _begun("x", other), ended, ended | {"intent": "unknown"}, repeated]
    found = _restored(tmp_path, entries)
    assert [(name, source) for name, source, _ in found] == [("y", BOT), ("x", other)]
    assert found[1][2] - found[0][2] == 1


@pytest.mark.parametrize("plan", [None, {}, {"style": "twap"}])
def test_a_plan_that_cannot_be_read_ends_the_start(tmp_path: Path, plan: object) -> None:
    """Nobody guesses what was to be sent."""
    with pytest.raises(StoreError, match="a plan in the audit log cannot be read"):
        _restored(tmp_path, [_begun("x") | {"plan": plan}])


def test_counts_of_endings_and_histograms() -> None:
    """On a bound counts below it; price and time only of what filled at all."""
    stats = ExecutionStats()
    assert stats.line().parents == dict.fromkeys((e.value for e in Ending), 0)
    stats.ended(Ending.DONE, 100, 200, 1_000 * 1_000_000)
    stats.ended(Ending.EXPIRED, 0, -99_999, 10**18)
    stats.ended(Ending.EXPIRED, 1, 20_001, 604_800_001 * 1_000_000)
    line = stats.line()
    assert (line.parents["DONE"], line.parents["EXPIRED"], line.parents["DENIED"]) == (1, 2, 0)
    assert line.filled_percent == Buckets((0, 25, 50, 75, 90, 99, 100), (1, 1, 0, 0, 0, 0, 1, 0))
    assert line.slippage_ppm.counts == (0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1)
    assert line.fill_ms.counts == (0, 1, 0, 0, 0, 0, 0, 0, 1)


def test_metrics_of_execution() -> None:
    """Ratios, ppm and seconds, cumulative; no quantity."""
    assert cumulative(Buckets((25, 100), (1, 2, 0)), 100) == [("0.25", 1), ("1.0", 3), ("+Inf", 3)]
    told = Execution(
        parents={"DONE": 3, "DENIED": 0},
        children=9,
        retries=2,
        filled_percent=Buckets((50, 100), (1, 2, 0)),
        slippage_ppm=Buckets((-200, 0, 200), (1, 0, 1, 1)),
        fill_ms=Buckets((1_000,), (2, 1)),
    )
    text = exposition(replace(NORMAL, execution=told))[0].decode()
    for line in (
        'interlock_execution_parents_total{ending="DONE"} 3.0',
        'interlock_execution_parents_total{ending="DENIED"} 0.0',
        "interlock_execution_children_total 9.0",
        "interlock_execution_retries_total 2.0",
        'interlock_execution_filled_ratio_bucket{le="0.5"} 1.0',
        'interlock_execution_slippage_ppm_bucket{le="-200.0"} 1.0',
        'interlock_execution_slippage_ppm_bucket{le="+Inf"} 3.0',
        'interlock_execution_fill_seconds_bucket{le="1.0"} 2.0',
    ):
        assert line in text, line
