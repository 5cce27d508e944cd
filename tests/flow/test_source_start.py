"""A source its own limits stopped, started again by a signed act (CONTROLS 7): refused, done, remembered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from appliance.domain.errors import StoreError
from appliance.domain.intent import OrderType
from appliance.domain.mode import Mode, TripReason
from appliance.domain.money import Price
from appliance.domain.reasons import Reason
from appliance.domain.verdict import Approved, Denied
from appliance.runtime.guard_link import name_word
from appliance.safety.signed_act import WITHIN_NS
from tests.flow.test_losses import OTHER, Flow
from tests.flow.test_safety_loop import Loop
from tests.kit import BOT, SECOND

OPERATOR = "00000000c0ffee00"


class Desk:
    """A flow whose sources stop at a fall of 0.01 %, its safety loop driven round by round."""

    def __init__(self, tmp_path: Path) -> None:
        self.flow = Flow()
        self.core = self.flow.core
        (tmp_path / "latch").mkdir(parents=True)
        self.loop = Loop(self.core, tmp_path / "latch")
        self.loop.watch.catch_up()

    async def round(self) -> None:
        """One round of the safety loop."""
        self.core.clock.mono += SECOND // 5
        self.loop.watch.round()
        await self.loop.watch.work_once()

    async def stopped(self, *, sold: bool = True) -> None:
        """BOT held 10.00, fell, was stopped and (sold) has left."""
        await self.core.hold_position(1_000)
        await self.flow.bar(98_000)
        if sold:
            await self.flow.bar(98_000)
            assert self.core.portfolio.is_flat()
        assert self.core.portfolio.source_stopped(BOT)

    def command(self, subject: str = BOT) -> None:
        """What the guard's page shows of a verified command."""
        self.core.guard.subject = name_word(subject)
        self.core.guard.press_key("SOURCE_START", OPERATOR)

    async def start(self, subject: str = BOT) -> dict[str, Any]:
        """One verified command; what the log says became of it."""
        before = len(self.core.scribe.of("loosening"))
        self.command(subject)
        await self.round()
        found = self.core.scribe.of("loosening")[before:]
        assert len(found) == 1
        return found[0]


def _run(act: Callable[[Desk], Coroutine[None, None, None]], tmp_path: Path) -> None:
    asyncio.run(act(Desk(tmp_path)))


def test_a_stopped_source_trades_again_after_the_act_and_not_before(tmp_path: Path) -> None:
    """Once, by name; its peak is its present equity, so the same fall does not stop it again."""

    async def act(desk: Desk) -> None:
        portfolio = desk.core.portfolio
        await desk.stopped()
        denied = desk.flow.verdict(BOT)
        assert isinstance(denied, Denied)
        assert denied.reason is Reason.STRATEGY_STOPPED
        why = portfolio.sources[BOT].stopped_reason
        equity = portfolio.sources[BOT].equity(portfolio.holdings)
        told = await desk.start()
        assert (told["outcome"], told["act"], told["source"]) == ("done", "source_start", BOT)
        assert (told["why"], told["operator"]) == (why, OPERATOR)
        assert told["raw"] == {"equity": str(equity)}
        assert told["marks"] == portfolio.resets.marks
        assert isinstance(desk.flow.verdict(BOT), Approved)
        assert portfolio.sources[BOT].decline.peak == equity
        await desk.flow.bar(98_000)
        assert not portfolio.source_stopped(BOT)
        assert (await desk.start())["missing"] == ["a stopped source"], "one act, one start"
        await desk.core.hold_position(1_000)
        await desk.flow.bar(96_000)
        assert portfolio.source_stopped(BOT), "its limit goes on, from the new peak"

    _run(act, tmp_path)


@pytest.mark.parametrize("subject", ["trend-nobody", OTHER])
def test_it_starts_the_source_that_was_signed_and_no_other(tmp_path: Path, subject: str) -> None:
    """A name nobody has, and one that was never stopped."""

    async def act(desk: Desk) -> None:
        await desk.stopped()
        told = await desk.start(subject)
        known = subject == OTHER
        assert told["outcome"] == "refused"
        assert told["missing"] == ["a stopped source" if known else "a source of this name"]
        assert told["source"] == (OTHER if known else "")
        assert desk.core.portfolio.source_stopped(BOT)

    _run(act, tmp_path)


def test_it_is_refused_while_the_source_still_leaves(tmp_path: Path) -> None:
    """Started halfway it would keep what its limit told it to sell."""

    async def act(desk: Desk) -> None:
        await desk.stopped(sold=False)
        told = await desk.start()
        assert told["missing"] == ["nothing held by it", "no order of it"]
        assert desk.core.portfolio.source_stopped(BOT)

    _run(act, tmp_path)


def test_what_others_hold_and_rest_keeps_no_source_stopped(tmp_path: Path) -> None:
    """Only its own position and its own orders count."""

    async def act(desk: Desk) -> None:
        await desk.stopped()
        rests = desk.core.intent(source=OTHER, order_type=OrderType.LIMIT, price=Price(97_000))
        assert isinstance(await desk.core.desk.place(rests), Approved)
        assert (await desk.start())["outcome"] == "done"

    _run(act, tmp_path)


@pytest.mark.parametrize("reason", [TripReason.KILL_BUTTON, TripReason.TAMPER])
def test_a_trip_after_the_command_voids_it_and_emergency_refuses_it(
    tmp_path: Path, reason: TripReason
) -> None:
    """Bound to its trip epoch; and where the mode is EMERGENCY nothing is loosened at all."""

    async def act(desk: Desk) -> None:
        await desk.stopped()
        desk.command()
        desk.core.guard.trip(reason)
        await desk.round()
        told = desk.core.scribe.of("loosening")
        assert [entry["missing"] for entry in told] == [["no trip after it"]]
        if desk.core.safety.mode is Mode.EMERGENCY:
            assert "mode NORMAL or PAUSED" in (await desk.start())["missing"]
        assert desk.core.portfolio.source_stopped(BOT)

    _run(act, tmp_path)


@pytest.mark.parametrize("condition", ["clock_ok", "store_ok"])
def test_each_condition_that_is_missing_is_named(tmp_path: Path, condition: str) -> None:
    """Fail shut, with the reason."""

    async def act(desk: Desk) -> None:
        await desk.stopped()
        setattr(desk.loop, condition, False)
        assert condition in (await desk.start())["missing"]
        assert desk.core.portfolio.source_stopped(BOT)

    _run(act, tmp_path)


def test_a_command_nobody_decided_in_time_is_void(tmp_path: Path) -> None:
    """The venue did not answer for 5 s; what was signed then does not happen now."""

    async def act(desk: Desk) -> None:
        await desk.stopped()
        desk.command()
        desk.loop.watch.round()
        desk.core.clock.mono += WITHIN_NS + 1
        await desk.round()
        told = desk.core.scribe.of("loosening")
        assert [entry["missing"] for entry in told] == [["confirmation in time"]]
        await desk.round()
        assert desk.core.portfolio.source_stopped(BOT)

    _run(act, tmp_path)


def test_what_is_not_on_record_does_not_happen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry is durable before the source trades."""

    async def act(desk: Desk) -> None:
        await desk.stopped()

        class Lost:
            index = 0

            async def durable(self) -> None:
                raise StoreError("the log did not take it", "the test says so")

        monkeypatch.setattr(desk.core.scribe, "note", lambda *_args, **_keywords: Lost())
        desk.command()
        await desk.round()
        assert desk.core.portfolio.source_stopped(BOT)

    _run(act, tmp_path)
