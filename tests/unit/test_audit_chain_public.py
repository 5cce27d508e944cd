"""What the status page may show of a decision: who, from what, under which limits; no position."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.audit.chain_public import LEFT_OUT, is_decision, public_story
from appliance.audit.chain_svg import svg
from appliance.audit.provenance import Chain, chain_of_entry
from appliance.audit.records import KINDS, Record
from appliance.runtime.audit_view import stamp
from tests.audit_story import BUY, SELL, START_NS
from tests.unit.test_audit_provenance import Records, record, the_story

BUY_VERDICT, SELL_VERDICT, DENIAL = 8, 14, 18


def chain_of(log: Records, index: int) -> Chain:
    chain = chain_of_entry(log, index)
    assert chain is not None
    return chain


def drawn_of(log: Records, index: int) -> str:
    chain = chain_of(log, index)
    return svg(public_story(chain, index, stamp), stamp, dict.fromkeys(chain.records, START_NS))


def test_an_approval_says_who_from_what_under_which_limits_and_that_it_left() -> None:
    """The rows of the story, in full."""
    story = public_story(chain_of(the_story(), BUY_VERDICT), BUY_VERDICT, lambda ns: f"<{ns - START_NS}>")
    assert [(row.index, row.title, row.details) for row in story.rows] == [
        (5, "trend changed its mind about SPX",
         ("from the observation of <4000000000>", "precedents memory knew: 1",
          "precedent of <-86400000000000>")),
        (7, "trend asks about SPX", ()),
        (8, "approved by the gate", ()),
        (9, "taken by the venue", ()),
    ]  # fmt: skip
    assert [len(row.rails) for row in story.rows] == [0, 1, 2, 2], "the plan between them is drawn through"
    names = dict(story.facts)
    assert list(names) == ["who", "under", "limits"]
    assert names["who"] == "trend"
    assert names["limits"] == "account position cap 2 %; trend allocation 9,500 USD; SPX price collar 5 %"
    assert story.notes == (f"{LEFT_OUT} 8",)


def test_an_exit_looks_as_an_entry_does() -> None:
    """Titles and depth tell neither which side it was nor that it closed something."""
    log = the_story()
    log.all[22] = record(22, 13, kind="order", order_id=SELL, state="WORKING")
    pair = [public_story(chain_of(log, index), index, stamp) for index in (BUY_VERDICT, SELL_VERDICT)]
    shapes = [[(row.kind, row.title, row.rails) for row in story.rows] for story in pair]
    assert shapes[0] == shapes[1]


def test_a_denial_says_its_code_and_no_figure() -> None:
    """The detail of a denial has how much of a limit is used."""
    log = Records([record(0, kind="intent", source="bot", instrument="SPX", side="BUY")])
    log.all[1] = record(
        1, 0, kind="verdict", verdict="denied", reason="POSITION_CAP", detail="12,345 of 10,000", source="bot"
    )
    assert "DENIED: POSITION_CAP" in drawn_of(log, 1)
    assert "12,345" not in drawn_of(log, 1)
    log.all[1] = record(1, 0, kind="verdict", verdict="denied", reason="LONG 5 SPX", source="bot")
    assert "LONG 5" not in drawn_of(log, 1)


@pytest.mark.parametrize("state", ["FILLED", "PARTIALLY_FILLED", "CANCELLED", "EXPIRED", "UNKNOWN", "SENT"])
def test_how_an_order_ended_is_not_shown(state: str) -> None:
    """Filled and cancelled are both silence: one of them is a position."""
    log = the_story()
    before = drawn_of(log, BUY_VERDICT)
    log.all[22] = record(22, 7, kind="order", order_id=BUY, state=state, filled="1.00")
    assert drawn_of(log, BUY_VERDICT) == before


def test_a_protective_leg_is_not_shown() -> None:
    """It is there once its entry was filled."""
    log = the_story()
    with_leg = drawn_of(log, BUY_VERDICT)
    del log.all[11]
    assert drawn_of(log, BUY_VERDICT) == with_leg
    del log.all[10]
    assert drawn_of(log, BUY_VERDICT) == with_leg, "nor is the fill"


KEYS = sorted(
    {
        "side", "qty", "price", "stop", "type", "class", "flags", "cost", "detail", "reason", "why", "filled",
        "fee", "direction", "advice", "reference", "plan", "outcome", "trigger", "attached_stop", "raw",
        "intent", "reduce_only", "position", "equity", "dust", "trade", "seq",
    }
)  # fmt: skip


@pytest.mark.safety("S12.4")
@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.sampled_from(KEYS)), max_size=12), st.data())
def test_no_field_that_is_not_named_is_ever_drawn(
    more: list[tuple[str, str]], draw: st.DataObject
) -> None:
    """Canaries in every field of every kind around a decision: none reaches the picture."""
    marks = (f"canary{number}" for number in itertools.count())
    log = Records([])

    def add(kind: str, causes: tuple[int, ...], **data: Any) -> None:
        canaries: dict[str, Any] = {key: next(marks) for key in KEYS if key not in data}
        canaries["precedents"] = [{"observation": next(marks), "distance": next(marks), "event_ns": "5"}]
        log.all[len(log.all)] = record(len(log.all), *causes, kind=kind, **(canaries | data))

    add("config", (), limits={"account x": "2 %"}, other=next(marks))
    add("signal", (), strategy="trend", instrument="SPX")
    add("intent", (1,), source="trend", instrument="SPX")
    add("verdict", (2,), verdict=draw.draw(st.sampled_from(["approved", "denied"])), order_id="il-1")
    for kind, key in more:
        cause = draw.draw(st.integers(1, len(log.all) - 1))
        order = draw.draw(st.sampled_from(["il-1", "il-1-s", "il-2"]))
        told = {key: next(marks), "order_id": order, "state": next(marks)}
        add(kind, (cause,), **told | {"source": "trend", "strategy": "trend", "instrument": "SPX"})
    drawn = drawn_of(log, 3)
    assert "canary" not in drawn
    assert "SPX" in drawn


def test_only_a_verdict_is_a_decision() -> None:
    """A fill or a mark of the day's loss cannot be asked for by its number."""
    assert [kind for kind in KINDS if is_decision(record(0, kind=kind))] == ["verdict"]
    denial = the_story().all[DENIAL]
    assert isinstance(denial, Record)
    assert is_decision(denial)
