"""The two-sided safety property (CONTROLS, tests worth most 1), over the whole core and a paper venue.

What it says and what is done to the core: `tests.two_sided_kit`. INTERLOCK_SEQUENCES sets how many sequences
the long lane generates (100,000), INTERLOCK_SEQUENCE_SEED where it begins, INTERLOCK_LONG_WORKERS how many
processes do it (2); the seed of every chunk is printed.
"""

from __future__ import annotations

import os
import random
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings

from appliance.domain.intent import Action, Intent, OrderType
from appliance.domain.reasons import Reason
from appliance.domain.verdict import OrderClass
from appliance.ports import InstrumentView
from appliance.risk import entries, gate
from appliance.risk.classify import CLASSES, classify
from appliance.risk.matrix import MATRIX, Cell
from appliance.safety import exits
from tests.processes import running
from tests.two_sided_kit import ACTS, NAMES, SEQUENCES, play, told

N, R = OrderClass.INCREASE, OrderClass.REDUCE
Sabotage: TypeAlias = Callable[[pytest.MonkeyPatch], None]

COUNT = int(os.environ.get("INTERLOCK_SEQUENCES", "100000"))
WORKERS = int(os.environ.get("INTERLOCK_LONG_WORKERS", "2"))
SEED = int(os.environ.get("INTERLOCK_SEQUENCE_SEED", "0")) or secrets.randbelow(10**9) + 1


@pytest.mark.safety("S2.1", "S2.5")
@settings(deadline=None, derandomize=True, max_examples=200)
@given(SEQUENCES)
def test_never_lets_danger_through_and_never_traps_an_exit(acts: list[tuple[int, int]]) -> None:
    """Any sequence of everything sources, the venue, the market and a person at the box can do."""
    try:
        play(acts)
    except AssertionError as error:
        raise AssertionError(f"{told(acts)}\n{error}") from error


@pytest.mark.long
def test_a_hundred_thousand_sequences(tmp_path: Path) -> None:
    """Likewise, with seeds of their own, in several processes."""
    each = -(-COUNT // WORKERS)
    with ExitStack() as stack:
        workers = []
        for number in range(WORKERS):
            command = ["tests.two_sided_kit", str(SEED + number * 10**9), str(each)]
            workers.append(stack.enter_context(running(command, tmp_path / f"{number}.log")))
        codes = [worker.wait(600 + each) for worker in workers]
    output = "".join(worker.output() for worker in workers)
    print(output)
    assert codes == [0] * WORKERS, output


def _fixed(count: int) -> Iterator[list[tuple[int, int]]]:
    """The same sequences at every call."""
    luck = random.Random(20_260_101)
    for _ in range(count):
        yield [(luck.randrange(len(NAMES)), luck.getrandbits(48)) for _ in range(luck.randint(5, 40))]


def test_the_world_meets_what_it_is_made_for() -> None:
    """Every reason the acts are there to bring about keeps entries out, and entries get in all the same."""
    met: Counter[str] = Counter()
    for acts in _fixed(200):
        met.update(play(acts))
    wanted = {
        *("MODE_PAUSED", "MODE_REDUCED", "MODE_EMERGENCY", "TRIPPED", "HOLD", "BREAKER_OPEN", "PRICE_STALE"),
        *("FEES_MISSING", "FEES_STALE", "POSITION_CAP", "ALLOCATION", "SELF_TRADE", "approved"),
        *("THROTTLED", "DUPLICATE_ECONOMICS"),
    }
    assert wanted <= met.keys(), met
    assert met["increase"] > 500, met
    assert met["no cash"] > 10, met
    assert len({NAMES[name] for acts in _fixed(200) for name, _ in acts}) == len(ACTS)


def _deny(reason: Reason, order_class: OrderClass) -> Sabotage:
    return lambda patch: patch.setitem(MATRIX[reason], order_class, Cell.DENY)


def _never(*_: Any) -> None:
    return None


SABOTAGE: dict[str, Sabotage] = {
    "no cap": lambda patch: patch.setattr(entries, "exposure", _never),
    "no allocation": lambda patch: patch.setattr(entries, "allocation", _never),
    "no look at what works": lambda patch: patch.setitem(CLASSES[Action.NEW], OrderType.MARKET, (N, R, R, N)),
    "paused": _deny(Reason.MODE_PAUSED, OrderClass.REDUCE),
    "emergency": _deny(Reason.MODE_EMERGENCY, OrderClass.REDUCE),
    "tripped": _deny(Reason.TRIPPED, OrderClass.PROTECTIVE),
    "held": _deny(Reason.HOLD, OrderClass.REDUCE),
    "breaker": _deny(Reason.BREAKER_OPEN, OrderClass.REDUCE),
    "stale prices": _deny(Reason.PRICE_STALE, OrderClass.REDUCE),
    "stale fees": _deny(Reason.FEES_STALE, OrderClass.REDUCE),
    "no cash": _deny(Reason.EQUITY_MISSING, OrderClass.REDUCE),
    "exits larger than the account": lambda patch: patch.setattr(exits, "room", lambda *_: 10**9),
    "shrinking is an entry": lambda patch: patch.setitem(
        CLASSES[Action.AMEND], OrderType.LIMIT, (N, R, N, N)
    ),
    "a replaced exit is not free again": lambda patch: patch.setattr(gate, "classify", _without_freed),
}


def _play_all(count: int) -> None:
    for acts in _fixed(count):
        play(acts)


def _without_freed(intent: Intent, view: InstrumentView | None, _freed: int = 0) -> OrderClass:
    return classify(intent, view)


@pytest.mark.parametrize("name", SABOTAGE)
def test_the_property_notices(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate with one control taken out, or one wrongly in the way of an exit, does not get through."""
    SABOTAGE[name](monkeypatch)
    with pytest.raises(AssertionError):
        _play_all(400)
