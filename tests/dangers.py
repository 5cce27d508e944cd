"""The sixteen dangerous orders of CONTROLS as data: what stands, what is asked, why we deny it, and the same
without the danger. Both risk engines are asked from this one table (tests/flow, tests/peer).

Prices are in cents, quantities in hundredths, as in `tests.kit`; the market stands at 1,000.00.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from appliance.domain.ids import OrderId
from appliance.domain.instrument import Instrument
from appliance.domain.intent import Action, Intent, OrderType, Side
from appliance.domain.mode import Mode
from appliance.domain.money import Price, Qty
from appliance.domain.verdict import Approved
from tests.kit import SECOND, Core, account_limits, source_limits, spx
from tests.risk_kit import terms

BUY, SELL = Side.BUY, Side.SELL
MARKET_AT = 100_000


class Ask(Struct, frozen=True, kw_only=True):
    """An order somebody asks for. price: None for a market order.

    amends: it changes the first working order instead.  reuses_id: it carries that order's id.
    """

    side: Side = BUY
    qty: int = 100
    price: int | None = None
    amends: bool = False
    reuses_id: bool = False


class Scene(Struct, frozen=True, kw_only=True):
    """What stands when it is asked. held: signed quantity.  working: asked before, and at the venue.

    margin: a margin account, which may go short.  age_ns: of the last price and of the working orders.
    """

    mode: Mode = Mode.NORMAL
    held: int = 0
    working: tuple[Ask, ...] = ()
    margin: bool = False
    account_known: bool = True
    age_ns: int = 0


class Danger(Struct, frozen=True, kw_only=True):
    """One row. reason: the code we deny with.  safe: scene and order without the dangerous part."""

    number: int
    says: str
    scene: Scene = Scene()
    ask: Ask
    reason: str
    safe: tuple[Scene, Ask]


_REDUCED, _LONG = Scene(mode=Mode.REDUCED), Scene(mode=Mode.REDUCED, held=100)
_SHORTS = Scene(margin=True)  # a cash account cannot go short, whoever asks
_LONG_ON_MARGIN = Scene(mode=Mode.REDUCED, held=100, margin=True)
_ONE_LEAVING = (Ask(side=SELL, price=101_000),)
_RESTING = (Ask(price=99_000),)

DANGERS: tuple[Danger, ...] = (
    Danger(
        number=1, says="REDUCED, flat: opens a long", reason="MODE_REDUCED",
        scene=_REDUCED, ask=Ask(), safe=(Scene(), Ask()),
    ),
    Danger(
        number=2, says="REDUCED, flat: opens a short", reason="MODE_REDUCED",
        scene=Scene(mode=Mode.REDUCED, margin=True), ask=Ask(side=SELL), safe=(_SHORTS, Ask(side=SELL)),
    ),
    Danger(
        number=3, says="REDUCED, long 1: sells 2 and is short", reason="MODE_REDUCED",
        scene=_LONG_ON_MARGIN, ask=Ask(side=SELL, qty=200), safe=(_LONG_ON_MARGIN, Ask(side=SELL, qty=100)),
    ),
    Danger(
        number=4, says="REDUCED, long 1 and a sell of 1 works: another sell of 1", reason="MODE_REDUCED",
        scene=Scene(mode=Mode.REDUCED, held=100, working=_ONE_LEAVING, margin=True), ask=Ask(side=SELL),
        safe=(_LONG_ON_MARGIN, Ask(side=SELL)),
    ),
    Danger(
        number=5, says="REDUCED, long 1: buys more", reason="MODE_REDUCED",
        scene=_LONG, ask=Ask(qty=50), safe=(Scene(held=100), Ask(qty=50)),
    ),
    Danger(
        number=6, says="PAUSED: any new exposure", reason="MODE_PAUSED",
        scene=Scene(mode=Mode.PAUSED), ask=Ask(), safe=(Scene(), Ask()),
    ),
    Danger(
        number=7, says="cash account: worth more than the largest order", reason="VALUE_TOO_LARGE",
        ask=Ask(qty=2_001), safe=(Scene(), Ask(qty=2_000)),
    ),
    Danger(
        number=8, says="margin account: worth more than the largest order", reason="VALUE_TOO_LARGE",
        scene=Scene(margin=True), ask=Ask(qty=2_001), safe=(Scene(margin=True), Ask(qty=2_000)),
    ),
    Danger(
        number=9, says="an amendment to 100 times the size", reason="VALUE_TOO_LARGE",
        scene=Scene(working=(Ask(qty=50, price=99_000),)), ask=Ask(qty=5_000, amends=True),
        safe=(Scene(working=(Ask(qty=50, price=99_000),)), Ask(qty=100, amends=True)),
    ),
    Danger(
        number=10, says="the account is not known yet", reason="EQUITY_MISSING",
        scene=Scene(account_known=False), ask=Ask(), safe=(Scene(), Ask()),
    ),
    Danger(
        number=11, says="a price outside the collar", reason="PRICE_COLLAR",
        ask=Ask(price=105_001), safe=(Scene(), Ask(price=105_000)),
    ),
    Danger(
        number=12, says="the market data is stale", reason="PRICE_STALE",
        scene=Scene(age_ns=5 * SECOND + 1), ask=Ask(), safe=(Scene(age_ns=5 * SECOND), Ask()),
    ),
    Danger(
        number=13, says="the same economics within a second under a new id", reason="DUPLICATE_ECONOMICS",
        scene=Scene(working=_RESTING), ask=_RESTING[0],
        safe=(Scene(working=_RESTING, age_ns=2 * SECOND), _RESTING[0]),
    ),
    Danger(
        number=14, says="crosses our own working order", reason="SELF_TRADE",
        scene=Scene(working=_ONE_LEAVING, margin=True), ask=Ask(price=101_000),
        safe=(Scene(working=_ONE_LEAVING, margin=True), Ask(price=100_999)),
    ),
    Danger(
        number=15, says="above the position cap with what works", reason="POSITION_CAP",
        scene=Scene(working=(Ask(qty=1_500, price=99_000),)), ask=Ask(qty=501),
        safe=(Scene(working=(Ask(qty=1_500, price=99_000),)), Ask(qty=500)),
    ),
    Danger(
        number=16, says="an id that was used before", reason="DUPLICATE_ID",
        scene=Scene(working=_RESTING), ask=Ask(qty=200, reuses_id=True),
        safe=(Scene(working=_RESTING), Ask(qty=200)),
    ),
)  # fmt: skip


def instrument_of(scene: Scene) -> Instrument:
    """Cents and hundredths; on margin in three tiers."""
    return spx(margin=terms()) if scene.margin else spx()


class Stage:
    """Our core with a scene on it."""

    def __init__(self, scene: Scene) -> None:
        self.core = Core(
            instrument=instrument_of(scene),
            account=account_limits(duplicate_window_ns=SECOND),
            source=source_limits(allow_short=True),
        )
        self.working: list[Intent] = []
        self.orders: list[OrderId] = []
        self._scene = scene

    async def build(self) -> None:
        """Position first, then what works, then the rest of the scene. Nothing of it is denied."""
        core, scene = self.core, self._scene
        await core.market(MARKET_AT)
        if scene.held:
            await core.hold_position(scene.held)
        for ask in scene.working:
            intent = self.intent(ask)
            verdict = await core.desk.place(intent)
            assert isinstance(verdict, Approved), verdict
            self.working.append(intent)
            self.orders.append(verdict.order_id)
        await core.desk.collect()
        if not scene.account_known:
            core.portfolio.equity_ns = 0  # nobody has valued the account yet
        core.clock.pass_ns(scene.age_ns)
        core.safety.mode = scene.mode

    def intent(self, ask: Ask) -> Intent:
        """The ask in our words."""
        changes: dict[str, Any] = {"side": ask.side, "qty": Qty(ask.qty)}
        if ask.price is not None:
            changes |= {"order_type": OrderType.LIMIT, "price": Price(ask.price)}
        if ask.amends:
            changes |= {"action": Action.AMEND, "target": self.orders[0]}
        if ask.reuses_id:
            changes["id"] = self.working[0].id
        return self.core.intent(**changes)
