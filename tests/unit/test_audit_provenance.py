"""The chain of a decision, its words, its picture and its result, from records alone."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.audit.chain_svg import svg
from appliance.audit.chain_text import text_lines
from appliance.audit.chain_words import tell
from appliance.audit.outcome import Trade, outcome_of, trade_of
from appliance.audit.provenance import MAX_ENTRIES, Chain, Link, chain_of_entry, chain_of_order
from appliance.audit.records import Record, decode_entry
from appliance.domain.errors import PeerError
from appliance.portfolio.lots import Lots
from tests.audit_story import BUY, SELL, bodies, story
from tests.kit import spx


class Records:
    """A log of records in memory, so that one can be forged: implements provenance.ChainLog."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.all: dict[int, Record | PeerError] = {record.i: record for record in records}

    def size(self) -> int:
        return max(self.all, default=-1) + 1

    def record(self, index: int) -> Record | PeerError | None:
        return self.all.get(index)

    def _records(self) -> list[Record]:
        return [found for found in self.all.values() if isinstance(found, Record)]

    def about(self, order_id: str) -> list[Record]:
        named = [(record, str(record.data.get("order_id"))) for record in self._records()]
        return [record for record, name in named if name == order_id or name.startswith(f"{order_id}-")]

    def citing(self, first: int, stop: int) -> list[Link]:
        asked = (record for record in self._records() if first <= record.i < stop and record.causes)
        return [Link(record.i, record.kind, record.causes) for record in asked]

    def last_before(self, kind: str, index: int) -> Record | None:
        return next((r for r in reversed(self._records()) if r.kind == kind and r.i < index), None)


def record(index: int, *causes: int, kind: str = "venue", **data: Any) -> Record:
    return Record(1, index, "core", index, kind, str(index), str(index), causes, data)


def the_story() -> Records:
    return Records(decode_entry(body) for body in bodies(story()))


def of_order(log: Records, name: str, window: int | None = 100) -> Chain:
    chain = chain_of_order(log, name, window)
    assert chain is not None
    return chain


def of_entry(log: Records, index: int, window: int | None = 100) -> Chain:
    chain = chain_of_entry(log, index, window)
    assert chain is not None
    return chain


def test_an_order_s_chain_goes_from_the_signal_to_the_leg_s_last_state() -> None:
    """Up over intent and execution, down over verdict, states, fills and legs; nothing of other orders."""
    chain = of_order(the_story(), BUY)
    assert list(chain.records) == [5, 6, 7, 8, 9, 10, 11]
    assert (chain.focus, chain.roots, chain.depth) == (frozenset({8, 9, 10, 11}), (5,), 3)
    assert chain.children == {5: (6,), 6: (7,), 7: (8, 9, 10, 11)}
    assert chain.config is not None
    assert (chain.config.i, chain.decided) == (2, 8)
    assert (chain.missing, chain.notes) == ((), ())


def test_every_entry_of_a_chain_finds_what_led_to_it_and_what_it_led_to() -> None:
    """Asked from the signal: all. Asked from the fill: no siblings, they are not its causes or effects."""
    assert list(of_entry(the_story(), 5).records) == [5, 6, 7, 8, 9, 10, 11]
    assert list(of_entry(the_story(), 16).records) == [16, 17, 18]
    assert list(of_entry(the_story(), 21).records) == [21]
    assert chain_of_entry(the_story(), 22) is None
    assert chain_of_order(the_story(), "il-none") is None


@given(st.lists(st.lists(st.integers(-2, 30), max_size=4), min_size=1, max_size=25), st.integers(0, 24))
@settings(deadline=None, derandomize=True, max_examples=200)
def test_no_forged_circle_holds_anybody_up(causes: list[list[int]], asked: int) -> None:
    """Any causes at all, forwards, to itself, in a ring: an answer, each entry at most once in full."""
    log = Records(record(index, *named) for index, named in enumerate(causes))
    chain = chain_of_entry(log, asked)
    if asked >= len(causes):
        assert chain is None
        return
    assert chain is not None
    told = tell(chain, str(asked), "", str)
    full = [row.index for row in told.rows if not row.again]
    assert sorted(full) == list(chain.records)
    assert len(told.rows) <= sum(len(row.causes) + 1 for row in chain.records.values())


def test_missing_and_damaged_links_are_said() -> None:
    """And what can be shown is shown."""
    log = the_story()
    del log.all[6]
    chain = of_order(log, BUY)
    assert chain.missing == ((7, 6),)
    assert "entry 7 names 6 as its cause: it is missing" in tell(chain, BUY, "", str).notes
    log.all[6] = PeerError("not an audit entry", "entry 6: not JSON")
    chain = of_order(log, BUY)
    assert list(chain.records) == [7, 8, 9, 10, 11]
    assert chain.notes == ("an entry is damaged: entry 6: not JSON",)


def test_what_was_not_looked_at_is_said() -> None:
    """Two entries after the signal only; the orders found there are followed to their end all the same."""
    chain = of_entry(the_story(), 5, window=2)
    assert list(chain.records) == [5, 6, 7]
    assert "effects after entry 7 are shown for its orders only" in chain.notes[0]
    assert list(of_entry(the_story(), 5, window=3).records) == [5, 6, 7, 8, 9, 10, 11]
    assert of_entry(the_story(), 5, window=None).notes == ()


def test_a_chain_without_end_is_cut_and_says_so() -> None:
    """A thousand entries are more than anybody reads."""
    log = Records(record(index, *([index - 1] if index else [])) for index in range(MAX_ENTRIES + 5))
    chain = of_entry(log, MAX_ENTRIES + 4, window=None)
    assert len(chain.records) == MAX_ENTRIES
    assert chain.depth == MAX_ENTRIES - 1
    assert "cut at 1000 entries" in chain.notes[0]
    assert len(tell(chain, "x", "", str).rows) == MAX_ENTRIES


def test_an_order_of_too_many_entries_is_cut_too() -> None:
    """What was asked about is no exception."""
    states = [record(index, 0, kind="order", order_id="il-x") for index in range(1, MAX_ENTRIES + 50)]
    chain = of_order(Records([record(0), *states]), "il-x")
    assert len(chain.records) == MAX_ENTRIES
    assert chain.focus <= chain.records.keys()
    assert "cut at 1000 entries: there are more" in chain.notes


def test_an_entry_with_two_causes_is_told_once_in_full() -> None:
    """Below the second cause it is named only."""
    log = Records([record(0), record(1, 0), record(2, 0), record(3, 1, 2, 2, x="y")])
    rows = tell(of_entry(log, 3), "3", "", str).rows
    assert [(row.index, row.again, row.rails) for row in rows] == [
        (0, False, ()),
        (1, False, (True,)),
        (3, False, (True, False)),
        (2, False, (False,)),
        (3, True, (False, False)),
    ]


def text_of(chain: Chain, asked: str = BUY, outcome: str = "P&L") -> str:
    told = tell(chain, asked, outcome, lambda ns: f"T{ns}")
    times = dict.fromkeys(chain.records, 0)
    return "\n".join(line for line, _ in text_lines(told, str, times))


def test_the_tree_says_who_from_what_under_which_limits_and_what_came_of_it() -> None:
    """Every part of the promise, in words; limits of other instruments are not this decision's."""
    text = text_of(of_order(the_story(), BUY))
    for part in (
        "who      trend",
        "unsealed configuration of entry 2, sha256 ",
        "account position cap 2 %; trend allocation 9,500 USD; SPX price collar 5 %",
        "signal: trend wants LONG SPX: above its mean",
        "price 100.00, stop 95.00",
        "1 s old",
        "precedent o-17 of T",
        "1 d before, distance 12",
        "approved INCREASE: order il-aaaa",
        "changed: STOP_ATTACHED",
        "il-aaaa filled: BUY 1.00 SPX at 100.00, fee 0.1000000000",
        "il-aaaa-s is WORKING",
        "└─ #7",
        "   └─ #11",
    ):
        assert part in text, part
    assert "NDX" not in text
    assert "DENIED: NO_LIMIT" in text_of(of_entry(the_story(), 18))


def parsed(drawn: str) -> ET.Element:
    """As a browser would; what we have drawn ourselves has no entities."""
    return ET.fromstring(drawn)  # noqa: S314


HOSTILE = '<script>alert("1")</script>&amp;\x1b]0;\x00\u202e\ud800\ufffe'


def test_a_picture_is_self_contained_and_takes_any_text() -> None:
    """Well-formed XML whatever a bot wrote; no script, no address, no element but those of a drawing."""
    log = Records([record(0, kind=kind, reason=HOSTILE, strategy=HOSTILE, source=HOSTILE, order_id=HOSTILE)
                   for kind in ("signal",)])  # fmt: skip
    for kind in ("intent", "verdict", "order", "fill", "execution", "venue", "denied_count"):
        data: dict[str, Any] = {"order_id": HOSTILE, "why": HOSTILE, HOSTILE: 1}
        log.all[len(log.all)] = record(len(log.all), 0, kind=kind, **data)
    told = tell(of_entry(log, 0), HOSTILE, HOSTILE, str)
    drawn = svg(told, str, dict.fromkeys(range(20), 0))
    drawn.encode()
    names = {element.tag.rpartition("}")[2] for element in parsed(drawn).iter()}
    assert names == {"svg", "title", "rect", "text", "tspan", "path"}
    assert "style=" not in drawn, "the page's policy takes no style inside a document"
    assert not re.findall(r'(?:href|src|url\(|on[a-z]+=)"?', re.sub(r">[^<]*<", "><", drawn))
    assert "<script" not in drawn


def test_every_box_of_the_picture_is_inside_it() -> None:
    """Forty levels deep and one entry of many lines."""
    causes = [(), *((index,) for index in range(39))]
    log = Records(record(index, *cause, text="word " * 300) for index, cause in enumerate(causes))
    drawn = svg(tell(of_entry(log, 39), "39", "", str), str, dict.fromkeys(range(40), 0))
    root = parsed(drawn)
    width, height = int(root.attrib["width"]), int(root.attrib["height"])
    boxes = [each.attrib for each in root.iter() if each.tag.endswith("rect")][1:]
    assert len(boxes) == 40
    edges = [(int(b["x"]) + int(b["width"]), int(b["y"]) + int(b["height"])) for b in boxes]
    assert all(right <= width and bottom <= height and int(b["width"]) > 300
               for b, (right, bottom) in zip(boxes, edges, strict=True))  # fmt: skip
    tops = [int(b["y"]) for b in boxes]
    assert all(top >= before for top, (_, before) in zip(tops[1:], edges, strict=False))


def trade(index: int, order: str, qty: int, price: int, fee: int = 0) -> Trade:
    return Trade(index=index, order_id=order, signed_qty=qty, price=price, fee=fee, value_one=1)


def test_a_round_trip_is_what_its_own_fills_earned() -> None:
    """First in, first out: an older lot of the source is closed first and is not this order's result."""
    trades = [trade(0, "old", 2, 90, 4), trade(1, "mine", 3, 100, 6), trade(2, "out", -4, 110, 8)]
    found = outcome_of("mine", trades)
    assert (found.traded, found.closed, found.held) == (3, 2, 1)
    assert (found.pnl, found.fees, found.with_orders) == (2 * 10, 2 * 2 + 2 * 2, ("out",))
    assert found.text(0) == "P&L +0.0000000012 after fees of 0.0000000008 on 2, closed by out; 1 still held"
    other = outcome_of("out", trades)
    assert (other.pnl, other.opened, other.with_orders) == (2 * 20 + 2 * 10, False, ("old", "mine"))
    assert outcome_of("old", trades).pnl == 40
    assert outcome_of("none", trades).text(0) == "nothing was traded"
    assert outcome_of("mine", trades[:2]).text(0) == "3 still held: no result yet"


def test_a_short_round_trip_gains_when_the_price_falls() -> None:
    """And one fill that turns the position belongs to both trips."""
    trades = [trade(0, "in", -2, 100), trade(1, "turn", 5, 90), trade(2, "out", -3, 95)]
    assert outcome_of("in", trades).pnl == 20
    turned = outcome_of("turn", trades)
    assert (turned.pnl, turned.closed, turned.held) == (20 + 15, 5, 0)


NAMES = ("a", "b", "c")
TRADES = st.lists(
    st.tuples(
        st.sampled_from(NAMES), st.integers(-9, 9).filter(bool), st.integers(1, 99), st.integers(0, 50)
    ),
    max_size=30,
)


@given(TRADES)
@settings(deadline=None, derandomize=True, max_examples=300)
def test_results_add_up_to_the_account_s_own_lots(drawn: list[tuple[str, int, int, int]]) -> None:
    """Every unit that closed counts twice, at both of its ends: half the sum is what the portfolio booked."""
    trades = [trade(i, f"{name}{i}", qty, price, fee) for i, (name, qty, price, fee) in enumerate(drawn)]
    instrument = spx()
    lots = Lots(instrument)
    for each in trades:
        lots.apply(each.signed_qty, each.price)
    found = [outcome_of(each.order_id, trades) for each in trades]
    assert sum(each.pnl for each in found) == 2 * lots.realised // instrument.amount_factor
    assert sum(each.held for each in found) == abs(lots.quantity)
    assert all(each.closed + each.held == each.traded for each in found)
    assert sum(each.fees for each in found) <= 2 * sum(each.fee for each in trades)


@pytest.mark.parametrize(
    "broken",
    [{}, {"raw": None}, {"raw": {"qty": "x", "price": "1", "fee": "1"}}, {"raw": {"qty": "1"}},
     {"raw": {"qty": "1", "price": "1", "fee": "1"}, "side": "BOTH"},
     {"raw": {"qty": "1", "price": "1", "fee": "9" * 5000}, "side": "BUY"},
     {"raw": {"qty": "1", "price": "1", "fee": "1"}, "side": "BUY", "qty": "0.123456", "price": "0.12345"}],
)  # fmt: skip
def test_a_fill_that_does_not_tell_enough_counts_for_nothing(broken: dict[str, Any]) -> None:
    """A log of another version may lack a field."""
    assert trade_of(0, broken) is None


def test_a_fill_of_the_log_is_a_trade_in_integers() -> None:
    """Price with two decimals, quantity with two: one unit of their product is 10^-4."""
    found = trade_of(15, decode_entry(bodies(story())[15]).data)
    expected = Trade(index=15, order_id=SELL, signed_qty=-100, price=11_000, fee=10**9, value_one=10**6)
    assert found == expected


def test_the_picture_of_the_story_is_drawn(tmp_path: Path) -> None:
    """As a file a browser opens."""
    chain = of_order(the_story(), BUY)
    drawn = svg(tell(chain, BUY, "", str), str, dict.fromkeys(chain.records, 0))
    (tmp_path / "why.svg").write_text(drawn, "utf-8")
    assert parsed((tmp_path / "why.svg").read_text("utf-8")).tag == "{http://www.w3.org/2000/svg}svg"
    assert drawn.count('stroke-width="3"') == 4
