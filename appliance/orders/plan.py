"""How one wish becomes orders: a frozen plan, and the table that says what happens next (EXEC_001, EXE-04).

A *parent* is the wish of a strategy, a *child* one of the orders it is worked with. Every child is an intent
of its own and goes through the gate: a plan asks, it permits nothing. The plan and all its numbers are in the
log before its first child is; the children's ids follow from the parent's, so a restart cannot ask twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, StrEnum
from typing import TypeAlias

import msgspec
from msgspec import Struct

from appliance.domain.ids import IntentId
from appliance.domain.intent import Intent, OrderType, Side, TimeInForce
from appliance.domain.money import PPM_ONE, Price, Qty, round_down, round_up, share_floor
from appliance.orders.slicing import Bounds, Draws, displayed_count, due_times, sizes
from appliance.ports import InstrumentView


class Style(StrEnum):
    """PLAIN is one order; TWAP slices by time, ICEBERG shows one slice after the other at the arrival price.
    EXIT is no choice: whatever leaves a position, as `safety.exits` sends it."""

    PLAIN = "plain"
    TWAP = "twap"
    ICEBERG = "iceberg"
    EXIT = "exit"


class Recipe(Struct, frozen=True, kw_only=True):
    """How a source's entries are worked, from configuration.

    horizon_ns: market time after which nothing more is sent.  slices: of a TWAP.  displayed_ppm: of the
    total, what an iceberg shows at most.  jitter_ppm: of sizes and times.  retries: further tries of a slice.
    """

    style: Style = Style.PLAIN
    horizon_ns: int = 3_600_000_000_000
    slices: int = 10
    displayed_ppm: int = 100_000
    jitter_ppm: int = 200_000
    retries: int = 2


class Plan(Struct, frozen=True, kw_only=True):
    """One parent, frozen at its decision.

    parent: the wish; its quantity is the total.  qtys, due_ns: of each slice.  end_ns: no slice leaves later.
    begun_ns: market time of the decision.  arrival: the market's price then, see `arrival_price`.
    smallest: what a rest of a slice must at least be to be tried again.  retries: further tries of a slice.
    arming: the arming it was decided under; under another one it is not carried on.  held: signed quantity
    the source held at the decision.  price: limit of an iceberg's slices.
    """

    parent: Intent
    style: Style
    qtys: tuple[Qty, ...]
    due_ns: tuple[int, ...]
    begun_ns: int
    end_ns: int
    arrival: Price
    smallest: int
    retries: int
    arming: str
    held: int
    price: Price | None = None

    @property
    def total(self) -> int:
        """What is wanted in all."""
        return self.parent.qty

    @property
    def leaves(self) -> bool:
        """It ends exposure: nothing stops it."""
        return self.style is Style.EXIT


def make_plan(
    parent: Intent, recipe: Recipe, bounds: Bounds, view: InstrumentView, seed: int, arming: str, held: int
) -> Plan:
    """Cuts the wish as the recipe says. A wish that cannot be cut is one slice, which the gate will judge."""
    draws, style, now_ns = Draws(seed), recipe.style, parent.created_ns
    arrival, price, end_ns = arrival_price(view, parent.side), None, now_ns + recipe.horizon_ns
    qtys: tuple[Qty, ...] = (parent.qty,)
    due_ns: tuple[int, ...] = (now_ns,)
    if style is Style.TWAP:
        qtys = sizes(parent.qty, recipe.slices, bounds, recipe.jitter_ppm, draws)
        due_ns = due_times(now_ns, recipe.horizon_ns, len(qtys), recipe.jitter_ppm, draws)
    elif style is Style.ICEBERG:
        shown = max(bounds.smallest, round_down(share_floor(parent.qty, recipe.displayed_ppm), bounds.lot))
        small = Bounds(bounds.lot, bounds.smallest, min(bounds.largest, shown))
        count = displayed_count(parent.qty, small.largest, recipe.jitter_ppm)
        qtys = sizes(parent.qty, count, small, recipe.jitter_ppm, draws)
        due_ns = (now_ns,) * len(qtys)
        price = passive_price(view, parent.side, arrival)
    return Plan(
        parent=parent,
        style=style,
        qtys=qtys,
        due_ns=due_ns,
        begun_ns=now_ns,
        end_ns=end_ns,
        arrival=arrival,
        smallest=bounds.smallest,
        retries=0 if style in (Style.PLAIN, Style.EXIT) else recipe.retries,
        arming=arming,
        held=held,
        price=price,
    )


def arrival_price(view: InstrumentView, side: Side) -> Price:
    """The mid of bid and ask at the decision, or the last price without both; 0 if none is known.

    A mid between two units is rounded away from us, so that slippage never looks smaller than it was.
    """
    if view.bid <= 0 or view.ask <= 0:
        return Price(view.last)
    both = view.bid + view.ask
    return Price(both // 2 if side is Side.BUY else -(-both // 2))


def passive_price(view: InstrumentView, side: Side, arrival: int) -> Price:
    """The arrival price on a tick: down for a buy, up for a sell."""
    tick = view.instrument.tick
    return Price(round_down(arrival, tick) if side is Side.BUY else round_up(arrival, tick))


def child_intent(plan: Plan, index: int, attempt: int, qty: int, now_ns: int) -> Intent:
    """The wish for slice `index`. A plain parent is its own child: its order id is the one it always had."""
    parent = plan.parent
    if plan.style is Style.PLAIN:
        return parent
    child = msgspec.structs.replace(
        parent, id=child_id(plan, index), qty=Qty(qty), created_ns=now_ns, attempt=attempt
    )
    if plan.price is None:
        return child
    return msgspec.structs.replace(
        child, order_type=OrderType.LIMIT, price=plan.price, time_in_force=TimeInForce.GTC
    )


def child_id(plan: Plan, index: int) -> IntentId:
    """Permanent: the parent's id and the slice's number."""
    return plan.parent.id if plan.style is Style.PLAIN else IntentId(f"{plan.parent.id}/{index}")


class Moment(Enum):
    """What is so at a look, the first that applies. SPENT is asked only while no child works."""

    SPENT = "nothing is left to send"
    HALTED = "mode, trip, another arming, or the exposure was reduced"
    OVER = "the horizon has passed"
    HELD = "a hold stands"
    EARLY = "the next slice is not due"
    DUE = "the next slice is due"


class Act(Enum):
    """What is done about it. EMIT asks the gate for one child; CANCEL asks for the end of the working one."""

    WAIT = "wait"
    EMIT = "emit"
    CANCEL = "cancel"
    END = "end"


W, E, C, Z = Act.WAIT, Act.EMIT, Act.CANCEL, Act.END
Rows: TypeAlias = dict[Moment, Act]


def _idle(spent: Act, halted: Act, over: Act, held: Act, early: Act, due: Act) -> Rows:
    return dict(zip(Moment, (spent, halted, over, held, early, due), strict=True))


def _busy(halted: Act, over: Act, held: Act, early: Act, due: Act) -> Rows:
    return dict(zip(list(Moment)[1:], (halted, over, held, early, due), strict=True))


#                     SPENT HALTED OVER HELD EARLY DUE
_SLICED: dict[bool, Rows] = {
    False: _idle(Z, Z, Z, W, W, E),
    True: _busy(C, C, C, W, W),
}
_WHOLE: dict[bool, Rows] = {  # one order, asked for once; whoever shuts the gate cancels it, as ever
    False: _idle(Z, Z, Z, Z, Z, Z),
    True: _busy(W, W, W, W, W),
}
_LEAVES: dict[bool, Rows] = {  # no moment stops an exit, none cancels one, and none makes it wait
    False: _idle(Z, E, E, E, E, E),
    True: _busy(W, W, W, W, W),
}
ACTS: dict[Style, dict[bool, Rows]] = {
    Style.PLAIN: _WHOLE,
    Style.TWAP: _SLICED,
    Style.ICEBERG: _SLICED,
    Style.EXIT: _LEAVES,
}
"""Style → does a child work → moment → act. The executor has no other rule about when a child is sent."""


class Standing(Struct, frozen=True):
    """What the safety layer says now. arming: names boot, guard start and trip epoch.  normal: mode NORMAL.
    held: a hold stands on the box, the venue or the instrument."""

    arming: str
    normal: bool
    held: bool


def slippage_ppm(side: Side, arrival: int, qty: int, value: int) -> int:
    """Average price against arrival, in millionths of it, rounded against us; positive is worse than arrival.

    value: sum of price × quantity. 0 where there is nothing to compare.
    """
    reference = arrival * qty
    if reference <= 0:
        return 0
    return -(-(value - reference) * side.sign * PPM_ONE // reference)


def shortfall(side: Side, arrival: int, qty: int, value: int, factor: int, fees: int) -> int:
    """Implementation shortfall of what was executed, an amount: what it cost beyond its value at arrival."""
    return side.sign * (value - arrival * qty) * factor + fees


def missed(side: Side, arrival: int, unfilled: int, last: int, factor: int) -> int:
    """The other part of it: what the quantity that was not executed has moved away from us since."""
    return side.sign * (last - arrival) * unfilled * factor


def plan_data(plan: Plan) -> dict[str, object]:
    """The plan for the log, exactly: integers as strings, since JSON numbers are doubles."""
    return {key: _texts(value) for key, value in msgspec.to_builtins(plan).items()}


def read_plan(data: Mapping[str, object]) -> Plan:
    """Inverse of `plan_data`. Raises ValueError for anything else."""
    try:
        return msgspec.convert(dict(data), Plan, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(f"no execution plan: {error}") from error


def _texts(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, dict):
        return {key: _texts(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_texts(each) for each in value]
    return value
