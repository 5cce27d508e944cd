"""What a resumed run remembers must agree with itself and with the files it is replayed from (SAFETY 1)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from appliance.domain.ids import InstrumentId, OrderId, SourceId, TradeId
from appliance.domain.intent import Side
from appliance.domain.money import Amount, Price, Qty
from appliance.domain.order import Fill, Order
from appliance.runtime.history import contradictions
from appliance.runtime.restore import NOTHING, last_run
from appliance.runtime.session import Session
from appliance.runtime.store_health import ended_well
from appliance.storage.log_client import LogClient, LogSettings
from tests.audit_support import entry, new_log, order

FILES = ("aa", "bb", "cc")


def _order(name: str, filled: int) -> Order:
    return replace(order(name), qty=Qty(100), filled=Qty(filled))


def _fill(name: str, qty: int, trade: str) -> tuple[SourceId, Fill]:
    fill = Fill(
        trade_id=TradeId(trade),
        order_id=OrderId(name),
        instrument=InstrumentId("SPX"),
        side=Side.BUY,
        qty=Qty(qty),
        price=Price(1),
        fee=Amount(0),
        maker=False,
        event_ns=1,
    )
    return SourceId("bot"), fill


def _session(**changes: Any) -> Session:
    restored = replace(
        NOTHING,
        orders=(_order("il-a", 30), _order("il-b", 0)),
        fills=(_fill("il-a", 10, "t1"), _fill("il-a", 20, "t2")),
    )
    session = Session(run="r", account="a", resumed=True, restored=restored, sha256=FILES)  # type: ignore[arg-type]
    return replace(session, **changes)


@pytest.mark.safety("S1.32")
@pytest.mark.parametrize(
    ("known", "found", "words"),
    [
        (FILES, FILES, ""),
        ((), FILES, ""),
        (FILES, ("aa", "xx", "cc"), "feed.source 1"),
        (FILES, ("xx", "bb", "xx"), "feed.source 0, 2"),
        (FILES, ("aa", "bb"), "their number"),
    ],
)
def test_a_changed_file_is_named(known: tuple[str, ...], found: tuple[str, ...], words: str) -> None:
    """By its place in the configuration; a log of 0.1.0 knows no digests."""
    said = contradictions(_session(sha256=known), found)
    assert words in said
    assert bool(said) is bool(words)


@pytest.mark.safety("S1.32")
@pytest.mark.parametrize(
    ("orders", "fills", "words"),
    [
        ([("a", 30)], [("a", 10, "1"), ("a", 20, "2")], ""),
        ([("a", 0)], [], ""),
        ([("a", 31)], [("a", 10, "1"), ("a", 20, "2")], "order a has filled 31 by its row, 30 by its fills"),
        ([("a", 29)], [("a", 10, "1"), ("a", 20, "2")], "29 by its row, 30"),
        ([("a", 1)], [], "1 by its row, 0"),
        ([], [("a", 5, "1")], "0 by its row, 5"),
        ([("a", 20)], [("a", 10, "1"), ("a", 10, "1")], "fill 1 is in the log 2 times"),
        ([(name, 1) for name in "abcde"], [], "; and 2 more"),
    ],
)
def test_rows_and_fills_tell_the_same(
    orders: list[tuple[str, int]], fills: list[tuple[str, int, str]], words: str
) -> None:
    """One transaction wrote both; to the last unit."""
    restored = replace(
        NOTHING,
        orders=tuple(_order(name, filled) for name, filled in orders),
        fills=tuple(_fill(*each) for each in fills),
    )
    said = contradictions(_session(restored=restored), FILES)
    assert words in said
    assert bool(said) is bool(words)


def test_a_new_run_has_nothing_to_contradict() -> None:
    """Its files are what they are."""
    assert contradictions(_session(resumed=False), ("xx",)) == ""


def _write(settings: LogSettings, *entries: tuple[str, dict[str, Any]]) -> None:
    async def work() -> None:
        client = await LogClient.start(settings)
        await client.append([entry(n, kind, **data) for n, (kind, data) in enumerate(entries)]).durable()
        await client.aclose()

    asyncio.run(work())


RUN = ("run_start", {"run": "r", "account": "a", "feed": "f"})


@pytest.mark.safety("S1.32")
@pytest.mark.parametrize(
    ("entries", "digests"),
    [
        ([RUN], ()),
        ([("run_start", RUN[1] | {"sha256": ["aa"]})], ("aa",)),
        ([("run_start", RUN[1] | {"sha256": ["aa"]}), ("reconcile", {"flat": True})], ("aa",)),
        ([("run_start", RUN[1] | {"sha256": ["aa"]}), ("reconcile", {"sha256": ["bb"]})], ("bb",)),
        ([("run_start", RUN[1] | {"sha256": ["aa"]}), RUN], ()),
    ],
)
def test_the_log_remembers_the_files_a_run_was_last_replayed_from(
    tmp_path: Path, entries: list[tuple[str, dict[str, Any]]], digests: tuple[str, ...]
) -> None:
    """What was told once and armed after is not told at every start; another run's files are its own."""
    settings = new_log(tmp_path)
    _write(settings, *entries)
    run = last_run(settings.directory)
    assert run is not None
    assert run.sha256 == digests


@pytest.mark.safety("S8.5")
@pytest.mark.parametrize(
    ("entries", "well"),
    [
        ([], True),
        ([("stop", {"mode": "PAUSED"})], True),
        ([("stop", {"mode": "PAUSED", "unverified": False})], True),
        ([("stop", {"mode": "PAUSED", "unverified": True})], False),
        ([("stop", {"mode": "PAUSED"}), ("start", {})], False),
    ],
)
def test_a_stop_before_the_log_was_read_whole_is_no_good_end(
    tmp_path: Path, entries: list[tuple[str, dict[str, Any]]], well: bool
) -> None:
    """Or stopping and starting once would make a damaged log armable."""
    settings = new_log(tmp_path)
    if entries:
        _write(settings, *entries)
    assert ended_well(settings.directory) is well
