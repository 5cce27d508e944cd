"""The sixteen dangerous orders of CONTROLS through the whole core: 16 of 16 denied, each with its reason
code, and each approved as soon as the dangerous part is taken away."""

from __future__ import annotations

import asyncio

import pytest

from appliance.domain.order import Accepted, Amended
from appliance.domain.verdict import Approved, Denied, Verdict
from tests.dangers import DANGERS, Ask, Danger, Scene, Stage


def _row(danger: Danger) -> object:
    return pytest.param(danger, id=f"{danger.number}: {danger.says}")


def _asked(scene: Scene, ask: Ask) -> tuple[Verdict, Verdict, Stage, int]:
    """What the gate alone and, on a stage of its own, the desk answers; that stage, and how many events the
    venue had told before."""

    async def run() -> tuple[Verdict, Verdict, Stage, int]:
        alone, stage = Stage(scene), Stage(scene)
        await alone.build()
        await stage.build()
        before = len(stage.core.engine.ledger.log)
        by_gate = alone.core.gate.check(alone.intent(ask))
        by_desk = await stage.core.desk.place(stage.intent(ask))
        return by_gate, by_desk, stage, before

    return asyncio.run(run())


def test_the_table_has_sixteen_rows() -> None:
    """CONTROLS numbers them; no row is without its danger or without its opposite."""
    assert [danger.number for danger in DANGERS] == list(range(1, 17))
    for danger in DANGERS:
        assert (danger.scene, danger.ask) != danger.safe, danger.says


@pytest.mark.parametrize("danger", [_row(danger) for danger in DANGERS])
def test_a_dangerous_order_is_denied(danger: Danger) -> None:
    """By the gate and at the desk, with its own code; the venue hears nothing and nothing more works."""
    by_gate, by_desk, stage, before = _asked(danger.scene, danger.ask)
    for verdict in (by_gate, by_desk):
        assert isinstance(verdict, Denied), danger.says
        assert verdict.reason == danger.reason, verdict
    core = stage.core
    assert len(core.engine.ledger.log) == before
    entries = [order for order in core.orders.live() if order.protects is None]
    assert [order.id for order in entries] == stage.orders
    assert core.scribe.of("verdict")[-1]["reason"] == danger.reason


@pytest.mark.parametrize("danger", [pytest.param(each, id=f"{each.number}: {each.says}") for each in DANGERS])
def test_the_same_order_without_the_danger_passes(danger: Danger) -> None:
    """A limit is the last allowed value: what is denied is the danger, not the order."""
    by_gate, by_desk, stage, before = _asked(*danger.safe)
    assert isinstance(by_gate, Approved), by_gate
    assert isinstance(by_desk, Approved), by_desk
    (told,) = stage.core.engine.ledger.log[before:]
    assert isinstance(told, Accepted | Amended)
    assert (told.order_id, told.qty) == (by_desk.order_id, danger.safe[1].qty)


def test_the_same_wish_again_gets_the_first_answer_and_sends_nothing() -> None:
    """Row 16 with nothing changed but the time: an answer that was lost may be asked for again."""

    async def run() -> None:
        stage = Stage(DANGERS[15].scene)
        await stage.build()
        before = len(stage.core.engine.ledger.log)
        again = await stage.core.desk.place(stage.working[0])
        assert isinstance(again, Approved)
        assert again.order_id == stage.orders[0]
        assert len(stage.core.engine.ledger.log) == before

    asyncio.run(run())
