"""The same orders through NautilusTrader's risk engine and through our gate (CONTROLS, tests worth most 4).

Two sides: what we deny and they let through names the control of ours that does it; what they deny and we let
through is an exit that they trap. A disagreement that no class of the table explains fails the test.

Needs the extra `peer`; says so and skips where it is not installed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from msgspec import Struct

from appliance.domain.intent import Action
from appliance.domain.reasons import Reason
from appliance.domain.verdict import Denied, OrderClass, Verdict
from tests.dangers import DANGERS, Danger, Stage
from tests.kit import SPX

pytest.importorskip("nautilus_trader", reason="no peer to compare with: install the extra `peer`")

from tests.peer.nautilus import Peer
from tests.peer.stream import WORLDS, Answer, Stream, disagreements

pytestmark = pytest.mark.long

SEEDS, ACTS = 8, 400

PASSES, DENIED = "passes", "denied"
SIXTEEN: dict[int, str] = {
    1: PASSES, 2: PASSES, 3: PASSES, 4: PASSES, 5: DENIED, 6: DENIED, 7: DENIED, 8: PASSES,
    9: PASSES, 10: PASSES, 11: PASSES, 12: PASSES, 13: PASSES, 14: PASSES, 15: PASSES, 16: PASSES,
}  # fmt: skip
"""The dangerous orders by number: what NautilusTrader does. We deny each, with the reason its row names."""

ANY = frozenset(Action)
NEW, AMEND = frozenset({Action.NEW}), frozenset({Action.AMEND})


class Gap(Struct, frozen=True, kw_only=True):
    """One class of disagreements. codes: our reasons if we deny, parts of their reason if they do.

    control: the row of CONTROLS, or the section of SAFETY, that decides; why: what the other engine lacks.
    margin, detail: only on such an account, only with these words in our detail.
    """

    name: str
    we_deny: bool
    control: str
    why: str
    codes: tuple[str, ...]
    actions: frozenset[Action] = ANY
    margin: bool | None = None
    detail: str = ""

    def explains(self, answer: Answer) -> bool:
        """This answer is one of the class."""
        if answer.intent.action not in self.actions or isinstance(answer.ours, Denied) is not self.we_deny:
            return False
        if self.margin is not None and answer.margin is not self.margin:
            return False
        if isinstance(answer.ours, Denied):
            return answer.ours.reason in self.codes and self.detail in answer.ours.detail
        return any(code in answer.theirs for code in self.codes)


def _ours(name: str, control: str, why: str, *codes: str, **only: Any) -> Gap:
    return Gap(name=name, we_deny=True, control=control, why=why, codes=codes, **only)


def _theirs(name: str, control: str, why: str, *codes: str, **only: Any) -> Gap:
    return Gap(name=name, we_deny=False, control=control, why=why, codes=codes, **only)


GAPS: tuple[Gap, ...] = (
    # we deny, they let it through
    _ours(
        "reducing", "17, SAFETY 2",
        "REDUCING asks only whether the side adds to the net position: flat it opens, held it turns, and a "
        "second exit goes beside one that works",
        Reason.MODE_REDUCED,
    ),
    _ours(
        "account unknown", "1", "without an account neither value nor balance is checked",
        Reason.EQUITY_MISSING,
    ),
    _ours("stale price", "21", "the age of a quote is not looked at", Reason.PRICE_STALE),
    _ours("collar", "4", "there is no price band", Reason.PRICE_COLLAR),
    _ours("own order", "10", "own working orders are not looked at", Reason.SELF_TRADE),
    _ours(
        "position", "8", "there is no position limit, and working orders count nowhere", Reason.POSITION_CAP
    ),
    _ours("losses", "9", "profit and loss limit nothing", Reason.DAILY_LOSS, Reason.DRAWDOWN),
    _ours(
        "value on margin", "3", "on a margin account the check returns before the value is known",
        Reason.VALUE_TOO_LARGE, Reason.VALUE_TOO_SMALL, actions=NEW, margin=True,
    ),
    _ours(
        "value below the market", "3",
        "an order to buy below the market is valued at its own price; ours at the dearer of both",
        Reason.VALUE_TOO_LARGE, actions=NEW, margin=False,
    ),
    _ours(
        "value of an amendment", "2, 3", "an amendment's value is never checked",
        Reason.VALUE_TOO_LARGE, Reason.VALUE_TOO_SMALL, actions=AMEND,
    ),
    _ours("steps", "12", "decimals are counted, tick and lot are not", Reason.TICK_SIZE, Reason.LOT_SIZE),
    _ours(
        "what cannot be amended", "2, 24",
        "a market order and an exit larger than the position are left to the venue to refuse",
        Reason.CANNOT_AMEND, actions=AMEND,
    ),
    _ours(
        "another's order", "13", "whose order an amendment means is not asked",
        Reason.UNKNOWN_ORDER, actions=AMEND,
    ),
    _ours(
        "reduce-only that opens", "8",
        "reduce-only is checked only where the command names the position",
        Reason.MALFORMED, detail="reduce-only",
    ),
    _ours(
        "short sale", "11",
        "a cash account may sell what is under way already, or anything with reduce-only set",
        Reason.NOT_ALLOWED,
    ),
    _ours("no limits", "2, 11", "no limit means no check; ours means no order", Reason.NO_LIMIT),
    _ours(
        "used id", "5a", "an id is compared where a strategy makes it, not in the engine", Reason.DUPLICATE_ID
    ),
    _ours("same economics", "5b", "repeated orders are not looked for", Reason.DUPLICATE_ECONOMICS),
    # they deny, we let it through
    _theirs(
        "exits in HALTED", "17, SAFETY 2", "HALTED takes no order at all, not even one that closes",
        "TradingState.HALTED",
    ),
    _theirs(
        "amendments in HALTED", "17, SAFETY 2",
        "HALTED takes no amendment, not even one that shrinks an order or moves a stop",
        "TradingState is HALTED", actions=AMEND,
    ),
    _theirs(
        "stop beside a working exit", "24",
        "a stop on what is held is counted against the balance a resting exit has locked",
        "EXCEEDS_FREE_BALANCE",
    ),
    _theirs(
        "large exits", "2, 3, SAFETY 2", "an exit above the largest order is refused; ours leaves in slices",
        "NOTIONAL_EXCEEDS_MAX_PER_ORDER", "> maximum trade size",
    ),
    _theirs(
        "small exits", "12, SAFETY 2", "an exit below the smallest order is refused; ours goes to the venue",
        "NOTIONAL_LESS_THAN_MIN", "< minimum trade size",
    ),
)  # fmt: skip


def _judged(danger: Danger) -> tuple[str, Verdict]:
    """What NautilusTrader, and then our core, say to a dangerous order on its stage."""

    async def run() -> tuple[str, Verdict]:
        stage = Stage(danger.scene)
        await stage.build()
        core = stage.core
        holding = core.portfolio.holdings[SPX]
        peer = Peer(core.instrument, core.limits.instruments[SPX])
        if danger.scene.account_known:
            peer.account(core.portfolio.cash, 0)
        peer.quote(holding.bid, holding.ask, holding.price_ns)
        peer.follow(core.engine.ledger.log)
        if danger.scene.account_known:
            peer.account(core.portfolio.cash, holding.position)
        peer.clock.set_time(core.clock.utc)
        peer.set_mode(danger.scene.mode)
        assert peer.agrees_on(holding.position, len(core.engine.ledger.live))
        intent = stage.intent(danger.ask)
        theirs = peer.ask(intent, stage.orders[0] if danger.ask.reuses_id else f"ask-{intent.id}")
        return theirs, await core.desk.place(intent)

    return asyncio.run(run())


@pytest.mark.parametrize("danger", [pytest.param(each, id=f"{each.number}: {each.says}") for each in DANGERS])
def test_both_verdicts_on_a_dangerous_order(danger: Danger) -> None:
    """The table of CONTROLS, row by row, against their engine as it is installed, and against ours."""
    theirs, ours = _judged(danger)
    assert (DENIED if theirs else PASSES) == SIXTEEN[danger.number]
    assert isinstance(ours, Denied)
    assert ours.reason == danger.reason


def test_the_peer_lets_thirteen_of_sixteen_through() -> None:
    """The sentence of CONTROLS."""
    assert Counter(SIXTEEN.values()) == {PASSES: 13, DENIED: 3}
    assert set(SIXTEEN) == {danger.number for danger in DANGERS}


def walk() -> list[Answer]:
    """Every world with every seed."""
    answers: list[Answer] = []
    for world in WORLDS:
        for seed in range(SEEDS):
            stream = Stream(world, seed)
            asyncio.run(stream.run(ACTS))
            answers += stream.answers
    return answers


def test_every_disagreement_has_one_explanation() -> None:
    """Thousands of orders over instruments, accounts, sides, types, prices, positions and modes."""
    answers = walk()
    cells = Counter((isinstance(each.ours, Denied), bool(each.theirs)) for each in answers)
    assert len(answers) > 8_000
    assert min(cells[ours, theirs] for ours in (True, False) for theirs in (True, False)) > 100, cells
    found: Counter[str] = Counter()
    for answer in disagreements(answers):
        names = [gap.name for gap in GAPS if gap.explains(answer)]
        assert len(names) == 1, (names, answer)
        found[names[0]] += 1
        _check_side(answer)
    assert set(found) == {gap.name for gap in GAPS}, "a class of the table that never occurs"


def _check_side(answer: Answer) -> None:
    """New exposure is what we deny and they do not; an exit is what they deny and we do not."""
    if isinstance(answer.ours, Denied):
        exit_denied = answer.ours.order_class is not OrderClass.INCREASE
        assert not exit_denied or answer.ours.reason is Reason.DUPLICATE_ID, answer
    else:
        assert answer.ours.order_class is not OrderClass.INCREASE, answer
